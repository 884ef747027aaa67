//! What the bot may send, and what it is told when it may not.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::Stage;
use crate::fake_telegram::{ChatKind, FileKind, Post, Standing, png};

#[tokio::test]
async fn a_message_is_kept_as_it_was_sent() {
    let stage = Stage::new().await;
    let keyboard = json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]});
    let sent = stage
        .ok(
            "sendMessage",
            json!({"chat_id": stage.ann, "text": " *bold* ", "entities": [{"type": "bold", "offset": 1, "length": 6}], "disable_notification": true,
                "link_preview_options": {"is_disabled": true}, "reply_markup": keyboard, "reply_parameters": {"message_id": 1, "quote": "ell"}}),
        )
        .await;
    assert_eq!(sent["entities"], json!([{"type": "bold", "offset": 0, "length": 6}]));
    assert_eq!((&sent["text"], &sent["reply_markup"]), (&json!("*bold*"), &keyboard));
    assert_eq!(sent["reply_to_message"]["text"], "hello");
    assert_eq!(sent["quote"], json!({"text": "ell", "position": 1, "is_manual": true}));
    let kept = stage.telegram.sent(stage.ann, "bold").await.unwrap();
    assert!(kept.silent && kept.previews_off && kept.is_bots());
    assert_eq!(sent["message_id"], kept.id);
}

#[tokio::test]
async fn a_text_that_telegram_would_refuse_is_refused() {
    let stage = Stage::new().await;
    for (text, said) in [
        ("", "Bad Request: message text is empty"),
        (" \n ", "Bad Request: message text is empty"),
        (&"a".repeat(4097), "Bad Request: message is too long"),
        (&"😀".repeat(2049), "Bad Request: message is too long"),
    ] {
        assert_eq!(stage.refused("sendMessage", json!({"chat_id": stage.ann, "text": text})).await, said);
    }
    stage.say(stage.ann, &"😀".repeat(2048)).await;
    for (more, said) in [
        (json!({"entities": [{"type": "bold", "offset": 1, "length": 2}]}), "ends after the end"),
        (json!({"entities": [{"type": "bald", "offset": 0, "length": 2}]}), "can't parse entities"),
        (json!({"reply_markup": {"inline_keyboard": [[{"text": "a"}]]}}), "button"),
        (json!({"reply_parameters": {"message_id": 77}}), "message to be replied not found"),
        (json!({"reply_parameters": {"message_id": 1, "quote": "jello"}}), "QUOTE_TEXT_INVALID"),
        (json!({"link_preview_options": {"disabled": true}}), "can't parse link_preview_options"),
        (json!({"message_thread_id": 5}), "message thread not found"),
        (json!({"parse_mode": "HTML"}), "does not know the parameter \"parse_mode\""),
    ] {
        let mut params = json!({"chat_id": stage.ann, "text": "ab"});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = stage.refused("sendMessage", params).await;
        assert!(refused.contains(said), "{refused}");
    }
    let lenient = json!({"chat_id": stage.ann, "text": "ab", "reply_parameters": {"message_id": 77, "allow_sending_without_reply": true}});
    assert!(stage.ok("sendMessage", lenient).await["reply_to_message"].is_null());
    assert_eq!(stage.telegram.bot_messages(stage.ann).len(), 2);
}

#[tokio::test]
async fn a_chat_that_cannot_be_written_to_says_why() {
    let stage = Stage::new().await;
    let telegram = &stage.telegram;
    let send = |chat: i64| stage.call("sendMessage", json!({"chat_id": chat, "text": "hi"}));
    let ben = telegram.new_user("Ben");
    for stranger in [ben, 5, -5] {
        assert_eq!(send(stranger).await["description"], "Bad Request: chat not found");
    }
    telegram.set_standing(stage.ann, stage.ann, Standing::Blocked).unwrap();
    assert_eq!(send(stage.ann).await["description"], "Forbidden: bot was blocked by the user");
    let group = telegram.new_group(ChatKind::Group, "Team", &[ben]).unwrap();
    send(group).await;
    telegram.set_standing(group, ben, Standing::Kicked).unwrap();
    let kicked = send(group).await;
    assert_eq!((&kicked["error_code"], &kicked["description"]), (&json!(403), &json!("Forbidden: bot was kicked from the group chat")));
    let other = telegram.new_group(ChatKind::Group, "Other", &[ben]).unwrap();
    let now = telegram.migrate(other, ben, false).unwrap();
    let moved = send(other).await;
    assert_eq!((&moved["error_code"], &moved["parameters"]["migrate_to_chat_id"]), (&json!(400), &json!(now)));
    assert_eq!(send(now).await["ok"], true);
    stage.ok("leaveChat", json!({"chat_id": now})).await;
    assert_eq!(send(now).await["description"], "Forbidden: bot is not a member of the supergroup chat");
}

