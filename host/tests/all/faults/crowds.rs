//! Many calls at once, and very many one after the other.

use std::array;
use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::ToClient;
use stellaclaw::limits;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;

use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::Host;
use crate::support::scene::Scene;
use crate::support::{guests, wasm, within};

/// Calls at once that stand in a function of the host.
const WAITING: usize = 32;
/// Calls of one turn, and turns: ten thousand calls and more.
const BATCH: usize = 250;
const BATCHES: usize = 41;
/// After so many turns the host is as large as it becomes.
const WARM: usize = 10;
/// What the process may have more after ten thousand calls than when it was warm. A page for each call would be 40 MiB, the memory of
/// a single sandbox 64 MiB.
const GROWTH_KIB: u64 = 24 << 10;
/// The same of threads and descriptors: some come and go.
const MORE: u64 = 4;

/// A host whose model has the tools of the hostile guest, and a server that accepts and never answers.
struct Crowd {
    scene: Scene,
    server: TcpListener,
    _component: NamedTempFile,
}

impl Crowd {
    /// The script is told where the silent server is.
    async fn new(script: impl FnOnce(&str) -> Script) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", server.local_addr().unwrap());
        let manifest = json!({
            "contract": "0.1.0", "name": "hostile", "version": "0.1.0",
            "tools": ["misbehave", "dawdle", "look", "touch", "clock_stands"],
            "requests": { "fs": ["workspace:rw"], "http": [origin] },
        });
        let component = NamedTempFile::with_suffix(".wasm").unwrap();
        fs::write(component.path(), wasm::with_manifest(&fs::read(guests::hostile()).unwrap(), &manifest.to_string())).unwrap();
        let plugin =
            format!("[plugins.hostile]\npath = {:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\nhttp = [{origin:?}]\n", component.path());
        let write = ("file_write", json!({"file_path": "a.txt", "content": "x"}));
        let script = script(&origin).on("healthy", [Answer::calls([write]), Answer::text("All is well.")]);
        Self { scene: Scene::with(script, &plugin).await, server, _component: component }
    }

    /// Another conversation finishes a turn with a tool.
    async fn is_healthy(&self) {
        let mut other = Client::attach(&self.scene.work, "other", &self.scene.log).await.unwrap();
        let replies = within("a conversation that has nothing to do with it", other.talk("healthy", "healthy")).await.unwrap();
        assert_eq!(replies.last().unwrap().text, "All is well.");
    }

    /// What the model was told of the calls of its first answer to `key`.
    fn told(&self, key: &str) -> Vec<String> {
        let asks = self.scene.fake.asks_of(key);
        let messages = asks[1].body["messages"].as_array().unwrap();
        let results = messages.iter().filter(|message| message["role"] == "tool");
        results.map(|message| crate::support::fake_openai::text_of(&message["content"])).collect()
    }
}

/// So many calls of a tool, each a little different from the others: one and the same again and again would end the turn.
fn calls<const N: usize>(tool: &'static str, how: impl Fn(usize) -> String) -> Answer {
    Answer::calls::<N>(array::from_fn(|number| (tool, json!({ "how": format!("{}#{number}", how(number)) }))))
}

/// The conversation of the crowd itself has its next turn.
async fn goes_on(client: &mut Client) {
    let replies = client.talk("again", "healthy").await.unwrap();
    assert_eq!(replies.last().unwrap().text, "All is well.");
}

