//! The work directory: its layout, its lock, its version.
//!
//! - Who holds the lock is the host; the kernel drops it with the process, so there is no stale lock.
//! - Everything in it is the user's alone (0700).
//! - A newer one is refused before anything is made in it.
//!
//! What is in the database is the store's business.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::ids::ConversationId;

/// Version of the work directory: the file `STELLA_VERSION` and SQLite's `user_version`. Not the release's, not the
/// configuration's.
pub const WORKDIR_VERSION: u32 = 2;

/// Why a work directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkDirError {
    #[error("{path} has version {found}, this release knows {known}; install a newer release, nothing was changed")]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{path} says {found:?}, which is no version of this program's; choose another work directory with --workdir")]
    Foreign { path: PathBuf, found: String },
    #[error("there is no work directory {path}; `stellaclaw run` or `stellaclaw chat` makes it, --workdir names another one")]
    Absent { path: PathBuf },
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

/// A work directory that exists and is not newer than this release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkDir {
    root: PathBuf,
}

/// This process is the host of the work directory, until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl WorkDir {
    /// Opens the directory, making what is missing.
    ///
    /// # Errors
    /// A directory of a newer release, or of another program, is refused untouched.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, WorkDirError> {
        let workdir = Self { root: root.into() };
        workdir.check_version()?;
        Self::make_private(&workdir.root)?;
        let made = [workdir.blobs(), workdir.logs(), workdir.cache(), workdir.plugins(), workdir.components(), workdir.skills()];
        for path in made.iter().chain([&workdir.shared(), &workdir.root.join("conversations")]) {
            Self::make_private(path)?;
        }
        Ok(workdir)
    }

    /// Opens a directory for reading; nothing is made or changed.
    ///
    /// # Errors
    /// It does not exist, or as [`WorkDir::open`].
    pub fn existing(root: impl Into<PathBuf>) -> Result<Self, WorkDirError> {
        let workdir = Self { root: root.into() };
        fs::read_dir(&workdir.root).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => WorkDirError::Absent { path: workdir.root.clone() },
            _ => io_error("read", &workdir.root, source),
        })?;
        workdir.check_version()?;
        Ok(workdir)
    }

    /// Becomes the host. None: another process is.
    ///
    /// # Errors
    /// The lock file cannot be made, or the file system knows no locks.
    pub fn lock(&self) -> Result<Option<Lock>, WorkDirError> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| io_error("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(io_error("lock", &path, source)),
        }
    }

    /// Writes the version that the database has now; durable when it returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_version(&self, version: u32) -> Result<(), WorkDirError> {
        if self.read_version()? == Some(version) {
            return Ok(());
        }
        let path = self.version_file();
        let temporary = self.root.join("STELLA_VERSION.new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(format!("{version}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(|source| io_error("write", &path, source))
    }

    /// Has there been a database in it?
    ///
    /// # Errors
    /// The file that says so is not ours, or cannot be read.
    pub fn has_version(&self) -> Result<bool, WorkDirError> {
        Ok(self.read_version()?.is_some())
    }

    fn check_version(&self) -> Result<(), WorkDirError> {
        match self.read_version()? {
            Some(found) if found > WORKDIR_VERSION => Err(WorkDirError::Newer { path: self.root.clone(), found, known: WORKDIR_VERSION }),
            _ => Ok(()),
        }
    }

    fn read_version(&self) -> Result<Option<u32>, WorkDirError> {
        let path = self.version_file();
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(version) => Ok(Some(version)),
                Err(_) => Err(WorkDirError::Foreign { path, found: text.trim().chars().take(40).collect() }),
            },
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error("read", &path, source)),
        }
    }

    /// Makes a directory, or takes the rights of others away from one that is there.
    fn make_private(path: &Path) -> Result<(), WorkDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| io_error("create", path, source))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|source| io_error("make private", path, source))
    }

    fn version_file(&self) -> PathBuf {
        self.root.join("STELLA_VERSION")
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("host.sock")
    }

    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("state.db")
    }

    #[must_use]
    pub fn grants(&self) -> PathBuf {
        self.root.join("grants.toml")
    }

    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    #[must_use]
    pub fn components(&self) -> PathBuf {
        self.root.join("components")
    }

    #[must_use]
    pub fn skills(&self) -> PathBuf {
        self.root.join("rundir/.skill")
    }

    /// One directory for all conversations.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.root.join("rundir/shared")
    }

    /// The workspace of a conversation. Made by whoever opens the conversation.
    #[must_use]
    pub fn workspace(&self, id: ConversationId) -> PathBuf {
        self.root.join("conversations").join(id.to_string())
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> WorkDirError {
    WorkDirError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_made_and_private() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("work");
        let workdir = WorkDir::open(&root).unwrap();
        for name in ["blobs", "logs", "cache", "plugins", "components", "rundir/.skill", "rundir/shared", "conversations"] {
            let mode = fs::metadata(root.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
        assert_eq!(workdir.workspace(ConversationId(7)), root.join("conversations/c7"));
    }

    #[test]
    fn only_one_holds_the_lock_and_it_falls_with_its_holder() {
        let root = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(root.path()).unwrap();
        let lock = workdir.lock().unwrap();
        assert!(lock.is_some());
        assert!(workdir.lock().unwrap().is_none());
        drop(lock);
        assert!(workdir.lock().unwrap().is_some());
    }

    #[test]
    fn a_newer_or_foreign_directory_is_refused_untouched() {
        let root = tempfile::tempdir().unwrap();
        let entries = || fs::read_dir(root.path()).unwrap().count();
        fs::write(root.path().join("STELLA_VERSION"), "999\n").unwrap();
        let newer = WorkDir::open(root.path()).unwrap_err();
        assert!(matches!(newer, WorkDirError::Newer { found: 999, known: WORKDIR_VERSION, .. }), "{newer}");
        fs::write(root.path().join("STELLA_VERSION"), "0.4-json").unwrap();
        let foreign = WorkDir::open(root.path()).unwrap_err();
        assert!(matches!(foreign, WorkDirError::Foreign { .. }), "{foreign}");
        assert_eq!(entries(), 1);
    }

    #[test]
    fn the_version_file_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(root.path()).unwrap();
        workdir.write_version(1).unwrap();
        assert_eq!(workdir.read_version().unwrap(), Some(1));
        assert!(!root.path().join("STELLA_VERSION.new").exists());
    }
}
