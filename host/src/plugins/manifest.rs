//! What a component says about itself, read before it is compiled: its manifest, its imports and its exports.
//!
//! The manifest is JSON in the custom section `stellaclaw:manifest`, at component level (where `plugin pack` puts it) or in
//! a core module (where a compiler's link section lands). Two of them that differ are an error. Nothing here decides what
//! a component may do.

mod leb;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use wasmparser::{BinaryReader, Encoding, Parser, Payload};

use self::leb::leb;
use crate::limits;

/// The custom section's name.
const SECTION: &str = "stellaclaw:manifest";
/// Magic and version, before the first section.
const HEADER_BYTES: usize = 8;
/// The id of a custom section.
const CUSTOM: u8 = 0;

/// The manifest, as its author wrote it. Keys that this version does not know are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Manifest {
    /// The contract the component was built for.
    pub contract: String,
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub license: String,
    /// Every tool name it may ever offer.
    #[serde(default)]
    pub tools: Vec<String>,
    #[serde(default)]
    pub requests: Requests,
    #[serde(default)]
    pub slots: Vec<Slot>,
    /// The JSON Schema of `[plugins.NAME.settings]`.
    #[serde(default)]
    pub settings: Option<Value>,
    /// The JSON Schema of a model's `options`.
    #[serde(default)]
    pub options: Option<Value>,
}

/// What a component asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Requests {
    #[serde(default)]
    pub fs: Vec<String>,
    #[serde(default)]
    pub http: Vec<String>,
}

/// A secret it can use, and where.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Slot {
    pub name: String,
    #[serde(default)]
    pub origins: Vec<String>,
}

/// A component's outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surface {
    pub manifest: Manifest,
    /// Names with their versions, such as `wasi:io/poll@0.2.6`, in the order of the file.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Why a file is not a plugin. Says what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("it is not a WebAssembly component: {0}; build it for wasm32-wasip2")]
    NotAComponent(String),
    #[error("it is a core WebAssembly module, not a component; build it for wasm32-wasip2")]
    CoreModule,
    #[error("it has no manifest; components of the SDK carry one, others get theirs from `stellaclaw plugin pack`")]
    Missing,
    #[error("its manifest has {0} bytes; at most {most} are read", most = limits::MANIFEST_BYTES)]
    TooLarge(usize),
    #[error("it carries two manifests that differ; remove one of the sections {SECTION:?}")]
    Two,
    #[error("its manifest: the schema of its {what} has {bytes} bytes; at most {most}", most = limits::SCHEMA_BYTES)]
    Schema { what: &'static str, bytes: usize },
    #[error("its manifest: {0}")]
    Invalid(String),
    #[error("its manifest names {0} tools; at most {most}", most = limits::CATALOG_TOOLS)]
    Tools(usize),
    #[error("its manifest: tool name {0:?} is not `[a-z0-9_]{{1,64}}`")]
    ToolName(String),
    #[error("its manifest names the tool {0:?} twice")]
    ToolTwice(String),
    #[error("its manifest: {0} has over {most} bytes", most = limits::MANIFEST_TEXT_BYTES)]
    Long(&'static str),
    #[error("its manifest: {0} has a control character, or one that is not seen")]
    Control(&'static str),
    #[error("it imports and exports over {count} names, or over {bytes} bytes of them", count = limits::INTERFACES, bytes = limits::INTERFACES_BYTES)]
    Interfaces,
    #[error("the name of an import or export of it has a control character or over {most} bytes", most = limits::MANIFEST_TEXT_BYTES)]
    InterfaceName,
}

/// A component's outside, with its manifest still unread.
pub(super) struct Outside<'a> {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// The bytes of the one manifest.
    pub manifest: Result<&'a [u8], ManifestError>,
}

/// Reads a component's outside without validating its inside.
pub(super) fn read(wasm: &[u8]) -> Result<Surface, ManifestError> {
    let Outside { imports, exports, manifest } = outside(wasm)?;
    let (manifest, problems) = examine(manifest?)?;
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(Surface { manifest, imports, exports }),
    }
}

