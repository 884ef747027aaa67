//! Promises of `apply_patch`.

use proptest::prelude::*;
use stellaclaw_sdk::ErrorKind;
use stellaclaw_sdk::serde_json::{Value, json};

mod diffs;
mod git;

use super::*;
use crate::files::fixture::{Fixture, value};

fn patch(fixture: &Fixture, body: &str) -> Result<Value> {
    run(fixture, body, false)
}

fn run(fixture: &Fixture, body: &str, check: bool) -> Result<Value> {
    let tool = ApplyPatch { patch: format!("*** Begin Patch\n{body}\n*** End Patch\n"), check };
    tool.run(&fixture.files).map(|output| value(&output))
}

const ALL: &str = "*** Add File: new/n.txt\n+hello\n*** Delete File: gone.txt\n*** Update File: a.txt\n@@\n-one\n+1\n\
                   *** Update File: m.txt\n*** Move to: to/m2.txt\n@@\n-old\n+new";

fn files() -> Fixture {
    Fixture::new(&[("gone.txt", "x\n"), ("a.txt", "one\ntwo\n"), ("m.txt", "old\n")])
}

#[test]
fn add_delete_update_and_move() {
    let fixture = files();
    let answer = patch(&fixture, ALL).unwrap();
    let expected = json!({"applied": true, "files": [
        {"path": "new/n.txt", "action": "add"},
        {"path": "gone.txt", "action": "delete"},
        {"path": "a.txt", "action": "update"},
        {"path": "to/m2.txt", "action": "move", "from": "m.txt"},
    ]});
    assert_eq!(answer, expected);
    assert_eq!(
        (fixture.get("new/n.txt"), fixture.get("a.txt"), fixture.get("to/m2.txt")),
        ("hello\n".into(), "1\ntwo\n".into(), "new\n".into())
    );
    assert_eq!(fixture.snapshot().len(), 3, "nothing else is left");
}

#[test]
fn a_check_changes_nothing() {
    let fixture = files();
    let before = fixture.snapshot();
    let answer = run(&fixture, ALL, true).unwrap();
    assert_eq!((&answer["applied"], answer["files"].as_array().unwrap().len()), (&json!(false), 4));
    assert_eq!(fixture.snapshot(), before);
    assert!(run(&fixture, "*** Delete File: nothing", true).is_err());
}

#[test]
fn a_patch_that_does_not_fit_names_file_and_hunk_and_changes_nothing() {
    let fixture = files();
    let before = fixture.snapshot();
    for (body, kind, part) in [
        ("*** Update File: a.txt\n@@\n-one\n+1\n@@\n-three\n+3", ErrorKind::Conflict, "a.txt, hunk 2 of 2"),
        ("*** Update File: nothing\n@@\n-x", ErrorKind::NotFound, "there is no nothing to update"),
        ("*** Delete File: nothing", ErrorKind::NotFound, "there is no nothing to delete"),
        ("*** Delete File: a.txt/x", ErrorKind::NotFound, "there is no a.txt/x"),
        ("*** Add File: a.txt/b\n+x", ErrorKind::Invalid, "a.txt is a file"),
        ("*** Add File: n\n+x\n*** Add File: n/m\n+x", ErrorKind::Invalid, "n is a file"),
        ("*** Add File: n/m\n+x\n*** Add File: n\n+x", ErrorKind::Invalid, "also makes files below"),
        ("*** Delete File: a.txt\n*** Update File: a.txt\n@@\n-one", ErrorKind::NotFound, "there is no a.txt to update"),
    ] {
        let error = patch(&fixture, &format!("*** Add File: first\n+x\n*** Delete File: gone.txt\n{body}")).unwrap_err();
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.contains(part), "{}", error.message);
        assert_eq!(fixture.snapshot(), before, "{body}");
    }
    std::fs::create_dir(fixture.at("dir")).unwrap();
    for body in
        ["*** Delete File: dir", "*** Add File: dir\n+x", "*** Update File: dir\n@@\n-x", "*** Update File: a.txt\n*** Move to: dir"]
    {
        assert!(patch(&fixture, body).unwrap_err().message.contains("dir is a directory"), "{body}");
    }
    fixture.put("binary", b"a\xff");
    assert!(patch(&fixture, "*** Update File: binary\n@@\n-a").unwrap_err().message.contains("not UTF-8"));
}

