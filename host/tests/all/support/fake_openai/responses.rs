//! The Responses wire: what is refused there, and the events of an answer.

mod strict;

use std::io;
use std::time::Duration;

use serde_json::{Map, Value, json};

pub(super) use self::strict::check;
use super::script::{Answer, Fault, Stream, pieces};
use crate::support::holds::Holds;
use crate::support::http::Connection;

/// The body as the script reads it: items of one answer are one message.
pub(super) fn as_chat(body: &Value) -> Value {
    let mut messages: Vec<Value> = Vec::new();
    for item in body["input"].as_array().into_iter().flatten() {
        let written = matches!(item["type"].as_str(), Some("reasoning" | "function_call")) || item["role"] == "assistant";
        if !written {
            let role = item["role"].as_str().unwrap_or("tool");
            messages.push(json!({"role": role, "content": item["content"]}));
        } else if messages.last().is_none_or(|last| last["role"] != "assistant") {
            messages.push(json!({"role": "assistant"}));
        }
    }
    json!({"messages": messages})
}

/// In the ids of calls that are not known without the reasoning that led to them.
const THOUGHT: &str = "thought-";

/// What names the items of an answer.
fn names(stream: &Stream<'_>) -> String {
    format!("{}-{}", stream.key.replace(' ', "-"), stream.round)
}

/// What only this server can make of the reasoning that it is sent back.
fn seal(model: &str, id: &str) -> String {
    format!("sealed by {model} as {id}")
}

/// An answer, item by item.
struct Events {
    response: Value,
    output: Vec<Value>,
    number: u64,
}

impl Events {
    fn of(stream: &Stream<'_>) -> Self {
        let id = format!("resp_{}", names(stream));
        let response = json!({"id": id, "object": "response", "created_at": 1, "model": stream.model, "error": null,
            "incomplete_details": null, "output": [], "store": false, "usage": null});
        Self { response, output: Vec::new(), number: 0 }
    }

    async fn send(&mut self, connection: &mut Connection, kind: &str, mut event: Value) -> io::Result<()> {
        let mut whole = Map::new();
        whole.insert("type".into(), kind.into());
        whole.insert("sequence_number".into(), self.number.into());
        self.number += 1;
        whole.append(event.as_object_mut().unwrap());
        connection.chunk(format!("event: {kind}\ndata: {}\n\n", Value::Object(whole)).as_bytes()).await
    }

    async fn open(&mut self, connection: &mut Connection) -> io::Result<()> {
        connection.begin().await?;
        connection.chunk(b": processing\n\n").await?;
        for kind in ["created", "in_progress"] {
            let mut response = self.response.clone();
            response["status"] = "in_progress".into();
            self.send(connection, &format!("response.{kind}"), json!({"response": response})).await?;
        }
        Ok(())
    }

    /// An item from its start, through the deltas of its text, to its end.
    async fn item(&mut self, connection: &mut Connection, begun: Value, growth: Growth<'_>, whole: Value) -> io::Result<()> {
        let index = self.output.len();
        let id = whole["id"].clone();
        self.send(connection, "response.output_item.added", json!({"output_index": index, "item": begun})).await?;
        for piece in &growth.pieces {
            let delta = json!({"item_id": id, "output_index": index, "content_index": 0, "summary_index": 0, "delta": piece});
            self.send(connection, &format!("response.{}.delta", growth.kind), delta).await?;
            tokio::time::sleep(growth.pace).await;
        }
        if let Some((holds, name)) = growth.held {
            holds.hold(name, connection).await?;
        }
        self.send(connection, "response.output_item.done", json!({"output_index": index, "item": whole})).await?;
        self.output.push(whole);
        Ok(())
    }

    async fn close(mut self, connection: &mut Connection) -> io::Result<()> {
        self.response["status"] = "completed".into();
        self.response["output"] = std::mem::take(&mut self.output).into();
        self.response["usage"] = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 110});
        let response = self.response.clone();
        self.send(connection, "response.completed", json!({"response": response})).await?;
        connection.chunk(b"data: [DONE]\n\n").await?;
        connection.end().await
    }
}

/// How the text of an item comes.
struct Growth<'a> {
    kind: &'static str,
    pieces: Vec<String>,
    pace: Duration,
    held: Option<(&'a Holds, &'a str)>,
}

impl Growth<'_> {
    fn of(kind: &'static str, text: &str) -> Self {
        Self { kind, pieces: pieces(text, 9), pace: Duration::ZERO, held: None }
    }
}

/// Sends the whole answer.
pub(super) async fn play(stream: &Stream<'_>, connection: &mut Connection, holds: &Holds) -> io::Result<()> {
    let answer: &Answer = stream.answer;
    if let Some(name) = &answer.held {
        holds.hold(name, connection).await?;
    }
    let (mut events, named) = (Events::of(stream), names(stream));
    events.open(connection).await?;
    if let Some(thought) = &answer.thought {
        let id = format!("rs_{named}");
        let begun = json!({"id": id, "type": "reasoning", "summary": [], "encrypted_content": "a part of"});
        let whole = json!({"id": id, "type": "reasoning", "summary": [{"type": "summary_text", "text": thought}],
            "encrypted_content": seal(&stream.model, &id)});
        events.item(connection, begun, Growth::of("reasoning_summary_text", thought), whole).await?;
    }
    if !answer.text.is_empty() {
        let id = format!("msg_{named}");
        let begun = json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []});
        let whole = json!({"id": id, "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": answer.text, "annotations": []}]});
        let held = answer.held_after_text.as_deref().map(|name| (holds, name));
        let growth = Growth { pace: answer.pace, held, ..Growth::of("output_text", &answer.text) };
        events.item(connection, begun, growth, whole).await?;
    }
    for (index, (name, arguments)) in answer.calls.iter().enumerate() {
        let id = format!("fc_{}{named}-{index}", if answer.thought.is_some() { THOUGHT } else { "" });
        let call_id = format!("call_{named}-{index}");
        let item = |arguments: &str, status: &str| json!({"id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name, "arguments": arguments});
        let growth = Growth::of("function_call_arguments", arguments);
        events.item(connection, item("", "in_progress"), growth, item(arguments, "completed")).await?;
    }
    events.close(connection).await
}

/// Does what goes wrong.
pub(super) async fn fail(stream: &mut Stream<'_>, connection: &mut Connection, fault: &Fault) -> io::Result<()> {
    if !matches!(fault, Fault::Cut | Fault::ErrorChunk | Fault::Malformed | Fault::Unfinished) {
        return stream.fail(connection, fault).await;
    }
    let mut events = Events::of(stream);
    events.open(connection).await?;
    let delta = json!({"item_id": "msg", "output_index": 0, "content_index": 0, "delta": "This is what will be "});
    events.send(connection, "response.output_text.delta", delta).await?;
    match fault {
        Fault::Cut => return Err(io::ErrorKind::ConnectionReset.into()),
        Fault::ErrorChunk => {
            let error = json!({"code": "server_error", "message": "the upstream went away", "param": null});
            events.send(connection, "error", error).await?;
        }
        Fault::Malformed => connection.chunk(b"data: {\"type\": [{\n\n").await?,
        _ => {}
    }
    connection.end().await
}
