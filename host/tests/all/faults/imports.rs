//! A function of the host panics under its guest, or a call ends at any of its awaits: the call has a typed end, and the host
//! goes on as if nothing had been.

use std::fs;

use futures_util::future::join_all;
use serde_json::json;
use stellaclaw::channels::terminal::protocol::Settled;

use super::{assert_kept_in, script};
use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Script};
use crate::support::guests;
use crate::support::host::Work;
use crate::support::scene::Scene;

/// Runs at the same time. A model that failed is asked again after a second.
const AT_A_TIME: usize = 8;
/// A turn has a few dozen awaits; more would be another turn.
const AWAITS_MAX: usize = 200;
/// Idle connections and what the log has open differ from run to run.
const MORE: usize = 2;

/// What became of a run with a fault.
struct Played {
    failed: bool,
    /// What the model was told of its calls.
    told: String,
    descriptors: usize,
}

/// Calls that wait for a clock and for the store, beside those of [`script`].
fn waiting() -> Script {
    let calls = Answer::calls([
        ("nap", json!({"ms": 5, "say": "rested"})),
        ("keep", json!({"how": "put", "key": "k", "value": "v"})),
        ("keep", json!({"how": "get", "key": "k"})),
    ]);
    script().on("linger", [calls, Answer::text("All of it.")])
}

/// A work directory in which the components of these calls have been compiled.
async fn compiled() -> Work {
    let work = Work::new();
    let plugins = work.workdir().join("plugins");
    fs::create_dir_all(&plugins).unwrap();
    fs::copy(guests::probe(), plugins.join("probe.wasm")).unwrap();
    fs::copy(guests::keeper(), plugins.join("keeper.wasm")).unwrap();
    let listed = work.run(&["plugin", "list"], "").await;
    assert!(listed.output.contains("tools: nap, spin, shout") && listed.output.contains("tools: keep"), "{listed:?}");
    work
}

/// Plays a turn through the fault, and one after it.
async fn play(compiled: &Work, fault: String, says: &str) -> Played {
    let scene = Scene::new(waiting()).await;
    scene.work.take_components(compiled);
    let mut host = scene.work.start(&[("FAULT_AT", &fault)]).await.unwrap();
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let mut state = {
        client.say("1", says).await.unwrap();
        client.settle().await.unwrap().1
    };
    // What does not pass by itself is left to a person.
    if state == Settled::Parked {
        client.say("2", "/continue").await.unwrap();
        state = client.settle().await.unwrap().1;
    }
    assert_eq!(state, Settled::Idle, "{fault}");
    assert_eq!(client.talk("3", "hello").await.unwrap().last().unwrap().text, "Hello to you.", "{fault}");
    assert!(host.ended().is_none(), "{fault}");
    let descriptors = host.descriptors().len();
    let log = host.said();
    host.stop().await;
    assert_kept_in(&scene, 0, 2);
    let told = scene.fake.asks().last().unwrap().body["messages"].to_string();
    Played { failed: log.contains("because a test wants it to"), told, descriptors }
}

/// One run for each of these firings of `fault`, until one does not come to it any more.
async fn play_all(compiled: &Work, fault: &str, says: &str, firings: impl IntoIterator<Item = usize>) -> Vec<Played> {
    let mut all = Vec::new();
    let mut firings = firings.into_iter().peekable();
    while firings.peek().is_some() {
        let some: Vec<_> = firings.by_ref().take(AT_A_TIME).collect();
        let played = join_all(some.into_iter().map(|n| play(compiled, format!("{fault}#{n}"), says))).await;
        let is_over = played.iter().any(|played| !played.failed);
        all.extend(played.into_iter().filter(|played| played.failed));
        if is_over {
            println!("{fault}: {} runs", all.len());
            return all;
        }
    }
    panic!("{fault}: there is no end of it");
}

/// 1, 2, 3, 5, 8 …: calls of the host are many, and most are like their neighbours.
fn ever_rarer() -> impl Iterator<Item = usize> {
    let next = |(n, following): &(usize, usize)| Some((*following, n + following));
    std::iter::successors(Some((1, 2)), next).map(|(n, _)| n).take_while(|n| *n < 1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_of_the_host_that_panics_ends_its_call_only() {
    let compiled = compiled().await;
    let tools = play_all(&compiled, "import.tool", "Please work.", ever_rarer()).await;
    assert!(tools.len() >= 4, "{}", tools.len());
    for played in tools {
        assert!(played.told.contains("the host failed while it ran this call; the log says how"), "{}", played.told);
    }
    let models = play_all(&compiled, "import.model", "Please work.", ever_rarer()).await;
    assert!(models.len() >= 4, "{}", models.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_end_at_any_of_its_awaits() {
    let compiled = compiled().await;
    let undisturbed = play(&compiled, "none".into(), "linger").await;
    assert!(!undisturbed.failed);
    for (fault, least) in [("await.tool", 3), ("await.model", 3)] {
        let all = play_all(&compiled, fault, "linger", 1..AWAITS_MAX).await;
        assert!(all.len() >= least, "{fault}: {}", all.len());
        for played in all {
            assert!(fault == "await.model" || played.told.contains(" s and was ended"), "{}", played.told);
            assert!(played.descriptors <= undisturbed.descriptors + MORE, "{} and {}", played.descriptors, undisturbed.descriptors);
        }
    }
}
