//! The writer: one thread, one connection, group commits.
//!
//! - A group is whatever is queued, up to [`limits::GROUP_JOBS`] jobs or [`limits::GROUP_BYTES`]. While jobs run, more arrive
//!   and join; the writer never waits for them on purpose.
//! - Each job has a savepoint: its own error undoes it alone. A full disk or a lock undoes the whole group and answers all of it.
//! - Nothing is answered before COMMIT has returned.
//! - An I/O error, damage or a panic breaks the store: every job from then on is refused.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::wakes::Wake;
use super::watermark::{Mark, Watermark};
use super::{Shared, StoreError, sql};
use crate::{crash, limits};

/// What a job works on.
pub(super) struct Tx<'c> {
    pub conn: &'c Connection,
    /// Sent after COMMIT.
    pub wakes: Vec<Wake>,
}

/// A job without the types of its command.
pub(super) trait Work: Send {
    /// Runs inside a savepoint. An error undoes what it did.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
    /// Answers the caller: the group's error, else what `run` found.
    fn answer(self: Box<Self>, group: Result<(), StoreError>);
}

/// A command and the one who waits for it.
pub(super) struct Task<T, F> {
    pub run: Option<F>,
    pub outcome: Option<Result<T, StoreError>>,
    pub caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send> Work for Task<T, F> {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let Some(run) = self.run.take() else { return Ok(()) };
        let outcome = run(tx);
        let result = outcome.as_ref().map(|_| ()).map_err(StoreError::clone);
        self.outcome = Some(outcome);
        result
    }

    fn answer(self: Box<Self>, group: Result<(), StoreError>) {
        let Self { outcome, caller, .. } = *self;
        let answer = group.and_then(|()| outcome.unwrap_or(Err(StoreError::Closed)));
        // The caller may have gone; the job is done all the same.
        drop(caller.send(answer));
    }
}

/// A job in the queue.
pub(super) struct Job {
    pub work: Box<dyn Work>,
    pub bytes: usize,
    pub label: Option<Arc<str>>,
    /// Somebody waits for COMMIT before going on.
    pub awaited: bool,
    /// Goes with the next group, or after [`limits::RIDE_DELAY`].
    pub rides: bool,
    /// Its place in the queue.
    pub place: Option<OwnedSemaphorePermit>,
}

/// What the writer is asked to do.
pub(super) enum Message {
    Job(Job),
    /// Empty the write-ahead log.
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    Close(oneshot::Sender<()>),
}

/// What the writer's thread does next.
enum Turn {
    Job(Job),
    /// Riding jobs have waited long enough.
    Due,
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    End(Option<oneshot::Sender<()>>),
}

/// The writer's thread.
pub(super) struct Writer {
    conn: Connection,
    receiver: Receiver<Message>,
    /// Received while a group was gathered, to be done after it.
    deferred: Option<Message>,
    queue: VecDeque<Job>,
    watermark: Watermark,
    shared: Arc<Shared>,
    commit_delay: Duration,
    log: Log,
}

/// The write-ahead log's file.
struct Log {
    path: PathBuf,
    bytes: u64,
    /// Longer than this it is written back.
    limit: u64,
}

impl Log {
    /// How much was written since the last look. A log that started over has written what it holds.
    fn grown(&mut self) -> u64 {
        let now = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        let grown = if now >= self.bytes { now - self.bytes } else { now };
        self.bytes = now;
        grown
    }
}