async fn started(client: &mut Client, count: usize) {
    for _ in 0..count {
        client.until(|line| matches!(line, ToClient::ToolStarted { .. }).then_some(())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_stand_in_functions_of_the_host_hold_nobody_up() {
    let how = |origin: &str, number: usize| match number % 4 {
        0 => "wait".to_owned(),
        1 => "sleep".to_owned(),
        2 => format!("fetch {origin}/"),
        _ => "stat".to_owned(),
    };
    let script = |origin: &str| Script::default().on("crowd", [calls::<WAITING>("misbehave", |number| how(origin, number))]);
    let crowd = Crowd::new(script).await;
    let host = crowd.scene.work.host().await;
    let mut client = Client::attach(&crowd.scene.work, "", &crowd.scene.log).await.unwrap();
    client.say("1", "crowd").await.unwrap();
    started(&mut client, WAITING).await;
    let mut silent = Vec::new();
    while silent.len() < WAITING / 4 {
        silent.push(within("all that fetch to wait for an answer", crowd.server.accept()).await.unwrap());
    }
    crowd.is_healthy().await;
    let replies = client.talk("2", "/cancel").await.unwrap();
    assert!(replies.iter().any(|reply| reply.text.contains("Stopped")), "{replies:?}");
    goes_on(&mut client).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_on_every_thread_for_calls_end_with_their_time() {
    const ALL: usize = limits::CALL_THREADS_MAX;
    let crowd = Crowd::new(|_| Script::default().on("crowd", [calls::<ALL>("dawdle", |_| "loop".into()), Answer::text("Over.")])).await;
    let host = crowd.scene.work.host().await;
    let mut client = Client::attach(&crowd.scene.work, "", &crowd.scene.log).await.unwrap();
    client.say("1", "crowd").await.unwrap();
    started(&mut client, ALL).await;
    crowd.is_healthy().await;
    assert_eq!(client.settle().await.unwrap().0.last().unwrap().text, "Over.");
    let told = crowd.told("crowd");
    assert_eq!(told.len(), ALL);
    for told in told {
        assert!(told.contains("dawdle took longer than 0.5 s and was ended ([plugins.hostile.limits] wall_time)"), "{told}");
    }
    goes_on(&mut client).await;
    host.stop().await;
}

/// Threads, descriptors, and memory in KiB.
fn level(host: &Host) -> [u64; 3] {
    [host.counts("Threads"), host.descriptors().len() as u64, host.counts("VmRSS")]
}

/// Most only count; some trap, and some hold as many files or directories as they get.
fn wastes(number: usize) -> &'static str {
    match number % 50 {
        10 => "panic",
        20 => "files",
        30 => "directories",
        40 => "exit",
        _ => "count",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_leave_nothing_behind() {
    let script =
        |_: &str| Script::default().on("many", [calls::<BATCH>("misbehave", |number| wastes(number).into()), Answer::text("Done.")]);
    let crowd = Crowd::new(script).await;
    let host = crowd.scene.work.host().await;
    let mut client = Client::attach(&crowd.scene.work, "", &crowd.scene.log).await.unwrap();
    let mut warm = [0; 3];
    for batch in 0..BATCHES {
        if batch == WARM {
            warm = level(&host);
        }
        assert_eq!(client.talk(&format!("{batch}"), "many").await.unwrap().last().unwrap().text, "Done.");
        client.talk(&format!("new-{batch}"), "/new").await.unwrap();
    }
    let counted = crowd.told("many").iter().filter(|told| told.as_str() == "1").count();
    assert_eq!(counted, BATCH - BATCH / 50 * 4, "each began with a memory of its own");
    let most = [warm[0] + MORE, warm[1] + MORE, warm[2] + GROWTH_KIB];
    let back = async {
        while level(&host).iter().zip(most).any(|(now, most)| *now > most) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    println!("{} calls: threads, descriptors, KiB: {warm:?} when warm, {:?} at the end", BATCH * BATCHES, level(&host));
    if tokio::time::timeout(crate::support::HANGS, back).await.is_err() {
        panic!("not given back: {:?}, it was {warm:?}", level(&host));
    }
    host.stop().await;
    assert_same_rows(&crowd.scene);
}

/// Every turn left the same rows as the one before, and nothing is open.
fn assert_same_rows(scene: &Scene) {
    let store = Connection::open(scene.work.database()).unwrap();
    let rows = |query: &str| -> Vec<Value> {
        let mut query = store.prepare(query).unwrap();
        query.query_map([], |row| row.get::<_, i64>(0).map(Value::from)).unwrap().map(Result::unwrap).collect()
    };
    let journals = rows("SELECT count(*) FROM journal GROUP BY session ORDER BY session");
    // Each but the first session also knows that its context is new.
    let [_, others @ ..] = journals.as_slice() else { panic!("no session") };
    assert_eq!((journals.len(), others.iter().all(|count| *count == others[0])), (BATCHES, true), "{journals:?}");
    let sent = rows("SELECT count(*) FROM parts JOIN outbox ON outbox.id = parts.outbox GROUP BY outbox.key");
    assert!(sent.iter().all(|count| *count == 1), "{sent:?}");
    for open in [
        "SELECT count(*) FROM inbox WHERE state <> 'done'",
        "SELECT count(*) FROM outbox WHERE state <> 'sent'",
        "SELECT count(*) FROM kv",
        "SELECT count(*) FROM jobs",
    ] {
        assert_eq!(rows(open), [Value::from(0)], "{open}");
    }
}
