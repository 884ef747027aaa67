//! Unified diffs, as `git diff` and `diff -u` write them and as models do.
//!
//! The headers say which files, the lines of a hunk what to look for. The numbers of a hunk are hints: they tell where it
//! ends when its last lines could be something else, and which of several places is meant. What stands around the files'
//! diffs (a mail, words) is left alone, except where it looks like a part of a hunk: nothing that a patch says is left out.

use stellaclaw_sdk::{Error, Result};

use super::names::{self, Name};
use super::{Change, Ending, Hunk, Line, Named, Section, Text, Which, shown};
use crate::paths::Place;

const GIT: &str = "diff --git ";
const OLD: &str = "--- ";
const NEW: &str = "+++ ";

/// Does the diff of a file begin with this line?
pub(super) fn starts_file(line: &str) -> bool {
    line.starts_with(GIT) || line.starts_with(OLD)
}

/// Reads a diff. None: it is none.
///
/// # Errors
///
/// `invalid`, with the line of the patch and what would be right there.
pub(super) fn parse(text: Text<'_>) -> Result<Option<Vec<Section>>> {
    // Where even the headers end with a carriage return, the patch has it from its way here.
    let begins = |at: usize| {
        text.lines[at].starts_with(GIT)
            || (text.lines[at].starts_with(OLD) && text.lines.get(at + 1).is_some_and(|line| line.starts_with(NEW)))
    };
    let carried = (0..text.lines.len()).find(|at| begins(*at)).is_some_and(|at| text.lines[at].ends_with('\r'));
    let cut = |line: &&'_ str| -> String { if carried { line.strip_suffix('\r').unwrap_or(line).to_owned() } else { (*line).to_owned() } };
    let lines: Vec<String> = text.lines.iter().map(cut).collect();
    let mut filled = vec![lines.len(); lines.len() + 1];
    for at in (0..lines.len()).rev() {
        filled[at] = if lines[at].is_empty() { filled[at + 1] } else { at };
    }
    let mut reader = Reader { lines: &lines, filled: &filled, next: 0, before: text.before };
    let mut sections = Vec::new();
    while reader.find_file(!sections.is_empty())? {
        sections.push(reader.file()?);
    }
    Ok((!sections.is_empty()).then_some(sections))
}

/// What stands before the hunks of a file.
#[derive(Debug, Default)]
struct Header {
    /// The line where it starts, for errors.
    line: usize,
    /// The name in the line of git.
    git: Option<String>,
    old: Option<Name>,
    new: Option<Name>,
    from: Option<String>,
    to: Option<String>,
    created: bool,
    deleted: bool,
    /// The modes that are named, the last one the newest.
    modes: Vec<String>,
}

/// How many lines a hunk says it has, and how many it has so far.
#[derive(Debug, Clone, Copy)]
struct Count {
    old: usize,
    new: usize,
}

/// A line of a hunk, as it stands there.
struct RawLine<'a> {
    sign: u8,
    text: &'a str,
    /// It is followed by `\ No newline at end of file`.
    open: bool,
}

struct Reader<'a> {
    lines: &'a [String],
    /// For every line, the first one from there on that is not empty.
    filled: &'a [usize],
    next: usize,
    /// Lines before `lines`.
    before: usize,
}

