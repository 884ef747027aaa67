//! The conversation as chat messages.
//!
//! The wire has one text, one list of calls and one list of reasoning per message, so the pieces of a message are put into
//! those. Contents are plain strings, which every server takes; parts are used only where media or a cache mark need them.
//! Tool messages take text alone, so what a tool shows follows all answers in a message of the user.

use serde_json::{Map, Value, json};
use stellaclaw_sdk::chat::{AnswerPiece, Failure, Media, Message, Model, Opaque, Piece, Request, Role, ToolUse};
use stellaclaw_sdk::json::Json;
use stellaclaw_sdk::openai::media::{audio_format, file_name, stand_in};
use stellaclaw_sdk::types::Modality;

use super::{REASONING_DETAILS, origin};
use crate::request::{Server, invalid, wants_hour};

/// Vendors refuse a fifth mark; the last ones are those that the next request finds.
const CACHE_MARKS: usize = 4;

pub(crate) fn map(model: &Model, request: &Request, server: Server) -> Result<Vec<Json>, Failure> {
    let mark = if wants_hour(request) { json!({"type": "ephemeral", "ttl": "1h"}) } else { json!({"type": "ephemeral"}) };
    let breaks = request.messages.iter().filter(|message| message.cache_break).count();
    let mut unmarked = breaks.saturating_sub(CACHE_MARKS);
    let own = origin(&model.id);
    let last_user = request.messages.iter().rposition(|message| message.role == Role::User);

    let mut wire: Vec<Wire> = Vec::with_capacity(request.messages.len() + 1);
    let system: Vec<&str> = request.system.iter().map(|piece| piece.text.as_str()).filter(|text| !text.is_empty()).collect();
    if !system.is_empty() {
        wire.push(Wire::of("system", vec![Part::Text(system.join("\n\n"))]));
    }
    let mut said = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        let before = wire.len();
        match message.role {
            Role::Assistant => {
                let replay = message.origin.as_ref().is_some_and(|origin| *origin == own);
                let in_loop = last_user.is_none_or(|user| at > user);
                wire.extend(assistant(message, Replay { own: replay, in_loop, server })?);
            }
            Role::User | Role::Tool => user(message, &mut wire, &mut said),
        }
        // Nothing may stand between the answers to one message's calls.
        if !request.messages.get(at + 1).is_some_and(answers) && !said.is_empty() {
            wire.push(Wire::of("user", std::mem::take(&mut said)));
        }
        if message.cache_break && server == Server::OpenRouter {
            if unmarked > 0 {
                unmarked -= 1;
            } else if let Some(last) = wire[before..].last_mut() {
                last.mark = Some(mark.clone());
            }
        }
    }
    Ok(wire.into_iter().map(Wire::json).collect())
}

/// A message of the wire.
struct Wire {
    head: Map<String, Value>,
    parts: Vec<Part>,
    /// What follows the content.
    tail: Map<String, Value>,
    /// The prompt cache may end at its last text.
    mark: Option<Value>,
}

enum Part {
    Text(String),
    Media(Media),
}

impl Wire {
    fn of(role: &str, parts: Vec<Part>) -> Self {
        Self { head: Map::from_iter([("role".to_owned(), role.into())]), parts, tail: Map::new(), mark: None }
    }

    fn json(self) -> Json {
        let content = content(self.parts, self.mark.as_ref());
        let head = self.head.into_iter().map(|(name, value)| (name, value.into()));
        let tail = self.tail.into_iter().map(|(name, value)| (name, value.into()));
        Json::object(head.chain([("content".to_owned(), content)]).chain(tail))
    }
}

/// A string where that is enough; null without anything.
fn content(parts: Vec<Part>, mark: Option<&Value>) -> Json {
    let parts = joined(parts);
    let is_said = |part: &Part| matches!(part, Part::Text(text) if !text.is_empty());
    let marked = mark.and_then(|_| parts.iter().rposition(is_said));
    match &parts[..] {
        [] => Value::Null.into(),
        [Part::Text(text)] if marked.is_none() => text.as_str().into(),
        parts => Json::list(parts.iter().enumerate().map(|(at, part)| match part {
            Part::Text(text) => {
                let mut part = json!({"type": "text", "text": text});
                if let Some(mark) = mark.filter(|_| marked == Some(at)) {
                    part["cache_control"] = mark.clone();
                }
                part.into()
            }
            Part::Media(media) => shown(media),
        })),
    }
}

/// Texts that follow each other become one.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match (all.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(text)) => {
                before.push_str("\n\n");
                before.push_str(&text);
            }
            (_, part) => all.push(part),
        }
    }
    all
}

