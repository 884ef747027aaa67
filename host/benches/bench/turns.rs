//! Whole turns through a whole host, with a scripted provider.

use std::time::{Duration, Instant};

use stellaclaw::clock;
use stellaclaw::ids::TurnId;
use stellaclaw::plugins::SessionKind;
use stellaclaw::store::{Append, NewConversation, NewEvent, Options, Store};
use stellaclaw::workdir::WorkDir;
use tokio::runtime::Runtime;

use crate::measure::{median, ratio, shown};
use crate::rig::{self, Client};

/// Every turn: one tool call, then a text.
pub const SCRIPTED: &str = r#"
version = "0.5"
default_model = "script"
[limits]
turn_tokens = 1000000000
day_tokens = 1000000000
[models.script]
provider = "provider-offline"
model = "script"
price = { input = 0.0, cache_read = 0.0, cache_write = 0.0, output = 0.0 }
[models.script.options]
script = [{ rounds = [[{ tool = "file_read", arguments = { file_path = "welcome.md" } }], [{ text = "Read, turn {turn}." }]] }]
"#;

/// One-tool turns: commits, CPU, and the 200th beside the 2nd.
pub fn turns(runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    runtime.block_on(async {
        let kernel = rig::host(folder.path(), rig::config(SCRIPTED), Options::default()).await;
        let mut client = Client::attach(folder.path(), "bench").await;
        client.turn("first").await;
        let (mut times, mut own, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        let inside = kernel.plugins().busy();
        let (before, busy) = (kernel.store().stats(), process_cpu());
        for _ in 0..200 {
            let (stats, inside, started) = (kernel.store().stats(), kernel.plugins().busy(), Instant::now());
            client.turn("again").await;
            let took = started.elapsed();
            times.push(took);
            own.push(took.saturating_sub(kernel.plugins().busy() - inside));
            bytes.push(kernel.store().stats().bytes.saturating_sub(stats.bytes));
        }
        let (after, cpu) = (kernel.store().stats(), (process_cpu() - busy) / 200);
        println!("one-tool turn, 200 of them in one conversation");
        println!("  commits per turn      {:.2}   (bar ≤ 7)", (after.commits - before.commits) as f64 / 200.0);
        println!(
            "  awaited per turn      {:.2}   (of them ≤ 5 between message and reply)",
            (after.awaited - before.awaited) as f64 / 200.0
        );
        let inside = (kernel.plugins().busy() - inside) / 200;
        println!("  in sandboxes per turn {} (two model calls and one tool call)", shown(inside));
        let (early, late) = (median(&own[..20]), median(&own[180..]));
        println!("  host part, turns 2 to 21   {} (commits and the client's answer included)", shown(early));
        println!("  host part, turns 181 to 200 {}   {:.2} × (bar ≤ 1.3)", shown(late), ratio(late, early));
        let (early, late) = (median(&times[..20]), median(&times[180..]));
        println!("  time, turns 2 to 21   {}", shown(early));
        println!("  time, turns 181 to 200 {}   {:.2} ×", shown(late), ratio(late, early));
        println!("  CPU per turn          {} (host, sandboxes, store and client together; bar for the host ≤ 2 ms)", shown(cpu));
        bytes[..20].sort_unstable();
        bytes[180..].sort_unstable();
        println!("  bytes written         {} early, {} late", bytes[10], bytes[190]);
        kernel.shutdown().await.expect("a clean stop");
    });
}

/// Steps of many conversations, each waiting for its own commit, on a disk that takes 5 ms.
pub fn commits(runtime: &Runtime) {
    println!("awaited journal commits, 5 ms before each COMMIT");
    let eight = runtime.block_on(steps_per_second(8));
    let many = runtime.block_on(steps_per_second(64));
    println!("  8 conversations       {eight:.0} steps/s");
    println!("  64 conversations      {many:.0} steps/s   {:.2} × (bars ≥ 3,000 and ≥ 4 ×)", many / eight);
}

async fn steps_per_second(conversations: usize) -> f64 {
    const STEPS: usize = 150;
    let folder = tempfile::tempdir().expect("a folder");
    let workdir = WorkDir::open(folder.path()).expect("a work directory");
    let options = Options { commit_delay: Duration::from_millis(5), ..Options::default() };
    let (store, _) = Store::open(&workdir, options).expect("a store");
    let mut sessions = Vec::new();
    for n in 0..conversations {
        let new = NewConversation { channel: "bench".into(), address: n.to_string(), model: "m".into(), expires_at: None };
        let (conversation, _) = store.get_or_create(new, clock::now()).await.expect("a conversation");
        sessions.push(store.open_session(conversation.id, SessionKind::Foreground, None).await.expect("a session"));
    }
    let started = Instant::now();
    let tasks: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..STEPS {
                    let mut append = Append::new(&session, TurnId(1), clock::now());
                    let body = r#"{"kind":"call_ended","call":"s1.t1.1.0","outcome":"ok","pieces":[{"text":"done"}]}"#;
                    append.events = vec![NewEvent { kind: "call_ended".into(), body: body.into(), blobs: Vec::new() }];
                    session.next_seq = store.append(append).await.expect("a commit").next_seq;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("steps");
    }
    let rate = (conversations * STEPS) as f64 / started.elapsed().as_secs_f64();
    store.close().await;
    rate
}

/// Processor time of this process, in steps of 10 ms.
fn process_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let after_name = stat.rsplit(')').next().expect("a name");
    let field = |n: usize| after_name.split_whitespace().nth(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((field(11) + field(12)) * 10)
}
