//! The journal: what happened in a session, one row per event, each with a checksum.
//!
//! Events are text here; what they mean is the session's business. They are only added to.

use rusqlite::{Connection, Row};
use sha2::{Digest, Sha256};

use super::blobs::{self, Blobs, Kept, Need};
use super::conversations::{self, Advance};
use super::sql::{self, int, uint};
use super::{Accepted, BlobHash, NewInbox, NewOutbox, NewUsage, Pending, Phase, Session, Store, StoreError, Tx, inbox, outbox, usage};
use crate::clock::Moment;
use crate::ids::{InboxId, OutboxId, SessionId, TurnId};
use crate::limits;

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// `turn_began`, `answered` …
    pub kind: String,
    /// JSON. Any length: over [`crate::limits::INLINE_BYTES`] it becomes a blob.
    pub body: String,
    /// Blobs that the body names.
    pub blobs: Vec<BlobHash>,
}

/// One transaction of a turn. Everything in it happens, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub session: SessionId,
    pub epoch: u64,
    /// The number that the first event gets.
    pub expected_seq: u64,
    pub turn: TurnId,
    pub at: Moment,
    pub events: Vec<NewEvent>,
    /// Inbox rows new → taken by this turn. A row that is not new is a conflict.
    pub take: Vec<InboxId>,
    /// Inbox rows new or taken → done; their bodies are cleared.
    pub done: Vec<InboxId>,
    /// Inbox rows new or taken → aside.
    pub aside: Vec<InboxId>,
    pub outbox: Vec<NewOutbox>,
    pub usage: Vec<NewUsage>,
    pub phase: Option<Phase>,
    /// Rows for a receiver, such as the parent of a background session.
    pub inbox: Vec<NewInbox>,
    /// Folding starts at this sequence number from now on (a compaction).
    pub fold_from: Option<u64>,
}

impl Append {
    /// An append that so far changes nothing, at the place where `session` stands.
    #[must_use]
    pub fn new(session: &Session, turn: TurnId, at: Moment) -> Self {
        Self {
            session: session.id,
            epoch: session.epoch,
            expected_seq: session.next_seq,
            turn,
            at,
            events: Vec::new(),
            take: Vec::new(),
            done: Vec::new(),
            aside: Vec::new(),
            outbox: Vec::new(),
            usage: Vec::new(),
            phase: None,
            inbox: Vec::new(),
            fold_from: None,
        }
    }
}

/// What an append made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub next_seq: u64,
    /// In the order given.
    pub outbox: Vec<OutboxId>,
    /// In the order given.
    pub inbox: Vec<Accepted>,
}

/// An event as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub seq: u64,
    pub turn: TurnId,
    pub kind: String,
    pub at: Moment,
    /// JSON, also when it is kept as a blob.
    pub body: String,
}

/// A session with the events it is folded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    pub session: Session,
    /// From `fold_from` on, in order, all checked.
    pub events: Vec<Event>,
    /// The end of the journal is damaged or missing; `events` stops before it. Tell the operator, then
    /// [`Store::cut_damaged`] before the next append.
    pub damage: Option<Damage>,
}

/// The damaged end of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The first sequence number that cannot be used.
    pub from_seq: u64,
    /// How many rows are damaged or missing.
    pub rows: u64,
    pub reason: String,
}