#[test]
fn later_sections_see_what_earlier_ones_did() {
    let fixture = files();
    let body = "*** Update File: a.txt\n@@\n-one\n+1\n*** Update File: a.txt\n@@\n 1\n-two\n+2\n*** Delete File: m.txt\n\
                *** Add File: m.txt\n+fresh\n*** Add File: t\n+t\n*** Update File: t\n*** Move to: u\n@@\n-t\n+u";
    let answer = patch(&fixture, body).unwrap();
    assert_eq!((fixture.get("a.txt"), fixture.get("m.txt"), fixture.get("u")), ("1\n2\n".into(), "fresh\n".into(), "u\n".into()));
    assert!(!fixture.at("t").exists());
    assert_eq!(answer["files"][3], json!({"path": "m.txt", "action": "add"}));
}

#[test]
fn files_can_change_places() {
    let fixture = Fixture::new(&[("a", "a\n"), ("b", "b\n"), ("c", "c\n")]);
    patch(&fixture, "*** Update File: a\n*** Move to: t\n*** Update File: b\n*** Move to: a\n*** Update File: t\n*** Move to: b").unwrap();
    assert_eq!((fixture.get("a"), fixture.get("b")), ("b\n".into(), "a\n".into()));
    assert_eq!(fixture.snapshot().len(), 3);
    let answer = patch(&fixture, "*** Update File: a\n*** Move to: c\n*** Add File: b\n+new").unwrap();
    assert_eq!(answer["files"][0], json!({"path": "c", "action": "move", "from": "a", "replaced": true}));
    assert_eq!(answer["files"][1], json!({"path": "b", "action": "add", "replaced": true}));
    assert_eq!((fixture.get("c"), fixture.get("b")), ("b\n".into(), "new\n".into()));
}

#[test]
fn line_endings_and_byte_order_marks_stay() {
    let fixture = Fixture::new(&[("a", "\u{feff}one\r\ntwo\r\n")]);
    patch(&fixture, "*** Update File: a\n@@\n one\n+and a half\n two").unwrap();
    assert_eq!(fixture.get("a"), "\u{feff}one\r\nand a half\r\ntwo\r\n");
}

#[cfg(unix)]
#[test]
fn modes_stay_and_go_along_and_links_stay_links() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let fixture = files();
    let mode = |path: &str| std::fs::metadata(fixture.at(path)).unwrap().permissions().mode() & 0o777;
    for path in ["a.txt", "m.txt"] {
        std::fs::set_permissions(fixture.at(path), std::fs::Permissions::from_mode(0o751)).unwrap();
    }
    symlink("a.txt", fixture.at("link")).unwrap();
    patch(&fixture, "*** Update File: link\n@@\n-one\n+1\n*** Update File: m.txt\n*** Move to: d/m\n@@\n-old\n+new").unwrap();
    assert_eq!((mode("a.txt"), mode("d/m")), (0o751, 0o751));
    assert!(fixture.at("link").is_symlink());
    assert_eq!(fixture.get("a.txt"), "1\ntwo\n");
    patch(&fixture, "*** Delete File: link").unwrap();
    assert!(!fixture.at("link").is_symlink() && fixture.at("a.txt").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any text, most of it no patch: either everything it says is done, or nothing is.
    #[test]
    fn a_refused_patch_never_changes_a_file(sections in prop::collection::vec(
        prop::sample::select(vec![
            "*** Add File: b/new\n+x", "*** Add File: a.txt/x\n+x", "*** Delete File: gone.txt", "*** Delete File: nothing",
            "*** Update File: a.txt\n@@\n-one\n+1", "*** Update File: a.txt\n@@\n-two\n+2", "*** Update File: a.txt\n@@\n-none\n+1",
            "*** Update File: m.txt\n*** Move to: c/m\n@@\n-old\n+new", "*** Update File: m.txt\n@@", "garbage", "*** Delete File: ../x",
        ]), 1..6), check in any::<bool>()) {
        let fixture = files();
        let before = fixture.snapshot();
        let result = run(&fixture, &sections.join("\n"), check);
        if check || result.is_err() {
            prop_assert_eq!(fixture.snapshot(), before);
        } else {
            prop_assert_ne!(fixture.snapshot(), before);
            prop_assert!(fixture.snapshot().keys().all(|path| !path.to_string_lossy().ends_with(".tmp")));
        }
    }
}
