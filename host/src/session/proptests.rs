//! What must hold whatever happens, in whatever order: random inputs, with crashes between them.
//!
//! [`Rig::step`] checks `fold(journal) = live state` and gapless positions after every commit; the rest is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::chat::{Batching, Failure, FailureKind, Replay, Stop};
use crate::ids::{CallId, InboxId, TurnId};
use crate::session::event::{CompactReason, Ending, Event, Outcome};
use crate::session::fallback;
use crate::session::history::{Body, Item};
use crate::session::rig::{Rig, completion, ended};
use crate::session::state::Phase;
use crate::session::turn::{Alarm, Class, Effect, Input, OutboxKind, Step, Timer};

/// What the world does next. Indices choose among what is there.
#[derive(Debug, Clone)]
enum Act {
    Say,
    Wake,
    /// Text arrives and is shown, or not.
    Shown(bool),
    /// (replay, batching, refused) of each call; the name is one of few, so that calls repeat.
    Answer(Vec<(Replay, Batching, bool, u8)>),
    Pause,
    Fail(FailureKind),
    End(usize, Outcome),
    Alarm(usize),
    Pass(u32),
    /// What was spent today, and in this conversation.
    Spend(u64, u64),
    Continue,
    Cancel,
    Compact,
    /// A summary of so many words.
    Summarise(usize),
    FailSummary(FailureKind),
    Shutdown,
    Crash(u32, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let replay = prop_oneof![Just(Replay::Read), Just(Replay::Idempotent), Just(Replay::Effect)];
    let batching = prop_oneof![Just(Batching::Parallel), Just(Batching::Serial)];
    let call = (replay, batching, prop::bool::weighted(0.1), 0..3_u8);
    let kind = prop_oneof![
        4 => Just(FailureKind::Overloaded),
        2 => Just(FailureKind::ContextOverflow),
        2 => Just(FailureKind::AuthInvalid),
        1 => Just(FailureKind::Cancelled),
    ];
    let outcome = prop_oneof![
        4 => Just(Outcome::Ok),
        4 => Just(Outcome::Error),
        1 => Just(Outcome::Cancelled),
        1 => Just(Outcome::Unknown),
    ];
    let of_summary = prop_oneof![Just(FailureKind::Overloaded), Just(FailureKind::ContextOverflow), Just(FailureKind::AuthInvalid)];
    prop_oneof![
        6 => Just(Act::Say),
        4 => Just(Act::Wake),
        2 => any::<bool>().prop_map(Act::Shown),
        10 => prop::collection::vec(call, 0..5).prop_map(Act::Answer),
        1 => Just(Act::Pause),
        4 => kind.prop_map(Act::Fail),
        16 => (0..4_usize, outcome).prop_map(|(index, outcome)| Act::End(index, outcome)),
        6 => (0..4_usize).prop_map(Act::Alarm),
        4 => (0..2000_u32).prop_map(Act::Pass),
        1 => (0..30_000_000_u64, 0..3_000_000_u64).prop_map(|(day, conversation)| Act::Spend(day, conversation)),
        2 => Just(Act::Continue),
        2 => Just(Act::Cancel),
        2 => Just(Act::Compact),
        6 => prop_oneof![Just(0), Just(4), Just(200)].prop_map(Act::Summarise),
        3 => of_summary.prop_map(Act::FailSummary),
        1 => Just(Act::Shutdown),
        4 => (prop_oneof![9 => 0..100_u32, 1 => 4000..5000_u32], prop::bool::weighted(0.2)).prop_map(|(secs, clean)| Act::Crash(secs, clean)),
    ]
}

/// The world around the session, and what it has seen.
struct World {
    rig: Rig,
    /// The request in flight, or the one for a summary.
    asked: Option<u32>,
    summarising: Option<u64>,
    /// Commands that want a summary.
    compacts: Vec<InboxId>,
    /// How often each summary was asked for.
    summaries: BTreeMap<u64, u32>,
    running: Vec<CallId>,
    alarms: Vec<Alarm>,
    /// What the world said, and what the session took.
    taken: BTreeMap<InboxId, TurnId>,
    keys: BTreeSet<String>,
    asks: BTreeMap<TurnId, u32>,
    starts: BTreeMap<CallId, u32>,
}

impl World {
    fn new() -> Self {
        let mut rig = Rig::new();
        rig.policy.turn_steps = 12;
        // Each answer says that 110 tokens were read and written.
        (rig.policy.window, rig.policy.compact_at, rig.policy.compact_keep) = (200, 140, 20);
        rig.policy.cache_ttl = Some(Duration::from_secs(300));
        rig.policy.chain = vec!["main".into(), "second".into(), "third".into()];
        rig.policy.conversation_spend.cost_micros = 2_000_000;
        Self {
            rig,
            asked: None,
            summarising: None,
            compacts: Vec::new(),
            summaries: BTreeMap::new(),
            running: Vec::new(),
            alarms: Vec::new(),
            taken: BTreeMap::new(),
            keys: BTreeSet::new(),
            asks: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Say => {
                let inbox = self.rig.say("hello");
                let said = self.rig.facts.waiting.last_mut().expect("what was said");
                said.text = marked(inbox) + &" and a word".repeat(5);
            }
            Act::Wake => self.feed(Input::Wake { notices: Vec::new(), surroundings: None }),
            Act::Shown(shown) => self.rig.facts.shown = self.asked.is_some() && shown,
            Act::Answer(calls) => self.answer(&calls, Stop::EndTurn),
            Act::Pause => self.answer(&[], Stop::Pause),
            Act::Fail(kind) => {
                if let Some(step) = self.asked.take() {
                    self.feed(Input::Failed { step, failure: Failure::new(kind, "it broke") });
                }
            }
            Act::End(index, outcome) => {
                if !self.running.is_empty() {
                    let call = self.running.remove(index % self.running.len());
                    self.feed(Input::CallEnded { call, ended: ended(outcome) });
                }
            }
            Act::Alarm(index) => {
                if !self.alarms.is_empty() {
                    let alarm = self.alarms.remove(index % self.alarms.len());
                    self.feed(Input::Alarm(alarm));
                }
            }
            Act::Pass(secs) => {
                self.rig.pass(Duration::from_secs(secs.into()));
                let now = self.rig.facts.now;
                self.rig.facts.cooling.retain(|(_, until)| *until > now);
            }
            Act::Spend(day, conversation) => {
                self.rig.facts.day.cost_micros = day;
                self.rig.facts.conversation.cost_micros = conversation;
            }
            Act::Continue => {
                let command = self.rig.command();
                self.feed(Input::Continue { by: "ada".into(), command });
            }
            Act::Cancel => {
                let command = self.rig.command();
                self.feed(Input::Cancel { by: "ada".into(), command });
            }
            Act::Compact => {
                let command = self.rig.command();
                self.compacts.push(command);
                self.feed(Input::Compact { command });
            }
            Act::Summarise(words) => {
                if let Some(id) = self.summarising.take() {
                    let completion = Box::new(completion(&"word ".repeat(words), &[]));
                    self.feed(Input::Summarised { id, completion });
                }
            }
            Act::FailSummary(kind) => {
                if let Some(id) = self.summarising.take() {
                    self.feed(Input::NotSummarised { id, failure: Failure::new(kind, "it broke") });
                }
            }
            Act::Shutdown => {
                self.rig.facts.stopping = true;
                self.feed(Input::Shutdown);
            }
            Act::Crash(secs, clean) => self.crash(Duration::from_secs(secs.into()), clean),
        }
    }