#[tokio::test]
async fn general_has_a_number_for_actions_only() {
    let stage = Stage::new().await;
    let (forum, topic) = stage.forum();
    assert_eq!(
        stage.refused("sendMessage", json!({"chat_id": forum, "message_thread_id": 1, "text": "hi"})).await,
        "Bad Request: message thread not found"
    );
    stage.ok("sendChatAction", json!({"chat_id": forum, "message_thread_id": 1, "action": "typing"})).await;
    stage.ok("sendChatAction", json!({"chat_id": forum, "message_thread_id": topic, "action": "upload_document"})).await;
    assert_eq!(stage.telegram.action(forum, None).as_deref(), Some("typing"));
    assert_eq!(stage.telegram.action(forum, Some(topic)).as_deref(), Some("upload_document"));
    stage.telegram.advance(Duration::from_secs(5));
    assert_eq!(stage.telegram.action(forum, None), None);
    let general = stage.ok("sendMessage", json!({"chat_id": forum, "text": "hi"})).await;
    assert!(general["message_thread_id"].is_null() && general["is_topic_message"].is_null());
    let inside = stage.ok("sendMessage", json!({"chat_id": forum, "message_thread_id": topic, "text": "hi"})).await;
    assert_eq!((&inside["message_thread_id"], &inside["is_topic_message"]), (&json!(topic), &json!(true)));
    assert!(stage.refused("sendChatAction", json!({"chat_id": forum, "action": "dancing"})).await.contains("action"));
}

#[tokio::test]
async fn an_edit_changes_something_of_the_bot() {
    let stage = Stage::new().await;
    let id = stage.say(stage.ann, "one").await;
    let edit = |id: i64, text: &str| json!({"chat_id": stage.ann, "message_id": id, "text": text});
    assert!(stage.refused("editMessageText", edit(id, "one")).await.starts_with("Bad Request: message is not modified"));
    assert_eq!(stage.refused("editMessageText", edit(99, "one")).await, "Bad Request: message to edit not found");
    assert_eq!(stage.refused("editMessageText", edit(1, "one")).await, "Bad Request: message can't be edited");
    let edited = stage.ok("editMessageText", edit(id, "two")).await;
    assert!(edited["edit_date"].is_i64() && edited["text"] == "two");
    let keyboard = json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]});
    let markup = json!({"chat_id": stage.ann, "message_id": id, "reply_markup": keyboard});
    stage.ok("editMessageReplyMarkup", markup.clone()).await;
    assert!(stage.refused("editMessageReplyMarkup", markup).await.contains("is not modified"));
    // An edit without the keyboard takes it away.
    stage.ok("editMessageText", edit(id, "two")).await;
    let kept = stage.telegram.message(stage.ann, id).unwrap();
    assert_eq!(kept.edits.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(kept.keyboard.is_none());
    stage.ok("deleteMessage", json!({"chat_id": stage.ann, "message_id": id})).await;
    assert!(stage.refused("deleteMessage", json!({"chat_id": stage.ann, "message_id": id})).await.contains("message to delete not found"));
    assert_eq!(stage.refused("editMessageText", edit(id, "three")).await, "Bad Request: message to edit not found");
    assert!(stage.telegram.bot_messages(stage.ann).is_empty());
    assert!(stage.telegram.message(stage.ann, id).unwrap().deleted.is_some());
}

