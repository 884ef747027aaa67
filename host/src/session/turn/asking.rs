//! Phase `Asking`: turns that begin, answers, failures.

use std::collections::HashSet;

use crate::chat::{Completion, Failure, Message, Piece, Stop, Usage};
use crate::ids::CallId;
use crate::limits;
use crate::session::event::{Call, CompactReason, Ending, Event, Notice, ParkReason};
use crate::session::fallback;
use crate::session::state::Phase;
use crate::session::system::Surroundings;
use crate::session::turn::draft::Draft;
use crate::session::turn::failing::{self, Remedy};
use crate::session::turn::words::{self, Why};
use crate::session::turn::{Class, Effect, OutboxKind, Timer, UsageKind, spending};

impl Draft<'_> {
    pub(super) fn wake(&mut self, notices: Vec<Notice>, surroundings: Option<Surroundings>) {
        if self.facts.stopping || !self.has_waiting() || self.is_cancelled() {
            return;
        }
        match self.head.phase {
            Phase::Idle => self.begin(notices, surroundings),
            // What the person already reads is finished first; the messages follow.
            Phase::Asking if self.facts.shown => {}
            Phase::Asking => {
                self.join();
                self.effect(Effect::Abort);
                self.ask();
            }
            Phase::Calling => self.make_room(),
            Phase::Parked => self.wake_parked(),
            // Nobody waits for a summary that only saves money.
            Phase::Compacting if self.head.compaction.as_ref().is_some_and(|compaction| compaction.why == CompactReason::Idle) => {
                self.stop_compaction("a message arrived", None);
                self.begin(notices, surroundings);
            }
            Phase::Compacting | Phase::Closed => {}
        }
    }

    fn begin(&mut self, notices: Vec<Notice>, surroundings: Option<Surroundings>) {
        let new: Vec<Notice> =
            notices.into_iter().filter(|notice| self.head.announced.get(&notice.component) != Some(&notice.hash)).collect();
        let inputs = self.take_waiting();
        let noticed: Vec<Event> =
            new.iter().map(|notice| Event::Noticed { component: notice.component.clone(), hash: notice.hash.clone() }).collect();
        // What a session begins with is remembered, and no news.
        let mut told: Vec<Notice> = new.into_iter().filter(|notice| self.head.announced.contains_key(&notice.component)).collect();
        let before = self.head.prompt.as_ref().map(|prompt| &prompt.told);
        let changed = surroundings.filter(|now| before != Some(now));
        if let (Some(now), Some(before)) = (&changed, before) {
            told.extend(now.news(before));
        }
        self.push(Event::TurnBegan { inputs, notices: told, boot: self.facts.boot });
        if let Some(surroundings) = changed {
            self.push(Event::Surrounded { surroundings });
        }
        for event in noticed {
            self.push(event);
        }
        self.arm_wall();
        self.ask();
    }

    fn wake_parked(&mut self) {
        let Some(reason) = self.turn_in(Phase::Parked).and_then(|turn| turn.parked) else { return };
        if reason.accepts_messages() {
            self.join();
            self.arm_wall();
            self.ask();
            return;
        }
        // They stay in the inbox; the notice is repeated once for what has newly arrived.
        let Some(newest) = self.newest_waiting() else { return };
        let (component, hash) = ("parked".to_owned(), format!("{}.{newest}", self.head.last_turn));
        if self.head.announced.get(&component) != Some(&hash) {
            let body = words::parked(reason, None, self.policy, &self.reference());
            self.tell(&format!("parked.{newest}"), OutboxKind::Question, body, words::next_buttons(reason));
            self.push(Event::Noticed { component, hash });
        }
    }

    pub(super) fn answer(&mut self, step: u32, completion: Completion, classes: Vec<Class>) {
        let Some(turn) = self.turn_in(Phase::Asking).filter(|turn| turn.step == step) else { return };
        let usage = spending::priced(completion.usage.clone(), self.policy.price);
        let overflowed = completion.stop == Stop::ContextFull && completion.message.text().trim().is_empty();
        if overflowed && completion.message.tool_uses().next().is_none() {
            self.usage(UsageKind::Turn, step, &usage, false);
            self.too_large("the model's context is full");
            return;
        }
        let cancelled = turn.cancel.is_some();
        let ids = |index| CallId::derive(self.head.session, self.head.last_turn, step, index);
        let message = with_own_ids(completion.message.clone(), ids);
        let calls = calls(&message, classes, ids);
        let has_calls = !calls.is_empty();
        self.push(Event::Answered { message, calls, usage: usage.clone(), model: self.policy.model.clone() });
        self.usage(UsageKind::Turn, step, &usage, false);
        if has_calls {
            self.answered_with_calls(cancelled);
        } else if completion.stop == Stop::Pause {
            if cancelled {
                self.end_cancelled();
            } else {
                self.ask();
            }
        } else {
            self.end(Ending::Done, None, OutboxKind::Final, words::reply(&completion));
        }
    }

    fn answered_with_calls(&mut self, cancelled: bool) {
        if cancelled {
            self.end_cancelled();
        } else if self.facts.stopping {
            // What has not begun starts as usual after the restart.
        } else if self.has_waiting() {
            self.end_calls(Why::Superseded, |_| true);
            self.settled();
        } else {
            self.advance();
        }
    }

    pub(super) fn failed(&mut self, step: u32, failure: &Failure) {
        let Some(turn) = self.turn_in(Phase::Asking).filter(|turn| turn.step == step) else { return };
        let (tries, cancelled) = (turn.tries + 1, turn.cancel.is_some());
        let cost = self.cost_of_failure(failure);
        if let Some((usage, estimated)) = &cost {
            self.usage(UsageKind::Turn, step, usage, *estimated);
        }
        if cancelled {
            self.end_cancelled();
        } else if self.facts.stopping {
            // The journal says that an answer is owed; the restart asks again.
        } else {
            self.mend(failure, tries, cost.map(|(usage, _)| usage));
        }
    }

    /// Asks again, asks another model, asks for less, or waits for a person.
    fn mend(&mut self, failure: &Failure, tries: u32, usage: Option<Usage>) {
        let now = self.facts.now;
        let remedy = failing::remedy(failure.kind);
        let other = match remedy {
            Remedy::Again | Remedy::Another => self.stand_in(),
            Remedy::Shorter | Remedy::Person => None,
        };
        let lasts = remedy == Remedy::Another || tries >= self.policy.retry.tries || (other.is_some() && failing::is_long(failure, now));
        match remedy {
            Remedy::Shorter => self.too_large(&failure.message),
            Remedy::Again if !lasts => {
                self.ask_failed(failure, tries, None, usage);
                let step = self.head.turn.as_ref().map_or(0, |turn| turn.step);
                self.arm(Timer::Retry { step }, failing::wait(failure, tries, self.policy.retry, now));
                self.effect(Effect::Show);
            }
            Remedy::Again | Remedy::Another => {
                let model = self.policy.model.clone();
                self.effect(Effect::Cool { model: model.clone(), until: failing::cools_until(failure, now) });
                if other.is_some() {
                    self.ask_failed(failure, tries, Some(model), usage);
                    self.effect(Effect::Show);
                    self.ask();
                } else {
                    self.park_failed(failure, tries);
                }
            }
            Remedy::Person => self.park_failed(failure, tries),
        }
    }

    fn ask_failed(&mut self, failure: &Failure, tries: u32, given_up: Option<String>, usage: Option<Usage>) {
        let message = failure.message.clone();
        self.push(Event::AskFailed { failure: failure.kind, message, reached: failure.reached, tries, given_up, usage });
    }

    fn park_failed(&mut self, failure: &Failure, tries: u32) {
        let skipped = self.head.turn.as_ref().map_or(&[][..], |turn| &turn.skipped);
        let detail = words::failed(failure, &self.policy.model, tries, skipped);
        self.park(ParkReason::Failed, Some(detail));
    }

    /// The model that is asked when the one that has just failed is given up.
    fn stand_in(&self) -> Option<String> {
        let mut skipped = self.head.turn.as_ref()?.skipped.clone();
        skipped.push(self.policy.model.clone());
        fallback::next(&self.policy.chain, &skipped, &self.facts.cooling).map(str::to_owned)
    }

    /// What a failed request cost: as its vendor says, or estimated where it may have been worked on.
    pub(super) fn cost_of_failure(&self, failure: &Failure) -> Option<(Usage, bool)> {
        match &failure.usage {
            Some(usage) => Some((spending::priced((**usage).clone(), self.policy.price), false)),
            None => failing::may_have_cost(failure)
                .then(|| (spending::estimate(&self.state.context, &self.policy.model, self.policy.price), true)),
        }
    }

    pub(super) fn too_large(&mut self, reason: &str) {
        if self.compacts_too_large() {
            return;
        }
        let rounds = self.head.turn.as_ref().map_or(0, |turn| turn.drop_rounds);
        let cut = if rounds < limits::DROP_ROUNDS { self.state.context.half(self.head.last_turn) } else { None };
        let Some(cut) = cut else {
            self.park(ParkReason::TooLarge, None);
            return;
        };
        self.push(Event::ContextDropped { cut, reason: reason.to_owned() });
        if rounds == 0 {
            let step = self.head.turn.as_ref().map_or(0, |turn| turn.step);
            self.tell(&format!("dropped.{step}"), OutboxKind::Notice, words::DROPPED.to_owned(), Vec::new());
        }
        self.ask();
    }
}

