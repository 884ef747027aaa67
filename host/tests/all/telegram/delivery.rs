//! Replies on their way out: whole, in order, once, and to whom they are for, whatever Telegram and the network do meanwhile.

mod errands;
mod trouble;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;
use stellaclaw::fake_telegram::{Call, ChatKind, EntityKind, Fault, FileKind, Message, Post, Seen, Standing, png, units};

use crate::support::bot::Bot;
use crate::support::bot_checker::is_panel;
use crate::support::fake_openai::{Answer, Fault as ModelFault, Script};

const MARK: &str = "(may repeat)\n";
const NAME: &str = "@stella_claw_bot";

fn short() -> Script {
    Script::default().on("short", [Answer::text("The **short** answer.")])
}

/// What the bot has said, without what only showed its work.
fn said_in(bot: &Bot, chat: i64) -> Vec<Message> {
    bot.telegram.bot_messages(chat).into_iter().filter(|message| !is_panel(message)).collect()
}

/// What the bot says to something that Ann writes, when everything is said.
async fn said_to(bot: &Bot, text: &str) -> Vec<Message> {
    let before = said_in(bot, bot.ann).len();
    bot.write(text);
    bot.settle().await;
    said_in(bot, bot.ann).split_off(before)
}

/// For answers, and not for what shows how they come to be.
fn heard(seen: Seen<'_>) -> bool {
    seen.params["disable_notification"] == false
}

/// What of a message is bold, by the units that its entities name.
fn bold(message: &Message) -> Vec<String> {
    let units: Vec<u16> = message.text.encode_utf16().collect();
    let bold = message.entities.iter().filter(|entity| entity.kind == EntityKind::Bold);
    bold.map(|entity| String::from_utf16(&units[entity.offset..entity.offset + entity.length]).unwrap()).collect()
}

/// Every promise, as the checker sees it. `doubts`: how often the server left open whether something arrived.
fn assert_kept(bot: &Bot, doubts: usize) {
    let verdict = bot.judge(&[], 0, doubts);
    assert!(verdict.is_good(), "{verdict}");
}

/// What can be said of every call: no preview, no secret.
fn assert_decent(bot: &Bot) {
    for call in bot.telegram.calls() {
        if ["sendMessage", "editMessageText"].contains(&call.method.as_str()) {
            assert_eq!(call.param("link_preview_options"), &json!({"is_disabled": true}), "{call:?}");
        }
    }
    assert_eq!(bot.leaks(), Vec::<String>::new());
}

#[tokio::test]
async fn a_long_answer_arrives_whole_in_order_and_audibly() {
    let words = |n: usize| format!("Paragraph {n:02} 🦀 with **bold** words{}\n\n", ", and more of them".repeat(14));
    let code: String = (0..200).map(|n| format!("let line_{n:03} = {n}; // 🦀\n")).collect();
    let table = "| name | value |\n|---|---|\n| first cell | 1 |\n| last cell | 2 |\n\n";
    let (begin, end): (String, String) = ((0..14).map(words).collect(), (14..28).map(words).collect());
    let answer = format!("{begin}```rust\n{code}```\n\n{table}{end}");
    assert!(units(&answer) > 12_000);
    let bot = Bot::scripted(Script::default().on("long", [Answer::text(&answer)])).await;
    let host = bot.host().await;
    let parts = said_to(&bot, "long").await;
    assert!((3..=6).contains(&parts.len()), "{} parts", parts.len());
    let all: String = parts.iter().map(|part| format!("{}\n", part.text)).collect();
    let wanted = (0..14).map(|n| format!("Paragraph {n:02} 🦀")).chain((0..200).map(|n| format!("let line_{n:03} = {n}; // 🦀")));
    let wanted = wanted.chain(["first cell".into(), "last cell".into()]).chain((14..28).map(|n| format!("Paragraph {n:02} 🦀")));
    let mut at = 0;
    for piece in wanted {
        at += all[at..].find(&piece).unwrap_or_else(|| panic!("{piece:?} is not there, or too early:\n{all}")) + piece.len();
    }
    let coded: Vec<_> = parts.iter().filter(|part| part.text.contains("line_")).collect();
    assert!(coded.len() >= 2, "the code is too short for this test");
    for part in &coded {
        let is_code =
            |entity: &&stellaclaw::fake_telegram::Entity| entity.kind == EntityKind::Pre && entity.language.as_deref() == Some("rust");
        assert!(part.entities.iter().any(|entity| is_code(&entity)), "{part:?}");
    }
    assert_eq!(parts.iter().flat_map(bold).collect::<Vec<_>>(), vec!["bold"; 28]);
    assert!(said_to(&bot, "/help").await[0].silent, "only answers are heard");
    assert_kept(&bot, 0);
    assert_decent(&bot);
    host.stop().await;
}