/// A part with what the model is to look at or listen to.
fn shown(media: &Media) -> Json {
    match (media.modality, audio_format(&media.media_type)) {
        (Modality::Image, _) => {
            let detail = media.detail.as_deref().map(|detail| ("detail", detail.into()));
            Json::object([
                ("type", "image_url".into()),
                ("image_url", Json::object([("url", Json::data_url(media))].into_iter().chain(detail))),
            ])
        }
        (Modality::Pdf, _) => Json::object([
            ("type", "file".into()),
            ("file", Json::object([("filename", file_name(media).into()), ("file_data", Json::data_url(media))])),
        ]),
        (Modality::Audio, Some(format)) => Json::object([
            ("type", "input_audio".into()),
            ("input_audio", Json::object([("data", Json::base64("", &media.blob)), ("format", format.into())])),
        ]),
        (Modality::Audio | Modality::Text | Modality::File, _) => json!({"type": "text", "text": stand_in(media)}).into(),
    }
}

fn answers(message: &Message) -> bool {
    message.role != Role::Assistant && message.pieces.iter().any(|piece| matches!(piece, Piece::ToolAnswer(_)))
}

/// Tool answers, each a message; what is shown and said goes to `said`.
fn user(message: &Message, wire: &mut Vec<Wire>, said: &mut Vec<Part>) {
    for piece in &message.pieces {
        match piece {
            Piece::ToolAnswer(answer) => {
                let mut texts = Vec::new();
                for piece in &answer.pieces {
                    match piece {
                        AnswerPiece::Text(text) => texts.push(text.clone()),
                        AnswerPiece::Media(media) => {
                            let name = media.name.as_deref().unwrap_or("a file");
                            texts.push(format!("[{name}, {}: shown below]", media.media_type));
                            said.push(Part::Text(format!("[{name}, from the answer to the call {}:]", answer.call_id)));
                            said.push(Part::Media(media.clone()));
                        }
                    }
                }
                let mut answered = Wire::of("tool", vec![Part::Text(texts.join("\n"))]);
                answered.head.insert("tool_call_id".into(), answer.call_id.as_str().into());
                wire.push(answered);
            }
            Piece::Text(text) => said.push(Part::Text(text.text.clone())),
            Piece::Media(media) => said.push(Part::Media(media.clone())),
            Piece::Refusal(text) => said.push(Part::Text(text.clone())),
            // Written by a model, for a model: nothing a person says.
            Piece::ToolUse(_) | Piece::Reasoning(_) | Piece::Hosted(_) | Piece::Compaction(_) => {}
        }
    }
}

/// What goes back to whom.
#[derive(Clone, Copy)]
struct Replay {
    /// The message is from the model that is asked.
    own: bool,
    /// It belongs to the tool loop that runs.
    in_loop: bool,
    server: Server,
}

/// None when nothing is left of it that this wire can say: an empty message is refused by many servers.
fn assistant(message: &Message, replay: Replay) -> Result<Option<Wire>, Failure> {
    let mut texts = Vec::new();
    let mut calls = Vec::new();
    let mut more: Map<String, Value> = Map::new();
    for piece in &message.pieces {
        match piece {
            Piece::Text(text) => {
                texts.push(Part::Text(text.text.clone()));
                if let (true, Some(annotations)) = (replay.own && replay.server == Server::OpenRouter, &text.annotations) {
                    parsed_files(&mut more, annotations);
                }
            }
            Piece::Refusal(text) => texts.push(Part::Text(text.clone())),
            Piece::Media(media) => texts.push(Part::Text(stand_in(media))),
            Piece::ToolUse(call) => calls.push(tool_call(call)),
            Piece::Reasoning(thought) if replay.own => {
                if let Some(opaque) = &thought.opaque {
                    replayed(&mut more, opaque, replay.in_loop)?;
                }
            }
            Piece::Reasoning(_) | Piece::ToolAnswer(_) | Piece::Hosted(_) | Piece::Compaction(_) => {}
        }
    }
    if texts.is_empty() && calls.is_empty() {
        return Ok(None);
    }
    let mut wire = Wire::of("assistant", texts);
    if !calls.is_empty() {
        wire.tail.insert("tool_calls".into(), calls.into());
    }
    wire.tail.extend(more);
    Ok(Some(wire))
}

/// What OpenRouter has read in a document: sent back, it is not parsed, and paid for, again.
fn parsed_files(more: &mut Map<String, Value>, annotations: &str) {
    let Ok(Value::Array(mut files)) = serde_json::from_str(annotations) else { return };
    files.retain(|annotation| annotation.get("type").and_then(Value::as_str) == Some("file"));
    if !files.is_empty() {
        more.insert("annotations".into(), files.into());
    }
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
