//! Components that do what they should not, dropped into a real host.
//!
//! A [`Case`] is what one conversation says and how its turn ends. While it runs, another conversation finishes a turn of
//! its own; afterwards the process takes what it took before. At the end of every test no secret is in any file. One host
//! serves all cases of a [`Stage`]: what the first ones leave behind, the last ones stumble over.

mod answers;
mod blobs;
mod cache;
mod calls;
mod catalogues;
mod components;
mod files;
mod names;
mod network;
mod prowler;
mod secrets;
mod vendors;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use stellaclaw::channels::terminal::protocol::ToClient;
use stellaclaw::limits;

use crate::support::client::{Client, Delivered, Log};
use crate::support::files;
use crate::support::host::{Host, Work};

/// A healthy conversation has its answer by then, whatever another one does. No promise of speed: it would hang for ever.
const HEALTHY: Duration = Duration::from_secs(10);
/// By then a process has given back what a call took: threads that were needed once end after ten idle seconds.
const GIVEN_BACK: Duration = Duration::from_secs(30);
/// Compiling takes as long as it takes; on a machine that does much else, long.
const COMPILES: Duration = Duration::from_secs(300);
/// The operator's secret. It is in the host's environment, and nowhere else.
pub const CANARY: &str = "sk-canary-hostile-5b1e77c0d9";

/// What somebody says, and what they are answered.
pub struct Case {
    pub says: String,
    /// Each is somewhere in the last part of the answer, once for each call.
    pub answers: Vec<String>,
    /// How many calls it comes to at the same time.
    pub calls: usize,
}

/// A row of a table of cases.
pub fn case(says: impl Into<String>, answers: &[&str]) -> Case {
    Case { says: says.into(), answers: answers.iter().map(|&text| text.to_owned()).collect(), calls: 1 }
}

/// A host, the conversation that gets the hostile component to act, and one that has nothing to do with it.
pub struct Stage {
    pub work: Work,
    pub host: Host,
    pub victim: Client,
    pub bystander: Client,
    before: Level,
    said: u32,
}

impl Stage {
    /// A host in `work`, which is configured and has its components.
    pub async fn start(work: Work) -> Self {
        let log = Log::new(work.folder());
        let host = work.host().await;
        let victim = compiled(&work, &log).await;
        let bystander = Client::attach(&work, "bystander", &log).await.unwrap();
        let before = Level::of(&host);
        let mut stage = Self { work, host, victim, bystander, before, said: 0 };
        // Connected and warm.
        stage.is_healthy().await;
        assert_answers(&stage.says("write b.txt: y && read b.txt").await, &["y"]);
        stage.before = Level::of(&stage.host);
        stage
    }

    /// Says something to the victim and waits for everything that comes of it.
    pub async fn says(&mut self, text: &str) -> Vec<Delivered> {
        self.said += 1;
        self.victim.talk(&format!("v-{}", self.said), text).await.unwrap()
    }

    /// Plays one case: it ends as it should, nobody else waits for it, nothing is left of it. What is not so is said.
    pub async fn plays(&mut self, case: &Case) -> Result<(), String> {
        self.said += 1;
        self.forget_peak();
        self.victim.send(&format!("v-{}", self.said), &case.says).await.unwrap();
        self.is_healthy().await;
        let (replies, _) = self.victim.settle().await.unwrap();
        let last = replies.last().map_or("", |reply| reply.text.as_str());
        println!("{:.100}\n  → {last:.300}", case.says);
        if let Some(part) = case.answers.iter().find(|part| last.matches(*part).count() < case.calls) {
            return Err(format!("{:.100}: {part:?} is not in {last:.1000}", case.says));
        }
        self.has_not_peaked(case.calls).map_err(|peak| format!("{:.100}: {peak}", case.says))?;
        self.is_at_its_level().await.map_err(|level| format!("{:.100}: not given back: {level}", case.says))
    }

