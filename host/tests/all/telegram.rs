//! The bot, as people meet it: a whole host against a Telegram that speaks the real protocol, with its faults.

mod chats;
mod delivery;
mod inbound;
mod people;
mod working;

use crate::support::bot::Bot;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_once_and_audibly() {
    let bot = Bot::new().await;
    let host = bot.host().await;
    let answer = bot.exchange("read welcome.md", "Welcome to Stellaclaw").await;
    assert!(!answer.silent, "an answer is heard");
    assert_eq!(bot.telegram.bot_messages(bot.ann).len(), 1);
    host.stop().await;
}
