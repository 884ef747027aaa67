//! Chats that are lost, silenced, stopped or deleted while a turn runs, and go on.

use stellaclaw::fake_telegram::{Call, ChatKind, FakeTelegram, Fault, Post, Standing};

use super::inbound::{NOTED, asks, asks_about, column, exchange, holds, noted};
use crate::support::bot::Bot;

/// Is the conversation at this place closed?
fn is_closed(bot: &Bot, chat: i64) -> bool {
    column(bot, &format!("SELECT closed_at IS NOT NULL FROM conversations WHERE address = '{chat}'")) == ["1"]
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_blocks_the_bot_or_silences_it_stops_its_work_there_and_can_go_on_later() {
    let bot = Bot::scripted(holds("long work")).await;
    let bob = bot.telegram.new_user("Bob");
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Friends", &[bot.ann]).unwrap();
    bot.configure(&format!("people = [{bob}]\ngroups = [{group}]\n"));
    let host = bot.host().await;
    let vendor = bot.vendor.as_ref().unwrap();
    bot.telegram.write(bob, bob, Post::text("long work")).unwrap();
    vendor.held("long work", 1).await;
    bot.telegram.set_standing(bob, bob, Standing::Blocked).unwrap();
    bot.telegram.wait("the request to be given up", |_| (vendor.left_count("long work") == 1).then_some(())).await.unwrap();
    assert!(is_closed(&bot, bob));
    // In the group it may not write any more, which only a refusal says. Nothing is tried again, and no other chat waits.
    let mute = bot.telegram.fault(Fault::refuse(400, "Bad Request: CHAT_WRITE_FORBIDDEN").in_chat(group).always());
    let spoken = |_: &FakeTelegram| is_closed(&bot, group).then_some(());
    bot.telegram.write(group, bot.ann, Post::text("@stella_claw_bot are you there?")).unwrap();
    bot.telegram.wait("the group to be closed", spoken).await.unwrap();
    exchange(&bot, bot.ann, Post::text("Elsewhere it goes on.")).await;
    bot.telegram.remove_fault(mute);
    bot.telegram.set_standing(bob, bob, Standing::Member).unwrap();
    for (chat, who, text) in [(bob, bob, "I am back."), (group, bot.ann, "@stella_claw_bot and now?")] {
        bot.telegram.write(chat, who, Post::text(text)).unwrap();
        noted(&bot, chat, 1).await;
        assert!(!is_closed(&bot, chat));
    }
    assert_eq!(asks_about(&bot, "long work").len(), 1, "what was stopped does not begin again");
    let refused = |call: &Call| call.chat == Some(group) && call.fault.is_some() && call.param("text") == NOTED;
    assert_eq!(bot.telegram.calls_of("sendMessage").iter().filter(|call| refused(call)).count(), 1);
    host.stop().await;
    // Both come with one poll: nothing is begun for who cannot be answered.
    bot.telegram.write(bob, bob, Post::text("Too late.")).unwrap();
    bot.telegram.set_standing(bob, bob, Standing::Blocked).unwrap();
    let host = bot.host().await;
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.set_standing(bob, bob, Standing::Member).unwrap();
    exchange(&bot, bob, Post::text("I am back again.")).await;
    assert!(asks(&bot).iter().all(|ask| !ask.body.to_string().contains("Too late.")));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_stopped_and_resumed_and_begins_anew_when_its_conversation_is_deleted() {
    let bot = Bot::scripted(holds("long work")).await;
    let host = bot.host().await;
    let vendor = bot.vendor.as_ref().unwrap();
    let run = async |arguments: &[&str]| {
        let ran = bot.work.run(arguments, "").await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    bot.write("long work");
    vendor.held("long work", 1).await;
    run(&["stop-all"]).await;
    bot.telegram.wait("the request to be given up", |_| (vendor.left_count("long work") == 1).then_some(())).await.unwrap();
    bot.write("While nothing works.");
    bot.telegram.sent(bot.ann, "Everything is stopped by the operator").await.unwrap();
    assert_eq!(asks(&bot).len(), 1);
    run(&["resume"]).await;
    noted(&bot, bot.ann, 1).await;
    assert_eq!(asks_about(&bot, "While nothing works.").len(), 1);
    bot.settle().await;
    // With a turn that runs, what has been said, and its workspace.
    bot.write("more long work");
    vendor.held("long work", 2).await;
    std::fs::write(bot.work.workspace("c1").join("kept.txt"), "kept").unwrap();
    run(&["conversation", "delete", "c1", "--yes", "--force"]).await;
    bot.telegram.wait("the request to be given up", |_| (vendor.left_count("long work") == 2).then_some(())).await.unwrap();
    assert!(!bot.work.workspace("c1").exists());
    exchange(&bot, bot.ann, Post::text("Who are you?")).await;
    assert_eq!(asks_about(&bot, "Who are you?")[0].len(), 1, "it knows nothing of what was said before");
    assert_eq!(column(&bot, "SELECT id FROM conversations WHERE channel LIKE 'tg:%'"), ["2"]);
    assert_eq!(
        std::fs::read_dir(bot.work.workspace("c2")).unwrap().filter(|file| file.as_ref().unwrap().file_name() == "kept.txt").count(),
        0
    );
    host.stop().await;
}
