//! From found bytes to a plugin that can serve, or to the reason why not.
//!
//! A plugin is refused alone; the others serve. Whatever refuses one names what is wrong and what would be right. Nothing
//! here compiles: see `link`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde_json::Value;
use stellaclaw_bindings::CONTRACT_VERSION;
use tokio::sync::watch;

use super::catalog::ToolPolicy;
use super::grants::{self, Grant, Missing};
use super::imports::filesystem::Budget;
use super::instance::CallLimits;
use super::link::Linked;
use super::manifest::{self, Surface};
use super::registry::{Accepted, Bytes, Found};
use super::schema;
use super::status::{Kind, PluginStatus, Source, State};
use crate::config::{self, Config};
use crate::limits;

/// A component that was found, served or not.
pub(super) struct Plugin {
    pub name: String,
    pub source: Source,
    pub path: Option<PathBuf>,
    pub digest: Option<String>,
    pub surface: Option<Arc<Surface>>,
    /// What waits for the operator.
    pub missing: Option<Missing>,
    /// Or why it does not serve.
    pub serving: Result<Serving, String>,
}

/// What is needed to run a call.
pub(super) struct Serving {
    pub surface: Arc<Surface>,
    pub digest: String,
    pub kinds: Vec<Kind>,
    pub grant: Arc<Grant>,
    pub settings: Arc<str>,
    pub limits: CallLimits,
    pub policy: ToolPolicy,
    /// `/data`, where the component uses files.
    pub data: Option<Data>,
    pub code: watch::Sender<Code>,
}

/// The plugin-private directory.
pub(super) struct Data {
    pub path: PathBuf,
    /// The parent of every `/data`. A call opens its own below it: a link there that leads out is refused.
    pub parent: Arc<Dir>,
    pub name: String,
    pub budget: Arc<Budget>,
}

impl Data {
    /// Opens it for one call.
    pub fn open(&self) -> std::io::Result<Dir> {
        self.parent.open_dir(&self.name)
    }
}

/// The machine code of a component.
#[derive(Clone)]
pub(super) enum Code {
    Compiling,
    Ready(Arc<Linked>),
    Refused(String),
}

/// What loading needs to know, and what it has given away.
pub(super) struct Loader<'a> {
    pub config: &'a Config,
    /// The entries of `grants.toml`.
    pub granted: &'a BTreeMap<String, config::Plugin>,
    pub accepted: &'a Accepted,
    /// The parent of every `/data`.
    pub data_dir: &'a Path,
    /// Names of plugins and of tools, with their owners.
    pub names: HashMap<String, String>,
    pub tools: HashMap<String, String>,
}

