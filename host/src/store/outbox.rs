//! The outbox: replies, and the parts in which a channel sends them.

use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use super::blobs::{Kept, Need};
use super::sql::{self, words};
use super::wakes::Wake;
use super::{BlobHash, Phase, Store, StoreError, Tx, conversations};
use crate::clock::Moment;
use crate::commands::Button;
use crate::ids::{BootId, ConversationId, OutboxId};

/// Stands before a reply, or a part of one, that may have arrived before.
pub const MAY_REPEAT: &str = "(may repeat)";

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxKind {
    /// A turn's answer.
    Final,
    /// Said by the host.
    Notice,
    /// Waits for a person.
    Question,
    /// Said by a tool during a turn.
    Tell,
}

/// Where a reply stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    Pending,
    Sent,
    Failed,
    Aside,
}

/// Where a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    Pending,
    /// A request may be on its way.
    Sending,
    Sent,
    /// It may or may not have arrived.
    Unknown,
    Refused,
}

/// A reply to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutbox {
    /// Unique for ever, `s4.t9.final`. A reply with a known key is the same reply and not added again.
    pub key: String,
    pub conversation: ConversationId,
    pub kind: OutboxKind,
    /// Markdown.
    pub body: String,
    /// Blobs that the body names.
    pub blobs: Vec<BlobHash>,
    /// Below its last part.
    pub buttons: Vec<Button>,
    /// The channel's id of the message that it answers.
    pub answers: Option<String>,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    pub id: OutboxId,
    pub key: String,
    pub conversation: ConversationId,
    pub kind: OutboxKind,
    pub body: String,
    pub state: OutboxState,
    pub created_at: Moment,
    pub buttons: Vec<Button>,
    pub answers: Option<String>,
    /// Empty until planned.
    pub parts: Vec<PartRow>,
}

/// A part of a reply. The first one has number 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRow {
    pub n: u32,
    /// Rendered for the channel.
    pub body: String,
    pub state: PartState,
    /// The run that sent it last.
    pub boot: Option<BootId>,
    /// How often it was sent, but for those that certainly did not arrive.
    pub tries: u32,
    /// It was sent with the mark that it may be a repeat.
    pub marked: bool,
    /// The channel's id of the message.
    pub remote_id: Option<String>,
}

/// How a sending ended, other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOutcome {
    /// It certainly did not arrive: pending again.
    NotSent,
    /// It may have arrived.
    Unknown,
    /// The channel will never take it.
    Refused,
}

/// What comes after a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This part is now `sending`.
    Part(u32),
    /// It was the last one and all have arrived; the reply is `sent`.
    Done,
    /// None is pending, but some are refused or unknown: the caller sends those again or finishes the reply.
    Unsettled,
}

words!(OutboxKind { Final = "final", Notice = "notice", Question = "question", Tell = "tell" });
words!(OutboxState { Pending = "pending", Sent = "sent", Failed = "failed", Aside = "aside" });
words!(PartState { Pending = "pending", Sending = "sending", Sent = "sent", Unknown = "unknown", Refused = "refused" });

const ROW: &str = "SELECT id, key, conversation, kind, body, state, created_at, buttons, answers FROM outbox";

impl Store {
    /// Adds a reply outside any turn's transaction (a tool's message, a notice). The key decides whether it is a new one.
    ///
    /// # Errors
    /// There is no such conversation.
    pub async fn tell(&self, new: NewOutbox, at: Moment) -> Result<OutboxId, StoreError> {
        let kept = self.keep(vec![new.need()]).await?;
        let id = self.write(new.bytes(), move |tx| insert_all(tx, &[new], &kept, at)).await?;
        id.first().copied().ok_or(StoreError::Closed)
    }

