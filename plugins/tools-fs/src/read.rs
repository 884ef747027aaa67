//! `file_read`: a window of a text file, with line numbers, streamed.

use std::io::Read;

use stellaclaw_sdk::serde::{Deserialize, Serialize};
use stellaclaw_sdk::{Batching, Call, Error, ErrorKind, Output, Replay, Result, Tool, schemars};

use crate::files::{Files, Kind, Local, Stat};
use crate::paths::{self, Place};
use crate::text::{BOM, Utf8Check, cut_chars};
use crate::{answer, files};

#[cfg(test)]
mod tests;

const DEFAULT_LINES: u64 = 2000;
const MAX_LINE_CHARS: usize = 2000;
const MAX_CONTENT_BYTES: usize = 256 * 1024;
/// A larger file is read only when a window was asked for.
const MAX_WHOLE_BYTES: u64 = 256 * 1024;
/// What the host hands over in one read.
const CHUNK_BYTES: usize = 64 * 1024;
/// Room for the lines of an ordinary file.
const CONTENT_BYTES: usize = 16 << 10;

/// Reads a text file. Every line comes as `<number>: <text>`. Reads up to 2000 lines from `offset`; for a file over 256
/// KiB give `offset` and `limit`. Lines over 2000 characters are cut.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct FileRead {
    /// The file, relative to the workspace. Required.
    file_path: Option<String>,
    /// The first line to read, from 1. Default 1.
    offset: Option<u64>,
    /// How many lines to read. Default 2000.
    limit: Option<u64>,
    /// Another name of `file_path`.
    path: Option<String>,
    /// Another name of `offset`.
    start_line: Option<u64>,
    /// The last line to read, instead of `limit`.
    end_line: Option<u64>,
    /// Only `utf-8`.
    encoding: Option<String>,
}

impl Tool for FileRead {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        self.run(&Local::sandbox())
    }
}

/// Which lines to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// The number of the file's first line: 0 when the caller counts from 0.
    base: u64,
    first: u64,
    limit: u64,
    /// Did the caller choose it?
    explicit: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Lines {
    file_path: String,
    start_line: u64,
    end_line: u64,
    total_lines: u64,
    content: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated_by_lines: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated_by_bytes: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated_long_lines: bool,
}

impl FileRead {
    fn run(self, files: &dyn Files) -> Result<Output> {
        check_encoding(self.encoding.as_deref())?;
        let place = paths::argument("file_path", self.file_path.as_deref(), "path", self.path.as_deref())?;
        let window = self.window()?;
        let stat = regular_file(files, &place)?;
        if stat.size > MAX_WHOLE_BYTES && !window.explicit {
            return Err(Error::too_large(format!(
                "{place} has {} bytes, more than the {MAX_WHOLE_BYTES} that are read at once; give a window with `offset` and `limit` (lines), \
                 or find the place with grep",
                stat.size
            )));
        }
        let lines = read_window(files, &place, window)?;
        if lines.content.is_empty() && lines.total_lines > 0 {
            return Err(Error::invalid(format!(
                "{place} has {} lines; `offset` {} is after the last one",
                lines.total_lines, window.first
            )));
        }
        let summary = format!("{place}: lines {} to {} of {}", lines.start_line, lines.end_line, lines.total_lines);
        answer::json(&lines, &summary)
    }

    fn window(&self) -> Result<Window> {
        if let (Some(one), Some(two)) = (self.offset, self.start_line)
            && one != two
        {
            return Err(Error::invalid(
                "`offset` and `start_line` are two names of one argument and say different things; give only `offset`",
            ));
        }
        let offset = self.offset.or(self.start_line);
        let first = offset.unwrap_or(1);
        let limit = match (self.limit, self.end_line) {
            (Some(_), Some(_)) => return Err(Error::invalid("give `limit` or `end_line`, not both")),
            (Some(0), None) => return Err(Error::invalid("`limit` is 0; it must be at least 1")),
            (Some(limit), None) => limit,
            (None, Some(last)) if last < first => {
                return Err(Error::invalid(format!("`end_line` {last} is before the first line to read, {first}")));
            }
            (None, Some(last)) => (last - first).saturating_add(1),
            (None, None) => DEFAULT_LINES,
        };
        let explicit = offset.is_some() || self.limit.is_some() || self.end_line.is_some();
        Ok(Window { base: u64::from(first != 0), first, limit, explicit })
    }
}

/// Says what else is there when it is no regular file.
///
/// # Errors
///
/// `not-found` and `invalid`, with what would help.
pub(crate) fn regular_file(files: &dyn Files, place: &Place) -> Result<Stat> {
    let stat = files.stat(place).map_err(|error| reading(place, error))?;
    match stat.kind {
        Kind::File => Ok(stat),
        Kind::Directory => Err(Error::invalid(format!("{place} is a directory; use ls to see what is in it"))),
        files::Kind::Link | files::Kind::Other => Err(Error::invalid(format!("{place} is no regular file (a pipe, socket or device)"))),
    }
}

