//! The functions of `wasi:filesystem/types` and `/preopens`, on descriptors of our own.
//!
//! WASI's handle type only names an index of the table; what lies there is a [`Node`] or [`Entries`].

use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Timestamps};
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{self, Descriptor, DescriptorFlags, DirectoryEntryStream, PathFlags};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::FileView;
use super::convert::{self, Identity, failed, os};
use super::entries::{Entries, Listed};
use super::open::{self, Node, OpenFile, Request};
use super::place::{Directory, Root, Spot};
use super::quota::Changing;
use super::stream::{FileInput, FileOutput, Position, read_at};
use crate::crash;

type Handle = Resource<Descriptor>;

fn node<'a>(table: &'a ResourceTable, fd: &Handle) -> Result<&'a Node, ResourceTableError> {
    table.get(&Resource::new_own(fd.rep()))
}

fn file<'a>(table: &'a ResourceTable, fd: &Handle) -> FsResult<&'a Arc<OpenFile>> {
    match node(table, fd)? {
        Node::File(file) => Ok(file),
        Node::Directory(_) => Err(ErrorCode::BadDescriptor.into()),
    }
}

fn directory<'a>(table: &'a ResourceTable, fd: &Handle) -> FsResult<&'a Directory> {
    match node(table, fd)? {
        Node::Directory(directory) => Ok(directory),
        Node::File(_) => Err(ErrorCode::NotDirectory.into()),
    }
}

fn push(table: &mut ResourceTable, node: Node) -> Result<Handle, ResourceTableError> {
    Ok(Resource::new_own(table.push(node)?.rep()))
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

impl Node {
    fn identity(&self) -> Identity {
        match self {
            Self::File(file) => file.identity,
            Self::Directory(directory) => directory.identity,
        }
    }

    fn root(&self) -> &Root {
        match self {
            Self::File(file) => &file.root,
            Self::Directory(directory) => &directory.root,
        }
    }

    fn sync(&self, data_only: bool) -> FsResult<()> {
        crash::point(|| "file.sync".to_owned());
        let synced = match (self, data_only) {
            (Self::File(file), true) => rustix::fs::fdatasync(&file.fd),
            (Self::File(file), false) => rustix::fs::fsync(&file.fd),
            (Self::Directory(directory), _) => rustix::fs::fsync(&*directory.dir),
        };
        synced.map_err(os)
    }
}

impl FileView<'_> {
    /// The entry that an operation changes, in a root that may be changed.
    fn spot(&self, fd: &Handle, path: &str, operation: &'static str) -> FsResult<Spot> {
        let from = directory(self.table, fd)?;
        let spot = from.spot(path).map_err(failed)?;
        if spot.root().writable {
            return Ok(spot);
        }
        self.files.charges.deny(operation, spot.shown(), Some(&spot.root().key));
        Err(ErrorCode::ReadOnly.into())
    }

    /// Inner mounts and the directories above them stay where they are.
    fn check_movable(&self, spot: &Spot, stat: &rustix::fs::Stat, operation: &'static str) -> FsResult<()> {
        if spot.root().is_guarded(stat) {
            self.files.charges.deny(operation, spot.shown(), None);
            return Err(ErrorCode::Busy.into());
        }
        Ok(())
    }

    fn create(&self, spot: &Spot, make: impl FnOnce(&Spot) -> rustix::io::Result<()>) -> FsResult<()> {
        let _changing = changing(spot);
        open::charged(&self.files.charges, spot.root(), || spot.shown())?;
        make(spot).map_err(|error| {
            open::not_created(&self.files.charges, spot.root());
            os(error)
        })
    }

    fn entry_identity(&self, fd: &Handle, follow: bool, path: &str) -> FsResult<Identity> {
        let directory = directory(self.table, fd)?;
        if let Some(identity) = self.files.listed.as_ref().and_then(|listed| listed.is(&directory.dir, path, follow)) {
            return Ok(identity);
        }
        Ok(convert::identity(&directory.stat(path, follow).map_err(failed)?))
    }
}

impl preopens::Host for FileView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Handle, String)>> {
        self.files.looked = true;
        let mut directories = Vec::with_capacity(self.files.preopens.len());
        for (guest, root) in &self.files.preopens {
            let handle = push(self.table, Node::Directory(root.directory()?))?;
            directories.push((handle, guest.clone()));
        }
        Ok(directories)
    }
}

impl types::Host for FileView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<types::ErrorCode> {
        Ok(error.downcast()?.into())
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<types::ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<std::io::Error>().map(|error| convert::error_code(error).into()))
    }
}

