//! One call's sandbox: a store made for it, and dropped with everything in it when the call ends.
//!
//! [`Guest`] is what the imports of one call work on: exactly its grant, nothing of other calls. [`bounded`] is the only
//! way a call is awaited: it ends by itself, by its time, or by a stop and its grace. Nothing here knows what is called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use stellaclaw_bindings::deltas::ItemKind;
use tokio::time;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::OnDelta;
use super::call::SessionPort;
use super::grants::Grant;
use super::imports::filesystem::{FileView, Files, HasFiles};
use super::imports::http::{HasHttp, HttpContext, HttpView};
use super::imports::websocket::{HasSockets, SocketView, Sockets};
use super::run::Helping;
use super::stdio::Tail;
use super::stop::StopSignal;
use crate::ids::{CallId, ConversationId};
use crate::secrets::{Credential, Redactor, Renewals};
use crate::{crash, limits, store};

/// The state of a store.
pub(super) struct Guest {
    pub world: World,
    wasi: WasiCtx,
    table: ResourceTable,
    room: Room,
    pub files: Files,
    pub http: HttpContext,
    sockets: Sockets,
    pub output: Tail,
    pub call: Call,
}

/// What our own imports work on.
pub(super) struct Call {
    pub grant: Arc<Grant>,
    /// The secrets of the grant that can be read.
    pub secrets: BTreeMap<String, Credential>,
    pub renewals: Renewals,
    pub redactor: Redactor,
    pub settings: Arc<str>,
    pub stop: StopSignal,
    /// None while a catalogue is made: then the import answers that there is no conversation.
    pub session: Option<InSession>,
    /// None outside `provider.complete`.
    pub deltas: Option<Deltas>,
    pub log_lines: u32,
    pub says: u32,
    pub host_calls_left: u64,
    /// It called the host once more than it may.
    pub over: bool,
}

/// The session of a call.
pub(super) struct InSession {
    pub call: CallId,
    pub conversation: ConversationId,
    /// None outside a host: then nothing is stored.
    pub store: Option<store::Store>,
    pub port: Arc<dyn SessionPort>,
    /// How it asks other components.
    pub helping: Helping,
}

/// The receiving end of `deltas.emit`.
pub(super) struct Deltas {
    pub send: OnDelta,
    /// What each item of the answer is.
    pub kinds: BTreeMap<u32, ItemKind>,
    /// What may still be sent.
    pub bytes_left: usize,
    /// It sent more than it may.
    pub over: bool,
}

/// The bounds of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallLimits {
    pub memory_bytes: usize,
    pub handles: usize,
    pub host_calls: u64,
    pub output_bytes: usize,
}

/// Where a guest's time and random numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    Real,
    /// The same in every call, for catalogues. Nothing there tells one time from another, timers neither.
    Fixed,
}

/// A call that did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its time was over.
    TimedOut,
    /// It was stopped, and did not return within the grace.
    Stopped,
}

impl Guest {
    /// The state for one call.
    pub fn new(world: World, limits: &CallLimits, files: Files, http: HttpContext, sockets: Sockets, call: Call) -> Self {
        let output = Tail::default();
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(output.clone()).stderr(output.clone()).max_random_size(limits::RANDOM_BYTES);
        // A blocking call may block: no guest runs on a worker of the runtime.
        wasi.allow_blocking_current_thread(true);
        if world == World::Fixed {
            wasi.wall_clock(FixedClock).monotonic_clock(FixedClock).insecure_random_seed(0);
            wasi.secure_random(Deterministic::new(vec![0])).insecure_random(Deterministic::new(vec![0]));
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let room = Room { memory_bytes: limits.memory_bytes, table_elements: limits::GUEST_TABLE_ELEMENTS };
        Self { world, wasi: wasi.build(), table, room, files, http, sockets, output, call }
    }

    /// A store around it. Its guest yields at every tick of the epoch, so that [`bounded`] can end it.
    pub fn into_store(self, engine: &Engine, limits: &CallLimits) -> Store<Self> {
        let mut store = Store::new(engine, self);
        store.limiter(|guest| &mut guest.room);
        store.set_hostcall_fuel(limits::HOSTCALL_FUEL_BYTES);
        store.set_max_component_handles(limits.handles);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            // The delegates of WASI have no way to refuse a call that was counted.
            if store.data().call.over { Err(store.data().call.too_often()) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        store
    }
}

impl Call {
    /// Counts a call of one of our imports; one too many ends the guest.
    pub fn count(&mut self) -> wasmtime::Result<()> {
        self.note();
        if self.over { Err(self.too_often()) } else { Ok(()) }
    }

    /// What tests call this: a step of a model's call or of a tool's. None of a catalogue's.
    pub fn step(&self, of_a_model: &'static str, of_a_tool: &'static str) -> Option<&'static str> {
        self.session.as_ref().map(|_| if self.deltas.is_some() { of_a_model } else { of_a_tool })
    }

    /// Counts a call where it cannot be refused; one too many ends the guest at the next tick of the epoch.
    fn note(&mut self) {
        if self.step("import.model", "import.tool").is_some_and(crash::fault) {
            panic!("a host function panics because a test wants it to");
        }
        match self.host_calls_left.checked_sub(1) {
            Some(left) => self.host_calls_left = left,
            None => self.over = true,
        }
    }

    fn too_often(&self) -> wasmtime::Error {
        wasmtime::format_err!("it called the host too often ([plugins.{}.limits] host_calls)", self.grant.plugin)
    }
}

/// Waits for a call: to its end, or for `time`, or for a stop and then its grace and `leeway`.
pub(super) async fn bounded<R>(call: impl Future<Output = R>, time: Duration, mut stop: StopSignal, leeway: Duration) -> Result<R, Ended> {
    let mut call = std::pin::pin!(call);
    let time = time.saturating_add(leeway);
    let (end, mut timer) = (time::Instant::now().checked_add(time), std::pin::pin!(time::sleep(time)));
    // A guest that computes yields at every epoch. Then the clock is asked: on a busy machine no worker may have fired the timer.
    let mut over = std::pin::pin!(std::future::poll_fn(|context| match end {
        Some(end) if time::Instant::now() >= end => Poll::Ready(()),
        _ => timer.as_mut().poll(context),
    }));
    let mut stopping = tokio::select! {
        biased;
        answer = &mut call => return Ok(answer),
        () = &mut over => return Err(Ended::TimedOut),
        stopping = stop.stopped() => stopping,
    };
    let begin = time::Instant::now();
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return Ok(answer),
            () = &mut over => return Err(Ended::TimedOut),
            () = time::sleep_until(begin + stopping.grace + leeway) => return Err(Ended::Stopped),
            hastened = stop.hastened(stopping) => stopping = hastened,
        }
    }
}

