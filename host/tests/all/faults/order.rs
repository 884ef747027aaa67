//! Power fails: what was promised has been synced before, in the order that system calls show.

use std::collections::HashMap;
use std::fs;

use super::{assert_kept, script};
use crate::support::client::Client;
use crate::support::scene::Scene;

/// A system call that has returned, in the order of their returns; those that wait appear where they end.
struct Traced {
    calls: Vec<String>,
}

impl Traced {
    fn read(text: &str) -> Self {
        let mut begun: HashMap<&str, String> = HashMap::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let rest = rest.trim_start();
            if let Some(call) = rest.strip_suffix("<unfinished ...>") {
                begun.insert(pid, call.to_owned());
            } else if rest.starts_with("<... ") {
                let end = rest.split_once("resumed>").map_or("", |(_, end)| end);
                calls.push(format!("{}{end}", begun.remove(pid).unwrap_or_default()));
            } else {
                calls.push(rest.to_owned());
            }
        }
        Self { calls }
    }

    /// Where a call of one of these names, with all of these words in it, returned first.
    fn first(&self, names: &[&str], words: &[&str]) -> usize {
        let is_it =
            |call: &String| names.iter().any(|name| call.starts_with(&format!("{name}("))) && words.iter().all(|word| call.contains(word));
        self.calls.iter().position(is_it).unwrap_or_else(|| panic!("no {names:?} with {words:?} in {} calls", self.calls.len()))
    }

    /// Was the log synced between the two?
    fn synced(&self, from: usize, to: usize) -> bool {
        let is_sync = |call: &String| {
            (call.starts_with("fdatasync(") || call.starts_with("fsync(")) && call.contains("state.db-wal") && call.ends_with("= 0")
        };
        from < to && self.calls[from..to].iter().any(is_sync)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_synced_before_a_receipt_leaves_and_before_an_effect_begins() {
    let scene = Scene::new(script()).await;
    let trace = scene.work.folder().join("trace.txt");
    let calls = "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg,openat,openat2";
    // The tracer is a process of its own, so that the host is still the one that is signalled.
    let tracer = ["strace", "-D", "-f", "-yy", "-s", "8192", "-e", calls, "-o", trace.to_str().unwrap()];
    let host = scene.work.spawn_under(&tracer, &[]);
    let host = scene.work.serving(host).await.unwrap_or_else(|died| panic!("{died:?}\n{}", scene.work.log()));
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("receipt-canary", "Please work with the message-canary.").await.unwrap();
    client.settle().await.unwrap();
    host.stop().await;
    let traced = Traced::read(&fs::read_to_string(&trace).unwrap());
    let send = ["write", "writev", "sendto", "sendmsg"];

    let accepted = traced.first(&["pwrite64"], &["state.db-wal", "message-canary"]);
    let receipt = traced.first(&send, &["receipt", "receipt-canary"]);
    assert!(traced.synced(accepted, receipt), "the receipt left before the message was synced");

    let intent = traced.first(&["pwrite64"], &["state.db-wal", "calls_began"]);
    let effect = traced.first(&["openat", "openat2"], &["effects.txt"]);
    assert!(traced.synced(intent, effect), "the effect began before it was synced that it would");

    let reply = traced.first(&["pwrite64"], &["state.db-wal", "The work is done."]);
    let delivered = traced.first(&send, &["\\\"type\\\":\\\"deliver\\\"", "The work is done."]);
    assert!(traced.synced(reply, delivered), "the reply left before the turn's end was synced");
    assert_kept(&scene, 0);
}
