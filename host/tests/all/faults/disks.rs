//! The disk is full, or a sync fails: at every step, and for real.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use stellaclaw::channels::terminal::protocol::{Kind, Settled, ToClient};

use super::{assert_kept, script};
use crate::support::client::Client;
use crate::support::fake_openai::Answer;
use crate::support::host::{Host, was_killed};
use crate::support::scene::Scene;
use crate::support::{guests, mounts, within};

/// Runs at the same time. Most of the time they wait for the next try.
const AT_A_TIME: usize = 8;
/// "The disk is full or broken."
const DISK: i32 = 74;
/// A message that is a blob: longer than what a row holds.
const LONG: usize = 20 << 10;

/// What became of a run with a fault.
struct Played {
    /// Did the step that was to fail come at all?
    failed: bool,
    /// Codes of hosts that ended before they were told to.
    ends: Vec<Option<i32>>,
    said: String,
}

/// A client that goes on as a person does: says again what was not taken, and attaches again when the host is gone.
struct Person {
    scene: Scene,
    host: Option<Host>,
    client: Option<Client>,
    fault: Option<String>,
    ends: Vec<Option<i32>>,
}

impl Person {
    async fn attached(&mut self) -> Option<&mut Client> {
        if self.host.is_none() {
            let fault = self.fault.take();
            let variables: Vec<_> = fault.iter().map(|fault| ("FAULT_AT", fault.as_str())).collect();
            match self.scene.work.start(&variables).await {
                Ok(host) => self.host = Some(host),
                Err(status) => self.ends.push(status.code()),
            }
        }
        if self.host.is_some() && self.client.is_none() {
            self.client = Client::attach(&self.scene.work, "", &self.scene.log).await.ok();
        }
        self.client.as_mut()
    }

