//! Polls that fail, hang, or bring what cannot be read.

use std::time::Duration;

use serde_json::json;
use stellaclaw::fake_telegram::{FakeTelegram, Fault, Post};

use super::{NOTED, asks, column, exchange, noted, notes};
use crate::support::bot::Bot;
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::Work;
use crate::support::within;

/// The host has said this so often.
fn times_said(host: &crate::support::host::Host, what: &str) -> usize {
    host.said().matches(what).count()
}

async fn says(host: &crate::support::host::Host, what: &str) {
    within(what, async {
        while times_said(host, what) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_fails_is_made_again_and_is_spoken_of_once() {
    let bot = Bot::scripted(notes()).await;
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("It works.")).await;
    let faults = [Fault::page(502), Fault::not_json(), Fault::cut(), Fault::lost_before(), Fault::too_many(1)];
    let count = faults.len();
    for (n, fault) in faults.into_iter().enumerate() {
        bot.telegram.fault(fault.on("getUpdates"));
        // The poll that waits goes well; the next one fails.
        exchange(&bot, bot.ann, Post::text(&format!("Before {n}."))).await;
        exchange(&bot, bot.ann, Post::text(&format!("After {n}."))).await;
    }
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(asks(&bot).len(), 1 + 2 * count, "each message was taken once");
    assert!(times_said(&host, "Telegram answers again") >= 1, "{}", host.said());
    assert!(!host.said().contains("AAcanary"), "the token is in the log");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_who_polls_is_spoken_of_once_and_backed_off_from() {
    let bot = Bot::scripted(notes()).await;
    bot.telegram.fault(Fault::conflict().times(3));
    // The menu is set all the same, once it can be.
    bot.telegram.fault(Fault::too_many(1).on("setMyCommands"));
    bot.telegram.fault(Fault::page(502).on("setMyCommands"));
    let host = bot.host().await;
    let set = |telegram: &FakeTelegram| telegram.menu("all_private_chats/").and(telegram.menu("all_group_chats/")).map(drop);
    bot.telegram.wait("both menus to be set", set).await.unwrap();
    assert_eq!(bot.telegram.calls_of("setMyCommands").len(), 4);
    exchange(&bot, bot.ann, Post::text("Are you there?")).await;
    assert_eq!(times_said(&host, "somebody else polls with this bot's token"), 1, "{}", host.said());
    let polls = bot.telegram.calls_of("getUpdates");
    let pauses: Vec<_> = polls[..4].windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(pauses[0] >= 900 && pauses[1] >= 1900 && pauses[2] >= 3900, "{pauses:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_telegram_the_host_starts_and_says_so_and_a_bad_token_is_explained() {
    let bot = Bot::scripted(notes()).await;
    bot.telegram.down().await;
    let host = bot.host().await;
    says(&host, "Telegram cannot be reached").await;
    bot.telegram.up().await.unwrap();
    exchange(&bot, bot.ann, Post::text("Are you there?")).await;
    says(&host, "Telegram answers again").await;
    host.stop().await;
    // It may also be taken back while it is used.
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("And now?")).await;
    bot.telegram.fault(Fault::unauthorized().always());
    bot.write("The poll that waits goes well.");
    says(&host, "Telegram does not know this token").await;
    assert_eq!(times_said(&host, "Telegram does not know this token"), 1, "{}", host.said());
    host.stop().await;
    let host = bot.host().await;
    says(&host, "Telegram does not know this token").await;
    assert_eq!(times_said(&host, "Telegram does not know this token"), 1, "{}", host.said());
    let asked = bot.work.run(&["ask", "hello"], "").await;
    assert_eq!(asked.code, Some(0), "the terminal is served all the same: {asked:?}");
    assert!(host.said().contains("channels.telegram.token") && !host.said().contains("AAcanary"), "{}", host.said());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_removed_whenever_it_is_set_and_the_menu_of_commands_is_there() {
    let mut bot = Bot::scripted(notes()).await;
    bot.work.set("TEST_POLL", "500");
    bot.telegram.set_webhook(Some("https://example.com/hook"));
    bot.write("Before it came.");
    let host = bot.host().await;
    noted(&bot, bot.ann, 1).await;
    for scope in ["all_private_chats/", "all_group_chats/"] {
        let menu = bot.telegram.wait(scope, |telegram| telegram.menu(scope)).await.unwrap();
        let names: Vec<_> = menu.as_array().unwrap().iter().map(|command| command["command"].as_str().unwrap()).collect();
        assert_eq!(names, ["cancel", "continue", "status", "model", "reasoning", "compact", "new", "help"], "{scope}");
    }
    let removals = |telegram: &FakeTelegram| telegram.calls_of("deleteWebhook");
    let before = removals(&bot.telegram).len();
    bot.telegram.set_webhook(Some("https://example.com/hook"));
    bot.write("While it polls.");
    bot.telegram.wait("it to be removed again", |telegram| (removals(telegram).len() > before).then_some(())).await.unwrap();
    noted(&bot, bot.ann, 2).await;
    let kept = |call: &stellaclaw::fake_telegram::Call| call.param("drop_pending_updates") == false;
    assert!(before >= 1 && removals(&bot.telegram).iter().all(kept), "{:?}", removals(&bot.telegram));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_at_which_the_host_panics_is_kept_and_said_and_holds_up_nobody() {
    for defect in ["update.read", "update.sort"] {
        let mut bot = Bot::scripted(notes()).await;
        bot.work.set("FAULT_AT", &format!("{defect}#2"));
        for text in ["Before.", "At this one.", "After."] {
            bot.write(text);
        }
        let host = bot.host().await;
        noted(&bot, bot.ann, 1).await;
        bot.telegram.confirmed().await.unwrap();
        bot.settle().await;
        let read = super::said(&asks(&bot).pop().unwrap()).join("\n");
        assert!(read.contains("Before.") && read.contains("After.") && !read.contains("At this one."), "{defect}: {read}");
        let shown = bot.work.run(&["doctor", "--updates", "--json"], "").await;
        let kept: serde_json::Value = serde_json::from_str(&shown.output).unwrap();
        let id = bot.telegram.updates()[1].id.to_string();
        assert!(kept.as_array().unwrap().len() == 1 && kept[0]["update"] == id, "{defect}: {shown:?}");
        assert!(
            kept[0]["raw"].as_str().unwrap().contains("At this one.") && kept[0]["reason"].as_str().unwrap().contains("panicked"),
            "{kept}"
        );
        let status = bot.work.run(&["status", "--exit-code"], "").await;
        let said = format!("telegram updates: update {id} made the host panic; `stellaclaw doctor --updates` shows it");
        assert!(status.code == Some(0) && status.output.contains(&said), "{defect}: {status:?}");
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_hangs_is_given_up_whatever_else_is_sent() {
    let bot = Bot::scripted(notes()).await;
    bot.telegram.fault(Fault::hang().on("getUpdates").after(1));
    let host = match bot.work.start(&[("TEST_POLL", "2000")]).await {
        Ok(host) => host,
        Err(status) => panic!("{status:?}"),
    };
    exchange(&bot, bot.ann, Post::text("The first.")).await;
    // This poll hangs; what it would have brought comes with the next.
    bot.telegram.write(bot.ann, bot.ann, Post::text("The second.")).unwrap();
    noted(&bot, bot.ann, 2).await;
    let polls = bot.telegram.calls_of("getUpdates");
    assert!(polls.iter().any(|poll| poll.left && poll.result.is_none()), "none hung: {polls:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_too_long_to_be_read_at_once_come_in_smaller_batches() {
    let bot = Bot::scripted(notes()).await;
    for n in 0..100 {
        bot.telegram.inject(json!({"mind_reading": {"n": n, "thought": "x".repeat(200 << 10)}}));
    }
    bot.write("After all that.");
    let host = bot.host().await;
    // As long as fewer and fewer are left, it does not hang.
    let mut left = bot.telegram.waiting();
    while left > 0 {
        left = bot.telegram.wait("fewer to wait", |telegram| Some(telegram.waiting()).filter(|now| *now < left)).await.unwrap();
    }
    noted(&bot, bot.ann, 1).await;
    assert_eq!(column(&bot, "SELECT count(*) FROM oddities"), ["100"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_the_store_never_takes_is_kept_and_said_and_holds_up_nobody() {
    let bot = Bot::scripted(notes()).await;
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("It works.")).await;
    bot.telegram.confirmed().await.unwrap();
    host.stop().await;
    let tamper = |sql: &str| {
        let store = rusqlite::Connection::open(bot.work.database()).unwrap();
        store.busy_timeout(crate::support::HANGS).unwrap();
        store.execute_batch(sql).unwrap();
    };
    let refuse = "BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    tamper(&format!("CREATE TRIGGER unbearable BEFORE INSERT ON inbox WHEN new.body LIKE '%unbearable%' {refuse}"));
    // At first not even what it was can be kept.
    tamper(&format!("CREATE TRIGGER odd BEFORE INSERT ON oddities {refuse}"));
    let others = bot.telegram.updates().len();
    for text in ["Before.", "Something unbearable.", "After."] {
        bot.write(text);
    }
    let ids: Vec<_> = bot.telegram.updates()[others..].iter().map(|update| update.id).collect();
    let host = bot.host().await;
    says(&host, "an update waits until it can be kept").await;
    // The offset stands right before it, and what came earlier is answered.
    noted(&bot, bot.ann, 2).await;
    assert_eq!(column(&bot, "SELECT cursor FROM channels WHERE cursor IS NOT NULL"), [ids[1].to_string()]);
    tamper("DROP TRIGGER odd");
    noted(&bot, bot.ann, 3).await;
    bot.telegram.confirmed().await.unwrap();
    let kept = column(&bot, "SELECT external_id || ': ' || reason || ' ' || body FROM oddities");
    let reason = format!("{}: it could not be taken: the store refused: not this one", ids[1]);
    assert!(kept.len() == 1 && kept[0].starts_with(&reason) && kept[0].contains("Something unbearable."), "{kept:?}");
    let shown = bot.work.run(&["doctor", "--updates"], "").await;
    assert!(shown.code == Some(0) && shown.output.contains(&reason) && shown.output.contains("Something unbearable."), "{shown:?}");
    let status = bot.work.run(&["status", "--exit-code"], "").await;
    let said = format!("telegram updates: update {} could not be taken (the store refused: not this one)", ids[1]);
    assert!(status.code == Some(0) && status.output.contains(&said), "{status:?}");
    exchange(&bot, bot.ann, Post::text("It still works.")).await;
    let last = asks(&bot).pop().unwrap();
    let taken: Vec<_> = super::said(&last);
    let expected = ["It works.", "Before.", "After.", "It still works."];
    assert!(taken.len() == 4 && taken.iter().zip(expected).all(|(taken, text)| taken.contains(text)), "{taken:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_it_says_what_may_be_lost_and_after_six_it_asks_from_the_beginning_over_restarts_too() {
    const DAY: u64 = 24 * 3600 * 1000;
    let mut bot = Bot::scripted(notes()).await;
    let clock = bot.work.folder().join("clock");
    bot.work.set("TEST_CLOCK", clock.to_str().unwrap());
    bot.work.set("TEST_POLL", "1000");
    let later = |millis: u64| {
        // Renamed into place: whoever reads it never sees half of it.
        std::fs::write(clock.with_extension("new"), millis.to_string()).unwrap();
        std::fs::rename(clock.with_extension("new"), &clock).unwrap();
    };
    let asked_from = |telegram: &FakeTelegram, since: usize| -> Vec<serde_json::Value> {
        telegram.calls_since(since).iter().filter(|call| call.method == "getUpdates").map(|call| call.param("offset").clone()).collect()
    };
    later(0);
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("The first.")).await;
    bot.telegram.confirmed().await.unwrap();
    host.stop().await;
    later(DAY / 2);
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("Half a day later.")).await;
    assert_eq!(times_said(&host, "Telegram drops messages"), 0, "{}", host.said());
    host.stop().await;
    later(2 * DAY);
    let before = bot.telegram.calls().len();
    let host = bot.host().await;
    bot.telegram.wait("polls", |telegram| (asked_from(telegram, before).len() >= 2).then_some(())).await.unwrap();
    assert!(asked_from(&bot.telegram, before).iter().all(|offset| !offset.is_null()), "two days are not long");
    assert_eq!(times_said(&host, "Telegram drops messages"), 1, "{}", host.said());
    later(7 * DAY);
    let open = |telegram: &FakeTelegram| asked_from(telegram, before).last().is_some_and(serde_json::Value::is_null).then_some(());
    bot.telegram.wait("a poll without an offset", open).await.unwrap();
    assert!(bot.telegram.jump_ids(5));
    exchange(&bot, bot.ann, Post::text("The second.")).await;
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(column(&bot, "SELECT cursor FROM channels WHERE cursor IS NOT NULL"), ["6"]);
    assert_eq!(asks(&bot).len(), 3);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_without_a_number_are_kept_once_and_asked_for_slowly() {
    let bot = Bot::scripted(notes()).await;
    bot.telegram.inject(json!("nonsense"));
    let host = bot.host().await;
    let polled = |telegram: &stellaclaw::fake_telegram::FakeTelegram| (telegram.calls_of("getUpdates").len() >= 4).then_some(());
    bot.telegram.wait("four polls", polled).await.unwrap();
    let polls = bot.telegram.calls_of("getUpdates");
    assert!(polls[..4].windows(2).all(|two| two[1].at - two[0].at >= 900), "{polls:?}");
    assert_eq!(column(&bot, "SELECT count(*) FROM oddities"), ["1"]);
    assert_eq!(times_said(&host, "updates without a number"), 1);
    exchange(&bot, bot.ann, Post::text("A message moves on.")).await;
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(column(&bot, "SELECT count(*) FROM oddities"), ["1"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_with_the_same_token_waits_and_says_so() {
    let bot = Bot::scripted(notes()).await;
    let other: Work = bot.work.copy();
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("The first.")).await;
    let second = other.host().await;
    says(&second, "another process on this machine polls for this bot").await;
    exchange(&bot, bot.ann, Post::text("The second.")).await;
    assert_eq!(asks(&bot).len(), 2);
    let polls = bot.telegram.calls_of("getUpdates");
    assert!(polls.iter().all(|poll| !matches!(poll.result, Some(Err(_)))), "they met: {polls:?}");
    second.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn a_flood_of_messages_of_one_person_is_bounded_and_that_is_said() {
    const MESSAGES: usize = 2_000;
    // Every request waits: what comes meanwhile joins the turn.
    let bot = Bot::scripted(Script::default().on("", [Answer::text(NOTED).held("flood")])).await;
    bot.write("first");
    let host = bot.host().await;
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("flood", 1).await;
    for n in 0..MESSAGES {
        bot.write(&format!("message {n}"));
    }
    bot.telegram.sent(bot.ann, "take no more for now").await.unwrap();
    bot.telegram.wait("the flood to be taken", |telegram| (telegram.waiting() == 0).then_some(())).await.unwrap();
    let open = "SELECT count(*) FROM inbox WHERE state IN ('new', 'taken') AND kind = 'message'";
    assert_eq!(bot.rows(open), ["256"]);
    // What commands is taken all the same, and then there is room.
    bot.write("/cancel");
    bot.settle().await;
    vendor.release("flood");
    exchange(&bot, bot.ann, Post::text("and now?")).await;
    assert_eq!(bot.telegram.bot_messages(bot.ann).iter().filter(|message| message.text.contains("no more for now")).count(), 1);
    host.stop().await;
}
