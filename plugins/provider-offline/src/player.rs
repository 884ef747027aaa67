//! Plays events: deltas on the way, the completion at the end.
//!
//! Invariant: the completion is what the deltas said. Every item is started, grows, and is finished before the next begins.

use std::time::Duration;

use stellaclaw_sdk::chat::{
    AnswerPiece, Completion, Failure, Message, Model, Origin, Phase, Piece, Reasoning, Request, Role, Stop, TextPiece, ToolUse, Usage,
};
use stellaclaw_sdk::deltas::{Delta, Finished, Fragment, Item, ItemKind, Start};

use crate::options::Event;

/// A text goes out in at most so many batches: it is seen to stream, and a long file costs no more than a short one.
const BATCHES: usize = 12;
/// How long nobody asks whether the call is being stopped.
const SLICE_MS: u64 = 25;
/// Vendors cut or refuse longer ids, and the conversation may go on with another model.
const ID_CHARS: usize = 24;

/// What playing needs of the world.
pub trait Stage {
    /// Hands deltas on. False: no more are wanted.
    fn emit(&mut self, batch: &[Delta]) -> bool;
    /// Waits.
    fn sleep(&mut self, time: Duration);
    /// Is the call being stopped?
    fn interrupted(&mut self) -> bool;
}

/// Plays `events` as the answer to `request`.
///
/// # Errors
///
/// The failure the events hold, or `cancelled`.
///
/// # Panics
///
/// When the events say so.
pub fn play(model: &Model, request: &Request, events: &[Event], delay_ms: u64, stage: &mut impl Stage) -> Result<Completion, Failure> {
    let served = Some(model.id.clone());
    let response_id = format!("offline-{}", request.id);
    let mut player = Player { stage, delay_ms, request, open: None, pieces: Vec::new(), calls: 0, chars: 0, usage: None, stop: None };
    player.emit(&[Delta::Started(Start { response_id: Some(response_id.clone()), served_model: served.clone() })])?;
    for event in events {
        player.event(event)?;
    }
    player.close()?;
    let usage = player.usage.take().unwrap_or_else(|| estimate(request, player.chars));
    player.emit(&[Delta::Usage(usage.clone())])?;
    let called = player.calls > 0;
    let stop = player.stop.take().unwrap_or(if called { Stop::ToolUse } else { Stop::EndTurn });
    let message = Message {
        id: response_id.clone(),
        role: Role::Assistant,
        phase: Some(if called { Phase::Commentary } else { Phase::Final }),
        origin: Some(Origin { provider: env!("CARGO_PKG_NAME").into(), model: model.id.clone(), wire: "offline".into() }),
        pieces: player.pieces,
        cache_break: false,
    };
    Ok(Completion { message, stop, usage, response_id: Some(response_id), served_model: served, served_tier: None, ext: None })
}

struct Player<'a, S> {
    stage: &'a mut S,
    delay_ms: u64,
    request: &'a Request,
    /// The text that is growing.
    open: Option<(ItemKind, String)>,
    pieces: Vec<Piece>,
    calls: usize,
    /// What was said, for the estimate.
    chars: usize,
    usage: Option<Usage>,
    stop: Option<Stop>,
}

