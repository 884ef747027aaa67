//! The conversation as chat messages.
//!
//! The wire has one text, one list of calls and one list of reasoning per message, so the pieces of a message are put into
//! those. Contents are plain strings, which every server takes; parts are used only where a cache mark needs one.

use serde_json::{Map, Value, json};
use stellaclaw_sdk::chat::{AnswerPiece, Failure, Media, Message, Model, Opaque, Piece, Request, Role, ToolUse};
use stellaclaw_sdk::types::Modality;

use crate::request::{REASONING_DETAILS, Server, invalid, origin, wants_hour};

/// Vendors refuse a fifth mark; the last ones are those that the next request finds.
const CACHE_MARKS: usize = 4;

pub(crate) fn map(model: &Model, request: &Request, server: Server) -> Result<Vec<Value>, Failure> {
    let mark = if wants_hour(request) { json!({"type": "ephemeral", "ttl": "1h"}) } else { json!({"type": "ephemeral"}) };
    let breaks = request.messages.iter().filter(|message| message.cache_break).count();
    let mut unmarked = breaks.saturating_sub(CACHE_MARKS);
    let own = origin(&model.id);
    let last_user = request.messages.iter().rposition(|message| message.role == Role::User);

    let mut wire = Vec::with_capacity(request.messages.len() + 1);
    let system: Vec<&str> = request.system.iter().map(|piece| piece.text.as_str()).filter(|text| !text.is_empty()).collect();
    if !system.is_empty() {
        wire.push(json!({"role": "system", "content": system.join("\n\n")}));
    }
    for (at, message) in request.messages.iter().enumerate() {
        let before = wire.len();
        match message.role {
            Role::Assistant => {
                let replay = message.origin.as_ref().is_some_and(|origin| *origin == own);
                let in_loop = last_user.is_none_or(|user| at > user);
                wire.extend(assistant(message, replay, in_loop)?);
            }
            Role::User | Role::Tool => wire.extend(user(message)),
        }
        if message.cache_break && server == Server::OpenRouter {
            if unmarked > 0 {
                unmarked -= 1;
            } else if let Some(last) = wire[before..].last_mut() {
                set_mark(last, &mark);
            }
        }
    }
    Ok(wire)
}

/// Tool answers, each a message; then what a person said.
fn user(message: &Message) -> Vec<Value> {
    let mut wire = Vec::new();
    let mut said = Vec::new();
    for piece in &message.pieces {
        match piece {
            Piece::ToolAnswer(answer) => {
                let content: Vec<String> = answer.pieces.iter().map(answer_text).collect();
                wire.push(json!({"role": "tool", "tool_call_id": answer.call_id, "content": content.join("\n")}));
            }
            Piece::Text(text) => said.push(text.text.clone()),
            Piece::Media(media) => said.push(stand_in(media)),
            Piece::Refusal(text) => said.push(text.clone()),
            // Written by a model, for a model: nothing a person says.
            Piece::ToolUse(_) | Piece::Reasoning(_) | Piece::Hosted(_) | Piece::Compaction(_) => {}
        }
    }
    if !said.is_empty() {
        wire.push(json!({"role": "user", "content": said.join("\n\n")}));
    }
    wire
}

/// None when nothing is left of it that this wire can say: an empty message is refused by many servers.
fn assistant(message: &Message, replay: bool, in_loop: bool) -> Result<Option<Value>, Failure> {
    let mut texts: Vec<String> = Vec::new();
    let mut calls = Vec::new();
    let mut reasoning: Map<String, Value> = Map::new();
    for piece in &message.pieces {
        match piece {
            Piece::Text(text) => texts.push(text.text.clone()),
            Piece::Refusal(text) => texts.push(text.clone()),
            Piece::Media(media) => texts.push(stand_in(media)),
            Piece::ToolUse(call) => calls.push(tool_call(call)),
            Piece::Reasoning(thought) if replay => {
                if let Some(opaque) = &thought.opaque {
                    replayed(&mut reasoning, opaque, in_loop)?;
                }
            }
            Piece::Reasoning(_) | Piece::ToolAnswer(_) | Piece::Hosted(_) | Piece::Compaction(_) => {}
        }
    }
    if texts.is_empty() && calls.is_empty() {
        return Ok(None);
    }
    let mut wire = Map::new();
    wire.insert("role".into(), "assistant".into());
    wire.insert("content".into(), if texts.is_empty() { Value::Null } else { texts.join("\n\n").into() });
    if !calls.is_empty() {
        wire.insert("tool_calls".into(), calls.into());
    }
    wire.extend(reasoning);
    Ok(Some(wire.into()))
}

/// Puts reasoning back where it came from. A list of details goes back always; a bare text only inside the tool loop it
/// belongs to: servers that want it there ignore or refuse it elsewhere.
fn replayed(reasoning: &mut Map<String, Value>, opaque: &Opaque, in_loop: bool) -> Result<(), Failure> {
    let data = || serde_json::from_str::<Value>(&opaque.data).map_err(|error| invalid(&format!("stored reasoning is no JSON: {error}")));
    match opaque.format.as_str() {
        REASONING_DETAILS => match (reasoning.get_mut(REASONING_DETAILS), data()?) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (_, list) => {
                reasoning.insert(REASONING_DETAILS.into(), list);
            }
        },
        field @ ("reasoning" | "reasoning_content") if in_loop => {
            reasoning.insert(field.into(), data()?);
        }
        _ => {}
    }
    Ok(())
}

fn tool_call(call: &ToolUse) -> Value {
    let arguments = match call.arguments.as_str() {
        text if call.freeform => json!({"input": text}).to_string(),
        "" => "{}".to_owned(),
        text => text.to_owned(),
    };
    json!({"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
}

fn answer_text(piece: &AnswerPiece) -> String {
    match piece {
        AnswerPiece::Text(text) => text.clone(),
        AnswerPiece::Media(media) => stand_in(media),
    }
}

/// What is said in place of bytes that cannot be sent.
fn stand_in(media: &Media) -> String {
    let kind = match media.modality {
        Modality::Text => "text",
        Modality::Image => "image",
        Modality::Pdf => "PDF",
        Modality::Audio => "recording",
        Modality::File => "file",
    };
    let name = media.name.as_deref().map(|name| format!(" {name:?}")).unwrap_or_default();
    format!("[{kind}{name}, {}, {} bytes: cannot be sent to this model; use a tool to look at the file]", media.media_type, media.size)
}

/// Lets the prompt cache end at the message's text, if it has one.
fn set_mark(message: &mut Value, mark: &Value) {
    if let Some(content) = message.get_mut("content")
        && let Some(text) = content.as_str().filter(|text| !text.is_empty())
    {
        *content = json!([{"type": "text", "text": text, "cache_control": mark}]);
    }
}
