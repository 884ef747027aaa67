//! What loading makes of foreign bytes, without their files and without running them: the door for fuzzing.
//!
//! The same functions as for a file in a plugin directory, minus the copies on disk. Nothing else uses it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use wasmtime::component::Component;

use super::accepted::Accepted;
use super::engine::{Engines, chain};
use super::grants::file::GrantsFile;
use super::load::{Codes, DataDirs, Fits, Loader};
use super::registry::{self, Found, Library, beside};
use super::status::{PluginStatus, Source};
use super::{grants, inspect};
use crate::config::{Config, Plugin};

/// What became of a component, and everything that is shown of it.
#[derive(Debug)]
pub struct Examined {
    pub status: PluginStatus,
    /// As `plugin inspect` prints it.
    pub inspection: String,
    /// Why it does not serve.
    pub refused: Option<String>,
    /// As a dropped-in file: what the operator is told to add to the configuration.
    pub line: Option<String>,
}

/// Loads `wasm` as the component `name`, with the text of its `NAME.toml`. `data` is where its `/data` would be.
///
/// # Errors
///
/// What is wrong with the text.
pub fn examine(name: &str, wasm: &[u8], toml: &str, data: &Path) -> Result<Examined, String> {
    Ok(load(name, wasm, beside(toml)?, data))
}

fn load(name: &str, wasm: &[u8], settings: Value, data: &Path) -> Examined {
    let config = Arc::new(Config::embedded(false));
    // A bundled one: those bytes are run as they are, not copied and read back first.
    let found = Found {
        name: name.to_owned(),
        source: Source::Bundled,
        path: None,
        beside: Ok(Some(settings)),
        component: Ok(registry::component(wasm)),
    };
    let mut loader = Loader {
        config: &config,
        granted: &GrantsFile::default(),
        accepted: &Accepted::new(data.to_owned()),
        library: &mut Library::new(false),
        data: &mut DataDirs::new(data.to_owned()),
        codes: &mut Codes::default(),
        fits: &mut Fits::default(),
        last: &BTreeMap::new(),
        cache: None,
        names: HashMap::new(),
        tools: HashMap::new(),
    };
    let plugin = loader.load(&found);
    let line = plugin.surface.as_ref().and_then(|surface| {
        let (_, missing) = grants::decide(name, Source::DroppedIn, surface, &"0".repeat(64), None).ok()?;
        Some(missing?.line)
    });
    Examined { inspection: inspect::plugin(&plugin).to_string(), status: plugin.status(), refused: plugin.serving.err(), line }
}

/// Does the operator's entry give a dropped-in component all that it asks for?
#[must_use]
pub fn is_satisfied(name: &str, wasm: &[u8], entry: &Plugin) -> bool {
    super::manifest::read(wasm).is_ok_and(|surface| {
        grants::decide(name, Source::DroppedIn, &surface, &"0".repeat(64), Some(entry)).is_ok_and(|(_, missing)| missing.is_none())
    })
}

/// The compiler, with every import that a component may have.
pub struct Compiler(Engines);

impl Compiler {
    /// Starts the engines.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub fn start() -> Result<Self, String> {
        Engines::start().map(Self).map_err(|error| error.to_string())
    }

    /// Validates, compiles and links, as after loading; answers whether the component could be instantiated.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn compile(&self, wasm: &[u8]) -> Result<(), String> {
        let mut reason = String::new();
        for host in self.0.fitting(crate::limits::GUEST_MEMORY_BYTES) {
            match Component::new(&host.engine, wasm) {
                Ok(component) => return host.linker.instantiate_pre(&component).map(drop).map_err(|error| chain(&error)),
                Err(error) => reason = chain(&error),
            }
        }
        Err(reason)
    }
}
