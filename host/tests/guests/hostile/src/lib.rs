//! A component that does what a component should not do. Built by the host's tests.

mod forger;
mod greed;

use std::time::{Duration, SystemTime};

use stellaclaw_sdk::chat::{Completion, Failure, Message, Model, Piece, Request, Role, Stop, TextPiece, Usage};
use stellaclaw_sdk::deltas::{Delta, Fragment, Item, ItemKind, emit};
use stellaclaw_sdk::{
    Batching, Call, Error, Output, Provider, Replay, Result, SessionInfo, Tool, conversation, http, plugin, schemars, secrets, serde,
    settings,
};

/// Misbehaves as told.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
struct Misbehave {
    /// What it does: see the code.
    how: String,
}

impl Tool for Misbehave {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        misbehave(&self.how)
    }
}

/// Misbehaves as told, and has half a second for it.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
struct Dawdle {
    /// See misbehave.
    how: String,
}

impl Tool for Dawdle {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;
    const TIMEOUT_MS: Option<u64> = Some(500);

    fn call(self, _call: &Call) -> Result<Output> {
        misbehave(&self.how)
    }
}

/// What follows a `#` only tells one call from another.
#[expect(clippy::exit, reason = "one of the ways to misbehave")]
fn misbehave(how: &str) -> Result<Output> {
    let how = how.split_once('#').map_or(how, |(how, _)| how);
    let done = |text: &str| Ok(Output::text(text.to_owned()));
    match how {
        "panic" => panic!("on purpose"),
        "loop" => loop {
            std::hint::black_box(0);
        },
        "sleep" => {
            std::thread::sleep(Duration::from_secs(3600));
            done("slept")
        }
        "obey" => {
            while !conversation::interrupted() {
                std::thread::sleep(Duration::from_millis(5));
            }
            done("obeyed")
        }
        "allocate" => {
            let bytes = std::hint::black_box(vec![1_u8; 100 << 20]);
            done(&bytes.len().to_string())
        }
        "recurse" => done(&recurse(0).to_string()),
        "flood" => {
            for _ in 0..10_000 {
                println_to_stdout(&"x".repeat(1000));
            }
            done("flooded")
        }
        "large" => done(&"x".repeat(9 << 20)),
        "exit" => std::process::exit(3),
        "fail" => Err(Error::conflict("it exists")),
        "chatter" => {
            let said = (0..200).take_while(|_| conversation::say("again").is_ok()).count();
            conversation::progress(&"x".repeat(1 << 20));
            done(&said.to_string())
        }
        "shout" => conversation::say(&"x".repeat(2 << 20)).map(|()| Output::text("heard")),
        "refused" => {
            let _ = std::fs::write("mounts", "");
            loop {
                std::hint::black_box(0);
            }
        }
        "stat" => loop {
            let _ = std::fs::metadata(".");
        },
        "call" => {
            while conversation::interrupted() || !secrets::exists("api-key") {}
            done("called")
        }
        other => greed::greedy(other).unwrap_or_else(|| Err(Error::invalid(format!("unknown: {other}")))),
    }
}

fn println_to_stdout(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[expect(unconditional_recursion, reason = "it should overflow")]
fn recurse(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + page[3]
}

/// Tells what it can see.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Look {}

impl Tool for Look {
    fn call(self, _call: &Call) -> Result<Output> {
        let refused = |error: Error| format!("{:?}: {}", error.kind, error.message);
        let seen = stellaclaw_sdk::serde_json::json!({
            "environment": std::env::vars().count(),
            "arguments": std::env::args().count(),
            "settings": settings::get::<stellaclaw_sdk::serde_json::Value>()?,
            "secret": secrets::exists("api-key"),
            "sign": secrets::sign("api-key", secrets::Hash::Sha256, "", b"data").map(|_| ()).map_err(refused),
            "http": http::get("https://example.com/").send().map(|_| ()).map_err(refused),
            "socket": std::net::TcpStream::connect("127.0.0.1:80").map(|_| ()).map_err(|error| error.kind().to_string()),
            "emit": emit(&[]),
            "say": conversation::say("hello").map_err(refused),
        });
        Ok(Output::text(seen.to_string()))
    }
}

/// Reads or writes a file.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Touch {
    path: String,
    #[serde(default)]
    text: Option<String>,
}

impl Tool for Touch {
    fn call(self, _call: &Call) -> Result<Output> {
        let path = &self.path;
        let text = match self.text {
            Some(text) => std::fs::write(path, &text).map(|()| text),
            None => std::fs::read_to_string(path),
        };
        Ok(Output::text(text.map_err(|error| Error::from(error).context(path))?))
    }
}

/// Is offered where the clock stands still, as it does for a catalogue.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct ClockStands {}

impl Tool for ClockStands {
    fn offered(_session: &SessionInfo) -> bool {
        SystemTime::now() == SystemTime::UNIX_EPOCH
    }

    fn call(self, _call: &Call) -> Result<Output> {
        Ok(Output::text((SystemTime::now() == SystemTime::UNIX_EPOCH).to_string()))
    }
}

/// A model that says what it is told.
pub struct Parrot;

impl Provider for Parrot {
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure> {
        let text = request.messages.last().map(Message::text).unwrap_or_default();
        if text == "panic" {
            panic!("model on purpose");
        }
        if let Some(forged) = forger::forged(&text, request) {
            return forged;
        }
        if text == "flood" {
            let start = |index| Delta::ItemStarted(Item { index, kind: ItemKind::Text, id: None, name: None });
            let (mut index, part) = (0, "x".repeat(64 << 10));
            while emit(&[start(index), Delta::Fragment(Fragment { index, text: part.clone() })]) {
                index += 1;
            }
            return Ok(said(request, "x".repeat(9 << 20)));
        }
        emit(&[Delta::ItemStarted(Item { index: 0, kind: ItemKind::Text, id: None, name: None })]);
        for word in text.split_inclusive(' ') {
            if !emit(&[Delta::Fragment(Fragment { index: 0, text: word.to_owned() })]) {
                return Err(Failure::cancelled());
            }
        }
        if text == "on and on" {
            while emit(&[Delta::Fragment(Fragment { index: 0, text: " and on".to_owned() })]) {
                std::thread::sleep(Duration::from_millis(2));
            }
            return Err(Failure::cancelled());
        }
        Ok(said(request, format!("{}: {text}", model.credential.as_deref().unwrap_or("no key"))))
    }
}

fn said(request: &Request, text: String) -> Completion {
    Completion {
        message: Message {
            id: request.id.clone(),
            role: Role::Assistant,
            phase: None,
            origin: None,
            pieces: vec![Piece::Text(TextPiece { text, annotations: None })],
            cache_break: false,
        },
        stop: Stop::EndTurn,
        usage: Usage::none(),
        response_id: None,
        served_model: None,
        served_tier: None,
        ext: None,
    }
}

plugin! {
    tools: [Misbehave, Dawdle, Look, Touch, ClockStands],
    provider: Parrot,
    fs: ["workspace:rw"],
    http: ["https://example.com"],
    slots: ["api-key" => ["https://example.com"]],
    settings: r#"{"type":"object","properties":{"depth":{"type":"integer"}},"additionalProperties":false}"#,
    options: r#"{"type":"object","properties":{"loud":{"type":"boolean"}},"additionalProperties":false}"#
}
