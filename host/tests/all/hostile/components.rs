//! Files that are no good component: of another contract, with a false manifest, damaged, or made to keep a compiler busy.

use std::fs::{self, File};

use serde_json::json;

use crate::hostile::prowler::OFFLINE;
use crate::hostile::{Stage, case, drop_in, refusal};
use crate::support::guests::{self, patched};
use crate::support::host::Work;
use crate::support::wasm;

/// What every component of these tests exports.
const TOOLS: &str = "stellaclaw:plugin/tools@0.1.0";

fn manifest(name: &str) -> String {
    json!({ "contract": "0.1.0", "name": name, "version": "0.1.0", "tools": [] }).to_string()
}

/// A component that is good, but for the manifest.
fn bare() -> Vec<u8> {
    fs::read(guests::catalogue()).unwrap()
}

/// What is wrong with each file, and what is said about it.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let wrong = |json: &str| wasm::with_manifest(&bare(), json);
    let good = |name: &str| wasm::with_manifest(&bare(), &manifest(name));
    let large = json!({ "contract": "0.1.0", "name": "p", "version": "1", "tools": [], "padding": "x".repeat(300 << 10) }).to_string();
    let forged = json!({ "contract": "0.1.0", "name": "p", "version": "1\n\u{1b}[2Jtools-fs ready", "tools": [] }).to_string();
    vec![
        ("empty", Vec::new(), "not a WebAssembly component"),
        ("script", b"#!/bin/sh\nrm -rf /\n".to_vec(), "not a WebAssembly component"),
        ("module", wasm::MODULE_HEADER.to_vec(), "a core WebAssembly module, not a component; build it for wasm32-wasip2"),
        ("header", wasm::component(&[]), "it has no manifest"),
        ("nothing", wasm::component(&[wasm::manifest(&manifest("nothing"))]), "it exports none of stellaclaw:plugin/{tools, provider,"),
        (
            "newer",
            patched(&good("newer"), TOOLS, "stellaclaw:plugin/tools@0.2.0"),
            "in version 0.2.0; this host serves 0.1.0: build it against that",
        ),
        (
            "unknown",
            patched(&good("unknown"), "stellaclaw:plugin/settings@0.1.0", "stellaclaw:plugin/settinks@0.1.0"),
            "stellaclaw:plugin/settinks@0.1.0",
        ),
        ("bare", bare(), "it has no manifest"),
        ("two", [good("two"), wasm::manifest(&manifest("other"))].concat(), "it carries two manifests that differ"),
        ("large", wrong(&large), "bytes; at most 262144 are read"),
        ("half", wrong("{\"contract\": \"0.1.0\", "), "its manifest: EOF"),
        ("forged", wrong(&forged), "its manifest: version has a control character"),
    ]
}

