//! What to say about a hunk that does not fit: what it looks for, what is there instead, what would help.

use super::super::parse::{Hunk, Line, shown};
use super::super::seek;

/// How much of a hunk an error repeats.
const MAX_SHOWN_LINES: usize = 8;
/// How many lines are compared to find the place that is most like a hunk.
const MAX_COMPARED: usize = 64;
/// How many places are compared.
const MAX_TRIED: usize = 1000;

/// Where was looked, and whether the lines are further up.
pub(super) fn whence(texts: &[&str], wanted: &[&str], start: usize) -> String {
    if start == 0 {
        return "in the file".to_owned();
    }
    match seek::find(texts, wanted, 0, false) {
        Some(found) => format!("after line {start}, but there is at line {}; hunks come in the order of the file", found + 1),
        None => format!("after line {start} (or before it)"),
    }
}

/// The lines of a hunk are not there.
pub(super) fn not_there(texts: &[&str], hunk: &Hunk, start: usize) -> String {
    let wanted: Vec<&str> = hunk.lines.iter().filter_map(Line::old).collect();
    let mut problem = if hunk.at_end && seek::find(texts, &wanted, start, false).is_some() {
        "these lines are not the end of the file, as the patch says".to_owned()
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
    let new: Vec<&str> = hunk.lines.iter().filter_map(Line::new_text).collect();
    if new.len() > 1 && new != wanted && seek::find(texts, &new, 0, false).is_some() {
        problem.push_str("\nWhat it would make of them is in the file: was it applied before?");
    } else if let Some((place, differs)) = closest(texts, &wanted) {
        let expected = shown(wanted[differs]);
        let found = texts.get(place + differs).map_or_else(|| "the file ends".to_owned(), |line| format!("the file has `{}`", shown(line)));
        problem.push_str(&format!(
            "\nMost like it is the place at line {}: where the hunk has `{expected}`, {found}. Read it again and give its lines as they are.",
            place + 1
        ));
    } else {
        problem.push_str("\nNone of them is in the file. Read it again and give its lines as they are.");
    }
    problem
}

/// The place that is most like `wanted`, and the first of its lines that differs.
fn closest(texts: &[&str], wanted: &[&str]) -> Option<(usize, usize)> {
    let compared = &wanted[..wanted.len().min(MAX_COMPARED)];
    let same = |place: usize, index: usize| texts.get(place + index).is_some_and(|line| seek::alike(line, compared[index]));
    let mut best: Option<(usize, usize)> = None;
    let mut tried = 0;
    for (index, line) in compared.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        for at in texts.iter().enumerate().filter(|(_, text)| seek::alike(text, line)).map(|(at, _)| at) {
            let Some(place) = at.checked_sub(index) else { continue };
            let score = (0..compared.len()).filter(|index| same(place, *index)).count();
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, place));
            }
            tried += 1;
            if tried == MAX_TRIED {
                break;
            }
        }
        if best.is_some() {
            break;
        }
    }
    let (_, place) = best?;
    Some((place, (0..compared.len()).find(|index| !same(place, *index))?))
}

/// The lines of a hunk are there more than once.
pub(super) fn several(places: &[usize]) -> String {
    let mut shown: Vec<String> = places.iter().take(MAX_SHOWN_LINES).map(|place| (place + 1).to_string()).collect();
    if places.len() > MAX_SHOWN_LINES {
        shown.push("…".to_owned());
    }
    format!(
        "its lines are at more than one place, at lines {}, and its numbers name none of them; give more lines of context",
        shown.join(", ")
    )
}
