//! Turns from end to end: side by side, cancelled, joined, begun anew.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::{Kind, Settled, ToClient};

use crate::support::client::{Client, Log};
use crate::support::fake_openai::{Answer, Script};
use crate::support::guests;
use crate::support::host::Work;
use crate::support::scene::Scene;
use crate::support::within;

/// Whatever runs, `/cancel` has ended the turn by then.
const CANCELLED: Duration = Duration::from_secs(2);

/// With the tools of the probe.
fn with_probe(work: &Work) {
    fs::create_dir_all(work.workdir().join("plugins")).unwrap();
    fs::copy(guests::probe(), work.workdir().join("plugins/probe.wasm")).unwrap();
}

/// The roles and texts of a request, without the system prompt.
fn dialogue(body: &Value) -> Vec<(String, String)> {
    let messages = body["messages"].as_array().unwrap();
    let one = |message: &Value| (message["role"].as_str().unwrap().to_owned(), crate::support::fake_openai::text_of(&message["content"]));
    messages.iter().map(one).filter(|(role, _)| role != "system").collect()
}

async fn tool_begins(client: &mut Client, tool: &str) {
    client.until(|line| matches!(line, ToClient::ToolStarted { name, .. } if name == tool).then_some(())).await.unwrap();
}

#[tokio::test]
async fn conversations_do_not_wait_for_each_other() {
    let work = Work::new();
    with_probe(&work);
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut slow = Client::attach(&work, "slow", &log).await.unwrap();
    let mut quick = Client::attach(&work, "quick", &log).await.unwrap();
    slow.send("s-1", "call nap {\"ms\": 30000}").await.unwrap();
    tool_begins(&mut slow, "nap").await;
    let replies = quick.talk("q-1", "write a.txt: done && read a.txt").await.unwrap();
    assert!(replies.last().unwrap().text.contains("done"), "{replies:?}");
    // The other one has neither ended nor said anything.
    slow.send("s-2", "/cancel").await.unwrap();
    let (replies, state) = slow.settle().await.unwrap();
    assert_eq!(state, Settled::Idle);
    assert!(replies.iter().any(|reply| reply.text.contains("Stopped")), "{replies:?}");
    host.stop().await;
}

/// Cancels what `begin` set going, and measures.
async fn cancel(client: &mut Client, what: &str) {
    let began = Instant::now();
    let replies = client.talk(&format!("cancel {what}"), "/cancel").await.unwrap();
    let took = began.elapsed();
    assert!(took < CANCELLED, "{what}: cancelled after {took:?}");
    assert!(replies.iter().any(|reply| reply.text.contains("Stopped")), "{what}: {replies:?}");
}

#[tokio::test]
async fn a_turn_is_cancelled_within_two_seconds_whatever_its_tool_does() {
    let work = Work::new();
    with_probe(&work);
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    for (tool, arguments) in [("nap", "{\"ms\": 60000}"), ("spin", "{}")] {
        client.send(tool, &format!("call {tool} {arguments}")).await.unwrap();
        tool_begins(&mut client, tool).await;
        cancel(&mut client, tool).await;
    }
    let replies = client.talk("after", "call shout {\"text\": \"alive\"}").await.unwrap();
    assert_eq!(replies[0].text, "ALIVE");
    assert_eq!(client.talk("nothing", "/cancel").await.unwrap()[0].text, "Nothing is running.");
    host.stop().await;
}

#[tokio::test]
async fn a_turn_is_cancelled_within_two_seconds_whatever_its_model_does() {
    let scene = Scene::with(
        Script::default()
            .on("silent", [Answer::text("x").held("silence")])
            .on("half", [Answer::text("It says this").held_after_text("half")])
            .on("endless", [Answer::text(&"and on ".repeat(100_000)).slowly(Duration::from_millis(1))]),
        "[models.stuck]\nprovider = \"provider-offline\"\nmodel = \"stuck\"\noptions = { script = [{ rounds = [[{ loop = true }]] }] }\n",
    )
    .await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "silent").await.unwrap();
    scene.fake.held("silence", 1).await;
    cancel(&mut client, "a silent model").await;
    client.say("2", "half").await.unwrap();
    client.until(|line| matches!(line, ToClient::Text { .. }).then_some(())).await.unwrap();
    cancel(&mut client, "half an answer").await;
    client.say("3", "endless").await.unwrap();
    client.until(|line| matches!(line, ToClient::Text { .. }).then_some(())).await.unwrap();
    cancel(&mut client, "an answer without an end").await;
    client.talk("4", "/model stuck").await.unwrap();
    client.say("5", "loop").await.unwrap();
    cancel(&mut client, "a provider that hangs").await;
    host.stop().await;
}

