//! The machine fails: its disk is full or does not sync, its clock jumps, it stands still, it has no descriptors left, and
//! what is on it is read-only, damaged or gone. So does the host: a function of it panics, a call ends at any of its awaits, there
//! are far too many calls, it dies while it tidies up. What is said of it is clear, and nothing is lost or done twice.

mod backups;
mod clocks;
mod crowds;
mod disks;
mod imports;
mod order;
mod places;
mod stalls;
mod upkeep;

use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::json;

use crate::support::checker::{self, Evidence};
use crate::support::fake_openai::{Answer, Script};
use crate::support::scene::Scene;

/// A turn with a read and an effect, and one that is held at its only answer.
fn script() -> Script {
    let write = ("file_write", json!({"file_path": "effects.txt", "content": "once\n", "mode": "append"}));
    let read = ("file_read", json!({"file_path": "welcome.md"}));
    let greet = |script: Script, key: &str| script.on(key, [Answer::text("Hello to you.")]);
    ["greet-1", "greet-2", "greet-3"]
        .into_iter()
        .fold(Script::default(), greet)
        .on("work", [Answer::calls([read, write]), Answer::text("The work is done.")])
        .on("wait", [Answer::text("It was worth it.").held("wait")])
        .on("hello", [Answer::text("Hello to you.")])
}

/// Every promise, after so many ends of a host that were not its own wish.
fn assert_kept(scene: &Scene, crashes: usize) {
    assert_kept_in(scene, crashes, 1);
}

/// The same, where the model may be asked so many times without such an end.
fn assert_kept_in(scene: &Scene, crashes: usize, tries: usize) {
    let effects: [PathBuf; 1] = [scene.work.workspace("c1").join("effects.txt")];
    let verdict = checker::check(&Evidence {
        database: &scene.work.database(),
        client: &scene.log.entries(),
        asks: &scene.fake.asks(),
        effects: &effects,
        crashes,
        tries,
        restored: false,
    });
    assert!(verdict.is_good(), "{verdict}\n{:#?}\n{}", scene.log.entries(), scene.work.log());
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
}

/// How many rows a query counts.
fn count(scene: &Scene, query: &str) -> i64 {
    Connection::open(scene.work.database()).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}
