//! The scenario: two conversations, parallel reads, effects one after the other, a message that joins a running turn, a
//! command, and a summary of the history. Whoever talks here goes on after a crash as a real client does: attaches again, and
//! sends again what got no receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::support::checker::{self, Evidence, Verdict};
use crate::support::client::{Client, Entry, What};
use crate::support::fake_openai::{Answer, Ask, Script};
use crate::support::host::{Host, was_killed};
use crate::support::scene::Scene;
use crate::support::{HANGS, within};

/// The first call with an effect: the second answer of the first conversation's turn asks for it.
pub const FIRST_EFFECT: &str = "s1.t1.2.0";

/// The conversations, in the order in which they are made: the first is `c1`.
const PEOPLE: [&str; 2] = ["a", "b"];

/// After so many crashes turns go on one at a time.
const CAREFUL: usize = 2;

/// How a boot of the host is disturbed. A boot that the script does not mention is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Not at all: every point that fires is noted.
    Listed,
    /// `kill -9` at this point.
    Killed(String),
    /// The same, and calls start before it is committed that they do.
    KilledLate(String),
    /// `kill -9` so long after it began to serve, or never, if everything is over before.
    KilledAfter(Duration),
}

/// What came of a run.
pub struct Played {
    pub crashes: usize,
    /// The points that fired in a boot that was listed.
    pub listed: BTreeSet<String>,
    pub verdict: Verdict,
    /// What helps to understand a verdict that is not good.
    pub evidence: String,
}

fn script() -> Script {
    let write = |content: &str| ("file_write", json!({"file_path": "effects.txt", "content": format!("{content}\n"), "mode": "append"}));
    let read = |path: &str| ("file_read", json!({"file_path": path}));
    Script::default()
        .on("replaced by a summary", [Answer::text("## State\nBeta was asked for and done.")])
        .on(
            "alpha",
            [
                Answer::calls([read("welcome.md"), ("ls", json!({}))]),
                Answer::calls([write("a first"), write("a second"), read("effects.txt")]),
                Answer::text("This answer is given up.").held("alpha's last"),
            ],
        )
        .on("joining", [Answer::text("All of alpha is done.").held("the joined")])
        .on("beta", [Answer::calls([write("b first"), read("welcome.md")]), Answer::text("Beta is done.")])
}

/// A host, those who talk to it, and its crashes.
struct Stage {
    scene: Scene,
    boots: Vec<Boot>,
    booted: usize,
    host: Option<Host>,
    clients: BTreeMap<&'static str, Client>,
    crashes: usize,
    /// Kills the host; stopped before anybody has waited for the host's end, so that its number is still its own.
    killing: Option<AbortOnDrop>,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn kill_after(host: &Host, time: Duration) -> AbortOnDrop {
    let pid = host.pid();
    AbortOnDrop(tokio::spawn(async move {
        tokio::time::sleep(time).await;
        // It may have ended by itself.
        let _: Result<(), rustix::io::Errno> = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }))
}

/// Plays the scenario to its end, whatever dies on the way, and checks what is left.
pub async fn play(boots: Vec<Boot>) -> Played {
    let mut stage = Stage::new(boots).await;
    stage.perform().await;
    stage.judge()
}

impl Stage {
    async fn new(boots: Vec<Boot>) -> Self {
        let scene = Scene::new(script()).await;
        Self { scene, boots, booted: 0, host: None, clients: BTreeMap::new(), crashes: 0, killing: None }
    }

    async fn perform(&mut self) {
        for name in PEOPLE {
            self.with(name, async |_| Ok(())).await;
        }
        self.with("a", async |client| client.say("a-1", "Please do alpha.").await).await;
        self.until(|scene| scene.fake.held_count("alpha's last") > 0).await;
        // Beside a turn that waits for its model the other conversation does all it has to.
        self.with("b", async |client| client.say("b-1", "Please do beta.").await).await;
        self.settle_beside("b").await;
        self.with("b", async |client| client.say("b-2", "/model other").await).await;
        self.settle_beside("b").await;
        self.with("b", async |client| client.say("b-3", "/compact").await).await;
        self.settle_beside("b").await;
        self.with("a", async |client| client.say("a-2", "And this is joining.").await).await;
        // The request that the message interrupts is over before the next one may be answered.
        let joined = |scene: &Scene| {
            let (held, left) = (scene.fake.held_count("alpha's last"), scene.fake.left_count("alpha's last"));
            scene.fake.held_count("the joined") > 0 && held == left
        };
        self.until(joined).await;
        self.scene.fake.release("the joined");
        self.settle("a").await;
        self.settle("b").await;
        // What is acknowledged last is committed after that; a stop in good order waits for it.
        self.finish().await;
    }

