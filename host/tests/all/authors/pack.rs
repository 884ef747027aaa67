//! Components of other toolchains, and what `check` says of good and bad ones.

use std::fs;

use serde_json::{Value, json};

use super::author::Author;
use crate::support::{guests, wasm};

const MANIFEST: &str = r#"
contract = "0.1.0"
name = "bare"
version = "0.3.0"
description = "Measures"
license = "MIT"
tools = ["measure", "weigh"]
"#;

/// An author with a component that has no manifest.
fn author() -> Author {
    let author = Author::new();
    fs::copy(guests::bare(), author.path("bare.wasm")).unwrap();
    fs::write(author.path("manifest.toml"), MANIFEST).unwrap();
    author
}

/// The text of a check without what differs from machine to machine, and without what a compiler always imports.
fn plain(text: &str) -> String {
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let word = |word: &str| {
        let bare = word.trim_end_matches(')');
        match bare {
            digest if digest.len() == 64 => word.replace(digest, "[digest]"),
            figure if number(figure) => "[n]".to_owned(),
            _ => word.to_owned(),
        }
    };
    let lines = text.lines().filter(|line| !line.starts_with("  wasi:"));
    lines.map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn a_component_of_another_toolchain_gets_its_manifest_and_serves() {
    let author = author();
    let before = author.run(&["plugin", "check", "bare.wasm"]);
    assert_eq!(before.code, 1, "{}", before.err);
    assert!(before.out.contains("it has no manifest"), "{}", before.out);

    let packed = author.run(&["plugin", "pack", "bare.wasm", "--manifest", "manifest.toml", "-o", "measure.wasm"]);
    assert_eq!((packed.code, packed.out.as_str()), (0, "measure.wasm carries the manifest now\n"), "{}", packed.err);
    assert!(author.run(&["plugin", "check", "bare.wasm"]).out.contains("it has no manifest"), "the input is as it was");
    let checked = author.run(&["plugin", "check", "measure.wasm"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    insta::assert_snapshot!(plain(&checked.out));
    let called = author.json(&["plugin", "call", "measure.wasm", "measure", "{\"Text\": 1}"], 0);
    assert_eq!(called["parts"], json!([{ "text": "measure of 11 bytes" }]));
}

#[test]
fn no_manifest_is_replaced_silently() {
    let author = author();
    let pack = |manifest: &str, more: &[&str]| author.run(&[&["plugin", "pack", "bare.wasm", "--manifest", manifest], more].concat());
    assert_eq!(pack("manifest.toml", &[]).code, 0);
    let once = fs::read(author.path("bare.wasm")).unwrap();
    // The same in JSON, in another order.
    let same: Value = toml::from_str(MANIFEST).unwrap();
    fs::write(author.path("same.json"), serde_json::to_string_pretty(&same).unwrap()).unwrap();
    assert_eq!(pack("same.json", &[]).out, "bare.wasm carries this manifest already\n");
    assert_eq!(fs::read(author.path("bare.wasm")).unwrap(), once);

    fs::write(author.path("other.toml"), MANIFEST.replace("0.3.0", "0.4.0")).unwrap();
    let refused = pack("other.toml", &[]);
    assert!(refused.code == 1 && refused.err.contains("--replace"), "{}", refused.err);
    assert_eq!(fs::read(author.path("bare.wasm")).unwrap(), once, "a refusal changes nothing");
    assert_eq!(pack("other.toml", &["--replace"]).code, 0);
    assert_eq!(author.json(&["plugin", "inspect", "bare.wasm", "--json"], 0)["version"], "0.4.0");

    // What a compiler wrote into a core module cannot be replaced from outside.
    fs::copy(guests::probe(), author.path("bare.wasm")).unwrap();
    let refused = pack("other.toml", &["--replace"]);
    assert!(refused.code == 1 && refused.err.contains("change it in its sources"), "{}", refused.err);
}

#[test]
fn a_manifest_that_no_host_would_take_is_not_packed() {
    let author = author();
    let before = fs::read(author.path("bare.wasm")).unwrap();
    let wrong = MANIFEST.replace("[\"measure\", \"weigh\"]", "[\"Measure\", \"weigh\", \"weigh\"]");
    fs::write(author.path("wrong.toml"), format!("{wrong}[requests]\nfs = [\"everything\"]\n")).unwrap();
    let refused = author.run(&["plugin", "pack", "bare.wasm", "--manifest", "wrong.toml"]);
    assert_eq!(refused.code, 1);
    insta::assert_snapshot!(refused.err);
    assert_eq!(fs::read(author.path("bare.wasm")).unwrap(), before);
    fs::write(author.path("large.json"), format!("\"{}\"", "x".repeat(300 << 10))).unwrap();
    let refused = author.run(&["plugin", "pack", "bare.wasm", "--manifest", "large.json"]);
    assert!(refused.code == 1 && refused.err.contains("at most 262144"), "{}", refused.err);
    assert_eq!(author.run(&["plugin", "pack", "bare.wasm", "--manifest", "none.toml"]).code, 7);
    assert_eq!(author.run(&["plugin", "pack", "bare.wasm", "--manifest", "bare.wasm"]).code, 1);
}

#[test]
fn a_check_says_everything_that_a_host_would_refuse() {
    let author = author();
    let check = |file: &str| author.run(&["plugin", "check", file]);
    // What the catalogue offers and the manifest does not name; and a file whose name is no plugin's.
    fs::write(author.path("manifest.toml"), MANIFEST.replace("\"measure\", \"weigh\"", "\"other\"")).unwrap();
    assert_eq!(author.run(&["plugin", "pack", "bare.wasm", "--manifest", "manifest.toml"]).code, 0);
    let refused = check("bare.wasm");
    assert_eq!(refused.code, 1, "{}", refused.err);
    insta::assert_snapshot!(plain(&refused.out));
    fs::copy(author.path("bare.wasm"), author.path("Bare Metal.wasm")).unwrap();
    assert!(check("Bare Metal.wasm").out.contains("rename it to a-z"), "{}", check("Bare Metal.wasm").out);

    // The name and the tools of a bundled plugin.
    fs::copy(guests::probe(), author.path("tools-fs.wasm")).unwrap();
    let taken = check("tools-fs.wasm");
    assert!(taken.code == 1 && taken.out.contains("the name is taken by the bundled plugin tools-fs"), "{}", taken.out);

    fs::write(author.path("text.wasm"), "text").unwrap();
    let text = author.json(&["plugin", "check", "text.wasm", "--json"], 1);
    assert_eq!((&text["ok"], &text["refusals"].as_array().unwrap().len()), (&json!(false), &1), "{text}");
    assert_eq!(check("none.wasm").code, 7);
}

#[test]
fn a_check_begins_alike_whatever_is_wrong() {
    let author = author();
    let bare = fs::read(author.path("bare.wasm")).unwrap();
    let unnamed = MANIFEST.replace("tools = [\"measure\", \"weigh\"]\n", "");
    let silent = wasm::component(&[wasm::manifest(&serde_json::to_string(&toml::from_str::<Value>(&unnamed).unwrap()).unwrap())]);
    let files: [(&str, &[u8]); 7] = [
        ("empty", b""),
        ("text", b"#!/bin/sh\n"),
        ("module", wasm::MODULE_HEADER),
        ("cut", &bare[..1000]),
        ("silent", &silent),
        ("later", &guests::patched(&bare, "stellaclaw:plugin/tools@0.1.0", "stellaclaw:plugin/tools@9.1.0")),
        ("Bare Metal", &bare),
    ];
    for (name, bytes) in files {
        fs::write(author.path(&format!("{name}.wasm")), bytes).unwrap();
    }
    fs::create_dir(author.path("folder.wasm")).unwrap();
    // Neither waits, nor is read whole.
    assert_eq!(author.shell(&author.path("."), "mkfifo pipe.wasm && truncate -s 65M large.wasm").code, 0);
    let names = files.iter().map(|(name, _)| *name).chain(["folder", "pipe", "large"]);
    let said: Vec<String> = names
        .map(|name| {
            let checked = author.run(&["plugin", "check", &format!("{name}.wasm")]);
            assert_eq!((checked.code, checked.err.as_str()), (1, ""), "{name}: {}", checked.out);
            plain(&checked.out)
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_check_says_what_is_asked_for_and_not_used() {
    let author = author();
    let more = "[requests]\nfs = [\"workspace:ro\"]\nhttp = [\"https://api.example.com\"]\n\
                [[slots]]\nname = \"api-key\"\norigins = [\"https://api.example.com\"]\n";
    fs::write(author.path("manifest.toml"), format!("{MANIFEST}{more}")).unwrap();
    assert_eq!(author.run(&["plugin", "pack", "bare.wasm", "--manifest", "manifest.toml"]).code, 0);
    let checked = author.run(&["plugin", "check", "bare.wasm"]);
    assert_eq!((checked.code, checked.err.as_str()), (0, ""));
    insta::assert_snapshot!(plain(&checked.out));
}

#[test]
fn a_component_that_needs_settings_is_tried_with_those_of_the_configuration() {
    let author = author();
    let schema = "[settings]\ntype = \"object\"\nrequired = [\"scale\"]\nproperties = { scale = { type = \"integer\" } }\n";
    fs::write(author.path("manifest.toml"), format!("{MANIFEST}{schema}")).unwrap();
    assert_eq!(author.run(&["plugin", "pack", "bare.wasm", "--manifest", "manifest.toml"]).code, 0);
    let untried = author.json(&["plugin", "check", "bare.wasm", "--json"], 0);
    let said = untried["warnings"][0].as_str().unwrap();
    assert!(said.contains("[plugins.bare.settings]") && said.contains("scale") && untried["ready_ms"].is_null(), "{untried}");
    let with = |scale: &str| {
        fs::write(author.path("config.toml"), format!("version = \"0.5\"\n[plugins.bare.settings]\nscale = {scale}\n")).unwrap();
        author.run(&["--config", "config.toml", "plugin", "check", "bare.wasm", "--json"])
    };
    let wrong = with("\"large\"");
    assert!(wrong.code == 1 && wrong.out.contains("[plugins.bare.settings]: /scale"), "{} {}", wrong.out, wrong.err);
    let right = with("3");
    assert!(right.code == 0 && right.out.contains("ready_ms"), "{} {}", right.out, right.err);
}

#[test]
fn a_check_refuses_what_a_host_refuses_and_in_its_words() {
    let author = author();
    fs::write(author.path("manifest.toml"), MANIFEST.replace("\"measure\", \"weigh\"", "\"measure\"")).unwrap();
    assert_eq!(author.run(&["plugin", "pack", "bare.wasm", "--manifest", "manifest.toml"]).code, 0);
    let folder = author.path(".local/share/stellaclaw/plugins");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(author.path("bare.wasm"), folder.join("bare.wasm")).unwrap();
    let list = author.json(&["plugin", "list", "--json"], 0);
    let listed = list.as_array().unwrap().iter().find(|plugin| plugin["name"] == "bare").unwrap();
    let checked = author.json(&["plugin", "check", "bare.wasm", "--json"], 1);
    assert_eq!(listed["state"]["refused"]["reason"], checked["refusals"][0], "{listed}");
}