/// What a guest may still take, over all its memories and tables: the engine's own limits are for each of them.
struct Room {
    memory_bytes: usize,
    table_elements: usize,
}

impl Room {
    /// A refusal is the guest's `memory.grow` failing, which most languages turn into an error of their own.
    fn take(left: &mut usize, current: usize, desired: usize) -> bool {
        let after = left.checked_sub(desired.saturating_sub(current));
        *left = after.unwrap_or(*left);
        after.is_some()
    }
}

impl ResourceLimiter for Room {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(Self::take(&mut self.memory_bytes, current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(Self::take(&mut self.table_elements, current, desired))
    }

    fn instances(&self) -> usize {
        limits::GUEST_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        limits::GUEST_TABLES
    }

    fn memories(&self) -> usize {
        limits::GUEST_MEMORIES
    }
}

/// A clock that stands still.
struct FixedClock;

impl HostWallClock for FixedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for FixedClock {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.call.note();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl HasFiles for Guest {
    fn files(&mut self) -> FileView<'_> {
        self.call.note();
        FileView { files: &mut self.files, table: &mut self.table }
    }
}

impl HasHttp for Guest {
    fn http(&mut self) -> HttpView<'_> {
        self.call.note();
        HttpView { http: &mut self.http, table: &mut self.table }
    }
}

impl HasSockets for Guest {
    fn sockets(&mut self) -> SocketView<'_> {
        self.call.note();
        SocketView { http: &mut self.http, sockets: &mut self.sockets, table: &mut self.table }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::stop::stop;

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut room = Room { memory_bytes: 100, table_elements: 10 };
        assert!(room.memory_growing(0, 60, None).unwrap());
        assert!(!room.memory_growing(0, 60, None).unwrap(), "a second memory shares the room");
        assert!(room.memory_growing(60, 100, None).unwrap(), "and a refusal takes nothing");
        assert!(!room.table_growing(0, 11, None).unwrap());
    }

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(30);

    async fn never() {
        std::future::pending().await
    }

    #[tokio::test]
    async fn a_call_ends_by_itself_by_its_time_or_by_a_stop() {
        let (stopper, signal) = stop();
        assert_eq!(bounded(async { 1 }, LONG, signal.clone(), Duration::ZERO).await, Ok(1));
        assert_eq!(bounded(never(), SHORT, signal.clone(), Duration::ZERO).await, Err(Ended::TimedOut));

        stopper.stop(2 * SHORT);
        let obeys = time::sleep(SHORT);
        assert_eq!(bounded(obeys, LONG, signal.clone(), Duration::ZERO).await, Ok(()), "the grace is the guest's");
        let begin = time::Instant::now();
        assert_eq!(bounded(never(), LONG, signal, SHORT).await, Err(Ended::Stopped));
        assert!(begin.elapsed() >= 3 * SHORT, "the leeway comes on top");
    }

    #[tokio::test]
    async fn the_clock_is_asked_whenever_a_guest_yields() {
        let mut polls = 0;
        let computes = std::future::poll_fn(|context| {
            polls += 1;
            std::thread::sleep(2 * SHORT);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(bounded(computes, SHORT, stop().1, Duration::ZERO).await, Err(Ended::TimedOut));
        assert_eq!(polls, 1, "nobody has to fire a timer first");
    }

    #[tokio::test]
    async fn a_second_stop_shortens_the_grace() {
        let (stopper, signal) = stop();
        stopper.stop(LONG);
        let hurry = async {
            time::sleep(SHORT).await;
            stopper.stop(Duration::ZERO);
        };
        let (ended, ()) = tokio::join!(bounded(never(), LONG, signal, Duration::ZERO), hurry);
        assert_eq!(ended, Err(Ended::Stopped));
    }
}
