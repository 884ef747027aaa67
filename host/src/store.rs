//! The store: everything that survives a crash, in one SQLite file and a folder of blobs. The only module that knows SQL.
//!
//! - One writer thread. It takes whatever is queued, gives each job a savepoint, commits once with full sync, and answers
//!   all. A method of [`Store`] that writes resolves after that COMMIT, unless its name says otherwise.
//! - A full disk fails every job of the group and loses nothing that was committed. An I/O or sync error is never retried:
//!   the store is broken from then on and the process must end ([`Store::broken`]).
//! - Methods are named commands with plain data: no closures, no SQL types. Every append carries session, epoch and expected
//!   sequence number and may answer [`StoreError::Conflict`].
//! - A blob is on disk before the row that names it.
//!
//! Policy is not here: what a turn may do, who may speak, how a reply is cut into parts. Nor are the files of a workspace:
//! the store only gives the ids.

mod access;
mod blobs;
mod boots;
mod conversations;
mod copy;
mod inbox;
mod journal;
mod kv;
mod migrate;
mod outbox;
mod overview;
mod readers;
mod retention;
mod schema;
mod sql;
mod traces;
mod usage;
mod wakes;
mod watermark;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot, watch};

pub use access::{Counted, Noted, Person, Request, Role, Stranger};
pub use blobs::BlobHash;
pub use boots::Recovered;
pub use conversations::{Conversation, NewConversation, Phase, Session, SessionKind, Standing};
pub use copy::restored;
pub use inbox::{Accept, Accepted, CommandDone, CommandEffect, CommandOutcome, InboxKind, InboxRow, NewInbox, Room};
pub use journal::{Append, Appended, Damage, Event, Journal, NewEvent};
pub use kv::{KvChange, KvEntry, KvSpace};
pub use outbox::{MAY_REPEAT, NewOutbox, Next, OutboxKind, OutboxRow, OutboxState, PartOutcome, PartRow, PartState};
pub use overview::{Overview, Page};
pub use retention::{Checked, Condemned, Pruned};
pub use traces::{Oddity, Panel};
pub use usage::{NewUsage, Totals, UsageBy, UsageKind, UsageLine};
pub use wakes::{Wake, Wakes};

use crate::workdir::{WorkDir, WorkDirError};
use crate::{crash, limits};
use blobs::Blobs;
use readers::Readers;
use wakes::Wakers;
use watermark::{Mark, Watermark};
use writer::{Job, Message, Task, Tx, Writer};

/// Version of the tables: SQLite's `user_version`, and the file `STELLA_VERSION`.
pub const SCHEMA_VERSION: u32 = crate::workdir::WORKDIR_VERSION;

/// Why a command was not done. Nothing of a failed command is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing of the whole group was kept; what was committed before stays. Works again when there is room.
    #[error("the disk is full: {0}; free space on the work directory's disk and try again")]
    Full(String),
    /// Another program has the database locked. Nothing was kept; works again when it lets go.
    #[error("another program has the database locked: {0}")]
    Busy(String),
    /// The process has no file descriptors or memory left for it. Nothing was kept; works again when it has.
    #[error("{0}; raise the limit of open files (`ulimit -n`)")]
    Exhausted(String),
    /// An I/O or sync error, or damage: what is on disk is unknown. The process must end with code 74.
    #[error("the store is broken: {0}; restart the host, and if that does not help restore a backup")]
    Broken(String),
    /// Somebody else wrote first: the caller's picture is old, its actor must stop and load again.
    #[error("conflict: {0}")]
    Conflict(String),
    #[error("there is no {0}")]
    NotFound(String),
    /// The job alone was refused.
    #[error("the store refused: {0}")]
    Constraint(String),
    /// There was a database, and it is gone.
    #[error(
        "{0} is missing or empty, though this work directory has had one; restore a backup with `stellaclaw backup restore`, \
         or begin anew in an empty directory"
    )]
    Gone(String),
    /// A row or blob does not match its checksum and is not at the end.
    #[error("damaged: {0}; restore a backup or run `stellaclaw doctor`")]
    Damaged(String),
    #[error("the work directory has version {found}, this release knows {known}; install a newer release, nothing was changed")]
    Newer { found: u32, known: u32 },
    #[error("the work directory has version {found}, this release needs {known}; start the host once, it migrates")]
    Older { found: u32, known: u32 },
    #[error("the store is open for reading only")]
    ReadOnly,
    #[error("the store is closed")]
    Closed,
    #[error("cannot {action} {path}: {reason}")]
    Io { action: &'static str, path: String, reason: String },
}

impl StoreError {
    /// May the same command work later, with nothing changed by this one?
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Busy(_) | Self::Exhausted(_))
    }

    /// Is it about what this command brought, so that others are done while it never is?
    #[must_use]
    pub fn is_about_the_command(&self) -> bool {
        match self {
            Self::Conflict(_) | Self::NotFound(_) | Self::Constraint(_) | Self::Damaged(_) | Self::Io { .. } => true,
            Self::Full(_) | Self::Busy(_) | Self::Exhausted(_) | Self::Broken(_) | Self::Closed | Self::ReadOnly => false,
            Self::Gone(_) | Self::Newer { .. } | Self::Older { .. } => false,
        }
    }
}

