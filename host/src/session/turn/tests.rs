//! The step table, row by row.

use std::time::Duration;

use crate::chat::{AnswerPiece, Batching, Failure, FailureKind, Reached, Replay, Stop};
use crate::commands::Button;
use crate::ids::InboxId;
use crate::limits;
use crate::session::event::{Ending, Event, Notice, Outcome, ParkReason};
use crate::session::rig::{Rig, asks, completion, kinds, outbox, outcomes, started};
use crate::session::state::{Phase, Spend};
use crate::session::turn::{Alarm, Class, Effect, Input, OutboxKind, Step, Timer, Which};

const READ: (&str, Replay, Batching) = ("read", Replay::Read, Batching::Parallel);
const TOUCH: (&str, Replay, Batching) = ("touch", Replay::Idempotent, Batching::Serial);
const RUN: (&str, Replay, Batching) = ("run", Replay::Effect, Batching::Serial);

const SOON: Duration = Duration::from_secs(5);

fn ada() -> String {
    "ada".into()
}

fn cancel(rig: &mut Rig) -> Step {
    let command = rig.command();
    rig.step(Input::Cancel { by: ada(), command })
}

fn resume(rig: &mut Rig) -> Step {
    let command = rig.command();
    rig.step(Input::Continue { by: ada(), command })
}

fn fire(rig: &mut Rig, timer: Timer) -> Step {
    let turn = rig.state.head.last_turn;
    rig.step(Input::Alarm(Alarm { turn, timer }))
}

fn armed(step: &Step) -> Vec<(Timer, Duration)> {
    let alarms = step.effects.iter().filter_map(|effect| match effect {
        Effect::Arm { alarm, after } => Some((alarm.timer, *after)),
        _ => None,
    });
    alarms.collect()
}

fn park_reason(rig: &Rig) -> Option<ParkReason> {
    assert_eq!(rig.state.head.phase, Phase::Parked);
    rig.state.head.turn.as_ref().and_then(|turn| turn.parked)
}

#[test]
fn a_message_begins_a_turn_and_an_answer_ends_it() {
    let mut rig = Rig::new();
    let inbox = rig.say("hello");
    let begun = rig.wake();
    assert_eq!(kinds(&begun), ["turn_began"]);
    assert_eq!((begun.rows.taken, begun.rows.phase), (vec![inbox], Some(Phase::Asking)));
    assert!(begun.effects.contains(&Effect::Ask { step: 1 }));

    let done = rig.answer("hi");
    assert_eq!(kinds(&done), ["answered", "turn_ended"]);
    assert_eq!(done.rows.done, [inbox]);
    assert_eq!(outbox(&done), ["s4.t1.final"]);
    assert_eq!((done.rows.outbox[0].body.as_str(), done.rows.usage.len()), ("hi", 1));
    assert_eq!(done.rows.phase, Some(Phase::Idle));
    assert!(!done.effects.contains(&Effect::Wake));
}

#[test]
fn a_change_is_announced_once_and_what_a_session_begins_with_is_none() {
    let mut rig = Rig::new();
    let notice = |hash: &str| Notice { component: "skills".into(), hash: hash.into(), text: "new: pdf".into() };
    let mut turn = |hash: &str| -> (Vec<_>, bool) {
        rig.say("go");
        let step = rig.step(Input::Wake { notices: vec![notice(hash)], surroundings: None });
        let told = step.events.iter().any(|recorded| matches!(&recorded.event, Event::TurnBegan { notices, .. } if !notices.is_empty()));
        rig.answer("done");
        (kinds(&step), told)
    };
    assert_eq!(turn("a"), (vec!["turn_began", "noticed"], false), "remembered, not told");
    assert_eq!(turn("a"), (vec!["turn_began"], false));
    assert_eq!(turn("b"), (vec!["turn_began", "noticed"], true));
    assert_eq!(turn("b"), (vec!["turn_began"], false));
}

#[test]
fn messages_that_came_too_late_to_join_wake_the_session_again() {
    let mut rig = Rig::asking();
    rig.facts.shown = true;
    rig.say("and this");
    let late = rig.wake();
    assert!(late.events.is_empty() && late.effects.is_empty());
    assert!(rig.answer("done").effects.contains(&Effect::Wake));
    assert_eq!(kinds(&rig.wake()), ["turn_began"]);
}

#[test]
fn a_message_joins_a_request_of_which_nothing_was_shown() {
    let mut rig = Rig::asking();
    let inbox = rig.say("wait, better");
    let joined = rig.wake();
    assert_eq!(kinds(&joined), ["inputs_joined"]);
    assert_eq!(joined.rows.taken, [inbox]);
    assert_eq!(joined.effects, [Effect::Abort, Effect::Ask { step: 2 }]);
    let stale = rig.step(Input::Answer { step: 1, completion: Box::new(completion("old", &[])), classes: vec![] });
    assert!(stale.events.is_empty() && stale.rows.outbox.is_empty(), "the superseded answer is ignored");
    assert_eq!(rig.answer("new").rows.done, [InboxId(1), inbox]);
}

