//! A stop in good order: what hangs at Telegram, or waits for room on the disk, does not use up its bound. And a start that
//! comes upon one.

use std::time::Duration;

use rustix::process::Signal;
use stellaclaw::channels::terminal::protocol::ToClient;
use stellaclaw::fake_telegram::{FakeTelegram, Fault, Post};
use stellaclaw::workdir::WorkDir;

use crate::support::bot::Bot;
use crate::support::client::{Client, Log};
use crate::support::fake_openai::Script;
use crate::support::host::{Host, Work};
use crate::support::scene::Scene;
use crate::support::within;

/// What a host says when a stop has used up its bound.
const LATE: &str = "some tasks did not stop in time";
/// "The disk is full or broken."
const DISK: i32 = 74;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_courtesies_that_hang() {
    let bot = Bot::new().await;
    let bob = bot.telegram.new_user("Bob");
    bot.telegram.fault(Fault::hold("menu").on("setMyCommands"));
    bot.telegram.fault(Fault::hold("hint").on("sendMessage").in_chat(bob));
    bot.telegram.fault(Fault::hold("answer").on("answerCallbackQuery"));
    bot.telegram.fault(Fault::hold("decision").on("editMessageText"));
    let host = bot.host().await;
    bot.exchange("/help", "/cancel").await;
    bot.telegram.write(bob, bob, Post::text("May I?")).unwrap();
    let card = bot.telegram.sent(bot.ann, "Bob").await.unwrap();
    bot.telegram.press(bot.ann, bot.ann, card.id, "Allow").unwrap();
    let hang =
        |telegram: &FakeTelegram| ["menu", "hint", "answer", "decision"].iter().all(|name| telegram.held_count(name) > 0).then_some(());
    bot.telegram.wait("all of them to hang", hang).await.unwrap();
    bot.telegram.sent(bob, "You may talk to this bot now.").await.unwrap();
    host.stop().await;
    assert!(!bot.work.log().contains(LATE), "{}", bot.work.log());
}

/// Waits until the host has said one of these: which.
async fn says(host: &Host, any: &[&str]) -> String {
    let said = async {
        loop {
            if let Some(found) = any.iter().find(|text| host.said().contains(**text)) {
                return (*found).to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(&format!("one of {any:?}"), said).await
}

/// The disk is full from so many commits on: whether the host was stopped while a command that it had accepted waited for room.
async fn stops_at(commit: usize) -> bool {
    let scene = Scene::new(Script::default()).await;
    let mut host = match scene.work.start(&[("FAULT_AT", &format!("commit.full#{commit}+"))]).await {
        Ok(host) => host,
        Err(status) => {
            assert_eq!(status.code(), Some(DISK), "{}", scene.work.log());
            return false;
        }
    };
    // Where there is no room for the conversation nothing is accepted.
    let mut waited = false;
    let log = Log::new(&scene.work.workdir());
    if let Ok(mut client) = Client::attach(&scene.work, "", &log).await
        && matches!(client.welcome, ToClient::Welcome { .. })
    {
        client.send("1", "/status").await.unwrap();
        let taken = client.until(|line| match line {
            ToClient::Receipt { .. } => Some(true),
            ToClient::Rejected { .. } => Some(false),
            _ => None,
        });
        if taken.await.unwrap() {
            // Who waits names itself: a session has begun with the command, its conversation has not.
            let [session, conversation] = ["session", "conversation"].map(|who| format!("\"a session waits\",\"{who}\""));
            waited = says(&host, &[&session, &conversation, "delivery waits"]).await == session;
        }
    }
    host.signal(Signal::TERM);
    let ended = host.exit().await;
    assert!(matches!(ended.code(), Some(0 | DISK)), "{ended:?} {}", host.said());
    assert!(!host.said().contains(LATE), "{}", host.said());
    waited
}

#[tokio::test]
async fn a_start_waits_for_who_has_the_work_directory_and_does_not_serve_it() {
    let work = Work::new();
    let lock = WorkDir::open(work.workdir()).unwrap().lock().unwrap().unwrap();
    let host = work.spawn(&[]);
    says(&host, &["waiting for its end"]).await;
    drop(lock);
    let host = work.serving(host).await.unwrap();
    host.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_room_on_the_disk() {
    let mut commit = 1;
    while !stops_at(commit).await {
        commit += 1;
        assert!(commit < 30, "no command was accepted before the disk was full");
    }
}
