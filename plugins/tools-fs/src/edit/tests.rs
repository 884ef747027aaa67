//! Promises of `edit`.

use stellaclaw_sdk::serde_json::{Value, json};

use super::*;
use crate::files::fixture::{Fixture, value};

fn edit(fixture: &Fixture, arguments: Value) -> Result<Value> {
    let tool: Edit = stellaclaw_sdk::serde_json::from_value(arguments).unwrap();
    tool.run(&fixture.files).map(|output| value(&output))
}

#[test]
fn one_place_is_replaced() {
    let fixture = Fixture::new(&[("a", "one two three\n")]);
    let answer = edit(&fixture, json!({"path": "a", "old_text": "two", "new_text": "2"})).unwrap();
    assert_eq!(answer, json!({"path": "a", "created": false, "replacements": 1, "bytes_written": 12}));
    assert_eq!(fixture.get("a"), "one 2 three\n");
}

#[test]
fn several_places_need_replace_all() {
    let fixture = Fixture::new(&[("a", "x\ny\nx\n")]);
    let error = edit(&fixture, json!({"path": "a", "old_text": "x", "new_text": "z"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains("2 times (lines 1, 3)") && error.message.contains("replace_all"), "{}", error.message);
    assert_eq!(fixture.get("a"), "x\ny\nx\n");
    let answer = edit(&fixture, json!({"file_path": "a", "old_text": "x", "new_text": "z", "replace_all": true})).unwrap();
    assert_eq!(answer["replacements"], 2);
    assert_eq!(fixture.get("a"), "z\ny\nz\n");
}

#[test]
fn text_that_is_not_there_is_an_error_with_a_hint() {
    let fixture = Fixture::new(&[("a", "fn x() {\n    y();\n}\n")]);
    let error = edit(&fixture, json!({"path": "a", "old_text": "fn x() {\n  y();", "new_text": "z"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.message.contains("other white space or punctuation are at line 1"), "{}", error.message);
    let error = edit(&fixture, json!({"path": "a", "old_text": "nowhere", "new_text": "z"})).unwrap_err();
    assert!(error.message.contains("read the file again"), "{}", error.message);
    for (old, new) in [("", "z"), ("y", "y")] {
        assert_eq!(edit(&fixture, json!({"path": "a", "old_text": old, "new_text": new})).unwrap_err().kind, ErrorKind::Invalid);
    }
}

#[test]
fn a_missing_file_is_made_only_when_asked() {
    let fixture = Fixture::new(&[]);
    let error = edit(&fixture, json!({"path": "d/a", "old_text": "", "new_text": "z"})).unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.message.contains("create_if_missing"), "{}", error.message);
    let answer = edit(&fixture, json!({"path": "d/a", "old_text": "", "new_text": "z", "create_if_missing": true})).unwrap();
    assert_eq!(answer, json!({"path": "d/a", "created": true, "replacements": 0, "bytes_written": 1}));
    assert_eq!(fixture.get("d/a"), "z");
}

#[test]
fn carriage_returns_are_kept() {
    let fixture = Fixture::new(&[("a", "one\r\ntwo\r\nthree\r\n")]);
    edit(&fixture, json!({"path": "a", "old_text": "one\ntwo", "new_text": "1\n2\n2b"})).unwrap();
    assert_eq!(fixture.get("a"), "1\r\n2\r\n2b\r\nthree\r\n");
}

#[test]
fn what_is_no_text_is_not_changed() {
    let fixture = Fixture::new(&[("d/x", "")]);
    fixture.put("binary", b"a\xff");
    assert!(edit(&fixture, json!({"path": "binary", "old_text": "a", "new_text": "b"})).unwrap_err().message.contains("UTF-8"));
    assert!(edit(&fixture, json!({"path": "d", "old_text": "a", "new_text": "b"})).unwrap_err().message.contains("directory"));
}
