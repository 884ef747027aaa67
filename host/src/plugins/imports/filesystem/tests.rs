//! The functions of the interface, called as a guest calls them, over real directories.

#![expect(clippy::disallowed_methods, reason = "the tests set the scene from the outside")]

mod contents;
mod mounts;
mod named;
mod quotas;
mod rights;
mod ways;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use tempfile::TempDir;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorType, HostDescriptor, HostDirectoryEntryStream, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult, StreamError};

use super::open::Node;
use super::*;
use crate::limits;

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
const READ: DescriptorFlags = DescriptorFlags::READ;
const WRITE: DescriptorFlags = DescriptorFlags::WRITE;
const KEY: &str = "[plugins.tools-fs] fs = [\"workspace:rw\"]";

/// A host with a workspace, a shared directory, a mount, and a secret beside them.
struct World {
    _temp: TempDir,
    host: PathBuf,
    files: Files,
    table: ResourceTable,
}

impl World {
    fn new(writable: bool) -> Self {
        Self::with(writable, FileLimits::default(), None)
    }

    fn with(writable: bool, limits: FileLimits, budget: Option<u64>) -> Self {
        let temp = TempDir::new().unwrap();
        let host = temp.path().to_owned();
        for dir in ["work/sub", "work/shared", "work/mounts/docs", "shared/deep", "docs", "outside"] {
            fs::create_dir_all(host.join(dir)).unwrap();
        }
        for (path, text) in [("work/a.txt", "alpha"), ("work/sub/b.txt", "beta"), ("shared/s.txt", "shared"), ("docs/d.txt", "docs")] {
            fs::write(host.join(path), text).unwrap();
        }
        fs::write(host.join("outside/secret"), "canary").unwrap();
        let dir = |path: &str| Arc::new(Dir::open_ambient_dir(host.join(path), ambient_authority()).unwrap());
        let inner =
            |path: &str, at: &str, writable| InnerMount { path: path.to_owned(), dir: dir(at), writable, key: format!("{path}:rw") };
        let work = dir("work");
        let mount = |guest: &str| MountPoint {
            guest: guest.to_owned(),
            dir: work.clone(),
            writable,
            key: KEY.to_owned(),
            inner: vec![inner("shared", "shared", writable), inner("mounts/docs", "docs", false)],
            budget: budget.map(|limit| Arc::new(Budget::measure(&work, limit).unwrap())),
        };
        let files = Files::new(vec![mount("."), mount("/workspace")], limits);
        Self { _temp: temp, files, table: ResourceTable::new(), host }
    }

    fn view(&mut self) -> FileView<'_> {
        FileView { files: &mut self.files, table: &mut self.table }
    }

    fn root(&mut self) -> Resource<Descriptor> {
        self.view().get_directories().unwrap().remove(0).0
    }

    fn open_at(
        &mut self,
        fd: &Resource<Descriptor>,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        self.view().open_at(dup(fd), FOLLOW, path.to_owned(), open, flags)
    }

    fn open(&mut self, path: &str, open: OpenFlags, flags: DescriptorFlags) -> Result<Resource<Descriptor>, ErrorCode> {
        let root = self.root();
        self.open_at(&root, path, open, flags).map_err(code)
    }

    fn read(&mut self, path: &str) -> Result<String, ErrorCode> {
        let fd = self.open(path, OpenFlags::empty(), READ)?;
        self.contents(&fd)
    }

    fn contents(&mut self, fd: &Resource<Descriptor>) -> Result<String, ErrorCode> {
        let (data, _) = self.view().read(dup(fd), 1 << 20, 0).map_err(code)?;
        Ok(String::from_utf8(data).unwrap())
    }

    fn write(&mut self, path: &str, text: &str) -> Result<(), ErrorCode> {
        let fd = self.open(path, OpenFlags::CREATE | OpenFlags::TRUNCATE, WRITE)?;
        self.view().write(fd, text.as_bytes().to_vec(), 0).map_err(code).map(drop)
    }

    fn list(&mut self, path: &str) -> Vec<String> {
        let fd = self.open(path, OpenFlags::DIRECTORY, READ).unwrap();
        self.listing(&fd)
    }

    fn listing(&mut self, fd: &Resource<Descriptor>) -> Vec<String> {
        let stream = self.view().read_directory(dup(fd)).unwrap();
        let mut names = Vec::new();
        while let Some(entry) = self.view().read_directory_entry(Resource::new_borrow(stream.rep())).unwrap() {
            names.push(entry.name);
        }
        names.sort();
        names
    }

    fn path(&self, path: &str) -> PathBuf {
        self.host.join(path)
    }

    /// An operation on the root with one path.
    fn on(&mut self, operation: &str, path: &str) -> Result<(), ErrorCode> {
        let root = self.root();
        let (a, b, path) = (dup(&root), dup(&root), path.to_owned());
        let mut view = self.view();
        match operation {
            "create" => view.open_at(a, FOLLOW, path, OpenFlags::CREATE, WRITE).map(drop),
            "exclusive" => view.open_at(a, FOLLOW, path, OpenFlags::CREATE | OpenFlags::EXCLUSIVE, READ).map(drop),
            "open-write" => view.open_at(a, FOLLOW, path, OpenFlags::empty(), READ | WRITE).map(drop),
            "truncate" => view.open_at(a, FOLLOW, path, OpenFlags::TRUNCATE, READ).map(drop),
            "mkdir" => view.create_directory_at(a, path),
            "rmdir" => view.remove_directory_at(a, path),
            "unlink" => view.unlink_file_at(a, path),
            "rename-from" => view.rename_at(a, path, b, "new-name".to_owned()),
            "rename-to" => view.rename_at(a, "a.txt".to_owned(), b, path),
            "link-from" => view.link_at(a, PathFlags::empty(), path, b, "new-link".to_owned()),
            "link-to" => view.link_at(a, PathFlags::empty(), "a.txt".to_owned(), b, path),
            "symlink" => view.symlink_at(a, "a.txt".to_owned(), path),
            "set-times" => view.set_times_at(a, FOLLOW, path, NewTimestamp::Now, NewTimestamp::Now),
            "set-times-link" => view.set_times_at(a, PathFlags::empty(), path, NewTimestamp::Now, NewTimestamp::Now),
            "stat" => view.stat_at(a, FOLLOW, path).map(drop),
            "stat-link" => view.stat_at(a, PathFlags::empty(), path).map(drop),
            "hash" => view.metadata_hash_at(a, FOLLOW, path).map(drop),
            "read" => view.open_at(a, FOLLOW, path, OpenFlags::empty(), READ).map(drop),
            "readlink" => view.readlink_at(a, path).map(drop),
            other => panic!("{other} is no operation"),
        }
        .map_err(code)
    }
}

const CHANGES: [&str; 14] = [
    "create",
    "exclusive",
    "open-write",
    "truncate",
    "mkdir",
    "rmdir",
    "unlink",
    "rename-from",
    "rename-to",
    "link-from",
    "link-to",
    "symlink",
    "set-times",
    "set-times-link",
];
const LOOKS: [&str; 5] = ["stat", "stat-link", "hash", "read", "readlink"];

fn dup(fd: &Resource<Descriptor>) -> Resource<Descriptor> {
    Resource::new_borrow(fd.rep())
}

fn code(error: FsError) -> ErrorCode {
    error.downcast().unwrap()
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}