#[tokio::test]
async fn a_draft_fades_is_replaced_and_can_be_stopped() {
    let stage = Stage::new().await;
    let telegram = &stage.telegram;
    let draft = |id: i64, text: &str| json!({"chat_id": stage.ann, "draft_id": id, "text": text, "can_stop": true});
    let shown = || telegram.draft(stage.ann, None).map(|draft| draft.text);
    assert!(stage.refused("sendMessageDraft", draft(0, "a")).await.contains("non-zero"));
    let group = telegram.new_group(ChatKind::Group, "Team", &[stage.ann]).unwrap();
    assert!(stage.refused("sendMessageDraft", json!({"chat_id": group, "draft_id": 1, "text": "a"})).await.contains("private"));
    stage.ok("sendMessageDraft", draft(1, "")).await;
    assert_eq!(shown().as_deref(), Some(""));
    stage.ok("sendMessageDraft", draft(1, "a")).await;
    assert_eq!(shown().as_deref(), Some("a"));
    telegram.advance(Duration::from_secs(30));
    assert_eq!(shown(), None);
    stage.ok("sendMessageDraft", draft(1, "b")).await;
    stage.say(stage.ann, "whole").await;
    assert_eq!(shown(), None);
    assert!(telegram.stop_draft(stage.ann, None).is_err());
    stage.ok("sendMessageDraft", draft(2, "c")).await;
    telegram.stop_draft(stage.ann, None).unwrap();
    assert_eq!(shown(), None);
    // The bot has not noticed yet.
    stage.ok("sendMessageDraft", draft(2, "c and more")).await;
    assert_eq!(shown(), None);
    let stopped = telegram.updates().pop().unwrap().body["stopped_message_generation"].clone();
    assert_eq!((&stopped["draft_id"], &stopped["chat"]["id"]), (&json!(2), &json!(stage.ann)));
}

fn file(name: &str, bytes: impl Into<std::borrow::Cow<'static, [u8]>>) -> Part {
    Part::bytes(bytes).file_name(name.to_owned()).mime_str("text/plain").unwrap()
}

async fn upload(stage: &Stage, method: &str, form: Form) -> Value {
    Stage::read(stage.client.post(stage.address(method)).multipart(form).send().await.unwrap()).await
}

