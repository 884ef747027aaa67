//! What the model sees: a request rendered from the history. Pure.
//!
//! Every call of every answer is answered, in call order, right after it, under the vendor's own id. Opaque pieces go only
//! to the origin they came from; media only to models that read its kind. Equal states give equal bytes, and a longer
//! history begins with the shorter one, so that a prompt cache serves it.

use crate::chat::{AnswerPiece, Media, Message, Modality, Piece, Request, Role, TextPiece, ToolAnswer, ToolSpec};
use crate::session::history::{Answered, Body};
use crate::session::state::State;

/// The model a request is for, and what surrounds the history.
#[derive(Debug, Clone, Copy)]
pub struct RenderModel<'a> {
    /// The component that serves it, and the vendor's name for it: the origin of what it writes.
    pub provider: &'a str,
    pub id: &'a str,
    pub reads: &'a [Modality],
    /// From [`crate::session::system::prompt`]; byte-stable while the session's surroundings are.
    pub system: &'a str,
    pub tools: &'a [ToolSpec],
    pub max_output: Option<u64>,
    pub temperature: Option<f64>,
    pub effort: Option<&'a str>,
    pub reasoning_summary: Option<&'a str>,
    pub service_tier: Option<&'a str>,
    pub cache_ttl_ms: Option<u64>,
}

/// The request for the step that [`crate::session::turn::Effect::Ask`] names.
#[must_use]
pub fn render(state: &State, step: u32, model: &RenderModel<'_>) -> Request {
    let (session, turn) = (state.head.session, state.head.last_turn);
    Request {
        id: format!("{session}.{turn}.{step}"),
        session: session.to_string(),
        turn: format!("{session}.{turn}"),
        system: vec![TextPiece { text: model.system.to_owned(), annotations: None }],
        messages: messages(state, model),
        tools: model.tools.to_vec(),
        parallel_tools: true,
        max_output: model.max_output,
        temperature: model.temperature,
        effort: model.effort.map(str::to_owned),
        reasoning_summary: model.reasoning_summary.map(str::to_owned),
        service_tier: model.service_tier.map(str::to_owned),
        cache_ttl_ms: model.cache_ttl_ms,
        response_schema: None,
    }
}

fn messages(state: &State, model: &RenderModel<'_>) -> Vec<Message> {
    let mut messages = Vec::with_capacity(state.context.items.len() * 2);
    for item in &state.context.items {
        match &item.body {
            Body::Input(message) | Body::Notice(message) | Body::Summary(message) | Body::Dropped(message) => {
                messages.push(readable(message, model));
            }
            Body::Answer { message, calls } => {
                let answer = replayed(message, model);
                if !answer.pieces.is_empty() {
                    messages.push(answer);
                }
                if !calls.is_empty() {
                    messages.push(answers(calls, model));
                }
            }
        }
    }
    if let Some(last) = messages.last_mut() {
        last.cache_break = true;
    }
    messages
}

/// A model's message as it may be sent to `model`.
fn replayed(message: &Message, model: &RenderModel<'_>) -> Message {
    let own = message.origin.as_ref().is_some_and(|origin| origin.provider == model.provider && origin.model == model.id);
    let mut message = message.clone();
    for piece in &mut message.pieces {
        if let Piece::Media(media) = piece {
            *piece = Piece::text(unreadable(media, "a file that was sent cannot be shown again"));
        }
    }
    if !own {
        message.pieces = message.pieces.into_iter().filter_map(foreign).collect();
    }
    // Some vendors refuse empty text.
    message.pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.text.is_empty()));
    message
}

/// What remains of a piece for a model that did not write it.
fn foreign(piece: Piece) -> Option<Piece> {
    match piece {
        Piece::Text(text) => Some(Piece::text(text.text)),
        Piece::Refusal(text) => Some(Piece::text(text)),
        Piece::ToolUse(mut call) => {
            call.item_id = None;
            Some(Piece::ToolUse(call))
        }
        Piece::Reasoning(_) | Piece::Hosted(_) | Piece::Compaction(_) => None,
        Piece::Media(_) | Piece::ToolAnswer(_) => Some(piece),
    }
}

/// The message with its media, as far as `model` reads it.
fn readable(message: &Message, model: &RenderModel<'_>) -> Message {
    let mut message = message.clone();
    for piece in &mut message.pieces {
        if let Piece::Media(media) = piece
            && !model.reads.contains(&media.modality)
        {
            *piece = Piece::text(unreadable(media, UNREAD));
        }
    }
    message
}

fn answers(calls: &[Answered], model: &RenderModel<'_>) -> Message {
    let pieces = calls.iter().map(|call| Piece::ToolAnswer(answer(call, model))).collect();
    let id = calls.first().map_or_else(String::new, |call| format!("{}.answers", call.id));
    Message { id, role: Role::Tool, phase: None, origin: None, pieces, cache_break: false }
}

fn answer(call: &Answered, model: &RenderModel<'_>) -> ToolAnswer {
    let Some(answer) = &call.answer else {
        // Requests are made when all calls have ended; a fold of a damaged journal must still give a valid one.
        let text = "Outcome unknown: no answer of this call was recorded.".to_owned();
        return ToolAnswer { call_id: call.vendor.clone(), pieces: vec![AnswerPiece::Text(text)], is_error: true };
    };
    let mut answer = ToolAnswer::clone(answer);
    for piece in &mut answer.pieces {
        if let AnswerPiece::Media(media) = piece
            && !model.reads.contains(&media.modality)
        {
            *piece = AnswerPiece::Text(unreadable(media, UNREAD));
        }
    }
    answer
}

/// Why a file is text for a model that does not read its kind.
const UNREAD: &str = "this model cannot read it";

/// What stands for a file that is not sent.
pub(super) fn unreadable(media: &Media, reason: &str) -> String {
    let name = media.name.as_deref().unwrap_or("unnamed");
    format!("[{name} ({}, {} bytes): {reason}]", media.media_type, media.size)
}

#[cfg(test)]
mod tests;
