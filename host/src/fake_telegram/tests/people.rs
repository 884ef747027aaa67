//! What the bot gets to see of what people do.

use serde_json::{Value, json};

use super::Stage;
use crate::fake_telegram::{ChatKind, Origin, Post, Standing, png};

/// The body of the newest update.
fn newest(stage: &Stage) -> Value {
    stage.telegram.updates().pop().unwrap().body
}

#[tokio::test]
async fn a_message_in_a_topic_looks_like_a_reply_to_its_beginning() {
    let stage = Stage::new().await;
    let (forum, topic) = stage.forum();
    stage.telegram.write(forum, stage.ann, Post::text("/new@stella_claw_bot hi").in_topic(topic)).unwrap();
    let message = newest(&stage)["message"].clone();
    assert_eq!((&message["message_thread_id"], &message["is_topic_message"]), (&json!(topic), &json!(true)));
    assert_eq!(message["reply_to_message"]["forum_topic_created"]["name"], "Plans");
    assert_eq!(message["entities"], json!([{"type": "bot_command", "offset": 0, "length": 20}]));
    assert_eq!(message["chat"]["is_forum"], true);
    stage.telegram.write(forum, stage.ann, Post::text("general")).unwrap();
    assert!(newest(&stage)["message"]["message_thread_id"].is_null());
    assert!(stage.telegram.write(forum, stage.ann, Post::text("x").in_topic(999)).is_err());
    let private = stage.telegram.new_topic(stage.ann, stage.ann, "Mine").unwrap();
    stage.telegram.write(stage.ann, stage.ann, Post::text("here").in_topic(private)).unwrap();
    assert_eq!(newest(&stage)["message"]["is_topic_message"], true);
}

#[tokio::test]
async fn a_reply_in_a_plain_supergroup_has_a_thread_that_is_no_topic() {
    let stage = Stage::new().await;
    let group = stage.telegram.new_group(ChatKind::Supergroup { forum: false }, "Big", &[stage.ann]).unwrap();
    let first = stage.telegram.write(group, stage.ann, Post::text("first of all")).unwrap();
    stage.telegram.write(group, stage.ann, Post::text("indeed").reply_to(first).quote("of all")).unwrap();
    let message = newest(&stage)["message"].clone();
    assert_eq!(message["message_thread_id"], first);
    assert!(message["is_topic_message"].is_null());
    assert_eq!(message["quote"]["text"], "of all");
    assert_eq!(message["reply_to_message"]["message_id"], first);
    // Its numbers are its own, and the first one is taken.
    assert_eq!(first, 2);
    let thread = stage.refused("sendMessage", json!({"chat_id": group, "message_thread_id": first, "text": "hi"})).await;
    assert!(thread.contains("message thread not found"));
}

