//! What is in a backup: every file, directory and link, with what must be known to check it and to make it again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::tree::{self, Fact};
use super::{BackupError, Moment, failed};

/// The manifest. Its sum is in a file of this name and `.sha256`, in the form of `sha256sum`.
pub(super) const FILE: &str = "manifest.json";
const SUM: &str = "manifest.json.sha256";

/// The form of backups that this release writes. A higher one is refused.
pub(super) const FORMAT: u32 = 1;

/// Is the folder a backup?
pub(super) fn is_in(folder: &Path) -> bool {
    [FILE, SUM].into_iter().all(|name| folder.join(name).is_file())
}

/// A backup's contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Who made it.
    pub release: String,
    pub workdir_version: u32,
    pub made_at: Moment,
    /// Are workspaces in it?
    pub workspaces: bool,
    /// In order of their paths.
    pub(super) items: Vec<Item>,
}

/// One thing in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Item {
    Folder { path: Name, mode: u32 },
    File { path: Name, bytes: u64, sha256: String, mode: u32, modified: Moment },
    Link { path: Name, target: Name },
}

/// A path. What is no text in it, and `\`, is written `\xNN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub PathBuf);

impl Item {
    pub fn path(&self) -> &Path {
        let (Self::Folder { path, .. } | Self::File { path, .. } | Self::Link { path, .. }) = self;
        &path.0
    }
}

impl Manifest {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| if let Item::File { bytes, .. } = item { *bytes } else { 0 }).sum()
    }

    /// How many files there are.
    #[must_use]
    pub fn files(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, Item::File { .. })).count()
    }

    pub fn write(&self, root: &Path) -> Result<(), BackupError> {
        let path = root.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|error| failed("write", &path, error.into()))?;
        let (_, sum) = tree::write_new(&path, &mut text.as_bytes())?;
        tree::write_new(&root.join(SUM), &mut format!("{sum}  {FILE}\n").as_bytes()).map(drop)
    }

    /// Reads it, and says so if it is not what was written.
    pub fn read(root: &Path) -> Result<(Self, Option<String>), BackupError> {
        let path = root.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BackupError::NotABackup(root.to_owned())),
            Err(error) => return Err(failed("read", &path, error)),
        };
        let (_, sum) = tree::sum(&mut &*bytes).map_err(|error| failed("read", &path, error))?;
        let problem = match fs::read_to_string(root.join(SUM)) {
            Ok(text) if text == format!("{sum}  {FILE}\n") => None,
            Ok(_) => Some(format!("{FILE} or {SUM}: the sum is not the one that was written")),
            Err(error) => Some(format!("{SUM}: {error}")),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(manifest) => {
                let outside = manifest.items.iter().find(|item| !is_inside(item.path()));
                let problem = problem.or_else(|| Some(format!("{FILE}: {:?} is outside the backup", outside?.path())));
                Ok((manifest, problem))
            }
            Err(error) => Err(BackupError::Damaged { path: root.to_owned(), problems: vec![format!("{FILE}: {error}")] }),
        }
    }

    /// What differs from what was written, one line per file.
    pub fn compare(&self, root: &Path) -> Result<Vec<String>, BackupError> {
        let mut found = BTreeSet::new();
        tree::walk(root, Path::new(""), &mut |path, _| {
            found.insert(path.to_owned());
        })?;
        found.remove(Path::new(FILE));
        found.remove(Path::new(SUM));
        let mut problems = Vec::new();
        for item in &self.items {
            let there = found.remove(item.path());
            let problem = if there { item.compare(root) } else { Some("is missing".to_owned()) };
            problems.extend(problem.map(|problem| format!("{}: {problem}", item.path().display())));
        }
        problems.extend(found.iter().map(|path| format!("{}: is not in the manifest", path.display())));
        Ok(problems)
    }
}

impl Item {
    fn compare(&self, root: &Path) -> Option<String> {
        let path = root.join(self.path());
        let meta = match path.symlink_metadata() {
            Ok(meta) => meta,
            Err(error) => return Some(error.to_string()),
        };
        match self {
            Self::Folder { .. } => (!meta.is_dir()).then(|| "is no directory".to_owned()),
            Self::Link { target, .. } => match fs::read_link(&path) {
                Ok(found) => (found != target.0).then(|| "leads elsewhere".to_owned()),
                Err(error) => Some(error.to_string()),
            },
            Self::File { .. } if !meta.is_file() => Some("is no file".to_owned()),
            Self::File { bytes, .. } if meta.len() != *bytes => Some(format!("has {} bytes instead of {bytes}", meta.len())),
            Self::File { sha256, .. } => match fs::File::open(&path).and_then(|mut file| tree::sum(&mut file)) {
                Ok((_, sum)) => (sum != *sha256).then(|| "its contents have changed".to_owned()),
                Err(error) => Some(error.to_string()),
            },
        }
    }
}

/// Everything below `root`; `facts` are what the files were where they were copied from.
pub(super) fn items(root: &Path, facts: &BTreeMap<PathBuf, Fact>) -> Result<Vec<Item>, BackupError> {
    let mut paths = Vec::new();
    tree::walk(root, Path::new(""), &mut |path, kind| paths.push((path.to_owned(), kind)))?;
    paths.sort();
    let item = |(path, kind): (PathBuf, tree::Kind)| {
        let place = root.join(&path);
        let fact = facts.get(&place).copied().unwrap_or_default();
        let (name, mode) = (Name(path), fact.mode);
        match kind {
            tree::Kind::Folder => Ok(Item::Folder { path: name, mode: mode.unwrap_or(0o700) }),
            tree::Kind::Link => fs::read_link(&place).map(|target| Item::Link { path: name, target: Name(target) }),
            tree::Kind::File => {
                let (bytes, sha256) = tree::sum(&mut fs::File::open(&place)?)?;
                Ok(Item::File { path: name, bytes, sha256, mode: mode.unwrap_or(0o600), modified: fact.modified })
            }
        }
    };
    let item = |entry: (PathBuf, tree::Kind)| {
        let path = root.join(&entry.0);
        item(entry).map_err(|error: io::Error| failed("read", &path, error))
    };
    paths.into_iter().map(item).collect()
}

fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            text.push_str(&chunk.valid().replace('\\', "\\x5c"));
            chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut parts = text.split("\\x");
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
            let (Some(code), Some(rest)) = (code, part.get(2..)) else {
                return Err(serde::de::Error::custom(format!("not a path: {text:?}")));
            };
            bytes.push(code);
            bytes.extend_from_slice(rest.as_bytes());
        }
        Ok(Self(OsString::from_vec(bytes).into()))
    }
}
