//! Running a call: a guest made of its grant, a thread, a bound, and an answer or a typed error.

mod credentials;
mod helping;
mod model;
mod mounts;
mod outcome;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use stellaclaw_bindings::tools as wire;
use wasmtime::Store;

use super::answers::NoTools;
use super::call::{CallContext, CallError, ErrorKind, Output, SessionInfo, Tool, ToolCall};
use super::engine::chain;
use super::grants::Grant;
use super::imports::filesystem::{Denial, FileLimits, Files};
use super::imports::http::{HttpContext, SlotGrant};
use super::imports::websocket::{Place, Sockets};
use super::instance::{Call, Deltas, Ended, Guest, InSession, World, bounded};
use super::link::Linked;
use super::load::{Code, Plugin, Serving};
use super::progress::Progress;
use super::stop::{StopSignal, stop};
use super::{Inner, OnDelta, catalog, convert};
use crate::ids::CallId;
use crate::secrets::{Credential, Redactor};
use crate::{crash, limits};
use helping::Chain;
pub(super) use helping::Helping;
pub use model::DrawingOrder;
pub(super) use model::Terms;
use mounts::open_mounts;
use outcome::{contents, crashed, cut_off, error, host_failed, tell_the_log, tool_answer};

/// What one call is given.
struct Spec {
    world: World,
    grant: Arc<Grant>,
    /// None for a catalogue: no session, no files.
    session: Option<(CallId, CallContext)>,
    /// The alias of the model that is asked.
    model: Option<String>,
    deltas: Option<OnDelta>,
    /// Is told how far a model request comes.
    progress: Progress,
    stop: StopSignal,
    time: Duration,
    /// In the place of the plugin's own: the model entry in whose name it is called.
    settings: Option<Arc<str>>,
    /// Who asks; empty where no component does.
    chain: Chain,
}

/// What is left of a sandbox.
struct Remains<R> {
    result: Result<wasmtime::Result<R>, Ended>,
    /// A thread was there for it.
    began: bool,
    /// What the guest wrote to its standard output and error.
    written: String,
    denials: Vec<Denial>,
    /// It looked for directories and was granted none.
    in_vain: bool,
    /// What it sent on the way was more than it may.
    over: bool,
    redactor: Redactor,
}

impl Inner {
    /// Runs one tool call.
    pub async fn run_tool(
        self: &Arc<Self>,
        tool: &Tool,
        call: ToolCall,
        context: CallContext,
        stop: StopSignal,
    ) -> Result<Output, CallError> {
        let plugin = self.plugin(&tool.plugin).ok_or_else(|| error(ErrorKind::NotFound, format!("there is no plugin {}", tool.plugin)))?;
        let (serving, linked) = self
            .serve_within(&plugin, tool.timeout, &stop)
            .await
            .map_err(|ended| cut_off(&tool.name, tool.timeout, "it is still being compiled", ended))?
            .map_err(|reason| error(ErrorKind::Unavailable, reason))?;
        let pre = linked.tools.clone().ok_or_else(|| error(ErrorKind::NotFound, format!("{} offers no tools", plugin.name)))?;
        let wire = wire::Call {
            id: call.id.0.clone(),
            name: call.name,
            arguments: call.arguments,
            attempt: call.attempt,
            time_left: u64::try_from(tool.timeout.as_millis()).unwrap_or(u64::MAX),
            session: convert::session_info(&context.info),
            ext: None,
        };
        let spec = Spec {
            world: World::Real,
            grant: serving.grant.clone(),
            session: Some((call.id, context)),
            model: None,
            deltas: None,
            progress: Progress::default(),
            stop,
            time: tool.timeout,
            settings: None,
            chain: Chain::default(),
        };
        let remains = self
            .sandboxed(&plugin, &linked, spec, async move |store| {
                let instance = pre.instantiate_async(&mut *store).await?;
                let answer = instance.stellaclaw_plugin_tools().call_run(&mut *store, &wire).await?;
                let files = answer.as_ref().map(|answer| contents(&store.data().files, answer)).unwrap_or_default();
                Ok(answer.map(|answer| (answer, files)))
            })
            .await?;
        tool_answer(&plugin, serving, tool, remains)
    }

