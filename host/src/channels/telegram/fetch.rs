//! Files that people send: fetched after their message was accepted, and before anybody reads it.
//!
//! A message with files is held in the inbox, with what comes after it in its conversation. It is released when each of its
//! files is in the workspace, or it is known why not; an album when nothing has been added to it for a while, as one. A fetch
//! that a crash cut off begins anew and writes the same names. Without a network a message waits until there is one, or until
//! somebody ends the waiting.

mod order;

use std::collections::HashSet;
use std::io;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::order::{Failed, Tries};
use super::Telegram;
use super::api::{self, ApiError, DownloadError};
use super::render::literal;
use super::send::GetFile;
use super::types::{File, FilePlace};
use crate::clock;
use crate::crash;
use crate::ids::{ConversationId, InboxId};
use crate::limits::{
    ALBUM_QUIET, FILE_STEM_BYTES, FULL_PAUSE, TELEGRAM_CALL_TIME, TELEGRAM_DOWNLOAD_TIME, TELEGRAM_FILE_IN_BYTES,
    TELEGRAM_LOCAL_FILE_BYTES, TELEGRAM_URL,
};
use crate::session::event::Attached;
use crate::session::inbox::Body;
use crate::store::{InboxRow, NewOutbox, OutboxKind, StoreError};

/// Where files go, in the workspace.
const FOLDER: &str = "attachments/incoming";
/// Why files of a message are missing that nobody waits for any more.
const CANCELLED: &str = "the message was cancelled before it was fetched";

/// A message whose files are not here yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub body: Body,
    pub fetch: Vec<Wanted>,
    pub message_id: i64,
}

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub file_id: String,
    /// When the file has no name.
    pub default_name: String,
    pub attached: Attached,
}

impl Held {
    /// Without its files, which nobody waits for any more.
    pub(super) fn unfetched(self) -> Body {
        let mut body = self.body;
        let missing = Some(CANCELLED.to_owned());
        body.beside.files = self.fetch.into_iter().map(|wanted| Attached { missing: missing.clone(), ..wanted.attached }).collect();
        body
    }
}

/// Rows that are released together.
type Group = (ConversationId, String);

