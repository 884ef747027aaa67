//! Files that are no good component: of another contract, with a false manifest, damaged, or made to keep a compiler busy.

use std::fs::{self, File};

use serde_json::json;

use crate::hostile::{Stage, case, drop_in, refusal};
use crate::support::host::Work;
use crate::support::{guests, wasm};

/// What every component of these tests exports.
const TOOLS: &str = "stellaclaw:plugin/tools@0.1.0";

fn manifest(name: &str) -> String {
    json!({ "contract": "0.1.0", "name": name, "version": "0.1.0", "tools": [] }).to_string()
}

/// A component that is good, but for the manifest.
fn bare() -> Vec<u8> {
    fs::read(guests::catalogue()).unwrap()
}

/// With another text of the same length in every place of `from`.
fn patched(wasm: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = wasm.to_vec();
    let places: Vec<_> = wasm.windows(from.len()).enumerate().filter(|(_, text)| *text == from.as_bytes()).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{from} is not in it");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
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
        ("nothing", wasm::component(&[wasm::manifest(&manifest("nothing"))]), "it exports neither stellaclaw:plugin/tools nor"),
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

/// Most of them are valid still, and each of those takes a quarter of a second to compile.
const FLIPS: usize = 48;

/// The same for every run: a linear congruence, of which the high bits are used.
fn places(count: usize, below: usize) -> Vec<usize> {
    let mut seed = 0x5eed_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    (0..count).map(|_| next()).collect()
}

#[tokio::test]
async fn a_damaged_file_is_loaded_or_refused_and_the_host_goes_on() {
    let work = Work::new();
    let whole = wasm::with_manifest(&bare(), &manifest("whole"));
    for sixteenth in 0..16 {
        drop_in(&work, &format!("cut-{sixteenth}"), &whole[..whole.len() * sixteenth / 16]);
    }
    for (number, bit) in places(FLIPS, whole.len() * 8).into_iter().enumerate() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        drop_in(&work, &format!("flip-{number}"), &flipped);
    }
    let mut stage = Stage::start(work).await;
    stage.plays_all(&[case("write c.txt: z && read c.txt", &["z"])]).await;
    let log = stage.host.said();
    for sixteenth in 0..16 {
        assert!(!refusal(&log, &format!("cut-{sixteenth}")).is_empty(), "the first {sixteenth} sixteenths are taken for a component");
    }
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
