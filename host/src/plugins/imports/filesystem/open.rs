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
use super::quota::{Charges, Opened};
use super::stream::Position;

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
        charged(charges, from, request.path)?;
        match base.open_here(&path, options(request, false).create_new(true)) {
            Err(error) if !exclusive && is(&error, Errno::EXIST) => charges.not_created(),
            Err(error) => {
                charges.not_created();
                return Err(failed(error));
            }
            Ok(opened) => return Ok(opened),
        }
    }
    // A symbolic link to nothing, most likely: it is neither there nor can it be created.
    Err(ErrorCode::NoEntry.into())
}

/// Charges a new entry; the refusal is recorded.
pub(super) fn charged(charges: &Charges, from: &Directory, path: &str) -> Result<(), FsError> {
    charges.create().map_err(|over| {
        charges.deny("create", from.show(path), None);
        failed(over)
    })
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
    pub fn write_all(&self, mut data: &[u8], position: Position) -> io::Result<()> {
        let _changing = self.root.budget.as_ref().map(|budget| budget.changing());
        self.charge(data.len() as u64, position).inspect_err(|_| self.charges.deny("write", self.shown.to_string(), None))?;
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

    fn charge(&self, bytes: u64, position: Position) -> io::Result<()> {
        self.charges.write(bytes)?;
        if let Some(budget) = &self.root.budget {
            let size = convert::size(&rustix::fs::fstat(&self.fd)?);
            let start = match position {
                Position::At(start) => start,
                Position::End => size,
            };
            budget.grow(start.saturating_add(bytes).saturating_sub(size))?;
        }
        Ok(())
    }

    /// Cuts or extends the file. An extension is charged like bytes written: a hole can be filled later by anyone.
    pub fn set_size(&self, size: u64) -> io::Result<()> {
        let _changing = self.root.budget.as_ref().map(|budget| budget.changing());
        let old = convert::size(&rustix::fs::fstat(&self.fd)?);
        if size > old {
            self.charge(size - old, Position::At(old)).inspect_err(|_| self.charges.deny("set-size", self.shown.to_string(), None))?;
        }
        ftruncate(&self.fd, size)?;
        if let Some(budget) = &self.root.budget {
            budget.shrink(old.saturating_sub(size));
        }
        Ok(())
    }
}
