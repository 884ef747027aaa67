//! Commands, alarms and shutdown: what may come at any time.

use std::time::Duration;

use crate::ids::InboxId;
use crate::limits;
use crate::session::event::{Ending, Event, ParkReason};
use crate::session::state::Phase;
use crate::session::turn::draft::Draft;
use crate::session::turn::words::{self, Why};
use crate::session::turn::{Alarm, Effect, OutboxKind, Timer, Which};

impl Draft<'_> {
    /// `/continue`
    pub(super) fn resume(&mut self, by: String, command: InboxId) {
        self.done(command);
        if self.turn_in(Phase::Compacting).is_some_and(|turn| turn.parked.is_some()) {
            self.stop_compaction("the turn was continued", None);
        }
        if self.head.phase != Phase::Parked {
            self.reply(command, words::NOTHING_TO_CONTINUE);
            return;
        }
        let is_granted = self.head.turn.as_ref().is_some_and(|turn| turn.parked == Some(ParkReason::Conversation));
        let granted = is_granted.then_some(self.facts.conversation);
        self.push(Event::TurnResumed { attempt: 1, boot: self.facts.boot, by: Some(by), lost: None, granted });
        if !self.facts.stopping {
            self.join();
            self.arm_wall();
            self.ask();
        }
    }

    /// `/cancel`: what runs, and what was said before it and is still waiting.
    pub(super) fn cancel(&mut self, by: String, command: InboxId) {
        self.done(command);
        if self.running_turn().is_none() && self.head.compaction.is_some() {
            self.stop_compaction("it was stopped", None);
            if self.head.phase == Phase::Idle && !self.waits_before(command) {
                self.reply(command, words::STOPPED);
                self.look_again();
                return;
            }
        }
        match self.head.phase {
            Phase::Asking | Phase::Calling | Phase::Compacting => {
                // Said again, it also stops what was said in between.
                self.push(Event::CancelRequested { by, command: Some(command) });
                self.halt(limits::STOP_GRACE);
                self.arm(Timer::Cancel, limits::CANCEL_GRACE);
            }
            Phase::Parked => {
                self.push(Event::CancelRequested { by, command: Some(command) });
                self.end_cancelled();
            }
            Phase::Idle if self.waits_before(command) => {
                let inputs = self.take_before(command);
                self.push(Event::TurnBegan { inputs, notices: Vec::new(), boot: self.facts.boot });
                self.push(Event::CancelRequested { by, command: Some(command) });
                self.end_cancelled();
            }
            Phase::Idle | Phase::Closed => self.reply(command, words::NOTHING_RUNNING),
        }
    }

    /// `/new`: this session is over; messages that wait are the next one's.
    pub(super) fn close(&mut self, by: String, command: InboxId) {
        self.done(command);
        if self.head.phase == Phase::Closed {
            return;
        }
        self.stop_compaction("the conversation was started anew", None);
        if self.head.turn.is_some() {
            self.halt(limits::STOP_GRACE);
            self.end_calls(Why::Cancelled, |_| true);
            self.leave_waiting();
            self.end(Ending::Cancelled, Some("the conversation was started anew".to_owned()), OutboxKind::Notice, words::CLOSED.to_owned());
        }
        self.reply(command, words::NEW_SESSION);
        self.push(Event::Closed { by });
    }

    pub(super) fn shut_down(&mut self) {
        self.halt(limits::SHUTDOWN_GRACE);
    }

    pub(super) fn alarm(&mut self, alarm: Alarm) {
        if matches!(alarm.timer, Timer::Summary { .. } | Timer::CacheExpiring) {
            self.compaction_alarm(alarm);
            return;
        }
        let Some(turn) = self.running_turn().filter(|turn| turn.id == alarm.turn) else { return };
        let step = turn.step;
        let cancelled = turn.cancel.is_some();
        match alarm.timer {
            Timer::Cancel if cancelled => {
                self.halt(Duration::ZERO);
                self.end_cancelled();
            }
            // Nothing new while the turn or the host is going down.
            _ if cancelled || self.facts.stopping => {}
            Timer::Retry { step: due } if due == step && self.head.phase == Phase::Asking => {
                self.join();
                self.ask();
            }
            Timer::Join { step: due } if due == step && self.head.phase == Phase::Calling && self.has_waiting() => self.room_is_due(),
            Timer::Wall => self.wall(),
            Timer::Cancel | Timer::Retry { .. } | Timer::Join { .. } | Timer::Summary { .. } | Timer::CacheExpiring => {}
        }
    }

    fn wall(&mut self) {
        if u128::from(self.head.active_ms(self.facts.now)) < self.policy.turn_time.as_millis() {
            self.arm_wall();
        } else {
            self.halt(limits::STOP_GRACE);
            self.park(ParkReason::Wall, None);
        }
    }

    /// Stops whatever runs.
    fn halt(&mut self, grace: Duration) {
        match self.head.phase {
            Phase::Asking | Phase::Compacting => self.effect(Effect::Abort),
            Phase::Calling => self.effect(Effect::Stop { which: Which::All, grace }),
            Phase::Idle | Phase::Parked | Phase::Closed => {}
        }
    }
}
