//! What plugins keep for themselves, from end to end.

use std::fs;

use serde_json::{Value, json};

use crate::support::client::{Client, Log};
use crate::support::guests;
use crate::support::host::{Work, was_killed};

/// With the component that keeps values.
fn with_keeper() -> Work {
    let work = Work::new();
    fs::create_dir_all(work.workdir().join("plugins")).unwrap();
    fs::copy(guests::keeper(), work.workdir().join("plugins/keeper.wasm")).unwrap();
    work
}

/// A turn with one call; what it answered.
async fn keep(client: &mut Client, id: &str, arguments: Value) -> Value {
    let replies = client.talk(id, &format!("call keep {arguments}")).await.unwrap();
    let text = &replies.last().unwrap().text;
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{arguments}: {text}"))
}

#[tokio::test]
async fn what_a_plugin_keeps_is_there_in_later_turns_and_after_a_kill() {
    let work = with_keeper();
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut one = Client::attach(&work, "one", &log).await.unwrap();
    keep(&mut one, "1", json!({"how": "put", "key": "k", "value": "of one", "here": true})).await;
    keep(&mut one, "2", json!({"how": "put", "key": "k", "value": "of all"})).await;
    let here = json!({"how": "get", "key": "k", "here": true});
    let everywhere = json!({"how": "get", "key": "k"});
    assert_eq!(keep(&mut one, "3", here.clone()).await, json!(["of one", 1]));
    let mut two = Client::attach(&work, "two", &log).await.unwrap();
    assert_eq!(keep(&mut two, "4", here.clone()).await, Value::Null, "another conversation has nothing of it");
    assert_eq!(keep(&mut two, "5", everywhere.clone()).await, json!(["of all", 1]), "but for what is the plugin's");
    one.talk("6", "/new").await.unwrap();
    assert_eq!(keep(&mut one, "7", here.clone()).await, json!(["of one", 1]), "a new session is the same conversation");

    host.kill();
    let host = work.host().await;
    let mut one = Client::attach(&work, "one", &log).await.unwrap();
    assert_eq!(keep(&mut one, "8", here).await, json!(["of one", 1]));
    assert_eq!(keep(&mut one, "9", everywhere).await, json!(["of all", 1]));
    host.stop().await;
}

#[tokio::test]
async fn a_kill_around_the_commit_keeps_all_of_a_value_or_nothing() {
    let value = "v".repeat(10_000);
    for (point, found) in [("storage.before@s1.t1.1.0", Value::Null), ("storage.after@s1.t1.1.0", json!([value, 1]))] {
        let work = with_keeper();
        let log = Log::new(work.folder());
        let mut host = work.start(&[("CRASH_AT", point)]).await.unwrap();
        let mut client = Client::attach(&work, "", &log).await.unwrap();
        client.send("1", &format!("call keep {}", json!({"how": "put", "key": "k", "value_bytes": value.len()}))).await.unwrap();
        assert!(was_killed(host.exit().await), "{point}");
        let host = work.host().await;
        let mut client = Client::attach(&work, "", &log).await.unwrap();
        client.settle().await.unwrap();
        assert_eq!(keep(&mut client, "2", json!({"how": "get", "key": "k"})).await, found, "{point}");
        host.stop().await;
    }
}

#[tokio::test]
async fn a_call_from_the_command_line_keeps_nothing() {
    let work = with_keeper();
    let ran = work.run(&["plugin", "call", "keeper", "keep", r#"{"how": "put", "key": "k"}"#], "").await;
    let said: Value = serde_json::from_str(&ran.output).unwrap();
    assert_eq!(said["error"]["kind"], "unavailable", "{said}");
    assert!(said["error"]["message"].as_str().unwrap().starts_with("nothing is stored here"), "{said}");
}
