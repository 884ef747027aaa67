//! Content blocks, and how they are written.

use std::borrow::Cow;

use serde_json::{Map, Value};
use stellaclaw_sdk::chat::{Media, Role};

use crate::body::Body;
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

    /// `mark`: the JSON of `cache_control`.
    fn write(&self, body: &mut Body, mark: Option<&str>) {
        match self {
            Self::Text { text, citations } => {
                body.raw(r#"{"type":"text","text":"#);
                body.value(text);
                if let Some(citations) = citations {
                    body.raw(r#","citations":"#);
                    body.raw(citations);
                }
            }
            Self::Media { media, sent } => {
                body.raw(match sent {
                    Sent::Image => r#"{"type":"image","source":{"type":"base64","media_type":"#,
                    Sent::Document => r#"{"type":"document","source":{"type":"base64","media_type":"#,
                });
                body.value(&media.media_type);
                body.raw(r#","data":"#);
                body.blob(&media.blob);
                body.raw("}");
                if let (Sent::Document, Some(name)) = (sent, media.name.as_deref().filter(|name| !name.trim().is_empty())) {
                    body.raw(r#","title":"#);
                    body.value(name);
                }
            }
            Self::ToolUse { id, name, input } => {
                body.raw(r#"{"type":"tool_use","id":"#);
                body.value(id);
                body.raw(r#","name":"#);
                body.value(name);
                body.raw(r#","input":"#);
                body.raw(input);
            }
            Self::ToolResult { id, content, is_error } => {
                body.raw(r#"{"type":"tool_result","tool_use_id":"#);
                body.value(id);
                if !content.is_empty() {
                    body.raw(r#","content":"#);
                    write_blocks(content, body, None);
                }
                if *is_error {
                    body.raw(r#","is_error":true"#);
                }
            }
            // Neither is ever marked.
            Self::Thinking(json) | Self::Hosted(json) => return body.raw(json),
        }
        if let Some(mark) = mark {
            body.raw(r#","cache_control":"#);
            body.raw(mark);
        }
        body.raw("}");
    }
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

/// Writes the list of messages.
pub(crate) fn write_turns(turns: &[Turn<'_>], body: &mut Body, mark: Option<(Place, &str)>) {
    body.raw("[");
    for (at, turn) in turns.iter().enumerate() {
        body.separate(at);
        body.raw(if turn.role == Role::Assistant { r#"{"role":"assistant","content":"# } else { r#"{"role":"user","content":"# });
        write_blocks(&turn.blocks, body, mark.filter(|(place, _)| place.turn == at).map(|(place, mark)| (place.block, mark)));
        body.raw("}");
    }
    body.raw("]");
}

fn write_blocks(blocks: &[Block<'_>], body: &mut Body, mark: Option<(usize, &str)>) {
    body.raw("[");
    for (at, block) in blocks.iter().enumerate() {
        body.separate(at);
        block.write(body, mark.filter(|(place, _)| *place == at).map(|(_, mark)| mark));
    }
    body.raw("]");
}

/// The text itself when it is a JSON object that the vendor can read: strings with half a surrogate pair are none.
pub(crate) fn object(json: &str) -> Option<&str> {
    serde_json::from_str::<Map<String, Value>>(json).is_ok().then(|| json.trim())
}
