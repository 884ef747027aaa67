//! Decides what a session does next.
//!
//! [`step`] is pure: no clock, no randomness, no I/O. What the driver knows arrives in [`Facts`] and [`Input`]; what has to
//! be durable leaves in [`Step::events`] and [`Step::rows`], one transaction; what follows from it in [`Step::effects`],
//! to be run after the commit. An input that does not fit the state (a late answer, an old timer) gives an empty step.
//!
//! The driver: `step → commit(events + rows, expected seq = head.next_seq) → apply each → run effects`.

mod asking;
mod calling;
mod compacting;
mod control;
mod draft;
mod failing;
mod restart;
mod spending;
#[cfg(test)]
mod tests;
mod words;

pub use spending::priced;
pub(super) use spending::{Budget, budget};

use std::time::Duration;

use crate::chat::{AnswerPiece, Batching, Completion, Failure, Replay, Usage};
use crate::clock::Moment;
use crate::commands::Button;
use crate::config::Price;
use crate::ids::{BootId, CallId, InboxId, TurnId};
use crate::session::event::{Call, Notice, Outcome, Recorded, TurnInput};
use crate::session::state::{Phase, Spend, State};
use crate::session::system::Surroundings;
use crate::session::turn::draft::Draft;

/// What the operator allows. From the configuration; the same for every step until it is reloaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The alias of the model that was asked, else of the conversation's.
    pub model: String,
    /// Its price, if it is known.
    pub price: Option<Price>,
    pub retry: Retry,
    /// The conversation's model and those that stand in for it, in order.
    pub chain: Vec<String>,
    pub turn_attempts: u32,
    pub turn_steps: u32,
    pub turn_time: Duration,
    pub turn_spend: Spend,
    pub day_spend: Spend,
    /// Of a conversation; `u64::MAX`: no limit.
    pub conversation_spend: Spend,
    pub resume_within: Duration,
    /// Tokens that the model reads at once, and how many of them its answer may take.
    pub window: u64,
    pub max_output: u64,
    /// Tokens at which the history is summarised, and how many of its newest stay as they are.
    pub compact_at: u64,
    pub compact_keep: u64,
    /// How long the vendor keeps what it has read, when a long history is summarised shortly before that time is over.
    pub cache_ttl: Option<Duration>,
}

/// What is done about a request that failed in a way that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all.
    pub tries: u32,
    /// The wait before the second one; it doubles for each further one.
    pub wait: Duration,
    /// The longest wait.
    pub max_wait: Duration,
}

/// What the driver knows at the moment of the input. Gathered the same way for every input.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub boot: BootId,
    pub now: Moment,
    /// The open inbox messages (not commands) of the session, oldest first.
    pub waiting: Vec<TurnInput>,
    /// Has somebody shown text of its answer to a person?
    pub shown: bool,
    /// When the model was last asked, as far as this host knows.
    pub asked_at: Option<Moment>,
    /// What all sessions spent today, as committed.
    pub day: Spend,
    /// What the conversation spent, as committed.
    pub conversation: Spend,
    /// Models of the chain that are not to be asked now, and until when.
    pub cooling: Vec<(String, Moment)>,
    /// The host is going down: results are still journalled, nothing new begins.
    pub stopping: bool,
}

/// How the catalogue classifies a call, in the order of the message's `tool_uses()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    pub replay: Replay,
    pub batching: Batching,
    /// Why it must not run: unknown tool, invalid arguments.
    pub refused: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Messages wait ([`Facts::waiting`]), or [`Effect::Wake`] asked to look. `notices`: what changed around the model;
    /// what was announced before is left out by `step`. `surroundings`: what the system prompt would be made of, if that is known.
    Wake { notices: Vec<Notice>, surroundings: Option<Surroundings> },
    /// The answer to [`Effect::Ask`] with this `step`.
    Answer { step: u32, completion: Box<Completion>, classes: Vec<Class> },
    /// The failure of [`Effect::Ask`] with this `step`; kind `cancelled` after [`Effect::Abort`].
    Failed { step: u32, failure: Failure },
    /// The answer to [`Effect::Summarise`] with this `id`.
    Summarised { id: u64, completion: Box<Completion> },
    /// The failure of [`Effect::Summarise`] with this `id`.
    NotSummarised { id: u64, failure: Failure },
    /// A started call returned, was stopped, or was dropped.
    CallEnded { call: CallId, ended: Ended },
    /// An armed alarm went off.
    Alarm(Alarm),
    /// `/continue`.
    Continue { by: String, command: InboxId },
    /// `/cancel`.
    Cancel { by: String, command: InboxId },
    /// `/compact`
    Compact { command: InboxId },
    /// `/new`: this session ends.
    Close { by: String, command: InboxId },
    /// The host goes down; set [`Facts::stopping`] from now on.
    Shutdown,
    /// First input after a fold that found work open (also after an actor's panic).
    Restarted { downtime: Duration, clean: bool },
}

