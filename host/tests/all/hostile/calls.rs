//! A tool that takes what it can get: time, memory, the host's memory, handles, calls.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::ToClient;
use stellaclaw::limits;

use crate::hostile::network::{BROTLI_BOMB, bomb};
use crate::hostile::{CANARY, Case, Stage};
use crate::support::host::Work;
use crate::support::web::Web;
use crate::support::{guests, wasm};

/// Whatever runs, `/cancel` has ended the turn by then.
const CANCELLED: Duration = Duration::from_secs(2);
/// What a tool is told that takes handles and gives none back.
const NO_MORE_HANDLES: &str = "the tool crashed: resource table has no free keys";
/// What a tool is told that hands over more than the border lets through.
const OVER_THE_BORDER: &str = "it handed over too much at once; at most 16 MiB go into or out of one call";

/// Granted all that a tool of these cases could use: its workspace, a secret, and servers.
fn granted(origins: &[String]) -> Work {
    let mut work = Work::new();
    let secrets = &origins[0];
    let manifest = json!({
        "contract": "0.1.0", "name": "hostile", "version": "0.1.0", "tools": ["misbehave", "dawdle", "look", "touch", "clock_stands"],
        "requests": { "fs": ["workspace:rw"], "http": origins }, "slots": [{ "name": "api-key", "origins": [secrets] }],
    });
    let component = wasm::with_manifest(&fs::read(guests::hostile()).unwrap(), &manifest.to_string());
    let path = work.folder().join("hostile.wasm");
    fs::write(&path, component).unwrap();
    work.set("CANARY", CANARY);
    work.configure(&format!(
        "default_model = \"main\"\n[models.main]\nprovider = \"provider-offline\"\nmodel = \"offline\"\n\
         [plugins.hostile]\npath = {path:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\nhttp = {origins:?}\n\
         secrets = {{ api-key = {{ env = \"CANARY\", origins = [{secrets:?}] }} }}\nlimits = {{ host_calls = 1000000 }}\n"
    ));
    work
}

/// One that accepts and is silent, and where it is.
fn silent() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", server.local_addr().unwrap());
    (server, origin)
}

/// What a tool is told, and what the model reads about it.
struct Act {
    tool: &'static str,
    how: String,
    answers: Vec<String>,
}

impl Act {
    /// So many calls at the same time. One and the same call would end the turn after a few failures, so each has a number.
    fn at_once(&self, calls: usize) -> Case {
        let says = |number| format!("call {} {}", self.tool, json!({ "how": format!("{}#{number}", self.how) }));
        let says: Vec<_> = (0..calls).map(says).collect();
        Case { says: says.join(" && "), answers: self.answers.clone(), calls }
    }
}

fn act(tool: &'static str, how: &str, answers: &[&str]) -> Act {
    Act { tool, how: how.to_owned(), answers: answers.iter().map(|&text| text.to_owned()).collect() }
}

/// Its answer has this in it.
fn answers(how: &str, parts: &[&str]) -> Act {
    act("misbehave", how, parts)
}

/// It ends with an error that says this.
fn fails(how: &str, reason: &str) -> Act {
    act("misbehave", how, &["`call misbehave` did not work: ", reason])
}

/// The twin of `misbehave` that has half a second.
fn dawdles(how: &str) -> Act {
    let late = "`call dawdle` did not work: dawdle took longer than 0.5 s and was ended ([plugins.hostile.limits] wall_time)";
    act("dawdle", how, &[late])
}

/// Time and memory of its own.
fn greed(silent: &str, talkative: &str) -> Vec<Act> {
    vec![
        fails("panic", "the tool crashed: panicked at host/tests/guests/hostile/src/"),
        dawdles("loop"),
        dawdles("copy"),
        dawdles("stat"),
        dawdles("sleep"),
        dawdles("wait"),
        dawdles(&format!("fetch {silent}")),
        fails("recurse", "the tool crashed: wasm trap: out of bounds memory access (a deep recursion?)"),
        fails("deep", "the tool crashed: wasm trap: call stack exhausted (a deep recursion?)"),
        fails("allocate", "memory allocation of 104857600 bytes failed; [plugins.hostile.limits] memory raises its limit"),
        fails("grow", "refused after 6"),
        fails("exit", "it ended itself with status 1"),
        fails("calls", "it called the host too often ([plugins.hostile.limits] host_calls)"),
        fails("files", "file 256: "),
        fails("directories", "directory 256: "),
        fails("streams", "the tool crashed: cannot lend resource: store handle limit exceeded"),
        fails("pollables", NO_MORE_HANDLES),
        fails("outputs", NO_MORE_HANDLES),
        fails("networks", NO_MORE_HANDLES),
        fails("tcp-sockets", "socket 0: access-denied"),
        fails("udp-sockets", "socket 0: access-denied"),
        fails("uploads", "upload 0: the request to http://127.0.0.1:1/ is not granted"),
        fails(&format!("uploads {talkative}/"), "upload 16: a call has at most 16 responses and uploads open"),
        fails(&format!("send {talkative}/ sha256:{}", "0".repeat(64)), "this call was handed no blob"),
        fails(&format!("responses {talkative}/"), "response 16: a call has at most 16 responses and uploads open"),
        fails(&format!("decoded {talkative}/gzip"), "response 16: a call has at most 16 responses and uploads open"),
        fails(&format!("decoded {talkative}/br"), "response 0: the server answers in the encoding \"br\"; gzip is served"),
        answers("flood", &["flooded"]),
        answers("stderr", &["flooded"]),
        answers("log-flood", &["logged"]),
    ]
}

