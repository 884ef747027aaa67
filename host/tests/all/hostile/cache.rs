//! Entries of the code cache that this work directory did not write, or not like that.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::hostile::Stage;
use crate::support::host::Work;

/// What the host says of each.
const NOT_OURS: &str = "a cache entry is damaged or not ours; compiling again";

/// The compiled components, in a stable order.
fn entries(work: &Work) -> Vec<PathBuf> {
    let found = fs::read_dir(work.workdir().join("cache")).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<_> = found.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect();
    entries.sort();
    entries
}

fn mac(entry: &Path) -> PathBuf {
    PathBuf::from(format!("{}.mac", entry.display()))
}

/// Changes an entry with the right to do so.
fn change(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, change(bytes)).unwrap();
}

fn flip(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

/// The entries that a host did not take. It may look at one more than once.
fn not_ours(log: &str) -> BTreeSet<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == NOT_OURS).map(|line| line["entry"].to_string()).collect()
}

/// Damages the cache, starts a host, and counts how many entries it did not take.
async fn not_taken(damage: impl FnOnce(&[PathBuf])) -> usize {
    let work = Work::new();
    let before = entries(&work);
    assert!(before.len() >= 3, "{before:?}");
    damage(&before);
    let stage = Stage::start(work).await;
    let said = not_ours(&stage.host.said()).len();
    let work = stage.ends().await;
    let host = work.host().await;
    assert!(!host.said().contains(NOT_OURS), "and it is kept");
    host.stop().await;
    said
}

#[tokio::test]
async fn an_entry_that_was_flipped_cut_or_forged_is_compiled_again() {
    let damage = |entries: &[PathBuf]| {
        change(&entries[0], flip);
        change(&entries[1], |bytes| bytes[..bytes.len() / 3].to_vec());
        change(&mac(&entries[2]), flip);
    };
    assert_eq!(not_taken(damage).await, 3);
}

/// What stands beside an entry of this name and code where the key is this one.
fn signed(key: &[u8], entry: &Path, code: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(entry.file_name().unwrap().as_encoded_bytes());
    mac.update(&[0]);
    mac.update(code);
    mac.finalize().into_bytes().to_vec()
}

#[tokio::test]
async fn an_entry_of_somebody_without_the_key_is_compiled_again() {
    let damage = |entries: &[PathBuf]| {
        let (key, other) = (fs::read(entries[0].with_file_name("key")).unwrap(), [7; 32]);
        let codes: Vec<_> = entries.iter().map(|entry| fs::read(entry).unwrap()).collect();
        // What is wrong with them is the key alone: with this directory's own they would be its own.
        assert_eq!(signed(&key, &entries[0], &codes[0]), fs::read(mac(&entries[0])).unwrap());
        fs::write(mac(&entries[0]), signed(&other, &entries[0], &codes[0])).unwrap();
        fs::write(&entries[1], &codes[2]).unwrap();
        fs::write(mac(&entries[1]), signed(&other, &entries[1], &codes[2])).unwrap();
    };
    assert_eq!(not_taken(damage).await, 2);
}

#[tokio::test]
async fn an_entry_under_another_ones_name_is_compiled_again() {
    let damage = |entries: &[PathBuf]| {
        fs::copy(&entries[0], &entries[1]).unwrap();
        fs::copy(mac(&entries[0]), mac(&entries[1])).unwrap();
    };
    assert_eq!(not_taken(damage).await, 1);
}
