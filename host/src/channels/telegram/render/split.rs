//! Cuts a page into messages, at the best place that is near enough to the end of each: between blocks, between items, at a line end,
//! after a sentence, between words, and inside a word only where there is no other way.
//!
//! Whatever is cut goes on in the next message as what it was: code as code of the same language, a quote as a quote. The messages
//! one after the other are the whole text; only white space where it was cut is left out, and what nobody could see.

use unicode_segmentation::GraphemeCursor;

use crate::limits;

use super::characters;
use super::entity::{self, Kind, Text};
use super::page::{Mark, Page, Rank};

/// Stands before the end of a text whose beginning is left out.
const EARLIER: &str = "…\n";
/// Room for [`EARLIER`] and any character.
const LEAST_UNITS: usize = 4;

/// The messages of at most `units` that show the whole page.
pub fn split(page: &Page, units: usize) -> Vec<Text> {
    let units = units.max(LEAST_UNITS);
    let mut parts = Vec::new();
    let mut rest = Rest { page, end: page.text.trim_end().len(), at: 0, marks: 0, active: Vec::new() };
    while let Some(start) = rest.begin() {
        let cut = rest.cut(start, units);
        let marks = rest.active.iter().copied().chain(page.marks[rest.marks..].iter().take_while(|mark| mark.range.start < cut));
        let part = page.cut(start..cut, marks, "");
        if characters::is_visible(&part.text) {
            parts.push(part);
        }
        rest.at = cut;
    }
    parts
}

/// The last message of at most `units`, from the beginning of a line where there is one.
pub fn last(page: &Page, units: usize) -> Text {
    let units = units.max(LEAST_UNITS);
    let end = page.text.trim_end().len();
    let text = &page.text[..end];
    if !characters::is_visible(text) {
        return Text::default();
    }
    let is_whole = earliest(text, units).max(enough_entities(page)) == 0;
    if is_whole { cut_last(page, 0..end, "") } else { tail(page, units, end) }
}

fn tail(page: &Page, units: usize, end: usize) -> Text {
    let text = &page.text[..end];
    let from = earliest(text, units - entity::units(EARLIER)).max(enough_entities(page)).min(end);
    let half = from + (end - from) / 2;
    let near = |found: Option<usize>| found.map(|at| from + at).filter(|at| *at < half);
    let start =
        near(text[from..].find('\n')).or_else(|| near(text[from..].find(char::is_whitespace))).unwrap_or_else(|| next_grapheme(text, from));
    cut_last(page, start..end, EARLIER)
}

fn cut_last(page: &Page, range: std::ops::Range<usize>, lead: &str) -> Text {
    let Some(first) = page.text[range.clone()].find(|c: char| !c.is_whitespace()) else { return Text::default() };
    let start = line_start(page, range.start, range.start + first, &page.marks);
    let marks = page.marks.iter().filter(|mark| mark.range.end > start && mark.range.start < range.end);
    page.cut(start..range.end, marks, lead)
}

/// Where the last `units` of a text begin.
fn earliest(text: &str, units: usize) -> usize {
    let mut left = units;
    for (at, c) in text.char_indices().rev() {
        let Some(less) = left.checked_sub(c.len_utf16()) else { return at + c.len_utf8() };
        left = less;
    }
    0
}

/// The place behind which a message may have all entities.
fn enough_entities(page: &Page) -> usize {
    let Some(too_many) = page.marks.len().checked_sub(limits::MESSAGE_ENTITIES + 1) else { return 0 };
    let mut ends: Vec<usize> = page.marks.iter().map(|mark| mark.range.end).collect();
    ends.sort_unstable();
    ends[too_many]
}

/// Code keeps the indentation of its first line; everything else begins with its first character.
fn line_start<'a>(page: &Page, from: usize, first: usize, marks: impl IntoIterator<Item = &'a Mark>) -> usize {
    let before = &page.text[from..first];
    let line = match before.rfind('\n') {
        Some(feed) => from + feed + 1,
        None if from == 0 || page.text[..from].ends_with('\n') => from,
        None => return first,
    };
    let is_code = marks.into_iter().any(|mark| mark.kind == Kind::Pre && mark.range.start <= line && first < mark.range.end);
    if is_code { line } else { first }
}

/// The part of a page that is not yet in a message.
struct Rest<'a> {
    page: &'a Page,
    end: usize,
    at: usize,
    /// How many marks begin before what is left.
    marks: usize,
    /// Those of them that go on in it.
    active: Vec<&'a Mark>,
}

