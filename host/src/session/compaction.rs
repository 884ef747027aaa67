//! The request for a summary of the history, and what is read out of its answer. Pure.
//!
//! Mostly the request is the next one of the conversation with one more message at its end: the same system prompt, tools and
//! messages to the byte, so that the vendor's cache serves it. Tools are named but not run: to forbid them in the request would
//! make some caches useless. A history that would not fit is retold as one text, without tools, media and reasoning, and
//! shortened until it does.
//!
//! The answer is text with headings; any text is taken, only an empty one is none.

use std::sync::LazyLock;

use crate::chat::{AnswerPiece, Message, Piece, Request, Role};
use crate::config;
use crate::limits;
use crate::session::estimate;
use crate::session::history::{Answered, Body, Item};
use crate::session::state::{Compaction, State};

/// What the model wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub text: String,
    /// What still runs or is kept, with its id.
    pub handles: Vec<String>,
}

impl Summary {
    /// About what it weighs in the history.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        estimate::tokens(&self.text) + self.handles.iter().map(|handle| estimate::tokens(handle) + 1).sum::<u64>() + HEADING_TOKENS
    }
}

/// What stands around a summary in the history.
const HEADING_TOKENS: u64 = 16;

/// The heading of the part that is kept apart.
const HANDLES: &str = "handles";

/// The last message of the request.
static INSTRUCTION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "[From the host, not from the person] The older part of this conversation is about to be replaced by a summary, which you write \
         now. Whoever goes on has your summary, the newest messages and the files, and nothing else. Answer with the summary alone: do \
         not answer the person, and call no tool, none would run. Write these parts, each under its heading, without those that would be \
         empty, in at most {} words together. Keep names, paths, commands, numbers, ids, and what errors said, to the letter; keep what an \
         earlier summary says where it still matters.\n\n\
         ## State\nWhat was asked for, in the person's words where they matter; what is done; where the work stands.\n\
         ## Plan\nWhat is to be done next, in order.\n\
         ## Decisions\nWhat was decided or ruled out, and why; what the person wants and does not want.\n\
         ## Files\nPaths that matter, each with what is in it or was changed.\n\
         ## Open work\nQuestions, errors and promises that are still open.\n\
         ## Handles\nOne line for each process, job, download, subagent or the like that still runs or is kept: its id, then what it is for.",
        limits::SUMMARY_WORDS
    )
});

/// At how many tokens a history is summarised, and how many of its newest stay as they are.
#[must_use]
pub fn thresholds(session: &config::Session, window: u64, max_output: u64) -> (u64, u64) {
    // An output as large as the window is a limit that the vendor shares out.
    let input = window.saturating_sub(max_output).max(window / 2);
    let most = input / 10 * limits::COMPACT_AT_TENTHS;
    let at = session.compact_at.map_or(most, |configured| configured.min(most));
    let keep = session.compact_keep.unwrap_or(at / limits::COMPACT_KEEP_PART);
    (at, keep.min(at / 2))
}

/// The request for the summary, made of the conversation's next one. `room`: how many tokens of retold history fit.
#[must_use]
pub fn request(mut request: Request, state: &State, compaction: &Compaction, room: u64) -> Request {
    request.id = format!("{}.c{}", request.turn, compaction.id);
    let id = format!("compaction.{}", compaction.id);
    let pieces = if compaction.retold {
        request.tools.clear();
        request.messages.clear();
        vec![Piece::text(retold(state, compaction.cut, room)), Piece::text(INSTRUCTION.clone())]
    } else {
        vec![Piece::text(INSTRUCTION.clone())]
    };
    request.messages.push(Message { id, role: Role::User, phase: None, origin: None, pieces, cache_break: false });
    request
}

/// The summary in an answer. None: there is none.
#[must_use]
pub fn parse(answer: &str) -> Option<Summary> {
    let answer = answer.trim();
    let answer = answer.strip_prefix("```").and_then(|inner| inner.strip_suffix("```")).map_or(answer, |inner| {
        // The first line may name a language.
        inner.split_once('\n').map_or(inner, |(_, text)| text)
    });
    let (mut text, mut handles, mut is_handles) = (String::new(), Vec::new(), false);
    for line in answer.lines() {
        if let Some(heading) = heading(line) {
            is_handles = heading.eq_ignore_ascii_case(HANDLES);
        }
        if !is_handles {
            text.push_str(line.trim_end());
            text.push('\n');
        } else if heading(line).is_none() {
            handles.extend(handle(line));
        }
    }
    handles.truncate(limits::SUMMARY_HANDLES);
    let text = short(text.trim(), limits::SUMMARY_CHARS);
    (!text.is_empty() || !handles.is_empty()).then_some(Summary { text, handles })
}

