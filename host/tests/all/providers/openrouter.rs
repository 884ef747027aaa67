//! OpenAI's Responses, and what happens to a conversation that changes its wire.

use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::Settled;

use crate::support::client::Client;
use crate::support::fake_openai::{API_KEY, Answer, Ask, Fault, Script};
use crate::support::scene::Scene;

/// `main` by Responses and `other` by chat completions, unless `api` says so of both.
fn configure(scene: &Scene, api: [&str; 2]) {
    let model = |alias: &str, api: &str| {
        format!(
            "[models.{alias}]\nprovider = \"provider-openrouter\"\nmodel = \"fake-{alias}\"\nbase_url = \"{}\"\n\
             api_key = {{ env = \"FAKE_KEY\" }}\noptions = {{ api = \"{api}\" }}\n",
            scene.fake.base_url()
        )
    };
    scene.work.configure(&format!("default_model = \"main\"\n{}{}", model("main", api[0]), model("other", api[1])));
}

async fn stage(script: Script) -> Scene {
    let scene = Scene::new(script).await;
    configure(&scene, ["responses", "chat"]);
    scene
}

fn looking() -> [Answer; 3] {
    [
        Answer::calls([("ls", json!({})), ("file_read", json!({"file_path": "welcome.md"}))]).thinking("First I look."),
        Answer::calls([("ls", json!({}))]).thinking("Then I look again."),
        Answer::text("I have looked.").thinking("That is enough."),
    ]
}

/// The kinds of a request's items, a message by who says it.
fn kinds(ask: &Ask) -> Vec<&str> {
    let item = |item: &'_ Value| -> &'static str {
        match (item["type"].as_str().unwrap(), item["role"].as_str()) {
            ("message", Some("user")) => "user",
            ("message", Some("assistant")) => "assistant",
            ("reasoning", _) => "reasoning",
            ("function_call", _) => "call",
            ("function_call_output", _) => "output",
            (other, role) => panic!("{other} {role:?}"),
        }
    };
    ask.body["input"].as_array().unwrap().iter().map(item).collect()
}

fn nothing_was_refused(scene: &Scene) {
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
}

#[tokio::test]
async fn reasoning_goes_on_through_two_rounds_of_tools() {
    let scene = stage(Script::default().on("go", looking()).on("more", [Answer::text("Again.")])).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(client.talk("1", "go").await.unwrap()[0].text, "I have looked.");
    assert_eq!(client.talk("2", "more").await.unwrap()[0].text, "Again.");
    nothing_was_refused(&scene);
    let asks = scene.fake.asks();
    let round_one = ["reasoning", "call", "call", "output", "output"];
    let round_two = ["reasoning", "call", "output"];
    assert_eq!(kinds(&asks[2]), [&["user"][..], &round_one, &round_two].concat());
    assert_eq!(kinds(&asks[3]), [&["user"][..], &round_one, &round_two, &["reasoning", "assistant", "user"]].concat());
    // The prompt cache works on equal beginnings.
    for pair in asks.windows(2) {
        let (before, after) = (pair[0].body["input"].as_array().unwrap(), pair[1].body["input"].as_array().unwrap());
        assert_eq!(&after[..before.len()], &before[..]);
        assert_eq!((&pair[0].body["instructions"], &pair[0].body["tools"]), (&pair[1].body["instructions"], &pair[1].body["tools"]));
    }
    host.stop().await;
}

#[tokio::test]
async fn a_conversation_goes_over_to_chat_completions_and_back() {
    let script = Script::default()
        .on("go", looking())
        .on("over", [Answer::calls([("ls", json!({}))]), Answer::text("Over there.")])
        .on("back", [Answer::text("Back again.").thinking("Where was I?")]);
    let scene = stage(script).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("1", "go").await.unwrap();
    client.talk("2", "/model other").await.unwrap();
    assert_eq!(client.talk("3", "over").await.unwrap()[0].text, "Over there.");
    client.talk("4", "/model main").await.unwrap();
    assert_eq!(client.talk("5", "back").await.unwrap()[0].text, "Back again.");
    nothing_was_refused(&scene);
    let over = scene.fake.asks_of("over");
    let said = over[1].body["messages"].to_string();
    assert!(said.contains("I have looked.") && said.contains("call_go-0-0") && !said.contains("sealed by"), "{said}");
    let back = scene.fake.asks_of("back");
    let items = kinds(&back[0]);
    assert_eq!(items.iter().filter(|kind| **kind == "reasoning").count(), 3, "its own reasoning is there again: {items:?}");
    assert_eq!(items.iter().filter(|kind| **kind == "call").count(), 4);
    host.stop().await;
}

