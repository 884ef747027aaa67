//! What a patch makes of the files: worked out whole in memory, then written.

use std::collections::BTreeMap;

use stellaclaw_sdk::serde::Serialize;
use stellaclaw_sdk::{Error, ErrorKind, Result};

use super::fit;
use super::parse::{Change, Hunk, Named, Section};
use crate::edit::read_text;
use crate::files::{self, Files, Kind};
use crate::paths::Place;
use crate::read::reading;
use crate::write::{self, Staged};

/// A file of a patch; its lines and its new text are in memory with it.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// What is kept for each line would otherwise outgrow the sandbox.
const MAX_LINES: usize = 500_000;
/// All new texts of a patch.
const MAX_TOTAL_BYTES: usize = 12 * 1024 * 1024;

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct Changed {
    path: String,
    action: &'static str,
    /// Where a moved file was.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// A file that was there before was replaced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replaced: bool,
    /// The mode that the patch gives it and that was not set: there is no way to set one.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode_ignored: Option<&'static str>,
}

/// A file as it will be.
#[derive(Debug)]
struct Draft {
    /// None: there is no such file (any more).
    text: Option<String>,
    /// Is there one now?
    on_disk: bool,
    /// The file this one was moved from: its mode goes along.
    moved_from: Option<Place>,
}

/// All files that a patch touches, by the names under which they are written.
pub(crate) struct Plan<'a> {
    files: &'a dyn Files,
    drafts: BTreeMap<Place, Draft>,
    pub(crate) changed: Vec<Changed>,
}

impl<'a> Plan<'a> {
    /// Works the sections out one after the other; a later one sees what an earlier one did.
    ///
    /// # Errors
    ///
    /// The file and the hunk that do not fit. Nothing was written.
    pub(crate) fn new(files: &'a dyn Files, sections: &[Section]) -> Result<Self> {
        let mut plan = Self { files, drafts: BTreeMap::new(), changed: Vec::new() };
        for section in sections {
            let changed = match &section.change {
                Change::Add { place, content } => plan.add(place, content, section.replaces)?,
                Change::Delete { file, hunks } => plan.delete(file, hunks)?,
                Change::Update { file, to, hunks } => plan.update(file, to.as_ref(), hunks, section.replaces)?,
            };
            plan.changed.push(Changed { mode_ignored: section.mode, ..changed });
            let total: usize = plan.drafts.values().filter_map(|draft| draft.text.as_ref()).map(String::len).sum();
            if total > MAX_TOTAL_BYTES {
                return Err(Error::too_large(format!(
                    "the files of the patch have more than {MAX_TOTAL_BYTES} bytes together; nothing was changed. Apply it in parts"
                )));
            }
        }
        Ok(plan)
    }

    fn add(&mut self, place: &Place, content: &str, replaces: bool) -> Result<Changed> {
        let target = self.new_file(place)?;
        let replaced = self.put(target, content.to_owned(), None);
        if replaced && !replaces {
            return Err(taken(place, "makes it anew, from /dev/null"));
        }
        Ok(Changed { replaced, ..Changed::new(place, "add") })
    }

    fn delete(&mut self, file: &Named, hunks: &[Hunk]) -> Result<Changed> {
        let place = self.meant(file)?;
        if !self.exists(place)? {
            return Err(missing(place, "delete"));
        }
        if !hunks.is_empty() {
            let rest = self.patched(place, &write::target(self.files, place)?, hunks)?;
            if !rest.is_empty() {
                let lines = rest.lines().count();
                return Err(Error::conflict(format!(
                    "{place} has {lines} lines that the patch, which deletes it, does not name; nothing was changed. Read it again"
                )));
            }
        }
        self.drop_file(place);
        Ok(Changed::new(place, "delete"))
    }

    fn update(&mut self, file: &Named, to: Option<&Place>, hunks: &[Hunk], replaces: bool) -> Result<Changed> {
        let place = self.meant(file)?;
        let source = write::target(self.files, place)?;
        let changed = self.patched(place, &source, hunks)?;
        let Some(to) = to.filter(|to| *to != place) else {
            self.put(source, changed, None);
            return Ok(Changed::new(place, "update"));
        };
        // A link is moved as what it shows: the link itself goes, the file it leads to stays.
        self.drop_file(place);
        let target = self.new_file(to)?;
        let replaced = self.put(target, changed, Some(place.clone()));
        if replaced && !replaces {
            return Err(taken(to, "moves another file there"));
        }
        Ok(Changed { from: Some(place.to_string()), replaced, ..Changed::new(to, "move") })
    }

