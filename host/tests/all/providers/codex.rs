//! Codex' protocol: what goes over the socket, and what becomes of a conversation when something there goes wrong.

use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::Settled;

use crate::support::client::{Client, Log};
use crate::support::fake_codex::{API_KEY, Answer, Ask, FakeCodex, Fault, Script, Way};
use crate::support::host::Work;
use crate::support::{fake_openai, files};

/// A work directory whose model is served by the fake.
struct Scene {
    work: Work,
    fake: FakeCodex,
    log: Log,
}

impl Scene {
    async fn new(script: Script) -> Self {
        Self::with(script, "").await
    }

    async fn with(script: Script, more: &str) -> Self {
        let mut work = Work::new();
        let fake = FakeCodex::start(script).await;
        work.configure(&format!("default_model = \"main\"\n{}{more}", model("main", &fake)));
        work.set("FAKE_KEY", API_KEY);
        let log = Log::new(work.folder());
        Self { work, fake, log }
    }

    async fn client(&self) -> Client {
        Client::attach(&self.work, "", &self.log).await.unwrap()
    }

    /// Nothing was refused that was not meant to fail.
    fn nothing_was_refused(&self) {
        assert!(self.fake.refusals().is_empty(), "{:?}", self.fake.refusals());
    }
}

fn model(alias: &str, fake: &FakeCodex) -> String {
    format!(
        "[models.{alias}]\nprovider = \"provider-codex\"\nmodel = \"gpt-fake\"\nbase_url = \"{}\"\napi_key = {{ env = \"FAKE_KEY\" }}\n",
        fake.base_url()
    )
}

fn read(path: &str) -> (&'static str, Value) {
    ("file_read", json!({"file_path": path}))
}

fn write(path: &str, content: &str) -> (&'static str, Value) {
    ("file_write", json!({"file_path": path, "content": content}))
}

/// The frame of a request without what is the same in all of them, and without what differs from machine to machine.
fn frame(ask: &Ask) -> String {
    let mut body = ask.body.clone();
    let object = body.as_object_mut().unwrap();
    for (key, shown) in [("instructions", "…"), ("tools", "…"), ("prompt_cache_key", "SESSION")] {
        if let Some(value) = object.get_mut(key) {
            *value = shown.into();
        }
    }
    serde_json::to_string_pretty(&body).unwrap()
}

/// What a request stands for, but for what only the server itself adds to its items.
fn told(ask: &Ask) -> Vec<Value> {
    let mut items = ask.input.clone();
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        item.remove("status");
    }
    items
}

fn two_rounds() -> Script {
    Script::default()
        .on(
            "go",
            [
                Answer::calls([write("a.txt", "alpha"), read("a.txt")]).thinking("Write it, then look."),
                Answer::calls([write("b.txt", "beta")]).thinking("Now the other."),
                Answer::text("Both are there.").thinking("Done."),
            ],
        )
        .on("more", [Answer::text("Nothing more.")])
}

#[tokio::test]
async fn each_round_sends_only_what_is_new() {
    let scene = Scene::new(two_rounds()).await;
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    assert_eq!(client.talk("1", "go").await.unwrap()[0].text, "Both are there.");
    assert_eq!(client.talk("2", "more").await.unwrap()[0].text, "Nothing more.");
    scene.nothing_was_refused();
    let asks = scene.fake.asks();
    assert_eq!(asks.iter().map(|ask| ask.way).collect::<Vec<_>>(), vec![Way::Socket(0); 4], "one connection for all");
    insta::assert_snapshot!(asks.iter().map(frame).collect::<Vec<_>>().join("\n"));
    let states: Vec<_> = asks.iter().map(|ask| ask.turn_state.as_deref()).collect();
    assert_eq!(states, [None, Some("state-of-go"), Some("state-of-go"), None], "the token of a turn is not for the next");
    assert_eq!((&asks[0].body["instructions"], &asks[0].body["tools"]), (&asks[3].body["instructions"], &asks[3].body["tools"]));
    host.stop().await;
}