impl<'a> Reader<'a> {
    fn line(&self, at: usize) -> Option<&'a str> {
        self.lines.get(at).map(String::as_str)
    }

    /// The first line from there on that is not empty.
    fn filled_from(&self, at: usize) -> usize {
        self.filled.get(at).copied().unwrap_or(self.lines.len())
    }

    fn error_at(&self, line: usize, message: impl std::fmt::Display) -> Error {
        Error::invalid(format!("line {} of the patch: {message}", self.before + line + 1))
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        self.error_at(self.next, message)
    }

    fn has_names(&self, at: usize) -> bool {
        let starts = |at: usize, start: &str| self.line(at).is_some_and(|line| line.starts_with(start));
        starts(at, OLD) && starts(at + 1, NEW)
    }

    /// Goes to the next file. `after`: one came before, so that lines of a hunk belong to it and were not understood.
    fn find_file(&mut self, after: bool) -> Result<bool> {
        let mut signed = after;
        while let Some(line) = self.line(self.next) {
            if line.starts_with(GIT) || self.has_names(self.next) {
                return Ok(true);
            }
            if line.starts_with("@@ -") {
                return Err(self.error("a hunk of no file; before it come the lines `--- a/PATH` and `+++ b/PATH`"));
            }
            if is_binary(line) {
                return Err(self.error(BINARY));
            }
            match line.trim_end() {
                // The end of a mail: its version says nothing.
                "--" => signed = false,
                "---" => {}
                _ if signed && line.starts_with(['+', '-']) => {
                    return Err(self.error(format_args!("`{}` is not part of a hunk; {LINES}", shown(line))));
                }
                _ => {}
            }
            self.next += 1;
        }
        Ok(false)
    }

    fn file(&mut self) -> Result<Section> {
        let header = self.header()?;
        let mut hunks = Vec::new();
        while self.line(self.filled_from(self.next)).is_some_and(|line| line.starts_with("@@")) {
            self.next = self.filled_from(self.next);
            hunks.push(self.hunk()?);
        }
        self.section(header, hunks)
    }

    fn header(&mut self) -> Result<Header> {
        let mut header = Header { line: self.next, ..Header::default() };
        if let Some(names) = self.line(self.next).and_then(|line| line.strip_prefix(GIT)) {
            header.git = names::git(names.trim_end());
            self.next += 1;
            while let Some(line) = self.line(self.next) {
                if !self.extended(&mut header, line)? {
                    break;
                }
                self.next += 1;
            }
        }
        if self.has_names(self.filled_from(self.next)) {
            self.next = self.filled_from(self.next);
            for (start, side) in [(OLD, &mut header.old), (NEW, &mut header.new)] {
                let line = self.line(self.next).unwrap_or_default();
                let name = names::header(line.strip_prefix(start).unwrap_or(line)).map_err(|problem| self.error(problem))?;
                *side = Some(name);
                self.next += 1;
            }
            header.created |= header.old == Some(Name::Nothing);
            header.deleted |= header.new == Some(Name::Nothing);
        }
        Ok(header)
    }

    /// Reads a line of git between the names. False: it is none.
    fn extended(&self, header: &mut Header, line: &str) -> Result<bool> {
        let name = |text: &str| names::exact(text).map_err(|problem| self.error(problem));
        if let Some(mode) = line.strip_prefix("new file mode ") {
            header.created = true;
            header.modes.push(mode.trim().to_owned());
        } else if let Some(mode) = line.strip_prefix("deleted file mode ") {
            header.deleted = true;
            header.modes.push(mode.trim().to_owned());
        } else if let Some(mode) = line.strip_prefix("old mode ").or_else(|| line.strip_prefix("new mode ")) {
            header.modes.push(mode.trim().to_owned());
        } else if let Some(path) = line.strip_prefix("rename from ") {
            header.from = Some(name(path)?);
        } else if let Some(path) = line.strip_prefix("rename to ") {
            header.to = Some(name(path)?);
        } else if let Some(index) = line.strip_prefix("index ") {
            header.modes.extend(index.split_once(' ').map(|(_, mode)| mode.trim().to_owned()));
        } else if line.starts_with("copy from ") || line.starts_with("copy to ") {
            return Err(self.error("copies are not served; write the copy as a new file, from /dev/null"));
        } else if is_binary(line) {
            return Err(self.error(BINARY));
        } else if !(line.starts_with("similarity index ") || line.starts_with("dissimilarity index ")) {
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads a hunk from its `@@` line on.
    fn hunk(&mut self) -> Result<Hunk> {
        let begin = self.next;
        let (stated, mut left, heading) = numbers(self.line(begin).unwrap_or_default());
        self.next += 1;
        let mut raw: Vec<RawLine<'a>> = Vec::new();
        while let Some(line) = self.line(self.next) {
            let (sign, text) = match line.as_bytes().first() {
                Some(b'\\') => {
                    if let Some(last) = raw.last_mut() {
                        last.open = true;
                    }
                    self.next += 1;
                    continue;
                }
                _ if self.ends_hunk(line, left) => break,
                // An empty line that lost its space.
                None => (b' ', ""),
                Some(sign @ (b' ' | b'-' | b'+')) => (*sign, &line[1..]),
                Some(_) if left.is_some_and(|left| left.old > 0 || left.new > 0) => {
                    return Err(self.error(format_args!("`{}` is not part of a hunk; {LINES}", shown(line))));
                }
                Some(_) => break,
            };
            if let Some(left) = &mut left {
                left.old = left.old.saturating_sub(usize::from(sign != b'+'));
                left.new = left.new.saturating_sub(usize::from(sign != b'-'));
            }
            raw.push(RawLine { sign, text, open: false });
            self.next += 1;
        }
        if raw.is_empty() {
            return Err(self.error_at(begin, format_args!("a hunk without lines; {LINES}")));
        }
        let anchors = heading.filter(|heading| !heading.trim().is_empty()).map(str::to_owned).into_iter().collect();
        let at_end = raw.iter().any(|line| line.open);
        Ok(Hunk { anchors, lines: lines(&raw), at_end, which: stated.map_or(Which::Only, Which::Stated) })
    }

    /// Is this line behind the hunk? `left`: how many lines the hunk still has by its own count.
    fn ends_hunk(&self, line: &str, left: Option<Count>) -> bool {
        let whole = left.is_some_and(|left| left.old == 0 && left.new == 0);
        let follows = |at: usize| self.line(at).is_some_and(|line| line.starts_with("@@"));
        if line.starts_with("@@") || line.starts_with(GIT) || line.starts_with("```") {
            return true;
        }
        if self.has_names(self.next) && (whole || follows(self.next + 2)) {
            return true;
        }
        // The signature of a mail.
        if whole && line.trim_end() == "--" {
            return true;
        }
        if !line.is_empty() {
            return false;
        }
        // Blank lines behind a hunk are none of its own, except those that it counts.
        let after = self.filled_from(self.next);
        let goes_on = self
            .line(after)
            .is_some_and(|line| line.starts_with([' ', '+', '-']) && !self.has_names(after) && !(whole && line.trim_end() == "--"));
        !goes_on && left.is_none_or(|left| left.old == 0 || left.new == 0)
    }

    fn section(&self, header: Header, hunks: Vec<Hunk>) -> Result<Section> {
        let error = |message: String| self.error_at(header.line, message);
        for (kind, what) in [("12", "a symbolic link"), ("16", "a submodule")] {
            if header.modes.iter().any(|mode| mode.starts_with(kind) && mode.len() == 6) {
                return Err(error(format!("{what} cannot be made or changed by a patch; leave it out")));
            }
        }
        let executable = header.modes.last().is_some_and(|mode| mode.ends_with("755"));
        let asked = header.created || header.modes.len() > 1;
        let mode = (asked && !header.deleted).then_some(if executable { "100755" } else { "100644" });
        let mode = mode.filter(|_| executable || !header.created);
        let change = match (&header.from, &header.to) {
            _ if header.created && header.deleted => return Err(error("a file cannot be new and deleted at once".to_owned())),
            (Some(from), Some(to)) => {
                Change::Update { file: self.place(header.line, from)?.into(), to: Some(self.place(header.line, to)?), hunks }
            }
            (None, None) if header.created => self.created(&header, &hunks)?,
            (None, None) => {
                let file = self.named(&header)?;
                if header.deleted {
                    Change::Delete { file, hunks }
                } else if !hunks.is_empty() {
                    Change::Update { file, to: None, hunks }
                } else if header.modes.len() > 1 {
                    return Err(error(format!("modes cannot be set here; leave the change of mode of {} out", file.place)));
                } else {
                    return Err(error(format!(
                        "the diff of {} has no hunk; a hunk starts with `@@ -LINE,COUNT +LINE,COUNT @@`",
                        file.place
                    )));
                }
            }
            _ => return Err(error("a rename has two lines, `rename from PATH` and `rename to PATH`".to_owned())),
        };
        Ok(Section { change, replaces: false, mode })
    }

    fn created(&self, header: &Header, hunks: &[Hunk]) -> Result<Change> {
        let name = match (&header.git, &header.new) {
            (Some(name), Some(Name::Path(path))) if names::forms(path).contains(&name.as_str()) => name,
            (Some(name), None) => name,
            (_, Some(Name::Path(path))) => names::of_new_file(path),
            _ => return Err(self.error_at(header.line, "the name of the new file is missing; it stands in the line `+++ b/PATH`")),
        };
        let mut content = String::new();
        for line in hunks.iter().flat_map(|hunk| &hunk.lines) {
            let Line::Put(text, ending) = line else {
                return Err(self.error_at(
                    header.line,
                    format_args!("{name} is made anew, from /dev/null, so all its lines start with `+`; for a file that is there write `--- a/{name}`"),
                ));
            };
            content.push_str(text);
            content.push_str(match ending {
                Ending::Around | Ending::Lf => "\n",
                Ending::CrLf => "\r\n",
                Ending::None => "",
            });
        }
        Ok(Change::Add { place: self.place(header.line, name)?, content })
    }

    /// The file that both sides are about.
    fn named(&self, header: &Header) -> Result<Named> {
        let forms: Vec<String> = match (&header.old, &header.new) {
            (Some(Name::Path(old)), Some(Name::Path(new))) => {
                let common = names::common(old, new);
                if common.is_empty() {
                    let (old, new) = (shown(old), shown(new));
                    let message = format!(
                        "`{old}` and `{new}` are two files; write one name on both sides, or `rename from` and `rename to` for a rename"
                    );
                    return Err(self.error_at(header.line, message));
                }
                common
            }
            (Some(Name::Path(path)), _) | (_, Some(Name::Path(path))) => names::forms(path).into_iter().map(str::to_owned).collect(),
            _ => header.git.iter().cloned().collect(),
        };
        let mut places = forms.iter().map(|form| self.place(header.line, form));
        let Some(place) = places.next() else {
            return Err(self.error_at(header.line, "which file is meant is not clear; write the lines `--- a/PATH` and `+++ b/PATH`"));
        };
        // With its prefix a name may lead outside where without it it does not.
        Ok(Named { place: place?, otherwise: places.next().and_then(Result::ok) })
    }

    fn place(&self, line: usize, path: &str) -> Result<Place> {
        let place = Place::parse(path).map_err(|error| self.error_at(line, error.message))?;
        if place.is_workspace() {
            return Err(self.error_at(line, "the name of the file is missing"));
        }
        Ok(place)
    }
}

const BINARY: &str = "binary files cannot be patched; leave this one out";
const LINES: &str = "the lines of a hunk start with ` ` (kept), `-` (removed) or `+` (added)";

fn is_binary(line: &str) -> bool {
    line == "GIT binary patch" || (line.starts_with("Binary files ") && line.ends_with(" differ"))
}

/// What a `@@` line says: the first line of the hunk in the old file (from 0), how many lines it has, and the words behind.
fn numbers(line: &str) -> (Option<usize>, Option<Count>, Option<&str>) {
    let text = line.strip_prefix("@@").unwrap_or(line).trim_start();
    let (ranges, heading) = match text.split_once("@@") {
        Some((ranges, heading)) => (ranges.trim_end(), heading),
        None => (text, ""),
    };
    let range = |text: &str, sign: char| -> Option<(usize, usize)> {
        let text = text.strip_prefix(sign)?;
        let (line, count) = text.split_once(',').unwrap_or((text, "1"));
        Some((line.parse().ok()?, count.parse().ok()?))
    };
    let parsed = ranges.split_once(' ').and_then(|(old, new)| Some((range(old, '-')?, range(new.trim_start(), '+')?)));
    let heading = heading.strip_prefix(' ').unwrap_or(heading);
    match parsed {
        Some(((start, old), (_, new))) => (Some(start.saturating_sub(usize::from(old > 0))), Some(Count { old, new }), Some(heading)),
        // `@@ fn name() {`, as in the envelope; numbers that are none say nothing.
        None if heading.trim().is_empty() && !ranges.starts_with(['-', '.']) => (None, None, Some(ranges)),
        None => (None, None, Some(heading)),
    }
}

/// Endings are taken as they are where the lines of the hunk differ in them; where all are alike, the patch may have lost
/// or found its carriage returns on the way here, and the file itself says how its lines end.
fn lines(raw: &[RawLine<'_>]) -> Vec<Line> {
    let ended = || raw.iter().filter(|line| !line.open);
    let returns = ended().filter(|line| line.text.ends_with('\r')).count();
    let alike = returns == 0 || returns == ended().count();
    let around = alike && ended().any(|line| line.sign != b'+');
    raw.iter()
        .map(|line| {
            let text = if line.open { line.text } else { line.text.strip_suffix('\r').unwrap_or(line.text) };
            let ending = match () {
                () if line.open => Ending::None,
                () if around => Ending::Around,
                () if text.len() < line.text.len() => Ending::CrLf,
                () => Ending::Lf,
            };
            match line.sign {
                b'-' => Line::Drop(text.to_owned()),
                b'+' => Line::Put(text.to_owned(), ending),
                _ => Line::Keep(text.to_owned()),
            }
        })
        .collect()
}
