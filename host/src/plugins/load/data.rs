//! The directories that plugins keep for themselves.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::plugins::imports::filesystem::Budget;
use crate::plugins::manifest::Surface;
use crate::{config, limits};

/// The plugin-private directory.
pub struct Data {
    pub path: PathBuf,
    /// The parent of every `/data`. A call opens its own below it: a link there that leads out is refused.
    parent: Arc<Dir>,
    name: String,
    pub budget: Arc<Budget>,
}

impl Data {
    /// Opens it for one call. One that was removed by hand is made again, and is empty.
    pub fn open(&self) -> io::Result<Dir> {
        match self.parent.open_dir(&self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.parent.create_dir_all(&self.name)?;
                let dir = self.parent.open_dir(&self.name)?;
                self.budget.measure_again(&dir)?;
                Ok(dir)
            }
            opened => opened,
        }
    }
}

/// The directories of plugins, each measured once.
pub struct DataDirs {
    /// The parent of every `/data`.
    dir: PathBuf,
    known: HashMap<String, Arc<Data>>,
}

impl DataDirs {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, known: HashMap::new() }
    }

    pub(super) fn of(&mut self, name: &str, surface: &Surface) -> Result<Option<Arc<Data>>, String> {
        if !surface.imports.iter().any(|import| import.starts_with("wasi:filesystem/")) {
            return Ok(None);
        }
        if let Some(data) = self.known.get(name) {
            return Ok(Some(data.clone()));
        }
        // Checked wherever a name comes in; here a wrong one would hand out the work directory.
        if !config::is_name(name) {
            return Err(format!("{name:?} is not a name that a data directory can have; use a-z, 0-9, `-` and `_`"));
        }
        let path = self.dir.join(name);
        let opened = Dir::open_ambient_dir(&self.dir, ambient_authority()).and_then(|parent| {
            parent.create_dir_all(name)?;
            let budget = Budget::measure(&parent.open_dir(name)?, limits::DATA_BYTES)?;
            Ok((parent, budget))
        });
        let (parent, budget) = opened.map_err(|error| format!("open its data directory {}: {error}", path.display()))?;
        let data = Arc::new(Data { path, parent: Arc::new(parent), name: name.to_owned(), budget: Arc::new(budget) });
        self.known.insert(name.to_owned(), data.clone());
        Ok(Some(data))
    }

    /// Forgets what nobody uses, no call either: whoever comes to it later measures it anew.
    pub fn forget_unused(&mut self) {
        self.known.retain(|_, data| Arc::strong_count(data) > 1);
    }
}