/// Three paragraphs, each a message of its own.
fn three(name: &str) -> String {
    ["first", "second", "third"].map(|n| format!("**{name}-{n}** {}", "and so on ".repeat(300))).join("\n\n")
}

#[tokio::test]
async fn a_part_that_is_refused_goes_plain_or_not_at_all_and_the_rest_follows() {
    let bot = Bot::scripted(Script::default().on("plain", [Answer::text(&three("plain"))]).on("not", [Answer::text(&three("not"))])).await;
    let host = bot.host().await;
    let refused = |piece: &'static str| {
        Fault::refuse(400, "Bad Request: can't parse entities: no reason")
            .on("sendMessage")
            .when(move |seen| heard(seen) && seen.params["text"].as_str().is_some_and(|text| text.contains(piece)))
    };
    bot.telegram.fault(refused("plain-second"));
    let parts = said_to(&bot, "plain").await;
    assert_eq!(parts.iter().map(bold).collect::<Vec<_>>(), [vec!["plain-first"], vec![], vec!["plain-third"]]);
    assert!(parts[1].text.starts_with("plain-second and so on") && parts.iter().all(|part| !part.silent));
    assert_kept(&bot, 0);

    bot.telegram.fault(refused("not-second").times(2));
    let parts = said_to(&bot, "not").await;
    let [first, third, told] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!([first, third].map(bold), [["not-first"], ["not-third"]]);
    assert!(told.text.contains("may not have arrived (s1.t2)") && !told.silent, "{told:?}");
    let states = bot.rows("SELECT parts.state FROM parts JOIN outbox ON outbox.id = outbox ORDER BY outbox.id, n");
    assert_eq!(states[3..], ["sent", "refused", "sent", "sent"]);
    assert_eq!(bot.rows("SELECT DISTINCT state FROM outbox"), ["sent"]);
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn a_chat_that_asks_to_wait_is_left_alone_over_a_restart_and_others_are_not() {
    let bot = Bot::scripted(short().on("from Bob", [Answer::text("The answer to Bob.")])).await;
    let bob = bot.telegram.new_user("Bob");
    bot.configure(&format!("people = [{bob}]\n"));
    let host = bot.host().await;
    let flood = 6;
    bot.telegram.fault(Fault::flood(flood).on("sendMessage").in_chat(bot.ann).when(heard));
    bot.write("short");
    let frozen = |_: &_| (bot.rows("SELECT state FROM parts") == ["pending"]).then_some(());
    bot.telegram.wait("the part to be put back", frozen).await.unwrap();
    bot.telegram.write(bob, bob, Post::text("from Bob")).unwrap();
    bot.telegram.sent(bob, "The answer to Bob.").await.unwrap();
    // What the host does not know yet would come again after the kill.
    let known = |_: &_| bot.rows("SELECT state FROM parts").contains(&"sent".to_owned()).then_some(());
    bot.telegram.wait("the host to know it", known).await.unwrap();
    assert!(said_in(&bot, bot.ann).is_empty());
    host.kill();
    let host = bot.host().await;
    bot.settle().await;
    let sends: Vec<_> = answers(&bot, bot.ann);
    assert_eq!(sends.iter().map(|call| call.succeeded()).collect::<Vec<_>>(), [false, true], "{sends:?}");
    assert!(sends[1].at - sends[0].at >= i64::try_from(flood * 1000).unwrap(), "{sends:?}");
    let during = |at: i64| at > sends[0].ended.unwrap() + 1000 && at < sends[1].at - 1000;
    let meanwhile: Vec<_> = bot.telegram.calls().into_iter().filter(|call| call.chat == Some(bot.ann) && during(call.at)).collect();
    assert!(meanwhile.is_empty(), "{meanwhile:?}");
    let [answer] = &said_in(&bot, bot.ann)[..] else { panic!("not once: {:?}", said_in(&bot, bot.ann)) };
    assert_eq!(answer.text, "The short answer.");
    assert_kept(&bot, 0);
    host.stop().await;
}