#[test]
fn waves_are_runs_of_parallel_calls_or_one_serial_one() {
    let mut rig = Rig::asking();
    let first = rig.answer_with(&[READ, READ, RUN, TOUCH, READ]);
    assert_eq!(kinds(&first), ["answered", "calls_began"]);
    assert_eq!(first.rows.usage.len(), 1);
    let ids = |step: &Step| started(step).iter().map(|start| start.call.id.0.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ["s4.t1.1.0", "s4.t1.1.1"]);
    let one = rig.end(1, Outcome::Ok);
    assert_eq!((kinds(&one), started(&one).len()), (vec!["call_ended"], 0));
    let wave = rig.end(0, Outcome::Error);
    assert_eq!((kinds(&wave), ids(&wave)), (vec!["call_ended", "calls_began"], vec!["s4.t1.1.2".to_owned()]));
    assert_eq!(ids(&rig.end(2, Outcome::Ok)), ["s4.t1.1.3"]);
    assert_eq!(ids(&rig.end(3, Outcome::Ok)), ["s4.t1.1.4"]);
    let last = rig.end(4, Outcome::Ok);
    assert_eq!(last.effects, [Effect::Ask { step: 2 }]);
    assert!(rig.end(4, Outcome::Ok).events.is_empty(), "a call ends once");
}

#[test]
fn refused_calls_are_answered_without_running() {
    let mut rig = Rig::asking();
    let classes = ["there is no tool \"x\"", ""].map(|why| Class {
        replay: Replay::Read,
        batching: Batching::Parallel,
        refused: (!why.is_empty()).then(|| why.to_owned()),
    });
    let step = rig.step(Input::Answer { step: 1, completion: Box::new(completion("", &["x", "read"])), classes: classes.to_vec() });
    assert_eq!(kinds(&step), ["answered", "call_ended", "calls_began"]);
    assert_eq!(started(&step).len(), 1);

    let mut rig = Rig::asking();
    let all = rig.step(Input::Answer { step: 1, completion: Box::new(completion("", &["x"])), classes: vec![] });
    assert_eq!((kinds(&all), outcomes(&all)), (vec!["answered", "call_ended"], vec![Outcome::Error]));
    assert!(asks(&all), "the model reads the refusal");
}

#[test]
fn calls_give_way_to_messages_that_wait() {
    let mut rig = Rig::asking();
    rig.facts.shown = true;
    rig.say("stop, not like that");
    let step = rig.answer_with(&[RUN, READ]);
    assert_eq!(kinds(&step), ["answered", "call_ended", "call_ended", "inputs_joined"]);
    assert_eq!(outcomes(&step), [Outcome::NotStarted; 2]);
    assert!(asks(&step) && started(&step).is_empty());
}

#[test]
fn a_message_during_calls_stops_waits_and_lets_nothing_new_start() {
    let mut rig = Rig::calling(&[READ, RUN]);
    rig.say("also this");
    let room = rig.wake();
    assert_eq!(outcomes(&room), [Outcome::NotStarted]);
    assert!(room.effects.contains(&Effect::Stop { which: Which::WaitsAndReads, grace: limits::STOP_GRACE }));
    assert_eq!(armed(&room), [(Timer::Join { step: 2 }, limits::JOIN_GRACE)]);
    let joined = rig.end(0, Outcome::Cancelled);
    assert_eq!(kinds(&joined), ["call_ended", "inputs_joined"]);
    assert!(asks(&joined));
}

#[test]
fn calls_that_do_not_make_room_in_time_are_unknown() {
    let mut rig = Rig::calling(&[RUN]);
    rig.say("hurry");
    rig.wake();
    let due = fire(&mut rig, Timer::Join { step: 2 });
    assert_eq!((kinds(&due), outcomes(&due)), (vec!["call_ended", "inputs_joined"], vec![Outcome::Unknown]));
    assert_eq!(due.effects[0], Effect::Stop { which: Which::All, grace: Duration::ZERO });
    assert!(asks(&due));
    assert!(rig.end(0, Outcome::Ok).events.is_empty(), "too late");
}