    fn answer(&mut self, calls: &[(Replay, Batching, bool, u8)], stop: Stop) {
        let Some(step) = self.asked.take() else { return };
        let names: Vec<String> = calls.iter().map(|(_, _, _, name)| format!("tool{name}")).collect();
        let mut completion = completion("text", &names.iter().map(String::as_str).collect::<Vec<_>>());
        if calls.is_empty() {
            completion.stop = stop;
        }
        let class = |(replay, batching, refused, _): &(Replay, Batching, bool, u8)| Class {
            replay: *replay,
            batching: *batching,
            refused: refused.then(|| "no such tool".to_owned()),
        };
        let classes = calls.iter().map(class).collect();
        self.feed(Input::Answer { step, completion: Box::new(completion), classes });
    }

    fn crash(&mut self, downtime: Duration, clean: bool) {
        (self.asked, self.summarising, self.running, self.alarms) = (None, None, Vec::new(), Vec::new());
        self.rig.facts.asked_at = None;
        let before = self.rig.state.head.phase;
        let step = self.rig.crash(downtime, clean);
        self.check(before, &step);
        self.run(&step);
    }

    fn feed(&mut self, input: Input) {
        let before = self.rig.state.head.phase;
        let tokens = self.rig.state.context.tokens;
        let step = self.rig.step(input);
        if matches!(step.events.as_slice(), [one] if one.event.kind() == "compacted") {
            assert!(self.rig.state.context.tokens < tokens, "a compaction shrinks");
        }
        self.check(before, &step);
        self.run(&step);
    }

