//! What a call writes, creates and opens, and what a directory holds.

use super::*;

const ENTRY: u64 = limits::DATA_ENTRY_BYTES;

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
