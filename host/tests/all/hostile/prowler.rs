//! The prowler on its stage: what it is told to try, and what it says came of it.

use std::path::PathBuf;
use std::{fs, io};

use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::hostile::{CANARY, Stage};
use crate::support::host::Work;
use crate::support::web::{Visit, Web};
use crate::support::{files, guests};

/// Everything about models that a prowler's configuration needs.
pub const OFFLINE: &str = "default_model = \"main\"\n[models.main]\nprovider = \"provider-offline\"\nmodel = \"offline\"\n";

/// A key that looks otherwise in every form there is. It is in a file.
pub const FAR: &str = "k/ey+\"with\" odd=ch&rs~<é>";

/// A work directory in which the prowler has its workspace, and reads `mounts/docs` where there is one.
pub async fn with_files() -> Work {
    static COMPILED: OnceCell<Vec<(PathBuf, Vec<u8>)>> = OnceCell::const_new();
    let compiled = COMPILED.get_or_init(|| async {
        let work = for_files();
        compile(&work).await;
        let kept = ["cache", "components"].into_iter().flat_map(|name| files(&work.workdir().join(name)));
        kept.map(|(path, bytes)| (path.strip_prefix(work.workdir()).unwrap().to_owned(), bytes)).collect()
    });
    let compiled = compiled.await;
    let work = for_files();
    for (path, bytes) in compiled {
        fs::write(work.workdir().join(path), bytes).unwrap();
    }
    work
}

/// Has the components compiled, one work directory at a time: together they would keep hosts from serving in time.
pub async fn compile(work: &Work) {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let ran = work.run(&["plugin", "list"], "").await;
    assert!(ran.output.contains("tools: prowl, race"), "{ran:?}");
}

fn for_files() -> Work {
    let mut work = Work::new();
    let path = guests::prowler();
    work.set("CANARY", CANARY);
    work.configure(&format!(
        "{OFFLINE}[plugins.prowler]\npath = {path:?}\ntrust = \"path\"\nfs = [\"workspace:rw\", \"mounts/docs:ro\"]\n\
         secrets = {{ api-key = {{ env = \"CANARY\", origins = [\"http://127.0.0.1:50001\"] }} }}\n"
    ));
    work
}

/// What a tool of the prowler tells. It always comes back, and harms nobody meanwhile.
pub async fn told(stage: &mut Stage, tool: &str, arguments: Value) -> Value {
    stage.said += 1;
    stage.forget_peak();
    stage.victim.send(&format!("p-{}", stage.said), &format!("call {tool} {arguments}")).await.unwrap();
    stage.is_healthy().await;
    let (replies, _) = stage.victim.settle().await.unwrap();
    stage.has_not_peaked(1).unwrap_or_else(|peak| panic!("{tool}: {peak}"));
    stage.is_at_its_level().await.unwrap_or_else(|level| panic!("{tool}: not given back: {level}"));
    let text: String = replies.iter().map(|reply| reply.text.as_str()).collect();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{tool} told {text:.2000}"))
}

/// What became of each of these steps.
pub async fn prowl(stage: &mut Stage, steps: &[Value]) -> Vec<Value> {
    let Value::Array(ends) = told(stage, "prowl", json!({ "steps": steps })).await else { panic!("no list") };
    assert_eq!(ends.len(), steps.len());
    ends
}

/// Each of these steps is refused.
pub async fn refused(stage: &mut Stage, steps: &[Value]) {
    let ends = prowl(stage, steps).await;
    let done = steps.iter().zip(ends).filter(|(_, end)| !end.as_str().is_some_and(|end| end.starts_with("no: ")));
    let done: Vec<_> = done.map(|(step, end)| format!("{step} came to {end}")).collect();
    assert!(done.is_empty(), "{}", done.join("\n"));
}