impl Loader<'_> {
    /// Looks into a component. The bytes to run come with it.
    pub fn load(&mut self, found: Found) -> (Plugin, Cow<'static, [u8]>) {
        let Found { name, source, path, settings, bytes } = found;
        let mut plugin = Plugin { name, source, path, digest: None, surface: None, missing: None, serving: Err("not looked into".into()) };
        let mut wasm = Cow::Borrowed([].as_slice());
        plugin.serving = self.examine(&mut plugin, settings, bytes.map_err(|error| error.to_string()), &mut wasm);
        (plugin, wasm)
    }

    fn examine(
        &mut self,
        plugin: &mut Plugin,
        beside: Option<Value>,
        bytes: Result<Bytes, String>,
        wasm: &mut Cow<'static, [u8]>,
    ) -> Result<Serving, String> {
        let label = format!("the {} plugin {}", plugin.source, plugin.name);
        if let Some(owner) = self.names.get(&plugin.name) {
            return Err(name_taken(&label, owner));
        }
        let entry = self.entry(&plugin.name);
        if entry.as_ref().is_some_and(|entry| entry.enabled == Some(false)) {
            return Err(format!("switched off: [plugins.{}] enabled = false", plugin.name));
        }
        let found = bytes?;
        plugin.digest = Some(found.digest.clone());
        let bytes = self.choose(plugin, entry.as_ref(), found)?;
        *wasm = bytes.wasm;

        let surface = Arc::new(manifest::read(wasm).map_err(|error| error.to_string())?);
        plugin.surface = Some(surface.clone());
        let kinds = kinds(&surface.imports, &surface.exports)?;
        if let Some((tool, owner)) = surface.manifest.tools.iter().find_map(|tool| Some((tool, self.tools.get(tool)?))) {
            return Err(tool_taken(&label, tool, owner));
        }
        let settings = self.settings(&plugin.name, beside, entry.as_ref(), &surface)?;
        let (grant, missing) =
            grants::decide(&plugin.name, plugin.source, &surface, &bytes.digest, entry.as_ref()).map_err(|error| error.to_string())?;
        plugin.missing = plugin.missing.take().or(missing);
        let data = self.data(&plugin.name, &surface)?;

        self.names.insert(plugin.name.clone(), label.clone());
        self.tools.extend(surface.manifest.tools.iter().map(|tool| (tool.clone(), label.clone())));
        let entry = entry.unwrap_or_default();
        Ok(Serving {
            digest: bytes.digest,
            kinds,
            grant: Arc::new(grant),
            settings: settings.into(),
            limits: call_limits(&entry.limits),
            policy: ToolPolicy { tools: entry.tools, wall_time: entry.limits.wall_time, default_time: self.config.limits.tool_time },
            data,
            code: watch::channel(Code::Compiling).0,
            surface,
        })
    }

    /// The operator's entry; where it grants nothing, with the grants of `grants.toml`.
    fn entry(&self, name: &str) -> Option<config::Plugin> {
        let entry = self.config.plugins.get(name);
        let Some(granted) = self.granted.get(name) else { return entry.cloned() };
        let mut merged = entry.cloned().unwrap_or_default();
        let silent = merged.sha256.is_none()
            && !merged.trust_path
            && merged.fs.is_none()
            && merged.http.is_none()
            && merged.secrets.is_empty()
            && merged.sign.is_empty();
        if silent {
            let config::Plugin { sha256, fs, http, secrets, sign, .. } = granted.clone();
            merged = config::Plugin { sha256, fs, http, secrets, sign, ..merged };
        }
        Some(merged)
    }

    /// Foreign bytes are run from where they are kept. Where the operator named a digest, other bytes wait, and the named
    /// ones go on serving.
    fn choose(&self, plugin: &mut Plugin, entry: Option<&config::Plugin>, found: Bytes) -> Result<Bytes, String> {
        if plugin.source == Source::Bundled {
            return Ok(found);
        }
        let named = entry.filter(|entry| !entry.trust_path).and_then(|entry| entry.sha256.as_deref());
        match named.filter(|named| *named != found.digest) {
            None => self.accepted.keep(&found).map_err(|error| error.to_string()),
            Some(named) => {
                let line = format!("[plugins.{}]\nsha256 = \"{}\"", plugin.name, found.digest);
                let kept = self.accepted.get(named);
                let state = if kept.is_some() { "the old ones go on serving" } else { "the old ones are gone, so nothing serves" };
                let reason = format!("the file has other bytes than `[plugins.{}] sha256` names; {state}", plugin.name);
                plugin.missing = Some(Missing { reason: reason.clone(), line });
                kept.ok_or(reason)
            }
        }
    }

    fn settings(&self, name: &str, beside: Option<Value>, entry: Option<&config::Plugin>, surface: &Surface) -> Result<String, String> {
        let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        let written = entry.map(|entry| &entry.settings).filter(|settings| !is_empty(settings)).cloned();
        let settings = written.or(beside).filter(|settings| !is_empty(settings)).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        if let Some(schema) = &surface.manifest.settings {
            schema::check_value(schema, &settings).map_err(|problems| format!("[plugins.{name}.settings]: {problems}"))?;
        }
        Ok(settings.to_string())
    }

    fn data(&self, name: &str, surface: &Surface) -> Result<Option<Data>, String> {
        if !surface.imports.iter().any(|import| import.starts_with("wasi:filesystem/")) {
            return Ok(None);
        }
        // Checked wherever a name comes in; here a wrong one would hand out the work directory.
        if !config::is_name(name) {
            return Err(format!("{name:?} is not a name that a data directory can have; use a-z, 0-9, `-` and `_`"));
        }
        let path = self.data_dir.join(name);
        let opened = Dir::open_ambient_dir(self.data_dir, ambient_authority()).and_then(|parent| {
            parent.create_dir_all(name)?;
            let budget = Budget::measure(&parent.open_dir(name)?, limits::DATA_BYTES)?;
            Ok((parent, budget))
        });
        let (parent, budget) = opened.map_err(|error| format!("open its data directory {}: {error}", path.display()))?;
        Ok(Some(Data { path, parent: Arc::new(parent), name: name.to_owned(), budget: Arc::new(budget) }))
    }
}

