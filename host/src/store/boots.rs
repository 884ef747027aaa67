//! Runs of the host: when it started, when it was last seen alive, whether it ended by itself.

use super::{Session, Store, StoreError, Tx, conversations, outbox, sql};
use crate::clock::Moment;
use crate::ids::BootId;

/// Stands for the version of a run that was none: the store was restored from a backup then.
pub(super) const RESTORED: &str = "restored";

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// This run.
    pub boot: BootId,
    /// When the run before was last seen; none at the first start.
    pub last_seen: Option<Moment>,
    /// The run before did not end by itself.
    pub crashed: bool,
    /// The store was restored from a backup since the run before: what was running has long gone on elsewhere.
    pub restored: bool,
    /// Parts that may or may not have arrived; now `unknown`.
    pub unknown_parts: u64,
    /// Sessions in a phase other than idle and closed, in order of id.
    pub open: Vec<Session>,
}

impl Store {
    /// Starts a run: a new boot row; parts that older runs left `sending` become `unknown`, and where the end of the store is
    /// missing all that are open. One transaction.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn recover(&self, version: &str, at: Moment) -> Result<Recovered, StoreError> {
        let version = version.to_owned();
        let lost = self.inner.lost;
        self.write(256, move |tx| {
            let before = sql::one(tx.conn, "SELECT seen_at, ended, version FROM boots ORDER BY id DESC LIMIT 1", [], |row| {
                Ok((Moment(row.get(0)?), row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?))
            })?;
            sql::execute(tx.conn, "INSERT INTO boots (version, started_at, seen_at) VALUES (?1, ?2, ?2)", (version, at.0))?;
            let boot = BootId(tx.conn.last_insert_rowid());
            let mut unknown = sql::execute(tx.conn, "UPDATE parts SET state = 'unknown' WHERE state = 'sending'", [])?;
            if lost {
                unknown += outbox::doubt(tx.conn)?;
            }
            Ok(Recovered {
                boot,
                last_seen: before.as_ref().map(|(seen, ended, _)| ended.map_or(*seen, |ended| (*seen).max(Moment(ended)))),
                crashed: before.as_ref().is_some_and(|(_, ended, _)| ended.is_none()),
                restored: before.is_some_and(|(_, _, version)| version == RESTORED),
                unknown_parts: unknown as u64,
                open: conversations::open_sessions(tx.conn)?,
            })
        })
        .await
    }

    /// Notes that the host lives. Rides with the next commit; nobody waits, and nothing is said if it cannot be.
    pub fn seen(&self, boot: BootId, at: Moment) {
        self.ride(64, move |tx| seen(tx, boot, at));
    }

    /// The same, and waits until it is committed: does the store take what is written to it?
    ///
    /// # Errors
    /// Those of any write.
    pub async fn seen_durably(&self, boot: BootId, at: Moment) -> Result<(), StoreError> {
        self.write(64, move |tx| seen(tx, boot, at)).await
    }

    /// The run ends by itself.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn end_boot(&self, boot: BootId, at: Moment) -> Result<(), StoreError> {
        self.write(64, move |tx| {
            sql::execute(tx.conn, "UPDATE boots SET ended = ?2, seen_at = max(seen_at, ?2) WHERE id = ?1", (boot.0, at.0))?;
            Ok(())
        })
        .await
    }
}

fn seen(tx: &mut Tx<'_>, boot: BootId, at: Moment) -> Result<(), StoreError> {
    sql::execute(tx.conn, "UPDATE boots SET seen_at = max(seen_at, ?2) WHERE id = ?1", (boot.0, at.0)).map(drop)
}
