//! The functions of the interface, called as a guest calls them, over real directories.

#![expect(clippy::disallowed_methods, reason = "the tests set the scene from the outside")]

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

#[test]
fn both_names_of_the_workspace_are_one_place() {
    let mut world = World::new(true);
    let preopens = world.view().get_directories().unwrap();
    assert_eq!(preopens.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), [".", "/workspace"]);
    let (relative, absolute) = (&preopens[0].0, &preopens[1].0);
    assert!(world.view().is_same_object(dup(relative), dup(absolute)).unwrap());
    world.view().rename_at(dup(relative), "a.txt".to_owned(), dup(absolute), "sub/c.txt".to_owned()).unwrap();
    assert_eq!(world.read("sub/c.txt").unwrap(), "alpha");
}

#[test]
fn a_file_is_written_read_and_described() {
    let mut world = World::new(true);
    let fd = world.open("new.txt", OpenFlags::CREATE, READ | WRITE).unwrap();
    assert_eq!(world.view().write(dup(&fd), b"hello world".to_vec(), 0).unwrap(), 11);
    assert_eq!(world.view().read(dup(&fd), 5, 6).unwrap(), (b"world".to_vec(), false));
    assert_eq!(world.view().read(dup(&fd), 5, 11).unwrap(), (Vec::new(), true));
    world.view().set_size(dup(&fd), 5).unwrap();
    let stat = world.view().stat(dup(&fd)).unwrap();
    assert_eq!((stat.type_, stat.size, stat.link_count), (DescriptorType::RegularFile, 5, 1));
    assert_eq!(world.view().get_flags(dup(&fd)).unwrap(), READ | WRITE);
    assert_eq!(world.view().get_type(dup(&fd)).unwrap(), DescriptorType::RegularFile);
    world.view().advise(dup(&fd), 0, 0, Advice::Sequential).unwrap();
    world.view().sync(dup(&fd)).unwrap();
    world.view().sync_data(dup(&fd)).unwrap();
    let time = NewTimestamp::Timestamp(wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime { seconds: 1_000, nanoseconds: 7 });
    world.view().set_times(dup(&fd), NewTimestamp::NoChange, time).unwrap();
    let modified = world.view().stat(dup(&fd)).unwrap().data_modification_timestamp.unwrap();
    assert_eq!((modified.seconds, modified.nanoseconds), (1_000, 7));
    HostDescriptor::drop(&mut world.view(), fd).unwrap();
    assert_eq!(fs::read_to_string(world.path("work/new.txt")).unwrap(), "hello");
    assert_eq!((world.files.written_bytes(), world.files.created_entries()), (11, 1));
}

#[tokio::test]
async fn streams_read_write_and_append() {
    let mut world = World::new(true);
    let fd = world.open("log", OpenFlags::CREATE, READ | WRITE).unwrap();
    let stream = world.view().write_via_stream(dup(&fd), 0).unwrap();
    let output: &mut DynOutputStream = world.table.get_mut(&stream).unwrap();
    assert_eq!(output.check_write().unwrap(), limits::FILE_CHUNK_BYTES);
    output.write(b"one ".to_vec().into()).unwrap();
    output.blocking_write_and_flush(b"two ".to_vec().into()).await.unwrap();
    let stream = world.view().append_via_stream(dup(&fd)).unwrap();
    world.table.get_mut(&stream).unwrap().blocking_write_and_flush(b"three".to_vec().into()).await.unwrap();
    let stream = world.view().read_via_stream(dup(&fd), 4).unwrap();
    let input: &mut DynInputStream = world.table.get_mut(&stream).unwrap();
    assert_eq!(input.read(3).unwrap(), "two");
    assert_eq!(input.blocking_read(100).await.unwrap(), " three");
    assert!(matches!(input.read(100), Err(StreamError::Closed)));
    let root = world.root();
    assert_eq!(code(world.view().read_via_stream(root, 0).unwrap_err()), ErrorCode::IsDirectory);
}

