//! `edit`: replaces an exact piece of a text file.

use std::io::Read;

use stellaclaw_sdk::serde::{Deserialize, Serialize};
use stellaclaw_sdk::{Call, Error, ErrorKind, Output, Result, Tool, schemars};

use crate::files::{Files, Local};
use crate::patch::seek;
use crate::paths::{self, Place};
use crate::read::{check_encoding, not_text, reading, regular_file};
use crate::text::is_crlf;
use crate::{answer, write};

#[cfg(test)]
mod tests;

/// Old and new content are both in memory.
const MAX_FILE_BYTES: u64 = 12 * 1024 * 1024;
/// In larger files nothing similar is looked for.
const MAX_HINT_BYTES: usize = 1024 * 1024;
/// Lines named when the old text is there several times.
const MAX_NAMED_LINES: usize = 10;

/// Replaces `old_text` by `new_text` in a file. `old_text` must be there exactly once, character for character (without
/// the line numbers of `file_read`), unless `replace_all` is set.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct Edit {
    /// The file, relative to the workspace. Required.
    path: Option<String>,
    /// The text to replace, with enough around it to be unique.
    old_text: String,
    /// The text to put in its place.
    new_text: String,
    /// Replace every occurrence.
    #[serde(default)]
    replace_all: bool,
    /// Make the file with `new_text` if it does not exist.
    #[serde(default)]
    create_if_missing: bool,
    /// Another name of `path`.
    file_path: Option<String>,
    /// Only `utf-8`.
    encoding: Option<String>,
}

impl Tool for Edit {
    fn call(self, _call: &Call) -> Result<Output> {
        self.run(&Local::sandbox())
    }
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Edited {
    path: String,
    created: bool,
    replacements: usize,
    bytes_written: usize,
}

impl Edit {
    fn run(self, files: &dyn Files) -> Result<Output> {
        check_encoding(self.encoding.as_deref())?;
        let place = paths::argument("path", self.path.as_deref(), "file_path", self.file_path.as_deref())?;
        let target = write::target(files, &place)?;
        let edited = match read_text(files, &target, MAX_FILE_BYTES) {
            Err(error) if error.kind == ErrorKind::NotFound => self.create(files, &place, &target, error)?,
            Err(error) => return Err(error),
            Ok(content) => self.change(files, &place, &target, &content)?,
        };
        let summary = if edited.created { format!("made {place}") } else { format!("{} replacements in {place}", edited.replacements) };
        answer::json(&edited, &summary)
    }

    fn create(self, files: &dyn Files, place: &Place, target: &Place, error: Error) -> Result<Edited> {
        if !self.create_if_missing {
            return Err(Error::not_found(format!("{}; set `create_if_missing` to make it", error.message)));
        }
        write::make_parent(files, target)?;
        write::replace(files, target, self.new_text.as_bytes())?;
        Ok(Edited { path: place.to_string(), created: true, replacements: 0, bytes_written: self.new_text.len() })
    }

    fn change(mut self, files: &dyn Files, place: &Place, target: &Place, content: &str) -> Result<Edited> {
        if self.old_text.is_empty() {
            return Err(Error::invalid(format!("`old_text` is empty and {place} exists; give the text to replace, or use file_write")));
        }
        if is_crlf(content) && !self.old_text.contains('\r') {
            // What file_read shows has no carriage returns; the file keeps its line endings.
            self.old_text = self.old_text.replace('\n', "\r\n");
            self.new_text = self.new_text.replace("\r\n", "\n").replace('\n', "\r\n");
        }
        if self.old_text == self.new_text {
            return Err(Error::invalid("`old_text` and `new_text` are the same; nothing would change"));
        }
        let replacements = content.matches(&self.old_text).count();
        match replacements {
            0 => return Err(self.not_there(place, content)),
            1 => {}
            _ if self.replace_all => {}
            count => return Err(self.ambiguous(place, content, count)),
        }
        let grown = content.len() + replacements * self.new_text.len().saturating_sub(self.old_text.len());
        if grown as u64 > 2 * MAX_FILE_BYTES {
            return Err(Error::too_large(format!(
                "{place} would have up to {grown} bytes; edit makes files of at most {}",
                2 * MAX_FILE_BYTES
            )));
        }
        let changed = content.replace(&self.old_text, &self.new_text);
        write::replace(files, target, changed.as_bytes())?;
        Ok(Edited { path: place.to_string(), created: false, replacements, bytes_written: changed.len() })
    }

    fn not_there(&self, place: &Place, content: &str) -> Error {
        let (lines, wanted): (Vec<&str>, Vec<&str>) =
            if content.len() > MAX_HINT_BYTES { Default::default() } else { (content.lines().collect(), self.old_text.lines().collect()) };
        let hint = match seek::find(&lines, &wanted, 0, false) {
            Some(found) if !wanted.is_empty() => {
                format!("the same lines with other white space or punctuation are at line {}; copy them exactly", found + 1)
            }
            _ => "read the file again and copy the text exactly".to_owned(),
        };
        Error::not_found(format!("`old_text` is not in {place}: {hint}"))
    }

    fn ambiguous(&self, place: &Place, content: &str, count: usize) -> Error {
        let mut lines: Vec<String> = Vec::new();
        let mut number = 1;
        let mut seen = 0;
        for (at, _) in content.match_indices(&self.old_text).take(MAX_NAMED_LINES) {
            number += content[seen..at].matches('\n').count();
            seen = at;
            lines.push(number.to_string());
        }
        let more = if count > MAX_NAMED_LINES { ", …" } else { "" };
        Error::conflict(format!(
            "`old_text` is in {place} {count} times (lines {}{more}); give more text around it so that it is unique, or set `replace_all`",
            lines.join(", ")
        ))
    }
}

/// A whole text file.
///
/// # Errors
///
/// `not-found`, `too-large` over `most` bytes, `invalid` when it is no text.
pub(crate) fn read_text(files: &dyn Files, place: &Place, most: u64) -> Result<String> {
    let stat = regular_file(files, place)?;
    let too_large = || Error::too_large(format!("{place} is larger than the {most} bytes that can be changed at once"));
    if stat.size > most {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0) + 1);
    let file = files.open(place).map_err(|error| reading(place, error))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| reading(place, error))?;
    if bytes.len() as u64 > most {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| not_text(place, error.utf8_error().valid_up_to() as u64))
}
