//! The history of a session: what [`crate::session::context::render`] starts from.
//!
//! Items stand in the order in which the model sees them. An answer and the ends of its calls are one item, so no cut can
//! part them. Messages are shared, not copied, when a request is rendered.

use std::sync::Arc;

use crate::chat::{AnswerPiece, Media, Message, Modality, Piece, Role, ToolAnswer};
use crate::ids::{CallId, TurnId};
use crate::limits;
use crate::session::estimate::tokens;
use crate::session::event::{Attached, Call, Ending, Event, Notice, Outcome, Quoted, Recorded, TurnInput};

/// A piece of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The event it comes from.
    pub seq: u64,
    pub turn: TurnId,
    /// Its weight, estimated.
    pub tokens: u64,
    pub body: Body,
}

/// What an [`Item`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// What a person or another session said.
    Input(Arc<Message>),
    /// What the host tells the model.
    Notice(Arc<Message>),
    /// What the model said, and the ends of its calls in call order.
    Answer { message: Arc<Message>, calls: Vec<Answered> },
    /// Stands for everything that was compacted.
    Summary(Arc<Message>),
    /// Stands for everything that was dropped.
    Dropped(Arc<Message>),
}

/// A call of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub id: CallId,
    pub vendor: String,
    pub name: String,
    /// None: it has not ended.
    pub answer: Option<Arc<ToolAnswer>>,
}

/// The history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    pub items: Vec<Item>,
    /// Tokens of all items, estimated.
    pub tokens: u64,
    /// What the last answer's model reported.
    reported: Option<Reported>,
}

/// What a model said about the size of a request, with what was estimated of it then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reported {
    /// The alias.
    model: String,
    /// Of the request and its answer together.
    tokens: u64,
    /// Of the items up to and with that answer.
    estimated: u64,
}

/// Where a history can be parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// A seq: what comes before it goes.
    pub at: u64,
    /// The tokens of what goes, but for what stands for still older history or has to be said again.
    pub removed: u64,
}

impl Context {
    /// Remembers an event.
    pub fn apply(&mut self, recorded: &Recorded) {
        let (seq, turn) = (recorded.seq, recorded.turn);
        match &recorded.event {
            Event::TurnBegan { inputs, notices, .. } => {
                for (index, notice) in notices.iter().enumerate() {
                    let id = format!("{turn}.n{index}");
                    self.push(seq, turn, Body::Notice(Arc::new(message(id, announced(notice)))));
                }
                self.push_inputs(seq, turn, inputs);
            }
            Event::InputsJoined { inputs } => self.push_inputs(seq, turn, inputs),
            Event::Answered { message, calls, usage, model } => {
                let calls = calls.iter().map(Answered::of).collect();
                self.push(seq, turn, Body::Answer { message: Arc::new(message.clone()), calls });
                let (model, estimated) = (model.clone(), self.tokens);
                self.reported = Some(Reported { model, tokens: usage.tokens(), estimated }).filter(|reported| reported.tokens > 0);
            }
            Event::CallEnded { call, outcome, pieces, remark, .. } => self.end_call(call, *outcome, pieces, remark.as_deref()),
            Event::Compacted { cut, summary, handles, kept, .. } => self.compact(*cut, seq, turn, summary, handles, kept),
            Event::ContextDropped { cut, .. } => self.drop_before(*cut, seq, turn),
            Event::TurnEnded { ending, reason } => self.end_turn(seq, turn, *ending, reason.as_deref()),
            Event::AskFailed { .. }
            | Event::CallsBegan { .. }
            | Event::CancelRequested { .. }
            | Event::TurnResumed { .. }
            | Event::TurnParked { .. }
            | Event::Noticed { .. }
            | Event::Surrounded { .. }
            | Event::CompactionBegan { .. }
            | Event::SummaryFailed { .. }
            | Event::CompactionGivenUp { .. }
            | Event::Closed { .. } => {}
        }
    }

    /// About how many tokens `model` reads when it is asked now: what it reported last, and an estimate of what came since. Before
    /// it has reported anything, of the items alone.
    #[must_use]
    pub fn estimate(&self, model: &str) -> u64 {
        match &self.reported {
            Some(reported) if reported.model == model => reported.tokens.saturating_add(self.tokens.saturating_sub(reported.estimated)),
            _ => self.tokens,
        }
    }

