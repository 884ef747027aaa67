//! An answer as events, on either way.

use std::io;

use serde_json::{Value, json};

use super::super::http::Connection;
use super::socket::Socket;
use super::{Accepted, Fault, Shared};

/// Where events go.
pub enum Out<'a> {
    Stream(&'a mut Connection),
    Socket(&'a mut Socket),
}

impl Out<'_> {
    async fn event(&mut self, event: &Value) -> io::Result<()> {
        match self {
            Self::Stream(connection) => {
                let kind = event["type"].as_str().unwrap_or_default();
                connection.chunk(format!("event: {kind}\ndata: {event}\n\n").as_bytes()).await
            }
            Self::Socket(socket) => socket.text(event.to_string()).await,
        }
    }
}

/// The items that an answer consists of.
pub fn items(accepted: &Accepted<'_>) -> Vec<Value> {
    let Some(answer) = accepted.answer else { return Vec::new() };
    let name = format!("{}_{}", accepted.key.replace(' ', "_"), accepted.round);
    let mut items = Vec::new();
    if let Some(thought) = &answer.thought {
        let id = format!("rs_{name}");
        let sealed = format!("sealed:{id}:{thought}");
        items.push(
            json!({"type": "reasoning", "id": id, "summary": [{"type": "summary_text", "text": thought}], "encrypted_content": sealed}),
        );
    }
    let suffix = |items: &[Value]| if items.last().is_some_and(|last| last["type"] == "reasoning") { "_thought" } else { "" };
    if !answer.text.is_empty() {
        let phase = if answer.calls.is_empty() { "final_answer" } else { "commentary" };
        items.push(json!({"type": "message", "id": format!("msg_{name}{}", suffix(&items)), "role": "assistant", "status": "completed",
            "phase": phase, "content": [{"type": "output_text", "text": answer.text, "annotations": []}]}));
    }
    for (at, (tool, arguments)) in answer.calls.iter().enumerate() {
        let id = format!("fc_{name}_{at}{}", suffix(&items));
        items.push(json!({"type": "function_call", "id": id, "call_id": format!("call_{name}_{at}"), "name": tool, "arguments": arguments,
            "status": "completed"}));
    }
    items
}

/// Sends an answer, or what goes wrong in its place. False: the connection is to break.
pub async fn play(shared: &Shared, accepted: &Accepted<'_>, out: &mut Out<'_>) -> io::Result<bool> {
    let fault = accepted.fault.as_ref();
    if matches!(fault, Some(Fault::Gone)) {
        return Ok(false);
    }
    if let Some(name) = accepted.answer.and_then(|answer| answer.held.as_ref()) {
        shared.hold(name).await;
    }
    let id = accepted.id.as_str();
    let rates = json!({"type": "codex.rate_limits", "plan_type": "plus", "credits": null, "rate_limits": {"allowed": true,
        "limit_reached": false, "primary": {"used_percent": 12.5, "window_minutes": 300, "reset_at": 1_900_000_000}, "secondary": null}});
    out.event(&rates).await?;
    out.event(&json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}})).await?;
    out.event(&json!({"type": "response.metadata", "metadata": {"x-codex-turn-state": format!("state-of-{}", accepted.key)}})).await?;
    for (index, item) in items(accepted).iter().enumerate() {
        let whole = !matches!(fault, Some(Fault::Cut | Fault::Failed(_)));
        self::item(shared, accepted, index, item, whole, out).await?;
        if !whole {
            break;
        }
    }
    match fault {
        Some(Fault::Cut) => return Ok(false),
        Some(Fault::Failed(code)) => {
            let error = json!({"code": code, "message": format!("the fake says {code}")});
            out.event(&json!({"type": "response.failed", "response": {"id": id, "status": "failed", "error": error}})).await?;
            return Ok(true);
        }
        _ => {}
    }
    let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 110});
    // As the backend does: nothing of the output is repeated.
    let response = json!({"id": id, "status": "completed", "output": [], "usage": usage});
    out.event(&json!({"type": "response.completed", "response": response})).await?;
    Ok(true)
}

async fn item(shared: &Shared, accepted: &Accepted<'_>, index: usize, item: &Value, whole: bool, out: &mut Out<'_>) -> io::Result<()> {
    let mut started = item.clone();
    started["status"] = "in_progress".into();
    for (key, empty) in [("arguments", json!("")), ("content", json!([])), ("summary", json!([])), ("encrypted_content", json!("part"))] {
        if item.get(key).is_some() {
            started[key] = empty;
        }
    }
    out.event(&json!({"type": "response.output_item.added", "output_index": index, "item": started})).await?;
    let delta = |kind: &str, text: &str| json!({"type": kind, "item_id": item["id"], "output_index": index, "content_index": 0, "summary_index": 0, "delta": text});
    let (kind, text) = match item["type"].as_str() {
        Some("message") => ("response.output_text.delta", item["content"][0]["text"].as_str()),
        Some("reasoning") => ("response.reasoning_summary_text.delta", item["summary"][0]["text"].as_str()),
        _ => ("response.function_call_arguments.delta", item["arguments"].as_str()),
    };
    let chars: Vec<char> = text.unwrap_or_default().chars().collect();
    let pieces: Vec<String> = chars.chunks(7).map(|piece| piece.iter().collect()).collect();
    let all = if whole { pieces.len() } else { pieces.len().min(1) };
    for piece in &pieces[..all] {
        out.event(&delta(kind, piece)).await?;
    }
    if !whole {
        return Ok(());
    }
    if item["type"] == "message"
        && let Some(name) = accepted.answer.and_then(|answer| answer.held_after_text.as_ref())
    {
        shared.hold(name).await;
    }
    out.event(&json!({"type": "response.output_item.done", "output_index": index, "item": item})).await
}
