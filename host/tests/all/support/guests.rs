//! A plugin as its author makes it: a crate of its own that depends on the SDK and is built with cargo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{read, root};

#[path = "../../../build/components.rs"]
#[expect(dead_code, reason = "the build script has checked the target")]
mod components;

/// Tools that take their time, or never end.
const PROBE: &str = r#"
//! Tools for tests.

use std::time::Duration;

use stellaclaw_sdk::{Batching, Call, Output, Replay, Result, Tool, plugin, schemars, serde};

/// Sleeps, and says what it was told.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Nap {
    /// How long, in milliseconds.
    ms: u64,
    /// What to say afterwards.
    #[serde(default)]
    say: String,
}

impl Tool for Nap {
    fn call(self, _call: &Call) -> Result<Output> {
        std::thread::sleep(Duration::from_millis(self.ms));
        Ok(Output::text(self.say))
    }
}

/// Computes for ever.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Spin {}

impl Tool for Spin {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, call: &Call) -> Result<Output> {
        let mut number = call.id.len() as u64;
        loop {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// Says something loudly.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Shout {
    /// What to say.
    text: String,
}

impl Tool for Shout {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        Ok(Output::text(self.text.to_uppercase()))
    }
}

plugin! { tools: [Nap, Spin, Shout] }
"#;

/// A component without the SDK's manifest: what another toolchain would make.
const BARE: &str = r#"
//! Exports tools by hand.

use stellaclaw_sdk::bindings::tool_plugin;
use stellaclaw_sdk::bindings::tool_plugin::exports::stellaclaw::plugin::tools::Guest;
use stellaclaw_sdk::{Batching, Call, Error, Output, Replay, SessionInfo, ToolSpec};

struct Bare;

fn tool(name: &str, parameters: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: String::new(),
        parameters: parameters.to_owned(),
        batching: Batching::Parallel,
        replay: Replay::Read,
        timeout: None,
        ext: None,
    }
}

impl Guest for Bare {
    fn catalog(_session: SessionInfo) -> Result<Vec<ToolSpec>, Error> {
        Ok(vec![
            tool("measure", "{\"type\":\"object\",\"properties\":{\"Text\":{}}}"),
            tool("weigh", "{\"type\":\"object\",\"required\":[],\"additionalProperties\":false}"),
        ])
    }

    fn run(call: Call) -> Result<Output, Error> {
        Ok(Output::text(format!("{} of {} bytes", call.name, call.arguments.len())))
    }
}

tool_plugin::export_tools!(Bare with_types_in tool_plugin);
"#;

/// The component of the tools `measure` and `weigh`. It has no manifest.
pub fn bare() -> &'static Path {
    static BARE_WASM: OnceLock<PathBuf> = OnceLock::new();
    BARE_WASM.get_or_init(|| build("tools-bare", BARE))
}

/// A component whose versions can be told apart, and which asks for everything that can be granted.
const SWAP: &str = r###"
//! Tools that say which version they are.

use stellaclaw_sdk::{Batching, Call, Error, Output, Replay, Result, Tool, http, plugin, schemars, serde, settings};

const VERSION: &str = "version-1";

#[derive(serde::Deserialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Settings {
    #[serde(default)]
    greeting: String,
}

/// Says which version this is.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct WhichVersion {
    /// Wait for this file first.
    #[serde(default)]
    after: Option<String>,
}

impl Tool for WhichVersion {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Effect;

    fn call(self, _call: &Call) -> Result<Output> {
        while self.after.as_ref().is_some_and(|path| std::fs::metadata(path).is_err()) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(Output::text(settings::get::<Settings>()?.greeting + VERSION))
    }
}

/// Only the first version has this tool under this name.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct WriteOne {
    text: String,
}

impl Tool for WriteOne {
    fn call(self, _call: &Call) -> Result<Output> {
        std::fs::write("written.txt", &self.text).map_err(|error| Error::from(error).context("written.txt"))?;
        Ok(Output::text("written"))
    }
}

/// Fetches a page.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct FetchPage {
    url: String,
}

impl Tool for FetchPage {
    fn call(self, _call: &Call) -> Result<Output> {
        http::get(&self.url).send().map(|_| Output::text("fetched"))
    }
}

