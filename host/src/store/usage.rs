//! Tokens and money: one row per model request, kept for ever.

use rusqlite::Row;

use super::sql::{self, int, uint};
use super::{Store, StoreError, Tx};
use crate::chat::Usage;
use crate::clock::Moment;
use crate::ids::{SessionId, TurnId, TurnKey};
use crate::limits;

/// What one model request used. Session, turn and day are those of the append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUsage {
    pub step: u32,
    /// The model's alias.
    pub model: String,
    pub usage: Usage,
    /// The provider did not say: an estimate.
    pub estimated: bool,
}

/// Sums of usage rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub requests: u64,
    pub input_uncached: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
    /// Millionths of a US dollar, of the requests with a known price.
    pub cost_micros: u64,
    /// Tokens of the requests without one.
    pub unpriced_tokens: u64,
}

const SUMS: &str = "SELECT count(*), sum(input_uncached), sum(cache_read), sum(cache_write), sum(output), sum(reasoning), sum(cost_micros),
    sum(input_uncached + cache_read + cache_write + output) FILTER (WHERE cost_micros IS NULL) FROM usage";

impl Store {
    /// Everything used on the UTC day of `at`, by all sessions.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn usage_of_day(&self, at: Moment) -> Result<Totals, StoreError> {
        let sums = self.read(move |conn| sql::one(conn, &format!("{SUMS} WHERE day = ?1"), [at.day()], totals));
        Ok(sums.await?.unwrap_or_default())
    }

    /// Everything one turn used.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn usage_of_turn(&self, session: SessionId, turn: TurnId) -> Result<Totals, StoreError> {
        let sums = self.read(move |conn| sql::one(conn, &format!("{SUMS} WHERE session = ?1 AND turn = ?2"), (session.0, turn.0), totals));
        Ok(sums.await?.unwrap_or_default())
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
    let sum = |column| Ok::<_, rusqlite::Error>(uint(row.get::<_, Option<i64>>(column)?.unwrap_or(0)));
    Ok(Totals {
        requests: sum(0)?,
        input_uncached: sum(1)?,
        cache_read: sum(2)?,
        cache_write: sum(3)?,
        output: sum(4)?,
        reasoning: sum(5)?,
        cost_micros: sum(6)?,
        unpriced_tokens: sum(7)?,
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
                cost_micros, estimated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
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
            ),
        )?;
    }
    Ok(())
}
