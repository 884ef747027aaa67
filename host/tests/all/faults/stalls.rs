//! The machine stands still, has no descriptors left, or far too much to do at once.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::json;
use stellaclaw::channels::terminal::protocol::{Place, Settled, ToClient};

use super::{assert_kept, count, script};
use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::Host;
use crate::support::scene::Scene;
use crate::support::{guests, within};

/// Longer than what the stopped call still has to do, shorter than its time.
const STOPPED: Duration = Duration::from_secs(3);
/// Shorter than a stop.
const SHORT: &str = "2s";

/// Stops the process as a laptop that is closed does.
async fn stop_for_a_while(host: &Host) {
    host.signal(Signal::STOP);
    tokio::time::sleep(STOPPED).await;
    host.signal(Signal::CONT);
}

/// What is promised: a process that stands still for less than what is left of a call's time takes nothing else from the call.
/// The ticks that it missed do not come as many at once (`engine::tests::after_a_long_pause_an_epoch_moves_by_one`), and
/// what was on its way is there afterwards. The time of a call is that of the monotonic clock: a stop counts, the sleep of the
/// machine does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_a_request_outlive_a_process_that_stood_still() {
    let nap = Answer::calls([("nap", json!({"ms": 1500, "say": "rested"})), ("shout", json!({"text": "calm"}))]);
    let script = script().on("rest", [nap, Answer::text("All rested.").held("rested")]);
    let scene = Scene::with(script, "[plugins.probe.limits]\nwall_time = \"20s\"\n").await;
    let (host, mut client) = resting(&scene).await;
    // Hundreds of the engine's ticks are missed.
    stop_for_a_while(&host).await;
    scene.fake.held("rested", 1).await;
    stop_for_a_while(&host).await;
    scene.fake.release("rested");
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.last().unwrap().text.as_str(), state), ("All rested.", Settled::Idle));
    let told = scene.fake.asks_of("rest")[1].body["messages"].to_string();
    assert!(told.contains("rested") && told.contains("CALM"), "{told}");
    assert_eq!(scene.fake.asks_of("rest").len(), 2, "nothing was asked again");
    host.stop().await;
    assert_kept(&scene, 0);
}

/// A host with the probe, and a client whose tool runs.
async fn resting(scene: &Scene) -> (Host, Client) {
    fs::create_dir_all(scene.work.workdir().join("plugins")).unwrap();
    fs::copy(guests::probe(), scene.work.workdir().join("plugins/probe.wasm")).unwrap();
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "rest").await.unwrap();
    client.until(|line| matches!(line, ToClient::ToolStarted { .. }).then_some(())).await.unwrap();
    (host, client)
}

/// A stop that is longer than a call's time is the end of the call, as if it had computed all the while, and of nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_time_passes_while_the_process_stands_still_ends_typed() {
    let nap = Answer::calls([("nap", json!({"ms": 60_000}))]);
    let script = script().on("rest", [nap, Answer::text("It did not work.")]);
    let scene = Scene::with(script, &format!("[plugins.probe.limits]\nwall_time = {SHORT:?}\n")).await;
    let (host, mut client) = resting(&scene).await;
    stop_for_a_while(&host).await;
    assert_eq!(client.settle().await.unwrap().0.last().unwrap().text, "It did not work.");
    let told = scene.fake.asks_of("rest")[1].body["messages"].to_string();
    assert!(told.contains("nap took longer than 2 s and was ended"), "{told}");
    assert_eq!(client.talk("2", "hello").await.unwrap()[0].text, "Hello to you.");
    host.stop().await;
    assert_kept(&scene, 0);
}

/// Lets the process have descriptors below this number only. What it could have before.
fn limit(host: &Host, current: Option<u64>) -> Option<u64> {
    // The host has this process's upper bound.
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(host.pid()), Resource::Nofile, Rlimit { current, maximum }).unwrap().current
}

