//! What a session remembers: the fold of its journal.
//!
//! [`State::apply`] is total and has no policy: no limit is consulted, nothing can fail, and an event that does not fit
//! changes nothing but the position. It costs what the event weighs, never what the history weighs. [`Head`] is everything
//! that decisions need and is small enough to copy; the history is in
//! [`Context`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chat::Usage;
use crate::clock::Moment;
use crate::ids::{CallId, InboxId, SessionId, TurnId};
use crate::session::event::{Call, CompactReason, Event, Outcome, ParkReason, Recorded, TurnInput};
use crate::session::guards;
use crate::session::history::Context;
use crate::session::system::Surroundings;

pub use crate::store::Phase;

/// Money and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spend {
    /// Millionths of a US dollar.
    pub cost_micros: u64,
    /// Tokens whose price is unknown.
    pub unpriced_tokens: u64,
}

/// A call of the last answer that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    pub call: Call,
    /// How often it was started; 0: it has not begun.
    #[serde(default)]
    pub starts: u32,
}

/// A call that fails again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// The tool.
    pub name: String,
    pub failures: u32,
}

/// The turn that is running or parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub id: TurnId,
    /// When it began, or was set going again after it was parked.
    #[serde(default)]
    pub began: Moment,
    /// Every inbox row that is input of this turn.
    pub inputs: Vec<InboxId>,
    /// Counts model requests and never goes back: the `step` of call and request ids.
    pub step: u32,
    /// Model requests since a person was last there: what the limit is about.
    pub steps: u32,
    /// 1, and more when the host died while the turn ran.
    pub attempt: u32,
    /// Failures in a row of the current model request.
    pub tries: u32,
    /// Rounds of dropping history since the last answer.
    pub drop_rounds: u32,
    /// Compactions since the last answer, whatever became of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compactions: u32,
    /// Compactions that gave no summary, since a person was last there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub given_up: u32,
    /// Aliases of models that were given up for the current answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// Tool calls that were started.
    #[serde(default)]
    pub calls: u32,
    /// In call order.
    pub open: Vec<OpenCall>,
    /// By [`guards::key`].
    pub repeats: BTreeMap<String, Repeats>,
    pub spend: Spend,
    /// Days' budgets that a person granted to this turn on top of the first.
    pub day_grants: u32,
    /// What the conversation had spent when a person granted it another budget for this turn.
    #[serde(default)]
    pub granted: Spend,
    /// Active milliseconds until the last event.
    pub active_ms: u64,
    pub cancel: Option<Cancel>,
    pub parked: Option<ParkReason>,
    /// The channel's id of the newest message, for an answer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
}

/// A person's stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    pub by: String,
    /// The command's place in the inbox: messages before it are stopped too. None in journals of early builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<InboxId>,
}

/// A summary that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// The seq of the event that began it: its name.
    pub id: u64,
    pub why: CompactReason,
    /// A seq: what comes before it is to go.
    pub cut: u64,
    /// The size of the whole history, estimated.
    pub tokens: u64,
    /// The history is retold in short, because it would not fit as it is.
    pub retold: bool,
    /// Failures in a row.
    pub tries: u32,
    /// The command that wants it.
    pub command: Option<InboxId>,
}

/// What the system prompt is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// As the model reads it: the same until the next compaction.
    pub shown: Surroundings,
    /// As the model was told last.
    pub told: Surroundings,
}

/// Everything but the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub session: SessionId,
    pub phase: Phase,
    pub turn: Option<Turn>,
    pub last_turn: TurnId,
    pub compaction: Option<Compaction>,
    /// None before the first turn, and in sessions of early builds.
    pub prompt: Option<Prompt>,
    /// The seq of the next event.
    pub next_seq: u64,
    /// Where a fold starts.
    pub fold_from: u64,
    pub last_at: Moment,
    /// Component → hash of what was announced.
    pub announced: BTreeMap<String, String>,
}

/// What a session remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub head: Head,
    pub context: Context,
}

impl State {
    /// A session in which nothing has happened.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self {
            head: Head {
                session,
                phase: Phase::Idle,
                turn: None,
                last_turn: TurnId(0),
                compaction: None,
                prompt: None,
                next_seq: 1,
                fold_from: 1,
                last_at: Moment(0),
                announced: BTreeMap::new(),
            },
            context: Context::default(),
        }
    }

    /// Remembers an event.
    pub fn apply(&mut self, recorded: &Recorded) {
        self.head.apply(recorded);
        self.context.apply(recorded);
    }

    /// Folds a journal.
    #[must_use]
    pub fn fold<'a>(session: SessionId, journal: impl IntoIterator<Item = &'a Recorded>) -> Self {
        let mut state = Self::new(session);
        for recorded in journal {
            state.apply(recorded);
        }
        state
    }
}