#[tokio::test]
async fn after_a_crash_everything_is_sent_again() {
    let script = Script::default().on(
        "go",
        [Answer::calls([write("a.txt", "alpha"), read("welcome.md")]).thinking("Write it."), Answer::text("It is there.").held("rest")],
    );
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    client.say("1", "go").await.unwrap();
    scene.fake.held("rest").await;
    host.kill();
    scene.fake.release("rest");
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies[0].text.as_str(), state), ("It is there.", Settled::Idle));
    scene.nothing_was_refused();
    let asks = scene.fake.asks();
    let sent: Vec<_> = asks.iter().map(|ask| (ask.way, ask.body["previous_response_id"].is_null())).collect();
    assert_eq!(sent, [(Way::Socket(0), true), (Way::Socket(0), false), (Way::Socket(1), true)]);
    assert_eq!(told(&asks[1]), told(&asks[2]), "the same in full");
    assert_eq!(asks[2].turn_state.as_deref(), Some("state-of-go"), "it is still the same turn");
    host.stop().await;
}

#[tokio::test]
async fn a_cancelled_answer_takes_its_socket_with_it() {
    let script =
        Script::default().on("go", [Answer::text("This takes long.").held_after_text("never")]).on("more", [Answer::text("Here.")]);
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    client.say("1", "go").await.unwrap();
    scene.fake.held("never").await;
    client.talk("2", "/cancel").await.unwrap();
    scene.fake.release("never");
    scene.fake.closed_but(0).await;
    assert_eq!(client.talk("3", "more").await.unwrap().last().unwrap().text, "Here.");
    scene.nothing_was_refused();
    assert_eq!(scene.fake.asks_of("more")[0].way, Way::Socket(1));
    host.stop().await;
    scene.fake.closed_but(0).await;
}

#[tokio::test]
async fn whatever_passes_is_tried_again_and_the_answer_comes_once() {
    let faults = [
        ("gone", Fault::Gone),
        ("cut", Fault::Cut),
        ("overloaded", Fault::Failed("server_is_overloaded")),
        ("too old", Fault::too_old()),
        ("binary", Fault::Binary),
    ];
    let script = faults
        .iter()
        .fold(Script::default(), |script, (name, fault)| script.on(name, [Answer::text(&format!("After {name}.")).after([fault.clone()])]));
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    for (name, _) in &faults {
        let mut client = Client::attach(&scene.work, name, &scene.log).await.unwrap();
        let replies = client.talk(name, &format!("do {name}")).await.unwrap();
        assert_eq!(replies.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), [format!("After {name}.")], "{name}");
        let faults: Vec<_> = scene.fake.asks_of(name).iter().map(|ask| ask.fault.is_some()).collect();
        assert_eq!(faults, [true, false], "{name}");
    }
    scene.nothing_was_refused();
    host.stop().await;
}

#[tokio::test]
async fn what_the_server_forgot_is_told_again_on_the_same_socket() {
    let script = Script::default()
        .on("go", [Answer::calls([read("welcome.md")]).thinking("Look."), Answer::text("Read.").after([Fault::Forgotten, Fault::Ping])]);
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    assert_eq!(client.talk("1", "go").await.unwrap()[0].text, "Read.");
    scene.nothing_was_refused();
    let asks = scene.fake.asks();
    let sent: Vec<_> = asks.iter().map(|ask| (ask.way, ask.body["previous_response_id"].is_null())).collect();
    assert_eq!(sent, [(Way::Socket(0), true), (Way::Socket(0), false), (Way::Socket(0), true)]);
    assert_eq!(scene.fake.pongs(), 1, "the host answers pings");
    host.stop().await;
}

#[tokio::test]
async fn a_network_without_websockets_has_event_streams() {
    let scene = Scene::new(two_rounds().refusing([426])).await;
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    assert_eq!(client.talk("1", "go").await.unwrap()[0].text, "Both are there.");
    assert_eq!(client.talk("2", "more").await.unwrap()[0].text, "Nothing more.");
    scene.nothing_was_refused();
    let asks = scene.fake.asks();
    assert_eq!(asks.iter().map(|ask| ask.way).collect::<Vec<_>>(), [Way::Post; 4]);
    let states: Vec<_> = asks.iter().map(|ask| ask.turn_state.as_deref()).collect();
    assert_eq!(states, [None, Some("state-of-go"), Some("state-of-go"), None]);
    let statuses: Vec<_> = scene.fake.heads().iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [426, 200, 200, 200, 200], "it is remembered");
    host.stop().await;
}

