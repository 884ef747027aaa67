//! The terminal as a person and as a script see it: `chat` and `ask`, with and without a host beside them.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use rustix::process::Signal;

use crate::support::client::{Client, Log};
use crate::support::fake_openai::{Answer, Fault, Script};
use crate::support::guests;
use crate::support::host::Work;
use crate::support::scene::Scene;

#[tokio::test]
async fn a_pipe_gets_the_answer_and_nothing_else() {
    let work = Work::new();
    let chat = work.run(&["chat"], "read welcome.md\n").await;
    assert_eq!(chat.code, Some(0), "{chat:?}");
    let welcome = fs::read_to_string(work.workspace("c1").join("welcome.md")).unwrap();
    assert_eq!(chat.output.trim_end_matches('\n'), welcome.trim_end_matches('\n'));
    assert!(!chat.output.contains('\x1b') && !chat.errors.contains('\x1b'), "{chat:?}");
    for word in ["offline provider", "read welcome.md", "OPENROUTER_API_KEY", work.workspace("c1").to_str().unwrap()] {
        assert!(chat.errors.contains(word), "{word:?} is not in the banner: {}", chat.errors);
    }
    assert!(chat.errors.lines().filter(|line| !line.starts_with('{')).count() <= 8, "{}", chat.errors);
}

#[tokio::test]
async fn a_fresh_machine_answers_without_a_cache() {
    let work = Work::cold();
    let ask = work.run(&["ask", "write a.txt: hello && read a.txt"], "").await;
    assert_eq!(ask.code, Some(0), "{ask:?}");
    assert!(ask.output.contains("hello"), "{ask:?}");
}

#[tokio::test]
async fn lines_of_a_pipe_are_answered_one_after_the_other() {
    let work = Work::new();
    let chat = work.run(&["chat"], "write a.txt: one\nread a.txt\n\nread nothing.txt\n").await;
    assert_eq!(chat.code, Some(0), "{chat:?}");
    let lines: Vec<_> = chat.output.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[1], "one");
    assert!(lines[2].contains("did not work"), "{lines:?}");
    let later = work.run(&["chat"], "read a.txt\n").await;
    assert_eq!(later.output.trim(), "one", "the conversation has its files after a restart");
    assert!(!later.errors.contains("Preparing"), "{later:?}");
}

#[tokio::test]
async fn a_component_that_was_dropped_in_answers() {
    let work = Work::new();
    fs::create_dir_all(work.workdir().join("plugins")).unwrap();
    fs::copy(guests::probe(), work.workdir().join("plugins/probe.wasm")).unwrap();
    let chat = work.run(&["chat"], "call shout {\"text\": \"quiet\"}\n").await;
    assert_eq!((chat.code, chat.output.trim()), (Some(0), "QUIET"), "{chat:?}");
}

#[tokio::test]
async fn chat_and_ask_go_through_a_host_that_serves() {
    let work = Work::new();
    let mut host = work.host().await;
    let (chat, ask) = tokio::join!(work.run(&["chat"], "write a.txt: from chat\nread a.txt\n"), work.run(&["ask", "ls"], ""));
    assert_eq!((chat.code, ask.code), (Some(0), Some(0)), "{chat:?}\n{ask:?}");
    assert!(chat.output.ends_with("from chat\n"), "{chat:?}");
    assert!(!ask.output.contains("a.txt"), "a question has a workspace of its own: {ask:?}");
    let json = work.run(&["ask", "--json", "ls"], "").await;
    let line: serde_json::Value = serde_json::from_str(&json.output).unwrap();
    assert!(line["answer"].is_string() && line["conversation"].is_string(), "{line}");
    assert!(host.ended().is_none());
    host.stop().await;
}

