//! The plugin runtime: components from files to calls.
//!
//! [`Plugins`] is the handle. A call gets a brand-new sandbox, made from an instance that was linked once, and destroyed
//! with everything in it when the call ends, is stopped, or traps. What a call may reach is its grant, checked at every
//! import; a guest's trap ends its call with a typed error, never the host.
//!
//! Nothing here knows sessions or channels: what a call asks of its session goes through [`SessionPort`].

mod accepted;
mod answers;
mod backoff;
mod bundled;
mod cache;
mod call;
mod catalog;
mod check;
mod compile;
mod consent;
mod convert;
mod engine;
#[doc(hidden)]
pub mod fuzz;
mod grants;
mod guard;
mod helpers;
pub mod imports;
mod inspect;
mod instance;
mod link;
mod load;
mod manifest;
mod pack;
pub mod policy;
mod progress;
mod registry;
mod reload;
mod run;
mod schema;
mod settle;
mod status;
mod stdio;
pub mod stop;
mod threads;
mod trap;
mod watch;
mod withdraw;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::config::{self, Current};
use crate::secrets::{Redactor, Renewals};
use crate::{chat, limits};
use accepted::Accepted;
use answers::{Next, NoTools};
use cache::Cache;
use compile::Compilers;
use engine::Engines;
use imports::http::HttpClient;
use imports::websocket::Parked;
use load::{Code, Plugin};
use policy::paths::Guarded;
use reload::{Rounds, Snapshot};
use run::Terms;
use schema::Schemas;
use stop::StopSignal;
use threads::Threads;
use withdraw::Granting;

pub use call::{
    CallContext, CallError, Content, Delta, ErrorKind, Handed, Mount, Output, OutputPart, Places, SessionInfo, SessionKind, SessionPort,
    Tool, ToolCall,
};
pub use catalog::{Catalog, Offer};
pub use check::{Check, bundled_owner, check, file_digest};
pub use consent::{Ask, ConsentError, Proposal, named_digest};
pub use convert::drawing_usage;
pub use grants::file::GrantsError;
pub use inspect::{Imports, InspectError, Inspection};
pub use pack::{PackError, pack};
pub use reload::unknown_names;
pub use run::DrawingOrder;
pub use status::{Kind, PluginStatus, Source, State};
pub use stellaclaw_bindings::image_types as image;
pub use stellaclaw_bindings::model_list::Entry as AccountModel;
pub use stellaclaw_bindings::search_types as search;
pub use stellaclaw_bindings::types::Modality;

