//! The runtime as a whole, with a component that misbehaves.

mod calls;
#[path = "../../build/components.rs"]
mod components;
mod granting;
mod helping;
mod loading;
#[path = "../../tests/all/support/patched.rs"]
mod patched;
mod sockets;
mod storage;
mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::stop::{StopSignal, stop};
use super::*;
use crate::chat::Usage;
use crate::config::{Config, FsGrant, FsMount};
use crate::ids::{CallId, ConversationId, SessionId};
use crate::store::Store;

/// The runtimes under test share a runtime, a work directory, and so the code cache.
static TOKIO: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
static WORKDIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
static HOSTILE: LazyLock<PathBuf> = LazyLock::new(|| build("hostile"));
/// A host with the hostile component, granted its workspace.
static HOST: LazyLock<Plugins> = LazyLock::new(|| start(entry(true)));

/// A crate of `tests/guests` as a component.
fn build(guest: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target_dir = components::target_dir(Path::new(env!("OUT_DIR")));
    components::build(workspace, &target_dir, &[guest]).unwrap().remove(0)
}

/// What the shared work directory has compiled of the hostile component, for one of its own. Other tests write there, too.
fn copy_code_of_hostile(workdir: &Path) {
    assert!(TOKIO.block_on(HOST.ready("hostile")));
    let digest = HOST.inner.plugin("hostile").unwrap().digest.clone().unwrap();
    fs::create_dir(workdir.join("cache")).unwrap();
    for file in fs::read_dir(WORKDIR.path().join("cache")).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if name == "key" || name.starts_with(&digest) && !name.ends_with(".tmp") {
            fs::copy(file.path(), workdir.join("cache").join(name)).unwrap();
        }
    }
}

fn entry(writable: bool) -> config::Plugin {
    config::Plugin {
        path: Some(HOSTILE.clone()),
        trust_path: true,
        fs: Some(vec![FsGrant { mount: FsMount::Workspace, writable }]),
        http: Some(Vec::new()),
        ..config::Plugin::default()
    }
}

fn start(entry: config::Plugin) -> Plugins {
    start_with([("hostile".to_owned(), entry)].into(), Vec::new(), false)
}

fn start_with(plugins: BTreeMap<String, config::Plugin>, plugin_dirs: Vec<PathBuf>, bundled: bool) -> Plugins {
    let config = Arc::new(Config { plugins, plugin_dirs, ..Config::embedded(false) });
    let setup = Setup { workdir: WORKDIR.path().to_owned(), config: config.into(), bundled };
    TOKIO.block_on(async {
        let plugins = Plugins::start(&setup).unwrap();
        plugins.wait_ready().await;
        plugins
    })
}

/// A conversation that remembers what was said, the last progress, and whether its budget is spent.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>, Mutex<String>, AtomicBool);

impl SessionPort for Listener {
    fn say(&self, text: String) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            self.0.lock().unwrap().push(text);
            Ok(())
        })
    }

    fn plan(&self, _steps: Vec<(String, String)>, _note: Option<String>) -> Result<(), CallError> {
        Ok(())
    }

    fn progress(&self, _call: &CallId, text: String) {
        *self.1.lock().unwrap() = text;
    }

    fn may_spend(&self) -> BoxFuture<'_, Result<(), CallError>> {
        let spent = self.2.load(Ordering::Relaxed);
        let refused = || CallError::new(ErrorKind::RateLimited, "nothing is left");
        Box::pin(async move { if spent { Err(refused()) } else { Ok(()) } })
    }

    fn spent<'a>(&'a self, alias: &'a str, usage: Usage) -> BoxFuture<'a, Result<(), CallError>> {
        let spent = format!("{alias} used {}", usage.tokens());
        Box::pin(async move {
            self.0.lock().unwrap().push(spent);
            Ok(())
        })
    }

    fn status(&self) -> Result<Value, CallError> {
        Ok(Value::Null)
    }
}

/// A session with an empty workspace.
struct Session {
    workspace: TempDir,
    listener: Arc<Listener>,
    conversation: ConversationId,
    model: Option<String>,
    session: SessionId,
    store: Option<Store>,
}

impl Session {
    fn new() -> Self {
        Self {
            workspace: tempfile::tempdir().unwrap(),
            listener: Arc::default(),
            conversation: ConversationId(1),
            session: SessionId(1),
            model: None,
            store: None,
        }
    }

    fn info() -> SessionInfo {
        SessionInfo { kind: SessionKind::Foreground, reads: Vec::new(), helpers: Vec::new() }
    }

    fn context(&self) -> CallContext {
        CallContext {
            conversation: self.conversation,
            session: self.session,
            info: Self::info(),
            places: Places { workspace: self.workspace.path().to_owned(), shared: None, mounts: Vec::new() },
            port: self.listener.clone(),
            model: self.model.clone(),
            store: self.store.clone(),
            blobs: Handed::default(),
        }
    }

    /// Calls a tool that has `time`.
    fn call_within(&self, host: &Plugins, name: &str, arguments: &Value, time: Duration, stop: StopSignal) -> Result<Output, CallError> {
        let arguments = arguments.to_string();
        TOKIO.block_on(async {
            let catalog = host.tools(&Self::info()).await;
            let tool = Tool { timeout: time, ..catalog.get(name).unwrap().clone() };
            assert_eq!(host.check_arguments(&tool, &arguments), Ok(()));
            let call = ToolCall { id: CallId("s1.t1.1.0".into()), name: name.into(), arguments, attempt: 1 };
            host.run_tool(&tool, call, self.context(), stop).await
        })
    }

    fn call(&self, host: &Plugins, name: &str, arguments: &Value) -> Result<Output, CallError> {
        self.call_within(host, name, arguments, Duration::from_secs(30), stop().1)
    }

    fn misbehave(&self, how: &str) -> Result<Output, CallError> {
        self.call(&HOST, "misbehave", &serde_json::json!({ "how": how }))
    }
}

fn text(output: &Output) -> &str {
    match output.parts.as_slice() {
        [OutputPart::Text(text)] => text,
        other => panic!("not one text: {other:?}"),
    }
}

#[test]
fn a_missing_target_is_named_before_anything_is_built() {
    assert_eq!(components::check_target(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).as_os_str()), Ok(()));
    let dir = tempfile::tempdir().unwrap();
    let rustc = dir.path().join("rustc");
    std::fs::write(&rustc, format!("#!/bin/sh\necho {}/lib\n", dir.path().display())).unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = components::check_target(rustc.as_os_str()).unwrap_err();
    assert!(refused.contains("\n    rustup target add wasm32-wasip2\n"), "{refused}");
}
