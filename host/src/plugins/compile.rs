//! Compiling in the background: what waits for it, and what becomes of it.
//!
//! A component is compiled once, however many rounds of `reload` pass until that is done; one that nobody means any more is
//! not. What fails in a way that may pass is tried again later, and nobody is refused for it: only what a component is or
//! says refuses it, here, once, and not in the middle of a conversation. A fault of whatever reads foreign bytes costs their
//! plugin, never a thread that compiles.

mod orders;

use std::borrow::Cow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::watch;

use super::answers::NoTools;
use super::call::SessionInfo;
use super::link::{self, Linked, Wanted, guarded};
use super::load::{Code, Plugin, Serving, Slot};
use super::status::Source;
use super::threads::panic_text;
use super::{Inner, bundled};
use crate::limits;
use orders::Orders;

/// What is to be compiled, and who does it: at most [`limits::COMPILERS`] threads with a low priority that end when nothing is
/// left to do.
pub(super) struct Compilers {
    orders: Mutex<Orders<Order>>,
    /// How much has no result yet that can be waited for.
    awaited: watch::Sender<usize>,
}

/// A plugin whose code is missing. The code is what counts: others may mean the same.
#[derive(Clone)]
struct Order(Arc<Plugin>);

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same_code(&other.0)
    }
}

/// Why code that was waited for does not come.
const REPLACED: &str = "it was removed, or other bytes or settings have taken its place";

/// Why there is no code.
enum Failure {
    /// It is the component's own.
    Lasting(String),
    /// It came to no end.
    Unanswered(String),
    /// It is the machine's.
    Passing(String),
}

impl Default for Compilers {
    fn default() -> Self {
        Self { orders: Mutex::default(), awaited: watch::Sender::new(0) }
    }
}

impl Compilers {
    /// Waits until nothing is left to compile, but for what has failed often in a way that may pass.
    pub async fn idle(&self) {
        let mut awaited = self.awaited.subscribe();
        // Its sender lives as long as this.
        let _: Result<_, watch::error::RecvError> = awaited.wait_for(|count| *count == 0).await;
    }

    /// Does something with the orders, and tells those who wait for their end.
    fn with<R>(&self, change: impl FnOnce(&mut Orders<Order>) -> R) -> R {
        let mut orders = self.orders();
        let result = change(&mut orders);
        self.awaited.send_replace(orders.awaited());
        result
    }

    fn orders(&self) -> MutexGuard<'_, Orders<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Compiles these from now on, and nothing else; the code that is not to be made any more.
    pub fn compile(self: &Arc<Self>, wanted: Vec<Arc<Plugin>>) -> Vec<Slot> {
        let dropped = self.compilers.with(|orders| orders.want(wanted.into_iter().map(Order)));
        self.hire();
        let codes = dropped.iter().flat_map(|Order(plugin)| plugin.serving.as_ref().ok()).map(|serving| serving.code.clone());
        codes
            .inspect(|code| {
                // Somebody may wait for it.
                code.send_replace(Code::Refused(REPLACED.to_owned()));
            })
            .collect()
    }

    /// Sees to it that somebody works on what waits.
    fn hire(self: &Arc<Self>) {
        while self.compilers.orders().hire() {
            let inner = self.clone();
            let spawned = thread::Builder::new().name("compile".into()).spawn(move || {
                // On Linux the priority is the thread's own. Without it the compiler only competes harder.
                let _ = rustix::process::setpriority_process(None, limits::COMPILER_NICENESS);
                while let Some(Order(plugin)) = { inner.compilers.orders().next() } {
                    inner.work_on(&plugin);
                }
            });
            let Err(error) = spawned else { continue };
            // Whoever works already will come to it.
            if self.compilers.orders().dismiss() == 0 {
                tracing::error!(%error, "no thread can be started that would compile components; it is tried again");
                self.later(limits::AGAIN_AFTER, |inner| inner.hire());
            }
            return;
        }
    }

    /// Compiles one component, come what may.
    fn work_on(self: &Arc<Self>, plugin: &Arc<Plugin>) {
        let worked = panic::catch_unwind(AssertUnwindSafe(|| {
            self.fill(plugin);
            self.reload(None);
        }));
        if let Err(payload) = worked {
            tracing::error!(plugin = plugin.name, panic = panic_text(&*payload), "a look at the plugins failed");
        }
    }

