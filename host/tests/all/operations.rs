//! What an operator relies on: health, logs, and the verbs that steer a host from outside a conversation.

mod notify;
mod proxy;
mod reloading;
mod secrets;
mod service;
mod stopping;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use stellaclaw::channels::terminal::protocol::{Kind, Settled};

use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::{Host, Running, Work};
use crate::support::scene::Scene;
use crate::support::within;

/// Waits until a verb that runs has written this.
async fn writes(running: &Running, text: &str) {
    let written = async {
        while !running.so_far().contains(text) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(&format!("{text:?}"), written).await;
}

#[tokio::test]
async fn a_health_check_asks_the_host_and_says_why_it_is_not_healthy() {
    let work = Work::new();
    let check = async |more: &[&str]| {
        let ran = work.run(&[&["status", "--exit-code"], more].concat(), "").await;
        (ran.code, ran.output)
    };
    let (code, said) = check(&["--quiet"]).await;
    assert!(code == Some(1) && said.starts_with("no host runs in "), "{said}");
    let host = work.host().await;
    assert_eq!(check(&["--quiet"]).await, (Some(0), String::new()));
    assert_eq!(check(&[]).await, (Some(0), "healthy\n".to_owned()));
    let status = work.run(&["status"], "").await.output;
    assert!(status.lines().any(|line| line.split_whitespace().eq(["health", "healthy"])), "{status}");
    let report: Value = serde_json::from_str(&check(&["--json"]).await.1).unwrap();
    assert_eq!(
        (&report["healthy"], &report["parts"][0]["name"], &report["parts"][0]["state"]),
        (&true.into(), &"store".into(), &"ok".into())
    );
    // A configuration that is being edited makes nobody ill who serves.
    work.configure("nonsense = 1\n");
    assert_eq!(check(&["--quiet"]).await.0, Some(0));
    host.freeze().await;
    let (code, said) = check(&["--quiet"]).await;
    assert!(code == Some(1) && said.contains("does not answer within"), "{said}");
    host.signal(Signal::CONT);
    assert_eq!(check(&[]).await.0, Some(0));
    host.kill();
    assert_eq!(check(&[]).await.0, Some(1));
}

#[tokio::test]
async fn the_log_is_followed_into_the_next_file_and_shown_by_level_and_conversation() {
    let work = Work::new();
    let logs = work.workdir().join("logs");
    fs::create_dir_all(&logs).unwrap();
    let line = format!(r#"{{"timestamp":"t","level":"WARN","message":"from long ago","fill":"{}"}}"#, "x".repeat(1 << 20));
    fs::write(logs.join("stellaclaw.log"), format!("{line}\n").repeat(16)).unwrap();
    let following = work.begin(&["logs", "--follow", "-n", "1"]);
    writes(&following, "from long ago").await;
    let host = work.host().await;
    writes(&following, "serving workdir=").await;
    assert!(logs.join("stellaclaw.log.1").exists(), "the file was full");
    following.signal(Signal::INT);
    assert_eq!(following.so_far().matches("from long ago").count(), 1);
    assert_eq!(work.run(&["chat"], "ls\n").await.code, Some(0));
    assert_eq!(work.run(&["chat", "--conversation", "other"], "ls\n").await.code, Some(0));
    let shown = async |more: &[&str]| work.run(&[&["logs", "--json"], more].concat(), "").await.output;
    let all = shown(&["-n", "10000"]).await;
    assert!(all.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"].is_string())));
    assert!(all.contains("\"INFO\"") && all.contains("from long ago"), "also of the file before");
    assert!(!shown(&["--level", "warn"]).await.contains("INFO"));
    assert_eq!(shown(&["-n", "2"]).await.lines().count(), 2);
    let one = shown(&["--conversation", "c2"]).await;
    assert!(one.contains("\"c2\"") && !one.contains("\"c1\""), "{one}");
    assert_eq!(work.run(&["logs", "--conversation", "two"], "").await.code, Some(2));
    host.stop().await;
}

/// What a host said until it serves: its socket is there before the line that says so.
async fn begins(host: &Host) -> String {
    let said = async {
        while !host.said().contains("serving") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        host.said()
    };
    within("the host to say that it serves", said).await
}

#[tokio::test]
async fn lines_for_the_journal_carry_their_priority_and_no_others_do() {
    let work = Work::new();
    let stream = work.folder().join("host-0.log");
    fs::write(&stream, "").unwrap();
    let found = fs::metadata(&stream).unwrap();
    let named = format!("{}:{}", found.dev(), found.ino());
    let host = work.start(&[("JOURNAL_STREAM", &named)]).await.unwrap();
    let said = begins(&host).await;
    assert!(said.lines().any(|line| line.starts_with("<6>serving workdir=")), "{said}");
    assert!(said.lines().all(|line| line.starts_with('<')), "{said}");
    host.stop().await;
    let host = work.start(&[("JOURNAL_STREAM", &named)]).await.unwrap();
    let said = begins(&host).await;
    assert!(said.starts_with('{'), "its standard error is another file: {said}");
    host.stop().await;
}

#[tokio::test]
async fn a_stop_of_everything_ends_turns_keeps_messages_and_lasts_until_it_is_lifted() {
    let script = Script::default().on("wait", [Answer::text("never said").held("wait")]).on("later", [Answer::text("At last.")]);
    let scene = Scene::new(script).await;
    let work = &scene.work;
    let said = async |verb: &str| work.run(&[verb], "").await;
    let host = work.host().await;
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    client.say("1", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    let stopped = said("stop-all").await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(client.settle().await.unwrap().0[0].text.contains("Stopped"));
    // What arrives is kept, and its conversation told once and calmly.
    let (told, state) = (client.talk("2", "later").await.unwrap(), client.settle().await.unwrap().1);
    assert!(told.len() == 1 && told[0].kind == Kind::Notice && told[0].text.contains("Your message is kept"), "{told:?}");
    assert_eq!(state, Settled::Parked);
    assert!(client.talk("3", "and this").await.unwrap().is_empty());
    let refused = client.talk("4", "/continue").await.unwrap();
    assert!(refused[0].text.contains("stopped by the operator"), "{refused:?}");
    let shown = client.talk("5", "/status").await.unwrap();
    assert!(shown[0].text.contains("everything is stopped by the operator, since "), "{shown:?}");
    let status = said("status").await.output;
    assert!(status.contains("stopped since") && status.contains("stopped by the operator"), "{status}");
    assert_eq!(work.run(&["status", "--exit-code"], "").await.code, Some(0), "it does what it was told");
    // Across a restart, and whatever ended the host.
    host.kill();
    let host = work.host().await;
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    assert_eq!(client.settle().await.unwrap(), (Vec::new(), Settled::Parked));
    assert!(scene.fake.asks_of("later").is_empty());
    assert_eq!(said("resume").await.output, "Turns begin again.\n");
    assert_eq!(client.delivered().await.unwrap().text, "At last.");
    assert_eq!(scene.fake.asks_of("later").len(), 1);
    assert_eq!(said("resume").await.output, "Nothing was stopped.\n");
    assert!(!said("status").await.output.contains("stopped"));
    host.stop().await;
    scene.fake.release("wait");
}

#[tokio::test]
async fn a_stop_without_a_host_ends_what_a_kill_interrupted() {
    let script = Script::default().on("wait", [Answer::text("never said").held("wait"), Answer::text("Again.")]);
    let scene = Scene::new(script).await;
    let work = &scene.work;
    let host = work.host().await;
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    client.say("1", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    host.kill();
    assert_eq!(work.run(&["stop-all"], "").await.code, Some(0));
    let host = work.host().await;
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert!(replies.len() == 1 && replies[0].text.contains("Stopped") && state == Settled::Idle, "{replies:?}");
    assert_eq!(scene.fake.asks_of("wait").len(), 1, "it was not asked again");
    // A question in a conversation of its own is not answered, and says so.
    let ask = work.run(&["ask", "later"], "").await;
    assert!(ask.code == Some(1) && ask.errors.contains("stopped by the operator"), "{ask:?}");
    host.stop().await;
    assert_eq!(work.run(&["resume"], "").await.output, "Turns begin again.\n");
    scene.fake.release("wait");
}