/// Imports, exports and the bytes of the manifest.
pub(super) fn outside(wasm: &[u8]) -> Result<Outside<'_>, ManifestError> {
    let invalid = |error: wasmparser::BinaryReaderError| ManifestError::NotAComponent(error.message().to_owned());
    if !wasm.starts_with(b"\0asm") {
        return Err(ManifestError::NotAComponent("not even a WebAssembly file".to_owned()));
    }
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    // Before they are kept: a file has room for millions.
    let (mut count, mut bytes) = (0, 0);
    let mut named = |name: &str| {
        (count, bytes) = (count + 1, bytes + name.len());
        if count > limits::INTERFACES || bytes > limits::INTERFACES_BYTES { Err(ManifestError::Interfaces) } else { Ok(name.to_owned()) }
    };
    let (mut outer, mut inner) = (None, None);
    let mut differ = false;
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(ManifestError::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(named(import.map_err(invalid)?.name.name)?);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(named(export.map_err(invalid)?.name.name)?);
                }
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                let place = if depth == 0 { &mut outer } else { &mut inner };
                differ |= place.is_some_and(|present: &[u8]| present != section.data());
                *place = Some(section.data());
            }
            _ => {}
        }
    }
    let manifest = match (outer, inner) {
        _ if differ => Err(ManifestError::Two),
        (Some(outer), Some(inner)) if outer != inner => Err(ManifestError::Two),
        (outer, inner) => outer.or(inner).ok_or(ManifestError::Missing),
    };
    if imports.iter().chain(&exports).any(|name| name.len() > limits::MANIFEST_TEXT_BYTES || name.chars().any(char::is_control)) {
        return Err(ManifestError::InterfaceName);
    }
    Ok(Outside { imports, exports, manifest })
}

/// A manifest, and everything that is wrong with it. An error when it cannot be read at all.
pub(super) fn examine(json: &[u8]) -> Result<(Manifest, Vec<ManifestError>), ManifestError> {
    if json.len() > limits::MANIFEST_BYTES {
        return Err(ManifestError::TooLarge(json.len()));
    }
    let manifest: Manifest = serde_json::from_slice(json).map_err(|error| ManifestError::Invalid(cut(&error.to_string()).to_owned()))?;
    if manifest.tools.len() > limits::CATALOG_TOOLS {
        return Err(ManifestError::Tools(manifest.tools.len()));
    }
    let mut problems: Vec<_> = check_texts(&manifest).err().into_iter().collect();
    let mut seen = BTreeSet::new();
    for name in &manifest.tools {
        if !is_tool_name(name) {
            problems.push(ManifestError::ToolName(cut(name).to_owned()));
        }
        if !seen.insert(name) {
            problems.push(ManifestError::ToolTwice(cut(name).to_owned()));
        }
    }
    for (what, schema) in [("settings", &manifest.settings), ("options", &manifest.options)] {
        let bytes = schema.as_ref().map_or(0, |schema| schema.to_string().len());
        if bytes > limits::SCHEMA_BYTES {
            problems.push(ManifestError::Schema { what, bytes });
        }
    }
    Ok((manifest, problems))
}

/// The component with `json` as its manifest at component level, in the place of any that stands there. What a core module
/// carries is left alone.
pub(super) fn with_section(wasm: &[u8], json: &[u8]) -> Result<Vec<u8>, ManifestError> {
    let invalid = |error: wasmparser::BinaryReaderError| ManifestError::NotAComponent(error.message().to_owned());
    // Written once, however many sections are left out: a file may have millions of them.
    let mut packed = Vec::with_capacity(wasm.len() + json.len());
    packed.extend_from_slice(wasm.get(..HEADER_BYTES).unwrap_or(wasm));
    // Whole sections at component level: id, length, content.
    let mut at = HEADER_BYTES;
    while at < wasm.len() {
        let mut reader = BinaryReader::new(&wasm[at..], at);
        let id = reader.read_u8().map_err(invalid)?;
        let length = reader.read_var_u32().map_err(invalid)? as usize;
        let content = reader.read_bytes(length).map_err(invalid)?;
        let end = at + reader.current_position();
        let is_manifest = id == CUSTOM && BinaryReader::new(content, 0).read_string().is_ok_and(|name| name == SECTION);
        if !is_manifest {
            packed.extend_from_slice(&wasm[at..end]);
        }
        at = end;
    }
    let length = |number: usize| u32::try_from(number).map_err(|_| ManifestError::TooLarge(json.len())).map(|_| leb(number));
    let name = length(SECTION.len())?;
    packed.push(CUSTOM);
    packed.extend(length(name.len() + SECTION.len() + json.len())?);
    for part in [name.as_slice(), SECTION.as_bytes(), json] {
        packed.extend_from_slice(part);
    }
    Ok(packed)
}

