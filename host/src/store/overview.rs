//! What operators read: all conversations with what is in them, and whole journals.

use super::conversations::{self, CONVERSATION, conversation_row};
use super::journal::{self, Event};
use super::sql::{self, uint};
use super::{Conversation, Phase, Store, StoreError};
use crate::clock::Moment;
use crate::ids::SessionId;

/// A conversation with what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    pub conversation: Conversation,
    /// Of its foreground session; none: it has none yet.
    pub phase: Option<Phase>,
    pub sessions: u64,
    /// Turns whose beginning is still in a journal.
    pub turns: u64,
    /// Messages and commands that nobody took.
    pub waiting: u64,
    /// Replies that are not delivered.
    pub undelivered: u64,
    /// When something last happened in it.
    pub last_at: Moment,
}

/// Rows of a journal, and where the next ones begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pub events: Vec<Event>,
    /// Rows that are not what was written, and why.
    pub damaged: Vec<String>,
    /// None: this was the last page.
    pub next: Option<u64>,
}

impl Store {
    /// All conversations that do not just wait to be deleted, in order of id.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn overviews(&self) -> Result<Vec<Overview>, StoreError> {
        self.read(|conn| {
            let moment = conn.unchecked_transaction()?;
            let all = sql::all(&moment, &format!("{CONVERSATION} WHERE state <> 'expired' ORDER BY id"), [], conversation_row)?;
            all.into_iter().map(|conversation| overview(&moment, conversation)).collect()
        })
        .await
    }

    /// A page of a session's journal from this sequence number on, also of what was compacted. Each row is checked.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn recorded(&self, session: SessionId, from: u64) -> Result<Page, StoreError> {
        let blobs = self.inner.blobs.clone();
        self.read(move |conn| {
            let rows = journal::page(conn, session, from, i64::MAX.unsigned_abs())?;
            let mut page = Page { next: rows.last().map(|row| row.event.seq + 1), ..Page::default() };
            for row in rows {
                match row.check(&blobs) {
                    Ok(event) => page.events.push(event),
                    Err(StoreError::Damaged(reason)) => page.damaged.push(reason),
                    Err(error) => return Err(error),
                }
            }
            Ok(page)
        })
        .await
    }
}

fn overview(conn: &rusqlite::Connection, conversation: Conversation) -> Result<Overview, StoreError> {
    let id = conversation.id;
    let count = |query: &str| sql::one(conn, query, [id.0], |row| row.get(0).map(uint)).map(Option::unwrap_or_default);
    let of_sessions = "FROM journal WHERE session IN (SELECT id FROM sessions WHERE conversation = ?1)";
    let last = sql::one(conn, &format!("SELECT max(at_ms) {of_sessions}"), [id.0], |row| row.get::<_, Option<i64>>(0))?.flatten();
    Ok(Overview {
        phase: conversations::current_foreground(conn, id)?.map(|session| session.phase),
        sessions: count("SELECT count(*) FROM sessions WHERE conversation = ?1")?,
        turns: count(&format!("SELECT count(*) {of_sessions} AND kind = 'turn_began'"))?,
        waiting: count("SELECT count(*) FROM inbox WHERE conversation = ?1 AND state = 'new'")?,
        undelivered: count("SELECT count(*) FROM outbox WHERE conversation = ?1 AND state = 'pending'")?,
        last_at: last.map_or(conversation.created_at, Moment),
        conversation,
    })
}
