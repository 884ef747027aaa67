//! The plugin runtime: components from files to calls.
//!
//! [`Plugins`] is the handle. A call gets a brand-new sandbox, made from an instance that was linked once, and destroyed
//! with everything in it when the call ends, is stopped, or traps. What a call may reach is its grant, checked at every
//! import; a guest's trap ends its call with a typed error, never the host.
//!
//! Nothing here knows sessions or channels: what a call asks of its session goes through [`SessionPort`].

mod bundled;
mod cache;
mod call;
mod catalog;
mod check;
mod convert;
mod engine;
#[doc(hidden)]
pub mod fuzz;
mod grants;
pub mod imports;
mod inspect;
mod instance;
mod link;
mod load;
mod manifest;
mod pack;
pub mod policy;
mod registry;
mod run;
mod schema;
mod status;
mod stdio;
pub mod stop;
mod threads;
mod trap;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;

use crate::config::{self, Config};
use crate::{chat, limits};
use cache::Cache;
use engine::Engines;
use imports::http::HttpClient;
use load::{Code, Loader, Plugin};
use registry::Accepted;
use schema::Schemas;
use stop::StopSignal;
use threads::Threads;

pub use call::{
    CallContext, CallError, Delta, ErrorKind, Mount, Output, OutputPart, Places, SessionInfo, SessionKind, SessionPort, Tool, ToolCall,
};
pub use catalog::Catalog;
pub use check::{Check, bundled_owner, check};
pub use inspect::{Imports, InspectError, Inspection};
pub use pack::{PackError, pack};
pub use status::{Kind, PluginStatus, Source, State};

/// What [`Plugins::start`] needs to know.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The work directory: `cache/`, `components/`, `plugins/`, `data/` and `grants.toml` are below it.
    pub workdir: PathBuf,
    pub config: Arc<Config>,
    /// Offer the components that are part of this program.
    pub bundled: bool,
}

/// Why the runtime cannot start at all. A bad component is not among the reasons: it is refused alone.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("start the component engine: {0}")]
    Engine(String),
    #[error("{action} {path}: {source}", path = path.display())]
    Directory { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("start threads for calls: {0}")]
    Threads(std::io::Error),
    #[error("the grants: {0}")]
    Grants(#[from] config::ConfigError),
}

/// Where the pieces of an answer go while it is written. Called on the call's own thread; must not wait.
pub type OnDelta = Arc<dyn Fn(Vec<Delta>) + Send + Sync>;

/// The handle: cheap to clone, one per process.
#[derive(Clone)]
pub struct Plugins {
    inner: Arc<Inner>,
}

/// Everything that lives as long as the process.
struct Inner {
    threads: Threads,
    engines: Engines,
    cache: Cache,
    http: HttpClient,
    schemas: Schemas,
    /// In the order in which their tools are listed.
    plugins: Vec<Arc<Plugin>>,
    /// Until then a catalogue waits for components that are being compiled.
    patient_until: tokio::time::Instant,
    /// Time that sandboxes have lived, all together.
    busy_nanos: AtomicU64,
    /// By what they depend on; the components and their settings do not change while the process lives.
    catalogs: Mutex<HashMap<SessionInfo, Arc<Catalog>>>,
}

