//! While a turn runs: typing, the panel, the preview, and how it is stopped.

use std::fs;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use stellaclaw::clock;
use stellaclaw::fake_telegram::{Call, ChatKind, Fault, Message, Post};
use stellaclaw::limits::CANCEL_GRACE;

use crate::support::bot::Bot;
use crate::support::fake_openai::{Answer, Script};
use crate::support::{guests, within};

/// Whatever runs, the turn is over by then, in milliseconds: long before it would end by itself, also on a machine that does much
/// else.
const STOPPED: i64 = 15_000;
/// What is promised of it, in milliseconds, and tries to see that it can be kept.
const PROMISED: i64 = 2000;
const TRIES: usize = 5;
/// No panel comes before a turn has run for so long, in milliseconds.
const QUICK: i64 = 2000;
/// What shows a turn, by method.
const SHOWING: [&str; 2] = ["editMessageText", "sendMessageDraft"];

fn nap(ms: u64) -> Answer {
    Answer::calls([("nap", json!({ "ms": ms }))])
}

/// With the tools of the probe.
async fn with_probe(script: Script) -> Bot {
    let bot = Bot::scripted(script).await;
    add_probe(&bot);
    bot
}

fn add_probe(bot: &Bot) {
    fs::create_dir_all(bot.work.workdir().join("plugins")).unwrap();
    fs::copy(guests::probe(), bot.work.workdir().join("plugins/probe.wasm")).unwrap();
}

/// The panels in a chat, as they are now.
fn panels(bot: &Bot, chat: i64) -> Vec<Message> {
    let began = |message: &Message| message.edits.first().map_or(message.text.clone(), |(_, text)| text.clone());
    bot.telegram.bot_messages(chat).into_iter().filter(|message| began(message).starts_with("Working")).collect()
}

/// Waits for a panel with this in its text.
async fn panel(bot: &Bot, chat: i64, text: &str) -> Message {
    let found = |_: &_| panels(bot, chat).into_iter().find(|panel| panel.text.contains(text));
    bot.telegram.wait(&format!("a panel with {text:?}"), found).await.unwrap()
}

/// Calls of these methods to a chat, in order.
fn calls(bot: &Bot, chat: i64, methods: &[&str]) -> Vec<Call> {
    bot.telegram.calls().into_iter().filter(|call| call.chat == Some(chat) && methods.contains(&&*call.method)).collect()
}

/// The call that sent a message with this text.
fn sending(bot: &Bot, chat: i64, text: &str) -> Call {
    let all = calls(bot, chat, &["sendMessage"]);
    all.into_iter().find(|call| call.param("text").as_str().is_some_and(|said| said.contains(text))).unwrap()
}

/// What shows a turn kept to this time between two. Requests take their time: one leaves after the one before it was answered, so
/// that `gap` has passed between that answer and the arrival of the next but one.
fn paced(showing: &[Call], gap: Duration) {
    let first = showing.first().unwrap().at;
    let shown: Vec<_> = showing.iter().map(|call| (call.at - first, call.ended.map(|ended| ended - first), &call.method)).collect();
    let kept = |calls: &[Call]| calls[2].at - calls[0].ended.unwrap() >= gap.as_millis() as i64;
    assert!(showing.len() >= 3 && showing.windows(3).all(kept), "{shown:?}");
    let (all, last) = (showing.len() as i64 - 2, showing.last().unwrap().at);
    assert!(last - showing[0].ended.unwrap() >= all * gap.as_millis() as i64, "{shown:?}");
}

/// A group that Ann has made and allowed.
async fn group(bot: &Bot, kind: ChatKind) -> i64 {
    bot.exchange("/help", "/cancel").await;
    let group = bot.telegram.new_group(kind, "Team", &[bot.ann]).unwrap();
    let card = bot.telegram.sent(bot.ann, "wants to use this bot in the group").await.unwrap();
    bot.telegram.press(bot.ann, bot.ann, card.id, "Allow").unwrap();
    let decided = |_: &_| bot.telegram.message(bot.ann, card.id).filter(|card| card.text.contains("may do so in"));
    bot.telegram.wait("the group to be allowed", decided).await.unwrap();
    group
}

