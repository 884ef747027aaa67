//! One item of the answer as it grows, and what it is in the end.
//!
//! An item is told three times: in pieces, whole when it is done, and once more in the response that ends the stream. The
//! second is the authority; what it lacks is taken from the third, then from the pieces, since servers leave out of each
//! what they have said in another.

use serde_json::Value;
use serde_json::value::RawValue;

use super::ITEM_FORMAT;
use crate::chat::{Opaque, Piece, Reasoning, TextPiece, ToolUse};
use crate::deltas::ItemKind;

/// A text that comes in parts.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<(u64, String)>);

impl Parts {
    /// True when it begins a further part.
    pub(super) fn add(&mut self, part: u64, text: &str) -> bool {
        let before = self.0.len();
        self.of(part).push_str(text);
        before > 0 && self.0.len() > before
    }

    /// The whole of a part; an empty one takes nothing back.
    pub(super) fn set(&mut self, part: u64, text: &str) {
        if !text.is_empty() {
            text.clone_into(self.of(part));
        }
    }

    fn of(&mut self, part: u64) -> &mut String {
        let at = self.0.iter().position(|(known, _)| *known == part).unwrap_or_else(|| {
            self.0.push((part, String::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn list(&self) -> Vec<String> {
        self.0.iter().map(|(_, text)| text.clone()).filter(|text| !text.is_empty()).collect()
    }

    fn joined(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// An item of the answer.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// Its `type`; guessed from its pieces when nothing else named it.
    pub(super) kind: String,
    /// Its place among the items, as the server counts.
    pub(super) place: Option<u64>,
    /// Every name it goes by: its own id, and that of its call.
    pub(super) ids: Vec<String>,
    pub(super) text: Parts,
    pub(super) refusal: Parts,
    pub(super) thought: Parts,
    pub(super) summary: Parts,
    /// Arguments, or the input of a free-form call.
    pub(super) written: Parts,
    /// Under which index the host knows it, by kind: a message may hold text and a refusal.
    pub(super) shown: Vec<(ItemKind, u32)>,
    begun: Value,
    done: Option<String>,
    /// As the last response has it.
    last: Option<String>,
}

impl Item {
    pub(super) fn new(kind: &str, place: Option<u64>) -> Self {
        Self { kind: kind.to_owned(), place, ..Self::default() }
    }

    /// The item begins: `raw` may lack everything but its names.
    pub(super) fn begin(&mut self, raw: &RawValue) {
        self.begun = serde_json::from_str(raw.get()).unwrap_or_default();
        self.named();
    }

    /// The item is whole.
    pub(super) fn finish(&mut self, raw: &RawValue) {
        self.done = Some(raw.get().to_owned());
        self.begun = serde_json::from_str(raw.get()).unwrap_or_default();
        self.named();
    }

    /// The response that ends the stream has it, too.
    pub(super) fn repeat(&mut self, raw: &RawValue) {
        self.last = Some(raw.get().to_owned());
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    pub(super) fn is_repeated(&self) -> bool {
        self.last.is_some()
    }

    pub(super) fn name(&self) -> String {
        string(&self.begun, "name")
    }

    pub(super) fn call_id(&self) -> String {
        string(&self.begun, "call_id")
    }

    fn named(&mut self) {
        let kind = string(&self.begun, "type");
        if !kind.is_empty() {
            self.kind = kind;
        }
        for id in names(&self.begun) {
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
    }

    /// Does a whole item say what this one has said so far? For servers that name an item differently each time.
    pub(super) fn says(&self, item: &Value) -> bool {
        if string(item, "type") != self.kind {
            return false;
        }
        match self.kind.as_str() {
            "message" => self.said(&self.sources()) == Self::content(item, "output_text", "text"),
            "function_call" => self.arguments(&self.sources(), "arguments") == string(item, "arguments"),
            _ => false,
        }
    }

    /// The pieces of the message that it became, each with its kind. `cut`: the answer was cut off.
    pub(super) fn pieces(&self, cut: bool) -> Vec<(ItemKind, Piece)> {
        let sources = self.sources();
        match self.kind.as_str() {
            "message" => self.message(&sources),
            "reasoning" => self.reasoning(&sources).into_iter().collect(),
            "function_call" => self.call(&sources, "arguments", cut).into_iter().collect(),
            "custom_tool_call" => self.call(&sources, "input", cut).into_iter().collect(),
            kind => {
                let Some(data) = self.done.clone().or_else(|| self.last.clone()) else { return Vec::new() };
                let opaque = Opaque { format: ITEM_FORMAT.into(), data };
                let is_compaction = matches!(kind, "compaction" | "compaction_summary" | "context_compaction");
                vec![(ItemKind::Hosted, if is_compaction { Piece::Compaction(opaque) } else { Piece::Hosted(opaque) })]
            }
        }
    }

    /// What was told of it as a whole, the authority first.
    fn sources(&self) -> Vec<Value> {
        let whole = [&self.done, &self.last].into_iter().flatten();
        whole.filter_map(|raw| serde_json::from_str(raw).ok()).collect()
    }

    fn first(sources: &[Value], key: &str) -> Option<String> {
        sources.iter().map(|source| string(source, key)).find(|text| !text.is_empty())
    }

    fn content(item: &Value, kind: &str, field: &str) -> String {
        let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
        parts.filter(|part| part.get("type").and_then(Value::as_str) == Some(kind)).map(|part| string(part, field)).collect()
    }

    fn of_content(sources: &[Value], kind: &str, field: &str) -> Option<String> {
        sources.iter().map(|source| Self::content(source, kind, field)).find(|text| !text.is_empty())
    }

    fn said(&self, sources: &[Value]) -> String {
        Self::of_content(sources, "output_text", "text").unwrap_or_else(|| self.text.joined())
    }

    fn message(&self, sources: &[Value]) -> Vec<(ItemKind, Piece)> {
        let mut pieces = Vec::new();
        let text = self.said(sources);
        if !text.is_empty() {
            let annotations: Vec<Value> = sources.iter().map(annotations).find(|list| !list.is_empty()).unwrap_or_default();
            let annotations = (!annotations.is_empty()).then(|| Value::Array(annotations).to_string());
            pieces.push((ItemKind::Text, Piece::Text(TextPiece { text, annotations })));
        }
        let refusal = Self::of_content(sources, "refusal", "refusal").unwrap_or_else(|| self.refusal.joined());
        if !refusal.is_empty() {
            pieces.push((ItemKind::Refusal, Piece::Refusal(refusal)));
        }
        pieces
    }

    fn reasoning(&self, sources: &[Value]) -> Option<(ItemKind, Piece)> {
        let summary = sources.iter().map(summary).find(|list| !list.is_empty()).unwrap_or_else(|| self.summary.list());
        let text = Self::of_content(sources, "reasoning_text", "text").unwrap_or_else(|| self.thought.joined());
        let text = Some(text).filter(|text| !text.is_empty());
        // Without a seal the server cannot know it again and refuses it; the first telling of a seal may be a part of it.
        let sealed = [&self.done, &self.last].into_iter().flatten().find(|raw| is_sealed(raw));
        let opaque = sealed.map(|data| Opaque { format: ITEM_FORMAT.into(), data: data.clone() });
        let kind = if text.is_some() { ItemKind::Reasoning } else { ItemKind::ReasoningSummary };
        let is_empty = text.is_none() && summary.is_empty() && opaque.is_none();
        (!is_empty).then_some((kind, Piece::Reasoning(Reasoning { text, summary, opaque })))
    }

    fn arguments(&self, sources: &[Value], field: &str) -> String {
        Self::first(sources, field).unwrap_or_else(|| self.written.joined())
    }

    fn call(&self, sources: &[Value], field: &str, cut: bool) -> Option<(ItemKind, Piece)> {
        if cut && sources.iter().all(|source| string(source, "status") == "incomplete") {
            return None;
        }
        let name = Self::first(sources, "name").unwrap_or_else(|| self.name());
        let mut arguments = self.arguments(sources, field);
        if name.is_empty() && arguments.is_empty() {
            return None;
        }
        let freeform = field == "input";
        if !freeform && arguments.trim().is_empty() {
            arguments = "{}".into();
        }
        let call_id = Self::first(sources, "call_id").unwrap_or_else(|| self.call_id());
        let id = Self::first(sources, "id");
        let call_id = if call_id.is_empty() { id.clone().unwrap_or_default() } else { call_id };
        Some((ItemKind::ToolUse, Piece::ToolUse(ToolUse { call_id, item_id: id, name, arguments, freeform })))
    }
}

/// The ids that an item has.
pub(super) fn names(item: &Value) -> impl Iterator<Item = String> + use<> {
    [string(item, "id"), string(item, "call_id")].into_iter().filter(|id| !id.is_empty())
}

pub(super) fn string(item: &Value, key: &str) -> String {
    item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn annotations(item: &Value) -> Vec<Value> {
    let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("annotations")?.as_array().cloned()).flatten().collect()
}

fn summary(item: &Value) -> Vec<String> {
    let parts = item.get("summary").and_then(Value::as_array).into_iter().flatten();
    parts.map(|part| string(part, "text")).filter(|text| !text.is_empty()).collect()
}

/// Can its server tell that this reasoning is its own?
fn is_sealed(raw: &str) -> bool {
    let item: Value = serde_json::from_str(raw).unwrap_or_default();
    ["encrypted_content", "signature"].iter().any(|key| !string(&item, key).is_empty())
}
