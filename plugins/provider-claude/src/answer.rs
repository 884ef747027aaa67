//! The message as it grows: events in, deltas and in the end the completion out.
//!
//! A block is what the vendor sends back and forth; the order of the blocks is that of the message. Each that a person can
//! see something of gets its index when that begins. Pure: no imports, so tests and benchmarks call it natively.
//!
//! ```
//! use provider_claude::answer::Answer;
//! use stellaclaw_sdk::openai::stream::Stream;
//!
//! let mut stream = Stream::new(Answer::new("some-model", "request-1"));
//! let body = r#"{"type":"message","id":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}"#;
//! stream.push(body.as_bytes()).unwrap();
//! assert_eq!(stream.finish().unwrap().completion.message.text(), "Hi");
//! ```

use serde_json::Value;
use serde_json::value::RawValue;
use stellaclaw_sdk::chat::{Completion, Failure, Message, Phase, Role, Stop, Usage};
use stellaclaw_sdk::deltas::{Delta, Finished, Start};
use stellaclaw_sdk::openai::stream::{self, Answer as _, broken_off};
use stellaclaw_sdk::sse;

use crate::block::{Block, Items};
use crate::usage::Totals;
use crate::wire::{self, Event};
use crate::{failure, protocol, request};

/// What a model may say in one answer. No model says a tenth of it; a broken server could say it without end.
const ANSWER_BYTES: usize = 16 << 20;
/// What a block counts for beside its contents.
const BLOCK_BYTES: usize = 256;

/// An answer that grows. [`stream::Stream`] feeds it.
#[derive(Debug)]
pub struct Answer {
    model: String,
    request_id: String,
    server_request_id: Option<String>,
    cache_life: u32,
    /// The end marker came.
    done: bool,
    started: bool,
    response_id: Option<String>,
    served_model: Option<String>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    stop_details: Option<Value>,
    items: Items,
    bytes: usize,
    /// By the vendor's index, in the order in which they began.
    blocks: Vec<(u64, Block)>,
    usage: Totals,
    /// There are figures that were not handed on.
    usage_is_new: bool,
}

impl Answer {
    /// For what `model` answers to the request `request_id`.
    #[must_use]
    pub fn new(model: &str, request_id: &str) -> Self {
        Self {
            model: model.to_owned(),
            request_id: request_id.to_owned(),
            server_request_id: None,
            cache_life: crate::usage::CACHE_LIFE_SECONDS,
            done: false,
            started: false,
            response_id: None,
            served_model: None,
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            items: Items::default(),
            bytes: 0,
            blocks: Vec::new(),
            usage: Totals::default(),
            usage_is_new: false,
        }
    }

    /// The server's own id of the exchange, for failures.
    #[must_use]
    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.server_request_id = id;
        self
    }

    /// How long what was written to the cache lives there when the server does not say, in seconds.
    #[must_use]
    pub fn cache_life(mut self, seconds: u32) -> Self {
        self.cache_life = seconds;
        self
    }

    fn start(&mut self, message: Option<&wire::Message<'_>>, deltas: &mut Vec<Delta>) {
        if let Some(message) = message {
            for (slot, text) in [(&mut self.response_id, &message.id), (&mut self.served_model, &message.model)] {
                if slot.is_none() && !text.0.is_empty() {
                    *slot = Some(text.0.clone().into_owned());
                }
            }
            self.count(message.usage);
        }
        if !std::mem::replace(&mut self.started, true) {
            deltas.push(Delta::Started(Start { response_id: self.response_id.clone(), served_model: self.served_model.clone() }));
        }
    }

    fn block(&mut self, index: u64, json: &RawValue, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let begun: wire::Block<'_> = self.read(json)?;
        self.grow(BLOCK_BYTES + json.get().len())?;
        let block = Block::begin(&begun, json, &mut self.items, deltas);
        self.blocks.push((index, block));
        Ok(())
    }

    fn delta(&mut self, index: u64, json: &RawValue, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let delta: wire::Delta<'_> = self.read(json)?;
        let citation = if delta.citation.is_some() { json.get().len() } else { 0 };
        self.grow(delta.text.0.len() + delta.thinking.0.len() + delta.partial_json.0.len() + delta.signature.0.len() + citation)?;
        let known = self.blocks.iter().rposition(|(known, _)| *known == index);
        let at = match known {
            Some(at) => at,
            // Some servers do not say that a block begins.
            None => {
                let Some(block) = Block::unannounced(&delta) else { return Ok(()) };
                self.grow(BLOCK_BYTES)?;
                self.blocks.push((index, block));
                self.blocks.len() - 1
            }
        };
        self.blocks[at].1.add(delta, &mut self.items, deltas);
        Ok(())
    }

    fn end(&mut self, end: Option<wire::End>) {
        let Some(end) = end else { return };
        self.stop_reason = end.stop_reason.or(self.stop_reason.take());
        self.stop_sequence = end.stop_sequence.or(self.stop_sequence.take());
        self.stop_details = end.stop_details.or(self.stop_details.take());
    }

    fn count(&mut self, usage: Option<&RawValue>) {
        if let Some(usage) = usage {
            self.usage_is_new |= self.usage.take(usage.get());
        }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > ANSWER_BYTES {
            return Err(self.explain(protocol(format!("the answer is longer than {ANSWER_BYTES} bytes"))));
        }
        Ok(())
    }

    fn read<'a, T: serde::Deserialize<'a>>(&self, json: &'a RawValue) -> Result<T, Failure> {
        serde_json::from_str(json.get()).map_err(|error| self.unreadable(&error, json.get().as_bytes()))
    }

    fn unreadable(&self, error: &serde_json::Error, data: &[u8]) -> Failure {
        let shown: String = String::from_utf8_lossy(data).chars().take(200).collect();
        self.explain(protocol(format!("the stream cannot be read: {error}: {shown}")))
    }
}

