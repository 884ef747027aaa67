//! `kill -9` at every step: between any two things that matter the host dies, starts again, and the promises hold.
//!
//! The points are not a list that somebody keeps: a run records the name of each that fires, and then every name is killed
//! at. What the runs leave behind is judged by the checker, which knows the logs of the fakes and the tables.

mod files;
mod stage;
mod telegram;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::stage::{Boot, Played, play};
use crate::support::checker::Verdict;

/// Runs at the same time: as many as the smallest machine has processors.
const AT_A_TIME: usize = 2;
/// More points than this would take too long; the scenario has grown beyond its purpose then.
const POINTS_MAX: usize = 150;
/// Which pairs of crashes are tried.
const SEED: u64 = 0x5eed_57e1_1ac1_a000;
/// Pairs that are drawn for each first crash.
const DRAWN: usize = 2;

/// The points of an undisturbed run, and what the checker says of it.
async fn record() -> (BTreeSet<String>, Verdict) {
    let played = play(vec![Boot::Listed]).await;
    assert_eq!(played.crashes, 0);
    (played.listed, played.verdict)
}

/// Plays one run per script of boots, a few at a time, in the order of the scripts.
async fn play_all<F>(runs: Vec<Vec<Boot>>, at_a_time: usize, play: fn(Vec<Boot>) -> F) -> Vec<(Vec<Boot>, Played)>
where
    F: Future<Output = Played> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(at_a_time));
    let mut playing = JoinSet::new();
    for (number, boots) in runs.into_iter().enumerate() {
        let places = places.clone();
        playing.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            (number, boots.clone(), play(boots).await)
        });
    }
    let mut all = playing.join_all().await;
    all.sort_by_key(|(number, ..)| *number);
    all.into_iter().map(|(_, boots, played)| (boots, played)).collect()
}

