//! The host ends in the middle of something: by a signal, by a crash, for long, again and again.

use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::{Kind, Settled, ToClient};

use crate::support::checker::{self, Evidence};
use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Script};
use crate::support::scene::Scene;
use crate::support::{guests, within};

/// A stop in good order takes at most this long, whatever runs.
const STOPPED: Duration = Duration::from_secs(5);

fn one_held() -> Script {
    Script::default().on("go", [Answer::text("Done after all.").held("go")]).on("other", [Answer::text("The other answer.")])
}

/// The events of this kind, in order.
fn events(scene: &Scene, kind: &str) -> Vec<Value> {
    let store = Connection::open(scene.work.database()).unwrap();
    let mut rows = store.prepare("SELECT body FROM journal WHERE kind = ?1 ORDER BY id").unwrap();
    let bodies = rows.query_map([kind], |row| row.get::<_, String>(0)).unwrap();
    bodies.map(|body| serde_json::from_str(&body.unwrap()).unwrap()).collect()
}

/// Every promise, after so many kills.
fn assert_kept(scene: &Scene, crashes: usize) {
    let verdict = checker::check(&Evidence {
        database: &scene.work.database(),
        client: &scene.log.entries(),
        asks: &scene.fake.asks(),
        effects: &[],
        crashes,
        tries: 2,
        restored: false,
    });
    assert!(verdict.is_good(), "{verdict}\n{}", scene.work.log());
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
}

#[tokio::test]
async fn a_turn_goes_on_after_a_stop_in_good_order() {
    let scene = Scene::new(one_held()).await;
    let mut host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "go").await.unwrap();
    scene.fake.held("go", 1).await;
    host.signal(Signal::TERM);
    client.until(|line| matches!(line, ToClient::Bye).then_some(())).await.unwrap();
    let ended = tokio::time::timeout(STOPPED, host.exit()).await.expect("the host did not stop in time");
    assert_eq!(ended.code(), Some(0));
    let host = scene.work.host().await;
    scene.fake.release("go");
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies[0].text.as_str(), state), ("Done after all.", Settled::Idle));
    let resumed = events(&scene, "turn_resumed");
    assert_eq!(resumed.iter().map(|event| event["attempt"].as_u64()).collect::<Vec<_>>(), [Some(1)], "a stop is no attempt");
    host.stop().await;
    assert_kept(&scene, 0);
}

#[tokio::test]
async fn an_effect_that_a_stop_interrupts_is_told_as_unknown() {
    let scene = Scene::new(Script::default().on("go", [Answer::calls([("nap", json!({"ms": 60000}))]), Answer::text("I see.")])).await;
    std::fs::create_dir_all(scene.work.workdir().join("plugins")).unwrap();
    std::fs::copy(guests::probe(), scene.work.workdir().join("plugins/probe.wasm")).unwrap();
    let mut host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "go").await.unwrap();
    client.until(|line| matches!(line, ToClient::ToolStarted { .. }).then_some(())).await.unwrap();
    host.signal(Signal::TERM);
    let ended = tokio::time::timeout(STOPPED, host.exit()).await.expect("the host did not stop in time");
    assert_eq!(ended.code(), Some(0));
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, _) = client.settle().await.unwrap();
    assert_eq!(replies[0].text, "I see.");
    let ends = events(&scene, "call_ended");
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0]["outcome"], "unknown", "{ends:?}");
    let told = scene.fake.asks()[1].body["messages"].to_string();
    assert!(told.contains("may or may not"), "{told}");
    host.stop().await;
    assert_kept(&scene, 0);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_and_loses_nothing() {
    let scene = Scene::new(one_held()).await;
    let mut host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "go").await.unwrap();
    scene.fake.held("go", 1).await;
    host.signal(Signal::TERM);
    host.signal(Signal::TERM);
    let ended = tokio::time::timeout(STOPPED, host.exit()).await.expect("the host did not stop in time");
    assert!(matches!(ended.code(), Some(0 | 143)), "{ended:?}");
    let host = scene.work.host().await;
    scene.fake.release("go");
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, _) = client.settle().await.unwrap();
    assert_eq!(replies.last().unwrap().text, "Done after all.");
    host.stop().await;
    assert_kept(&scene, 1);
}

#[tokio::test]
async fn after_a_long_downtime_a_turn_waits_to_be_continued() {
    let scene = Scene::with(one_held(), "[session]\nresume_within = \"50ms\"\n").await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "go").await.unwrap();
    scene.fake.held("go", 1).await;
    host.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.len(), replies[0].kind, state), (1, Kind::Question, Settled::Parked), "{replies:?}");
    assert!(replies[0].text.contains("/continue"), "{replies:?}");
    assert_eq!(scene.fake.asks().len(), 1, "nobody asked the model again unasked");
    scene.fake.release("go");
    let replies = client.talk("2", "/continue").await.unwrap();
    assert_eq!(replies.last().unwrap().text, "Done after all.");
    host.stop().await;
    assert_kept(&scene, 1);
}

