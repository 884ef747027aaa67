//! Conversations and their sessions.

use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sql::{self, int, uint, words};
use super::{InboxKind, Store, StoreError, Tx};
use crate::clock::Moment;
use crate::ids::{ConversationId, InboxId, SessionId};

/// What kind of session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    Foreground,
    Background,
    Subagent,
    Cron,
}

/// Where a session stands. Kept beside its journal so that a start finds open work without reading journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Idle,
    Asking,
    Calling,
    Compacting,
    Parked,
    Closed,
}

/// A chat to get or to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConversation {
    /// `terminal`, `ask`, `tg:<bot id>` …
    pub channel: String,
    /// Within the channel.
    pub address: String,
    /// The model's alias, only used when the conversation is new.
    pub model: String,
    /// After this moment it is deleted with everything in it, once it has no open work.
    pub expires_at: Option<Moment>,
}

/// A chat: one channel, one address, one workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    pub channel: String,
    pub address: String,
    /// The model's alias in the configuration.
    pub model: String,
    /// How much the model is to reason; none: as the configuration says.
    pub effort: Option<String>,
    /// A JSON object.
    pub settings: Value,
    pub created_at: Moment,
    pub expires_at: Option<Moment>,
    /// The person or group at the address, for people to read; may be empty.
    pub title: String,
    /// Its address cannot be reached any more, since then: nothing is sent there.
    pub closed_at: Option<Moment>,
}

impl Conversation {
    /// Where its address went without it: there was a conversation already.
    #[must_use]
    pub fn moved_to(&self) -> Option<&str> {
        self.settings["moved_to"].as_str()
    }
}

/// What a conversation waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Of its foreground session; none: it has none yet.
    pub phase: Option<Phase>,
    /// Inbox rows that nobody took, oldest first.
    pub open: Vec<(InboxId, InboxKind)>,
    /// A reply is not delivered yet.
    pub undelivered: bool,
}

/// A model loop with a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub conversation: ConversationId,
    pub parent: Option<SessionId>,
    pub kind: SessionKind,
    pub phase: Phase,
    /// The sequence number of the next journal row; the first row has 1.
    pub next_seq: u64,
    /// Where folding starts; rows below are history.
    pub fold_from: u64,
    /// Changes with every claim. An append with another epoch is a conflict.
    pub epoch: u64,
}

words!(SessionKind { Foreground = "foreground", Background = "background", Subagent = "subagent", Cron = "cron" });
words!(Phase {
    Idle = "idle",
    Asking = "asking",
    Calling = "calling",
    Compacting = "compacting",
    Parked = "parked",
    Closed = "closed",
});

pub(super) const CONVERSATION: &str =
    "SELECT id, channel, address, model, settings, created_at, expires_at, title, closed_at, effort FROM conversations";
const SESSION: &str = "SELECT id, conversation, parent, kind, phase, next_seq, fold_from, epoch FROM sessions";

