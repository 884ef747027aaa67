//! The inbox: the only door. Everything that arrives is a row with a unique (source, external id).

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::blobs::{self, Kept, Need};
use super::sql::{self, words};
use super::wakes::Wake;
use super::{BlobHash, NewOutbox, Oddity, OutboxKind, Session, Store, StoreError, Stranger, Tx, access, conversations, outbox, traces};
use crate::clock::Moment;
use crate::ids::{ConversationId, InboxId, OutboxId, SessionId, TurnId};

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboxKind {
    /// Input of a turn.
    Message,
    /// Applied by the host.
    Command,
}

/// Something that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInbox {
    /// `terminal`, `tg:<bot id>`, `agent`, `cron` …
    pub source: String,
    /// Unique within the source for 72 hours: an update id, a client's uuid, `s12.t3`, `task@due`.
    pub external_id: String,
    pub conversation: ConversationId,
    pub kind: InboxKind,
    /// Rows that belong together, such as an album.
    pub group: Option<String>,
    /// JSON. Any length.
    pub body: String,
    /// Blobs that the body names.
    pub blobs: Vec<BlobHash>,
    /// Nobody takes it, nor a message after it, before it is released: its files are being fetched.
    pub held: bool,
}

/// Rows to accept in one transaction, and the channel's cursor that moves with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    pub rows: Vec<NewInbox>,
    /// (channel, cursor).
    pub cursor: Option<(String, String)>,
    /// What was not taken, and is only counted.
    pub strangers: Vec<Stranger>,
    /// What could not be understood.
    pub oddities: Vec<Oddity>,
    /// Held rows that are released with these, as by [`Store::release`], unless all of these were here before: whoever finds
    /// them finds the new rows, too.
    pub release: Vec<(InboxId, String)>,
    /// None: there is room for whatever comes.
    pub room: Option<Room>,
    pub at: Moment,
}

/// How many messages of a conversation may be open at once, and what its people are told when no more do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub messages: u32,
    pub full: String,
}

impl Accept {
    /// Rows alone.
    #[must_use]
    pub fn rows(rows: Vec<NewInbox>, at: Moment) -> Self {
        Self { rows, cursor: None, strangers: Vec::new(), oddities: Vec::new(), release: Vec::new(), room: None, at }
    }
}

/// What became of a row, in the order of the rows given; of one that there was no room for, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub id: InboxId,
    /// False: it was here before, nothing was changed.
    pub new: bool,
}

/// An open row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    pub id: InboxId,
    pub source: String,
    pub external_id: String,
    pub conversation: ConversationId,
    pub kind: InboxKind,
    pub group: Option<String>,
    pub body: String,
    /// The turn that took it.
    pub taken_by: Option<(SessionId, TurnId)>,
    pub received_at: Moment,
}

/// A command's row is done together with its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandDone {
    pub row: InboxId,
    pub effects: Vec<CommandEffect>,
    pub outbox: Vec<NewOutbox>,
    pub at: Moment,
}

/// What a command does to the store. A command that acts on a running turn is an [`super::Append`] with the row in `done`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEffect {
    SetModel {
        conversation: ConversationId,
        alias: String,
    },
    /// None: as the configuration says.
    SetEffort {
        conversation: ConversationId,
        effort: Option<String>,
    },
    /// Closes the conversation's foreground session and opens another.
    NewSession {
        conversation: ConversationId,
    },
}

/// What a command made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandOutcome {
    /// The session that [`CommandEffect::NewSession`] opened.
    pub opened: Option<Session>,
    pub outbox: Vec<OutboxId>,
}

words!(InboxKind { Message = "message", Command = "command" });

/// Neither held nor behind a message that is; commands pass.
const FREE: &str = "(kind = 'command' OR NOT EXISTS
    (SELECT 1 FROM inbox h WHERE h.conversation = i.conversation AND h.state = 'new' AND h.held = 1 AND h.id <= i.id))";

const ROW: &str = "SELECT id, source, external_id, conversation, kind, group_id, body, session, turn, received_at FROM inbox";

