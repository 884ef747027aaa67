//! Vendors that answer what no vendor should, over every wire that a bundled provider speaks.
//!
//! One host, one model for each wire; a conversation says which answer it wants. However it ends: with a typed failure or an
//! answer, soon, within the memory of a call, and with nothing lost for anybody else.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hostile::{CANARY, Stage, case};
use crate::support::host::Work;
use crate::support::web::{Visit, Web};

/// How a provider is spoken to.
struct Wire {
    provider: &'static str,
    /// More of its entry in the configuration.
    more: &'static str,
    /// What stands before the first piece of an answer.
    begin: fn() -> String,
    /// A piece of text.
    text: fn(&str) -> String,
    /// A call of `ls` with these arguments, and the end.
    call: fn(&str) -> String,
    /// The end of an answer of text.
    end: fn() -> String,
    /// What this version of the wire does not have.
    unknown: fn() -> String,
}

const WIRES: [Wire; 1] = [Wire {
    provider: "provider-openrouter",
    more: "",
    begin: String::new,
    text: |text| event("", &json!({"choices": [{"delta": {"content": text}}]})),
    call: |arguments| {
        let call = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "ls", "arguments": arguments}});
        event("", &json!({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})) + "data: [DONE]\n\n"
    },
    end: || event("", &json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})) + "data: [DONE]\n\n",
    unknown: || {
        let news = json!({"object": "news", "choices": [{"delta": {"smell": [1, {"a": null}]}, "mood": "new"}], "more": {}});
        event("surprise", &news) + "id: 7\nretry: 5\n: a comment\nnothing: known\n\n"
    },
}];

fn event(name: &str, data: &Value) -> String {
    let name = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
    format!("{name}data: {data}\n\n")
}

/// The head of a stream whose end is the end of the connection.
const STREAM: &str = "HTTP/1.1 200 Fine\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
/// Larger than any event, and than what a guest may have.
const HUGE: usize = 100 << 20;

fn play(wire: &Wire, visit: &mut Visit, elsewhere: &str) -> io::Result<()> {
    let stage = visit.request.rsplit("play: ").next().unwrap_or_default();
    let stage: String = stage.chars().take_while(|c| c.is_ascii_alphabetic() || *c == ' ').collect();
    let (begin, text, end) = (wire.begin, wire.text, wire.end);
    match stage.as_str() {
        "endless" => {
            visit.say(STREAM.to_owned() + &begin())?;
            visit.say_forever(text(&"x".repeat(16 << 10)).as_bytes(), Duration::ZERO)
        }
        "huge event" => {
            visit.say(STREAM.to_owned() + &begin() + "data: {\"choices\":\"")?;
            let block = vec![b'y'; 1 << 20];
            (0..HUGE >> 20).try_for_each(|_| visit.say(&block))
        }
        "no text" => {
            let (before, after) = split(&text("SPLIT"));
            visit.say(
                [STREAM.as_bytes(), begin().as_bytes(), before.as_bytes(), b"\xff\xfe\x80", after.as_bytes(), end().as_bytes()].concat(),
            )
        }
        "broken call" if visit.request.contains("not valid JSON") => visit.say(STREAM.to_owned() + &begin() + &text("Recovered.") + &end()),
        "broken call" => visit.say(STREAM.to_owned() + &begin() + &(wire.call)("{\"path\": ")),
        "unknown" => {
            let unknown = (wire.unknown)();
            visit.say(STREAM.to_owned() + &unknown + &begin() + &unknown + &text("Fine.") + &unknown + &end())
        }
        "stalled" => {
            visit.say(STREAM.to_owned() + &begin() + &text("One moment"))?;
            visit.wait()
        }
        "too short" => visit.say(declared(50 << 20, &(begin() + &text("Half")))),
        "too long" => visit.say(declared(begin().len() + 9, &(begin() + &text("Cut") + &end()))),
        "elsewhere" => visit.redirect("307 Moved", elsewhere),
        "headers" => {
            visit.say("HTTP/1.1 200 Fine\r\n")?;
            visit.say_forever(format!("x-more: {}\r\n", "z".repeat(8 << 10)).as_bytes(), Duration::ZERO)
        }
        "page" => {
            visit.say(format!("HTTP/1.1 403 No\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>{}", "no ".repeat(1 << 20)))
        }
        // The healthy answer of a model that is merely asked.
        _ => visit.say(STREAM.to_owned() + &begin() + &text("Well.") + &end()),
    }
}

fn split(text: &str) -> (String, String) {
    let (before, after) = text.split_once("SPLIT").unwrap();
    (before.to_owned(), after.to_owned())
}

fn declared(length: usize, body: &str) -> String {
    format!("HTTP/1.1 200 Fine\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_vendor_that_misbehaves_is_survived() {
    let elsewhere = Web::start(|visit| visit.answer("", b"{}"));
    let goal = elsewhere.url("/taken");
    let vendors = WIRES.iter().map(|wire| {
        let goal = goal.clone();
        Web::start(move |visit| play(wire, visit, &goal))
    });
    let vendors: Vec<_> = vendors.collect();
    let mut work = Work::new();
    let model = |(wire, vendor): (&Wire, &Web)| {
        let Wire { provider, more, .. } = wire;
        let base = vendor.url("");
        format!(
            "[models.{provider}]\nprovider = \"{provider}\"\nmodel = \"m\"\nbase_url = \"{base}\"\napi_key = {{ env = \"KEY\" }}\n\
             idle_timeout = \"1s\"\n{more}\n"
        )
    };
    let models: String = WIRES.iter().zip(&vendors).map(model).collect();
    work.configure(&format!(
        "default_model = \"offline\"\n[models.offline]\nprovider = \"provider-offline\"\nmodel = \"o\"\n{models}[session]\nask_tries = 1\n"
    ));
    work.set("KEY", CANARY);
    let mut stage = Stage::start(work).await;
    for wire in &WIRES {
        stage.says(&format!("/model {}", wire.provider)).await;
        let cases = [
            case("play: endless", &["8388608 bytes, and did not end"]),
            case("play: huge event", &["an event of the stream is longer than"]),
            case("play: no text", &["cannot be read"]),
            case("play: broken call", &["Recovered."]),
            case("play: unknown", &["Fine."]),
            case("play: stalled", &["silent for 1000 ms"]),
            case("play: too short", &["before message length reached"]),
            case("play: too long", &["cannot be read"]),
            case("play: elsewhere", &["cannot be asked", "the redirect to", "is not granted"]),
            case("play: headers", &["message head is too large"]),
            case("play: page", &["HTTP 403"]),
        ];
        stage.plays_all(&cases).await;
        assert!(elsewhere.seen().iter().all(|request| !request.contains(CANARY)), "the key was sent elsewhere");
        stage.says("/model offline").await;
    }
    stage.ends().await;
}
