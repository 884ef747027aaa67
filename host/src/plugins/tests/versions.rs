//! Components that are exchanged under a host that runs: what is asked, compiled, kept and forgotten.

use std::fs;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::plugins::answers::Next;
use crate::plugins::load::Code;
use crate::plugins::manifest;
use crate::plugins::registry::{Shelves, digest};
use crate::plugins::settle::Listing;

static CATALOGUE: LazyLock<PathBuf> = LazyLock::new(|| build("catalogue"));
const HANGS: Duration = Duration::from_secs(120);

/// A component that offers what its settings say, with one tool; other bytes for each version.
fn component(tool: &str, version: u32) -> Vec<u8> {
    let manifest = json!({ "contract": "0.1.0", "name": tool, "version": format!("0.{version}.0"), "tools": [tool] });
    manifest::with_section(&fs::read(&*CATALOGUE).unwrap(), manifest.to_string().as_bytes()).unwrap()
}

/// A work directory of its own with a plugin folder, and who looks into it.
struct Folder {
    dir: TempDir,
    setup: Setup,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("plugins")).unwrap();
        let config = Config { plugin_dirs: vec!["plugins".into()], ..Config::embedded(false) };
        let setup = Setup { workdir: dir.path().to_owned(), config: config.into(), bundled: false };
        Self { dir, setup }
    }

    /// Puts a component there that does as `act` says.
    fn put(&self, act: &str, bytes: &[u8]) {
        let path = |name: String| self.dir.path().join("plugins").join(name);
        fs::write(path(format!("{act}.toml")), format!("[settings]\nact = {act:?}\n")).unwrap();
        fs::write(path(format!("{act}.part")), bytes).unwrap();
        fs::rename(path(format!("{act}.part")), path(format!("{act}.wasm"))).unwrap();
    }

    fn start(&self) -> Plugins {
        TOKIO.block_on(async { Plugins::start(&self.setup).unwrap() })
    }

    /// Has the host look.
    fn look(&self, host: &Plugins) {
        host.inner.reload(Some(Shelves::new(&self.setup.config.get(), self.dir.path()).list(&Listing::new()).0));
        TOKIO.block_on(host.wait_ready());
    }

    /// The files of the work directory's folder `name` that end like this, without their ending.
    fn files(&self, name: &str, ending: &str) -> Vec<String> {
        let files = fs::read_dir(self.dir.path().join(name)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = files.filter_map(|file| file.strip_suffix(ending).map(str::to_owned)).collect();
        files.sort_unstable();
        files
    }
}

fn names(catalog: &Catalog) -> Vec<&str> {
    catalog.tools().iter().map(|tool| tool.name.as_str()).collect()
}

fn tools(host: &Plugins) -> Arc<Catalog> {
    TOKIO.block_on(host.tools(&SessionInfo::plain()))
}

#[test]
fn what_nothing_means_any_more_is_forgotten_while_the_host_runs() {
    let folder = Folder::new();
    let (one, two, wrong) = (component("fine", 1), component("fine", 2), component("file_read", 3));
    folder.put("fine", &one);
    let host = folder.start();
    TOKIO.block_on(host.wait_ready());
    host.inner.keep();
    assert_eq!((folder.files("components", ".wasm"), folder.files("cache", ".cwasm").len()), (vec![digest(&one)], 1));
    folder.put("fine", &two);
    folder.look(&host);
    assert_eq!(host.list()[0].serving, Some(digest(&two)));
    assert_eq!(folder.files("components", ".wasm"), [digest(&two)]);
    let code = folder.files("cache", ".cwasm");
    assert!(matches!(code.as_slice(), [code] if code.starts_with(&digest(&two))), "{code:?}");

    // What is refused leaves nothing behind, and is not kept again at each look.
    folder.put("fine", &wrong);
    for _ in 0..2 {
        folder.look(&host);
        assert!(matches!(host.list()[0].state, State::Refused { .. }), "{:?}", host.list());
        assert_eq!(host.list()[0].serving, Some(digest(&two)));
        assert_eq!(folder.files("components", ".wasm"), [digest(&two)]);
        assert_eq!(folder.files("cache", ".cwasm"), code);
    }
    folder.put("fine", b"garbage");
    folder.look(&host);
    assert_eq!(folder.files("components", ".wasm"), [digest(&two)]);
}