impl Store {
    /// Accepts rows. Resolves when they are durable: only then may the channel confirm them.
    ///
    /// # Errors
    /// A row of an unknown conversation refuses all of them.
    pub async fn accept(&self, accept: Accept) -> Result<Vec<Accepted>, StoreError> {
        let bytes = accept.rows.iter().map(NewInbox::bytes).sum::<usize>() + released_bytes(&accept.release);
        let needs = accept.rows.iter().map(NewInbox::need).chain(released_needs(&accept.release)).collect();
        let kept = self.keep(needs).await?;
        self.write(bytes, move |tx| {
            let (kept, released) = kept.split_at(accept.rows.len());
            let mut accepted = Vec::with_capacity(accept.rows.len());
            for (row, kept) in accept.rows.iter().zip(kept) {
                if accept.room.as_ref().map_or(Ok(true), |room| has_room(tx, row, room, accept.at))? {
                    accepted.push(insert(tx, row, kept, accept.at)?);
                }
            }
            if accepted.iter().any(|row| row.new) {
                release_all(tx, &accept.release, released)?;
            }
            if let Some((channel, cursor)) = &accept.cursor {
                sql::execute(
                    tx.conn,
                    "INSERT INTO channels (channel, cursor) VALUES (?1, ?2) ON CONFLICT (channel) DO UPDATE SET cursor = ?2",
                    (channel, cursor),
                )?;
            }
            access::count_strangers(tx, &accept.strangers)?;
            traces::keep_oddities(tx, &accept.oddities, accept.at)?;
            Ok(accepted)
        })
        .await
    }

    /// Rows that are held, of one source, in order of arrival.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn held_inbox(&self, source: &str) -> Result<Vec<InboxRow>, StoreError> {
        let (blobs, source) = (self.inner.blobs.clone(), source.to_owned());
        self.read(move |conn| {
            let query = format!("{ROW} WHERE source = ?1 AND held = 1 AND state = 'new' ORDER BY id");
            let mut rows = sql::all(conn, &query, [source], inbox_row)?;
            rows.iter_mut().try_for_each(|row| resolve(&blobs, row))?;
            Ok(rows)
        })
        .await
    }

    /// Messages of a channel's conversations that wait, held ones too, or are input of a turn that has not ended; in order of
    /// arrival, each with its conversation's address.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn unfinished(&self, channel: &str) -> Result<Vec<(InboxRow, String)>, StoreError> {
        let (blobs, channel) = (self.inner.blobs.clone(), channel.to_owned());
        self.read(move |conn| {
            let query = "SELECT i.id, source, external_id, conversation, kind, group_id, body, session, turn, received_at, address
                FROM inbox i JOIN conversations c ON c.id = i.conversation
                WHERE c.channel = ?1 AND i.state IN ('new', 'taken') AND kind = 'message' ORDER BY i.id";
            let rows = sql::all(conn, query, [channel], |row| Ok((inbox_row(row)?, row.get(10)?)))?;
            let readable = |(row, address): (InboxRow, String)| {
                // What it says does not matter to whoever ends it.
                let body = blobs.resolve(row.body).unwrap_or_default();
                (InboxRow { body, ..row }, address)
            };
            Ok(rows.into_iter().map(readable).collect())
        })
        .await
    }

    /// Messages that nobody is to read any more: they are kept for the operator. Those that were taken before stay taken.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn set_aside(&self, rows: Vec<InboxId>) -> Result<(), StoreError> {
        self.write(32 * rows.len(), move |tx| {
            for id in &rows {
                let query = "UPDATE inbox SET state = 'aside' WHERE id = ?1 AND state = 'new' RETURNING conversation";
                if let Some(conversation) = sql::one(tx.conn, query, [id.0], |row| row.get(0).map(ConversationId))? {
                    tx.wakes.push(Wake::Inbox(conversation));
                }
            }
            Ok(())
        })
        .await
    }

    /// Gives held rows their final bodies, and to whoever waits for them. Rows that were released or taken before stay as
    /// they are.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn release(&self, rows: Vec<(InboxId, String)>) -> Result<(), StoreError> {
        let kept = self.keep(released_needs(&rows).collect()).await?;
        self.write(released_bytes(&rows), move |tx| release_all(tx, &rows, &kept)).await
    }

    /// When something last arrived from a source, as far as that is still kept ([`crate::limits::INBOX_KEPT`]).
    ///
    /// # Errors
    /// Those of any read.
    pub async fn last_received(&self, source: &str) -> Result<Option<Moment>, StoreError> {
        let source = source.to_owned();
        let query = "SELECT max(received_at) FROM inbox WHERE source = ?1";
        let last = self.read(move |conn| sql::one(conn, query, [source], |row| row.get::<_, Option<i64>>(0))).await?;
        Ok(last.flatten().map(Moment))
    }

    /// The channel's cursor.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn cursor(&self, channel: &str) -> Result<Option<String>, StoreError> {
        let channel = channel.to_owned();
        let cursor = self.read(move |conn| sql::one(conn, "SELECT cursor FROM channels WHERE channel = ?1", [channel], |row| row.get(0)));
        Ok(cursor.await?.flatten())
    }

    /// Rows in state new that may be taken, in order of arrival; of one kind if given.
    ///
    /// # Errors
    /// Those of any read. A body whose blob is damaged is replaced by a text that says so.
    pub async fn open_inbox(&self, conversation: ConversationId, kind: Option<InboxKind>) -> Result<Vec<InboxRow>, StoreError> {
        let blobs = self.inner.blobs.clone();
        self.read(move |conn| {
            let query = format!("{ROW} i WHERE conversation = ?1 AND state = 'new' AND (?2 IS NULL OR kind = ?2) AND {FREE} ORDER BY id");
            let mut rows = sql::all(conn, &query, (conversation.0, kind), inbox_row)?;
            rows.iter_mut().try_for_each(|row| resolve(&blobs, row))?;
            Ok(rows)
        })
        .await
    }

    /// Conversations with rows in state new that may be taken, in order of their oldest one; of one kind if given.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn waiting_conversations(&self, kind: Option<InboxKind>) -> Result<Vec<ConversationId>, StoreError> {
        self.read(move |conn| {
            let query = format!(
                "SELECT conversation FROM inbox i WHERE state = 'new' AND (?1 IS NULL OR kind = ?1) AND {FREE} GROUP BY conversation ORDER BY min(id)"
            );
            sql::all(conn, &query, [kind], |row| row.get(0).map(ConversationId))
        })
        .await
    }

    /// Closes a command's row and applies its effects, in one transaction.
    ///
    /// # Errors
    /// Conflict: the row is not open any more.
    pub async fn command_done(&self, done: CommandDone) -> Result<CommandOutcome, StoreError> {
        let kept = self.keep(done.outbox.iter().map(NewOutbox::need).collect()).await?;
        self.write(512, move |tx| {
            close(tx, done.row, End::Done)?;
            let mut outcome = CommandOutcome::default();
            for effect in &done.effects {
                match effect {
                    CommandEffect::SetModel { conversation, alias } => conversations::set_model(tx, *conversation, alias)?,
                    CommandEffect::SetEffort { conversation, effort } => conversations::set_effort(tx, *conversation, effort.as_deref())?,
                    CommandEffect::NewSession { conversation } => {
                        if let Some(old) = conversations::current_foreground(tx.conn, *conversation)? {
                            conversations::close_session(tx, old.id)?;
                        }
                        outcome.opened = Some(conversations::open_session(tx, *conversation, super::SessionKind::Foreground, None)?);
                    }
                }
            }
            outcome.outbox = outbox::insert_all(tx, &done.outbox, &kept, done.at)?;
            Ok(outcome)
        })
        .await
    }
}