#[tokio::test]
async fn a_stop_that_a_crash_interrupts_is_carried_out_by_the_next_host() {
    for point in ["cancel_requested.before@s1.t1.1", "cancel_requested.after@s1.t1.1"] {
        let scene = Scene::new(Script::default().on("go", [Answer::text("Done after all.").held("go")])).await;
        let mut host = scene.work.start(&[("CRASH_AT", point)]).await.unwrap();
        let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
        client.say("1", "go").await.unwrap();
        scene.fake.held("go", 1).await;
        client.send("2", "/cancel").await.unwrap();
        within("the host to be killed", host.exit()).await;
        let host = scene.work.host().await;
        let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
        let (replies, state) = client.settle().await.unwrap();
        let texts: Vec<_> = replies.iter().map(|reply| reply.text.as_str()).collect();
        assert_eq!((texts, state), (vec!["Stopped."], Settled::Idle), "{point}");
        assert_eq!(scene.fake.asks().len(), 1, "{point}: nobody asked the model again");
        host.stop().await;
    }
}

#[tokio::test]
async fn turns_that_are_taken_up_again_are_cancelled_within_two_seconds() {
    let script = Script::default().on("one", [Answer::text("x").held("one")]).on("two", [Answer::text("x").held("two")]);
    let scene = Scene::new(script).await;
    let held = || scene.fake.held_count("one") + scene.fake.held_count("two");
    for crash in 1..=2 {
        let host = scene.work.host().await;
        if crash == 1 {
            for text in ["one", "two"] {
                let mut client = Client::attach(&scene.work, text, &scene.log).await.unwrap();
                client.say(text, text).await.unwrap();
            }
        }
        scene.fake.held("one", crash).await;
        scene.fake.held("two", crash).await;
        host.kill();
    }
    // After two crashes they go on one at a time: one has asked, the other waits for it.
    let host = scene.work.host().await;
    let asked = async {
        while held() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the first of the two to ask again", asked).await;
    let waits = if scene.fake.held_count("one") == 2 { "one" } else { "two" };
    for text in [waits, if waits == "one" { "two" } else { "one" }] {
        let mut client = Client::attach(&scene.work, text, &scene.log).await.unwrap();
        cancel(&mut client, text).await;
    }
    assert_eq!(held(), 5, "who waited never asked again");
    host.stop().await;
}

#[tokio::test]
async fn a_new_session_keeps_files_and_model_and_drops_the_history() {
    let write = ("file_write", json!({"file_path": "kept.txt", "content": "kept"}));
    let scene = Scene::new(
        Script::default()
            .on("before", [Answer::calls([write]), Answer::text("Written.")])
            .on("after", [Answer::calls([("file_read", json!({"file_path": "kept.txt"}))]), Answer::text("Read.")]),
    )
    .await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(client.talk("1", "before").await.unwrap()[0].text, "Written.");
    let models = &client.talk("2", "/model").await.unwrap()[0];
    assert!(models.kind == Kind::Notice && models.text.contains("`main` — fake-main (in use)"), "{models:?}");
    let unknown = &client.talk("3", "/model nonsense").await.unwrap()[0].text;
    assert!(unknown.contains("no model called `nonsense`") && unknown.contains("`other`"), "{unknown}");
    client.talk("4", "/model other").await.unwrap();
    client.talk("5", "/new").await.unwrap();
    assert_eq!(client.talk("6", "after").await.unwrap()[0].text, "Read.");
    let asks = scene.fake.asks_of("after");
    assert_eq!(asks[0].body["model"], "fake-other");
    assert_eq!(dialogue(&asks[0].body), [("user".to_owned(), "after".to_owned())]);
    assert!(dialogue(&asks[1].body)[2].1.contains("kept"), "{:?}", asks[1].body);
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
    host.stop().await;
}

#[tokio::test]
async fn a_message_joins_the_turn_and_what_has_not_begun_does_not_begin() {
    let scene = Scene::new(
        Script::default()
            .on(
                "begin",
                [Answer::calls([("nap", json!({"ms": 60000})), ("file_write", json!({"file_path": "never.txt", "content": "x"}))])],
            )
            .on("change", [Answer::text("Changed.")]),
    )
    .await;
    with_probe(&scene.work);
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "begin").await.unwrap();
    tool_begins(&mut client, "nap").await;
    let replies = client.talk("2", "change").await.unwrap();
    assert_eq!(replies.len(), 1, "both messages are one turn: {replies:?}");
    assert_eq!((replies[0].key.as_str(), replies[0].text.as_str()), ("s1.t1.final", "Changed."));
    assert!(!scene.work.workspace(client.conversation()).join("never.txt").exists());
    let asks = scene.fake.asks_of("change");
    let dialogue = dialogue(&asks[0].body);
    let roles: Vec<_> = dialogue.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "user"]);
    assert!(dialogue[3].1.contains("Not started"), "{dialogue:?}");
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
    host.stop().await;
}

#[tokio::test]
async fn a_message_that_comes_while_an_answer_is_read_follows_it() {
    let scene = Scene::new(
        Script::default()
            .on("first", [Answer::text("The first answer.").held_after_text("shown")])
            .on("second", [Answer::text("The second.")]),
    )
    .await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "first").await.unwrap();
    client.until(|line| matches!(line, ToClient::Text { .. }).then_some(())).await.unwrap();
    client.say("2", "second").await.unwrap();
    scene.fake.release("shown");
    let (replies, _) = client.settle().await.unwrap();
    let texts: Vec<_> = replies.iter().map(|reply| reply.text.as_str()).collect();
    assert_eq!(texts, ["The first answer.", "The second."]);
    host.stop().await;
}