#[tokio::test]
async fn what_may_have_arrived_comes_once_more_with_a_mark_and_nothing_else_does() {
    let (plain, marked) = ("", MARK);
    let faults = [
        (Fault::lost_after(), vec![plain, marked]),
        (Fault::cut(), vec![plain, marked]),
        (Fault::not_json(), vec![plain, marked]),
        (Fault::lost_before(), vec![marked]),
        (Fault::page(502), vec![marked]),
        (Fault::odd_answer(), vec![plain]),
    ];
    let mut script = Script::default();
    for n in 0..faults.len() {
        script = script.on(&format!("case-{n}"), [Answer::text(&format!("🦀 **Answer {n}** comes."))]);
    }
    let bot = Bot::scripted(script).await;
    let host = bot.host().await;
    for (n, (fault, copies)) in faults.into_iter().enumerate() {
        let what = format!("{fault:?}");
        bot.telegram.fault(fault.on("sendMessage").when(heard));
        let said = said_to(&bot, &format!("case-{n}")).await;
        let expected: Vec<_> = copies.iter().map(|mark| format!("{mark}🦀 Answer {n} comes.")).collect();
        assert_eq!(said.iter().map(|message| message.text.clone()).collect::<Vec<_>>(), expected, "{what}");
        for message in said {
            assert_eq!(bold(&message), [format!("Answer {n}")], "{what}");
            assert!(!message.silent, "{what}");
        }
    }
    assert_kept(&bot, 5);
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn what_could_not_be_sent_at_all_comes_later_and_without_a_mark() {
    let bot = Bot::scripted(Script::default().on("away", [Answer::text("Here I am.").held("away")])).await;
    let host = bot.host().await;
    bot.write("away");
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("away", 1).await;
    bot.telegram.confirmed().await.unwrap();
    bot.telegram.down().await;
    vendor.release("away");
    let tried = |_: &_| (bot.work.log().matches("a message was not sent").count() >= 2).then_some(());
    bot.telegram.wait("a second try", tried).await.unwrap();
    bot.telegram.up().await.unwrap();
    bot.settle().await;
    let said: Vec<_> = said_in(&bot, bot.ann).into_iter().map(|message| message.text).collect();
    assert_eq!(said, ["Here I am."]);
    assert_kept(&bot, 0);
    host.stop().await;
}

/// What was said to a chat to be heard, or tried to.
fn answers(bot: &Bot, chat: i64) -> Vec<Call> {
    let is_heard = |call: &Call| call.chat == Some(chat) && call.param("disable_notification") == false;
    bot.telegram.calls_of("sendMessage").into_iter().filter(is_heard).collect()
}

fn sends(bot: &Bot, chat: i64) -> usize {
    answers(bot, chat).len()
}

#[tokio::test]
async fn a_bot_that_is_blocked_gives_up_what_waits_and_comes_back_when_it_is_wanted() {
    let bot = Bot::scripted(short().on("long", [Answer::text(&three("long"))])).await;
    let host = bot.host().await;
    bot.telegram.fault(Fault::refuse(403, "Forbidden: bot was blocked by the user").on("sendMessage").when(heard));
    bot.write("long");
    bot.settle().await;
    assert_eq!(sends(&bot, bot.ann), 1, "the other parts are not even tried");
    assert_eq!(bot.rows("SELECT DISTINCT state FROM outbox"), ["aside"]);
    assert_eq!(bot.rows("SELECT count(*) FROM conversations WHERE closed_at IS NOT NULL"), ["1"]);
    let said = said_to(&bot, "short").await;
    assert_eq!(said.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["The short answer."]);
    assert_eq!(bot.rows("SELECT count(*) FROM conversations WHERE closed_at IS NOT NULL"), ["0"]);
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn a_bot_that_is_removed_stops_working_there_and_goes_on_when_it_is_back() {
    let bot = Bot::scripted(short().on("hold", [Answer::text("Too late.").held("hold")])).await;
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Team", &[bot.ann]).unwrap();
    bot.configure(&format!("groups = [{group}]\n"));
    let host = bot.host().await;
    let write = |text: &str| bot.telegram.write(group, bot.ann, Post::text(&format!("{NAME} {text}"))).unwrap();
    write("hold");
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("hold", 1).await;
    bot.telegram.set_standing(group, bot.ann, Standing::Kicked).unwrap();
    bot.telegram.wait("the turn to be stopped", |_| (vendor.left_count("hold") == 1).then_some(())).await.unwrap();
    bot.settle().await;
    assert_eq!(sends(&bot, group), 0);
    assert_eq!(bot.rows("SELECT DISTINCT state FROM outbox"), ["aside"]);
    bot.telegram.set_standing(group, bot.ann, Standing::Member).unwrap();
    write("short");
    bot.telegram.sent(group, "The short answer.").await.unwrap();
    bot.settle().await;
    assert_eq!(sends(&bot, group), 1, "nothing of what was set aside comes back");
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn everything_that_is_sent_to_a_topic_names_it() {
    let shown = "Here: [all](shared/all.txt) ![one](shared/one.png) ![two](shared/two.png)";
    let bot = Bot::scripted(short().on("show", [Answer::text(shown)])).await;
    let forum = bot.telegram.new_group(ChatKind::Supergroup { forum: true }, "Forum", &[bot.ann]).unwrap();
    let topic = bot.telegram.new_topic(forum, bot.ann, "Plans").unwrap();
    bot.configure(&format!("groups = [{forum}]\n"));
    let host = bot.host().await;
    let shared = bot.work.workdir().join("rundir/shared");
    fs::write(shared.join("all.txt"), "all").unwrap();
    for name in ["one.png", "two.png"] {
        fs::write(shared.join(name), png(40, 30)).unwrap();
    }
    let write = async |text: &str| {
        bot.telegram.write(forum, bot.ann, Post::text(text).in_topic(topic)).unwrap();
        bot.settle().await;
    };
    bot.telegram.fault(Fault::lost_after().on("sendDocument"));
    write(&format!("{NAME} show")).await;
    write(&format!("/help{NAME}")).await;
    bot.telegram.fault(Fault::lost_after().on("sendMessage").when(heard));
    write(&format!("{NAME} short")).await;
    let said = said_in(&bot, forum);
    assert!(said.iter().all(|message| message.thread == Some(topic)), "{said:?}");
    let texts: Vec<_> = said.iter().map(|message| message.text.lines().next().unwrap_or_default()).collect();
    let (mark, count) = (MARK.trim_end(), |text: &str| texts.iter().filter(|said| **said == text).count());
    assert_eq!([count("all"), count("one"), count("two"), count("The short answer."), count(mark)], [1, 1, 1, 1, 2], "{texts:?}");
    assert!(said.iter().any(|message| message.text.contains("/cancel")), "{texts:?}");
    assert_kept(&bot, 2);
    host.stop().await;
}

#[tokio::test]
async fn a_token_that_is_refused_for_a_while_costs_no_answer_and_no_chat() {
    let bot = Bot::scripted(short()).await;
    let host = bot.host().await;
    let refused = bot.telegram.fault(Fault::refuse(401, "Unauthorized").on("sendMessage").always());
    bot.write("short");
    let waits = |_: &_| (bot.rows("SELECT state FROM parts") == ["pending"]).then_some(());
    bot.telegram.wait("the part to be put back", waits).await.unwrap();
    assert_eq!(bot.rows("SELECT count(*) FROM conversations WHERE closed_at IS NOT NULL"), ["0"]);
    assert!(said_in(&bot, bot.ann).is_empty() && sends(&bot, bot.ann) > 0);
    bot.telegram.remove_fault(refused);
    // What else is to be said there is a reason to try again, before the pause is over.
    let said = said_to(&bot, "/help").await;
    let [answer, help] = &said[..] else { panic!("{said:?}") };
    assert!(answer.text == "The short answer." && !answer.silent && help.text.contains("/cancel"), "{said:?}");
    assert_kept(&bot, 0);
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn a_model_that_fails_is_spoken_of_once_to_be_heard_and_a_button_or_a_word_goes_on() {
    let script = Script::default()
        .on("pressed", [Answer::text("Pressed on.").after([ModelFault::status(503), ModelFault::status(503)])])
        .on("typed", [Answer::text("Typed on.").after([ModelFault::status(503), ModelFault::status(503)])]);
    let bot = Bot::scripted_with(script, "[session]\nask_tries = 2\n").await;
    let host = bot.host().await;
    for (n, what) in [(1, "pressed"), (2, "typed")] {
        bot.write(what);
        let told = bot.telegram.sent(bot.ann, &format!("(s1.t{n})")).await.unwrap();
        assert!(told.text.starts_with("The model main did not answer after 2 attempts") && told.text.contains("/continue"), "{told:?}");
        assert!(!told.silent && told.keyboard.is_some(), "{told:?}");
        match n {
            1 => drop(bot.telegram.press(bot.ann, bot.ann, told.id, "Try again").unwrap()),
            _ => drop(bot.write("/continue")),
        }
        bot.telegram.sent(bot.ann, [".", "Pressed on.", "Typed on."][n]).await.unwrap();
        bot.settle().await;
    }
    let heard: Vec<_> = said_in(&bot, bot.ann).into_iter().filter(|message| !message.silent).map(|message| message.text).collect();
    let [first, pressed, second, typed] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!([pressed, typed], ["Pressed on.", "Typed on."]);
    assert!(first.ends_with("(s1.t1)") && second.ends_with("(s1.t2)"), "{heard:?}");
    assert_eq!(bot.leaks(), Vec::<String>::new());
    host.stop().await;
}

#[tokio::test]
async fn a_topic_that_is_gone_closes_alone() {
    let bot = Bot::scripted(short()).await;
    let forum = bot.telegram.new_group(ChatKind::Supergroup { forum: true }, "Forum", &[bot.ann]).unwrap();
    let topic = bot.telegram.new_topic(forum, bot.ann, "Plans").unwrap();
    bot.configure(&format!("groups = [{forum}]\n"));
    let host = bot.host().await;
    let ask = Post::text(&format!("{NAME} short"));
    bot.telegram.fault(Fault::refuse(400, "Bad Request: message thread not found").on("sendMessage").when(heard));
    bot.telegram.write(forum, bot.ann, ask.clone().in_topic(topic)).unwrap();
    bot.settle().await;
    assert_eq!(bot.rows("SELECT DISTINCT state FROM outbox"), ["aside"]);
    bot.telegram.write(forum, bot.ann, ask).unwrap();
    assert_eq!(bot.telegram.sent(forum, "The short answer.").await.unwrap().thread, None);
    bot.settle().await;
    assert_eq!(bot.rows("SELECT address FROM conversations WHERE closed_at IS NOT NULL"), [format!("{forum}:{topic}")]);
    assert_eq!(sends(&bot, forum), 2);
    host.stop().await;
}

#[tokio::test]
async fn a_reply_follows_its_group() {
    let bot = Bot::scripted(short().on("hold", [Answer::text("I have followed.").held("hold")])).await;
    let group = bot.telegram.new_group(ChatKind::Group, "Team", &[bot.ann]).unwrap();
    bot.configure(&format!("groups = [{group}]\n"));
    let host = bot.host().await;
    bot.telegram.write(group, bot.ann, Post::text(&format!("{NAME} hold"))).unwrap();
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("hold", 1).await;
    // The bot is not told that the group has moved before it says something there.
    let deaf = bot.telegram.fault(Fault::page(502).on("getUpdates").always());
    bot.write("short");
    bot.telegram.sent(bot.ann, "The short answer.").await.unwrap();
    let polled = bot.telegram.calls().len();
    let failed = |telegram: &stellaclaw::fake_telegram::FakeTelegram| {
        telegram.calls_since(polled).iter().any(|call| call.method == "getUpdates" && call.ended.is_some()).then_some(())
    };
    bot.telegram.wait("a poll that fails", failed).await.unwrap();
    let to = bot.telegram.migrate(group, bot.ann, false).unwrap();
    vendor.release("hold");
    let answer = bot.telegram.sent(to, "I have followed.").await.unwrap();
    assert_eq!(answer.text, "I have followed.");
    bot.telegram.remove_fault(deaf);
    bot.settle().await;
    assert_eq!(said_in(&bot, to).len(), 1);
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn a_reply_does_not_need_the_message_that_it_answers() {
    let bot = Bot::scripted(short()).await;
    let group = bot.telegram.new_group(ChatKind::Supergroup { forum: false }, "Team", &[bot.ann]).unwrap();
    bot.configure(&format!("groups = [{group}]\n"));
    let host = bot.host().await;
    let from = json!({"id": bot.ann, "is_bot": false, "first_name": "Ann"});
    let entities = json!([{"type": "mention", "offset": 0, "length": NAME.len()}]);
    bot.telegram.inject(json!({"message": {"message_id": 999_999, "date": 1, "from": from, "entities": entities,
        "chat": {"id": group, "type": "supergroup", "title": "Team"}, "text": format!("{NAME} short")}}));
    let answer = bot.telegram.sent(group, "The short answer.").await.unwrap();
    assert_eq!(answer.reply_to, None);
    let call = answers(&bot, group).pop().unwrap();
    assert_eq!(call.param("reply_parameters")["message_id"], 999_999);
    assert_decent(&bot);
    host.stop().await;
}

/// A conversation with files in its workspace; `show-N` shows the N-th of `answers`.
async fn with_files(answers: &[&str]) -> (Bot, crate::support::host::Host) {
    let mut script = short();
    for (n, answer) in answers.iter().enumerate() {
        script = script.on(&format!("show-{n}."), [Answer::text(answer)]);
    }
    let bot = Bot::scripted(script).await;
    let host = bot.host().await;
    bot.exchange("short", "The short answer.").await;
    let (workspace, shared) = (bot.work.workspace("c1"), bot.work.workdir().join("rundir/shared"));
    for name in ["a.png", "b.png", "c.png"] {
        fs::write(workspace.join(name), png(40, 30)).unwrap();
    }
    for name in ["broken.png", "report.pdf", "song.mp3", "note.ogg", "clip.mp4", "loop.gif", "gone.txt"] {
        fs::write(workspace.join(name), name).unwrap();
    }
    fs::write(workspace.join("empty.txt"), "").unwrap();
    fs::File::create(workspace.join("big.bin")).unwrap().set_len(51 << 20).unwrap();
    fs::write(bot.work.folder().join("outside.txt"), "outside").unwrap();
    symlink(bot.work.folder().join("outside.txt"), workspace.join("leads-out.txt")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, workspace.join("pipe"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    fs::write(shared.join("everybody.txt"), "everybody").unwrap();
    (bot, host)
}

/// What a message is, with what stands in or below it.
fn shown(message: &Message) -> (Option<FileKind>, String) {
    (message.file().map(|(kind, _)| kind), message.text.clone())
}

#[tokio::test]
async fn files_go_out_as_what_they_are() {
    use FileKind::{Animation, Audio, Document, Photo, Video, Voice};
    let cases: [(&str, &[(FileKind, &str)]); 11] = [
        ("![a photo](a.png)", &[(Photo, "a photo")]),
        ("![no photo](broken.png)", &[(Document, "no photo")]),
        ("![one](a.png) ![two](b.png) ![three](c.png)", &[(Photo, "one"), (Photo, "two"), (Photo, "three")]),
        ("![one](a.png) ![two](broken.png)", &[(Photo, "one"), (Document, "two")]),
        ("[the report](report.pdf)", &[(Document, "the report")]),
        ("[a song](song.mp3)", &[(Audio, "a song")]),
        ("[a note](note.ogg)", &[(Voice, "a note")]),
        ("[a clip](/workspace/clip.mp4)", &[(Video, "a clip")]),
        ("[a loop](loop.gif)", &[(Animation, "a loop")]),
        ("[for everybody](shared/everybody.txt)", &[(Document, "for everybody")]),
        ("<attachment>report.pdf</attachment>", &[(Document, "report.pdf")]),
    ];
    let (bot, host) = with_files(&cases.map(|(answer, _)| answer)).await;
    for (n, (answer, files)) in cases.into_iter().enumerate() {
        let said = said_to(&bot, &format!("show-{n}.")).await;
        let got: Vec<_> = said.iter().map(shown).filter_map(|(kind, text)| Some((kind?, text))).collect();
        let wanted: Vec<_> = files.iter().map(|(kind, label)| (*kind, (*label).to_owned())).collect();
        assert_eq!(got, wanted, "{answer}");
        let albums: Vec<_> = said.iter().filter_map(|message| message.album.as_ref()).collect();
        let is_album = files.len() > 1 && files.iter().all(|(kind, _)| *kind == Photo);
        assert_eq!(albums.len(), if is_album { files.len() } else { 0 }, "{answer}");
        assert!(albums.windows(2).all(|two| two[0] == two[1]), "{answer}: one album");
        assert!(said.iter().all(|message| !message.silent), "{answer}");
    }
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_attached_is_said_or_stays_text() {
    let long: String = (0..400).map(|n| format!("Line {n:03} of an answer {}\n\n", "that is long ".repeat(6))).collect();
    let cases = [
        ("[too big](big.bin)", "big.bin has 51 MB and was not sent"),
        ("[nothing](empty.txt)", "empty.txt is empty and was not sent"),
        ("[a way out](leads-out.txt)", "leads-out.txt"),
        ("[above](../x)", "../x"),
        ("[elsewhere](/etc/passwd)", "/etc/passwd"),
        ("[a pipe](pipe)", "pipe"),
        ("[missing](missing.txt)", "missing.txt"),
        ("<attachment>../../outside.txt</attachment>", "outside.txt"),
    ];
    let mut answers: Vec<&str> = cases.iter().map(|(answer, _)| *answer).collect();
    answers.extend([&*long, "Here it is: [the one](gone.txt)", "They are: ![one](a.png) ![two](b.png) ![three](c.png)"]);
    let (bot, host) = with_files(&answers).await;
    for (n, (answer, text)) in cases.into_iter().enumerate() {
        let said = said_to(&bot, &format!("show-{n}.")).await;
        let [message] = &said[..] else { panic!("{answer}: {said:?}") };
        assert!(message.file().is_none() && message.text.contains(text), "{answer}: {message:?}");
    }
    let said = said_to(&bot, &format!("show-{}.", cases.len())).await;
    let [beginning, file] = &said[..] else { panic!("{} messages", said.len()) };
    assert!(beginning.text.starts_with("Line 000") && beginning.text.ends_with("in the attached file."), "{}", beginning.text);
    let (kind, id) = file.file().unwrap();
    let whole = String::from_utf8(bot.telegram.file(id).unwrap().bytes.to_vec()).unwrap();
    assert_eq!((kind, whole.trim()), (FileKind::Document, long.trim()));

    // It is there when the answer is planned, and not any more when it is sent.
    bot.telegram.fault(Fault::hold("the text").on("sendMessage").when(heard));
    bot.write(&format!("show-{}.", cases.len() + 1));
    bot.telegram.wait("the text to be held", |telegram| (telegram.held_count("the text") == 1).then_some(())).await.unwrap();
    fs::remove_file(bot.work.workspace("c1").join("gone.txt")).unwrap();
    bot.telegram.release("the text");
    let said = bot.telegram.sent(bot.ann, "“gone.txt” could not be sent").await.unwrap();
    assert!(said.file().is_none());
    bot.settle().await;

    // The others of an album come all the same.
    bot.telegram.fault(Fault::hold("their text").on("sendMessage").when(heard));
    bot.write(&format!("show-{}.", cases.len() + 2));
    bot.telegram.wait("the text to be held", |telegram| (telegram.held_count("their text") == 1).then_some(())).await.unwrap();
    fs::remove_file(bot.work.workspace("c1").join("b.png")).unwrap();
    let before = said_in(&bot, bot.ann).len();
    bot.telegram.release("their text");
    bot.settle().await;
    let [_, one, three] = &said_in(&bot, bot.ann)[before..] else { panic!("{:?}", said_in(&bot, bot.ann)) };
    assert!(one.text.starts_with("one\n“b.png” could not be sent") && three.text == "three", "{one:?} {three:?}");
    assert!(one.album.is_some() && one.album == three.album);
    assert_decent(&bot);
    host.stop().await;
}

#[tokio::test]
async fn files_that_may_have_arrived_come_once_more_with_a_mark() {
    let (bot, host) = with_files(&["[the report](report.pdf)", "![one](a.png) ![two](b.png)"]).await;
    bot.telegram.fault(Fault::lost_after().on("sendDocument"));
    let said = said_to(&bot, "show-0.").await;
    let got: Vec<_> = said.iter().map(shown).filter(|(kind, _)| kind.is_some()).map(|(_, text)| text).collect();
    assert_eq!(got, ["the report".to_owned(), format!("{MARK}the report")]);
    bot.telegram.fault(Fault::cut().on("sendMediaGroup"));
    let said = said_to(&bot, "show-1.").await;
    let got: Vec<_> = said.iter().map(shown).filter(|(kind, _)| kind.is_some()).map(|(_, text)| text).collect();
    assert_eq!(got, ["one".to_owned(), "two".to_owned(), format!("{MARK}one"), "two".to_owned()]);
    assert_kept(&bot, 2);
    assert_decent(&bot);
    host.stop().await;
}

/// The longest parts that there are, each repeated with its mark.
#[tokio::test]
async fn a_part_of_full_length_has_room_for_its_mark() {
    let answer = "x".repeat(8000);
    let bot = Bot::scripted(Script::default().on("long", [Answer::text(&answer)])).await;
    let host = bot.host().await;
    bot.telegram.fault(
        Fault::lost_before()
            .on("sendMessage")
            .when(|seen| heard(seen) && !seen.params["text"].as_str().unwrap_or_default().starts_with(MARK))
            .times(2),
    );
    let said = said_to(&bot, "long").await;
    let texts: Vec<_> = said.iter().map(|message| message.text.strip_prefix(MARK).unwrap()).collect();
    assert_eq!(texts.concat(), answer);
    assert_eq!(bot.rows("SELECT DISTINCT state FROM parts"), ["sent"]);
    host.stop().await;
}

/// A host that is killed while an answer of a part is on its way back.
#[tokio::test]
async fn a_kill_between_sending_and_knowing_repeats_one_part_with_a_mark() {
    let bot = Bot::scripted(Script::default().on("long", [Answer::text(&three("long"))])).await;
    let host = bot.host().await;
    bot.telegram.fault(Fault::hold_answer("second").on("sendMessage").when(heard).after(1));
    bot.write("long");
    bot.telegram.wait("the second part", |telegram| (telegram.held_count("second") == 1).then_some(())).await.unwrap();
    host.kill();
    let host = bot.host().await;
    bot.settle().await;
    let said: Vec<_> = said_in(&bot, bot.ann).iter().map(|message| (message.text.starts_with(MARK), bold(message))).collect();
    let names = |marked: bool, name: &str| (marked, vec![format!("long-{name}")]);
    assert_eq!(said, [names(false, "first"), names(false, "second"), names(true, "second"), names(false, "third")]);
    let verdict = bot.judge(&[], 1, 0);
    assert!(verdict.is_good() && verdict.marked == 1, "{verdict}");
    tokio::time::timeout(Duration::from_secs(10), host.stop()).await.unwrap();
}