    /// Where to cut so that the newest items of at most `keep` tokens stay; the newest one always does. None when nothing would
    /// go but what the turn that runs was asked, or what stands for older history.
    #[must_use]
    pub fn cut(&self, keep: u64, running: Option<TurnId>) -> Option<Cut> {
        let mut kept = 0u64;
        let stays = |item: &&Item| {
            let is_first = kept == 0;
            kept = kept.saturating_add(item.tokens.max(1));
            is_first || kept <= keep
        };
        let tail = self.items.iter().rev().take_while(stays);
        // What a compaction kept stands before older items.
        let at = tail.map(|item| item.seq).min()?;
        let goes = |item: &&Item| item.seq < at && item.can_be_dropped(running.unwrap_or(TurnId(0)));
        let removed = self.items.iter().filter(goes).map(|item| item.tokens).sum();
        (removed > 0).then_some(Cut { at, removed })
    }

    /// What a compaction at `cut` takes away, in tokens.
    #[must_use]
    pub fn weight_before(&self, cut: u64) -> u64 {
        self.items.iter().filter(|item| item.is_compacted(cut)).map(|item| item.tokens).sum()
    }

    /// What the turn that runs was asked before `cut`, and its tokens: it is said again after the summary.
    #[must_use]
    pub fn asked_before(&self, cut: u64, running: TurnId) -> (Vec<Message>, u64) {
        let asked = |item: &&Item| item.seq < cut && item.turn == running;
        let message = |item: &Item| if let Body::Input(message) = &item.body { Some((Message::clone(message), item.tokens)) } else { None };
        let (messages, tokens): (Vec<_>, Vec<_>) = self.items.iter().filter(asked).filter_map(message).unzip();
        (messages, tokens.into_iter().sum())
    }

    /// Where to cut so that the older half is gone: the seq after the last item to drop. None when nothing can be dropped.
    #[must_use]
    pub fn half(&self, running: TurnId) -> Option<u64> {
        let droppable = || self.items.iter().filter(|item| item.can_be_dropped(running));
        let total: u64 = droppable().map(|item| item.tokens).sum();
        let mut dropped = 0;
        for item in droppable() {
            dropped += item.tokens;
            if dropped * 2 >= total {
                return Some(item.seq.saturating_add(1));
            }
        }
        None
    }

    fn push(&mut self, seq: u64, turn: TurnId, body: Body) {
        let tokens = body.tokens();
        self.tokens += tokens;
        self.items.push(Item { seq, turn, tokens, body });
    }

    fn push_inputs(&mut self, seq: u64, turn: TurnId, inputs: &[TurnInput]) {
        let is_one = |a: &TurnInput, b: &TurnInput| a.beside.group.is_some() && a.beside.group == b.beside.group;
        for group in inputs.chunk_by(is_one) {
            let Some(first) = group.first() else { continue };
            let mut message = message(first.inbox.to_string(), String::new());
            message.pieces = pieces(group);
            self.push(seq, turn, Body::Input(Arc::new(message)));
        }
    }

    /// The call is one of the newest answer that has it: vendors and journals are searched from the end.
    fn end_call(&mut self, id: &CallId, outcome: Outcome, pieces: &[AnswerPiece], remark: Option<&str>) {
        for item in self.items.iter_mut().rev() {
            let Body::Answer { calls, .. } = &mut item.body else { continue };
            let Some(call) = calls.iter_mut().find(|call| call.id == *id) else { continue };
            let mut pieces = pieces.to_vec();
            pieces.extend(remark.map(|remark| AnswerPiece::Text(remark.to_owned())));
            let weight: u64 = pieces.iter().map(answer_tokens).sum();
            item.tokens += weight;
            self.tokens += weight;
            let is_error = outcome != Outcome::Ok;
            call.answer = Some(Arc::new(ToolAnswer { call_id: call.vendor.clone(), pieces, is_error }));
            return;
        }
    }

