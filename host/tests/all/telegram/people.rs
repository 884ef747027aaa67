//! Who may talk: strangers cost a counter, owners decide, and what is decided holds, also for what is on its way.

use std::time::Duration;

use serde_json::{Value, json};
use stellaclaw::fake_telegram::{ChatKind, EntityKind, FakeTelegram, Fault, Message, Origin, Post, Standing};

use super::inbound::{asks, asks_about, column, exchange, holds, noted, notes, said};
use crate::support::bot::Bot;
use crate::support::within;

/// The question about somebody in Ann's chat, and what its buttons carry.
async fn card(bot: &Bot, about: &str) -> (i64, String, String) {
    let found = |telegram: &FakeTelegram| {
        telegram.bot_messages(bot.ann).into_iter().find(|message| message.text.contains(about) && message.keyboard.is_some())
    };
    let card = bot.telegram.wait(&format!("a question about {about}"), found).await.unwrap();
    let keyboard = card.keyboard.as_ref().unwrap();
    let data = |label: &str| keyboard.buttons().find(|button| button.text == label).unwrap().callback_data.clone().unwrap();
    assert!(!card.silent, "a question is heard");
    assert_eq!(code_of(&card).iter().filter(|code| code.contains(about)).count(), 1, "a name can be tapped nowhere: {card:?}");
    (card.id, data("Allow"), data("Ignore"))
}

/// What stands as code in a message.
fn code_of(message: &Message) -> Vec<String> {
    let units: Vec<u16> = message.text.encode_utf16().collect();
    let code = message.entities.iter().filter(|entity| entity.kind == EntityKind::Code);
    code.map(|entity| String::from_utf16(&units[entity.offset..entity.offset + entity.length]).unwrap()).collect()
}

/// Presses a button as it cannot be pressed: there is no such message there.
fn forge(bot: &Bot, by: i64, chat: &Value, data: &str) {
    let from = json!({"id": by, "is_bot": false, "first_name": "Somebody"});
    let message =
        json!({"message_id": 77, "date": 1, "chat": chat, "from": {"id": 7_000_000_001_i64, "is_bot": true, "first_name": "Stella"}});
    bot.telegram.inject(json!({"callback_query": {"id": "901", "from": from, "message": message, "chat_instance": "1", "data": data}}));
}

