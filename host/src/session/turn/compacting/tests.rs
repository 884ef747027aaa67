//! When the history is summarised, what stays, and what happens when it cannot be.

use std::time::Duration;

use crate::chat::{Batching, FailureKind, Replay};
use crate::clock::Moment;
use crate::session::event::{CompactReason, Event, Outcome, ParkReason};
use crate::session::history::Body;
use crate::session::rig::{Rig, asks, completion, kinds, outbox};
use crate::session::state::{Phase, Spend};
use crate::session::system::Surroundings;
use crate::session::turn::{Alarm, Class, Effect, Input, OutboxKind, Step, Timer};

const READ: (&str, Replay, Batching) = ("read", Replay::Read, Batching::Parallel);
const SOON: Duration = Duration::from_secs(5);

/// A session with `turns` of about 100 tokens each, where 1,000 are much.
fn long(turns: usize) -> Rig {
    let mut rig = Rig::new();
    (rig.policy.window, rig.policy.compact_at, rig.policy.compact_keep) = (2_000, 1_000, 150);
    for n in 0..turns {
        rig.say(&format!("question {n}{}", " and a word".repeat(15)));
        rig.wake();
        reply(&mut rig);
    }
    rig
}

/// An answer of about 50 tokens from a model that does not say how many it read.
fn reply(rig: &mut Rig) -> Step {
    let mut completion = completion(&"a word ".repeat(25), &[]);
    completion.usage = crate::chat::Usage::default();
    rig.step(Input::Answer { step: rig.ask_step(), completion: Box::new(completion), classes: Vec::new() })
}

/// A call of a tool, from the same model.
fn call(rig: &mut Rig) {
    let mut completion = completion("working", &["read"]);
    completion.usage = crate::chat::Usage::default();
    let class = Class { replay: Replay::Read, batching: Batching::Parallel, refused: None };
    rig.step(Input::Answer { step: rig.ask_step(), completion: Box::new(completion), classes: vec![class] });
}

fn summarises(step: &Step) -> bool {
    step.effects.iter().any(|effect| matches!(effect, Effect::Summarise { .. }))
}

fn compact(rig: &mut Rig) -> Step {
    let command = rig.command();
    rig.step(Input::Compact { command })
}

fn shown(rig: &Rig) -> Vec<String> {
    let text = |body: &Body| match body {
        Body::Input(message) | Body::Notice(message) | Body::Answer { message, .. } | Body::Summary(message) | Body::Dropped(message) => {
            message.text().chars().take(12).collect()
        }
    };
    rig.state.context.items.iter().map(|item| text(&item.body)).collect()
}

#[test]
fn a_history_that_has_grown_is_summarised_before_the_next_request() {
    let mut rig = long(9);
    assert!(rig.state.context.tokens > 800 && !rig.journal.iter().any(|recorded| recorded.event.kind() == "compaction_began"));
    rig.say(&" and a word".repeat(60));
    let began = rig.wake();
    assert_eq!(kinds(&began), ["turn_began", "compaction_began"]);
    assert!(summarises(&began) && !asks(&began));
    assert_eq!(began.rows.phase, Some(Phase::Compacting));
    // What is said meanwhile waits.
    rig.say("and this");
    assert!(rig.wake().events.is_empty());
    let before = rig.state.context.tokens;
    let done = rig.summarise("## State\nall is well\n## Handles\n- p1: the server");
    assert_eq!(kinds(&done), ["compacted", "inputs_joined"]);
    assert!(asks(&done) && outbox(&done).is_empty());
    assert_eq!(done.rows.usage.len(), 1);
    assert!(rig.state.context.tokens * 2 < before);
    let shown = shown(&rig);
    assert_eq!((shown[0].as_str(), shown.last().unwrap().as_str()), ("[Summary of ", "and this"));
    assert!(shown.iter().any(|text| text == " and a word "), "what was asked stays: {shown:?}");
    let Body::Summary(summary) = &rig.state.context.items[0].body else { panic!("no summary") };
    assert!(summary.text().ends_with("## State\nall is well\n\nStill running or kept: p1: the server"), "{}", summary.text());
}

