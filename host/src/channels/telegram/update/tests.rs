use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::channels::telegram::types::Me;

fn me() -> Me {
    serde_json::from_value(json!({"id": 99, "is_bot": true, "first_name": "Stella", "username": "stella_bot"})).unwrap()
}

fn ada() -> Value {
    json!({"id": 5, "is_bot": false, "first_name": "Ada", "last_name": "L", "username": "ada"})
}

fn decoded(update: &Value) -> Result<Update, Malformed> {
    decode(&update.to_string(), &me())
}

fn event_of(update: &Value) -> Event {
    decoded(update).unwrap().event
}

/// A message in a group, with these fields added or replaced; null removes one.
fn in_group(fields: &Value) -> Value {
    let mut message =
        json!({"message_id": 10, "from": ada(), "date": 1_700_000_000, "chat": {"id": -100, "type": "supergroup", "title": "Group"}});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    json!({"update_id": 1, "message": message})
}

fn incoming(update: &Value) -> Incoming {
    match event_of(update) {
        Event::Message(incoming) | Event::Edited(incoming) => *incoming,
        other => panic!("{other:?}"),
    }
}

/// A text with the entities of what stands between `⟨kind:…⟩`.
fn marked(text: &str) -> Incoming {
    let (mut plain, mut entities) = (String::new(), Vec::new());
    for (index, piece) in text.split(['⟨', '⟩']).enumerate() {
        match piece.split_once('=').filter(|_| index % 2 == 1) {
            None => plain.push_str(piece),
            Some((kind, inner)) => {
                let (kind, user) = kind.split_once('/').unwrap_or((kind, ""));
                entities.push(json!({"type": kind, "offset": plain.encode_utf16().count(), "length": inner.encode_utf16().count(),
                    "user": {"id": user.parse::<i64>().unwrap_or(0), "first_name": "x"}}));
                plain.push_str(inner);
            }
        }
    }
    incoming(&in_group(&json!({"text": plain, "entities": entities})))
}

#[test]
fn a_message_is_read() {
    let message = incoming(&in_group(&json!({"text": "hello"})));
    assert_eq!(message.chat, ChatRef { id: -100, kind: ChatKind::Supergroup, title: Some("Group".to_owned()), is_forum: false });
    let ada = Person { id: 5, name: "Ada L".to_owned(), username: Some("ada".to_owned()), is_bot: false };
    assert_eq!((message.from, message.sender_chat, message.thread), (Some(ada), None, None));
    assert_eq!((message.message_id, message.date, message.text.as_str(), message.to), (10, 1_700_000_000, "hello", Addressee::Nobody));
    let mut edited = in_group(&json!({"text": "hello!"}));
    let body = edited.as_object_mut().unwrap().remove("message").unwrap();
    edited["edited_message"] = body;
    assert!(matches!(event_of(&edited), Event::Edited(message) if message.text == "hello!"));
}

#[test]
fn a_name_is_one_line_that_can_be_seen() {
    let named = |first: &str, last: &str| {
        let from = json!({"id": 5, "first_name": first, "last_name": last, "username": "ada"});
        incoming(&in_group(&json!({"text": "x", "from": from, "chat": {"id": -100, "type": "group", "title": first}})))
    };
    let shown = |first: &str, last: &str| named(first, last).from.unwrap().name;
    assert_eq!(shown("A\u{202e}da\n\u{61c}", "\u{2066}L\u{7}"), "Ada L");
    assert_eq!(shown("👩\u{200d}💻", ""), "👩\u{200d}💻", "what makes one sign of two stays");
    for nothing in ["", "\u{200b}\u{2060}", "\u{3164}", "\u{30a}", "\u{e0041}"] {
        assert_eq!((shown(nothing, ""), named(nothing, "").chat.title), ("ada".to_owned(), None), "{nothing:?}");
    }
    assert_eq!(shown(&"x".repeat(5000), "y").chars().count(), limits::TELEGRAM_NAME_CHARS);
}

#[test]
fn in_a_private_chat_everything_is_for_the_bot() {
    let private = json!({"text": "@someone hi", "chat": {"id": 5, "type": "private", "first_name": "Ada"},
        "entities": [{"type": "mention", "offset": 0, "length": 8}]});
    let message = incoming(&in_group(&private));
    assert_eq!((message.to, message.text.as_str(), message.chat.title.as_deref()), (Addressee::Bot, "@someone hi", Some("Ada")));
}