impl Writer {
    pub fn new(
        conn: Connection,
        database: &Path,
        watermark: Watermark,
        receiver: Receiver<Message>,
        shared: Arc<Shared>,
        commit_delay: Duration,
    ) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        let mut log = Log { path: path.into(), bytes: 0, limit: limits::LOG_BYTES };
        log.grown();
        Self { conn, receiver, deferred: None, queue: VecDeque::new(), watermark, shared, commit_delay, log }
    }

    /// Serves until the store is closed or every handle is gone.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        let served = catch_unwind(AssertUnwindSafe(|| self.serve()));
        if served.is_err() {
            shared.break_down("the writer's thread panicked");
        }
        // First the queue, then the wake-ups: whoever is told that it is over must not find it open.
        drop(self);
        shared.wakers.close();
    }

    fn serve(&mut self) {
        let mut due = None;
        loop {
            match self.next(due) {
                Turn::Job(job) => {
                    let rides = job.rides;
                    self.queue.push_back(job);
                    if rides && self.queue.len() < limits::GROUP_JOBS {
                        due.get_or_insert_with(|| Instant::now() + limits::RIDE_DELAY);
                        continue;
                    }
                }
                Turn::Due => {}
                Turn::Checkpoint(caller) => {
                    drop(caller.send(self.checkpoint()));
                    continue;
                }
                Turn::End(caller) => {
                    self.commit_queue();
                    self.end();
                    if let Some(caller) = caller {
                        // Whoever closed the store may not wait for it.
                        let _ = caller.send(());
                    }
                    return;
                }
            }
            due = None;
            self.commit_queue();
            if self.log.bytes > self.log.limit
                && let Err(error) = self.checkpoint()
            {
                tracing::warn!(%error, "the write-ahead log could not be written back");
            }
        }
    }

    fn next(&mut self, due: Option<Instant>) -> Turn {
        let message = match (self.deferred.take(), due) {
            (Some(message), _) => Ok(message),
            (None, None) => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            (None, Some(due)) => self.receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match message {
            Ok(Message::Job(job)) => Turn::Job(job),
            Ok(Message::Checkpoint(caller)) => Turn::Checkpoint(caller),
            Ok(Message::Close(caller)) => Turn::End(Some(caller)),
            Err(RecvTimeoutError::Timeout) => Turn::Due,
            Err(RecvTimeoutError::Disconnected) => Turn::End(None),
        }
    }

    /// The next job that is there already.
    fn waiting(&mut self) -> Option<Job> {
        if let Some(job) = self.queue.pop_front() {
            return Some(job);
        }
        if self.deferred.is_some() {
            return None;
        }
        match self.receiver.try_recv() {
            Ok(Message::Job(job)) => Some(job),
            Ok(other) => {
                self.deferred = Some(other);
                None
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    fn commit_queue(&mut self) {
        while !self.queue.is_empty() {
            self.commit_group();
        }
    }

    /// One transaction, from gathering to answering.
    fn commit_group(&mut self) {
        let mut group = Vec::new();
        let mut wakes = Vec::new();
        let result = match self.shared.broken() {
            Some(reason) => {
                group.extend(self.queue.drain(..));
                Err(StoreError::Broken(reason))
            }
            None => self.transaction(&mut group, &mut wakes),
        };
        match &result {
            Ok(()) => self.committed(&group, &wakes),
            Err(error) => self.undo(error),
        }
        for job in group {
            job.work.answer(result.clone());
        }
    }

    /// Runs jobs and commits them.
    fn transaction(&mut self, group: &mut Vec<Job>, wakes: &mut Vec<Wake>) -> Result<(), StoreError> {
        if let Err(error) = sql::execute(&self.conn, "BEGIN IMMEDIATE", []) {
            // Each of them would wait for the same lock.
            group.extend(std::iter::from_fn(|| self.waiting()));
            return Err(error);
        }
        let mut bytes = 0;
        while group.len() < limits::GROUP_JOBS && bytes < limits::GROUP_BYTES {
            let Some(mut job) = self.waiting() else { break };
            job.place = None;
            bytes += job.bytes;
            let ran = run(&self.conn, job.work.as_mut(), wakes);
            group.push(job);
            ran?;
        }
        if !self.commit_delay.is_zero() {
            std::thread::sleep(self.commit_delay);
        }
        fire(group, "before");
        if crash::fault("commit.full") {
            return Err(StoreError::Full("database or disk is full".into()));
        }
        if crash::fault("commit.sync") {
            return Err(StoreError::Broken("disk I/O error".into()));
        }
        sql::execute(&self.conn, "COMMIT", [])?;
        // What a failed sync leaves on the disk is unknown: nothing, or everything.
        if crash::fault("commit.synced") {
            return Err(StoreError::Broken("disk I/O error".into()));
        }
        Ok(())
    }

    fn committed(&mut self, group: &[Job], wakes: &[Wake]) {
        fire(group, "after");
        match Mark::of(&self.conn) {
            Ok(mark) => self.watermark.note(mark),
            Err(error) => self.shared.break_down(&error.to_string()),
        }
        let awaited = group.iter().filter(|job| job.awaited).count();
        self.shared.counters.commit(group.len(), awaited, self.log.grown());
        self.shared.wakers.wake(wakes);
    }

    fn undo(&mut self, error: &StoreError) {
        if !self.conn.is_autocommit()
            && let Err(rollback) = sql::execute(&self.conn, "ROLLBACK", [])
        {
            self.shared.break_down(&format!("cannot undo a transaction: {rollback}"));
        }
        match error {
            StoreError::Broken(reason) => self.shared.break_down(reason),
            error => tracing::warn!(%error, "a group of writes was undone"),
        }
    }

    /// Writes the log back and empties it, as far as readers allow: nothing queued may wait for somebody who reads.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        let result = self.checkpoint_at_once();
        self.log.grown();
        self.log.limit = self.log.bytes + limits::LOG_BYTES;
        match result {
            Err(StoreError::Busy(_)) => Ok(()),
            Err(StoreError::Broken(reason)) => {
                self.shared.break_down(&reason);
                Err(StoreError::Broken(reason))
            }
            other => other,
        }
    }

    fn checkpoint_at_once(&self) -> Result<(), StoreError> {
        self.conn.busy_timeout(Duration::ZERO)?;
        let written = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.conn.busy_timeout(limits::DATABASE_WAIT)?;
        Ok(written?)
    }

    fn end(&mut self) {
        if self.shared.broken().is_none()
            && let Err(error) = self.checkpoint()
        {
            tracing::warn!(%error, "the write-ahead log was not emptied; the next start does it");
        }
    }
}

/// Runs a job in a savepoint. An error of the job alone is kept in it and undone here; an error of the group comes back.
fn run(conn: &Connection, work: &mut dyn Work, wakes: &mut Vec<Wake>) -> Result<(), StoreError> {
    sql::execute(conn, "SAVEPOINT job", [])?;
    let mut tx = Tx { conn, wakes: Vec::new() };
    // After a panic nobody knows what the job believed.
    let ran = catch_unwind(AssertUnwindSafe(|| work.run(&mut tx)));
    match ran.unwrap_or_else(|_| Err(StoreError::Broken("a job of the writer panicked".into()))) {
        Ok(()) => {
            wakes.append(&mut tx.wakes);
            sql::execute(conn, "RELEASE job", [])?;
        }
        Err(error) if error.passes() || matches!(error, StoreError::Broken(_)) => return Err(error),
        Err(_) => {
            sql::execute(conn, "ROLLBACK TO job", [])?;
            sql::execute(conn, "RELEASE job", [])?;
        }
    }
    Ok(())
}

/// Fires the crash points of a group: `<name>.<when>@<rest>` for each label `<name>@<rest>`.
fn fire(group: &[Job], when: &str) {
    for label in group.iter().filter_map(|job| job.label.as_deref()) {
        crash::point(|| match label.split_once('@') {
            Some((name, rest)) => format!("{name}.{when}@{rest}"),
            None => format!("{label}.{when}"),
        });
    }
}
