//! A backup that is made while the host works, and the host that is made of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use stellaclaw::channels::terminal::protocol::{Kind, Settled};
use tokio::task::JoinSet;

use super::script;
use crate::support::checker::{self, Evidence};
use crate::support::client::{Client, Entry, Log, What};
use crate::support::fake_openai::API_KEY;
use crate::support::host::was_killed;
use crate::support::scene::Scene;
use crate::support::{files, warm, within};

const FAILED: i32 = 1;
const LOCKED: i32 = 6;
const NOT_FOUND: i32 = 7;
/// Conversations that talk while the backup is made.
const BUSY: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_comes_back_whole_and_repeats_nothing() {
    let scene = Scene::new(script()).await;
    let host = scene.work.host().await;
    let mut first = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    first.talk("1", "Please work.").await.unwrap();
    first.say("2", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    // What is said from now on may or may not be in the backup.
    let mut talking = JoinSet::new();
    let later = Log::new(scene.work.folder());
    for n in 0..BUSY {
        let mut client = Client::attach(&scene.work, &format!("busy-{n}"), &later).await.unwrap();
        talking.spawn(async move {
            for message in 0..6 {
                client.talk(&format!("busy-{n}-{message}"), "hello").await.unwrap();
            }
        });
    }
    let mut backups = Vec::new();
    for n in 0..3 {
        let place = scene.work.folder().join(format!("backup-{n}"));
        let made = scene.work.run(&["backup", "create", place.to_str().unwrap()], "").await;
        assert_eq!((made.code, made.output.trim()), (Some(0), place.to_str().unwrap()), "{made:?}");
        backups.push(place);
    }
    within("all that is said", talking.join_all()).await;
    scene.fake.release("wait");
    assert_eq!(first.settle().await.unwrap().0[0].text, "It was worth it.");
    let refused = scene.work.run(&["backup", "restore", backups[0].to_str().unwrap()], "").await;
    assert_eq!(refused.code, Some(LOCKED), "{refused:?}");
    host.stop().await;
    for backup in &backups {
        assert_secret_is_absent(&files(backup));
        let verified = scene.work.run(&["backup", "verify", backup.to_str().unwrap()], "").await;
        assert_eq!(verified.code, Some(0), "{verified:?}");
        assert!(verified.output.starts_with("whole: "), "{verified:?}");
        fs::remove_dir_all(scene.work.workdir()).unwrap();
        let restored = scene.work.run(&["backup", "restore", backup.to_str().unwrap()], "").await;
        assert_eq!(restored.code, Some(0), "{restored:?}");
        assert!(restored.output.contains("as it was"), "{restored:?}");
        warm::fill(&scene.work.workdir());
        go_on(&scene, &later, &sent(backup)).await;
    }
    let again = scene.work.run(&["backup", "restore", backups[0].to_str().unwrap()], "").await;
    assert_eq!(again.code, Some(FAILED), "{again:?}");
    assert!(again.errors.contains("is not empty"), "{again:?}");
}

/// The keys of replies that had been delivered when the backup was made.
fn sent(backup: &Path) -> BTreeSet<String> {
    let store = Connection::open_with_flags(backup.join("work/state.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut keys = store.prepare("SELECT key FROM outbox WHERE state = 'sent'").unwrap();
    keys.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The host that is made of a backup: the turn that was open waits for a person, everything committed is there.
async fn go_on(scene: &Scene, later: &Log, sent: &BTreeSet<String>) {
    let said = scene.log.entries();
    let asks = scene.fake.asks_of("wait").len();
    let host = scene.work.host().await;
    let log = Log::new(scene.work.folder());
    let mut client = Client::attach(&scene.work, "", &log).await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.len(), replies[0].kind, state), (1, Kind::Question, Settled::Parked), "{replies:?}");
    assert_eq!(scene.fake.asks_of("wait").len(), asks, "nobody asked the model unasked");
    let replies = client.talk("3", "/continue").await.unwrap();
    assert_eq!(replies.last().unwrap().text, "It was worth it.");
    for n in 0..BUSY {
        let mut client = Client::attach(&scene.work, &format!("busy-{n}"), &log).await.unwrap();
        if client.settle().await.unwrap().1 == Settled::Parked {
            client.talk(&format!("on-{n}"), "/continue").await.unwrap();
        }
        // A known message is still known.
        client.say(&format!("busy-{n}-0"), "hello").await.unwrap();
    }
    drop(client);
    host.stop().await;
    // What is younger than the backup never happened: its receipts, and replies that come again.
    let older = |entry: &Entry| match &entry.what {
        What::Delivered { key, .. } => sent.contains(key),
        _ => true,
    };
    let delivered = later.entries().into_iter().filter(|entry| matches!(entry.what, What::Delivered { .. }));
    let client: Vec<_> = said.into_iter().chain(delivered).filter(older).chain(log.entries()).collect();
    let verdict = checker::check(&Evidence {
        database: &scene.work.database(),
        client: &client,
        asks: &[],
        effects: &[scene.work.workspace("c1").join("effects.txt")],
        crashes: 1,
        tries: 1,
        restored: true,
    });
    assert!(verdict.is_good(), "{verdict}\n{client:#?}\n{}", scene.work.log());
}

fn assert_secret_is_absent(files: &[(std::path::PathBuf, Vec<u8>)]) {
    assert!(files.len() > 10);
    for (path, bytes) in files {
        assert!(!bytes.windows(API_KEY.len()).any(|window| window == API_KEY.as_bytes()), "{} has the secret", path.display());
    }
}

#[tokio::test]
async fn a_backup_or_restore_that_is_killed_leaves_nothing_of_its_name() {
    let scene = Scene::new(script()).await;
    scene.work.host().await.stop().await;
    let (backup, restored) = (scene.work.folder().join("backup"), scene.work.folder().join("restored"));
    let (backup, restored) = (backup.to_str().unwrap(), restored.to_str().unwrap());
    for (arguments, name) in [(vec!["backup", "create", backup], backup), (vec!["backup", "restore", backup, "--into", restored], restored)]
    {
        let killed = scene.work.command(&arguments).env("CRASH_AT", "backup.synced").status().unwrap();
        assert!(was_killed(killed), "{killed:?}");
        assert!(!Path::new(name).exists(), "{name}");
        let half = Path::new(name).with_file_name(format!(".{}.half", Path::new(name).file_name().unwrap().display()));
        let again = scene.work.run(&arguments, "").await;
        assert!(again.code == Some(FAILED) && again.errors.contains("interrupted"), "{again:?}");
        fs::remove_dir_all(half).unwrap();
        let made = scene.work.run(&arguments, "").await;
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    let verified = scene.work.run(&["backup", "verify", backup], "").await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[tokio::test]
async fn every_end_of_a_backup_verb_has_its_code() {
    let scene = Scene::new(script()).await;
    let none = scene.work.run(&["backup", "create"], "").await;
    assert_eq!(none.code, Some(NOT_FOUND), "{none:?}");
    scene.work.host().await.stop().await;
    // Under a name of its own where nothing is said; smaller without workspaces.
    let made = scene.work.run(&["backup", "create", "--without-workspaces"], "").await;
    let backup = made.output.trim().to_owned();
    assert!(made.code == Some(0) && backup.contains("/stellaclaw-backup-2"), "{made:?}");
    let taken = scene.work.run(&["backup", "create", &format!("{backup}/manifest.json")], "").await;
    assert_eq!(taken.code, Some(FAILED), "{taken:?}");
    let inside = scene.work.run(&["backup", "create", scene.work.workdir().to_str().unwrap()], "").await;
    assert!(inside.code == Some(FAILED) && inside.errors.contains("inside the work directory"), "{inside:?}");
    let json = scene.work.run(&["backup", "verify", &backup, "--json"], "").await;
    let json: serde_json::Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!((&json["ok"], &json["workspaces"], &json["problems"]), (&true.into(), &false.into(), &serde_json::json!([])));
    fs::write(format!("{backup}/work/STELLA_VERSION"), "3\n").unwrap();
    let damaged = scene.work.run(&["backup", "verify", &backup], "").await;
    assert_eq!(damaged.code, Some(FAILED));
    assert!(damaged.output.contains("work/STELLA_VERSION: its contents have changed"), "{damaged:?}");
    let refused = scene.work.run(&["backup", "restore", &backup, "--into", "elsewhere"], "").await;
    assert_eq!(refused.code, Some(FAILED));
    assert!(refused.errors.contains("is damaged and was not restored") && !scene.work.folder().join("elsewhere").exists(), "{refused:?}");
    let missing = scene.work.run(&["backup", "verify", "nowhere"], "").await;
    assert!(missing.code == Some(NOT_FOUND) && missing.errors.contains("is no backup"), "{missing:?}");
}