#[test]
fn who_is_named_is_found_and_a_leading_name_is_taken_off() {
    let cases = [
        ("hello", Addressee::Nobody, "hello"),
        ("⟨mention=@stella_bot⟩ hello", Addressee::Bot, "hello"),
        ("⟨mention=@Stella_Bot⟩, hello", Addressee::Bot, "hello"),
        ("  ⟨mention=@stella_bot⟩:\n hello", Addressee::Bot, "hello"),
        ("⟨mention=@stella_bot⟩", Addressee::Bot, ""),
        ("👩‍👩‍👧 ⟨mention=@stella_bot⟩ hello", Addressee::Bot, "👩‍👩‍👧 @stella_bot hello"),
        ("hello ⟨mention=@stella_bot2⟩", Addressee::Nobody, "hello @stella_bot2"),
        ("⟨mention=@bob⟩ hello", Addressee::Other, "@bob hello"),
        ("⟨mention=@bob⟩ and ⟨mention=@stella_bot⟩", Addressee::Bot, "@bob and @stella_bot"),
        ("⟨mention=@stella_bot⟩ ⟨mention=@bob⟩ is late", Addressee::Bot, "@bob is late"),
        ("⟨text_mention/99=Stella⟩ hello", Addressee::Bot, "hello"),
        ("⟨text_mention/7=Bob⟩ hello", Addressee::Other, "Bob hello"),
        ("@stella_bot in code", Addressee::Nobody, "@stella_bot in code"),
        ("⟨bot_command=/status⟩", Addressee::AnyBot, "/status"),
        ("⟨bot_command=/model@stella_bot⟩ large 😀", Addressee::Bot, "/model large 😀"),
        ("⟨bot_command=/model@STELLA_BOT⟩", Addressee::Bot, "/model"),
        ("⟨bot_command=/model@other_bot⟩ large", Addressee::Other, "/model@other_bot large"),
        ("⟨mention=@stella_bot⟩ ⟨bot_command=/status⟩ now", Addressee::Bot, "/status now"),
        ("⟨bot_command=/status⟩ ⟨mention=@stella_bot⟩", Addressee::Bot, "/status @stella_bot"),
        ("⟨bot_command=/etc⟩/hosts", Addressee::Nobody, "/etc/hosts"),
        ("try ⟨bot_command=/status⟩", Addressee::Nobody, "try /status"),
    ];
    for (text, to, rest) in cases {
        let message = marked(text);
        assert_eq!((message.to, message.text.as_str()), (to, rest), "{text}");
    }
}

#[test]
fn entities_that_do_not_fit_are_left_out() {
    for (offset, length) in
        [(json!(1), json!(11)), (json!(0), json!(99)), (json!(-1), json!(3)), (json!("0"), json!(11)), (json!(0.0), json!(11))]
    {
        let update =
            in_group(&json!({"text": "😀@stella_bot", "entities": [{"type": "mention", "offset": offset, "length": length}, 5, null,
            {"type": "a_new_kind", "offset": 0, "length": 2, "new": {}}]}));
        let message = incoming(&update);
        assert_eq!((message.text.as_str(), message.to), ("😀@stella_bot", Addressee::Nobody), "{offset} {length}");
    }
}

#[test]
fn a_caption_is_the_text_and_is_read_with_its_own_entities() {
    let update = in_group(
        &json!({"caption": "@stella_bot what is this?", "caption_entities": [{"type": "mention", "offset": 0, "length": 11}],
        "photo": [{"file_id": "small", "width": 90, "height": 90}, {"file_id": "large", "file_unique_id": "u", "file_size": 5000, "width": 1280, "height": 720},
            {"file_id": "mid", "width": 320, "height": 320}], "media_group_id": "album"}),
    );
    let message = incoming(&update);
    assert_eq!((message.text.as_str(), message.to, message.album.as_deref()), ("what is this?", Addressee::Bot, Some("album")));
    let large = FileRef {
        kind: FileKind::Photo,
        file_id: "large".to_owned(),
        unique_id: Some("u".to_owned()),
        name: None,
        media_type: None,
        size_bytes: Some(5000),
        duration_s: None,
    };
    assert_eq!(message.files, [large]);
}

