//! What tests of different promises share.

pub mod bot;
pub mod bot_checker;
pub mod checker;
pub mod client;
pub mod fake_auth;
pub mod fake_brave;
pub mod fake_claude;
pub mod fake_codex;
pub mod fake_images;
pub mod fake_openai;
pub mod guests;
pub mod holds;
pub mod host;
pub mod http;
pub mod mounts;
pub mod patched;
pub mod pty;
pub mod scene;
pub mod warm;
pub mod wasm;
pub mod web;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// After this nothing is going to happen any more. Long enough for a machine that does much else; never waited for.
pub const HANGS: Duration = Duration::from_secs(40);

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()))
}

/// What `future` gives, which it must do before [`HANGS`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANGS, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", HANGS.as_secs()),
    }
}

/// Every file below `folder`, with what is in it.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(files(&entry.path()));
        } else if kind.is_file() {
            all.push((entry.path(), std::fs::read(entry.path()).unwrap()));
        }
    }
    all
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
