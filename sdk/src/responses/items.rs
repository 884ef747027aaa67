//! The conversation as items.

use std::borrow::Cow;
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use serde_json::json;

use super::{Dialect, ITEM_FORMAT, System};
use crate::chat::{AnswerPiece, Failure, FailureKind, Media, Message, Opaque, Origin, Phase, Piece, Request, Role, ToolAnswer, ToolUse};
use crate::json::Json;
use crate::openai::media::{audio_format, file_name, stand_in};
use crate::types::Modality;

/// Longer ids of calls are refused.
const CALL_ID_BYTES: usize = 64;

/// The system prompt as one text.
pub(super) fn system(request: &Request) -> String {
    let texts = request.system.iter().map(|piece| piece.text.as_str()).filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join("\n\n")
}

/// Every item of the conversation, and the system prompt where it is one.
pub(super) fn input(dialect: &Dialect<'_>, own: &Origin, request: &Request) -> Result<Vec<Json>, Failure> {
    let mut items = Items { dialect, own, freeform: HashSet::new(), list: Vec::new() };
    if dialect.system == System::Developer {
        let text = system(request);
        if !text.is_empty() {
            items.message("developer", vec![input_text(&text)], []);
        }
    }
    for message in &request.messages {
        match message.role {
            Role::Assistant => items.assistant(message)?,
            Role::User | Role::Tool => items.user(message),
        }
    }
    Ok(items.list)
}

struct Items<'a> {
    dialect: &'a Dialect<'a>,
    own: &'a Origin,
    /// Calls whose answers are of the free-form kind, too.
    freeform: HashSet<&'a str>,
    list: Vec<Json>,
}

impl<'a> Items<'a> {
    fn message<'f>(&mut self, role: &str, parts: Vec<Json>, more: impl IntoIterator<Item = (&'f str, Json)>) {
        if !parts.is_empty() {
            let fields = [("type", "message".into()), ("role", role.into()), ("content", Json::list(parts))];
            self.list.push(Json::object(fields.into_iter().chain(more)));
        }
    }

    /// What the model said in `message`.
    fn said(&mut self, parts: &mut Vec<Json>, message: &Message) {
        let mut more = Vec::new();
        if self.dialect.item_ids {
            let id = format!("msg_{}", self.list.len());
            more.extend([("id", id.as_str().into()), ("status", "completed".into())]);
        }
        if let Some(phase) = message.phase.filter(|_| self.dialect.phases) {
            let phase = if phase == Phase::Commentary { "commentary" } else { "final_answer" };
            more.push(("phase", phase.into()));
        }
        self.message("assistant", std::mem::take(parts), more);
    }

    /// Tool answers, each an item; then what a person said.
    fn user(&mut self, message: &Message) {
        let mut said = Vec::new();
        for piece in &message.pieces {
            match piece {
                Piece::ToolAnswer(answer) => {
                    let item = self.answer(answer);
                    self.list.push(item);
                }
                Piece::Text(text) if text.text.is_empty() => {}
                Piece::Text(text) => said.push(input_text(&text.text)),
                Piece::Refusal(text) => said.push(input_text(text)),
                Piece::Media(media) => said.push(part(media)),
                // Written by a model, for a model: nothing a person says.
                Piece::ToolUse(_) | Piece::Reasoning(_) | Piece::Hosted(_) | Piece::Compaction(_) => {}
            }
        }
        self.message("user", said, []);
    }

    fn answer(&self, answer: &ToolAnswer) -> Json {
        let kind = if self.freeform.contains(answer.call_id.as_str()) { "custom_tool_call_output" } else { "function_call_output" };
        let output = if answer.pieces.iter().any(|piece| matches!(piece, AnswerPiece::Media(_))) {
            let parts = answer.pieces.iter().filter_map(|piece| match piece {
                AnswerPiece::Text(text) if text.is_empty() => None,
                AnswerPiece::Text(text) => Some(input_text(text)),
                AnswerPiece::Media(media) if media.modality == Modality::Audio => Some(input_text(&stand_in(media))),
                AnswerPiece::Media(media) => Some(part(media)),
            });
            Json::list(parts)
        } else {
            let texts =
                answer.pieces.iter().filter_map(|piece| if let AnswerPiece::Text(text) = piece { Some(text.as_str()) } else { None });
            texts.collect::<Vec<_>>().join("\n").as_str().into()
        };
        Json::object([("type", kind.into()), ("call_id", call_id(&answer.call_id).as_ref().into()), ("output", output)])
    }

    fn assistant(&mut self, message: &'a Message) -> Result<(), Failure> {
        let own = message.origin.as_ref() == Some(self.own);
        // An item is known by its id as one that needs its reasoning; what lost its reasoning must not be.
        let whole =
            !message.pieces.iter().any(|piece| matches!(piece, Piece::Reasoning(thought) if item(thought.opaque.as_ref()).is_none()));
        let (mut said, mut thoughts) = (Vec::new(), Vec::new());
        for piece in &message.pieces {
            match piece {
                Piece::Text(text) if text.text.is_empty() => continue,
                Piece::Reasoning(thought) => {
                    if let Some(thought) = item(thought.opaque.as_ref()).filter(|_| own) {
                        self.said(&mut said, message);
                        thoughts.push(raw(thought)?);
                    }
                    continue;
                }
                Piece::ToolAnswer(_) => continue,
                Piece::Hosted(opaque) | Piece::Compaction(opaque) if !own || item(Some(opaque)).is_none() => continue,
                _ => {}
            }
            // Reasoning that led to nothing is refused: it waits for what it led to.
            self.list.append(&mut thoughts);
            match piece {
                Piece::Text(text) => said.push(output_text(&text.text, text.annotations.as_deref().filter(|_| own))?),
                Piece::Refusal(text) if own => said.push(json!({"type": "refusal", "refusal": text}).into()),
                Piece::Refusal(text) => said.push(output_text(text, None)?),
                Piece::Media(media) => said.push(output_text(&stand_in(media), None)?),
                Piece::ToolUse(call) => {
                    self.said(&mut said, message);
                    self.call(call, own && whole);
                }
                Piece::Hosted(opaque) | Piece::Compaction(opaque) => {
                    self.said(&mut said, message);
                    self.list.push(raw(&opaque.data)?);
                }
                Piece::Reasoning(_) | Piece::ToolAnswer(_) => {}
            }
        }
        self.said(&mut said, message);
        Ok(())
    }

    fn call(&mut self, call: &'a ToolUse, with_id: bool) {
        let (kind, field, written) = if call.freeform {
            self.freeform.insert(&call.call_id);
            ("custom_tool_call", "input", call.arguments.as_str())
        } else {
            let written = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
            ("function_call", "arguments", written)
        };
        let mut item = serde_json::Map::new();
        item.insert("type".into(), kind.into());
        let call_id = call_id(&call.call_id);
        if let Some(id) = call.item_id.as_deref().filter(|_| with_id) {
            item.insert("id".into(), id.into());
        } else if self.dialect.item_ids {
            item.insert("id".into(), format!("fc_{call_id}").into());
        }
        item.insert("call_id".into(), call_id.into());
        item.insert("name".into(), call.name.as_str().into());
        item.insert(field.into(), written.into());
        self.list.push(item.into());
    }
}

