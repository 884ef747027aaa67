//! The `*** Begin Patch` envelope.

use stellaclaw_sdk::{Error, Result};

use super::{Change, Ending, Hunk, Line, Section, Text, Which};
use crate::paths::Place;

pub(super) const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File: ";
const DELETE: &str = "*** Delete File: ";
const UPDATE: &str = "*** Update File: ";
const MOVE: &str = "*** Move to: ";
const END_OF_FILE: &str = "*** End of File";

/// Reads a patch whose first line is known to be [`BEGIN`].
///
/// # Errors
///
/// `invalid`, with the line of the patch and what was expected there.
pub(super) fn parse(text: Text<'_>) -> Result<Vec<Section>> {
    let lines: Vec<&str> = text.lines.iter().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let blank = lines.iter().rev().take_while(|line| line.trim().is_empty()).count();
    let lines = &lines[..lines.len() - blank];
    let Some((_, body)) = lines.get(1..).and_then(<[_]>::split_last).filter(|(end, _)| end.trim() == END) else {
        let last = lines.last().copied().unwrap_or_default();
        return Err(Error::invalid(format!("the last line of the patch is `{}`; it must be `{END}`", super::shown(last))));
    };
    let mut reader = Reader { lines: body, next: 0, before: text.before + 1 };
    let mut sections = Vec::new();
    while let Some(line) = reader.peek() {
        if line.trim().is_empty() {
            reader.next += 1;
            continue;
        }
        sections.push(Section { change: reader.section()?, replaces: true, mode: None });
    }
    if sections.is_empty() {
        return Err(Error::invalid("the patch changes no file"));
    }
    Ok(sections)
}

struct Reader<'a> {
    lines: &'a [&'a str],
    next: usize,
    /// Lines of the patch before `lines`.
    before: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.next).copied()
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::invalid(format!("line {} of the patch: {message}", self.before + self.next + 1))
    }

    fn place(&self, path: &str) -> Result<Place> {
        let place = Place::parse(path.trim()).map_err(|error| self.error(error.message))?;
        if place.is_workspace() {
            return Err(self.error("the name of the file is missing"));
        }
        Ok(place)
    }

    fn section(&mut self) -> Result<Change> {
        let line = self.peek().unwrap_or_default().trim();
        if let Some(path) = line.strip_prefix(ADD) {
            let place = self.place(path)?;
            self.next += 1;
            return Ok(Change::Add { place, content: self.content()? });
        }
        if let Some(path) = line.strip_prefix(DELETE) {
            let place = self.place(path)?;
            self.next += 1;
            return Ok(Change::Delete { file: place.into(), hunks: Vec::new() });
        }
        if let Some(path) = line.strip_prefix(UPDATE) {
            let place = self.place(path)?;
            self.next += 1;
            return self.update(place);
        }
        Err(self.error(format_args!("`{}` starts no section; expected `{ADD}PATH`, `{DELETE}PATH` or `{UPDATE}PATH`", super::shown(line))))
    }

    /// The lines of a new file.
    fn content(&mut self) -> Result<String> {
        let mut content = String::new();
        while let Some(line) = self.peek() {
            if let Some(text) = line.strip_prefix('+') {
                content.push_str(text);
                content.push('\n');
            } else if line.starts_with("***") || self.rest_is_blank() {
                break;
            } else {
                return Err(self.error(format_args!("`{}` is in a new file, where every line starts with `+`", super::shown(line))));
            }
            self.next += 1;
        }
        Ok(content)
    }

    /// Is there nothing but blank lines up to the next section?
    fn rest_is_blank(&self) -> bool {
        self.lines[self.next..].iter().take_while(|line| !line.starts_with("***")).all(|line| line.trim().is_empty())
    }

    fn update(&mut self, place: Place) -> Result<Change> {
        let mut to = None;
        if let Some(path) = self.peek().and_then(|line| line.trim().strip_prefix(MOVE)) {
            to = Some(self.place(path)?);
            self.next += 1;
        }
        let mut hunks: Vec<Hunk> = Vec::new();
        while let Some(line) = self.peek() {
            if line.starts_with("***") {
                break;
            }
            if line.trim().is_empty() && (self.rest_is_blank() || hunks.is_empty()) {
                self.next += 1;
                continue;
            }
            if !line.starts_with("@@") && !hunks.is_empty() {
                return Err(self.error(format_args!(
                    "`{}` is not part of a hunk; a hunk starts with `@@`, its lines with ` `, `-` or `+`",
                    super::shown(line)
                )));
            }
            hunks.push(self.hunk()?);
        }
        if hunks.is_empty() && to.is_none() {
            return Err(self.error(format_args!("the update of {place} has no hunk")));
        }
        Ok(Change::Update { file: place.into(), to, hunks })
    }

    fn hunk(&mut self) -> Result<Hunk> {
        let mut hunk = Hunk { anchors: Vec::new(), lines: Vec::new(), at_end: false, which: Which::First };
        while let Some(line) = self.peek().filter(|line| line.starts_with("@@")) {
            let anchor = anchor(line);
            if !anchor.trim().is_empty() {
                hunk.anchors.push(anchor.to_owned());
            }
            self.next += 1;
        }
        while let Some(line) = self.peek() {
            if line.trim_end() == END_OF_FILE {
                hunk.at_end = true;
                self.next += 1;
                break;
            }
            let parsed = match line.as_bytes().first() {
                None if self.rest_is_blank() => break,
                None => Line::Keep(String::new()),
                Some(b' ') => Line::Keep(line[1..].to_owned()),
                Some(b'-') => Line::Drop(line[1..].to_owned()),
                Some(b'+') => Line::Put(line[1..].to_owned(), Ending::Around),
                Some(_) => break,
            };
            hunk.lines.push(parsed);
            self.next += 1;
        }
        if hunk.lines.is_empty() {
            let found = self.peek().unwrap_or("the end of the patch");
            return Err(
                self.error(format_args!("a hunk has no lines (found `{}`); its lines start with ` `, `-` or `+`", super::shown(found)))
            );
        }
        Ok(hunk)
    }
}

/// What a `@@` line says to look for. Line numbers, as unified diffs have them, say nothing that can be relied on.
fn anchor(line: &str) -> &str {
    let text = line.strip_prefix("@@").unwrap_or(line);
    let text = text.strip_prefix(' ').unwrap_or(text);
    if text.starts_with('-') && text.contains(" +") && text.contains("@@") {
        return "";
    }
    text.trim_end().strip_suffix("@@").unwrap_or(text)
}
