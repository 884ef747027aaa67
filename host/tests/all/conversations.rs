//! What an operator does with conversations from outside of them, with a host and without one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use stellaclaw::channels::terminal::protocol::ToClient;

use crate::support::client::{Client, Log};
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::{Ran, Work};
use crate::support::scene::Scene;

/// Runs `stellaclaw conversation …`.
async fn conversation(work: &Work, arguments: &[&str]) -> Ran {
    work.run(&[&["conversation"], arguments].concat(), "").await
}

/// What `conversation list` says of one: none when it is not in the list.
async fn listed(work: &Work, id: &str) -> Option<Value> {
    let all: Vec<Value> = serde_json::from_str(&conversation(work, &["list", "--json"]).await.output).unwrap();
    all.into_iter().find(|one| one["id"] == id)
}

#[tokio::test]
async fn conversations_are_listed_shown_and_exported_while_a_host_serves() {
    let work = Work::new();
    fs::create_dir_all(work.workdir()).unwrap();
    assert_eq!(conversation(&work, &["list", "--json"]).await.output, "[]\n");
    let host = work.host().await;
    assert_eq!(work.run(&["chat"], "write a.txt: héllo\n/new\nread a.txt\n").await.code, Some(0));
    assert_eq!(work.run(&["chat", "--conversation", "other"], "ls\n").await.code, Some(0));
    let one = listed(&work, "c1").await.unwrap();
    assert_eq!((&one["channel"], &one["phase"]), (&"terminal".into(), &"idle".into()), "{one}");
    assert_eq!((&one["turns"], &one["sessions"], &one["waiting"]), (&2.into(), &2.into(), &0.into()), "{one}");
    let table = work.run(&["conv", "list"], "").await.output;
    assert!(table.starts_with("id  channel   address") && table.lines().count() == 3, "{table}");
    let shown = conversation(&work, &["show", "c1"]).await.output;
    for part in ["write a.txt: héllo", "read a.txt", work.workspace("c1").to_str().unwrap()] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    let shown: Value = serde_json::from_str(&conversation(&work, &["show", "c1", "--json"]).await.output).unwrap();
    assert!(shown["last"].as_array().unwrap().iter().any(|said| said["by"] == "assistant" && said["text"] == "héllo"), "{shown}");
    let lines = conversation(&work, &["export", "c1"]).await.output;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["type"], &lines[0]["id"]), (&"conversation".into(), &"c1".into()));
    let kinds = |session: &str| {
        lines.iter().filter(|line| line["session"] == session).map(|line| line["event"]["kind"].clone()).collect::<Vec<_>>()
    };
    for session in ["s1", "s2"] {
        assert!(
            ["turn_began", "answered", "call_ended", "turn_ended"].iter().all(|kind| kinds(session).contains(&(*kind).into())),
            "{session}"
        );
    }
    let file = work.folder().join("c1.md");
    let arguments = ["export", "c1", "--format", "markdown", "--output", file.to_str().unwrap()];
    assert_eq!(conversation(&work, &arguments).await.code, Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("# Conversation c1 (terminal ") && text.contains("write a.txt: héllo") && text.contains("called `file_write`"),
        "{text}"
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(conversation(&work, &arguments).await.code, Some(1), "nothing is overwritten");
    for verb in ["show", "export", "stop"] {
        assert_eq!(conversation(&work, &[verb, "c99"]).await.code, Some(7), "{verb}");
    }
    assert_eq!(conversation(&work, &["delete", "c99", "--yes"]).await.code, Some(7));
    host.stop().await;
}

#[tokio::test]
async fn a_deleted_conversation_is_gone_with_its_workspace_and_its_name_begins_anew() {
    let scene = Scene::new(Script::default().on("hello", [Answer::text("Hi.")]).on("wait", [Answer::text("x").held("wait")])).await;
    let work = &scene.work;
    let host = work.host().await;
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    client.talk("1", "hello").await.unwrap();
    let asked = conversation(work, &["delete", "c1"]).await;
    assert!(asked.code == Some(2) && asked.output.contains("1 turns"), "{asked:?}");
    client.say("2", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    let refused = conversation(work, &["delete", "c1", "--yes"]).await;
    assert!(refused.code == Some(8) && refused.errors.contains("conversation stop c1"), "{refused:?}");
    assert!(work.workspace("c1").exists() && listed(work, "c1").await.is_some());
    let deleted = conversation(work, &["delete", "c1", "--yes", "--force"]).await;
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    assert!(!work.workspace("c1").exists() && listed(work, "c1").await.is_none());
    // Who is still attached is told, and nothing of the conversation comes back.
    client.send("3", "hello").await.unwrap();
    let reason = client.until(|line| if let ToClient::Rejected { reason, .. } = line { Some(reason.clone()) } else { None }).await.unwrap();
    assert!(reason.contains("there is no conversation c1"), "{reason}");
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    assert_eq!(client.conversation(), "c2");
    assert_eq!(client.talk("4", "hello").await.unwrap()[0].text, "Hi.");
    assert!(!host.said().contains("\"level\":\"ERROR\""), "{}", host.said());
    host.stop().await;
    // Without a host, too.
    assert_eq!(conversation(work, &["delete", "c2", "--yes"]).await.code, Some(0));
    assert!(!work.workspace("c2").exists() && listed(work, "c2").await.is_none());
    assert_eq!(work.run(&["backup", "create", "."], "").await.code, Some(0), "the store is whole");
    scene.fake.release("wait");
}

#[tokio::test]
async fn a_turn_is_ended_from_outside_with_a_host_and_without() {
    let held = || [Answer::text("never said").held("wait")];
    let scene = Scene::new(Script::default().on("first", held()).on("second", held())).await;
    let work = &scene.work;
    let stop = async || conversation(work, &["stop", "c1"]).await;
    let host = work.host().await;
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    client.say("1", "first").await.unwrap();
    scene.fake.held("wait", 1).await;
    let stopped = stop().await;
    assert_eq!((stopped.code, stopped.output.as_str()), (Some(0), "The turn in c1 has ended.\n"));
    let (replies, _) = client.settle().await.unwrap();
    assert!(replies[0].text.contains("Stopped"), "{replies:?}");
    assert_eq!(stop().await.output, "Nothing runs in c1.\n");
    client.say("2", "second").await.unwrap();
    scene.fake.held("wait", 2).await;
    host.kill();
    assert!(stop().await.output.starts_with("No host runs."));
    assert_eq!(listed(work, "c1").await.unwrap()["phase"], "asking", "nothing was begun");
    let host = work.host().await;
    let mut client = Client::attach(work, "", &Log::new(&work.workdir())).await.unwrap();
    let (replies, _) = client.settle().await.unwrap();
    assert!(replies[0].text.contains("Stopped"), "{replies:?}");
    assert_eq!(scene.fake.asks_of("second").len(), 1, "it was not asked again");
    host.stop().await;
    scene.fake.release("wait");
}