#[test]
fn what_the_running_turn_was_asked_is_said_again_behind_the_summary() {
    let mut rig = long(0);
    rig.policy.turn_steps = 1_000;
    rig.say("the question");
    rig.wake();
    for _ in 0..40 {
        rig.answer_with(&[READ]);
        rig.policy.compact_at = u64::MAX;
        rig.end(0, Outcome::Ok);
    }
    rig.answer_with(&[READ]);
    rig.policy.compact_at = 100;
    let step = rig.end(0, Outcome::Ok);
    assert_eq!(kinds(&step), ["call_ended", "compaction_began"], "not while a call is open, but before the next request");
    assert_eq!(kinds(&rig.summarise("short")), ["compacted"]);
    assert_eq!(shown(&rig)[..2], ["[Summary of ", "the question"]);
    assert!(matches!(&rig.state.context.items[2].body, Body::Answer { calls, .. } if calls[0].answer.is_some()));
    // The next one keeps it too, and a restart finds it.
    rig.policy.compact_at = u64::MAX;
    for _ in 0..40 {
        rig.answer_with(&[READ]);
        rig.end(0, Outcome::Ok);
    }
    rig.fail(FailureKind::ContextOverflow);
    rig.summarise("shorter");
    rig.crash(SOON, false);
    let shown = shown(&rig);
    assert_eq!(
        (&shown[..2], shown.iter().filter(|text| *text == "the question").count()),
        (&["[Summary of ", "the question"].map(String::from)[..], 1)
    );
}

#[test]
fn what_the_model_reported_counts_more_than_the_estimate() {
    let mut rig = long(4);
    rig.say("more");
    rig.wake();
    let mut large = completion("an answer", &[]);
    large.usage.input_uncached = 1_200;
    rig.step(Input::Answer { step: rig.ask_step(), completion: Box::new(large), classes: Vec::new() });
    assert_eq!(rig.state.context.estimate("main"), 1_210);
    assert!(rig.state.context.estimate("another") < 600, "each model counts in its own way");
    rig.say("more");
    assert!(summarises(&rig.wake()));
}

#[test]
fn a_failure_blocks_nothing_and_is_told() {
    let mut rig = long(9);
    rig.say(&" and a word".repeat(60));
    rig.wake();
    let failed = rig.fail_summary(FailureKind::Overloaded);
    assert_eq!(kinds(&failed), ["compaction_given_up"]);
    assert!(asks(&failed), "the request fits, so it is made");
    let told = &failed.rows.outbox[0];
    assert_eq!((told.kind, told.body.contains("could not be summarised: it broke.")), (OutboxKind::Notice, true), "{}", told.body);
    // Not again before the next answer, and not for ever.
    call(&mut rig);
    assert!(summarises(&rig.end(0, Outcome::Ok)));
    rig.fail_summary(FailureKind::Quota);
    call(&mut rig);
    assert!(asks(&rig.end(0, Outcome::Ok)), "twice in vain is enough");
}

#[test]
fn a_summary_that_is_needed_is_asked_for_again() {
    let mut rig = long(9);
    rig.policy.window = 1_050;
    rig.say(&" and a word".repeat(60));
    let began = rig.wake();
    assert!(matches!(began.events[1].event, Event::CompactionBegan { retold: true, .. }), "it would not fit as it is");
    let id = rig.summary();
    for tries in 1..rig.policy.retry.tries {
        let failed = rig.fail_summary(FailureKind::Overloaded);
        assert_eq!(kinds(&failed), ["summary_failed"]);
        let alarm = Alarm { turn: rig.state.head.last_turn, timer: Timer::Summary { id, tries } };
        assert!(failed.effects.iter().any(|effect| matches!(effect, Effect::Arm { alarm: armed, .. } if *armed == alarm)));
        assert!(summarises(&rig.step(Input::Alarm(alarm))));
    }
    assert_eq!(kinds(&rig.fail_summary(FailureKind::Overloaded)), ["compaction_given_up"]);
    assert_eq!(rig.state.head.phase, Phase::Asking, "and then the model is asked: it knows best what fits");
}

#[test]
fn no_summary_is_asked_for_once_more_in_short_and_one_that_is_too_long_is_none() {
    for (first, again) in [("", true), ("   \n", true)] {
        let mut rig = long(9);
        compact(&mut rig);
        let step = rig.summarise(first);
        assert_eq!((kinds(&step), summarises(&step)), (vec!["summary_failed"], again));
        assert!(rig.state.head.compaction.as_ref().unwrap().retold);
        assert_eq!(kinds(&rig.summarise(first)), ["compaction_given_up"]);
    }
    let mut rig = long(9);
    compact(&mut rig);
    let before = rig.state.context.clone();
    let step = rig.summarise(&"a word ".repeat(2_000));
    assert_eq!(kinds(&step), ["compaction_given_up"]);
    assert!(step.rows.outbox[0].body.contains("no shorter"), "{}", step.rows.outbox[0].body);
    assert_eq!(rig.state.context, before);
}