#[tokio::test]
async fn what_people_send_arrives_in_its_shape() {
    let stage = Stage::new().await;
    let (ann, telegram) = (stage.ann, &stage.telegram);
    let see = |post: Post| {
        telegram.write(ann, ann, post).unwrap();
        newest(&stage)["message"].clone()
    };
    let photo = see(Post::photo(png(40, 40)).caption("look"));
    assert_eq!((&photo["photo"][1]["width"], &photo["caption"]), (&json!(40), &json!("look")));
    assert_eq!(see(Post::document("a.txt", "abc"))["document"]["mime_type"], "text/plain");
    assert_eq!(see(Post::audio("a.mp3", "abc"))["audio"]["duration"], 5);
    assert_eq!(see(Post::voice("abc"))["voice"]["mime_type"], "audio/ogg");
    assert_eq!(see(Post::video("a.mp4", "abc"))["video"]["file_name"], "a.mp4");
    let animation = see(Post::animation("a.mp4", "abc"));
    assert_eq!((&animation["animation"]["duration"], &animation["document"]["file_id"]), (&json!(5), &animation["animation"]["file_id"]));
    assert_eq!(see(Post::sticker("🙂", "abc"))["sticker"]["emoji"], "🙂");
    assert_eq!(see(Post::location(1.5, 2.5))["location"]["latitude"], 1.5);
    assert_eq!(see(Post::contact("Ben", "+1"))["contact"]["phone_number"], "+1");
    assert_eq!(see(Post::text("x").forwarded(Origin::Hidden("H".into())))["forward_origin"]["sender_user_name"], "H");
    assert_eq!(see(Post::text("x").forwarded(Origin::User(ann)))["forward_origin"]["sender_user"]["first_name"], "Ann");
    assert_eq!(see(Post::text("x").forwarded(Origin::Channel("News".into(), 7)))["forward_origin"]["message_id"], 7);
    let album = telegram.write_album(ann, ann, vec![Post::photo(png(8, 8)).caption("a"), Post::photo(png(8, 8))]).unwrap();
    let groups: Vec<Value> =
        telegram.updates().iter().rev().take(2).map(|update| update.body["message"]["media_group_id"].clone()).collect();
    assert!(album.len() == 2 && groups[0] == groups[1] && groups[0].is_string());
    telegram.edit(ann, 1, "hello again").unwrap();
    let edited = newest(&stage)["edited_message"].clone();
    assert!(edited["text"] == "hello again" && edited["edit_date"].is_i64());
    assert!(telegram.edit(ann, 999, "x").is_err());
}

#[tokio::test]
async fn the_bot_hears_when_it_comes_and_goes() {
    let stage = Stage::new().await;
    let (ann, telegram) = (stage.ann, &stage.telegram);
    let group = telegram.new_group(ChatKind::Group, "Team", &[ann]).unwrap();
    let standing = |update: &Value| {
        let member = &update["my_chat_member"];
        (member["old_chat_member"]["status"].as_str().unwrap().to_owned(), member["new_chat_member"]["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(standing(&newest(&stage)), ("left".to_owned(), "member".to_owned()));
    telegram.write(group, ann, Post::text("as the group").anonymous()).unwrap();
    let anonymous = newest(&stage)["message"].clone();
    assert_eq!((&anonymous["from"]["username"], &anonymous["sender_chat"]["id"]), (&json!("GroupAnonymousBot"), &json!(group)));
    telegram.set_standing(group, ann, Standing::Kicked).unwrap();
    assert_eq!(standing(&newest(&stage)), ("member".to_owned(), "kicked".to_owned()));
    let before = telegram.updates().len();
    telegram.write(group, ann, Post::text("unheard")).unwrap();
    assert_eq!(telegram.updates().len(), before);
    telegram.set_standing(ann, ann, Standing::Blocked).unwrap();
    assert!(telegram.write(ann, ann, Post::text("x")).is_err());
    telegram.set_standing(ann, ann, Standing::Member).unwrap();
    telegram.write(ann, ann, Post::text("x")).unwrap();
}

#[tokio::test]
async fn a_group_that_migrates_says_so_on_both_sides() {
    let stage = Stage::new().await;
    let group = stage.telegram.new_group(ChatKind::Group, "Team", &[stage.ann]).unwrap();
    let grown = stage.telegram.migrate(group, stage.ann, false).unwrap();
    let updates = stage.telegram.updates();
    let [from, to] = &updates[updates.len() - 2..] else { panic!() };
    assert_eq!((&from.body["message"]["chat"]["id"], &from.body["message"]["migrate_to_chat_id"]), (&json!(group), &json!(grown)));
    assert_eq!((&to.body["message"]["chat"]["id"], &to.body["message"]["migrate_from_chat_id"]), (&json!(grown), &json!(group)));
    assert!(stage.telegram.write(group, stage.ann, Post::text("x")).is_err());
    stage.telegram.write(grown, stage.ann, Post::text("x")).unwrap();
    assert!(stage.telegram.migrate(grown, stage.ann, false).is_err());
}
