//! `kill -9` between any two changes of files that a tool makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::client::{Client, Log};
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::{Host, Work, was_killed};
use crate::support::scene::Scene;
use crate::support::within;

/// Runs at the same time.
const AT_A_TIME: usize = 2;
/// What a file is changed by: how the names of the crash points begin.
const STEPS: [&str; 4] = ["file.open#", "file.write#", "file.sync#", "file.rename#"];
/// A file that is written in more than one piece.
const LONG: usize = 80 << 10;

/// The files as they were, and as they are to be.
fn contents() -> [(&'static str, String, String); 4] {
    [
        ("written.txt", "a".repeat(LONG), "b".repeat(LONG + 1)),
        ("edited.txt", format!("{}old", "c".repeat(LONG)), format!("{}new", "c".repeat(LONG))),
        ("first.txt", "one\ntwo\n".into(), "one\n2\n".into()),
        ("second.txt", "three\nfour\n".into(), "3\nfour\n".into()),
    ]
}

fn script() -> Script {
    let patch = "*** Begin Patch\n*** Update File: first.txt\n@@\n one\n-two\n+2\n*** Update File: second.txt\n@@\n-three\n+3\n four\n*** End Patch\n";
    let calls = Answer::calls([
        ("file_write", json!({"file_path": "written.txt", "content": contents()[0].2})),
        ("edit", json!({"path": "edited.txt", "old_text": "old", "new_text": "new"})),
        ("apply_patch", json!({"patch": patch})),
    ]);
    Script::default().on("hello", [Answer::text("Hello to you.")]).on("change", [calls, Answer::text("That is all.")])
}

/// How many files are as they are to be; each is whole.
fn changed(workspace: &Path, what: &str) -> usize {
    let mut changed = 0;
    for (name, before, after) in contents() {
        let now = fs::read_to_string(workspace.join(name)).unwrap();
        assert!(now == before || now == after, "{what}: {name} is half written: {} bytes", now.len());
        changed += usize::from(now == after);
    }
    changed
}

/// A work directory with the files, and a model that changes them.
struct Prepared(Scene);

impl Prepared {
    async fn new() -> Self {
        let scene = Scene::new(script()).await;
        let host = scene.work.host().await;
        let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
        client.talk("1", "hello").await.unwrap();
        host.stop().await;
        for (name, before, _) in contents() {
            fs::write(scene.work.workspace("c1").join(name), before).unwrap();
        }
        Self(scene)
    }

    /// A host in a copy of it, told to change the files.
    async fn changing(&self, variable: (&str, &str)) -> (Work, Host, Client) {
        let work = self.0.work.copy();
        let host = work.start(&[variable]).await.unwrap();
        let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
        client.say("2", "change").await.unwrap();
        (work, host, client)
    }

    /// The points that fire when nobody dies, each as often as it does.
    async fn steps(&self) -> Vec<String> {
        let list = tempfile::NamedTempFile::new().unwrap();
        let (work, host, mut client) = self.changing(("CRASH_LIST", list.path().to_str().unwrap())).await;
        client.settle().await.unwrap();
        assert_eq!(changed(&work.workspace("c1"), "nobody died"), contents().len(), "{:?}", self.0.fake.asks().last().unwrap().body);
        host.stop().await;
        let mut fired: BTreeMap<&str, usize> = BTreeMap::new();
        let text = fs::read_to_string(list.path()).unwrap();
        let steps = text.lines().filter(|point| point.starts_with("file.")).map(|point| {
            let firing = fired.entry(point).or_default();
            *firing += 1;
            format!("{point}#{firing}")
        });
        steps.collect()
    }

    /// Kills the host at this firing of a point; how many files were changed by then.
    async fn killed_at(&self, point: &str) -> usize {
        let (work, mut host, mut client) = self.changing(("CRASH_AT", point)).await;
        assert!(client.settle().await.is_err(), "{point} did not come");
        assert!(was_killed(within("the host to die", host.exit()).await), "{point}");
        let at_the_kill = changed(&work.workspace("c1"), point);
        let host = work.host().await;
        let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
        let replies = client.settle().await.unwrap().0;
        assert_eq!(replies.last().unwrap().text, "That is all.", "{point}");
        changed(&work.workspace("c1"), point);
        host.stop().await;
        at_the_kill
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_is_killed_leaves_whole_files() {
    let prepared = Prepared::new().await;
    let steps = prepared.steps().await;
    for step in STEPS {
        assert!(steps.iter().any(|name| name.starts_with(step)), "no {step}: {steps:?}");
    }
    let mut counts = BTreeSet::new();
    for some in steps.chunks(AT_A_TIME) {
        counts.extend(join_all(some.iter().map(|step| prepared.killed_at(step))).await);
    }
    println!("{} kills between two changes of files", steps.len());
    assert!(counts.len() >= contents().len(), "they came before and after each file: {counts:?}");
}