#[test]
fn a_command_is_answered_when_the_summary_is_there() {
    let mut rig = long(6);
    let began = compact(&mut rig);
    assert_eq!((kinds(&began), outbox(&began).len(), began.rows.done.len()), (vec!["compaction_began"], 0, 1));
    rig.say("while it is written");
    assert!(rig.wake().events.is_empty(), "a person who asked for it waits for it");
    assert_eq!(outbox(&compact(&mut rig)).len(), 1, "once is enough");
    let done = rig.summarise("short");
    assert_eq!((kinds(&done), rig.state.head.phase), (vec!["compacted"], Phase::Idle));
    assert_eq!(done.rows.outbox[0].key, "i7.answer");
    assert!(done.rows.outbox[0].body.contains(" tokens before, "), "{}", done.rows.outbox[0].body);
    assert!(done.effects.contains(&Effect::Wake));
    assert!(asks(&rig.wake()));
}

#[test]
fn a_command_is_refused_while_something_runs_or_there_is_nothing_to_do() {
    let refused = |rig: &mut Rig, words: &str| {
        let step = compact(rig);
        assert!(step.events.is_empty() && step.rows.outbox[0].body.contains(words), "{}", step.rows.outbox[0].body);
    };
    refused(&mut Rig::new(), "nothing to summarise");
    refused(&mut Rig::asking(), "Something is running");
    refused(&mut Rig::calling(&[READ]), "Something is running");
    let mut rig = long(6);
    rig.facts.day = Spend { cost_micros: 20_000_000, unpriced_tokens: 0 };
    refused(&mut rig, "A budget is used up");
    let mut rig = long(6);
    rig.policy.conversation_spend = Spend { cost_micros: 1_000_000, unpriced_tokens: 0 };
    rig.facts.conversation = rig.policy.conversation_spend;
    refused(&mut rig, "A budget is used up");
}

#[test]
fn a_parked_turn_can_be_compacted_and_goes_on_where_it_was() {
    let mut rig = long(6);
    rig.say("hello");
    rig.wake();
    rig.fail(FailureKind::Quota);
    compact(&mut rig);
    assert_eq!(rig.state.head.phase, Phase::Compacting);
    rig.summarise("short");
    assert_eq!(rig.state.head.turn.as_ref().unwrap().parked, Some(ParkReason::Failed));
    assert_eq!(rig.state.head.phase, Phase::Parked);
    compact(&mut rig);
    let command = rig.command();
    let step = rig.step(Input::Continue { by: "ada".into(), command });
    assert!(asks(&step), "whoever continues does not wait for it");
}

#[test]
fn cancel_ends_it_and_the_turn_that_waits_for_it() {
    let mut rig = long(9);
    rig.say(&" and a word".repeat(60));
    rig.wake();
    let command = rig.command();
    let step = rig.step(Input::Cancel { by: "ada".into(), command });
    assert!(step.effects.contains(&Effect::Abort));
    assert_eq!(kinds(&rig.fail_summary(FailureKind::Cancelled)), ["turn_ended"]);
    assert_eq!((rig.state.head.phase, rig.state.head.compaction.clone()), (Phase::Idle, None));
    // One that a person asked for, too.
    compact(&mut rig);
    let command = rig.command();
    let step = rig.step(Input::Cancel { by: "ada".into(), command });
    assert_eq!((kinds(&step), outbox(&step).len()), (vec!["compaction_given_up"], 2));
    assert_eq!(rig.state.head.phase, Phase::Idle);
}

#[test]
fn a_restart_begins_it_again_with_its_turn_and_gives_others_up() {
    let mut rig = long(9);
    rig.say(&" and a word".repeat(60));
    rig.wake();
    let step = rig.crash(SOON, false);
    assert_eq!(kinds(&step), ["turn_resumed", "compaction_began"]);
    assert!(step.rows.usage[0].estimated && summarises(&step));
    rig.summarise("short");
    reply(&mut rig);
    compact(&mut rig);
    let step = rig.crash(SOON, false);
    assert_eq!((kinds(&step), outbox(&step).len()), (vec!["compaction_given_up"], 1), "whoever asked for it is told");
    // A turn that the host dies of again and again is set aside here as anywhere.
    rig.policy.compact_at = 1;
    rig.say(&" and a word".repeat(60));
    rig.wake();
    for _ in 0..3 {
        assert_eq!(rig.state.head.phase, Phase::Compacting);
        rig.crash(SOON, false);
    }
    assert_eq!(rig.state.head.phase, Phase::Idle);
}

