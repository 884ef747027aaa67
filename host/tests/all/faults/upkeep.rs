//! What is forgotten with time, and that nothing else is: through the program, also when it dies in the middle of it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::script;
use crate::support::client::{Client, Log};
use crate::support::host::{Host, Work, was_killed};
use crate::support::scene::Scene;
use crate::support::within;

/// A host that tidies up as soon as it serves.
const AT_ONCE: (&str, &str) = ("TEST_MAINTENANCE", "0");
/// Older than anything is kept that may be forgotten.
const LONG_AGO: Duration = Duration::from_secs(400 * 24 * 3600);
/// A message that is a blob.
const LONG: usize = 20 << 10;
/// What tidying up makes pass, each before and after its commit.
const STEPS: [&str; 5] = ["expired", "conversations", "inbox", "journal", "vacuum"];

/// A work directory with things to forget and things to keep.
struct Old {
    scene: Scene,
    /// Blobs that rows name; each is as old as those that none does.
    kept: Vec<PathBuf>,
    forgotten: Vec<PathBuf>,
}

fn make_old(path: &Path) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - LONG_AGO).unwrap();
}

/// The file of a blob.
fn blob(work: &Work, hash: &str) -> PathBuf {
    work.workdir().join("blobs").join(&hash[..2]).join(hash)
}

/// Blobs that rows of the store name.
fn named(work: &Work) -> Vec<PathBuf> {
    let store = Connection::open(work.database()).unwrap();
    let mut hashes = store.prepare("SELECT DISTINCT hash FROM blob_refs ORDER BY hash").unwrap();
    hashes.query_map([], |row| row.get::<_, String>(0)).unwrap().map(|hash| blob(work, &hash.unwrap())).collect()
}

impl Old {
    async fn new() -> Self {
        let scene = Scene::with(script(), "[session]\nhistory = \"90d\"\n").await;
        let work = &scene.work;
        let host = work.host().await;
        let mut client = Client::attach(work, "", &scene.log).await.unwrap();
        client.talk("old", &format!("hello {}", "x".repeat(LONG))).await.unwrap();
        client.talk("new", &format!("hello {}", "y".repeat(LONG))).await.unwrap();
        client.talk("works", "Please work.").await.unwrap();
        drop(client);
        let asked = work.run(&["ask", "hello"], "").await;
        assert_eq!(asked.code, Some(0), "{asked:?}");
        host.stop().await;
        let store = Connection::open(work.database()).unwrap();
        // The first turn is older than what the context begins with, its message older than any that could be repeated, and
        // the conversation of the one question is over.
        store
            .execute_batch(
                "UPDATE sessions SET fold_from = (SELECT seq FROM journal WHERE session = 1 AND turn = 2 ORDER BY seq LIMIT 1) WHERE id = 1;
                 UPDATE journal SET at_ms = 1 WHERE session = 1 AND turn <= 2;
                 UPDATE inbox SET received_at = 1 WHERE external_id = 'old';
                 UPDATE conversations SET expires_at = 1 WHERE expires_at IS NOT NULL;",
            )
            .unwrap();
        let only_old = "SELECT hash FROM blob_refs GROUP BY hash HAVING
            sum(owner NOT IN (SELECT 'j:1:' || seq FROM journal WHERE session = 1 AND turn = 1)) = 0";
        let mut forgotten: Vec<PathBuf> = {
            let mut hashes = store.prepare(only_old).unwrap();
            hashes.query_map([], |row| row.get::<_, String>(0)).unwrap().map(|hash| blob(work, &hash.unwrap())).collect()
        };
        assert!(!forgotten.is_empty());
        let kept: Vec<PathBuf> = named(work).into_iter().filter(|path| !forgotten.contains(path)).collect();
        assert!(!kept.is_empty());
        // What a writer left that died: a blob without a row, and half of one.
        let folder = work.workdir().join("blobs/00");
        fs::create_dir_all(&folder).unwrap();
        for name in ["0".repeat(64), "new-1-0".to_owned()] {
            fs::write(folder.join(&name), "x").unwrap();
            forgotten.push(folder.join(name));
        }
        kept.iter().chain(&forgotten).for_each(|path| make_old(path));
        Self { scene, kept, forgotten }
    }

