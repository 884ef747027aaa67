//! `provider-claude`, and a fake that knows its own signatures.

use rustix::process::Signal;
use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::Settled;

use crate::support::client::{Client, Delivered, Log};
use crate::support::fake_claude::{API_KEY, Answer, Ask, FakeClaude, Fault, shown};
use crate::support::fake_openai::{self, FakeOpenAi, Script};
use crate::support::host::{Host, Work};

/// The stage: a model of the fake's, and one of another vendor's.
struct Stage {
    work: Work,
    claude: FakeClaude,
    other: FakeOpenAi,
    log: Log,
}

impl Stage {
    async fn new(script: Script<Answer>) -> Self {
        Self::with(script, Script::default(), "").await
    }

    /// `more` is added to the model's own table.
    async fn with(script: Script<Answer>, other: Script, more: &str) -> Self {
        let mut work = Work::new();
        let claude = FakeClaude::start(script).await;
        let other = FakeOpenAi::start(work.folder(), other).await;
        work.configure(&format!(
            "default_model = \"main\"\n\
             [models.main]\nprovider = \"provider-claude\"\nmodel = \"claude-fake\"\nbase_url = \"{}\"\napi_key = {{ env = \"FAKE_KEY\" }}\n\
             max_output = 8000\ncache_ttl = \"5m\"\nretry = {{ tries = 2, wait = \"10ms\", max_wait = \"2s\" }}\n{more}\n\
             [models.other]\nprovider = \"provider-openrouter\"\nmodel = \"fake-other\"\nbase_url = \"{}\"\napi_key = {{ env = \"OTHER_KEY\" }}\n",
            claude.base_url(),
            other.base_url()
        ));
        work.set("FAKE_KEY", API_KEY);
        work.set("OTHER_KEY", fake_openai::API_KEY);
        let log = Log::new(work.folder());
        Self { work, claude, other, log }
    }

    async fn begin(&self) -> (Host, Client) {
        let host = self.work.host().await;
        let client = Client::attach(&self.work, "", &self.log).await.unwrap();
        (host, client)
    }

    /// Ends, and nothing was refused on the way.
    async fn end(self, host: Host) {
        host.stop().await;
        assert!(self.claude.refusals().is_empty(), "{:?}\n{}", self.claude.refusals(), self.work.log());
        assert!(self.other.refusals().is_empty(), "{:?}", self.other.refusals());
    }
}

fn texts(replies: &[Delivered]) -> Vec<&str> {
    replies.iter().map(|reply| reply.text.as_str()).collect()
}

fn read(path: &str) -> (&str, Value) {
    ("file_read", json!({"file_path": path}))
}

fn write<'a>(path: &str, content: &str) -> (&'a str, Value) {
    ("file_write", json!({"file_path": path, "content": content}))
}

/// Two rounds of tools, in each of which it thinks.
fn two_rounds() -> [Answer; 3] {
    [
        Answer::calls([write("a.txt", "alpha"), write("b.txt", "beta")]).thinking("Two files, – then\n\"read\" them. ").saying("I write."),
        Answer::calls([read("a.txt"), read("b.txt")]).thinking("Now read.").redacted("unseen"),
        Answer::text("Both were read.").thinking("Done."),
    ]
}

/// The bodies, for people.
fn bodies(asks: &[Ask]) -> String {
    asks.iter().map(|ask| format!("{}\n", serde_json::to_string_pretty(&shown(&ask.body)).unwrap())).collect()
}

/// Where the marks of a message are, by block.
fn marked(message: &Value) -> Vec<usize> {
    let blocks = message["content"].as_array().unwrap().iter().enumerate();
    blocks.filter(|(_, block)| block.get("cache_control").is_some()).map(|(at, _)| at).collect()
}

