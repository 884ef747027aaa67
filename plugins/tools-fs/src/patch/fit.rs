//! Fits the hunks of one section to the text of its file.
//!
//! What a patch does not name stays byte for byte: context lines keep the file's own white space, even when the patch
//! spells it differently, and every line keeps its ending. New lines get the ending of the lines around them.

use super::parse::{Hunk, Line};
use super::seek;
use crate::text::{BOM, cut_bytes};

#[cfg(test)]
mod tests;

/// How much of a hunk an error repeats.
const MAX_SHOWN_LINES: usize = 8;
const MAX_SHOWN_LINE_BYTES: usize = 200;

/// A line without its ending, and the ending: empty where the file stops without one.
#[derive(Debug, Clone, Copy)]
struct TextLine<'a> {
    text: &'a str,
    ending: &'a str,
}

/// Lines of the file that are replaced.
struct Replacement<'a> {
    start: usize,
    count: usize,
    lines: Vec<TextLine<'a>>,
}

/// The text with the hunks applied.
///
/// # Errors
///
/// Which hunk does not fit, and what it looks for.
pub(crate) fn apply(content: &str, hunks: &[Hunk]) -> Result<String, String> {
    let (bom, body) = match content.strip_prefix(BOM) {
        Some(body) => (true, body),
        None => (false, content),
    };
    let lines: Vec<TextLine<'_>> = body.split_inclusive('\n').map(split_ending).collect();
    let texts: Vec<&str> = lines.iter().map(|line| line.text).collect();
    let usual = usual_ending(&lines);
    let mut replacements: Vec<Replacement<'_>> = Vec::new();
    let mut next = 0;
    for (index, hunk) in hunks.iter().enumerate() {
        let fitted =
            fit(&lines, &texts, hunk, next, usual).map_err(|problem| format!("hunk {} of {}: {problem}", index + 1, hunks.len()))?;
        // What is added at the end of the file says nothing about where the next hunk is.
        if fitted.start < lines.len() {
            next = next.max(fitted.start + fitted.count);
        }
        replacements.push(fitted);
    }
    // Insertions at the end may come before hunks further up.
    replacements.sort_by_key(|replacement| replacement.start);
    Ok(assemble(bom, body.len(), &lines, replacements, usual))
}

fn split_ending(line: &str) -> TextLine<'_> {
    let text = line.strip_suffix('\n').unwrap_or(line);
    let text = if text.len() < line.len() { text.strip_suffix('\r').unwrap_or(text) } else { text };
    TextLine { text, ending: &line[text.len()..] }
}

fn usual_ending<'a>(lines: &[TextLine<'_>]) -> &'a str {
    let crlf = lines.iter().filter(|line| line.ending == "\r\n").count();
    let lf = lines.iter().filter(|line| line.ending == "\n").count();
    if crlf > lf { "\r\n" } else { "\n" }
}

fn fit<'a>(lines: &[TextLine<'a>], texts: &[&str], hunk: &'a Hunk, next: usize, usual: &'a str) -> Result<Replacement<'a>, String> {
    let mut start = next;
    for anchor in &hunk.anchors {
        let Some(found) = seek::find(texts, &[anchor], start, false) else {
            return Err(format!("there is no line `{}` {}", shown(anchor), whence(texts, &[anchor], start)));
        };
        start = found + 1;
    }
    let mut changes = &hunk.lines[..];
    let mut wanted: Vec<&str> = changes.iter().filter_map(old).collect();
    if wanted.is_empty() {
        // Nothing to look for: after the named line, else at the end of the file.
        let at = if hunk.anchors.is_empty() || hunk.at_end { lines.len() } else { start };
        return Ok(replace(lines, at, changes, usual));
    }
    let mut found = seek::find(texts, &wanted, start, hunk.at_end);
    if found.is_none()
        && let Some((Line::Keep(last) | Line::Drop(last), rest)) = changes.split_last()
        && last.is_empty()
    {
        // A blank last line often stands for the end of the file, or for nothing but the end of the hunk.
        changes = rest;
        wanted.pop();
        found = if wanted.is_empty() { None } else { seek::find(texts, &wanted, start, hunk.at_end) };
    }
    match found {
        Some(at) => Ok(replace(lines, at, changes, usual)),
        None => Err(not_there(texts, hunk, start)),
    }
}

fn old(line: &Line) -> Option<&str> {
    match line {
        Line::Keep(text) | Line::Drop(text) => Some(text),
        Line::Put(_) => None,
    }
}

/// The new lines from `at` on.
fn replace<'a>(lines: &[TextLine<'a>], at: usize, changes: &'a [Line], usual: &'a str) -> Replacement<'a> {
    let ending_of = |index: usize| lines.get(index).map(|line| line.ending).filter(|ending| !ending.is_empty());
    let mut count = 0;
    let mut new = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            Line::Keep(_) => {
                new.push(lines[at + count]);
                count += 1;
            }
            Line::Drop(_) => count += 1,
            Line::Put(text) => {
                let before = (at + count).checked_sub(1).and_then(ending_of);
                let ending = before.or_else(|| ending_of(at + count)).unwrap_or(usual);
                new.push(TextLine { text, ending });
            }
        }
    }
    Replacement { start: at, count, lines: new }
}

fn assemble(bom: bool, size: usize, lines: &[TextLine<'_>], replacements: Vec<Replacement<'_>>, usual: &str) -> String {
    let mut text = String::with_capacity(size + size / 8 + 64);
    if bom {
        text.push(BOM);
    }
    // A line that was the last and had no ending gets one when another follows.
    let mut owed = false;
    let mut push = |line: &TextLine<'_>| {
        if owed {
            text.push_str(usual);
        }
        text.push_str(line.text);
        text.push_str(line.ending);
        owed = line.ending.is_empty();
    };
    let mut next = 0;
    for replacement in replacements {
        lines[next..replacement.start].iter().for_each(&mut push);
        replacement.lines.iter().for_each(&mut push);
        next = replacement.start + replacement.count;
    }
    lines[next..].iter().for_each(&mut push);
    text
}

fn shown(line: &str) -> &str {
    cut_bytes(line, MAX_SHOWN_LINE_BYTES)
}

/// Where was looked, and whether the lines are further up.
fn whence(texts: &[&str], wanted: &[&str], start: usize) -> String {
    if start == 0 {
        return "in the file".to_owned();
    }
    match seek::find(texts, wanted, 0, false) {
        Some(found) => format!("after line {start}, but there is at line {}; hunks come in the order of the file", found + 1),
        None => format!("after line {start} (or before it)"),
    }
}

fn not_there(texts: &[&str], hunk: &Hunk, start: usize) -> String {
    let wanted: Vec<&str> = hunk.lines.iter().filter_map(old).collect();
    let mut problem = if hunk.at_end && seek::find(texts, &wanted, start, false).is_some() {
        "these lines are not the end of the file, as `*** End of File` says".to_owned()
    } else {
        format!("these lines are not {}", whence(texts, &wanted, start))
    };
    problem.push(':');
    for line in wanted.iter().take(MAX_SHOWN_LINES) {
        problem.push_str("\n  ");
        problem.push_str(shown(line));
    }
    if wanted.len() > MAX_SHOWN_LINES {
        problem.push_str("\n  …");
    }
    if let Some(line) = wanted.iter().find(|line| !line.trim().is_empty())
        && wanted.len() > 1
        && let Some(found) = seek::find(texts, &[line], 0, false)
    {
        problem.push_str(&format!("\n(`{}` is at line {})", shown(line), found + 1));
    }
    problem
}
