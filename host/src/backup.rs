//! Backups: a work directory as it is at one moment, in a directory of its own that can be checked and restored.
//!
//! `work/` is what is kept, `config.toml` the configuration beside it, `manifest.json` every file with its SHA-256, and
//! `manifest.json.sha256` the sum of that. The manifest is written last and the directory gets its name when everything is on
//! the disk, so what has the name is whole.
//!
//! - In it is everything that cannot be made again: the database as of one moment, the blobs that it names, grants and the
//!   components they are for, plugins and their data, skills, workspaces. Not in it: compiled code, logs, and the secrets,
//!   which are in the environment and in files that the configuration names.
//! - Nothing is ever overwritten, and nothing is a hard link to what it was copied from.
//! - What a host writes into a workspace meanwhile may or may not be in it.
//!
//! It does not decide when a backup is made, and keeps no list of them.

mod manifest;
mod tree;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::clock::{self, Moment};
use crate::crash;
use crate::store::{self, Checked, Store, StoreError};
use crate::workdir::{WORKDIR_VERSION, WorkDir, WorkDirError};
use manifest::FORMAT;
pub use manifest::Manifest;

/// What is kept of the work directory.
const WORK: &str = "work";
/// The configuration.
const CONFIG: &str = "config.toml";

/// Why a backup was not made, is not good or was not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} exists already; nothing is overwritten, name another place", .0.display())]
    Exists(PathBuf),
    #[error("{} is being filled, or was left by one that was interrupted; in that case remove it", .0.display())]
    Half(PathBuf),
    #[error("{} is inside the work directory; name a place outside, best on another disk", .0.display())]
    Inside(PathBuf),
    #[error("{} is a backup itself, and another one inside would damage it; name another place", .0.display())]
    InBackup(PathBuf),
    #[error("{} is no backup: it has no {}", .0.display(), manifest::FILE)]
    NotABackup(PathBuf),
    #[error("{path} was made by release {release} (backup format {format}, work directory {version}); install that release or a newer one", path = path.display())]
    Newer { path: PathBuf, release: String, format: u32, version: u32 },
    #[error("{path} is damaged and was not restored:\n{}", problems.join("\n"), path = path.display())]
    Damaged { path: PathBuf, problems: Vec<String> },
    #[error("{} is not empty; restore into a directory that is empty or does not exist, with --into", .0.display())]
    NotEmpty(PathBuf),
    #[error("a host serves {}; stop it, or restore into another directory with --into", .0.display())]
    Held(PathBuf),
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to back up.
#[derive(Debug, Clone)]
pub struct Source {
    pub workdir: WorkDir,
    /// The file of the configuration; none: the embedded one.
    pub config: Option<PathBuf>,
    /// Files with secrets in them, wherever they are: never copied.
    pub secrets: Vec<PathBuf>,
    /// Workspaces, and what they share, too?
    pub workspaces: bool,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub path: PathBuf,
    /// Neither files, directories nor links: left out.
    pub left_out: Vec<PathBuf>,
}

/// What a backup is.
#[derive(Debug, Clone)]
pub struct Verified {
    pub manifest: Manifest,
    pub checked: Checked,
    /// One line each, with the file it is about; empty: the backup is whole.
    pub problems: Vec<String>,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub into: PathBuf,
    /// Replies that were not delivered when the backup was made. They stay undelivered.
    pub replies_aside: u64,
    /// The configuration as it was, to be put where it belongs.
    pub config: Option<PathBuf>,
}

/// Makes a backup: in `place` under a name of its own when that is a directory, else as `place`.
///
/// # Errors
/// [`BackupError`]; nothing has the backup's name then.
pub async fn create(source: Source, place: &Path) -> Result<Created, BackupError> {
    let at = clock::now();
    let target = match place.is_dir() {
        true => place.join(format!("stellaclaw-backup-{}", at.stamp())),
        false => place.to_owned(),
    };
    let parent = parent_of(&target)?;
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(target));
    }
    let root = real(source.workdir.root())?;
    if parent.starts_with(&root) {
        return Err(BackupError::Inside(target));
    }
    // What is not in a backup's manifest is damage to it.
    if let Some(other) = parent.ancestors().find(|folder| manifest::is_in(folder)) {
        return Err(BackupError::InBackup(other.to_owned()));
    }
    let half = Half::new(&target)?;
    let store = Store::open_read_only(&source.workdir)?;
    let work = half.0.join(WORK);
    make_folder(&work)?;
    copy_store(&store, &work).await?;
    let mut tree =
        tree::Tree { secrets: source.secrets.iter().filter_map(|path| path.canonicalize().ok()).collect(), ..Default::default() };
    tree.copy(&root, &work, source.workspaces)?;
    if let Some(config) = &source.config {
        tree::copy_file(config, &half.0.join(CONFIG))?;
    }
    let manifest = Manifest {
        format: FORMAT,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        workdir_version: WORKDIR_VERSION,
        made_at: at,
        workspaces: source.workspaces,
        items: manifest::items(&half.0, &tree.facts)?,
    };
    manifest.write(&half.0)?;
    half.finish(&target)?;
    Ok(Created { path: target, left_out: tree.left_out })
}

