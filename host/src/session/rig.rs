//! A session under test: a driver without a store, that checks what must hold after every step.

use std::time::Duration;

use crate::chat::{AnswerPiece, Batching, Completion, Failure, FailureKind, Message, Origin, Piece, Replay, Role, Stop, ToolUse, Usage};
use crate::clock::Moment;
use crate::ids::{BootId, CallId, InboxId, SessionId};
use crate::session::event::{Beside, Outcome, Recorded, TurnInput};
use crate::session::state::{Phase, Spend, State};
use crate::session::turn::{self, Class, Effect, Ended, Facts, Input, Policy, Retry, Start, Step};

pub(super) struct Rig {
    pub(super) state: State,
    pub(super) policy: Policy,
    pub(super) facts: Facts,
    pub(super) journal: Vec<Recorded>,
    next_inbox: i64,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            state: State::new(SessionId(4)),
            policy: Policy {
                model: "main".into(),
                price: None,
                retry: Retry { tries: 3, wait: Duration::from_secs(1), max_wait: Duration::from_secs(30) },
                chain: vec!["main".into()],
                turn_attempts: 3,
                turn_steps: 20,
                turn_time: Duration::from_secs(3600),
                turn_spend: Spend { cost_micros: 5_000_000, unpriced_tokens: 1_000_000 },
                day_spend: Spend { cost_micros: 20_000_000, unpriced_tokens: 4_000_000 },
                conversation_spend: Spend { cost_micros: u64::MAX, unpriced_tokens: u64::MAX },
                resume_within: Duration::from_secs(3600),
                window: 128_000,
                max_output: 0,
                compact_at: 100_000,
                compact_keep: 10_000,
                cache_ttl: None,
            },
            facts: Facts {
                boot: BootId(1),
                now: Moment(1_000_000),
                waiting: Vec::new(),
                shown: false,
                asked_at: None,
                day: Spend::default(),
                conversation: Spend::default(),
                cooling: Vec::new(),
                stopping: false,
            },
            journal: Vec::new(),
            next_inbox: 1,
        }
    }

    /// A session whose first turn has asked the model.
    pub(super) fn asking() -> Self {
        let mut rig = Self::new();
        rig.say("hello");
        rig.wake();
        assert_eq!(rig.state.head.phase, Phase::Asking);
        rig
    }

    /// A session whose model wants `calls`.
    pub(super) fn calling(calls: &[(&str, Replay, Batching)]) -> Self {
        let mut rig = Self::asking();
        rig.answer_with(calls);
        assert_eq!(rig.state.head.phase, Phase::Calling);
        rig
    }

    pub(super) fn command(&mut self) -> InboxId {
        self.next_inbox += 1;
        InboxId(self.next_inbox - 1)
    }

    pub(super) fn say(&mut self, text: &str) -> InboxId {
        let inbox = self.command();
        self.facts.waiting.push(TurnInput { inbox, text: text.into(), sender: None, at: self.facts.now, beside: Beside::default() });
        inbox
    }

    pub(super) fn step(&mut self, input: Input) -> Step {
        let step = turn::step(&self.state, &self.policy, &self.facts, input);
        for recorded in &step.events {
            assert_eq!(recorded.seq, self.state.head.next_seq, "no gaps");
            // What is applied is what a store gives back.
            let json = serde_json::to_string(recorded).unwrap();
            let read: Recorded = serde_json::from_str(&json).unwrap();
            assert_eq!(read, *recorded);
            self.state.apply(&read);
            self.journal.push(read);
        }
        assert_eq!(State::fold(self.state.head.session, &self.journal), self.state, "fold(journal) = live state");
        let kept = self.journal.iter().filter(|recorded| recorded.seq >= self.state.head.fold_from);
        assert_eq!(State::fold(self.state.head.session, kept), self.state, "a fold from the cut = live state");
        self.facts.waiting.retain(|input| !step.rows.taken.contains(&input.inbox));
        step
    }

    pub(super) fn wake(&mut self) -> Step {
        self.step(Input::Wake { notices: Vec::new(), surroundings: None })
    }

    pub(super) fn ask_step(&self) -> u32 {
        self.state.head.turn.as_ref().map_or(0, |turn| turn.step)
    }

    pub(super) fn answer(&mut self, text: &str) -> Step {
        let completion = completion(text, &[]);
        self.step(Input::Answer { step: self.ask_step(), completion: Box::new(completion), classes: Vec::new() })
    }

    /// Arguments are equal for equal names, so that repetitions are repetitions.
    pub(super) fn answer_with(&mut self, calls: &[(&str, Replay, Batching)]) -> Step {
        let names: Vec<&str> = calls.iter().map(|(name, ..)| *name).collect();
        let classes = calls.iter().map(|(_, replay, batching)| Class { replay: *replay, batching: *batching, refused: None }).collect();
        self.step(Input::Answer { step: self.ask_step(), completion: Box::new(completion("working", &names)), classes })
    }

    /// The id of the summary that is being written.
    pub(super) fn summary(&self) -> u64 {
        self.state.head.compaction.as_ref().expect("a compaction").id
    }

    pub(super) fn summarise(&mut self, text: &str) -> Step {
        let completion = Box::new(completion(text, &[]));
        self.step(Input::Summarised { id: self.summary(), completion })
    }

    pub(super) fn fail_summary(&mut self, kind: FailureKind) -> Step {
        self.step(Input::NotSummarised { id: self.summary(), failure: Failure::new(kind, "it broke") })
    }

    pub(super) fn fail(&mut self, kind: FailureKind) -> Step {
        self.step(Input::Failed { step: self.ask_step(), failure: Failure::new(kind, "it broke") })
    }

    /// Ends the `index`-th call of the newest answer.
    pub(super) fn end(&mut self, index: usize, outcome: Outcome) -> Step {
        let call = self.newest_call(index);
        self.step(Input::CallEnded { call, ended: ended(outcome) })
    }

    pub(super) fn newest_call(&self, index: usize) -> CallId {
        let answers = self.journal.iter().rev();
        let newest = answers.filter_map(|recorded| match &recorded.event {
            crate::session::event::Event::Answered { calls, .. } => calls.get(index),
            _ => None,
        });
        newest.map(|call| call.id.clone()).next().expect("an answer with calls")
    }

    /// The host dies, and comes back after `downtime`.
    pub(super) fn crash(&mut self, downtime: Duration, clean: bool) -> Step {
        self.state = State::fold(self.state.head.session, &self.journal);
        self.facts.boot = BootId(self.facts.boot.0 + 1);
        self.facts.now = Moment(self.facts.now.0 + i64::try_from(downtime.as_millis()).unwrap());
        (self.facts.shown, self.facts.stopping) = (false, false);
        self.facts.cooling.clear();
        self.step(Input::Restarted { downtime, clean })
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.facts.now = Moment(self.facts.now.0 + i64::try_from(time.as_millis()).unwrap());
    }
}

