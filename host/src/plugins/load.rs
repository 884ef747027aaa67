//! From found bytes to a plugin that can serve, or to the reason why not.
//!
//! A plugin is refused alone; the others serve. Whatever refuses one names what is wrong and what would be right. Where newer
//! bytes are refused, wait for the operator or are still being compiled, the ones that served last go on. Nothing here
//! compiles: see `compile`.

mod codes;
mod data;
mod fits;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use stellaclaw_bindings::CONTRACT_VERSION;

use super::accepted::{self, Accepted};
use super::answers::Answers;
use super::cache::Cache;
use super::catalog::ToolPolicy;
use super::engine::Engines;
use super::grants::file::{Granted, GrantsFile};
use super::grants::{self, By, Grant, Missing};
use super::instance::CallLimits;
use super::link::Wanted;
use super::manifest::Surface;
use super::registry::{Component, Found, Library};
use super::status::{Kind, PluginStatus, Source, State};
use crate::config::{self, Config};
use crate::limits;
pub(super) use codes::{Code, Codes, Slot};
pub(super) use data::{Data, DataDirs};
pub(super) use fits::Fits;

/// A component that was found, served or not.
pub(super) struct Plugin {
    pub name: String,
    pub source: Source,
    pub path: Option<PathBuf>,
    /// Of its file.
    pub digest: Option<String>,
    /// Of what serves; of its file where nothing does.
    pub surface: Option<Arc<Surface>>,
    /// What waits for the operator.
    pub missing: Option<Missing>,
    /// Or why it does not serve.
    pub serving: Result<Serving, String>,
    /// What is with the bytes of its file while older ones serve.
    pub newer: Option<Newer>,
    /// It was still being compiled when the host had long started: no session waits for it.
    pub late: bool,
    /// What it said of its tools.
    pub answers: Arc<Answers>,
}

/// See [`Plugin::newer`].
pub(super) enum Newer {
    Compiling(Arc<Plugin>),
    Refused(String),
}

/// What is needed to run a call.
pub(super) struct Serving {
    pub surface: Arc<Surface>,
    pub digest: String,
    pub kinds: Vec<Kind>,
    pub grant: Arc<Grant>,
    /// Who granted it.
    pub by: By,
    /// What `grants.toml` said then.
    pub granted: Option<Arc<Granted>>,
    /// The configuration then.
    pub config: Arc<Config>,
    pub settings: Arc<str>,
    pub limits: CallLimits,
    pub policy: ToolPolicy,
    /// `/data`, where the component uses files.
    pub data: Option<Arc<Data>>,
    pub code: Slot,
}

/// What served last under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Last {
    pub digest: String,
    /// The settings beside it; none when they are not known any more.
    pub beside: Option<Option<Value>>,
}

/// One round: what it needs to know, and what it has given away.
pub(super) struct Loader<'a> {
    pub config: &'a Arc<Config>,
    pub granted: &'a GrantsFile,
    pub accepted: &'a Accepted,
    pub library: &'a mut Library,
    pub data: &'a mut DataDirs,
    pub codes: &'a mut Codes,
    pub fits: &'a mut Fits,
    /// What served last, by [`accepted::key`].
    pub last: &'a BTreeMap<String, Last>,
    /// Code that the cache has is linked at once; the first round does that, later ones leave it to the compilers.
    pub cache: Option<(&'a Engines, &'a Cache)>,
    /// Names of plugins and of tools, with their owners.
    pub names: HashMap<String, String>,
    pub tools: HashMap<String, String>,
}

/// What a plugin is made from.
struct Origin<'a> {
    name: &'a str,
    source: Source,
    path: Option<&'a Path>,
    label: String,
    /// The operator's entry.
    entry: Option<config::Plugin>,
    by: By,
}