/// An error of the file system while reading, with what was tried.
pub(crate) fn reading(place: &Place, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Error::not_found(format!("there is no {place}; look for it with glob or ls"));
    }
    files::problem("read", place, error)
}

/// Refuses encodings that nothing here can read or write.
///
/// # Errors
///
/// `invalid` for anything but UTF-8.
pub(crate) fn check_encoding(encoding: Option<&str>) -> Result<()> {
    match encoding {
        None => Ok(()),
        Some(name) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8") => Ok(()),
        Some(name) => Err(Error::invalid(format!("encoding `{name}` is not supported; only utf-8 is"))),
    }
}

/// The error for a file that is no text.
pub(crate) fn not_text(place: &Place, position: u64) -> Error {
    Error::new(ErrorKind::Invalid, format!("{place} is not UTF-8 text (byte {position}); it cannot be read or changed as text"))
}

fn read_window(files: &dyn Files, place: &Place, window: Window) -> Result<Lines> {
    let mut file = files.open(place).map_err(|error| reading(place, error))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut utf8 = Utf8Check::default();
    let mut collector = Collector::new(window);
    loop {
        let count = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(reading(place, error)),
        };
        utf8.feed(&chunk[..count]).map_err(|position| not_text(place, position))?;
        collector.feed(&chunk[..count]);
    }
    utf8.finish().map_err(|position| not_text(place, position))?;
    Ok(collector.finish(place))
}

/// Appends a number in decimal.
fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[first..].iter().map(|digit| char::from(*digit)));
}

/// Takes a file in pieces and keeps the lines of the window.
struct Collector {
    window: Window,
    /// The number of the line that `line` belongs to.
    number: u64,
    /// The beginning of the current line: never more than what can be shown of it.
    line: Vec<u8>,
    /// Has the current line any byte?
    open: bool,
    content: String,
    last: Option<u64>,
    more_lines: bool,
    full: bool,
    long_lines: bool,
}

impl Collector {
    /// Enough for the longest line shown, the byte order mark, a carriage return and the proof that there is more.
    const LINE_BYTES: usize = (MAX_LINE_CHARS + 3) * 4;

    fn new(window: Window) -> Self {
        Self {
            window,
            number: window.base,
            line: Vec::new(),
            open: false,
            content: String::with_capacity(CONTENT_BYTES),
            last: None,
            more_lines: false,
            full: false,
            long_lines: false,
        }
    }

    fn feed(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if self.wanted() {
                let room = Self::LINE_BYTES - self.line.len();
                self.line.extend_from_slice(&text[..text.len().min(room)]);
            }
            self.open = true;
            if ended {
                self.end_line();
            }
        }
    }

    fn wanted(&self) -> bool {
        !self.full && self.number >= self.window.first && self.number - self.window.first < self.window.limit
    }

    fn end_line(&mut self) {
        if self.wanted() {
            self.keep_line();
        } else if self.number >= self.window.first && !self.full {
            self.more_lines = true;
        }
        self.line.clear();
        self.open = false;
        self.number += 1;
    }

    /// Written without `format!`: a file has thousands of lines, and the formatter costs more than all the rest.
    fn keep_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let mut text: &str = line.strip_suffix('\r').unwrap_or(&line);
        if self.number == self.window.base {
            text = text.strip_prefix(BOM).unwrap_or(text);
        }
        // A line has at most as many characters as bytes.
        let (text, cut) = if text.len() <= MAX_LINE_CHARS { (text, false) } else { cut_chars(text, MAX_LINE_CHARS) };
        let before = self.content.len();
        if before > 0 {
            self.content.push('\n');
        }
        push_number(&mut self.content, self.number);
        self.content.push_str(": ");
        self.content.push_str(text);
        if cut {
            self.content.push_str("...");
        }
        if self.content.len() > MAX_CONTENT_BYTES {
            self.content.truncate(before);
            self.full = true;
            return;
        }
        self.long_lines |= cut;
        self.last = Some(self.number);
    }

    fn finish(mut self, place: &Place) -> Lines {
        if self.open {
            self.end_line();
        }
        let start_line = self.window.first;
        Lines {
            file_path: place.to_string(),
            start_line,
            end_line: self.last.unwrap_or(start_line.saturating_sub(1)),
            total_lines: self.number - self.window.base,
            content: self.content,
            truncated: self.more_lines || self.full || self.long_lines,
            truncated_by_lines: self.more_lines,
            truncated_by_bytes: self.full,
            truncated_long_lines: self.long_lines,
        }
    }
}
