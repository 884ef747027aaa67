//! Opening: what the guest asked for as flags of the kernel, and what was opened checked through its handle.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{FileType, OFlags, Stat, ftruncate};
use rustix::io::{Errno, ReadWriteFlags};
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{DescriptorFlags, OpenFlags};

use super::convert::{self, Identity, failed};
use super::place::{self, Directory, Root, flags};
use super::quota::{Budget, Charges, Opened};
use super::stream::Position;
use crate::{crash, limits};

/// How often a file may vanish between a look and its creation before that is an error.
const CREATE_ATTEMPTS: usize = 3;

/// What a descriptor of the guest stands for.
pub(super) enum Node {
    File(Arc<OpenFile>),
    Directory(Directory),
}

/// An open regular file.
pub(super) struct OpenFile {
    pub fd: OwnedFd,
    pub root: Arc<Root>,
    pub identity: Identity,
    pub flags: DescriptorFlags,
    /// As the guest sees it.
    pub shown: Box<str>,
    charges: Arc<Charges>,
    _opened: Opened,
}

/// What the guest asked for.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub path: &'a str,
    pub follow: bool,
    pub open: OpenFlags,
    pub flags: DescriptorFlags,
}

/// Opens a regular file or a directory.
pub(super) fn open(from: &Directory, charges: &Arc<Charges>, request: Request<'_>) -> Result<Node, FsError> {
    let opened = Opened::count(charges).map_err(|over| {
        charges.deny("open", from.show(request.path), None);
        failed(over)
    })?;
    // From before it is opened: what loses its last name meanwhile must know that it is open.
    let mut changing = from.root.budget.as_ref().map(|budget| budget.changing());
    let changes = request.flags.contains(DescriptorFlags::WRITE) || request.open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE);
    let (root, fd, stat) = if changes {
        open_to_change(from, charges, request)?
    } else {
        from.open(request.path, &options(request, false)).map_err(failed)?
    };
    match convert::file_type(&stat) {
        FileType::RegularFile => {
            let shown = place::short(from.show(request.path)).into();
            let identity = convert::identity(&stat);
            if root.budget.is_some() {
                changing.iter_mut().for_each(|changing| changing.opened(identity));
            }
            drop(changing);
            let file = OpenFile { fd, root, identity, flags: request.flags, shown, charges: charges.clone(), _opened: opened };
            if file.root.budget.is_some() && request.open.contains(OpenFlags::TRUNCATE) {
                file.set_size(0).map_err(failed)?;
            }
            Ok(Node::File(Arc::new(file)))
        }
        FileType::Directory => {
            let at = if Arc::ptr_eq(&root, &from.root) { from.below(request.path) } else { Arc::from("") };
            let dir = Arc::new(Dir::from_std_file(fd.into()));
            Ok(Node::Directory(Directory { root, dir, identity: convert::identity(&stat), at, opened: Some(Arc::new(opened)) }))
        }
        _ => {
            charges.deny("open", from.show(request.path), None);
            Err(ErrorCode::NotPermitted.into())
        }
    }
}

fn open_to_change(from: &Directory, charges: &Arc<Charges>, request: Request<'_>) -> Result<(Arc<Root>, OwnedFd, Stat), FsError> {
    crash::point(|| "file.open".to_owned());
    let (base, path) = from.base(request.path).map_err(failed)?;
    let create = request.open.contains(OpenFlags::CREATE);
    if !base.root.writable {
        charges.deny(if create { "create" } else { "write" }, from.show(request.path), Some(&base.root.key));
        return Err(ErrorCode::ReadOnly.into());
    }
    // A bounded directory must know what is thrown away, so it truncates after it has looked.
    let plain = options(request, base.root.budget.is_none());
    let exclusive = create && request.open.contains(OpenFlags::EXCLUSIVE);
    for _ in 0..CREATE_ATTEMPTS {
        if !exclusive {
            match base.open_here(&path, &plain) {
                Err(error) if create && is(&error, Errno::NOENT) => {}
                opened => return opened.map_err(failed),
            }
        }
        charged(charges, &base.root, || from.show(request.path))?;
        match base.open_here(&path, options(request, false).create_new(true)) {
            Err(error) if !exclusive && is(&error, Errno::EXIST) => not_created(charges, &base.root),
            Err(error) => {
                not_created(charges, &base.root);
                return Err(failed(error));
            }
            Ok(opened) => return Ok(opened),
        }
    }
    // A symbolic link to nothing, most likely: it is neither there nor can it be created.
    Err(ErrorCode::NoEntry.into())
}

