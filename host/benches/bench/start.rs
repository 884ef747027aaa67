//! The binary: how soon it serves, and what it weighs while nothing happens.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stellaclaw::channels::terminal::CHANNEL;
use stellaclaw::clock;
use stellaclaw::store::{NewConversation, Options, Store};
use stellaclaw::workdir::WorkDir;
use tokio::runtime::Runtime;

use crate::measure::{median, shown};
use crate::rig;

/// What a host is given to settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);

/// A running `stellaclaw run`.
pub struct Host(Child);

impl Host {
    /// Starts a host, and returns how long it took until its socket accepts.
    pub fn start(workdir: &Path) -> (Self, Duration) {
        let _: std::io::Result<()> = std::fs::remove_file(workdir.join("host.sock"));
        let started = Instant::now();
        // The embedded default, whatever the environment says.
        let child = Command::new(env!("CARGO_BIN_EXE_stellaclaw"))
            .args(["--quiet", "--workdir"])
            .arg(workdir)
            .arg("run")
            .env_remove("STELLACLAW_CONFIG")
            .env_remove("OPENROUTER_API_KEY")
            .env("XDG_CONFIG_HOME", workdir)
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary");
        while UnixStream::connect(workdir.join("host.sock")).is_err() {
            std::thread::sleep(Duration::from_micros(200));
            assert!(started.elapsed() < Duration::from_secs(60), "the host does not serve");
        }
        (Self(child), started.elapsed())
    }

    pub fn rss_kib(&self) -> u64 {
        std::thread::sleep(SETTLE);
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("a running host");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.0.kill();
        let _: std::io::Result<_> = self.0.wait();
    }
}

pub fn start(runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = rig::config("version = \"0.5\"\n");
    let began = Instant::now();
    runtime.block_on(rig::plugins(folder.path(), config));
    println!("start");
    println!("  all bundled components compiled, cold cache   {} (bar ≤ 6 s)", shown(began.elapsed()));
    let cold = tempfile::tempdir().expect("a folder");
    println!("  serving, cold cache                           {} (bar ≤ 1 s)", shown(Host::start(cold.path()).1));
    let warm: Vec<_> = (0..15).map(|_| Host::start(folder.path()).1).collect();
    println!("  serving, warm cache, median of 15             {} (bar ≤ 100 ms)", shown(median(&warm)));
    let (host, _) = Host::start(folder.path());
    println!("  idle RSS                                      {:.1} MB (bar ≤ 40 MB)", host.rss_kib() as f64 / 1024.0);
}

/// One conversation beside a thousand and one.
pub fn idle(runtime: &Runtime) {
    let rss = |conversations: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        runtime.block_on(async {
            rig::plugins(folder.path(), rig::config("version = \"0.5\"\n")).await;
            let workdir = WorkDir::open(folder.path()).expect("a work directory");
            let (store, _) = Store::open(&workdir, Options::default()).expect("a store");
            for n in 0..conversations {
                let address = format!("idle/{n}");
                let new = NewConversation { channel: CHANNEL.into(), address, model: "offline".into(), expires_at: None };
                let (conversation, _) = store.get_or_create(new, clock::now()).await.expect("a conversation");
                store.foreground(conversation.id).await.expect("a session");
            }
            store.close().await;
        });
        let mut samples: Vec<_> = (0..3).map(|_| Host::start(folder.path()).0.rss_kib()).collect();
        samples.sort_unstable();
        samples[1]
    };
    let (one, many) = (rss(1), rss(1001));
    println!("idle conversations");
    println!("  1: {one} KiB, 1,001: {many} KiB; beyond the first {} KiB in all (bar ≤ 1,024)", many.saturating_sub(one));
}
