//! Where a path leads: roots, the directories that appear inside them, and the lookup beneath a directory.
//!
//! The kernel resolves paths; nothing here interprets one, except to find the two ends of an inner mount. A lookup first
//! goes to the kernel as it is. When it opens the empty directory that stands in for an inner mount, which is known by
//! device and inode, the target takes its place. When it finds nothing, the deepest directory that exists on the way is
//! looked at: if that is a stand-in, the rest of the path continues in its target. So every spelling works (`./shared/x`,
//! `a/../shared/x`, `x` from a descriptor of `shared`, a symbolic link to `shared`), and a path that names no inner mount
//! costs nothing more.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{AtFlags, FileType, OFlags, Stat, fstat, statat};
use rustix::io::Errno;

use super::convert::{Identity, file_type, identity};
use super::quota::{Budget, Opened};
use super::{InnerMount, MountPoint};
use crate::limits;

/// A directory that the guest was given, with everything beneath it.
pub(super) struct Root {
    pub dir: Arc<Dir>,
    pub writable: bool,
    /// The config line that would make it writable.
    pub key: String,
    pub budget: Option<Arc<Budget>>,
    /// What the guest calls it in messages; empty for the workspace, whose paths are relative.
    shown: String,
    inner: Vec<Inner>,
    /// The directories on the way to inner mounts, found when they are first needed.
    stand_ins: OnceLock<Vec<StandIn>>,
}

struct Inner {
    path: String,
    root: Arc<Root>,
}

/// A real directory of the workspace that must stay: in the place of an inner mount, or a parent of one.
struct StandIn {
    identity: Identity,
    target: Option<Arc<Root>>,
}

/// An open directory.
#[derive(Clone)]
pub(super) struct Directory {
    pub root: Arc<Root>,
    pub dir: Arc<Dir>,
    pub identity: Identity,
    /// The path it was opened with, below its root. For messages only.
    pub at: Arc<str>,
    /// None for the host's own.
    pub opened: Option<Arc<Opened>>,
}

/// An entry of a directory, which may not exist: what an operation that changes a directory works on.
pub(super) struct Spot {
    pub parent: Directory,
    /// One component, never `.` or `..`.
    pub name: String,
    /// The path ended with a slash.
    pub slash: bool,
}

impl Root {
    pub fn new(mount: MountPoint) -> Self {
        let shown = if mount.guest == "." || mount.guest == "/workspace" { String::new() } else { mount.guest };
        let inner = mount.inner.into_iter().map(|inner| Inner { path: inner.path.clone(), root: Arc::new(Self::inside(inner)) });
        let inner = inner.collect();
        let MountPoint { dir, writable, key, budget, .. } = MountPoint { inner: Vec::new(), guest: String::new(), ..mount };
        Self { dir, writable, key, budget, shown, inner, stand_ins: OnceLock::new() }
    }

    fn inside(mount: InnerMount) -> Self {
        let InnerMount { path, dir, writable, key } = mount;
        Self { dir, writable, key, budget: None, shown: path, inner: Vec::new(), stand_ins: OnceLock::new() }
    }

    /// The path below this root as the guest sees it.
    pub fn show(&self, path: &str) -> String {
        match (self.shown.as_str(), path) {
            (shown, "") => if shown.is_empty() { "." } else { shown }.to_owned(),
            ("", path) => path.to_owned(),
            (shown, path) => format!("{shown}/{path}"),
        }
    }

    /// The root itself as a directory.
    pub fn directory(self: &Arc<Self>) -> io::Result<Directory> {
        let stat = fstat(&*self.dir)?;
        Ok(Directory { root: self.clone(), dir: self.dir.clone(), identity: identity(&stat), at: Arc::from(""), opened: None })
    }

    fn stand_ins(&self) -> &[StandIn] {
        if self.inner.is_empty() {
            return &[];
        }
        self.stand_ins.get_or_init(|| {
            let mut found = Vec::with_capacity(self.inner.len() + 1);
            for inner in &self.inner {
                if let Some((parent, _)) = inner.path.split_once('/')
                    && let Ok(stat) = stat_path(&self.dir, parent, false)
                {
                    found.push(StandIn { identity: identity(&stat), target: None });
                }
                if let Ok(stat) = stat_path(&self.dir, &inner.path, false) {
                    found.push(StandIn { identity: identity(&stat), target: Some(inner.root.clone()) });
                }
            }
            found
        })
    }

