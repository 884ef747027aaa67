//! Promises of `grep`.

use stellaclaw_sdk::ErrorKind;
use stellaclaw_sdk::serde_json::{Value, json};

use super::*;
use crate::files::fixture::{Fixture, value};

fn grep(fixture: &Fixture, arguments: Value) -> Result<Value> {
    let tool: Grep = stellaclaw_sdk::serde_json::from_value(arguments).unwrap();
    tool.run(&fixture.files).map(|output| value(&output))
}

fn names(fixture: &Fixture, arguments: Value) -> Vec<String> {
    let answer = grep(fixture, arguments).unwrap();
    let mut names: Vec<String> = answer["filenames"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn lines(fixture: &Fixture, pattern: &str) -> Vec<u64> {
    let answer = grep(fixture, json!({"pattern": pattern, "names_only": false})).unwrap();
    answer["matches"].as_array().unwrap().iter().map(|found| found["line"].as_u64().unwrap()).collect()
}

#[test]
fn names_of_files_that_match() {
    let fixture = Fixture::new(&[("a.txt", "x needle\n"), ("d/b.txt", "needle"), ("c.txt", "nothing\n")]);
    let answer = grep(&fixture, json!({"pattern": "needle", "path": "d"})).unwrap();
    assert_eq!(answer, json!({"pattern": "needle", "path": "d", "num_files": 1, "filenames": ["d/b.txt"]}));
    assert_eq!(names(&fixture, json!({"pattern": "needle", "path": ""})), ["a.txt", "d/b.txt"]);
    assert_eq!(names(&fixture, json!({"pattern": "needle", "path": "a.txt"})), ["a.txt"]);
}

#[test]
fn lines_with_column_and_context() {
    let fixture = Fixture::new(&[("a.txt", "one\r\ntwo\r\né needle needle\r\nfour\r\nneedle")]);
    let answer = grep(&fixture, json!({"pattern": "needle", "names_only": false, "context_lines": 2})).unwrap();
    assert_eq!((&answer["num_files"], &answer["num_matches"]), (&json!(1), &json!(2)));
    let expected = json!([
        {"file": "a.txt", "line": 3, "column": 3, "text": "é needle needle", "before": ["one", "two"], "after": ["four", "needle"]},
        {"file": "a.txt", "line": 5, "column": 1, "text": "needle", "before": ["é needle needle", "four"]},
    ]);
    assert_eq!(answer["matches"], expected);
    assert_eq!(answer.get("filenames"), None);
    assert_eq!(answer.get("truncated"), None);
    let answer = grep(&fixture, json!({"pattern": "four", "context_lines": 1})).unwrap();
    assert_eq!(answer["num_matches"], 1, "context asks for lines");
}

#[test]
fn every_line_counts_alone() {
    let fixture = Fixture::new(&[("a", "foo\nbar\n\nfoo bar\nxbar\n")]);
    assert_eq!(lines(&fixture, r"foo\s+bar"), [4]);
    assert_eq!(lines(&fixture, "[^x]+bar"), [4]);
    assert_eq!(lines(&fixture, "^bar$"), [2]);
    assert_eq!(lines(&fixture, "^$"), [3]);
    assert_eq!(lines(&fixture, "z*"), [1, 2, 3, 4, 5]);
    assert_eq!(lines(&fixture, r"\n"), [0; 0]);
    assert_eq!(lines(&fixture, "(?i)FOO"), [1, 4]);
}

#[test]
fn line_ends_are_found_in_crlf_files() {
    let fixture = Fixture::new(&[("a", "foo\r\n\r\nbar foo\r\n")]);
    assert_eq!(lines(&fixture, "foo$"), [1, 3]);
    assert_eq!(lines(&fixture, "^$"), [2]);
}

#[test]
fn the_limits_say_that_there_is_more() {
    let fixture = Fixture::new(&[("a", "x\nx\nx\n"), ("b", "x\nx\n")]);
    let find = |arguments: Value| {
        let answer = grep(&fixture, arguments).unwrap();
        (answer["num_files"].as_u64().unwrap(), answer["num_matches"].as_u64().unwrap(), answer.get("truncated").is_some())
    };
    assert_eq!(find(json!({"pattern": "x", "names_only": false})), (2, 5, false));
    assert_eq!(find(json!({"pattern": "x", "names_only": false, "max_matches_per_file": 1})), (2, 2, true));
    assert_eq!(find(json!({"pattern": "x", "names_only": false, "total_max_matches": 4})), (2, 4, true));
    assert_eq!(find(json!({"pattern": "x", "names_only": false, "total_max_matches": 3})), (1, 3, true));
    assert_eq!(find(json!({"pattern": "x", "names_only": false, "total_max_matches": 5})), (2, 5, false));
}

#[test]
fn include_and_exclude_are_globs_on_the_path() {
    let fixture = Fixture::new(&[("a.rs", "x"), ("src/b.rs", "x"), ("src/gen/c.rs", "x"), ("src/d.txt", "x"), (".ci/e.rs", "x")]);
    assert_eq!(names(&fixture, json!({"pattern": "x", "include": "*.rs"})), ["a.rs", "src/b.rs", "src/gen/c.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "x", "include": "src/*.rs"})), ["src/b.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "x", "include": "*.rs", "exclude": "gen"})), ["a.rs", "src/b.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "x", "path": "src", "include": "gen/**"})), ["src/gen/c.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "x", "path": "src", "include": "src/*.rs"})), ["src/b.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "x", "include": ".ci/*"})), [".ci/e.rs"]);
}

#[test]
fn ignored_hidden_binary_and_linked_files_are_passed_over() {
    let fixture = Fixture::new(&[(".gitignore", "out/\n"), ("out/a", "x"), (".env", "x"), ("shared/s", "x"), ("b", "x")]);
    fixture.put("nul", b"x\0x");
    fixture.put("latin1", b"x \xe9");
    std::fs::write(fixture.outer().join("secret"), "x").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", fixture.at("link")).unwrap();
    assert_eq!(names(&fixture, json!({"pattern": "x"})), ["b", "shared/s"]);
}

#[test]
fn files_that_are_too_large_are_named() {
    let fixture = Fixture::new(&[("b", "x")]);
    std::fs::File::create(fixture.at("huge")).unwrap();
    let line = "y".repeat(1023) + "\n";
    fixture.put("huge", line.repeat(16 * 1024) + "x");
    fixture.put("large", line.repeat(16 * 1024 - 1) + "x");
    let answer = grep(&fixture, json!({"pattern": "x"})).unwrap();
    assert_eq!((&answer["num_files"], &answer["skipped_too_large"]), (&json!(2), &json!(["huge"])));
}

#[test]
fn long_lines_are_cut_around_the_match() {
    let fixture = Fixture::new(&[("a", &format!("{}needle{}", "é".repeat(3000), "é".repeat(3000)))]);
    let answer = grep(&fixture, json!({"pattern": "needle", "names_only": false})).unwrap();
    let text = answer["matches"][0]["text"].as_str().unwrap();
    assert!(text.len() < 1100 && text.contains("needle") && text.starts_with('…') && text.ends_with('…'), "{text}");
    assert_eq!(answer["matches"][0]["column"], 3001);
}

#[test]
fn an_answer_has_a_size() {
    let fixture = Fixture::new(&[("a", &format!("{}\n", "x".repeat(900)).repeat(500))]);
    let answer = grep(&fixture, json!({"pattern": "x", "names_only": false, "total_max_matches": 500})).unwrap();
    assert!(answer["num_matches"].as_u64().unwrap() < 120);
    assert_eq!(answer["truncated"], true);
}

#[test]
fn errors_name_the_argument() {
    let fixture = Fixture::new(&[]);
    for (arguments, part) in [
        (json!({"pattern": "a("}), "`pattern`"),
        (json!({"pattern": "a", "context_lines": 11}), "`context_lines`"),
        (json!({"pattern": "a", "total_max_matches": 0}), "`total_max_matches`"),
        (json!({"pattern": "a", "include": "["}), "`include`"),
        (json!({"pattern": "a", "path": "../x"}), "outside the workspace"),
    ] {
        let error = grep(&fixture, arguments).unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.message.contains(part), "{}", error.message);
    }
    assert_eq!(grep(&fixture, json!({"pattern": "a", "path": "nothing"})).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_file_of_several_chunks_is_searched_whole() {
    let fixture = Fixture::new(&[]);
    for size in [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 300_000] {
        fixture.put("a", "y\n".repeat(size / 2) + "needle\n");
        assert_eq!(lines(&fixture, "needle"), [size as u64 / 2 + 1]);
    }
}
