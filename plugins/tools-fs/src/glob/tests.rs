//! Promises of `glob`.

use std::time::{Duration, SystemTime};

use stellaclaw_sdk::ErrorKind;
use stellaclaw_sdk::serde_json::{Value, json};

use super::*;
use crate::files::fixture::{Fixture, value};

fn glob(fixture: &Fixture, arguments: Value) -> Result<Value> {
    let tool: Glob = stellaclaw_sdk::serde_json::from_value(arguments).unwrap();
    tool.run(&fixture.files).map(|output| value(&output))
}

fn names(fixture: &Fixture, arguments: Value) -> Vec<String> {
    let answer = glob(fixture, arguments).unwrap();
    let mut names: Vec<String> = answer["filenames"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_newest_come_first_and_ties_by_path() {
    let fixture = Fixture::new(&[("old.rs", ""), ("b.rs", ""), ("src/a.rs", ""), ("x.txt", "")]);
    let now = SystemTime::now();
    for (path, age) in [("old.rs", 100), ("b.rs", 5), ("src/a.rs", 5)] {
        std::fs::File::options().write(true).open(fixture.at(path)).unwrap().set_modified(now - Duration::from_secs(age)).unwrap();
    }
    let answer = glob(&fixture, json!({"pattern": "*.rs"})).unwrap();
    assert_eq!(answer, json!({"pattern": "*.rs", "path": ".", "num_files": 3, "filenames": ["b.rs", "src/a.rs", "old.rs"]}));
}

#[test]
fn a_hundred_names_and_the_true_number() {
    let fixture = Fixture::new(&[]);
    (0..120).for_each(|number| fixture.put(&format!("{number}.txt"), ""));
    let answer = glob(&fixture, json!({"pattern": "*.txt"})).unwrap();
    assert_eq!((&answer["num_files"], &answer["truncated"]), (&json!(120), &json!(true)));
    assert_eq!(answer["filenames"].as_array().unwrap().len(), 100);
}

#[test]
fn patterns_are_relative_to_the_base() {
    let fixture = Fixture::new(&[("src/a.rs", ""), ("src/deep/b.rs", ""), ("c.rs", "")]);
    assert_eq!(names(&fixture, json!({"pattern": "src/*.rs"})), ["src/a.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "src/**/*.rs"})), ["src/a.rs", "src/deep/b.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "deep/*", "path": "src"})), ["src/deep/b.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "/workspace/src/*.rs", "path": "src"})), ["src/a.rs"]);
    assert_eq!(names(&fixture, json!({"pattern": "nowhere/*.rs"})), [""; 0]);
    assert_eq!(names(&fixture, json!({"pattern": "**"})), ["c.rs", "src/a.rs", "src/deep/b.rs"]);
}

#[test]
fn hidden_and_ignored_files_are_found_only_when_named() {
    let fixture = Fixture::new(&[(".gitignore", "out/\n"), (".github/ci.yml", ""), (".env", ""), ("a.yml", ""), ("out/b.yml", "")]);
    assert_eq!(names(&fixture, json!({"pattern": "**/*.yml"})), ["a.yml"]);
    assert_eq!(names(&fixture, json!({"pattern": ".github/*.yml"})), [".github/ci.yml"]);
    assert_eq!(names(&fixture, json!({"pattern": "**/.env"})), [".env"]);
    assert_eq!(names(&fixture, json!({"pattern": "out/*"})), ["out/b.yml"]);
}

#[test]
fn errors_name_the_argument() {
    let fixture = Fixture::new(&[("a", "")]);
    let error = glob(&fixture, json!({"pattern": "a["})).unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("`pattern` `a[`"), "{}", error.message);
    assert_eq!(glob(&fixture, json!({"pattern": "*", "path": "nothing"})).unwrap_err().kind, ErrorKind::NotFound);
    assert!(glob(&fixture, json!({"pattern": "*", "path": "a"})).unwrap_err().message.contains("must be a directory"));
    assert_eq!(glob(&fixture, json!({"pattern": "*", "path": "/etc"})).unwrap_err().kind, ErrorKind::Invalid);
}
