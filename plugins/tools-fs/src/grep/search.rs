//! One file after the other in one buffer, and the lines of it that match.
//!
//! The whole buffer is searched at once, because a search per line costs more than the search itself. Lines still count
//! alone: a match that runs over the end of its line (`\s`, `[^x]`) is no match, and from the first such on every line is
//! searched by itself, which keeps the time linear.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};
use stellaclaw_sdk::{Error, Result};

use crate::files::Files;
use crate::paths::Place;

/// What the host hands over in one read.
const CHUNK_BYTES: usize = 64 * 1024;
/// Files over this are not searched: they would not fit into the sandbox.
const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// A NUL in the first bytes says that a file is no text.
const BINARY_CHECK_BYTES: usize = 8 * 1024;
/// What a compiled pattern may take.
const MAX_REGEX_BYTES: usize = 4 * 1024 * 1024;

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    Text,
    /// Binary, or not readable.
    NoText,
    TooLarge,
}

/// A line that matches: its bytes without the ending, and where in it the match begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) line: Range<usize>,
    pub(super) at: usize,
}

/// The pattern and the file it is searched in.
#[derive(Debug)]
pub(super) struct Searcher {
    regex: Regex,
    line_by_line: bool,
    /// As long as the largest file so far, so that nothing is cleared or allocated for most files.
    buffer: Vec<u8>,
    len: usize,
}

impl Searcher {
    /// # Errors
    ///
    /// `invalid` with what is wrong with the pattern.
    pub(super) fn new(pattern: &str) -> Result<Self> {
        let regex = RegexBuilder::new(pattern).multi_line(true).crlf(true).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
            Error::invalid(format!("`pattern` is no regular expression (escape special characters with `\\`): {error}"))
        })?;
        Ok(Self { regex, line_by_line: false, buffer: vec![0; CHUNK_BYTES], len: 0 })
    }

    /// Reads a file into the buffer. What cannot be read is passed over, as it may be gone since it was listed.
    pub(super) fn load(&mut self, files: &dyn Files, place: &Place) -> Loaded {
        self.len = 0;
        let Ok(mut file) = files.open(place) else { return Loaded::NoText };
        loop {
            if self.len == self.buffer.len() {
                if self.len > MAX_FILE_BYTES {
                    return Loaded::TooLarge;
                }
                // Exactly this much: a vector that doubles itself would not fit into the sandbox.
                let next = if self.len * 2 >= MAX_FILE_BYTES { MAX_FILE_BYTES + 1 } else { self.len * 2 };
                self.buffer.reserve_exact(next - self.len);
                self.buffer.resize(next, 0);
            }
            match file.read(&mut self.buffer[self.len..]) {
                Ok(0) => return Loaded::Text,
                Ok(count) => {
                    let first = self.len == 0;
                    self.len += count;
                    if first && self.buffer[..count.min(BINARY_CHECK_BYTES)].contains(&0) {
                        return Loaded::NoText;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Loaded::NoText,
            }
        }
    }

    /// The file.
    pub(super) fn text(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Asked only of files that match: most do not.
    pub(super) fn is_utf8(&self) -> bool {
        std::str::from_utf8(self.text()).is_ok()
    }

    /// The first line that matches and starts at `from` or later; `from` is the start of a line.
    pub(super) fn next_line(&mut self, mut from: usize) -> Option<Hit> {
        let text = &self.buffer[..self.len];
        while from < text.len() {
            if self.line_by_line {
                let line = from..line_end(text, from);
                if let Some(found) = self.regex.find(&text[line.clone()]) {
                    return Some(Hit { at: found.start(), line: without_return(text, line) });
                }
                from = line.end + 1;
                continue;
            }
            let found = self.regex.find_at(text, from)?;
            if found.start() == text.len() && text.ends_with(b"\n") {
                // Behind the last line there is none.
                return None;
            }
            let start = line_start(text, found.start());
            let line = start..line_end(text, found.start());
            if found.end() <= line.end {
                return Some(Hit { at: found.start() - start, line: without_return(text, line) });
            }
            self.line_by_line = true;
            from = start;
        }
        None
    }
}

/// Where the line of `at` begins.
pub(super) fn line_start(text: &[u8], at: usize) -> usize {
    text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

/// Where the line of `at` ends, before its newline.
pub(super) fn line_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |newline| at + newline)
}

/// The line without the carriage return of its ending.
pub(super) fn without_return(text: &[u8], line: Range<usize>) -> Range<usize> {
    let cut = usize::from(text[line.clone()].last() == Some(&b'\r'));
    line.start..line.end - cut
}
