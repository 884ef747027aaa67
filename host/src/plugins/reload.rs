//! The plugins that serve, as one value that is replaced whole.
//!
//! A round looks at everything there is and makes a new [`Snapshot`]; plugins that nobody could tell from the old ones stay
//! what they are. A call that runs keeps the plugin it began with. Rounds come one after the other: at the start, whenever
//! files have settled, and whenever a component has been compiled.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::accepted::{self, Accepted, Served};
use super::cache::Cache;
use super::call::SessionInfo;
use super::catalog::Catalog;
use super::engine::Engines;
use super::grants::Missing;
use super::grants::file::{GrantsError, GrantsFile};
use super::imports::websocket::Place;
use super::link::{self, guarded};
use super::load::{Code, Codes, DataDirs, Fits, Last, Loader, Newer, Plugin, Slot};
use super::registry::{Found, Library, Shelves, stamp};
use super::settle::{Listing, Stamp};
use super::status::Source;
use super::{Inner, Setup};
use crate::config::{self, Config, SecretSource};

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
    fits: Fits,
    granted: GrantsFile,
    /// As `grants.toml` was just before it was read at the start.
    granted_at: Option<Stamp>,
    last: BTreeMap<String, Last>,
    told: BTreeMap<(Source, String, Option<PathBuf>), Told>,
    /// As it stands on the disk.
    served: Served,
    /// The log knows that it cannot be written there.
    unwritten: bool,
    /// This process is the host of the work directory: it remembers what serves.
    keeps: bool,
    /// The foreign bytes that are meant, or were at the end of the last round.
    meant: BTreeSet<String>,
    /// No round has looked at the names in it.
    is_new_config: bool,
}

/// What came out of a round.
struct Outcome {
    plugins: Vec<Arc<Plugin>>,
    /// Digests that nothing means any more.
    forgotten: Vec<String>,
}

