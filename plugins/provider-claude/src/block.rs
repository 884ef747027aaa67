//! One content block while it is written, and the piece that it becomes.
//!
//! Thinking that is signed is kept as the very JSON that goes back; thinking without a signature was cut off, and is only
//! shown. Blocks of unknown types are kept as they came, unless something was added to them that nobody here can put in.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use stellaclaw_sdk::chat::{Opaque, Piece, Reasoning, TextPiece, ToolUse};
use stellaclaw_sdk::deltas::{Delta, Item, ItemKind, append};

use crate::request::{REDACTED_THINKING, THINKING};
use crate::wire;

/// The indices that were given out.
#[derive(Debug, Default)]
pub(crate) struct Items(u32);

impl Items {
    fn begin(&mut self, kind: ItemKind, id: &str, name: &str, deltas: &mut Vec<Delta>) -> u32 {
        let index = self.0;
        self.0 += 1;
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        deltas.push(Delta::ItemStarted(Item { index, kind, id: said(id), name: said(name) }));
        index
    }
}

#[derive(Debug)]
pub(crate) struct Block {
    /// The index under which the host knows it, once there is something to see.
    item: Option<u32>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text {
        text: String,
        citations: Vec<Value>,
    },
    Thinking {
        text: String,
        signature: String,
    },
    Redacted(String),
    Call {
        id: String,
        name: String,
        /// What came with the beginning; what follows replaces it.
        whole: String,
        input: String,
    },
    Hosted {
        kind: String,
        json: String,
        input: String,
        /// Something was added that cannot be put in.
        is_torn: bool,
    },
}

impl Block {
    /// A block as its beginning says, which may be all of it.
    pub(crate) fn begin(begun: &wire::Block<'_>, json: &RawValue, items: &mut Items, deltas: &mut Vec<Delta>) -> Self {
        let mut block = match begun.kind.0.as_ref() {
            "text" => Self::new(Kind::Text { text: String::new(), citations: begun.citations.clone().unwrap_or_default() }),
            "thinking" => Self::new(Kind::Thinking { text: String::new(), signature: begun.signature.0.clone().into_owned() }),
            REDACTED_THINKING => Self::new(Kind::Redacted(json.get().to_owned())),
            "tool_use" => {
                let (id, name) = (begun.id.0.clone().into_owned(), begun.name.0.clone().into_owned());
                let whole = begun.input.map_or_else(String::new, |input| input.get().to_owned());
                let item = items.begin(ItemKind::ToolUse, &id, &name, deltas);
                Self { item: Some(item), kind: Kind::Call { id, name, whole, input: String::new() } }
            }
            kind => {
                let item = items.begin(ItemKind::Hosted, &begun.id.0, &begun.name.0, deltas);
                let kind = Kind::Hosted { kind: kind.to_owned(), json: json.get().to_owned(), input: String::new(), is_torn: false };
                Self { item: Some(item), kind }
            }
        };
        match &block.kind {
            Kind::Text { .. } => block.say(&begun.text.0, items, deltas),
            Kind::Thinking { .. } => block.say(&begun.thinking.0, items, deltas),
            _ => {}
        }
        block
    }

    /// The block that an addition is for when nothing said that it begins.
    pub(crate) fn unannounced(delta: &wire::Delta<'_>) -> Option<Self> {
        match delta.kind.0.as_ref() {
            "text_delta" => Some(Self::new(Kind::Text { text: String::new(), citations: Vec::new() })),
            "thinking_delta" => Some(Self::new(Kind::Thinking { text: String::new(), signature: String::new() })),
            _ => None,
        }
    }

    fn new(kind: Kind) -> Self {
        Self { item: None, kind }
    }

    pub(crate) fn is_call(&self) -> bool {
        matches!(self.kind, Kind::Call { .. })
    }

