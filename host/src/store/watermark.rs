//! How far the store once was: 16 bytes beside the database, so that a silently dropped end of the log is noticed.
//!
//! Overwritten after each COMMIT and never synced: it can be behind the database, never ahead of it. So "we once knew 812,
//! now 804" is never a false alarm.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::Connection;

use super::{Lost, StoreError, sql};

/// The last inbox id and journal row ever made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub inbox: u64,
    pub journal: u64,
}

impl Mark {
    /// What the database says. Ids are never reused, so deleting rows does not lower it.
    pub fn of(conn: &Connection) -> Result<Self, StoreError> {
        let mut mark = Self::default();
        let rows = sql::all(conn, "SELECT name, seq FROM sqlite_sequence WHERE name IN ('inbox', 'journal')", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })?;
        for (name, seq) in rows {
            if name == "inbox" {
                mark.inbox = sql::uint(seq);
            } else {
                mark.journal = sql::uint(seq);
            }
        }
        Ok(mark)
    }

    fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.inbox) | u128::from(self.journal) << 64).to_le_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self { inbox: u64::try_from(both & u128::from(u64::MAX)).unwrap_or(0), journal: u64::try_from(both >> 64).unwrap_or(0) }
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Watermark {
    file: File,
    last: Mark,
}

impl Watermark {
    /// Opens the file and compares it with the database.
    pub fn open(path: &Path, now: Mark) -> std::io::Result<(Self, Option<Lost>)> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        let mut bytes = [0; 16];
        // A shorter file is new or was cut: it then says nothing.
        let known = if file.read_exact_at(&mut bytes, 0).is_ok() { Mark::from_bytes(bytes) } else { Mark::default() };
        let lost = (known.inbox > now.inbox || known.journal > now.journal).then_some(Lost {
            inbox_known: known.inbox,
            inbox_now: now.inbox,
            journal_known: known.journal,
            journal_now: now.journal,
        });
        Ok((Self { file, last: Mark::default() }, lost))
    }

    /// Notes what was committed. Called only after COMMIT.
    pub fn note(&mut self, mark: Mark) {
        if mark == self.last {
            return;
        }
        self.last = mark;
        if let Err(error) = self.file.write_all_at(&mark.to_bytes(), 0) {
            tracing::warn!(%error, "cannot write the watermark; a loss of committed rows may go unnoticed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_ahead_of_the_database_is_a_loss_and_one_behind_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.mark");
        let at = |inbox, journal| Mark { inbox, journal };
        let (mut watermark, lost) = Watermark::open(&path, at(5, 5)).unwrap();
        assert_eq!(lost, None);
        watermark.note(at(812, u64::MAX));
        let (_, lost) = Watermark::open(&path, at(804, u64::MAX)).unwrap();
        assert_eq!(lost, Some(Lost { inbox_known: 812, inbox_now: 804, journal_known: u64::MAX, journal_now: u64::MAX }));
        let (_, lost) = Watermark::open(&path, at(900, u64::MAX)).unwrap();
        assert_eq!(lost, None);
    }
}