#[test]
fn code_whose_catalogue_nobody_has_asked_is_not_served_unasked_at_the_next_start() {
    let folder = Folder::new();
    folder.put("fine", &component("fine", 1));
    let start = || {
        let host = folder.start();
        TOKIO.block_on(host.wait_ready());
        host
    };
    assert_ne!(start().busy(), Duration::ZERO);
    assert_eq!(start().busy(), Duration::ZERO, "what was proven is not asked again");
    // As a host leaves it that dies while it asks.
    let cache = folder.dir.path().join("cache");
    let [entry] = folder.files("cache", ".mac").try_into().unwrap();
    fs::rename(cache.join(format!("{entry}.mac")), cache.join(format!("{entry}.unproven"))).unwrap();
    assert_ne!(start().busy(), Duration::ZERO);
    assert_eq!((folder.files("cache", ".mac"), folder.files("cache", ".unproven")), (vec![entry], Vec::new()));
}

#[test]
fn who_is_refused_is_compiled_and_asked_once() {
    let folder = Folder::new();
    folder.put("fine", &component("fine", 1));
    folder.put("traps", &component("hidden", 1));
    let host = folder.start();
    TOKIO.block_on(host.wait_ready());
    host.inner.keep();
    folder.put("fine", &component("file_read", 2));
    folder.look(&host);
    let refused = || host.list().iter().filter(|plugin| matches!(plugin.state, State::Refused { .. })).count();
    assert_eq!(refused(), 2, "{:?}", host.list());
    let (before, asked) = (host.inner.snapshot(), host.busy());
    for _ in 0..3 {
        folder.look(&host);
    }
    assert!(Arc::ptr_eq(&before, &host.inner.snapshot()), "nothing is new");
    assert_eq!((refused(), host.busy()), (2, asked));
    // The same bytes with settings that are right.
    fs::write(folder.dir.path().join("plugins/traps.toml"), "[settings]\nact = \"hidden\"\n").unwrap();
    folder.look(&host);
    assert_eq!((refused(), names(&tools(&host))), (1, vec!["fine", "hidden"]), "{:?}", host.list());
}

#[test]
fn an_answer_outlives_the_change_of_another_plugin() {
    let folder = Folder::new();
    folder.put("fine", &component("fine", 1));
    let host = folder.start();
    TOKIO.block_on(host.wait_ready());
    assert_eq!(names(&tools(&host)), ["fine"]);
    let (before, asked) = (host.inner.snapshot(), host.busy());
    folder.put("hidden", &component("hidden", 1));
    folder.look(&host);
    assert!(!Arc::ptr_eq(&before, &host.inner.snapshot()));
    let now = Instant::now();
    let known = |name: &str| matches!(host.inner.plugin(name).unwrap().answers.next(&SessionInfo::plain(), now), Next::Said(_));
    assert!(known("fine") && known("hidden"), "one as before, the other from when it was compiled");
    let compiled = host.busy();
    assert!(compiled > asked);
    assert_eq!(names(&tools(&host)), ["fine", "hidden"]);
    assert_eq!(host.busy(), compiled, "nobody was asked twice");
}

