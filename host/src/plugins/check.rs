//! What a file would be refused for, all of it, and what its author should know, without running it.
//!
//! The judgements are those of the loader: the same functions, asked for every problem instead of the first. What only a
//! compiler, the linker or the component itself can say is not said here; who asks starts a runtime with that component.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use stellaclaw_bindings::CONTRACT_VERSION;

use super::inspect::{self, Imports, InspectError};
use super::load::{kinds, name_taken, tool_taken};
use super::manifest::{self, Surface};
use super::registry::{self, Bytes};
use super::status::{Kind, Source};
use super::{bundled, grants, schema};
use crate::config;

/// What `plugin check` found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Check {
    /// The name under which a host would serve it: that of the file.
    pub plugin: String,
    /// What the manifest says; empty where there is none that can be read.
    pub name: String,
    pub version: String,
    pub contract: String,
    pub digest: String,
    pub component_bytes: u64,
    pub kinds: Vec<Kind>,
    pub imports: Imports,
    pub requests: Vec<String>,
    /// The tool names of the manifest.
    pub tools: Vec<String>,
    /// What it must be given before it serves.
    pub needs_settings: Option<String>,
    /// Why a host would not serve it.
    pub refusals: Vec<String>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Looks at a file as the loader would. A file that is no plugin is a result.
///
/// # Errors
///
/// There is no such file.
pub fn check(path: &Path) -> Result<Check, InspectError> {
    if !path.exists() {
        return Err(InspectError::NotFound(path.display().to_string()));
    }
    let plugin = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut check = Check { plugin, ..Check::default() };
    if !config::is_name(&check.plugin) {
        check.refusals.push(registry::RegistryError::Name(path.to_owned()).to_string());
    }
    match registry::read(path) {
        Ok(bytes) => check.bytes(&bytes),
        Err(error) => check.refusals.push(error.to_string()),
    }
    Ok(check)
}

/// The SHA-256 of a component's file, as the loader reads it: a regular file, and not without end.
///
/// # Errors
///
/// It cannot be read, or is not such a file.
pub fn file_digest(path: &Path) -> Result<String, InspectError> {
    registry::read(path).map(|bytes| bytes.digest).map_err(|error| InspectError::Unreadable(error.to_string()))
}

/// The bundled plugin that has the name `plugin`, or offers the tool `tool`.
#[must_use]
pub fn bundled_owner(plugin: &str, tool: &str) -> Option<&'static str> {
    let mut bundled = bundled::BUNDLED.iter().filter_map(|(name, wasm)| Some((*name, manifest::read(wasm).ok()?.manifest.tools)));
    bundled.find(|(name, tools)| *name == plugin || tools.iter().any(|own| own == tool)).map(|(name, _)| name)
}

impl Check {
    /// Everything about these bytes.
    fn bytes(&mut self, bytes: &Bytes) {
        self.digest.clone_from(&bytes.digest);
        self.component_bytes = bytes.wasm.len() as u64;
        let refusals = refusals(&bytes.wasm, self);
        self.refusals.extend(refusals);
        if !bundled::BUNDLED.iter().any(|(_, wasm)| *wasm == &*bytes.wasm) {
            self.clashes();
        }
    }

    /// What this program already has.
    fn clashes(&mut self) {
        let label = format!("the {} plugin {}", Source::DroppedIn, self.plugin);
        let owner = |name: &str| format!("the {} plugin {name}", Source::Bundled);
        if let Some(name) = bundled_owner(&self.plugin, "") {
            self.refusals.push(name_taken(&label, &owner(name)));
        }
        for tool in &self.tools {
            if let Some(name) = bundled_owner("", tool) {
                self.refusals.push(tool_taken(&label, tool, &owner(name)));
            }
        }
    }