/// The host's memory, through what it is handed.
fn burden() -> Vec<Act> {
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
        answers("answer-file", &["[file: a.txt (yyy", "xxx, not shown, it cannot be opened: entity not found)]"]),
        answers("answer-file-name", &["[file: a.txt (yyy"]),
        answers("answer-bad-json", &["{\"half\":"]),
        answers("answer-summary", &["(no output)"]),
        fails("error-huge", "eeee"),
    ];
    over.into_iter().chain(bounded).collect()
}

/// How many calls of each kind are played at the same time.
const AT_ONCE: usize = 5;

#[tokio::test]
async fn a_tool_that_takes_what_it_can_ends_with_a_typed_error_and_harms_nobody() {
    let (_server, silent) = silent();
    let left = Arc::new(AtomicUsize::new(0));
    let leaving = left.clone();
    // Its answers never end.
    let talkative = Web::start(move |visit| match visit.target().to_owned().as_str() {
        "/gzip" => bomb(visit),
        "/br" => visit.answer("content-encoding: br\r\n", &STANDARD.decode(BROTLI_BOMB).unwrap()),
        _ => {
            visit.say("HTTP/1.1 200 Fine\r\ncontent-length: 10\r\n\r\nbegun")?;
            visit.wait()?;
            leaving.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    let mut stage = Stage::start(granted(&[silent.clone(), talkative.url("")])).await;
    let acts: Vec<_> = greed(&silent, &talkative.url("")).into_iter().chain(burden()).collect();
    stage.plays_without_loss(&acts.iter().map(|act| act.at_once(AT_ONCE)).collect::<Vec<_>>()).await;
    let count = answers("count", &["1"]);
    stage.plays_all(&[count.at_once(1), count.at_once(1)]).await;
    let visits = talkative.seen().iter().filter(|seen| seen.starts_with("GET / ")).count();
    assert!(visits >= 2 * AT_ONCE * limits::OPEN_RESPONSES, "{visits} requests");
    assert_eq!(left.load(Ordering::Relaxed), visits, "connections of calls that ended");
    // The log keeps head and tail of what was written, a bounded number of lines, and no line that looks like another's.
    let log = stage.host.said();
    assert!(log.contains("bytes left out]") && log.contains("4000 log lines of one call are left out"), "{log:.2000}");
    assert!(!log.contains("\\u001b") && !log.contains('\u{1b}') && log.lines().all(|line| line.starts_with('{')));
    stage.ends().await;
}

#[tokio::test]
async fn a_tool_that_ignores_its_cancellation_is_ended() {
    let (_server, silent) = silent();
    let mut stage = Stage::start(granted(std::slice::from_ref(&silent))).await;
    let fetch = format!("fetch {silent}/");
    for (number, how) in ["loop", "copy", "wait", fetch.as_str()].into_iter().enumerate() {
        stage.victim.send(&format!("begin-{number}"), &answers(how, &[]).at_once(1).says).await.unwrap();
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
    let (_server, silent) = silent();
    let mut stage = Stage::start(granted(&[silent])).await;
    let cases = [answers("panic", &["on purpose"]).at_once(50), answers("count", &["**call misbehave**\n\n1"]).at_once(50)];
    stage.plays_without_loss(&cases).await;
    stage.ends().await;
}

#[tokio::test]
async fn a_tool_sees_nothing_of_the_machine() {
    let (_server, silent) = silent();
    let mut stage = Stage::start(granted(&[silent])).await;
    let replies = stage.says("call look {}").await;
    let seen = &replies.last().unwrap().text;
    for nothing in ["\"environment\": 0", "\"arguments\": 0", "\"emit\": false"] {
        assert!(seen.contains(nothing), "{seen}");
    }
    let seen: Value = serde_json::from_str(seen).unwrap();
    assert!(seen["socket"]["Err"].is_string(), "{seen}");
    assert!(seen["sign"]["Err"].as_str().is_some_and(|refusal| refusal.contains("sign = [\"api-key\"] to [plugins.hostile]")), "{seen}");
    assert!(seen["http"]["Err"].as_str().is_some_and(|refusal| refusal.contains("[plugins.hostile]")), "{seen}");
    let clock: u64 = stage.says(&answers("clock", &[]).at_once(1).says).await[0].text.parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(clock) < 3600, "{clock}, and it is {now}");
    stage.ends().await;
}
