//! A step while it is being decided.
//!
//! Every event is applied to a copy of the [`Head`] at once, so each decision sees what the ones before it will have done,
//! and what is committed folds to exactly what was decided on.

use std::time::Duration;

use crate::chat::{AnswerPiece, Usage};
use crate::commands::Button;
use crate::ids::{InboxId, TurnId, TurnKey};
use crate::session::event::{Ending, Event, Outcome, ParkReason, Recorded, TurnInput};
use crate::session::state::{Head, OpenCall, Phase, Spend, State, Turn};
use crate::session::turn::words::{self, Why};
use crate::session::turn::{Alarm, Effect, Facts, OutboxKind, OutboxRow, Policy, Rows, Step, Timer, UsageKind, UsageRow, spending};

pub(super) struct Draft<'a> {
    pub(super) state: &'a State,
    pub(super) policy: &'a Policy,
    pub(super) facts: &'a Facts,
    pub(super) head: Head,
    events: Vec<Recorded>,
    rows: Rows,
    effects: Vec<Effect>,
    /// Messages that no turn has taken.
    waiting: Vec<TurnInput>,
    /// What this step's usage rows add to the day.
    spent: Spend,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: &'a State, policy: &'a Policy, facts: &'a Facts) -> Self {
        Self {
            state,
            policy,
            facts,
            head: state.head.clone(),
            events: Vec::new(),
            rows: Rows::default(),
            effects: Vec::new(),
            waiting: facts.waiting.clone(),
            spent: Spend::default(),
        }
    }

    pub(super) fn finish(mut self) -> Step {
        if self.head.phase != self.state.head.phase {
            self.rows.phase = Some(self.head.phase);
        }
        Step { turn: self.head.last_turn, events: self.events, rows: self.rows, effects: self.effects }
    }

    // ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The turn, when it is running in `phase`.
    pub(super) fn turn_in(&self, phase: Phase) -> Option<&Turn> {
        self.head.turn.as_ref().filter(|_| self.head.phase == phase)
    }

    /// The turn, when it is running at all.
    pub(super) fn running_turn(&self) -> Option<&Turn> {
        let waits_for_summary = || self.turn_in(Phase::Compacting).filter(|turn| turn.parked.is_none());
        self.turn_in(Phase::Asking).or_else(|| self.turn_in(Phase::Calling)).or_else(waits_for_summary)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.head.turn.as_ref().is_some_and(|turn| turn.cancel.is_some())
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn waits_before(&self, command: InboxId) -> bool {
        self.waiting.iter().any(|input| input.inbox < command)
    }

    pub(super) fn newest_waiting(&self) -> Option<InboxId> {
        self.waiting.last().map(|input| input.inbox)
    }

    pub(super) fn events(&self) -> &[Recorded] {
        &self.events
    }

    // ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn push(&mut self, event: Event) {
        let turn = match event {
            Event::TurnBegan { .. } => TurnId(self.head.last_turn.0 + 1),
            _ => self.head.last_turn,
        };
        let recorded = Recorded { seq: self.head.next_seq, turn, at_ms: self.facts.now, event };
        self.head.apply(&recorded);
        self.events.push(recorded);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn arm(&mut self, timer: Timer, after: Duration) {
        if let Some(turn) = &self.head.turn {
            let alarm = Alarm { turn: turn.id, timer };
            self.effects.push(Effect::Arm { alarm, after });
        }
    }

    /// The turn's active time is watched from here on.
    pub(super) fn arm_wall(&mut self) {
        let active = Duration::from_millis(self.head.active_ms(self.facts.now));
        self.arm(Timer::Wall, self.policy.turn_time.saturating_sub(active));
    }

    pub(super) fn usage(&mut self, kind: UsageKind, step: u32, usage: &Usage, estimated: bool) {
        self.spent.add(usage);
        self.rows.usage.push(UsageRow { step, kind, model: self.policy.model.clone(), usage: usage.clone(), estimated });
    }

    /// A message about the running turn; `name` is unique within it.
    pub(super) fn tell(&mut self, name: &str, kind: OutboxKind, body: String, buttons: Vec<Button>) {
        let key = format!("{}.{name}", self.reference());
        self.rows.outbox.push(OutboxRow { key, kind, body, buttons });
    }

    /// The answer to a command.
    pub(super) fn reply(&mut self, command: InboxId, body: &str) {
        let row = OutboxRow { key: format!("{command}.answer"), kind: OutboxKind::Notice, body: body.to_owned(), buttons: Vec::new() };
        self.rows.outbox.push(row);
    }

    pub(super) fn done(&mut self, command: InboxId) {
        self.rows.done.push(command);
    }

    /// Takes the waiting messages out of the inbox.
    pub(super) fn take_waiting(&mut self) -> Vec<TurnInput> {
        let inputs = std::mem::take(&mut self.waiting);
        self.rows.taken.extend(inputs.iter().map(|input| input.inbox));
        inputs
    }

    /// Takes the messages that came before a command out of the inbox.
    pub(super) fn take_before(&mut self, command: InboxId) -> Vec<TurnInput> {
        let (before, after) = std::mem::take(&mut self.waiting).into_iter().partition(|input| input.inbox < command);
        self.waiting = after;
        let before: Vec<TurnInput> = before;
        self.rows.taken.extend(before.iter().map(|input| input.inbox));
        before
    }

    /// The waiting messages are for another session.
    pub(super) fn leave_waiting(&mut self) {
        self.waiting.clear();
    }

    /// The waiting messages become part of the turn.
    pub(super) fn join(&mut self) {
        if self.has_waiting() {
            let inputs = self.take_waiting();
            self.push(Event::InputsJoined { inputs });
        }
    }

    /// Asks the model, unless a limit is reached or the host goes down.
    pub(super) fn ask(&mut self) {
        if self.facts.stopping {
            return;
        }
        if let Some(reason) = spending::exceeded(&self.head, self.policy, self.facts, self.spent) {
            self.park(reason, None);
        } else if self.compacts_first() {
            // The model is asked when the summary is there.
        } else if let Some(turn) = self.turn_in(Phase::Asking) {
            let step = turn.step;
            self.effect(Effect::Ask { step });
        }
    }

    /// Ends a call without its own answer.
    pub(super) fn end_call(&mut self, open: &OpenCall, outcome: Outcome, text: String) {
        self.push(Event::CallEnded {
            call: open.call.id.clone(),
            outcome,
            pieces: vec![AnswerPiece::Text(text)],
            remark: None,
            summary: None,
        });
    }

    /// Ends the open calls that `which` selects, by what is known about each.
    pub(super) fn end_calls(&mut self, why: Why, which: fn(&OpenCall) -> bool) {
        let open = self.head.turn.as_ref().map_or_else(Vec::new, |turn| turn.open.clone());
        for open in open.iter().filter(|open| which(open)) {
            let outcome = words::outcome_without_answer(open);
            self.end_call(open, outcome, words::no_answer(outcome, why));
        }
    }

    /// The turn waits for a person.
    pub(super) fn park(&mut self, reason: ParkReason, detail: Option<String>) {
        self.end_calls(Why::Limit, |_| true);
        let Some(step) = self.head.turn.as_ref().map(|turn| turn.step) else { return };
        let body = words::parked(reason, detail.as_deref(), self.policy, &self.reference());
        self.push(Event::TurnParked { reason, can_continue: true, detail });
        self.tell(&format!("parked.{step}"), OutboxKind::Question, body, words::next_buttons(reason));
        self.effect(Effect::Show);
        if reason.accepts_messages() {
            self.look_again();
        }
    }

    /// The turn ends. Its calls are closed before.
    pub(super) fn end(&mut self, ending: Ending, reason: Option<String>, kind: OutboxKind, body: String) {
        self.join_stopped();
        let Some(inputs) = self.head.turn.as_ref().map(|turn| turn.inputs.clone()) else { return };
        self.push(Event::TurnEnded { ending, reason });
        match ending {
            Ending::SetAside => self.rows.aside.extend(inputs),
            Ending::Done | Ending::Cancelled | Ending::Failed => self.rows.done.extend(inputs),
        }
        self.tell("final", kind, body, Vec::new());
        self.effect(Effect::Show);
        self.watch_cache();
        self.look_again();
    }

    /// Messages that came before the person's stop end with the turn: nobody wants them answered any more.
    fn join_stopped(&mut self) {
        let stop = self.head.turn.as_ref().and_then(|turn| turn.cancel.as_ref()?.command);
        if let Some(command) = stop.filter(|command| self.waits_before(*command)) {
            let inputs = self.take_before(command);
            self.push(Event::InputsJoined { inputs });
        }
    }

    /// The person's stop: what is open is closed, and the turn ends.
    pub(super) fn end_cancelled(&mut self) {
        self.end_calls(Why::Cancelled, |_| true);
        let by = self.head.turn.as_ref().and_then(|turn| turn.cancel.clone());
        self.end(Ending::Cancelled, by.map(|cancel| format!("stopped by {}", cancel.by)), OutboxKind::Notice, words::STOPPED.to_owned());
    }

    /// Messages that still wait can now be taken.
    pub(super) fn look_again(&mut self) {
        if self.has_waiting() && !self.facts.stopping {
            self.effect(Effect::Wake);
        }
    }

    /// What a person can quote: `s4.t9`.
    pub(super) fn reference(&self) -> String {
        TurnKey { session: self.head.session, turn: self.head.last_turn }.to_string()
    }
}
