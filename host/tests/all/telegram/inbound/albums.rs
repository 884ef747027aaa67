//! Albums are several messages and one turn.

use std::fs;
use std::time::Duration;

use serde_json::json;
use stellaclaw::fake_telegram::{ChatKind, Fault, Post, png};

use super::{alike, asks, exchange, noted, notes, said};
use crate::support::bot::Bot;
use crate::support::within;

/// The files that people have sent to Ann's, or the group's, conversation: there is one.
fn fetched(bot: &Bot) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(bot.work.workdir().join("conversations"))
        .unwrap()
        .filter_map(|conversation| fs::read_dir(conversation.unwrap().path().join("attachments/incoming")).ok())
        .flatten()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn downloads_begin(bot: &Bot, name: &str) {
    within("a download to begin", async {
        while bot.telegram.held_count(name) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn photo(caption: &str) -> Post {
    Post::photo(png(8, 8)).caption(caption)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_slow_pictures_are_one_turn_with_every_caption() {
    let bot = Bot::scripted(notes()).await;
    bot.telegram.fault(Fault::slow(16, Duration::from_millis(100)).on("download").always());
    let host = bot.host().await;
    let captions = ["The first.", "", "The third.", "The fourth.", "The fifth."];
    bot.telegram.write_album(bot.ann, bot.ann, captions.into_iter().map(photo).collect()).unwrap();
    bot.write("And a text right after it.");
    noted(&bot, bot.ann, 1).await;
    let first = said(&asks(&bot)[0]);
    assert_eq!(first.len(), 2, "the album is one message, and the text was not read before it: {first:?}");
    for caption in captions {
        assert!(first[0].contains(caption), "{caption} is missing: {first:?}");
    }
    assert_eq!(first[0].matches("[photo: attachments/incoming/").count(), 5, "{first:?}");
    assert_eq!(fetched(&bot).len(), 5);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_that_comes_with_two_polls_is_one_turn() {
    let bot = Bot::scripted(notes()).await;
    bot.telegram.fault(Fault::hold("files").on("download").always());
    let host = bot.host().await;
    bot.telegram.write_album(bot.ann, bot.ann, vec![photo("The first."), photo("The second.")]).unwrap();
    downloads_begin(&bot, "files").await;
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.inject(alike(&bot, 1, &json!({"message_id": 900, "caption": "The third."})));
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.release("files");
    noted(&bot, bot.ann, 1).await;
    let first = said(&asks(&bot)[0]);
    assert_eq!((first.len(), first[0].matches("[photo: ").count()), (1, 3), "{first:?}");
    assert!(first[0].contains("The first.") && first[0].contains("The third."), "{first:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_an_album_is_for_the_bot_when_one_of_its_captions_says_so() {
    let bot = Bot::scripted(notes()).await;
    let bob = bot.telegram.new_user("Bob");
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Friends", &[bot.ann, bob]).unwrap();
    bot.configure(&format!("people = [{bob}]\ngroups = [{group}]\n"));
    let host = bot.host().await;
    bot.telegram.write_album(group, bot.ann, vec![photo("For the others."), photo("")]).unwrap();
    bot.telegram.write_album(group, bot.ann, vec![photo("Before."), photo("@stella_claw_bot look at these."), photo("After.")]).unwrap();
    noted(&bot, group, 1).await;
    let first = said(&asks(&bot)[0]);
    assert_eq!((first.len(), first[0].matches("[photo: ").count()), (1, 3), "{first:?}");
    for words in ["Before.", "look at these.", "After.", "[from Ann]"] {
        assert!(first[0].contains(words), "{words}: {first:?}");
    }
    assert!(!first[0].contains("For the others."), "{first:?}");

    // The words come with a later poll than the first picture, and another one after them. Downloads take their time.
    bot.telegram.fault(Fault::hold("files").on("download").always());
    bot.telegram.write_album(group, bob, vec![photo("Bob's first.")]).unwrap();
    bot.telegram.confirmed().await.unwrap();
    let seen = bot.telegram.updates().len() - 1;
    let words = json!([{"type": "mention", "offset": 0, "length": 16}]);
    let called = json!({"message_id": 901, "caption": "@stella_claw_bot and these?", "caption_entities": words});
    bot.telegram.inject(alike(&bot, seen, &called));
    downloads_begin(&bot, "files").await;
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.inject(alike(&bot, seen, &json!({"message_id": 902, "caption": "Bob's last."})));
    // Somebody else's picture does not become Bob's.
    let ann = bot.telegram.updates()[0].body["my_chat_member"]["from"].clone();
    bot.telegram.inject(alike(&bot, seen, &json!({"message_id": 903, "caption": "Not Bob's.", "from": ann})));
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.release("files");
    noted(&bot, group, 2).await;
    let last = said(&asks(&bot)[1]);
    let last = last.last().unwrap();
    assert_eq!(last.matches("[photo: ").count(), 3, "{last}");
    for words in ["Bob's first.", "and these?", "Bob's last."] {
        assert!(last.contains(words), "{words}: {last}");
    }
    assert!(!last.contains("Not Bob's."), "{last}");
    exchange(&bot, bot.ann, Post::text("That was all.")).await;
    assert_eq!(asks(&bot).len(), 3);
    host.stop().await;
}