impl Rounds {
    pub fn new(setup: &Setup, accepted: Accepted, data: PathBuf) -> Result<Self, GrantsError> {
        let config = setup.config.get();
        let shelves = Shelves::new(&config, &setup.workdir);
        let granted_at = stamp(&shelves.grants);
        let (listing, problems) = shelves.list(&Listing::new());
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        let served = accepted.served();
        Ok(Self {
            config,
            granted: GrantsFile::load(&shelves.grants)?,
            granted_at,
            library: Library::new(setup.bundled),
            data: DataDirs::new(data),
            codes: Codes::default(),
            fits: Fits::default(),
            last: served.iter().map(|(key, digest)| (key.clone(), Last { digest: digest.clone(), beside: None })).collect(),
            told: BTreeMap::new(),
            unwritten: false,
            keeps: false,
            meant: BTreeSet::new(),
            is_new_config: true,
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

    /// As `grants.toml` was when the grants of the start were read.
    pub fn granted_at(&self) -> Option<Stamp> {
        self.granted_at
    }

    /// Where the secrets are that are granted.
    pub fn secret_sources(&self) -> Vec<SecretSource> {
        self.granted.secret_sources().collect()
    }

    /// Code that is not going to be made: whoever means it again orders it anew.
    pub fn forget_code(&mut self, code: &Slot) {
        self.codes.forget(code);
    }

    /// Could something not be read that may be readable at the next look?
    pub fn again(&self) -> bool {
        self.library.again
    }

    /// Is it another configuration than before?
    fn reconfigure(&mut self, config: Arc<Config>) -> bool {
        let is_new = !Arc::ptr_eq(&self.config, &config);
        if is_new {
            self.shelves.reconfigure(&config);
            (self.config, self.is_new_config) = (config, true);
        }
        is_new
    }

    /// Looks at everything. `cache`: code that is in it is linked at once.
    fn round(&mut self, before: &Snapshot, cache: Option<(&Engines, &Cache)>) -> Outcome {
        let found = self.library.find(&self.shelves, &self.listing);
        if std::mem::take(&mut self.is_new_config) {
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
            fits: &mut self.fits,
            last: &self.last,
            cache,
            names: HashMap::new(),
            tools: HashMap::new(),
        };
        let is_first = cache.is_some();
        let plugins = found.iter().map(|found| {
            let plugin = looked_at(found, |found| loader.load(found));
            let is_it = |old: &&Arc<Plugin>| (old.source, &old.name, &old.path) == (plugin.source, &plugin.name, &plugin.path);
            let old = before.plugins.iter().find(is_it);
            let compiling = matches!(plugin.code(), Ok(Code::Compiling));
            // What was awaited at the start still is.
            let late = compiling && !is_first && old.is_none_or(|old| old.late || !old.is_same_code(&plugin));
            let answers = old.and_then(|old| old.answers_of(&plugin));
            let plugin = Plugin { late, answers: answers.unwrap_or_else(|| plugin.answers.clone()), ..plugin };
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
        self.fits.forget_unused();
        self.data.forget_unused();
        self.remember(&plugins, &besides);
        self.write_down();
        let forgotten = self.forget(&plugins);
        Outcome { plugins, forgotten }
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
    }

    /// The foreign bytes that are meant: by what serves or is about to, by what served last, and by the operator.
    fn meant(&self, plugins: &[Arc<Plugin>]) -> BTreeSet<String> {
        let foreign = plugins.iter().filter(|plugin| plugin.source != Source::Bundled);
        let serving = foreign.flat_map(|plugin| plugin.servings()).map(|serving| serving.digest.as_str());
        let named = self.config.plugins.values().filter_map(|entry| entry.sha256.as_deref());
        let last = self.last.values().map(|last| last.digest.as_str());
        serving.chain(named).chain(last).chain(self.granted.digests()).map(str::to_owned).collect()
    }

    /// Forgets what nothing means any more; which bytes those are. A running call has its code.
    fn forget(&mut self, plugins: &[Arc<Plugin>]) -> Vec<String> {
        let meant = self.meant(plugins);
        self.library.keep_only(|digest| meant.contains(digest));
        let before = std::mem::replace(&mut self.meant, meant);
        if !self.keeps {
            return Vec::new();
        }
        let forgotten: Vec<_> = before.difference(&self.meant).cloned().collect();
        for digest in &forgotten {
            if let Err(error) = self.accepted.forget(digest) {
                tracing::warn!(digest, %error, "an old component cannot be removed");
            }
        }
        forgotten
    }

    fn write_down(&mut self) {
        let served: Served = self.last.iter().map(|(key, last)| (key.clone(), last.digest.clone())).collect();
        if !self.keeps || served == self.served {
            return;
        }
        match self.accepted.remember(&served) {
            Ok(()) => (self.served, self.unwritten) = (served, false),
            Err(error) if std::mem::replace(&mut self.unwritten, true) => tracing::debug!(%error, "it can still not be remembered"),
            Err(error) => tracing::warn!(%error, "it cannot be remembered which components serve"),
        }
    }

    /// From now on what serves is remembered, and bytes that nothing means are removed; those that are meant now.
    pub fn keep(&mut self, plugins: &[Arc<Plugin>]) -> BTreeSet<String> {
        self.keeps = true;
        self.write_down();
        self.meant = self.meant(plugins);
        if let Err(error) = self.accepted.forget_others(&self.meant.iter().map(|digest| Cow::Borrowed(digest.as_str())).collect()) {
            tracing::warn!(%error, "old components cannot be removed");
        }
        self.meant.clone()
    }
}

/// What a look at a component says. Foreign files may run into a fault of whatever reads them: then that is why it is refused.
fn looked_at(found: &Found, look: impl FnOnce(&Found) -> Plugin) -> Plugin {
    let looked = guarded("it cannot be looked at: the host failed", || Ok(look(found)));
    looked.unwrap_or_else(|reason| Plugin::refused(found, reason))
}

impl Inner {
    /// What serves now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first round: what the cache has serves when this returns.
    pub fn load(self: &Arc<Self>) {
        self.granting.publish(&self.rounds().granted);
        self.round(Some((&self.engines, &self.cache)));
    }

    /// Looks at everything again. With a `listing`: the files are as it says.
    pub fn reload(self: &Arc<Self>, listing: Option<Listing>) {
        if let Some(listing) = listing {
            self.rounds().listing = listing;
        }
        self.round(None);
    }

    /// Serves with these grants from now on.
    pub fn grant(self: &Arc<Self>, granted: &GrantsFile) {
        // Before anything serves by them, and whatever a round waits for: a call that begins in between is refused rather than
        // let through.
        self.granting.publish(granted);
        self.catch_up();
    }

    /// Makes a round with what is configured and granted by now.
    pub fn catch_up(self: &Arc<Self>) {
        // A look that hangs holds the rounds. What is taken back is taken back all the same, and the next round has the rest.
        match self.rounds.try_lock() {
            Ok(rounds) => self.round_of(rounds, None),
            Err(TryLockError::Poisoned(poisoned)) => self.round_of(poisoned.into_inner(), None),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Is something granted, taken back or configured anew since the last round?
    pub fn is_behind(&self) -> bool {
        let rounds = self.rounds();
        rounds.granted != *self.granting.now() || !Arc::ptr_eq(&rounds.config, &self.granting.config())
    }

    /// From now on this process keeps the work directory in order.
    pub fn keep(&self) {
        let mut meant = self.rounds().keep(&self.snapshot().plugins);
        meant.extend(self.bundled_digests());
        if let Err(error) = self.cache.keep_only(|digest| meant.contains(digest)) {
            tracing::warn!(%error, "old code cannot be removed from the cache");
        }
    }

    pub fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(self: &Arc<Self>, cache: Option<(&Engines, &Cache)>) {
        self.round_of(self.rounds(), cache);
    }

    fn round_of(self: &Arc<Self>, mut rounds: MutexGuard<'_, Rounds>, cache: Option<(&Engines, &Cache)>) {
        rounds.granted = (*self.granting.now()).clone();
        let is_new_config = rounds.reconfigure(self.granting.config());
        let before = self.snapshot();
        let Outcome { plugins, forgotten } = rounds.round(&before, cache);
        for plugin in before.plugins.iter().filter(|old| !plugins.iter().any(|new| (new.source, &new.name) == (old.source, &old.name))) {
            tracing::info!(plugin = plugin.name, "the plugin was removed");
        }
        let is_compiling = |plugin: &Arc<Plugin>| matches!(plugin.code(), Ok(Code::Compiling)).then(|| plugin.clone());
        let to_compile = plugins.iter().filter_map(|plugin| match &plugin.newer {
            Some(Newer::Compiling(newer)) => Some(newer.clone()),
            _ => is_compiling(plugin),
        });
        let to_compile = to_compile.collect();
        let is_unchanged =
            plugins.len() == before.plugins.len() && plugins.iter().zip(&before.plugins).all(|(new, old)| Arc::ptr_eq(new, old));
        if !is_unchanged {
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Snapshot { plugins, ..Snapshot::default() });
        }
        self.close_parked(is_new_config);
        let bundled = self.bundled_digests();
        for digest in forgotten.iter().filter(|digest| !bundled.contains(*digest)) {
            link::forget(&self.engines, &self.cache, digest);
        }
        for dropped in self.compile(to_compile) {
            rounds.forget_code(&dropped);
        }
    }

    /// Closes the parked connections whose plugin is another one now. A new configuration closes all: it may give a model
    /// another address or key.
    fn close_parked(&self, is_new_config: bool) {
        let snapshot = self.snapshot();
        let serves = |place: &Place| {
            let serving = snapshot.get(&place.grant.plugin).and_then(|plugin| plugin.serving.as_ref().ok());
            serving.is_some_and(|serving| serving.digest == place.digest && serving.grant == place.granted)
        };
        self.parked.keep_only(|place| !is_new_config && serves(place));
    }

    fn bundled_digests(&self) -> BTreeSet<String> {
        let snapshot = self.snapshot();
        let bundled = snapshot.plugins.iter().filter(|plugin| plugin.source == Source::Bundled);
        bundled.filter_map(|plugin| plugin.digest.clone()).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_host_refuses_the_plugin_that_it_is_about() {
        let found =
            Found { name: "a".into(), source: Source::DroppedIn, path: None, beside: Ok(None), component: Err("unread".to_owned()) };
        let plugin = looked_at(&found, |_| panic!("no such schema"));
        assert_eq!(plugin.name, "a");
        assert_eq!(plugin.serving.err().unwrap(), "it cannot be looked at: the host failed: no such schema");
    }
}
