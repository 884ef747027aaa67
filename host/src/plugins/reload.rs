//! The plugins that serve, as one value that is replaced whole.
//!
//! A round looks at everything there is and makes a new [`Snapshot`]; plugins that nobody could tell from the old ones stay
//! what they are. A call that runs keeps the plugin it began with. Rounds come one after the other: at the start, whenever
//! files have settled, and whenever a component has been compiled.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::accepted::{self, Accepted, Served};
use super::cache::Cache;
use super::call::SessionInfo;
use super::catalog::Catalog;
use super::engine::Engines;
use super::grants::Missing;
use super::grants::file::{GrantsError, GrantsFile};
use super::link::{self, Wanted};
use super::load::{Code, Codes, DataDirs, Last, Loader, Newer, Plugin};
use super::registry::{Found, Library, Shelves};
use super::settle::{Listing, Stamp};
use super::status::Source;
use super::{Inner, Setup, bundled};
use crate::config::{self, Config};
use crate::secrets::Redactor;

/// Every component that was found, in the order in which their tools are listed.
#[derive(Default)]
pub(super) struct Snapshot {
    pub plugins: Vec<Arc<Plugin>>,
    /// By what they depend on, beside the plugins themselves.
    pub catalogs: Mutex<HashMap<SessionInfo, Arc<Catalog>>>,
}

impl Snapshot {
    /// Of plugins with one name, the first has it and the others are refused.
    pub fn get(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }
}

/// What rounds remember.
pub(super) struct Rounds {
    config: Arc<Config>,
    shelves: Shelves,
    listing: Listing,
    accepted: Accepted,
    library: Library,
    data: DataDirs,
    codes: Codes,
    granted: GrantsFile,
    /// As it was when `granted` was read.
    granted_at: Option<Stamp>,
    /// They could not be read, and may be at the next look.
    grants_unread: bool,
    last: BTreeMap<String, Last>,
    told: BTreeMap<(Source, String, Option<PathBuf>), Told>,
    /// As it stands on the disk.
    served: Served,
    /// This process is the host of the work directory: it remembers what serves.
    keeps: bool,
    /// Learns the secrets that are granted.
    redactor: Redactor,
}

impl Rounds {
    pub fn new(setup: &Setup, components: PathBuf, data: PathBuf) -> Result<Self, GrantsError> {
        let shelves = Shelves::new(&setup.config, &setup.workdir);
        let (listing, problems) = shelves.list(&Listing::new());
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        let accepted = Accepted::new(components);
        let served = accepted.served();
        Ok(Self {
            config: setup.config.clone(),
            granted: GrantsFile::load(&shelves.grants)?,
            granted_at: listing.get(&shelves.grants).copied(),
            grants_unread: false,
            library: Library::new(setup.bundled),
            data: DataDirs::new(data),
            codes: Codes::default(),
            last: served.iter().map(|(key, digest)| (key.clone(), Last { digest: digest.clone(), beside: None })).collect(),
            told: BTreeMap::new(),
            keeps: false,
            redactor: Redactor::default(),
            shelves,
            listing,
            accepted,
            served,
        })
    }

    pub fn shelves(&self) -> &Shelves {
        &self.shelves
    }

    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Could something not be read that may be readable at the next look?
    pub fn again(&self) -> bool {
        self.library.again || self.grants_unread
    }

