//! Fits the hunks of one section to the text of its file.
//!
//! What a patch does not name stays byte for byte: context lines keep the file's own white space, even when the patch
//! spells it differently, and every line keeps its ending. New lines get the ending of the lines around them.

use super::parse::{Ending, Hunk, Line, Which, shown};
use super::seek;
use crate::text::BOM;

mod problem;

#[cfg(test)]
mod tests;

/// A place this many lines from the stated one is near.
const NEAR_LINES: usize = 20;
/// More places that fit than this are as good as any number.
const MAX_PLACES: usize = 1000;

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
    /// Where the hunk, with the lines that it keeps, begins, and the line behind it.
    place: usize,
    behind: usize,
}

/// The text with the hunks applied.
///
/// # Errors
///
/// Which hunk does not fit, and what it looks for.
pub(crate) fn apply(content: &str, hunks: &[Hunk]) -> Result<String, String> {
    // A diff names the mark as what it is: the beginning of the first line.
    let (bom, body) = match content.strip_prefix(BOM) {
        Some(body) if !hunks.iter().flat_map(|hunk| &hunk.lines).any(|line| line.text().starts_with(BOM)) => (true, body),
        _ => (false, content),
    };
    let lines: Vec<TextLine<'_>> = body.split_inclusive('\n').map(split_ending).collect();
    let texts: Vec<&str> = lines.iter().map(|line| line.text).collect();
    let usual = usual_ending(&lines);
    let mut replacements: Vec<Replacement<'_>> = Vec::new();
    let mut next = 0;
    let mut drift = 0;
    for (index, hunk) in hunks.iter().enumerate() {
        let fitted = fit(&lines, &texts, hunk, (next, drift), usual)
            .map_err(|problem| format!("hunk {} of {}: {problem}", index + 1, hunks.len()))?;
        if let Which::Stated(stated) = hunk.which {
            drift = fitted.place.cast_signed().saturating_sub(stated.cast_signed());
        }
        // What is added at the end of the file says nothing about where the next hunk is.
        if fitted.place < lines.len() {
            // Of two close changes each may have the other's lines as context. A first place must not be found twice.
            next = next.max(if hunk.which == Which::First { fitted.behind } else { fitted.start + fitted.count });
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

/// Finds the place of a hunk. `next`: where it can be at the earliest; `drift`: how far the one before was from its line.
fn fit<'a>(
    lines: &[TextLine<'a>],
    texts: &[&str],
    hunk: &'a Hunk,
    (next, drift): (usize, isize),
    usual: &'a str,
) -> Result<Replacement<'a>, String> {
    let start = match hunk.which {
        Which::First => after_anchors(texts, hunk, next)?,
        Which::Only if !hunk.anchors.is_empty() => after_anchors(texts, hunk, next)?,
        // What it keeps may be above; what it changes is not.
        Which::Only | Which::Stated(_) => next.saturating_sub(hunk.lines.iter().take_while(|line| matches!(line, Line::Keep(_))).count()),
    };
    let mut changes = &hunk.lines[..];
    let mut wanted: Vec<&str> = changes.iter().filter_map(Line::old).collect();
    if wanted.is_empty() {
        if hunk.which != Which::First && !lines.is_empty() {
            return Err("it only adds lines and does not say between which; give the lines before and after them".to_owned());
        }
        // Nothing to look for: after the named line, else at the end of the file.
        let at = if hunk.anchors.is_empty() || hunk.at_end { lines.len() } else { start };
        return Ok(replace(lines, at, changes, usual));
    }
    let mut found = choose(texts, hunk, &wanted, start, drift)?;
    while found.is_none()
        && let Some((Line::Keep(last) | Line::Drop(last), rest)) = changes.split_last()
        && last.is_empty()
    {
        // A blank last line often stands for the end of the file, or for nothing but the end of the hunk.
        changes = rest;
        wanted.pop();
        found = if wanted.is_empty() { break } else { choose(texts, hunk, &wanted, start, drift)? };
    }
    match found {
        Some(at) => Ok(replace(lines, at, changes, usual)),
        None => Err(problem::not_there(texts, hunk, start)),
    }
}

/// The line after those that come before the place.
fn after_anchors(texts: &[&str], hunk: &Hunk, next: usize) -> Result<usize, String> {
    let mut start = next;
    for anchor in &hunk.anchors {
        let Some(found) = seek::find(texts, &[anchor], start, false) else {
            return Err(format!("there is no line `{}` {}", shown(anchor), problem::whence(texts, &[anchor], start)));
        };
        start = found + 1;
    }
    Ok(start)
}

/// The place that is meant of those that fit; an error when it could be more than one.
fn choose(texts: &[&str], hunk: &Hunk, wanted: &[&str], start: usize, drift: isize) -> Result<Option<usize>, String> {
    let stated = match hunk.which {
        Which::First => return Ok(seek::find(texts, wanted, start, hunk.at_end)),
        Which::Only if !hunk.anchors.is_empty() => return Ok(seek::find(texts, wanted, start, hunk.at_end)),
        Which::Only => None,
        Which::Stated(line) => Some(line),
    };
    let places = seek::places(texts, wanted, start, hunk.at_end, MAX_PLACES);
    if let [] | [_] = places[..] {
        return Ok(places.first().copied());
    }
    let drifted = stated.and_then(|line| line.checked_add_signed(drift));
    if let Some(exact) = [drifted, stated].into_iter().flatten().find(|line| places.contains(line)) {
        return Ok(Some(exact));
    }
    let near: Vec<usize> = places.iter().copied().filter(|place| drifted.is_some_and(|line| line.abs_diff(*place) <= NEAR_LINES)).collect();
    if let [only] = near[..] {
        return Ok(Some(only));
    }
    // The words behind the numbers are a line before the place, such as the function's head.
    if let [heading] = &hunk.anchors[..]
        && let [head] = seek::places(texts, &[heading], 0, false, 2)[..]
        && let Some(place) = places.iter().find(|place| **place > head)
    {
        return Ok(Some(*place));
    }
    Err(problem::several(&places))
}

impl Line {
    /// The line as the file has it; none for a new one.
    fn old(&self) -> Option<&str> {
        match self {
            Self::Keep(text) | Self::Drop(text) => Some(text),
            Self::Put(..) => None,
        }
    }

    /// The line as the file will have it; none for a removed one.
    fn new_text(&self) -> Option<&str> {
        match self {
            Self::Keep(text) | Self::Put(text, _) => Some(text),
            Self::Drop(_) => None,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Keep(text) | Self::Drop(text) | Self::Put(text, _) => text,
        }
    }
}

/// The new lines from `at` on.
fn replace<'a>(lines: &[TextLine<'a>], at: usize, changes: &'a [Line], usual: &'a str) -> Replacement<'a> {
    let ending_of = |index: usize| lines.get(index).map(|line| line.ending).filter(|ending| !ending.is_empty());
    // Only the last line of a file has none.
    let around =
        |at: usize| at.checked_sub(1).and_then(ending_of).or_else(|| ending_of(at)).or_else(|| at.checked_sub(2).and_then(ending_of));
    let mut count = 0;
    let mut new = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            Line::Keep(_) => {
                new.push(lines[at + count]);
                count += 1;
            }
            Line::Drop(_) => count += 1,
            Line::Put(text, ending) => {
                let ending = match ending {
                    Ending::Around => around(at + count).unwrap_or(usual),
                    Ending::Lf => "\n",
                    Ending::CrLf => "\r\n",
                    Ending::None => "",
                };
                new.push(TextLine { text, ending });
            }
        }
    }
    let is_kept = |line: &&Line| matches!(line, Line::Keep(_));
    let before = changes.iter().take_while(is_kept).count();
    let after = changes[before..].iter().rev().take_while(is_kept).count();
    new.truncate(new.len() - after);
    new.drain(..before);
    Replacement { start: at + before, count: count - before - after, lines: new, place: at, behind: at + count }
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
