//! Components as code: compiled or taken from the cache, checked against the linker, ready to be instantiated per call.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use stellaclaw_bindings::CONTRACT_VERSION;
use stellaclaw_bindings::provider_plugin::ProviderPluginPre;
use stellaclaw_bindings::tool_plugin::ToolPluginPre;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::Cache;
use super::engine::{Engines, Host, chain};
use super::instance::Guest;
use super::load::Serving;
use super::status::Kind;
use super::threads::panic_text;
use crate::limits;

/// A component with its imports resolved, once for all calls.
pub(super) struct Linked {
    pub engine: Engine,
    pub tools: Option<ToolPluginPre<Guest>>,
    pub provider: Option<ProviderPluginPre<Guest>>,
}

/// The component from the cache; none when it has to be compiled.
pub(super) fn cached(engines: &Engines, cache: &Cache, serving: &Serving) -> Option<Result<Linked, String>> {
    for host in engines.fitting(serving.limits.memory_bytes) {
        match cache.load(&host.engine, &serving.digest)? {
            Ok(component) => return Some(link(host, &component, &serving.kinds)),
            Err(error) => tracing::debug!(reason = %chain(&error), "over a limit of the sandbox pool"),
        }
    }
    None
}

/// The component, compiled if it must be, on the first engine whose pool has room for it.
pub(super) fn compiled(engines: &Engines, cache: &Cache, serving: &Serving, wasm: &[u8]) -> Result<Linked, String> {
    let mut reason = String::new();
    for host in engines.fitting(serving.limits.memory_bytes) {
        match cache.component(&host.engine, &serving.digest, wasm) {
            Ok(component) => return link(host, &component, &serving.kinds),
            Err(error) => reason = chain(&error),
        }
    }
    Err(format!("it cannot be compiled: {reason}"))
}

fn link(host: &Host, component: &Component, kinds: &[Kind]) -> Result<Linked, String> {
    let refused = |error: wasmtime::Error| format!("{}; this host serves the contract in version {CONTRACT_VERSION}", chain(&error));
    let pre = host.linker.instantiate_pre(component).map_err(refused)?;
    let tools = kinds.contains(&Kind::Tools).then(|| ToolPluginPre::new(pre.clone()).map_err(refused)).transpose()?;
    let provider = kinds.contains(&Kind::Provider).then(|| ProviderPluginPre::new(pre).map_err(refused)).transpose()?;
    Ok(Linked { engine: host.engine.clone(), tools, provider })
}

/// Does `work`. Compiling foreign bytes may run into a fault of the compiler; then its panic is the reason.
pub(super) fn guarded<R>(work: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(format!("it cannot be compiled: the compiler failed: {}", panic_text(&*payload))))
}

/// Runs `jobs` on at most two threads with a low priority. `job` must not panic.
pub(super) fn in_background<J: Send + 'static>(jobs: Vec<J>, job: impl Fn(J) + Send + Sync + 'static) -> std::io::Result<()> {
    let count = jobs.len().min(limits::COMPILERS);
    let shared = Arc::new((std::sync::Mutex::new(jobs), job));
    for _ in 0..count {
        let shared = shared.clone();
        thread::Builder::new().name("compile".into()).spawn(move || {
            // On Linux the priority is the thread's own. Without it the compiler only competes harder.
            let _ = rustix::process::setpriority_process(None, limits::COMPILER_NICENESS);
            let (jobs, job) = &*shared;
            let next = || jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            while let Some(next) = next() {
                job(next);
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_compiler_is_a_refusal() {
        assert_eq!(guarded(|| Ok(5)), Ok(5));
        let refused = guarded(|| -> Result<(), String> { panic!("no such instruction") });
        assert_eq!(refused.unwrap_err(), "it cannot be compiled: the compiler failed: no such instruction");
    }
}