    /// The conversation's pending replies with their parts, oldest first, at most `limit`.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn pending_outbox(&self, conversation: ConversationId, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        self.read(move |conn| {
            let query = format!("{ROW} WHERE conversation = ?1 AND state = 'pending' ORDER BY id LIMIT ?2");
            let mut rows = sql::all(conn, &query, (conversation.0, limit), outbox_row)?;
            for row in &mut rows {
                row.parts = parts(conn, row.id)?;
            }
            Ok(rows)
        })
        .await
    }

    /// Does an answer or a question of the conversation wait for delivery? And where its foreground session stands, seen at the
    /// same moment.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn answers_wait(&self, conversation: ConversationId) -> Result<(bool, Option<Phase>), StoreError> {
        let query = "SELECT 1 FROM outbox WHERE conversation = ?1 AND state = 'pending' AND kind IN ('final', 'question') LIMIT 1";
        self.read(move |conn| {
            let moment = conn.unchecked_transaction()?;
            let waits = sql::one(&moment, query, [conversation.0], |_| Ok(()))?.is_some();
            Ok((waits, conversations::current_foreground(&moment, conversation)?.map(|session| session.phase)))
        })
        .await
    }

    /// Conversations with pending replies, in order of their oldest one.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn lanes(&self) -> Result<Vec<ConversationId>, StoreError> {
        self.read(|conn| {
            let query = "SELECT conversation FROM outbox WHERE state = 'pending' GROUP BY conversation ORDER BY min(id)";
            sql::all(conn, query, [], |row| row.get(0).map(ConversationId))
        })
        .await
    }

    /// Has the reply with this key still to be delivered?
    ///
    /// # Errors
    /// Those of any read.
    pub async fn is_awaited(&self, key: String) -> Result<bool, StoreError> {
        let query = "SELECT 1 FROM outbox WHERE key = ?1 AND state = 'pending'";
        self.read(move |conn| Ok(sql::one(conn, query, [key], |_| Ok(()))?.is_some())).await
    }

    /// Is there a reply with this key, in any state?
    ///
    /// # Errors
    /// Those of any read.
    pub async fn was_told(&self, key: String) -> Result<bool, StoreError> {
        self.read(move |conn| Ok(sql::one(conn, "SELECT 1 FROM outbox WHERE key = ?1", [key], |_| Ok(()))?.is_some())).await
    }

    /// A reply by its id, in any state.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn outbox(&self, id: OutboxId) -> Result<Option<OutboxRow>, StoreError> {
        self.read(move |conn| {
            let row = sql::one(conn, &format!("{ROW} WHERE id = ?1"), [id.0], outbox_row)?;
            row.map(|row| Ok(OutboxRow { parts: parts(conn, id)?, ..row })).transpose()
        })
        .await
    }

    /// Keeps the rendered parts of a reply and marks the first `sending` in this run. [`Next::Done`]: there were none.
    ///
    /// # Errors
    /// Conflict: the reply is not pending or was planned before.
    pub async fn plan_and_send(&self, id: OutboxId, parts: Vec<String>, boot: BootId) -> Result<Next, StoreError> {
        self.write(parts.iter().map(String::len).sum(), move |tx| {
            expect_pending(tx, id)?;
            if sql::one(tx.conn, "SELECT 1 FROM parts WHERE outbox = ?1 LIMIT 1", [id.0], |_| Ok(()))?.is_some() {
                return Err(StoreError::Conflict(format!("reply {id} was planned before")));
            }
            for (n, body) in parts.iter().enumerate() {
                sql::execute(
                    tx.conn,
                    "INSERT INTO parts (outbox, n, body, state) VALUES (?1, ?2, ?3, 'pending')",
                    (id.0, sql::int(n as u64), body),
                )?;
            }
            send_next(tx, id, boot)
        })
        .await
    }

    /// Marks a part that is pending, unknown or refused `sending` again, one more try; `marked`: with the mark of a repeat.
    ///
    /// # Errors
    /// Conflict: it is sent or being sent.
    pub async fn send_part(&self, id: OutboxId, n: u32, boot: BootId, marked: bool) -> Result<(), StoreError> {
        self.write(64, move |tx| {
            expect_pending(tx, id)?;
            let changed = sql::execute(
                tx.conn,
                "UPDATE parts SET state = 'sending', boot = ?3, tries = tries + 1, marked = max(marked, ?4)
                 WHERE outbox = ?1 AND n = ?2 AND state IN ('pending', 'unknown', 'refused')",
                (id.0, n, boot.0, marked),
            )?;
            expect_one(changed, id, n, "cannot be sent now")
        })
        .await
    }

    /// The part has arrived; the next pending one is marked `sending` in the same commit.
    ///
    /// # Errors
    /// Conflict: it was not being sent.
    pub async fn part_sent(&self, id: OutboxId, n: u32, remote_id: Option<String>, boot: BootId) -> Result<Next, StoreError> {
        self.write(128, move |tx| {
            let changed = sql::execute(
                tx.conn,
                "UPDATE parts SET state = 'sent', remote_id = ?3 WHERE outbox = ?1 AND n = ?2 AND state IN ('sending', 'unknown')",
                (id.0, n, remote_id),
            )?;
            expect_one(changed, id, n, "was not being sent")?;
            // Set aside meanwhile: nothing more of it goes.
            if is_pending(tx, id)? { send_next(tx, id, boot) } else { Ok(Next::Done) }
        })
        .await
    }

    /// Puts others in the place of a part that has not arrived and is not to be sent as it is. They have its mark.
    ///
    /// # Errors
    /// Conflict: it was not being sent.
    pub async fn split_part(&self, id: OutboxId, n: u32, bodies: Vec<String>) -> Result<(), StoreError> {
        self.write(bodies.iter().map(String::len).sum(), move |tx| {
            expect_pending(tx, id)?;
            let query = "DELETE FROM parts WHERE outbox = ?1 AND n = ?2 AND state = 'sending' RETURNING marked, tries - 1";
            let whole = sql::one(tx.conn, query, (id.0, n), |row| Ok((row.get::<_, bool>(0)?, row.get::<_, u32>(1)?)))?;
            let (marked, tries) = whole.ok_or_else(|| StoreError::Conflict(format!("part {n} of reply {id} was not being sent")))?;
            // By way of negative numbers: no two parts have the same one at any moment.
            let by = sql::int(bodies.len() as u64) - 1;
            sql::execute(tx.conn, "UPDATE parts SET n = -(n + ?3) WHERE outbox = ?1 AND n > ?2", (id.0, n, by))?;
            sql::execute(tx.conn, "UPDATE parts SET n = -n WHERE outbox = ?1 AND n < 0", [id.0])?;
            for (at, body) in (i64::from(n)..).zip(&bodies) {
                sql::execute(
                    tx.conn,
                    "INSERT INTO parts (outbox, n, body, state, marked, tries) VALUES (?1, ?2, ?3, 'pending', ?4, ?5)",
                    (id.0, at, body, marked, tries),
                )?;
            }
            Ok(())
        })
        .await
    }

    /// The part has not arrived, or nobody knows.
    ///
    /// # Errors
    /// Conflict: it was not being sent.
    pub async fn part_ended(&self, id: OutboxId, n: u32, outcome: PartOutcome) -> Result<(), StoreError> {
        self.write(64, move |tx| {
            let state = match outcome {
                PartOutcome::NotSent => PartState::Pending,
                PartOutcome::Unknown => PartState::Unknown,
                PartOutcome::Refused => PartState::Refused,
            };
            let changed = sql::execute(
                tx.conn,
                "UPDATE parts SET state = ?3, tries = max(tries - ?4, 0) WHERE outbox = ?1 AND n = ?2 AND state IN ('sending', 'unknown')",
                (id.0, n, state, outcome == PartOutcome::NotSent),
            )?;
            expect_one(changed, id, n, "was not being sent")
        })
        .await
    }

    /// Ends a pending reply: its parts cannot all be sent, or one stays unknown after its repeat. `told` is what is said about it.
    ///
    /// # Errors
    /// Conflict: it has ended before.
    pub async fn finish_outbox(&self, id: OutboxId, state: OutboxState, told: Option<NewOutbox>, at: Moment) -> Result<(), StoreError> {
        let kept = self.keep(told.iter().map(NewOutbox::need).collect()).await?;
        let bytes = told.as_ref().map_or(64, NewOutbox::bytes);
        self.write(bytes, move |tx| {
            finish(tx, id, state)?;
            insert_all(tx, told.as_slice(), &kept, at).map(drop)
        })
        .await
    }
}