    async fn settle(&mut self, name: &'static str) {
        self.with(name, async |client| client.settle().await.map(drop)).await;
    }

    /// Waits for one conversation while the other waits for its model. Turns that ran at two crashes go on one at a time,
    /// and the other one may be the first: then this one comes later.
    async fn settle_beside(&mut self, name: &'static str) {
        loop {
            if self.attach(name).await.is_ok() {
                if self.crashes >= CAREFUL {
                    return;
                }
                if self.clients.get_mut(name).unwrap().settle().await.is_ok() {
                    return;
                }
            }
            self.fell().await;
        }
    }

    /// Does something as a client until the host lives long enough for it.
    async fn with(&mut self, name: &'static str, act: impl AsyncFn(&mut Client) -> io::Result<()>) {
        loop {
            if self.attach(name).await.is_ok() {
                let client = self.clients.get_mut(name).unwrap();
                if act(client).await.is_ok() {
                    return;
                }
            }
            self.fell().await;
        }
    }

    async fn attach(&mut self, name: &'static str) -> io::Result<()> {
        self.boot().await;
        if !self.clients.contains_key(name) {
            let client = Client::attach(&self.scene.work, name, &self.scene.log).await?;
            self.clients.insert(name, client);
        }
        Ok(())
    }

    /// Waits for the fake, starting the host again when it dies meanwhile.
    async fn until(&mut self, reached: impl Fn(&Scene) -> bool) {
        let waiting = async {
            while !reached(&self.scene) {
                self.boot().await;
                if self.host.as_mut().is_some_and(|host| host.ended().is_some()) {
                    self.fell().await;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(HANGS, waiting).await.is_err() {
            panic!("{:?}: waited in vain for the fake\n{}", self.boots, self.scene.work.log());
        }
    }

    /// Starts the host if there is none, with what its script says of this boot.
    async fn boot(&mut self) {
        while self.host.is_none() {
            let boot = self.boots.get(self.booted).cloned();
            self.booted += 1;
            let list = self.list();
            let variables = match &boot {
                None => vec![],
                Some(Boot::Listed) => vec![("CRASH_LIST", list.to_str().unwrap())],
                Some(Boot::Killed(point)) => vec![("CRASH_AT", point.as_str())],
                Some(Boot::KilledLate(point)) => vec![("CRASH_AT", point.as_str()), ("STELLACLAW_TEST_LATE_INTENT", "1")],
                Some(Boot::KilledAfter(_)) => vec![],
            };
            match self.scene.work.start(&variables).await {
                Ok(host) => {
                    self.killing =
                        boot.and_then(|boot| if let Boot::KilledAfter(time) = boot { Some(kill_after(&host, time)) } else { None });
                    self.host = Some(host);
                }
                Err(status) => self.count(was_killed(status)),
            }
        }
    }

    /// The host is gone, or is about to be.
    async fn fell(&mut self) {
        self.clients.clear();
        if let Some(mut host) = self.host.take() {
            let status = host.exit().await;
            self.killing = None;
            self.count(was_killed(status));
        }
    }

    fn count(&mut self, killed: bool) {
        assert!(killed, "{:?}: the host ended by itself\n{}", self.boots, self.scene.work.log());
        self.crashes += 1;
        assert!(self.crashes <= self.boots.len(), "{:?}: more crashes than planned", self.boots);
    }

    /// Stops the host in good order; one that dies on the way starts once more.
    async fn finish(&mut self) {
        loop {
            self.boot().await;
            self.clients.clear();
            let mut host = self.host.take().unwrap();
            host.signal(rustix::process::Signal::TERM);
            let status = within("the host to stop", host.exit()).await;
            self.killing = None;
            if status.success() {
                return;
            }
            self.count(was_killed(status));
            for name in PEOPLE {
                self.settle(name).await;
            }
        }
    }

    fn list(&self) -> PathBuf {
        self.scene.work.folder().join("points.txt")
    }

    fn effects(&self) -> Vec<PathBuf> {
        ["c1", "c2"].iter().map(|conversation| self.scene.work.workspace(conversation).join("effects.txt")).collect()
    }

    fn check(&self, client: &[Entry], asks: &[Ask]) -> Verdict {
        checker::check(&Evidence {
            database: &self.scene.work.database(),
            client,
            asks,
            effects: &self.effects(),
            crashes: self.crashes,
            tries: 1,
            restored: false,
        })
    }

    fn judge(self) -> Played {
        let mut verdict = self.check(&self.scene.log.entries(), &self.scene.fake.asks());
        verdict.broken.extend(self.scene.fake.refusals().into_iter().map(|why| format!("the vendor refused a request: {why}")));
        let listed = std::fs::read_to_string(self.list()).unwrap_or_default().lines().map(str::to_owned).collect();
        let client: String = self.scene.log.entries().iter().map(|entry| format!("  {entry:?}\n")).collect();
        let evidence = if verdict.is_good() { String::new() } else { format!("{client}{}", self.scene.work.log()) };
        Played { crashes: self.crashes, listed, verdict, evidence }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let client: String = self.scene.log.entries().iter().map(|entry| format!("  {entry:?}\n")).collect();
            let asks: Vec<_> = self.scene.fake.asks().into_iter().map(|ask| (ask.key, ask.round)).collect();
            eprintln!("{:?}, boot {}, {} crashes, {asks:?}\n{client}", self.boots, self.booted, self.crashes);
        }
    }
}

/// Breaks each promise in what a good run left behind.
pub async fn tamper() {
    let mut stage = Stage::new(Vec::new()).await;
    stage.perform().await;
    let (client, asks) = (stage.scene.log.entries(), stage.scene.fake.asks());
    let good = stage.check(&client, &asks);
    assert!(good.is_good(), "{good}");

    let delivered = client.iter().find(|entry| matches!(entry.what, What::Delivered { .. })).unwrap();
    let with = |entry: Entry| stage.check(&[client.clone(), vec![entry]].concat(), &asks);
    let twice = with(delivered.clone());
    assert_eq!(twice.unmarked, 1, "{twice}");
    let What::Delivered { key, part, text } = delivered.what.clone() else { unreachable!() };
    let marked = with(Entry { what: What::Delivered { key, part, text: format!("(may repeat)\n{text}") }, ..delivered.clone() });
    assert!(marked.marked == 1 && !marked.is_good(), "a marked repeat without a crash: {marked}");
    let reply = |key: &str| Entry { place: "z".into(), what: What::Delivered { key: key.into(), part: 0, text: "x".into() } };
    let swapped = stage.check(&[client.clone(), vec![reply("s9.t2.final"), reply("s9.t1.final")]].concat(), &asks);
    assert!(swapped.to_string().contains("came in the order"), "{swapped}");
    let receipt = with(Entry { place: "a".into(), what: What::Receipt { id: "a-3".into() } });
    assert_eq!(receipt.lost, 1, "{receipt}");
    assert!(!stage.check(&client, &[&asks[..], &asks[..1]].concat()).is_good(), "a request without a reason");

    let effects = &stage.effects()[0];
    let lines = std::fs::read_to_string(effects).unwrap();
    std::fs::write(effects, format!("{lines}a first\n")).unwrap();
    assert_eq!(stage.check(&client, &asks).reexecuted, 1);
    std::fs::write(effects, lines.replace("a first\n", "")).unwrap();
    assert!(!stage.check(&client, &asks).is_good(), "an effect that was promised and is not there");
    std::fs::write(effects, &lines).unwrap();

    let store = Connection::open(stage.scene.work.database()).unwrap();
    let broken = |sql: &str, undo: &str| {
        store.execute_batch(sql).unwrap();
        let verdict = stage.check(&client, &asks);
        store.execute_batch(undo).unwrap();
        verdict
    };
    let unsent = broken("UPDATE outbox SET state = 'failed' WHERE id = 1", "UPDATE outbox SET state = 'sent' WHERE id = 1");
    assert!(unsent.lost >= 1, "{unsent}");
    let sending = broken("UPDATE parts SET state = 'sending', boot = 0", "UPDATE parts SET state = 'sent', boot = 1");
    assert!(!sending.is_good(), "{sending}");
    let open = broken("UPDATE inbox SET state = 'taken'", "UPDATE inbox SET state = 'done'");
    assert_eq!(open.lost, 5, "{open}");
    let endless =
        broken("UPDATE journal SET kind = 'x' WHERE kind = 'turn_ended'", "UPDATE journal SET kind = 'turn_ended' WHERE kind = 'x'");
    assert_eq!(endless.lost, 2, "{endless}");
    let began = "UPDATE journal SET kind = kind, body = replace(body, '\"inbox\":1,', '\"inbox\":2,') WHERE kind = 'turn_began'";
    let double = broken(began, "SELECT 1");
    assert!(double.lost >= 1, "{double}");
}
