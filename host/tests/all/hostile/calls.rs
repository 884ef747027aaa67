//! A tool that takes what it can get: time, memory, the host's memory, handles, calls.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::ToClient;

use crate::hostile::{CANARY, Case, Stage, case};
use crate::support::host::Work;
use crate::support::{guests, wasm};

/// Whatever runs, `/cancel` has ended the turn by then.
const CANCELLED: Duration = Duration::from_secs(2);
/// What a tool is told that hands over more than the border lets through.
const OVER_THE_BORDER: &str = "it handed over too much at once; at most 16 MiB go into or out of one call";

/// Granted all that a tool of these cases could use: its workspace, a secret, and a server that accepts and is silent.
fn granted(server: &TcpListener) -> Work {
    let mut work = Work::new();
    let origin = format!("http://{}", server.local_addr().unwrap());
    let manifest = json!({
        "contract": "0.1.0", "name": "hostile", "version": "0.1.0", "tools": ["misbehave", "dawdle", "look", "touch", "clock_stands"],
        "requests": { "fs": ["workspace:rw"], "http": [origin] }, "slots": [{ "name": "api-key", "origins": [origin] }],
    });
    let component = wasm::with_manifest(&fs::read(guests::hostile()).unwrap(), &manifest.to_string());
    let path = work.folder().join("hostile.wasm");
    fs::write(&path, component).unwrap();
    work.set("CANARY", CANARY);
    work.configure(&format!(
        "default_model = \"main\"\n[models.main]\nprovider = \"provider-offline\"\nmodel = \"offline\"\n\
         [plugins.hostile]\npath = {path:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\nhttp = [{origin:?}]\n\
         secrets = {{ api-key = {{ env = \"CANARY\", origins = [{origin:?}] }} }}\nlimits = {{ host_calls = 1000000 }}\n"
    ));
    work
}

/// What `misbehave` is told, and what the model reads about it.
fn misbehave(how: &str, answers: &[&str]) -> Case {
    case(format!("call misbehave {}", json!({ "how": how })), answers)
}

/// It ends with an error that says this.
fn fails(how: &str, reason: &str) -> Case {
    misbehave(how, &["`call misbehave` did not work: ", reason])
}

/// The twin of `misbehave` that has half a second.
fn dawdles(how: &str) -> Case {
    let answers = ["`call dawdle` did not work: dawdle took longer than 0.5 s and was ended ([plugins.hostile.limits] wall_time)"];
    case(format!("call dawdle {}", json!({ "how": how })), &answers)
}

/// Time and memory of its own.
fn greed(silent: &str) -> Vec<Case> {
    vec![
        fails("panic", "the tool crashed: panicked at host/tests/guests/hostile/src/"),
        dawdles("loop"),
        dawdles("copy"),
        dawdles("stat"),
        dawdles("sleep"),
        dawdles("wait"),
        dawdles(&format!("fetch {silent}")),
        fails("recurse", "the tool crashed: wasm trap: out of bounds memory access (a deep recursion?)"),
        fails("allocate", "memory allocation of 104857600 bytes failed; [plugins.hostile.limits] memory raises its limit"),
        fails("grow", "refused after 6"),
        fails("exit", "it ended itself with status 1"),
        fails("calls", "it called the host too often ([plugins.hostile.limits] host_calls)"),
        fails("files", "file 256: "),
        fails("directories", "directory 256: "),
        misbehave("flood", &["flooded"]),
        misbehave("stderr", &["flooded"]),
        misbehave("log-flood", &["logged"]),
    ]
}

