//! What is forgotten, when; and the check that nothing else was.
//!
//! Every step is a small transaction of its own, so a kill between two only leaves more for the next pruning.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::blobs::{self, BlobHash, Blobs};
use super::journal::{self, RawRow};
use super::sql::{self, int, uint};
use super::writer::Message;
use super::{Store, StoreError, Tx, access, inbox, kv, schema};
use crate::clock::Moment;
use crate::ids::{ConversationId, InboxId, SessionId};
use crate::limits;

/// What a pruning removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub inbox_rows: u64,
    pub journal_rows: u64,
    pub requests: u64,
    pub blobs: u64,
}

/// What became of [`Store::condemn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condemned {
    Yes,
    NotFound,
    /// A turn runs in it.
    Running,
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub journal_rows: u64,
    pub blobs: u64,
    /// One line each; empty: all is well.
    pub problems: Vec<String>,
}

impl Store {
    /// Conversations whose time is over and in which nothing is open, at most 64: from now on they only wait for
    /// [`Store::delete_expired`]. Whoever is given them removes their workspaces first: a kill between the two finds them here
    /// again, and a workspace never outlives its row.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn expired(&self, at: Moment) -> Result<Vec<ConversationId>, StoreError> {
        self.at(|| "prune@expired".to_owned()).write(4096, move |tx| mark_expired(tx, at)).await
    }

    /// Lets a conversation's time be over: [`Store::expired`] gives it from now on. Its sessions are closed, nothing waits or
    /// is sent any more, nothing is accepted into it, and its address is free for another one. `force`: also while a turn runs.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn condemn(&self, id: ConversationId, force: bool) -> Result<Condemned, StoreError> {
        self.at(|| "prune@condemned".to_owned()).write(4096, move |tx| condemn(tx, id, force)).await
    }

    /// Deletes these conversations, with everything in them, if they have expired.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn delete_expired(&self, ids: Vec<ConversationId>) -> Result<(), StoreError> {
        self.at(|| "prune@conversations".to_owned()).write(4096, move |tx| ids.iter().try_for_each(|id| delete_expired(tx, *id))).await
    }

    /// Forgets inbox keys over 72 hours old, journal rows below `fold_from` that
    /// are older than `history` (none: kept for ever), requests that nobody has answered and blobs without a row; gives the space back and empties the
    /// write-ahead log. Small transactions; meant for idle times.
    ///
    /// # Errors
    /// Those of any write; what was removed before stays removed.
    pub async fn prune(&self, at: Moment, history: Option<Duration>) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let keys = before(at, limits::INBOX_KEPT);
        let step = |name: &'static str| self.at(|| format!("prune@{name}"));
        pruned.inbox_rows = step("inbox").remove_all(move |tx| prune_inbox(tx, keys)).await?;
        if let Some(history) = history {
            let oldest = before(at, history);
            pruned.journal_rows = step("journal").remove_all(move |tx| prune_journal(tx, oldest)).await?;
        }
        let asked = before(at, limits::REQUEST_TIME);
        pruned.requests = step("requests").remove_all(move |tx| access::end_requests(tx, asked)).await?;
        pruned.blobs = self.sweep_blobs().await?;
        step("vacuum").remove_all(vacuum).await?;
        self.checkpoint().await?;
        Ok(pruned)
    }

    /// Repeats a removal of at most [`limits::PRUNE_ROWS`] rows until it removes fewer.
    async fn remove_all(
        &self,
        remove: impl Fn(&mut Tx<'_>) -> Result<u64, StoreError> + Clone + Send + 'static,
    ) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let remove = remove.clone();
            let removed = self.write(4096, move |tx| remove(tx)).await?;
            all += removed;
            if removed < limits::PRUNE_ROWS as u64 {
                return Ok(all);
            }
        }
    }

    async fn sweep_blobs(&self) -> Result<u64, StoreError> {
        let blobs = self.inner.blobs.clone();
        let root = self.inner.workdir.blobs();
        let old = tokio::task::spawn_blocking(move || blobs.old().map_err(|error| super::io_error("list", &root, &error)));
        let mut swept = 0;
        for path in old.await.map_err(|_| StoreError::Closed)?? {
            let blobs = self.inner.blobs.clone();
            swept += u64::from(self.read(move |conn| blobs.sweep(&path, conn)).await?);
        }
        Ok(swept)
    }

    /// Empties the write-ahead log, as far as readers allow.
    async fn checkpoint(&self) -> Result<(), StoreError> {
        let writer = self.inner.writer.as_ref().ok_or(StoreError::ReadOnly)?;
        let (caller, answer) = oneshot::channel();
        writer.sender.send(Message::Checkpoint(caller)).map_err(|_| self.inner.shared.gone())?;
        answer.await.unwrap_or_else(|_| Err(self.inner.shared.gone()))
    }

    /// Reads everything: SQLite's integrity, every journal checksum, every blob. For `doctor`; it may take long and has a
    /// connection of its own.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub async fn check(&self) -> Result<Checked, StoreError> {
        let path = self.inner.workdir.database();
        let blobs = self.inner.blobs.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let conn = schema::open_reader(&path)?;
            let mut checked = Checked::default();
            check_database(&conn, &mut checked)?;
            check_journal(&conn, &blobs, &mut checked)?;
            check_blobs(&conn, &blobs, &mut checked)?;
            Ok(checked)
        });
        checking.await.map_err(|_| StoreError::Closed)?
    }
}