#[tokio::test]
async fn the_same_model_by_another_wire_is_not_sent_what_it_cannot_read() {
    let scene = stage(Script::default().on("go", looking()).on("more", [Answer::text("Still here.")])).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("1", "go").await.unwrap();
    host.stop().await;
    configure(&scene, ["chat", "chat"]);
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(client.talk("2", "more").await.unwrap()[0].text, "Still here.");
    nothing_was_refused(&scene);
    let asked = scene.fake.asks_of("more")[0].body.to_string();
    assert!(asked.contains("I have looked.") && !asked.contains("sealed by") && !asked.contains("That is enough."), "{asked}");
    host.stop().await;
}

#[tokio::test]
async fn whatever_passes_is_tried_again() {
    let faults = [
        ("unavailable", Fault::status(503)),
        ("cut", Fault::Cut),
        ("error event", Fault::ErrorChunk),
        ("malformed", Fault::Malformed),
        ("error with 200", Fault::OkWithError),
        ("unfinished", Fault::Unfinished),
        ("page", Fault::Page),
    ];
    let script = faults
        .iter()
        .fold(Script::default(), |script, (name, fault)| script.on(name, [Answer::text(&format!("After {name}.")).after([fault.clone()])]));
    let scene = stage(script).await;
    let host = scene.work.host().await;
    let mut clients = Vec::new();
    for (name, _) in &faults {
        let mut client = Client::attach(&scene.work, name, &scene.log).await.unwrap();
        client.say(name, &format!("do {name}")).await.unwrap();
        clients.push(client);
    }
    for ((name, _), client) in faults.iter().zip(&mut clients) {
        let (replies, state) = client.settle().await.unwrap();
        let texts: Vec<_> = replies.iter().map(|reply| reply.text.as_str()).collect();
        assert_eq!((texts, state), (vec![format!("After {name}.").as_str()], Settled::Idle), "{}", scene.work.log());
        let faults: Vec<_> = scene.fake.asks_of(name).iter().map(|ask| ask.fault.is_some()).collect();
        assert_eq!(faults, [true, false], "{name}");
    }
    host.stop().await;
}

#[tokio::test]
async fn reasoning_that_its_server_cannot_open_is_left_out_and_the_turn_goes_on() {
    let [first, second, last] = looking();
    let scene = stage(Script::default().on("go", [first, second.after([Fault::BrokenSeal]), last])).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert_eq!(client.talk("1", "go").await.unwrap()[0].text, "I have looked.");
    nothing_was_refused(&scene);
    let asks = scene.fake.asks();
    assert_eq!(kinds(&asks[1]), ["user", "reasoning", "call", "call", "output", "output"]);
    assert_eq!(kinds(&asks[2]), ["user", "call", "call", "output", "output"], "the same request, without it");
    host.stop().await;
}

#[tokio::test]
async fn the_key_is_only_in_its_header() {
    let scene = stage(Script::default().on("go", [Answer::text("").after([Fault::Leak])])).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, state) = {
        client.send("1", "go").await.unwrap();
        client.settle().await.unwrap()
    };
    assert_eq!(state, Settled::Parked);
    assert!(replies.iter().all(|reply| !reply.text.contains(API_KEY)), "{replies:?}");
    assert!(scene.fake.asks().iter().all(|ask| !ask.body.to_string().contains(API_KEY)));
    host.stop().await;
    assert!(!scene.work.log().contains(API_KEY), "{}", scene.work.log());
}
