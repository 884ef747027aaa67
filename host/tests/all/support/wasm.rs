//! A byte writer for components: other manifests, other sections, and files that no toolchain would make.

#[path = "../../../src/plugins/manifest/leb.rs"]
mod leb;

use std::cell::Cell;

pub use self::leb::leb;

/// The custom section that holds a component's manifest.
const MANIFEST: &str = "stellaclaw:manifest";

/// Section ids, the same in a component and a core module where both have one.
const CUSTOM: u8 = 0;
/// In a component: a core module.
const CORE_MODULE: u8 = 1;
/// In a component: a component.
const COMPONENT: u8 = 4;

/// What every component begins with.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
/// What every core module begins with.
pub const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// A vector: how many, and then each.
pub fn vector(items: &[Vec<u8>]) -> Vec<u8> {
    [leb(items.len()), items.concat()].concat()
}

/// A section.
pub fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id], leb(body.len()).as_slice(), body].concat()
}

/// A component of these sections.
pub fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [COMPONENT_HEADER, &sections.concat()].concat()
}

/// The section with a core module in it.
pub fn core_module(sections: &[Vec<u8>]) -> Vec<u8> {
    section(CORE_MODULE, &[MODULE_HEADER, &sections.concat()].concat())
}

/// The section with a manifest in it.
pub fn manifest(json: &str) -> Vec<u8> {
    section(CUSTOM, &[leb(MANIFEST.len()).as_slice(), MANIFEST.as_bytes(), json.as_bytes()].concat())
}

/// The component without its manifest.
pub fn without_manifest(wasm: &[u8]) -> Vec<u8> {
    rewritten(wasm, &|id, body, _| if id == CUSTOM && is_manifest(body) { None } else { Some(body.to_vec()) })
}

/// The component with this manifest instead of its own.
pub fn with_manifest(wasm: &[u8], json: &str) -> Vec<u8> {
    [without_manifest(wasm), manifest(json)].concat()
}

/// The component with this manifest instead of its own, before everything else: no cut takes it away.
pub fn with_manifest_in_front(wasm: &[u8], json: &str) -> Vec<u8> {
    let bare = without_manifest(wasm);
    let (header, rest) = bare.split_at(COMPONENT_HEADER.len());
    [header, &manifest(json), rest].concat()
}

/// The component with another body of this section in the first of its core modules that has one: its author's.
pub fn with_core_section(wasm: &[u8], wanted: u8, body: &[u8]) -> Vec<u8> {
    let done = Cell::new(false);
    let wasm = rewritten(wasm, &|id, present, in_core| {
        let is_it = in_core && id == wanted && !done.replace(done.get() || (in_core && id == wanted));
        Some(if is_it { body.to_vec() } else { present.to_vec() })
    });
    assert!(done.get(), "no core module has a section {wanted}");
    wasm
}

fn is_manifest(body: &[u8]) -> bool {
    let (length, rest) = read_leb(body);
    rest[..length] == *MANIFEST.as_bytes()
}

/// What becomes of a section: told its id, its body, and whether it is of a core module.
type Change<'a> = &'a dyn Fn(u8, &[u8], bool) -> Option<Vec<u8>>;

/// Goes through the sections, also of what is nested.
fn rewritten(wasm: &[u8], change: Change<'_>) -> Vec<u8> {
    let (header, mut rest) = wasm.split_at(COMPONENT_HEADER.len());
    let in_core = header == MODULE_HEADER;
    let mut written = header.to_vec();
    while let [id, tail @ ..] = rest {
        let (length, tail) = read_leb(tail);
        let (body, tail) = tail.split_at(length);
        rest = tail;
        let nested = !in_core && (*id == CORE_MODULE || *id == COMPONENT);
        let body = if nested { Some(rewritten(body, change)) } else { change(*id, body, in_core) };
        written.extend(body.map(|body| section(*id, &body)).unwrap_or_default());
    }
    written
}

fn read_leb(bytes: &[u8]) -> (usize, &[u8]) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (number, rest) = bytes.split_at(length);
    (number.iter().rev().fold(0, |sum, byte| (sum << 7) | usize::from(byte & 0x7f)), rest)
}
