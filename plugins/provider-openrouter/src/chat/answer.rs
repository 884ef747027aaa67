//! The message as it grows: chunks in, deltas and in the end the completion out.
//!
//! Every item (reasoning, text, refusal, each call) gets its index when its first fragment comes; the finished message has
//! them in the one order in which they can be sent back: reasoning, text, calls.

use serde_json::Value;
use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Message, Opaque, Phase, Piece, Reasoning, Role, Stop, TextPiece, Usage};
use stellaclaw_sdk::deltas::{self, Delta, Finished, Item, ItemKind, Start};
use stellaclaw_sdk::openai::stream::{self, broken_off};
use stellaclaw_sdk::openai::{failure, usage};
use stellaclaw_sdk::sse::Event;

use super::calls::Calls;
use super::reasoning::Details;
use super::wire::{Choice, Chunk, Part, Text};
use super::{REASONING_DETAILS, origin};
use crate::protocol;

/// What a model may say in one answer. No model says a tenth of it; a broken server could say it without end.
const ANSWER_BYTES: usize = 16 << 20;

/// An answer, as far as it has come.
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
    served_tier: Option<String>,
    upstream: Option<String>,
    finish_reason: Option<String>,
    native_finish_reason: Option<String>,
    items: u32,
    bytes: usize,
    text: Growing,
    refusal: Growing,
    thought: Growing,
    /// The field in which the thought came, when it was no list of details.
    thought_field: Option<&'static str>,
    details: Details,
    calls: Calls,
    annotations: Vec<Value>,
    /// The last usage object, and whether it was handed on.
    usage: Option<(String, bool)>,
}

/// A text that grows, and its item once it has begun.
#[derive(Debug, Default)]
struct Growing {
    text: String,
    item: Option<u32>,
}

impl Answer {
    /// The answer of `model` to the request `request_id`.
    #[must_use]
    pub fn new(model: &str, request_id: &str) -> Self {
        Self {
            model: model.to_owned(),
            request_id: request_id.to_owned(),
            server_request_id: None,
            cache_life: usage::CACHE_LIFE_SECONDS,
            done: false,
            started: false,
            response_id: None,
            served_model: None,
            served_tier: None,
            upstream: None,
            finish_reason: None,
            native_finish_reason: None,
            items: 0,
            bytes: 0,
            text: Growing::default(),
            refusal: Growing::default(),
            thought: Growing::default(),
            thought_field: None,
            details: Details::default(),
            calls: Calls::default(),
            annotations: Vec::new(),
            usage: None,
        }
    }

