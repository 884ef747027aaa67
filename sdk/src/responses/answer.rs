//! The message as it grows: events in, deltas and in the end the completion out.

use std::collections::HashSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Dialect;
use super::event::{Event, Response};
use super::output::{Item, names, string};
use crate::chat::{Completion, Failure, FailureKind, Message, Origin, Phase, Piece, Role, Stop, Usage};
use crate::deltas::{self, Delta, Finished, ItemKind, Start};
use crate::openai::stream::broken_off;
use crate::openai::{failure, stream, usage};
use crate::sse;

/// What a model may say in one answer. No model says a tenth of it; a broken server could say it without end.
const ANSWER_BYTES: usize = 16 << 20;
/// The items of an answer; looked through with every event.
const ITEMS: usize = 1024;

/// An answer, fed with one event at a time.
#[derive(Debug)]
pub struct Answer {
    origin: Origin,
    request_id: String,
    server_request_id: Option<String>,
    cache_life: u32,
    response_id: Option<String>,
    served_model: Option<String>,
    served_tier: Option<String>,
    started: bool,
    items: Vec<Item>,
    shown: u32,
    bytes: usize,
    /// The last usage object.
    usage: Option<String>,
    end: Option<End>,
}

/// How the server ended it.
#[derive(Debug, PartialEq)]
enum End {
    Completed {
        goes_on: bool,
    },
    /// Cut off, with the reason.
    Incomplete(String),
}