#[tokio::test]
async fn files_go_out_and_can_be_fetched() {
    let stage = Stage::new().await;
    let chat = stage.ann.to_string();
    let form = Form::new().text("chat_id", chat.clone()).text("caption", "two").part("document", file("a.txt", &b"abc"[..]));
    let sent = upload(&stage, "sendDocument", form).await["result"].take();
    assert_eq!(
        (&sent["document"]["file_name"], &sent["document"]["file_size"], &sent["caption"]),
        (&json!("a.txt"), &json!(3), &json!("two"))
    );
    let call = stage.telegram.calls_of("sendDocument").pop().unwrap();
    assert_eq!(call.chat, Some(stage.ann));
    assert_eq!(call.param("document")["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let id = sent["document"]["file_id"].as_str().unwrap();
    let path = stage.ok("getFile", json!({"file_id": id})).await["file_path"].as_str().unwrap().to_owned();
    let fetched = stage.client.get(format!("{}/file/bot{}/{path}", stage.telegram.api_base_url(), stage.telegram.token()));
    assert_eq!(fetched.send().await.unwrap().bytes().await.unwrap(), "abc");
    // A file that is there need not be sent again.
    stage.ok("sendDocument", json!({"chat_id": chat, "document": id})).await;
    let photo = Form::new().text("chat_id", chat.clone()).part("photo", file("p.png", png(40, 20)));
    let photo = upload(&stage, "sendPhoto", photo).await["result"]["photo"].take();
    assert_eq!((&photo[1]["width"], &photo[0]["width"]), (&json!(40), &json!(10)));
    let voice = Form::new().text("chat_id", chat.clone()).text("duration", "7").part("voice", file("v.ogg", &b"OggS"[..]));
    assert_eq!(upload(&stage, "sendVoice", voice).await["result"]["voice"]["duration"], 7);
    for (method, field, bytes, said) in [
        ("sendPhoto", "photo", png(1, 30), "PHOTO_INVALID_DIMENSIONS"),
        ("sendPhoto", "document", png(9, 9), "there is no photo in the request"),
        ("sendDocument", "document", Vec::new(), "file must be non-empty"),
        ("sendDocument", "document", vec![0; (50 << 20) + 1], "Request Entity Too Large"),
    ] {
        let refused = upload(&stage, method, Form::new().text("chat_id", chat.clone()).part(field, file("f", bytes))).await;
        assert!(refused["description"].as_str().unwrap().contains(said), "{refused}");
    }
    let long = Form::new().text("chat_id", chat).text("caption", "a".repeat(1025)).part("document", file("a.txt", &b"abc"[..]));
    assert_eq!(upload(&stage, "sendDocument", long).await["description"], "Bad Request: message caption is too long");
    assert!(
        stage.refused("sendPhoto", json!({"chat_id": stage.ann, "photo": "https://a.example/p.png"})).await.contains("fetches nothing")
    );
    assert!(stage.refused("sendPhoto", json!({"chat_id": stage.ann, "photo": "nothing"})).await.contains("wrong file identifier"));
}

#[tokio::test]
async fn files_over_20_mb_cannot_be_fetched() {
    let stage = Stage::new().await;
    let message = stage.telegram.write(stage.ann, stage.ann, Post::document("big.iso", "abc").sized(25 << 20)).unwrap();
    let (kind, id) = stage.telegram.message(stage.ann, message).unwrap().file().map(|(kind, id)| (kind, id.to_owned())).unwrap();
    assert_eq!(kind, FileKind::Document);
    assert_eq!(stage.telegram.updates().pop().unwrap().body["message"]["document"]["file_size"], 25 << 20);
    assert_eq!(stage.refused("getFile", json!({"file_id": id})).await, "Bad Request: file is too big");
    assert_eq!(stage.refused("getFile", json!({"file_id": "x"})).await, "Bad Request: invalid file_id");
}

#[tokio::test]
async fn an_album_is_sent_whole_or_not_at_all() {
    let stage = Stage::new().await;
    let album = |items: Value, names: &[&str]| {
        let form = Form::new().text("chat_id", stage.ann.to_string()).text("media", items.to_string());
        names.iter().fold(form, |form, name| form.part((*name).to_owned(), file(name, png(8, 8))))
    };
    let item = |kind: &str, media: &str| json!({"type": kind, "media": media, "caption": media});
    let sent =
        upload(&stage, "sendMediaGroup", album(json!([item("photo", "attach://a"), item("photo", "attach://b")]), &["a", "b"])).await;
    let groups: Vec<&Value> = sent["result"].as_array().unwrap().iter().map(|message| &message["media_group_id"]).collect();
    assert!(groups.len() == 2 && groups[0] == groups[1] && groups[0].is_string(), "{sent}");
    for (items, names, said) in [
        (json!([item("photo", "attach://a")]), &["a"][..], "2 to 10"),
        (json!(vec![item("photo", "attach://a"); 11]), &["a"], "2 to 10"),
        (json!([item("photo", "attach://a"), item("document", "attach://b")]), &["a", "b"], "document can't be mixed"),
        (json!([item("photo", "attach://a"), item("photo", "attach://c")]), &["a"], "can't find the attached file"),
        (json!([item("photo", "attach://a"), item("photo", "attach://b")]), &["a", "b", "c"], "does not know the parameter \"c\""),
        (json!([item("photo", "attach://a"), item("voice", "attach://b")]), &["a", "b"], "voice"),
    ] {
        let refused = upload(&stage, "sendMediaGroup", album(items, names)).await;
        assert!(refused["description"].as_str().unwrap().contains(said), "{refused}");
    }
    assert_eq!(stage.telegram.bot_messages(stage.ann).len(), 2);
}

#[tokio::test]
async fn a_pressed_button_is_answered_in_time() {
    let stage = Stage::new().await;
    let keyboard = json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]});
    let message = stage.ok("sendMessage", json!({"chat_id": stage.ann, "text": "Sure?", "reply_markup": keyboard})).await;
    let message = message["message_id"].as_i64().unwrap();
    assert!(stage.telegram.press(stage.ann, stage.ann, message, "no").is_err());
    let query = stage.telegram.press(stage.ann, stage.ann, message, "Yes").unwrap();
    let update = stage.telegram.updates().pop().unwrap().body["callback_query"].clone();
    assert_eq!((&update["id"], &update["data"], &update["message"]["text"]), (&json!(query), &json!("y"), &json!("Sure?")));
    assert_eq!(stage.telegram.query_answer(&query), None);
    stage.ok("answerCallbackQuery", json!({"callback_query_id": query, "text": "done"})).await;
    assert_eq!(stage.telegram.query_answer(&query).as_deref(), Some("done"));
    assert!(stage.refused("answerCallbackQuery", json!({"callback_query_id": "5"})).await.starts_with("Bad Request: query is too old"));
    stage.telegram.advance(Duration::from_secs(16 * 60));
    assert!(stage.refused("answerCallbackQuery", json!({"callback_query_id": query})).await.starts_with("Bad Request: query is too old"));
}

