//! What the vendor refuses in the conversation.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::sign;
use super::{Checked, is_word, list, only};

/// The bytes with which files of these types begin.
const MAGIC: [(&str, &[u8]); 5] = [
    ("image/png", b"\x89PNG"),
    ("image/jpeg", b"\xff\xd8"),
    ("image/gif", b"GIF8"),
    ("image/webp", b"RIFF"),
    ("application/pdf", b"%PDF-"),
];

pub(super) fn check(body: &Value, model: &str, given: &BTreeMap<String, Vec<Value>>) -> Checked {
    let messages = list(&body["messages"], "messages")?;
    // The calls of the message before, which this one must answer.
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let mut all = BTreeSet::new();
    for (at, message) in messages.iter().enumerate() {
        only(message, &["role", "content"], "messages")?;
        if message["role"] != if at % 2 == 0 { "user" } else { "assistant" } {
            return Err(format!("messages.{at}: roles must alternate between \"user\" and \"assistant\", beginning with \"user\""));
        }
        let blocks = list(&message["content"], "messages.content")?;
        if at % 2 == 0 {
            results(blocks, at, &std::mem::take(&mut open))?;
        } else {
            open = assistant(blocks, at, model, &mut all)?;
        }
    }
    if messages.len() % 2 == 0 {
        return Err("This model does not support assistant message prefill. The conversation must end with a user message.".into());
    }
    if let [.., last, _] = &messages[..] {
        as_it_was(last, body["thinking"]["type"] == "enabled", given)?;
    }
    Ok(())
}

fn results(blocks: &[Value], at: usize, open: &BTreeSet<&str>) -> Checked {
    let mut answered = BTreeSet::new();
    let mut is_over = false;
    for block in blocks {
        match block["type"].as_str().unwrap_or_default() {
            "tool_result" => {
                only(block, &["type", "tool_use_id", "content", "is_error", "cache_control"], "tool_result")?;
                let id = block["tool_use_id"].as_str().unwrap_or_default();
                if !open.contains(id) || !answered.insert(id) {
                    return Err(format!("messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}"));
                }
                if is_over {
                    return Err(format!("messages.{at}: `tool_result` blocks must come before all other content"));
                }
                result(block, at)?;
            }
            _ => {
                is_over = true;
                said(block, at)?;
            }
        }
    }
    match open.difference(&answered).next() {
        Some(id) => Err(format!("messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {id}")),
        None => Ok(()),
    }
}

fn result(block: &Value, at: usize) -> Checked {
    let content = block.get("content").map(|content| list(content, "tool_result.content")).transpose()?;
    for piece in content.into_iter().flatten() {
        said(piece, at)?;
        if block["is_error"] == true && piece["type"] != "text" {
            return Err(format!("messages.{at}: all content must be type `text` if `is_error` is true"));
        }
    }
    if block["is_error"] == true && content.is_none() {
        return Err(format!("messages.{at}: content cannot be empty if `is_error` is true"));
    }
    Ok(())
}

/// What a user may say, or a tool.
fn said(block: &Value, at: usize) -> Checked {
    match block["type"].as_str().unwrap_or_default() {
        "text" => {
            only(block, &["type", "text", "cache_control"], "text")?;
            text(block, &format!("messages.{at}"))
        }
        kind @ ("image" | "document") => {
            only(block, &["type", "source", "title", "cache_control"], kind)?;
            let source = &block["source"];
            only(source, &["type", "media_type", "data"], "source")?;
            let data = STANDARD.decode(source["data"].as_str().unwrap_or_default()).map_err(|error| format!("source.data: {error}"))?;
            let magic = MAGIC.iter().find(|(name, _)| source["media_type"] == *name && name.starts_with("image/") == (kind == "image"));
            let is_it = magic.is_some_and(|(_, magic)| data.starts_with(magic));
            if is_it { Ok(()) } else { Err(format!("messages.{at}.content.{kind}.source.base64.data: Could not process {kind}")) }
        }
        other => Err(format!("messages.{at}.content: Input tag {other:?} does not match any of the expected tags")),
    }
}

pub(super) fn text(block: &Value, at: &str) -> Checked {
    match block["text"].as_str() {
        Some(text) if !text.trim().is_empty() => Ok(()),
        Some(_) => Err(format!("{at}: text content blocks must contain non-whitespace text")),
        None => Err(format!("{at}: text: Field required")),
    }
}

/// The calls of the message.
fn assistant<'a>(blocks: &'a [Value], at: usize, model: &str, all: &mut BTreeSet<&'a str>) -> Result<BTreeSet<&'a str>, String> {
    let mut calls = BTreeSet::new();
    for block in blocks {
        match block["type"].as_str().unwrap_or_default() {
            "text" => {
                only(block, &["type", "text", "citations", "cache_control"], "text")?;
                text(block, &format!("messages.{at}"))?;
            }
            "thinking" => {
                only(block, &["type", "thinking", "signature"], "thinking")?;
                let text = block["thinking"].as_str().ok_or("thinking.thinking: Field required")?;
                if block["signature"] != sign(model, text) {
                    return Err(format!("messages.{at}: Invalid `signature` in `thinking` block"));
                }
            }
            "redacted_thinking" => {
                only(block, &["type", "data"], "redacted_thinking")?;
                let data = block["data"].as_str().unwrap_or_default();
                if data.split_once(':').is_none_or(|(text, signature)| signature != sign(model, text)) {
                    return Err(format!("messages.{at}: Invalid `data` in `redacted_thinking` block"));
                }
            }
            "tool_use" => {
                only(block, &["type", "id", "name", "input", "cache_control"], "tool_use")?;
                let id = block["id"].as_str().unwrap_or_default();
                if !is_word(id, usize::MAX) || !is_word(block["name"].as_str().unwrap_or_default(), 128) {
                    return Err(format!("messages.{at}.tool_use: String should match pattern '^[a-zA-Z0-9_-]+$': {block}"));
                }
                if !block["input"].is_object() {
                    return Err(format!("messages.{at}.tool_use.input: Input should be a valid dictionary"));
                }
                if !all.insert(id) {
                    return Err(format!("messages.{at}: `tool_use` ids must be unique: {id}"));
                }
                calls.insert(id);
            }
            other => return Err(format!("messages.{at}.content: Input tag {other:?} does not match any of the expected tags")),
        }
    }
    if blocks.last().is_some_and(is_thought) {
        return Err(format!("messages.{at}: The final block in an assistant message cannot be `thinking`"));
    }
    Ok(calls)
}

fn is_thought(block: &Value) -> bool {
    matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))
}

/// The last message with calls is what this server said, and what it thought is in its place.
fn as_it_was(message: &Value, must_think: bool, given: &BTreeMap<String, Vec<Value>>) -> Checked {
    let blocks = list(&message["content"], "content")?;
    let Some(call) = blocks.iter().find(|block| block["type"] == "tool_use") else { return Ok(()) };
    if must_think && !is_thought(&blocks[0]) {
        return Err("Expected `thinking` or `redacted_thinking`, but found `tool_use`".into());
    }
    let Some(known) = call["id"].as_str().and_then(|id| given.get(id)) else { return Ok(()) };
    let place =
        |blocks: &[Value]| -> Vec<(usize, Value)> { blocks.iter().cloned().enumerate().filter(|(_, block)| is_thought(block)).collect() };
    if place(blocks) != place(known) {
        return Err("`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified".into());
    }
    Ok(())
}