    /// Looks at everything. `cache`: code that is in it is linked at once.
    fn round(&mut self, before: &Snapshot, cache: Option<(&Engines, &Cache)>) -> Vec<Arc<Plugin>> {
        let found = self.library.find(&self.shelves, &self.listing);
        if cache.is_some() {
            warn_of_names(&self.config, &self.granted, &found);
        }
        let besides: Vec<_> = found.iter().map(|found| found.beside.clone().ok()).collect();
        let mut loader = Loader {
            config: &self.config,
            granted: &self.granted,
            accepted: &self.accepted,
            library: &mut self.library,
            data: &mut self.data,
            codes: &mut self.codes,
            last: &self.last,
            cache,
            names: HashMap::new(),
            tools: HashMap::new(),
        };
        let is_first = cache.is_some();
        let plugins = found.into_iter().map(|found| {
            let plugin = loader.load(found);
            let is_it = |old: &&Arc<Plugin>| (old.source, &old.name, &old.path) == (plugin.source, &plugin.name, &plugin.path);
            let old = before.plugins.iter().find(is_it);
            let compiling = matches!(plugin.code(), Ok(Code::Compiling));
            // What was awaited at the start still is.
            let late = compiling && !is_first && old.is_none_or(|old| old.late || !is_same_code(old, &plugin));
            let plugin = Plugin { late, ..plugin };
            match old {
                Some(old) if old.is_same(&plugin) => old.clone(),
                _ => Arc::new(plugin),
            }
        });
        let plugins: Vec<_> = plugins.collect();
        let told = plugins.iter().map(|plugin| ((plugin.source, plugin.name.clone(), plugin.path.clone()), Told::of(plugin)));
        let told: BTreeMap<_, _> = told.collect();
        for plugin in &plugins {
            let key = (plugin.source, plugin.name.clone(), plugin.path.clone());
            tell(self.told.get(&key), &told[&key], plugin);
        }
        self.told = told;
        self.codes.forget_unused();
        self.remember(&plugins, &besides);
        plugins
    }

    /// Notes what serves, for the next round and for the next start.
    fn remember(&mut self, plugins: &[Arc<Plugin>], besides: &[Option<Option<serde_json::Value>>]) {
        let mut last = BTreeMap::new();
        for (plugin, beside) in plugins.iter().zip(besides).filter(|(plugin, _)| plugin.source != Source::Bundled) {
            let key = accepted::key(plugin.source, &plugin.name, plugin.path.as_deref());
            let known = self.last.get(&key);
            let serving = plugin.serving.as_ref().ok().filter(|serving| matches!(*serving.code.borrow(), Code::Ready(_)));
            let now = match (serving, &plugin.newer) {
                (Some(serving), None) => Some(Last { digest: serving.digest.clone(), beside: beside.clone() }),
                // What serves is what served before, also as far as its settings go.
                _ => known.cloned(),
            };
            if let Some(now) = now {
                // The first of a name has it.
                last.entry(key).or_insert(now);
            }
        }
        self.last = last;
        let digests: BTreeSet<_> =
            self.last.values().map(|last| last.digest.clone()).chain(self.granted.digests().map(str::to_owned)).collect();
        let running = |digest: &str| plugins.iter().any(|plugin| plugin.serving.as_ref().is_ok_and(|serving| serving.digest == digest));
        self.library.keep_only(|digest| digests.contains(digest) || running(digest));
        self.write_down();
    }

    fn write_down(&mut self) {
        let served: Served = self.last.iter().map(|(key, last)| (key.clone(), last.digest.clone())).collect();
        if !self.keeps || served == self.served {
            return;
        }
        match self.accepted.remember(&served) {
            Ok(()) => self.served = served,
            Err(error) => tracing::warn!(%error, "it cannot be remembered which components serve"),
        }
    }

    /// From now on what serves is remembered, and bytes that nothing refers to are gone.
    pub fn keep(&mut self, plugins: &[Arc<Plugin>], redactor: Redactor) {
        self.keeps = true;
        self.redactor = redactor;
        self.learn();
        self.write_down();
        let running = plugins.iter().filter_map(|plugin| plugin.serving.as_ref().ok()).map(|serving| serving.digest.as_str());
        let found = plugins.iter().filter_map(|plugin| plugin.digest.as_deref());
        let named = self.config.plugins.values().filter_map(|entry| entry.sha256.as_deref());
        let last = self.last.values().map(|last| last.digest.as_str());
        let wanted = running.chain(found).chain(named).chain(last).chain(self.granted.digests()).map(Cow::Borrowed).collect();
        if let Err(error) = self.accepted.forget_others(&wanted) {
            tracing::warn!(%error, "old components cannot be removed");
        }
    }

    fn learn(&self) {
        // One that cannot be read is for those who use it to report.
        let secrets: Vec<_> = self.granted.secret_sources().filter_map(|source| source.read().ok()).collect();
        self.redactor.learn(&secrets);
    }

