//! What a plugin's author is promised: a scaffold that builds, a check that says everything, a loop that loses nothing, and
//! a document that is true.

mod author;
mod dev;
mod document;
mod pack;

use std::fs;

use author::Author;

#[test]
fn a_new_plugin_is_what_it_says() {
    let author = Author::new();
    let made = author.run(&["plugin", "new", "word-count", "--dir", "deep/wc"]);
    assert_eq!(made.code, 0, "{}", made.err);
    insta::assert_snapshot!(made.out);
    let folder = author.path("deep/wc");
    insta::assert_snapshot!(fs::read_to_string(folder.join("src/lib.rs")).unwrap());
    insta::assert_snapshot!(fs::read_to_string(folder.join("Cargo.toml")).unwrap());
    assert_eq!(made.err, "", "the target is installed, so nothing is missing");
}

#[test]
fn what_cannot_become_a_plugin_is_refused_with_what_would_be_right() {
    let author = Author::new();
    fs::create_dir(author.path("full")).unwrap();
    fs::write(author.path("full/notes.txt"), "mine").unwrap();
    let refusals: Vec<String> = [
        (2, &["Greet"][..]),
        (2, &["3d"]),
        (2, &["tools-fs"]),
        (2, &["grep"]),
        (2, &["greet", "--imports", "http,telepathy"]),
        (2, &["greet", "--imports", "deltas"]),
        (2, &["greet", "--lang", "python"]),
        (1, &["full"]),
    ]
    .into_iter()
    .map(|(code, args)| {
        let refused = author.run(&[&["plugin", "new"], args].concat());
        assert_eq!((refused.code, refused.out.as_str()), (code, ""), "{args:?}: {}", refused.err);
        refused.err
    })
    .collect();
    insta::assert_snapshot!(refusals.concat());
    assert!(!author.path("greet").exists());
    assert_eq!(fs::read_to_string(author.path("full/notes.txt")).unwrap(), "mine");
}

#[test]
fn without_the_target_an_author_is_told_what_to_install() {
    let author = Author::new();
    author.program("rustc", "#!/bin/sh\necho /nowhere/lib\n");
    let made = author.run(&["plugin", "new", "greet", "--log-format", "text"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.err.contains("rustup target add wasm32-wasip2"), "{}", made.err);
    let built = author.run(&["plugin", "dev", "greet", "--once"]);
    assert!(built.code == 1 && built.err.contains("rustup target add wasm32-wasip2"), "{} {}", built.code, built.err);
}

#[test]
fn a_plugin_with_every_import_builds_is_tested_and_has_nothing_to_remark() {
    let author = Author::new();
    let all = author.run(&["plugin", "new", "all", "--imports", "?"]).err;
    let all = all.trim().rsplit_once("it has: ").unwrap().1.replace(", ", ",");
    assert!(all.split(',').count() >= 5, "{all}");
    assert_eq!(author.run(&["plugin", "new", "all", "--imports", &all]).code, 0);
    let folder = author.path("all");
    for arguments in [&["fmt", "--check"][..], &["test", "--quiet"], &["build", "--release", "--target", "wasm32-wasip2"]] {
        let done = author.cargo(&folder, arguments);
        assert!(done.code == 0 && !done.err.contains("warning"), "{arguments:?}: {}{}", done.out, done.err);
    }
    let wasm = folder.join("target/wasm32-wasip2/release/all.wasm");
    let checked = author.json(&["plugin", "check", wasm.to_str().unwrap(), "--json"], 0);
    assert_eq!(
        (&checked["ok"], &checked["refusals"], &checked["warnings"]),
        (&true.into(), &serde_json::json!([]), &serde_json::json!([]))
    );
    for import in all.split(',') {
        let name = format!("stellaclaw:plugin/{import}@");
        let capabilities = checked["imports"]["capabilities"].as_array().unwrap();
        assert!(capabilities.iter().any(|found| found.as_str().unwrap().starts_with(&name)), "{import} is not used: {capabilities:?}");
    }
    for figure in ["component_bytes", "code_bytes", "ready_ms"] {
        assert!(checked[figure].as_u64().unwrap() > 0, "{figure}: {checked}");
    }
    // It asks for an origin, and says which line would grant it.
    let refused = author.run(&["plugin", "call", wasm.to_str().unwrap(), "all", "{\"who\": \"Ada\"}"]);
    assert!(refused.code == 8 && refused.out.contains("[plugins.all] http"), "{} {}", refused.out, refused.err);
}