fn cache_alarm(step: &Step) -> Option<(Alarm, Duration)> {
    step.effects.iter().find_map(|effect| match effect {
        Effect::Arm { alarm, after } if alarm.timer == Timer::CacheExpiring => Some((*alarm, *after)),
        _ => None,
    })
}

/// A session whose last request left a minute before its turn ended.
fn resting(turns: usize) -> (Rig, Option<(Alarm, Duration)>) {
    let mut rig = long(turns);
    rig.policy.cache_ttl = Some(Duration::from_secs(300));
    rig.say("hello");
    rig.wake();
    rig.facts.asked_at = Some(rig.facts.now);
    rig.facts.now = Moment(rig.facts.now.0 + 60_000);
    let step = reply(&mut rig);
    let armed = cache_alarm(&step);
    (rig, armed)
}

#[test]
fn a_long_history_is_summarised_shortly_before_its_cache_expires() {
    assert_eq!(resting(1).1, None, "a short one is not worth it");
    let (mut rig, armed) = resting(6);
    let (alarm, after) = armed.expect("an alarm");
    assert_eq!(after, Duration::from_secs(300 - 30 - 60), "counted from the request");
    let step = rig.step(Input::Alarm(alarm));
    assert_eq!(kinds(&step), ["compaction_began"]);
    assert!(matches!(step.events[0].event, Event::CompactionBegan { why: CompactReason::Idle, retold: false, .. }));
    let done = rig.summarise("short");
    assert_eq!((kinds(&done), outbox(&done).len(), rig.state.head.phase), (vec!["compacted"], 0, Phase::Idle));
    assert!(rig.step(Input::Alarm(alarm)).events.is_empty(), "once per turn");
}

#[test]
fn a_message_does_not_wait_for_an_idle_compaction_and_its_failure_is_nobody_s_business() {
    let (mut rig, armed) = resting(6);
    rig.step(Input::Alarm(armed.expect("an alarm").0));
    rig.say("good morning");
    let step = rig.wake();
    assert_eq!(kinds(&step), ["compaction_given_up", "turn_began"]);
    assert!(asks(&step) && step.effects.contains(&Effect::Abort) && outbox(&step).is_empty());
    let (mut rig, armed) = resting(6);
    rig.step(Input::Alarm(armed.expect("an alarm").0));
    let failed = rig.fail_summary(FailureKind::Overloaded);
    assert_eq!((kinds(&failed), outbox(&failed).len()), (vec!["compaction_given_up"], 0));
    assert_eq!(rig.state.head.phase, Phase::Idle);
}

#[test]
fn the_system_prompt_stays_until_a_compaction_and_what_changed_is_told_once() {
    let mut rig = long(0);
    let with = |name: &str| Surroundings { mounts: vec![(name.to_owned(), true)], ..Surroundings::default() };
    let turn = |rig: &mut Rig, name: &str| {
        rig.say(&format!("hello{}", " and a word".repeat(15)));
        let step = rig.step(Input::Wake { notices: Vec::new(), surroundings: Some(with(name)) });
        rig.answer("an answer");
        let Event::TurnBegan { notices, .. } = &step.events[0].event else { panic!("no turn") };
        notices.iter().map(|notice| notice.text.clone()).collect::<Vec<_>>()
    };
    let shown = |rig: &Rig| rig.state.head.prompt.clone().unwrap().shown;
    assert_eq!(turn(&mut rig, "photos"), Vec::<String>::new(), "what it begins with is no news");
    assert_eq!(turn(&mut rig, "music"), ["- `mounts/music/`: a directory of the operator, writable."]);
    assert_eq!(turn(&mut rig, "music"), Vec::<String>::new(), "told once");
    assert_eq!(shown(&rig), with("photos"), "the prompt is as it was");
    compact(&mut rig);
    rig.summarise("short");
    assert_eq!(shown(&rig), with("music"), "a new history begins with what is so now");
    assert_eq!(turn(&mut rig, "music"), Vec::<String>::new());
}

#[test]
fn the_pieces_of_an_answer_that_asks_for_tools_are_no_summary() {
    let mut rig = long(9);
    compact(&mut rig);
    let answer = completion("Let me look at the tests next.", &["read"]);
    let step = rig.step(Input::Summarised { id: rig.summary(), completion: Box::new(answer) });
    assert_eq!(kinds(&step), ["summary_failed"]);
    assert!(!step.effects.iter().any(|effect| matches!(effect, Effect::Start(_))), "none of them runs");
}