#[tokio::test]
async fn a_new_session_or_model_finds_a_warm_connection() {
    let script = Script::default().on("go", [Answer::text("Here.")]).on("more", [Answer::text("Still here.")]);
    let mut work = Work::new();
    let fake = FakeCodex::start(script).await;
    work.configure(&format!("default_model = \"main\"\n{}{}", model("main", &fake), model("other", &fake)));
    work.set("FAKE_KEY", API_KEY);
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    assert_eq!(client.talk("1", "go").await.unwrap()[0].text, "Here.");
    assert!(fake.asks().iter().all(|ask| ask.key.is_some()), "what is asked at once is not prepared");
    client.talk("2", "/new").await.unwrap();
    fake.warmed(1).await;
    client.talk("3", "/model other").await.unwrap();
    fake.warmed(2).await;
    assert_eq!(client.talk("4", "more").await.unwrap()[0].text, "Still here.");
    assert!(fake.refusals().is_empty(), "{:?}", fake.refusals());
    host.stop().await;
}

#[tokio::test]
async fn a_used_up_subscription_is_not_asked_again() {
    let script = Script::default().on("go", [Answer::text("At last.").after([Fault::used_up(4_102_444_800)])]);
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    client.send("1", "go").await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!(state, Settled::Parked);
    assert!(replies[0].text.contains("usage limit"), "{replies:?}");
    assert_eq!(scene.fake.asks().len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn another_provider_takes_over_and_gives_back() {
    let mut work = Work::new();
    let script = Script::default()
        .on("go", [Answer::calls([write("a.txt", "alpha")]).thinking("Write it."), Answer::text("Written.").thinking("Good.")])
        .on("back", [Answer::calls([read("a.txt")]).thinking("Look."), Answer::text("Still there.")]);
    let fake = FakeCodex::start(script).await;
    let others = fake_openai::Script::default()
        .on("over", [fake_openai::Answer::calls([("ls", json!({}))]), fake_openai::Answer::text("I see it.")]);
    let other = fake_openai::FakeOpenAi::start(work.folder(), others).await;
    let second = format!(
        "[models.other]\nprovider = \"provider-openrouter\"\nmodel = \"fake\"\nbase_url = \"{}\"\napi_key = {{ env = \"OTHER_KEY\" }}\n",
        other.base_url()
    );
    work.configure(&format!("default_model = \"main\"\n{}{second}", model("main", &fake)));
    work.set("FAKE_KEY", API_KEY);
    work.set("OTHER_KEY", fake_openai::API_KEY);
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    let mut said = Vec::new();
    for (id, text) in ["go", "/model other", "over", "/model main", "back"].iter().enumerate() {
        said.extend(client.talk(&id.to_string(), text).await.unwrap().pop().map(|reply| reply.text));
    }
    assert_eq!((said[0].as_str(), said[2].as_str(), said[4].as_str()), ("Written.", "I see it.", "Still there."));
    assert!(fake.refusals().is_empty() && other.refusals().is_empty(), "{:?} {:?}", fake.refusals(), other.refusals());
    let input = &fake.asks_of("back")[0].input;
    let kinds: Vec<_> = input.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect();
    let theirs = ["message", "function_call", "function_call_output", "message", "message"];
    let ours = ["message", "reasoning", "function_call", "function_call_output", "reasoning", "message"];
    assert_eq!(kinds, [&ours[..], &theirs[..]].concat(), "what came from elsewhere has no reasoning of ours");
    host.stop().await;
}

#[tokio::test]
async fn no_secret_is_left_anywhere() {
    use base64::Engine as _;

    let script = Script::default().on(
        "tell",
        [Answer::calls([write("note.txt", "x")]).thinking("Tell."), Answer::text(&format!("Your key is {API_KEY}, is it not?"))],
    );
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut client = scene.client().await;
    assert_eq!(client.talk("1", "tell").await.unwrap()[0].text, "Your key is [redacted], is it not?");
    client.talk("2", "/status").await.unwrap();
    host.stop().await;
    let heads = scene.fake.heads();
    assert!(heads.iter().all(|(_, head)| head.iter().all(|(name, value)| (name == "authorization") == value.contains(API_KEY))));
    let base64 = base64::engine::general_purpose::STANDARD.encode(API_KEY);
    for (path, bytes) in files(scene.work.folder()) {
        for canary in [API_KEY, &base64] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "the key is in {}", path.display());
        }
    }
}
