//! The matching lines of a file, with the lines around them.

use stellaclaw_sdk::serde::Serialize;

use super::search::{Hit, Searcher, line_end, line_start, without_return};
use crate::paths::Place;

/// A longer line is cut around its match.
const MAX_LINE_BYTES: usize = 1000;
/// What is kept of a cut line before the match.
const LEAD_BYTES: usize = 200;
/// Text in one answer: more would not reach the model.
const MAX_ANSWER_BYTES: usize = 96 * 1024;

/// A line that matches.
#[derive(Debug, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(super) struct LineMatch {
    file: String,
    /// From 1.
    line: usize,
    /// Where the first match of the line begins, in characters from 1.
    column: usize,
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    before: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
}

impl LineMatch {
    fn size(&self) -> usize {
        let around: usize = self.before.iter().chain(&self.after).map(String::len).sum();
        self.file.len() + self.text.len() + around
    }
}

/// What may still be collected.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) context: usize,
    pub(super) per_file: usize,
    /// Counts down; 0 says that the answer is full.
    pub(super) total: usize,
}

/// Collects the matches of the file in `searcher` from `first` on. Answers whether there are more than fit.
pub(super) fn collect(searcher: &mut Searcher, place: &Place, first: Hit, limits: &mut Limits, matches: &mut Vec<LineMatch>) -> bool {
    let mut room = MAX_ANSWER_BYTES.saturating_sub(matches.iter().map(LineMatch::size).sum());
    let mut hit = Some(first);
    let mut in_file = 0;
    let mut number = 1;
    let mut counted = 0;
    while let Some(found) = hit {
        if in_file == limits.per_file || limits.total == 0 {
            return true;
        }
        let text = searcher.text();
        number += text[counted..found.line.start].iter().filter(|byte| **byte == b'\n').count();
        counted = found.line.start;
        let line = line_match(text, place, number, &found, limits.context);
        if line.size() > room {
            limits.total = 0;
            return true;
        }
        room -= line.size();
        matches.push(line);
        in_file += 1;
        limits.total -= 1;
        let next = line_end(text, found.line.end) + 1;
        hit = searcher.next_line(next);
    }
    false
}

fn line_match(text: &[u8], place: &Place, number: usize, hit: &Hit, context: usize) -> LineMatch {
    let line = &text[hit.line.clone()];
    LineMatch {
        file: place.to_string(),
        line: number,
        column: String::from_utf8_lossy(&line[..hit.at.min(line.len())]).chars().count() + 1,
        text: shown(line, hit.at),
        before: before(text, hit.line.start, context),
        after: after(text, hit.line.end, context),
    }
}

fn before(text: &[u8], mut start: usize, context: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < context && start > 0 {
        let end = start - 1;
        start = line_start(text, end);
        lines.push(shown(&text[without_return(text, start..end)], 0));
    }
    lines.reverse();
    lines
}

fn after(text: &[u8], end: usize, context: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut start = line_end(text, end) + 1;
    while lines.len() < context && start < text.len() {
        let end = line_end(text, start);
        lines.push(shown(&text[without_return(text, start..end)], 0));
        start = end + 1;
    }
    lines
}

/// A line as text; of a long one the part around `at`.
fn shown(line: &[u8], at: usize) -> String {
    if line.len() <= MAX_LINE_BYTES {
        return String::from_utf8_lossy(line).into_owned();
    }
    let boundary = |mut at: usize| {
        while at < line.len() && line[at] & 0xc0 == 0x80 {
            at += 1;
        }
        at
    };
    let start = boundary(at.saturating_sub(LEAD_BYTES));
    let end = boundary((start + MAX_LINE_BYTES).min(line.len()));
    let (lead, tail) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    format!("{lead}{}{tail}", String::from_utf8_lossy(&line[start..end]))
}