    /// One plugin's tools for a session, checked.
    pub async fn catalog_of(
        self: &Arc<Self>,
        plugin: &Arc<Plugin>,
        linked: &Arc<Linked>,
        info: &SessionInfo,
    ) -> Result<Vec<Tool>, NoTools> {
        let (Ok(serving), Some(pre)) = (&plugin.serving, linked.tools.clone()) else { return Ok(Vec::new()) };
        let (_never, signal) = stop();
        let info = convert::session_info(info);
        let spec = Spec {
            world: World::Fixed,
            grant: Arc::new(Grant { plugin: plugin.name.clone(), ..Grant::default() }),
            session: None,
            model: None,
            deltas: None,
            progress: Progress::default(),
            stop: signal,
            time: limits::CATALOG_TIME,
            settings: None,
            chain: Chain::default(),
        };
        let remains = self
            .sandboxed(plugin, linked, spec, async move |store| {
                let instance = match pre.instantiate_async(&mut *store).await {
                    Err(error) if is_shortage(&error) => return Ok(Err(chain(&error))),
                    made => made?,
                };
                instance.stellaclaw_plugin_tools().call_catalog(store, &info).await.map(Ok)
            })
            .await
            .map_err(|error| NoTools::Unanswered(format!("its catalogue: {}", error.message)))?;
        let wrong = |reason: String| Err(NoTools::Wrong(format!("its catalogue: {reason}")));
        let seconds = limits::CATALOG_TIME.as_secs();
        let offered = match remains.result {
            Ok(Ok(Ok(Ok(offered)))) => offered,
            Ok(Ok(Err(shortage))) => return Err(NoTools::Unasked(format!("no sandbox could be made for its catalogue: {shortage}"))),
            Ok(Ok(Ok(Err(error)))) => return wrong(convert::error_from_guest(error).message),
            Ok(Err(trap)) => return wrong(crashed(plugin, &trap, &remains.redactor, &remains.written).message),
            Err(_) if remains.began => return Err(NoTools::Unanswered(format!("its catalogue took longer than {seconds} s"))),
            Err(_) => return Err(NoTools::Unasked(format!("no thread was free for its catalogue in {seconds} s"))),
        };
        catalog::check(&plugin.name, &serving.surface.manifest.tools, &serving.policy, offered).map_err(NoTools::Wrong)
    }