/// Nobody knows any more which of the open replies have arrived: each is repeated, marked. How many parts are now `unknown`.
pub(super) fn doubt(conn: &Connection) -> Result<usize, StoreError> {
    let unplanned = "UPDATE outbox SET body = ?1 || char(10) || body
        WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.outbox = outbox.id)";
    sql::execute(conn, unplanned, [MAY_REPEAT])?;
    let pending = "UPDATE parts SET state = 'unknown'
        WHERE state = 'pending' AND outbox IN (SELECT id FROM outbox WHERE state = 'pending')";
    sql::execute(conn, pending, [])
}

impl NewOutbox {
    /// A reply without blobs and buttons that answers nothing in particular.
    #[must_use]
    pub fn new(key: impl Into<String>, conversation: ConversationId, kind: OutboxKind, body: impl Into<String>) -> Self {
        let (key, body) = (key.into(), body.into());
        Self { key, conversation, kind, body, blobs: Vec::new(), buttons: Vec::new(), answers: None }
    }

    pub(super) fn bytes(&self) -> usize {
        self.body.len() + 256
    }

    /// The blobs that the body names; the body itself is never one.
    pub(super) fn need(&self) -> Need {
        Need::named(&self.blobs)
    }
}

fn outbox_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: OutboxId(row.get(0)?),
        key: row.get(1)?,
        conversation: ConversationId(row.get(2)?),
        kind: row.get(3)?,
        body: row.get(4)?,
        state: row.get(5)?,
        created_at: Moment(row.get(6)?),
        // Without its buttons a reply is still one.
        buttons: serde_json::from_str(&row.get::<_, String>(7)?).unwrap_or_default(),
        answers: row.get(8)?,
        parts: Vec::new(),
    })
}

