//! Buttons of `/model` and `/reasoning`: what a press does, and for whom.

use stellaclaw::fake_telegram::{ChatKind, FakeTelegram, Message, Post};

use super::{asks, column, exchange, notes};
use crate::support::bot::Bot;

/// Somebody asks for the models; what is answered.
async fn card(bot: &Bot, chat: i64, text: &str) -> Message {
    let before = bot.telegram.bot_messages(chat).len();
    bot.telegram.write(chat, bot.ann, Post::text(text)).unwrap();
    let found = |telegram: &FakeTelegram| telegram.bot_messages(chat).into_iter().skip(before).find(|message| message.keyboard.is_some());
    bot.telegram.wait("a keyboard", found).await.unwrap()
}

/// Waits until a keyboard marks this model and no other.
async fn marked(bot: &Bot, card: &Message, alias: &str) {
    let marks = |telegram: &FakeTelegram| {
        let keyboard = telegram.message(bot.ann, card.id)?.keyboard?;
        let marked: Vec<_> = keyboard.buttons().filter_map(|button| button.text.strip_prefix("✓ ")).map(str::to_owned).collect();
        (marked == [alias]).then_some(())
    };
    bot.telegram.wait(&format!("{alias} to be marked"), marks).await.unwrap();
}

async fn answered(bot: &Bot, query: &str) -> String {
    bot.telegram.wait("the press to be answered", |telegram| telegram.query_answer(query)).await.unwrap()
}

/// The model of the last request.
fn asked(bot: &Bot) -> String {
    asks(bot).pop().unwrap().body["model"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_chooses_the_model_and_the_keyboard_marks_it() {
    let bot = Bot::scripted(notes()).await;
    let eve = bot.telegram.new_user("Eve");
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Ours", &[bot.ann, eve]).unwrap();
    let groups = format!("groups = [{group}]\n");
    // Longer than what a button can carry.
    let long = format!("long-{}", "m".repeat(56));
    let url = bot.vendor.as_ref().unwrap().base_url();
    bot.configure(&format!(
        "{groups}[models.{long}]\nprovider = \"provider-openrouter\"\nmodel = \"fake-long\"\nbase_url = \"{url}\"\napi_key = {{ env = \"FAKE_KEY\" }}\n"
    ));
    let host = bot.host().await;
    let keyboard = card(&bot, bot.ann, "/model").await;
    marked(&bot, &keyboard, "main").await;
    let carried = |alias: &str| keyboard.keyboard.as_ref()?.buttons().find(|button| button.text == alias)?.callback_data.clone();
    assert!(carried(&long).unwrap().starts_with('#') && carried("other").unwrap() == "/model other");
    for (alias, model) in [(long.as_str(), "fake-long"), ("other", "fake-other")] {
        let query = bot.telegram.press(bot.ann, bot.ann, keyboard.id, alias).unwrap();
        assert_eq!(answered(&bot, &query).await, "");
        bot.telegram.sent(bot.ann, &format!("this conversation uses {alias}")).await.unwrap();
        marked(&bot, &keyboard, alias).await;
        exchange(&bot, bot.ann, Post::text(&format!("Are you {alias}?"))).await;
        assert_eq!(asked(&bot), model);
    }
    // In a group of ours, somebody who may not talk presses in vain.
    let theirs = card(&bot, group, "@stella_claw_bot /model").await;
    let in_vain = bot.telegram.press(group, eve, theirs.id, "other").unwrap();
    bot.telegram.confirmed().await.unwrap();
    assert_eq!(column(&bot, "SELECT user_id || ' ' || count FROM strangers"), [format!("{eve} 1")]);
    assert_eq!(column(&bot, &format!("SELECT model FROM conversations WHERE address = '{group}'")), ["main"]);
    assert_eq!(bot.telegram.query_answer(&in_vain), None);
    assert_eq!(bot.telegram.message(group, theirs.id).unwrap().keyboard, theirs.keyboard);
    host.stop().await;
    // What is not configured any more is not chosen.
    bot.configure(&groups);
    let host = bot.host().await;
    let query = bot.telegram.press(bot.ann, bot.ann, keyboard.id, &long).unwrap();
    assert_eq!(answered(&bot, &query).await, "This button has expired.");
    exchange(&bot, bot.ann, Post::text("Who are you?")).await;
    assert_eq!(asked(&bot), "fake-other");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_chooses_how_much_the_model_reasons() {
    let bot = Bot::scripted(notes()).await;
    let host = bot.host().await;
    let keyboard = card(&bot, bot.ann, "/reasoning").await;
    marked(&bot, &keyboard, "default").await;
    for (level, told, sent) in [("high", "effort high", Some("high")), ("default", "default effort", None)] {
        let query = bot.telegram.press(bot.ann, bot.ann, keyboard.id, level).unwrap();
        assert_eq!(answered(&bot, &query).await, "");
        bot.telegram.sent(bot.ann, told).await.unwrap();
        marked(&bot, &keyboard, level).await;
        exchange(&bot, bot.ann, Post::text(&format!("How much is {level}?"))).await;
        assert_eq!(asks(&bot).pop().unwrap().body["reasoning_effort"].as_str(), sent);
    }
    host.stop().await;
}