/// What [`Plugins::start`] needs to know.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The work directory: `cache/`, `components/`, `plugins/`, `data/` and `grants.toml` are below it.
    pub workdir: PathBuf,
    pub config: Current,
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
    Grants(#[from] GrantsError),
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
    /// Connections between calls.
    parked: Parked,
    schemas: Schemas,
    /// Until then a catalogue waits for components that are being compiled.
    patient_until: tokio::time::Instant,
    runtime: Handle,
    compilers: Compilers,
    accepted: Accepted,
    rounds: Mutex<Rounds>,
    snapshot: RwLock<Arc<Snapshot>>,
    granting: Granting,
    workdir: PathBuf,
    renewals: Renewals,
    /// The host's own, which learns what calls use. None before [`Plugins::watch`].
    redactor: OnceLock<Redactor>,
    /// Time that sandboxes have lived, all together.
    busy_nanos: AtomicU64,
    /// Calls that wait for other components.
    helping: Semaphore,
}

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
        let components = dir("components")?;
        let accepted = Accepted::new(components);
        let rounds = Mutex::new(Rounds::new(setup, accepted.clone(), dir("data")?)?);
        if let Err(error) = cache.prune(&engines.all()) {
            tracing::warn!(%error, "old code cannot be removed from the cache");
        }
        let runtime = Handle::current();
        let threads = Threads::start(runtime.clone()).map_err(StartError::Threads)?;
        let (http, schemas, compilers) = (HttpClient::new(), Schemas::default(), Compilers::default());
        let inner = Inner {
            threads,
            engines,
            cache,
            http,
            parked: Parked::new(limits::PARKED_TIME),
            schemas,
            runtime,
            compilers,
            accepted,
            rounds,
            snapshot: RwLock::default(),
            granting: Granting::new(setup.config.clone()),
            workdir: setup.workdir.clone(),
            renewals: Renewals::new(),
            redactor: OnceLock::new(),
            patient_until: tokio::time::Instant::now() + limits::CATALOG_WAIT,
            busy_nanos: AtomicU64::new(0),
            helping: Semaphore::new(limits::HELPERS_WAITING),
        };
        let inner = Arc::new(inner);
        inner.load();
        Ok(Self { inner })
    }

    /// Keeps up with the files from now on, and remembers what serves for the next start. The caller holds the lock of the
    /// work directory. `redactor` learns the secrets that `grants.toml` names, now and later, and those that calls use.
    ///
    /// # Errors
    ///
    /// There is no thread for it.
    pub fn watch(&self, redactor: &Redactor) -> Result<(), StartError> {
        self.inner.renewals.tell(redactor);
        self.inner.redactor.get_or_init(|| redactor.clone());
        watch::start(&self.inner, redactor.clone()).map_err(StartError::Threads)
    }

    /// Serves as the configuration says that was put in the place of the one before. Looks at files: not for a thread that
    /// others wait for.
    pub fn reconfigured(&self) {
        self.inner.catch_up();
    }

    /// What no mount may show, as of now.
    #[must_use]
    pub fn guarded(&self) -> Guarded {
        self.inner.guarded()
    }

    /// Waits until no component is being compiled.
    pub async fn wait_ready(&self) {
        self.inner.compilers.idle().await;
    }

    /// Waits until the component `name` is no longer being compiled; false when it cannot serve.
    pub async fn ready(&self, name: &str) -> bool {
        let serves = async || match self.inner.plugin(name) {
            Some(plugin) => self.inner.serve(&plugin).await.is_ok(),
            None => false,
        };
        if serves().await {
            return true;
        }
        // Others may serve in the place of bytes that were refused.
        self.wait_ready().await;
        serves().await
    }

    /// The tools of a session, in a stable order: plugins by source and name, tools as their plugin orders them. Waits
    /// for components that the start found and that are still being compiled, so that the answer does not depend on the
    /// machine's speed; but not for ever: what takes longer is left out this time. What came later is left out until it is
    /// compiled.
    pub async fn tools(&self, info: &SessionInfo) -> Arc<Catalog> {
        self.tools_until(info, self.inner.patient_until).await
    }

    /// [`Self::tools`] that waits for compilers until then.
    async fn tools_until(&self, info: &SessionInfo, patient_until: tokio::time::Instant) -> Arc<Catalog> {
        let snapshot = self.inner.snapshot();
        let known = || snapshot.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(catalog) = known().get(info) {
            return catalog.clone();
        }
        let awaited = snapshot.plugins.iter().filter(|plugin| !plugin.late);
        let offered = join_all(awaited.map(|plugin| self.inner.offered(plugin, info, patient_until))).await;
        let complete = offered.iter().all(Option::is_some);
        let catalog = Arc::new(offered.iter().flatten().flat_map(|tools| tools.iter().cloned()).collect::<Catalog>());
        // Of those who asked at the same time, all get the first answer.
        if complete { known().entry(info.clone()).or_insert(catalog).clone() } else { catalog }
    }

    /// [`Self::tools`] without waiting for a compiler; none while one is at work on what sessions wait for.
    pub async fn tools_now(&self, info: &SessionInfo) -> Option<Arc<Catalog>> {
        let is_awaited = |plugin: &Arc<Plugin>| !plugin.late && matches!(plugin.code(), Ok(Code::Compiling));
        let patient = tokio::time::Instant::now() < self.inner.patient_until;
        if patient && self.inner.snapshot().plugins.iter().any(is_awaited) {
            return None;
        }
        tokio::time::timeout(limits::TOOLS_NOW, self.tools(info)).await.ok()
    }

    /// Checks a call's arguments against the tool's schema.
    ///
    /// # Errors
    ///
    /// What the model is told: at most a few lines, each with the place in the arguments.
    pub fn check_arguments(&self, tool: &Tool, arguments: &str) -> Result<(), String> {
        self.inner.schemas.check(&tool.parameters, arguments)
    }

    /// Checks a model's options against what its component allows; nothing is wrong where none serves.
    ///
    /// # Errors
    ///
    /// The problems, each with its place in the options.
    pub fn check_options(&self, model: &config::Model) -> Result<(), String> {
        let plugin = self.inner.plugin(&model.provider);
        let surface = plugin.as_ref().and_then(|plugin| plugin.surface.as_deref());
        surface.map_or(Ok(()), |surface| self.inner.check_options(surface, model))
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
        self.inner.complete(model, request, Terms::plain(&request.id, context, stop), on_delta).await
    }

    /// Has the component of `model` get ready for `request`, which may come or not.
    ///
    /// # Errors
    ///
    /// As [`Self::complete`]. Nothing is lost by it.
    pub async fn prepare(
        &self,
        model: &config::Model,
        request: &chat::Request,
        context: CallContext,
        stop: StopSignal,
    ) -> Result<(), chat::Failure> {
        let terms = Terms { time: limits::PREPARE_TIME, ..Terms::plain(&request.id, context, stop) };
        self.inner.prepare(model, request, terms).await
    }

    /// The models that the account of an entry can use, as its component says.
    ///
    /// # Errors
    ///
    /// As [`Self::complete`]; `model-not-found` for a component that cannot say.
    pub async fn account_models(
        &self,
        model: &config::Model,
        context: CallContext,
        stop: StopSignal,
    ) -> Result<Vec<AccountModel>, chat::Failure> {
        self.inner.account_models(model, Terms::plain("models", context, stop)).await
    }

    /// Has the component of `model` search the web.
    ///
    /// # Errors
    ///
    /// The component's own, or the host's for a trap, a timeout, a stop, or a component that cannot serve.
    pub async fn search(
        &self,
        model: &config::Model,
        query: search::Query,
        context: CallContext,
        stop: StopSignal,
    ) -> Result<Vec<search::Hit>, CallError> {
        self.inner.search(model, query, Terms::plain("search", context, stop)).await
    }

    /// Has the component of `model` draw, or change images.
    ///
    /// # Errors
    ///
    /// As [`Self::search`].
    pub async fn draw(
        &self,
        model: &config::Model,
        order: DrawingOrder,
        context: CallContext,
        stop: StopSignal,
    ) -> Result<image::Drawing, CallError> {
        self.inner.draw(model, order, Terms::plain("drawing", context, stop)).await
    }

    /// What the component of a model is; nothing where none serves.
    #[must_use]
    pub fn kinds(&self, model: &config::Model) -> Vec<Kind> {
        self.inner.plugin(&model.provider).map(|plugin| plugin.status().kinds).unwrap_or_default()
    }

    /// The words of the helper roles that somebody serves for a session with the model `own`, sorted.
    #[must_use]
    pub fn helpers(&self, config: &config::Config, own: Option<&config::Model>) -> Vec<String> {
        self.inner.helper_words(config, own)
    }

    /// How long sandboxes have lived since the start, all together: what a turn took beyond it is the host's own.
    #[must_use]
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.inner.busy_nanos.load(Ordering::Relaxed))
    }

    /// Every component that was found, served or not, in the order of their tools.
    #[must_use]
    pub fn list(&self) -> Vec<PluginStatus> {
        self.inner.snapshot().plugins.iter().map(|plugin| plugin.status()).collect()
    }

    /// What a component is, could do at most, and may do here. `what` is the name of a plugin or the path of a file.
    ///
    /// # Errors
    ///
    /// There is no such plugin or file, or it is not a component.
    pub fn inspect(&self, what: &str) -> Result<Inspection, InspectError> {
        self.inspect_plugin(what).map_or_else(|| inspect::file(what), Ok)
    }

    /// [`Self::inspect`] for a plugin of this host; none when there is none of that name, or nothing is known of it.
    #[must_use]
    pub fn inspect_plugin(&self, name: &str) -> Option<Inspection> {
        let snapshot = self.inner.snapshot();
        snapshot.get(name).filter(|plugin| plugin.surface.is_some()).map(|plugin| inspect::plugin(plugin))
    }

    /// The tools of a plugin in the words that a model reads; none where it does not serve.
    pub async fn offers(&self, name: &str) -> Vec<String> {
        let Some(plugin) = self.inner.plugin(name) else { return Vec::new() };
        let tools = self.inner.offered(&plugin, &SessionInfo::plain(), self.inner.patient_until).await.unwrap_or_default();
        tools.iter().map(|tool| format!("{}: {}", tool.name, tool.description)).collect()
    }
}