/// Adds up what was found, and fails with everything that is wrong.
fn judge(what: &str, runs: &[(Vec<Boot>, Played)]) {
    let sum = |of: fn(&Verdict) -> usize| runs.iter().map(|(_, played)| of(&played.verdict)).sum::<usize>();
    let (lost, unmarked) = (sum(|verdict| verdict.lost), sum(|verdict| verdict.unmarked));
    let (marked, reexecuted) = (sum(|verdict| verdict.marked), sum(|verdict| verdict.reexecuted));
    println!("{what}: points={} lost={lost} unmarked={unmarked} reexecuted={reexecuted} (marked={marked})", runs.len());
    let mut wrong = Vec::new();
    for (boots, played) in runs {
        let planned = boots.iter().filter(|boot| matches!(boot, Boot::Killed(_))).count();
        if played.crashes != planned {
            wrong.push(format!("{boots:?}: {} of {planned} points fired", played.crashes));
        }
        if !played.verdict.is_good() {
            wrong.push(format!("{boots:?}: {}\n{}", played.verdict, played.evidence));
        }
    }
    assert!(wrong.is_empty(), "{} of {} runs went wrong:\n{}", wrong.len(), runs.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_nothing_is_lost_or_done_twice() {
    let ((points, first), (again, second)) = tokio::join!(record(), record());
    assert_eq!(points, again, "two runs of the same scenario fire different points");
    assert!(first.is_good() && second.is_good(), "without a crash: {first}\n{second}");
    assert!((40..=POINTS_MAX).contains(&points.len()), "{} points: {points:#?}", points.len());
    let kinds = ["accept", "turn_began", "ask", "answered", "call", "call_ended", "inputs_joined", "turn_ended", "plan", "send", "sent"];
    for kind in kinds.into_iter().chain(["command", "compaction_began", "compacted"]) {
        for when in ["before", "after"] {
            let name = format!("{kind}.{when}@");
            assert!(points.iter().any(|point| point.starts_with(&name)), "no point {name}: {points:#?}");
        }
    }
    let runs = points.into_iter().map(|point| vec![Boot::Killed(point)]).collect();
    judge("one crash", &play_all(runs, AT_A_TIME, play).await);
}

/// Where a first crash leaves something to recover.
const FIRST: [&str; 9] = [
    "accept.after@a-2",
    "ask.after@",
    "answered.after@",
    "call.after@",
    "inputs_joined.before@",
    "compacted.before@",
    "turn_ended.before@",
    "send.before@",
    "send.after@",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_during_recovery_changes_nothing() {
    let (points, _) = record().await;
    let firsts: Vec<String> = FIRST.iter().map(|start| last_with(&points, start)).collect();
    let listed = firsts.iter().map(|first| vec![Boot::Killed(first.clone()), Boot::Listed]).collect();
    let recorded = play_all(listed, AT_A_TIME, play).await;
    let mut random = SEED;
    let mut runs = Vec::new();
    for (first, (_, played)) in firsts.iter().zip(recorded) {
        assert!(played.verdict.is_good(), "{first}: {}", played.verdict);
        let (recovering, later): (Vec<String>, Vec<String>) = played.listed.into_iter().partition(|point| is_recovery(point));
        assert!(!recovering.is_empty(), "nothing recovered after {first}");
        let mut seconds: BTreeSet<String> = recovering.into_iter().collect();
        for _ in 0..DRAWN {
            seconds.insert(later[draw(&mut random, later.len())].clone());
        }
        runs.extend(seconds.into_iter().map(|second| vec![Boot::Killed(first.clone()), Boot::Killed(second)]));
    }
    println!("seed={SEED:#x}");
    judge("two crashes", &play_all(runs, AT_A_TIME, play).await);
}

fn is_recovery(point: &str) -> bool {
    ["recover.", "turn_resumed."].iter().any(|start| point.starts_with(start))
}

fn last_with(points: &BTreeSet<String>, start: &str) -> String {
    points.iter().rfind(|point| point.starts_with(start)).unwrap_or_else(|| panic!("no point {start}: {points:#?}")).clone()
}

/// A number below `below` (xorshift).
fn draw(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state % below as u64).unwrap()
}

/// Rounds of random kills, and what they begin with; both can be set, for longer runs and to see one again.
const ROUNDS: usize = 24;
const ROUNDS_VARIABLE: &str = "STELLACLAW_KILL_ROUNDS";
const SEED_VARIABLE: &str = "STELLACLAW_KILL_SEED";
/// Kills come within this time after the host serves; about what a whole undisturbed run takes where nothing else runs.
const KILLED_WITHIN_MS: usize = 400;

/// What the named points forget: kills at any moment, in one boot after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_moment_lose_nothing_and_do_nothing_twice() {
    let set = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{name}={value}")));
    let rounds = set(ROUNDS_VARIABLE).map_or(ROUNDS, |rounds| usize::try_from(rounds).unwrap());
    let seed = set(SEED_VARIABLE).unwrap_or(SEED);
    println!("{SEED_VARIABLE}={seed} {ROUNDS_VARIABLE}={rounds}");
    let mut random = seed;
    let mut kill = || Boot::KilledAfter(Duration::from_millis(draw(&mut random, KILLED_WITHIN_MS) as u64));
    let runs = (0..rounds).map(|round| (0..=round % 2).map(|_| kill()).collect()).collect();
    let played = play_all(runs, AT_A_TIME, play).await;
    let kills: usize = played.iter().map(|(_, played)| played.crashes).sum();
    println!("{kills} kills");
    let wrong = played.iter().filter(|(_, played)| !played.verdict.is_good());
    let wrong: Vec<_> = wrong.map(|(boots, played)| format!("{boots:?}: {}\n{}", played.verdict, played.evidence)).collect();
    assert!(wrong.is_empty(), "{} of {rounds} rounds went wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(kills >= rounds / 8, "the host is hardly ever killed while it works: {kills} kills in {rounds} rounds");
}

/// The control of the control: a host that starts calls before it has committed that it will must be caught.
#[tokio::test]
async fn the_checker_catches_a_host_that_commits_its_intent_too_late() {
    let effect = format!("call.after@{}", stage::FIRST_EFFECT);
    let honest = play(vec![Boot::Killed(effect.clone())]).await;
    assert_eq!((honest.crashes, honest.verdict.reexecuted), (1, 0), "{}", honest.verdict);
    let late = play(vec![Boot::KilledLate(effect)]).await;
    assert_eq!(late.crashes, 1);
    assert!(late.verdict.reexecuted >= 1, "nobody noticed that an effect happened twice: {}", late.verdict);
}

/// Each promise, broken by hand in what a good run left behind.
#[tokio::test]
async fn the_checker_sees_whatever_is_wrong() {
    stage::tamper().await;
}