#[test]
fn passing_failures_are_retried_with_growing_waits_then_the_turn_is_parked() {
    let mut rig = Rig::asking();
    let first = rig.fail(FailureKind::Overloaded);
    assert_eq!(kinds(&first), ["ask_failed"]);
    assert_eq!(armed(&first), [(Timer::Retry { step: 2 }, Duration::from_secs(1))]);
    assert!(!asks(&first) && first.rows.usage.is_empty());
    assert!(fire(&mut rig, Timer::Retry { step: 1 }).effects.is_empty(), "not this one");
    assert!(asks(&fire(&mut rig, Timer::Retry { step: 2 })));
    let broken = Failure { reached: Reached::AfterOutput, ..Failure::new(FailureKind::Transport, "it broke") };
    let second = rig.step(Input::Failed { step: rig.ask_step(), failure: broken });
    assert_eq!(armed(&second)[0].1, Duration::from_secs(2));
    assert!(second.rows.usage[0].estimated, "it had begun to answer");
    let parked = rig.fail(FailureKind::Server);
    assert_eq!((kinds(&parked), park_reason(&rig)), (vec!["turn_parked"], Some(ParkReason::Failed)));
    let notice = &parked.rows.outbox[0];
    assert_eq!((notice.kind, &notice.buttons[..]), (OutboxKind::Question, &[Button::new("Try again", "/continue")][..]));
    assert!(notice.body.contains("/continue") && notice.body.contains("s4.t1"), "{}", notice.body);
    assert!(notice.body.contains("after 3 attempts: it broke."), "{}", notice.body);
}

#[test]
fn the_provider_s_wait_is_obeyed_within_reason() {
    for (asked, granted) in [(1_500, Duration::from_millis(1500)), (86_400_000, limits::RETRY_AFTER_MAX)] {
        let mut rig = Rig::asking();
        let mut failure = Failure::new(FailureKind::RateLimit, "slow down");
        failure.retry_after_ms = Some(asked);
        assert_eq!(armed(&rig.step(Input::Failed { step: 1, failure }))[0].1, granted);
    }
}

#[test]
fn a_success_forgets_earlier_failures() {
    let mut rig = Rig::asking();
    for _ in 0..4 {
        rig.fail(FailureKind::Server);
        rig.fail(FailureKind::Server);
        rig.answer_with(&[READ]);
        rig.end(0, Outcome::Ok);
        assert_eq!(rig.state.head.phase, Phase::Asking);
    }
}

#[test]
fn lasting_failures_park_at_once_and_a_message_or_continue_goes_on() {
    for kind in [FailureKind::AuthInvalid, FailureKind::Quota, FailureKind::InvalidRequest] {
        let mut rig = Rig::asking();
        rig.fail(kind);
        assert_eq!(park_reason(&rig), Some(ParkReason::Failed));
        let resumed = resume(&mut rig);
        assert_eq!(kinds(&resumed), ["turn_resumed"]);
        assert!(asks(&resumed));
        rig.fail(kind);
        rig.say("try again");
        let joined = rig.wake();
        assert_eq!(kinds(&joined), ["inputs_joined"]);
        assert!(asks(&joined));
        assert_eq!(rig.answer("there").rows.done.len(), 2);
    }
}

/// A session with a model that stands in, which has asked the first one.
fn with_stand_in() -> Rig {
    let mut rig = Rig::asking();
    rig.policy.chain = vec!["main".into(), "other".into()];
    rig
}

fn cooled(step: &Step) -> Vec<&str> {
    let cools = step.effects.iter().filter_map(|effect| match effect {
        Effect::Cool { model, .. } => Some(model.as_str()),
        _ => None,
    });
    cools.collect()
}

#[test]
fn a_model_that_says_no_is_replaced_at_once() {
    let lasting = [
        FailureKind::Denied,
        FailureKind::AuthExpired,
        FailureKind::AuthInvalid,
        FailureKind::Forbidden,
        FailureKind::Quota,
        FailureKind::UsageLimit,
        FailureKind::ModelNotFound,
    ];
    for kind in lasting {
        let mut rig = with_stand_in();
        let step = rig.fail(kind);
        assert_eq!((kinds(&step), cooled(&step), asks(&step)), (vec!["ask_failed"], vec!["main"], true), "{kind:?}");
        assert!(step.rows.outbox.is_empty() && armed(&step).is_empty());
        assert_eq!(rig.state.head.turn.as_ref().unwrap().skipped, ["main"]);
        // The answer is the other one's, at its price; the next request may go to the first again.
        rig.policy.model = "other".into();
        let answered = rig.answer_with(&[READ]);
        assert_eq!(answered.rows.usage[0].model, "other");
        assert!(matches!(&answered.events[0].event, Event::Answered { model, .. } if model == "other"));
        assert!(rig.state.head.turn.as_ref().unwrap().skipped.is_empty());
    }
}