impl Store {
    /// The conversation at (channel, address), made with these values if there is none. True: it is new.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn get_or_create(&self, new: NewConversation, at: Moment) -> Result<(Conversation, bool), StoreError> {
        let (channel, address) = (new.channel.clone(), new.address.clone());
        if let Some(known) = self.read(move |conn| conversation_at(conn, &channel, &address)).await? {
            return Ok((known, false));
        }
        self.write(256, move |tx| {
            let made = sql::execute(
                tx.conn,
                "INSERT INTO conversations (channel, address, model, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (channel, address) DO NOTHING",
                (&new.channel, &new.address, &new.model, at.0, new.expires_at.map(|moment| moment.0)),
            )?;
            let conversation = conversation_at(tx.conn, &new.channel, &new.address)?;
            Ok((conversation.ok_or_else(|| StoreError::NotFound("new conversation".into()))?, made > 0))
        })
        .await
    }

    /// A conversation by its id. One that only waits to be deleted is none.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.read(move |conn| sql::one(conn, &format!("{CONVERSATION} WHERE id = ?1 AND state <> 'expired'"), [id.0], conversation_row))
            .await
    }

    /// All conversations in order of id.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        self.read(|conn| sql::all(conn, &format!("{CONVERSATION} ORDER BY id"), [], conversation_row)).await
    }

    /// Sets the model's alias.
    ///
    /// # Errors
    /// There is no such conversation.
    pub async fn set_model(&self, id: ConversationId, alias: String) -> Result<(), StoreError> {
        self.write(64, move |tx| set_model(tx, id, &alias)).await
    }

    /// Replaces the settings: a JSON object.
    ///
    /// # Errors
    /// There is no such conversation.
    pub async fn set_settings(&self, id: ConversationId, settings: Value) -> Result<(), StoreError> {
        let settings = settings.to_string();
        self.write(settings.len(), move |tx| {
            let changed = sql::execute(tx.conn, "UPDATE conversations SET settings = ?2 WHERE id = ?1", (id.0, &settings))?;
            if changed == 0 { Err(StoreError::NotFound(format!("conversation {id}"))) } else { Ok(()) }
        })
        .await
    }

    /// Notes who is at the address.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn set_title(&self, id: ConversationId, title: String) -> Result<(), StoreError> {
        self.write(title.len(), move |tx| {
            sql::execute(tx.conn, "UPDATE conversations SET title = ?2 WHERE id = ?1", (id.0, &title)).map(drop)
        })
        .await
    }

    /// Closes these conversations at a moment, or with none opens them again.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn set_closed(&self, ids: Vec<ConversationId>, closed_at: Option<Moment>) -> Result<(), StoreError> {
        self.write(64, move |tx| {
            let query = "UPDATE conversations SET closed_at = ?2 WHERE id = ?1";
            ids.iter().try_for_each(|id| sql::execute(tx.conn, query, (id.0, closed_at.map(|at| at.0))).map(drop))
        })
        .await
    }

    /// The channel's conversations at an address and in its threads, `address:…`.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn conversations_at(&self, channel: &str, address: &str) -> Result<Vec<Conversation>, StoreError> {
        let (channel, address, threads) = (channel.to_owned(), address.to_owned(), format!("{address}:"));
        let query = format!("{CONVERSATION} WHERE channel = ?1 AND (address = ?2 OR substr(address, 1, length(?3)) = ?3) ORDER BY id");
        self.read(move |conn| sql::all(conn, &query, (channel, address, threads), conversation_row)).await
    }

    /// Moves the conversations of an address and of its threads to another address, with what was decided about it, or asked:
    /// what an owner answers then is about the new one. A conversation for which there is another there already stays where it is,
    /// and its settings say where the address went ([`moved_to`]).
    ///
    /// [`moved_to`]: Conversation::moved_to
    ///
    /// # Errors
    /// Those of any write.
    pub async fn move_address(&self, channel: &str, from: &str, to: &str) -> Result<(), StoreError> {
        let (channel, from, to) = (channel.to_owned(), from.to_owned(), to.to_owned());
        self.write(256, move |tx| {
            let threads = format!("{from}:");
            let query = "UPDATE OR IGNORE conversations SET address = ?4 || substr(address, length(?2) + 1)
                WHERE channel = ?1 AND (address = ?2 OR substr(address, 1, length(?3)) = ?3)";
            sql::execute(tx.conn, query, (&channel, &from, &threads, &to))?;
            let left = "UPDATE conversations SET settings = json_set(settings, '$.moved_to', ?4)
                WHERE channel = ?1 AND (address = ?2 OR substr(address, 1, length(?3)) = ?3)";
            sql::execute(tx.conn, left, (&channel, &from, &threads, &to))?;
            let people = "UPDATE OR REPLACE people SET user_id = ?3 WHERE channel = ?1 AND user_id = ?2";
            sql::execute(tx.conn, people, (&channel, &from, &to))?;
            let requests = "UPDATE OR REPLACE requests SET subject = ?3 WHERE channel = ?1 AND subject = ?2";
            sql::execute(tx.conn, requests, (&channel, &from, &to)).map(drop)
        })
        .await
    }

    /// The conversation's foreground session, opened if there is none.
    ///
    /// # Errors
    /// There is no such conversation.
    pub async fn foreground(&self, conversation: ConversationId) -> Result<Session, StoreError> {
        if let Some(known) = self.read(move |conn| current_foreground(conn, conversation)).await? {
            return Ok(known);
        }
        self.write(64, move |tx| match current_foreground(tx.conn, conversation)? {
            Some(known) => Ok(known),
            None => open_session(tx, conversation, SessionKind::Foreground, None),
        })
        .await
    }

    /// What a conversation waits for, seen at one moment.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn standing(&self, conversation: ConversationId) -> Result<Standing, StoreError> {
        self.read(move |conn| {
            let moment = conn.unchecked_transaction()?;
            let open = "SELECT id, kind FROM inbox WHERE conversation = ?1 AND state = 'new' ORDER BY id";
            let pending = "SELECT 1 FROM outbox WHERE conversation = ?1 AND state = 'pending' LIMIT 1";
            Ok(Standing {
                phase: current_foreground(&moment, conversation)?.map(|session| session.phase),
                open: sql::all(&moment, open, [conversation.0], |row| Ok((row.get(0).map(InboxId)?, row.get(1)?)))?,
                undelivered: sql::one(&moment, pending, [conversation.0], |_| Ok(()))?.is_some(),
            })
        })
        .await
    }

    /// Opens a session.
    ///
    /// # Errors
    /// There is no such conversation.
    pub async fn open_session(
        &self,
        conversation: ConversationId,
        kind: SessionKind,
        parent: Option<SessionId>,
    ) -> Result<Session, StoreError> {
        self.write(64, move |tx| open_session(tx, conversation, kind, parent)).await
    }

    /// Closes a session; its journal stays. Whoever holds it can no longer append.
    ///
    /// # Errors
    /// There is no such session.
    pub async fn close_session(&self, session: SessionId) -> Result<(), StoreError> {
        self.write(64, move |tx| close_session(tx, session)).await
    }

    /// Takes the session for one actor: the next epoch. An actor with an older one can no longer append.
    ///
    /// # Errors
    /// There is no such session; conflict: it is closed.
    pub async fn claim_session(&self, session: SessionId) -> Result<Session, StoreError> {
        self.write(64, move |tx| {
            let claimed = sql::execute(tx.conn, "UPDATE sessions SET epoch = epoch + 1 WHERE id = ?1 AND phase <> 'closed'", [session.0])?;
            let now = session_by_id(tx.conn, session)?.ok_or_else(|| StoreError::NotFound(format!("session {session}")))?;
            if claimed == 0 { Err(StoreError::Conflict(format!("session {session} is closed"))) } else { Ok(now) }
        })
        .await
    }

    /// A session by its id.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn session(&self, session: SessionId) -> Result<Option<Session>, StoreError> {
        self.read(move |conn| session_by_id(conn, session)).await
    }

    /// All sessions of a conversation, in order of id.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn sessions(&self, conversation: ConversationId) -> Result<Vec<Session>, StoreError> {
        let query = format!("{SESSION} WHERE conversation = ?1 ORDER BY id");
        self.read(move |conn| sql::all(conn, &query, [conversation.0], session_row)).await
    }

    /// Sessions in a phase other than idle and closed, in order of id.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn open_sessions(&self) -> Result<Vec<Session>, StoreError> {
        self.read(open_sessions).await
    }
}