impl Rest<'_> {
    /// Where the next message begins. None at the end.
    fn begin(&mut self) -> Option<usize> {
        let text = &self.page.text[..self.end];
        let first = self.at + text.get(self.at..)?.find(|c: char| !c.is_whitespace())?;
        let later = self.page.marks[self.marks..].iter().take_while(|mark| mark.range.start <= first);
        let before = self.active.len();
        self.active.extend(later);
        self.marks += self.active.len() - before;
        self.active.retain(|mark| mark.range.end > first);
        Some(line_start(self.page, self.at, first, self.active.iter().copied()))
    }

    /// Where the message that begins at `start` ends.
    fn cut(&self, start: usize, units: usize) -> usize {
        let reach = self.reach(start, units);
        if reach == self.end {
            return reach;
        }
        let text = &self.page.text[..self.end];
        let first = start + text[start..].find(|c: char| !c.is_whitespace()).unwrap_or_default();
        // White space at the end of a message does not count.
        let blank = text[reach..].find(|c: char| !c.is_whitespace()).unwrap_or(text.len() - reach);
        let window = &text[..reach + blank];
        let half = start + (reach - start) / 2;
        let third = start + (reach - start) / 3;
        let far = |least: usize| move |at: &usize| *at >= least && *at > first;
        self.border(start, window.len(), Some(Rank::Block))
            .filter(far(third))
            .or_else(|| self.border(start, window.len(), None).filter(far(half)))
            .or_else(|| window[start..].rfind('\n').map(|at| start + at).filter(far(half)))
            .or_else(|| sentence_end(&window[start..]).map(|at| start + at).filter(far(half)))
            .or_else(|| window[start..].rfind(char::is_whitespace).map(|at| start + at).filter(far(start)))
            .unwrap_or_else(|| last_grapheme(text, start, reach))
    }

    /// How far a message goes at most.
    fn reach(&self, start: usize, units: usize) -> usize {
        let mut left = units;
        let mut reach = self.end;
        for (at, c) in self.page.text[start..self.end].char_indices() {
            match left.checked_sub(c.len_utf16()) {
                Some(less) => left = less,
                None => {
                    reach = start + at;
                    break;
                }
            }
        }
        let room = limits::MESSAGE_ENTITIES.saturating_sub(self.active.len());
        let next = self.page.marks.get(self.marks + room).map_or(reach, |mark| mark.range.start);
        if next > start { reach.min(next) } else { reach }
    }

    /// The last border of this rank, or of any.
    fn border(&self, start: usize, end: usize, rank: Option<Rank>) -> Option<usize> {
        let borders = &self.page.borders;
        let inside = borders.partition_point(|border| border.at <= start)..borders.partition_point(|border| border.at <= end);
        borders[inside].iter().rfind(|border| rank.is_none_or(|rank| border.rank == rank)).map(|border| border.at)
    }
}

/// Behind the last sentence that ends before white space, or with a full stop that needs none.
fn sentence_end(text: &str) -> Option<usize> {
    let mut next_is_blank = false;
    for (at, c) in text.char_indices().rev() {
        let is_end = matches!(c, '.' | '!' | '?' | '…' | ':' | ';') && next_is_blank || matches!(c, '。' | '！' | '？');
        if is_end {
            return Some(at + c.len_utf8());
        }
        next_is_blank = c.is_whitespace();
    }
    None
}

/// The last place up to `reach` that is not inside what is seen as one character, as far as there is one.
fn last_grapheme(text: &str, start: usize, reach: usize) -> usize {
    let next = text[reach..].chars().next().map_or(0, char::len_utf8);
    let window = &text[start..reach + next];
    let mut cursor = GraphemeCursor::new(reach - start, window.len(), true);
    if cursor.is_boundary(window, 0).unwrap_or(true) {
        return reach;
    }
    match cursor.prev_boundary(window, 0) {
        Ok(Some(at)) if at > 0 => start + at,
        _ => reach,
    }
}

/// The first such place from `from` on.
fn next_grapheme(text: &str, from: usize) -> usize {
    let mut cursor = GraphemeCursor::new(from, text.len(), true);
    if cursor.is_boundary(text, 0).unwrap_or(true) {
        return from;
    }
    match cursor.next_boundary(text, 0) {
        Ok(Some(at)) if at < text.len() => at,
        _ => from,
    }
}