impl Loader<'_> {
    /// Looks into a component.
    pub fn load(&mut self, found: &Found) -> Plugin {
        let refused = |reason| Plugin::refused(found, reason);
        let Found { name, source, path, beside, component } = found;
        let (name, source) = (name.as_str(), *source);
        let label = format!("the {source} plugin {name}");
        if let Some(owner) = self.names.get(name) {
            return refused(name_taken(&label, owner));
        }
        // Also one that cannot serve has its name: nobody else gets what was granted to it.
        self.names.insert(name.to_owned(), label.clone());
        let (entry, by) = entry(self.config, self.granted, source, name);
        if entry.as_ref().is_some_and(|entry| entry.enabled == Some(false)) {
            return refused(format!("switched off: [plugins.{name}] enabled = false"));
        }
        let origin = Origin { name, source, path: path.as_deref(), label, entry, by };
        let last = self.last.get(&accepted::key(source, name, path.as_deref())).cloned();
        let plugin = match self.wanted(&origin, component, beside) {
            Ok((serving, missing)) => {
                let code = serving.code.borrow().clone();
                let plugin = Plugin { surface: Some(serving.surface.clone()), missing, serving: Ok(serving), ..refused(String::new()) };
                match code {
                    Code::Refused(reason) => self.fall_back(&origin, last, beside, reason.clone(), refused(reason)),
                    Code::Compiling => self.bridge(&origin, last, plugin),
                    Code::Ready(_) => plugin,
                }
            }
            Err((reason, missing)) => self.fall_back(&origin, last, beside, reason.clone(), Plugin { missing, ..refused(reason) }),
        };
        for serving in plugin.servings() {
            self.tools.extend(serving.surface.manifest.tools.iter().map(|tool| (tool.clone(), origin.label.clone())));
        }
        plugin
    }

    /// The bytes of the file, or those that the operator named.
    fn wanted(
        &mut self,
        origin: &Origin<'_>,
        component: &Result<Component, String>,
        beside: &Result<Option<Value>, String>,
    ) -> Result<(Serving, Option<Missing>), (String, Option<Missing>)> {
        let plain = |reason: String| (reason, None);
        let found = component.as_ref().map_err(|reason| plain(reason.clone()))?;
        let surface = found.surface.as_ref().map_err(|reason| plain(reason.clone()))?;
        kinds(&surface.imports, &surface.exports).map_err(plain)?;
        let beside = beside.as_ref().map_err(|reason| plain(reason.clone()))?;
        let named = origin.entry.as_ref().filter(|entry| !entry.trust_path).and_then(|entry| entry.sha256.as_deref());
        let named = named.filter(|named| origin.source != Source::Bundled && *named != found.digest);
        let Some(named) = named else {
            let serving = self.serving(origin, &found.digest, surface, beside.as_ref()).map_err(plain)?;
            // What is refused is not kept.
            if let Some(path) = origin.path
                && !matches!(*serving.0.code.borrow(), Code::Refused(_))
            {
                self.library.keep(self.accepted, path, found).map_err(plain)?;
            }
            return Ok(serving);
        };
        // Other bytes than those that were named wait, and the named ones go on serving.
        let kept = self.library.kept(self.accepted, named).and_then(|kept| Some((named.to_owned(), kept.surface.ok()?)));
        let state = if kept.is_some() { "the old ones go on serving" } else { "the old ones are gone, so nothing serves" };
        let missing = match origin.by {
            By::GrantsFile => {
                let reason = format!("the file has other bytes than the grants of {} are for; {state}", origin.name);
                let line = grants::requested(origin.name, surface, &found.digest);
                Missing { reason, line, command: Some(grant_command(origin.name)) }
            }
            _ => {
                let reason = format!("the file has other bytes than `[plugins.{}] sha256` names; {state}", origin.name);
                Missing { reason, line: format!("[plugins.{}]\nsha256 = \"{}\"", origin.name, found.digest), command: None }
            }
        };
        let Some((named, surface)) = kept else { return Err((missing.reason.clone(), Some(missing))) };
        match self.serving(origin, &named, &surface, beside.as_ref()) {
            Ok((serving, _)) => Ok((serving, Some(missing))),
            Err(reason) => Err((reason, Some(missing))),
        }
    }

    /// What served last goes on serving, with the grants of now, because `reason` refuses what should.
    fn fall_back(
        &mut self,
        origin: &Origin<'_>,
        last: Option<Last>,
        beside: &Result<Option<Value>, String>,
        reason: String,
        refused: Plugin,
    ) -> Plugin {
        let Some(last) = last else { return refused };
        let named = origin.entry.as_ref().filter(|entry| !entry.trust_path).and_then(|entry| entry.sha256.as_ref());
        if named.is_some_and(|named| *named != last.digest) {
            // The operator wants others.
            return refused;
        }
        let Some(beside) = last.beside.or_else(|| beside.clone().ok()) else { return refused };
        let Some(surface) = self.library.kept(self.accepted, &last.digest).and_then(|kept| kept.surface.ok()) else { return refused };
        match self.serving(origin, &last.digest, &surface, beside.as_ref()) {
            Ok((serving, _)) if !matches!(*serving.code.borrow(), Code::Refused(_)) => {
                Plugin { surface: Some(surface), serving: Ok(serving), newer: Some(Newer::Refused(reason)), ..refused }
            }
            _ => refused,
        }
    }

    /// What served last goes on serving while `wanted` is being compiled.
    fn bridge(&mut self, origin: &Origin<'_>, last: Option<Last>, wanted: Plugin) -> Plugin {
        let Some(Last { digest, beside: Some(beside) }) = last else { return wanted };
        let Some(surface) = self.library.kept(self.accepted, &digest).and_then(|kept| kept.surface.ok()) else { return wanted };
        let ready = self.settings(origin, &digest, beside.as_ref(), &surface).is_ok_and(|settings| self.codes.is_ready(&digest, &settings));
        if !ready {
            return wanted;
        }
        match self.serving(origin, &digest, &surface, beside.as_ref()) {
            Ok((serving, _)) if matches!(*serving.code.borrow(), Code::Ready(_)) => Plugin {
                name: wanted.name.clone(),
                source: wanted.source,
                path: wanted.path.clone(),
                digest: wanted.digest.clone(),
                surface: Some(surface),
                missing: None,
                serving: Ok(serving),
                late: false,
                answers: Arc::default(),
                newer: Some(Newer::Compiling(Arc::new(wanted))),
            },
            _ => wanted,
        }
    }

    /// How these bytes would serve.
    fn serving(
        &mut self,
        origin: &Origin<'_>,
        digest: &str,
        surface: &Arc<Surface>,
        beside: Option<&Value>,
    ) -> Result<(Serving, Option<Missing>), String> {
        let kinds = kinds(&surface.imports, &surface.exports)?;
        if let Some((tool, owner)) = surface.manifest.tools.iter().find_map(|tool| Some((tool, self.tools.get(tool)?))) {
            return Err(tool_taken(&origin.label, tool, owner));
        }
        let settings: Arc<str> = self.settings(origin, digest, beside, surface)?.into();
        let (grant, missing) =
            grants::decide(origin.name, origin.source, surface, digest, origin.entry.as_ref()).map_err(|error| error.to_string())?;
        let command = (origin.by != By::Config).then(|| grant_command(origin.name));
        let missing = missing.map(|missing| Missing { command, ..missing });
        let data = self.data.of(origin.name, surface).inspect_err(|_| self.library.again = true)?;
        let entry = origin.entry.clone().unwrap_or_default();
        let limits = call_limits(&entry.limits);
        let wanted = Wanted { digest, memory_bytes: limits.memory_bytes, kinds: &kinds };
        let code = self.codes.slot(&wanted, &settings, self.cache);
        let serving = Serving {
            digest: digest.to_owned(),
            kinds,
            grant: Arc::new(grant),
            by: origin.by,
            granted: self.granted.get(origin.source, origin.name).filter(|_| origin.by == By::GrantsFile).cloned().map(Arc::new),
            config: self.config.clone(),
            settings,
            limits,
            policy: ToolPolicy { tools: entry.tools, wall_time: entry.limits.wall_time, default_time: self.config.limits.tool_time },
            data,
            code,
            surface: surface.clone(),
        };
        Ok((serving, missing))
    }

    fn settings(&mut self, origin: &Origin<'_>, digest: &str, beside: Option<&Value>, surface: &Surface) -> Result<String, String> {
        let is_empty = |value: &&Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        let written = origin.entry.as_ref().map(|entry| &entry.settings).filter(|settings| !is_empty(settings));
        let written = written.or(beside).filter(|settings| !is_empty(settings)).cloned();
        let settings = written.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let checked = self.fits.check(digest, surface, &settings);
        checked.map_err(|problems| format!("[plugins.{}.settings]: {problems}", origin.name))?;
        Ok(settings.to_string())
    }
}

