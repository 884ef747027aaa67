//! The answer of a request, out of the bytes of its body.
//!
//! A body is a stream of events, or one JSON object from a server that does not stream (or has only an error to say); the
//! first byte tells. Pure: no imports, so tests and benchmarks call it natively.
//!
//! ```
//! use provider_claude::stream::MessageStream;
//!
//! let mut stream = MessageStream::new("some-model", "request-1");
//! let body = r#"{"type":"message","id":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}"#;
//! stream.push(body.as_bytes()).unwrap();
//! assert_eq!(stream.finish().unwrap().completion.message.text(), "Hi");
//! ```

use stellaclaw_sdk::chat::{Completion, Failure};
use stellaclaw_sdk::deltas::Delta;
use stellaclaw_sdk::sse::{Decoder, Event};

use crate::answer::{Answer, broken_off};
use crate::{failure, protocol};

/// An unstreamed answer is at most this long.
const BODY_BYTES: usize = 16 << 20;

/// A decoder for one answer.
#[derive(Debug)]
pub struct MessageStream {
    decoder: Decoder,
    body: Body,
    answer: Answer,
}

#[derive(Debug)]
enum Body {
    /// Nothing but white space so far.
    Unknown,
    Events,
    Json(Vec<u8>),
}

/// The end of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// What is still to be emitted: the finished items.
    pub deltas: Vec<Delta>,
    /// The answer.
    pub completion: Completion,
}

impl MessageStream {
    /// A decoder for the answer of `model` to the request `request_id`.
    #[must_use]
    pub fn new(model: &str, request_id: &str) -> Self {
        Self { decoder: Decoder::default(), body: Body::Unknown, answer: Answer::new(model, request_id) }
    }

    /// The server's own id of the exchange, for failures.
    #[must_use]
    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.answer.server_request_id = id;
        self
    }

    /// How long what was written to the cache lives there when the server does not say, in seconds.
    #[must_use]
    pub fn cache_life(mut self, seconds: u32) -> Self {
        self.answer.cache_life = seconds;
        self
    }

    /// Takes a chunk of the body. Consecutive fragments of one item come out as one.
    ///
    /// # Errors
    ///
    /// An error the server sent in the stream, or what cannot be understood. The answer is over then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Delta>, Failure> {
        let mut deltas = Vec::new();
        let bytes = self.sniff(bytes);
        match &mut self.body {
            Body::Unknown => {}
            Body::Json(body) => {
                if body.len() + bytes.len() > BODY_BYTES {
                    return Err(protocol(format!("the answer is longer than {BODY_BYTES} bytes")));
                }
                body.extend_from_slice(bytes);
            }
            Body::Events => {
                let answer = &mut self.answer;
                self.decoder.push(bytes, |event| take(answer, event, &mut deltas)).map_err(|failure| answer.explain(*failure))?;
            }
        }
        self.answer.flush_usage(&mut deltas);
        Ok(deltas)
    }

    /// Is everything there? Nothing of interest follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.answer.done
    }

    /// Did the model finish? The end marker may still be missing.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.answer.is_terminal()
    }

    /// Adds what is known of the exchange to a failure that did not come from the stream.
    #[must_use]
    pub fn interrupted(&self, failure: Failure) -> Failure {
        self.answer.explain(failure)
    }

    /// The body is over.
    ///
    /// # Errors
    ///
    /// `transport` when the answer is not: nothing said that it is complete. Otherwise as [`MessageStream::push`].
    pub fn finish(mut self) -> Result<Finished, Failure> {
        let mut deltas = Vec::new();
        match &self.body {
            Body::Json(body) => self.answer.whole(body, &mut deltas)?,
            Body::Events | Body::Unknown => {
                let answer = &mut self.answer;
                self.decoder.finish(|event| take(answer, event, &mut deltas)).map_err(|failure| answer.explain(*failure))?;
            }
        }
        self.answer.flush_usage(&mut deltas);
        if !self.answer.is_terminal() {
            return Err(self.answer.explain(broken_off()));
        }
        let completion = self.answer.finish(&mut deltas);
        Ok(Finished { deltas, completion })
    }

    /// Decides by the first byte what the body is. Returns what is left to read of `bytes`.
    fn sniff<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if !matches!(self.body, Body::Unknown) {
            return bytes;
        }
        let bytes = bytes.trim_ascii_start();
        match bytes.first() {
            None => {}
            Some(b'{' | b'[' | b'<') => self.body = Body::Json(Vec::new()),
            Some(_) => self.body = Body::Events,
        }
        bytes
    }
}

fn take(answer: &mut Answer, event: Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Box<Failure>> {
    if answer.done {
        return Ok(());
    }
    match event.data.trim_ascii() {
        // Some servers end as others do.
        b"" | b"[DONE]" => Ok(()),
        data if event.name == b"error" => Err(Box::new(failure::in_stream(data))),
        data => Ok(answer.event(data, deltas)?),
    }
}

#[cfg(test)]
mod tests;