    /// Plays them one after the other. All of them, so that a failure says which defences are gone.
    pub async fn plays_all(&mut self, cases: &[Case]) {
        let mut wrong = Vec::new();
        for case in cases {
            wrong.extend(self.plays(case).await.err());
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Plays them again and again, until one time takes no more than was taken before it. What an allocator keeps comes to an
    /// end; a guest, a thread or a file that each case costs does not.
    pub async fn plays_without_loss(&mut self, cases: &[Case]) {
        self.plays_all(cases).await;
        let mut losses = Vec::new();
        while losses.len() < LOSSES {
            self.settles().await;
            self.plays_all(cases).await;
            match self.comes_back(&LOST).await {
                Ok(level) => return println!("again: {level:?}, before it was {:?}", self.before),
                Err(loss) => losses.push(loss),
            }
        }
        panic!("each time something is lost: {losses:#?}");
    }

    /// The other conversation finishes a turn with a tool.
    pub async fn is_healthy(&mut self) {
        self.said += 1;
        let id = format!("b-{}", self.said);
        let turn = self.bystander.talk(&id, "write a.txt: x && read a.txt");
        let replies = tokio::time::timeout(HEALTHY, turn).await.expect("another conversation waits for the hostile one").unwrap();
        assert_answers(&replies, &["x"]);
    }

    /// The process takes what it took before.
    pub async fn is_at_its_level(&self) -> Result<(), String> {
        self.comes_back(&SLACK).await.map(drop)
    }

    /// What the process takes now is what it is measured by, once it has ended what it keeps only for a while.
    async fn settles(&mut self) {
        let idle = Level { resident_kib: u64::MAX / 2, address_kib: u64::MAX / 2, threads: LOST.threads, files: LOST.files };
        self.before = self.comes_back(&idle).await.unwrap();
    }

    async fn comes_back(&self, slack: &Level) -> Result<Level, String> {
        let began = Instant::now();
        loop {
            let now = Level::of(&self.host);
            if now.is_like(&self.before, slack) {
                return Ok(now);
            }
            if began.elapsed() > GIVEN_BACK {
                return Err(format!("{now:?}, before it was {:?}", self.before));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// From now on the peak is another one.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.host.pid().as_raw_nonzero()), "5").unwrap();
    }

    /// So many calls at once have never taken more than they may.
    pub fn has_not_peaked(&self, calls: usize) -> Result<(), String> {
        let most = self.before.resident_kib + BESIDE_KIB + CALL_KIB * calls as u64;
        let peak = status(&self.host, "VmHWM");
        if peak <= most { Ok(()) } else { Err(format!("it took {peak} KiB, and at most {most} are right")) }
    }

    /// Stops the host in good order, and looks for the secret wherever something was written.
    pub async fn ends(self) -> Work {
        self.host.stop().await;
        assert_no_secret(&self.work, &[CANARY]);
        self.work
    }
}

/// The victim, once nothing is being compiled any more.
async fn compiled(work: &Work, log: &Log) -> Client {
    let began = Instant::now();
    loop {
        let client = Client::attach(work, "victim", log).await.unwrap();
        if matches!(client.welcome, ToClient::Welcome { preparing: 0, .. }) {
            return client;
        }
        assert!(began.elapsed() < COMPILES, "still compiling: {:?}", client.welcome);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_answers(replies: &[Delivered], parts: &[&str]) {
    let last = replies.last().map_or("", |reply| reply.text.as_str());
    for part in parts {
        assert!(last.contains(part), "{part:?} is not in {replies:.2000?}");
    }
}

/// No file of the test's folder has any of these in it: not the store, the logs, the workspaces, or what clients were told.
pub fn assert_no_secret(work: &Work, secrets: &[&str]) {
    for (path, bytes) in files(work.folder()) {
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {}", path.display());
        }
    }
}

/// Why a plugin is not served, as the host's log says.
pub fn refusal(log: &str, plugin: &str) -> String {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["plugin"] == plugin).filter_map(|line| line["reason"].as_str().map(str::to_owned)).collect()
}

/// Drops components into the folder that the host looks into.
pub fn drop_in(work: &Work, name: &str, wasm: &[u8]) {
    let folder = work.workdir().join("plugins");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.wasm")), wasm).unwrap();
}

/// What the host's process takes.
#[derive(Debug, Clone, Copy)]
struct Level {
    resident_kib: u64,
    address_kib: u64,
    threads: u64,
    files: u64,
}

/// What may be more than before: what an allocator and the sandbox pool keep for the next time, connections that have not
/// noticed their end, and threads of the runtime.
const SLACK: Level = Level { resident_kib: 160 << 10, address_kib: 2 << 20, threads: 8, files: 8 };
/// The same after everything has been played before: less than a guest, a thread or a file for each of many cases. Of what calls gave
/// back an allocator keeps up to 64 MiB in each of its arenas, of which threads that come and go find others each time; a
/// hundred calls that lost 1 MiB each would show.
const LOST: Level = Level { resident_kib: 64 << 10, address_kib: 256 << 10, threads: 2, files: 2 };
/// After so many times of more than that it is no chance.
const LOSSES: usize = 3;
/// What one call may cost while it lasts: its memory, and what is copied into the host, in it and out of it.
const CALL_KIB: u64 = ((limits::GUEST_MEMORY_BYTES + 3 * limits::HOSTCALL_FUEL_BYTES) >> 10) as u64;
/// What goes on beside it: another conversation, and the model's side of this one.
const BESIDE_KIB: u64 = 96 << 10;

impl Level {
    fn of(host: &Host) -> Self {
        let files = fs::read_dir(format!("/proc/{}/fd", host.pid().as_raw_nonzero())).unwrap().count() as u64;
        let [resident_kib, address_kib, threads] = ["VmRSS", "VmSize", "Threads"].map(|name| status(host, name));
        Self { resident_kib, address_kib, threads, files }
    }

    fn is_like(&self, before: &Self, slack: &Self) -> bool {
        let at_most = |now: u64, before: u64, slack: u64| now <= before + slack;
        at_most(self.resident_kib, before.resident_kib, slack.resident_kib)
            && at_most(self.address_kib, before.address_kib, slack.address_kib)
            && at_most(self.threads, before.threads, slack.threads)
            && at_most(self.files, before.files, slack.files)
    }
}

/// A figure that the system has of the process.
fn status(host: &Host, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