fn parts(conn: &Connection, id: OutboxId) -> Result<Vec<PartRow>, StoreError> {
    let query = "SELECT n, body, state, boot, tries, marked, remote_id FROM parts WHERE outbox = ?1 ORDER BY n";
    sql::all(conn, query, [id.0], |row| {
        Ok(PartRow {
            n: row.get(0)?,
            body: row.get(1)?,
            state: row.get(2)?,
            boot: row.get::<_, Option<i64>>(3)?.map(BootId),
            tries: row.get(4)?,
            marked: row.get(5)?,
            remote_id: row.get(6)?,
        })
    })
}

/// Inserts replies; one with a known key is the same reply, and its id comes back.
pub(super) fn insert_all(tx: &mut Tx<'_>, rows: &[NewOutbox], kept: &[Kept], at: Moment) -> Result<Vec<OutboxId>, StoreError> {
    rows.iter().zip(kept).map(|(row, kept)| insert(tx, row, kept, at)).collect()
}

fn insert(tx: &mut Tx<'_>, new: &NewOutbox, kept: &Kept, at: Moment) -> Result<OutboxId, StoreError> {
    conversations::exists(tx.conn, new.conversation)?;
    let buttons = serde_json::to_string(&new.buttons).unwrap_or_else(|_| "[]".to_owned());
    let inserted = sql::execute(
        tx.conn,
        "INSERT INTO outbox (key, conversation, kind, body, created_at, buttons, answers) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (key) DO NOTHING",
        (&new.key, new.conversation.0, new.kind, &new.body, at.0, buttons, &new.answers),
    )?;
    let id = sql::one(tx.conn, "SELECT id FROM outbox WHERE key = ?1", [&new.key], |row| row.get(0).map(OutboxId))?
        .ok_or_else(|| StoreError::NotFound(format!("reply {:?}", new.key)))?;
    if inserted > 0 {
        kept.refer(tx.conn, &format!("o:{}", id.0))?;
        tx.wakes.push(Wake::Outbox(new.conversation));
    }
    Ok(id)
}

/// Marks the first pending part `sending`, or the reply `sent` when all have arrived.
fn send_next(tx: &mut Tx<'_>, id: OutboxId, boot: BootId) -> Result<Next, StoreError> {
    let first = "SELECT n FROM parts WHERE outbox = ?1 AND state = 'pending' ORDER BY n LIMIT 1";
    if let Some(n) = sql::one(tx.conn, first, [id.0], |row| row.get::<_, u32>(0))? {
        sql::execute(
            tx.conn,
            "UPDATE parts SET state = 'sending', boot = ?3, tries = tries + 1 WHERE outbox = ?1 AND n = ?2",
            (id.0, n, boot.0),
        )?;
        return Ok(Next::Part(n));
    }
    let open = "SELECT 1 FROM parts WHERE outbox = ?1 AND state <> 'sent' LIMIT 1";
    if sql::one(tx.conn, open, [id.0], |_| Ok(()))?.is_some() {
        return Ok(Next::Unsettled);
    }
    finish(tx, id, OutboxState::Sent)?;
    Ok(Next::Done)
}

fn finish(tx: &mut Tx<'_>, id: OutboxId, state: OutboxState) -> Result<(), StoreError> {
    // Whoever was sending it has ended in the middle.
    sql::execute(tx.conn, "UPDATE parts SET state = 'unknown' WHERE outbox = ?1 AND state = 'sending'", [id.0])?;
    let changed = sql::execute(tx.conn, "UPDATE outbox SET state = ?2 WHERE id = ?1 AND state = 'pending'", (id.0, state))?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict(format!("reply {id} is not pending"))) }
}

fn is_pending(tx: &mut Tx<'_>, id: OutboxId) -> Result<bool, StoreError> {
    Ok(sql::one(tx.conn, "SELECT 1 FROM outbox WHERE id = ?1 AND state = 'pending'", [id.0], |_| Ok(()))?.is_some())
}

fn expect_pending(tx: &mut Tx<'_>, id: OutboxId) -> Result<(), StoreError> {
    if is_pending(tx, id)? { Ok(()) } else { Err(StoreError::Conflict(format!("reply {id} is not pending"))) }
}

fn expect_one(changed: usize, id: OutboxId, n: u32, what: &str) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict(format!("part {n} of reply {id} {what}"))) }
}