    /// The server's own id of the exchange, for failures.
    #[must_use]
    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.server_request_id = id;
        self
    }

    /// How long what was written to the cache lives there, in seconds.
    #[must_use]
    pub fn cache_life(mut self, seconds: u32) -> Self {
        self.cache_life = seconds;
        self
    }

    /// A failure with what is known of this exchange.
    fn explain(&self, mut failure: Failure) -> Failure {
        failure.request_id = failure.request_id.or_else(|| self.server_request_id.clone()).or_else(|| self.response_id.clone());
        failure.usage = failure.usage.or_else(|| self.parsed_usage());
        failure
    }

    /// The data of one event.
    fn chunk(&mut self, data: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|error| {
            let shown: String = String::from_utf8_lossy(data).chars().take(200).collect();
            self.explain(protocol(format!("the stream cannot be read: {error}: {shown}")))
        })?;
        if let Some(failure) = reported(&chunk, data) {
            return Err(self.explain(failure));
        }
        self.start(&chunk, deltas);
        if let Some(usage) = chunk.usage {
            let json = usage.get();
            if self.usage.as_ref().is_none_or(|(known, _)| known != json) {
                self.usage = Some((json.to_owned(), false));
            }
        }
        match chunk.choices.and_then(|choices| choices.0) {
            Some(choice) => self.choice(choice, deltas),
            None => Ok(()),
        }
    }

    fn start(&mut self, chunk: &Chunk<'_>, deltas: &mut Vec<Delta>) {
        keep(&mut self.response_id, chunk.id.as_ref());
        keep(&mut self.served_model, chunk.model.as_ref());
        keep(&mut self.served_tier, chunk.service_tier.as_ref());
        keep(&mut self.upstream, chunk.provider.as_ref());
        if !self.started {
            self.started = true;
            deltas.push(Delta::Started(Start { response_id: self.response_id.clone(), served_model: self.served_model.clone() }));
        }
    }

    fn choice(&mut self, choice: Choice<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        if let Some(part) = choice.message.or(choice.delta) {
            self.part(part, deltas)?;
        }
        keep(&mut self.native_finish_reason, choice.native_finish_reason.as_ref());
        keep(&mut self.finish_reason, choice.finish_reason.as_ref());
        if self.finish_reason.as_deref() == Some("error") {
            let why = self.native_finish_reason.as_deref().unwrap_or("no reason given");
            let message = format!("the model's provider ended the answer with an error ({why})");
            return Err(self.explain(Failure::new(FailureKind::Server, message)));
        }
        Ok(())
    }

    fn part(&mut self, part: Part<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let (field, mut thought) = match (Text::of(part.reasoning.as_ref()), Text::of(part.reasoning_content.as_ref())) {
            ("", "") => (None, ""),
            ("", content) => (Some("reasoning_content"), content),
            // Servers that send both say the same in both.
            (reasoning, _) => (Some("reasoning"), reasoning),
        };
        self.thought_field = self.thought_field.or(field);
        let mut readable = String::new();
        if let Some(list) = part.reasoning_details {
            readable = self.details.add(list);
        }
        if thought.is_empty() {
            thought = &readable;
        }
        let content = Text::of(part.content.as_ref());
        let refusal = Text::of(part.refusal.as_ref());
        self.bytes += thought.len() + content.len() + refusal.len();
        self.thought.add(ItemKind::Reasoning, thought, &mut self.items, deltas);
        self.text.add(ItemKind::Text, content, &mut self.items, deltas);
        self.refusal.add(ItemKind::Refusal, refusal, &mut self.items, deltas);
        for call in part.tool_calls.iter().flatten() {
            let (known, new) = self.calls.add(call, self.items);
            let item = known.item;
            if new {
                let id = (!known.id.is_empty()).then(|| known.id.clone());
                deltas.push(Delta::ItemStarted(Item { index: item, kind: ItemKind::ToolUse, id, name: Some(known.name.clone()) }));
                self.items += 1;
            }
            let arguments = call.function.as_ref().map_or("", |function| Text::of(function.arguments.as_ref()));
            self.bytes += arguments.len();
            deltas::append(deltas, item, arguments);
        }
        if let Some(Value::Array(annotations)) = part.annotations {
            self.annotations.extend(annotations);
        }
        if self.bytes > ANSWER_BYTES {
            return Err(self.explain(protocol(format!("the answer is longer than {ANSWER_BYTES} bytes"))));
        }
        Ok(())
    }

    fn parsed_usage(&self) -> Option<Usage> {
        self.usage.as_ref().and_then(|(json, _)| usage::parse(json, self.cache_life))
    }

    fn stop(&self) -> Stop {
        let refusal = || Some(self.refusal.text.clone()).filter(|text| !text.is_empty());
        match self.native_finish_reason.as_deref() {
            Some("refusal") => return Stop::Refusal(refusal()),
            Some("pause_turn") => return Stop::Pause,
            Some("model_context_window_exceeded") => return Stop::ContextFull,
            _ => {}
        }
        match self.finish_reason.as_deref() {
            Some("length" | "max_tokens") => Stop::MaxOutput,
            Some("content_filter") => Stop::ContentFilter,
            // Some servers say "stop" beside their calls, some call what ends with calls otherwise.
            _ if !self.calls.is_empty() => Stop::ToolUse,
            _ if !self.refusal.text.is_empty() => Stop::Refusal(refusal()),
            None | Some("stop" | "eos" | "end_turn" | "tool_calls" | "function_call") => Stop::EndTurn,
            Some(other) => Stop::Other(other.to_owned()),
        }
    }

    /// What OpenRouter adds: who served the answer, and why that provider stopped.
    fn ext(&self) -> Option<String> {
        let mut ext = serde_json::Map::new();
        for (key, value) in [("provider", &self.upstream), ("native_finish_reason", &self.native_finish_reason)] {
            if let Some(value) = value {
                ext.insert(key.into(), value.as_str().into());
            }
        }
        (!ext.is_empty()).then(|| Value::Object(ext).to_string())
    }
}

impl stream::Answer for Answer {
    fn event(&mut self, event: Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        match event.name {
            b"error" => Err(self.explain(failure::in_stream(event.data))),
            _ => self.chunk(event.data, deltas),
        }
    }