/// The lowest number that would be the next descriptor: no other is free below it.
fn first_free(host: &Host) -> u64 {
    let open = host.descriptors();
    (0..).find(|number| !open.contains_key(number)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_it_says_so_and_goes_on_when_there_are_some() {
    let scene = Scene::with(script(), "[session]\nask_tries = 20\n").await;
    let mut host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("1", "greet-1").await.unwrap();
    let had = limit(&host, Some(first_free(&host)));
    // A short message needs none, and is taken; a long one is refused in words.
    let long = format!("greet-2 {}", "x".repeat(20 << 10));
    client.send("2", &long).await.unwrap();
    let reason = client.until(|line| if let ToClient::Rejected { reason, .. } = line { Some(reason.clone()) } else { None }).await.unwrap();
    assert!(reason.contains("ulimit -n"), "{reason}");
    client.say("3", "Please work.").await.unwrap();
    // Nobody new is served, and the log says why.
    let newcomer = tokio::spawn({
        let (socket, log) = (scene.work.socket(), scene.log.clone());
        async move { Client::attach_to(&socket, "new", Place::Chat { name: Some("new".into()) }, &log).await }
    });
    let refused = async {
        while !host.said().contains("did not accept a client") {
            assert!(host.ended().is_none(), "it ended\n{}", host.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the host to say that it has no descriptors", refused).await;
    limit(&host, had);
    let mut newcomer = newcomer.await.unwrap().unwrap();
    assert_eq!(newcomer.talk("4", "greet-3").await.unwrap()[0].text, "Hello to you.");
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.last().unwrap().text.as_str(), state), ("The work is done.", Settled::Idle));
    assert_eq!(client.talk("2", &long).await.unwrap()[0].text, "Hello to you.");
    host.stop().await;
    assert_kept(&scene, 0);
}

/// Conversations with messages that wait, and how many in each.
const CONVERSATIONS: i64 = 100;
const WAITING: i64 = 100;
/// Done long ago, by the time of the start.
const DONE: i64 = 50_000;
/// What the memory may grow by while all of it is answered, in KiB. 85 to 91 MiB were measured, most of it sandboxes of models.
const GROWTH_KIB: u64 = 256 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waiting_messages_are_each_answered_once() {
    let scene = Scene::new(Script::default().on("hello", [Answer::text("Hello to you.")])).await;
    scene.work.host().await.stop().await;
    fill(&scene);
    let host = scene.work.host().await;
    let at_start = host.counts("VmHWM");
    // Whoever comes meanwhile is served.
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(client.talk("mine", "hello").await.unwrap()[0].text, "Hello to you.");
    let answered = async {
        while count(&scene, "SELECT count(*) FROM inbox WHERE state <> 'done'") > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), answered).await.expect("not all were answered");
    let grown = host.counts("VmHWM") - at_start;
    println!(
        "{} messages in {} requests, {} KiB at the start, {grown} KiB more",
        WAITING * CONVERSATIONS,
        scene.fake.asks().len(),
        at_start
    );
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    host.stop().await;
    let inputs = "SELECT count(*) FROM journal, json_each(journal.body, '$.inputs') WHERE kind IN ('turn_began', 'inputs_joined')";
    let distinct = inputs.replace("count(*)", "count(DISTINCT json_extract(json_each.value, '$.inbox'))");
    let all = WAITING * CONVERSATIONS + 1;
    assert_eq!((count(&scene, inputs), count(&scene, &distinct)), (all, all));
    let replies = "SELECT count(*) FROM outbox WHERE kind = 'final'";
    let ended = "SELECT count(*) FROM journal WHERE kind = 'turn_ended'";
    assert_eq!(count(&scene, replies), count(&scene, ended));
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
}

/// Writes what other hosts would have left.
fn fill(scene: &Scene) {
    let mut store = Connection::open(scene.work.database()).unwrap();
    let rows = store.transaction().unwrap();
    for n in 0..CONVERSATIONS {
        rows.execute(
            "INSERT INTO conversations (channel, address, model, created_at) VALUES ('terminal', ?1, 'main', 1)",
            [format!("waiting-{n}")],
        )
        .unwrap();
    }
    let insert = "INSERT INTO inbox (source, external_id, conversation, kind, body, state, received_at)
        SELECT 'terminal', ?1 || value, 1 + value % ?2, 'message', ?3, ?4, ?5 FROM generate_series(0, ?6 - 1)";
    let insert = insert.replace(
        "generate_series(0, ?6 - 1)",
        "(WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < ?6 - 1) SELECT value FROM n)",
    );
    let now = stellaclaw::clock::now().0;
    let body = r#"{"text":"hello","sender":null}"#;
    rows.execute(&insert, ("done-", CONVERSATIONS, "", "done", now, DONE)).unwrap();
    rows.execute(&insert, ("open-", CONVERSATIONS, body, "new", now, WAITING * CONVERSATIONS)).unwrap();
    rows.commit().unwrap();
}