impl Answer {
    /// The answer of `model` to the request `request_id`, as `dialect` tells it.
    #[must_use]
    pub fn new(dialect: &Dialect<'_>, model: &str, request_id: &str) -> Self {
        Self {
            origin: dialect.origin(model),
            request_id: request_id.to_owned(),
            server_request_id: None,
            cache_life: usage::CACHE_LIFE_SECONDS,
            response_id: None,
            served_model: None,
            served_tier: None,
            started: false,
            items: Vec::new(),
            shown: 0,
            bytes: 0,
            usage: None,
            end: None,
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

    /// Takes one event: the data of a stream's event, or a frame. False when it is of a kind that says nothing here; what such
    /// an event means is its provider's to know.
    ///
    /// # Errors
    ///
    /// An error the server sent, or what cannot be understood. The answer is over then.
    pub fn event(&mut self, json: &[u8], deltas: &mut Vec<Delta>) -> Result<bool, Failure> {
        let event = Event::of(json).map_err(|error| {
            let shown: String = String::from_utf8_lossy(json).chars().take(200).collect();
            self.explain(protocol(format!("the stream cannot be read: {error}: {shown}")))
        })?;
        let kind = event.kind();
        if kind == "error" || (kind.is_empty() && event.error.is_some()) {
            return Err(self.explain(failure::in_stream(json)));
        }
        match &*kind {
            "response.created" | "response.in_progress" | "response.queued" => self.start(&Response::of(event.response), deltas),
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "response.done" => {
                let ended = kind.strip_prefix("response.").unwrap_or_default();
                self.over(ended, &Response::of(event.response), deltas)?;
            }
            "response.output_item.added" => {
                if let Some(raw) = event.item {
                    self.begin(&event, raw, deltas)?;
                }
            }
            "response.output_item.done" => {
                if let Some(raw) = event.item {
                    self.count(raw.get().len())?;
                    let at = self.whole_item(event.output_index(), raw)?;
                    self.items[at].finish(raw);
                }
            }
            kind => return self.part(kind, &event, deltas),
        }
        Ok(true)
    }

    /// Did the server say that the answer is complete? Nothing of interest follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.end.is_some()
    }

    /// Adds what is known of the exchange to a failure that did not come from the stream.
    #[must_use]
    pub fn interrupted(&self, failure: Failure) -> Failure {
        self.explain(failure)
    }

    /// The completion; every item is finished in `deltas`.
    ///
    /// # Errors
    ///
    /// `transport` when the answer is not complete: nothing said so.
    pub fn finish(self, deltas: &mut Vec<Delta>) -> Result<Completion, Failure> {
        if !self.is_done() {
            return Err(self.explain(broken_off()));
        }
        Ok(stream::Answer::finish(self, deltas))
    }

    fn explain(&self, mut failure: Failure) -> Failure {
        failure.request_id = failure.request_id.or_else(|| self.server_request_id.clone()).or_else(|| self.response_id.clone());
        failure.usage = failure.usage.or_else(|| self.parsed_usage());
        failure
    }

    fn parsed_usage(&self) -> Option<Usage> {
        usage::parse(self.usage.as_deref()?, self.cache_life)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > ANSWER_BYTES {
            return Err(self.explain(protocol(format!("the answer is longer than {ANSWER_BYTES} bytes"))));
        }
        Ok(())
    }

    fn start(&mut self, response: &Response<'_>, deltas: &mut Vec<Delta>) {
        keep(&mut self.response_id, &response.id());
        keep(&mut self.served_model, &response.model());
        if !std::mem::replace(&mut self.started, true) {
            deltas.push(Delta::Started(Start { response_id: self.response_id.clone(), served_model: self.served_model.clone() }));
        }
    }

    /// The response ended, or a body held it whole.
    fn over(&mut self, ended: &str, response: &Response<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        self.start(response, deltas);
        // The tier that was asked for stands in the first events, the one that served in the last.
        keep(&mut self.served_tier, &response.service_tier());
        if let Some(usage) = response.usage {
            self.usage = Some(usage.get().to_owned());
            deltas.extend(self.parsed_usage().map(Delta::Usage));
        }
        let status = response.status();
        if response.error.is_some() || matches!(ended, "failed" | "cancelled") || matches!(&*status, "failed" | "cancelled") {
            return Err(self.explain(failed(response)));
        }
        for (place, raw) in response.output().into_iter().enumerate() {
            self.count(raw.get().len())?;
            let at = self.repeated_item(place as u64, raw)?;
            self.items[at].repeat(raw);
        }
        if matches!(&*status, "in_progress" | "queued") {
            return Ok(());
        }
        self.end = Some(if ended == "incomplete" || status == "incomplete" {
            End::Incomplete(response.reason().into_owned())
        } else {
            End::Completed { goes_on: response.goes_on() }
        });
        Ok(())
    }

    fn begin(&mut self, event: &Event<'_>, raw: &RawValue, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        self.count(raw.get().len())?;
        let known: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let at = match self.named(names(&known)) {
            Some(at) => at,
            None => self.add(Item::new("message", event.output_index()))?,
        };
        self.items[at].begin(raw);
        match self.items[at].kind.as_str() {
            // Their first piece shows what there is to show.
            "message" | "reasoning" => {}
            "function_call" | "custom_tool_call" => drop(self.show(at, ItemKind::ToolUse, deltas)),
            _ => drop(self.show(at, ItemKind::Hosted, deltas)),
        }
        Ok(())
    }

    /// A piece of an item.
    fn part(&mut self, kind: &str, event: &Event<'_>, deltas: &mut Vec<Delta>) -> Result<bool, Failure> {
        let (of, shows) = match kind.trim_end_matches(".delta").trim_end_matches(".done") {
            "response.output_text" => ("message", ItemKind::Text),
            "response.refusal" => ("message", ItemKind::Refusal),
            "response.reasoning_text" => ("reasoning", ItemKind::Reasoning),
            "response.reasoning_summary_text" => ("reasoning", ItemKind::ReasoningSummary),
            "response.function_call_arguments" => ("function_call", ItemKind::ToolUse),
            "response.custom_tool_call_input" => ("custom_tool_call", ItemKind::ToolUse),
            _ => return Ok(false),
        };
        let (text, grows) = if kind.ends_with(".delta") { (event.delta(), true) } else { (event.whole(), false) };
        if text.is_empty() {
            return Ok(true);
        }
        self.count(text.len())?;
        let at = self.grown_item(of, event)?;
        let item = &mut self.items[at];
        let parts = match shows {
            ItemKind::Text => &mut item.text,
            ItemKind::Refusal => &mut item.refusal,
            ItemKind::Reasoning => &mut item.thought,
            ItemKind::ReasoningSummary => &mut item.summary,
            ItemKind::ToolUse | ItemKind::Hosted => &mut item.written,
        };
        if grows {
            let is_further = parts.add(event.part(), &text);
            let index = self.show(at, shows, deltas);
            if is_further && shows == ItemKind::ReasoningSummary {
                // Each part is a paragraph.
                deltas::append(deltas, index, "\n\n");
            }
            deltas::append(deltas, index, &text);
        } else {
            parts.set(event.part(), &text);
        }
        Ok(true)
    }

    /// The host's index of an item, which begins with it.
    fn show(&mut self, at: usize, kind: ItemKind, deltas: &mut Vec<Delta>) -> u32 {
        let item = &mut self.items[at];
        if let Some((_, index)) = item.shown.iter().find(|(known, _)| *known == kind) {
            return *index;
        }
        let index = self.shown;
        self.shown += 1;
        item.shown.push((kind, index));
        let (id, name) = match kind {
            ItemKind::ToolUse => (Some(item.call_id()).filter(|id| !id.is_empty()), Some(item.name())),
            ItemKind::Hosted => (item.ids.first().cloned(), Some(item.kind.clone())),
            _ => (item.ids.first().cloned(), None),
        };
        deltas.push(Delta::ItemStarted(deltas::Item { index, kind, id, name }));
        index
    }

    fn add(&mut self, item: Item) -> Result<usize, Failure> {
        if self.items.len() >= ITEMS {
            return Err(self.explain(protocol(format!("the answer has more than {ITEMS} items"))));
        }
        self.items.push(item);
        Ok(self.items.len() - 1)
    }

    fn named(&self, ids: impl Iterator<Item = String>) -> Option<usize> {
        let mut ids = ids;
        ids.find_map(|id| self.items.iter().position(|item| item.ids.contains(&id)))
    }

    /// The item that a piece belongs to; a server may name it by id, by place, or not at all.
    fn grown_item(&mut self, kind: &str, event: &Event<'_>) -> Result<usize, Failure> {
        let (id, place) = (event.item_id(), event.output_index());
        let fits = |item: &Item| item.kind == kind;
        let found = self
            .items
            .iter()
            .position(|item| !id.is_empty() && item.ids.iter().any(|known| *known == id) && fits(item))
            .or_else(|| self.items.iter().rposition(|item| place.is_some() && item.place == place && fits(item)))
            .or_else(|| if place.is_none() && id.is_empty() { self.items.iter().rposition(fits) } else { None });
        if let Some(at) = found {
            return Ok(at);
        }
        let mut item = Item::new(kind, place);
        item.ids.extend((!id.is_empty()).then(|| id.into_owned()));
        self.add(item)
    }

    /// The item that `raw` is the whole of.
    fn whole_item(&mut self, place: Option<u64>, raw: &RawValue) -> Result<usize, Failure> {
        let whole: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let kind = string(&whole, "type");
        let at_place = |item: &Item| place.is_some() && item.place == place && item.kind == kind && !item.is_done();
        let lone = |item: &Item| item.kind == kind && item.place.is_none() && item.ids.is_empty() && !item.is_done();
        let found = self.named(names(&whole)).or_else(|| self.items.iter().position(at_place)).or_else(|| self.items.iter().position(lone));
        match found {
            Some(at) => Ok(at),
            None => self.add(Item::new(&kind, place)),
        }
    }

    /// The item that the last response repeats at `place`.
    fn repeated_item(&mut self, place: u64, raw: &RawValue) -> Result<usize, Failure> {
        let whole: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let kind = string(&whole, "type");
        let at_place = |item: &Item| item.place == Some(place) && item.kind == kind && !item.is_repeated();
        let same = |item: &Item| !item.is_repeated() && item.says(&whole);
        let found = self.named(names(&whole)).or_else(|| self.items.iter().position(at_place)).or_else(|| self.items.iter().position(same));
        match found {
            Some(at) => Ok(at),
            None => self.add(Item::new(&kind, Some(place))),
        }
    }

    fn stop(&self, message: &Message) -> Stop {
        let mut refusal = None;
        let mut calls = false;
        for piece in &message.pieces {
            match piece {
                Piece::Refusal(text) => refusal = Some(text.clone()),
                Piece::ToolUse(_) => calls = true,
                _ => {}
            }
        }
        match &self.end {
            Some(End::Incomplete(reason)) => match reason.as_str() {
                "max_output_tokens" | "max_tokens" => Stop::MaxOutput,
                "content_filter" => Stop::ContentFilter,
                reason => Stop::Other(reason.to_owned()),
            },
            _ if calls => Stop::ToolUse,
            _ if refusal.is_some() => Stop::Refusal(refusal),
            Some(End::Completed { goes_on: true }) => Stop::Pause,
            _ => Stop::EndTurn,
        }
    }
}

impl stream::Answer for Answer {
    fn event(&mut self, event: sse::Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        self.event(event.data, deltas).map(drop)
    }

