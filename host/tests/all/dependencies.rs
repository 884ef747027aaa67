//! What may enter the dependency tree: licences, bans and sources of `deny.toml`, read where `cargo deny` is not installed.
//!
//! Known weaknesses are in a database on the network: `.ci/run` asks it.

use std::process::Command;

use serde_json::Value;

use crate::support::{read, root};

/// The only place that crates come from; what is ours comes from here and has none.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every package that is built on this platform.
fn packages() -> Vec<Value> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", &platform]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Packages of other platforms are listed and not resolved.
    let resolved: Vec<String> = metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].to_string()).collect();
    let Value::Array(packages) = metadata["packages"].take() else { panic!("no packages") };
    packages.into_iter().filter(|package| resolved.contains(&package["id"].to_string())).collect()
}

fn rules() -> toml::Table {
    read("deny.toml").parse().unwrap()
}

fn words(list: &toml::Value, key: Option<&str>) -> Vec<String> {
    let word = |item: &toml::Value| key.map_or(item, |key| &item[key]).as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(word).collect()
}

/// May something with this licence be used? An SPDX expression, where `/` is an old way to write `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let answer = either(&mut words, allowed);
    assert!(words.next().is_none(), "not understood: {expression}");
    answer
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut answer = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        answer |= both(words, allowed);
    }
    answer
}

fn both(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut answer = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        answer &= one(words, allowed);
    }
    answer
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let word = words.next().unwrap();
    if word == "(" {
        let answer = either(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return answer;
    }
    let licence = match words.next_if_eq(&"WITH") {
        Some(_) => format!("{word} WITH {}", words.next().unwrap()),
        None => word.to_owned(),
    };
    allowed.contains(&licence)
}

#[test]
fn a_licence_is_understood_as_it_is_meant() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT/Apache-2.0", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND GPL-2.0", false),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_dependency_has_an_allowed_licence_and_comes_from_the_registry() {
    let allowed = words(&rules()["licenses"]["allow"], None);
    let mut wrong = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap().to_owned();
        match package["source"].as_str() {
            None => continue,
            Some(REGISTRY) => {}
            Some(other) => wrong.push(format!("{name} comes from {other}")),
        }
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            wrong.push(format!("{name}: {licence}"));
        }
    }
    assert!(wrong.is_empty(), "not allowed by deny.toml:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_banned_is_in_the_lock_and_no_dependency_takes_any_version() {
    let banned = words(&rules()["bans"]["deny"], Some("crate"));
    assert!(!banned.is_empty());
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let locked = words(&lock["package"], Some("name"));
    let found: Vec<_> = locked.iter().filter(|name| banned.contains(name)).collect();
    assert!(locked.len() > 100 && found.is_empty(), "banned by deny.toml: {found:?}");
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        for dependency in package["dependencies"].as_array().unwrap() {
            let any = dependency["req"] == "*" && dependency["path"].is_null();
            assert!(!any, "{} takes any version of {}", package["name"], dependency["name"]);
        }
    }
}
