//! What a component is, could do at most, and may do here: its exports, its imports, its grant.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::consent::granted_by;
use super::load::{Newer, Plugin};
use super::manifest::{self, Manifest, Surface};
use super::registry;

/// Printed by `plugin inspect`, and served as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    pub name: String,
    pub version: String,
    pub digest: String,
    /// The contract it was built for.
    pub contract: String,
    /// What it is.
    pub exports: Vec<String>,
    pub imports: Imports,
    /// What its manifest asks for.
    pub requests: Vec<String>,
    /// What it may do here.
    pub grants: Vec<String>,
    /// Its tools in the words that a model reads, where somebody asked its catalogue.
    pub offers: Vec<String>,
    /// Who says so.
    pub granted_by: String,
    /// What is with the bytes of its file, where others serve.
    pub newer: Option<String>,
}

/// Imports by what they mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imports {
    /// Harmless: streams, clocks, random numbers; environment and arguments are empty.
    pub ambient: Vec<String>,
    /// Usable only through the mounts that are granted.
    pub files: Vec<String>,
    /// Linked because some languages need them to load; always denied.
    pub refused: Vec<String>,
    /// The most it can ever do.
    pub capabilities: Vec<String>,
    /// Not served by this host: the component cannot load.
    pub unknown: Vec<String>,
}

/// Why there is nothing to inspect.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("there is no plugin {0:?}, and no such file")]
    NotFound(String),
    #[error("{0}")]
    Unreadable(String),
    #[error("{path}: {reason}")]
    NotAPlugin { path: String, reason: String },
}

/// Needs no grant.
const STORAGE: &str = "stellaclaw:plugin/storage@";

/// A plugin of this host: the bytes that serve, or those of its file where nothing does.
pub(super) fn plugin(plugin: &Plugin) -> Inspection {
    let surface = plugin.surface.as_ref().map(AsRef::as_ref);
    let serving = plugin.serving.as_ref();
    let grants = serving.map_or_else(|reason| vec![format!("nothing: {reason}")], |serving| serving.grant.lines());
    let waits = plugin.missing.iter().map(|missing| {
        let line = missing.line.replace('\n', "\n    ");
        match &missing.command {
            Some(command) => format!("waiting: {}; run `{command}`, or add\n    {line}", missing.reason),
            None => format!("waiting: {}; add\n    {line}", missing.reason),
        }
    });
    let digest = serving.map_or_else(|_| plugin.digest.clone(), |serving| Some(serving.digest.clone())).unwrap_or_default();
    let newer = plugin.digest.as_ref().filter(|file| **file != digest).map(|file| match &plugin.newer {
        Some(Newer::Refused(reason)) => format!("sha256 {file}, refused: {reason}"),
        Some(Newer::Compiling(_)) => format!("sha256 {file}, being compiled"),
        None => format!("sha256 {file}, waiting for the operator"),
    });
    // Each keeps its own, as in `/data`: nothing to grant.
    let keeps = serving.is_ok_and(|serving| serving.surface.imports.iter().any(|name| name.starts_with(STORAGE)));
    let keeps = keeps.then(|| "storage (plugin-private)".to_owned());
    Inspection {
        granted_by: serving.map_or_else(|_| "nobody".to_owned(), |serving| granted_by(serving.by, &plugin.name)),
        newer,
        ..inspection(&plugin.name, digest, surface, grants.into_iter().chain(keeps).chain(waits).collect())
    }
}

/// A file that need not be a plugin of this host.
pub(super) fn file(path: &str) -> Result<Inspection, InspectError> {
    if !Path::new(path).exists() {
        return Err(InspectError::NotFound(path.to_owned()));
    }
    let bytes = registry::read(Path::new(path)).map_err(|error| InspectError::Unreadable(error.to_string()))?;
    let surface =
        manifest::read(&bytes.wasm).map_err(|error| InspectError::NotAPlugin { path: path.to_owned(), reason: error.to_string() })?;
    Ok(inspection(&surface.manifest.name, bytes.digest, Some(&surface), vec!["nothing: it is not a plugin of this host".into()]))
}