impl types::HostDescriptor for FileView<'_> {
    fn read_via_stream(&mut self, fd: Handle, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let file = match node(self.table, &fd)? {
            Node::File(file) => file.clone(),
            Node::Directory(_) => return Err(ErrorCode::IsDirectory.into()),
        };
        let stream: DynInputStream = Box::new(FileInput::new(file, offset));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: Handle, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let file = file(self.table, &fd)?.clone();
        file.check_writable("write")?;
        let stream: DynOutputStream = Box::new(FileOutput::new(file, Position::At(offset)));
        Ok(self.table.push(stream)?)
    }

    fn append_via_stream(&mut self, fd: Handle) -> FsResult<Resource<DynOutputStream>> {
        let file = file(self.table, &fd)?.clone();
        file.check_writable("append")?;
        let stream: DynOutputStream = Box::new(FileOutput::new(file, Position::End));
        Ok(self.table.push(stream)?)
    }

    fn advise(&mut self, fd: Handle, offset: u64, length: u64, advice: types::Advice) -> FsResult<()> {
        let file = file(self.table, &fd)?;
        rustix::fs::fadvise(&file.fd, offset, std::num::NonZeroU64::new(length), convert::advice(advice)).map_err(os)
    }

    fn sync_data(&mut self, fd: Handle) -> FsResult<()> {
        node(self.table, &fd)?.sync(true)
    }

    fn sync(&mut self, fd: Handle) -> FsResult<()> {
        node(self.table, &fd)?.sync(false)
    }

    fn get_flags(&mut self, fd: Handle) -> FsResult<DescriptorFlags> {
        Ok(match node(self.table, &fd)? {
            Node::File(file) => file.flags,
            Node::Directory(directory) if directory.root.writable => DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
            Node::Directory(_) => DescriptorFlags::READ,
        })
    }

    fn get_type(&mut self, fd: Handle) -> FsResult<types::DescriptorType> {
        Ok(match node(self.table, &fd)? {
            Node::File(_) => types::DescriptorType::RegularFile,
            Node::Directory(_) => types::DescriptorType::Directory,
        })
    }

    fn set_size(&mut self, fd: Handle, size: u64) -> FsResult<()> {
        let file = file(self.table, &fd)?;
        file.check_writable("set-size")?;
        file.set_size(size).map_err(failed)
    }

    fn set_times(&mut self, fd: Handle, access: types::NewTimestamp, modification: types::NewTimestamp) -> FsResult<()> {
        let times = Timestamps { last_access: convert::timespec(access)?, last_modification: convert::timespec(modification)? };
        match node(self.table, &fd)? {
            Node::File(file) => {
                file.check_changeable("set-times")?;
                rustix::fs::futimens(&file.fd, &times).map_err(os)
            }
            Node::Directory(directory) if directory.root.writable => rustix::fs::futimens(&*directory.dir, &times).map_err(os),
            Node::Directory(directory) => {
                self.files.charges.deny("set-times", directory.show("."), Some(&directory.root.key));
                Err(ErrorCode::ReadOnly.into())
            }
        }
    }

    fn set_times_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
        access: types::NewTimestamp,
        modification: types::NewTimestamp,
    ) -> FsResult<()> {
        let times = Timestamps { last_access: convert::timespec(access)?, last_modification: convert::timespec(modification)? };
        let from = directory(self.table, &fd)?;
        let (base, rest) = from.base(&path).map_err(failed)?;
        if !base.root.writable {
            self.files.charges.deny("set-times", from.show(&path), Some(&base.root.key));
            return Err(ErrorCode::ReadOnly.into());
        }
        if follows(path_flags) {
            // Through a handle, because the entry may be a link.
            let request = Request { path: &rest, follow: true, open: types::OpenFlags::empty(), flags: DescriptorFlags::READ };
            let opened = open::open(&base, &self.files.charges, request)?;
            // It may stand in another root than the one that was looked at.
            if !opened.root().writable {
                self.files.charges.deny("set-times", from.show(&path), Some(&opened.root().key));
                return Err(ErrorCode::ReadOnly.into());
            }
            return match opened {
                Node::File(file) => rustix::fs::futimens(&file.fd, &times).map_err(os),
                Node::Directory(directory) => rustix::fs::futimens(&*directory.dir, &times).map_err(os),
            };
        }
        let spot = base.spot(&rest).map_err(failed)?;
        // A link on the way can lead to another root than the spelling of the path.
        if !spot.root().writable {
            self.files.charges.deny("set-times", spot.shown(), Some(&spot.root().key));
            return Err(ErrorCode::ReadOnly.into());
        }
        rustix::fs::utimensat(&*spot.parent.dir, &spot.name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(os)
    }

    fn read(&mut self, fd: Handle, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        let file = file(self.table, &fd)?;
        let data = read_at(file, usize::try_from(length).unwrap_or(usize::MAX), offset).map_err(failed)?;
        let end = data.is_empty() && length > 0;
        Ok((data, end))
    }

    fn write(&mut self, fd: Handle, buffer: Vec<u8>, offset: u64) -> FsResult<u64> {
        let file = file(self.table, &fd)?;
        file.check_writable("write")?;
        file.write_all(&buffer, Position::At(offset)).map_err(failed)?;
        Ok(buffer.len() as u64)
    }

    fn read_directory(&mut self, fd: Handle) -> FsResult<Resource<DirectoryEntryStream>> {
        let entries = Entries::new(directory(self.table, &fd)?);
        Ok(Resource::new_own(self.table.push(entries)?.rep()))
    }

    fn create_directory_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        let spot = self.spot(&fd, &path, "create-directory")?;
        self.create(&spot, |spot| rustix::fs::mkdirat(&*spot.parent.dir, &spot.name, 0o777.into()))
    }

    fn stat(&mut self, fd: Handle) -> FsResult<types::DescriptorStat> {
        let stat = match node(self.table, &fd)? {
            Node::File(file) => rustix::fs::fstat(&file.fd),
            Node::Directory(directory) => rustix::fs::fstat(&*directory.dir),
        };
        Ok(convert::descriptor_stat(&stat.map_err(os)?))
    }

    fn stat_at(&mut self, fd: Handle, path_flags: PathFlags, path: String) -> FsResult<types::DescriptorStat> {
        let directory = directory(self.table, &fd)?;
        let follow = follows(path_flags);
        let stat = directory.stat(&path, follow).map_err(failed)?;
        self.files.listed = Some(Listed::new(&directory.dir, path, follow, convert::identity(&stat)));
        Ok(convert::descriptor_stat(&stat))
    }

    fn link_at(&mut self, fd: Handle, path_flags: PathFlags, old_path: String, new_fd: Handle, new_path: String) -> FsResult<()> {
        if follows(path_flags) {
            return Err(ErrorCode::Invalid.into());
        }
        let new = self.spot(&new_fd, &new_path, "link")?;
        let old = self.spot(&fd, &old_path, "link")?;
        if !Arc::ptr_eq(old.root(), new.root()) {
            return Err(ErrorCode::CrossDevice.into());
        }
        // A trailing slash would make the kernel look behind a link.
        if old.slash || new.slash {
            return Err(ErrorCode::NotDirectory.into());
        }
        self.create(&new, |new| rustix::fs::linkat(&*old.parent.dir, &old.name, &*new.parent.dir, &new.name, AtFlags::empty()))
    }

    fn open_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
        open: types::OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        let from = directory(self.table, &fd)?;
        let request = Request { path: &path, follow: follows(path_flags), open, flags };
        let node = open::open(from, &self.files.charges, request)?;
        Ok(push(self.table, node)?)
    }

    fn readlink_at(&mut self, fd: Handle, path: String) -> FsResult<String> {
        let spot = directory(self.table, &fd)?.spot(&path).map_err(failed)?;
        let target = rustix::fs::readlinkat(&*spot.parent.dir, &spot.name, Vec::new()).map_err(os)?;
        let target = target.into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
        // It says where something is on the host, and leads nowhere.
        if target.starts_with('/') {
            return Err(ErrorCode::NotPermitted.into());
        }
        Ok(target)
    }

    fn remove_directory_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        let spot = self.spot(&fd, &path, "remove-directory")?;
        crash::point(|| "file.unlink".to_owned());
        let changing = changing(&spot);
        let removed = spot.stat().map_err(failed)?;
        self.check_movable(&spot, &removed, "remove-directory")?;
        rustix::fs::unlinkat(&*spot.parent.dir, &spot.name, AtFlags::REMOVEDIR).map_err(os)?;
        release(changing, Some(&removed));
        Ok(())
    }

    fn rename_at(&mut self, fd: Handle, old_path: String, new_fd: Handle, new_path: String) -> FsResult<()> {
        let old = self.spot(&fd, &old_path, "rename")?;
        let new = self.spot(&new_fd, &new_path, "rename")?;
        if !Arc::ptr_eq(old.root(), new.root()) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let changing = changing(&new);
        let moved = old.stat().map_err(failed)?;
        self.check_movable(&old, &moved, "rename")?;
        if (old.slash || new.slash) && convert::file_type(&moved) != FileType::Directory {
            return Err(ErrorCode::NotDirectory.into());
        }
        let replaced = new.stat().ok();
        if let Some(replaced) = &replaced {
            self.check_movable(&new, replaced, "rename")?;
            keep_mode(&old, &moved, replaced);
        }
        crash::point(|| "file.rename".to_owned());
        rustix::fs::renameat(&*old.parent.dir, &old.name, &*new.parent.dir, &new.name).map_err(os)?;
        // Of two names of one file both stay.
        release(changing, replaced.as_ref().filter(|replaced| convert::identity(replaced) != convert::identity(&moved)));
        Ok(())
    }

    fn symlink_at(&mut self, fd: Handle, target: String, path: String) -> FsResult<()> {
        let spot = self.spot(&fd, &path, "symlink")?;
        if target.starts_with('/') {
            self.files.charges.deny("symlink", spot.shown(), None);
            return Err(ErrorCode::NotPermitted.into());
        }
        self.create(&spot, |spot| rustix::fs::symlinkat(target.as_str(), &*spot.parent.dir, &spot.name))
    }

    fn unlink_file_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        let spot = self.spot(&fd, &path, "unlink")?;
        if spot.slash {
            return Err(ErrorCode::NotDirectory.into());
        }
        let changing = changing(&spot);
        let removed = changing.as_ref().and_then(|_| spot.stat().ok());
        rustix::fs::unlinkat(&*spot.parent.dir, &spot.name, AtFlags::empty()).map_err(os)?;
        release(changing, removed.as_ref());
        Ok(())
    }

    fn is_same_object(&mut self, a: Handle, b: Handle) -> wasmtime::Result<bool> {
        Ok(node(self.table, &a)?.identity() == node(self.table, &b)?.identity())
    }

    fn metadata_hash(&mut self, fd: Handle) -> FsResult<types::MetadataHashValue> {
        Ok(convert::metadata_hash(node(self.table, &fd)?.identity()))
    }

    fn metadata_hash_at(&mut self, fd: Handle, path_flags: PathFlags, path: String) -> FsResult<types::MetadataHashValue> {
        Ok(convert::metadata_hash(self.entry_identity(&fd, follows(path_flags), &path)?))
    }

    fn drop(&mut self, fd: Handle) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Node>::new_own(fd.rep()))?;
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for FileView<'_> {
    fn read_directory_entry(&mut self, stream: Resource<DirectoryEntryStream>) -> FsResult<Option<types::DirectoryEntry>> {
        let entries: &mut Entries = self.table.get_mut(&Resource::new_own(stream.rep()))?;
        let Some((entry, listed)) = entries.next()? else { return Ok(None) };
        self.files.listed = listed;
        Ok(Some(entry))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Entries>::new_own(stream.rep()))?;
        Ok(())
    }
}

