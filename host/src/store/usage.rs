//! Tokens and money: one row per model request, kept for ever, also when its conversation is deleted.

use rusqlite::Row;
use serde::Serialize;

use super::sql::{self, int, uint, words};
use super::{Store, StoreError, Tx};
use crate::chat::Usage;
use crate::clock::Moment;
use crate::ids::{ConversationId, SessionId, TurnId, TurnKey};
use crate::limits;

/// What a model request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageKind {
    /// A step of a turn.
    Turn,
    /// A summary of the history.
    Compaction,
    /// What a component asked another one for.
    Helper,
}

words!(UsageKind { Turn = "turn", Compaction = "compaction", Helper = "helper" });

/// What one model request used. Conversation, session, turn and time are those of the append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUsage {
    pub step: u32,
    pub kind: UsageKind,
    /// The model's alias.
    pub model: String,
    pub usage: Usage,
    /// The provider did not say: an estimate.
    pub estimated: bool,
}

/// Sums of usage rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub requests: u64,
    pub input_uncached: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    /// Part of the output.
    pub reasoning: u64,
    /// Millionths of a US dollar, of the requests with a known price.
    pub cost_micros: u64,
    /// Tokens of the requests without one.
    pub unpriced_tokens: u64,
    /// Requests whose figures are estimates.
    pub estimated: u64,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input_uncached: self.input_uncached.saturating_add(other.input_uncached),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
            unpriced_tokens: self.unpriced_tokens.saturating_add(other.unpriced_tokens),
            estimated: self.estimated.saturating_add(other.estimated),
        }
    }
}

/// What lines of usage are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    /// Its alias.
    Model,
    /// Its id, as people write it.
    Conversation,
    /// The UTC date.
    Day,
    Kind,
}

/// What was used by one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsageLine {
    pub name: String,
    #[serde(flatten)]
    pub totals: Totals,
}

const SUMS: &str = "count(*), sum(input_uncached), sum(cache_read), sum(cache_write), sum(output), sum(reasoning), sum(cost_micros),
    sum(input_uncached + cache_read + cache_write + output) FILTER (WHERE cost_micros IS NULL), sum(estimated)";

impl Store {
    /// Everything used on the UTC day of `at`, by all sessions.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn usage_of_day(&self, at: Moment) -> Result<Totals, StoreError> {
        let sums = self.read(move |conn| sql::one(conn, &format!("SELECT {SUMS} FROM usage WHERE day = ?1"), [at.day()], totals));
        Ok(sums.await?.unwrap_or_default())
    }

    /// Everything one turn used.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn usage_of_turn(&self, session: SessionId, turn: TurnId) -> Result<Totals, StoreError> {
        let query = format!("SELECT {SUMS} FROM usage WHERE session = ?1 AND turn = ?2");
        let sums = self.read(move |conn| sql::one(conn, &query, (session.0, turn.0), totals));
        Ok(sums.await?.unwrap_or_default())
    }

    /// Everything a conversation used, in all its sessions.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn usage_of_conversation(&self, id: ConversationId) -> Result<Totals, StoreError> {
        let query = format!("SELECT {SUMS} FROM usage WHERE conversation = ?1");
        let sums = self.read(move |conn| sql::one(conn, &query, [id.0], totals));
        Ok(sums.await?.unwrap_or_default())
    }

    /// What was used from `since` on: days in their order, of anything else the dearest first.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn usage_since(&self, since: Moment, by: UsageBy) -> Result<Vec<UsageLine>, StoreError> {
        let (name, order) = match by {
            UsageBy::Model => ("model", "sum(cost_micros) DESC, sum(input_uncached + cache_read + cache_write + output) DESC, 1"),
            UsageBy::Conversation => ("'c' || conversation", "sum(cost_micros) DESC, conversation"),
            UsageBy::Day => ("date(day * 86400, 'unixepoch')", "day"),
            UsageBy::Kind => ("kind", "sum(cost_micros) DESC, 1"),
        };
        let query = format!("SELECT {name}, {SUMS} FROM usage WHERE day >= ?1 AND at >= ?2 GROUP BY 1 ORDER BY {order}");
        self.read(move |conn| {
            sql::all(conn, &query, (since.day(), since.0), |row| Ok(UsageLine { name: row.get(0)?, totals: totals_from(row, 1)? }))
        })
        .await
    }
}

impl Store {
    /// Notes what was used beside the model requests of a turn.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn note_usage(&self, key: TurnKey, row: NewUsage, at: Moment) -> Result<(), StoreError> {
        self.write(0, move |tx| insert_all(tx, &[row], key.session, key.turn, at)).await
    }
}

fn totals(row: &Row<'_>) -> rusqlite::Result<Totals> {
    totals_from(row, 0)
}

fn totals_from(row: &Row<'_>, first: usize) -> rusqlite::Result<Totals> {
    let sum = |column: usize| Ok::<_, rusqlite::Error>(uint(row.get::<_, Option<i64>>(first + column)?.unwrap_or(0)));
    Ok(Totals {
        requests: sum(0)?,
        input_uncached: sum(1)?,
        cache_read: sum(2)?,
        cache_write: sum(3)?,
        output: sum(4)?,
        reasoning: sum(5)?,
        cost_micros: sum(6)?,
        unpriced_tokens: sum(7)?,
        estimated: sum(8)?,
    })
}

/// Adds rows of one turn.
pub(super) fn insert_all(tx: &mut Tx<'_>, rows: &[NewUsage], session: SessionId, turn: TurnId, at: Moment) -> Result<(), StoreError> {
    let figure = |value: u64| int(value.min(limits::USAGE_FIGURE));
    for row in rows {
        let usage = &row.usage;
        let written = usage.cache_write.iter().fold(0u64, |sum, (_, tokens)| sum.saturating_add(*tokens));
        sql::execute(
            tx.conn,
            "INSERT INTO usage (session, turn, step, model, day, input_uncached, cache_read, cache_write, output, reasoning,
                cost_micros, estimated, kind, conversation, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
                coalesce((SELECT conversation FROM sessions WHERE id = ?1), 0), ?14)",
            (
                session.0,
                turn.0,
                row.step,
                &row.model,
                at.day(),
                figure(usage.input_uncached),
                figure(usage.cache_read),
                figure(written),
                figure(usage.output),
                figure(usage.reasoning),
                usage.cost_micros.map(figure),
                row.estimated,
                row.kind,
                at.0,
            ),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
