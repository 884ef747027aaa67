//! Promises of `ls`.

use stellaclaw_sdk::serde_json::{Value, json};
use stellaclaw_sdk::{ErrorKind, Part};

use super::*;
use crate::files::fixture::Fixture;

fn ls(fixture: &Fixture, arguments: Value) -> Result<String> {
    let tool: Ls = stellaclaw_sdk::serde_json::from_value(arguments).unwrap();
    tool.run(&fixture.files).map(|output| match &output.parts[..] {
        [Part::Text(text)] => text.clone(),
        other => panic!("not one text: {other:?}"),
    })
}

#[test]
fn a_tree_with_a_header() {
    let fixture = Fixture::new(&[
        ("a/b/c.txt", ""),
        ("a.txt", ""),
        ("shared/s", ""),
        (".hidden", ""),
        ("node_modules/x", ""),
        ("a/target/x", ""),
        (".gitignore", "*.log\n"),
        ("x.log", ""),
    ]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("a", fixture.at("link")).unwrap();
    let expected = "num_entries: 7\n./\n  a/\n    b/\n      c.txt\n  a.txt\n  link@\n  shared/\n    s";
    assert_eq!(ls(&fixture, json!({})).unwrap(), expected);
    assert_eq!(ls(&fixture, json!({"path": "/workspace/a"})).unwrap(), "num_entries: 2\na/\n  b/\n    c.txt");
}

#[test]
fn a_thousand_entries_the_upper_levels_first() {
    let fixture = Fixture::new(&[("z.txt", "")]);
    (0..1100).for_each(|number| fixture.put(&format!("many/{number}.txt"), ""));
    let text = ls(&fixture, json!({"path": ""})).unwrap();
    assert!(text.starts_with("num_entries: 1000 (there are more"), "{}", &text[..100]);
    assert_eq!(text.lines().count(), 1002);
    assert!(text.ends_with("\n  z.txt"));
}

#[test]
fn an_empty_directory_and_no_directory() {
    let fixture = Fixture::new(&[("a", "")]);
    std::fs::create_dir(fixture.at("empty")).unwrap();
    assert_eq!(ls(&fixture, json!({"path": "empty"})).unwrap(), "num_entries: 0\nempty/");
    assert_eq!(ls(&fixture, json!({"path": "nothing"})).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(ls(&fixture, json!({"path": "a"})).unwrap_err().kind, ErrorKind::Invalid);
}