/// The database as of one moment and the blobs that it names.
async fn copy_store(store: &Store, work: &Path) -> Result<(), BackupError> {
    let blobs = work.join("blobs");
    make_folder(&blobs)?;
    store
        .copy(&work.join("state.db"), move |hash, bytes| {
            let folder = blobs.join(hash.as_str().get(..2).unwrap_or_default());
            let path = folder.join(hash.as_str());
            match path.exists() {
                true => Ok(()),
                false => make_folder(&folder).and_then(|()| tree::write_new(&path, &mut &*bytes).map(drop)),
            }
        })
        .await
}

/// Checks everything: each file's sum, that none is missing or was added, and the store in it.
///
/// # Errors
/// It is no backup, or one of a newer release. What is wrong with one is in the answer.
pub async fn verify(path: &Path) -> Result<Verified, BackupError> {
    let (manifest, problem) = Manifest::read(path)?;
    if manifest.format > FORMAT || manifest.workdir_version > WORKDIR_VERSION {
        let (format, version) = (manifest.format, manifest.workdir_version);
        return Err(BackupError::Newer { path: path.to_owned(), release: manifest.release, format, version });
    }
    let mut problems: Vec<String> = problem.into_iter().collect();
    problems.extend(manifest.compare(path)?);
    let checked = check_store(&path.join(WORK)).await;
    let checked = checked.unwrap_or_else(|error| Checked { problems: vec![error.to_string()], ..Checked::default() });
    problems.extend(checked.problems.iter().map(|problem| format!("{WORK}/state.db: {problem}")));
    Ok(Verified { manifest, checked, problems })
}

async fn check_store(work: &Path) -> Result<Checked, BackupError> {
    let workdir = WorkDir::existing(work)?;
    match Store::open_read_only(&workdir) {
        // Its tables are brought up to date by the first start; until then the sums vouch for them.
        Err(StoreError::Older { .. }) => Ok(Checked::default()),
        opened => Ok(opened?.check().await?),
    }
}

/// Restores a backup that is whole into `into`, which must be empty or not exist.
///
/// # Errors
/// [`BackupError`]; `into` is then as it was.
pub async fn restore(path: &Path, into: &Path) -> Result<Restored, BackupError> {
    let parent = parent_of(into)?;
    let held = into.join("lock").exists() && WorkDir::existing(into)?.lock()?.is_none();
    if held {
        return Err(BackupError::Held(into.to_owned()));
    }
    match fs::read_dir(into).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(BackupError::NotEmpty(into.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", into, error)),
    }
    let verified = verify(path).await?;
    if !verified.problems.is_empty() {
        return Err(BackupError::Damaged { path: path.to_owned(), problems: verified.problems });
    }
    let name = into.file_name().unwrap_or_default().to_string_lossy();
    let half = Half::new(&parent.join(name.as_ref()))?;
    let prefix = Path::new(WORK);
    let items = verified.manifest.items.iter().filter_map(|item| Some((item, item.path().strip_prefix(prefix).ok()?.to_owned())));
    tree::restore(path, &half.0, items)?;
    let replies_aside = store::restored(&half.0.join("state.db"), clock::now())?;
    half.become_work(into)?;
    let config = path.join(CONFIG);
    Ok(Restored { into: into.to_owned(), replies_aside, config: config.exists().then_some(config) })
}

/// A directory that is being filled. Removed again unless it is finished.
struct Half(PathBuf);

impl Half {
    fn new(target: &Path) -> Result<Self, BackupError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.half"));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::Half(path)),
            Err(error) => Err(failed("create", &path, error)),
        }
    }

    /// Makes it durable, and gives it its name if nothing has it.
    fn finish(self, target: &Path) -> Result<(), BackupError> {
        self.sync()?;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(rustix::fs::CWD, &self.0, rustix::fs::CWD, target, flags) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(BackupError::Exists(target.to_owned())),
            Err(error) => return Err(failed("name", target, error.into())),
        }
        self.named(target)
    }

    /// The same in place of an empty directory.
    fn become_work(self, target: &Path) -> Result<(), BackupError> {
        self.sync()?;
        fs::rename(&self.0, target).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => BackupError::NotEmpty(target.to_owned()),
            _ => failed("name", target, error),
        })?;
        self.named(target)
    }

    fn sync(&self) -> Result<(), BackupError> {
        let folder = fs::File::open(&self.0).map_err(|error| failed("open", &self.0, error))?;
        rustix::fs::syncfs(&folder).map_err(|error| failed("sync", &self.0, error.into()))?;
        crash::point(|| "backup.synced".to_owned());
        Ok(())
    }

    fn named(self, target: &Path) -> Result<(), BackupError> {
        let parent = parent_of(target)?;
        let synced = fs::File::open(&parent).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed("sync", &parent, error))
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // Nothing is there under this name once it was finished.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> BackupError {
    BackupError::Io { action, path: path.to_owned(), source }
}

fn real(path: &Path) -> Result<PathBuf, BackupError> {
    path.canonicalize().map_err(|error| failed("find", path, error))
}

/// The directory that `path` is to be in, made if it is missing.
fn parent_of(path: &Path) -> Result<PathBuf, BackupError> {
    let absolute = std::path::absolute(path).map_err(|error| failed("find", path, error))?;
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(|error| failed("create", parent, error))?;
    real(parent)
}

fn make_folder(path: &Path) -> Result<(), BackupError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed("create", path, error))
}

#[cfg(test)]
mod tests;
