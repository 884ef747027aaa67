//! The rules of the house, as far as a program can read them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{read, root};

/// Modules of the host from the lowest layer to the highest. A module uses those on its own line and below.
const LAYERS: &[&[&str]] = &[
    &["chat", "ids", "limits", "clock", "crash", "commands", "files", "fake_telegram"],
    &["config", "workdir", "halt", "supervise", "health"],
    &["secrets", "media"],
    &["observe", "store"],
    &["backup"],
    &["plugins"],
    &["session"],
    &["router", "delivery", "operator"],
    &["channels"],
    &["kernel"],
    &["cli"],
];

/// Every Rust file of ours below `folder`, with its path from the root.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing in {folder}");
    found
}

fn ours() -> Vec<(PathBuf, String)> {
    ["host", "bindings", "sdk", "plugins", "fuzz"].iter().flat_map(|folder| sources(folder)).collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "benches")))
}

/// The text without its test module, which stands at the end.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn files_are_short_enough_to_read() {
    for (path, text) in ours() {
        let lines = text.lines().count();
        assert!(lines <= 800, "{} has {lines} lines; split it", path.display());
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for (path, text) in ours() {
        let said = text.lines().find(|line| !line.starts_with("#![")).is_some_and(|line| line.starts_with("//! "));
        assert!(said || path.ends_with("tests.rs"), "{} does not begin with `//!`", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore")];
    for (path, text) in ours() {
        for mark in marks {
            assert!(!text.contains(mark), "{} contains {mark}", path.display());
        }
    }
}

#[test]
fn modules_are_files_beside_their_folders() {
    for (path, _) in ours() {
        assert!(!path.ends_with("mod.rs"), "{}: write foo.rs beside foo/", path.display());
    }
}

#[test]
fn imports_point_one_way() {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    for (path, text) in sources("host/src") {
        let inside = path.strip_prefix("host/src").unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let own = layer(module).unwrap_or_else(|| panic!("give {module} a place in LAYERS and in lib.rs"));
        for used in used_modules(code(&text)) {
            let Some(other) = layer(&used) else { panic!("{}: {used} has no place in LAYERS", path.display()) };
            assert!(other < own || (other == own && !above(module, &used)), "{}: {module} uses {used}, which is above it", path.display());
        }
    }
}

/// The only pair on one line that may be used one way alone: delivery knows nothing of the router.
fn above(module: &str, used: &str) -> bool {
    (module, used) == ("delivery", "router")
}

/// The modules after `crate::` and in `crate::{…}`.
fn used_modules(text: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    let mut used = Vec::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 1;
                let mut start = true;
                for (at, c) in list.char_indices() {
                    if start && c.is_ascii_lowercase() {
                        used.push(word(&list[at..]));
                    }
                    depth += match c {
                        '{' => 1,
                        '}' => -1,
                        _ => 0,
                    };
                    if depth == 0 {
                        break;
                    }
                    start = depth == 1 && (c == ',' || (start && c.is_whitespace()));
                }
            }
            None => used.push(word(rest)),
        }
    }
    used.retain(|module| !module.is_empty());
    used
}

/// Beside `config`: `secrets` reads the one variable that the configuration names, `crash` those of its tests.
#[test]
fn few_modules_read_the_environment() {
    let others = ["host/src/secrets.rs", "host/src/crash.rs"].map(Path::new);
    let allowed = |path: &PathBuf| path.starts_with("host/src/config") || others.contains(&path.as_path()) || is_test(path);
    for (path, text) in sources("host/src").iter().filter(|(path, _)| !allowed(path)) {
        for call in ["env::var(", "env::var_os(", "env::vars("] {
            assert!(!code(text).contains(call), "{} reads the environment; ask config::environment", path.display());
        }
    }
}

/// `SECURITY.md` promises, and `ARCHITECTURE.md` states, only what a test shows: the last column of these tables.
#[test]
fn every_promise_names_a_test_that_there_is() {
    let tests = Tests::find();
    for (page, head, fewest) in [("SECURITY.md", "| promise |", 25), ("ARCHITECTURE.md", "| what always holds |", 10)] {
        let text = read(page);
        let table = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
        let rows: Vec<&str> = table.take_while(|line| line.starts_with("| ")).collect();
        assert!(rows.len() > fewest, "the table of {page} is not where it is looked for");
        for row in rows {
            let shown_by = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
            let named = quoted(shown_by);
            assert!(!named.is_empty(), "{page}: no test is named for: {row}");
            for test in named {
                assert!(tests.there_is(test), "{page}: there is no test {test}: {row}");
            }
        }
    }
}

/// Wherever else a page names a test. Nothing else that is named there has three words with `_` between them.
#[test]
fn tests_that_a_page_names_are_there() {
    let tests = Tests::find();
    let documents = fs::read_dir(root().join("docs")).unwrap().map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "fuzz/README.md"].map(str::to_owned);
    let mut found = 0;
    for page in pages.into_iter().chain(documents) {
        let text = read(&page);
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
        for name in text.lines().flat_map(quoted).filter(|name| name.matches('_').count() >= 2 && name.chars().all(is_word)) {
            assert!(tests.there_is(name), "{page}: there is no test {name}");
            found += 1;
        }
    }
    assert!(found > 50, "only {found} names of tests were found");
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Every test of ours, with its file.
struct Tests(Vec<(PathBuf, String)>);

impl Tests {
    fn find() -> Self {
        let named = |(path, text): (PathBuf, String)| tests_in(&text).map(|name| (path.clone(), name)).collect::<Vec<_>>();
        Self(ours().into_iter().flat_map(named).collect())
    }

    /// A test of this name, below these modules where some stand before it.
    fn there_is(&self, named: &str) -> bool {
        let (modules, test) = named.rsplit_once("::").unwrap_or(("", named));
        self.0.iter().any(|(path, name)| name == test && lies_in(path, modules))
    }
}

/// The names of the test functions in a file.
fn tests_in(text: &str) -> impl Iterator<Item = String> {
    let heads = ["#[test]", "#[tokio::test"];
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        marked |= heads.iter().any(|head| line.starts_with(head));
        let rest = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")).filter(|_| marked)?;
        marked = false;
        rest.split(['(', '<']).next().map(str::to_owned)
    })
}

/// Has the path of a file these modules, in this order?
fn lies_in(path: &Path, modules: &str) -> bool {
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs")).collect();
    let mut left = parts.iter();
    modules.split("::").filter(|module| !module.is_empty()).all(|module| left.any(|part| *part == module))
}