#[test]
fn a_read_only_root_refuses_every_change_and_names_its_key() {
    for operation in CHANGES {
        let mut world = World::new(false);
        let path = match operation {
            "rmdir" => "sub",
            "create" | "exclusive" | "mkdir" | "rename-to" | "link-to" | "symlink" => "brand-new",
            _ => "a.txt",
        };
        let before = fs::metadata(world.path("work/a.txt")).unwrap();
        assert_eq!(world.on(operation, path), Err(ErrorCode::ReadOnly), "{operation}");
        let denials = world.files.denials();
        assert_eq!(denials.len(), 1, "{operation}");
        assert_eq!(denials[0].key.as_deref(), Some(KEY), "{operation}");
        assert_eq!(world.list("."), ["a.txt", "mounts", "shared", "sub"], "{operation}");
        let after = fs::metadata(world.path("work/a.txt")).unwrap();
        assert_eq!((before.len(), before.mtime_nsec()), (after.len(), after.mtime_nsec()), "{operation}");
    }
    let mut world = World::new(false);
    let fd = world.open("a.txt", OpenFlags::empty(), READ).unwrap();
    let time = NewTimestamp::Now;
    let refusals = [
        world.view().write(dup(&fd), vec![1], 0).map(drop),
        world.view().write_via_stream(dup(&fd), 0).map(drop),
        world.view().append_via_stream(dup(&fd)).map(drop),
        world.view().set_size(dup(&fd), 0),
        world.view().set_times(dup(&fd), time, time),
    ];
    for refused in refusals {
        assert_eq!(code(refused.unwrap_err()), ErrorCode::ReadOnly);
    }
    let root = world.root();
    assert_eq!(code(world.view().set_times(root, time, time).unwrap_err()), ErrorCode::ReadOnly);
    assert_eq!(world.files.denials().len(), 6);
    for (operation, path) in [("stat", "a.txt"), ("read", "sub"), ("hash", "sub/b.txt")] {
        assert_eq!(world.on(operation, path), Ok(()));
    }
}

#[test]
fn a_writable_root_allows_every_change() {
    for operation in CHANGES {
        let mut world = World::new(true);
        let path = match operation {
            "create" | "exclusive" | "mkdir" | "rename-to" | "link-to" | "symlink" => "sub/new",
            "rmdir" => "empty",
            _ => "a.txt",
        };
        fs::create_dir(world.path("work/empty")).unwrap();
        assert_eq!(world.on(operation, path), Ok(()), "{operation}");
        assert!(world.files.denials().is_empty(), "{operation}");
    }
}

#[test]
fn a_descriptor_for_reading_does_not_write() {
    let mut world = World::new(true);
    let fd = world.open("a.txt", OpenFlags::empty(), READ).unwrap();
    assert_eq!(code(world.view().write(dup(&fd), vec![1], 0).unwrap_err()), ErrorCode::BadDescriptor);
    assert_eq!(code(world.view().set_size(fd, 0).unwrap_err()), ErrorCode::BadDescriptor);
}

#[test]
fn nothing_leads_out_of_the_root() {
    let mut world = World::new(true);
    let outside = world.path("outside");
    symlink(outside.join("secret"), world.path("work/link")).unwrap();
    symlink("../outside/secret", world.path("work/relative")).unwrap();
    symlink(&outside, world.path("work/dir")).unwrap();
    symlink("../outside", world.path("work/sub/dir")).unwrap();
    symlink("../outside/new", world.path("work/dangling")).unwrap();
    symlink("loop", world.path("work/loop")).unwrap();
    symlink("/proc/self/root", world.path("work/proc")).unwrap();
    let absolute = outside.join("secret").display().to_string();
    let paths = [
        "../outside/secret",
        "sub/../../outside/secret",
        "./../outside/secret",
        "shared/../../outside/secret",
        "mounts/docs/../../../outside/secret",
        "..",
        "/",
        "//etc/passwd",
        "/etc/passwd",
        absolute.as_str(),
        "link",
        "relative",
        "dir/secret",
        "sub/dir/secret",
        "dangling",
        "loop",
        "proc/etc/passwd",
        "a.txt\0",
        "",
    ];
    for path in paths {
        for operation in CHANGES.iter().chain(&LOOKS) {
            // An operation on the link itself stays inside.
            let on_link =
                ["unlink", "rename-from", "rename-to", "link-from", "set-times-link", "stat-link", "readlink"].contains(operation);
            if on_link && ["link", "relative", "dangling", "loop"].contains(&path) {
                continue;
            }
            assert!(world.on(operation, path).is_err(), "{operation} {path:?}");
        }
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "canary");
    assert_eq!(world.on("readlink", "link"), Err(ErrorCode::NotPermitted));
    assert_eq!(world.on("readlink", "relative"), Ok(()));
    let root = world.root();
    assert_eq!(code(world.view().symlink_at(root, "/etc/passwd".to_owned(), "x".to_owned()).unwrap_err()), ErrorCode::NotPermitted);
}