/// Gives the file that is about to replace another its permission bits: a guest writes beside and renames, and WASI has
/// no way to ask for them. Best effort, since a file that nobody can open keeps what it has.
fn keep_mode(moved: &Spot, now: &rustix::fs::Stat, replaced: &rustix::fs::Stat) {
    use rustix::fs::{Mode, OFlags, fchmod, fstat, openat};
    let regular = |stat| convert::file_type(stat) == FileType::RegularFile;
    let bits = |stat: &rustix::fs::Stat| stat.st_mode & 0o777;
    if !regular(now) || !regular(replaced) || bits(now) == bits(replaced) {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = openat(&*moved.parent.dir, &moved.name, flags, Mode::empty()) else { return };
    if fstat(&file).is_ok_and(|stat| convert::identity(&stat) == convert::identity(now)) {
        let _ = fchmod(&file, Mode::from_raw_mode(bits(replaced)));
    }
}

/// Nobody else changes a bounded directory meanwhile.
fn changing(spot: &Spot) -> Option<Changing<'_>> {
    spot.root().budget.as_ref().map(|budget| budget.changing())
}

/// An entry is gone: a bounded directory holds less.
fn release(changing: Option<Changing<'_>>, removed: Option<&rustix::fs::Stat>) {
    if let (Some(mut changing), Some(removed)) = (changing, removed) {
        changing.removed(removed);
    }
}
