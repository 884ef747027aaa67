//! Phase `Asking`: turns that begin, answers, failures.

use std::collections::HashSet;
use std::time::Duration;

use crate::chat::{Completion, Failure, FailureKind, Message, Piece, Stop, Usage};
use crate::ids::CallId;
use crate::limits;
use crate::session::event::{Call, CompactReason, Ending, Event, Notice, ParkReason};
use crate::session::state::Phase;
use crate::session::system::Surroundings;
use crate::session::turn::draft::Draft;
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
        } else if failure.kind == FailureKind::ContextOverflow {
            self.too_large(&failure.message);
        } else if failure.kind.passes() && tries < self.policy.ask_tries {
            let event =
                Event::AskFailed { failure: failure.kind, message: failure.message.clone(), tries, usage: cost.map(|(usage, _)| usage) };
            self.push(event);
            self.arm(Timer::Retry { step: self.head.turn.as_ref().map_or(0, |turn| turn.step) }, wait(tries, failure.retry_after_ms));
            self.effect(Effect::Show);
        } else {
            let detail = words::failed(failure, &self.policy.model, tries);
            self.park(ParkReason::Failed, Some(detail));
        }
    }

    /// What a failed request cost: as its vendor says, or estimated when it had begun to answer.
    fn cost_of_failure(&self, failure: &Failure) -> Option<(Usage, bool)> {
        match &failure.usage {
            Some(usage) => Some((spending::priced(usage.clone(), self.policy.price), false)),
            None => self.facts.answering.then(|| (spending::estimate(&self.state.context, &self.policy.model, self.policy.price), true)),
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

/// The wait before the next try, without jitter.
pub(super) fn wait(tries: u32, retry_after_ms: Option<u64>) -> Duration {
    match retry_after_ms {
        Some(millis) => Duration::from_millis(millis).min(limits::RETRY_AFTER_MAX),
        None => limits::RETRY_BASE.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(limits::RETRY_MAX),
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
