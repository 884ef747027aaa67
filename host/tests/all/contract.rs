//! What is said in two places is said the same: the contract, the versions, the first plugin of the README.

mod frozen;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::support::{read, root, sha256};

/// The files of a folder by name. What is frozen has a folder of its own.
fn files(folder: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())).collect()
}

/// What was accepted as the contract, and why it last changed. Written by hand: that is the point.
#[derive(serde::Deserialize)]
struct Accepted {
    reason: String,
    files: BTreeMap<String, String>,
}

#[test]
fn the_contract_changes_only_on_purpose() {
    let accepted: Accepted = toml::from_str(&read("host/tests/fixtures/contract.toml")).unwrap();
    let present: BTreeMap<_, _> = files("wit").into_iter().map(|(name, text)| (name, sha256(text.as_bytes()))).collect();
    let mut lines = String::new();
    for (name, digest) in &present {
        writeln!(lines, "\"{name}\" = \"{digest}\"").unwrap();
    }
    let changed: Vec<_> =
        present.keys().chain(accepted.files.keys()).filter(|name| present.get(*name) != accepted.files.get(*name)).collect();
    assert!(
        changed.is_empty(),
        "the contract has changed: {changed:?}. Plugins are built against it, so say why under the newest version of CHANGELOG.md, then \
         accept it in host/tests/fixtures/contract.toml: the same words as `reason`, and under [files]\n{lines}"
    );
    let newest: String = read("CHANGELOG.md").split("\n## [").nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let reason = accepted.reason.trim();
    assert!(reason.len() > 20 && newest.contains(reason), "the newest section of CHANGELOG.md does not give the reason {reason:?}");
}

#[test]
fn the_sdk_carries_the_contract() {
    assert_eq!(files("sdk/wit"), files("wit"), "copy wit/ to sdk/wit/");
}

#[test]
fn every_interface_and_world_says_since_when_it_exists() {
    for (name, text) in files("wit") {
        assert!(text.contains("package stellaclaw:plugin@0.1.0;"), "{name} names another version");
        let mut before = "";
        for line in text.lines() {
            if line.starts_with("interface ") || line.starts_with("world ") {
                assert!(before.starts_with("@since(version = "), "{name}: {line}");
            }
            before = line;
        }
    }
}

#[test]
fn the_versions_agree() {
    let version = read("VERSION");
    let version = version.trim();
    assert_eq!(env!("CARGO_PKG_VERSION"), version);
    assert_eq!(stellaclaw_version(), format!("stellaclaw {version}\n"));
    let changes = read("CHANGELOG.md");
    let newest = changes.lines().find(|line| line.starts_with("## [")).unwrap();
    assert!(newest.starts_with(&format!("## [{version}]")), "{newest}");
    let section: String = changes.lines().skip_while(|line| *line != newest).skip(1).take_while(|line| !line.starts_with("## [")).collect();
    let config = stellaclaw::config::CONFIG_VERSION;
    assert!(section.contains(&format!("Configuration: {config}")), "the newest section does not say `Configuration: {config}`");
    let workdir = stellaclaw::store::SCHEMA_VERSION;
    assert!(section.contains(&format!("Work directory: {workdir}")), "the newest section does not say `Work directory: {workdir}`");
}

fn stellaclaw_version() -> String {
    let done = assert_cmd::Command::new(env!("CARGO_BIN_EXE_stellaclaw")).arg("--version").output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_readme_shows_the_plugin_that_the_sdk_tests() {
    let readme = read("README.md");
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let sdk = read("sdk/src/lib.rs");
    let tested = sdk.split("//! ```\n").nth(1).unwrap();
    let tested: String = tested
        .lines()
        .map(|line| line.strip_prefix("//!").unwrap_or_default())
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .filter(|line| !line.starts_with("# "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(shown.trim(), tested.trim());
    let lines = shown.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 15, "a first plugin of {lines} lines");
}

#[test]
fn the_lock_file_stays_under_its_ceiling() {
    // What is fetched; our own crates are no dependencies.
    let packages = read("Cargo.lock").lines().filter(|line| line.starts_with("source = ")).count();
    assert!(packages <= 450, "{packages} packages; remove a dependency, or say in the commit why the ceiling must rise");
}