impl Telegram {
    /// Fetches whatever is held, until the host stops.
    pub(super) async fn fetch(self) {
        let mut jobs = JoinSet::new();
        let mut running: HashSet<Group> = HashSet::new();
        loop {
            match self.host().router.held(&self.0.name).await {
                Ok(rows) => {
                    for group in order::due(rows.iter().map(group), &running) {
                        running.insert(group.clone());
                        let telegram = self.clone();
                        jobs.spawn(async move {
                            if let Err(error) = telegram.fetch_group(&group).await {
                                tracing::warn!(conversation = %group.0, %error, "a message with files waits");
                                // Here, where it holds up nobody else.
                                tokio::time::sleep(FULL_PAUSE).await;
                            }
                            group
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "messages with files wait");
                    tokio::time::sleep(FULL_PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                () = self.0.arrived.notified() => {}
                Some(ended) = jobs.join_next(), if !jobs.is_empty() => match ended {
                    Ok(group) => drop(running.remove(&group)),
                    // It panicked: this task does so too, and everything that is held is begun anew.
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
            }
        }
    }

    /// Fetches the files of a message or an album, and releases it.
    async fn fetch_group(&self, wanted: &Group) -> Result<(), StoreError> {
        let mut ready: Vec<(InboxId, Body)> = Vec::new();
        loop {
            let rows = self.host().router.held(&self.0.name).await?;
            let mut news = false;
            for row in rows.iter().filter(|row| group(row) == *wanted) {
                if ready.iter().all(|(id, _)| *id != row.id) {
                    ready.push((row.id, self.fetch_row(row).await?));
                    news = true;
                }
            }
            let is_album = rows.iter().any(|row| group(row) == *wanted && row.group.is_some());
            if !(is_album && news) {
                self.host().router.release(ready).await?;
                self.present(wanted.0);
                return Ok(());
            }
            tokio::time::sleep(ALBUM_QUIET).await;
        }
    }

    /// The message with its files, as far as they could be had.
    async fn fetch_row(&self, row: &InboxRow) -> Result<Body, StoreError> {
        let held: Held = match serde_json::from_str(&row.body) {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(row = %row.id, %error, "a held message cannot be read");
                return Ok(Body::text(format!("(a message that could not be read: {error})")));
            }
        };
        let mut body = held.body;
        let fetched = held.fetch.iter().enumerate().map(|(n, wanted)| self.fetch_file(row, held.message_id, n, wanted));
        body.beside.files = futures_util::future::join_all(fetched).await;
        let large: Vec<_> = body.beside.files.iter().filter(|file| file.missing.as_deref().is_some_and(is_too_large)).collect();
        if let Some(reason) = large.first().and_then(|file| file.missing.as_deref()) {
            let names = large.iter().map(|file| format!("“{}”", file.name.as_deref().unwrap_or(&file.kind))).collect::<Vec<_>>().join(", ");
            let text = format!("I could not fetch {names}: {reason}. Send it in smaller parts, or put it where I can read it.");
            let key = format!("{}.{}.toolarge", self.0.name, row.external_id);
            let notice = NewOutbox::new(key, row.conversation, OutboxKind::Notice, literal(&text));
            self.0.store.tell(notice, clock::now()).await?;
        }
        Ok(body)
    }

    async fn fetch_file(&self, row: &InboxRow, message_id: i64, n: usize, wanted: &Wanted) -> Attached {
        let mut attached = wanted.attached.clone();
        let name = attached.name.as_deref().map(file_name).unwrap_or_else(|| wanted.default_name.clone());
        let name = if n == 0 { format!("{message_id}-{name}") } else { format!("{message_id}.{n}-{name}") };
        crash::point(|| format!("fetch.before@{}.{n}", row.external_id));
        match self.fetch_to(row, wanted, &name).await {
            Ok(bytes) => {
                attached.size = Some(bytes);
                attached.path = Some(format!("{FOLDER}/{name}"));
            }
            Err(reason) => {
                tracing::warn!(conversation = %row.conversation, reason, "a file could not be fetched");
                attached.missing = Some(reason);
            }
        }
        crash::point(|| format!("fetch.after@{}.{n}", row.external_id));
        attached
    }

    /// Its size, or why it is not there.
    async fn fetch_to(&self, row: &InboxRow, wanted: &Wanted, name: &str) -> Result<u64, String> {
        if wanted.attached.size.is_some_and(|bytes| bytes > self.limit()) {
            return Err(too_large(self.limit()));
        }
        let (mut tries, mut said) = (Tries::default(), false);
        loop {
            // Made before the look, so that it hears of what happens after that.
            let news = self.0.file_news.notified();
            if !self.is_held(row.id).await {
                return Err(CANCELLED.to_owned());
            }
            let failed = match self.try_to(row.conversation, wanted, name).await {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => failed,
            };
            if let Failed::Later { reason, .. } = &failed
                && !std::mem::replace(&mut said, true)
            {
                tracing::warn!(conversation = %row.conversation, reason, "a file waits until Telegram can be asked for it");
            }
            let pause = tries.next(failed)?;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = news => {}
            }
        }
    }

    /// Does anybody wait for a message still?
    async fn is_held(&self, row: InboxId) -> bool {
        match self.host().router.held(&self.0.name).await {
            Ok(rows) => rows.iter().any(|held| held.id == row),
            Err(error) => {
                tracing::debug!(%error, "whether a message is still waited for cannot be seen");
                true
            }
        }
    }

    async fn try_to(&self, conversation: ConversationId, wanted: &Wanted, name: &str) -> Result<u64, Failed> {
        let asked = self.api().call::<File>("getFile", &GetFile { file_id: &wanted.file_id }, TELEGRAM_CALL_TIME).await;
        let file = asked.map_err(|error| refused(&error))?;
        let place = file.place().ok_or_else(|| Failed::ForGood(too_large(self.limit())))?;
        self.copy(conversation, place, name).await
    }

    async fn copy(&self, conversation: ConversationId, place: FilePlace, name: &str) -> Result<u64, Failed> {
        let (sender, receiver) = mpsc::channel(16);
        let (workspace, name) = (self.workdir().workspace(conversation), name.to_owned());
        let written = tokio::task::spawn_blocking(move || write(&workspace, &name, receiver));
        let fed = match place {
            FilePlace::Server(path) => self.feed(&path, &sender).await,
            // Only a server on this machine has its files here; any other could name what it likes.
            FilePlace::Disk(path) if api::is_here(&self.0.server) => feed_from_disk(path, self.limit(), sender.clone()).await,
            FilePlace::Disk(_) => Err(Failed::ForGood("Telegram gave no address of the file".to_owned())),
        };
        let end = if fed.is_ok() { sender.send(Chunk::End).await.is_ok() } else { false };
        drop(sender);
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match (fed, end, written) {
            (Err(failed), ..) => Err(failed),
            (Ok(()), true, Ok(bytes)) => Ok(bytes),
            (_, _, Err(error)) => Err(Failed::ForGood(format!("it could not be written to the workspace: {}", error.kind()))),
            (_, false, Ok(_)) => Err(Failed::ForNow("it could not be written to the workspace".to_owned())),
        }
    }

    async fn feed(&self, path: &str, sender: &mpsc::Sender<Chunk>) -> Result<(), Failed> {
        let failed = |error: DownloadError| match error {
            DownloadError::TooLarge { limit_bytes } => Failed::ForGood(too_large(limit_bytes)),
            DownloadError::NotSent(_) | DownloadError::Refused(429) => Failed::Later { reason: error.to_string(), pause: None },
            other => Failed::ForNow(other.to_string()),
        };
        let mut download = self.api().download(path, self.limit(), TELEGRAM_DOWNLOAD_TIME).await.map_err(failed)?;
        while let Some(chunk) = download.chunk().await.map_err(failed)? {
            if sender.send(Chunk::Bytes(chunk)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// What a file may weigh: a Bot API server of one's own gives out larger ones.
    fn limit(&self) -> u64 {
        let is_public = self.0.server.as_str().trim_end_matches('/') == TELEGRAM_URL;
        if is_public { TELEGRAM_FILE_IN_BYTES } else { TELEGRAM_LOCAL_FILE_BYTES }
    }
}

/// A piece of a file on its way to the disk. Without an end it is not kept.
enum Chunk {
    Bytes(bytes::Bytes),
    End,
}

/// Rows of an album belong together; every other row is alone.
fn group(row: &InboxRow) -> Group {
    (row.conversation, row.group.clone().unwrap_or_else(|| format!("row {}", row.id)))
}

/// What an answer other than the file's place means for it.
fn refused(error: &ApiError) -> Failed {
    let reason = format!("Telegram did not answer: {error}");
    match error.refusal() {
        // Whoever says so is the public server, or one that has its bound.
        Some(refusal) if refusal.description.contains("file is too big") => Failed::ForGood(too_large(TELEGRAM_FILE_IN_BYTES)),
        Some(refusal) if error.is_too_many() => Failed::Later { reason, pause: refusal.retry_after },
        Some(refusal) => Failed::ForGood(format!("Telegram says: {}", refusal.description)),
        None if matches!(error, ApiError::NotSent(_)) => Failed::Later { reason, pause: None },
        None => Failed::ForNow(reason),
    }
}

fn too_large(limit_bytes: u64) -> String {
    format!("it is larger than {} MB, the most that Telegram lets bots fetch", limit_bytes >> 20)
}

fn is_too_large(reason: &str) -> bool {
    [TELEGRAM_FILE_IN_BYTES, TELEGRAM_LOCAL_FILE_BYTES].iter().any(|limit| reason == too_large(*limit))
}

/// A name for the file that leads nowhere and hides nothing.
pub(super) fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '(' | ')') { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches('.');
    let (stem, extension) =
        name.rsplit_once('.').filter(|(_, extension)| extension.len() <= 10).map_or((name, ""), |(stem, extension)| (stem, extension));
    let stem = &stem[..stem.floor_char_boundary(FILE_STEM_BYTES)];
    match (stem, extension) {
        ("", _) => "file".to_owned(),
        (stem, "") => stem.to_owned(),
        (stem, extension) => format!("{stem}.{extension}"),
    }
}

/// Writes a file beneath the workspace; it gets its name when it is whole and durable.
fn write(workspace: &std::path::Path, name: &str, mut chunks: mpsc::Receiver<Chunk>) -> io::Result<u64> {
    let workspace = Dir::open_ambient_dir(workspace, ambient_authority())?;
    workspace.create_dir_all(FOLDER)?;
    let folder = workspace.open_dir(FOLDER)?;
    let temporary = format!(".{name}.part");
    // Whatever else is there is not written to: it could lead somewhere, or wait for a reader.
    match folder.remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = folder.open_with(&temporary, OpenOptions::new().write(true).create_new(true))?;
    let mut written = 0;
    let mut whole = false;
    while let Some(chunk) = chunks.blocking_recv() {
        match chunk {
            Chunk::Bytes(bytes) => {
                io::Write::write_all(&mut file, &bytes)?;
                written += bytes.len() as u64;
            }
            Chunk::End => whole = true,
        }
    }
    if !whole {
        drop(file);
        folder.remove_file(&temporary)?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.sync_all()?;
    folder.rename(&temporary, &folder, name)?;
    Ok(written)
}

/// A Bot API server on this machine has the file on its own disk.
async fn feed_from_disk(path: std::path::PathBuf, limit_bytes: u64, sender: mpsc::Sender<Chunk>) -> Result<(), Failed> {
    let read = tokio::task::spawn_blocking(move || {
        let (folder, name) = (path.parent(), path.file_name());
        let (folder, name) = folder.zip(name).ok_or(io::ErrorKind::InvalidInput)?;
        let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
        // Asked before it is opened: opening a pipe waits for its writer.
        let found = folder.metadata(name)?;
        if !found.is_file() || found.len() > limit_bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut file = io::Read::take(folder.open(name)?, limit_bytes);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = io::Read::read(&mut file, &mut buffer)?;
            if read == 0 || sender.blocking_send(Chunk::Bytes(bytes::Bytes::copy_from_slice(&buffer[..read]))).is_err() {
                return Ok::<(), io::Error>(());
            }
        }
    });
    // Its path has the token in it: no more is said than of what kind the failure is.
    let read = read.await.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
    read.map_err(|error| Failed::ForGood(format!("the Bot API server's file cannot be read: {}", error.kind())))
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_and_hides_nothing() {
        for (name, kept) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "_.._etc_passwd"),
            (".bashrc", "bashrc"),
            ("a b\tc\u{202e}.txt", "a_b_c_.txt"),
            ("größe.md", "größe.md"),
            ("...", "file"),
            ("", "file"),
            ("x.", "x"),
        ] {
            assert_eq!(file_name(name), kept, "{name:?}");
        }
        assert!(file_name(&format!("{}.txt", "ж".repeat(1000))).len() <= FILE_STEM_BYTES + 4, "file systems count bytes");
    }

    #[tokio::test]
    async fn a_file_of_the_servers_own_disk_is_read_and_what_fails_does_not_show_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("7000:AAsecret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("file_1.txt"), "contents").unwrap();
        let (sender, mut receiver) = mpsc::channel(16);
        assert!(feed_from_disk(secret.join("file_1.txt"), 100, sender.clone()).await.is_ok());
        assert!(matches!(receiver.try_recv(), Ok(Chunk::Bytes(bytes)) if &*bytes == b"contents"));
        for path in [secret.join("file_2.txt"), secret.clone(), folder.path().join("7000:AAelsewhere/file_1.txt"), "/".into()] {
            let Err(Failed::ForGood(said) | Failed::ForNow(said)) = feed_from_disk(path.clone(), 100, sender.clone()).await else {
                panic!("{} was read", path.display())
            };
            assert!(!said.contains("AA") && !said.contains('/'), "{said}");
        }
    }

    #[test]
    fn what_lies_where_a_file_is_to_be_written_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, outside) = (folder.path().join("w"), folder.path().join("outside.txt"));
        std::fs::create_dir_all(workspace.join(FOLDER)).unwrap();
        std::fs::write(&outside, "untouched").unwrap();
        let written = |name: &str| {
            let (sender, receiver) = mpsc::channel(4);
            sender.try_send(Chunk::Bytes("new".into())).unwrap_or_else(|_| panic!("no room"));
            sender.try_send(Chunk::End).unwrap_or_else(|_| panic!("no room"));
            drop(sender);
            write(&workspace, name, receiver)
        };
        std::os::unix::fs::symlink(&outside, workspace.join(FOLDER).join(".a.txt.part")).unwrap();
        std::os::unix::fs::symlink(&outside, workspace.join(FOLDER).join("a.txt")).unwrap();
        // Opening a pipe to write to it would wait for a reader.
        rustix::fs::mkfifoat(rustix::fs::CWD, workspace.join(FOLDER).join(".b.txt.part"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        for name in ["a.txt", "b.txt"] {
            assert_eq!(written(name).unwrap(), 3);
            assert_eq!(std::fs::read_to_string(workspace.join(FOLDER).join(name)).unwrap(), "new");
        }
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "untouched");
        std::fs::remove_dir_all(workspace.join("attachments")).unwrap();
        std::os::unix::fs::symlink(folder.path(), workspace.join("attachments")).unwrap();
        assert!(written("c.txt").is_err(), "it would leave the workspace");
    }

    #[test]
    fn half_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, receiver) = mpsc::channel(4);
        sender.try_send(Chunk::Bytes("half".into())).unwrap_or_else(|_| panic!("no room"));
        drop(sender);
        assert!(write(folder.path(), "a.txt", receiver).is_err());
        assert_eq!(std::fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0);
    }
}