impl Store {
    /// Commits one transaction of a turn.
    ///
    /// # Errors
    /// [`StoreError::Conflict`]: the epoch or the sequence number is not the expected one, or an inbox row is not open.
    pub async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.queue_append(append, true).await?.wait().await
    }

    /// As [`Store::append`], but resolves as soon as the transaction is queued (its place among the session's appends is
    /// then fixed). It is committed without delay; whoever needs it durable waits for the answer.
    ///
    /// # Errors
    /// It could not be queued: a blob could not be written, or the store is closed.
    pub async fn append_unawaited(&self, append: Append) -> Result<Pending<Appended>, StoreError> {
        self.queue_append(append, false).await
    }

    async fn queue_append(&self, append: Append, awaited: bool) -> Result<Pending<Appended>, StoreError> {
        let needs = append.events.iter().map(NewEvent::need);
        let needs = needs.chain(append.outbox.iter().map(NewOutbox::need)).chain(append.inbox.iter().map(NewInbox::need)).collect();
        let kept = self.keep(needs).await?;
        self.queue(append.bytes(), awaited, move |tx| append.run(tx, &kept)).await
    }

    /// The session and its events from `fold_from` on, every checksum verified and every blob read.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: a damaged row with sound ones after it. [`StoreError::NotFound`]: no such session.
    pub async fn load(&self, session: SessionId) -> Result<Journal, StoreError> {
        let found = self.session(session).await?;
        let session = found.ok_or_else(|| StoreError::NotFound(format!("session {session}")))?;
        let mut folding = Folding::new(session);
        // Later rows may come while this reads; they are not of this load.
        while let Some((from, to)) = folding.missing() {
            let (id, blobs) = (folding.session.id, self.inner.blobs.clone());
            let rows = self.read(move |conn| page(conn, id, from, to)).await?;
            let ended = rows.len() < limits::READ_ROWS;
            folding = tokio::task::spawn_blocking(move || folding.check_all(rows, &blobs)).await.map_err(|_| StoreError::Closed)??;
            if ended {
                break;
            }
        }
        Ok(folding.finish())
    }

    /// Removes the damaged end that [`Store::load`] reported, so that the session can go on from `from_seq`.
    ///
    /// # Errors
    /// Conflict: `from_seq` is not within the journal that is folded.
    pub async fn cut_damaged(&self, session: SessionId, from_seq: u64) -> Result<Session, StoreError> {
        self.write(256, move |tx| {
            let cut = sql::execute(
                tx.conn,
                "UPDATE sessions SET next_seq = ?2 WHERE id = ?1 AND ?2 BETWEEN fold_from AND next_seq",
                (session.0, int(from_seq)),
            )?;
            if cut == 0 {
                return Err(StoreError::Conflict(format!("row {from_seq} is not within the journal of session {session}")));
            }
            let query = "DELETE FROM journal WHERE session = ?1 AND seq >= ?2 RETURNING seq";
            for seq in sql::all(tx.conn, query, (session.0, int(from_seq)), |row| row.get(0).map(uint))? {
                blobs::release(tx.conn, &owner(session, seq))?;
            }
            // Messages of turns that are gone are input again.
            let free = "UPDATE inbox SET state = 'new', session = NULL, turn = NULL WHERE session = ?1 AND state = 'taken' \
                        AND turn > (SELECT coalesce(max(turn), 0) FROM journal WHERE session = ?1)";
            sql::execute(tx.conn, free, [session.0])?;
            conversations::session_by_id(tx.conn, session)?.ok_or_else(|| StoreError::NotFound(format!("session {session}")))
        })
        .await
    }
}

impl NewEvent {
    fn need(&self) -> Need {
        Need::json(&self.body, &self.blobs)
    }
}

impl Append {
    fn bytes(&self) -> usize {
        let events = self.events.iter().map(|event| event.body.len().min(limits::INLINE_BYTES) + 128);
        let outbox = self.outbox.iter().map(NewOutbox::bytes);
        events.chain(outbox).chain(self.inbox.iter().map(NewInbox::bytes)).sum()
    }

    /// `kept`: of the events, the outbox and the inbox, one after the other.
    fn run(&self, tx: &mut Tx<'_>, kept: &[Kept]) -> Result<Appended, StoreError> {
        let step = Advance {
            session: self.session,
            epoch: self.epoch,
            expected_seq: self.expected_seq,
            events: self.events.len() as u64,
            phase: self.phase,
            fold_from: self.fold_from,
        };
        let next_seq = conversations::advance(tx, &step)?;
        let (events, rest) = kept.split_at_checked(self.events.len()).unwrap_or_default();
        let (outbox, inbox) = rest.split_at_checked(self.outbox.len()).unwrap_or_default();
        for ((seq, event), kept) in (self.expected_seq..).zip(&self.events).zip(events) {
            self.insert(tx, seq, event, kept)?;
        }
        for id in &self.take {
            inbox::take(tx, *id, self.session, self.turn)?;
        }
        for id in &self.done {
            inbox::close(tx, *id, inbox::End::Done)?;
        }
        for id in &self.aside {
            inbox::close(tx, *id, inbox::End::Aside)?;
        }
        usage::insert_all(tx, &self.usage, self.session, self.turn, self.at)?;
        let outbox = outbox::insert_all(tx, &self.outbox, outbox, self.at)?;
        let inbox = inbox::insert_all(tx, &self.inbox, inbox, self.at)?;
        Ok(Appended { next_seq, outbox, inbox })
    }

    fn insert(&self, tx: &mut Tx<'_>, seq: u64, event: &NewEvent, kept: &Kept) -> Result<(), StoreError> {
        let body = kept.body(&event.body);
        let sum = sum(self.session, seq, self.turn, &event.kind, body);
        sql::execute(
            tx.conn,
            "INSERT INTO journal (session, seq, turn, kind, at_ms, body, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (self.session.0, int(seq), self.turn.0, &event.kind, self.at.0, body, sum),
        )?;
        kept.refer(tx.conn, &owner(self.session, seq))
    }
}

