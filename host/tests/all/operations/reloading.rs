//! SIGHUP: the configuration is read again and counts, or the one before does, and somebody hears why.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;
use stellaclaw::channels::terminal::protocol::Settled;
use stellaclaw::fake_telegram::Post;

use crate::hostile::assert_no_secret;
use crate::support::bot::Bot;
use crate::support::client::{Client, Log};
use crate::support::fake_openai::{API_KEY, Answer, Script};
use crate::support::host::{Host, Work};
use crate::support::scene::Scene;
use crate::support::{HANGS, guests, sha256, within};

const READ: &str = "the configuration was read again and counts from now on";
const REFUSED: &str = "the configuration could not be read again";
const THIRD: &str = "[models.third]\nprovider = \"provider-offline\"\nmodel = \"vendor/third\"\n";

/// The configuration's text.
fn config(work: &Work) -> String {
    fs::read_to_string(work.folder().join("config.toml")).unwrap()
}

fn write(work: &Work, text: &str) {
    fs::write(work.folder().join("config.toml"), text).unwrap();
}

/// Waits until the host has said something so often.
pub(super) async fn says(host: &Host, text: &str, times: usize) {
    let said = async {
        while host.said().matches(text).count() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(&format!("{text:?} from the host: {}", host.said()), said).await;
}

/// Has the host read what is written, for the so many-th time.
async fn reload(host: &Host, text: &str, times: usize) {
    host.signal(Signal::HUP);
    says(host, text, times).await;
}

async fn models(client: &mut Client, id: &str) -> String {
    client.talk(id, "/model").await.unwrap().remove(0).text
}

#[tokio::test]
async fn a_new_model_is_offered_and_new_limits_hold_from_the_next_step_on() {
    let read = || Answer::calls([("file_read", json!({"path": "welcome.md"}))]);
    let script = Script::default().on("loop", [read().held("first"), Answer::text("Never asked for.")]);
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    assert!(!models(&mut client, "1").await.contains("third"));
    client.say("2", "loop").await.unwrap();
    scene.fake.held("first", 1).await;
    let before = config(&scene.work);
    write(&scene.work, &format!("{before}[limits]\nturn_steps = 1\n{THIRD}"));
    reload(&host, READ, 1).await;
    scene.fake.release("first");
    // The request that ran ends with what it began with, and no other is made.
    assert_eq!(client.settle().await.unwrap().1, Settled::Parked);
    assert_eq!(scene.fake.asks_of("loop").len(), 1);
    assert!(models(&mut client, "3").await.contains("vendor/third"));
    client.talk("4", "/model third").await.unwrap();
    // A model that a conversation uses may go.
    write(&scene.work, &before);
    reload(&host, READ, 2).await;
    let gone = client.talk("5", "/status").await.unwrap().remove(0).text;
    assert!(gone.contains("not in the configuration any more"), "{gone}");
    host.stop().await;
}

#[tokio::test]
async fn a_grant_that_shrinks_in_the_configuration_ends_calls_that_have_more() {
    let work = Work::new();
    fs::create_dir_all(work.workdir().join("plugins")).unwrap();
    fs::write(work.workdir().join("plugins/swap.wasm"), guests::swap()).unwrap();
    let entry = |more: &str| format!("[plugins.swap]\nsha256 = {:?}\n{more}", sha256(&guests::swap()));
    work.configure(&entry("fs = [\"workspace:rw\"]\n"));
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
    let go = work.workspace(client.conversation()).join("go");
    let waits = async |client: &mut Client, id: &str| {
        client.send(id, "call which_version {\"after\": \"go\"}").await.unwrap();
        guests::awaits(&go).await;
    };
    // More than before takes nothing away.
    waits(&mut client, "more").await;
    work.configure(&entry("fs = [\"workspace:rw\"]\nhttp = [\"https://api.example.com\"]\n"));
    reload(&host, READ, 1).await;
    fs::write(&go, "").unwrap();
    assert_eq!(client.settle().await.unwrap().0.last().unwrap().text, "version-1");
    fs::remove_file(&go).unwrap();

    waits(&mut client, "less").await;
    work.configure(&entry("fs = []\n"));
    reload(&host, READ, 2).await;
    let last = client.settle().await.unwrap().0.pop().unwrap().text;
    assert!(last.contains("what was granted to swap was taken back while the call ran, which ended it"), "{last}");
    let written = client.talk("after", "call write_one {\"text\": \"x\"}").await.unwrap().pop().unwrap().text;
    assert!(written != "written", "{written}");
    host.stop().await;
}

#[tokio::test]
async fn a_component_that_is_configured_later_serves_with_its_settings_and_is_watched() {
    let work = Work::new();
    work.configure("");
    let file = work.folder().join("late.wasm");
    let put = |bytes: &[u8]| {
        fs::write(file.with_extension("part"), bytes).unwrap();
        fs::rename(file.with_extension("part"), &file).unwrap();
    };
    put(&guests::swap());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
    let mut asked = 0;
    let mut until_says = async |wanted: &str| {
        let said = async {
            loop {
                asked += 1;
                let replies = client.talk(&format!("c{asked}"), "call which_version {}").await.unwrap();
                if replies.last().unwrap().text == wanted {
                    return;
                }
            }
        };
        within(wanted, said).await;
    };
    for (times, greeting) in [(1, "hello "), (2, "good day ")] {
        let file = file.display().to_string();
        work.configure(&format!("[plugins.late]\npath = {file:?}\ntrust = \"path\"\n[plugins.late.settings]\ngreeting = {greeting:?}\n"));
        reload(&host, READ, times).await;
        until_says(&format!("{greeting}version-1")).await;
    }
    put(&guests::swapped());
    until_says("good day version-2").await;
    host.stop().await;
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_is_said_until_it_is_mended() {
    let work = Work::new();
    work.configure("");
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
    let before = models(&mut client, "1").await;
    work.configure(&format!("{THIRD}nonsense = 1\n"));
    reload(&host, REFUSED, 1).await;
    assert_eq!(models(&mut client, "2").await, before);
    let health = async || {
        let ran = work.run(&["status", "--exit-code"], "").await;
        (ran.code, ran.output)
    };
    let (code, said) = health().await;
    assert!(code == Some(0) && said.contains("configuration: the file was refused") && said.contains("nonsense"), "{said}");
    let status = work.run(&["status"], "").await;
    assert!(
        status.code == Some(0) && status.output.contains("cannot be used as it is now: ") && status.output.contains("running"),
        "{status:?}"
    );
    fs::remove_file(work.folder().join("config.toml")).unwrap();
    host.signal(Signal::HUP);
    says(&host, REFUSED, 2).await;
    work.configure(THIRD);
    reload(&host, READ, 1).await;
    assert_eq!(health().await, (Some(0), "healthy\n".to_owned()));
    assert!(models(&mut client, "3").await.contains("third"));
    host.stop().await;
}

#[tokio::test]
async fn many_signals_and_one_while_it_starts_harm_nothing() {
    let work = Work::new();
    work.configure("");
    let host = work.spawn(&[]);
    let lock = work.workdir().join("lock");
    let starting = async {
        while !lock.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within("the host to begin", starting).await;
    work.configure(THIRD);
    host.signal(Signal::HUP);
    let host = work.serving(host).await.unwrap();
    says(&host, READ, 1).await;
    let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
    assert!(models(&mut client, "1").await.contains("third"));
    for number in 0..50 {
        for _ in 0..4 {
            host.signal(Signal::HUP);
        }
        if number % 10 == 0 {
            assert!(!client.talk(&format!("t{number}"), "ls").await.unwrap().is_empty());
        }
    }
    work.configure("");
    host.signal(Signal::HUP);
    let mut number = 0;
    let changed = async {
        while models(&mut client, &format!("m{number}")).await.contains("third") {
            number += 1;
        }
    };
    within("the last configuration to count", changed).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_no_more_is_not_served_and_what_runs_for_them_ends() {
    let bot = Bot::scripted(Script::default().on("wait", [Answer::text("never said").held("wait")])).await;
    let bob = bot.telegram.new_user("Bob");
    let before = config(&bot.work);
    write(&bot.work, &format!("{before}people = [{bob}]\n"));
    let host = bot.host().await;
    bot.telegram.write(bob, bob, Post::text("wait")).unwrap();
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("wait", 1).await;
    write(&bot.work, &format!("{before}proxy = \"http://127.0.0.1:9\"\n"));
    reload(&host, READ, 1).await;
    says(&host, "channels.telegram.proxy takes effect at the next start", 1).await;
    let left = async {
        while vendor.left_count("wait") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("Bob's request to end", left).await;
    bot.telegram.write(bob, bob, Post::text("wait")).unwrap();
    bot.telegram.confirmed().await.unwrap();
    bot.write("/status");
    bot.telegram.sent(bot.ann, "model: main").await.unwrap();
    assert_eq!(vendor.asks_of("wait").len(), 1);
    host.stop().await;
    vendor.release("wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_about_who_may_talk_is_tried_until_it_is_done() {
    let bot = Bot::scripted(Script::default().on("wait", [Answer::text("never said").held("wait")])).await;
    let bob = bot.telegram.new_user("Bob");
    let before = config(&bot.work);
    write(&bot.work, &format!("{before}people = [{bob}]\n"));
    let host = bot.host().await;
    bot.telegram.write(bob, bob, Post::text("wait")).unwrap();
    let vendor = bot.vendor.as_ref().unwrap();
    vendor.held("wait", 1).await;
    // The store does not take what would end it.
    let store = Connection::open(bot.work.database()).unwrap();
    store.busy_timeout(HANGS).unwrap();
    let hinder =
        "CREATE TRIGGER hinder BEFORE INSERT ON inbox WHEN new.external_id LIKE 'refused.%' BEGIN SELECT RAISE(FAIL, 'not now'); END";
    store.execute_batch(hinder).unwrap();
    write(&bot.work, &before);
    reload(&host, "who may talk is not as it says yet; that is tried again", 2).await;
    assert!(!host.said().contains(READ), "it is not done: {}", host.said());
    let ill = bot.work.run(&["status", "--exit-code"], "").await;
    assert!(ill.code == Some(1) && ill.output.contains("telegram access: who may talk is not as the configuration says"), "{ill:?}");
    assert_eq!(vendor.left_count("wait"), 0);
    store.execute_batch("DROP TRIGGER hinder").unwrap();
    let left = async {
        while vendor.left_count("wait") == 0 || bot.work.run(&["status", "--exit-code"], "").await.code != Some(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("Bob's request to end, and the host to be well", left).await;
    host.stop().await;
    vendor.release("wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_replaced_is_used_and_a_token_waits_for_the_next_start() {
    const KEY_BEFORE: &str = "sk-canary-before-0123456789";
    const TOKEN_AFTER: &str = "7000000001:AAcanary-that-comes-later-0123456789";
    let mut bot = Bot::scripted(Script::default().on("hello", [Answer::text("Hello to you.")])).await;
    bot.work.set("RUST_LOG", "trace");
    let (key, token) = (bot.work.folder().join("model.key"), bot.work.folder().join("telegram.key"));
    fs::write(&key, KEY_BEFORE).unwrap();
    fs::write(&token, bot.telegram.token()).unwrap();
    let text = config(&bot.work).replace("{ env = \"FAKE_KEY\" }", "{ file = \"model.key\" }");
    write(&bot.work, &text.replace("{ env = \"FAKE_TOKEN\" }", "{ file = \"telegram.key\" }"));
    let host = bot.host().await;
    bot.exchange("hello", "refused our credentials").await;
    assert!(bot.vendor.as_ref().unwrap().asks().is_empty());
    fs::write(&key, API_KEY).unwrap();
    fs::write(&token, TOKEN_AFTER).unwrap();
    reload(&host, READ, 1).await;
    says(&host, "channels.telegram.token takes effect at the next start", 1).await;
    bot.exchange("/continue", "Hello to you.").await;
    // It is noticed, and the bot that is served goes on.
    fs::remove_file(&token).unwrap();
    reload(&host, READ, 2).await;
    says(&host, "channels.telegram.token cannot be read", 1).await;
    bot.exchange("hello", "Hello to you.").await;
    host.stop().await;
    fs::remove_file(&key).unwrap();
    assert_no_secret(&bot.work, &[KEY_BEFORE, API_KEY, TOKEN_AFTER, "AAcanary-that-comes-later", bot.telegram.token()]);
}