/// Reads a body from its blob where it is one. A damaged message must not hold up those beside it: it is read as what it is.
fn resolve(blobs: &blobs::Blobs, row: &mut InboxRow) -> Result<(), StoreError> {
    row.body = match blobs.resolve(std::mem::take(&mut row.body)) {
        Err(error @ StoreError::Damaged(_)) => {
            tracing::error!(row = %row.id, %error, "the body of a message is damaged");
            format!("damaged: {error}")
        }
        read => read?,
    };
    Ok(())
}

impl NewInbox {
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + 256
    }

    /// The body and the blobs that it names.
    pub(super) fn need(&self) -> Need {
        Need::json(&self.body, &self.blobs)
    }
}

fn inbox_row(row: &Row<'_>) -> rusqlite::Result<InboxRow> {
    let session: Option<i64> = row.get(7)?;
    let turn: Option<i64> = row.get(8)?;
    Ok(InboxRow {
        id: InboxId(row.get(0)?),
        source: row.get(1)?,
        external_id: row.get(2)?,
        conversation: ConversationId(row.get(3)?),
        kind: row.get(4)?,
        group: row.get(5)?,
        body: row.get(6)?,
        taken_by: session.zip(turn).map(|(session, turn)| (SessionId(session), TurnId(turn))),
        received_at: Moment(row.get(9)?),
    })
}

/// Inserts rows whose bodies are kept; a known (source, external id) changes nothing.
pub(super) fn insert_all(tx: &mut Tx<'_>, rows: &[NewInbox], kept: &[Kept], at: Moment) -> Result<Vec<Accepted>, StoreError> {
    rows.iter().zip(kept).map(|(row, kept)| insert(tx, row, kept, at)).collect()
}