/// The operator's entry; where it grants nothing, with the grants of `grants.toml`.
pub(super) fn entry(config: &Config, granted: &GrantsFile, source: Source, name: &str) -> (Option<config::Plugin>, By) {
    let entry = config.plugins.get(name);
    if entry.is_some_and(|entry| !grants::is_silent(entry)) {
        return (entry.cloned(), By::Config);
    }
    match granted.get(source, name) {
        None => (entry.cloned(), if source == Source::Bundled { By::Manifest } else { By::Nobody }),
        Some(granted) => {
            let config::Plugin { sha256, fs, http, private, secrets, sign, .. } = granted.to_plugin();
            (Some(config::Plugin { sha256, fs, http, private, secrets, sign, ..entry.cloned().unwrap_or_default() }), By::GrantsFile)
        }
    }
}

/// What gives a plugin what it asks for.
fn grant_command(name: &str) -> String {
    format!("stellaclaw plugin grant {name}")
}

impl Plugin {
    /// One that does not serve.
    pub fn refused(found: &Found, reason: String) -> Self {
        let component = found.component.as_ref().ok();
        Self {
            name: found.name.clone(),
            source: found.source,
            path: found.path.clone(),
            digest: component.map(|component| component.digest.clone()),
            surface: component.and_then(|component| component.surface.clone().ok()),
            missing: None,
            serving: Err(reason),
            newer: None,
            late: false,
            answers: Arc::default(),
        }
    }

