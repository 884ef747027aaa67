//! The fuzz targets, over their corpus and over some thousand mutations of it: always the same ones.
//!
//! What they look for in earnest, with coverage to lead them, is in `fuzz/README.md`.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;

use crate::support::{read, root};

#[path = "../../../fuzz/src/lib.rs"]
pub mod targets;

/// Another seed gives other mutations.
const SEED: u64 = 0x5eed_0001;

/// Bytes that mean something to one format or another.
const TELLING: &[u8] = b"\0\n\r\"\\ +-@{[,:\xff\x7f09";

/// Runs `target` over the files of its corpus, and over `mutations` of them.
fn smoke(name: &str, target: fn(&[u8]), mutations: usize) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root().join("fuzz/corpus").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty());
    for (path, input) in paths.iter().zip(&corpus) {
        run(&path.display().to_string(), target, input);
    }
    let mut random = Random(SEED);
    for number in 0..mutations {
        let input = mutated(&corpus, &mut random);
        run(&format!("{name}, seed {SEED:#x}, mutation {number}"), target, &input);
    }
}

fn run(what: &str, target: fn(&[u8]), input: &[u8]) {
    if panic::catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!("{what}; put this input into the corpus:\n{}", input.escape_ascii());
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (end.max(1) as u64)).unwrap()
    }
}

/// A file of the corpus with one to four changes: bytes changed, taken out, doubled, brought in from another file.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let start = random.below(input.len() + 1);
        let end = (start + random.below(32)).min(input.len());
        match random.below(6) {
            0 if start < input.len() => input[start] ^= 1 << random.below(8),
            1 if start < input.len() => input[start] = TELLING[random.below(TELLING.len())],
            2 => drop(input.drain(start..end)),
            3 => {
                let part = input[start..end].to_vec();
                input.splice(start..start, part);
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                input.splice(start..end, other[from..to].iter().copied());
            }
            _ => input.truncate(input.len() - random.below(input.len() / 4 + 1)),
        }
    }
    input
}

/// The targets are built elsewhere: what of them could go stale is compared here.
#[test]
fn every_target_calls_what_is_run_here() {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(root().join("fuzz").join(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let targets = names("fuzz_targets");
    assert_eq!(targets, names("corpus"));
    let manifest: toml::Table = read("fuzz/Cargo.toml").parse().unwrap();
    let built = manifest["bin"].as_array().unwrap();
    assert_eq!(built.len(), targets.len());
    for target in targets {
        let path = format!("fuzz_targets/{target}.rs");
        let calls = format!("libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::{target}::run(data));");
        assert_eq!(read(&format!("fuzz/{path}")), format!("//! See `stellaclaw_fuzz::{target}`.\n\n#![no_main]\n\n{calls}\n"));
        let is_built = |bin: &&toml::Value| bin["name"].as_str() == Some(&target) && bin["path"].as_str() == Some(&path);
        assert_eq!(built.iter().filter(is_built).count(), 1, "{target}");
    }
}

#[test]
fn answers_of_models_are_decoded_or_refused() {
    smoke("chat", targets::chat::run, 2000);
}

#[test]
fn components_are_compiled_or_refused() {
    smoke("compile", targets::compile::run, 60);
}

#[test]
fn components_are_loaded_or_refused() {
    smoke("component", targets::component::run, 3000);
}

#[test]
fn configurations_are_understood_or_refused() {
    smoke("config", targets::config::run, 2000);
}

#[test]
fn journals_are_folded_and_rendered() {
    smoke("journal", targets::journal::run, 1000);
}

#[test]
fn manifests_are_read_or_refused() {
    smoke("manifest", targets::manifest::run, 2000);
}

#[test]
fn patches_are_applied_whole_or_not_at_all() {
    smoke("patch", targets::patch::run, 2000);
}

#[test]
fn answers_become_valid_messages() {
    smoke("render", targets::render::run, 1000);
}