/// How to open a store. The default is what the host uses.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The writer sleeps this long before each COMMIT: a slow disk, for benches and tests.
    pub commit_delay: Duration,
    /// The database may not grow over this: a full disk, for tests.
    pub max_pages: Option<u32>,
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// A migration ran, from this version. The backup is `state.db.v<N>`.
    pub migrated_from: Option<u32>,
    /// Committed rows that are gone: the end of the write-ahead log was damaged, or an older file was put back.
    pub lost: Option<Lost>,
}

/// "We once knew N, now M."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    pub inbox_known: u64,
    pub inbox_now: u64,
    pub journal_known: u64,
    pub journal_now: u64,
}

/// Counters since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Group commits.
    pub commits: u64,
    /// Jobs committed.
    pub jobs: u64,
    /// Jobs committed that a caller waited for.
    pub awaited: u64,
    /// Bytes written to the database's files by commits.
    pub bytes: u64,
}

/// The handle. Cheap to clone; the files are closed when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    label: Option<Arc<str>>,
}

#[derive(Debug)]
struct Inner {
    /// None: open for reading only.
    writer: Option<Queue>,
    readers: Readers,
    blobs: Arc<Blobs>,
    shared: Arc<Shared>,
    workdir: WorkDir,
    /// Rows that were committed are gone.
    lost: bool,
    #[cfg(test)]
    trips: trips::Trips,
}

/// The way to the writer.
#[derive(Debug)]
struct Queue {
    sender: Sender<Message>,
    places: Arc<Semaphore>,
}

/// What the writer and the handles share.
#[derive(Debug)]
struct Shared {
    broken: watch::Sender<Option<String>>,
    counters: Counters,
    wakers: Wakers,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    jobs: AtomicU64,
    awaited: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn commit(&self, jobs: usize, awaited: usize, bytes: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
        self.awaited.fetch_add(awaited as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self { broken: watch::Sender::new(None), counters: Counters::default(), wakers: Wakers::default() })
    }

    fn broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }

    /// The first reason stays.
    fn break_down(&self, reason: &str) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            if first {
                tracing::error!(reason, "the store is broken");
                *broken = Some(reason.to_owned());
            }
            first
        });
    }

    /// Why nobody answers.
    fn gone(&self) -> StoreError {
        self.broken().map_or(StoreError::Closed, StoreError::Broken)
    }
}

/// The answer of a command that is queued and not yet committed. Dropping it changes nothing about the command.
#[derive(Debug)]
pub struct Pending<T> {
    answer: oneshot::Receiver<Result<T, StoreError>>,
    shared: Arc<Shared>,
}

impl<T> Pending<T> {
    /// Resolves after COMMIT.
    ///
    /// # Errors
    /// Those of the command.
    pub async fn wait(self) -> Result<T, StoreError> {
        self.answer.await.unwrap_or_else(|_| Err(self.shared.gone()))
    }
}

impl Store {
    /// Opens or creates the store of a work directory whose lock the caller holds, migrating it first. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Newer`] without touching anything; [`StoreError::Io`], [`StoreError::Broken`] with the reason.
    pub fn open(workdir: &WorkDir, options: Options) -> Result<(Self, Opened), StoreError> {
        Self::open_with(workdir, &options, &migrate::PLAN)
    }