#[tokio::test]
async fn two_rounds_of_parallel_tools_in_which_it_thinks() {
    let stage = Stage::new(Script::default().on("go", two_rounds()).on("again", [Answer::text("Once more.")])).await;
    let (host, mut client) = stage.begin().await;
    assert_eq!(texts(&client.talk("1", "go").await.unwrap()), ["Both were read."]);
    assert_eq!(texts(&client.talk("2", "again").await.unwrap()), ["Once more."]);
    let asks = stage.claude.asks();
    insta::assert_snapshot!("claude_two_rounds", bodies(&asks[2..]));
    for ask in &asks {
        let (last, before) = ask.body["messages"].as_array().unwrap().split_last().unwrap();
        assert_eq!(marked(last), [last["content"].as_array().unwrap().len() - 1], "one mark, at the end");
        assert!(before.iter().all(|message| marked(message).is_empty()));
    }
    // The prompt cache works on equal beginnings.
    for pair in asks.windows(2) {
        assert_eq!((&pair[0].body["system"], &pair[0].body["tools"]), (&pair[1].body["system"], &pair[1].body["tools"]));
    }
    let status = client.talk("3", "/status").await.unwrap();
    assert!(status[0].text.contains("token"), "{status:?}");
    stage.end(host).await;
}

#[tokio::test]
async fn whatever_passes_is_tried_again_and_the_answer_comes_once() {
    let faults = [
        ("overloaded", Fault::overloaded("1")),
        ("slow down", Fault::status(429, "rate_limit_error", "Number of requests has exceeded your rate limit")),
        ("internal", Fault::status(500, "api_error", "Internal server error")),
        ("gateway", Fault::Page(502)),
        ("in the stream", Fault::ErrorEvent),
        ("cut", Fault::Cut),
        ("malformed", Fault::Malformed),
        ("garbage", Fault::Garbage),
        ("huge", Fault::Huge),
        ("error with 200", Fault::OkWithError),
        ("unfinished", Fault::Unfinished),
        ("lying length", Fault::LyingLength),
        ("page", Fault::Page(200)),
    ];
    let script = faults
        .iter()
        .fold(Script::default(), |script, (name, fault)| script.on(name, [Answer::text(&format!("After {name}.")).after([fault.clone()])]));
    let stage = Stage::new(script).await;
    let host = stage.work.host().await;
    let mut clients = Vec::new();
    for (name, _) in &faults {
        let mut client = Client::attach(&stage.work, name, &stage.log).await.unwrap();
        client.say(name, &format!("do {name}")).await.unwrap();
        clients.push(client);
    }
    for ((name, _), client) in faults.iter().zip(&mut clients) {
        let (replies, state) = client.settle().await.unwrap();
        assert_eq!((texts(&replies), state), (vec![format!("After {name}.").as_str()], Settled::Idle), "{}", stage.work.log());
        let faults: Vec<_> = stage.claude.asks_of(name).iter().map(|ask| ask.fault.is_some()).collect();
        assert_eq!(faults, [true, false], "{name}");
    }
    stage.end(host).await;
}