fn insert(tx: &mut Tx<'_>, new: &NewInbox, kept: &Kept, at: Moment) -> Result<Accepted, StoreError> {
    conversations::exists(tx.conn, new.conversation)?;
    let inserted = sql::execute(
        tx.conn,
        "INSERT INTO inbox (source, external_id, conversation, kind, group_id, body, received_at, held)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (source, external_id) DO NOTHING",
        (&new.source, &new.external_id, new.conversation.0, new.kind, &new.group, kept.body(&new.body), at.0, new.held),
    )?;
    let key = (&new.source, &new.external_id);
    let id = sql::one(tx.conn, "SELECT id FROM inbox WHERE source = ?1 AND external_id = ?2", key, |row| row.get(0).map(InboxId))?
        .ok_or_else(|| StoreError::NotFound("accepted row".into()))?;
    if inserted > 0 {
        kept.refer(tx.conn, &owner(id))?;
        tx.wakes.push(Wake::Inbox(new.conversation));
    }
    Ok(Accepted { id, new: inserted > 0 })
}

/// May the row wait with the others of its conversation? If not its people are told so, once until there is room again: the
/// notice is named after the last message that waits.
fn has_room(tx: &mut Tx<'_>, new: &NewInbox, room: &Room, at: Moment) -> Result<bool, StoreError> {
    let known = "SELECT 1 FROM inbox WHERE source = ?1 AND external_id = ?2";
    if new.kind == InboxKind::Command || sql::one(tx.conn, known, (&new.source, &new.external_id), |_| Ok(()))?.is_some() {
        return Ok(true);
    }
    // Those that a running turn has taken, too: whatever waits would join it.
    // Each state has an index of its own.
    let open = |state| format!("SELECT id FROM inbox WHERE conversation = ?1 AND state = '{state}' AND kind = 'message'");
    let waiting = format!("SELECT count(*), max(id) FROM ({} UNION ALL {})", open("new"), open("taken"));
    let waiting = sql::one(tx.conn, &waiting, [new.conversation.0], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let Some((_, Some(last))) = waiting.filter(|(count, _)| *count >= room.messages) else { return Ok(true) };
    let notice = NewOutbox::new(format!("full.{last}"), new.conversation, OutboxKind::Notice, room.full.clone());
    outbox::insert_all(tx, &[notice], &[Kept::default()], at)?;
    Ok(false)
}

fn released_needs(rows: &[(InboxId, String)]) -> impl Iterator<Item = Need> {
    rows.iter().map(|(_, body)| Need::json(body, &[]))
}

fn released_bytes(rows: &[(InboxId, String)]) -> usize {
    rows.iter().map(|(_, body)| body.len() + 64).sum()
}

/// See [`Store::release`].
fn release_all(tx: &mut Tx<'_>, rows: &[(InboxId, String)], kept: &[Kept]) -> Result<(), StoreError> {
    for ((id, body), kept) in rows.iter().zip(kept) {
        let query = "UPDATE inbox SET body = ?2, held = 0 WHERE id = ?1 AND held = 1 AND state = 'new' RETURNING conversation";
        let released = sql::one(tx.conn, query, (id.0, kept.body(body)), |row| row.get(0).map(ConversationId))?;
        let Some(conversation) = released else { continue };
        blobs::release(tx.conn, &owner(*id))?;
        kept.refer(tx.conn, &owner(*id))?;
        tx.wakes.push(Wake::Inbox(conversation));
    }
    Ok(())
}

/// New → taken by this turn.
pub(super) fn take(tx: &mut Tx<'_>, id: InboxId, session: SessionId, turn: TurnId) -> Result<(), StoreError> {
    let taken = sql::execute(
        tx.conn,
        "UPDATE inbox SET state = 'taken', session = ?2, turn = ?3 WHERE id = ?1 AND state = 'new'",
        (id.0, session.0, turn.0),
    )?;
    if taken == 1 { Ok(()) } else { Err(StoreError::Conflict(format!("inbox row {id} is not new"))) }
}

/// How a row is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its body is not needed any more; the key stays against repeats.
    Done,
    /// Kept whole, for the operator.
    Aside,
}

/// New or taken → done or aside.
pub(super) fn close(tx: &mut Tx<'_>, id: InboxId, end: End) -> Result<(), StoreError> {
    let query = match end {
        End::Done => "UPDATE inbox SET state = 'done', body = '' WHERE id = ?1 AND state IN ('new', 'taken')",
        End::Aside => "UPDATE inbox SET state = 'aside' WHERE id = ?1 AND state IN ('new', 'taken')",
    };
    if sql::execute(tx.conn, query, [id.0])? != 1 {
        return Err(StoreError::Conflict(format!("inbox row {id} is not open")));
    }
    if end == End::Done {
        blobs::release(tx.conn, &owner(id))?;
    }
    Ok(())
}

/// The row's name in `blob_refs`.
pub(super) fn owner(id: InboxId) -> String {
    format!("i:{}", id.0)
}