#[test]
fn a_model_that_may_recover_is_asked_again_first_unless_that_takes_long() {
    let mut rig = with_stand_in();
    for _ in 1..rig.policy.retry.tries {
        let step = rig.fail(FailureKind::Overloaded);
        assert!(!armed(&step).is_empty() && cooled(&step).is_empty());
    }
    let step = rig.fail(FailureKind::Overloaded);
    assert_eq!((cooled(&step), asks(&step)), (vec!["main"], true));
    assert_eq!(rig.state.head.turn.as_ref().unwrap().tries, 0, "the other one has all its attempts");

    let limited = Failure { retry_after_ms: Some(3_600_000), ..Failure::new(FailureKind::RateLimit, "in an hour") };
    let mut rig = with_stand_in();
    let step = rig.step(Input::Failed { step: 1, failure: limited.clone() });
    assert_eq!((cooled(&step), asks(&step)), (vec!["main"], true));
    let mut alone = Rig::asking();
    let step = alone.step(Input::Failed { step: 1, failure: limited });
    assert_eq!((armed(&step)[0].1, cooled(&step)), (limits::RETRY_AFTER_MAX, vec![]));
}

#[test]
fn when_nobody_stands_in_the_turn_is_parked_and_continue_asks_everybody_anew() {
    let mut rig = with_stand_in();
    rig.fail(FailureKind::Quota);
    rig.policy.model = "other".into();
    let parked = rig.fail(FailureKind::AuthInvalid);
    assert_eq!((kinds(&parked), cooled(&parked), park_reason(&rig)), (vec!["turn_parked"], vec!["other"], Some(ParkReason::Failed)));
    let body = &parked.rows.outbox[0].body;
    assert!(body.contains("`other` refused our credentials") && body.contains("It stood in for `main`."), "{body}");
    assert!(asks(&resume(&mut rig)));
    assert!(rig.state.head.turn.as_ref().unwrap().skipped.is_empty());

    // What cools down does not stand in.
    let mut rig = with_stand_in();
    rig.facts.cooling = vec![("other".into(), crate::clock::Moment(i64::MAX))];
    rig.fail(FailureKind::Quota);
    assert_eq!(park_reason(&rig), Some(ParkReason::Failed));
}

#[test]
fn what_is_asked_for_is_at_fault_with_every_model() {
    for kind in [FailureKind::InvalidRequest, FailureKind::InvalidMedia, FailureKind::Policy, FailureKind::Other] {
        let mut rig = with_stand_in();
        let step = rig.fail(kind);
        assert_eq!((kinds(&step), cooled(&step)), (vec!["turn_parked"], vec![]), "{kind:?}");
    }
}

#[test]
fn after_a_restart_the_chain_begins_anew() {
    let mut rig = with_stand_in();
    rig.fail(FailureKind::Quota);
    let step = rig.crash(SOON, false);
    assert!(asks(&step) && rig.state.head.turn.as_ref().unwrap().skipped.is_empty());
}

#[test]
fn a_failure_says_how_far_the_request_came() {
    let told = |kind, reached, tries: u32| {
        let mut rig = Rig::asking();
        rig.policy.retry.tries = tries;
        let failure = Failure { reached, ..Failure::new(kind, "no") };
        for _ in 1..tries {
            rig.step(Input::Failed { step: rig.ask_step(), failure: failure.clone() });
        }
        rig.step(Input::Failed { step: rig.ask_step(), failure }).rows.outbox[0].body.clone()
    };
    let begins = |text: String, with: &str| assert!(text.starts_with(with), "{text}");
    begins(told(FailureKind::Transport, Reached::BeforeSend, 2), "The model `main` could not be reached after 2 attempts: no.");
    begins(told(FailureKind::Server, Reached::Sent, 2), "The model `main` did not answer after 2 attempts: no.");
    begins(told(FailureKind::Server, Reached::AfterOutput, 2), "The model `main` broke off its answer, at the last of 2 attempts: no.");
    begins(told(FailureKind::Other, Reached::AfterOutput, 1), "The model `main` broke off its answer: no.");
    begins(told(FailureKind::Other, Reached::BeforeSend, 1), "The model `main` did not answer: no.");
}

#[test]
fn an_old_half_is_dropped_when_the_context_is_too_large() {
    let mut rig = Rig::new();
    for n in 0..8 {
        rig.say(&format!("question {n} {}", "x".repeat(1000)));
        rig.wake();
        rig.answer(&"y".repeat(1000));
    }
    rig.say("the last question");
    rig.wake();
    assert_eq!(kinds(&rig.fail(FailureKind::ContextOverflow)), ["compaction_began"]);
    let mut before = rig.state.context.tokens;
    for round in 0..limits::DROP_ROUNDS {
        let first = round == 0;
        let step = if first { rig.fail_summary(FailureKind::ContextOverflow) } else { rig.fail(FailureKind::ContextOverflow) };
        assert_eq!(kinds(&step), if first { vec!["compaction_given_up", "context_dropped"] } else { vec!["context_dropped"] });
        assert!(asks(&step));
        assert_eq!(outbox(&step).len(), if first { 2 } else { 0 }, "what happened is told once");
        assert!(rig.state.context.tokens < before, "each round shrinks");
        before = rig.state.context.tokens;
    }
    rig.fail(FailureKind::ContextOverflow);
    assert_eq!(park_reason(&rig), Some(ParkReason::TooLarge));

    let mut rig = Rig::asking();
    rig.fail(FailureKind::ContextOverflow);
    assert_eq!(park_reason(&rig), Some(ParkReason::TooLarge), "the question itself cannot be dropped");
}