    /// The inner mount that the directory `identity` stands in for.
    fn target(&self, identity: Identity) -> Option<&Arc<Self>> {
        self.stand_ins().iter().find(|stand_in| stand_in.identity == identity && stand_in.target.is_some())?.target.as_ref()
    }

    /// Must this entry stay where it is?
    pub fn is_guarded(&self, stat: &Stat) -> bool {
        file_type(stat) == FileType::Directory && self.stand_ins().iter().any(|stand_in| stand_in.identity == identity(stat))
    }
}

impl Directory {
    /// The path of `path` in this directory as the guest sees it.
    pub fn show(&self, path: &str) -> String {
        if self.at.is_empty() { self.root.show(path) } else { self.root.show(&format!("{}/{path}", self.at)) }
    }

    /// Where a directory is that was opened with `path`.
    pub fn below(&self, path: &str) -> Arc<str> {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if path == "." || path.is_empty() {
            self.at.clone()
        } else if self.at.is_empty() {
            Arc::from(short(path.to_owned()))
        } else {
            Arc::from(short(format!("{}/{path}", self.at)))
        }
    }

    /// Opens `path` and says what it is. A stand-in comes back as what it stands for.
    pub fn open(&self, path: &str, options: &OpenOptions) -> io::Result<(Arc<Root>, OwnedFd, Stat)> {
        relative(path)?;
        if let Some((target, rest)) = self.enter(path) {
            return target.open(rest, options);
        }
        match self.dir.open_with(path, options) {
            Ok(file) => {
                let stat = fstat(&file)?;
                match self.root.target(identity(&stat)).filter(|_| file_type(&stat) == FileType::Directory) {
                    Some(target) => target.directory()?.open(".", options),
                    None => Ok((self.root.clone(), file.into_std().into(), stat)),
                }
            }
            Err(error) if is_missing(&error) => match self.detour(path)? {
                Some((target, rest)) => target.open(&rest, options),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Opens `path` in this root and no other: what stands behind a stand-in may have other rights than were checked.
    pub fn open_here(&self, path: &str, options: &OpenOptions) -> io::Result<(Arc<Root>, OwnedFd, Stat)> {
        relative(path)?;
        let file = self.dir.open_with(path, options)?;
        let stat = fstat(&file)?;
        if self.root.is_guarded(&stat) {
            return Err(Errno::ISDIR.into());
        }
        Ok((self.root.clone(), file.into_std().into(), stat))
    }

    /// What `path` is.
    pub fn stat(&self, path: &str, follow: bool) -> io::Result<Stat> {
        relative(path)?;
        if let Some((target, rest)) = self.enter(path) {
            return target.stat(rest, follow);
        }
        match stat_path(&self.dir, path, follow) {
            Ok(stat) if file_type(&stat) == FileType::Directory => match self.root.target(identity(&stat)) {
                Some(target) => Ok(fstat(&*target.dir)?),
                None => Ok(stat),
            },
            Ok(stat) => Ok(stat),
            Err(error) if is_missing(&error) => match self.detour(path)? {
                Some((target, rest)) => target.stat(&rest, follow),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The entry that `path` names, in an open directory.
    pub fn spot(&self, path: &str) -> io::Result<Spot> {
        relative(path)?;
        let trimmed = path.trim_end_matches('/');
        let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        if matches!(name, "" | "." | "..") {
            return Err(if name.is_empty() { Errno::NOENT } else { Errno::INVAL }.into());
        }
        let parent = if parent.is_empty() { self.clone() } else { self.subdirectory(parent)? };
        Ok(Spot { parent, name: name.to_owned(), slash: trimmed.len() < path.len() })
    }

    /// A directory below this one, for looking things up in it.
    fn subdirectory(&self, path: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(bits(OFlags::PATH | OFlags::DIRECTORY));
        let (root, file, stat) = self.open(path, &options)?;
        let dir = Arc::new(Dir::from_std_file(file.into()));
        // The way from the root is lost when an inner mount was entered; then the target's own name says it.
        let at = if Arc::ptr_eq(&root, &self.root) { self.below(path) } else { Arc::from("") };
        Ok(Self { root, dir, identity: identity(&stat), at, opened: None })
    }

    /// The common spelling of a path into an inner mount, found without asking the kernel.
    fn enter<'a>(&self, path: &'a str) -> Option<(Self, &'a str)> {
        if self.root.inner.is_empty() || !self.at.is_empty() || path.split('/').any(|part| part == "..") {
            return None;
        }
        let path = path.trim_start_matches("./");
        let mount = self.root.inner.iter().find(|mount| beneath(path, &mount.path).is_some())?;
        let rest = beneath(path, &mount.path).filter(|rest| !rest.is_empty()).unwrap_or(".");
        Some((mount.root.directory().ok()?, rest))
    }

    /// The directory and path to open for an operation that changes something: the root must be known before.
    pub fn base<'a>(&'a self, path: &'a str) -> io::Result<(Cow<'a, Self>, Cow<'a, str>)> {
        relative(path)?;
        if let Some((target, rest)) = self.enter(path) {
            return Ok((Cow::Owned(target), Cow::Borrowed(rest)));
        }
        Ok(match self.detour(path)? {
            Some((target, rest)) => (Cow::Owned(target), Cow::Owned(rest)),
            None => (Cow::Borrowed(self), Cow::Borrowed(path)),
        })
    }

    /// Where a path goes on that leads through a stand-in: none if the deepest directory on the way that exists is none.
    fn detour(&self, path: &str) -> io::Result<Option<(Self, String)>> {
        if self.root.inner.is_empty() {
            return Ok(None);
        }
        let Some(parts) = plain_parts(path) else { return Ok(None) };
        for end in (1..parts.len()).rev() {
            let way = parts[..end].join("/");
            match stat_path(&self.dir, &way, true) {
                Ok(stat) => {
                    let Some(target) = self.root.target(identity(&stat)) else { return Ok(None) };
                    return Ok(Some((target.directory()?, parts[end..].join("/"))));
                }
                Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }
}

impl Spot {
    pub fn shown(&self) -> String {
        self.parent.show(&self.name)
    }

    /// What the entry is; a symbolic link is not followed.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(statat(&*self.parent.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub fn root(&self) -> &Arc<Root> {
        &self.parent.root
    }
}

/// A path to remember: a guest can make one longer with every directory it opens. The end says most.
pub(super) fn short(path: String) -> String {
    if path.len() <= limits::SHOWN_PATH_BYTES {
        return path;
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    format!("…/{}", &last[..last.floor_char_boundary(limits::SHOWN_PATH_BYTES / 2)])
}

/// `O_NONBLOCK` and `O_NOCTTY` come with every open: a FIFO would wait, a terminal would become ours. Not with `O_PATH`,
/// which opens nothing and refuses them.
pub(super) fn flags(more: OFlags) -> i32 {
    bits(OFlags::NONBLOCK | OFlags::NOCTTY | more)
}

/// The kernel's flags are an `int`; rustix keeps the same bits unsigned.
fn bits(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Absolute paths lead out of every root. cap-std would refuse them too, after asking the kernel.
fn relative(path: &str) -> io::Result<()> {
    match path.as_bytes().first() {
        Some(b'/') => Err(io::ErrorKind::PermissionDenied.into()),
        Some(_) => Ok(()),
        None => Err(Errno::NOENT.into()),
    }
}

/// Found nothing, or left the root on the way: both happen behind a stand-in, which is empty.
fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error().is_none_or(|code| code == Errno::NOENT.raw_os_error())
}

/// What a path beneath `dir` is. One component that is no link costs one system call.
fn stat_path(dir: &Dir, path: &str, follow: bool) -> io::Result<Stat> {
    if !path.contains('/') && path != ".." {
        let stat = statat(dir, path, AtFlags::SYMLINK_NOFOLLOW)?;
        if !follow || file_type(&stat) != FileType::Symlink {
            return Ok(stat);
        }
    }
    let mut options = OpenOptions::new();
    let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    options.read(true).custom_flags(bits(OFlags::PATH | nofollow));
    Ok(fstat(dir.open_with(path, &options)?)?)
}

/// The rest of `path` below the directory `mount`.
pub(super) fn beneath<'a>(path: &'a str, mount: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(mount)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/').map(|rest| rest.trim_start_matches('/')) }
}

/// The components of a path with `.` and `..` taken out by their spelling; none if it would leave where it starts.
fn plain_parts(path: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}