#[tokio::test]
async fn a_second_host_is_refused_and_the_first_goes_on() {
    let work = Work::new();
    let host = work.host().await;
    let second = work.run(&["run"], "").await;
    assert_eq!(second.code, Some(6), "{second:?}");
    assert!(second.errors.contains("serves"), "{second:?}");
    let ask = work.run(&["ask", "ls"], "").await;
    assert_eq!(ask.code, Some(0), "{ask:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_question_that_is_not_answered_ends_with_a_failure() {
    let scene = Scene::new(Script::default().on("refused", [Answer::text("").after([Fault::status(401), Fault::status(401)])])).await;
    let ask = scene.work.run(&["ask", "this is refused"], "").await;
    assert_eq!((ask.code, ask.output.as_str()), (Some(4), ""), "{ask:?}");
    assert!(ask.errors.contains("refused our credentials"), "{ask:?}");
    let json = scene.work.run(&["ask", "--json", "this is refused"], "").await;
    let line: serde_json::Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!((json.code, &line["answer"]), (Some(4), &serde_json::Value::Null), "{json:?}");

    scene.work.configure("default_model = \"none\"\n");
    let wrong = scene.work.run(&["ask", "anything"], "").await;
    assert_eq!((wrong.code, wrong.output.as_str()), (Some(3), ""), "{wrong:?}");
}

#[tokio::test]
async fn a_reply_without_a_client_is_delivered_first_at_the_next_chat() {
    let scene = Scene::new(
        Script::default().on("one", [Answer::text("The first answer.").held("one")]).on("two", [Answer::text("The second answer.")]),
    )
    .await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("m-1", "one").await.unwrap();
    drop(client);
    scene.fake.release("one");
    let chat = scene.work.run(&["chat"], "two\n").await;
    assert_eq!(chat.code, Some(0), "{chat:?}");
    let answers: Vec<_> = chat.output.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(answers, ["The first answer.", "The second answer."]);
    host.stop().await;
}

#[tokio::test]
async fn a_chat_survives_the_end_of_its_host() {
    let scene = Scene::new(Script::default().on("one", [Answer::text("Answered after all.").held("one")])).await;
    let host = scene.work.host().await;
    let mut chat = scene.work.begin(&["chat"]);
    chat.type_line("one");
    scene.fake.held("one", 1).await;
    host.kill();
    // The client finds no host, becomes it, and goes on with the turn.
    scene.fake.held("one", 2).await;
    scene.fake.release("one");
    let ran = chat.finish("").await;
    assert_eq!((ran.code, ran.output.trim()), (Some(0), "Answered after all."), "{ran:?}");
}

#[tokio::test]
async fn an_interrupted_question_leaves_the_host_alone() {
    let scene = Scene::new(Script::default().on("long", [Answer::text("x").held("long")]).on("short", [Answer::text("Short.")])).await;
    let mut host = scene.work.host().await;
    let ask = scene.work.begin(&["ask", "long"]);
    scene.fake.held("long", 1).await;
    ask.signal(Signal::INT);
    let ran = ask.finish("").await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(scene.work.run(&["ask", "short"], "").await.output.trim(), "Short.");
    assert!(host.ended().is_none());
}

#[tokio::test]
async fn the_log_of_the_offline_client_is_kept() {
    // The client that the other tests speak through is itself a promise: what it noted is what it got.
    let work = Work::new();
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    let replies = client.talk("m-1", "write a.txt: x").await.unwrap();
    assert_eq!(replies.len(), 1, "{replies:?}");
    let lines = fs::read_to_string(work.folder().join("client.jsonl")).unwrap();
    for word in ["\"said\":\"m-1\"", "\"receipt\":\"m-1\"", "\"delivered\":\"s1.t1.final\"", "\"acknowledged\":\"s1.t1.final\""] {
        assert!(lines.contains(word), "{word} is not in {lines}");
    }
    assert_eq!(log.entries().len(), lines.lines().count());
    host.stop().await;
}

#[tokio::test]
async fn a_pipe_can_hold_commands() {
    let work = Work::new();
    let chat = work.run(&["chat"], "write a.txt: kept\n/new\nread a.txt\n/bogus\n").await;
    assert_eq!(chat.code, Some(0), "{chat:?}");
    let lines: Vec<_> = chat.output.lines().collect();
    assert!(lines[1].starts_with("A new session") && lines[2] == "kept" && lines[3].contains("/bogus"), "{lines:?}");
}

/// The sockets of a process, as its descriptors name them, on which somebody could connect to it over the network.
fn listens(pid: u32, descriptors: impl Iterator<Item = impl AsRef<Path>>) -> BTreeSet<String> {
    const LISTEN: &str = "0A";
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1)).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // Local and remote address, state, queues, timer, retransmissions, user, timeout, inode: after the number of the row.
    let listening: BTreeSet<_> = rows.filter(|row| row[3] == LISTEN).map(|row| format!("socket:[{}]", row[9])).collect();
    descriptors.filter_map(|path| path.as_ref().to_str().map(str::to_owned)).filter(|path| listening.contains(path)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_connect_to_a_host_over_the_network() {
    let script = Script::default().on("wait", [Answer::text("At last.").held("wait")]);
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    let pid = host.pid().as_raw_nonzero().get().unsigned_abs();
    assert_eq!(listens(pid, host.descriptors().values()), BTreeSet::new());
    // Whoever listens is seen: this test does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    assert!(!listens(std::process::id(), own).is_empty(), "{listener:?}");
    scene.fake.release("wait");
    assert_eq!(client.settle().await.unwrap().0[0].text, "At last.");
    host.stop().await;
}
