//! From Markdown to messages: `markdown` reads it into `blocks`, `layout` writes these as one text with marks and borders (`page`),
//! `split` cuts that text into messages. `attachments` finds the files that an answer attaches.
//!
//! Text is never lost: what has no form of its own in Telegram is shown as text. Every message has something visible in it, at most
//! so many UTF-16 units as asked for and at most [`limits::MESSAGE_ENTITIES`] entities, which nest as Telegram's do. Time and memory
//! are linear in the Markdown, whatever it is. It does not send anything and does not know which files exist.

pub mod attachments;
mod blocks;
mod characters;
mod entity;
mod layout;
mod links;
mod markdown;
mod page;
mod split;
mod table;
#[cfg(test)]
mod tests;

pub use characters::is_visible;
pub use entity::{Entity, Kind, Text};

use crate::limits;

/// Stands below the beginning of an answer that is sent as a file.
const REST_IN_FILE: &str = "… The whole answer is in the attached file.";

/// An answer as it is sent: a file is the answer's Markdown, and the one message is then only its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub parts: Vec<Text>,
    pub file: Option<String>,
}

/// Markdown that shows `text` as it is: what others are called is no markup of ours.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal
}

/// Markdown that shows one line of `text` as code: Telegram finds no command, address or name in that.
#[must_use]
pub fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // The spaces are not shown; without them a grave at an end would be part of the fence.
    format!("{fence} {text} {fence}")
}

/// The messages that show `markdown`. None when there is nothing to see in it: what is said then is for the caller to choose.
pub fn render(markdown: &str) -> Vec<Text> {
    render_within(markdown, limits::MESSAGE_UNITS)
}

/// The same with another length of a message, such as [`limits::CAPTION_UNITS`].
pub fn render_within(markdown: &str, units: usize) -> Vec<Text> {
    split::split(&layout::page(&markdown::parse(markdown)), units)
}

/// The messages that show `markdown`, or its beginning and a file when these would be more than [`limits::MESSAGE_PARTS_MAX`]. Each
/// has room for [`limits::MARK_UNITS`] before it.
pub fn render_or_file(markdown: &str) -> Rendered {
    let units = limits::MESSAGE_UNITS - limits::MARK_UNITS;
    let page = layout::page(&markdown::parse(markdown));
    let parts = split::split(&page, units);
    if parts.len() <= limits::MESSAGE_PARTS_MAX {
        return Rendered { parts, file: None };
    }
    let below = format!("\n\n{REST_IN_FILE}");
    let shorter = units - entity::units(&below);
    let mut beginning = split::split(&page, shorter).into_iter().next().unwrap_or_default();
    beginning.text.push_str(&below);
    Rendered { parts: vec![beginning], file: Some(markdown.to_owned()) }
}

/// The last `units` of a text that is still being written. Empty when there is nothing to see yet.
pub fn preview(markdown: &str, units: usize) -> Text {
    split::last(&layout::page(&markdown::parse(markdown)), units)
}