fn inspection(name: &str, digest: String, surface: Option<&Surface>, grants: Vec<String>) -> Inspection {
    let manifest = surface.map(|surface| &surface.manifest);
    let text = |get: fn(&Manifest) -> &String| manifest.map(get).cloned().unwrap_or_default();
    Inspection {
        name: name.to_owned(),
        version: text(|manifest| &manifest.version),
        digest,
        contract: text(|manifest| &manifest.contract),
        exports: surface.map(|surface| surface.exports.clone()).unwrap_or_default(),
        imports: Imports::of(surface.map(|surface| surface.imports.as_slice()).unwrap_or_default()),
        requests: manifest.map(requests).unwrap_or_default(),
        grants,
        offers: Vec::new(),
        granted_by: "nobody".to_owned(),
        newer: None,
    }
}

/// What a manifest asks for, each on a line.
pub(super) fn requests(manifest: &Manifest) -> Vec<String> {
    let fs = manifest.requests.fs.iter().map(|text| format!("fs {text}"));
    let http = manifest.requests.http.iter().map(|text| format!("http {text}"));
    let slots = manifest.slots.iter().map(|slot| format!("secret {} → {}", slot.name, slot.origins.join(", ")));
    fs.chain(http).chain(slots).collect()
}

impl Imports {
    pub(super) fn of(names: &[String]) -> Self {
        let mut imports = Self::default();
        for name in names {
            let interface = name.split_once('@').map_or(name.as_str(), |(interface, _)| interface);
            let group = match interface.split_once('/') {
                // Types alone can do nothing.
                Some(("stellaclaw:plugin", "types" | "chat" | "search-types" | "image-types")) => &mut imports.ambient,
                Some(("stellaclaw:plugin", _)) => &mut imports.capabilities,
                Some(("wasi:filesystem", _)) => &mut imports.files,
                Some(("wasi:sockets", _)) => &mut imports.refused,
                Some(("wasi:io" | "wasi:cli" | "wasi:clocks" | "wasi:random", _)) => &mut imports.ambient,
                _ => &mut imports.unknown,
            };
            group.push(name.clone());
        }
        imports
    }
}

/// A title with its items below it; nothing when there are none.
pub(super) fn group(f: &mut fmt::Formatter<'_>, title: &str, items: &[String]) -> fmt::Result {
    if items.is_empty() { Ok(()) } else { writeln!(f, "{title}\n  {}", items.join("\n").replace('\n', "\n  ")) }
}

impl fmt::Display for Imports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        group(f, "could do at most (capabilities)", &self.capabilities)?;
        group(f, "files (only through granted mounts)", &self.files)?;
        group(f, "refused (linked, always denied)", &self.refused)?;
        group(f, "ambient", &self.ambient)?;
        group(f, "unknown (this host cannot load it)", &self.unknown)
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} (contract {}, sha256 {})", self.name, self.version, self.contract, self.digest)?;
        group(f, "is (exports)", &self.exports)?;
        write!(f, "{}", self.imports)?;
        group(f, "asks for", &self.requests)?;
        group(f, &format!("may do here (granted by {})", self.granted_by), &self.grants)?;
        group(f, "its file has other bytes", self.newer.as_slice())?;
        group(f, "offers (what a model reads)", &self.offers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_grouped_by_what_they_mean() {
        let names = [
            "wasi:io/poll@0.2.6",
            "wasi:filesystem/types@0.2.6",
            "wasi:sockets/tcp@0.2.6",
            "stellaclaw:plugin/types@0.1.0",
            "stellaclaw:plugin/http@0.1.0",
            "vendor:thing/x",
        ];
        let imports = Imports::of(&names.map(str::to_owned));
        assert_eq!(imports.ambient, ["wasi:io/poll@0.2.6", "stellaclaw:plugin/types@0.1.0"]);
        assert_eq!(imports.files, ["wasi:filesystem/types@0.2.6"]);
        assert_eq!(imports.refused, ["wasi:sockets/tcp@0.2.6"]);
        assert_eq!(imports.capabilities, ["stellaclaw:plugin/http@0.1.0"]);
        assert_eq!(imports.unknown, ["vendor:thing/x"]);
    }
}