#[tokio::test]
async fn what_does_not_pass_is_said_and_not_tried_again() {
    let faults = [
        ("key", Fault::status(401, "authentication_error", "invalid x-api-key")),
        ("money", Fault::status(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.")),
        ("permission", Fault::status(403, "permission_error", "not for you")),
        ("name", Fault::status(404, "not_found_error", "model: claude-fake")),
        ("wrong", Fault::status(400, "invalid_request_error", "adaptive thinking is not supported on this model")),
    ];
    let script =
        faults.iter().fold(Script::default(), |script, (name, fault)| script.on(name, [Answer::text("never").after([fault.clone()])]));
    let stage = Stage::new(script).await;
    let host = stage.work.host().await;
    for (name, fault) in &faults {
        let Fault::Status { message, .. } = fault else { unreachable!() };
        let mut client = Client::attach(&stage.work, name, &stage.log).await.unwrap();
        client.say(name, &format!("do {name}")).await.unwrap();
        let (replies, state) = client.settle().await.unwrap();
        assert_eq!(state, Settled::Parked, "{name}: {replies:?}");
        assert!(replies[0].text.contains(message), "{name}: {replies:?}");
        assert_eq!(stage.claude.asks_of(name).len(), 1, "{name}");
    }
    stage.end(host).await;
}

#[tokio::test]
async fn thoughts_that_the_vendor_no_longer_takes_are_left_out() {
    let refused = Fault::status(400, "invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block");
    let script = Script::default().on("next", [Answer::text("Here.").after([refused])]).on("go", [Answer::text("Gone.").thinking("Hm.")]);
    let stage = Stage::new(script).await;
    let (host, mut client) = stage.begin().await;
    assert_eq!(texts(&client.talk("1", "go").await.unwrap()), ["Gone."]);
    assert_eq!(texts(&client.talk("2", "next").await.unwrap()), ["Here."]);
    let thoughts: Vec<_> = stage.claude.asks_of("next").iter().map(|ask| ask.body.to_string().matches("\"signature\"").count()).collect();
    assert_eq!(thoughts, [1, 0]);
    stage.end(host).await;
}

#[tokio::test]
async fn how_an_answer_ended_is_said() {
    let script = Script::default()
        .on("next", [Answer::text("Here.")])
        .on("long", [Answer::text("It begins").stopped("max_tokens")])
        .on("bad", [Answer::default().stopped("refusal")]);
    let stage = Stage::new(script).await;
    let (host, mut client) = stage.begin().await;
    assert!(client.talk("1", "long").await.unwrap()[0].text.contains("cut off at the model's output limit"));
    assert!(client.talk("2", "bad").await.unwrap()[0].text.contains("declined"));
    assert_eq!(texts(&client.talk("3", "next").await.unwrap()), ["Here."]);
    stage.end(host).await;
}

#[tokio::test]
async fn a_newer_message_joins_the_turn_and_a_cancel_ends_it() {
    let stage = Stage::new(
        Script::default()
            .on("hurry", [Answer::text("Hurried.").thinking("Both.")])
            .on("wait", [Answer::text("never").held("wait")])
            .on("sleep", [Answer::text("never").held("sleep")]),
    )
    .await;
    let (host, mut client) = stage.begin().await;
    client.say("1", "wait").await.unwrap();
    stage.claude.holds().held("wait", 1).await;
    client.say("2", "hurry").await.unwrap();
    assert_eq!(texts(&client.settle().await.unwrap().0), ["Hurried."]);
    let asked = stage.claude.asks_of("hurry");
    insta::assert_snapshot!("claude_joined", bodies(&asked));
    client.say("3", "sleep").await.unwrap();
    stage.claude.holds().held("sleep", 1).await;
    client.say("4", "/cancel").await.unwrap();
    assert_eq!(client.settle().await.unwrap().1, Settled::Idle);
    stage.end(host).await;
}

#[tokio::test]
async fn a_loop_of_tools_goes_on_after_the_host_was_killed() {
    let [first, second, last] = two_rounds();
    let stage = Stage::new(Script::default().on("go", [first, second.held("second"), last])).await;
    let (mut host, mut client) = stage.begin().await;
    client.say("1", "go").await.unwrap();
    stage.claude.holds().held("second", 1).await;
    host.signal(Signal::KILL);
    host.exit().await;
    drop(client);
    stage.claude.holds().release("second");
    let (host, mut client) = stage.begin().await;
    assert_eq!(texts(&client.settle().await.unwrap().0), ["Both were read."]);
    // What was asked before the kill is asked again, to the byte.
    let asks = stage.claude.asks();
    assert_eq!(asks.iter().map(|ask| ask.round).collect::<Vec<_>>(), [0, 1, 1, 2]);
    assert_eq!(asks[1].body["messages"][1], asks[2].body["messages"][1]);
    stage.end(host).await;
}

#[tokio::test]
async fn a_conversation_goes_to_another_vendor_and_comes_back() {
    let other = Script::default().on(
        "take over",
        [
            fake_openai::Answer::calls([read("a.txt"), read("b.txt")]),
            fake_openai::Answer::calls([read("a.txt")]),
            fake_openai::Answer::text("I took over."),
        ],
    );
    let script = Script::default()
        .on("go", two_rounds())
        .on("back", [Answer::calls([read("b.txt")]).thinking("Again."), Answer::text("I am back.").thinking("Fine.")]);
    let stage = Stage::with(script, other, "").await;
    let (host, mut client) = stage.begin().await;
    assert_eq!(texts(&client.talk("1", "go").await.unwrap()), ["Both were read."]);
    client.talk("2", "/model other").await.unwrap();
    assert_eq!(texts(&client.talk("3", "take over").await.unwrap()), ["I took over."]);
    client.talk("4", "/model main").await.unwrap();
    assert_eq!(texts(&client.talk("5", "back").await.unwrap()), ["I am back."]);
    // The other vendor saw nothing of what was thought, and this one sees its own thoughts again.
    let foreign: String = stage.other.asks().iter().map(|ask| ask.body["messages"].to_string()).collect();
    assert!(foreign.contains("I write.") && !foreign.contains("Now read.") && !foreign.contains("signature"), "{foreign}");
    let back = stage.claude.asks_of("back");
    insta::assert_snapshot!("claude_back", bodies(&back[1..]));
    stage.end(host).await;
}

#[tokio::test]
async fn a_budget_is_for_loops_that_were_begun_with_one() {
    let script = Script::default().on("go on", [Answer::text("Went on.")]).on("go", two_rounds());
    let other =
        Script::default().on("start", [fake_openai::Answer::calls([("ls", json!({}))]), fake_openai::Answer::text("never").held("start")]);
    let more = "options = { thinking = \"enabled\", budget_tokens = 2048 }";
    let stage = Stage::with(script, other, more).await;
    // A model of the time of budgets.
    let config = std::fs::read_to_string(stage.work.folder().join("config.toml")).unwrap();
    std::fs::write(stage.work.folder().join("config.toml"), config.replace("claude-fake", "claude-fake-4-5")).unwrap();
    let (host, mut client) = stage.begin().await;
    assert_eq!(texts(&client.talk("1", "go").await.unwrap()), ["Both were read."]);
    assert!(stage.claude.asks().iter().all(|ask| ask.body["thinking"]["budget_tokens"] == 2048));
    client.talk("2", "/model other").await.unwrap();
    client.say("3", "start").await.unwrap();
    stage.other.held("start", 1).await;
    client.say("4", "/model main").await.unwrap();
    client.say("5", "go on").await.unwrap();
    assert_eq!(texts(&client.settle().await.unwrap().0).last(), Some(&"Went on."));
    stage.end(host).await;
}

#[tokio::test]
async fn the_key_is_in_its_header_and_nowhere_else() {
    use base64::Engine as _;

    let told = format!("Your key is {API_KEY}, is it not?");
    let script = Script::default()
        .on("tell", [Answer::calls([write("note.txt", "x")]), Answer::text(&told).thinking(&format!("{API_KEY}?"))])
        .on("fail", [Answer::text("").after([Fault::Leak, Fault::Leak])]);
    let stage = Stage::new(script).await;
    let (host, mut client) = stage.begin().await;
    assert_eq!(texts(&client.talk("1", "tell").await.unwrap()), ["Your key is [redacted], is it not?"]);
    client.talk("2", "fail").await.unwrap();
    client.talk("3", "/status").await.unwrap();
    host.stop().await;
    // What the model is asked has no key in it, though it said it before: the fake accepted it in the header alone.
    for ask in stage.claude.asks() {
        assert!(!ask.body.to_string().contains(API_KEY), "{}", ask.body);
    }
    let base64 = base64::engine::general_purpose::STANDARD.encode(API_KEY);
    for (path, bytes) in crate::support::files(stage.work.folder()) {
        for canary in [API_KEY, &base64] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "the key is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn the_component_can_reach_its_vendor_and_nothing_else() {
    let work = Work::new();
    let found: Value = serde_json::from_str(&work.run(&["plugin", "inspect", "provider-claude", "--json"], "").await.output).unwrap();
    let imports = &found["imports"];
    assert_eq!(imports["capabilities"], json!(["stellaclaw:plugin/deltas@0.1.0", "stellaclaw:plugin/http@0.1.0"]));
    assert_eq!((&imports["files"], &imports["refused"]), (&json!([]), &json!([])));
    assert_eq!(found["grants"], json!(["fs /data (plugin-private)", "http https://api.anthropic.com/"]));
}
