//! `file_write`, and the atomic replacement that every writing tool uses.
//!
//! A file is never half written: the new content goes to a hidden file beside it, is synced, and takes the name in one
//! rename. WASI cannot set modes, so there the host carries the mode of a replaced file over; elsewhere it is copied.

use std::hash::{BuildHasher, Hasher};
use std::io;

use stellaclaw_sdk::serde::{Deserialize, Serialize};
use stellaclaw_sdk::{Call, Error, Output, Result, Tool, schemars};

use crate::answer;
use crate::files::{self, Files, Kind, Local};
use crate::paths::{self, Place};
use crate::read::check_encoding;
use crate::text::cut_bytes;

#[cfg(test)]
mod tests;

/// Links to links are followed this far.
const MAX_LINKS: usize = 8;
/// Names for the temporary file that may be taken before giving up.
const MAX_TEMPORARY_NAMES: usize = 16;
/// The part of the file's name in the temporary one: the whole must stay below 255 bytes.
const MAX_NAME_BYTES: usize = 200;

/// Writes a text file, whole (`overwrite`) or at the end (`append`). Directories above it are made. To change a part of a
/// file use `edit` or `apply_patch`.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct FileWrite {
    /// The file, relative to the workspace. Required.
    file_path: Option<String>,
    /// The text to write, exactly as it shall be in the file.
    content: String,
    /// Replace the file, or add to its end.
    #[serde(default)]
    mode: Mode,
    /// Another name of `file_path`.
    path: Option<String>,
    /// Only `utf-8`.
    encoding: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", rename_all = "lowercase")]
enum Mode {
    #[default]
    Overwrite,
    Append,
}

impl Tool for FileWrite {
    fn call(self, _call: &Call) -> Result<Output> {
        self.run(&Local::sandbox())
    }
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Written {
    file_path: String,
    mode: Mode,
    bytes_written: usize,
}

impl FileWrite {
    fn run(self, files: &dyn Files) -> Result<Output> {
        check_encoding(self.encoding.as_deref())?;
        let place = paths::argument("file_path", self.file_path.as_deref(), "path", self.path.as_deref())?;
        let target = target(files, &place)?;
        make_parent(files, &target)?;
        match self.mode {
            Mode::Overwrite => replace(files, &target, self.content.as_bytes())?,
            Mode::Append => files.append(&target, self.content.as_bytes()).map_err(|error| writing(&place, error))?,
        }
        let bytes_written = self.content.len();
        let summary = format!("wrote {bytes_written} bytes to {place}");
        answer::json(&Written { file_path: place.to_string(), mode: self.mode, bytes_written }, &summary)
    }
}

/// The file that writing to `place` changes: links are followed, so that a link stays one.
///
/// # Errors
///
/// `invalid` for directories, special files, and links that lead outside or in circles.
pub(crate) fn target(files: &dyn Files, place: &Place) -> Result<Place> {
    let mut target = place.clone();
    for _ in 0..MAX_LINKS {
        let link = files.link_target(&target).map_err(|error| writing(place, error))?;
        let Some(link) = link else {
            return match files.stat(&target) {
                Ok(stat) if stat.kind == Kind::Directory => Err(Error::invalid(format!("{place} is a directory, not a file"))),
                Ok(stat) if stat.kind == Kind::Other => {
                    Err(Error::invalid(format!("{place} is no regular file (a pipe, socket or device)")))
                }
                // A missing file is made; whatever else is wrong is said by the write itself.
                _ => Ok(target),
            };
        };
        let path = match target.parent().filter(|parent| !parent.is_workspace()) {
            Some(parent) if !link.starts_with('/') => format!("{parent}/{link}"),
            _ => link,
        };
        target = Place::parse(&path).map_err(|error| error.context(format!("{place} is a link")))?;
    }
    Err(Error::invalid(format!("{place} is a link to more than {MAX_LINKS} others; name the file itself")))
}

/// Makes the directories above `place`.
///
/// # Errors
///
/// When something else has such a name, and what the file system says.
pub(crate) fn make_parent(files: &dyn Files, place: &Place) -> Result<()> {
    let Some(parent) = place.parent() else { return Ok(()) };
    if files.stat(&parent).is_ok_and(|stat| stat.kind == Kind::Directory) {
        return Ok(());
    }
    files.make_directories(&parent).map_err(|error| Error::from(error).context(format!("cannot make the directory {parent} for {place}")))
}

/// Gives the file `place` (no link) this content, whole or not at all.
///
/// # Errors
///
/// What the file system says; the file is then as it was.
pub(crate) fn replace(files: &dyn Files, place: &Place, content: &[u8]) -> Result<()> {
    let staged = Staged::new(files, place, content, place)?;
    staged.commit(files)
}

/// New content that waits beside its file for its name.
#[derive(Debug)]
pub(crate) struct Staged {
    temporary: Place,
    pub(crate) place: Place,
}

impl Staged {
    /// Writes the content beside `place`, with the mode of `mode_from` if there is such a file.
    ///
    /// # Errors
    ///
    /// What the file system says; nothing is left behind.
    pub(crate) fn new(files: &dyn Files, place: &Place, content: &[u8], mode_from: &Place) -> Result<Self> {
        let temporary = create_temporary(files, place, content).map_err(|error| writing(place, error))?;
        let staged = Self { temporary, place: place.clone() };
        match files.copy_mode(mode_from, &staged.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                staged.discard(files);
                Err(writing(place, error))
            }
            _ => Ok(staged),
        }
    }

    /// Puts the content in its place.
    ///
    /// # Errors
    ///
    /// What the file system says; the temporary file is then removed.
    pub(crate) fn commit(&self, files: &dyn Files) -> Result<()> {
        files.rename(&self.temporary, &self.place).map_err(|error| {
            self.discard(files);
            writing(&self.place, error)
        })
    }

    /// Forgets the content.
    pub(crate) fn discard(&self, files: &dyn Files) {
        // Nothing more can be done about a file that does not go away; the caller reports what led here.
        let _ = files.remove(&self.temporary);
    }
}

fn create_temporary(files: &dyn Files, place: &Place, content: &[u8]) -> io::Result<Place> {
    let parent = place.parent().unwrap_or_else(Place::workspace);
    let name = cut_bytes(place.name(), MAX_NAME_BYTES);
    let mut tries = 0;
    loop {
        let temporary = parent.join(&format!(".{name}.{:016x}.tmp", random()));
        match files.create(&temporary, content) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MAX_TEMPORARY_NAMES => tries += 1,
            Err(error) => return Err(error),
            Ok(()) => return Ok(temporary),
        }
    }
}

/// Differs between calls and instances: a counter would start again in every sandbox.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// An error of the file system while writing, with what was tried.
pub(crate) fn writing(place: &Place, error: io::Error) -> Error {
    files::problem("write", place, error)
}