    fn open_with(workdir: &WorkDir, options: &Options, plan: &migrate::Plan) -> Result<(Self, Opened), StoreError> {
        let path = workdir.database();
        // An empty one in its place would take over the workspaces of the conversations that are gone.
        if migrate::check(&path, plan)? == 0 && workdir.has_version()? {
            return Err(StoreError::Gone(path.display().to_string()));
        }
        let mut conn = schema::open_writer(&path)?;
        let migrated_from = migrate::migrate(&mut conn, &path, plan)?;
        workdir.write_version(plan.version).map_err(|error| io_error("note the version in", workdir.root(), &error))?;
        if let Some(pages) = options.max_pages {
            conn.pragma_update(None, "max_page_count", pages)?;
        }
        let mark = workdir.root().join("state.mark");
        let (watermark, lost) = Watermark::open(&mark, Mark::of(&conn)?).map_err(|error| io_error("open", &mark, &error))?;
        let shared = Shared::new();
        let (sender, receiver) = channel();
        let writer = Writer::new(conn, &path, watermark, receiver, shared.clone(), options.commit_delay);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| io_error("start the writer of", &path, &error))?;
        let writer = Queue { sender, places: Arc::new(Semaphore::new(limits::QUEUE_JOBS)) };
        Ok((Self::assemble(workdir, Some(writer), shared, lost.is_some())?, Opened { migrated_from, lost }))
    }

    /// Opens the store for reading, also while a host has it open. Every command that writes answers [`StoreError::ReadOnly`]. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`]; an older version is refused too, because only a host migrates.
    pub fn open_read_only(workdir: &WorkDir) -> Result<Self, StoreError> {
        let path = workdir.database();
        let found = match path.exists() {
            true => schema::version(&schema::open_reader(&path)?)?,
            false => 0,
        };
        match found {
            SCHEMA_VERSION => Self::assemble(workdir, None, Shared::new(), false),
            0 if workdir.has_version()? => Err(StoreError::Gone(path.display().to_string())),
            0 => Err(StoreError::NotFound(format!("store in {}; start the host once", workdir.root().display()))),
            newer if newer > SCHEMA_VERSION => Err(StoreError::Newer { found: newer, known: SCHEMA_VERSION }),
            older => Err(StoreError::Older { found: older, known: SCHEMA_VERSION }),
        }
    }

    fn assemble(workdir: &WorkDir, writer: Option<Queue>, shared: Arc<Shared>, lost: bool) -> Result<Self, StoreError> {
        let readers = Readers::open(&workdir.database())?;
        let blobs = Arc::new(Blobs::new(workdir.blobs()));
        let inner = Inner {
            writer,
            readers,
            blobs,
            shared,
            workdir: workdir.clone(),
            lost,
            #[cfg(test)]
            trips: trips::Trips::default(),
        };
        Ok(Self { inner: Arc::new(inner), label: None })
    }

    /// The same store; its next jobs fire the crash points `<name>.before@<rest>` and `<name>.after@<rest>` of the label
    /// `<name>@<rest>`, around their COMMIT. The label is not even made unless the process has crash points.
    #[must_use]
    pub fn at(&self, label: impl FnOnce() -> String) -> Self {
        Self { inner: self.inner.clone(), label: crash::armed().then(|| label().into()) }
    }

    /// Resolves with the reason when the store can no longer be trusted. The process must then end with code 74.
    pub async fn broken(&self) -> String {
        let mut broken = self.inner.shared.broken.subscribe();
        match broken.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            // The sender lives as long as this handle does.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The wake-ups of rows committed by anyone, from now on. Each caller gets all of them.
    #[must_use]
    pub fn wakes(&self) -> Wakes {
        self.inner.shared.wakers.subscribe()
    }

    /// Counters since the store was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.inner.shared.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: load(&counters.commits),
            jobs: load(&counters.jobs),
            awaited: load(&counters.awaited),
            bytes: load(&counters.bytes),
        }
    }

    /// Commits what is queued, empties the write-ahead log and ends the writer. Later commands answer [`StoreError::Closed`].
    pub async fn close(&self) {
        let Some(writer) = &self.inner.writer else { return };
        let (caller, answer) = oneshot::channel();
        if writer.sender.send(Message::Close(caller)).is_ok() {
            // No answer: it had ended by itself.
            drop(answer.await);
        }
    }

    /// Queues a command and waits for its COMMIT. `bytes`: about how much it writes.
    async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        run: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = async { self.queue(bytes, true, run).await?.wait().await };
        #[cfg(test)]
        let done = self.tripping(done);
        done.await
    }

    /// Queues a command; its place is fixed when this resolves. `awaited`: the caller goes on only after COMMIT.
    async fn queue<T: Send + 'static>(
        &self,
        bytes: usize,
        awaited: bool,
        run: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        let writer = self.inner.writer.as_ref().ok_or(StoreError::ReadOnly)?;
        let place = writer.places.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (caller, answer) = oneshot::channel();
        let work = Box::new(Task { run: Some(run), outcome: None, caller });
        let job = Job { work, bytes, label: self.label.clone(), awaited, rides: false, place: Some(place) };
        writer.sender.send(Message::Job(job)).map_err(|_| self.inner.shared.gone())?;
        Ok(Pending { answer, shared: self.inner.shared.clone() })
    }

    /// Queues a command that goes with the next commit. Nobody learns how it ended; with a full queue it is dropped.
    fn ride(&self, bytes: usize, run: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static) {
        self.post(bytes, true, run);
    }

    /// The same; `rides`: it waits for a commit, otherwise there is one for it.
    fn post(&self, bytes: usize, rides: bool, run: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static) {
        let Some(writer) = &self.inner.writer else { return };
        let Ok(place) = writer.places.clone().try_acquire_owned() else { return };
        let (caller, _) = oneshot::channel();
        let work = Box::new(Task { run: Some(run), outcome: None, caller });
        let job = Job { work, bytes, label: self.label.clone(), awaited: false, rides, place: Some(place) };
        // A closed store writes nothing more.
        drop(writer.sender.send(Message::Job(job)));
    }

    /// Runs one short statement, or a few, on a connection that only reads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let result = self.inner.readers.read(read);
        #[cfg(test)]
        let result = self.tripping(result);
        let result = result.await;
        if let Err(StoreError::Broken(reason)) = &result {
            self.inner.shared.break_down(reason);
        }
        result
    }
}

impl From<WorkDirError> for StoreError {
    fn from(error: WorkDirError) -> Self {
        Self::Broken(error.to_string())
    }
}

fn io_error(action: &'static str, path: &Path, error: &impl std::fmt::Display) -> StoreError {
    StoreError::Io { action, path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod trips;
