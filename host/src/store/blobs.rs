//! Payloads beside the database, named by their SHA-256: `blobs/ab/<sha256>`.
//!
//! - A blob is written (temporary file, fsync, rename, fsync of the folder) before the row that names it.
//! - It is removed when no row names it and it is old enough that no row can be on its way; naming or putting it again makes
//!   it young.
//! - What is read is checked against its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sql::{self, int};
use super::{Store, StoreError};
use crate::{crash, limits};

/// Stands before the hash where JSON is kept as a blob. No JSON begins like it.
const MARK: &str = "sha256:";

/// SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobHash(String);

impl BlobHash {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What messages and components call the blob.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{MARK}{}", self.0)
    }

    /// The hash of an id; none where it is no id.
    #[must_use]
    pub fn of_id(id: &str) -> Option<Self> {
        Self::try_from(id.strip_prefix(MARK)?.to_owned()).ok()
    }
}

impl TryFrom<String> for BlobHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hash { Ok(Self(text)) } else { Err(format!("not the hash of a blob: {text:?}")) }
    }
}

impl From<BlobHash> for String {
    fn from(hash: BlobHash) -> Self {
        hash.0
    }
}

impl std::fmt::Display for BlobHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Store {
    /// Keeps `bytes`. Durable when it resolves; kept for an hour unless a row names it by then.
    ///
    /// # Errors
    /// The disk is full, or the store is broken by a failed write.
    pub async fn put_blob(&self, bytes: Vec<u8>) -> Result<BlobHash, StoreError> {
        if self.inner.writer.is_none() {
            return Err(StoreError::ReadOnly);
        }
        self.with_blobs(move |blobs| blobs.put(&bytes)).await
    }

    /// The bytes, checked against their name.
    ///
    /// # Errors
    /// There is no such blob, or it is damaged.
    pub async fn blob(&self, hash: &BlobHash) -> Result<Vec<u8>, StoreError> {
        let hash = hash.clone();
        self.with_blobs(move |blobs| blobs.get(&hash)).await
    }

    /// Makes payloads ready for their rows: long ones become blobs, and the blobs that they name are there.
    pub(super) async fn keep(&self, needs: Vec<Need>) -> Result<Vec<Kept>, StoreError> {
        if needs.iter().all(Need::is_empty) {
            return Ok(needs.iter().map(|_| Kept::default()).collect());
        }
        self.with_blobs(move |blobs| needs.iter().map(|need| blobs.keep(need)).collect()).await
    }

    async fn with_blobs<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Blobs) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let blobs = self.inner.blobs.clone();
        let result = match tokio::task::spawn_blocking(move || work(&blobs)).await {
            Ok(result) => result,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => Err(StoreError::Closed),
        };
        if let Err(StoreError::Broken(reason)) = &result {
            self.inner.shared.break_down(reason);
        }
        result
    }
}

/// What must be on disk before a row.
#[derive(Debug)]
pub(super) struct Need {
    /// JSON that is too long for its row.
    long: Option<String>,
    blobs: Vec<BlobHash>,
}

impl Need {
    /// A JSON body and the blobs that it names.
    pub fn json(body: &str, blobs: &[BlobHash]) -> Self {
        Self { long: (body.len() > limits::INLINE_BYTES).then(|| body.to_owned()), blobs: blobs.to_vec() }
    }

    /// The blobs that a text names; the text stays in its row.
    pub fn named(blobs: &[BlobHash]) -> Self {
        Self { long: None, blobs: blobs.to_vec() }
    }

    fn is_empty(&self) -> bool {
        self.long.is_none() && self.blobs.is_empty()
    }
}

/// What is on disk for a row.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Stands in the row for a long body.
    short: Option<String>,
    refs: Vec<(BlobHash, u64)>,
}

impl Kept {
    /// What the row holds for this body.
    pub fn body<'a>(&'a self, body: &'a str) -> &'a str {
        self.short.as_deref().unwrap_or(body)
    }

    /// Notes that `owner` names the blobs.
    pub fn refer(&self, conn: &Connection, owner: &str) -> Result<(), StoreError> {
        for (hash, size) in &self.refs {
            let query = "INSERT INTO blob_refs (hash, owner, size) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            sql::execute(conn, query, (hash.as_str(), owner, int(*size)))?;
        }
        Ok(())
    }
}

/// `owner` names no blob any more.
pub(super) fn release(conn: &Connection, owner: &str) -> Result<(), StoreError> {
    sql::execute(conn, "DELETE FROM blob_refs WHERE owner = ?1", [owner]).map(drop)
}

/// The folder.
#[derive(Debug)]
pub(super) struct Blobs {
    root: PathBuf,
    /// Held while a blob is made young and while one is found old and removed.
    gate: Mutex<()>,
    temporary: AtomicU64,
}

