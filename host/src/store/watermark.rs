//! How far the store once was: 24 bytes beside the database, so that a silently dropped end of the log is noticed.
//!
//! Overwritten after each COMMIT and never synced: it can be behind the database, never ahead of it. Its last 8 bytes are a
//! sum, so that half a mark, or something else, says nothing. So "we once knew 812, now 804" is never a false alarm.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::Connection;
use sha2::{Digest, Sha256};

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

    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let fields = self.inbox.to_le_bytes().into_iter().chain(self.journal.to_le_bytes());
        let sum = Sha256::digest(fields.clone().collect::<Vec<u8>>());
        bytes.iter_mut().zip(fields.chain(sum)).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// None: these are not the bytes of a mark.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (inbox, rest) = bytes.split_first_chunk()?;
        let (journal, _) = rest.split_first_chunk()?;
        let mark = Self { inbox: u64::from_le_bytes(*inbox), journal: u64::from_le_bytes(*journal) };
        (mark.to_bytes() == bytes).then_some(mark)
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
        let mut bytes = [0; 24];
        let is_new = file.metadata()?.len() == 0;
        let known = file.read_exact_at(&mut bytes, 0).ok().and_then(|()| Mark::from_bytes(&bytes));
        if known.is_none() && !is_new {
            tracing::warn!(path = %path.display(), "the watermark is damaged and made anew; an earlier loss of rows would not be noticed");
        }
        let known = known.unwrap_or_default();
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

    #[test]
    fn what_is_no_mark_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.mark");
        let whole = Mark { inbox: 812, journal: 900 }.to_bytes();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len() * 8)
            .map(|bit| {
                let mut bytes = whole.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            })
            .collect();
        damaged.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
        damaged.extend([vec![0; 24], vec![0xff; 24], vec![0xff; 16]]);
        for bytes in damaged {
            std::fs::write(&path, &bytes).unwrap();
            let (_, lost) = Watermark::open(&path, Mark::default()).unwrap();
            assert_eq!(lost, None, "{bytes:?}");
        }
        std::fs::write(&path, whole).unwrap();
        assert!(Watermark::open(&path, Mark::default()).unwrap().1.is_some());
    }
}