    fn compact(&mut self, cut: u64, seq: u64, turn: TurnId, summary: &str, handles: &[String], kept: &[Message]) {
        self.retain(|item| !item.is_compacted(cut));
        let mut text = format!("[Summary of the conversation so far]\n{summary}");
        if !handles.is_empty() {
            text.push_str("\n\nStill running or kept: ");
            text.push_str(&handles.join(", "));
        }
        self.insert(0, seq, TurnId(0), Body::Summary(Arc::new(message(format!("summary.{seq}"), text))));
        for (index, asked) in kept.iter().enumerate() {
            self.insert(index + 1, seq, turn, Body::Input(Arc::new(asked.clone())));
        }
    }

    fn drop_before(&mut self, cut: u64, seq: u64, running: TurnId) {
        self.retain(|item| !matches!(item.body, Body::Dropped(_)) && (item.seq >= cut || !item.can_be_dropped(running)));
        let text = "[The oldest part of this conversation was left out because it no longer fits. Files in the workspace are unchanged; \
                    ask the person when something from before is needed.]";
        let after_summary = usize::from(self.items.first().is_some_and(|item| matches!(item.body, Body::Summary(_))));
        let body = Body::Dropped(Arc::new(message(format!("dropped.{seq}"), text.to_owned())));
        self.insert(after_summary, seq, TurnId(0), body);
    }

    fn end_turn(&mut self, seq: u64, turn: TurnId, ending: Ending, reason: Option<&str>) {
        let text = match ending {
            Ending::Done => return,
            Ending::Cancelled => "[The person stopped the turn here.]".to_owned(),
            Ending::Failed => format!("[The turn was ended here: {}.]", reason.unwrap_or("it failed")),
            Ending::SetAside => {
                self.retain(|item| item.turn != turn);
                "[A message was set aside here: the host stopped each time it was worked on. The work on it is not shown; it may have \
                 changed files.]"
                    .to_owned()
            }
        };
        self.push(seq, turn, Body::Notice(Arc::new(message(format!("{turn}.end"), text))));
    }

    fn insert(&mut self, at: usize, seq: u64, turn: TurnId, body: Body) {
        let tokens = body.tokens();
        self.tokens += tokens;
        self.items.insert(at, Item { seq, turn, tokens, body });
    }

    fn retain(&mut self, keep: impl FnMut(&Item) -> bool) {
        self.items.retain(keep);
        self.tokens = self.items.iter().map(|item| item.tokens).sum();
        self.reported = None;
    }
}

impl Item {
    /// Does a summary take its place when it is cut there?
    #[must_use]
    pub fn is_compacted(&self, cut: u64) -> bool {
        self.seq < cut || matches!(self.body, Body::Summary(_) | Body::Dropped(_))
    }

    /// What stands for older history stays, and so does what the running turn was asked.
    fn can_be_dropped(&self, running: TurnId) -> bool {
        match self.body {
            Body::Input(_) => self.turn != running,
            Body::Notice(_) | Body::Answer { .. } => true,
            Body::Summary(_) | Body::Dropped(_) => false,
        }
    }
}

impl Body {
    fn tokens(&self) -> u64 {
        match self {
            Self::Input(message)
            | Self::Notice(message)
            | Self::Answer { message, .. }
            | Self::Summary(message)
            | Self::Dropped(message) => message.pieces.iter().map(piece_tokens).sum(),
        }
    }
}

/// What an event adds to the history, in tokens.
#[must_use]
pub fn weight(event: &Event) -> u64 {
    match event {
        Event::TurnBegan { inputs, notices, .. } => {
            said_tokens(inputs) + notices.iter().map(|notice| tokens(&announced(notice))).sum::<u64>()
        }
        Event::InputsJoined { inputs } => said_tokens(inputs),
        Event::Answered { message, .. } => message.pieces.iter().map(piece_tokens).sum(),
        Event::CallEnded { pieces, .. } => pieces.iter().map(answer_tokens).sum(),
        _ => 0,
    }
}

/// What messages weigh, with what came with them.
fn said_tokens(inputs: &[TurnInput]) -> u64 {
    inputs.iter().flat_map(|input| pieces(std::slice::from_ref(input))).map(|piece| piece_tokens(&piece)).sum()
}

impl Answered {
    fn of(call: &Call) -> Self {
        Self { id: call.id.clone(), vendor: call.vendor.clone(), name: call.name.clone(), answer: None }
    }
}

fn message(id: String, text: String) -> Message {
    Message { id, role: Role::User, phase: None, origin: None, pieces: vec![Piece::text(text)], cache_break: false }
}

