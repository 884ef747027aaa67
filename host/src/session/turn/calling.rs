//! Phase `Calling`: waves, ends of calls, and making room for newer messages.

use std::time::Duration;

use crate::chat::{AnswerPiece, Batching};
use crate::ids::CallId;
use crate::limits;
use crate::session::event::{Ending, Event, Outcome};
use crate::session::guards;
use crate::session::state::{OpenCall, Phase};
use crate::session::turn::draft::Draft;
use crate::session::turn::words::{self, Why};
use crate::session::turn::{Effect, Ended, OutboxKind, Start, Timer, Which};

impl Draft<'_> {
    pub(super) fn call_ended(&mut self, id: &CallId, ended: Ended) {
        let Some(turn) = self.turn_in(Phase::Calling) else { return };
        let Some(open) = turn.running().find(|open| open.call.id == *id).cloned() else { return };
        // A call that was stopped by the shutdown is judged by the restart, which may run it again.
        if self.facts.stopping && !matches!(ended.outcome, Outcome::Ok | Outcome::Error) {
            return;
        }
        self.record_end(&open, ended);
        if self.head.turn.as_ref().is_some_and(|turn| turn.running().next().is_some()) {
            self.effect(Effect::Show);
        } else if self.is_cancelled() {
            self.end_cancelled();
        } else if self.facts.stopping {
            // Nothing new begins.
        } else if self.has_waiting() {
            self.end_calls(Why::Superseded, |_| true);
            self.settled();
        } else {
            self.advance();
        }
    }

    /// Starts the next wave. Nothing of the answer is running.
    pub(super) fn advance(&mut self) {
        self.answer_refused();
        if self.looping().is_some() {
            self.end_calls(Why::Loop, |_| true);
        }
        let wave = self.turn_in(Phase::Calling).map_or_else(Vec::new, |turn| next_wave(&turn.open));
        if wave.is_empty() {
            self.settled();
            return;
        }
        self.push(Event::CallsBegan { calls: wave.iter().map(|start| start.call.id.clone()).collect() });
        self.effect(Effect::Start(wave));
    }

    /// All calls of the answer have ended.
    pub(super) fn settled(&mut self) {
        if self.is_cancelled() {
            self.end_cancelled();
        } else if let Some((name, failures)) = self.looping() {
            let reason = format!("the same call of {name} failed {failures} times");
            let body = words::looped(&name, failures, &self.reference());
            self.end(Ending::Failed, Some(reason), OutboxKind::Question, body);
        } else {
            self.join();
            self.ask();
        }
    }

    /// A newer message waits: nothing new starts, and what runs gets a short time.
    pub(super) fn make_room(&mut self) {
        self.end_calls(Why::Superseded, |open| !open.has_begun());
        if let Some(turn) = self.turn_in(Phase::Calling) {
            let step = turn.step;
            self.effect(Effect::Stop { which: Which::WaitsAndReads, grace: limits::STOP_GRACE });
            self.arm(Timer::Join { step }, limits::JOIN_GRACE);
        } else {
            self.settled();
        }
    }

    /// The short time is over.
    pub(super) fn room_is_due(&mut self) {
        self.effect(Effect::Stop { which: Which::All, grace: Duration::ZERO });
        self.end_calls(Why::Superseded, |_| true);
        self.settled();
    }

    fn record_end(&mut self, open: &OpenCall, ended: Ended) {
        let failures = if ended.outcome == Outcome::Error { self.failures(open) + 1 } else { 0 };
        self.push(Event::CallEnded {
            call: open.call.id.clone(),
            outcome: ended.outcome,
            pieces: ended.pieces,
            remark: guards::remark(failures),
            summary: ended.summary,
        });
    }

    /// Unknown tools and invalid arguments are answered without running.
    fn answer_refused(&mut self) {
        let open = self.head.turn.as_ref().map_or_else(Vec::new, |turn| turn.open.clone());
        for open in open {
            if let Some(text) = open.call.refused.clone() {
                let ended = Ended { outcome: Outcome::Error, pieces: vec![AnswerPiece::Text(text)], summary: None };
                self.record_end(&open, ended);
            }
        }
    }

    fn failures(&self, open: &OpenCall) -> u32 {
        let Some(turn) = &self.head.turn else { return 0 };
        turn.repeats.get(&guards::key(&open.call.name, &open.call.arguments)).map_or(0, |repeats| repeats.failures)
    }

    /// A call that has failed too often, by the name of its tool.
    fn looping(&self) -> Option<(String, u32)> {
        let turn = self.head.turn.as_ref()?;
        let (_, repeats) = turn.repeats.iter().find(|(_, repeats)| guards::ends_turn(repeats.failures))?;
        Some((repeats.name.clone(), repeats.failures))
    }
}

/// The next calls that have not begun: a run of parallel ones, or one serial one.
fn next_wave(open: &[OpenCall]) -> Vec<Start> {
    let mut pending = open.iter().filter(|open| !open.has_begun()).peekable();
    let Some(first) = pending.peek() else { return Vec::new() };
    let size = match first.call.batching {
        Batching::Serial => 1,
        Batching::Parallel => usize::MAX,
    };
    pending
        .take_while(|open| size == 1 || open.call.batching == Batching::Parallel)
        .take(size)
        .map(|open| Start { call: open.call.clone(), attempt: 1 })
        .collect()
}