#[test]
fn the_same_failing_call_is_remarked_and_then_ends_the_turn() {
    let mut rig = Rig::asking();
    for round in 1..=4 {
        rig.answer_with(&[READ]);
        let step = rig.end(0, Outcome::Error);
        let remarked = matches!(&step.events[0].event, Event::CallEnded { remark: Some(_), .. });
        assert_eq!(remarked, round == 3, "round {round}");
        assert!(asks(&step));
    }
    rig.answer_with(&[READ, RUN]);
    let ended = rig.end(0, Outcome::Error);
    assert_eq!(kinds(&ended), ["call_ended", "call_ended", "turn_ended"]);
    assert_eq!(outcomes(&ended), [Outcome::Error, Outcome::NotStarted]);
    assert_eq!(outbox(&ended), ["s4.t1.final"]);
    assert!(ended.rows.outbox[0].body.contains("`read` failed 5 times"));
}

#[test]
fn a_success_or_a_person_resets_the_loop_guard() {
    let mut rig = Rig::asking();
    for round in 0..12 {
        rig.answer_with(&[READ]);
        rig.end(0, if round % 4 == 3 { Outcome::Ok } else { Outcome::Error });
        assert_eq!(rig.state.head.phase, Phase::Asking);
    }
    for _ in 0..3 {
        for _ in 0..4 {
            rig.answer_with(&[READ]);
            rig.end(0, Outcome::Error);
        }
        rig.say("go on");
        rig.wake();
        assert_eq!(rig.state.head.phase, Phase::Asking);
    }
}

#[test]
fn cancel_ends_the_turn_when_its_work_has_closed_or_the_time_is_up() {
    let mut rig = Rig::asking();
    let asked = cancel(&mut rig);
    assert_eq!(kinds(&asked), ["cancel_requested"]);
    assert!(asked.effects.contains(&Effect::Abort));
    assert_eq!(armed(&asked), [(Timer::Cancel, limits::CANCEL_GRACE)]);
    let closed = rig.fail(FailureKind::Cancelled);
    assert_eq!(kinds(&closed), ["turn_ended"]);
    assert_eq!((outbox(&closed), closed.rows.done.as_slice()), (vec!["s4.t1.final"], [InboxId(1)].as_slice()));

    let mut rig = Rig::calling(&[READ, READ, RUN]);
    cancel(&mut rig);
    assert_eq!(kinds(&rig.end(0, Outcome::Cancelled)), ["call_ended"]);
    let closed = rig.end(1, Outcome::Ok);
    assert_eq!(
        (kinds(&closed), outcomes(&closed)),
        (vec!["call_ended", "call_ended", "turn_ended"], vec![Outcome::Ok, Outcome::NotStarted])
    );

    let mut rig = Rig::calling(&[RUN]);
    cancel(&mut rig);
    let due = fire(&mut rig, Timer::Cancel);
    assert_eq!((kinds(&due), outcomes(&due)), (vec!["call_ended", "turn_ended"], vec![Outcome::Unknown]));
    assert_eq!(due.effects[0], Effect::Stop { which: Which::All, grace: Duration::ZERO });
}

#[test]
fn cancel_also_stops_what_was_said_before_it_and_nobody_had_looked_at() {
    let mut rig = Rig::new();
    let said = rig.say("hello");
    let command = rig.command();
    let later = rig.say("never mind, this");
    let step = rig.step(Input::Cancel { by: ada(), command });
    assert_eq!(kinds(&step), ["turn_began", "cancel_requested", "turn_ended"]);
    assert_eq!((step.rows.taken.as_slice(), step.rows.done.as_slice()), ([said].as_slice(), [command, said].as_slice()));
    assert_eq!(outbox(&step), ["s4.t1.final"]);
    assert_eq!(step.effects, [Effect::Show, Effect::Wake], "what was said after it is looked at");
    assert_eq!(rig.wake().rows.taken, [later]);
}