impl<S: Stage> Player<'_, S> {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Text(text) => self.say(ItemKind::Text, text),
            Event::Reasoning(text) => self.say(ItemKind::Reasoning, text),
            Event::Refusal(text) => self.say(ItemKind::Refusal, text),
            Event::Tool { name, arguments, id } => self.call(name, arguments, id.clone()),
            Event::Sleep(millis) => self.wait(*millis),
            Event::Usage(usage) => {
                self.usage = Some(usage.clone());
                self.emit(&[Delta::Usage(usage.clone())])
            }
            Event::Stop(stop) => {
                self.stop = Some(stop.clone());
                Ok(())
            }
            Event::Fail(failure) => Err(Failure { usage: self.usage.take(), ..Failure::clone(failure) }),
            Event::Panic(text) => panic!("{text}"),
            Event::Loop => loop {
                std::hint::black_box(&self.chars);
            },
        }
    }

    fn emit(&mut self, batch: &[Delta]) -> Result<(), Failure> {
        if self.stage.emit(batch) { Ok(()) } else { Err(Failure::cancelled()) }
    }

    /// The index of the item that is open, or comes next.
    fn index(&self) -> u32 {
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }

    fn say(&mut self, kind: ItemKind, text: &str) -> Result<(), Failure> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != kind) {
            self.close()?;
            self.open = Some((kind, String::new()));
            self.emit(&[Delta::ItemStarted(Item { index: self.index(), kind, id: None, name: None })])?;
        }
        if let Some((_, all)) = &mut self.open {
            all.push_str(text);
        }
        self.chars += text.chars().count();
        let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
        for (at, batch) in words.chunks(words.len().div_ceil(BATCHES).max(1)).enumerate() {
            if at > 0 && self.delay_ms > 0 {
                self.wait(self.delay_ms)?;
            }
            self.emit(&[Delta::Fragment(Fragment { index: self.index(), text: batch.concat() })])?;
        }
        Ok(())
    }

    fn call(&mut self, name: &str, arguments: &str, id: Option<String>) -> Result<(), Failure> {
        self.close()?;
        let call_id = id.unwrap_or_else(|| call_id(&self.request.id, self.calls));
        self.calls += 1;
        self.chars += name.len() + arguments.chars().count();
        let index = self.index();
        let piece = Piece::ToolUse(ToolUse {
            call_id: call_id.clone(),
            item_id: None,
            name: name.into(),
            arguments: arguments.into(),
            freeform: false,
        });
        self.pieces.push(piece.clone());
        self.emit(&[
            Delta::ItemStarted(Item { index, kind: ItemKind::ToolUse, id: Some(call_id), name: Some(name.into()) }),
            Delta::Fragment(Fragment { index, text: arguments.into() }),
            Delta::ItemFinished(Finished { index, piece }),
        ])
    }

    /// Finishes the text that is growing.
    fn close(&mut self) -> Result<(), Failure> {
        let Some((kind, text)) = self.open.take() else { return Ok(()) };
        let piece = match kind {
            ItemKind::Reasoning => Piece::Reasoning(Reasoning { text: Some(text), summary: Vec::new(), opaque: None }),
            ItemKind::Refusal => Piece::Refusal(text),
            _ => Piece::Text(TextPiece { text, annotations: None }),
        };
        let index = self.index();
        self.pieces.push(piece.clone());
        self.emit(&[Delta::ItemFinished(Finished { index, piece })])
    }

    /// Waits in slices: both ways of being told to stop are asked in between.
    fn wait(&mut self, millis: u64) -> Result<(), Failure> {
        let mut left = millis;
        while left > 0 {
            let slice = left.min(SLICE_MS);
            self.stage.sleep(Duration::from_millis(slice));
            left -= slice;
            if self.stage.interrupted() {
                return Err(Failure::cancelled());
            }
            self.emit(&[])?;
        }
        Ok(())
    }
}

/// An id for the `number`-th call of an answer that every vendor takes.
fn call_id(request: &str, number: usize) -> String {
    let clean: Vec<char> = request.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let end: String = clean[clean.len().saturating_sub(ID_CHARS)..].iter().collect();
    format!("call_{end}_{number}")
}

/// Four characters are about a token. It costs nothing.
fn estimate(request: &Request, output_chars: usize) -> Usage {
    let system: usize = request.system.iter().map(|piece| piece.text.len()).sum();
    let tools: usize = request.tools.iter().map(|tool| tool.name.len() + tool.description.len() + tool.parameters.len()).sum();
    let messages: usize = request.messages.iter().flat_map(|message| &message.pieces).map(piece_len).sum();
    let tokens = |chars: usize| (chars as u64).div_ceil(4);
    Usage { input_uncached: tokens(system + tools + messages), output: tokens(output_chars), cost: Some("0".into()), ..Usage::none() }
}

fn piece_len(piece: &Piece) -> usize {
    match piece {
        Piece::Text(text) => text.text.len(),
        Piece::ToolUse(call) => call.name.len() + call.arguments.len(),
        Piece::ToolAnswer(answer) => {
            answer.pieces.iter().map(|piece| if let AnswerPiece::Text(text) = piece { text.len() } else { 0 }).sum()
        }
        Piece::Reasoning(reasoning) => reasoning.text.as_ref().map_or(0, String::len),
        Piece::Refusal(text) => text.len(),
        Piece::Media(_) | Piece::Hosted(_) | Piece::Compaction(_) => 0,
    }
}