    /// Does what a driver does.
    fn run(&mut self, step: &Step) {
        let mut wake = false;
        for effect in &step.effects {
            match effect {
                Effect::Ask { step } => {
                    (self.asked, self.summarising) = (Some(*step), None);
                    self.rig.facts.asked_at = Some(self.rig.facts.now);
                    self.rig.facts.shown = false;
                    let skipped = &self.rig.state.head.turn.as_ref().expect("a turn").skipped;
                    let asked = fallback::choose(&self.rig.policy.chain, skipped, &self.rig.facts.cooling).expect("somebody");
                    assert!(!skipped.iter().any(|alias| alias == asked), "{asked} was given up for this answer");
                    self.rig.policy.model = asked.to_owned();
                }
                Effect::Summarise { id } => (self.asked, self.summarising) = (None, Some(*id)),
                Effect::Abort => (self.asked, self.summarising) = (None, None),
                Effect::Start(starts) => self.running.extend(starts.iter().map(|start| start.call.id.clone())),
                Effect::Arm { alarm, .. } if !self.alarms.contains(alarm) => self.alarms.push(*alarm),
                Effect::Cool { model, until } => self.rig.facts.cooling.push((model.clone(), *until)),
                Effect::Wake => wake = true,
                Effect::Arm { .. } | Effect::Stop { .. } | Effect::Show => {}
            }
        }
        if step.effects.contains(&Effect::Abort) && self.asked.is_none() && self.summarising.is_none() && !self.rig.facts.stopping {
            // Nothing may be left in flight that the session still waits for, except what its alarms will end.
            let waits = matches!(self.rig.state.head.phase, Phase::Asking | Phase::Compacting);
            assert!(!waits || self.alarms.iter().any(|alarm| alarm.timer == Timer::Cancel), "a request was aborted for nothing");
        }
        if wake {
            self.feed(Input::Wake { notices: Vec::new(), surroundings: None });
        }
    }

    fn check(&mut self, before: Phase, step: &Step) {
        let state = &self.rig.state;
        let head = &state.head;
        assert_eq!(step.rows.phase, (head.phase != before).then_some(head.phase));
        for inbox in &step.rows.taken {
            assert_eq!(self.taken.insert(*inbox, step.turn), None, "{inbox} is input of one turn");
        }
        for row in &step.rows.outbox {
            assert!(self.keys.insert(row.key.clone()), "the key {} is used once", row.key);
            assert!(!row.body.trim().is_empty());
        }
        let told = |kind| step.rows.outbox.iter().any(|row| row.kind == kind);
        for recorded in &step.events {
            match &recorded.event {
                Event::TurnEnded { ending, .. } => {
                    let kind = match ending {
                        Ending::Done => OutboxKind::Final,
                        // The person's own stop needs no sound.
                        Ending::Cancelled => OutboxKind::Notice,
                        Ending::Failed | Ending::SetAside => OutboxKind::Question,
                    };
                    assert!(told(kind), "an ended turn says so");
                    let inputs: BTreeSet<InboxId> =
                        if *ending == Ending::SetAside { &step.rows.aside } else { &step.rows.done }.iter().copied().collect();
                    let taken = self.taken.iter().filter(|(_, turn)| **turn == recorded.turn);
                    assert!(taken.into_iter().all(|(inbox, _)| inputs.contains(inbox)), "its inputs are closed");
                }
                Event::TurnParked { .. } => assert!(told(OutboxKind::Question), "a parked turn says so, to be heard"),
                _ => {}
            }
        }
        self.check_effects(step);
    }

