//! Components that do what they should not, dropped into a real host.
//!
//! A [`Case`] is what one conversation says and how its turn ends. While it runs, another conversation finishes a turn of
//! its own; afterwards the process takes what it took before. At the end of every test no secret is in any file. One host
//! serves all cases of a [`Stage`]: what the first ones leave behind, the last ones stumble over.

mod calls;

use std::fs;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Delivered, Log};
use crate::support::files;
use crate::support::host::{Host, Work};

/// A healthy conversation has its answer by then, whatever another one does. No promise of speed: it would hang for ever.
const HEALTHY: Duration = Duration::from_secs(10);
/// By then a process has given back what a call took: threads that were needed once end after ten idle seconds.
const GIVEN_BACK: Duration = Duration::from_secs(30);
/// The operator's secret. It is in the host's environment, and nowhere else.
pub const CANARY: &str = "sk-canary-hostile-5b1e77c0d9";

/// What somebody says, and what they are answered.
pub struct Case {
    pub says: String,
    /// Each is somewhere in the last part of the answer.
    pub answers: Vec<String>,
}

/// A row of a table of cases.
pub fn case(says: impl Into<String>, answers: &[&str]) -> Case {
    Case { says: says.into(), answers: answers.iter().map(|&text| text.to_owned()).collect() }
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
        let victim = Client::attach(&work, "victim", &log).await.unwrap();
        let bystander = Client::attach(&work, "bystander", &log).await.unwrap();
        let before = Level::of(&host);
        let mut stage = Self { work, host, victim, bystander, before, said: 0 };
        // Compiled, connected, warm.
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

    /// Plays one case: it ends as it should, nobody else waits for it, nothing is left of it.
    pub async fn plays(&mut self, case: &Case) -> Vec<Delivered> {
        self.said += 1;
        self.victim.send(&format!("v-{}", self.said), &case.says).await.unwrap();
        self.is_healthy().await;
        let (replies, _) = self.victim.settle().await.unwrap();
        println!("{:.100}\n  → {:.400}", case.says, replies.last().map_or("", |reply| reply.text.as_str()));
        assert_answers(&replies, &case.answers.iter().map(String::as_str).collect::<Vec<_>>());
        self.is_at_its_level(&case.says).await;
        replies
    }

    /// Plays them one after the other.
    pub async fn plays_all(&mut self, cases: &[Case]) {
        for case in cases {
            self.plays(case).await;
        }
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
    async fn is_at_its_level(&self, after: &str) {
        let began = Instant::now();
        loop {
            let now = Level::of(&self.host);
            if now.is_like(&self.before) {
                return;
            }
            assert!(began.elapsed() < GIVEN_BACK, "{after:.100}: not given back: {now:?}, before it was {:?}", self.before);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the host in good order, and looks for the secret wherever something was written.
    pub async fn ends(self) -> Work {
        self.host.stop().await;
        assert_no_secret(&self.work, &[CANARY]);
        self.work
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
const SLACK: Level = Level { resident_kib: 96 << 10, address_kib: 2 << 20, threads: 8, files: 8 };

impl Level {
    fn of(host: &Host) -> Self {
        let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap().count() as u64;
        Self { resident_kib: number("VmRSS"), address_kib: number("VmSize"), threads: number("Threads"), files }
    }

    fn is_like(&self, before: &Self) -> bool {
        let at_most = |now: u64, before: u64, slack: u64| now <= before + slack;
        at_most(self.resident_kib, before.resident_kib, SLACK.resident_kib)
            && at_most(self.address_kib, before.address_kib, SLACK.address_kib)
            && at_most(self.threads, before.threads, SLACK.threads)
            && at_most(self.files, before.files, SLACK.files)
    }
}
