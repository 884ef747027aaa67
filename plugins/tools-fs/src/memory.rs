//! Files in memory whose operations fail on demand: `apply_patch` without a disk, for property tests and fuzzing.
//!
//! No links, no modes. A directory is there when a file is below it. Not part of the component.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use stellaclaw_sdk::{Output, Result};

use crate::files::{Entry, Files, Kind, Stat};
use crate::paths::Place;

/// A workspace in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// How many changes succeed before one fails; none: all do.
    changes_left: Option<u32>,
}

impl Memory {
    /// A workspace with these files.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(Mutex::new(State { files: files.into_iter().collect(), changes_left: None }))
    }

    /// Lets the change after the next `changes` fail, once.
    #[must_use]
    pub fn failing_after(self, changes: u32) -> Self {
        self.with(|state| state.changes_left = Some(changes));
        self
    }

    /// Every file by its path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.with(|state| state.files.clone())
    }

    /// Calls `apply_patch`.
    ///
    /// # Errors
    ///
    /// What the model would read.
    pub fn apply_patch(&self, patch: &str, check: bool) -> Result<Output> {
        crate::patch::ApplyPatch::new(patch.to_owned(), check).run(self)
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<R>(&self, work: impl FnOnce(&mut State) -> io::Result<R>) -> io::Result<R> {
        self.with(|state| {
            match &mut state.changes_left {
                Some(0) => {
                    state.changes_left = None;
                    return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"));
                }
                Some(left) => *left -= 1,
                None => {}
            }
            work(state)
        })
    }
}

impl State {
    fn is_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        path == "." || self.files.keys().any(|file| file.starts_with(&below))
    }

    /// Is something above `path` a file?
    fn is_below_file(&self, path: &str) -> bool {
        path.match_indices('/').any(|(end, _)| self.files.contains_key(&path[..end]))
    }

    /// What the operating system would say of making a file here.
    fn place_for(&self, path: &str) -> io::Result<()> {
        if self.is_below_file(path) {
            Err(io::ErrorKind::NotADirectory.into())
        } else if self.is_directory(path) {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Ok(())
        }
    }

    fn get(&self, path: &str) -> io::Result<&Vec<u8>> {
        let kind = if self.is_below_file(path) { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
        self.files.get(path).ok_or_else(|| kind.into())
    }
}

impl Files for Memory {
    fn stat(&self, place: &Place) -> io::Result<Stat> {
        self.with(|state| {
            if state.is_directory(place.as_str()) {
                return Ok(Stat { kind: Kind::Directory, size: 0, modified: SystemTime::UNIX_EPOCH });
            }
            let size = state.get(place.as_str())?.len() as u64;
            Ok(Stat { kind: Kind::File, size, modified: SystemTime::UNIX_EPOCH })
        })
    }

    fn link_target(&self, _place: &Place) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn list(&self, directory: &Place) -> io::Result<Vec<Entry>> {
        self.with(|state| {
            let below = state.files.keys().filter(|path| Place::parse(path).is_ok_and(|place| place.parent().as_ref() == Some(directory)));
            Ok(below.map(|path| Entry { name: path.rsplit('/').next().unwrap_or_default().to_owned(), kind: Kind::File }).collect())
        })
    }

    fn open(&self, place: &Place) -> io::Result<Box<dyn Read>> {
        self.with(|state| Ok(Box::new(Cursor::new(state.get(place.as_str())?.clone())) as Box<dyn Read>))
    }

    fn create(&self, place: &Place, content: &[u8]) -> io::Result<()> {
        self.change(|state| {
            state.place_for(place.as_str())?;
            if state.files.contains_key(place.as_str()) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.insert(place.to_string(), content.to_owned());
            Ok(())
        })
    }

    fn append(&self, place: &Place, content: &[u8]) -> io::Result<()> {
        self.change(|state| {
            state.place_for(place.as_str())?;
            state.files.entry(place.to_string()).or_default().extend_from_slice(content);
            Ok(())
        })
    }

    fn make_directories(&self, directory: &Place) -> io::Result<()> {
        self.change(|state| {
            let is_file = state.files.contains_key(directory.as_str()) || state.is_below_file(directory.as_str());
            if is_file { Err(io::ErrorKind::NotADirectory.into()) } else { Ok(()) }
        })
    }

    fn rename(&self, from: &Place, to: &Place) -> io::Result<()> {
        self.change(|state| {
            state.place_for(to.as_str())?;
            let content = state.get(from.as_str())?.clone();
            state.files.remove(from.as_str());
            state.files.insert(to.to_string(), content);
            Ok(())
        })
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        self.change(|state| {
            state.get(place.as_str())?;
            state.files.remove(place.as_str());
            Ok(())
        })
    }

    fn copy_mode(&self, _from: &Place, _to: &Place) -> io::Result<()> {
        Ok(())
    }
}