    /// No effect that the journal does not justify.
    fn check_effects(&mut self, step: &Step) {
        let turn = self.rig.state.head.turn.clone();
        let phase = self.rig.state.head.phase;
        for effect in &step.effects {
            match effect {
                Effect::Ask { step: asked } => {
                    let turn = turn.as_ref().expect("a turn");
                    assert!(phase == Phase::Asking && turn.step == *asked && turn.cancel.is_none());
                    assert!(!self.rig.facts.stopping && turn.open.is_empty());
                    let items = &self.rig.state.context.items;
                    assert!(items.iter().all(is_answered), "a request never has unanswered calls");
                    for inbox in &turn.inputs {
                        let says = |item: &Item| matches!(&item.body, Body::Input(message) if message.text().contains(&marked(*inbox)));
                        assert!(items.iter().any(says), "the model is not told {inbox}");
                    }
                    *self.asks.entry(turn.id).or_default() += 1;
                }
                Effect::Summarise { id } => {
                    let head = &self.rig.state.head;
                    let compaction = head.compaction.as_ref().expect("a compaction");
                    assert!(phase == Phase::Compacting && compaction.id == *id && !self.rig.facts.stopping);
                    assert!(turn.as_ref().is_none_or(|turn| turn.open.is_empty() && turn.cancel.is_none()));
                    assert!(self.rig.state.context.items.iter().all(is_answered), "nor has the one for a summary");
                    let count = self.summaries.entry(*id).or_default();
                    *count += 1;
                    assert!(*count <= self.rig.policy.retry.tries + 1, "a summary was asked for {count} times");
                }
                Effect::Start(starts) => {
                    let turn = turn.as_ref().expect("a turn");
                    assert!(phase == Phase::Calling && turn.cancel.is_none() && !self.rig.facts.stopping && !starts.is_empty());
                    for start in starts {
                        let open = turn.open.iter().find(|open| open.call.id == start.call.id).expect("an open call");
                        assert!(open.has_begun() && open.starts == start.attempt && open.call.refused.is_none());
                        let count = self.starts.entry(start.call.id.clone()).or_default();
                        *count += 1;
                        assert!(*count == 1 || start.call.replay != Replay::Effect, "{} was started twice", start.call.id);
                    }
                }
                Effect::Arm { alarm, .. } => match alarm.timer {
                    Timer::Retry { step: due } => {
                        assert!(step.events.iter().any(|recorded| recorded.event.kind() == "ask_failed"));
                        assert_eq!(turn.as_ref().map(|turn| turn.step), Some(due));
                    }
                    Timer::Cancel => assert!(turn.as_ref().is_some_and(|turn| turn.cancel.is_some())),
                    Timer::Join { .. } => assert!(phase == Phase::Calling && !self.rig.facts.waiting.is_empty()),
                    Timer::Wall => assert!(turn.is_some()),
                    Timer::Summary { id, .. } => {
                        assert!(step.events.iter().any(|recorded| recorded.event.kind() == "summary_failed"));
                        assert_eq!(self.rig.state.head.compaction.as_ref().map(|compaction| compaction.id), Some(id));
                    }
                    Timer::CacheExpiring => assert!(phase == Phase::Idle && self.rig.facts.waiting.is_empty()),
                },
                Effect::Wake => assert!(!self.rig.facts.waiting.is_empty()),
                Effect::Cool { model, until } => {
                    assert!(*until > self.rig.facts.now && *model == self.rig.policy.model);
                }
                Effect::Abort | Effect::Stop { .. } | Effect::Show => {}
            }
        }
    }