    fn read_grants(&mut self) {
        let at = self.listing.get(&self.shelves.grants).copied();
        if at == self.granted_at && !self.grants_unread {
            return;
        }
        let read = GrantsFile::load(&self.shelves.grants);
        let was_unread = std::mem::replace(&mut self.grants_unread, read.as_ref().is_err_and(GrantsError::may_pass));
        match read {
            Ok(granted) => {
                self.granted = granted;
                self.learn();
            }
            Err(error) if was_unread && self.grants_unread => tracing::debug!(%error, "the grants stay as they were"),
            Err(error) => tracing::error!(%error, "the grants stay as they were"),
        }
        self.granted_at = at;
    }
}

impl Inner {
    /// What serves now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first round: what the cache has serves when this returns.
    pub fn load(self: &Arc<Self>) -> std::io::Result<()> {
        self.round(Some((&self.engines, &self.cache)))
    }

    /// Looks at everything again. With a `listing`: the files are as it says.
    pub fn reload(self: &Arc<Self>, listing: Option<Listing>) {
        if let Some(listing) = listing {
            let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            rounds.listing = listing;
            rounds.read_grants();
        }
        if let Err(error) = self.round(None) {
            tracing::error!(%error, "no thread can be started that would compile components");
        }
    }

    fn round(self: &Arc<Self>, cache: Option<(&Engines, &Cache)>) -> std::io::Result<()> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        // Before anything serves by them: a call that begins in between is refused rather than let through.
        self.granting.publish(&rounds.granted);
        let plugins = rounds.round(&before, cache);
        for plugin in before.plugins.iter().filter(|old| !plugins.iter().any(|new| (new.source, &new.name) == (old.source, &old.name))) {
            tracing::info!(plugin = plugin.name, "the plugin was removed");
        }
        let to_compile: Vec<_> = plugins
            .iter()
            .filter_map(|plugin| match &plugin.newer {
                Some(Newer::Compiling(newer)) => Some(newer),
                _ => matches!(plugin.code(), Ok(Code::Compiling)).then_some(plugin),
            })
            .cloned()
            .collect();
        let is_unchanged =
            plugins.len() == before.plugins.len() && plugins.iter().zip(&before.plugins).all(|(new, old)| Arc::ptr_eq(new, old));
        if !is_unchanged {
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Snapshot { plugins, ..Snapshot::default() });
        }
        // Compiled once, however many rounds pass until that is done.
        let mut compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        compiling.retain(|known| to_compile.iter().any(|plugin| is_same_code(known, plugin)));
        for plugin in to_compile {
            if !compiling.iter().any(|known| is_same_code(known, &plugin)) {
                compiling.push(plugin.clone());
                self.compile(plugin)?;
            }
        }
        self.to_compile.send_replace(compiling.len());
        Ok(())
    }

    /// Compiles in the background. A component with a catalogue that cannot be used is refused here, once, and not in the
    /// middle of a conversation.
    fn compile(self: &Arc<Self>, plugin: Arc<Plugin>) -> std::io::Result<()> {
        let inner = self.clone();
        let meant = plugin.clone();
        let submitted = self.compilers.submit(move || {
            let Ok(serving) = &plugin.serving else { return };
            let begin = Instant::now();
            let checked = link::guarded("it cannot be compiled: the compiler failed", || {
                let wanted = Wanted { digest: &serving.digest, memory_bytes: serving.limits.memory_bytes, kinds: &serving.kinds };
                let wasm = inner.bytes(&plugin, &serving.digest)?;
                let linked = link::compiled(&inner.engines, &inner.cache, &wanted, &wasm).map(Arc::new)?;
                // Code in the cache serves at the next start without being looked at again.
                let checked = inner.runtime.block_on(inner.catalog_of(&plugin, &linked, &SessionInfo::plain()));
                checked.inspect_err(|_| inner.cache.forget(&linked.engine, &serving.digest)).map(|_| linked)
            });
            tracing::info!(plugin = plugin.name, elapsed = ?begin.elapsed(), "compiled");
            serving.code.send_replace(match checked {
                Ok(linked) => Code::Ready(linked),
                Err(reason) => Code::Refused(reason),
            });
            inner.reload(None);
        });
        submitted.inspect_err(|error| {
            if let Ok(serving) = &meant.serving {
                serving.code.send_replace(Code::Refused(format!("no thread can be started that would compile it: {error}")));
            }
        })
    }

    /// The bytes to compile: one component's at a time is in memory.
    fn bytes(&self, plugin: &Plugin, digest: &str) -> Result<Cow<'static, [u8]>, String> {
        if plugin.source == Source::Bundled {
            let found = bundled::BUNDLED.iter().find(|(name, _)| *name == plugin.name);
            return found.map(|(_, wasm)| Cow::Borrowed(*wasm)).ok_or_else(|| "it is not bundled".to_owned());
        }
        let kept = Accepted::new(self.components.clone()).get(digest);
        kept.map(|bytes| bytes.wasm).ok_or_else(|| format!("its accepted bytes are not in {}", self.components.display()))
    }
}

