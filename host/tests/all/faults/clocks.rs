//! The wall clock jumps: between turns, during one, while the host is down.

use std::fs;
use std::path::PathBuf;

use stellaclaw::channels::terminal::protocol::{Kind, Settled};

use super::{assert_kept, script};
use crate::support::client::Client;
use crate::support::fake_openai::Answer;
use crate::support::scene::Scene;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A clock that can be set.
struct Clock(PathBuf);

impl Clock {
    fn new(scene: &mut Scene) -> Self {
        let path = scene.work.folder().join("clock");
        scene.work.set("TEST_CLOCK", path.to_str().unwrap());
        Self(path)
    }

    /// From now on the clock is wrong by so much.
    fn wrong_by(&self, millis: i64) {
        // Renamed into place: whoever reads it never sees half of it.
        let new = self.0.with_extension("new");
        fs::write(&new, millis.to_string()).unwrap();
        fs::rename(&new, &self.0).unwrap();
    }
}

/// Every jump, and back again.
fn jumps() -> Vec<i64> {
    let now = stellaclaw::clock::now().0;
    let far = 4_300_000_000_000 - now;
    [DAY, -DAY, HOUR, -HOUR, -now, far].into_iter().flat_map(|jump| [jump, 0]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_between_and_during_turns_change_nothing() {
    let mut script = script();
    for (n, _) in jumps().iter().enumerate() {
        let key = format!("jump-{n}.");
        script = script.on(&key, [Answer::text("Still here.").held(&key)]).on(&format!("after-{n}."), [Answer::text("And on it goes.")]);
    }
    let mut scene = Scene::new(script).await;
    let clock = Clock::new(&mut scene);
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    for (n, jump) in jumps().into_iter().enumerate() {
        let key = format!("jump-{n}.");
        client.say(&format!("during-{n}"), &key).await.unwrap();
        scene.fake.held(&key, 1).await;
        clock.wrong_by(jump);
        scene.fake.release(&key);
        let (replies, state) = client.settle().await.unwrap();
        assert_eq!((replies.len(), replies[0].text.as_str(), state), (1, "Still here.", Settled::Idle), "{jump}");
        let replies = client.talk(&format!("after-{n}"), &format!("after-{n}.")).await.unwrap();
        assert_eq!((replies.len(), replies[0].text.as_str()), (1, "And on it goes."), "{jump}");
    }
    host.stop().await;
    assert_kept(&scene, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_while_the_host_is_down_resume_or_ask_and_lose_nothing() {
    let playing: tokio::task::JoinSet<()> = jumps().into_iter().step_by(2).map(down).collect();
    playing.join_all().await;
}

async fn down(jump: i64) {
    let mut scene = Scene::new(script()).await;
    let clock = Clock::new(&mut scene);
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    host.kill();
    clock.wrong_by(jump);
    let host = scene.work.host().await;
    scene.fake.release("wait");
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (mut replies, state) = client.settle().await.unwrap();
    // Forward it looks like a long downtime, and a person is asked; backward like none.
    if jump >= HOUR {
        assert_eq!((replies.len(), replies[0].kind, state), (1, Kind::Question, Settled::Parked), "{jump}: {replies:?}");
        replies = client.talk("2", "/continue").await.unwrap();
    }
    assert_eq!(replies.last().unwrap().text, "It was worth it.", "{jump}");
    // And the same message again is still known.
    client.say("1", "wait").await.unwrap();
    assert_eq!(client.settle().await.unwrap().0, []);
    host.stop().await;
    assert_kept(&scene, 1);
}