    /// Puts a component's code, or why there is none, into its place; or sees to it that it is tried again.
    fn fill(self: &Arc<Self>, plugin: &Arc<Plugin>) {
        let Ok(serving) = &plugin.serving else { return };
        let begin = Instant::now();
        let made = guarded("it cannot be compiled: the compiler failed", || Ok(self.made(plugin, serving)));
        let code = match made.unwrap_or_else(|fault| Err(Failure::Lasting(fault))) {
            Ok(linked) => Code::Ready(linked),
            Err(Failure::Lasting(reason)) => Code::Refused(reason),
            Err(Failure::Unanswered(reason)) if self.compilers.orders().failures(&Order(plugin.clone())) + 1 >= limits::CATALOG_TRIES => {
                link::forget(&self.engines, &self.cache, &serving.digest);
                Code::Refused(reason)
            }
            Err(Failure::Unanswered(reason) | Failure::Passing(reason)) => {
                let order = Order(plugin.clone());
                let pause = self.compilers.with(|orders| orders.pause(&order, Instant::now()));
                if let Some(pause) = pause {
                    tracing::warn!(plugin = plugin.name, reason, again_in = ?pause, "a component cannot be compiled now; it is tried again");
                    self.later(pause, move |inner| {
                        inner.compilers.with(|orders| orders.resume(&order));
                        inner.hire();
                    });
                } else {
                    // Nobody wants it any more, but somebody may wait for it.
                    serving.code.send_replace(Code::Refused(REPLACED.to_owned()));
                    self.rounds().forget_code(&serving.code);
                }
                return;
            }
        };
        tracing::info!(plugin = plugin.name, elapsed = ?begin.elapsed(), "compiled");
        serving.code.send_replace(code);
    }

    /// A component's code, with a catalogue that can be used.
    fn made(self: &Arc<Self>, plugin: &Arc<Plugin>, serving: &Serving) -> Result<Arc<Linked>, Failure> {
        let wanted = Wanted { digest: &serving.digest, memory_bytes: serving.limits.memory_bytes, kinds: &serving.kinds };
        let wasm = self.bytes(plugin, &serving.digest)?;
        let linked = link::compiled(&self.engines, &self.cache, &wanted, &wasm).map(Arc::new).map_err(Failure::Lasting)?;
        let plain = SessionInfo::plain();
        match self.runtime.block_on(self.catalog_of(plugin, &linked, &plain)) {
            Ok(tools) => {
                plugin.answers.said(&plain, tools);
                self.cache.prove(&linked.engine, &serving.digest);
                Ok(linked)
            }
            Err(NoTools::Wrong(reason)) => {
                link::forget(&self.engines, &self.cache, &serving.digest);
                Err(Failure::Lasting(reason))
            }
            Err(NoTools::Unanswered(reason)) => Err(Failure::Unanswered(reason)),
            Err(NoTools::Unasked(reason)) => Err(Failure::Passing(reason)),
        }
    }

    /// The bytes to compile: one component's at a time is in memory.
    fn bytes(&self, plugin: &Plugin, digest: &str) -> Result<Cow<'static, [u8]>, Failure> {
        if plugin.source == Source::Bundled {
            let found = bundled::BUNDLED.iter().find(|(name, _)| *name == plugin.name);
            return found.map(|(_, wasm)| Cow::Borrowed(*wasm)).ok_or_else(|| Failure::Lasting("it is not bundled".to_owned()));
        }
        match self.accepted.look(digest) {
            Ok(Some(bytes)) => Ok(bytes.wasm),
            Ok(None) => Err(Failure::Lasting(format!("its accepted bytes are not in {}", self.accepted.dir().display()))),
            Err(error) => Err(Failure::Passing(error.to_string())),
        }
    }

    /// Does something after a while, if there are plugins by then.
    fn later(self: &Arc<Self>, pause: std::time::Duration, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let weak = Arc::downgrade(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(inner) = weak.upgrade() {
                work(&inner);
            }
        });
    }
}