    fn whole(&mut self, body: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let raw: Option<&RawValue> = serde_json::from_slice(body).ok();
        let response = Response::of(raw);
        if response.is_response() {
            self.count(body.len())?;
            return self.over("done", &response, deltas);
        }
        match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Err(error) if error.is_eof() => Err(self.explain(broken_off())),
            _ => Err(self.explain(failure::in_stream(body))),
        }
    }

    fn is_done(&self) -> bool {
        self.end.is_some()
    }

    fn is_terminal(&self) -> bool {
        self.end.is_some()
    }

    fn explain(&self, failure: Failure) -> Failure {
        self.explain(failure)
    }

    fn finish(mut self, deltas: &mut Vec<Delta>) -> Completion {
        // A stable order: what has no place keeps its turn.
        self.items.sort_by_key(|item| item.place.unwrap_or(u64::MAX));
        let cut = matches!(self.end, Some(End::Incomplete(_)));
        let (mut pieces, mut ids) = (Vec::new(), HashSet::new());
        for item in &self.items {
            for (kind, mut piece) in item.pieces(cut) {
                if let Piece::ToolUse(call) = &mut piece {
                    call.call_id = own_id(&call.call_id, &mut ids);
                }
                let shown = |kinds: &[ItemKind]| item.shown.iter().find(|(known, _)| kinds.contains(known)).map(|(_, index)| *index);
                let index = match kind {
                    ItemKind::Reasoning | ItemKind::ReasoningSummary => shown(&[ItemKind::Reasoning, ItemKind::ReasoningSummary]),
                    kind => shown(&[kind]),
                };
                deltas.extend(index.map(|index| Delta::ItemFinished(Finished { index, piece: piece.clone() })));
                pieces.push(piece);
            }
        }
        let calls = pieces.iter().any(|piece| matches!(piece, Piece::ToolUse(_)));
        let message = Message {
            id: self.response_id.clone().unwrap_or_else(|| self.request_id.clone()),
            role: Role::Assistant,
            phase: Some(if calls { Phase::Commentary } else { Phase::Final }),
            origin: Some(self.origin.clone()),
            pieces,
            cache_break: false,
        };
        Completion {
            stop: self.stop(&message),
            message,
            usage: self.parsed_usage().unwrap_or_else(Usage::none),
            response_id: self.response_id,
            served_model: self.served_model,
            served_tier: self.served_tier,
            ext: None,
        }
    }
}

/// Why the response failed. Only the error of it is read and kept: the rest repeats the request.
fn failed(response: &Response<'_>) -> Failure {
    match response.error {
        Some(error) => failure::in_stream(format!("{{\"error\":{}}}", error.get()).as_bytes()),
        None => Failure::new(FailureKind::Server, "the server says that the answer failed, and not why"),
    }
}

/// The id if no call before has it, else one of its own.
fn own_id(id: &str, ids: &mut HashSet<String>) -> String {
    let id = if id.is_empty() || ids.contains(id) {
        (0..=ids.len()).map(|n| format!("call_{n}")).find(|id| !ids.contains(id)).unwrap_or_default()
    } else {
        id.to_owned()
    };
    ids.insert(id.clone());
    id
}

/// The first that is said stays.
fn keep(slot: &mut Option<String>, text: &str) {
    if slot.is_none() && !text.is_empty() {
        *slot = Some(text.to_owned());
    }
}

fn protocol(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Protocol, message)
}
