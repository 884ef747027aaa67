//! What it costs that a guest can be stopped, and how late it then is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stellaclaw::plugins::stop::stop;
use stellaclaw::plugins::{ErrorKind, Plugins, Tool, ToolCall};
use stellaclaw_bindings::tool_plugin::ToolPluginPre;
use stellaclaw_bindings::{tools as wire, types};
use tokio::runtime::Runtime;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, Inlining, OptLevel, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::components;
use crate::measure::{Candidate, interleave, ratio, report, shown};
use crate::rig;

/// The component that computes.
fn toil() -> PathBuf {
    components::check_target("rustc".as_ref()).expect("the target");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let target_dir = components::target_dir(Path::new(env!("OUT_DIR")));
    components::build(workspace, &target_dir, &["toil"]).expect("a component").remove(0)
}

/// A host with it.
fn host(runtime: &Runtime, folder: &Path, wasm: &Path) -> (Plugins, Tool) {
    let config = format!("version = \"0.5\"\n[plugins.toil]\npath = {:?}\ntrust = \"path\"\n", wasm.display().to_string());
    let plugins = runtime.block_on(rig::plugins(folder, rig::config(&config)));
    let catalog = runtime.block_on(plugins.tools(&rig::info()));
    let tool = catalog.get("toil").expect("toil").clone();
    (plugins, tool)
}

/// Calls that never end by themselves: how long after their time they are over.
pub fn late(runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    let (plugins, tool) = host(runtime, folder.path(), &toil());
    let context = rig::context(folder.path());
    let one = |time: Duration| {
        let tool = Tool { timeout: time, ..tool.clone() };
        let arguments = format!(r#"{{"how":"shift","rounds":{}}}"#, u64::MAX);
        let call = ToolCall { id: stellaclaw::ids::CallId("s1.t1.1.0".into()), name: tool.name.clone(), arguments, attempt: 1 };
        let (_stop, signal) = stop();
        let began = Instant::now();
        let ended = runtime.block_on(plugins.run_tool(&tool, call, context.clone(), signal));
        let took = began.elapsed();
        assert_eq!(ended.expect_err("it never ends").kind, ErrorKind::Timeout);
        took.saturating_sub(time)
    };
    println!("a looping guest after its time is over (bar ≤ 15 ms)");
    for busy in [false, true] {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let burners: Vec<_> = (0..if busy { cores } else { 0 })
            .map(|_| {
                let stop = stop.clone();
                std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
            })
            .collect();
        for (time, runs) in [(10, 200), (100, 100), (1000, 50)] {
            let mut all: Vec<_> = (0..runs).map(|_| one(Duration::from_millis(time))).collect();
            all.sort_unstable();
            let (median, most) = (all[all.len() / 2], all[all.len() - 1]);
            let high = all[all.len() * 95 / 100];
            let state = if busy { "cores busy" } else { "idle" };
            println!("  {state:<10} {time:>4} ms, {runs} runs: {} late, 95 % ≤ {}, worst {}", shown(median), shown(high), shown(most));
        }
        stop.store(true, Ordering::Relaxed);
        burners.into_iter().for_each(|burner| burner.join().expect("a burner"));
    }
}

/// The same component in the host, in engines of the bench, and natively.
pub fn epoch(runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    let wasm = toil();
    let (plugins, tool) = host(runtime, folder.path(), &wasm);
    let bytes = std::fs::read(&wasm).expect("a component");
    let engines = [(true, Inlining::No), (false, Inlining::No), (true, Inlining::Yes), (false, Inlining::Yes)];
    let [with, without, inlined, bare] = engines.map(|(epochs, inlining)| Bare::new(epochs, inlining, &bytes));
    println!("compiling it ({} KiB)", bytes.len() >> 10);
    println!(
        "  as the host does {}, without epochs {}, with inlining {}",
        shown(with.compiled),
        shown(without.compiled),
        shown(inlined.compiled)
    );
    let context = rig::context(folder.path());
    let text = toil::stream();
    for (how, rounds) in [("recode", 60), ("shift", 30_000_000)] {
        let arguments = format!(r#"{{"how":"{how}","rounds":{rounds}}}"#);
        let native = || match how {
            "recode" => toil::recode(&text, rounds),
            _ => toil::shift(rounds),
        };
        let mut candidates = [
            Candidate::new("the host", || drop(runtime.block_on(rig::call(&plugins, &tool, context.clone(), &arguments)))),
            Candidate::new("an engine with epochs", || with.run(runtime, &arguments)),
            Candidate::new("… without", || without.run(runtime, &arguments)),
            Candidate::new("… with epochs and inlining", || inlined.run(runtime, &arguments)),
            Candidate::new("… with inlining, without epochs", || bare.run(runtime, &arguments)),
            Candidate::new("natively", || {
                std::hint::black_box(native());
            }),
        ];
        interleave(&mut candidates, 3, 40);
        report(&format!("{how}, {rounds} rounds"), &candidates);
        println!("  epochs cost {:.0} %", (ratio(candidates[0].median(), candidates[2].median()) - 1.0) * 100.0);
    }
}

/// An engine like the host's, as far as it matters for code, with nothing around it.
struct Bare {
    engine: Engine,
    pre: ToolPluginPre<State>,
    compiled: Duration,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl types::Host for State {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Bare {
    fn new(epochs: bool, inlining: Inlining, bytes: &[u8]) -> Self {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::Speed).compiler_inlining(inlining).parallel_compilation(false);
        config.epoch_interruption(epochs).concurrency_support(false);
        let engine = Engine::new(&config).expect("an engine");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state).expect("the contract");
        let began = Instant::now();
        let component = Component::new(&engine, bytes).expect("a component");
        let compiled = began.elapsed();
        let pre = ToolPluginPre::new(linker.instantiate_pre(&component).expect("its imports")).expect("tools");
        let weak = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(stellaclaw::limits::EPOCH_TICK);
            }
        });
        Self { engine, pre, compiled }
    }

    fn run(&self, runtime: &Runtime, arguments: &str) {
        let state = State { wasi: WasiCtxBuilder::new().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        let session = types::SessionInfo {
            kind: types::SessionKind::Foreground,
            reads: Vec::new(),
            helpers: Vec::new(),
            placement: types::Placement::Local,
            ext: None,
        };
        let (id, name, arguments) = ("s1.t1.1.0".into(), "toil".into(), arguments.to_owned());
        let call = wire::Call { id, name, arguments, attempt: 1, time_left: 60_000, session, ext: None };
        runtime.block_on(async {
            let instance = self.pre.instantiate_async(&mut store).await.expect("an instance");
            let answer = instance.stellaclaw_plugin_tools().call_run(&mut store, &call).await;
            answer.expect("no trap").expect("an answer");
        });
    }
}