/// A component with the bytes it may have to be compiled from.
type WithBytes<P> = (P, Cow<'static, [u8]>);

impl Plugins {
    /// Reads every component, and serves those whose code is in the cache when it returns. The others are compiled in
    /// the background. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(setup: &Setup) -> Result<Self, StartError> {
        let dir = |name: &str| private_dir(setup.workdir.join(name));
        let cache_dir = dir("cache")?;
        let cache = Cache::open(cache_dir.clone()).map_err(|source| StartError::Directory {
            action: "open the code cache",
            path: cache_dir,
            source,
        })?;
        let engines = Engines::start().map_err(|error| StartError::Engine(error.to_string()))?;
        let plugins = load(setup, &Accepted::new(dir("components")?), &dir("data")?)?;
        let (plugins, to_compile) = link_cached(plugins, &engines, &cache);
        if let Err(error) = cache.prune(&engines.all()) {
            tracing::warn!(%error, "old code cannot be removed from the cache");
        }
        let threads = Threads::start(Handle::current()).map_err(StartError::Threads)?;
        let (http, schemas, catalogs) = (HttpClient::new(), Schemas::default(), Mutex::default());
        let (patient_until, busy_nanos) = (tokio::time::Instant::now() + limits::CATALOG_WAIT, AtomicU64::new(0));
        let inner = Arc::new(Inner { threads, engines, cache, http, schemas, plugins, patient_until, busy_nanos, catalogs });
        inner.compile(to_compile).map_err(StartError::Threads)?;
        Ok(Self { inner })
    }

    /// Waits until no component is being compiled.
    pub async fn wait_ready(&self) {
        join_all(self.inner.plugins.iter().map(|plugin| self.inner.serve(plugin))).await;
    }

    /// Waits until the component `name` is no longer being compiled; false when it cannot serve.
    pub async fn ready(&self, name: &str) -> bool {
        match self.inner.plugin(name) {
            Some(plugin) => self.inner.serve(&plugin).await.is_ok(),
            None => false,
        }
    }

    /// The tools of a session, in a stable order: plugins by source and name, tools as their plugin orders them. Waits
    /// for components that are still being compiled, so that the answer does not depend on the machine's speed; but not
    /// for ever: what takes longer is left out this time.
    pub async fn tools(&self, info: &SessionInfo) -> Arc<Catalog> {
        let known = || self.inner.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(catalog) = known().get(info) {
            return catalog.clone();
        }
        let catalogs = join_all(self.inner.plugins.iter().map(|plugin| self.inner.catalog_if_serving(plugin, info))).await;
        let complete = catalogs.iter().all(Result::is_ok);
        let catalog = Arc::new(catalogs.into_iter().filter_map(Result::ok).flatten().collect::<Catalog>());
        // Of those who asked at the same time, all get the first answer.
        if complete { known().entry(info.clone()).or_insert(catalog).clone() } else { catalog }
    }

    /// Checks a call's arguments against the tool's schema.
    ///
    /// # Errors
    ///
    /// What the model is told: at most a few lines, each with the place in the arguments.
    pub fn check_arguments(&self, tool: &Tool, arguments: &str) -> Result<(), String> {
        self.inner.schemas.check(&tool.parameters, arguments)
    }

    /// Runs one tool call in a sandbox of its own.
    ///
    /// # Errors
    ///
    /// The tool's own error, or the host's for a trap, a timeout, a stop, or a plugin that cannot serve. A trap is also in
    /// the log when this returns.
    pub async fn run_tool(&self, tool: &Tool, call: ToolCall, context: CallContext, stop: StopSignal) -> Result<Output, CallError> {
        self.inner.run_tool(tool, call, context, stop).await
    }

    /// Asks `model` in a sandbox of its own. Its component is `model.provider`.
    ///
    /// # Errors
    ///
    /// The component's own failure, or the host's for a trap (`other`), a timeout, a stop (`cancelled`), or a component
    /// that cannot serve (`model-not-found`).
    pub async fn complete(
        &self,
        model: &config::Model,
        request: &chat::Request,
        context: CallContext,
        stop: StopSignal,
        on_delta: OnDelta,
    ) -> Result<chat::Completion, chat::Failure> {
        self.inner.complete(model, request, context, stop, on_delta).await
    }

    /// How long sandboxes have lived since the start, all together: what a turn took beyond it is the host's own.
    #[must_use]
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.inner.busy_nanos.load(Ordering::Relaxed))
    }

    /// Every component that was found, served or not, in the order of their tools.
    #[must_use]
    pub fn list(&self) -> Vec<PluginStatus> {
        self.inner.plugins.iter().map(|plugin| plugin.status()).collect()
    }

    /// What a component is, could do at most, and may do here. `what` is the name of a plugin or the path of a file.
    ///
    /// # Errors
    ///
    /// There is no such plugin or file, or it is not a component.
    pub fn inspect(&self, what: &str) -> Result<Inspection, InspectError> {
        let plugin = self.inner.plugins.iter().find(|plugin| plugin.name == what && plugin.surface.is_some());
        match plugin {
            Some(plugin) => Ok(inspect::plugin(plugin)),
            None => inspect::file(what),
        }
    }
}