pub(super) fn conversation_row(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    let settings: String = row.get(4)?;
    Ok(Conversation {
        id: ConversationId(row.get(0)?),
        channel: row.get(1)?,
        address: row.get(2)?,
        model: row.get(3)?,
        effort: row.get(9)?,
        settings: serde_json::from_str(&settings)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, error.into()))?,
        created_at: Moment(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(Moment),
        title: row.get(7)?,
        closed_at: row.get::<_, Option<i64>>(8)?.map(Moment),
    })
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: SessionId(row.get(0)?),
        conversation: ConversationId(row.get(1)?),
        parent: row.get::<_, Option<i64>>(2)?.map(SessionId),
        kind: row.get(3)?,
        phase: row.get(4)?,
        next_seq: uint(row.get(5)?),
        fold_from: uint(row.get(6)?),
        epoch: uint(row.get(7)?),
    })
}

fn conversation_at(conn: &Connection, channel: &str, address: &str) -> Result<Option<Conversation>, StoreError> {
    sql::one(conn, &format!("{CONVERSATION} WHERE channel = ?1 AND address = ?2"), (channel, address), conversation_row)
}

pub(super) fn exists(conn: &Connection, id: ConversationId) -> Result<(), StoreError> {
    sql::one(conn, "SELECT 1 FROM conversations WHERE id = ?1 AND state <> 'expired'", [id.0], |_| Ok(()))?
        .ok_or_else(|| StoreError::NotFound(format!("conversation {id}")))
}