    /// The file that a name means.
    fn meant<'n>(&self, file: &'n Named) -> Result<&'n Place> {
        match &file.otherwise {
            Some(otherwise) if !self.exists(&file.place)? && self.exists(otherwise)? => Ok(otherwise),
            _ => Ok(&file.place),
        }
    }

    /// The text of a file with the hunks applied.
    fn patched(&self, place: &Place, source: &Place, hunks: &[Hunk]) -> Result<String> {
        let text = self.text(place, source)?;
        if text.bytes().filter(|byte| *byte == b'\n').count() > MAX_LINES {
            return Err(Error::too_large(format!("{place} has more than {MAX_LINES} lines; nothing was changed. Use edit")));
        }
        fit::apply(&text, hunks).map_err(|problem| Error::conflict(format!("{place}, {problem}\nNothing was changed.")))
    }

    /// The text of a file as the sections so far leave it.
    fn text(&self, place: &Place, source: &Place) -> Result<String> {
        match self.drafts.get(source) {
            Some(Draft { text: Some(text), .. }) => Ok(text.clone()),
            Some(Draft { text: None, .. }) => Err(missing(place, "update")),
            None => read_text(self.files, source, MAX_FILE_BYTES).map_err(|error| match error.kind {
                ErrorKind::NotFound => missing(place, "update"),
                _ => Error { message: format!("{}; nothing was changed", error.message), ..error },
            }),
        }
    }

    /// Is there a file (or a link) of this name?
    fn exists(&self, place: &Place) -> Result<bool> {
        if let Some(draft) = self.drafts.get(place) {
            return Ok(draft.text.is_some());
        }
        if self.files.link_target(place).map_err(|error| reading(place, error))?.is_some() {
            return Ok(true);
        }
        match self.files.stat(place) {
            Ok(stat) if stat.kind == Kind::Directory => {
                Err(Error::invalid(format!("{place} is a directory, not a file; nothing was changed")))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            // Something above it is a file: there is nothing below.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
            Err(error) => Err(reading(place, error)),
        }
    }

    /// The name under which a new file is written, when there can be one.
    fn new_file(&self, place: &Place) -> Result<Place> {
        let target = write::target(self.files, place)?;
        for above in target.ancestors().iter().rev() {
            let is_file = match self.drafts.get(above) {
                Some(draft) => draft.text.is_some(),
                None => match self.files.stat(above) {
                    Ok(stat) if stat.kind == Kind::Directory => break,
                    Ok(_) => true,
                    Err(_) => false,
                },
            };
            if is_file {
                return Err(Error::invalid(format!("{place} cannot be made: {above} is a file, not a directory; nothing was changed")));
            }
        }
        let below = format!("{target}/");
        if self.drafts.iter().any(|(other, draft)| draft.text.is_some() && other.as_str().starts_with(&below)) {
            return Err(Error::invalid(format!("{place} cannot be a file: the patch also makes files below it; nothing was changed")));
        }
        Ok(target)
    }

    /// Answers whether a file is replaced that is there now or was made by an earlier section.
    fn put(&mut self, target: Place, text: String, moved_from: Option<Place>) -> bool {
        let (on_disk, replaced) = match self.drafts.get(&target) {
            Some(draft) => (draft.on_disk, draft.text.is_some()),
            None => {
                let on_disk = self.files.stat(&target).is_ok();
                (on_disk, on_disk)
            }
        };
        self.drafts.insert(target, Draft { text: Some(text), on_disk, moved_from });
        replaced
    }

    fn drop_file(&mut self, place: &Place) {
        let draft = self.drafts.entry(place.clone()).or_insert(Draft { text: None, on_disk: true, moved_from: None });
        draft.text = None;
        draft.moved_from = None;
    }

    /// Writes everything: first all new content beside its files, so that what can fail fails before a file has changed.
    ///
    /// # Errors
    ///
    /// What the file system says, and what was changed before.
    pub(crate) fn write(self) -> Result<Vec<Changed>> {
        let staged = self.stage()?;
        let mut done: Vec<&str> = Vec::new();
        for (index, new) in staged.iter().enumerate() {
            if let Some(from) = self.drafts.get(&new.place).and_then(|draft| draft.moved_from.as_ref())
                && self.drafts.get(from).is_some_and(|draft| draft.on_disk && draft.text.is_none())
            {
                // The host carries a mode over only from the file that a rename replaces. Where this cannot be done
                // (another mount) the file is written with the default mode, and the old one removed below.
                if self.files.rename(from, &new.place).is_ok() {
                    done.push(from.as_str());
                }
            }
            if let Err(error) = new.commit(self.files) {
                staged[index + 1..].iter().for_each(|rest| rest.discard(self.files));
                return Err(half_done(error, &done));
            }
            done.push(new.place.as_str());
        }
        for (place, _) in self.drafts.iter().filter(|(_, draft)| draft.on_disk && draft.text.is_none()) {
            match self.files.remove(place) {
                Ok(()) => done.push(place.as_str()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(half_done(files::problem("remove", place, error), &done)),
            }
        }
        Ok(self.changed)
    }

    fn stage(&self) -> Result<Vec<Staged>> {
        let mut staged: Vec<Staged> = Vec::new();
        for (place, draft) in &self.drafts {
            let Some(text) = &draft.text else { continue };
            let mode_from = draft.moved_from.as_ref().unwrap_or(place);
            let new = write::make_parent(self.files, place).and_then(|()| Staged::new(self.files, place, text.as_bytes(), mode_from));
            match new {
                Ok(new) => staged.push(new),
                Err(error) => {
                    staged.iter().for_each(|new| new.discard(self.files));
                    return Err(Error { message: format!("{}; no file was changed", error.message), ..error });
                }
            }
        }
        Ok(staged)
    }
}

impl Changed {
    fn new(place: &Place, action: &'static str) -> Self {
        Self { path: place.to_string(), action, from: None, replaced: false, mode_ignored: None }
    }
}

fn taken(place: &Place, does: &str) -> Error {
    Error::conflict(format!(
        "{place} is there already, and the patch {does}; nothing was changed. Change the file that is there, or delete it first"
    ))
}

fn missing(place: &Place, action: &str) -> Error {
    Error::not_found(format!("there is no {place} to {action}; nothing was changed. Look for it with glob or ls"))
}

fn half_done(error: Error, done: &[&str]) -> Error {
    let message = if done.is_empty() {
        format!("{}; no file was changed", error.message)
    } else {
        format!("{}; these files were changed before: {}", error.message, done.join(", "))
    };
    Error { message, ..error }
}