    /// What serves, and what is about to.
    pub fn servings(&self) -> impl Iterator<Item = &Serving> {
        let newer = match &self.newer {
            Some(Newer::Compiling(newer)) => newer.serving.as_ref().ok(),
            _ => None,
        };
        self.serving.as_ref().ok().into_iter().chain(newer)
    }

    /// Do both mean the same code?
    pub fn is_same_code(&self, other: &Self) -> bool {
        matches!((&self.serving, &other.serving), (Ok(one), Ok(two)) if Arc::ptr_eq(&one.code, &two.code))
    }

    /// What this one has said of its tools, or the one that is about to take its place, as far as it goes for `other`: code and
    /// policy are all that it depends on.
    pub fn answers_of(&self, other: &Self) -> Option<Arc<Answers>> {
        let policy = |plugin: &Self| plugin.serving.as_ref().ok().map(|serving| serving.policy.clone());
        let newer = match &self.newer {
            Some(Newer::Compiling(newer)) => Some(newer.as_ref()),
            _ => None,
        };
        let mut known = [Some(self), newer].into_iter().flatten();
        known.find(|known| known.is_same_code(other) && policy(known) == policy(other)).map(|known| known.answers.clone())
    }

    /// What it is now as code.
    pub fn code(&self) -> Result<Code, &String> {
        self.serving.as_ref().map(|serving| serving.code.borrow().clone())
    }

    /// Would nobody notice if the one took the place of the other?
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_code = match (&self.serving, &other.serving) {
            (Err(one), Err(two)) => one == two,
            (Ok(one), Ok(two)) => {
                Arc::ptr_eq(&one.code, &two.code)
                    && (&one.digest, &one.grant, one.by, &one.granted, one.limits, &one.policy)
                        == (&two.digest, &two.grant, two.by, &two.granted, two.limits, &two.policy)
            }
            _ => false,
        };
        let is_same_newer = match (&self.newer, &other.newer) {
            (None, None) => true,
            (Some(Newer::Refused(one)), Some(Newer::Refused(two))) => one == two,
            (Some(Newer::Compiling(one)), Some(Newer::Compiling(two))) => one.is_same(two),
            _ => false,
        };
        is_same_code
            && is_same_newer
            && (&self.name, self.source, &self.path, &self.digest, &self.missing, self.late)
                == (&other.name, other.source, &other.path, &other.digest, &other.missing, other.late)
    }

    /// For `plugin list`.
    pub fn status(&self) -> PluginStatus {
        let manifest = self.surface.as_ref().map(|surface| &surface.manifest);
        let waiting = |missing: &Missing| State::Waiting {
            reason: missing.reason.clone(),
            line: missing.line.clone(),
            command: missing.command.clone(),
        };
        let state = match (&self.newer, self.code(), &self.missing) {
            // Its tools are offered from the next round on.
            _ if self.late => State::Compiling,
            (Some(Newer::Compiling(_)), ..) | (None, Ok(Code::Compiling), _) => State::Compiling,
            (Some(Newer::Refused(reason)), ..) => State::Refused { reason: reason.clone() },
            (None, Ok(Code::Refused(reason)), _) => State::Refused { reason },
            // It may not serve at all for what it waits for.
            (None, Err(reason), Some(missing)) if *reason == missing.reason => waiting(missing),
            (None, Err(reason), _) => State::Refused { reason: reason.clone() },
            (None, Ok(Code::Ready(_)), Some(missing)) => waiting(missing),
            (None, Ok(Code::Ready(_)), None) => State::Ready,
        };
        let serving = self.serving.as_ref().ok().filter(|serving| !self.late && matches!(*serving.code.borrow(), Code::Ready(_)));
        PluginStatus {
            name: self.name.clone(),
            version: manifest.map(|manifest| manifest.version.clone()),
            description: manifest.map(|manifest| manifest.description.clone()),
            source: self.source,
            path: self.path.clone(),
            digest: self.digest.clone(),
            serving: serving.map(|serving| serving.digest.clone()),
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
    let kinds: Vec<_> =
        Kind::EXPORTS.into_iter().filter(|(name, _)| exported.iter().any(|export| export == name)).map(|(_, kind)| kind).collect();
    if kinds.is_empty() {
        let all = Kind::EXPORTS.map(|(interface, _)| interface).join(", ");
        return Err(format!("it exports none of {PACKAGE}{{{all}}} in version {CONTRACT_VERSION}, so it is no plugin"));
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