#[test]
fn every_kind_of_file_is_found_once() {
    let kinds = [
        ("document", FileKind::Document),
        ("audio", FileKind::Audio),
        ("voice", FileKind::Voice),
        ("video", FileKind::Video),
        ("video_note", FileKind::VideoNote),
        ("animation", FileKind::Animation),
    ];
    for (field, kind) in kinds {
        let file = json!({"file_id": "f", "file_name": "a\nb.bin", "mime_type": "x/y", "file_size": 3_000_000_000_u64, "duration": 12});
        let mut fields = json!({field: file});
        if kind == FileKind::Animation {
            fields["document"] = file;
        }
        let files = incoming(&in_group(&fields)).files;
        assert_eq!(files.len(), 1, "{field}");
        assert_eq!((files[0].kind, files[0].name.as_deref(), files[0].size_bytes), (kind, Some("a b.bin"), Some(3_000_000_000)));
        assert_eq!((files[0].media_type.as_deref(), files[0].duration_s), (Some("x/y"), Some(12)));
    }
}

#[test]
fn what_is_no_text_is_said_in_a_line() {
    let place = json!({"latitude": 52.516_27, "longitude": -13.377_7});
    let cases = [
        (json!({"location": place}), "📍 52.516270, -13.377700"),
        (
            json!({"location": place, "venue": {"location": place, "title": "Gate", "address": "Pariser Platz"}}),
            "📍 Gate, Pariser Platz (52.516270, -13.377700)",
        ),
        (json!({"contact": {"phone_number": "+49 1", "first_name": "Bob", "last_name": "B"}}), "👤 Bob B, +49 1"),
        (json!({"poll": {"question": "Lunch?", "options": [{"text": "Yes"}, {"text": "No\nno"}, 7]}}), "📊 Lunch?\n- Yes\n- No no"),
        (json!({"checklist": {"title": "Trip", "tasks": [{"id": 1, "text": "Pack"}]}}), "☑️ Trip\n- Pack"),
        (json!({"dice": {"emoji": "🎯", "value": 6}}), "🎯 6"),
        (json!({"sticker": {"emoji": "👍", "set_name": "Cats", "file_id": "s"}}), "A sticker 👍 (from Cats)"),
        (json!({"sticker": {"emoji": 7}}), "A sticker"),
        (json!({"story": {"id": 1}}), "A story, which cannot be read here"),
    ];
    for (fields, note) in cases {
        assert_eq!(incoming(&in_group(&fields)).notes, [note]);
    }
}

#[test]
fn a_rich_message_gives_its_text() {
    let rich = json!({"blocks": [
        {"type": "heading", "text": ["Plan ", {"type": "bold", "text": "B"}]},
        {"type": "list", "items": [{"label": "1.", "blocks": [{"type": "paragraph", "text": "first"}]}]},
        {"type": "table", "cells": [[{"text": "a"}, {"text": {"type": "code", "text": "b"}}]]},
        {"type": "mathematical_expression", "expression": "x^2"},
        {"type": "brand_new", "text": "new", "file_id": "secret"},
    ]});
    let message = incoming(&in_group(&json!({"rich_message": rich})));
    assert_eq!(message.text, "Plan B\n1.\nfirst\na\nb\nx^2\nnew");
}

#[test]
fn topics_are_told_from_chains_of_replies() {
    let thread = |fields: Value| incoming(&in_group(&fields)).thread;
    assert_eq!(thread(json!({"text": "x", "message_thread_id": 7, "is_topic_message": true})), Some(7));
    assert_eq!(thread(json!({"text": "x", "message_thread_id": 7})), None);
    assert_eq!(thread(json!({"text": "x", "message_thread_id": 1, "is_topic_message": true})), None);
    let private = json!({"id": 5, "type": "private"});
    assert_eq!(thread(json!({"text": "x", "chat": private, "message_thread_id": 7})), None);
    assert_eq!(thread(json!({"text": "x", "chat": private, "message_thread_id": 7, "is_topic_message": true})), Some(7));
    let with_topics = serde_json::from_value(json!({"id": 99, "has_topics_enabled": true})).unwrap();
    let update = in_group(&json!({"text": "x", "chat": private, "message_thread_id": 7})).to_string();
    assert!(matches!(decode(&update, &with_topics).unwrap().event, Event::Message(message) if message.thread == Some(7)));
    let forum = incoming(&in_group(&json!({"text": "x", "chat": {"id": -100, "type": "supergroup", "is_forum": true}})));
    assert!(forum.chat.is_forum && forum.thread.is_none());
}