impl Head {
    /// Remembers an event.
    pub fn apply(&mut self, recorded: &Recorded) {
        self.account_time(recorded);
        match &recorded.event {
            Event::TurnBegan { inputs, .. } => {
                self.last_turn = recorded.turn;
                self.turn = Some(Turn::new(recorded.turn, recorded.at_ms, inputs));
                self.phase = Phase::Asking;
            }
            Event::Noticed { component, hash } => {
                self.announced.insert(component.clone(), hash.clone());
            }
            Event::Surrounded { surroundings } => {
                let shown = self.prompt.take().map_or_else(|| surroundings.clone(), |prompt| prompt.shown);
                self.prompt = Some(Prompt { shown, told: surroundings.clone() });
            }
            Event::CompactionBegan { why, cut, tokens, retold, command } => {
                let (id, why, retold, command) = (recorded.seq, *why, *retold, *command);
                self.compaction = Some(Compaction { id, why, cut: *cut, tokens: *tokens, retold, tries: 0, command });
                if let Some(turn) = &mut self.turn {
                    turn.step = turn.step.saturating_add(1);
                }
                self.phase = Phase::Compacting;
            }
            Event::SummaryFailed { tries, retold, usage, .. } => {
                if let Some(compaction) = &mut self.compaction {
                    (compaction.tries, compaction.retold) = (*tries, compaction.retold || *retold);
                }
                self.charge(usage.as_ref());
            }
            Event::CompactionGivenUp { usage, .. } => {
                self.charge(usage.as_ref());
                if let Some(turn) = &mut self.turn {
                    turn.compactions = turn.compactions.saturating_add(1);
                    turn.given_up = turn.given_up.saturating_add(1);
                }
                self.compaction = None;
                self.phase = self.resting();
            }
            Event::Compacted { cut, carry, .. } => {
                self.fold_from = *cut;
                self.phase = carry.phase;
                self.last_turn = carry.last_turn;
                self.turn.clone_from(&carry.turn);
                self.announced.clone_from(&carry.announced);
                self.prompt = carry.surroundings.clone().map(|now| Prompt { shown: now.clone(), told: now });
                self.compaction = None;
            }
            Event::TurnEnded { .. } => self.rest(Phase::Idle),
            Event::Closed { .. } => self.rest(Phase::Closed),
            event => self.apply_to_turn(event, recorded.at_ms),
        }
        self.next_seq = recorded.seq.saturating_add(1);
        self.last_at = recorded.at_ms;
    }

    /// Nothing of a turn goes on any more.
    fn rest(&mut self, phase: Phase) {
        (self.turn, self.compaction, self.phase) = (None, None, phase);
    }

    fn apply_to_turn(&mut self, event: &Event, at: Moment) {
        let Some(turn) = &mut self.turn else { return };
        let was_parked = turn.parked.is_some();
        turn.apply(event);
        if was_parked && turn.parked.is_none() {
            turn.began = at;
        }
        if matches!(event, Event::TurnParked { .. } | Event::TurnResumed { .. }) {
            self.compaction = None;
        }
        if self.compaction.is_none() && !matches!(self.phase, Phase::Idle | Phase::Closed) {
            self.phase = turn.phase();
        }
    }

    fn charge(&mut self, usage: Option<&Usage>) {
        if let (Some(turn), Some(usage)) = (&mut self.turn, usage) {
            turn.spend.add(usage);
        }
    }

    /// Where the session is when no summary is being written.
    #[must_use]
    pub fn resting(&self) -> Phase {
        self.turn.as_ref().map_or(Phase::Idle, Turn::phase)
    }

    /// Active milliseconds of the turn at `now`.
    #[must_use]
    pub fn active_ms(&self, now: Moment) -> u64 {
        let is_running = match self.phase {
            Phase::Asking | Phase::Calling => true,
            Phase::Compacting => self.turn.as_ref().is_some_and(|turn| turn.parked.is_none()),
            Phase::Idle | Phase::Parked | Phase::Closed => false,
        };
        let running = if is_running { now.since(self.last_at) } else { 0 };
        self.turn.as_ref().map_or(0, |turn| turn.active_ms.saturating_add(running))
    }

    /// The time since the last event was active time, unless the host was away.
    fn account_time(&mut self, recorded: &Recorded) {
        if matches!(recorded.event, Event::TurnResumed { .. }) {
            return;
        }
        let active = self.active_ms(recorded.at_ms);
        if let Some(turn) = &mut self.turn {
            turn.active_ms = active;
        }
    }
}

/// The channel's id of the newest of these messages.
fn newest(inputs: &[TurnInput]) -> Option<String> {
    inputs.last().and_then(|input| input.beside.remote.clone())
}

impl Turn {
    fn new(id: TurnId, began: Moment, inputs: &[TurnInput]) -> Self {
        Self {
            id,
            began,
            inputs: inputs.iter().map(|input| input.inbox).collect(),
            step: 1,
            steps: 0,
            attempt: 1,
            tries: 0,
            drop_rounds: 0,
            compactions: 0,
            given_up: 0,
            skipped: Vec::new(),
            calls: 0,
            open: Vec::new(),
            repeats: BTreeMap::new(),
            spend: Spend::default(),
            day_grants: 0,
            granted: Spend::default(),
            active_ms: 0,
            cancel: None,
            parked: None,
            answers: newest(inputs),
        }
    }