plugin! {
    tools: [WhichVersion, WriteOne, FetchPage],
    fs: ["workspace:rw"],
    http: ["https://api.example.com"],
    slots: ["api-key" => ["https://api.example.com"]],
    settings: r#"{"type":"object","properties":{"greeting":{"type":"string"}},"additionalProperties":false}"#
}
"###;

/// The component of the tools `which_version`, `write_one` and `fetch_page`.
pub fn swap() -> Vec<u8> {
    static SWAP_WASM: OnceLock<PathBuf> = OnceLock::new();
    fs::read(SWAP_WASM.get_or_init(|| build("tools-swap", SWAP))).unwrap()
}

/// The second version of [`swap`]: it has `write_two` instead of `write_one`.
pub fn swapped() -> Vec<u8> {
    patched(&patched(&swap(), "version-1", "version-2"), "write_one", "write_two")
}

/// Bytes with another text in the place of every occurrence of `from`.
pub fn patched(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> = bytes.windows(from.len()).enumerate().filter(|(_, text)| *text == from.as_bytes()).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{from} is not in there");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// The component of the tools `nap`, `spin` and `shout`.
pub fn probe() -> &'static Path {
    static PROBE_WASM: OnceLock<PathBuf> = OnceLock::new();
    PROBE_WASM.get_or_init(|| build("tools-probe", PROBE))
}

/// The component of the tool `keep`, which keeps values in the store.
pub fn keeper() -> &'static Path {
    static KEEPER: OnceLock<PathBuf> = OnceLock::new();
    KEEPER.get_or_init(|| of_the_workspace("keeper"))
}

/// The component of `host/tests/guests/hostile`, which does what a component should not do.
pub fn hostile() -> &'static Path {
    static HOSTILE: OnceLock<PathBuf> = OnceLock::new();
    HOSTILE.get_or_init(|| of_the_workspace("hostile"))
}

/// The component of `host/tests/guests/catalogue`: its settings say what it offers. Without a manifest.
pub fn catalogue() -> &'static Path {
    static CATALOGUE: OnceLock<PathBuf> = OnceLock::new();
    CATALOGUE.get_or_init(|| of_the_workspace("catalogue"))
}

/// The component of `host/tests/guests/prowler`, which looks for ways out.
pub fn prowler() -> &'static Path {
    static PROWLER: OnceLock<PathBuf> = OnceLock::new();
    PROWLER.get_or_init(|| of_the_workspace("prowler"))
}

/// Builds a crate of `host/tests/guests`.
fn of_the_workspace(package: &str) -> PathBuf {
    let target_dir = components::target_dir(Path::new(env!("OUT_DIR")));
    components::build(&root(), &target_dir, &[package]).unwrap().remove(0)
}

/// Builds a crate with this one file, without the network. With the profile of the bundled components and beside them, so
/// that the SDK has been built already.
fn build(name: &str, source: &str) -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = temporary.parent().unwrap().join("components");
    // A place of its own per checkout, and always the same one: cargo then knows what it has built.
    let folder = temporary.join(format!("guests-{:016x}", hash(&root()))).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\ndescription = \"Tools for tests\"\nlicense = \"MIT\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nstellaclaw-sdk = {{ path = {:?} }}\n\n[workspace]\n\n{}",
        root().join("sdk"),
        profile()
    );
    write(&folder.join("Cargo.toml"), &manifest);
    write(&folder.join("src/lib.rs"), source);
    // The versions of the workspace, which are there.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(&folder)
        .args(["build", "--offline", "--profile", "component", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target);
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if (text.starts_with("CARGO_") && text != "CARGO_HOME") || text.ends_with("RUSTFLAGS") || text.starts_with("RUSTC_") {
            cargo.env_remove(&variable);
        }
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{name} was not built:\n{}", String::from_utf8_lossy(&output.stderr));
    target.join("wasm32-wasip2/component").join(format!("{}.wasm", name.replace('-', "_")))
}

/// How bundled components are built, in the words of the workspace.
fn profile() -> String {
    let workspace = read("Cargo.toml");
    let from = workspace.find("[profile.component]").unwrap();
    let section = &workspace[from..];
    section[..section[1..].find("\n[").map_or(section.len(), |end| end + 1)].to_owned()
}

/// An unchanged file keeps its time, so that nothing is built anew.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return;
    }
    fs::write(path, text).unwrap();
}

fn hash(path: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