    async fn with(&mut self, act: impl AsyncFn(&mut Client) -> std::io::Result<()>) {
        loop {
            if let Some(client) = self.attached().await
                && act(client).await.is_ok()
            {
                return;
            }
            self.client = None;
            // A conversation may be refused for want of room while the host lives.
            let ended = self.host.as_mut().and_then(Host::ended);
            if let Some(status) = ended {
                self.ends.push(status.code());
                self.host = None;
            }
            assert!(self.ends.len() <= 1, "{:?}\n{}", self.ends, self.scene.work.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn say(&mut self, id: &str, text: &str) {
        self.with(async |client| {
            loop {
                client.send(id, text).await?;
                let taken = client
                    .until(|line| match line {
                        ToClient::Receipt { id: received } if received == id => Some(true),
                        ToClient::Rejected { reason, .. } => {
                            assert!(reason.contains("the disk is full") || reason.contains("the store is broken"), "{reason}");
                            Some(false)
                        }
                        _ => None,
                    })
                    .await?;
                if taken {
                    return Ok(());
                }
            }
        })
        .await;
    }
}

/// Plays a turn, a long message and a command through the one fault.
async fn play(fault: String) -> Played {
    let scene = Scene::new(script()).await;
    let mut person = Person { scene, host: None, client: None, fault: Some(fault), ends: Vec::new() };
    person.say("1", "Please work.").await;
    person.with(async |client| client.settle().await.map(drop)).await;
    person.say("2", &format!("hello {}", "x".repeat(LONG))).await;
    person.with(async |client| client.settle().await.map(drop)).await;
    person.say("3", "/model other").await;
    person.with(async |client| client.settle().await.map(drop)).await;
    person.client = None;
    if let Some(mut host) = person.host.take() {
        host.signal(Signal::TERM);
        let status = within("the host to stop", host.exit()).await;
        if !status.success() {
            person.ends.push(status.code());
            // What could not be written at the end is made good by the next start.
            person.with(async |client| client.settle().await.map(drop)).await;
            person.client = None;
            person.host.take().unwrap().stop().await;
        }
    }
    let said = person.scene.work.log();
    assert_kept(&person.scene, person.ends.len());
    Played { failed: said.contains("because a test wants it to"), ends: person.ends, said }
}

/// One run per step at which `fault` can happen; as many as there are steps.
async fn play_every(fault: &'static str) -> Vec<Played> {
    let mut all = Vec::new();
    for first in (1usize..).step_by(AT_A_TIME) {
        let played = join_all((first..first + AT_A_TIME).map(|n| play(format!("{fault}#{n}")))).await;
        let over = played.iter().any(|played| !played.failed);
        all.extend(played.into_iter().filter(|played| played.failed));
        if over {
            break;
        }
    }
    println!("{fault}: {} steps", all.len());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_at_any_commit_loses_nothing() {
    let all = play_every("commit.full").await;
    assert!(all.len() >= 15, "{}", all.len());
    // A start or a stop says so with its code; whatever is in between waits.
    assert!(all.iter().flat_map(|played| &played.ends).all(|code| *code == Some(DISK)));
    assert!(all.iter().filter(|played| played.ends.is_empty()).count() >= 12);
    let blobs = play_every("blob.full").await;
    assert!(!blobs.is_empty() && blobs.iter().all(|played| played.ends.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_at_any_commit_ends_the_host_and_the_next_one_goes_on() {
    for fault in ["commit.sync", "commit.synced", "blob.sync"] {
        let all = play_every(fault).await;
        assert!(!all.is_empty());
        for played in all {
            assert_eq!(played.ends, [Some(DISK)], "{fault}\n{}", played.said);
        }
    }
}

/// A disk of its own for the work directory, which goes away with the host.
struct SmallDisk {
    host: Host,
    /// The work directory as the host sees it.
    root: PathBuf,
}

impl SmallDisk {
    async fn new(scene: &Scene, size: &str) -> Self {
        const MOUNT: &str =
            "cp -a \"$0\" \"$0.kept\" && mount -t tmpfs -o size=$1 none \"$0\" && cp -a \"$0.kept/.\" \"$0/\" && shift && exec \"$@\"";
        let work = scene.work.workdir();
        let host = scene.work.spawn_under(&mounts::script(MOUNT, &[work.to_str().unwrap(), size]), &[]);
        let inside = Path::new("/proc").join(host.pid().as_raw_nonzero().to_string()).join("root");
        let root = inside.join(work.strip_prefix("/").unwrap());
        // The socket is behind the mount; from here it is seen through the host's own root.
        std::os::unix::fs::symlink(root.join("host.sock"), scene.work.socket()).unwrap();
        let host = scene.work.serving(host).await.unwrap_or_else(|died| panic!("{died:?}\n{}", scene.work.log()));
        Self { host, root }
    }

    /// Takes all room that there is.
    fn fill(&self) {
        let mut file = File::create(self.root.join("filler")).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            let chunk = vec![0; size];
            while file.write_all(&chunk).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.root.join("filler")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_disk_that_is_full_is_said_and_waited_for() {
    let scene = Scene::new(script()).await;
    let disk = SmallDisk::new(&scene, "400m").await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    let mut other = Client::attach(&scene.work, "other", &scene.log).await.unwrap();
    disk.fill();
    // New work is refused in words.
    other.send("2", &format!("hello {}", "x".repeat(LONG))).await.unwrap();
    let reason = other.until(|line| if let ToClient::Rejected { reason, .. } = line { Some(reason.clone()) } else { None }).await.unwrap();
    assert!(reason.contains("the disk is full") && reason.contains("free space"), "{reason}");
    // A turn that runs says why it stands still, and goes on by itself.
    scene.fake.release("wait");
    let reason = client.until(|line| if let ToClient::HeldUp { reason } = line { Some(reason.clone()) } else { None }).await.unwrap();
    assert!(reason.contains("the disk is full"), "{reason}");
    let health = scene.work.run(&["status", "--exit-code"], "").await;
    assert!(health.code == Some(1) && health.output.starts_with("store: the disk is full"), "{health:?}");
    disk.free();
    assert_eq!(client.settle().await.unwrap().0[0].text, "It was worth it.");
    other.say("2", &format!("hello {}", "x".repeat(LONG))).await.unwrap();
    assert_eq!(other.settle().await.unwrap().0[0].text, "Hello to you.");
    assert_eq!(scene.work.run(&["status", "--exit-code"], "").await.code, Some(0));
    // The disk goes with the host; what is on it is looked at from here.
    fs::remove_file(scene.work.socket()).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").args([&disk.root.join("."), &scene.work.workdir()]).status().unwrap();
    assert!(copied.success());
    assert_kept(&scene, 0);
    drop(disk.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_stopped_also_while_there_is_no_room_to_say_so() {
    // Rows have room, longer things have none.
    const MOUNT: &str = "mkdir -p \"$0\" && mount -t tmpfs -o size=64k none \"$0\" && exec \"$@\"";
    let both = Answer::calls([("spin", json!({})), ("file_read", json!({"file_path": "long.txt"}))]);
    let scene = Scene::new(script().on("both", [both])).await;
    fs::create_dir_all(scene.work.workdir().join("plugins")).unwrap();
    fs::copy(guests::probe(), scene.work.workdir().join("plugins/probe.wasm")).unwrap();
    let blobs = scene.work.workdir().join("blobs");
    let host = scene.work.spawn_under(&mounts::script(MOUNT, &[blobs.to_str().unwrap()]), &[]);
    let host = scene.work.serving(host).await.unwrap_or_else(|died| panic!("{died:?}\n{}", scene.work.log()));
    let inside = Path::new("/proc").join(host.pid().as_raw_nonzero().to_string()).join("root");
    let filler = inside.join(blobs.strip_prefix("/").unwrap()).join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    drop(file);
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let line = "A line of a text that is longer than what a row holds.\n";
    fs::write(scene.work.workspace("c1").join("long.txt"), line.repeat(LONG / line.len() + 1)).unwrap();
    client.send("1", "both").await.unwrap();
    client.until(|line| matches!(line, ToClient::HeldUp { .. }).then_some(())).await.unwrap();
    client.send("2", "/cancel").await.unwrap();
    let stopped = |line: &ToClient| matches!(line, ToClient::ToolEnded { name, .. } if name == "spin").then_some(());
    within("the tool to be stopped", client.until(stopped)).await.unwrap();
    fs::remove_file(&filler).unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.len(), replies[0].text.as_str(), state), (1, "Stopped.", Settled::Idle), "{replies:?}");
    host.stop().await;
}

/// The log of the database, as long as it is now.
fn log_of(scene: &Scene) -> (PathBuf, u64) {
    let path = scene.work.workdir().join("state.db-wal");
    let length = fs::metadata(&path).unwrap().len();
    (path, length)
}

/// Takes away what was written to the log since then.
fn cut((path, length): (PathBuf, u64)) {
    assert!(fs::metadata(&path).unwrap().len() > length);
    File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_a_torn_end_forgot_was_delivered_comes_again_with_a_mark() {
    let scene = Scene::new(script()).await;
    let mut host = scene.work.start(&[("CRASH_AT", "plan.before@s1.t1.final")]).await.unwrap();
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.send("1", "hello").await.unwrap();
    assert!(was_killed(host.exit().await));
    let torn = log_of(&scene);
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(client.settle().await.unwrap().0[0].text, "Hello to you.");
    client.talk("2", "greet-1").await.unwrap();
    host.kill();
    cut(torn);
    let host = scene.work.host().await;
    assert!(host.said().contains("the end of the store is missing"), "{}", host.said());
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let replies = client.settle().await.unwrap().0;
    assert_eq!(replies.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), ["(may repeat)\nHello to you."]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_is_said_and_a_turn_that_ran_waits_for_a_person() {
    let read = ("file_read", json!({"file_path": "welcome.md"}));
    let answers = [Answer::calls([read]).held("first"), Answer::text("Whole again.").held("second")];
    let scene = Scene::new(script().on("torn", answers)).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "torn").await.unwrap();
    scene.fake.held("first", 1).await;
    let begun = log_of(&scene);
    scene.fake.release("first");
    scene.fake.held("second", 1).await;
    host.kill();
    // The turn is still known, and nothing of what it did since.
    cut(begun);
    let host = scene.work.host().await;
    let said = host.said();
    assert!(said.contains("the end of the store is missing") && said.contains("journal_known"), "{said}");
    scene.fake.release("second");
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.len(), replies[0].kind, state), (1, Kind::Question, Settled::Parked), "{replies:?}");
    assert_eq!(client.talk("2", "/continue").await.unwrap().last().unwrap().text, "Whole again.");
    host.stop().await;
    assert_kept(&scene, 1);
}