#[test]
fn who_compiles_for_long_is_left_out_and_costs_the_others_nothing() {
    let folder = Folder::new();
    folder.put("fine", &component("fine", 1));
    TOKIO.block_on(folder.start().wait_ready());
    // Its catalogue has no end, so it is being compiled.
    folder.put("loops", &component("loops", 1));
    let host = folder.start();
    let info = SessionInfo { helpers: vec!["image".into()], ..SessionInfo::plain() };
    let past = tokio::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(names(&TOKIO.block_on(host.tools_until(&info, past))), ["fine"]);
        assert!(matches!(host.inner.plugin("loops").unwrap().code(), Ok(Code::Compiling)));
        let answers = &host.inner.plugin("fine").unwrap().answers;
        assert!(matches!(answers.next(&info, Instant::now()), Next::Said(_)), "it is not asked again");
    }
    // Nobody is to wait for the end.
    fs::remove_file(folder.dir.path().join("plugins/loops.wasm")).unwrap();
    folder.look(&host);
    assert_eq!(names(&tools(&host)), ["fine"]);
}

#[test]
fn who_could_not_be_asked_is_asked_again() {
    let folder = Folder::new();
    folder.put("fine", &component("fine", 1));
    let host = folder.start();
    TOKIO.block_on(host.wait_ready());
    let (free, busy) = std::sync::mpsc::channel::<()>();
    let (begins, begun) = std::sync::mpsc::channel();
    let busy = Arc::new(Mutex::new(busy));
    let jobs: Vec<_> = (0..crate::limits::CALL_THREADS_MAX)
        .map(|_| {
            let (inner, busy, begins) = (host.inner.clone(), busy.clone(), begins.clone());
            let job = move || async move {
                begins.send(()).unwrap();
                busy.lock().unwrap().recv().is_err()
            };
            TOKIO.spawn(async move { inner.threads.run(job).await.unwrap() })
        })
        .collect();
    // Every thread for calls has something to do.
    (0..crate::limits::CALL_THREADS_MAX).for_each(|_| begun.recv_timeout(HANGS).unwrap());
    folder.put("hidden", &component("hidden", 1));
    host.inner.reload(Some(Shelves::new(&folder.setup.config.get(), folder.dir.path()).list(&Listing::new()).0));
    // This one serves, and is asked something new; the other one is asked for the first time.
    let info = SessionInfo { helpers: vec!["image".into()], ..SessionInfo::plain() };
    assert_eq!(names(&TOKIO.block_on(host.tools(&info))), [""; 0]);
    assert_eq!(names(&tools(&host)), ["fine"], "what it said before, it would say again");
    assert!(matches!(host.inner.plugin("hidden").unwrap().code(), Ok(Code::Compiling)), "nobody is refused for that");
    drop(free);
    assert!(jobs.into_iter().all(|job| TOKIO.block_on(job).unwrap()));
    let began = Instant::now();
    while names(&TOKIO.block_on(host.tools(&info))) != ["fine", "hidden"] {
        assert!(began.elapsed() < HANGS, "{:?}", host.list());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_data_directory_that_was_removed_is_made_again() {
    let workdir = tempfile::tempdir().unwrap();
    let config = Config { plugins: [("hostile".to_owned(), entry(true))].into(), plugin_dirs: Vec::new(), ..Config::embedded(false) };
    copy_code_of_hostile(workdir.path());
    let host = TOKIO
        .block_on(async { Plugins::start(&Setup { workdir: workdir.path().to_owned(), config: config.into(), bundled: false }).unwrap() });
    TOKIO.block_on(host.wait_ready());
    let session = Session::new();
    let used = || host.inner.plugin("hostile").unwrap().serving.as_ref().unwrap().data.as_ref().unwrap().budget.used_bytes();
    let write = |text: &str| session.call(&host, "touch", &json!({"path": "/data/kept", "text": text}));
    write(&"x".repeat(100_000)).unwrap();
    let before = used();
    fs::remove_dir_all(workdir.path().join("data/hostile")).unwrap();
    write("y").unwrap();
    assert_eq!(fs::read_to_string(workdir.path().join("data/hostile/kept")).unwrap(), "y");
    assert!(before > 100_000 && used() < 100_000, "{before} bytes, and now {}", used());
}
