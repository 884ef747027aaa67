//! The body of an answer: a stream of events, or one JSON object from a server that does not stream (or has only an error
//! to say). The first byte tells.
//!
//! Invariants: how the bytes are cut changes nothing; a body that ends without having said that the answer is complete is an
//! error whatever came before.

use crate::chat::{Completion, Failure, FailureKind};
use crate::deltas::Delta;
use crate::sse::{Decoder, Event};

/// An unstreamed answer is at most this long.
const BODY_BYTES: usize = 16 << 20;

/// What puts an answer together.
pub trait Answer {
    /// Takes the data of one event that is not the end marker.
    ///
    /// # Errors
    ///
    /// An error the server sent, or what cannot be understood. The answer is over then.
    fn event(&mut self, event: Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure>;

    /// Takes a body that is one JSON object, or an error under status 200.
    ///
    /// # Errors
    ///
    /// As [`Answer::event`].
    fn whole(&mut self, body: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Failure>;

    /// The end marker `[DONE]` came.
    fn end(&mut self) {}

    /// A chunk was taken: hands on what is said once per chunk.
    fn flush(&mut self, _deltas: &mut Vec<Delta>) {}

    /// Is everything there? Nothing of interest follows.
    fn is_done(&self) -> bool;

    /// Did the model finish? Its usage and the end marker may still be missing.
    fn is_terminal(&self) -> bool;

    /// Adds what is known of the exchange to a failure.
    fn explain(&self, failure: Failure) -> Failure;

    /// The completion; every item is finished in `deltas`. Only called when the answer is terminal.
    fn finish(self, deltas: &mut Vec<Delta>) -> Completion;
}

/// A decoder for one answer.
#[derive(Debug)]
pub struct Stream<A> {
    body: Body,
    answer: A,
}

#[derive(Debug)]
enum Body {
    /// Nothing but white space so far.
    Unknown,
    Events(Decoder),
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

impl<A: Answer> Stream<A> {
    /// A decoder that fills `answer`.
    pub fn new(answer: A) -> Self {
        Self { body: Body::Unknown, answer }
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
                    return Err(Failure::new(FailureKind::Protocol, format!("the answer is longer than {BODY_BYTES} bytes")));
                }
                body.extend_from_slice(bytes);
            }
            Body::Events(decoder) => {
                let answer = &mut self.answer;
                decoder.push(bytes, |event| take(answer, event, &mut deltas)).map_err(|failure| *failure)?;
            }
        }
        self.answer.flush(&mut deltas);
        Ok(deltas)
    }

    /// Is everything there? Nothing of interest follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.answer.is_done()
    }

    /// Did the model finish? Its usage and the end marker may still be missing.
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
    /// `transport` when the answer is not: nothing said that it is complete. Otherwise as [`Stream::push`].
    pub fn finish(mut self) -> Result<Finished, Failure> {
        let mut deltas = Vec::new();
        match &mut self.body {
            Body::Json(body) => self.answer.whole(body, &mut deltas)?,
            Body::Events(decoder) => {
                let answer = &mut self.answer;
                decoder.finish(|event| take(answer, event, &mut deltas)).map_err(|failure| *failure)?;
            }
            Body::Unknown => {}
        }
        self.answer.flush(&mut deltas);
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
            Some(_) => self.body = Body::Events(Decoder::default()),
        }
        bytes
    }
}

fn take(answer: &mut impl Answer, event: Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Box<Failure>> {
    if answer.is_done() {
        return Ok(());
    }
    match event.data.trim_ascii() {
        b"" => {}
        b"[DONE]" => answer.end(),
        data => answer.event(Event { data, ..event }, deltas)?,
    }
    Ok(())
}

/// Nothing said that the answer is complete, so it is not, whatever came.
#[must_use]
pub fn broken_off() -> Failure {
    Failure::new(FailureKind::Transport, "the answer broke off: it ended without saying that it is complete")
}