fn before(at: Moment, kept: Duration) -> Moment {
    Moment(at.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)))
}

fn prune_inbox(tx: &mut Tx<'_>, oldest: Moment) -> Result<u64, StoreError> {
    let query = "DELETE FROM inbox WHERE id IN
        (SELECT id FROM inbox WHERE state IN ('done', 'aside') AND received_at < ?1 ORDER BY id LIMIT ?2) RETURNING id";
    let rows = sql::all(tx.conn, query, (oldest.0, int(limits::PRUNE_ROWS as u64)), |row| row.get(0).map(InboxId))?;
    for id in &rows {
        blobs::release(tx.conn, &inbox::owner(*id))?;
    }
    Ok(rows.len() as u64)
}

/// Those in which something runs, waits to run or waits to be sent live on.
fn mark_expired(tx: &mut Tx<'_>, at: Moment) -> Result<Vec<ConversationId>, StoreError> {
    const IDLE: &str = "expires_at IS NOT NULL AND expires_at <= ?1
        AND NOT EXISTS (SELECT 1 FROM sessions WHERE conversation = c.id AND phase IN ('asking', 'calling', 'compacting'))
        AND NOT EXISTS (SELECT 1 FROM inbox WHERE conversation = c.id AND state = 'new')
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE conversation = c.id AND state = 'pending')";
    let query = format!("SELECT id FROM conversations c WHERE {IDLE} ORDER BY id LIMIT 64");
    let ids = sql::all(tx.conn, &query, [at.0], |row| row.get(0).map(ConversationId))?;
    for id in &ids {
        sql::execute(tx.conn, "UPDATE conversations SET state = 'expired' WHERE id = ?1", [id.0])?;
    }
    Ok(ids)
}

fn condemn(tx: &mut Tx<'_>, id: ConversationId, force: bool) -> Result<Condemned, StoreError> {
    let running = "SELECT 1 FROM sessions WHERE conversation = ?1 AND phase IN ('asking', 'calling', 'compacting') LIMIT 1";
    if !force && sql::one(tx.conn, running, [id.0], |_| Ok(()))?.is_some() {
        return Ok(Condemned::Running);
    }
    let over =
        "UPDATE conversations SET state = 'expired', expires_at = 0, address = 'deleted/' || id WHERE id = ?1 AND state <> 'expired'";
    if sql::execute(tx.conn, over, [id.0])? == 0 {
        return Ok(Condemned::NotFound);
    }
    for query in [
        "UPDATE sessions SET phase = 'closed', epoch = epoch + 1 WHERE conversation = ?1",
        "UPDATE inbox SET state = 'aside' WHERE conversation = ?1 AND state IN ('new', 'taken')",
        "UPDATE outbox SET state = 'aside' WHERE conversation = ?1 AND state = 'pending'",
    ] {
        sql::execute(tx.conn, query, [id.0])?;
    }
    Ok(Condemned::Yes)
}

fn delete_expired(tx: &mut Tx<'_>, id: ConversationId) -> Result<(), StoreError> {
    const EXPIRED: &str = "SELECT id FROM conversations WHERE id = ?1 AND state = 'expired'";
    let run = |query: String| sql::execute(tx.conn, &query, [id.0]);
    let sessions = format!("SELECT id FROM sessions WHERE conversation IN ({EXPIRED})");
    let replies = format!("SELECT id FROM outbox WHERE conversation IN ({EXPIRED})");
    run(format!("DELETE FROM blob_refs WHERE owner IN (SELECT 'j:' || session || ':' || seq FROM journal WHERE session IN ({sessions}))"))?;
    run(format!("DELETE FROM blob_refs WHERE owner IN (SELECT 'o:' || id FROM outbox WHERE conversation IN ({EXPIRED}))"))?;
    run(format!("DELETE FROM blob_refs WHERE owner IN (SELECT 'i:' || id FROM inbox WHERE conversation IN ({EXPIRED}))"))?;
    run(format!("DELETE FROM journal WHERE session IN ({sessions})"))?;
    run(format!("DELETE FROM parts WHERE outbox IN ({replies})"))?;
    run(format!("DELETE FROM outbox WHERE conversation IN ({EXPIRED})"))?;
    run(format!("DELETE FROM inbox WHERE conversation IN ({EXPIRED})"))?;
    run(format!("DELETE FROM sessions WHERE conversation IN ({EXPIRED})"))?;
    run(format!("DELETE FROM panels WHERE conversation IN ({EXPIRED})"))?;
    kv::forget(tx.conn, EXPIRED, id)?;
    run("DELETE FROM conversations WHERE id = ?1 AND state = 'expired'".to_owned()).map(drop)
}