/// The words of a heading, in any of the forms that models use.
fn heading(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_marked = line.starts_with('#') || (line.starts_with("**") && line.trim_end_matches(':').ends_with("**"));
    let words = line.trim_matches(|c: char| "#*:".contains(c) || c.is_whitespace());
    (is_marked && !words.is_empty()).then_some(words)
}

fn handle(line: &str) -> Option<String> {
    let text = line.trim().trim_start_matches(['-', '*', '•']).trim();
    let is_nothing = ["", "none", "none.", "n/a", "(none)"].contains(&text.to_ascii_lowercase().as_str());
    (!is_nothing).then(|| short(text, limits::SUMMARY_HANDLE_CHARS))
}

/// The history before the cut as one text of at most `room` tokens: first its long texts are shortened, then its oldest parts are
/// left out.
fn retold(state: &State, cut: u64, room: u64) -> String {
    let items = || state.context.items.iter().filter(|item| item.is_compacted(cut));
    let weigh = |parts: &[String]| parts.iter().map(|part| estimate::tokens(part)).sum::<u64>();
    let mut parts = Vec::new();
    for cap in limits::RETOLD_CHARS {
        parts = items().map(|item| part(item, cap)).collect();
        if weigh(&parts) <= room {
            break;
        }
    }
    let mut left = room;
    let fits = |part: &&String| {
        let tokens = estimate::tokens(part);
        let fits = tokens <= left;
        left = left.saturating_sub(tokens);
        fits
    };
    let newest = parts.iter().rev().take_while(fits).count();
    let left_out = parts.len() - newest;
    let mut text = String::from("[The conversation so far, retold]\n");
    if left_out > 0 {
        text.push_str(&format!("[{left_out} older parts are left out]\n"));
    }
    text.push_str(&parts[left_out..].join("\n"));
    text
}

fn part(item: &Item, cap: usize) -> String {
    match &item.body {
        Body::Input(message) => format!("Person: {}", short(&plain(message), cap)),
        Body::Notice(message) | Body::Summary(message) | Body::Dropped(message) => short(&plain(message), cap),
        Body::Answer { message, calls } => {
            let mut text = format!("You: {}", short(&plain(message), cap));
            for (used, call) in message.tool_uses().zip(calls) {
                text.push_str(&format!("\nYou called {} {}", used.name, short(&used.arguments, cap)));
                text.push_str(&format!("\nIt answered: {}", short(&answered(call), cap)));
            }
            text
        }
    }
}

fn plain(message: &Message) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => Some(text.text.clone()),
        Piece::Refusal(text) => Some(text.clone()),
        Piece::Media(media) => Some(named(media)),
        Piece::ToolUse(_) | Piece::ToolAnswer(_) | Piece::Reasoning(_) | Piece::Hosted(_) | Piece::Compaction(_) => None,
    };
    message.pieces.iter().filter_map(piece).collect::<Vec<_>>().join("\n")
}

fn answered(call: &Answered) -> String {
    let Some(answer) = &call.answer else { return "nothing that was recorded".to_owned() };
    let piece = |piece: &AnswerPiece| match piece {
        AnswerPiece::Text(text) => text.clone(),
        AnswerPiece::Media(media) => named(media),
    };
    answer.pieces.iter().map(piece).collect::<Vec<_>>().join("\n")
}

fn named(media: &crate::chat::Media) -> String {
    format!("[{}: {}]", media.media_type, media.name.as_deref().unwrap_or("unnamed"))
}

/// The beginning and the end of a text of more characters.
fn short(text: &str, cap: usize) -> String {
    if text.len() <= cap {
        return text.to_owned();
    }
    let count = text.chars().count();
    if count <= cap {
        return text.to_owned();
    }
    let at = |index: usize| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    let (head, tail) = (cap / 4 * 3, cap / 4);
    format!("{} […] {}", &text[..at(head)], &text[at(count - tail)..])
}

#[cfg(test)]
mod tests;