#[test]
fn messages_that_wait_for_a_cancelled_turn_end_with_it() {
    let mut rig = Rig::calling(&[RUN]);
    let waiting = rig.say("and this");
    cancel(&mut rig);
    let later = rig.say("something else");
    let closed = rig.end(0, Outcome::Unknown);
    assert_eq!(kinds(&closed), ["call_ended", "inputs_joined", "turn_ended"]);
    assert_eq!((closed.rows.taken.as_slice(), closed.rows.done.as_slice()), ([waiting].as_slice(), [InboxId(1), waiting].as_slice()));
    assert_eq!(rig.wake().rows.taken, [later]);

    // A second stop also counts for what was said after the first.
    let mut rig = Rig::asking();
    cancel(&mut rig);
    rig.say("quickly");
    cancel(&mut rig);
    assert_eq!(kinds(&rig.fail(FailureKind::Cancelled)), ["inputs_joined", "turn_ended"]);
    assert!(rig.facts.waiting.is_empty());
}

#[test]
fn an_answer_after_cancel_starts_nothing() {
    let mut rig = Rig::asking();
    cancel(&mut rig);
    let step = rig.answer_with(&[RUN]);
    assert_eq!(kinds(&step), ["answered", "call_ended", "turn_ended"]);
    assert_eq!(outcomes(&step), [Outcome::NotStarted]);
    assert!(matches!(step.events[2].event, Event::TurnEnded { ending: Ending::Cancelled, .. }));

    let mut rig = Rig::asking();
    cancel(&mut rig);
    assert_eq!(rig.answer("it was finished already").rows.outbox[0].body, "it was finished already");
}

#[test]
fn commands_with_nothing_to_act_on_are_answered() {
    let mut rig = Rig::new();
    let step = cancel(&mut rig);
    assert!(step.events.is_empty());
    assert_eq!((outbox(&step), step.rows.done.as_slice()), (vec!["i1.answer"], [InboxId(1)].as_slice()));
    assert_eq!(outbox(&resume(&mut rig)), ["i2.answer"]);
}

#[test]
fn a_parked_turn_can_be_cancelled() {
    let mut rig = Rig::asking();
    rig.fail(FailureKind::Forbidden);
    let step = cancel(&mut rig);
    assert_eq!(kinds(&step), ["cancel_requested", "turn_ended"]);
    assert_eq!(rig.state.head.phase, Phase::Idle);
}

#[test]
fn close_ends_the_turn_and_leaves_messages_to_the_next_session() {
    let mut rig = Rig::calling(&[RUN]);
    rig.say("for the next");
    let command = rig.command();
    let step = rig.step(Input::Close { by: ada(), command });
    assert_eq!(kinds(&step), ["call_ended", "turn_ended", "closed"]);
    assert_eq!(step.rows.phase, Some(Phase::Closed));
    assert!(!step.effects.contains(&Effect::Wake) && step.rows.taken.is_empty());
    assert!(rig.wake().events.is_empty());
}

#[test]
fn shutdown_writes_nothing_and_results_are_still_kept() {
    let mut rig = Rig::calling(&[READ, READ, RUN]);
    rig.facts.stopping = true;
    let step = rig.step(Input::Shutdown);
    assert!(step.events.is_empty());
    assert_eq!(step.effects, [Effect::Stop { which: Which::All, grace: limits::SHUTDOWN_GRACE }]);
    assert_eq!(kinds(&rig.end(0, Outcome::Ok)), ["call_ended"]);
    assert!(rig.end(1, Outcome::Cancelled).events.is_empty(), "the restart runs it again");
    let again = rig.crash(SOON, true);
    assert_eq!(kinds(&again), ["turn_resumed"]);
    assert_eq!(started(&again).iter().map(|start| (start.call.id.0.as_str(), start.attempt)).collect::<Vec<_>>(), [("s4.t1.1.1", 2)]);
    assert_eq!(rig.state.head.turn.as_ref().unwrap().attempt, 1, "a clean exit is not the turn's fault");
}

#[test]
fn shutdown_keeps_an_answer_without_starting_its_calls() {
    let mut rig = Rig::asking();
    rig.facts.stopping = true;
    assert_eq!(kinds(&rig.answer_with(&[RUN])), ["answered"]);
    let again = rig.crash(SOON, true);
    assert_eq!(kinds(&again), ["turn_resumed", "calls_began"]);
    assert!(again.rows.usage.is_empty(), "no request was lost");
    assert_eq!(started(&again)[0].attempt, 1);
}