    /// The plugin once it can serve, or the reason why it cannot.
    pub async fn serve<'a>(&self, plugin: &'a Plugin) -> Result<(&'a Serving, Arc<Linked>), String> {
        let serving = plugin.serving.as_ref().map_err(|reason| format!("{}: {reason}", plugin.name))?;
        let mut code = serving.code.subscribe();
        match code.wait_for(|code| !matches!(code, Code::Compiling)).await.as_deref() {
            Ok(Code::Ready(linked)) => Ok((serving, linked.clone())),
            Ok(Code::Refused(reason)) => Err(format!("{}: {reason}", plugin.name)),
            Ok(Code::Compiling) | Err(_) => Err(format!("{}: the host is shutting down", plugin.name)),
        }
    }

    /// [`Self::serve`] for a call, which may be stopped or run out of time before its component is compiled.
    async fn serve_within<'a>(
        &self,
        plugin: &'a Plugin,
        time: Duration,
        stop: &StopSignal,
    ) -> Result<Result<(&'a Serving, Arc<Linked>), String>, Ended> {
        let mut stop = stop.clone();
        tokio::select! {
            biased;
            served = self.serve(plugin) => Ok(served),
            _ = stop.stopped() => Err(Ended::Stopped),
            () = tokio::time::sleep(time) => Err(Ended::TimedOut),
        }
    }

    /// Runs `body` in a new sandbox, on a thread of the pool. Does not wait for a thread that does not come back.
    async fn sandboxed<R: Send + 'static>(
        self: &Arc<Self>,
        plugin: &Arc<Plugin>,
        linked: &Arc<Linked>,
        spec: Spec,
        body: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<R> + Send + 'static,
    ) -> Result<Remains<R>, CallError> {
        let (inner, owned, linked) = (self.clone(), plugin.clone(), linked.clone());
        let (time, stop) = (spec.time, spec.stop.clone());
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = has_begun.clone();
        let gone = |ended, began| Remains {
            result: Err(ended),
            began,
            written: String::new(),
            denials: Vec::new(),
            in_vain: false,
            over: false,
            redactor: Redactor::default(),
        };
        // The time runs from here, also while the call waits for a thread.
        let asked = Instant::now();
        let job = move || async move {
            let serving = owned.serving.as_ref().map_err(|reason| error(ErrorKind::Unavailable, reason.clone()))?;
            let (time, stop) = (spec.time.saturating_sub(asked.elapsed()), spec.stop.clone());
            if stop.is_stopped() || time.is_zero() {
                return Ok(gone(if stop.is_stopped() { Ended::Stopped } else { Ended::TimedOut }, false));
            }
            // What has to be renewed first is waited for like everything else of the call.
            let secrets = match bounded(inner.credentials(&spec.grant), time, stop.clone(), Duration::ZERO).await {
                Ok(read) => read?,
                Err(ended) => return Ok(gone(ended, false)),
            };
            let time = spec.time.saturating_sub(asked.elapsed());
            // A catalogue is made without any grant.
            let began_with = spec.session.is_some().then_some((&*owned, serving));
            if !inner.granting.holds(began_with) {
                let waited = format!("what is granted to {} has changed while the call waited; make it again", owned.name);
                return Err(error(ErrorKind::Unavailable, waited));
            }
            begins.store(true, Ordering::Relaxed);
            let guest = inner.guest(serving, spec, secrets, asked + time)?;
            let redactor = guest.call.redactor.clone();
            let step = guest.call.step("await.model", "await.tool");
            let mut store = guest.into_store(&linked.engine, &serving.limits);
            let begin = Instant::now();
            let result = tokio::select! {
                biased;
                () = inner.granting.withdrawn(began_with) => {
                    let ended = format!("what was granted to {} was taken back while the call ran, which ended it", owned.name);
                    return Err(error(ErrorKind::Denied, ended));
                }
                result = bounded(body(&mut store), time, stop, Duration::ZERO) => result,
                () = cut_off_by_a_test(step) => Err(Ended::TimedOut),
            };
            inner.busy_nanos.fetch_add(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            let guest = store.into_data();
            let written = guest.output.text();
            tell_the_log(&guest.call, &written);
            let in_vain = guest.files.looked() && guest.call.grant.fs.is_empty();
            let over = guest.call.deltas.as_ref().is_some_and(|deltas| deltas.over);
            Ok(Remains { result, began: true, written, denials: guest.files.denials(), in_vain, over, redactor })
        };
        match bounded(self.threads.run(job), time, stop, limits::WEDGED_AFTER).await {
            Ok(Ok(remains)) => remains,
            Ok(Err(lost)) => Err(host_failed(&plugin.name, &lost)),
            Err(ended) => {
                let began = has_begun.load(Ordering::Relaxed);
                if began {
                    tracing::error!(plugin = plugin.name, "a call's thread hangs in the system and is given up");
                } else {
                    tracing::warn!(plugin = plugin.name, "a call has waited in vain for a thread: all of them are busy");
                }
                Ok(gone(ended, began))
            }
        }
    }

    /// The state of a call's store: what its grant, its session and the operator's limits come to.
    fn guest(
        self: &Arc<Self>,
        serving: &Serving,
        spec: Spec,
        secrets: BTreeMap<String, Credential>,
        deadline: Instant,
    ) -> Result<Guest, CallError> {
        let Spec { world, grant, session, model, deltas, progress, stop, settings, chain, .. } = spec;
        let redactor = Redactor::new(secrets.values().map(|credential| &credential.value));
        let files = match world {
            World::Fixed => Vec::new(),
            World::Real => open_mounts(serving, &grant, session.as_ref().map(|(_, context)| context), || self.guarded())?,
        };
        let files = Files::new(files, FileLimits { written_bytes: limits::WRITTEN_BYTES, created_entries: limits::CREATED_ENTRIES });
        let slots = grant.secrets.iter().filter_map(|(slot, secret)| {
            let value = secrets.get(slot)?.value.clone();
            Some(SlotGrant { slot: slot.clone(), secret: value, origins: secret.origins.clone() })
        });
        let blobs = session.as_ref().map(|(_, context)| context.blobs.clone()).unwrap_or_default();
        let (slots, origins) = (slots.collect(), grant.http.clone());
        let http = HttpContext::new(self.http.clone(), &grant.plugin, origins, slots, redactor.clone(), blobs, stop.clone());
        let http = http.watched(progress);
        let place = session.as_ref().map(|(_, context)| Place {
            session: context.session,
            model,
            digest: serving.digest.clone(),
            granted: serving.grant.clone(),
            grant: grant.clone(),
        });
        let sockets = Sockets::new(self.parked.clone(), place);
        let call = Call {
            secrets,
            renewals: self.renewals.clone(),
            redactor,
            settings: settings.unwrap_or_else(|| serving.settings.clone()),
            stop,
            session: session.map(|(call, context)| {
                let CallContext { conversation, port, store, .. } = context.clone();
                let helping = Helping::new(self.clone(), (call.clone(), context), grant.clone(), serving.digest.clone(), chain, deadline);
                InSession { call, conversation, store, port, helping }
            }),
            deltas: deltas.map(|send| Deltas { send, kinds: BTreeMap::new(), bytes_left: serving.limits.output_bytes, over: false }),
            log_lines: 0,
            says: 0,
            host_calls_left: serving.limits.host_calls,
            over: false,
            grant,
        };
        Ok(Guest::new(world, &serving.limits, files, http, sockets, call))
    }
}

/// Resolves at the await of a call at which a test wants it to end; otherwise never.
fn cut_off_by_a_test(step: Option<&'static str>) -> impl Future<Output = ()> {
    std::future::poll_fn(move |_| if step.is_some_and(crash::fault) { Poll::Ready(()) } else { Poll::Pending })
}

/// Was it the machine that could not make a sandbox: no memory, no descriptor, no place in the pool? What a component asks for
/// beyond its limits is its own fault.
fn is_shortage(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::PoolConcurrencyLimitError>()
        || error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<rustix::io::Errno>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_what_the_system_says_and_not_a_limit() {
        let context = |cause: wasmtime::Error| cause.context("a sandbox cannot be made");
        assert!(is_shortage(&context(std::io::Error::from_raw_os_error(24).into())));
        assert!(is_shortage(&context(rustix::io::Errno::NOMEM.into())));
        assert!(!is_shortage(&context(wasmtime::Error::msg("memory index 0 is over the limit"))));
        assert!(!is_shortage(&wasmtime::Trap::UnreachableCodeReached.into()));
    }
}