impl stream::Answer for Answer {
    fn event(&mut self, event: sse::Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let (name, data) = (event.name, event.data);
        if name == b"error" {
            return Err(self.explain(failure::in_stream(data)));
        }
        let event: Event<'_> = serde_json::from_slice(data).map_err(|error| self.unreadable(&error, data))?;
        match event.kind.0.as_ref() {
            "message_start" => {
                let message = event.message.map(|message| self.read(message)).transpose()?;
                self.start(message.as_ref(), deltas);
            }
            "content_block_start" => {
                if let Some(block) = event.content_block {
                    self.block(index(&event), block, deltas)?;
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.delta(index(&event), delta, deltas)?;
                }
            }
            "message_delta" => {
                let end = event.delta.map(|delta| self.read::<wire::End>(delta)).transpose()?;
                self.end(end);
                self.count(event.usage);
            }
            "message_stop" => self.done = true,
            "error" => return Err(self.explain(failure::in_stream(data))),
            // Some servers say what is wrong in an object of their own.
            "" if event.error.is_some() => return Err(self.explain(failure::in_stream(data))),
            // content_block_stop and ping say nothing; others may come with new models.
            _ => {}
        }
        Ok(())
    }

    fn whole(&mut self, body: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let event: Event<'_> = match serde_json::from_slice(body) {
            Ok(event) => event,
            Err(error) if error.is_eof() => return Err(self.explain(broken_off())),
            Err(_) => return Err(self.explain(failure::in_stream(body))),
        };
        if event.kind.0 != "message" {
            return Err(self.explain(failure::in_stream(body)));
        }
        let read = |error: serde_json::Error| protocol(format!("the answer cannot be read: {error}"));
        let message: wire::Message<'_> = serde_json::from_slice(body).map_err(read)?;
        let end: wire::End = serde_json::from_slice(body).map_err(read)?;
        self.start(Some(&message), deltas);
        for (at, block) in message.content.iter().flatten().enumerate() {
            self.block(at as u64, block, deltas)?;
        }
        self.end(Some(end));
        // Nothing can be missing of an object that is closed.
        self.done = true;
        Ok(())
    }

    /// Once per chunk, however often the server repeats it.
    fn flush(&mut self, deltas: &mut Vec<Delta>) {
        if std::mem::take(&mut self.usage_is_new)
            && let Some(usage) = self.usage.usage(self.cache_life)
        {
            deltas.push(Delta::Usage(usage));
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_terminal(&self) -> bool {
        self.started && (self.stop_reason.is_some() || self.done)
    }

    fn explain(&self, mut failure: Failure) -> Failure {
        failure.request_id = failure.request_id.or_else(|| self.server_request_id.clone()).or_else(|| self.response_id.clone());
        failure.usage = failure.usage.or_else(|| self.usage.usage(self.cache_life));
        failure
    }

    fn finish(self, deltas: &mut Vec<Delta>) -> Completion {
        let usage = self.usage.usage(self.cache_life).unwrap_or_else(Usage::none);
        let served_tier = self.usage.tier();
        let mut pieces = Vec::new();
        let mut has_calls = false;
        for (_, block) in self.blocks {
            has_calls |= block.is_call();
            let (item, piece) = block.finish();
            let Some(piece) = piece else { continue };
            if let Some(index) = item {
                deltas.push(Delta::ItemFinished(Finished { index, piece: piece.clone() }));
            }
            pieces.push(piece);
        }
        let stop = stop(self.stop_reason.as_deref(), self.stop_sequence, self.stop_details.as_ref(), has_calls);
        let phase = if has_calls || stop == Stop::Pause { Phase::Commentary } else { Phase::Final };
        let message = Message {
            id: self.response_id.clone().unwrap_or(self.request_id),
            role: Role::Assistant,
            phase: Some(phase),
            origin: Some(request::origin(&self.model)),
            pieces,
            cache_break: false,
        };
        Completion { message, stop, usage, response_id: self.response_id, served_model: self.served_model, served_tier, ext: None }
    }
}

fn stop(reason: Option<&str>, sequence: Option<String>, details: Option<&Value>, has_calls: bool) -> Stop {
    match reason {
        Some("max_tokens") => Stop::MaxOutput,
        Some("stop_sequence") => Stop::StopSequence(sequence.unwrap_or_default()),
        Some("pause_turn") => Stop::Pause,
        Some("refusal") => {
            let said = |key: &str| details?.get(key)?.as_str().map(str::to_owned);
            Stop::Refusal(said("explanation").or_else(|| said("category")))
        }
        Some("model_context_window_exceeded") => Stop::ContextFull,
        // Some servers end with "end_turn" all the same.
        _ if has_calls => Stop::ToolUse,
        None | Some("end_turn" | "tool_use") => Stop::EndTurn,
        Some(other) => Stop::Other(other.to_owned()),
    }
}

/// A server that numbers nothing has one block at a time.
fn index(event: &Event<'_>) -> u64 {
    event.index.as_ref().and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
