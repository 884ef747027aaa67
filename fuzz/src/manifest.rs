//! A manifest, and the `NAME.toml` beside its component, separated by a NUL byte.

#[path = "../../host/src/plugins/manifest/leb.rs"]
#[allow(clippy::duplicate_mod, reason = "the host's tests load it, and these targets")]
mod leb;

use self::leb::leb;
use super::component;

pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let toml = String::from_utf8_lossy(data.get(end + 1..).unwrap_or_default());
    component::with_settings(&with_manifest(&data[..end]), &toml);
}

/// A component that imports what a manifest can ask for, exports tools, and says this about itself.
fn with_manifest(json: &[u8]) -> Vec<u8> {
    let imports = ["wasi:filesystem/types@0.2.6", "stellaclaw:plugin/http@0.1.0", "stellaclaw:plugin/secrets@0.1.0"];
    // Every import is an instance (5) of the first type, every export one of the first instance.
    let imported = imports.iter().flat_map(|name| [&[0_u8], text(name).as_slice(), &[5, 0]].concat());
    let exported = [&[0_u8], text("stellaclaw:plugin/tools@0.1.0").as_slice(), &[5, 0, 0]].concat();
    let sections = [
        section(7, &[1, 0x42, 0]),
        section(10, &[&[3], imported.collect::<Vec<_>>().as_slice()].concat()),
        section(11, &[&[1], exported.as_slice()].concat()),
        section(0, &[text("stellaclaw:manifest").as_slice(), json].concat()),
    ];
    [b"\0asm\x0d\0\x01\0".as_slice(), &sections.concat()].concat()
}

fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id], leb(body.len()).as_slice(), body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [leb(text.len()).as_slice(), text.as_bytes()].concat()
}