fn prune_journal(tx: &mut Tx<'_>, oldest: Moment) -> Result<u64, StoreError> {
    let query = "DELETE FROM journal WHERE id IN
        (SELECT journal.id FROM journal JOIN sessions ON sessions.id = journal.session
         WHERE journal.seq < sessions.fold_from AND journal.at_ms < ?1 LIMIT ?2) RETURNING session, seq";
    let rows = sql::all(tx.conn, query, (oldest.0, int(limits::PRUNE_ROWS as u64)), |row| Ok((SessionId(row.get(0)?), uint(row.get(1)?))))?;
    for (session, seq) in &rows {
        blobs::release(tx.conn, &journal::owner(*session, *seq))?;
    }
    Ok(rows.len() as u64)
}

/// Gives free pages back to the file system; how many.
fn vacuum(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let free =
        |conn: &Connection| -> Result<u64, StoreError> { Ok(conn.pragma_query_value(None, "freelist_count", |row| row.get(0)).map(uint)?) };
    let before = free(tx.conn)?;
    sql::all(tx.conn, &format!("PRAGMA incremental_vacuum({})", limits::PRUNE_ROWS), [], |_| Ok(()))?;
    Ok(before.saturating_sub(free(tx.conn)?))
}

fn check_database(conn: &Connection, checked: &mut Checked) -> Result<(), StoreError> {
    let lines = sql::all(conn, "PRAGMA integrity_check", [], |row| row.get::<_, String>(0))?;
    checked.problems.extend(lines.into_iter().filter(|line| line != "ok").map(|line| format!("database: {line}")));
    let broken = sql::all(conn, "PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0))?;
    checked.problems.extend(broken.into_iter().map(|table| format!("database: a row of {table} belongs to nothing")));
    let folded = "SELECT id, next_seq - fold_from, (SELECT count(*) FROM journal WHERE session = sessions.id AND seq >= fold_from)
        FROM sessions";
    let sessions = sql::all(conn, folded, [], |row| Ok((SessionId(row.get(0)?), uint(row.get(1)?), uint(row.get(2)?))))?;
    let short = sessions.into_iter().filter(|(_, expected, found)| found < expected);
    checked
        .problems
        .extend(short.map(|(id, expected, found)| format!("session {id}: {} of {expected} rows are missing", expected - found)));
    Ok(())
}

fn check_journal(conn: &Connection, blobs: &Blobs, checked: &mut Checked) -> Result<(), StoreError> {
    let query = format!("SELECT {} FROM journal WHERE id > ?1 ORDER BY id LIMIT ?2", RawRow::COLUMNS);
    let mut last = 0;
    loop {
        let rows = sql::all(conn, &query, (last, int(limits::READ_ROWS as u64)), RawRow::of)?;
        let Some(end) = rows.last() else { return Ok(()) };
        last = end.id;
        checked.journal_rows += rows.len() as u64;
        checked.problems.extend(rows.into_iter().filter_map(|row| match row.check(blobs).err()? {
            StoreError::Damaged(reason) => Some(reason),
            error => Some(error.to_string()),
        }));
    }
}

/// A page of the blobs that rows name, in order, after `last`.
pub(super) fn named_blobs(conn: &Connection, last: &str) -> Result<Vec<String>, StoreError> {
    let query = "SELECT DISTINCT hash FROM blob_refs WHERE hash > ?1 ORDER BY hash LIMIT ?2";
    sql::all(conn, query, (last, int(limits::READ_ROWS as u64)), |row| row.get(0))
}

fn check_blobs(conn: &Connection, blobs: &Blobs, checked: &mut Checked) -> Result<(), StoreError> {
    let mut last = String::new();
    loop {
        let hashes = named_blobs(conn, &last)?;
        let Some(end) = hashes.last() else { return Ok(()) };
        last.clone_from(end);
        checked.blobs += hashes.len() as u64;
        for hash in hashes {
            let read = BlobHash::try_from(hash).map_err(StoreError::Damaged).and_then(|hash| blobs.get(&hash));
            checked.problems.extend(read.err().map(|error| error.to_string()));
        }
    }
}

#[cfg(test)]
mod tests;
