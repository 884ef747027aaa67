//! Components as code: compiled or taken from the cache, checked against the linker, ready to be instantiated per call.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use stellaclaw_bindings::CONTRACT_VERSION;
use stellaclaw_bindings::provider_plugin::ProviderPluginPre;
use stellaclaw_bindings::tool_plugin::ToolPluginPre;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::Cache;
use super::engine::{Engines, Host, chain};
use super::instance::Guest;
use super::status::Kind;
use super::threads::panic_text;
use crate::limits;

/// A component with its imports resolved, once for all calls.
pub(super) struct Linked {
    pub engine: Engine,
    pub tools: Option<ToolPluginPre<Guest>>,
    pub provider: Option<ProviderPluginPre<Guest>>,
}

/// What compiled code is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    pub digest: &'a str,
    pub memory_bytes: usize,
    pub kinds: &'a [Kind],
}

/// The component from the cache; none when it has to be compiled.
pub(super) fn cached(engines: &Engines, cache: &Cache, wanted: &Wanted<'_>) -> Option<Result<Linked, String>> {
    for host in engines.fitting(wanted.memory_bytes) {
        match cache.load(&host.engine, wanted.digest)? {
            Ok(component) => return Some(link(host, &component, wanted.kinds)),
            Err(error) => tracing::debug!(reason = %chain(&error), "over a limit of the sandbox pool"),
        }
    }
    None
}

/// The component, compiled if it must be, on the first engine whose pool has room for it.
pub(super) fn compiled(engines: &Engines, cache: &Cache, wanted: &Wanted<'_>, wasm: &[u8]) -> Result<Linked, String> {
    let mut reason = String::new();
    for host in engines.fitting(wanted.memory_bytes) {
        match cache.component(&host.engine, wanted.digest, wasm) {
            Ok(component) => return link(host, &component, wanted.kinds),
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

/// Does `work` on foreign bytes. They may run into a fault of whatever reads them; then its panic is the reason.
pub(super) fn guarded<R>(fault: &str, work: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(format!("{fault}: {}", panic_text(&*payload))))
}

type Job = Box<dyn FnOnce() + Send>;

/// Does jobs in their order, on at most [`limits::COMPILERS`] threads with a low priority that end when nothing is left.
#[derive(Clone, Default)]
pub(super) struct Compilers(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
}

impl Compilers {
    /// Queues a job, which must not panic.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let mut queue = self.queue();
        queue.jobs.push_back(Box::new(job));
        if queue.threads >= limits::COMPILERS {
            return Ok(());
        }
        let compilers = self.clone();
        let spawned = thread::Builder::new().name("compile".into()).spawn(move || {
            // On Linux the priority is the thread's own. Without it the compiler only competes harder.
            let _ = rustix::process::setpriority_process(None, limits::COMPILER_NICENESS);
            while let Some(job) = compilers.next() {
                job();
            }
        });
        match spawned {
            Ok(_) => queue.threads += 1,
            // Whoever compiles already will come to it.
            Err(_) if queue.threads > 0 => {}
            Err(error) => {
                queue.jobs.pop_back();
                return Err(error);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        let job = queue.jobs.pop_front();
        if job.is_none() {
            queue.threads -= 1;
        }
        job
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_fault_of_the_compiler_is_a_refusal() {
        assert_eq!(guarded("it fails", || Ok(5)), Ok(5));
        let refused = guarded("it fails", || -> Result<(), String> { panic!("no such instruction") });
        assert_eq!(refused.unwrap_err(), "it fails: no such instruction");
    }

    #[test]
    fn jobs_are_done_at_most_so_many_at_a_time_and_all_of_them() {
        const HANGS: Duration = Duration::from_secs(10);
        let compilers = Compilers::default();
        let (began, has_begun) = mpsc::channel();
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        for _ in 0..2 {
            for number in 0..2 * limits::COMPILERS {
                let (began, gate) = (began.clone(), gate.clone());
                compilers
                    .submit(move || {
                        began.send(number).unwrap();
                        drop(gate.lock().unwrap());
                    })
                    .unwrap();
            }
        }
        for _ in 0..limits::COMPILERS {
            has_begun.recv_timeout(HANGS).unwrap();
        }
        assert_eq!(compilers.queue().threads, limits::COMPILERS);
        assert_eq!(compilers.queue().jobs.len(), 3 * limits::COMPILERS, "the others wait");
        drop(closed);
        for _ in 0..3 * limits::COMPILERS {
            has_begun.recv_timeout(HANGS).unwrap();
        }
    }
}
