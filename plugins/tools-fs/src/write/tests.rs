//! Promises of `file_write` and of the atomic replacement.

use stellaclaw_sdk::ErrorKind;
use stellaclaw_sdk::serde_json::{Value, json};

use super::*;
use crate::files::fixture::{Fixture, value};

fn write(fixture: &Fixture, arguments: Value) -> Result<Value> {
    let tool: FileWrite = stellaclaw_sdk::serde_json::from_value(arguments).unwrap();
    tool.run(&fixture.files).map(|output| value(&output))
}

#[test]
fn a_file_is_written_with_its_directories() {
    let fixture = Fixture::new(&[]);
    let answer = write(&fixture, json!({"file_path": "a/b/c.txt", "content": "é\n"})).unwrap();
    assert_eq!(answer, json!({"file_path": "a/b/c.txt", "mode": "overwrite", "bytes_written": 3}));
    assert_eq!(fixture.get("a/b/c.txt"), "é\n");
    assert_eq!(fixture.snapshot().len(), 1, "no temporary file is left");
}

#[test]
fn overwrite_replaces_and_append_adds() {
    let fixture = Fixture::new(&[("a", "one\n")]);
    let answer = write(&fixture, json!({"path": "a", "content": "two\n", "mode": "append"})).unwrap();
    assert_eq!((&answer["mode"], &answer["bytes_written"]), (&json!("append"), &json!(4)));
    assert_eq!(fixture.get("a"), "one\ntwo\n");
    write(&fixture, json!({"file_path": "a", "content": "new"})).unwrap();
    assert_eq!(fixture.get("a"), "new");
    write(&fixture, json!({"file_path": "made", "content": "x", "mode": "append"})).unwrap();
    assert_eq!(fixture.get("made"), "x");
}

#[cfg(unix)]
#[test]
fn the_mode_is_kept_and_links_stay_links() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let fixture = Fixture::new(&[("dir/run.sh", "old")]);
    std::fs::set_permissions(fixture.at("dir/run.sh"), std::fs::Permissions::from_mode(0o750)).unwrap();
    symlink("dir/run.sh", fixture.at("link")).unwrap();
    write(&fixture, json!({"file_path": "link", "content": "new"})).unwrap();
    assert_eq!(fixture.get("dir/run.sh"), "new");
    assert!(fixture.at("link").is_symlink());
    assert_eq!(std::fs::metadata(fixture.at("dir/run.sh")).unwrap().permissions().mode() & 0o777, 0o750);
}

#[cfg(unix)]
#[test]
fn links_out_and_in_circles_are_refused() {
    use std::os::unix::fs::symlink;
    let fixture = Fixture::new(&[]);
    std::fs::write(fixture.outer().join("secret"), "s").unwrap();
    symlink("../secret", fixture.at("out")).unwrap();
    symlink("/etc/passwd", fixture.at("absolute")).unwrap();
    symlink("circle", fixture.at("circle")).unwrap();
    for path in ["out", "absolute", "circle"] {
        let error = write(&fixture, json!({"file_path": path, "content": "x"})).unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.message.contains("link"), "{}", error.message);
    }
    assert_eq!(std::fs::read_to_string(fixture.outer().join("secret")).unwrap(), "s");
}

#[test]
fn what_cannot_be_written_is_named() {
    let fixture = Fixture::new(&[("d/a", "x")]);
    let before = fixture.snapshot();
    let error = write(&fixture, json!({"file_path": "d", "content": "x"})).unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("d is a directory"), "{}", error.message);
    let error = write(&fixture, json!({"file_path": "d/a/b", "content": "x"})).unwrap_err();
    assert!(error.message.contains("d/a"), "{}", error.message);
    assert!(write(&fixture, json!({"file_path": ".", "content": "x"})).is_err());
    assert!(write(&fixture, json!({"file_path": "/etc/x", "content": "x"})).is_err());
    assert_eq!(fixture.snapshot(), before);
}

#[test]
fn long_names_have_room_for_the_temporary_one() {
    let fixture = Fixture::new(&[]);
    let name = "n".repeat(255);
    write(&fixture, json!({"file_path": name, "content": "x"})).unwrap();
    assert_eq!(fixture.get(&name), "x");
}