    /// Calls that began and have not ended.
    pub fn running(&self) -> impl Iterator<Item = &OpenCall> {
        self.open.iter().filter(|open| open.has_begun())
    }

    fn phase(&self) -> Phase {
        if self.parked.is_some() {
            Phase::Parked
        } else if self.open.is_empty() {
            Phase::Asking
        } else {
            Phase::Calling
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::InputsJoined { inputs } => {
                self.inputs.extend(inputs.iter().map(|input| input.inbox));
                self.answers = newest(inputs).or(self.answers.take());
                self.step = self.step.saturating_add(1);
                self.renew_guards();
                if self.parked.take().is_some() {
                    self.attempt = 1;
                    self.renew_limits();
                }
            }
            Event::Answered { calls, usage, .. } => {
                self.open = calls.iter().map(|call| OpenCall { call: call.clone(), starts: 0 }).collect();
                self.asked(Some(usage));
                self.tries = 0;
                self.drop_rounds = 0;
                self.compactions = 0;
                self.skipped.clear();
            }
            Event::AskFailed { tries, given_up, usage, .. } => {
                self.asked(usage.as_ref());
                // Another model begins anew.
                self.tries = if given_up.is_some() { 0 } else { *tries };
                self.skipped.extend(given_up.clone());
            }
            Event::CallsBegan { calls } => {
                for open in self.open.iter_mut().filter(|open| calls.contains(&open.call.id)) {
                    open.starts = open.starts.saturating_add(1);
                    self.calls = self.calls.saturating_add(1);
                }
            }
            Event::CallEnded { call, outcome, .. } => self.end_call(call, *outcome),
            Event::ContextDropped { .. } => {
                self.step = self.step.saturating_add(1);
                self.drop_rounds = self.drop_rounds.saturating_add(1);
            }
            Event::CancelRequested { by, command } => self.cancel = Some(Cancel { by: by.clone(), command: *command }),
            Event::TurnResumed { attempt, by, lost, granted, .. } => {
                self.granted = granted.unwrap_or(self.granted);
                self.resume(*attempt, by.is_some(), lost.as_ref());
            }
            Event::TurnParked { reason, .. } => self.parked = Some(*reason),
            // These are the session's, not the turn's.
            Event::TurnBegan { .. }
            | Event::CompactionBegan { .. }
            | Event::SummaryFailed { .. }
            | Event::CompactionGivenUp { .. }
            | Event::Compacted { .. }
            | Event::TurnEnded { .. }
            | Event::Noticed { .. }
            | Event::Surrounded { .. }
            | Event::Closed { .. } => {}
        }
    }

    /// A model request is over, with or without an answer.
    fn asked(&mut self, usage: Option<&Usage>) {
        self.step = self.step.saturating_add(1);
        self.steps = self.steps.saturating_add(1);
        if let Some(usage) = usage {
            self.spend.add(usage);
        }
    }

    fn end_call(&mut self, id: &CallId, outcome: Outcome) {
        let Some(position) = self.open.iter().position(|open| open.call.id == *id) else { return };
        let call = self.open.remove(position).call;
        match outcome {
            Outcome::Error => {
                let key = guards::key(&call.name, &call.arguments);
                let repeats = self.repeats.entry(key).or_insert(Repeats { name: call.name, failures: 0 });
                repeats.failures = repeats.failures.saturating_add(1);
            }
            Outcome::Ok if !self.repeats.is_empty() => {
                self.repeats.remove(&guards::key(&call.name, &call.arguments));
            }
            Outcome::Ok | Outcome::NotStarted | Outcome::Cancelled | Outcome::Unknown => {}
        }
    }

    fn resume(&mut self, attempt: u32, by_person: bool, lost: Option<&Usage>) {
        self.attempt = attempt;
        if by_person {
            self.day_grants = self.day_grants.saturating_add(u32::from(self.parked == Some(ParkReason::Day)));
            self.spend = Spend::default();
            self.renew_guards();
            self.renew_limits();
        }
        self.parked = None;
        // Every model is asked anew.
        self.skipped.clear();
        // What was running is started again, or ended by the next event.
        for open in self.open.iter_mut().filter(|open| open.has_begun()) {
            open.starts = open.starts.saturating_add(1);
        }
        match lost {
            Some(usage) => self.asked(Some(usage)),
            None => self.step = self.step.saturating_add(1),
        }
    }

    /// A person is there: loops are judged anew.
    fn renew_guards(&mut self) {
        self.repeats.clear();
        self.steps = 0;
        self.given_up = 0;
    }

    fn renew_limits(&mut self) {
        self.active_ms = 0;
        self.tries = 0;
        self.drop_rounds = 0;
        self.compactions = 0;
        self.skipped.clear();
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl OpenCall {
    /// May it have had effects?
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.starts > 0
    }
}

impl Spend {
    /// Adds what a request cost.
    pub fn add(&mut self, usage: &Usage) {
        match usage.cost_micros {
            Some(micros) => self.cost_micros = self.cost_micros.saturating_add(micros),
            None => self.unpriced_tokens = self.unpriced_tokens.saturating_add(usage.tokens()),
        }
    }
}