/// Charges a new entry to the call and to its root; the refusal is recorded.
pub(super) fn charged(charges: &Charges, root: &Root, shown: impl FnOnce() -> String) -> Result<(), FsError> {
    let grow = |budget: &Arc<Budget>| budget.grow(limits::DATA_ENTRY_BYTES).inspect_err(|_| charges.not_created());
    let charged = charges.create().and_then(|()| root.budget.as_ref().map_or(Ok(()), grow));
    charged.map_err(|over| {
        charges.deny("create", shown(), None);
        failed(over)
    })
}

/// Gives back the charge of an entry that was not created after all.
pub(super) fn not_created(charges: &Charges, root: &Root) {
    charges.not_created();
    if let Some(budget) = &root.budget {
        budget.shrink(limits::DATA_ENTRY_BYTES);
    }
}

fn options(request: Request<'_>, may_truncate: bool) -> OpenOptions {
    let mut more = OFlags::empty();
    more.set(OFlags::DIRECTORY, request.open.contains(OpenFlags::DIRECTORY));
    more.set(OFlags::NOFOLLOW, !request.follow);
    more.set(OFlags::SYNC, request.flags.contains(DescriptorFlags::FILE_INTEGRITY_SYNC));
    more.set(OFlags::DSYNC, request.flags.contains(DescriptorFlags::DATA_INTEGRITY_SYNC));
    let write = request.flags.contains(DescriptorFlags::WRITE) || request.open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE);
    let mut options = OpenOptions::new();
    options
        .read(request.flags.contains(DescriptorFlags::READ) || !write)
        .write(write)
        .truncate(may_truncate && request.open.contains(OpenFlags::TRUNCATE))
        .custom_flags(flags(more));
    options
}

pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

impl OpenFile {
    /// May the guest write through this descriptor?
    pub fn check_writable(&self, operation: &'static str) -> Result<(), FsError> {
        if self.flags.contains(DescriptorFlags::WRITE) {
            return Ok(());
        }
        Err(self.check_changeable(operation).err().unwrap_or_else(|| ErrorCode::BadDescriptor.into()))
    }

    /// May the guest change anything about this file?
    pub fn check_changeable(&self, operation: &'static str) -> Result<(), FsError> {
        if self.root.writable {
            return Ok(());
        }
        self.charges.deny(operation, self.shown.to_string(), Some(&self.root.key));
        Err(ErrorCode::ReadOnly.into())
    }

    /// Writes all of `data`, charged to the call and to the root.
    pub fn write_all(&self, data: &[u8], position: Position) -> io::Result<()> {
        crash::point(|| "file.write".to_owned());
        let _changing = self.root.budget.as_ref().map(|budget| budget.changing());
        let end = self.charge(data.len() as u64, position).inspect_err(|_| self.charges.deny("write", self.shown.to_string(), None))?;
        self.put(data, position).inspect_err(|_| self.not_grown(end))
    }

    fn put(&self, mut data: &[u8], position: Position) -> io::Result<()> {
        let mut done = 0_u64;
        while !data.is_empty() {
            let written = match position {
                Position::At(start) => rustix::io::pwrite(&self.fd, data, start.saturating_add(done)),
                Position::End => rustix::io::pwritev2(&self.fd, &[io::IoSlice::new(data)], 0, ReadWriteFlags::APPEND),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    done += written as u64;
                    data = data.get(written..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Charges a write; the size that the file was charged for.
    fn charge(&self, bytes: u64, position: Position) -> io::Result<u64> {
        self.charges.write(bytes)?;
        let Some(budget) = &self.root.budget else { return Ok(0) };
        let size = self.size()?;
        let start = match position {
            Position::At(start) => start,
            Position::End => size,
        };
        let end = start.saturating_add(bytes).max(size);
        budget.grow(end - size)?;
        Ok(end)
    }

    /// Gives back what the file was charged for and does not have: the disk was full.
    fn not_grown(&self, end: u64) {
        if let (Some(budget), Ok(size)) = (&self.root.budget, self.size()) {
            budget.shrink(end.saturating_sub(size));
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(convert::size(&rustix::fs::fstat(&self.fd)?))
    }

    /// Cuts or extends the file. An extension is charged like bytes written: a hole can be filled later by anyone.
    pub fn set_size(&self, size: u64) -> io::Result<()> {
        let _changing = self.root.budget.as_ref().map(|budget| budget.changing());
        let old = self.size()?;
        if size > old {
            self.charge(size - old, Position::At(old)).inspect_err(|_| self.charges.deny("set-size", self.shown.to_string(), None))?;
        }
        ftruncate(&self.fd, size).inspect_err(|_| self.not_grown(size))?;
        if let Some(budget) = &self.root.budget {
            budget.shrink(old.saturating_sub(size));
        }
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(budget) = &self.root.budget {
            let mut changing = budget.changing();
            changing.closed(self.identity, rustix::fs::fstat(&self.fd).ok().as_ref());
        }
    }
}