/// Vendors repeat their ids, or give none: then ours stand in, so that every answer finds its call.
fn with_own_ids(mut message: Message, own: impl Fn(usize) -> CallId) -> Message {
    let mut seen = HashSet::new();
    let distinct = message.tool_uses().all(|call| !call.call_id.is_empty() && seen.insert(call.call_id.clone()));
    if !distinct {
        let mut index = 0;
        for piece in &mut message.pieces {
            if let Piece::ToolUse(call) = piece {
                call.call_id = own(index).0;
                index += 1;
            }
        }
    }
    message
}

fn calls(message: &Message, classes: Vec<Class>, own: impl Fn(usize) -> CallId) -> Vec<Call> {
    let mut classes = classes.into_iter();
    let unknown = |name: &str| Class {
        replay: crate::chat::Replay::Effect,
        batching: crate::chat::Batching::Serial,
        refused: Some(format!("there is no tool {name:?}")),
    };
    let call = |(index, used): (usize, &crate::chat::ToolUse)| {
        let class = classes.next().unwrap_or_else(|| unknown(&used.name));
        Call {
            id: own(index),
            vendor: used.call_id.clone(),
            name: used.name.clone(),
            arguments: used.arguments.clone(),
            replay: class.replay,
            batching: class.batching,
            refused: class.refused,
        }
    };
    message.tool_uses().enumerate().map(call).collect()
}