    pub(crate) fn add(&mut self, delta: wire::Delta<'_>, items: &mut Items, deltas: &mut Vec<Delta>) {
        match (&mut self.kind, delta.kind.0.as_ref()) {
            (Kind::Text { .. }, "text_delta") => self.say(&delta.text.0, items, deltas),
            (Kind::Text { citations, .. }, "citations_delta") => citations.extend(delta.citation),
            (Kind::Thinking { .. }, "thinking_delta") => self.say(&delta.thinking.0, items, deltas),
            (Kind::Thinking { signature, .. }, "signature_delta") => *signature = delta.signature.0.into_owned(),
            (Kind::Call { input, .. }, "input_json_delta") => {
                input.push_str(&delta.partial_json.0);
                if let Some(index) = self.item {
                    append(deltas, index, &delta.partial_json.0);
                }
            }
            (Kind::Hosted { input, .. }, "input_json_delta") => input.push_str(&delta.partial_json.0),
            (Kind::Hosted { is_torn, .. }, _) => *is_torn = true,
            // Additions that may come with new models: what is known of the block is whole without them.
            _ => {}
        }
    }

    /// Adds to what a person reads.
    fn say(&mut self, more: &str, items: &mut Items, deltas: &mut Vec<Delta>) {
        let (text, kind) = match &mut self.kind {
            Kind::Text { text, .. } => (text, ItemKind::Text),
            Kind::Thinking { text, .. } => (text, ItemKind::Reasoning),
            _ => return,
        };
        if more.is_empty() {
            return;
        }
        text.push_str(more);
        let index = *self.item.get_or_insert_with(|| items.begin(kind, "", "", deltas));
        append(deltas, index, more);
    }

    /// The piece, and the index under which its beginning was told. None when nothing of it can be used.
    pub(crate) fn finish(self) -> (Option<u32>, Option<Piece>) {
        let piece = match self.kind {
            Kind::Text { text, .. } if text.is_empty() => None,
            Kind::Text { text, citations } => {
                let annotations = (!citations.is_empty()).then(|| Value::Array(citations).to_string());
                Some(Piece::Text(TextPiece { text, annotations }))
            }
            Kind::Thinking { text, signature } => thought(text, &signature),
            Kind::Redacted(data) => {
                let opaque = Some(Opaque { format: REDACTED_THINKING.into(), data });
                Some(Piece::Reasoning(Reasoning { text: None, summary: Vec::new(), opaque }))
            }
            Kind::Call { id, name, whole, input } => {
                let arguments = [input, whole].into_iter().find(|json| !json.trim().is_empty()).unwrap_or_else(|| "{}".to_owned());
                Some(Piece::ToolUse(ToolUse { call_id: id, item_id: None, name, arguments, freeform: false }))
            }
            Kind::Hosted { is_torn: true, .. } => None,
            Kind::Hosted { kind, json, input, .. } => hosted(json, &input)
                .map(|data| Piece::Hosted(Opaque { format: if kind.is_empty() { "unknown".into() } else { kind }, data })),
        };
        (self.item, piece)
    }
}

fn thought(text: String, signature: &str) -> Option<Piece> {
    if text.is_empty() && signature.is_empty() {
        return None;
    }
    let opaque = (!signature.is_empty()).then(|| {
        let mut block = Map::new();
        block.insert("type".into(), "thinking".into());
        block.insert("thinking".into(), text.as_str().into());
        block.insert("signature".into(), signature.into());
        Opaque { format: THINKING.into(), data: Value::Object(block).to_string() }
    });
    let text = Some(text).filter(|text| !text.is_empty());
    Some(Piece::Reasoning(Reasoning { text, summary: Vec::new(), opaque }))
}

/// The block with the input that came after its beginning. None when that is not whole.
fn hosted(json: String, input: &str) -> Option<String> {
    if input.trim().is_empty() {
        return Some(json);
    }
    let mut block: Map<String, Value> = serde_json::from_str(&json).ok()?;
    block.insert("input".into(), serde_json::from_str(input).ok()?);
    Some(Value::Object(block).to_string())
}