/// The host's memory, through what it is handed.
fn burden() -> Vec<Case> {
    let over: Vec<_> = [
        "say-huge",
        "say-many",
        "plan-huge",
        "progress-huge",
        "log-huge",
        "log-fields",
        "body",
        "body-pieces",
        "sign-huge",
        "exists-huge",
        "emit-huge",
        "answer-200",
    ]
    .into_iter()
    .map(|how| fails(how, OVER_THE_BORDER))
    .collect();
    let bounded = [
        fails("say-file", "files cannot be sent from within a call"),
        fails("shout", "the message has 2097152 bytes; at most 1048576"),
        fails("plan-many", "the plan has 100000 steps; at most 100"),
        fails("headers", "the request has 60000 headers, 256 are served"),
        fails("header-bytes", "the headers have 1048577 bytes, 65536 are served"),
        fails("large", "the answer has 9437184 bytes; at most 8388608 ([plugins.hostile.limits] output)"),
        fails("answer-json", "the answer has 9437188 bytes; at most 8388608 ([plugins.hostile.limits] output)"),
        fails("answer-parts", "the answer has 9437184 bytes; at most 8388608 ([plugins.hostile.limits] output)"),
        fails("answer-empty-parts", "the answer has 100000 parts; at most 256: join them"),
        misbehave("answer-file", &["[file: a.txt (yyy", "xxx)]"]),
        misbehave("answer-summary", &["(no output)"]),
        fails("error-huge", "eeee"),
    ];
    over.into_iter().chain(bounded).collect()
}

#[tokio::test]
async fn a_tool_that_takes_what_it_can_ends_with_a_typed_error_and_harms_nobody() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", server.local_addr().unwrap());
    let mut stage = Stage::start(granted(&server)).await;
    let again = [misbehave("count", &["1"]), misbehave("count", &["1"])];
    let cases: Vec<_> = greed(&silent).into_iter().chain(burden()).chain(again).collect();
    stage.plays_all(&cases).await;
    // The log keeps head and tail of what was written, a bounded number of lines, and no line that looks like another's.
    let log = stage.host.said();
    assert!(log.contains("bytes left out]") && log.contains("4000 log lines of one call are left out"), "{log:.2000}");
    assert!(!log.contains("\\u001b") && !log.contains('\u{1b}') && log.lines().all(|line| line.starts_with('{')));
    stage.ends().await;
}

#[tokio::test]
async fn a_tool_that_ignores_its_cancellation_is_ended() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("fetch http://{}/", server.local_addr().unwrap());
    let mut stage = Stage::start(granted(&server)).await;
    for (number, how) in ["loop", "copy", "wait", silent.as_str()].into_iter().enumerate() {
        stage.victim.send(&format!("begin-{number}"), &misbehave(how, &[]).says).await.unwrap();
        stage.victim.until(|line| matches!(line, ToClient::ToolStarted { .. }).then_some(())).await.unwrap();
        stage.is_healthy().await;
        let began = Instant::now();
        let replies = stage.victim.talk(&format!("cancel-{number}"), "/cancel").await.unwrap();
        assert!(began.elapsed() < CANCELLED, "{how}: {:?}", began.elapsed());
        assert!(replies.iter().any(|reply| reply.text.contains("Stopped")), "{how}: {replies:?}");
        stage.is_at_its_level().await.unwrap();
    }
    stage.ends().await;
}

#[tokio::test]
async fn a_hundred_crashes_leave_nothing_behind() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stage = Stage::start(granted(&server)).await;
    // One and the same call would end the turn after a few failures.
    let many = |how: &str| (0..50).map(|number| misbehave(&format!("{how}#{number}"), &[]).says).collect::<Vec<_>>().join(" && ");
    let cases = [case(many("panic"), &["on purpose"]), case(many("count"), &["**call misbehave**\n\n1"])];
    stage.plays_all(&cases).await;
    stage.ends().await;
}

#[tokio::test]
async fn a_tool_sees_nothing_of_the_machine() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stage = Stage::start(granted(&server)).await;
    let replies = stage.says("call look {}").await;
    let seen = &replies.last().unwrap().text;
    for nothing in ["\"environment\": 0", "\"arguments\": 0", "\"emit\": false"] {
        assert!(seen.contains(nothing), "{seen}");
    }
    let seen: Value = serde_json::from_str(seen).unwrap();
    assert!(seen["socket"]["Err"].is_string(), "{seen}");
    assert!(seen["sign"]["Err"].as_str().is_some_and(|refusal| refusal.contains("sign = [\"api-key\"] to [plugins.hostile]")), "{seen}");
    assert!(seen["http"]["Err"].as_str().is_some_and(|refusal| refusal.contains("[plugins.hostile]")), "{seen}");
    let clock: u64 = stage.says(&misbehave("clock", &[]).says).await[0].text.parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(clock) < 3600, "{clock}, and it is {now}");
    stage.ends().await;
}
