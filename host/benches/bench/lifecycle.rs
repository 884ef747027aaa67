//! Components that are exchanged while the host runs, and many of them.

#[path = "../../tests/all/support/patched.rs"]
mod patched;

use std::path::Path;
use std::time::{Duration, Instant};

use stellaclaw::plugins::{self, Plugins};
use stellaclaw::store::Options;
use tokio::runtime::Runtime;

use self::patched::patched;
use crate::components;
use crate::measure::{median, shown};
use crate::rig::{self, Client};
use crate::start::Host;
use crate::turns::SCRIPTED;

/// Plugins of ten tools each.
const PLUGINS: usize = 50;

/// The component of ten tools.
fn ten_tools() -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    components::check_target(&rustc).expect("the target of components");
    let target_dir = components::target_dir(Path::new(env!("OUT_DIR")));
    let built = components::build(workspace, &target_dir, &["many"]).expect("a component").remove(0);
    std::fs::read(built).expect("a component")
}

/// Plugins and their tools under names of their own, in a folder.
fn fill(folder: &Path, component: &[u8]) {
    std::fs::create_dir_all(folder).expect("a folder");
    for n in 0..PLUGINS {
        let bytes = patched(component, "ten_xx_", &format!("ten_{n:02}_"));
        std::fs::write(folder.join(format!("ten-{n:02}.wasm")), bytes).expect("a component");
    }
}

/// From the rename of a new version into the folder, and from the copy of a new file, until a call has run on it.
pub fn swap(runtime: &Runtime) {
    const ROUNDS: usize = 15;
    let component = ten_tools();
    let version = |n: usize| patched(&component, "version-0000", &format!("version-{n:04}"));
    let (mut swaps, mut copies, mut compiles) = (Vec::new(), Vec::new(), Vec::new());
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let workspace = tempfile::tempdir().expect("a folder");
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder");
        std::fs::write(plugins.join("ten.wasm"), version(1)).expect("a component");
        let host = rig::plugins(folder.path(), rig::config("version = \"0.5\"\n")).await;
        host.watch(&stellaclaw::secrets::Redactor::default()).expect("a thread");
        for n in 2..2 + ROUNDS {
            compiles.push(compile(&version(ROUNDS + n)).await);
            let part = plugins.join("ten.part");
            std::fs::write(&part, version(n)).expect("a component");
            let started = Instant::now();
            std::fs::rename(&part, plugins.join("ten.wasm")).expect("a rename");
            until(&host, workspace.path(), &format!("version-{n:04} x")).await;
            swaps.push(started.elapsed());

            // And as a file that was not there before.
            std::fs::remove_file(plugins.join("ten.wasm")).expect("a removal");
            while host.list().iter().any(|plugin| plugin.name == "ten") {
                assert!(started.elapsed() < Duration::from_secs(60), "the component does not go");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let bytes = version(2 * ROUNDS + n);
            let started = Instant::now();
            std::fs::write(plugins.join("ten.wasm"), bytes).expect("a component");
            until(&host, workspace.path(), &format!("version-{:04} x", 2 * ROUNDS + n)).await;
            copies.push(started.elapsed());
        }
    });
    println!("a new version of a component of ten tools ({} KB), median of {ROUNDS}", component.len() / 1000);
    println!("  from its rename until a call ran on it    {}", shown(median(&swaps)));
    println!("  from the copy of a new file until then    {}", shown(median(&copies)));
    println!("  a new runtime with it alone, until ready  {}", shown(median(&compiles)));
}

/// Waits until a call says this.
async fn until(host: &Plugins, workspace: &Path, wanted: &str) {
    let started = Instant::now();
    while said(host, workspace).await.as_deref() != Some(wanted) {
        assert!(started.elapsed() < Duration::from_secs(60), "{wanted} does not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn said(host: &Plugins, workspace: &Path) -> Option<String> {
    let catalog = host.tools(&rig::info()).await;
    let tool = catalog.get("ten_xx_a")?;
    let output = rig::call(host, tool, rig::context(workspace), r#"{"text":"x"}"#).await;
    match output.parts.as_slice() {
        [plugins::OutputPart::Text(text)] => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

/// Reading, checking and compiling one component that no cache has.
async fn compile(component: &[u8]) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder");
    std::fs::write(folder.path().join("plugins/ten.wasm"), component).expect("a component");
    let setup = plugins::Setup { workdir: folder.path().to_owned(), config: rig::config("version = \"0.5\"\n").into(), bundled: false };
    let started = Instant::now();
    let host = Plugins::start(&setup).expect("a runtime");
    host.wait_ready().await;
    started.elapsed()
}

/// What many dropped-in plugins cost, beside none.
pub fn many(runtime: &Runtime) {
    let component = ten_tools();
    println!("{PLUGINS} dropped-in plugins with {} tools ({} KB each), beside none", 10 * PLUGINS, component.len() / 1000);
    for with in [false, true] {
        let (cold, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        if with {
            fill(&cold.path().join("plugins"), &component);
            fill(&folder.path().join("plugins"), &component);
        }
        println!("  {}", if with { "with them" } else { "none" });
        println!("    serving, cold cache         {}", shown(Host::start(cold.path()).1));
        let began = Instant::now();
        runtime.block_on(rig::plugins(folder.path(), rig::config("version = \"0.5\"\n")));
        println!("    all compiled, cold cache    {}", shown(began.elapsed()));
        let warm: Vec<_> = (0..9).map(|_| Host::start(folder.path()).1).collect();
        println!("    serving, warm cache         {} (median of 9)", shown(median(&warm)));
        let (host, _) = Host::start(folder.path());
        println!("    idle RSS                    {:.1} MB", host.rss_kib() as f64 / 1024.0);
        drop(host);
        println!("    host part of a one-tool turn {} (median of 100)", shown(runtime.block_on(turn(folder.path()))));
    }
}

async fn turn(workdir: &Path) -> Duration {
    let kernel = rig::host(workdir, rig::config(SCRIPTED), Options::default()).await;
    let mut client = Client::attach(workdir, "bench").await;
    client.turn("first").await;
    let mut own = Vec::new();
    for _ in 0..100 {
        let (inside, started) = (kernel.plugins().busy(), Instant::now());
        client.turn("again").await;
        own.push(started.elapsed().saturating_sub(kernel.plugins().busy() - inside));
    }
    kernel.shutdown().await.expect("a clean stop");
    median(&own)
}