    fn whole(&mut self, body: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let chunk: Result<Chunk<'_>, _> = serde_json::from_slice(body);
        match chunk {
            Ok(Chunk { choices: Some(choices), error: None, .. }) if choices.0.is_some() => {
                self.chunk(body, deltas)?;
                // Nothing can be missing of an object that is closed.
                self.done = true;
                Ok(())
            }
            Err(error) if error.is_eof() => Err(self.explain(broken_off())),
            _ => Err(self.explain(failure::in_stream(body))),
        }
    }

    fn end(&mut self) {
        self.done = true;
    }

    /// Hands the usage on when it is new: once per chunk, however often the server repeats it.
    fn flush(&mut self, deltas: &mut Vec<Delta>) {
        if let Some((json, sent)) = &mut self.usage
            && !std::mem::replace(sent, true)
            && let Some(usage) = usage::parse(json, self.cache_life)
        {
            deltas.push(Delta::Usage(usage));
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_terminal(&self) -> bool {
        self.finish_reason.is_some() || (self.done && self.started)
    }

    fn explain(&self, failure: Failure) -> Failure {
        self.explain(failure)
    }

    fn finish(self, deltas: &mut Vec<Delta>) -> Completion {
        let usage = self.parsed_usage().unwrap_or_else(Usage::none);
        let stop = self.stop();
        let ext = self.ext();
        let mut pieces = Vec::new();
        let mut finish = |index: Option<u32>, piece: Piece| {
            if let Some(index) = index {
                deltas.push(Delta::ItemFinished(Finished { index, piece: piece.clone() }));
            }
            pieces.push(piece);
        };
        let opaque = match (self.details.json(), self.thought_field) {
            (Some(data), _) => Some(Opaque { format: REASONING_DETAILS.into(), data }),
            (None, Some(field)) => Some(Opaque { format: field.into(), data: Value::from(self.thought.text.as_str()).to_string() }),
            (None, None) => None,
        };
        if self.thought.item.is_some() || opaque.is_some() {
            let text = Some(self.thought.text).filter(|text| !text.is_empty());
            finish(self.thought.item, Piece::Reasoning(Reasoning { text, summary: Vec::new(), opaque }));
        }
        if !self.text.text.is_empty() {
            let annotations = (!self.annotations.is_empty()).then(|| Value::Array(self.annotations).to_string());
            finish(self.text.item, Piece::Text(TextPiece { text: self.text.text, annotations }));
        }
        if !self.refusal.text.is_empty() {
            finish(self.refusal.item, Piece::Refusal(self.refusal.text));
        }
        let calls = self.calls.finish();
        let phase = if calls.is_empty() { Phase::Final } else { Phase::Commentary };
        for (item, call) in calls {
            finish(Some(item), Piece::ToolUse(call));
        }
        let message = Message {
            id: self.response_id.clone().unwrap_or(self.request_id),
            role: Role::Assistant,
            phase: Some(phase),
            origin: Some(origin(&self.model)),
            pieces,
            cache_break: false,
        };
        Completion {
            message,
            stop,
            usage,
            response_id: self.response_id,
            served_model: self.served_model,
            served_tier: self.served_tier,
            ext,
        }
    }
}

impl Growing {
    fn add(&mut self, kind: ItemKind, text: &str, items: &mut u32, deltas: &mut Vec<Delta>) {
        if text.is_empty() {
            return;
        }
        let index = *self.item.get_or_insert_with(|| {
            let index = *items;
            *items += 1;
            deltas.push(Delta::ItemStarted(Item { index, kind, id: None, name: None }));
            index
        });
        self.text.push_str(text);
        deltas::append(deltas, index, text);
    }
}

/// An error in place of, or beside, a choice.
fn reported(chunk: &Chunk<'_>, data: &[u8]) -> Option<Failure> {
    let choice_error = chunk.choices.as_ref().and_then(|choices| choices.0.as_ref()?.error);
    if chunk.error.is_some() {
        return Some(failure::in_stream(data));
    }
    if let Some(error) = choice_error {
        return Some(failure::in_stream(format!("{{\"error\":{}}}", error.get()).as_bytes()));
    }
    let bare = chunk.choices.is_none() && (chunk.detail.is_some() || Text::of(chunk.object.as_ref()) == "error");
    bare.then(|| failure::in_stream(data))
}

/// The first that is said stays, and it is copied once.
fn keep(slot: &mut Option<String>, text: Option<&Text<'_>>) {
    if slot.is_none()
        && let Some(text) = text
        && !text.0.is_empty()
    {
        *slot = Some(text.0.as_ref().to_owned());
    }
}
