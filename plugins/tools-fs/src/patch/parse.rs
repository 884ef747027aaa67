//! Reads the text of a patch: which of the two formats it is, and what it says.

use stellaclaw_sdk::{Error, Result};

use crate::paths::Place;
use crate::text::cut_bytes;

mod envelope;
mod names;
#[cfg(test)]
mod tests;
mod unified;

/// How much of a line an error repeats.
const MAX_SHOWN_LINE_BYTES: usize = 200;

/// What a patch does to one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) change: Change,
    /// May a file that is there be replaced by a new or moved one? The envelope says so, a diff knows what was there.
    pub(crate) replaces: bool,
    /// A mode that the patch wants and that cannot be set.
    pub(crate) mode: Option<&'static str>,
}

/// See [`Section`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add {
        place: Place,
        content: String,
    },
    /// With hunks: only a file that they empty.
    Delete {
        file: Named,
        hunks: Vec<Hunk>,
    },
    Update {
        file: Named,
        to: Option<Place>,
        hunks: Vec<Hunk>,
    },
}

/// A file that should be there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) place: Place,
    /// What the name means when there is no such file: `a/x` may be the file `x` or the file `a/x`.
    pub(crate) otherwise: Option<Place>,
}

impl From<Place> for Named {
    fn from(place: Place) -> Self {
        Self { place, otherwise: None }
    }
}

/// Lines to look for and what to make of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// The `@@` lines before it: lines that come somewhere before the place, in this order. Beside a stated line they only help.
    pub(crate) anchors: Vec<String>,
    pub(crate) lines: Vec<Line>,
    /// Must the place be the end of the file?
    pub(crate) at_end: bool,
    pub(crate) which: Which,
}

/// Which of several places that fit is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The first one.
    First,
    /// The one at this line (from 0) of the file as it was, or the only one.
    Stated(usize),
    /// The only one.
    Only,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Keep(String),
    Drop(String),
    Put(String, Ending),
}

/// How a new line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As the lines around it.
    Around,
    Lf,
    CrLf,
    /// It is the last of the file, and open.
    None,
}

/// The lines of a patch, without what is wrapped around it.
#[derive(Debug, Clone, Copy)]
struct Text<'a> {
    /// Without their line feeds.
    lines: &'a [&'a str],
    /// How many lines of what the model wrote come before.
    before: usize,
}

/// Reads a patch.
///
/// # Errors
///
/// `invalid`, with the line of the patch and what was expected there.
pub(crate) fn parse(patch: &str) -> Result<Vec<Section>> {
    let lines: Vec<&str> = patch.strip_suffix('\n').unwrap_or(patch).split('\n').collect();
    let text = unwrapped(Text { lines: &lines, before: 0 });
    let Some(first) = text.lines.first().filter(|line| !line.trim().is_empty()) else {
        return Err(Error::invalid(format!("the patch is empty; {FORMATS}")));
    };
    if first.trim() != envelope::BEGIN {
        return unified::parse(text)?.ok_or_else(|| Error::invalid(format!("the patch starts with `{}`; {FORMATS}", shown(first))));
    }
    // A diff in an envelope is a diff.
    let body = Text { lines: &text.lines[1..], before: text.before + 1 };
    let begun = body.lines.iter().find(|line| !line.trim().is_empty());
    if begun.is_some_and(|line| unified::starts_file(line))
        && let Some(sections) = unified::parse(body)?
    {
        return Ok(sections);
    }
    envelope::parse(text)
}

const FORMATS: &str =
    "it is either a unified diff, with `--- a/PATH` and `+++ b/PATH` before the hunks of each file, or begins with `*** Begin Patch`";

/// Models wrap a patch in blank lines, in a code fence, or in a here-document.
fn unwrapped(text: Text<'_>) -> Text<'_> {
    let blank = text.lines.iter().take_while(|line| line.trim().is_empty()).count();
    let text = Text { lines: &text.lines[blank..], before: text.before + blank };
    let Some((first, rest)) = text.lines.split_first().filter(|(first, _)| !unified::starts_file(first)) else { return text };
    let end = if first.starts_with("```") {
        "```"
    } else if let Some((_, marker)) = first.split_once("<<") {
        marker.trim().trim_matches(['\'', '"'])
    } else {
        return text;
    };
    match rest.iter().rposition(|line| !line.trim().is_empty()) {
        Some(last) if rest[last].trim() == end => unwrapped(Text { lines: &rest[..last], before: text.before + 1 }),
        _ => text,
    }
}

/// A line of a patch in an error.
pub(crate) fn shown(line: &str) -> &str {
    cut_bytes(line, MAX_SHOWN_LINE_BYTES)
}