/// What it says about itself is shown to people and quoted in refusals.
fn check_texts(manifest: &Manifest) -> Result<(), ManifestError> {
    let Manifest { contract, name, version, description, license, tools, requests, slots, .. } = manifest;
    let one = [("contract", contract), ("name", name), ("version", version), ("description", description), ("license", license)];
    let slots =
        slots.iter().flat_map(|slot| slot.origins.iter().map(|origin| ("an origin of a slot", origin)).chain([("a slot", &slot.name)]));
    let requests = requests.fs.iter().chain(&requests.http).map(|request| ("a request", request));
    let tools = tools.iter().map(|tool| ("a tool name", tool));
    for (what, text) in one.into_iter().chain(slots).chain(requests).chain(tools) {
        if text.len() > limits::MANIFEST_TEXT_BYTES {
            return Err(ManifestError::Long(what));
        }
        // A description may have lines, and emoji that are put together.
        let (lines, unseen) = if what == "description" { ("\n", false) } else { ("", true) };
        if text.chars().any(|c| (c.is_control() && !lines.contains(c)) || (unseen && is_invisible(c))) {
            return Err(ManifestError::Control(what));
        }
    }
    Ok(())
}

/// Zero-width characters, marks of direction, and the tags that spell ASCII invisibly. Joiners and variation selectors
/// belong to scripts and pictures, but no description needs them.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::MANIFEST_TEXT_BYTES)]
}