#[test]
fn links_inside_the_root_work() {
    let mut world = World::new(true);
    world.on("symlink", "to-a").unwrap();
    assert_eq!(world.read("to-a").unwrap(), "alpha");
    let root = world.root();
    assert_eq!(world.view().readlink_at(dup(&root), "to-a".to_owned()).unwrap(), "a.txt");
    assert_eq!(world.view().stat_at(dup(&root), PathFlags::empty(), "to-a".to_owned()).unwrap().type_, DescriptorType::SymbolicLink);
    assert_eq!(world.view().stat_at(dup(&root), FOLLOW, "to-a".to_owned()).unwrap().type_, DescriptorType::RegularFile);
    let nofollow = world.view().open_at(root, PathFlags::empty(), "to-a".to_owned(), OpenFlags::empty(), READ);
    assert_eq!(code(nofollow.unwrap_err()), ErrorCode::Loop);
}

#[test]
fn only_regular_files_and_directories_open_and_nothing_waits() {
    let mut world = World::new(true);
    fifo(&world.path("work/fifo"));
    let _socket = std::os::unix::net::UnixListener::bind(world.path("work/socket")).unwrap();
    for path in ["fifo", "socket"] {
        for operation in ["read", "open-write", "create", "truncate", "set-times"] {
            assert!(world.on(operation, path).is_err(), "{operation} {path}");
        }
        assert_eq!(world.on("stat", path), Ok(()));
        assert_eq!(world.on("unlink", path), Ok(()));
    }
    assert!(world.files.denials().iter().any(|denial| denial.operation == "open" && denial.path == "fifo" && denial.key.is_none()));
}

#[test]
fn inner_mounts_are_reached_by_every_spelling() {
    let mut world = World::new(true);
    symlink("shared", world.path("work/to-shared")).unwrap();
    let shared = [
        "shared/s.txt",
        "./shared/s.txt",
        "shared//s.txt",
        "shared/./s.txt",
        "sub/../shared/s.txt",
        "shared/deep/../s.txt",
        "shared/../shared/s.txt",
        "shared/deep/../../shared/s.txt",
        "to-shared/s.txt",
    ];
    for path in shared {
        assert_eq!(world.read(path).as_deref(), Ok("shared"), "{path}");
        assert_eq!(world.on("stat", path), Ok(()), "{path}");
        assert_eq!(world.on("set-times", path), Ok(()), "{path}");
    }
    for path in ["mounts/docs/d.txt", "./mounts/docs/d.txt", "sub/../mounts/docs/d.txt", "mounts/../mounts/docs/d.txt"] {
        assert_eq!(world.read(path).as_deref(), Ok("docs"), "{path}");
    }
    assert_eq!(world.read("shared/../a.txt").as_deref(), Ok("alpha"));
    for (path, base) in [("shared", "shared"), ("sub", "../shared"), ("mounts", "docs")] {
        let root = world.root();
        let outer = world.open_at(&root, path, OpenFlags::DIRECTORY, READ).unwrap();
        match base {
            "shared" => assert_eq!(world.listing(&outer), ["deep", "s.txt"]),
            "docs" => {
                let inner = world.open_at(&outer, "docs", OpenFlags::DIRECTORY, READ).unwrap();
                assert_eq!(world.listing(&inner), ["d.txt"]);
                let file = world.open_at(&outer, "docs/d.txt", OpenFlags::empty(), READ).unwrap();
                assert_eq!(world.contents(&file).as_deref(), Ok("docs"));
            }
            other => assert_eq!(code(world.open_at(&outer, other, OpenFlags::empty(), READ).unwrap_err()), ErrorCode::NotPermitted),
        }
    }
    let root = world.root();
    let stat = world.view().stat_at(dup(&root), FOLLOW, "shared".to_owned()).unwrap();
    let opened = world.open_at(&root, "shared", OpenFlags::DIRECTORY, READ).unwrap();
    assert_eq!(stat.link_count, world.view().stat(opened).unwrap().link_count);
}