/// A row of the journal, not yet checked.
pub(super) struct RawRow {
    pub id: i64,
    pub session: SessionId,
    pub sum: Vec<u8>,
    pub event: Event,
}

impl RawRow {
    pub const COLUMNS: &str = "id, session, seq, turn, kind, at_ms, body, sum";

    pub fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            session: SessionId(row.get(1)?),
            sum: row.get(7)?,
            event: Event {
                seq: uint(row.get(2)?),
                turn: TurnId(row.get(3)?),
                kind: row.get(4)?,
                at: Moment(row.get(5)?),
                body: row.get(6)?,
            },
        })
    }

    /// Checks the row against its sum, then reads its blob. [`StoreError::Damaged`]: it is not what was written; anything
    /// else says nothing about that.
    pub fn check(self, blobs: &Blobs) -> Result<Event, StoreError> {
        let event = self.event;
        if sum(self.session, event.seq, event.turn, &event.kind, &event.body).as_slice() != self.sum {
            return Err(StoreError::Damaged(format!("row {} of session {} does not match its checksum", event.seq, self.session)));
        }
        let body = blobs.resolve(event.body).map_err(|error| match error {
            StoreError::Damaged(what) => StoreError::Damaged(format!("row {} of session {}: {what}", event.seq, self.session)),
            other => other,
        })?;
        Ok(Event { body, ..event })
    }
}

/// A journal on its way from the database to memory.
struct Folding {
    session: Session,
    events: Vec<Event>,
    /// The sequence number of the next row.
    next: u64,
    damage: Option<Damage>,
}

impl Folding {
    fn new(session: Session) -> Self {
        Self { next: session.fold_from, session, events: Vec::new(), damage: None }
    }

    /// The rows that are still to be read: from the first number to below the second.
    fn missing(&self) -> Option<(u64, u64)> {
        (self.next < self.session.next_seq).then_some((self.next, self.session.next_seq))
    }

    fn check_all(mut self, rows: Vec<RawRow>, blobs: &Blobs) -> Result<Self, StoreError> {
        for row in rows {
            let seq = row.event.seq;
            if seq > self.next {
                self.damaged(self.next, seq - self.next, format!("row {} of session {} is missing", self.next, self.session.id));
            }
            self.next = seq + 1;
            match (row.check(blobs), &self.damage) {
                (Ok(event), None) => self.events.push(event),
                (Ok(_), Some(damage)) => return Err(StoreError::Damaged(format!("{}, with sound rows after it", damage.reason))),
                (Err(StoreError::Damaged(reason)), _) => self.damaged(seq, 1, reason),
                (Err(error), _) => return Err(error),
            }
        }
        Ok(self)
    }

    /// The first reason stays, the rows add up.
    fn damaged(&mut self, from_seq: u64, rows: u64, reason: String) {
        self.damage.get_or_insert(Damage { from_seq, rows: 0, reason }).rows += rows;
    }

    fn finish(mut self) -> Journal {
        if let Some((from, to)) = self.missing() {
            self.damaged(from, to - from, format!("row {from} of session {} is missing", self.session.id));
        }
        Journal { session: self.session, events: self.events, damage: self.damage }
    }
}

pub(super) fn page(conn: &Connection, session: SessionId, from: u64, to: u64) -> Result<Vec<RawRow>, StoreError> {
    let query = format!("SELECT {} FROM journal WHERE session = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq LIMIT ?4", RawRow::COLUMNS);
    sql::all(conn, &query, (session.0, int(from), int(to), int(limits::READ_ROWS as u64)), RawRow::of)
}

/// The first 8 bytes of SHA-256 over session, seq, turn, kind and body, each with its length known.
fn sum(session: SessionId, seq: u64, turn: TurnId, kind: &str, body: &str) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(session.0.to_le_bytes());
    hash.update(seq.to_le_bytes());
    hash.update(turn.0.to_le_bytes());
    hash.update((kind.len() as u64).to_le_bytes());
    hash.update(kind);
    hash.update(body);
    let digest = hash.finalize();
    std::array::from_fn(|index| digest[index])
}

/// The row's name in `blob_refs`.
pub(super) fn owner(session: SessionId, seq: u64) -> String {
    format!("j:{}:{seq}", session.0)
}

#[cfg(test)]
mod tests;
