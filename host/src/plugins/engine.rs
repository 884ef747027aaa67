//! The engines: how components are compiled and what one of their sandboxes may use at most.
//!
//! Two of them with the same rules. The pooling one reserves the address space of every sandbox up front, which makes a
//! sandbox cost tens of microseconds; the on-demand one takes what does not fit the pool, and everything where the address
//! space cannot be reserved. Each has one linker, made once, that holds every import any component may have.
//!
//! Invariants: the epoch moves while an engine lives, from a thread of its own, so a looping guest yields within a tick.
//! WASI 0.2 only. Nothing here depends on what is granted: that is checked when an import is called.

use std::thread;

use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, Inlining, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};

use super::imports;
use super::instance::Guest;
use crate::limits;

/// One engine with its linker.
pub(super) struct Host {
    pub engine: Engine,
    pub linker: Linker<Guest>,
}

/// The engines of the process.
pub(super) struct Engines {
    /// None where the address space for it could not be reserved.
    pooling: Option<Host>,
    on_demand: Host,
}

/// Why there are no engines.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("{}", chain(.0))]
    Start(wasmtime::Error),
    #[error("start the epoch thread: {0}")]
    Ticker(std::io::Error),
}

impl Engines {
    /// Starts both engines and their clock.
    pub fn start() -> Result<Self, EngineError> {
        let pooling = match Host::new(&config(Some(pool()))) {
            Ok(host) => Some(host),
            Err(error) => {
                tracing::info!(reason = %chain(&error), "the address space of the sandbox pool cannot be reserved; sandboxes are made on demand");
                None
            }
        };
        let on_demand = Host::new(&config(None)).map_err(EngineError::Start)?;
        let engines = Self { pooling, on_demand };
        engines.start_epochs().map_err(EngineError::Ticker)?;
        Ok(engines)
    }

    /// The engines that a component with `memory_bytes` may run on, the better first.
    pub fn fitting(&self, memory_bytes: usize) -> impl Iterator<Item = &Host> {
        self.pooling.iter().filter(move |_| memory_bytes <= limits::GUEST_MEMORY_BYTES).chain([&self.on_demand])
    }

    /// Every engine there is.
    pub fn all(&self) -> Vec<&Engine> {
        self.fitting(0).map(|host| &host.engine).collect()
    }

    /// Moves the epochs from a thread of its own: on the runtime, a busy worker would stop them. Ends with the engines.
    fn start_epochs(&self) -> std::io::Result<()> {
        let engines: Vec<_> = self.all().into_iter().map(Engine::weak).collect();
        let tick = move || tick(&engines, || thread::sleep(limits::EPOCH_TICK));
        thread::Builder::new().name("epochs".into()).spawn(tick).map(drop)
    }
}

/// Moves the epochs by one after each pause, however long it was: ticks are counted, not derived from the time, so that a
/// process that stood still does not wake up to many at once.
fn tick(engines: &[EngineWeak], mut pause: impl FnMut()) {
    loop {
        pause();
        let mut living = engines.iter().filter_map(EngineWeak::upgrade).peekable();
        if living.peek().is_none() {
            return;
        }
        living.for_each(|engine| engine.increment_epoch());
    }
}

impl Host {
    fn new(config: &Config) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker)?;
        Ok(Self { engine, linker })
    }
}

/// Every choice by name, so that an update of the engine changes none of them silently.
fn config(pool: Option<PoolingAllocationConfig>) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .compiler_inlining(Inlining::No)
        // Compilers are threads of ours with a low priority; the compiler's own pool would have the normal one.
        .parallel_compilation(false)
        .epoch_interruption(true)
        .consume_fuel(false)
        .max_wasm_stack(limits::GUEST_STACK_BYTES)
        .async_stack_size(2 * limits::GUEST_STACK_BYTES)
        .memory_init_cow(true)
        // What the names in a trap's backtrace are made of.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(limits::BACKTRACE_FRAMES))
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_component_model(true)
        .concurrency_support(false)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_stack_switching(false);
    if let Some(pool) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Room for every call that can run at once, whatever its component needs within the per-component bounds: a pool sized so
/// cannot be full. The reservation is address space; a slot that is used again keeps its first pages, wiped, because a page
/// fault costs more than wiping; what is beyond goes back to the system.
fn pool() -> PoolingAllocationConfig {
    let calls = limits::POOLED_CALLS;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_stacks(calls)
        .max_core_instances_per_component(limits::POOLED_CORE_INSTANCES)
        .total_core_instances(calls * limits::POOLED_CORE_INSTANCES)
        .max_memories_per_component(limits::POOLED_MEMORIES)
        .total_memories(calls * limits::POOLED_MEMORIES)
        .max_tables_per_component(limits::POOLED_TABLES)
        .total_tables(calls * limits::POOLED_TABLES)
        .table_elements(limits::POOLED_TABLE_ELEMENTS)
        .max_memory_size(limits::GUEST_MEMORY_BYTES)
        .max_unused_warm_slots(limits::POOLED_WARM_SLOTS)
        .linear_memory_keep_resident(limits::POOLED_KEPT_MEMORY)
        .table_keep_resident(limits::POOLED_KEPT_TABLE)
        .async_stack_keep_resident(limits::POOLED_KEPT_STACK)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// An error with what caused it, on one line. The engine's `{:?}` would add a backtrace of the host.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use wasmtime::{Instance, Module, Store};

    use super::*;

    /// A core module whose export `f` does nothing; like every function it looks at the epoch.
    const NOTHING: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x04\x01\x02\0\x0b";

    #[test]
    fn after_a_long_pause_an_epoch_moves_by_one() {
        let engine = Engine::new(&config(None)).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, NOTHING).unwrap(), &[]).unwrap();
        let nothing = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        store.set_epoch_deadline(3);
        let engines = [engine.weak()];
        // In each pause as many ticks after the deadline was set as there were pauses before it.
        let (mut guest, mut runs) = (Some((engine, store, nothing)), Vec::new());
        tick(&engines, || {
            thread::sleep(20 * limits::EPOCH_TICK);
            let Some((_, store, nothing)) = &mut guest else { return };
            runs.push(nothing.call(store, ()).is_ok());
            if runs.len() == 4 {
                guest = None;
            }
        });
        assert_eq!(runs, [true, true, true, false], "it is over with the third tick, and with none before");
    }
}