#[test]
fn a_reply_brings_what_it_replies_to() {
    let bot = json!({"id": 99, "is_bot": true, "first_name": "Stella"});
    let reply = json!({"message_id": 3, "from": bot, "text": "a long answer", "reply_to_message": {"text": "never two deep"}});
    let whole = incoming(&in_group(&json!({"text": "why?", "reply_to_message": reply})));
    let quoted = whole.quoted.unwrap();
    assert_eq!(
        (whole.to, quoted.by.as_str(), quoted.is_by_bot_itself, quoted.text.as_str()),
        (Addressee::Bot, "Stella", true, "a long answer")
    );
    let part = incoming(&in_group(&json!({"text": "why?", "reply_to_message": reply, "quote": {"text": "long", "position": 2}})));
    assert_eq!(part.quoted.unwrap().text, "long");
    let other = json!({"message_id": 3, "from": ada(), "caption": "look", "photo": [{"file_id": "p"}]});
    let other = incoming(&in_group(&json!({"text": "nice", "reply_to_message": other})));
    let quoted = other.quoted.unwrap();
    assert_eq!((other.to, quoted.by.as_str(), quoted.text.as_str(), quoted.files.len()), (Addressee::Nobody, "Ada L", "look", 1));
    let to_other = json!({"text": "@bob see", "entities": [{"type": "mention", "offset": 0, "length": 4}], "reply_to_message": reply});
    assert_eq!(incoming(&in_group(&to_other)).to, Addressee::Other);
    let elsewhere = json!({"text": "this?", "quote": {"text": "the part"}, "external_reply": {"origin": {"type": "channel",
        "chat": {"id": -1, "title": "News"}, "author_signature": "Eve"}, "document": {"file_id": "d"}}});
    let quoted = incoming(&in_group(&elsewhere)).quoted.unwrap();
    assert_eq!((quoted.by.as_str(), quoted.text.as_str(), quoted.files.len()), ("News (Eve)", "the part", 1));
    let long = json!({"message_id": 3, "from": ada(), "text": "é".repeat(4096)});
    let quoted = incoming(&in_group(&json!({"text": "x", "reply_to_message": long}))).quoted.unwrap();
    assert_eq!(quoted.text.chars().count(), limits::TELEGRAM_QUOTE_CHARS);
}

#[test]
fn what_stands_in_a_topic_of_the_bot_is_no_reply_to_it() {
    let bot = json!({"id": 99, "is_bot": true, "first_name": "Stella"});
    for made in [json!({"message_id": 7, "from": bot, "forum_topic_created": {"name": "T"}}), json!({"message_id": 7, "from": bot})] {
        let message =
            incoming(&in_group(&json!({"text": "hi all", "message_thread_id": 7, "is_topic_message": true, "reply_to_message": made})));
        assert_eq!((message.to, message.quoted, message.thread), (Addressee::Nobody, None, Some(7)));
    }
}

#[test]
fn a_forward_says_whose_words_it_has() {
    let cases = [
        (json!({"type": "user", "sender_user": ada()}), "Ada L"),
        (json!({"type": "hidden_user", "sender_user_name": "The\u{202e} Owner\n/approve"}), "The Owner /approve"),
        (json!({"type": "chat", "sender_chat": {"id": -2, "title": "Team"}, "author_signature": "admin"}), "Team (admin)"),
        (json!({"type": "channel", "chat": {"id": -3, "title": "News"}, "message_id": 4}), "News"),
        (json!({"type": "from_the_future"}), "somebody"),
    ];
    for (origin, name) in cases {
        assert_eq!(incoming(&in_group(&json!({"text": "x", "forward_origin": origin}))).forwarded.as_deref(), Some(name));
    }
}