impl Plugin {
    /// For `plugin list`.
    pub fn status(&self) -> PluginStatus {
        let manifest = self.surface.as_ref().map(|surface| &surface.manifest);
        let code = self.serving.as_ref().map(|serving| serving.code.borrow().clone());
        let waiting = |missing: &Missing| State::Waiting { reason: missing.reason.clone(), line: missing.line.clone() };
        let state = match (code, &self.missing) {
            (Ok(Code::Compiling), _) => State::Compiling,
            (Ok(Code::Refused(reason)), _) => State::Refused { reason },
            // It may not serve at all for what it waits for.
            (Err(reason), Some(missing)) if *reason == missing.reason => waiting(missing),
            (Err(reason), _) => State::Refused { reason: reason.clone() },
            (Ok(Code::Ready(_)), Some(missing)) => waiting(missing),
            (Ok(Code::Ready(_)), None) => State::Ready,
        };
        PluginStatus {
            name: self.name.clone(),
            version: manifest.map(|manifest| manifest.version.clone()),
            description: manifest.map(|manifest| manifest.description.clone()),
            source: self.source,
            path: self.path.clone(),
            digest: self.digest.clone(),
            state,
            tools: manifest.map(|manifest| manifest.tools.clone()).unwrap_or_default(),
            kinds: self.serving.as_ref().map(|serving| serving.kinds.clone()).unwrap_or_default(),
        }
    }
}

/// The refusal of a second plugin of one name.
pub(super) fn name_taken(label: &str, owner: &str) -> String {
    format!("{label}: the name is taken by {owner}; give it another one")
}

/// The refusal of a second tool of one name.
pub(super) fn tool_taken(label: &str, tool: &str, owner: &str) -> String {
    format!("{label}: the tool {tool} is already offered by {owner}; rename or remove one of them")
}

/// What a component is, by its exports; refuses contracts that this host does not speak.
pub(super) fn kinds(imports: &[String], exports: &[String]) -> Result<Vec<Kind>, String> {
    const PACKAGE: &str = "stellaclaw:plugin/";
    let contract = |name: &str| {
        let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
        Some((interface.to_owned(), version.to_owned()))
    };
    for (verb, name) in imports.iter().map(|name| ("imports", name)).chain(exports.iter().map(|name| ("exports", name))) {
        if let Some((interface, version)) = contract(name)
            && !is_served(&version)
        {
            return Err(format!(
                "it {verb} {PACKAGE}{interface} in version {version}; this host serves {CONTRACT_VERSION}: build it against that"
            ));
        }
    }
    let exported: Vec<_> = exports.iter().filter_map(|name| contract(name)).map(|(interface, _)| interface).collect();
    let known = [("tools", Kind::Tools), ("provider", Kind::Provider)];
    let kinds: Vec<_> = known.into_iter().filter(|(name, _)| exported.iter().any(|export| export == name)).map(|(_, kind)| kind).collect();
    if kinds.is_empty() {
        return Err(format!("it exports neither {PACKAGE}tools nor {PACKAGE}provider in version {CONTRACT_VERSION}, so it is no plugin"));
    }
    Ok(kinds)
}

/// Within 0.1 functions are only added: the linker says which one a component wants that is not there.
fn is_served(version: &str) -> bool {
    let series = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    series(version) == series(CONTRACT_VERSION)
}

fn call_limits(written: &config::PluginLimits) -> CallLimits {
    let bytes = |written: Option<u64>, default| written.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    CallLimits {
        memory_bytes: bytes(written.memory_bytes, limits::GUEST_MEMORY_BYTES),
        handles: written.handles.map_or(limits::GUEST_HANDLES, |handles| handles as usize),
        host_calls: written.host_calls.unwrap_or(limits::HOST_CALLS),
        output_bytes: bytes(written.output_bytes, limits::OUTPUT_BYTES),
    }
}
