//! `plugin dev`: what it serves, what it keeps, what it shows, and that it leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::author::{self, Turn};
use crate::support::host::{Running, Work};

/// A build takes its time on a machine that does much else.
const BUILDS: Duration = Duration::from_secs(300);

/// A work directory and a plugin that is being written.
struct Desk {
    work: Work,
    plugin: PathBuf,
    _turn: Turn,
}

impl Desk {
    async fn new() -> Self {
        let turn = author::turn();
        let mut work = Work::new();
        for (name, value) in author::variables(work.folder(), &work.folder().join("bin")) {
            work.set(&name, &value);
        }
        work.set("RUST_LOG", "");
        let plugin = work.folder().join("greet");
        let made = work.run(&["plugin", "new", "greet"], "").await;
        assert_eq!(made.code, Some(0), "{made:?}");
        Self { work, plugin, _turn: turn }
    }

    fn served(&self) -> PathBuf {
        self.work.workdir().join("plugins/greet.wasm")
    }

    /// Starts the verb in the plugin's folder.
    fn dev(&self, more: &[&str]) -> Running {
        let folder = self.plugin.to_str().unwrap();
        self.work.begin(&[&["plugin", "dev", folder, "--log-format", "text"], more].concat())
    }

    fn change(&self, from: &str, to: &str) {
        let path = self.plugin.join("src/lib.rs");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is not in {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
}

/// Waits until a verb has said `what` so many times.
async fn says(running: &Running, what: &str, times: usize) {
    let started = Instant::now();
    while running.so_far().matches(what).count() < times {
        assert!(started.elapsed() < BUILDS, "waited in vain for {what:?}:\n{}", running.so_far());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a file to be there.
async fn there(path: &Path) -> String {
    let started = Instant::now();
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => assert!(started.elapsed() < BUILDS, "{} does not come", path.display()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Does the process run? One that ended and that nobody has asked about does not.
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

const ADA: [&str; 3] = ["--call", "greet", "{\"who\": \"Ada\"}"];

#[tokio::test]
async fn a_saved_source_is_built_served_and_called_and_a_broken_one_changes_nothing() {
    let desk = Desk::new().await;
    let dev = desk.dev(&ADA);
    says(&dev, "Hello, Ada!", 1).await;
    says(&dev, "watching ", 1).await;
    let first = fs::read(desk.served()).unwrap();

    desk.change("\"Hello, {who}!\"", "\"Hello, {who}!");
    says(&dev, "the build failed; what was served before still is", 1).await;
    says(&dev, "watching ", 2).await;
    assert!(dev.so_far().contains("error: "), "cargo's own words are shown: {}", dev.so_far());
    assert_eq!(fs::read(desk.served()).unwrap(), first);

    desk.change("\"Hello, {who}!", "\"Welcome, {who}!\"");
    says(&dev, "Welcome, Ada!", 1).await;
    says(&dev, "watching ", 3).await;
    assert_ne!(fs::read(desk.served()).unwrap(), first);

    // Built, but no host would serve it: a tool of tools-fs.
    let second = fs::read(desk.served()).unwrap();
    desk.change("tools: [Greet]", "tools: [Greet as \"grep\"]");
    says(&dev, "the tool grep is already offered by the bundled plugin tools-fs", 1).await;
    says(&dev, "watching ", 4).await;
    assert_eq!(fs::read(desk.served()).unwrap(), second);

    let left: Vec<_> = fs::read_dir(desk.served().parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["greet.wasm"], "nothing temporary is left");
    dev.signal(Signal::INT);
    let ended = dev.finish("").await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
}

#[tokio::test]
async fn what_dev_did_not_put_there_is_replaced_only_when_it_is_told_to() {
    let desk = Desk::new().await;
    let served = desk.served();
    fs::create_dir_all(served.parent().unwrap()).unwrap();
    fs::write(&served, "of the operator").unwrap();
    let refused = desk.dev(&["--once"]).finish("").await;
    assert!(refused.code == Some(1) && refused.errors.contains("--replace takes its place"), "{refused:?}");
    assert_eq!(fs::read_to_string(&served).unwrap(), "of the operator");
    assert!(!desk.plugin.join("target").exists(), "it is said before anything is built");

    // A pipe is not waited for.
    fs::remove_file(&served).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&served).status().unwrap().success());
    let refused = desk.dev(&["--once"]).finish("").await;
    assert!(refused.code == Some(1) && refused.errors.contains("--replace takes its place"), "{refused:?}");

    let ended = async |more: &[&str]| {
        let dev = desk.dev(more);
        says(&dev, "is up to date", 1).await;
        dev.finish("").await.code
    };
    assert_eq!(ended(&["--once", "--replace"]).await, Some(0));
    let first = fs::read(&served).unwrap();
    assert!(first.starts_with(b"\0asm"));
    desk.change("\"Hello, {who}!\"", "\"Welcome, {who}!\"");
    assert_eq!(ended(&["--once"]).await, Some(0), "now it is its own");
    assert_ne!(fs::read(&served).unwrap(), first);
}

#[tokio::test]
async fn what_a_guest_says_and_how_it_crashes_is_shown_here_and_from_a_host() {
    let desk = Desk::new().await;
    desk.change(
        "let answer = greeting(&self.who);",
        "stellaclaw_sdk::log::debug(\"a line of the log\");\n        println!(\"a line of the output\");\n        \
         let answer = greeting(&self.who);",
    );
    desk.change("format!(\"Hello, {who}!\")", "inner(who)");
    desk.change("#[cfg(test)]", "#[inline(never)]\nfn inner(who: &str) -> String {\n    panic!(\"no {who} here\")\n}\n\n#[cfg(test)]");
    let once = desk.dev(&[&ADA[..], &["--once"]].concat());
    says(&once, "\"ok\": false", 1).await;
    let once = once.finish("").await;
    assert_eq!(once.code, Some(1), "{once:?}");
    for part in ["a line of the log", "a line of the output", "no Ada here", "greet::inner"] {
        assert!(once.errors.contains(part), "{part:?} is not in {}", once.errors);
    }
    assert!(once.errors.lines().any(|line| line.contains("greet::inner") && !line.contains("\\n")), "a frame on a line: {}", once.errors);

    let _host = desk.work.host().await;
    let dev = desk.dev(&[]);
    says(&dev, "watching ", 1).await;
    let asked = desk.work.run(&["ask", "call greet {\"who\": \"Bob\"}"], "").await;
    assert!(asked.output.contains("no Bob here"), "{asked:?}");
    says(&dev, "host: ERROR the tool crashed", 1).await;
    says(&dev, "greet::inner", 1).await;
    dev.signal(Signal::TERM);
    assert_eq!(dev.finish("").await.code, Some(143));
}

#[tokio::test]
async fn an_interrupt_ends_the_build_with_all_its_processes() {
    let desk = Desk::new().await;
    let pid = desk.plugin.join("target/pid");
    fs::create_dir_all(pid.parent().unwrap()).unwrap();
    // A build that does not end by itself.
    let script = format!(
        "fn main() {{\n    std::fs::write({pid:?}, format!(\"{{}}\\n\", std::process::id())).unwrap();\n    \
         loop {{ std::thread::sleep(std::time::Duration::from_secs(1)) }}\n}}\n"
    );
    fs::write(desk.plugin.join("build.rs"), script).unwrap();
    let dev = desk.dev(&[]);
    let pid = there(&pid).await;
    assert!(runs(&pid));
    dev.signal(Signal::INT);
    let ended = dev.finish("").await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let started = Instant::now();
    while runs(&pid) {
        assert!(started.elapsed() < BUILDS, "the build script goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_before_anything_is_built() {
    let work = Work::new();
    let missing = work.run(&["plugin", "dev", "none", "--once"], "").await;
    assert_eq!(missing.code, Some(7), "{missing:?}");
    fs::create_dir(work.folder().join("odd")).unwrap();
    fs::write(work.folder().join("odd/Cargo.toml"), "[package]\nname = \"Odd\"\n").unwrap();
    let odd = work.run(&["plugin", "dev", "odd", "--once"], "").await;
    assert!(odd.code == Some(1) && odd.errors.contains("\"Odd\" is not a plugin's name"), "{odd:?}");
}
