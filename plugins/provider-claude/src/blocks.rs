//! Content blocks, and the JSON that they become.

use std::borrow::Cow;

use serde_json::{Map, Value};
use stellaclaw_sdk::chat::{Media, Role};
use stellaclaw_sdk::json::Json;

use crate::media::Sent;

/// A message as the wire has it.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// A user, or the assistant.
    pub(crate) role: Role,
    pub(crate) blocks: Vec<Block<'a>>,
    /// The prompt cache may end here.
    pub(crate) cache_break: bool,
}

/// One block.
#[derive(Debug)]
pub(crate) enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        /// JSON, as it came.
        citations: Option<&'a str>,
    },
    Media {
        media: &'a Media,
        sent: Sent,
    },
    ToolUse {
        id: String,
        name: String,
        input: Cow<'a, str>,
    },
    ToolResult {
        id: String,
        content: Vec<Block<'a>>,
        is_error: bool,
    },
    /// What the model thought, as it came.
    Thinking(&'a str),
    /// Anything else of the vendor's own, as it came.
    Hosted(&'a str),
}

impl<'a> Block<'a> {
    /// None for a text that the vendor would refuse: it wants something to read in each.
    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Option<Self> {
        let text = text.into();
        (!text.trim().is_empty()).then_some(Self::Text { text, citations: None })
    }

    fn can_be_cached(&self) -> bool {
        !matches!(self, Self::Thinking(_) | Self::Hosted(_))
    }

    /// `mark`: its `cache_control`.
    fn json(&self, mark: Option<Json>) -> Json {
        let kind = |kind: &str| ("type", Json::from(kind));
        let mut fields = match self {
            Self::Text { text: said, citations } => return text(said, *citations, mark),
            Self::Media { media, sent } => {
                let source = [kind("base64"), ("media_type", media.media_type.as_str().into()), ("data", Json::base64("", &media.blob))];
                let name = media.name.as_deref().filter(|name| *sent == Sent::Document && !name.trim().is_empty());
                let own = [kind(if *sent == Sent::Image { "image" } else { "document" }), ("source", Json::object(source))];
                own.into_iter().chain(name.map(|name| ("title", name.into()))).collect()
            }
            Self::ToolUse { id, name, input } => {
                vec![kind("tool_use"), ("id", id.as_str().into()), ("name", name.as_str().into()), ("input", verbatim(input))]
            }
            Self::ToolResult { id, content, is_error } => {
                let mut fields = vec![kind("tool_result"), ("tool_use_id", id.as_str().into())];
                if !content.is_empty() {
                    fields.push(("content", Json::list(content.iter().map(|block| block.json(None)))));
                }
                if *is_error {
                    fields.push(("is_error", Value::from(true).into()));
                }
                fields
            }
            // Neither is ever marked.
            Self::Thinking(json) | Self::Hosted(json) => return verbatim(json),
        };
        fields.extend(mark.map(|mark| ("cache_control", mark)));
        Json::object(fields)
    }
}

/// A block of text.
pub(crate) fn text(said: &str, citations: Option<&str>, mark: Option<Json>) -> Json {
    let mut fields = vec![("type", "text".into()), ("text", said.into())];
    fields.extend(citations.map(|citations| ("citations", verbatim(citations))));
    fields.extend(mark.map(|mark| ("cache_control", mark)));
    Json::object(fields)
}

/// JSON as it came: it was looked at when the block was made.
fn verbatim(json: &str) -> Json {
    Json::raw(json).unwrap_or_else(|_| Value::Null.into())
}

/// Where the prompt cache ends: at one block, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    turn: usize,
    block: usize,
}

/// The last block that can be marked of the last message that may be.
pub(crate) fn cache_place(turns: &[Turn<'_>]) -> Option<Place> {
    let turn = turns.iter().rposition(|turn| turn.cache_break)?;
    let block = turns[turn].blocks.iter().rposition(Block::can_be_cached)?;
    Some(Place { turn, block })
}

/// The list of messages.
pub(crate) fn turns_json(turns: &[Turn<'_>], mark: Option<(Place, &Json)>) -> Json {
    Json::list(turns.iter().enumerate().map(|(at, turn)| {
        let mark_of = |block: usize| mark.filter(|(place, _)| *place == Place { turn: at, block }).map(|(_, mark)| mark.clone());
        let role = if turn.role == Role::Assistant { "assistant" } else { "user" };
        let content = Json::list(turn.blocks.iter().enumerate().map(|(at, block)| block.json(mark_of(at))));
        Json::object([("role", role.into()), ("content", content)])
    }))
}

/// The text itself when it is a JSON object that the vendor can read: strings with half a surrogate pair are none.
pub(crate) fn object(json: &str) -> Option<&str> {
    serde_json::from_str::<Map<String, Value>>(json).is_ok().then(|| json.trim())
}