/// The item that is stored, if this module stored it.
fn item(opaque: Option<&Opaque>) -> Option<&str> {
    opaque.filter(|opaque| opaque.format == ITEM_FORMAT).map(|opaque| opaque.data.as_str())
}

fn raw(item: &str) -> Result<Json, Failure> {
    Json::raw(item).map_err(|error| Failure::new(FailureKind::InvalidRequest, format!("a stored item is no JSON: {error}")))
}

fn input_text(text: &str) -> Json {
    json!({"type": "input_text", "text": text}).into()
}

fn output_text(text: &str, annotations: Option<&str>) -> Result<Json, Failure> {
    let annotations = annotations.map_or_else(|| Ok(Json::list([])), raw)?;
    Ok(Json::object([("type", "output_text".into()), ("text", text.into()), ("annotations", annotations)]))
}

/// What a person shows.
fn part(media: &Media) -> Json {
    match (media.modality, audio_format(&media.media_type)) {
        (Modality::Image, _) => {
            let detail = media.detail.as_deref().unwrap_or("auto");
            Json::object([("type", "input_image".into()), ("image_url", Json::data_url(media)), ("detail", detail.into())])
        }
        (Modality::Pdf, _) => {
            Json::object([("type", "input_file".into()), ("filename", file_name(media).into()), ("file_data", Json::data_url(media))])
        }
        (Modality::Audio, Some(format)) => Json::object([
            ("type", "input_audio".into()),
            ("input_audio", Json::object([("data", Json::base64("", &media.blob)), ("format", format.into())])),
        ]),
        (Modality::Audio | Modality::Text | Modality::File, _) => input_text(&stand_in(media)),
    }
}

/// The id as it may be sent: other vendors have longer ones, and an answer must still find its call.
fn call_id(id: &str) -> Cow<'_, str> {
    if id.len() <= CALL_ID_BYTES {
        return id.into();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let start: String = id.chars().filter(char::is_ascii_graphic).take(CALL_ID_BYTES - 17).collect();
    format!("{start}_{:016x}", hasher.finish()).into()
}