    /// Lets everything that is in flight end well, until nothing is.
    fn settle(&mut self) {
        if self.rig.facts.stopping {
            self.crash(Duration::from_secs(1), true);
        }
        (self.rig.facts.day.cost_micros, self.rig.facts.conversation.cost_micros) = (0, 0);
        for _ in 0..2000 {
            self.rig.pass(Duration::from_millis(10));
            if !self.rig.facts.waiting.is_empty() {
                self.act(Act::Wake);
            }
            if self.asked.is_some() {
                self.answer(&[], Stop::EndTurn);
            } else if self.summarising.is_some() {
                self.act(Act::Summarise(4));
            } else if !self.running.is_empty() {
                self.act(Act::End(0, Outcome::Ok));
            } else if let Some(at) = self.alarms.iter().position(|alarm| !matches!(alarm.timer, Timer::Wall | Timer::CacheExpiring)) {
                self.act(Act::Alarm(at));
            } else if self.rig.facts.waiting.is_empty() || self.rig.state.head.phase == Phase::Parked {
                break;
            }
        }
    }

    fn check_end(&self) {
        let phase = self.rig.state.head.phase;
        assert!(matches!(phase, Phase::Idle | Phase::Parked), "every turn ends or is parked, not {phase:?}");
        let mut asked_for = BTreeSet::new();
        let mut ends: BTreeMap<&CallId, u32> = BTreeMap::new();
        let mut rounds: BTreeMap<TurnId, u32> = BTreeMap::new();
        let mut compactions = 0;
        for recorded in &self.rig.journal {
            match &recorded.event {
                Event::Answered { calls, .. } => asked_for.extend(calls.iter().map(|call| &call.id)),
                Event::CallEnded { call, .. } => *ends.entry(call).or_default() += 1,
                _ => {}
            }
            match &recorded.event {
                Event::Answered { .. } | Event::TurnBegan { .. } | Event::InputsJoined { .. } | Event::TurnResumed { .. } => {
                    compactions = 0
                }
                Event::CompactionBegan { why: CompactReason::Grown | CompactReason::TooLarge, .. } => compactions += 1,
                _ => {}
            }
            assert!(compactions <= 1, "a turn is compacted again and again");
            let renews = match &recorded.event {
                Event::TurnBegan { .. } | Event::InputsJoined { .. } => true,
                Event::TurnResumed { by, .. } => by.is_some(),
                _ => false,
            };
            *rounds.entry(recorded.turn).or_default() += u32::from(renews);
        }
        assert_eq!(ends.keys().copied().collect::<BTreeSet<_>>(), asked_for);
        assert!(ends.values().all(|count| *count == 1), "{ends:?}");
        for command in &self.compacts {
            assert!(self.keys.contains(&format!("{command}.answer")), "{command} was not answered");
        }
        let policy = &self.rig.policy;
        let clean = u32::try_from(self.rig.facts.boot.0).expect("small");
        for (turn, asks) in &self.asks {
            // Per time that a person was there; a clean exit may repeat a request, and each answer may follow some drops.
            let tries = policy.retry.tries * u32::try_from(policy.chain.len()).expect("small");
            let bound = rounds[turn] * (policy.turn_attempts + clean + tries + policy.turn_steps) * 4;
            assert!(*asks <= bound, "{turn} asked {asks} times, at most {bound} are allowed");
        }
    }
}

/// How a message names itself.
fn marked(inbox: InboxId) -> String {
    format!("<{inbox}>")
}

fn is_answered(item: &Item) -> bool {
    match &item.body {
        Body::Answer { calls, .. } => calls.iter().all(|call| call.answer.is_some()),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(acts in prop::collection::vec(act(), 1..120)) {
        let mut world = World::new();
        world.act(Act::Say);
        world.act(Act::Wake);
        for act in acts {
            // A host that goes down comes up again at the next crash; until then nothing else arrives.
            let down = world.rig.facts.stopping;
            if !down || matches!(act, Act::Crash(..) | Act::End(..) | Act::Answer(_) | Act::Fail(_) | Act::Summarise(_) | Act::FailSummary(_) | Act::Cancel) {
                world.act(act);
            }
        }
        world.settle();
        world.check_end();
    }
}
