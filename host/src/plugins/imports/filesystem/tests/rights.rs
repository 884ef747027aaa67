//! What may be changed, and what stays as it is.

use super::*;

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