impl Inner {
    fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        // Of plugins with one name, the first has it and the others are refused.
        self.plugins.iter().find(|plugin| plugin.name == name).cloned()
    }

    /// A plugin's tools; none where it does not serve or its catalogue is wrong, an error while it is being compiled.
    async fn catalog_if_serving(self: &Arc<Self>, plugin: &Arc<Plugin>, info: &SessionInfo) -> Result<Vec<Tool>, Elapsed> {
        // Not so long for each question: one component that takes for ever would hold up every turn of everybody.
        let served = tokio::time::timeout_at(self.patient_until, self.serve(plugin)).await;
        let served = served.inspect_err(|_| tracing::warn!(plugin = plugin.name, "it is still being compiled; its tools are left out"))?;
        let Ok((_, linked)) = served else { return Ok(Vec::new()) };
        let catalog = self.catalog_of(plugin, &linked, info).await;
        // The same question would get the same answer, and cost as much each time.
        Ok(catalog.unwrap_or_else(|reason| {
            tracing::error!(plugin = plugin.name, reason, "its tools are left out");
            Vec::new()
        }))
    }

    /// Compiles in the background. A component with a catalogue that cannot be used is refused here, once, and not in the
    /// middle of a conversation.
    fn compile(self: &Arc<Self>, jobs: Vec<WithBytes<Arc<Plugin>>>) -> std::io::Result<()> {
        let (inner, runtime) = (self.clone(), Handle::current());
        link::in_background(jobs, move |(plugin, wasm)| {
            let Ok(serving) = &plugin.serving else { return };
            let begin = std::time::Instant::now();
            let checked = link::guarded(|| {
                let linked = link::compiled(&inner.engines, &inner.cache, serving, &wasm).map(Arc::new)?;
                let plain = SessionInfo { kind: SessionKind::Foreground, reads: Vec::new(), helpers: Vec::new() };
                // Code in the cache serves at the next start without being looked at again.
                let checked = runtime.block_on(inner.catalog_of(&plugin, &linked, &plain));
                checked.inspect_err(|_| inner.cache.forget(&linked.engine, &serving.digest)).map(|_| linked)
            });
            let code = match checked {
                Ok(linked) => Code::Ready(linked),
                Err(reason) => {
                    tracing::error!(plugin = plugin.name, reason, "the plugin is refused");
                    Code::Refused(reason)
                }
            };
            tracing::info!(plugin = plugin.name, elapsed = ?begin.elapsed(), "compiled");
            serving.code.send_replace(code);
        })
    }
}

/// Finds and looks into every component.
fn load(setup: &Setup, accepted: &Accepted, data_dir: &Path) -> Result<Vec<WithBytes<Plugin>>, StartError> {
    let grants = setup.workdir.join("grants.toml");
    let granted = if grants.exists() { Config::load(&grants)?.plugins } else { BTreeMap::new() };
    let found = registry::find(&setup.config, &setup.workdir, setup.bundled);
    for name in setup.config.plugins.keys().filter(|name| !found.iter().any(|found| found.name == **name)) {
        tracing::warn!("[plugins.{name}] names no plugin: none is bundled or dropped in under that name, and it has no `path`");
    }
    let mut loader = Loader { config: &setup.config, granted: &granted, accepted, data_dir, names: HashMap::new(), tools: HashMap::new() };
    Ok(found.into_iter().map(|found| loader.load(found)).collect())
}

/// Links what the cache has, and says what is left to compile.
fn link_cached(loaded: Vec<WithBytes<Plugin>>, engines: &Engines, cache: &Cache) -> (Vec<Arc<Plugin>>, Vec<WithBytes<Arc<Plugin>>>) {
    let (mut plugins, mut to_compile) = (Vec::new(), Vec::new());
    for (plugin, wasm) in loaded {
        let plugin = Arc::new(plugin);
        match &plugin.serving {
            Err(reason) => tracing::warn!(plugin = plugin.name, reason, "the plugin is not served"),
            Ok(serving) => match link::cached(engines, cache, serving) {
                Some(Ok(linked)) => drop(serving.code.send_replace(Code::Ready(Arc::new(linked)))),
                Some(Err(reason)) => drop(serving.code.send_replace(Code::Refused(reason))),
                None => to_compile.push((plugin.clone(), wasm)),
            },
        }
        plugins.push(plugin);
    }
    (plugins, to_compile)
}

/// A directory that only this user can look into.
fn private_dir(path: PathBuf) -> Result<PathBuf, StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(StartError::Directory { action: "make the directory", path, source }),
    }
}

#[cfg(test)]
mod tests;
