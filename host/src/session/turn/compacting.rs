//! Phase `Compacting`: the older part of the history gives way to a summary of it.
//!
//! - Before a model request when the history has grown to `compact_at`, after one that was too large, when a person asks, and
//!   shortly before the vendor's cache of a long history expires.
//! - While a turn waits for it, messages wait too; nobody waits for an idle one: a message ends it.
//! - At most one between two answers, and what it takes away must weigh more than what it leaves: it can be no loop.
//! - A failure blocks nothing: the model is asked with the history as it is, and what does not fit then is dropped.

use std::time::Duration;

use crate::chat::{Completion, Failure, FailureKind, Stop, Usage};
use crate::ids::InboxId;
use crate::limits;
use crate::session::compaction::{self, Summary};
use crate::session::event::{Carry, CompactReason, Event};
use crate::session::history::{self, Cut};
use crate::session::state::{Compaction, Phase, Turn};
use crate::session::turn::draft::Draft;
use crate::session::turn::failing::{self, Remedy};
use crate::session::turn::words;
use crate::session::turn::{Alarm, Effect, OutboxKind, Timer, UsageKind, spending};

impl Draft<'_> {
    /// Before a model request. True: the history is summarised first.
    pub(super) fn compacts_first(&mut self) -> bool {
        if !self.may_compact() || self.size() < self.policy.compact_at {
            return false;
        }
        let size = self.size();
        let cut = self.cut(self.policy.compact_keep).filter(|cut| cut.removed.saturating_mul(limits::COMPACTION_WORTH) >= size);
        cut.is_some_and(|cut| self.begin_compaction(CompactReason::Grown, cut, None))
    }

    /// After a request that was too large. True: the history is summarised.
    pub(super) fn compacts_too_large(&mut self) -> bool {
        let keep = self.policy.compact_keep.min(self.state.context.tokens / 4);
        let cut = if self.may_compact() { self.cut(keep) } else { None };
        cut.is_some_and(|cut| self.begin_compaction(CompactReason::TooLarge, cut, None))
    }

    /// `/compact`
    pub(super) fn compact(&mut self, command: InboxId) {
        if self.facts.stopping {
            return;
        }
        self.done(command);
        let refusal = match self.head.phase {
            Phase::Closed => return,
            Phase::Asking | Phase::Calling => words::COMPACT_LATER.to_owned(),
            Phase::Compacting => words::COMPACTING.to_owned(),
            Phase::Idle | Phase::Parked if spending::is_spent(&self.head, self.policy, self.facts) => {
                words::COMPACT_WITHOUT_MONEY.to_owned()
            }
            Phase::Idle | Phase::Parked => {
                let keep = self.policy.compact_keep.min(self.state.context.tokens / 4);
                match self.cut(keep) {
                    Some(cut) => {
                        self.begin_compaction(CompactReason::Asked, cut, Some(command));
                        return;
                    }
                    None => words::NOTHING_TO_COMPACT.to_owned(),
                }
            }
        };
        self.reply(command, &refusal);
    }

    /// The turn is over: before the vendor forgets a long history it is summarised, unless somebody writes.
    pub(super) fn watch_cache(&mut self) {
        let (Some(ttl), Some(asked)) = (self.policy.cache_ttl, self.facts.asked_at) else { return };
        if self.facts.stopping || self.has_waiting() || !self.is_long() {
            return;
        }
        let passed = Duration::from_millis(self.facts.now.since(asked));
        if let Some(after) = ttl.checked_sub(limits::CACHE_MARGIN).and_then(|due| due.checked_sub(passed)) {
            let alarm = Alarm { turn: self.head.last_turn, timer: Timer::CacheExpiring };
            self.effect(Effect::Arm { alarm, after });
        }
    }

    /// The alarms of this phase.
    pub(super) fn compaction_alarm(&mut self, alarm: Alarm) {
        if self.facts.stopping || alarm.turn != self.head.last_turn || self.is_cancelled() {
            return;
        }
        match alarm.timer {
            Timer::Summary { id, tries } if self.compaction(id).is_some_and(|compaction| compaction.tries == tries) => {
                self.effect(Effect::Summarise { id });
            }
            Timer::CacheExpiring if self.head.phase == Phase::Idle && !self.has_waiting() && self.is_long() => {
                let may_spend = !spending::is_spent(&self.head, self.policy, self.facts);
                if let Some(cut) = self.cut(self.policy.compact_keep).filter(|_| may_spend) {
                    self.begin_compaction(CompactReason::Idle, cut, None);
                }
            }
            _ => {}
        }
    }

    pub(super) fn summarised(&mut self, id: u64, completion: &Completion) {
        let Some(compaction) = self.compaction(id).cloned() else { return };
        let usage = spending::priced(completion.usage.clone(), self.policy.price);
        let text = completion.message.text();
        let overflowed = completion.stop == Stop::ContextFull;
        // What is said before calls, or before it is cut off, is no summary, however much of it there is.
        let goes_on = completion.message.tool_uses().next().is_some()
            || matches!(completion.stop, Stop::ToolUse | Stop::Refusal(_) | Stop::ContentFilter);
        let Some(summary) = compaction::parse(&text).filter(|_| !overflowed && !goes_on) else {
            let kind = if overflowed { FailureKind::ContextOverflow } else { FailureKind::Other };
            let failure = Failure { usage: Some(Box::new(usage)), ..Failure::new(kind, "the model wrote no summary") };
            self.not_summarised(id, &failure);
            return;
        };
        self.summary_usage(&usage, false);
        let running = self.head.turn.as_ref().map(|turn| turn.id);
        let (kept, said_again) = running.map(|turn| self.state.context.asked_before(compaction.cut, turn)).unwrap_or_default();
        let left = said_again.saturating_add(summary.tokens());
        let gone = self.state.context.weight_before(compaction.cut);
        if left >= gone {
            self.give_up("the summary is no shorter than what it would stand for", Some(usage));
            return;
        }
        let tokens = compaction.tokens.saturating_sub(gone).saturating_add(left);
        let carry = self.carry(&usage);
        let Summary { text: summary, handles } = summary;
        let (model, usage) = (Some(self.policy.model.clone()), Some(usage));
        self.push(Event::Compacted { cut: compaction.cut, summary, handles, carry, kept, model, usage, tokens: Some(tokens) });
        if let Some(command) = compaction.command {
            self.reply(command, &words::compacted(compaction.tokens, tokens, self.policy));
        }
        self.after_compaction(compaction.why, None);
    }

    pub(super) fn not_summarised(&mut self, id: u64, failure: &Failure) {
        let Some(compaction) = self.compaction(id).cloned() else { return };
        let cost = self.cost_of_failure(failure);
        if let Some((usage, estimated)) = &cost {
            self.summary_usage(usage, *estimated);
        }
        let usage = cost.map(|(usage, _)| usage);
        let message = failure.message.clone();
        let tries = compaction.tries.saturating_add(1);
        if self.is_cancelled() {
            self.end_cancelled();
        } else if self.facts.stopping {
            // The restart gives it up, or begins it again with the turn.
        } else if failing::remedy(failure.kind) == Remedy::Again && tries < self.policy.retry.tries && self.is_needed(&compaction) {
            self.push(Event::SummaryFailed { failure: failure.kind, message, tries, retold: false, usage });
            let alarm = Alarm { turn: self.head.last_turn, timer: Timer::Summary { id, tries } };
            self.effect(Effect::Arm { alarm, after: failing::wait(failure, tries, self.policy.retry, self.facts.now) });
        } else if !compaction.retold && is_about_the_request(failure.kind) {
            self.push(Event::SummaryFailed { failure: failure.kind, message, tries: compaction.tries, retold: true, usage });
            self.effect(Effect::Summarise { id });
        } else {
            self.give_up(&message, usage);
        }
    }

    /// Ends a compaction that somebody or something else ends. What follows is the caller's.
    pub(super) fn stop_compaction(&mut self, reason: &str, usage: Option<Usage>) {
        let Some(compaction) = self.head.compaction.clone() else { return };
        self.push(Event::CompactionGivenUp { reason: reason.to_owned(), usage });
        self.effect(Effect::Abort);
        if let Some(command) = compaction.command {
            self.reply(command, &words::not_compacted(reason));
        }
    }

    fn give_up(&mut self, reason: &str, usage: Option<Usage>) {
        let Some(compaction) = self.head.compaction.clone() else { return };
        self.push(Event::CompactionGivenUp { reason: reason.to_owned(), usage });
        let body = words::not_compacted(reason);
        match (compaction.why, compaction.command) {
            (_, Some(command)) => self.reply(command, &body),
            // Nobody waits for it.
            (CompactReason::Idle, None) => {}
            (_, None) => self.tell(&format!("compaction.{}", compaction.id), OutboxKind::Notice, body, Vec::new()),
        }
        self.after_compaction(compaction.why, Some(reason));
    }

    /// What waited for the compaction goes on.
    fn after_compaction(&mut self, why: CompactReason, failure: Option<&str>) {
        self.effect(Effect::Show);
        match self.head.phase {
            Phase::Asking if self.is_cancelled() => self.end_cancelled(),
            // The journal says that an answer is owed.
            Phase::Asking if self.facts.stopping => {}
            Phase::Asking => {
                self.join();
                match failure.filter(|_| why == CompactReason::TooLarge) {
                    Some(reason) => self.too_large(reason),
                    None => self.ask(),
                }
            }
            _ => self.look_again(),
        }
    }

    fn begin_compaction(&mut self, why: CompactReason, cut: Cut, command: Option<InboxId>) -> bool {
        let tokens = self.size();
        let fits = tokens.saturating_add(limits::SUMMARY_ROOM).saturating_add(self.policy.max_output) <= self.policy.window;
        let (id, retold) = (self.head.next_seq, why == CompactReason::TooLarge || !fits);
        self.push(Event::CompactionBegan { why, cut: cut.at, tokens, retold, command });
        self.effect(Effect::Summarise { id });
        self.effect(Effect::Show);
        true
    }

    /// What a fold from the cut would miss, when the summary has cost `usage`.
    fn carry(&self, usage: &Usage) -> Box<Carry> {
        let turn = self.head.turn.clone().map(|mut turn| {
            turn.active_ms = self.head.active_ms(self.facts.now);
            turn.compactions = turn.compactions.saturating_add(1);
            turn.spend.add(usage);
            turn
        });
        Box::new(Carry {
            phase: self.head.resting(),
            last_turn: self.head.last_turn,
            turn,
            announced: self.head.announced.clone(),
            surroundings: self.head.prompt.as_ref().map(|prompt| prompt.told.clone()),
        })
    }

    fn compaction(&self, id: u64) -> Option<&Compaction> {
        self.head.compaction.as_ref().filter(|compaction| compaction.id == id)
    }

    /// The turn has not just been compacted, nor too often in vain.
    fn may_compact(&self) -> bool {
        let may = |turn: &Turn| turn.compactions == 0 && turn.given_up < limits::COMPACTIONS_IN_VAIN;
        self.turn_in(Phase::Asking).is_some_and(may)
    }

    fn is_long(&self) -> bool {
        self.size().saturating_mul(10) >= self.policy.compact_at.saturating_mul(limits::IDLE_COMPACTION_TENTHS)
    }

    /// Would the turn, or somebody, be left with nothing but waiting for it?
    fn is_needed(&self, compaction: &Compaction) -> bool {
        match compaction.why {
            CompactReason::Asked | CompactReason::TooLarge => true,
            CompactReason::Grown => compaction.tokens.saturating_add(self.policy.max_output) > self.policy.window,
            CompactReason::Idle => false,
        }
    }

    /// The history with what this step adds to it, in tokens.
    fn size(&self) -> u64 {
        self.state.context.estimate(&self.policy.model).saturating_add(self.added())
    }

    fn added(&self) -> u64 {
        self.events().iter().map(|recorded| history::weight(&recorded.event)).sum()
    }

    fn cut(&self, keep: u64) -> Option<Cut> {
        let running = self.head.turn.as_ref().map(|turn| turn.id);
        self.state.context.cut(keep.saturating_sub(self.added()), running)
    }

    fn summary_usage(&mut self, usage: &Usage, estimated: bool) {
        let step = self.head.turn.as_ref().map_or(0, |turn| turn.step);
        self.usage(UsageKind::Compaction, step, usage, estimated);
    }
}

/// May a request that says the same in fewer words succeed?
fn is_about_the_request(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::ContextOverflow | FailureKind::InvalidRequest | FailureKind::InvalidMedia | FailureKind::Other)
}

#[cfg(test)]
mod tests;
