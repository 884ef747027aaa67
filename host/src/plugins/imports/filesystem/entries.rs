//! Reading a directory: entries as the kernel gives them, a buffer at a time, without a `stat` for each.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, RawDir, SeekFrom, seek, statat};
use rustix::io::Errno;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::sync::filesystem::types;

use super::convert::{self, Identity};
use super::place::Directory;
use super::quota::Opened;
use crate::limits;

/// A listing in progress. It keeps its own position, so that several can share a descriptor.
pub(super) struct Entries {
    dir: Arc<Dir>,
    device: u64,
    /// Where the next buffer starts, as the kernel counts; none at the end.
    next: Option<u64>,
    ready: VecDeque<Entry>,
    _opened: Option<Arc<Opened>>,
}

struct Entry {
    name: String,
    /// The name is no UTF-8, which WASI cannot say: it is shown with a mark in place of what is none, and cannot be opened.
    is_mangled: bool,
    kind: FileType,
    inode: u64,
}

/// The entry or path that was looked at last, with its identity.
pub(super) struct Listed {
    dir: Arc<Dir>,
    name: String,
    follow: bool,
    identity: Identity,
}

impl Listed {
    pub fn new(dir: &Arc<Dir>, name: String, follow: bool, identity: Identity) -> Self {
        Self { dir: dir.clone(), name, follow, identity }
    }

    /// The identity, if this is what was looked at.
    pub fn is(&self, dir: &Arc<Dir>, name: &str, follow: bool) -> Option<Identity> {
        (Arc::ptr_eq(&self.dir, dir) && self.name == name && self.follow == follow).then_some(self.identity)
    }
}

impl Entries {
    pub fn new(directory: &Directory) -> Self {
        let _opened = directory.opened.clone();
        Self { dir: directory.dir.clone(), device: directory.identity.0, next: Some(0), ready: VecDeque::new(), _opened }
    }

    /// The next entry, and its identity where the listing says it.
    pub fn next(&mut self) -> Result<Option<(types::DirectoryEntry, Option<Listed>)>, FsError> {
        while self.ready.is_empty() && self.next.is_some() {
            self.refill().map_err(convert::os)?;
        }
        let Some(entry) = self.ready.pop_front() else { return Ok(None) };
        let name = entry.name;
        // A directory may be a mount point, whose inode is not the one in its parent's listing. A mangled name may be
        // another entry's true one.
        let known = !entry.is_mangled && !matches!(entry.kind, FileType::Directory | FileType::Unknown);
        let listed = known.then(|| Listed::new(&self.dir, name.clone(), false, (self.device, entry.inode)));
        Ok(Some((types::DirectoryEntry { type_: convert::descriptor_type(entry.kind), name }, listed)))
    }

    fn refill(&mut self) -> Result<(), Errno> {
        let Some(start) = self.next.take() else { return Ok(()) };
        seek(&*self.dir, SeekFrom::Start(start))?;
        let mut buffer: Vec<u8> = Vec::with_capacity(limits::LISTING_BYTES);
        let mut raw = RawDir::new(&*self.dir, buffer.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            let entry = entry?;
            self.next = Some(entry.next_entry_cookie());
            let name = entry.file_name();
            if name != c"." && name != c".." {
                let kind = match entry.file_type() {
                    FileType::Unknown => {
                        statat(&*self.dir, name, AtFlags::SYMLINK_NOFOLLOW).map_or(FileType::Unknown, |stat| convert::file_type(&stat))
                    }
                    kind => kind,
                };
                let (name, is_mangled) = match name.to_string_lossy() {
                    Cow::Borrowed(name) => (name.to_owned(), false),
                    Cow::Owned(name) => (name, true),
                };
                self.ready.push_back(Entry { name, is_mangled, kind, inode: entry.ino() });
            }
            if raw.is_buffer_empty() {
                break;
            }
        }
        Ok(())
    }
}