#[test]
fn changes_behind_an_inner_mount_reach_its_target() {
    let mut world = World::new(true);
    symlink("shared", world.path("work/to-shared")).unwrap();
    for (number, prefix) in ["shared", "./shared", "sub/../shared", "to-shared", "shared/deep"].into_iter().enumerate() {
        world.write(&format!("{prefix}/w{number}"), "x").unwrap();
        world.on("mkdir", &format!("{prefix}/d{number}")).unwrap();
        world.on("unlink", &format!("{prefix}/w{number}")).unwrap();
        world.on("symlink", &format!("{prefix}/l{number}")).unwrap();
    }
    assert_eq!(fs::read_dir(world.path("work/shared")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(world.path("shared")).unwrap().count(), 2 + 2 * 4);
    // The mount is read-only although the workspace is not, and its own key is named.
    for operation in ["create", "mkdir", "symlink", "rename-to", "link-to"] {
        assert_eq!(world.on(operation, "mounts/docs/new"), Err(ErrorCode::ReadOnly), "{operation}");
    }
    for operation in ["open-write", "truncate", "unlink", "rename-from", "set-times"] {
        assert_eq!(world.on(operation, "mounts/docs/d.txt"), Err(ErrorCode::ReadOnly), "{operation}");
        assert_eq!(world.on(operation, "sub/../mounts/docs/d.txt"), Err(ErrorCode::ReadOnly), "{operation}");
    }
    let denials = world.files.denials();
    assert!(denials.iter().all(|denial| denial.key.as_deref() == Some("mounts/docs:rw")), "{denials:?}");
    assert_eq!(denials[0].path, "mounts/docs/new");
    // Between roots nothing is moved or linked.
    for operation in ["rename-to", "link-to"] {
        assert_eq!(world.on(operation, "shared/new"), Err(ErrorCode::CrossDevice), "{operation}");
    }
}

#[test]
fn inner_mounts_stay_where_they_are() {
    let mut world = World::new(true);
    fs::create_dir(world.path("work/empty")).unwrap();
    for path in ["shared", "./shared", "sub/../shared", "shared/", "mounts", "mounts/docs"] {
        for operation in ["rmdir", "rename-from", "unlink"] {
            assert!(world.on(operation, path).is_err(), "{operation} {path}");
        }
        let root = world.root();
        assert_eq!(
            code(world.view().rename_at(dup(&root), "empty".to_owned(), root, path.to_owned()).unwrap_err()),
            ErrorCode::Busy,
            "{path}"
        );
    }
    assert_eq!(world.list("."), ["a.txt", "empty", "mounts", "shared", "sub"]);
    assert_eq!(world.read("shared/s.txt").as_deref(), Ok("shared"));
}

#[test]
fn a_call_writes_and_creates_within_its_quota() {
    let mut world = World::with(true, FileLimits { written_bytes: 10, created_entries: 3 }, None);
    world.write("one", "12345").unwrap();
    assert_eq!(world.write("a.txt", "123456"), Err(ErrorCode::Quota));
    let fd = world.open("one", OpenFlags::empty(), READ | WRITE).unwrap();
    assert_eq!(code(world.view().set_size(dup(&fd), 1 << 40).unwrap_err()), ErrorCode::Quota);
    let stream = world.view().append_via_stream(dup(&fd)).unwrap();
    let output: &mut DynOutputStream = world.table.get_mut(&stream).unwrap();
    output.write(b"12345".to_vec().into()).unwrap();
    let Err(StreamError::LastOperationFailed(error)) = output.write(b"1".to_vec().into()) else { panic!("over the quota") };
    assert_eq!(error.downcast_ref::<std::io::Error>().map(convert::error_code), Some(ErrorCode::Quota));
    assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    world.on("mkdir", "two").unwrap();
    world.on("symlink", "three").unwrap();
    for operation in ["create", "exclusive", "mkdir", "symlink", "link-to"] {
        assert_eq!(world.on(operation, "four"), Err(ErrorCode::Quota), "{operation}");
    }
    // What failed was not charged, and what exists can be opened.
    assert_eq!(world.on("create", "a.txt"), Ok(()));
    assert_eq!((world.files.written_bytes(), world.files.created_entries()), (10, 3));
    assert!(!world.path("work/four").exists());
}

#[test]
fn a_failed_creation_is_not_charged() {
    let mut world = World::new(true);
    assert_eq!(world.on("exclusive", "a.txt"), Err(ErrorCode::Exist));
    assert_eq!(world.on("mkdir", "sub"), Err(ErrorCode::Exist));
    assert_eq!(world.on("create", "nowhere/x"), Err(ErrorCode::NoEntry));
    assert_eq!(world.files.created_entries(), 0);
}

/// A world whose workspace may hold `more` than it does, and its budget with what it holds.
fn bounded(more: u64) -> (World, Arc<Budget>, u64) {
    let world = World::with(true, FileLimits::default(), Some(6 * ENTRY + 9 + more));
    let budget = world.files.preopens[0].1.budget.clone().unwrap();
    // a.txt, sub, sub/b.txt, shared, mounts and mounts/docs; five bytes and four.
    assert_eq!(budget.used_bytes(), 6 * ENTRY + 9);
    (world, budget, 6 * ENTRY + 9)
}

/// What counting it anew gives.
fn measured(world: &World) -> u64 {
    let dir = Dir::open_ambient_dir(world.path("work"), ambient_authority()).unwrap();
    Budget::measure(&dir, 0).unwrap().used_bytes()
}

const ENTRY: u64 = limits::DATA_ENTRY_BYTES;

#[test]
fn a_bounded_directory_counts_what_it_holds() {
    let (mut world, budget, empty) = bounded(2 * ENTRY + 11);
    let step = |world: &mut World, sum: u64, what: &str| {
        // What is open counts without a name, too.
        world.table = ResourceTable::new();
        assert_eq!(budget.used_bytes(), sum, "{what}");
        assert_eq!(measured(world), sum, "{what}, counted anew");
    };
    world.write("new", "12345").unwrap();
    step(&mut world, empty + ENTRY + 5, "a file");
    assert_eq!(world.write("a.txt", &"1".repeat(ENTRY as usize + 12)), Err(ErrorCode::Quota));
    step(&mut world, empty + ENTRY, "cut, and then too long");
    world.write("a.txt", "12345").unwrap();
    // Written over, not grown.
    world.write("new", "54321").unwrap();
    step(&mut world, empty + ENTRY + 5, "written over");
    world.on("rename-to", "new").unwrap();
    step(&mut world, empty, "renamed over another");
    world.on("truncate", "sub/b.txt").unwrap();
    step(&mut world, empty - 4, "cut");
    world.on("link-from", "new").unwrap();
    step(&mut world, empty - 4 + ENTRY, "a second name");
    world.on("unlink", "new").unwrap();
    step(&mut world, empty - 4, "one name less");
    world.on("unlink", "new-link").unwrap();
    step(&mut world, empty - 9 - ENTRY, "the last name");
    world.on("mkdir", "dir").unwrap();
    world.on("symlink", "link").unwrap();
    step(&mut world, empty - 9 + ENTRY, "a directory and a link");
    let root = world.root();
    world.view().rename_at(dup(&root), "dir".to_owned(), root, "sub2".to_owned()).unwrap();
    step(&mut world, empty - 9 + ENTRY, "renamed");
    world.on("mkdir", "dir").unwrap();
    let root = world.root();
    world.view().rename_at(dup(&root), "dir".to_owned(), root, "sub2".to_owned()).unwrap();
    step(&mut world, empty - 9 + ENTRY, "renamed over an empty directory");
    world.on("rmdir", "sub2").unwrap();
    world.on("unlink", "link").unwrap();
    step(&mut world, empty - 9 - ENTRY, "both removed");
}

#[test]
fn a_bounded_directory_has_room_for_so_many_entries() {
    let (mut world, budget, empty) = bounded(3 * ENTRY + 5);
    world.on("create", "one").unwrap();
    world.on("mkdir", "two").unwrap();
    world.on("symlink", "three").unwrap();
    for operation in ["create", "exclusive", "mkdir", "symlink", "link-to"] {
        assert_eq!(world.on(operation, "four"), Err(ErrorCode::Quota), "{operation}");
    }
    let denial = world.files.denials().pop().unwrap();
    assert_eq!((denial.operation, denial.path.as_str()), ("create", "four"));
    assert_eq!(budget.used_bytes(), empty + 3 * ENTRY);
    assert_eq!(world.files.created_entries(), 3, "what was refused is not charged to the call either");
    // A failed creation leaves no charge, and room comes back with what goes.
    for (operation, path) in [("exclusive", "a.txt"), ("mkdir", "sub"), ("symlink", "one")] {
        assert_ne!(world.on(operation, path), Ok(()), "{operation}");
    }
    world.on("unlink", "one").unwrap();
    for (operation, path) in [("exclusive", "a.txt"), ("mkdir", "sub"), ("create", "nowhere/x")] {
        assert!(matches!(world.on(operation, path), Err(ErrorCode::Exist | ErrorCode::NoEntry)), "{operation}");
    }
    world.on("create", "four").unwrap();
    assert_eq!((budget.used_bytes(), measured(&world)), (empty + 3 * ENTRY, empty + 3 * ENTRY));
}

#[test]
fn a_file_without_a_name_counts_until_it_is_closed() {
    let (mut world, budget, empty) = bounded(2 * ENTRY + 100);
    let first = world.open("new", OpenFlags::CREATE, READ | WRITE).unwrap();
    let second = world.open("new", OpenFlags::empty(), READ).unwrap();
    world.view().write(dup(&first), vec![0; 100], 0).unwrap();
    world.on("unlink", "new").unwrap();
    assert_eq!(budget.used_bytes(), empty + 100, "its bytes are still on the disk");
    world.on("create", "other").unwrap();
    let other = world.open("other", OpenFlags::empty(), WRITE).unwrap();
    assert_eq!(code(world.view().write(dup(&other), vec![0; ENTRY as usize + 1], 0).unwrap_err()), ErrorCode::Quota);
    world.view().set_size(dup(&first), 60).unwrap();
    HostDescriptor::drop(&mut world.view(), first).unwrap();
    assert_eq!(budget.used_bytes(), empty + ENTRY + 60, "the other one has it open");
    HostDescriptor::drop(&mut world.view(), second).unwrap();
    assert_eq!(budget.used_bytes(), empty + ENTRY);
    // The same for one that is renamed over, and for what a call leaves open when it ends.
    world.view().write(dup(&other), vec![0; 50], 0).unwrap();
    world.on("rename-to", "other").unwrap();
    assert_eq!(budget.used_bytes(), empty + 50);
    world.table = ResourceTable::new();
    assert_eq!((budget.used_bytes(), measured(&world)), (empty, empty));
}

#[test]
fn a_write_that_fails_gives_its_charge_back() {
    let mut world = World::with(true, FileLimits { written_bytes: u64::MAX, created_entries: 0 }, Some(u64::MAX));
    let budget = world.files.preopens[0].1.budget.clone().unwrap();
    let empty = budget.used_bytes();
    let fd = world.open("a.txt", OpenFlags::empty(), READ | WRITE).unwrap();
    // Within the budgets, and beyond what any file can be.
    assert!(world.view().write(dup(&fd), vec![1; 5], (1 << 63) - 1).is_err());
    assert!(world.view().set_size(dup(&fd), 1 << 63).is_err());
    assert_eq!((budget.used_bytes(), measured(&world)), (empty, empty));
}

#[test]
fn a_bounded_directory_counts_what_several_change_at_once() {
    let (mut world, budget, empty) = bounded(1 << 20);
    let fd = world.open("new", OpenFlags::CREATE, WRITE).unwrap();
    let Node::File(file) = world.table.get(&Resource::<Node>::new_own(fd.rep())).unwrap() else { panic!("a file") };
    let (file, path) = (file.clone(), world.path("work"));
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for _ in 0..5_000 {
                    file.set_size(10).unwrap();
                    file.set_size(0).unwrap();
                }
            });
        }
        // Each call has files of its own over the one directory.
        for name in ["x", "y", "x"] {
            let dir = Arc::new(Dir::open_ambient_dir(&path, ambient_authority()).unwrap());
            let budget = Some(budget.clone());
            let mount = MountPoint { guest: "/data".to_owned(), dir, writable: true, key: KEY.to_owned(), inner: Vec::new(), budget };
            threads.spawn(move || {
                let mut files = Files::new(vec![mount], FileLimits::default());
                let mut table = ResourceTable::new();
                for round in 0..500 {
                    let mut view = FileView { files: &mut files, table: &mut table };
                    let root = view.get_directories().unwrap().remove(0).0;
                    let open = OpenFlags::CREATE | OpenFlags::TRUNCATE;
                    if let Ok(fd) = view.open_at(dup(&root), FOLLOW, name.to_owned(), open, WRITE) {
                        view.write(dup(&fd), vec![0; round % 7], 0).unwrap();
                        let _ = view.unlink_file_at(dup(&root), name.to_owned());
                        HostDescriptor::drop(&mut view, fd).unwrap();
                    }
                    let _ = view.rename_at(dup(&root), "sub/b.txt".to_owned(), dup(&root), "sub/c.txt".to_owned());
                    let _ = view.rename_at(dup(&root), "sub/c.txt".to_owned(), dup(&root), "sub/b.txt".to_owned());
                    HostDescriptor::drop(&mut view, root).unwrap();
                }
            });
        }
    });
    for name in ["x", "y"] {
        let _ = world.on("unlink", name);
    }
    assert_eq!((budget.used_bytes(), measured(&world)), (empty + ENTRY, empty + ENTRY));
}