pub(super) fn ended(outcome: Outcome) -> Ended {
    Ended { outcome, pieces: vec![AnswerPiece::Text(format!("{outcome:?}"))], summary: None }
}

pub(super) fn completion(text: &str, calls: &[&str]) -> Completion {
    let mut pieces = vec![Piece::text(text)];
    pieces.extend(calls.iter().enumerate().map(|(index, name)| {
        Piece::ToolUse(ToolUse {
            call_id: format!("v{index}"),
            item_id: None,
            name: (*name).into(),
            arguments: r#"{"path":"a"}"#.into(),
            freeform: false,
        })
    }));
    Completion {
        message: Message {
            id: "m".into(),
            role: Role::Assistant,
            phase: None,
            origin: Some(Origin { provider: "p".into(), model: "id".into(), wire: "w".into() }),
            pieces,
            cache_break: false,
        },
        stop: if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse },
        usage: Usage { input_uncached: 100, output: 10, ..Usage::default() },
        response_id: None,
        served_model: None,
    }
}

/// The kinds of the events, in order.
pub(super) fn kinds(step: &Step) -> Vec<&'static str> {
    step.events.iter().map(|recorded| recorded.event.kind()).collect()
}

/// The outcomes of the calls that the step ended.
pub(super) fn outcomes(step: &Step) -> Vec<Outcome> {
    let ends = step.events.iter().filter_map(|recorded| match &recorded.event {
        crate::session::event::Event::CallEnded { outcome, .. } => Some(*outcome),
        _ => None,
    });
    ends.collect()
}

pub(super) fn started(step: &Step) -> Vec<&Start> {
    step.effects.iter().filter_map(|effect| if let Effect::Start(starts) = effect { Some(starts) } else { None }).flatten().collect()
}

pub(super) fn asks(step: &Step) -> bool {
    step.effects.iter().any(|effect| matches!(effect, Effect::Ask { .. }))
}

pub(super) fn outbox(step: &Step) -> Vec<&str> {
    step.rows.outbox.iter().map(|row| row.key.as_str()).collect()
}
