//! Copies of the database: taken at one moment while a host goes on writing, and made a store again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{BlobHash, Store, StoreError, boots, io_error, retention, schema, sql};
use crate::clock::Moment;

/// Copies that may name a blob that is not there before it counts as missing: a row, and then its blob, can go meanwhile.
const TRIES: usize = 3;

impl Store {
    /// Writes a whole copy of the database to `target`, which must not exist, as it is at one moment, and hands every blob
    /// that the copy names to `keep`. Not durable yet. Also while a host has the store open.
    ///
    /// # Errors
    /// The copy cannot be written, or a blob that a row names is missing or damaged; whatever `keep` fails with.
    pub async fn copy<E: From<StoreError> + Send + 'static>(
        &self,
        target: &Path,
        keep: impl Fn(&BlobHash, &[u8]) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        let (database, target) = (self.inner.workdir.database(), target.to_owned());
        let blobs = self.inner.blobs.clone();
        let copying = tokio::task::spawn_blocking(move || {
            let mut tries = 0;
            loop {
                tries += 1;
                copy_database(&database, &target)?;
                let copied = copy_blobs(&target, |hash| {
                    let bytes = blobs.get(hash).map_err(Copying::Store)?;
                    keep(hash, &bytes).map_err(Copying::Kept)
                });
                match copied {
                    Err(Copying::Store(StoreError::NotFound(_))) if tries < TRIES => {
                        fs::remove_file(&target).map_err(|error| io_error("remove", &target, &error))?;
                    }
                    Err(Copying::Store(StoreError::NotFound(what))) => {
                        return Err(StoreError::Damaged(format!("there is no {what}")).into());
                    }
                    Err(Copying::Store(error)) => return Err(error.into()),
                    Err(Copying::Kept(error)) => return Err(error),
                    Ok(()) => return Ok(()),
                }
            }
        });
        copying.await.map_err(|_| StoreError::Closed)?
    }
}

/// Why a blob was not copied.
enum Copying<E> {
    Store(StoreError),
    Kept(E),
}

/// One statement, so one moment: what a host commits meanwhile is not in it.
fn copy_database(database: &Path, target: &Path) -> Result<(), StoreError> {
    schema::open_reader(database)?.execute("VACUUM INTO ?1", [target.to_string_lossy()])?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o600)).map_err(|error| io_error("make private", target, &error))
}

fn copy_blobs<E>(database: &Path, mut keep: impl FnMut(&BlobHash) -> Result<(), Copying<E>>) -> Result<(), Copying<E>> {
    let conn = schema::open_reader(database).map_err(Copying::Store)?;
    let mut last = String::new();
    loop {
        let hashes = retention::named_blobs(&conn, &last).map_err(Copying::Store)?;
        let Some(end) = hashes.last() else { return Ok(()) };
        last.clone_from(end);
        for hash in hashes {
            let hash = BlobHash::try_from(hash).map_err(|error| Copying::Store(StoreError::Damaged(error)))?;
            keep(&hash)?;
        }
    }
}

/// Makes a copy a store again, before a host sees it. Time has passed: replies that were not delivered are set aside, and
/// the next start finds that open turns must wait for a person. How many replies.
///
/// # Errors
/// Those of any write.
pub fn restored(database: &Path, at: Moment) -> Result<u64, StoreError> {
    let mut conn = schema::open_writer(database)?;
    let transaction = conn.transaction()?;
    let aside = sql::execute(&transaction, "UPDATE outbox SET state = 'aside' WHERE state = 'pending'", [])?;
    let boot = "INSERT INTO boots (version, started_at, seen_at, ended) VALUES (?1, ?2, ?2, ?2)";
    sql::execute(&transaction, boot, (boots::RESTORED, at.0))?;
    transaction.commit()?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(aside as u64)
}
