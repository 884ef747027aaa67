//! Files and directories as a guest reads and writes them.

use super::*;

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