impl Blobs {
    pub fn new(root: PathBuf) -> Self {
        Self { root, gate: Mutex::new(()), temporary: AtomicU64::new(0) }
    }

    fn path(&self, hash: &BlobHash) -> PathBuf {
        self.root.join(hash.as_str().get(..2).unwrap_or_default()).join(hash.as_str())
    }

    /// Keeps bytes; durable when it returns.
    pub fn put(&self, bytes: &[u8]) -> Result<BlobHash, StoreError> {
        let hash = BlobHash::of(bytes);
        let path = self.path(&hash);
        if self.renew(&hash).is_ok_and(|size| size == bytes.len() as u64) {
            // Its writer may not have come to this yet.
            sync_folder(&path).map_err(|error| failed("sync the folder of", &path, &error))?;
            return Ok(hash);
        }
        self.write(&path, bytes).map_err(|error| failed("write", &path, &error))?;
        Ok(hash)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        if !folder.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            File::open(&self.root)?.sync_all()?;
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("new-{}-{number}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            if crash::fault("blob.full") {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if crash::fault("blob.sync") {
                return Err(io::Error::other("the sync failed"));
            }
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            // The error that counts is the first; what stays is swept with the old blobs.
            drop(fs::remove_file(&temporary));
        }
        written?;
        sync_folder(path)
    }

    /// Makes a blob young; its size.
    fn renew(&self, hash: &BlobHash) -> io::Result<u64> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::open(self.path(hash))?;
        file.set_modified(SystemTime::now())?;
        Ok(file.metadata()?.len())
    }

    /// The bytes, checked against their name.
    pub fn get(&self, hash: &BlobHash) -> Result<Vec<u8>, StoreError> {
        let path = self.path(hash);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::NotFound(format!("blob {hash}"))),
            // Not being able to read it now says nothing about it.
            Err(error) => return Err(unread(&path, &error)),
        };
        if BlobHash::of(&bytes) == *hash { Ok(bytes) } else { Err(StoreError::Damaged(format!("blob {hash} does not match its name"))) }
    }

    fn keep(&self, need: &Need) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        if let Some(long) = &need.long {
            let hash = self.put(long.as_bytes())?;
            kept.short = Some(format!("{MARK}{hash}"));
            kept.refs.push((hash, long.len() as u64));
        }
        for hash in &need.blobs {
            let size = self.renew(hash).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => StoreError::NotFound(format!("blob {hash}: {error}")),
                _ => unread(&self.path(hash), &error),
            })?;
            kept.refs.push((hash.clone(), size));
        }
        Ok(kept)
    }

    /// A row's JSON, read from its blob where it is one.
    pub fn resolve(&self, body: String) -> Result<String, StoreError> {
        let Some(hash) = body.strip_prefix(MARK) else { return Ok(body) };
        let hash = BlobHash::try_from(hash.to_owned()).map_err(StoreError::Damaged)?;
        let bytes = self.get(&hash).map_err(|error| match error {
            StoreError::NotFound(what) => StoreError::Damaged(format!("there is no {what}")),
            other => other,
        })?;
        String::from_utf8(bytes).map_err(|_| StoreError::Damaged(format!("blob {hash} is not text")))
    }

    /// Files that have not been made young for [`limits::BLOB_KEPT`]: blobs, and temporary files of writers that died.
    pub fn old(&self) -> io::Result<Vec<PathBuf>> {
        let mut old = Vec::new();
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?.path();
            if !folder.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder)? {
                let path = file?.path();
                if is_old(&path) {
                    old.push(path);
                }
            }
        }
        Ok(old)
    }

    /// Removes a file that is still old and, if it is a blob, that no row names. True: it was removed.
    pub fn sweep(&self, path: &Path, conn: &Connection) -> Result<bool, StoreError> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let named = sql::one(conn, "SELECT 1 FROM blob_refs WHERE hash = ?1 LIMIT 1", [name], |_| Ok(()))?.is_some();
        if named || !is_old(path) {
            return Ok(false);
        }
        crash::point(|| format!("sweep.before@{name}"));
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) => Err(super::io_error("remove", path, &error)),
        }
    }
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|file| file.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > limits::BLOB_KEPT))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// A full disk passes; after any other failed write or sync, what is on disk is unknown.
fn failed(action: &str, path: &Path, error: &io::Error) -> StoreError {
    let text = format!("cannot {action} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        _ if is_exhaustion(error) => StoreError::Exhausted(text),
        _ => StoreError::Broken(text),
    }
}

fn unread(path: &Path, error: &io::Error) -> StoreError {
    match is_exhaustion(error) {
        true => StoreError::Exhausted(format!("cannot read {}: {error}", path.display())),
        false => super::io_error("read", path, error),
    }
}

/// No file descriptor or memory was left, so nothing was tried.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error).is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno))
}
