//! Where paths lead, and what can be opened.

use super::*;

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
fn an_existing_hard_link_is_read_and_none_is_made_to_the_outside() {
    let mut world = World::new(true);
    fs::hard_link(world.path("outside/secret"), world.path("work/hard")).unwrap();
    assert_eq!(world.read("hard").unwrap(), "canary");
    assert!(world.on("link-from", "../outside/secret").is_err());
    assert_eq!(fs::metadata(world.path("outside/secret")).unwrap().nlink(), 2);
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
