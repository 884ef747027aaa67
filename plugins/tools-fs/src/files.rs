//! The only way to the files: one small trait, and its implementation on the sandbox's own file system.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use stellaclaw_sdk::Error;

use crate::paths::Place;

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    /// A pipe, a socket, a device: never opened, because reading could wait for ever.
    Other,
}

/// An entry of a directory; its kind costs nothing, so that a walk needs no call per file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What is at a path, links followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

/// Files somewhere. The operations are those the tools need and no more; all are relative to the mounts.
pub(crate) trait Files {
    /// What is there, links followed.
    fn stat(&self, place: &Place) -> io::Result<Stat>;
    /// What the link at `place` says; none when it is no link or not there.
    fn link_target(&self, place: &Place) -> io::Result<Option<String>>;
    /// The entries of a directory, in no order, links not followed. Names that are not UTF-8 are left out.
    fn list(&self, directory: &Place) -> io::Result<Vec<Entry>>;
    /// The bytes of a file, from the beginning.
    fn open(&self, place: &Place) -> io::Result<Box<dyn Read>>;
    /// Makes a file that must not exist, with this content, safe on disk. Leaves nothing behind when it fails.
    fn create(&self, place: &Place, content: &[u8]) -> io::Result<()>;
    /// Writes at the end of a file, which is made when it is not there.
    fn append(&self, place: &Place, content: &[u8]) -> io::Result<()>;
    /// Makes a directory and those above it.
    fn make_directories(&self, directory: &Place) -> io::Result<()>;
    /// Renames a file, over another if there is one.
    fn rename(&self, from: &Place, to: &Place) -> io::Result<()>;
    /// Removes a file or a link.
    fn remove(&self, place: &Place) -> io::Result<()>;
    /// Gives the file `to` the mode of the file `from`, where modes can be set.
    fn copy_mode(&self, from: &Place, to: &Place) -> io::Result<()>;
}

/// The sandbox's own files.
#[derive(Debug)]
pub(crate) struct Local {
    workspace: PathBuf,
    /// What absolute places are beneath.
    outer: PathBuf,
}

impl Local {
    /// As a component sees them: the workspace is the current directory.
    pub(crate) fn sandbox() -> Self {
        Self { workspace: PathBuf::from("."), outer: PathBuf::from("/") }
    }

    /// With the workspace at `root/workspace` and the mounts beside it.
    #[cfg(test)]
    pub(crate) fn beneath(root: &std::path::Path) -> Self {
        Self { workspace: root.join("workspace"), outer: root.to_owned() }
    }

    fn path(&self, place: &Place) -> PathBuf {
        match place.as_str().strip_prefix('/') {
            Some(below) => self.outer.join(below),
            None => self.workspace.join(place.as_str()),
        }
    }
}

impl Files for Local {
    fn stat(&self, place: &Place) -> io::Result<Stat> {
        let metadata = fs::metadata(self.path(place))?;
        Ok(Stat {
            kind: kind_of(metadata.file_type()),
            size: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    fn link_target(&self, place: &Place) -> io::Result<Option<String>> {
        let path = self.path(place);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.file_type().is_symlink() => {
                let target = fs::read_link(&path)?;
                target
                    .into_os_string()
                    .into_string()
                    .map(Some)
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the link is not UTF-8"))
            }
            Ok(_) => Ok(None),
            // Below a file there is nothing.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, directory: &Place) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(directory))? {
            let entry = match entry {
                // One that is gone by now, or whose name cannot be said, does not hide the others.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entry => entry?,
            };
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, kind: entry.file_type().map_or(Kind::Other, kind_of) });
            }
        }
        Ok(entries)
    }

    fn open(&self, place: &Place) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(fs::File::open(self.path(place))?))
    }

    fn create(&self, place: &Place, content: &[u8]) -> io::Result<()> {
        let path = self.path(place);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        if written.is_err() {
            drop(file);
            // The first error is the one to report.
            let _ = fs::remove_file(&path);
        }
        written
    }

    fn append(&self, place: &Place, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(place))?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn make_directories(&self, directory: &Place) -> io::Result<()> {
        fs::create_dir_all(self.path(directory))
    }

    fn rename(&self, from: &Place, to: &Place) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        fs::remove_file(self.path(place))
    }

    #[cfg(unix)]
    fn copy_mode(&self, from: &Place, to: &Place) -> io::Result<()> {
        fs::set_permissions(self.path(to), fs::metadata(self.path(from))?.permissions())
    }

    /// WASI cannot set a mode: the host gives a file that is renamed over another the other's mode.
    #[cfg(not(unix))]
    fn copy_mode(&self, _from: &Place, _to: &Place) -> io::Result<()> {
        Ok(())
    }
}

/// An error of the file system, with what was tried and where. What the sandbox refuses has no words of its own.
pub(crate) fn problem(tried: &str, place: &Place, error: io::Error) -> Error {
    let refused = error.kind() == io::ErrorKind::PermissionDenied;
    let mut error = Error::from(error).context(format!("cannot {tried} {place}"));
    if refused {
        error.message.push_str("; it is not allowed, or a link in the path leads outside the workspace");
    }
    error
}

fn kind_of(kind: fs::FileType) -> Kind {
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Link
    } else {
        Kind::Other
    }
}

/// A workspace on disk for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use std::path::Path;

    use super::Local;

    /// The files of a test, removed at its end.
    pub(crate) struct Fixture {
        root: tempfile::TempDir,
        pub(crate) files: Local,
    }

    impl Fixture {
        /// A workspace with these files.
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("workspace")).unwrap();
            let fixture = Self { files: Local::beneath(root.path()), root };
            for (path, content) in files {
                fixture.put(path, content);
            }
            fixture
        }

        /// Where `path` really is.
        pub(crate) fn at(&self, path: &str) -> std::path::PathBuf {
            self.root.path().join("workspace").join(path)
        }

        /// The directory the workspace is in.
        pub(crate) fn outer(&self) -> &Path {
            self.root.path()
        }

        /// Writes a file, with the directories above it.
        pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
            let path = self.at(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        /// Reads a file.
        pub(crate) fn get(&self, path: &str) -> String {
            std::fs::read_to_string(self.at(path)).unwrap()
        }

        /// Every path with its content, to show that nothing changed (and no temporary file is left).
        pub(crate) fn snapshot(&self) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
            let mut all = std::collections::BTreeMap::new();
            let mut open = vec![self.at("")];
            while let Some(directory) = open.pop() {
                for entry in std::fs::read_dir(directory).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        open.push(path);
                    } else {
                        let content = std::fs::read(&path).unwrap_or_default();
                        all.insert(path, content);
                    }
                }
            }
            all
        }
    }

    /// The JSON of an answer.
    pub(crate) fn value(output: &stellaclaw_sdk::Output) -> stellaclaw_sdk::serde_json::Value {
        match &output.parts[..] {
            [stellaclaw_sdk::Part::Json(json)] => stellaclaw_sdk::serde_json::from_str(json).unwrap(),
            other => panic!("not one JSON part: {other:?}"),
        }
    }
}