#[tokio::test]
async fn menus_have_scopes_and_limits() {
    let stage = Stage::new().await;
    let commands = |name: &str| json!([{"command": name, "description": "Begin anew"}]);
    let private = json!({"type": "all_private_chats"});
    stage.ok("setMyCommands", json!({"commands": commands("new"), "scope": private})).await;
    assert_eq!(stage.telegram.menu("all_private_chats/"), Some(commands("new")));
    assert_eq!(stage.ok("getMyCommands", json!({"scope": private})).await, commands("new"));
    assert_eq!(stage.ok("getMyCommands", json!({})).await, json!([]));
    stage.ok("deleteMyCommands", json!({"scope": private})).await;
    assert_eq!(stage.telegram.menu("all_private_chats/"), None);
    for (params, said) in [
        (json!({"commands": commands("New")}), "BOT_COMMAND_INVALID"),
        (json!({"commands": vec![commands("new")[0].clone(); 101]}), "BOT_COMMANDS_TOO_MUCH"),
        (json!({"commands": [{"command": "new", "description": ""}]}), "DESCRIPTION_INVALID"),
        (json!({"commands": commands("new"), "scope": {"type": "chat", "chat_id": 5}}), "chat not found"),
        (json!({"commands": commands("new"), "scope": {"type": "everybody"}}), "can't parse scope"),
    ] {
        let refused = stage.refused("setMyCommands", params).await;
        assert!(refused.contains(said), "{refused}");
    }
}

#[tokio::test]
async fn who_is_who() {
    let stage = Stage::new().await;
    let me = stage.ok("getMe", json!({})).await;
    assert!(stage.telegram.token().starts_with(&me["id"].to_string()) && me["is_bot"] == true && me["username"].is_string());
    let ben = stage.telegram.new_user("Ben");
    let group = stage.telegram.new_group(ChatKind::Group, "Team", &[stage.ann]).unwrap();
    assert_eq!(stage.ok("getChat", json!({"chat_id": group})).await["title"], "Team");
    for (user, status) in [(stage.ann, "creator"), (ben, "left"), (me["id"].as_i64().unwrap(), "member")] {
        assert_eq!(stage.ok("getChatMember", json!({"chat_id": group, "user_id": user})).await["status"], status);
    }
    stage.ok("setMessageReaction", json!({"chat_id": stage.ann, "message_id": 1, "reaction": [{"type": "emoji", "emoji": "👀"}]})).await;
    assert_eq!(stage.telegram.message(stage.ann, 1).unwrap().reactions.into_values().collect::<Vec<_>>(), [["👀"]]);
    let invalid = json!({"chat_id": stage.ann, "message_id": 1, "reaction": [{"type": "emoji", "emoji": "🦀"}]});
    assert_eq!(stage.refused("setMessageReaction", invalid).await, "Bad Request: REACTION_INVALID");
}

#[tokio::test]
async fn a_call_comes_as_json_as_a_form_or_in_the_address() {
    let stage = Stage::new().await;
    let address = |more: &str| format!("{}?chat_id={}{more}", stage.address("sendMessage"), stage.ann);
    let got = Stage::read(stage.client.get(address("&text=a%20b&disable_notification=true")).send().await.unwrap()).await;
    assert_eq!(got["result"]["text"], "a b");
    let form = stage.client.post(address("")).header("content-type", "application/x-www-form-urlencoded");
    let body = "text=c&entities=%5B%7B%22type%22%3A%22bold%22%2C%22offset%22%3A0%2C%22length%22%3A1%7D%5D";
    assert_eq!(Stage::read(form.body(body).send().await.unwrap()).await["result"]["entities"][0]["type"], "bold");
    let broken = stage.client.post(address("")).header("content-type", "application/json").body("{");
    assert_eq!(Stage::read(broken.send().await.unwrap()).await["error_code"], 400);
    let other = stage.client.post(address("")).header("content-type", "text/plain").body("text=a");
    assert_eq!(Stage::read(other.send().await.unwrap()).await["error_code"], 400);
    assert_eq!(stage.call("sendRichMessage", json!({})).await["description"], "Not Found");
    let stranger = stage.client.get(format!("{}/bot1:wrong/getMe", stage.telegram.api_base_url()));
    assert_eq!(Stage::read(stranger.send().await.unwrap()).await["description"], "Unauthorized");
    let nowhere = stage.client.get(format!("{}/nowhere", stage.telegram.api_base_url()));
    assert_eq!(Stage::read(nowhere.send().await.unwrap()).await["description"], "Not Found");
}