/// How a call ended, as the driver saw it. Made by [`crate::session::output`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    /// Already shortened.
    pub pieces: Vec<AnswerPiece>,
    pub summary: Option<String>,
}

/// What an alarm is for. Arming an equal alarm again keeps the earlier time; alarms of other turns may be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alarm {
    pub turn: TurnId,
    pub timer: Timer,
}

/// See [`Alarm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// Ask again. The driver adds jitter.
    Retry { step: u32 },
    /// A message waits for running calls long enough.
    Join { step: u32 },
    /// The turn ends now, whatever its calls do.
    Cancel,
    /// Active time of the turn.
    Wall,
    /// Ask for the summary again. The driver adds jitter.
    Summary { id: u64, tries: u32 },
    /// The vendor's cache of the history is about to expire; of the turn that ended last.
    CacheExpiring,
}

/// Which running calls an [`Effect::Stop`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that stand in a waiting import, and those of class `read`.
    WaitsAndReads,
    All,
}

/// A call to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub call: Call,
    /// 1, and more when an interrupted call runs again.
    pub attempt: u32,
}

/// What the driver does after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Render the context and ask the model; answer with `Input::Answer` or `Input::Failed` of the same `step`.
    Ask {
        step: u32,
    },
    /// Ask the model for a summary of the history, as [`crate::session::state::Head::compaction`] says; answer with
    /// `Input::Summarised` or `Input::NotSummarised` of the same `id`.
    Summarise {
        id: u64,
    },
    /// Abort the running model request, if there is one. Comes before an `Ask` of the same step.
    Abort,
    Start(Vec<Start>),
    Stop {
        which: Which,
        grace: Duration,
    },
    Arm {
        alarm: Alarm,
        after: Duration,
    },
    /// The model failed in a way that lasts: others are asked before it.
    Cool {
        model: String,
        until: Moment,
    },
    /// What a person watches has changed: the panel is drawn from the state.
    Show,
    /// Messages wait and the session is free: feed `Input::Wake` next.
    Wake,
}

/// A message to the conversation. `key` is unique for ever: a second row with the same key is the same message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// For instance `s4.t9.final`.
    pub key: String,
    pub kind: OutboxKind,
    /// Markdown.
    pub body: String,
    /// What the person can press instead of typing.
    pub buttons: Vec<Button>,
}

pub use crate::store::{OutboxKind, UsageKind};

/// What a model request cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    pub step: u32,
    pub kind: UsageKind,
    /// The alias.
    pub model: String,
    pub usage: Usage,
    pub estimated: bool,
}

/// What else belongs into the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// new → taken, by [`Step::turn`].
    pub taken: Vec<InboxId>,
    /// → done.
    pub done: Vec<InboxId>,
    /// → aside.
    pub aside: Vec<InboxId>,
    pub outbox: Vec<OutboxRow>,
    pub usage: Vec<UsageRow>,
    /// The session's phase, when it changes.
    pub phase: Option<Phase>,
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The turn that all rows belong to.
    pub turn: TurnId,
    /// To be committed and applied as they are.
    pub events: Vec<Recorded>,
    pub rows: Rows,
    pub effects: Vec<Effect>,
}

/// Decides.
#[must_use]
pub fn step(state: &State, policy: &Policy, facts: &Facts, input: Input) -> Step {
    let mut draft = Draft::new(state, policy, facts);
    match input {
        Input::Wake { notices, surroundings } => draft.wake(notices, surroundings),
        Input::Answer { step, completion, classes } => draft.answer(step, *completion, classes),
        Input::Failed { step, failure } => draft.failed(step, &failure),
        Input::Summarised { id, completion } => draft.summarised(id, &completion),
        Input::NotSummarised { id, failure } => draft.not_summarised(id, &failure),
        Input::CallEnded { call, ended } => draft.call_ended(&call, ended),
        Input::Alarm(alarm) => draft.alarm(alarm),
        Input::Continue { by, command } => draft.resume(by, command),
        Input::Cancel { by, command } => draft.cancel(by, command),
        Input::Compact { command } => draft.compact(command),
        Input::Close { by, command } => draft.close(by, command),
        Input::Shutdown => draft.shut_down(),
        Input::Restarted { downtime, clean } => draft.restart(downtime, clean),
    }
    draft.finish()
}
