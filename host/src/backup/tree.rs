//! Copying files and directories. Links are copied as links, never followed; what is neither is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::manifest::Item;
use super::{BackupError, Moment, failed, make_folder};

/// In the work directory, but not kept: compiled code, logs, and what belongs to a running host. The store is copied in its
/// own way, with the blobs that it names.
const LEFT_OUT: [&str; 6] = ["cache", "logs", "lock", "host.sock", "state.mark", "blobs"];
/// The database and what lies beside it: its log, and copies of before a migration.
const DATABASE: &str = "state.db";
/// The files of people and agents.
const WORKSPACES: [&str; 2] = ["conversations", "rundir/shared"];

/// What something below a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Folder,
    File,
    Link,
}

/// What a copy's own file does not say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fact {
    pub mode: Option<u32>,
    pub modified: Moment,
}

/// A tree on its way into a backup.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Real paths of files that must not be in it.
    pub secrets: BTreeSet<PathBuf>,
    /// By the path of the copy.
    pub facts: BTreeMap<PathBuf, Fact>,
    pub left_out: Vec<PathBuf>,
}

impl Tree {
    /// Copies what is kept of the work directory `root` into `target`, which exists.
    pub fn copy(&mut self, root: &Path, target: &Path, workspaces: bool) -> Result<(), BackupError> {
        let skipped = |path: &Path| {
            let name = path.to_string_lossy();
            LEFT_OUT.contains(&name.as_ref()) || name.starts_with(DATABASE) || (!workspaces && WORKSPACES.contains(&name.as_ref()))
        };
        self.copy_below(root, target, Path::new(""), &skipped)
    }

    fn copy_below(&mut self, root: &Path, target: &Path, below: &Path, skipped: &dyn Fn(&Path) -> bool) -> Result<(), BackupError> {
        for name in names(&root.join(below))? {
            let path = below.join(name);
            let (from, to) = (root.join(&path), target.join(&path));
            if skipped(&path) || self.secrets.contains(&from) {
                continue;
            }
            // Gone since the directory was read: then it is not in the backup.
            let Some(meta) = there(from.symlink_metadata(), "read", &from)? else { continue };
            let fact = Fact { mode: Some(meta.mode() & 0o777), modified: modified(&meta) };
            if meta.is_dir() {
                make_folder(&to)?;
                self.facts.insert(to, fact);
                self.copy_below(root, target, &path, skipped)?;
            } else if meta.is_symlink() {
                let Some(link) = there(fs::read_link(&from), "read", &from)? else { continue };
                std::os::unix::fs::symlink(link, &to).map_err(|error| failed("create", &to, error))?;
            } else if meta.is_file() {
                if copy_file(&from, &to)? {
                    self.facts.insert(to, fact);
                }
            } else {
                self.left_out.push(from);
            }
        }
        Ok(())
    }
}

/// Everything below `root`, a directory before what is in it. Paths start at `root`.
pub(super) fn walk(root: &Path, below: &Path, found: &mut impl FnMut(&Path, Kind)) -> Result<(), BackupError> {
    for name in names(&root.join(below))? {
        let path = below.join(name);
        let place = root.join(&path);
        let meta = place.symlink_metadata().map_err(|error| failed("read", &place, error))?;
        if meta.is_dir() {
            found(&path, Kind::Folder);
            walk(root, &path, found)?;
        } else {
            found(&path, if meta.is_symlink() { Kind::Link } else { Kind::File });
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, BackupError> {
    let Some(entries) = there(fs::read_dir(folder), "list", folder)? else { return Ok(Vec::new()) };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>();
    names.map_err(|error| failed("list", folder, error))
}

/// None: it is not there.
fn there<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<Option<T>, BackupError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(action, path, error)),
    }
}

/// Copies a file that may be written meanwhile: then part of the change is in the copy. False: it is not there any more.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<bool, BackupError> {
    let Some(mut file) = there(File::open(from), "open", from)? else { return Ok(false) };
    write_new(to, &mut file).map(|_| true)
}

/// Writes a file that must not exist; its length and sum.
pub(super) fn write_new(path: &Path, from: &mut impl Read) -> Result<(u64, String), BackupError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| failed("create", path, error))?;
    pass(from, |chunk| file.write_all(chunk)).map_err(|error| failed("write", path, error))
}

/// Length and SHA-256 of everything that can be read.
pub(super) fn sum(from: &mut impl Read) -> io::Result<(u64, String)> {
    pass(from, |_| Ok(()))
}

fn pass(from: &mut impl Read, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, String)> {
    let (mut bytes, mut hash, mut chunk) = (0, Sha256::new(), vec![0; 64 << 10]);
    loop {
        let length = match from.read(&mut chunk) {
            Ok(0) => return Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = chunk.get(..length).unwrap_or_default();
        write(read)?;
        hash.update(read);
        bytes += length as u64;
    }
}

/// Makes everything anew in `target`, which is empty: `items` with the paths that they get. Links come last, so that nothing is
/// written through one.
pub(super) fn restore<'a>(
    backup: &Path,
    target: &Path,
    items: impl Iterator<Item = (&'a Item, PathBuf)> + Clone,
) -> Result<(), BackupError> {
    for (item, path) in items.clone().filter(|(_, path)| !path.as_os_str().is_empty()) {
        let place = target.join(path);
        match item {
            Item::Folder { .. } => make_folder(&place)?,
            Item::File { mode, modified, sha256, .. } => {
                let from = backup.join(item.path());
                let mut file = File::open(&from).map_err(|error| failed("open", &from, error))?;
                let (_, sum) = write_new(&place, &mut file)?;
                if sum != *sha256 {
                    return Err(failed("read", &from, io::Error::other("its contents have changed")));
                }
                settle(&place, *mode, *modified).map_err(|error| failed("write", &place, error))?;
            }
            Item::Link { .. } => {}
        }
    }
    for (item, path) in items.clone() {
        if let Item::Link { target: to, .. } = item {
            let place = target.join(path);
            std::os::unix::fs::symlink(&to.0, &place).map_err(|error| failed("create", &place, error))?;
        }
    }
    // A directory may be read-only, so its mode comes after what is in it.
    for (item, path) in items {
        if let Item::Folder { mode, .. } = item {
            let place = target.join(path);
            fs::set_permissions(&place, fs::Permissions::from_mode(*mode)).map_err(|error| failed("write", &place, error))?;
        }
    }
    Ok(())
}

fn settle(path: &Path, mode: u32, modified: Moment) -> io::Result<()> {
    if let Ok(millis) = u64::try_from(modified.0)
        && millis > 0
    {
        File::options().write(true).open(path)?.set_modified(UNIX_EPOCH + Duration::from_millis(millis))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn modified(meta: &fs::Metadata) -> Moment {
    Moment(meta.mtime().saturating_mul(1000) + meta.mtime_nsec() / 1_000_000)
}