#[test]
fn who_writes_in_the_name_of_a_chat_is_nobody() {
    let anonymous = json!({"id": 1_087_968_824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot"});
    let message = incoming(&in_group(&json!({"text": "x", "from": anonymous, "sender_chat": {"id": -100, "title": "Group"}})));
    assert_eq!((message.from, message.sender_chat.as_deref()), (None, Some("Group")));
    // Even if nobody can say which chat, and even if Telegram named a person.
    let broken = incoming(&in_group(&json!({"text": "x", "sender_chat": {"id": "x"}})));
    assert_eq!((broken.from, broken.sender_chat.as_deref()), (None, Some("a chat")));
    assert_eq!(incoming(&in_group(&json!({"text": "x", "from": null}))).from, None);
    let quoting =
        json!({"message_id": 3, "from": {"id": 99, "first_name": "x"}, "sender_chat": {"id": -100, "title": "Group"}, "text": "t"});
    let quoted = incoming(&in_group(&json!({"text": "x", "reply_to_message": quoting}))).quoted.unwrap();
    assert_eq!((quoted.by.as_str(), quoted.is_by_bot_itself), ("Group", false));
}

#[test]
fn an_id_is_a_whole_number_or_none() {
    for id in [json!(1), json!(-5), json!(1_i64 << 52), json!((1_i64 << 52) + 1), json!(i64::MAX), json!(i64::MIN)] {
        let message = incoming(&in_group(&json!({"text": "x", "from": {"id": id, "first_name": "x"}})));
        assert_eq!(json!(message.from.unwrap().id), id);
    }
    for id in [json!("5"), json!(5.0), json!(5.5), json!(true), json!([5]), json!({"id": 5}), json!(1e20), json!(u64::MAX)] {
        let message = incoming(&in_group(&json!({"text": "x", "from": {"id": id, "first_name": "x"}})));
        assert_eq!(message.from, None, "{id}");
        assert!(decoded(&in_group(&json!({"text": "x", "chat": {"id": id, "type": "private"}}))).is_err(), "{id}");
        let update = json!({"update_id": id, "message": {}});
        assert!(number(&update.to_string()).is_none() && decoded(&update).is_err(), "{id}");
    }
    // A list is no person and no chat, though its first element is where the id would be.
    assert_eq!(incoming(&in_group(&json!({"text": "x", "from": [5]}))).from, None);
    assert!(decoded(&in_group(&json!({"text": "x", "chat": [5]}))).is_err());
}

#[test]
fn what_happens_to_the_bot_and_its_chats_is_told() {
    let change = |status: Value| {
        let chat = json!({"id": -100, "type": "group", "title": "G"});
        event_of(&json!({"update_id": 1, "my_chat_member": {"chat": chat, "from": ada(), "date": 1, "new_chat_member": status}}))
    };
    let cases = [
        (json!({"status": "member"}), Membership::Member, true),
        (json!({"status": "administrator"}), Membership::Administrator, true),
        (json!({"status": "restricted", "is_member": true, "can_send_messages": false}), Membership::Restricted { can_send: false }, false),
        (json!({"status": "restricted", "is_member": false}), Membership::Left, false),
        (json!({"status": "left"}), Membership::Left, false),
        (json!({"status": "kicked"}), Membership::Kicked, false),
    ];
    for (status, expected, is_in) in cases {
        let Event::Membership { chat, by, status } = change(status) else { panic!() };
        assert_eq!((chat.id, by.id, status, status.is_in()), (-100, 5, expected, is_in));
    }
    assert!(matches!(change(json!({"status": "frozen"})), Event::Unknown { kind } if kind == "my_chat_member frozen"));
    assert_eq!(event_of(&in_group(&json!({"migrate_to_chat_id": -1007}))), Event::Migrated { from: -100, to: -1007 });
    assert_eq!(event_of(&in_group(&json!({"migrate_from_chat_id": -7}))), Event::Migrated { from: -7, to: -100 });
    for service in ["new_chat_members", "pinned_message", "forum_topic_created", "forum_topic_closed", "a_new_kind_of_service"] {
        assert_eq!(event_of(&in_group(&json!({service: [{"id": 1}]}))), Event::Service);
    }
}

#[test]
fn buttons_stops_and_what_is_new_are_told_apart() {
    let press = json!({"id": "77", "from": ada(), "chat_instance": "i", "data": "k1", "message":
        {"message_id": 3, "date": 0, "chat": {"id": -100, "type": "supergroup"}, "message_thread_id": 7, "is_topic_message": true}});
    let Event::Button(button) = event_of(&json!({"update_id": 1, "callback_query": press})) else { panic!() };
    assert_eq!((button.query_id.as_str(), button.from.id, button.chat.id), ("77", 5, -100));
    assert_eq!((button.message_id, button.thread, button.data.as_str()), (3, Some(7), "k1"));
    let inline = json!({"id": "77", "from": ada(), "inline_message_id": "x", "data": "k1"});
    assert!(matches!(event_of(&json!({"update_id": 1, "callback_query": inline})), Event::Unknown { .. }));
    let stopped = json!({"update_id": 1, "stopped_message_generation": {"chat": {"id": 5, "type": "private"}, "message_thread_id": 7, "draft_id": 4}});
    assert_eq!(event_of(&stopped), Event::Stopped { chat: 5, thread: Some(7), draft_id: 4 });
    assert_eq!(event_of(&json!({"update_id": 1, "message_reaction": {}})), Event::Reaction);
    for kind in ["channel_post", "inline_query", "chat_join_request", "from_the_future"] {
        assert_eq!(event_of(&json!({"update_id": 1, kind: {"text": "x"}})), Event::Unknown { kind: kind.to_owned() });
    }
}

#[test]
fn whose_an_update_is_can_be_told_also_of_kinds_that_nobody_knows() {
    let check = |update: Value, whose: Option<i64>| assert_eq!(sender(&update.to_string()), whose, "{update}");
    check(json!({"update_id": 1, "inline_query": {"from": {"id": 5}, "query": "x"}}), Some(5));
    check(json!({"update_id": 1, "a_new_kind": {"chat": {"id": -7}, "from": {"id": 5}}}), Some(5));
    check(json!({"update_id": 1, "poll_answer": {"user": {"id": 5}}}), Some(5));
    check(json!({"update_id": 1, "channel_post": {"chat": {"id": -7}, "text": "x"}}), Some(-7));
    for update in
        [json!({"update_id": 1, "a": {"from": {"id": "5"}}}), json!({"update_id": 1, "from": {"id": 5}}), json!({"a": 5}), json!([5])]
    {
        check(update, None);
    }
    assert_eq!(sender("no JSON"), None);
}

#[test]
fn what_is_no_update_keeps_its_id_if_it_has_one() {
    let deep = format!(r#"{{"update_id":8,"message":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let cases = [
        (r#"{"update_id":8}"#, Some(8), "an update with nothing in it"),
        (r#"{"update_id":8,"message":5}"#, Some(8), "message: not an object"),
        (r#"{"update_id":8,"callback_query":["7",[5]]}"#, Some(8), "callback_query: not an object"),
        (r#"{"update_id":8,"callback_query":{"id":"7","from":[5],"data":"x"}}"#, Some(8), "callback_query: not an object"),
        (r#"{"update_id":8,"message":{"text":"x"}}"#, Some(8), "message: no chat"),
        (r#"{"update_id":8,"message":{"text":"x","chat":{"id":1}}}"#, Some(8), "message: no message id"),
        (r#"{"update_id":8,"callback_query":{"id":"7","data":"x"}}"#, Some(8), "callback_query: missing field `from`"),
        (r#"{"update_id":8,"message":{"text":"\ud800"}}"#, Some(8), "an update that cannot be read: unexpected end of hex escape"),
        (&deep, Some(8), "an update that cannot be read: recursion limit exceeded"),
        (r#"{"message":{}}"#, None, "an update without an id"),
        ("[1]", None, "an update that is no object"),
        ("", None, "an update that cannot be read: EOF"),
    ];
    for (raw, id, reason) in cases {
        let malformed = decode(raw, &me()).unwrap_err();
        assert_eq!(number(raw), id, "{raw}");
        assert!(malformed.reason.starts_with(reason), "{}", malformed.reason);
    }
    let long = json!({"update_id": 8, "message": "x".repeat(100_000)});
    assert!(decoded(&long).unwrap_err().reason.chars().count() <= limits::TELEGRAM_NAME_CHARS);
}

#[test]
fn texts_and_names_are_bounded() {
    let long = "ä".repeat(limits::TELEGRAM_TEXT_BYTES);
    let update = in_group(&json!({"text": long, "from": {"id": 5, "first_name": long}, "document": {"file_id": "f", "file_name": long}}));
    let message = incoming(&update);
    assert_eq!(message.text.len(), limits::TELEGRAM_TEXT_BYTES);
    assert_eq!(message.from.unwrap().name.chars().count(), limits::TELEGRAM_NAME_CHARS);
    assert_eq!(message.files[0].name.as_ref().unwrap().chars().count(), limits::TELEGRAM_NAME_CHARS);
    assert!(incoming(&in_group(&json!({"text": "x", "document": {"file_id": long}}))).files.is_empty());
}

/// One update of each kind, with as much in it as there can be.
fn full() -> Vec<Value> {
    let file = json!({"file_id": "f", "file_unique_id": "u", "file_name": "n", "mime_type": "a/b", "file_size": 1, "duration": 1, "width": 1, "height": 1});
    let place = json!({"latitude": 1.5, "longitude": 2.5});
    let reply = json!({"message_id": 3, "from": ada(), "chat": {"id": -100, "type": "group"}, "text": "r", "photo": [file], "forum_topic_created": {}});
    let rest = json!({
        "message_thread_id": 7, "is_topic_message": true, "edit_date": 5, "media_group_id": "a", "via_bot": ada(),
        "forward_origin": {"type": "user", "sender_user": ada(), "author_signature": "s"},
        "external_reply": {"origin": {"type": "chat", "sender_chat": {"id": -2, "title": "t"}}, "photo": [file]},
        "reply_to_message": reply, "quote": {"text": "q", "position": 0, "entities": []},
        "entities": [{"type": "bold", "offset": 0, "length": 3}, {"type": "text_mention", "offset": 4, "length": 2, "user": ada()}],
        "photo": [file], "document": file, "audio": file, "voice": file, "video": file, "video_note": file, "animation": file,
        "sticker": {"emoji": "x", "set_name": "y"}, "location": place, "venue": {"location": place, "title": "t", "address": "a"},
        "contact": {"phone_number": "1", "first_name": "f", "last_name": "l"}, "poll": {"question": "q", "options": [{"text": "o"}]},
        "dice": {"emoji": "d", "value": 1}, "checklist": {"title": "t", "tasks": [{"text": "k"}]}, "story": {}, "new_field": [{"a": 1}],
    });
    let mut text = in_group(&rest);
    text["message"]["text"] = json!("the text itself");
    let few = json!({"from": ada(), "message_id": 10, "chat": {"id": 5, "type": "private"}, "caption": "the text itself",
        "caption_entities": [{"type": "italic", "offset": 0, "length": 3}], "photo": [file], "reply_to_message": {"text": "r"}});
    let caption = json!({"update_id": 2, "message": few});
    let edited = json!({"update_id": 3, "edited_message": few});
    vec![
        text,
        caption,
        edited,
        json!({"update_id": 4, "callback_query": {"id": "q", "from": ada(), "data": "d", "message": few}}),
        json!({"update_id": 5, "my_chat_member": {"chat": {"id": -100, "type": "group"}, "from": ada(), "date": 1,
            "old_chat_member": {"status": "left", "user": ada()}, "new_chat_member": {"status": "member", "user": ada()}}}),
        json!({"update_id": 6, "stopped_message_generation": {"chat": {"id": 5, "type": "private"}, "message_thread_id": 7, "draft_id": 4}}),
        json!({"update_id": 7, "message_reaction": {"chat": {"id": 5}, "message_id": 1, "new_reaction": []}}),
    ]
}

/// The places of everything inside a value.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        let place = format!("{at}/{name}");
        places(value, &place, all);
        all.push(place);
    }
}

#[test]
fn one_wrong_field_loses_at_most_itself() {
    let wrong = [json!(null), json!(-1.5), json!("\u{0}\u{202e}"), json!([[]]), json!({"id": {}}), json!(u64::MAX)];
    let mut tried = 0;
    for update in full() {
        let has_text = decoded(&update).is_ok_and(|update| matches!(update.event, Event::Message(_) | Event::Edited(_)));
        let mut all = Vec::new();
        places(&update, "", &mut all);
        // Without these there is no message, or no text.
        let body = if update.get("message").is_some() { "/message" } else { "/edited_message" };
        let needed = ["", "/text", "/caption", "/chat", "/chat/id", "/message_id"].map(|field| format!("{body}{field}"));
        for place in all {
            for value in wrong.iter().map(Some).chain([None]) {
                let mut update = update.clone();
                let (parent, name) = place.rsplit_once('/').unwrap();
                match (update.pointer_mut(parent).unwrap(), value) {
                    (Value::Object(fields), Some(value)) => drop(fields.insert(name.to_owned(), value.clone())),
                    (Value::Object(fields), None) => drop(fields.remove(name)),
                    (Value::Array(elements), Some(value)) => elements[name.parse::<usize>().unwrap()] = value.clone(),
                    (Value::Array(elements), None) => drop(elements.remove(name.parse().unwrap())),
                    _ => unreachable!(),
                }
                tried += 1;
                let result = decoded(&update);
                if has_text && place != "/update_id" && !needed.contains(&place) {
                    let Ok(Event::Message(message) | Event::Edited(message)) = result.map(|update| update.event) else {
                        panic!("{place} = {value:?}")
                    };
                    assert_eq!(message.text, "the text itself", "{place} = {value:?}");
                }
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

/// JSON with names that are known, and whatever below them.
fn anything() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "update_id",
        "message",
        "edited_message",
        "callback_query",
        "my_chat_member",
        "chat",
        "id",
        "from",
        "message_id",
        "text",
        "caption",
        "entities",
        "type",
        "offset",
        "length",
        "user",
        "photo",
        "file_id",
        "reply_to_message",
        "quote",
        "poll",
        "options",
        "rich_message",
        "blocks",
        "data",
        "new_chat_member",
        "status",
        "venue",
        "location",
        "sender_chat",
        "message_thread_id",
        "is_topic_message",
        "forward_origin",
        "width",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..20_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop::sample::select(vec!["mention", "bot_command", "private", "@stella_bot", "/x@stella_bot 😀", "member"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_comes_is_an_update_or_not(kind in prop::sample::select(vec!["message", "edited_message", "callback_query", "my_chat_member", "stopped_message_generation"]), body in anything()) {
        let _ = decoded(&json!({"update_id": 1, kind: body}));
        let _ = decoded(&body);
        let _ = decode(&body.to_string()[..body.to_string().floor_char_boundary(20)], &me());
    }

    #[test]
    fn whatever_stands_beside_a_text_it_is_kept(text in "\\PC{1,30}", fields in prop::collection::vec(("[a-z_]{3,20}", anything()), 0..5), known in anything()) {
        let mut update = in_group(&json!({}));
        let needed = ["text", "message_id", "chat", "migrate_to_chat_id", "migrate_from_chat_id", "entities"];
        let known = known.as_object().cloned().unwrap_or_default();
        for (name, value) in fields.into_iter().chain(known).filter(|(name, _)| !needed.contains(&name.as_str())) {
            update["message"][name] = value;
        }
        update["message"]["text"] = json!(text);
        prop_assert_eq!(incoming(&update).text, text);
    }

    #[test]
    fn whatever_entities_say_no_word_is_lost(text in "[ a@/😀é,:]{0,40}", entities in prop::collection::vec((0..4_usize, 0..45_usize, 0..45_usize), 0..6)) {
        let kinds = ["mention", "bot_command", "text_mention", "bold"];
        let entities: Vec<Value> = entities.into_iter().map(|(kind, offset, length)| json!({"type": kinds[kind], "offset": offset, "length": length, "user": {"id": 7}})).collect();
        let update = in_group(&json!({"text": format!("{text}."), "entities": entities}));
        // No mention is the bot's here, so nothing may be taken off.
        prop_assert_eq!(incoming(&update).text, format!("{text}."));
    }
}
