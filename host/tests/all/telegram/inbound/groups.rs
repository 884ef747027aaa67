//! Groups and topics: where it speaks, when it speaks, and what happens when the place changes.

use serde_json::json;
use stellaclaw::fake_telegram::{ChatKind, Post, Standing};

use super::{asks, asks_about, column, exchange, holds, noted, notes, notes_in, said};
use crate::support::bot::Bot;

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_it_speaks_when_it_is_spoken_to() {
    let bot = Bot::scripted(notes()).await;
    let bob = bot.telegram.new_user("Bob");
    let carol = bot.telegram.new_user("Carol");
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Friends", &[bot.ann, bob, carol]).unwrap();
    bot.configure(&format!("people = [{bob}]\ngroups = [{group}]\n"));
    let host = bot.host().await;
    let write = |who: i64, post: Post| bot.telegram.write(group, who, post).unwrap();
    for text in ["Just talking.", "/frobnicate", "/status@other_bot", "@other_bot hello", "/etc/hosts is a file", "/new@other_bot"] {
        write(bob, Post::text(text));
    }
    write(carol, Post::text("@stella_claw_bot I am nobody you know."));
    write(bot.ann, Post::text("@stella_claw_bot as nobody in particular").anonymous());
    write(bob, Post::text("@stella_claw_bot a mention."));
    noted(&bot, group, 1).await;
    let own = notes_in(&bot, group)[0].id;
    write(carol, Post::text("I answer you, too.").reply_to(own));
    write(bob, Post::text("A reply.").reply_to(own));
    noted(&bot, group, 2).await;
    write(bob, Post::text("/status"));
    bot.telegram.sent(group, "model: main").await.unwrap();
    write(bob, Post::text("/frobnicate@stella_claw_bot"));
    bot.telegram.sent(group, "There is no command /frobnicate").await.unwrap();
    // Somebody whom nobody knows is quoted: it is seen that these are their words, and no command.
    let order = write(carol, Post::text("/new obey me"));
    write(bob, Post::text("@stella_claw_bot what does she want?").reply_to(order));
    noted(&bot, group, 3).await;
    bot.telegram.confirmed().await.unwrap();
    let last = said(asks(&bot).last().unwrap());
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(last[0].contains("[from Bob]") && last[0].contains("a mention."), "{last:?}");
    assert!(last[1].contains("[in reply to your message:]") && last[1].contains("A reply."), "{last:?}");
    assert!(last[2].contains("[in reply to a message of Carol:]\n> /new obey me"), "{last:?}");
    assert_eq!(asks(&bot).len(), 3);
    let hints = bot.telegram.bot_messages(group).iter().filter(|message| message.text.contains("There is no command")).count();
    assert_eq!(hints, 1, "a command of another bot is no business of ours");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_topic_is_a_conversation_and_general_is_one() {
    let bot = Bot::scripted(notes()).await;
    let forum = bot.telegram.new_group(ChatKind::Supergroup { forum: true }, "Forum", &[bot.ann]).unwrap();
    bot.configure(&format!("groups = [{forum}]\n"));
    let host = bot.host().await;
    let topic = bot.telegram.new_topic(forum, bot.ann, "Plans").unwrap();
    let own = bot.telegram.new_topic(bot.ann, bot.ann, "Work").unwrap();
    bot.telegram.write(forum, bot.ann, Post::text("@stella_claw_bot in the topic").in_topic(topic)).unwrap();
    noted(&bot, forum, 1).await;
    bot.telegram.write(forum, bot.ann, Post::text("@stella_claw_bot in general")).unwrap();
    noted(&bot, forum, 2).await;
    // What is written in a topic is shown as a reply to its beginning: that alone calls nobody.
    bot.telegram.write(forum, bot.ann, Post::text("Just talking in the topic.").in_topic(topic)).unwrap();
    exchange(&bot, bot.ann, Post::text("In private.")).await;
    exchange(&bot, bot.ann, Post::text("In a private topic.").in_topic(own)).await;
    let threads: Vec<_> = notes_in(&bot, forum).iter().map(|message| message.thread).collect();
    assert_eq!(threads, [Some(topic), None]);
    let threads: Vec<_> = notes_in(&bot, bot.ann).iter().map(|message| message.thread).collect();
    assert_eq!(threads, [None, Some(own)]);
    assert!(asks(&bot).iter().all(|ask| said(ask).len() == 1), "each knows only its own");
    let mut places = vec![format!("{forum}:{topic}"), forum.to_string(), bot.ann.to_string(), format!("{}:{own}", bot.ann)];
    places.sort();
    assert_eq!(column(&bot, "SELECT address FROM conversations WHERE channel LIKE 'tg:%' ORDER BY address"), places);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_becomes_a_supergroup_goes_on_where_it_was() {
    let bot = Bot::scripted(holds("a long question")).await;
    let group = bot.telegram.new_group(ChatKind::Group, "Friends", &[bot.ann]).unwrap();
    bot.configure(&format!("groups = [{group}]\n"));
    let host = bot.host().await;
    bot.telegram.write(group, bot.ann, Post::text("@stella_claw_bot a long question")).unwrap();
    bot.vendor.as_ref().unwrap().held("a long question", 1).await;
    let to = bot.telegram.migrate(group, bot.ann, false).unwrap();
    bot.telegram.confirmed().await.unwrap();
    bot.vendor.as_ref().unwrap().release("a long question");
    bot.telegram.sent(to, "Held no more.").await.unwrap();
    bot.telegram.write(to, bot.ann, Post::text("@stella_claw_bot after the move")).unwrap();
    noted(&bot, to, 1).await;
    assert_eq!(asks_about(&bot, "after the move")[0].len(), 2, "its history went along");
    // The configuration knows only the old number.
    host.stop().await;
    let host = bot.host().await;
    bot.telegram.write(to, bot.ann, Post::text("@stella_claw_bot after a restart")).unwrap();
    noted(&bot, to, 2).await;
    assert_eq!(asks_about(&bot, "after a restart")[0].len(), 3);
    assert_eq!(column(&bot, "SELECT address FROM conversations WHERE channel LIKE 'tg:%'"), [to.to_string()]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_the_old_number_of_a_group_follows_it_after_a_restart() {
    let bot = Bot::scripted(holds("a long question")).await;
    let group = bot.telegram.new_group(ChatKind::Group, "Friends", &[bot.ann]).unwrap();
    bot.configure(&format!("groups = [{group}]\n"));
    let host = bot.host().await;
    bot.telegram.write(group, bot.ann, Post::text("@stella_claw_bot a long question")).unwrap();
    bot.vendor.as_ref().unwrap().held("a long question", 1).await;
    host.kill();
    // The updates about it are gone; only the refusal of the answer says where the group is now.
    let to = bot.telegram.migrate(group, bot.ann, false).unwrap();
    let offset = bot.telegram.updates().last().unwrap().id + 1;
    let confirm = format!("{}/bot{}/getUpdates?offset={offset}", bot.telegram.api_base_url(), bot.telegram.token());
    assert!(reqwest::get(confirm).await.unwrap().status().is_success());
    bot.telegram.confirmed().await.unwrap();
    bot.vendor.as_ref().unwrap().release("a long question");
    let host = bot.host().await;
    bot.telegram.sent(to, "Held no more.").await.unwrap();
    bot.telegram.write(to, bot.ann, Post::text("@stella_claw_bot are you there?")).unwrap();
    noted(&bot, to, 1).await;
    assert_eq!(asks_about(&bot, "are you there?")[0].len(), 2, "it is the same conversation");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_new_number_has_a_conversation_goes_on_there_and_what_was_begun_ends_there_too() {
    let bot = Bot::scripted(holds("a long question")).await;
    let group = bot.telegram.new_group(ChatKind::Group, "Friends", &[bot.ann]).unwrap();
    let approve = async |chat: i64| {
        let ran = bot.work.run(&["pair", "approve", "--", &chat.to_string()], "").await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    let host = bot.host().await;
    approve(group).await;
    bot.telegram.write(group, bot.ann, Post::text("@stella_claw_bot a long question")).unwrap();
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("a long question", 1).await;
    host.kill();
    // The bot hears late of the move: somebody speaks there first.
    let to = bot.telegram.migrate(group, bot.ann, false).unwrap();
    let late = bot.telegram.updates();
    let moved = late.iter().rev().find(|update| !update.body["message"]["migrate_to_chat_id"].is_null()).unwrap().body["message"].clone();
    let offset = late.last().unwrap().id + 1;
    let confirm = format!("{}/bot{}/getUpdates?offset={offset}", bot.telegram.api_base_url(), bot.telegram.token());
    assert!(reqwest::get(confirm).await.unwrap().status().is_success());
    let host = bot.host().await;
    vendor.held("a long question", 2).await;
    approve(to).await;
    bot.telegram.write(to, bot.ann, Post::text("@stella_claw_bot the first here")).unwrap();
    noted(&bot, to, 1).await;
    bot.telegram.inject(json!({"message": moved}));
    bot.telegram.confirmed().await.unwrap();
    // What was decided about the old number went to the new one; what is open there goes on all the same, also in the next run.
    host.kill();
    let host = bot.host().await;
    vendor.held("a long question", 3).await;
    vendor.release("a long question");
    bot.telegram.sent(to, "Held no more.").await.unwrap();
    bot.telegram.write(to, bot.ann, Post::text("@stella_claw_bot and again")).unwrap();
    noted(&bot, to, 2).await;
    assert_eq!(asks_about(&bot, "and again")[0].len(), 2, "the conversation that people had there");
    assert_eq!(column(&bot, "SELECT closed_at IS NULL FROM conversations WHERE address LIKE '-%'"), ["1", "1"]);
    // Where the bot is removed, nothing of either goes on.
    bot.telegram.set_standing(to, bot.ann, Standing::Kicked).unwrap();
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(column(&bot, "SELECT closed_at IS NULL FROM conversations WHERE address LIKE '-%'"), ["0", "0"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_removes_the_bot_stops_its_work_and_may_call_it_back() {
    let bot = Bot::scripted(holds("a long question")).await;
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Friends", &[bot.ann]).unwrap();
    bot.configure(&format!("groups = [{group}]\n"));
    let host = bot.host().await;
    bot.telegram.write(group, bot.ann, Post::text("@stella_claw_bot a long question")).unwrap();
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("a long question", 1).await;
    bot.telegram.set_standing(group, bot.ann, Standing::Kicked).unwrap();
    bot.telegram.wait("the request to be given up", |_| (vendor.left_count("a long question") == 1).then_some(())).await.unwrap();
    assert_eq!(column(&bot, "SELECT count(*) FROM conversations WHERE closed_at IS NOT NULL"), ["1"]);
    exchange(&bot, bot.ann, Post::text("Elsewhere it goes on.")).await;
    bot.telegram.set_standing(group, bot.ann, Standing::Member).unwrap();
    bot.telegram.write(group, bot.ann, Post::text("@stella_claw_bot welcome back")).unwrap();
    noted(&bot, group, 1).await;
    assert_eq!(asks_about(&bot, "a long question").len(), 1, "what was stopped does not begin again");
    assert_eq!(column(&bot, "SELECT count(*) FROM conversations WHERE closed_at IS NOT NULL"), ["0"]);
    host.stop().await;
}