#[tokio::test]
async fn a_file_that_is_no_good_component_is_refused_alone_and_says_why() {
    let work = Work::new();
    let files = refused();
    for (name, wasm, _) in &files {
        drop_in(&work, name, wasm);
    }
    let fine = json!({ "contract": "0.1.0", "name": "good", "version": "0.1.0", "tools": ["fine"] }).to_string();
    drop_in(&work, "good", &wasm::with_manifest(&bare(), &fine));
    fs::write(work.workdir().join("plugins/good.toml"), "[settings]\nact = \"fine\"\n").unwrap();
    // Within 0.1 functions are only added: what a component of a later patch needs is there, or the linker says what is not.
    let later = patched(&wasm::with_manifest(&bare(), &fine.replace("fine", "hidden")), TOOLS, "stellaclaw:plugin/tools@0.1.9");
    drop_in(&work, "later", &later);
    fs::write(work.workdir().join("plugins/later.toml"), "[settings]\nact = \"hidden\"\n").unwrap();
    File::create(work.workdir().join("plugins/huge.wasm")).unwrap().set_len(65 << 20).unwrap();
    let mut stage = Stage::start(work).await;
    let log = stage.host.said();
    let expected = files.iter().map(|(name, _, reason)| (*name, *reason)).chain([("huge", "a component has at most 64 MiB")]);
    let wrong: Vec<_> =
        expected.filter(|(name, reason)| !refusal(&log, name).contains(reason)).map(|(name, _)| (name, refusal(&log, name))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    stage.plays_all(&[case("call fine {} && call hidden {}", &["fine ran", "hidden ran"])]).await;
    stage.ends().await;
}

/// How many files have one bit flipped. Half of them are valid still, and each of those takes a quarter of a second to compile.
const FLIPS: usize = 200;
/// A tool of such a file that never ends has so long.
const TOOL_TIME: &str = "2s";

/// The same for every run: a linear congruence, of which the high bits are used.
fn places(count: usize, below: usize) -> Vec<usize> {
    let mut seed = 0x5eed_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    (0..count).map(|_| next()).collect()
}

/// A component whose only tool has its name and says that it ran, before anything is damaged.
fn whole(name: &str) -> Vec<u8> {
    let manifest = json!({ "contract": "0.1.0", "name": name, "version": "0.1.0", "tools": [tool_of(name)] });
    wasm::with_manifest_in_front(&bare(), &manifest.to_string())
}

fn tool_of(name: &str) -> String {
    name.replace('-', "_")
}

/// Drops one in, with the setting that has it offer its tool.
fn drop_in_with_tool(work: &Work, name: &str, wasm: &[u8]) {
    drop_in(work, name, wasm);
    fs::write(work.workdir().join(format!("plugins/{name}.toml")), format!("[settings]\nact = \"offer {}\"\n", tool_of(name))).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_loaded_or_refused_and_the_host_goes_on() {
    let work = Work::new();
    work.configure(&format!("{OFFLINE}[limits]\ntool_time = {TOOL_TIME:?}\n"));
    drop_in_with_tool(&work, "whole", &whole("whole"));
    let cuts: Vec<_> = (0..16).map(|sixteenth| format!("cut-{sixteenth}")).collect();
    for (sixteenth, name) in cuts.iter().enumerate() {
        let whole = whole(name);
        drop_in_with_tool(&work, name, &whole[..whole.len() * sixteenth / 16]);
    }
    let names: Vec<_> = (0..FLIPS).map(|number| format!("flip-{number:03}")).collect();
    for (name, bit) in names.iter().zip(places(FLIPS, whole("flip-000").len() * 8)) {
        let mut flipped = whole(name);
        flipped[bit / 8] ^= 1 << (bit % 8);
        drop_in_with_tool(&work, name, &flipped);
    }
    let mut stage = Stage::start(work).await;
    stage.plays_all(&[case("call whole {}", &["whole ran"])]).await;
    let log = stage.host.said();
    for (name, shortest) in cuts.iter().zip(["not a WebAssembly component"].into_iter().chain(std::iter::repeat("unexpected end"))) {
        assert!(refusal(&log, name).contains(shortest), "{name}: {}", refusal(&log, name));
    }
    // Each is refused with a reason, or its tool is called and ends in one way or another.
    let (mut refused, mut ran, mut failed) = (0, 0, 0);
    for (number, name) in names.iter().enumerate() {
        let reason = refusal(&log, name);
        if !reason.is_empty() {
            assert!(reason.len() < 5000, "{name}: {reason}");
            refused += 1;
            continue;
        }
        let tool = tool_of(name);
        let replies = stage.says(&format!("call {tool} {{}}")).await;
        let said = &replies.last().unwrap().text;
        assert!(!said.is_empty() && !said.contains("There is no tool"), "{name} is neither refused nor offered: {said:.300}");
        if said.contains("did not work: ") {
            failed += 1
        } else {
            ran += 1
        }
        if number % 10 == 0 {
            stage.is_healthy().await;
        }
    }
    println!("{refused} were refused, {ran} ran, {failed} failed when they were called");
    assert!(refused >= FLIPS / 10 && ran >= FLIPS / 10, "nothing is shown: {refused} were refused, {ran} ran");
    stage.is_at_its_level().await.unwrap();
    stage.ends().await;
}

/// A core module of so many functions of this body.
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let one = [wasm::leb(body.len()).as_slice(), body].concat();
    wasm::core_module(&[
        wasm::section(1, &wasm::vector(&[vec![0x60, 0, 0]])),
        wasm::section(3, &wasm::vector(&vec![vec![0]; count])),
        wasm::section(10, &wasm::vector(&vec![one; count])),
    ])
}

#[tokio::test]
async fn a_component_that_takes_long_to_compile_holds_up_no_stop_and_no_limit_is_passed() {
    let work = Work::new();
    let nested = |depth: usize| [&[0][..], &[0x02, 0x40].repeat(depth), &vec![0x0b; depth + 1]].concat();
    let good = |name: &str| wasm::with_manifest(&bare(), &manifest(name));
    drop_in(&work, "many", &[good("many"), functions(30_000, &[0, 0x0b])].concat());
    drop_in(&work, "deep", &[good("deep"), functions(1, &nested(100_000))].concat());
    drop_in(&work, "too-many", &[good("too-many"), functions(1_000_001, &[0, 0x0b])].concat());
    drop_in(&work, "too-long", &[good("too-long"), functions(1, &nested(3 << 20))].concat());
    // It serves its socket and stops in good order, whatever is being compiled.
    let host = work.host().await;
    host.stop().await;
    let stage = Stage::start(work).await;
    let log = stage.host.said();
    for (name, reason) in [("too-many", "functions count exceeds limit"), ("too-long", "function body size")] {
        assert!(refusal(&log, name).contains(reason), "{name}: {}", refusal(&log, name));
    }
    stage.ends().await;
}

#[tokio::test]
async fn more_tables_or_memory_than_a_sandbox_has_is_refused_when_it_is_made() {
    let work = Work::new();
    let good = |name: &str| wasm::with_manifest(&bare(), &manifest(name));
    let table = wasm::with_core_section(&good("table"), 4, &wasm::vector(&[[vec![0x70, 0], wasm::leb(1_000_000)].concat()]));
    let memory = wasm::with_core_section(&good("memory"), 5, &wasm::vector(&[[vec![0], wasm::leb(2000)].concat()]));
    drop_in(&work, "table", &table);
    drop_in(&work, "memory", &memory);
    let stage = Stage::start(work).await;
    for name in ["table", "memory"] {
        let reason = refusal(&stage.host.said(), name);
        assert!(reason.contains("exceeds"), "{name}: {reason}");
    }
    stage.ends().await;
}