#[test]
fn limits_park_and_continue_renews_them() {
    let mut rig = Rig::asking();
    rig.policy.turn_steps = 2;
    rig.answer_with(&[READ]);
    assert!(asks(&rig.end(0, Outcome::Ok)));
    rig.answer_with(&[READ]);
    assert!(!asks(&rig.end(0, Outcome::Ok)));
    assert_eq!(park_reason(&rig), Some(ParkReason::Steps));
    assert!(asks(&resume(&mut rig)));
    rig.answer_with(&[READ]);
    assert!(asks(&rig.end(0, Outcome::Ok)), "steps are renewed");

    let mut rig = Rig::asking();
    rig.policy.turn_spend.unpriced_tokens = 110;
    rig.answer_with(&[READ]);
    let parked = rig.end(0, Outcome::Ok);
    assert_eq!((kinds(&parked), park_reason(&rig)), (vec!["call_ended", "turn_parked"], Some(ParkReason::Spend)));
    assert!(asks(&resume(&mut rig)));
    assert_eq!(rig.state.head.turn.as_ref().unwrap().spend, Spend::default());
}

#[test]
fn a_message_on_a_turn_parked_by_money_repeats_the_notice_once() {
    let mut rig = Rig::new();
    rig.facts.day.cost_micros = rig.policy.day_spend.cost_micros;
    rig.say("hello");
    let step = rig.wake();
    assert_eq!((kinds(&step), park_reason(&rig)), (vec!["turn_began", "turn_parked"], Some(ParkReason::Day)));
    rig.say("hello?");
    let repeated = rig.wake();
    assert_eq!((kinds(&repeated), outbox(&repeated)), (vec!["noticed"], vec!["s4.t1.parked.i2"]));
    assert_eq!(repeated.rows.outbox[0].kind, OutboxKind::Question);
    assert!(repeated.rows.taken.is_empty());
    assert!(rig.wake().rows.outbox.is_empty());
    let resumed = resume(&mut rig);
    assert_eq!(kinds(&resumed), ["turn_resumed", "inputs_joined"]);
    assert!(asks(&resumed), "the day was granted by a person");
    rig.facts.day.cost_micros = 2 * rig.policy.day_spend.cost_micros;
    rig.answer_with(&[READ]);
    rig.end(0, Outcome::Ok);
    assert_eq!(park_reason(&rig), Some(ParkReason::Day), "but not for ever");
}

#[test]
fn a_conversation_s_budget_stops_it_and_a_person_grants_another_one_for_the_turn() {
    let mut rig = Rig::new();
    rig.policy.conversation_spend = Spend { cost_micros: 1000, unpriced_tokens: u64::MAX };
    rig.facts.conversation = Spend { cost_micros: 3500, unpriced_tokens: 9_000_000 };
    rig.say("hello");
    let step = rig.wake();
    assert_eq!((kinds(&step), park_reason(&rig)), (vec!["turn_began", "turn_parked"], Some(ParkReason::Conversation)));
    let notice = &step.rows.outbox[0];
    assert!(
        notice.body.starts_with("The budget of this conversation is used up (0.01 USD). `/continue` goes on nevertheless."),
        "{}",
        notice.body
    );
    assert_eq!(notice.buttons, [Button::new("Continue", "/continue")]);
    rig.say("hello?");
    assert_eq!(kinds(&rig.wake()), ["noticed"], "a message is no permission to spend");
    assert!(asks(&resume(&mut rig)), "one command is enough, however much was spent before");
    rig.facts.conversation.cost_micros += 999;
    rig.answer_with(&[READ]);
    assert!(asks(&rig.end(0, Outcome::Ok)));
    rig.facts.conversation.cost_micros += 1;
    rig.answer_with(&[READ]);
    rig.end(0, Outcome::Ok);
    assert_eq!(park_reason(&rig), Some(ParkReason::Conversation), "but not for ever");
}

#[test]
fn active_time_is_limited_and_waiting_is_not_active() {
    let mut rig = Rig::calling(&[RUN]);
    rig.pass(Duration::from_secs(3000));
    let early = fire(&mut rig, Timer::Wall);
    assert_eq!(armed(&early), [(Timer::Wall, Duration::from_secs(600))]);
    rig.pass(Duration::from_secs(600));
    let due = fire(&mut rig, Timer::Wall);
    assert_eq!((kinds(&due), outcomes(&due)), (vec!["call_ended", "turn_parked"], vec![Outcome::Unknown]));
    assert!(due.effects.contains(&Effect::Stop { which: Which::All, grace: limits::STOP_GRACE }));
    rig.pass(Duration::from_secs(100_000));
    let resumed = resume(&mut rig);
    assert!(asks(&resumed));
    assert_eq!(armed(&resumed), [(Timer::Wall, Duration::from_secs(3600))]);
}

#[test]
fn restarted_first_match_cancel() {
    let mut rig = Rig::calling(&[RUN]);
    cancel(&mut rig);
    let step = rig.crash(Duration::from_secs(1_000_000), false);
    assert_eq!((kinds(&step), outcomes(&step)), (vec!["call_ended", "turn_ended"], vec![Outcome::Unknown]));
    assert_eq!(outbox(&step), ["s4.t1.final"]);
}