/// `[a-z0-9_]{1,64}`
pub(super) fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"contract":"0.1.0","name":"t","version":"1.0.0","tools":["a","b_2"],"later":true}"#;

    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        [&[id], leb(body.len()).as_slice(), body].concat()
    }

    /// A custom section with a manifest.
    pub(in crate::plugins) fn manifest_section(json: &str) -> Vec<u8> {
        section(CUSTOM, &[leb(SECTION.len()).as_slice(), SECTION.as_bytes(), json.as_bytes()].concat())
    }

    /// A component of these sections.
    pub(in crate::plugins) fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0".as_slice(), &sections.concat()].concat()
    }

    fn core_module(sections: &[Vec<u8>]) -> Vec<u8> {
        section(1, &[b"\0asm\x01\0\0\0".as_slice(), &sections.concat()].concat())
    }

    #[test]
    fn a_manifest_is_found_at_both_levels() {
        for wasm in [component(&[manifest_section(MANIFEST)]), component(&[core_module(&[manifest_section(MANIFEST)])])] {
            let surface = read(&wasm).unwrap();
            assert_eq!(surface.manifest.tools, ["a", "b_2"]);
            assert_eq!(surface.manifest.requests, Requests::default());
        }
        let twice = component(&[core_module(&[manifest_section(MANIFEST)]), manifest_section(MANIFEST)]);
        assert_eq!(read(&twice).unwrap().manifest.name, "t", "two equal ones are one");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |json: &str| read(&component(&[manifest_section(json)])).unwrap_err();
        let manifest = |tools: &str| format!(r#"{{"contract":"0.1.0","name":"t","version":"1","tools":{tools}}}"#);
        assert_eq!(read(b"\0asm\x01\0\0\0"), Err(ManifestError::CoreModule));
        assert!(matches!(read(b"text"), Err(ManifestError::NotAComponent(_))));
        assert_eq!(read(&component(&[])), Err(ManifestError::Missing));
        assert_eq!(read(&component(&[manifest_section(MANIFEST), manifest_section("{}")])), Err(ManifestError::Two));
        let differ = component(&[core_module(&[manifest_section(MANIFEST)]), manifest_section("{}")]);
        assert_eq!(read(&differ), Err(ManifestError::Two));
        assert!(with("{").to_string().starts_with("its manifest: EOF"));
        assert!(with("{}").to_string().contains("missing field `contract`"));
        assert_eq!(with(&manifest(r#"["Bad-Name"]"#)), ManifestError::ToolName("Bad-Name".into()));
        assert_eq!(with(&manifest(r#"["a","a"]"#)), ManifestError::ToolTwice("a".into()));
        assert_eq!(with(&MANIFEST.replace("1.0.0", "\\u001b[2J")), ManifestError::Control("version"));
        assert_eq!(with(&MANIFEST.replace("\"t\"", "\"t\\u202e\"")), ManifestError::Control("name"));
        assert_eq!(with(&MANIFEST.replace("b_2", &"b".repeat(5000))), ManifestError::Long("a tool name"));
        assert!(with(&format!(r#"{{"{}":1"#, "x".repeat(5000))).to_string().len() < 200);
        let large = " ".repeat(limits::MANIFEST_BYTES + 1);
        assert_eq!(with(&large), ManifestError::TooLarge(limits::MANIFEST_BYTES + 1));
    }

    #[test]
    fn what_it_names_is_bounded() {
        let imports = |names: &[&str]| {
            let one = |name: &&str| [&[0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &[1, 0]].concat();
            let count = vec![names.len() as u8 | 0x80, u8::try_from(names.len() >> 7).unwrap()];
            component(&[manifest_section(MANIFEST), section(10, &[count, names.iter().flat_map(one).collect()].concat())])
        };
        let names = |count: usize, name: &'static str| vec![name; count];
        assert_eq!(read(&imports(&names(limits::INTERFACES, "a"))).unwrap().imports.len(), limits::INTERFACES);
        assert_eq!(read(&imports(&names(limits::INTERFACES + 1, "a"))), Err(ManifestError::Interfaces));
        let long = "a-name-that-is-as-long-as-the-name-of-a-type-in-an-interface-may-be-in-practice-and-rather-longer-than-most-of-them";
        let many = limits::INTERFACES_BYTES / long.len();
        assert!(many < limits::INTERFACES);
        assert_eq!(read(&imports(&names(many, long))).unwrap().imports.len(), many);
        assert_eq!(read(&imports(&names(many + 1, long))), Err(ManifestError::Interfaces));
        let tools = |count: usize| {
            let tools: Vec<_> = (0..count).map(|n| format!("t{n}")).collect();
            read(&component(&[manifest_section(&MANIFEST.replace(r#"["a","b_2"]"#, &serde_json::to_string(&tools).unwrap()))]))
        };
        assert_eq!(tools(limits::CATALOG_TOOLS).unwrap().manifest.tools.len(), limits::CATALOG_TOOLS);
        assert_eq!(tools(limits::CATALOG_TOOLS + 1), Err(ManifestError::Tools(limits::CATALOG_TOOLS + 1)));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let (_, problems) = examine(br#"{"contract":"0.1.0","name":"t","version":"1","tools":["B","a","a"]}"#).unwrap();
        assert_eq!(problems, [ManifestError::ToolName("B".into()), ManifestError::ToolTwice("a".into())]);
    }

    #[test]
    fn a_manifest_is_put_at_component_level_once() {
        let module = core_module(&[section(CUSTOM, b"\x04name")]);
        let bare = component(std::slice::from_ref(&module));
        let packed = with_section(&bare, MANIFEST.as_bytes()).unwrap();
        assert_eq!(packed, component(&[module, manifest_section(MANIFEST)]));
        let other = MANIFEST.replace("1.0.0", "2.0.0");
        let again = with_section(&packed, other.as_bytes()).unwrap();
        assert_eq!(again.len(), packed.len(), "the old one is gone");
        assert_eq!(read(&again).unwrap().manifest.version, "2.0.0");
        // What stands in a core module stays, and then the two differ.
        let inner = component(&[core_module(&[manifest_section(MANIFEST)])]);
        assert_eq!(read(&with_section(&inner, other.as_bytes()).unwrap()), Err(ManifestError::Two));
        assert!(matches!(with_section(&packed[..packed.len() - 1], b"{}"), Err(ManifestError::NotAComponent(_))));
    }

    /// A file of nothing but manifests. Were each taken out on its own, this would move terabytes.
    #[test]
    fn many_manifests_are_replaced_as_fast_as_one() {
        let begin = std::time::Instant::now();
        let many = component(&vec![manifest_section("{}"); 400_000]);
        assert_eq!(with_section(&many, MANIFEST.as_bytes()).unwrap(), component(&[manifest_section(MANIFEST)]));
        assert!(begin.elapsed() < std::time::Duration::from_secs(10), "it took {:?}", begin.elapsed());
    }

    #[test]
    fn tool_names() {
        assert!(is_tool_name("file_read2") && is_tool_name(&"a".repeat(64)));
        assert!(!is_tool_name("") && !is_tool_name(&"a".repeat(65)) && !is_tool_name("A") && !is_tool_name("a-b"));
    }
}