#[test]
fn a_call_has_only_so_many_files_open() {
    let mut world = World::new(true);
    let root = world.root();
    let mut open = Vec::new();
    while let Ok(fd) = world.open_at(&root, "sub", OpenFlags::DIRECTORY, READ) {
        open.push(fd);
    }
    assert_eq!(open.len(), limits::OPEN_FILES);
    let fd = open.pop().unwrap();
    let listing = world.view().read_directory(dup(&fd)).unwrap();
    HostDescriptor::drop(&mut world.view(), fd).unwrap();
    assert_eq!(world.read("a.txt"), Err(ErrorCode::Quota), "the listing has it open");
    HostDirectoryEntryStream::drop(&mut world.view(), listing).unwrap();
    assert_eq!(world.read("a.txt").as_deref(), Ok("alpha"));
}

#[test]
fn a_file_renamed_over_another_takes_its_mode() {
    let mut world = World::new(true);
    fs::set_permissions(world.path("work/a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write("a.txt.tmp", "new").unwrap();
    let root = world.root();
    world.view().rename_at(dup(&root), "a.txt.tmp".to_owned(), root, "a.txt".to_owned()).unwrap();
    assert_eq!(world.read("a.txt").unwrap(), "new");
    assert_eq!(fs::metadata(world.path("work/a.txt")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn an_existing_hard_link_is_read_and_none_is_made_to_the_outside() {
    let mut world = World::new(true);
    fs::hard_link(world.path("outside/secret"), world.path("work/hard")).unwrap();
    assert_eq!(world.read("hard").unwrap(), "canary");
    assert!(world.on("link-from", "../outside/secret").is_err());
    assert_eq!(fs::metadata(world.path("outside/secret")).unwrap().nlink(), 2);
}

#[test]
fn a_long_listing_is_complete_and_its_identities_are_true() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut world = World::new(true);
    for number in 0..900 {
        fs::write(world.path(&format!("work/sub/a-name-that-fills-the-buffer-{number}")), "").unwrap();
    }
    assert_eq!(world.list("sub").len(), 901);
    fs::write(world.path("work/sub").join(std::ffi::OsStr::from_bytes(b"bad-\xff")), "").unwrap();
    let fd = world.open("sub", OpenFlags::DIRECTORY, READ).unwrap();
    let stream = world.view().read_directory(dup(&fd)).unwrap();
    let (mut names, mut mangled) = (0, 0);
    while let Some(entry) = world.view().read_directory_entry(Resource::new_borrow(stream.rep())).unwrap() {
        let listed = world.view().metadata_hash_at(dup(&fd), PathFlags::empty(), entry.name.clone());
        if entry.name == "bad-\u{fffd}" {
            mangled += 1;
            assert_eq!(code(listed.unwrap_err()), ErrorCode::NoEntry, "it is seen, and cannot be had");
            continue;
        }
        names += 1;
        let listed = listed.unwrap();
        let file = world.open_at(&fd, &entry.name, OpenFlags::empty(), READ).unwrap();
        let opened = world.view().metadata_hash(dup(&file)).unwrap();
        assert_eq!((listed.lower, listed.upper), (opened.lower, opened.upper));
        HostDescriptor::drop(&mut world.view(), file).unwrap();
    }
    assert_eq!((names, mangled), (901, 1));
    HostDirectoryEntryStream::drop(&mut world.view(), stream).unwrap();
}

#[test]
fn a_swapped_directory_never_lets_a_read_only_mount_be_changed() {
    let mut world = World::new(true);
    fs::create_dir(world.path("work/way")).unwrap();
    symlink("mounts/docs", world.path("work/link")).unwrap();
    let work = world.path("work");
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = done.clone();
    let racer = std::thread::spawn(move || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            for (from, to) in [("way", "spare"), ("link", "way"), ("way", "link"), ("spare", "way")] {
                fs::rename(work.join(from), work.join(to)).unwrap();
            }
        }
    });
    let root = world.root();
    let mut kept = true;
    for _ in 0..20_000 {
        if let Ok(fd) = world.open_at(&root, "way/d.txt", OpenFlags::TRUNCATE, WRITE) {
            HostDescriptor::drop(&mut world.view(), fd).unwrap();
        }
        kept &= fs::read_to_string(world.path("docs/d.txt")).unwrap() == "docs";
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    racer.join().unwrap();
    assert!(kept, "a file of a read-only mount was cut");
}

#[test]
fn a_read_only_mount_keeps_its_times() {
    let mut world = World::new(true);
    // The kernel reads `..` after a link otherwise than the spelling says.
    symlink("../shared", world.path("work/sub/away")).unwrap();
    let host = world.host.clone();
    let time = |path: &str| fs::metadata(host.join(path)).map(|found| (found.mtime(), found.mtime_nsec())).unwrap();
    let before = (time("docs"), time("docs/d.txt"));
    let detour = "sub/away/../mounts/docs/d.txt";
    assert!(world.on("set-times", detour).is_err(), "it may lead nowhere, but not there");
    for path in [detour, "mounts/docs", "sub/../mounts/docs", "mounts/docs/.", "mounts/docs/d.txt"] {
        if path != detour {
            assert_eq!(world.on("set-times", path), Err(ErrorCode::ReadOnly), "{path}");
        }
        // Spelled with detours this may mean the stand-in in the workspace; the mount itself keeps its times.
        let _ = world.on("set-times-link", path);
    }
    assert_eq!((time("docs"), time("docs/d.txt")), before);
}

#[test]
fn a_remembered_path_does_not_grow_without_end() {
    let mut world = World::new(true);
    let mut fd = world.root();
    let detour = "../sub/".repeat(200);
    fd = world.open_at(&fd, &format!("sub/{detour}"), OpenFlags::DIRECTORY, READ).unwrap();
    for _ in 0..20 {
        fd = world.open_at(&fd, "./.", OpenFlags::DIRECTORY, READ).unwrap();
    }
    let Node::Directory(directory) = world.table.get(&Resource::<Node>::new_own(fd.rep())).unwrap() else { panic!("a directory") };
    assert_eq!(&*directory.at, "…/sub");
    let deep = world.open_at(&fd, "b.txt", OpenFlags::empty(), READ).unwrap();
    let Node::File(file) = world.table.get(&Resource::<Node>::new_own(deep.rep())).unwrap() else { panic!("a file") };
    assert_eq!(&*file.shown, "…/sub/b.txt");
}

#[test]
fn a_long_path_is_cut_where_a_refusal_is_kept() {
    let mut world = World::new(false);
    let long = format!("{}é.txt", "./".repeat(1000));
    assert_eq!(world.on("create", &long), Err(ErrorCode::ReadOnly));
    let kept = world.files.denials().remove(0).path;
    assert!(kept.len() <= limits::DENIED_PATH_BYTES + "…".len() && kept.ends_with('…'), "{kept}");
}

#[test]
fn a_swapped_component_never_shows_the_outside() {
    let mut world = World::new(true);
    symlink("../outside", world.path("work/evil")).unwrap();
    fs::create_dir(world.path("work/good")).unwrap();
    fs::write(world.path("work/good/secret"), "fine").unwrap();
    let work = world.path("work");
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = done.clone();
    let racer = std::thread::spawn(move || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            for (from, to) in [("good", "spare"), ("evil", "good"), ("good", "evil"), ("spare", "good")] {
                fs::rename(work.join(from), work.join(to)).unwrap();
            }
        }
    });
    let root = world.root();
    let (mut fine, mut refused) = (0, 0);
    for _ in 0..20_000 {
        match world.open_at(&root, "good/secret", OpenFlags::empty(), READ) {
            Ok(fd) => {
                assert_eq!(world.contents(&fd).as_deref(), Ok("fine"));
                HostDescriptor::drop(&mut world.view(), fd).unwrap();
                fine += 1;
            }
            Err(_) => refused += 1,
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    racer.join().unwrap();
    assert!(fine > 0 && refused > 0, "{fine} read, {refused} refused");
}
