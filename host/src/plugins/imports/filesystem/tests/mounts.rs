//! Directories that stand in the workspace, and its two names.

use super::*;

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