fn is_same_code(one: &Plugin, two: &Plugin) -> bool {
    matches!((&one.serving, &two.serving), (Ok(one), Ok(two)) if Arc::ptr_eq(&one.code, &two.code))
}

/// What the log has said about a plugin.
#[derive(Default, PartialEq, Eq)]
struct Told {
    refusal: Option<String>,
    missing: Option<Missing>,
    /// The digest that serves.
    ready: Option<String>,
}

impl Told {
    fn of(plugin: &Plugin) -> Self {
        let refusal = match (&plugin.newer, plugin.code()) {
            (Some(Newer::Refused(reason)), _) => Some(reason.clone()),
            (None, Ok(Code::Refused(reason))) => Some(reason),
            (None, Err(reason)) if plugin.missing.as_ref().is_none_or(|missing| missing.reason != *reason) => Some(reason.clone()),
            _ => None,
        };
        let ready = match (&plugin.serving, plugin.code()) {
            (Ok(serving), Ok(Code::Ready(_))) => Some(serving.digest.clone()),
            _ => None,
        };
        Self { refusal, missing: plugin.missing.clone(), ready }
    }
}

/// Says once what is new about a plugin.
fn tell(before: Option<&Told>, now: &Told, new: &Plugin) {
    let plugin = new.name.as_str();
    if let Some(reason) = now.refusal.as_ref().filter(|reason| before.and_then(|told| told.refusal.as_ref()) != Some(reason)) {
        let serves = if new.newer.is_some() { "the bytes that served before go on serving" } else { "it is not served" };
        tracing::warn!(plugin, reason, "a component is refused; {serves}");
    }
    if let Some(missing) = now.missing.as_ref().filter(|missing| before.and_then(|told| told.missing.as_ref()) != Some(missing)) {
        let command = missing.command.as_deref().unwrap_or("see `stellaclaw plugin list`");
        tracing::warn!(plugin, reason = missing.reason, command, "a component waits for the operator");
    }
    if let Some(digest) = now.ready.as_ref().filter(|digest| before.is_some_and(|told| told.ready.as_ref() != Some(digest))) {
        tracing::info!(plugin, digest, "a component serves from now on");
    }
}

/// Names in the configuration and in `grants.toml` that mean nothing.
fn warn_of_names(config: &Config, granted: &GrantsFile, found: &[Found]) {
    for name in unknown_names(config, |name| found.iter().any(|found| found.name == *name)) {
        tracing::warn!("[plugins.{name}] names no plugin: none is bundled or dropped in under that name, and it has no `path`");
    }
    for granted in granted.iter().filter(|granted| config.plugins.get(&granted.name).is_some_and(|entry| !super::grants::is_silent(entry)))
    {
        tracing::warn!("what was granted to {} with `plugin grant` does not count: its grants stand in the configuration", granted.name);
    }
}

/// Entries of the configuration for plugins that are not there.
pub fn unknown_names(config: &Config, is_there: impl Fn(&str) -> bool) -> Vec<&str> {
    let unknown = |(name, entry): &(&String, &config::Plugin)| entry.path.is_none() && !is_there(name);
    config.plugins.iter().filter(unknown).map(|(name, _)| name.as_str()).collect()
}