fn mention(text: &str) -> Post {
    Post::text(&format!("@stella_claw_bot {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_answer_has_no_panel() {
    let script = Script::default().on("hello", [Answer::text("Hello Ann.").held("later")]).on("again", [Answer::text("Here I am.")]);
    let bot = Bot::scripted(script).await;
    let host = bot.host().await;
    let written = [bot.write("hello")];
    let typing = |_: &_| bot.telegram.action(bot.ann, None).filter(|action| action == "typing");
    bot.telegram.wait("the bot to be typing", typing).await.unwrap();
    bot.vendor.as_ref().unwrap().release("later");
    bot.telegram.sent(bot.ann, "Hello Ann.").await.unwrap();
    let written = [written[0], bot.write("again")].map(|id| bot.telegram.message(bot.ann, id).unwrap().at);
    bot.telegram.sent(bot.ann, "Here I am.").await.unwrap();
    bot.settle().await;
    // On a machine that does much else even these are not quick.
    let early = |panel: &Message| written.iter().all(|at| panel.at < *at || panel.at - at < QUICK);
    assert_eq!(panels(&bot, bot.ann).into_iter().filter(early).collect::<Vec<_>>(), []);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_with_tools_has_one_silent_panel_that_is_closed_once_after_the_answer() {
    let text = "A sentence that is written slowly. ".repeat(20);
    let steps = json!({"steps": ["Look around", "Tidy *up*"], "progress": "behind the door", "ms": 60_000});
    let script = Script::default()
        .on("work", [Answer::calls([("outline", steps)])])
        .on("enough", [nap(10), Answer::text(&format!("{text}The end.")).slowly(Duration::from_millis(40))]);
    let bot = with_probe(script).await;
    let host = bot.host().await;
    bot.write("work");
    let shown = panel(&bot, bot.ann, "Tidy").await;
    assert!(shown.text.contains("[>] Look around\n[ ] Tidy *up*"), "{}", shown.text);
    panel(&bot, bot.ann, "behind the door").await;
    // As long as somebody sees it.
    bot.telegram.wait("typing to be kept alive", |_| (calls(&bot, bot.ann, &["sendChatAction"]).len() >= 2).then_some(())).await.unwrap();
    bot.write("enough");
    let answer = bot.telegram.sent(bot.ann, "The end.").await.unwrap();
    let closed = panel(&bot, bot.ann, "Done").await;
    assert!(closed.silent && closed.previews_off && !answer.silent, "{closed:?}");
    assert!(closed.text.contains("2 tool calls"), "{}", closed.text);
    assert!(closed.id < answer.id, "the answer is a new message");
    let answered = sending(&bot, bot.ann, "The end.").number;
    let after: Vec<_> = calls(&bot, bot.ann, &SHOWING).into_iter().filter(|call| call.number > answered).collect();
    assert_eq!(after.len(), 1, "after the answer the panel is closed, and that is all: {after:?}");
    assert_eq!(panels(&bot, bot.ann).len(), 1);
    assert!(closed.edits.iter().all(|(_, text)| !text.starts_with("Done")), "{:?}", closed.edits);
    paced(&calls(&bot, bot.ann, &SHOWING), Duration::from_millis(1200));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_joins_the_turn_is_shown_in_the_same_panel() {
    let bot = with_probe(Script::default().on("begin", [nap(60_000)]).on("change", [Answer::text("Changed.").held("later")])).await;
    let host = bot.host().await;
    bot.write("begin");
    let before = panel(&bot, bot.ann, "nap").await;
    bot.write("change");
    let joined = panel(&bot, bot.ann, "thinking").await;
    bot.vendor.as_ref().unwrap().release("later");
    bot.telegram.sent(bot.ann, "Changed.").await.unwrap();
    let closed = panel(&bot, bot.ann, "Done").await;
    assert_eq!((before.id, before.id), (joined.id, closed.id));
    assert_eq!(panels(&bot, bot.ann).len(), 1);
    host.stop().await;
}

/// Panels that the store knows.
fn stored(bot: &Bot) -> i64 {
    let database = Connection::open_with_flags(bot.work.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.query_row("SELECT count(*) FROM panels", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_goes_on_after_a_crash_and_is_finished() {
    let bot = with_probe(Script::default().on("go", [nap(60_000), Answer::text("I see.").held("later")])).await;
    let host = bot.host().await;
    bot.write("go");
    let before = panel(&bot, bot.ann, "nap").await;
    let kept = async {
        // Before it is sent it is noted without its number.
        while bot.rows("SELECT count(*) FROM panels WHERE remote_id NOT LIKE '?%'") != ["1"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the panel to be stored", kept).await;
    host.kill();
    let calls_before = bot.telegram.calls().len();
    let host = bot.host().await;
    panel(&bot, bot.ann, "thinking").await;
    bot.vendor.as_ref().unwrap().release("later");
    bot.telegram.sent(bot.ann, "I see.").await.unwrap();
    let closed = panel(&bot, bot.ann, "Done").await;
    assert_eq!(closed.id, before.id);
    assert_eq!(panels(&bot, bot.ann).len(), 1);
    assert!(bot.telegram.calls().len() > calls_before);
    let forgotten = async {
        while stored(&bot) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the panel to be forgotten", forgotten).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_of_a_stopped_host_is_finished_by_the_next() {
    let bot = with_probe(Script::default().on("go", [nap(60_000), Answer::text("I see.")])).await;
    let host = bot.host().await;
    bot.write("go");
    let before = panel(&bot, bot.ann, "nap").await;
    host.stop().await;
    let host = bot.host().await;
    bot.telegram.sent(bot.ann, "I see.").await.unwrap();
    let closed = panel(&bot, bot.ann, "Done").await;
    assert_eq!((closed.id, panels(&bot, bot.ann).len()), (before.id, 1));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_waited_for_the_operator_is_shown_when_it_begins() {
    let bot = Bot::scripted(Script::default().on("go", [Answer::text("Here I go.").held("later")])).await;
    let host = bot.host().await;
    let stopped = bot.work.run(&["stop-all"], "").await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    bot.write("go");
    bot.telegram.confirmed().await.unwrap();
    host.stop().await;
    let host = bot.host().await;
    let resumed = bot.work.run(&["resume"], "").await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    panel(&bot, bot.ann, "thinking").await;
    assert!(!calls(&bot, bot.ann, &["sendChatAction"]).is_empty());
    bot.vendor.as_ref().unwrap().release("later");
    bot.telegram.sent(bot.ann, "Here I go.").await.unwrap();
    panel(&bot, bot.ann, "Done").await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_shown_while_it_is_written_and_its_button_stops_it() {
    let script = Script::default()
        .on("tell", [Answer::text("Once upon a **time** there lived a man").held_after_text("never")])
        .on("hello", [Answer::text("Hello Ann.")]);
    let bot = Bot::scripted(script).await;
    let host = bot.host().await;
    bot.write("tell");
    let draft = |_: &_| bot.telegram.draft(bot.ann, None).filter(|draft| draft.text.contains("a man"));
    let draft = bot.telegram.wait("a draft with the answer so far", draft).await.unwrap();
    assert!(draft.can_stop && !draft.keep_on_stop, "{draft:?}");
    assert_eq!(draft.text, "Once upon a time there lived a man");
    let pressed = clock::now().0;
    bot.telegram.stop_draft(bot.ann, None).unwrap();
    let stopped = bot.telegram.sent(bot.ann, "Stopped").await.unwrap();
    assert!(stopped.at - pressed < STOPPED, "after {} ms", stopped.at - pressed);
    bot.exchange("hello", "Hello Ann.").await;
    let told = sending(&bot, bot.ann, "Stopped").number;
    let late: Vec<_> = calls(&bot, bot.ann, &["sendMessageDraft"])
        .into_iter()
        .filter(|call| call.number > told && call.param("draft_id") == &json!(draft.id))
        .collect();
    assert_eq!(late, [], "nothing of it is shown any more");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_no_drafts_the_panel_shows_the_answer_so_far() {
    let answer = |held: &str| Answer::text("Once upon a time").held_after_text(held);
    let bot = Bot::scripted(Script::default().on("one", [answer("first")]).on("two", [answer("second")])).await;
    bot.telegram.fault(Fault::refuse(404, "Not Found").on("sendMessageDraft").always());
    let host = bot.host().await;
    for (text, held) in [("one", "first"), ("two", "second")] {
        bot.write(text);
        let showing = |_: &_| panels(&bot, bot.ann).into_iter().find(|panel| panel.text.ends_with("\n\nOnce upon a time"));
        bot.telegram.wait("the answer in the panel", showing).await.unwrap();
        bot.vendor.as_ref().unwrap().release(held);
        let closed = |_: &_| panels(&bot, bot.ann).iter().all(|panel| panel.text.starts_with("Done")).then_some(());
        bot.telegram.wait("the panel to be closed", closed).await.unwrap();
    }
    assert_eq!(calls(&bot, bot.ann, &["sendMessageDraft"]).len(), 1, "once and never again");
    assert_eq!(panels(&bot, bot.ann).len(), 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_can_be_switched_off() {
    let script = Script::default().on("tell", [Answer::text("Once upon a time").held_after_text("later")]);
    let bot = Bot::scripted_with(script, "preview = false\n").await;
    let host = bot.host().await;
    bot.write("tell");
    let shown = panel(&bot, bot.ann, "writing the answer").await;
    assert!(!shown.text.contains("Once"), "{}", shown.text);
    bot.vendor.as_ref().unwrap().release("later");
    bot.telegram.sent(bot.ann, "Once upon a time").await.unwrap();
    panel(&bot, bot.ann, "Done").await;
    assert_eq!(calls(&bot, bot.ann, &["sendMessageDraft"]), []);
    assert!(calls(&bot, bot.ann, &["editMessageText"]).iter().all(|call| !call.param("text").to_string().contains("Once")));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_follows_the_preview_that_is_on_its_way_and_does_not_wait_for_one_that_hangs() {
    let answer = |held: &str, text: &str| Answer::text(text).held_after_text(held);
    let script = Script::default().on("slow", [answer("first", "Slowly.")]).on("hang", [answer("second", "At last.")]);
    let bot = Bot::scripted(script).await;
    let host = bot.host().await;
    for (text, held, said, fault) in
        [("slow", "first", "Slowly.", Fault::delay(Duration::from_millis(400))), ("hang", "second", "At last.", Fault::hang())]
    {
        let shows = |call: &Call| call.param("text") == said;
        bot.telegram.fault(fault.on("sendMessageDraft").when(move |seen| seen.params["text"] == said));
        bot.write(text);
        let begun = |_: &_| calls(&bot, bot.ann, &["sendMessageDraft"]).into_iter().find(shows);
        let draft = bot.telegram.wait("a draft to be on its way", begun).await.unwrap();
        bot.vendor.as_ref().unwrap().release(held);
        bot.telegram.sent(bot.ann, said).await.unwrap();
        let sent = sending(&bot, bot.ann, said);
        let draft = bot.telegram.calls_since(0).into_iter().find(|call| call.number == draft.number).unwrap();
        match draft.ended {
            Some(ended) if text == "slow" => assert!(sent.at >= ended, "{} before {ended}", sent.at),
            _ => assert_eq!(text, "hang", "{draft:?}"),
        }
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_the_panel_shows_the_answer_and_is_edited_seldom() {
    let text = "A sentence that is written slowly. ".repeat(60);
    let script = Script::default().on("tell", [Answer::text(&format!("{text}The end.")).slowly(Duration::from_millis(50))]);
    let bot = Bot::scripted(script).await;
    let host = bot.host().await;
    let group = group(&bot, ChatKind::Supergroup { forum: false }).await;
    bot.telegram.write(group, bot.ann, mention("tell")).unwrap();
    let shown = panel(&bot, group, "A sentence").await;
    assert!(shown.silent && shown.text.starts_with("Working"), "{shown:?}");
    bot.telegram.sent(group, "The end.").await.unwrap();
    let closed = panel(&bot, group, "Done").await;
    assert!(!closed.text.contains("A sentence"), "{}", closed.text);
    let opened = calls(&bot, group, &["sendMessage"]).into_iter().take(1);
    let showing: Vec<_> = opened.chain(calls(&bot, group, &["editMessageText"])).collect();
    paced(&showing, Duration::from_secs(4));
    assert_eq!(calls(&bot, group, &["sendMessageDraft"]), []);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_has_had_enough_is_left_alone_and_its_answer_comes_once() {
    let bot = with_probe(Script::default().on("work", [nap(2000), nap(2000), Answer::text("Done with it.")])).await;
    bot.telegram.fault(Fault::flood(6).in_chat(bot.ann).when(|seen| seen.method == "editMessageText"));
    let host = bot.host().await;
    bot.write("work");
    let refused = |_: &_| calls(&bot, bot.ann, &["editMessageText"]).into_iter().find(|call| call.fault.is_some() && call.ended.is_some());
    let refused = bot.telegram.wait("an edit to be refused", refused).await.unwrap();
    bot.telegram.sent(bot.ann, "Done with it.").await.unwrap();
    panel(&bot, bot.ann, "Done ·").await;
    let (said, until) = (refused.ended.unwrap() + 1, refused.at + 6000);
    let early = bot.telegram.calls().into_iter().filter(|call| call.chat.is_some() && (said..until).contains(&call.at));
    // One "typing" may have been on its way.
    let (typing, early): (Vec<_>, Vec<_>) = early.partition(|call| call.method == "sendChatAction");
    assert!(early.is_empty() && typing.len() <= 1, "nothing to that chat until it may be: {early:?} {typing:?}");
    let answers = calls(&bot, bot.ann, &["sendMessage"]).into_iter().filter(|call| call.param("text") == "Done with it.").count();
    assert_eq!(answers, 1);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refusal_edits_are_further_apart() {
    let text = "A sentence that is written slowly. ".repeat(60);
    let script = Script::default().on("tell", [Answer::text(&format!("{text}The end.")).slowly(Duration::from_millis(40))]);
    let bot = Bot::scripted(script).await;
    bot.telegram.fault(Fault::too_many(1).on("sendMessageDraft").after(1));
    let host = bot.host().await;
    bot.write("tell");
    bot.telegram.sent(bot.ann, "The end.").await.unwrap();
    panel(&bot, bot.ann, "Done").await;
    let showing = calls(&bot, bot.ann, &SHOWING);
    let refused = showing.iter().position(|call| call.fault.is_some()).unwrap();
    paced(&showing[refused..], Duration::from_millis(2400));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_is_gone_is_opened_again_once() {
    let bot = with_probe(Script::default().on("work", [nap(10), Answer::text("That was it.").held("later")])).await;
    bot.telegram.fault(Fault::refuse(400, "Bad Request: message to edit not found").on("editMessageText"));
    let host = bot.host().await;
    bot.write("work");
    let again = |_: &_| (panels(&bot, bot.ann).len() == 2).then_some(());
    bot.telegram.wait("the panel to come back", again).await.unwrap();
    bot.vendor.as_ref().unwrap().release("later");
    bot.telegram.sent(bot.ann, "That was it.").await.unwrap();
    panel(&bot, bot.ann, "Done").await;
    let panels = panels(&bot, bot.ann);
    assert_eq!(panels.len(), 2, "{panels:?}");
    assert!(panels[0].text.starts_with("Working") && panels[1].text.starts_with("Done"), "{panels:?}");
    host.stop().await;
}

/// The topic of a call, if it names one.
fn topics(calls: &[Call]) -> Vec<&Value> {
    calls.iter().map(|call| call.param("message_thread_id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_a_topic_is_shown_in_it() {
    // Topics share the budget of their chat: what comes second must wait for it.
    let that = |text: &str| [nap(10), Answer::text(text).held(text)];
    let script = Script::default().on("work", that("That was it.")).on("dig", that("Dug."));
    let bot = with_probe(script).await;
    let host = bot.host().await;
    let forum = group(&bot, ChatKind::Supergroup { forum: true }).await;
    let topic = bot.telegram.new_topic(forum, bot.ann, "Garden").unwrap();
    let private = bot.telegram.new_topic(bot.ann, bot.ann, "Kitchen").unwrap();
    let before = bot.telegram.calls().len();
    bot.telegram.write(forum, bot.ann, mention("work").in_topic(topic)).unwrap();
    bot.telegram.write(bot.ann, bot.ann, Post::text("work").in_topic(private)).unwrap();
    for chat in [forum, bot.ann] {
        panel(&bot, chat, "Working").await;
    }
    bot.vendor.as_ref().unwrap().release("That was it.");
    for (chat, topic) in [(forum, topic), (bot.ann, private)] {
        bot.telegram.sent(chat, "That was it.").await.unwrap();
        let closed = panel(&bot, chat, "Done").await;
        assert_eq!(closed.thread, Some(topic));
        let calls: Vec<_> = bot.telegram.calls_since(before).into_iter().filter(|call| call.chat == Some(chat)).collect();
        let calls: Vec<_> = calls.into_iter().filter(|call| !["editMessageText", "answerCallbackQuery"].contains(&&*call.method)).collect();
        assert!(topics(&calls).iter().all(|named| **named == json!(topic)), "{calls:?}");
        let actions = calls.iter().filter(|call| call.method == "sendChatAction").count();
        let drafts = calls.iter().filter(|call| call.method == "sendMessageDraft").count();
        assert!(actions > 0 && (drafts > 0) == (chat == bot.ann), "{calls:?}");
    }
    // General is named where somebody types, and nowhere else.
    let before = bot.telegram.calls().len();
    bot.telegram.write(forum, bot.ann, mention("dig")).unwrap();
    panel(&bot, forum, "Working").await;
    bot.vendor.as_ref().unwrap().release("Dug.");
    let closed = |_: &_| panels(&bot, forum).into_iter().find(|panel| panel.thread.is_none() && panel.text.starts_with("Done"));
    bot.telegram.wait("the panel in General", closed).await.unwrap();
    let calls: Vec<_> = bot.telegram.calls_since(before).into_iter().filter(|call| call.chat == Some(forum)).collect();
    let of = |method: &str| calls.iter().filter(|call| call.method == method).cloned().collect::<Vec<_>>();
    assert!(topics(&of("sendMessage")).iter().all(|named| named.is_null()), "{calls:?}");
    let actions = of("sendChatAction");
    assert!(!actions.is_empty() && topics(&actions).iter().all(|named| **named == json!(1)), "{calls:?}");
    host.stop().await;
}

/// How somebody stops what runs.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Cancel,
    /// The button of a draft, pressed as late as it can be: when the draft is gone already.
    Button,
}

/// Begins a turn and stops it when its panel shows this: how long it took until that was said, in milliseconds.
async fn stops(bot: &Bot, what: &str, shows: &str, stop: Stop) -> i64 {
    let stopped = |_: &_| {
        let all = bot.telegram.bot_messages(bot.ann).into_iter();
        all.filter(|message| message.text.starts_with("Stopped.")).collect::<Vec<_>>()
    };
    let (shown, said) = (panels(bot, bot.ann).len(), stopped(&bot.telegram).len());
    bot.write(what);
    let running = |_: &_| panels(bot, bot.ann).get(shown).filter(|panel| panel.text.contains(shows)).cloned();
    bot.telegram.wait("its panel", running).await.unwrap();
    let began = clock::now().0;
    match stop {
        Stop::Cancel => drop(bot.write("/cancel")),
        Stop::Button => {
            let chat = json!({"id": bot.ann, "type": "private", "first_name": "Ann"});
            bot.telegram.inject(json!({"stopped_message_generation": {"draft_id": 1, "chat": chat}}));
        }
    }
    let stopped = bot.telegram.wait("the turn to be stopped", |telegram| stopped(telegram).into_iter().nth(said)).await.unwrap();
    let closed = |_: &_| panels(bot, bot.ann).get(shown).filter(|panel| panel.text.starts_with("Stopped ·")).cloned();
    bot.telegram.wait("its panel to say so", closed).await.unwrap();
    stopped.at - began
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_stopped_within_two_seconds_whatever_it_does() {
    let script = Script::default()
        .on("sleep", [nap(60_000)])
        .on("spin", [Answer::calls([("spin", json!({}))])])
        .on("silent", [Answer::text("x").held("never")])
        .on("endless", [Answer::text(&"and on ".repeat(100_000)).slowly(Duration::from_millis(1))]);
    assert!(CANCEL_GRACE < Duration::from_millis(PROMISED as u64), "nothing would be left for what comes before and after it");
    let bot = with_probe(script).await;
    let host = bot.host().await;
    for (what, shows, stop) in [
        ("sleep", "nap", Stop::Cancel),
        ("sleep", "nap", Stop::Button),
        ("spin", "spin", Stop::Cancel),
        ("spin", "spin", Stop::Button),
        ("silent", "", Stop::Cancel),
        ("endless", "", Stop::Cancel),
    ] {
        // A machine that does much else can only make it longer: one try that is quick enough shows that nothing else does.
        let mut took = Vec::new();
        while took.last().is_none_or(|last| *last > PROMISED) {
            assert!(took.len() < TRIES, "{what}, {stop:?}: stopped after {took:?} ms");
            took.push(stops(&bot, what, shows, stop).await);
            assert!(took.iter().all(|took| *took < STOPPED), "{what}, {stop:?}: stopped after {took:?} ms");
        }
        println!("{what}, {stop:?}: stopped after {took:?} ms");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_button_of_a_topic_stops_what_runs_there_and_nothing_else() {
    let script = Script::default()
        .on("tell", [Answer::text("Once upon a time").held_after_text("never")])
        .on("work", [Answer::text("That was it.").held("later")]);
    let bot = Bot::scripted(script).await;
    let host = bot.host().await;
    let vendor = bot.vendor.as_ref().unwrap();
    bot.write("work");
    vendor.held("later", 1).await;
    let topic = bot.telegram.new_topic(bot.ann, bot.ann, "Kitchen").unwrap();
    bot.telegram.write(bot.ann, bot.ann, Post::text("tell").in_topic(topic)).unwrap();
    let draft = |_: &_| bot.telegram.draft(bot.ann, Some(topic)).filter(|draft| draft.can_stop && draft.text.contains("Once"));
    bot.telegram.wait("a draft in the topic", draft).await.unwrap();
    bot.telegram.stop_draft(bot.ann, Some(topic)).unwrap();
    let stopped = bot.telegram.sent(bot.ann, "Stopped.").await.unwrap();
    assert_eq!(stopped.thread, Some(topic));
    assert_eq!((vendor.left_count("never"), vendor.left_count("later")), (1, 0));
    vendor.release("later");
    bot.telegram.sent(bot.ann, "That was it.").await.unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_at_once_while_a_turn_runs() {
    let bot = Bot::scripted(Script::default().on("work", [Answer::text("Never said.").held("never")])).await;
    let host = bot.host().await;
    let vendor = bot.vendor.as_ref().unwrap();
    bot.write("work");
    vendor.held("never", 1).await;
    let status = bot.exchange("/status", "state:").await.text;
    let workspace = bot.work.workspace("c1");
    for field in
        ["model: main (fake-main)", &format!("workspace: {}", workspace.display()), "waiting for the model (request 1)", "context: about "]
    {
        assert!(status.contains(field), "{field:?} is not in {status}");
    }
    bot.exchange("/help", "what you can type").await;
    bot.exchange("/model", "The models that are configured").await;
    bot.exchange("/model other", "this conversation uses other").await;
    bot.exchange("/frobnicate", "There is no command").await;
    // All of it while the model was silent. The last one ends that, and is answered as soon.
    assert_eq!((vendor.held_count("never"), vendor.left_count("never")), (1, 0));
    bot.exchange("/new", "A new session: the history is empty").await;
    assert_eq!(vendor.left_count("never"), 1);
    assert!(bot.exchange("/status", "state: idle").await.text.contains("model: other (fake-other)"));
    host.stop().await;
}
