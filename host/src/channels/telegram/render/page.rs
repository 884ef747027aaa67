//! A whole answer as one text, with what is marked in it and where it may be cut. Positions are in bytes.

use std::ops::Range;
use std::rc::Rc;

use super::entity::{self, Entity, Kind, Text};

#[derive(Debug, Default)]
pub struct Page {
    pub text: String,
    /// Sorted by [`Mark::order`]. Of two with text in common one is inside the other.
    pub marks: Vec<Mark>,
    /// Sorted by place.
    pub borders: Vec<Border>,
}

/// A piece that is shown in some way; never empty.
#[derive(Debug, Clone)]
pub struct Mark {
    pub kind: Kind,
    pub range: Range<usize>,
    /// The address of a link, the language of code.
    pub note: Option<Rc<str>>,
}

/// A place where a message may end.
#[derive(Debug, Clone, Copy)]
pub struct Border {
    pub at: usize,
    pub rank: Rank,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Between items of a list, blocks of an item or a quote.
    Item,
    /// Between blocks of the text itself.
    Block,
}

impl Mark {
    pub fn order(&self) -> (usize, std::cmp::Reverse<usize>, Kind) {
        (self.range.start, std::cmp::Reverse(self.range.end), self.kind)
    }
}

impl Page {
    /// The message that shows `range` after `lead`, with what `marks` says of it.
    pub fn cut<'a>(&self, range: Range<usize>, marks: impl Iterator<Item = &'a Mark>, lead: &str) -> Text {
        let piece = self.text[range.clone()].trim_end();
        let end = range.start + piece.len();
        let units = units_before(piece);
        let lead_units = entity::units(lead);
        let mut kept: Vec<Mark> = Vec::new();
        // The last quote: code that begins with an indentation pulls its beginning back.
        let mut quote: Option<usize> = None;
        for mark in marks {
            let clipped = mark.range.start.max(range.start)..mark.range.end.min(end);
            let Some(trimmed) = self.trimmed(clipped, mark.kind) else { continue };
            if mark.kind == Kind::Pre
                && let Some(around) = quote.and_then(|index| kept.get_mut(index))
                && trimmed.start < around.range.start
                && around.range.start < trimmed.end
            {
                around.range.start = trimmed.start;
            }
            if mark.kind.is_quote() {
                quote = Some(kept.len());
            }
            kept.push(Mark { range: trimmed, ..mark.clone() });
        }
        kept.sort_by_key(Mark::order);
        let entities = kept.into_iter().map(|mark| {
            let (start, end) = (units[mark.range.start - range.start], units[mark.range.end - range.start]);
            let note = mark.note.as_deref().map(str::to_owned);
            let (url, language) = if mark.kind == Kind::TextLink { (note, None) } else { (None, note) };
            Entity { kind: mark.kind, offset: lead_units + start, length: end - start, url, language }
        });
        Text { text: format!("{lead}{piece}"), entities: entities.collect() }
    }

    /// Without white space at its ends, except the indentation of code.
    fn trimmed(&self, range: Range<usize>, kind: Kind) -> Option<Range<usize>> {
        let text = self.text.get(range.clone())?;
        let whole = text.trim_end();
        let mut start = whole.len() - whole.trim_start().len();
        if kind == Kind::Pre {
            start = whole[..start].rfind('\n').map_or(0, |feed| feed + 1);
        }
        (start < whole.len()).then(|| range.start + start..range.start + whole.len())
    }
}

/// For each byte of a text the units before it, and for its end.
fn units_before(text: &str) -> Vec<usize> {
    let mut before = vec![0; text.len() + 1];
    let mut units = 0;
    for (at, c) in text.char_indices() {
        before[at] = units;
        units += c.len_utf16();
    }
    before[text.len()] = units;
    before
}