pub(super) fn session_by_id(conn: &Connection, id: SessionId) -> Result<Option<Session>, StoreError> {
    sql::one(conn, &format!("{SESSION} WHERE id = ?1"), [id.0], session_row)
}

pub(super) fn open_sessions(conn: &Connection) -> Result<Vec<Session>, StoreError> {
    sql::all(conn, &format!("{SESSION} WHERE phase NOT IN ('idle', 'closed') ORDER BY id"), [], session_row)
}

/// The foreground session that is not closed; the newest, should there be several.
pub(super) fn current_foreground(conn: &Connection, conversation: ConversationId) -> Result<Option<Session>, StoreError> {
    let query = format!("{SESSION} WHERE conversation = ?1 AND kind = 'foreground' AND phase <> 'closed' ORDER BY id DESC LIMIT 1");
    sql::one(conn, &query, [conversation.0], session_row)
}

pub(super) fn set_model(tx: &mut Tx<'_>, id: ConversationId, alias: &str) -> Result<(), StoreError> {
    let changed = sql::execute(tx.conn, "UPDATE conversations SET model = ?2 WHERE id = ?1", (id.0, alias))?;
    if changed == 0 { Err(StoreError::NotFound(format!("conversation {id}"))) } else { Ok(()) }
}

pub(super) fn set_effort(tx: &mut Tx<'_>, id: ConversationId, effort: Option<&str>) -> Result<(), StoreError> {
    let changed = sql::execute(tx.conn, "UPDATE conversations SET effort = ?2 WHERE id = ?1", (id.0, effort))?;
    if changed == 0 { Err(StoreError::NotFound(format!("conversation {id}"))) } else { Ok(()) }
}

pub(super) fn open_session(
    tx: &mut Tx<'_>,
    conversation: ConversationId,
    kind: SessionKind,
    parent: Option<SessionId>,
) -> Result<Session, StoreError> {
    exists(tx.conn, conversation)?;
    sql::execute(
        tx.conn,
        "INSERT INTO sessions (conversation, parent, kind) VALUES (?1, ?2, ?3)",
        (conversation.0, parent.map(|id| id.0), kind),
    )?;
    let id = SessionId(tx.conn.last_insert_rowid());
    session_by_id(tx.conn, id)?.ok_or_else(|| StoreError::NotFound(format!("session {id}")))
}

/// The epoch moves too, so that an actor that still holds the session finds out at its next append.
pub(super) fn close_session(tx: &mut Tx<'_>, id: SessionId) -> Result<(), StoreError> {
    let changed = sql::execute(tx.conn, "UPDATE sessions SET phase = 'closed', epoch = epoch + 1 WHERE id = ?1", [id.0])?;
    if changed == 0 { Err(StoreError::NotFound(format!("session {id}"))) } else { Ok(()) }
}

/// Moves a session on by `events`; a conflict if it is not where the caller believes.
pub(super) fn advance(tx: &mut Tx<'_>, step: &Advance) -> Result<u64, StoreError> {
    let next = step.expected_seq + step.events;
    let moved = sql::execute(
        tx.conn,
        "UPDATE sessions SET next_seq = ?4, phase = coalesce(?5, phase), fold_from = coalesce(?6, fold_from)
         WHERE id = ?1 AND epoch = ?2 AND next_seq = ?3",
        (step.session.0, int(step.epoch), int(step.expected_seq), int(next), step.phase, step.fold_from.map(int)),
    )?;
    if moved == 1 {
        return Ok(next);
    }
    let id = step.session;
    let now = session_by_id(tx.conn, id)?.ok_or_else(|| StoreError::NotFound(format!("session {id}")))?;
    Err(StoreError::Conflict(format!(
        "session {id} is at epoch {} and row {}, not at epoch {} and row {}",
        now.epoch, now.next_seq, step.epoch, step.expected_seq
    )))
}

/// See [`advance`].
pub(super) struct Advance {
    pub session: SessionId,
    pub epoch: u64,
    pub expected_seq: u64,
    pub events: u64,
    pub phase: Option<Phase>,
    pub fold_from: Option<u64>,
}