#[test]
fn restarted_poison_is_set_aside_after_three_attempts() {
    let mut rig = Rig::asking();
    for attempt in 2..=3 {
        let step = rig.crash(SOON, false);
        assert_eq!(kinds(&step), ["turn_resumed"]);
        assert!(asks(&step) && step.rows.usage[0].estimated);
        assert_eq!(rig.state.head.turn.as_ref().unwrap().attempt, attempt);
    }
    let step = rig.crash(SOON, false);
    assert_eq!(kinds(&step), ["turn_ended"]);
    assert_eq!((step.rows.aside, step.rows.done), (vec![InboxId(1)], vec![]));
    assert_eq!(step.rows.outbox[0].key, "s4.t1.final");
    rig.say("next");
    assert!(asks(&rig.wake()));
}

#[test]
fn restarted_after_a_long_downtime_waits_for_a_person() {
    let mut rig = Rig::calling(&[READ, RUN]);
    let step = rig.crash(Duration::from_secs(3601), false);
    assert_eq!((kinds(&step), park_reason(&rig)), (vec!["call_ended", "call_ended", "turn_parked"], Some(ParkReason::Downtime)));
    assert_eq!(outcomes(&step), [Outcome::Cancelled, Outcome::NotStarted]);
    assert!(asks(&resume(&mut rig)));
}

#[test]
fn restarted_calls_are_judged_by_their_class() {
    for (call, again) in [(READ, true), (TOUCH, true), (RUN, false)] {
        let mut rig = Rig::calling(&[call, RUN]);
        let step = rig.crash(SOON, false);
        let ids: Vec<_> = started(&step).iter().map(|start| (start.call.id.0.clone(), start.attempt)).collect();
        if again {
            assert_eq!((kinds(&step), ids), (vec!["turn_resumed"], vec![("s4.t1.1.0".to_owned(), 2)]));
        } else {
            assert_eq!(kinds(&step), ["turn_resumed", "call_ended", "calls_began"]);
            assert_eq!((outcomes(&step), ids), (vec![Outcome::Unknown], vec![("s4.t1.1.1".to_owned(), 1)]));
        }
        assert!(step.rows.usage.is_empty(), "no model request was lost");
    }
}

#[test]
fn restarted_with_nothing_running_only_looks_into_the_inbox() {
    let mut rig = Rig::new();
    assert_eq!(rig.crash(SOON, false).effects, []);
    rig.say("hello");
    let step = rig.crash(SOON, false);
    assert!(step.events.is_empty());
    assert_eq!(step.effects, [Effect::Wake]);
}

#[test]
fn a_pause_is_asked_on_and_an_empty_answer_says_so() {
    let mut rig = Rig::asking();
    let mut paused = completion("half", &[]);
    paused.stop = Stop::Pause;
    let step = rig.step(Input::Answer { step: 1, completion: Box::new(paused), classes: vec![] });
    assert_eq!((kinds(&step), step.effects), (vec!["answered"], vec![Effect::Ask { step: 2 }]));
    assert_eq!(rig.answer(" ").rows.outbox[0].body, "The model returned an empty answer.");
}

#[test]
fn repeated_vendor_ids_are_replaced_by_ours() {
    let mut rig = Rig::asking();
    let mut twice = completion("", &["read", "read"]);
    for piece in &mut twice.message.pieces {
        if let crate::chat::Piece::ToolUse(call) = piece {
            call.call_id = "same".into();
        }
    }
    let class = Class { replay: Replay::Read, batching: Batching::Parallel, refused: None };
    let step = rig.step(Input::Answer { step: 1, completion: Box::new(twice), classes: vec![class.clone(), class] });
    let Event::Answered { message, calls, .. } = &step.events[0].event else { panic!("{step:?}") };
    let vendors: Vec<&str> = calls.iter().map(|call| call.vendor.as_str()).collect();
    assert_eq!(vendors, ["s4.t1.1.0", "s4.t1.1.1"]);
    assert!(message.tool_uses().map(|call| call.call_id.as_str()).eq(vendors));
}

#[test]
fn what_the_model_reads_of_a_given_up_call_says_whether_it_ran() {
    let mut rig = Rig::calling(&[RUN, TOUCH]);
    let step = rig.crash(Duration::from_secs(9999), false);
    let texts: Vec<String> = step
        .events
        .iter()
        .filter_map(|recorded| match &recorded.event {
            Event::CallEnded { pieces, .. } => match pieces.as_slice() {
                [AnswerPiece::Text(text)] => Some(text.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert!(texts[0].starts_with("Outcome unknown: the host was restarted"), "{texts:?}");
    assert!(texts[1].starts_with("Not started: the host was restarted"), "{texts:?}");
}