    fn surface(&mut self, surface: &Surface) {
        let manifest = &surface.manifest;
        self.name.clone_from(&manifest.name);
        self.version.clone_from(&manifest.version);
        self.contract.clone_from(&manifest.contract);
        self.tools.clone_from(&manifest.tools);
        self.requests = inspect::requests(manifest);
        self.warnings = grants::unmatched(surface, &self.kinds);
        for (text, what) in [(&manifest.description, "description"), (&manifest.license, "license")] {
            if text.trim().is_empty() {
                self.warnings.push(format!("its manifest has no {what}"));
            }
        }
        if manifest.contract != CONTRACT_VERSION {
            self.warnings.push(format!("its manifest names contract {}; this host serves {CONTRACT_VERSION}", manifest.contract));
        }
        if manifest.tools.is_empty() && self.kinds.contains(&Kind::Tools) {
            self.warnings.push("it exports tools and its manifest names none: nothing can be offered".to_owned());
        }
        if let Some(options) = &manifest.options
            && let Err(error) = schema::compile(options)
        {
            self.warnings.push(format!("options: {error}; every request of a model with options would fail"));
        }
    }
}

/// Why a component would not be served, as far as its outside says. What is read on the way goes to `check`.
pub(super) fn refusals(wasm: &[u8], check: &mut Check) -> Vec<String> {
    let outside = match manifest::outside(wasm) {
        Ok(outside) => outside,
        Err(error) => return vec![error.to_string()],
    };
    let mut refusals = Vec::new();
    match kinds(&outside.imports, &outside.exports) {
        Ok(kinds) => check.kinds = kinds,
        Err(reason) => refusals.push(reason),
    }
    check.imports = Imports::of(&outside.imports);
    let unknown = check.imports.unknown.iter();
    refusals.extend(unknown.map(|name| format!("it imports {name}, which this host does not serve; build it without")));
    let (manifest, problems) = match outside.manifest.and_then(manifest::examine) {
        Ok(found) => found,
        Err(error) => {
            refusals.push(error.to_string());
            return refusals;
        }
    };
    refusals.extend(problems.iter().map(ToString::to_string));
    let surface = Surface { manifest, imports: outside.imports, exports: outside.exports };
    refusals.extend(grants::problems(&surface).iter().map(ToString::to_string));
    if let Some(schema) = &surface.manifest.settings {
        let nothing = serde_json::Value::Object(serde_json::Map::new());
        match schema::compile(schema) {
            Err(reason) => refusals.push(format!("settings: {reason}")),
            Ok(_) => check.needs_settings = schema::check_value(schema, &nothing).err(),
        }
    }
    check.surface(&surface);
    refusals
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.imports)?;
        inspect::group(f, "asks for", &self.requests)?;
        inspect::group(f, "refused because", &lines(&self.refusals))?;
        inspect::group(f, "warnings", &lines(&self.warnings))
    }
}

/// Texts of several lines, indented below their first.
fn lines(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| text.replace('\n', "\n    ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::manifest::tests::{component, manifest_section};

    #[test]
    fn everything_is_said_at_once() {
        let manifest = r#"{"contract":"9.0.0","name":"t","version":"1","tools":["B","a","a"],"settings":{"type":"nonsense"},
            "requests":{"fs":["everything"],"http":["ftp://x"]},"slots":[{"name":"key","origins":["nowhere"]}]}"#;
        let mut check = Check::default();
        let refusals = refusals(&component(&[manifest_section(manifest)]), &mut check);
        let all = refusals.join("\n");
        for part in
            ["exports none of", "tool name \"B\"", "the tool \"a\" twice", "requests.fs", "requests.http", "slots key", "settings: "]
        {
            assert!(all.contains(part), "{part} is not in {all}");
        }
        let warnings = check.warnings.join("\n");
        for part in ["asks for files", "asks for origins", "slots for secrets", "no description", "no license", "contract 9.0.0"] {
            assert!(warnings.contains(part), "{part} is not in {warnings}");
        }
    }

    #[test]
    fn what_the_program_has_is_taken() {
        assert_eq!(bundled_owner("tools-fs", "x"), Some("tools-fs"));
        assert_eq!(bundled_owner("x", "grep"), Some("tools-fs"));
        assert_eq!(bundled_owner("x", "y"), None);
    }
}