fn announced(notice: &Notice) -> String {
    format!("[Notice: {} changed]\n{}", notice.component, notice.text)
}

/// Messages that are read as one: their texts, and what their files show behind the text that names them.
fn pieces(group: &[TurnInput]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    for input in group {
        let more = said(input);
        if !text.is_empty() && !more.is_empty() {
            text.push('\n');
        }
        text.push_str(&more);
        let mut shown = input.beside.files.iter().filter_map(|file| file.blob.clone()).peekable();
        if shown.peek().is_some() {
            pieces.push(Piece::text(std::mem::take(&mut text)));
            pieces.extend(shown.map(Piece::Media));
        }
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::text(text));
    }
    pieces
}

/// What a person said, as the model reads it: in brackets what the channel says about it, quoted what others said.
fn said(input: &TurnInput) -> String {
    let beside = &input.beside;
    let mut lines = Vec::new();
    lines.extend(input.sender.as_ref().map(|sender| format!("[from {sender}]")));
    lines.extend(beside.edited.then(|| "[this replaces an earlier message, which was edited]".to_owned()));
    lines.extend(beside.forwarded.as_ref().map(|origin| format!("[forwarded, first written by {origin}]")));
    lines.extend(beside.quoted.as_ref().map(quotation));
    lines.extend((!input.text.is_empty()).then(|| input.text.clone()));
    lines.extend(beside.files.iter().map(attached));
    lines.join("\n")
}

fn quotation(quoted: &Quoted) -> String {
    let by = quoted.by.as_deref().map_or_else(|| "your message".to_owned(), |by| format!("a message of {by}"));
    let text: Vec<_> = quoted.text.lines().map(|line| format!("> {line}")).collect();
    if text.is_empty() { format!("[in reply to {by}]") } else { format!("[in reply to {by}:]\n{}", text.join("\n")) }
}

fn attached(file: &Attached) -> String {
    let unshown = file.unshown.as_ref().map(|reason| format!("not shown, {reason}"));
    let about = [file.media_type.clone(), file.size.map(|size| format!("{size} bytes")), unshown];
    let about = about.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let about = if about.is_empty() { about } else { format!(" ({about})") };
    let name = file.name.as_deref().map(|name| format!(" {name:?}")).unwrap_or_default();
    match (&file.path, &file.missing) {
        (Some(path), _) => format!("[{}: {path}{about}]", file.kind),
        (None, Some(reason)) => format!("[{}{name}{about}: not here, {reason}]", file.kind),
        (None, None) => format!("[{}{name}{about}: not here]", file.kind),
    }
}

fn piece_tokens(piece: &Piece) -> u64 {
    match piece {
        Piece::Text(text) => tokens(&text.text),
        Piece::Refusal(text) => tokens(text),
        Piece::ToolUse(call) => tokens(&call.name) + tokens(&call.arguments),
        Piece::ToolAnswer(answer) => answer.pieces.iter().map(answer_tokens).sum(),
        Piece::Reasoning(reasoning) => {
            reasoning.text.as_deref().map_or(0, tokens) + reasoning.summary.iter().map(|text| tokens(text)).sum::<u64>()
        }
        Piece::Hosted(opaque) | Piece::Compaction(opaque) => tokens(&opaque.data),
        Piece::Media(media) => media_tokens(media),
    }
}

fn answer_tokens(piece: &AnswerPiece) -> u64 {
    match piece {
        AnswerPiece::Text(text) => tokens(text),
        AnswerPiece::Media(media) => media_tokens(media),
    }
}

/// What a file weighs beside text: about what vendors charge for one.
fn media_tokens(media: &Media) -> u64 {
    match (media.modality, media.pixels) {
        (Modality::Image, Some((width, height))) => {
            (u64::from(width) * u64::from(height) / limits::TOKEN_PIXELS).clamp(1, limits::IMAGE_TOKENS)
        }
        (Modality::Pdf, _) => (media.size / limits::TOKEN_PDF_BYTES).max(limits::MEDIA_TOKENS),
        (Modality::Audio, _) => (media.size / limits::TOKEN_AUDIO_BYTES).max(1),
        _ => limits::MEDIA_TOKENS,
    }
}
