//! Promises of `file_read`.

use stellaclaw_sdk::serde_json::{Value, json};

use super::*;
use crate::files::fixture::{Fixture, value};

fn read(fixture: &Fixture, arguments: Value) -> Result<Value> {
    let tool: FileRead = stellaclaw_sdk::serde_json::from_value(arguments).unwrap();
    tool.run(&fixture.files).map(|output| value(&output))
}

fn numbered(count: usize) -> String {
    (1..=count).map(|number| format!("line {number}\n")).collect()
}

#[test]
fn a_file_comes_with_line_numbers() {
    let fixture = Fixture::new(&[("a/b.txt", "one\n\nthree")]);
    let answer = read(&fixture, json!({"file_path": "/workspace/a/b.txt"})).unwrap();
    assert_eq!(
        answer,
        json!({"file_path": "a/b.txt", "start_line": 1, "end_line": 3, "total_lines": 3, "content": "1: one\n2: \n3: three"})
    );
}

#[test]
fn a_window_says_that_there_is_more() {
    let fixture = Fixture::new(&[("a", &numbered(10))]);
    let answer = read(&fixture, json!({"file_path": "a", "offset": 4, "limit": 2})).unwrap();
    assert_eq!(answer["content"], "4: line 4\n5: line 5");
    assert_eq!((&answer["start_line"], &answer["end_line"], &answer["total_lines"]), (&json!(4), &json!(5), &json!(10)));
    assert_eq!((&answer["truncated"], &answer["truncated_by_lines"]), (&json!(true), &json!(true)));
    assert_eq!(answer.get("truncated_by_bytes"), None);
    let answer = read(&fixture, json!({"path": "a", "start_line": 9, "end_line": 10})).unwrap();
    assert_eq!(answer["content"], "9: line 9\n10: line 10");
    assert_eq!(answer.get("truncated"), None);
}

#[test]
fn offset_zero_counts_from_zero() {
    let fixture = Fixture::new(&[("a", "x\ny\n")]);
    let answer = read(&fixture, json!({"file_path": "a", "offset": 0, "limit": 2})).unwrap();
    assert_eq!(answer["content"], "0: x\n1: y");
    assert_eq!((&answer["start_line"], &answer["end_line"], &answer["total_lines"]), (&json!(0), &json!(1), &json!(2)));
}

#[test]
fn two_thousand_lines_unless_told() {
    let fixture = Fixture::new(&[("a", &numbered(2001))]);
    let answer = read(&fixture, json!({"file_path": "a"})).unwrap();
    assert_eq!((&answer["end_line"], &answer["total_lines"], &answer["truncated_by_lines"]), (&json!(2000), &json!(2001), &json!(true)));
}

#[test]
fn long_lines_are_cut() {
    let fixture = Fixture::new(&[("a", &format!("{}\n{}\n", "é".repeat(2000), "é".repeat(70_000)))]);
    let answer = read(&fixture, json!({"file_path": "a"})).unwrap();
    assert_eq!(answer["content"], format!("1: {0}\n2: {0}...", "é".repeat(2000)));
    assert_eq!(answer["truncated_long_lines"], true);
}

#[test]
fn a_large_file_needs_a_window_and_is_streamed() {
    let fixture = Fixture::new(&[("a", &"0123456789abcde\n".repeat(20_000))]);
    let error = read(&fixture, json!({"file_path": "a"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(error.message.contains("`offset` and `limit`"), "{}", error.message);
    let answer = read(&fixture, json!({"file_path": "a", "offset": 19_999})).unwrap();
    assert_eq!(answer["content"], "19999: 0123456789abcde\n20000: 0123456789abcde");
    let answer = read(&fixture, json!({"file_path": "a", "limit": 20_000})).unwrap();
    assert_eq!(answer["truncated_by_bytes"], true);
    assert!(answer["content"].as_str().unwrap().len() <= MAX_CONTENT_BYTES);
    assert_eq!(answer["total_lines"], 20_000);
}

#[test]
fn carriage_returns_and_byte_order_marks_are_not_shown() {
    let fixture = Fixture::new(&[("a", "\u{feff}one\r\ntwo\r\n")]);
    assert_eq!(read(&fixture, json!({"file_path": "a"})).unwrap()["content"], "1: one\n2: two");
}

#[test]
fn an_empty_file_has_no_lines() {
    let fixture = Fixture::new(&[("a", "")]);
    let answer = read(&fixture, json!({"file_path": "a"})).unwrap();
    assert_eq!((&answer["content"], &answer["total_lines"], &answer["end_line"]), (&json!(""), &json!(0), &json!(0)));
}

#[test]
fn errors_say_what_would_help() {
    let fixture = Fixture::new(&[("d/a", "x\n")]);
    fixture.put("binary", b"abc\xff\xfe");
    let message = |arguments| {
        let error = read(&fixture, arguments).unwrap_err();
        (error.kind, error.message)
    };
    let (kind, text) = message(json!({"file_path": "d"}));
    assert!(kind == ErrorKind::Invalid && text.contains("directory"), "{text}");
    let (kind, text) = message(json!({"file_path": "nothing"}));
    assert!(kind == ErrorKind::NotFound && text.contains("nothing"), "{text}");
    let (kind, text) = message(json!({"file_path": "binary"}));
    assert!(kind == ErrorKind::Invalid && text.contains("not UTF-8 text (byte 3)"), "{text}");
    let (kind, text) = message(json!({"file_path": "d/a", "offset": 9}));
    assert!(kind == ErrorKind::Invalid && text.contains("has 1 lines"), "{text}");
    let (kind, text) = message(json!({"file_path": "d/a", "encoding": "latin1"}));
    assert!(kind == ErrorKind::Invalid && text.contains("utf-8"), "{text}");
    let (kind, text) = message(json!({"file_path": "../x"}));
    assert!(kind == ErrorKind::Invalid && text.contains("outside the workspace"), "{text}");
    assert_eq!(message(json!({"file_path": "d/a", "limit": 0})).0, ErrorKind::Invalid);
    assert_eq!(message(json!({"file_path": "d/a", "limit": 1, "end_line": 1})).0, ErrorKind::Invalid);
    assert_eq!(message(json!({})).0, ErrorKind::Invalid);
}

#[test]
fn mounts_beside_the_workspace_are_read_by_their_path() {
    let fixture = Fixture::new(&[]);
    std::fs::create_dir(fixture.outer().join("skill")).unwrap();
    std::fs::write(fixture.outer().join("skill/SKILL.md"), "hello\n").unwrap();
    let answer = read(&fixture, json!({"file_path": "/skill/SKILL.md"})).unwrap();
    assert_eq!((&answer["file_path"], &answer["content"]), (&json!("/skill/SKILL.md"), &json!("1: hello")));
}