    /// The same path in a copy.
    fn in_copy<'a>(&'a self, work: &Work, paths: &'a [PathBuf]) -> Vec<PathBuf> {
        paths.iter().map(|path| work.workdir().join(path.strip_prefix(self.scene.work.workdir()).unwrap())).collect()
    }

    /// Waits until everything is gone that may go, and sees that everything else is there.
    async fn assert_tidied(&self, work: &Work, host: Host) {
        let (kept, forgotten) = (self.in_copy(work, &self.kept), self.in_copy(work, &self.forgotten));
        let is_gone = || {
            let store = Connection::open(work.database()).unwrap();
            let none = |query: &str| store.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap() == 0;
            none("SELECT count(*) FROM inbox WHERE external_id = 'old'")
                && none("SELECT count(*) FROM journal WHERE session = 1 AND turn = 1")
                && none("SELECT count(*) FROM conversations WHERE expires_at IS NOT NULL")
                && none("SELECT freelist_count FROM pragma_freelist_count")
                && !work.workspace("c2").exists()
                && !forgotten.iter().any(|path| path.exists())
        };
        let tidied = async {
            while !is_gone() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(crate::support::HANGS, tidied).await.is_err() {
            panic!("not forgotten: {:?}\n{}", forgotten.iter().filter(|path| path.exists()).collect::<Vec<_>>(), work.log());
        }
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
        assert_eq!(named(work), kept);
        let log = Log::new(work.folder());
        let mut client = Client::attach(work, "", &log).await.unwrap();
        // A message that is young enough to come again is known, and the conversation goes on where it was.
        client.say("new", "hello").await.unwrap();
        assert_eq!(client.settle().await.unwrap().0, []);
        let replies = client.talk("later", "hello").await.unwrap();
        assert_eq!(replies[0].text, "Hello to you.");
        let asks = self.scene.fake.asks();
        let context = asks.last().unwrap().body["messages"].to_string();
        assert!(context.contains(&"y".repeat(LONG)) && !context.contains(&"x".repeat(LONG)));
        host.stop().await;
        let checked = work.run(&["doctor", "--json"], "").await;
        let checks: Vec<serde_json::Value> = serde_json::from_str(&checked.output).unwrap_or_else(|error| panic!("{error}: {checked:?}"));
        let store: Vec<_> = checks.iter().filter(|check| check["name"].as_str().is_some_and(|name| name.contains("store"))).collect();
        assert!(!store.is_empty() && store.iter().all(|check| check["level"] == "ok"), "{checks:?}");
    }
}

/// What fires while it tidies up.
async fn steps(old: &Old) -> BTreeSet<String> {
    let work = old.scene.work.copy();
    let list = work.folder().join("points.txt");
    let host = work.start(&[AT_ONCE, ("CRASH_LIST", list.to_str().unwrap())]).await.unwrap();
    old.assert_tidied(&work, host).await;
    let text = fs::read_to_string(list).unwrap();
    text.lines().filter(|point| point.starts_with("prune.") || point.starts_with("sweep.")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_is_forgotten_and_nothing_else_whenever_the_host_dies_meanwhile() {
    let old = Old::new().await;
    let steps = steps(&old).await;
    for step in STEPS {
        for when in ["before", "after"] {
            assert!(steps.contains(&format!("prune.{when}@{step}")), "{when} {step}: {steps:?}");
        }
    }
    assert_eq!(steps.iter().filter(|step| step.starts_with("sweep.")).count(), old.forgotten.len(), "{steps:?}");
    for step in &steps {
        let work = old.scene.work.copy();
        let mut host = work.spawn(&[AT_ONCE, ("CRASH_AT", step)]);
        assert!(was_killed(within("the host to die", host.exit()).await), "{step}\n{}", work.log());
        let host = work.start(&[AT_ONCE]).await.unwrap();
        old.assert_tidied(&work, host).await;
    }
    println!("{} kills while it tidied up", steps.len());
}