/// Each of these steps ends as it is said beside it.
pub async fn each(stage: &mut Stage, table: &[(Value, Value)]) {
    let steps: Vec<_> = table.iter().map(|(step, _)| step.clone()).collect();
    let ends = prowl(stage, &steps).await;
    let other = table.iter().zip(ends).filter(|((_, expected), end)| end != expected);
    let other: Vec<_> = other.map(|((step, expected), end)| format!("{step} came to {end}, not to {expected}")).collect();
    assert!(other.is_empty(), "{}", other.join("\n"));
}

/// Servers that the prowler was granted, and one that it was not.
pub struct Servers {
    /// Granted whole, and to the keys.
    pub home: Web,
    /// Granted below `/inside`.
    pub narrow: Web,
    /// Granted for `GET`.
    pub quiet: Web,
    pub stranger: Web,
}

impl Servers {
    /// `home` answers as told, the others whatever they are asked.
    pub fn start(home: impl Fn(&mut Visit, &Ports) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let plain = || Web::start(|visit| visit.answer("", b"somebody else"));
        let (narrow, quiet, stranger) = (plain(), plain(), plain());
        let ports = Ports { narrow: narrow.port, quiet: quiet.port, stranger: stranger.port };
        Self { home: Web::start(move |visit| home(visit, &ports)), narrow, quiet, stranger }
    }

    /// A work directory in which the prowler may ask them. `secrets`: with its keys.
    pub async fn work(&self, secrets: bool) -> Work {
        let (home, narrow, quiet) = (self.home.port, self.narrow.port, self.quiet.port);
        let mut wasm = fs::read(guests::prowler()).unwrap();
        for (placeholder, port) in [(":50001", home), (":50002", narrow), (":50003", quiet)] {
            wasm = guests::patched(&wasm, placeholder, &format!(":{port}"));
        }
        let mut work = Work::new();
        let path = work.folder().join("prowler.wasm");
        fs::write(&path, wasm).unwrap();
        work.set("CANARY", CANARY);
        // A proxy would see everything.
        for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"] {
            work.set(name, &self.stranger.url(""));
        }
        let far = work.folder().join("far-key");
        fs::write(&far, format!("{FAR}\n")).unwrap();
        let secrets = if secrets {
            format!(
                "secrets.api-key = {{ env = \"CANARY\", origins = [\"http://127.0.0.1:{home}\"] }}\n\
                 secrets.far-key = {{ file = {far:?}, origins = [\"http://127.0.0.1:{home}/far\"] }}\n"
            )
        } else {
            String::new()
        };
        work.configure(&format!(
            "{OFFLINE}[plugins.prowler]\npath = {path:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\n\
             http = [\"http://127.0.0.1:{home}\", \"http://127.0.0.1:{narrow}/inside\", \"GET http://127.0.0.1:{quiet}\", \
             \"http://0.0.0.0:{home}\"]\n{secrets}"
        ));
        compile(&work).await;
        work
    }
}

/// Where the others are.
pub struct Ports {
    pub narrow: u16,
    pub quiet: u16,
    pub stranger: u16,
}

/// What became of each of these requests.
pub async fn fetch(stage: &mut Stage, requests: &[Value]) -> Vec<Value> {
    let Value::Array(ends) = told(stage, "fetch", json!({ "requests": requests })).await else { panic!("no list") };
    assert_eq!(ends.len(), requests.len());
    ends
}

/// Each of these requests fails as it is said beside it: of what kind, and with which words.
pub async fn fails(stage: &mut Stage, table: &[(Value, &str, &str)]) {
    let requests: Vec<_> = table.iter().map(|(request, ..)| request.clone()).collect();
    let ends = fetch(stage, &requests).await;
    let has = |end: &Value, key: &str, text: &str| end[key].as_str().is_some_and(|is| is.contains(text));
    let other = table.iter().zip(ends).filter(|((_, kind, words), end)| !(has(end, "kind", kind) && has(end, "message", words)));
    let other: Vec<_> = other.map(|((request, kind, words), end)| format!("{request} came to {end}, not to {kind}: {words}")).collect();
    assert!(other.is_empty(), "{}", other.join("\n"));
}