impl Inner {
    fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        self.snapshot().get(name).cloned()
    }

    /// A plugin's tools: an empty list where it does not serve or its catalogue is wrong, none as long as they are not known.
    async fn offered(
        self: &Arc<Self>,
        plugin: &Arc<Plugin>,
        info: &SessionInfo,
        patient_until: tokio::time::Instant,
    ) -> Option<Arc<[Tool]>> {
        match plugin.answers.next(info, Instant::now()) {
            Next::Said(tools) => return Some(tools),
            Next::Wait => return None,
            Next::Ask => {}
        }
        // Not so long for each question: one component that takes for ever would hold up every turn of everybody.
        let Ok(served) = tokio::time::timeout_at(patient_until, self.serve(plugin)).await else {
            if plugin.answers.is_first_missed() {
                tracing::warn!(plugin = plugin.name, "it is still being compiled; its tools are left out until it is");
            }
            return None;
        };
        let Ok((_, linked)) = served else { return Some(Arc::default()) };
        match self.catalog_of(plugin, &linked, info).await {
            Ok(tools) => Some(plugin.answers.said(info, tools)),
            Err(NoTools::Wrong(reason)) => {
                tracing::error!(plugin = plugin.name, reason, "its tools are left out");
                Some(plugin.answers.said(info, Vec::new()))
            }
            Err(reason) => {
                let pause = match plugin.answers.unanswered(info, Instant::now()) {
                    Ok(tools) => return Some(tools),
                    Err(pause) => pause,
                };
                tracing::error!(plugin = plugin.name, %reason, again_in = ?pause, "its tools are left out for now");
                None
            }
        }
    }
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
