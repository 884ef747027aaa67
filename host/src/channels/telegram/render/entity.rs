//! A message as the Bot API takes it: a text, and entities that point into it by UTF-16 units.

use serde::{Deserialize, Serialize};

/// The text of a message or caption. Entities are sorted: by offset, and the longer, outer one first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub text: String,
    pub entities: Vec<Entity>,
}

/// How a piece of the text is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub offset: usize,
    pub length: usize,
    /// Of a [`Kind::TextLink`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of a [`Kind::Pre`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// The kinds of entities that we send, the outer ones first: of two with the same extent the first is around the second.
/// A quote may contain everything but a quote, a link only emphasis; code contains nothing and is in nothing but a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Blockquote,
    ExpandableBlockquote,
    Pre,
    Code,
    TextLink,
    Bold,
    Italic,
    Strikethrough,
}

impl Text {
    /// The length that the Bot API counts.
    pub fn units(&self) -> usize {
        units(&self.text)
    }
}

impl Kind {
    pub(super) fn is_quote(self) -> bool {
        matches!(self, Kind::Blockquote | Kind::ExpandableBlockquote)
    }
}

/// UTF-16 units of a text.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}
