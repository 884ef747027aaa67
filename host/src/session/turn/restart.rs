//! After a fold: what becomes of work that was open. The first rule that matches decides.

use std::time::Duration;

use crate::chat::Replay;
use crate::session::event::{Ending, Event, ParkReason};
use crate::session::state::Phase;
use crate::session::turn::draft::Draft;
use crate::session::turn::words::{self, Why};
use crate::session::turn::{Effect, OutboxKind, Start, UsageKind, spending};

impl Draft<'_> {
    pub(super) fn restart(&mut self, downtime: Duration, clean: bool) {
        let Some(turn) = self.running_turn() else {
            if self.head.compaction.is_some() {
                self.stop_compaction("the host was restarted", None);
            }
            self.look_again();
            return;
        };
        let attempt = turn.attempt;
        if turn.cancel.is_some() {
            self.end_cancelled();
        } else if !clean && attempt >= self.policy.turn_attempts {
            self.end_calls(Why::Restart, |_| true);
            let body = words::set_aside(attempt, &self.reference());
            let reason = format!("the host stopped {attempt} times while this turn ran");
            self.end(Ending::SetAside, Some(reason), OutboxKind::Question, body);
        } else if downtime > self.policy.resume_within {
            self.end_calls(Why::Restart, |_| true);
            self.park(ParkReason::Downtime, None);
        } else {
            self.go_on(attempt + u32::from(!clean));
        }
    }

    fn go_on(&mut self, attempt: u32) {
        let lost = matches!(self.head.phase, Phase::Asking | Phase::Compacting)
            .then(|| spending::estimate(&self.state.context, &self.policy.model, self.policy.price));
        if let (Some(usage), Some(turn)) = (&lost, &self.head.turn) {
            self.usage(UsageKind::Turn, turn.step, usage, true);
        }
        self.push(Event::TurnResumed { attempt, boot: self.facts.boot, by: None, lost, granted: None });
        self.arm_wall();
        self.end_calls(Why::Restart, |open| open.has_begun() && open.call.replay == Replay::Effect);
        let again = self.interrupted();
        if !again.is_empty() {
            self.effect(Effect::Start(again));
            self.look_again();
        } else if self.head.phase == Phase::Calling && self.has_waiting() {
            self.end_calls(Why::Superseded, |_| true);
            self.settled();
        } else if self.head.phase == Phase::Calling {
            self.advance();
        } else {
            self.settled();
        }
    }

    /// Calls that may run again, with the same id.
    fn interrupted(&self) -> Vec<Start> {
        let Some(turn) = &self.head.turn else { return Vec::new() };
        turn.running().map(|open| Start { call: open.call.clone(), attempt: open.starts }).collect()
    }
}
