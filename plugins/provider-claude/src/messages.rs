//! The conversation as the vendor wants it.
//!
//! Users and the assistant take turns; the answers to calls come first in the message after them; thinking goes back to the
//! model it came from, unmodified and in its place; no text is empty. A longer conversation begins with the same turns as
//! the shorter one, so that the prompt cache serves it.

use std::borrow::Cow;

use serde_json::json;
use stellaclaw_sdk::chat::{AnswerPiece, Media, Message, Origin, Piece, Request, Role, ToolAnswer, ToolUse};

use crate::blocks::{Block, Turn, object};
use crate::ids::{self, Ids};
use crate::media::{sent, stand_in};
use crate::request::{REDACTED_THINKING, THINKING};

/// What a user says when nobody has said anything since the model did: an answer is never begun for it.
const GO_ON: &str = "Continue.";

/// The turns of `request` for the model that answers as `own`.
pub(crate) fn map<'a>(request: &'a Request, own: &Origin) -> Vec<Turn<'a>> {
    let mut ids = Ids::default();
    let mut turns: Vec<Turn<'a>> = Vec::with_capacity(request.messages.len() + 1);
    for message in &request.messages {
        let (role, blocks) = match message.role {
            Role::Assistant => (Role::Assistant, assistant(message, message.origin.as_ref() == Some(own), &mut ids)),
            Role::User | Role::Tool => (Role::User, user(message, &ids)),
        };
        match turns.last_mut() {
            Some(last) if last.role == role => {
                last.blocks.extend(blocks);
                last.cache_break |= message.cache_break;
            }
            Some(last) if blocks.is_empty() => last.cache_break |= message.cache_break,
            _ if blocks.is_empty() => {}
            _ => turns.push(Turn { role, blocks, cache_break: message.cache_break }),
        }
    }
    for turn in &mut turns {
        if turn.role == Role::User {
            // A stable sort: answers first, everything else in its order.
            turn.blocks.sort_by_key(|block| !matches!(block, Block::ToolResult { .. }));
        }
    }
    end(&mut turns);
    turns
}

/// The conversation ends with a user, unless the vendor paused: then it goes on where it was.
fn end(turns: &mut Vec<Turn<'_>>) {
    match turns.last_mut() {
        Some(Turn { role: Role::Assistant, blocks, .. }) if blocks.iter().any(|block| matches!(block, Block::Hosted(_))) => {
            if let Some(Block::Text { text, .. }) = blocks.last_mut() {
                *text = Cow::Owned(text.trim_end().to_owned());
            }
        }
        Some(Turn { role: Role::User, .. }) => {}
        _ => turns.push(Turn { role: Role::User, blocks: Block::text(GO_ON).into_iter().collect(), cache_break: false }),
    }
}

fn user<'a>(message: &'a Message, ids: &Ids) -> Vec<Block<'a>> {
    let block = |piece: &'a Piece| match piece {
        Piece::ToolAnswer(answer) => Some(tool_result(answer, ids)),
        Piece::Text(text) => Block::text(&text.text),
        Piece::Refusal(text) => Block::text(text),
        Piece::Media(media) => Some(medium(media)),
        // Written by a model, for a model: nothing a person says.
        Piece::ToolUse(_) | Piece::Reasoning(_) | Piece::Hosted(_) | Piece::Compaction(_) => None,
    };
    message.pieces.iter().filter_map(block).collect()
}

/// `own`: this very model wrote it, so what only it understands goes back.
fn assistant<'a>(message: &'a Message, own: bool, ids: &mut Ids) -> Vec<Block<'a>> {
    let block = |piece: &'a Piece| match piece {
        Piece::Text(said) => Some(Block::Text {
            text: Block::text(&said.text).map(|_| Cow::Borrowed(said.text.as_str()))?,
            citations: said.annotations.as_deref().filter(|list| own && is_list(list)),
        }),
        Piece::Refusal(text) => Block::text(text),
        // An assistant's message has no pictures.
        Piece::Media(media) => Block::text(stand_in(media, "Claude takes no files in its own messages")),
        Piece::ToolUse(call) => Some(Block::ToolUse { id: ids.call(&call.call_id), name: ids::name(&call.name), input: input(call) }),
        Piece::Reasoning(thought) => {
            let opaque = thought.opaque.as_ref().filter(|opaque| own && matches!(opaque.format.as_str(), THINKING | REDACTED_THINKING))?;
            Some(Block::Thinking(object(&opaque.data)?))
        }
        Piece::Hosted(item) | Piece::Compaction(item) if own => Some(Block::Hosted(object(&item.data)?)),
        Piece::Hosted(_) | Piece::Compaction(_) | Piece::ToolAnswer(_) => None,
    };
    let mut blocks: Vec<_> = message.pieces.iter().filter_map(block).collect();
    // No message may end with what the model thought: nothing came of that.
    while matches!(blocks.last(), Some(Block::Thinking(_))) {
        blocks.pop();
    }
    blocks
}

fn is_list(json: &str) -> bool {
    serde_json::from_str::<Vec<serde_json::Value>>(json).is_ok_and(|list| !list.is_empty())
}

/// The arguments of a call as the object that the vendor wants. What is none is shown to the model inside of one.
fn input(call: &ToolUse) -> Cow<'_, str> {
    if call.arguments.trim().is_empty() {
        return Cow::Borrowed("{}");
    }
    match object(&call.arguments) {
        Some(object) if !call.freeform => Cow::Borrowed(object),
        _ => Cow::Owned(json!({"input": call.arguments}).to_string()),
    }
}

fn tool_result<'a>(answer: &'a ToolAnswer, ids: &Ids) -> Block<'a> {
    let block = |piece: &'a AnswerPiece| match piece {
        AnswerPiece::Text(text) => Block::text(text),
        AnswerPiece::Media(media) => Some(medium(media)),
    };
    let mut content: Vec<_> = answer.pieces.iter().filter_map(block).collect();
    // An error is told in words alone, and in some.
    let is_error = answer.is_error && !content.iter().any(|block| matches!(block, Block::Media { .. }));
    if is_error && content.is_empty() {
        content.extend(Block::text("failed without saying why"));
    }
    Block::ToolResult { id: ids.answer(&answer.call_id), content, is_error }
}

fn medium(media: &Media) -> Block<'_> {
    match sent(media) {
        Ok(sent) => Block::Media { media, sent },
        Err(said) => Block::Text { text: Cow::Owned(said), citations: None },
    }
}
