//! Files that an answer names.

use std::io::Read as _;

use super::*;

#[test]
fn an_answer_names_files_as_its_guest_does_and_none_outside() {
    let world = World::new(false);
    symlink(world.path("outside/secret"), world.path("work/link")).unwrap();
    symlink("a.txt", world.path("work/inside")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, world.path("work/pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let read = |path: &str| {
        let mut text = String::new();
        world.files.named(path).and_then(|mut file| file.read_to_string(&mut text)).map(|_| text).map_err(|error| error.kind())
    };
    for path in ["a.txt", "./a.txt", "sub/../a.txt", "/workspace/a.txt", "/workspace//a.txt", "inside"] {
        assert_eq!(read(path).as_deref(), Ok("alpha"), "{path}");
    }
    for (path, text) in [("shared/s.txt", "shared"), ("/workspace/shared/s.txt", "shared"), ("mounts/docs/d.txt", "docs")] {
        assert_eq!(read(path).as_deref(), Ok(text), "{path}");
    }
    let outside = world.path("outside/secret");
    let others = [
        "../outside/secret",
        "/workspace/../outside/secret",
        "shared/../../outside/secret",
        outside.to_str().unwrap(),
        "/workspacea.txt",
        "/data/x",
        "link",
        "pipe",
        "sub",
        ".",
        "",
        "/",
        "/workspace",
        "a.txt/",
        "a\0b",
    ];
    for path in others {
        assert!(read(path).is_err(), "{path:?}: {:?}", read(path));
    }
}