fn private(person: i64) -> Value {
    json!({"id": person, "type": "private", "first_name": "Somebody"})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_decides_once_and_nobody_else_ever() {
    let bot = Bot::scripted(notes()).await;
    let (bob, eve) = (bot.telegram.new_user("Bob"), bot.telegram.new_user("Eve"));
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("Here I am.")).await;
    bot.telegram.write(bob, bob, Post::text("May I?")).unwrap();
    bot.telegram.write(eve, eve, Post::text("access:yes")).unwrap();
    let hint = bot.telegram.sent(bob, "This bot is private.").await.unwrap();
    assert!(hint.text.contains(&bob.to_string()) && hint.silent, "{hint:?}");
    let (asked_bob, allow_bob, _) = card(&bot, "Bob").await;
    let (asked_eve, allow_eve, _) = card(&bot, "Eve").await;
    // The words of a message, others, and the owner in a group decide nothing.
    bot.telegram.write(eve, eve, Post::text(&allow_eve)).unwrap();
    forge(&bot, eve, &private(eve), &allow_eve);
    forge(&bot, eve, &private(bot.ann), &allow_eve);
    forge(&bot, bot.ann, &json!({"id": -5, "type": "group", "title": "G"}), &allow_eve);
    forge(&bot, bot.ann, &private(bot.ann), "access:yes:00000000000000000000000000000000");
    forge(&bot, bot.ann, &private(bot.ann), &allow_eve.replace("yes", "maybe"));
    bot.telegram.write(eve, eve, Post::text("Now?")).unwrap();
    exchange(&bot, bot.ann, Post::text("I am the owner.")).await;
    assert_eq!(asks(&bot).len(), 2);
    assert!(column(&bot, "SELECT user_id FROM people").is_empty());
    // The decision outlives the question's host, and a press more changes nothing.
    host.stop().await;
    let host = bot.host().await;
    let (press, again) = (|| bot.telegram.press(bot.ann, bot.ann, asked_bob, &allow_bob).unwrap(), "This question is not open any more.");
    let (_, second) = (press(), press());
    bot.telegram.press(bot.ann, bot.ann, asked_eve, "Ignore").unwrap();
    bot.telegram.sent(bob, "You may talk to this bot now.").await.unwrap();
    bot.telegram
        .wait("the answer to the second press", |telegram| telegram.query_answer(&second).filter(|answer| answer == again))
        .await
        .unwrap();
    let shown = |telegram: &FakeTelegram| {
        telegram.message(bot.ann, asked_eve).filter(|message| message.text.ends_with("Eve is ignored.") && message.keyboard.is_none())
    };
    let shown = bot.telegram.wait("what was decided in the place of the question", shown).await.unwrap();
    assert_eq!(code_of(&shown), [eve.to_string(), "Eve".to_owned()]);
    // What was decided elsewhere is shown by whoever presses.
    let dan = bot.telegram.new_user("Dan");
    bot.telegram.write(dan, dan, Post::text("May I?")).unwrap();
    let (asked_dan, allow_dan, _) = card(&bot, "Dan").await;
    assert_eq!(bot.work.run(&["pair", "reject", &dan.to_string()], "").await.code, Some(0));
    bot.telegram.press(bot.ann, bot.ann, asked_dan, &allow_dan).unwrap();
    let shown = |telegram: &FakeTelegram| {
        telegram.message(bot.ann, asked_dan).filter(|message| message.text.ends_with("Dan is ignored.") && message.keyboard.is_none())
    };
    bot.telegram.wait("what was decided in the terminal in the place of the question", shown).await.unwrap();
    exchange(&bot, bob, Post::text("Thank you.")).await;
    bot.telegram.write(eve, eve, Post::text("And I?")).unwrap();
    bot.telegram.confirmed().await.unwrap();
    host.stop().await;
    let host = bot.host().await;
    exchange(&bot, bob, Post::text("After a restart.")).await;
    forge(&bot, bot.ann, &private(bot.ann), &allow_eve);
    exchange(&bot, bot.ann, Post::text("Ann again.")).await;
    assert!(asks_about(&bot, "And I?").is_empty());
    assert_eq!(column(&bot, "SELECT role FROM people ORDER BY user_id"), ["member", "rejected", "rejected"]);
    assert_eq!(bot.telegram.bot_messages(eve).len(), 1, "one hint, and never anything else");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_was_not_there_yet_is_asked_when_they_come() {
    let bot = Bot::scripted(notes()).await;
    let bob = bot.telegram.new_user("Bob");
    let host = bot.host().await;
    bot.telegram.write(bob, bob, Post::text("May I?")).unwrap();
    bot.telegram.sent(bob, "This bot is private.").await.unwrap();
    // Telegram lets a bot write only to who has written to it.
    let refused =
        |_: &FakeTelegram| (column(&bot, "SELECT count(*) FROM conversations WHERE closed_at IS NOT NULL") == ["1"]).then_some(());
    bot.telegram.wait("the question to be refused", refused).await.unwrap();
    exchange(&bot, bot.ann, Post::text("Here I am.")).await;
    let (asked, allow, _) = card(&bot, "Bob").await;
    bot.telegram.press(bot.ann, bot.ann, asked, &allow).unwrap();
    bot.telegram.sent(bob, "You may talk to this bot now.").await.unwrap();
    exchange(&bot, bob, Post::text("Thank you.")).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_comes_late_keeps_no_answer_back() {
    let bot = Bot::scripted(notes()).await;
    let bob = bot.telegram.new_user("Bob");
    bot.telegram.fault(Fault::hold_answer("card").on("sendMessage").in_chat(bot.ann));
    let host = bot.host().await;
    bot.telegram.write(bob, bob, Post::text("May I?")).unwrap();
    bot.telegram.wait("the question", |telegram| (telegram.held_count("card") == 1).then_some(())).await.unwrap();
    // She writes, and only then the host hears that she could not be written to before.
    bot.write("Here I am.");
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.release("card");
    noted(&bot, bot.ann, 1).await;
    // Nor is what was refused.
    card(&bot, "Bob").await;
    assert_eq!(column(&bot, "SELECT count(*) FROM conversations WHERE closed_at IS NOT NULL"), ["0"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_ours_when_an_owner_says_so() {
    let bot = Bot::scripted(notes()).await;
    let eve = bot.telegram.new_user("Eve");
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("Here I am.")).await;
    let theirs = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Theirs", &[eve, bot.ann]).unwrap();
    let ours = bot.telegram.new_group(ChatKind::Group, "Ours", &[bot.ann, eve]).unwrap();
    bot.telegram.write(theirs, eve, Post::text("@stella_claw_bot hello")).unwrap();
    let (asked, allow, _) = card(&bot, "Ours").await;
    bot.telegram.write(ours, bot.ann, Post::text("@stella_claw_bot too early")).unwrap();
    // What was asked about it by its old number is answered for the new one.
    let ours = bot.telegram.migrate(ours, bot.ann, false).unwrap();
    bot.telegram.write(ours, bot.ann, Post::text("@stella_claw_bot still too early")).unwrap();
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.press(bot.ann, bot.ann, asked, &allow).unwrap();
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.write(ours, bot.ann, Post::text("@stella_claw_bot hello")).unwrap();
    noted(&bot, ours, 1).await;
    assert_eq!(asks(&bot).len(), 2);
    assert_eq!(column(&bot, "SELECT user_id FROM people"), [ours.to_string()]);
    let cards = bot.telegram.bot_messages(bot.ann).into_iter().filter(|message| message.text.contains("Ours")).count();
    assert_eq!(cards, 1, "it is asked once");
    // A stranger who speaks to it there is one still.
    bot.telegram.write(ours, eve, Post::text("@stella_claw_bot and I?")).unwrap();
    card(&bot, "Eve").await;
    assert_eq!(asks(&bot).len(), 2);
    assert!(bot.telegram.bot_messages(theirs).is_empty());
    assert!(!bot.telegram.bot_messages(bot.ann).iter().any(|message| message.text.contains("Theirs")), "a stranger's group asks nobody");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_talk_any_more_has_nothing_begun_and_what_runs_is_stopped() {
    let bot = Bot::scripted(holds("long work")).await;
    let bob = bot.telegram.new_user("Bob");
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Friends", &[bot.ann, bob]).unwrap();
    let other = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Others", &[bot.ann, bob]).unwrap();
    let gone = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Not ours for long", &[bot.ann]).unwrap();
    bot.configure(&format!("people = [{bob}]\ngroups = [{group}, {other}, {gone}]\n"));
    let vendor = bot.vendor.as_ref().unwrap();
    let files = bot.telegram.fault(Fault::hold("file").on("download").always());
    let host = bot.host().await;
    // In his own chat a turn runs and a file is on its way; in the groups turns of his run.
    bot.telegram.write(bob, bob, Post::text("long work, private")).unwrap();
    bot.telegram.write(group, bob, Post::text("@stella_claw_bot long work, in a group")).unwrap();
    bot.telegram.write(other, bot.ann, Post::text("@stella_claw_bot long work, of Ann's")).unwrap();
    bot.telegram.write(gone, bot.ann, Post::text("@stella_claw_bot long work, where nobody may any more")).unwrap();
    vendor.held("long work", 4).await;
    bot.telegram.write(bob, bob, Post::document("a.txt", "text").caption("Bob's file.")).unwrap();
    within("a download", async {
        while bot.telegram.held_count("file") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bot.telegram.confirmed().await.unwrap();
    host.kill();
    // While no host runs, the operator takes Bob and a group off the lists.
    bot.configure(&format!("groups = [{group}, {other}]\n"));
    bot.telegram.remove_fault(files);
    let before = asks(&bot).len();
    let host = bot.host().await;
    // Ann's goes on, and nothing of Bob's.
    vendor.held("long work", 5).await;
    exchange(&bot, bot.ann, Post::text("I am still here.")).await;
    let news: Vec<_> = asks(&bot)[before..].iter().map(said).collect();
    assert_eq!(news.len(), 2, "{news:?}");
    assert!(news.iter().flatten().all(|said| !said.contains("Bob") && !said.contains("nobody may")), "{news:?}");
    let open = "SELECT conversations.address FROM sessions JOIN conversations ON conversations.id = conversation WHERE phase <> 'idle'";
    assert_eq!(column(&bot, open), [other.to_string()]);
    assert_eq!(column(&bot, "SELECT count(*) FROM inbox WHERE state = 'aside'"), ["1"]);
    assert_eq!(column(&bot, "SELECT count(*) FROM inbox WHERE state IN ('new', 'taken')"), ["1"]);
    vendor.release("long work");
    bot.telegram.sent(other, "Held no more.").await.unwrap();
    assert!(bot.telegram.bot_messages(bob).iter().all(|message| !message.text.contains("Held no more.")));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_taken_back_at_once() {
    let bot = Bot::scripted(holds("long work")).await;
    let bob = bot.telegram.new_user("Bob");
    bot.telegram.fault(Fault::hold("file").on("download").always());
    let host = bot.host().await;
    let decide = async |verb: &str| {
        let ran = bot.work.run(&["pair", verb, &bob.to_string()], "").await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    bot.telegram.write(bob, bob, Post::text("May I?")).unwrap();
    bot.telegram.sent(bob, "This bot is private.").await.unwrap();
    decide("approve").await;
    let vendor = bot.vendor.as_ref().unwrap();
    bot.telegram.write(bob, bob, Post::text("long work")).unwrap();
    vendor.held("long work", 1).await;
    bot.telegram.write(bob, bob, Post::document("a.txt", "text").caption("Bob's file.")).unwrap();
    within("a download", async {
        while bot.telegram.held_count("file") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    decide("revoke").await;
    bot.telegram.wait("the request to be given up", |_| (vendor.left_count("long work") == 1).then_some(())).await.unwrap();
    bot.telegram.release("file");
    bot.telegram.write(bob, bob, Post::text("And now?")).unwrap();
    let told = |telegram: &FakeTelegram| {
        let told = telegram.bot_messages(bob).iter().filter(|message| message.text.contains("This bot is private.")).count();
        (told == 2).then_some(())
    };
    bot.telegram.wait("Bob to be told again: something was decided", told).await.unwrap();
    exchange(&bot, bot.ann, Post::text("Here I am.")).await;
    assert_eq!(asks(&bot).len(), 2, "nothing of Bob's began");
    assert_eq!(column(&bot, "SELECT count(*) FROM inbox WHERE state = 'aside'"), ["1"]);
    // What the configuration gives is not taken here, and an owner who is let in stays one.
    let ann = bot.ann.to_string();
    for verb in ["reject", "revoke"] {
        let refused = bot.work.run(&["pair", verb, &ann], "").await;
        assert!(refused.code != Some(0) && refused.errors.contains(&format!("channels.telegram.owners names {ann}")), "{refused:?}");
    }
    let stays = bot.work.run(&["pair", "approve", &ann], "").await;
    assert!(stays.code == Some(0) && stays.output.contains("owns the bot already"), "{stays:?}");
    assert!(column(&bot, "SELECT user_id FROM people").is_empty());
    decide("approve").await;
    exchange(&bot, bob, Post::text("Once more.")).await;
    assert!(asks_about(&bot, "Bob's file.").is_empty());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_is_who_sends_the_code_in_private_and_there_is_no_second() {
    let bot = Bot::scripted(notes()).await;
    let (eve, bob) = (bot.telegram.new_user("Eve"), bot.telegram.new_user("Bob"));
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Theirs", &[eve, bot.ann]).unwrap();
    bot.nobody();
    let host = bot.host().await;
    let ann = bot.ann.to_string();
    // Whatever was decided about her, the terminal is above it.
    assert_eq!(bot.work.run(&["pair", "approve", &ann], "").await.code, Some(0));
    exchange(&bot, bot.ann, Post::text("I may talk, and own nothing.")).await;
    let pairing = bot.work.begin(&["pair"]);
    let code = within("a code", async {
        loop {
            if let Some(code) = Bot::shown_code(&pairing.so_far()) {
                break code;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(pairing.so_far().contains("Send this to the bot @stella_claw_bot"), "{}", pairing.so_far());
    // In a group it is worth nothing, nor forwarded, nor after too many others; and neither is another one.
    bot.telegram.write(group, eve, Post::text(&format!("@stella_claw_bot {code}"))).unwrap();
    for _ in 0..5 {
        bot.telegram.write(eve, eve, Post::text("AAAA-BBBB")).unwrap();
    }
    bot.telegram.write(eve, eve, Post::text(&code)).unwrap();
    bot.telegram.write(bob, bob, Post::text(&code).forwarded(Origin::Hidden("Somebody".into()))).unwrap();
    for who in [eve, bob] {
        bot.telegram.sent(who, "This bot is private.").await.unwrap();
    }
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(column(&bot, "SELECT user_id || role FROM people"), [format!("{ann}member")]);
    bot.telegram.write(bot.ann, bot.ann, Post::text(&code.to_lowercase())).unwrap();
    bot.telegram.sent(bot.ann, "You are the owner of this bot now.").await.unwrap();
    let paired = pairing.finish("").await;
    assert_eq!(paired.code, Some(0), "{paired:?}");
    // It is good once, and there is no other one.
    bot.telegram.write(eve, eve, Post::text(&code)).unwrap();
    exchange(&bot, bot.ann, Post::text("I am the owner.")).await;
    assert_eq!(column(&bot, "SELECT user_id || role FROM people"), [format!("{}owner", bot.ann)]);
    let again = bot.work.run(&["pair"], "").await;
    assert!(again.code != Some(0) && again.errors.contains("has an owner already"), "{again:?}");
    assert!(!host.said().contains(&code), "the code is in the log");
    host.stop().await;
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("After a restart.")).await;
    assert_eq!(asks(&bot).len(), 3);
    // An owner who is let in stays one, and who takes the last one away hears what follows.
    let stays = bot.work.run(&["pair", "approve", &ann], "").await;
    assert!(stays.output.contains("Ann") && stays.output.contains("owns the bot already"), "{stays:?}");
    assert_eq!(column(&bot, "SELECT role FROM people"), ["owner"]);
    let gone = bot.work.run(&["pair", "reject", &ann], "").await;
    assert!(gone.code == Some(0) && gone.output.contains("no owner now"), "{gone:?}");
    host.stop().await;
}

/// What a stranger causes in chats and by means that are none of a bot like this one: one of each kind in turn.
fn elsewhere(who: i64, n: usize) -> Value {
    let (from, group) =
        (json!({"id": who, "is_bot": false, "first_name": "S"}), json!({"id": -77, "type": "supergroup", "title": "Theirs"}));
    let channel = json!({"id": -1_000_000 - who, "type": "channel", "title": "Theirs"});
    let message = |fields: Value| {
        let mut message = json!({"message_id": 6, "date": 1, "chat": group, "from": from});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        message
    };
    match n % 9 {
        0 => json!({"channel_post": {"message_id": 6, "date": 1, "chat": channel, "sender_chat": channel, "text": "x"}}),
        1 => json!({"edited_channel_post": {"message_id": 6, "date": 1, "chat": channel, "sender_chat": channel, "text": "x"}}),
        2 => json!({"edited_message": message(json!({"text": "@stella_claw_bot x", "edit_date": 2}))}),
        3 => json!({"chat_join_request": {"chat": group, "from": from, "user_chat_id": who, "date": 1}}),
        4 => json!({"stopped_message_generation": {"chat": private(who), "draft_id": 1}}),
        5 => json!({"message": message(json!({"new_chat_members": [from]}))}),
        6 => json!({"callback_query": {"id": "902", "from": from, "inline_message_id": "7", "chat_instance": "1", "data": "/cancel"}}),
        7 => json!({"my_chat_member": {"chat": private(who), "from": from, "date": 1, "new_chat_member": {"status": "dreaming"}}}),
        _ => json!({"poll_answer": {"poll_id": "1", "user": from, "option_ids": [0]}}),
    }
}

/// So many updates come from strangers.
const FLOOD: usize = 10_000;
/// What the host may grow by while they come. All of them at once would be more.
const GROWTH_KIB: u64 = 24 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_costs_counters_and_few_words() {
    let bot = Bot::scripted(notes()).await;
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("Before.")).await;
    let strangers: Vec<i64> = (0..300).map(|n| bot.telegram.new_user(&format!("S{n}"))).collect();
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Theirs", &strangers).unwrap();
    let written: Vec<i64> = strangers.iter().map(|who| bot.telegram.write(*who, *who, Post::text("Let me in!")).unwrap()).collect();
    let before = host.counts("VmRSS");
    let mut sent = 2 * strangers.len();
    while sent < FLOOD {
        let n = sent % strangers.len();
        let (who, first) = (strangers[n], written[n]);
        match sent / strangers.len() % 9 {
            0 => drop(bot.telegram.write(who, who, Post::text("@stella_claw_bot /start")).unwrap()),
            1 => bot.telegram.edit(who, first, &format!("Now {sent}!")).unwrap(),
            2 => drop(bot.telegram.write(group, who, Post::text("@stella_claw_bot hello")).unwrap()),
            3 => forge(&bot, who, &private(who), "/model main"),
            4 => bot.telegram.react(who, who, first, &["👎"]).unwrap(),
            5 => bot.telegram.set_standing(who, who, if n.is_multiple_of(2) { Standing::Blocked } else { Standing::Member }).unwrap(),
            6 => drop(bot.telegram.inject(elsewhere(who, n))),
            7 => drop(bot.telegram.inject(json!({"inline_query": {"id": "1", "from": {"id": who, "first_name": "S"}, "query": "x"}}))),
            _ => {
                let document = json!({"file_id": "F", "file_size": 10});
                let (from, chat) = (json!({"id": who, "first_name": "S"}), private(who));
                bot.telegram.inject(json!({"message": {"message_id": 5, "date": 1, "from": from, "chat": chat, "document": document}}));
                if n.is_multiple_of(2) {
                    bot.telegram.set_standing(who, who, Standing::Member).unwrap();
                    sent += 1;
                }
            }
        }
        sent += 1;
    }
    let done = |telegram: &FakeTelegram| telegram.updates().iter().all(|update| update.confirmed.is_some()).then_some(());
    within("the flood to pass", async { while bot.telegram.wait("all of it to be confirmed", done).await.is_err() {} }).await;
    let grown = host.counts("VmRSS").saturating_sub(before);
    println!("{sent} updates of strangers, {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    exchange(&bot, bot.ann, Post::text("After.")).await;
    assert_eq!(asks(&bot).len(), 2);
    let hints: Vec<i64> =
        bot.telegram.calls_of("sendMessage").iter().filter_map(|call| call.chat).filter(|chat| strangers.contains(chat)).collect();
    let mut once = hints.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), hints.len(), "somebody was told twice");
    assert!(!hints.is_empty() && hints.len() <= 30, "{} hints", hints.len());
    let cards = bot.telegram.bot_messages(bot.ann).iter().filter(|message| message.keyboard.is_some()).count();
    assert!((1..=10).contains(&cards), "{cards} questions");
    assert!(bot.telegram.bot_messages(group).is_empty());
    assert!(bot.telegram.calls_of("answerCallbackQuery").is_empty() && bot.telegram.calls_of("getFile").is_empty());
    assert_eq!(column(&bot, "SELECT address FROM conversations WHERE channel LIKE 'tg:%'"), [bot.ann.to_string()]);
    assert_eq!(column(&bot, "SELECT count(*) FROM inbox"), ["2"]);
    for table in ["oddities", "panels", "jobs", "people"] {
        assert_eq!(column(&bot, &format!("SELECT count(*) FROM {table}")), ["0"], "{table}");
    }
    // Their channels are counted, too.
    let rows: usize = column(&bot, "SELECT count(*) FROM strangers")[0].parse().unwrap();
    assert!((strangers.len()..=2 * strangers.len() + 2).contains(&rows), "{rows}");
    let requests: usize = column(&bot, "SELECT count(*) FROM requests")[0].parse().unwrap();
    assert!((1..=20).contains(&requests), "{requests}");
    // Those who were left out leave a trace, until somebody looks after requests.
    let crowded = "more ask to use the bot than are noted";
    let told = async |arguments: &[&str]| bot.work.run(arguments, "").await.output.contains(crowded);
    assert!(told(&["status"]).await && told(&["pair", "list"]).await && host.said().contains(crowded));
    assert_eq!(bot.work.run(&["status", "--exit-code"], "").await.code, Some(0), "it serves");
    assert_eq!(bot.work.run(&["pair", "reject", &strangers[0].to_string()], "").await.code, Some(0));
    assert!(!told(&["status"]).await && !told(&["pair", "list"]).await);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_nobody_is_served() {
    let bot = Bot::scripted(notes()).await;
    let eve = bot.telegram.new_user("Eve");
    bot.nobody();
    for who in [bot.ann, eve, eve, bot.ann, eve] {
        bot.telegram.write(who, who, Post::text("Hello?")).unwrap();
    }
    let host = bot.host().await;
    for who in [bot.ann, eve] {
        bot.telegram.sent(who, "This bot is private.").await.unwrap();
    }
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(column(&bot, "SELECT count FROM strangers ORDER BY count"), ["2", "3"]);
    assert!(asks(&bot).is_empty());
    asked_nobody(&bot);
    host.stop().await;
}

fn asked_nobody(bot: &Bot) {
    assert!(column(bot, "SELECT subject FROM requests").is_empty());
    assert!(column(bot, "SELECT address FROM conversations WHERE channel LIKE 'tg:%'").is_empty());
}