#[tokio::test]
async fn a_message_that_kills_three_hosts_is_set_aside() {
    let scene = Scene::new(one_held()).await;
    let mut client = None;
    for crash in 1..=3 {
        let host = scene.work.host().await;
        if crash == 1 {
            let mut first = Client::attach(&scene.work, "", &scene.log).await.unwrap();
            first.say("1", "go").await.unwrap();
            client = Some(first);
        }
        scene.fake.held("go", crash).await;
        host.kill();
    }
    drop(client);
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.len(), state), (1, Settled::Idle), "{replies:?}");
    assert!(replies[0].text.contains("set aside"), "{replies:?}");
    assert_eq!(scene.fake.asks_of("go").len(), 3, "three attempts and no more");
    let replies = client.talk("2", "other").await.unwrap();
    assert_eq!(replies[0].text, "The other answer.");
    let next = scene.fake.asks_of("other")[0].body["messages"].to_string();
    assert!(!next.contains("\"go\""), "the poison is still in the context: {next}");
    host.stop().await;
    assert_kept(&scene, 3);
}

#[tokio::test]
async fn a_reply_that_was_not_acknowledged_comes_once_more_with_a_mark() {
    let scene = Scene::new(one_held()).await;
    scene.fake.release("go");
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.acknowledges = false;
    client.say("1", "go").await.unwrap();
    let first = client.delivered().await.unwrap();
    assert_eq!(first.text, "Done after all.");
    host.kill();
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, _) = client.settle().await.unwrap();
    let texts: Vec<_> = replies.iter().map(|reply| (reply.key.as_str(), reply.text.as_str())).collect();
    assert_eq!(texts, [(first.key.as_str(), "(may repeat)\nDone after all.")]);
    drop(client);
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(client.settle().await.unwrap().0, []);
    host.stop().await;
    assert_kept(&scene, 1);
}

#[tokio::test]
async fn a_client_that_leaves_with_a_reply_gets_it_once_more_and_never_a_third_time() {
    let scene = Scene::new(one_held()).await;
    scene.fake.release("go");
    let host = scene.work.host().await;
    for (attempt, expected) in ["Done after all.", "(may repeat)\nDone after all."].into_iter().enumerate() {
        let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
        client.acknowledges = false;
        if attempt == 0 {
            client.say("1", "go").await.unwrap();
        }
        assert_eq!(client.delivered().await.unwrap().text, expected);
    }
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let replies = client.talk("2", "other").await.unwrap();
    let [told, other] = &replies[..] else { panic!("{replies:?}") };
    assert!(told.text.contains("may not have arrived (s1.t1)"), "it does not come again, which is said: {told:?}");
    assert_eq!(other.text, "The other answer.");
    host.stop().await;
}

#[tokio::test]
async fn a_message_sent_twice_is_one_message() {
    let scene = Scene::new(one_held()).await;
    scene.fake.release("go");
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "go").await.unwrap();
    client.settle().await.unwrap();
    client.say("1", "go").await.unwrap();
    assert_eq!(client.settle().await.unwrap().0, []);
    host.kill();
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "go").await.unwrap();
    assert_eq!(client.settle().await.unwrap().0, []);
    assert_eq!(scene.fake.asks().len(), 1);
    within("the host to stop", host.stop()).await;
    assert_kept(&scene, 1);
}

#[tokio::test]
async fn turns_that_ran_at_two_crashes_take_their_step_again_one_at_a_time_and_then_go_on_together() {
    let look = Answer::calls([("ls", json!({}))]);
    let script = Script::default()
        .on("slow", [look.held("first"), Answer::text("Slowly done.").held("slow")])
        .on("quick", [Answer::text("Quickly done.").held("quick")]);
    let scene = Scene::new(script).await;
    for crash in 1..=2 {
        let host = scene.work.host().await;
        if crash == 1 {
            for (name, text) in [("", "slow"), ("b", "quick")] {
                let mut client = Client::attach(&scene.work, name, &scene.log).await.unwrap();
                client.say(&format!("{name}-1"), text).await.unwrap();
                scene.fake.held(if name.is_empty() { "first" } else { "quick" }, 1).await;
            }
        }
        scene.fake.held("first", crash).await;
        scene.fake.held("quick", crash).await;
        host.kill();
    }
    let host = scene.work.host().await;
    let asked = || scene.fake.held_count("first") + scene.fake.held_count("quick");
    let one = async {
        while asked() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the first of the two to ask again", one).await;
    assert_eq!(asked(), 5, "both asked again at once");
    scene.fake.release("first");
    scene.fake.release("quick");
    // One waits for a slow model by now; the other one is not held up by it.
    let mut quick = Client::attach(&scene.work, "b", &scene.log).await.unwrap();
    assert_eq!(quick.settle().await.unwrap().0[0].text, "Quickly done.");
    scene.fake.held("slow", 1).await;
    scene.fake.release("slow");
    let mut slow = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(slow.settle().await.unwrap().0[0].text, "Slowly done.");
    host.stop().await;
    assert_kept(&scene, 2);
}
