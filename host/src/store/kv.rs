//! What plugins keep for themselves: values by plugin, scope and key.
//!
//! - The row with the empty key is the scope's own, and no plugin can name it: its version is the last one that was given in
//!   the scope, so none is given twice, also not to a key that was removed and put again; its value is how many bytes the
//!   scope holds, each key counted as [`limits::STORAGE_ENTRY_BYTES`] more, so a bound costs no count. Both change in the transaction that changes a key.
//! - The rows of a conversation go with it, and nothing is kept for one that is gone.
//!
//! How long keys and values may be is the caller's to check.

use rusqlite::Connection;

use super::sql::{self, int, uint};
use super::{Store, StoreError};
use crate::ids::ConversationId;
use crate::limits;

/// Where keys live: a plugin's own, in one conversation or for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KvSpace {
    pub plugin: String,
    /// None: for all conversations.
    pub conversation: Option<ConversationId>,
}

/// A value with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    pub value: Vec<u8>,
    pub version: u64,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvChange<T> {
    Done(T),
    /// The key has this version and not the expected one; 0: there is no such key. Nothing was changed.
    Conflict {
        found: u64,
    },
    /// The space would hold so many bytes. Nothing was changed.
    Over {
        bytes: u64,
    },
}

/// The row with the empty key.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    bytes: u64,
    version: u64,
}

/// A key's row.
struct Present {
    version: u64,
    bytes: u64,
}

impl KvSpace {
    /// The word for the scope in the database. It is kept for ever.
    fn scope(&self) -> String {
        self.conversation.map_or_else(|| "plugin".to_owned(), |conversation| conversation.to_string())
    }
}

impl Store {
    /// The value of a key.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn kv_get(&self, space: &KvSpace, key: &str) -> Result<Option<KvEntry>, StoreError> {
        let (space, key) = (space.clone(), key.to_owned());
        self.read(move |conn| {
            let query = "SELECT value, version FROM kv WHERE plugin = ?1 AND scope = ?2 AND key = ?3";
            let entry = |row: &rusqlite::Row<'_>| Ok(KvEntry { value: row.get(0)?, version: uint(row.get(1)?) });
            sql::one(conn, query, (&space.plugin, space.scope(), key), entry)
        })
        .await
    }

    /// Keeps a value; its version. `expected`: the version it must have now, 0 for none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the conversation is gone, and those of any write.
    pub async fn kv_put(&self, space: &KvSpace, key: String, value: Vec<u8>, expected: Option<u64>) -> Result<KvChange<u64>, StoreError> {
        let space = space.clone();
        self.write(key.len() + value.len() + 256, move |tx| put(tx.conn, &space, &key, &value, expected)).await
    }

    /// Forgets a key; whether there was one. `expected` as for [`Store::kv_put`].
    ///
    /// # Errors
    /// Those of any write.
    pub async fn kv_remove(&self, space: &KvSpace, key: String, expected: Option<u64>) -> Result<KvChange<bool>, StoreError> {
        let space = space.clone();
        self.write(key.len() + 256, move |tx| remove(tx.conn, &space, &key, expected)).await
    }

    /// The keys that begin with `prefix` and come after `after`, sorted by their bytes; `most` at most.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn kv_keys(&self, space: &KvSpace, prefix: String, after: Option<String>, most: usize) -> Result<Vec<String>, StoreError> {
        let space = space.clone();
        self.read(move |conn| keys(conn, &space, &prefix, after.as_deref().unwrap_or(""), most)).await
    }
}

fn put(conn: &Connection, space: &KvSpace, key: &str, value: &[u8], expected: Option<u64>) -> Result<KvChange<u64>, StoreError> {
    if let Some(id) = space.conversation
        && sql::one(conn, "SELECT 1 FROM conversations WHERE id = ?1", [id.0], |_| Ok(()))?.is_none()
    {
        return Err(StoreError::NotFound(format!("conversation {id}")));
    }
    let present = present(conn, space, key)?;
    if let Some(found) = conflict(present.as_ref(), expected) {
        return Ok(KvChange::Conflict { found });
    }
    let own = own(conn, space)?;
    let before = present.map_or(0, |present| present.bytes);
    let bytes = own.bytes.saturating_sub(before) + weight(key, value.len() as u64);
    // What makes a scope smaller is taken, also where it holds more than it may by now.
    if bytes > limits::STORAGE_SCOPE_BYTES && bytes > own.bytes {
        return Ok(KvChange::Over { bytes });
    }
    let version = own.version + 1;
    let query = "INSERT INTO kv (plugin, scope, key, value, version) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (plugin, scope, key) DO UPDATE SET value = excluded.value, version = excluded.version";
    sql::execute(conn, query, (&space.plugin, space.scope(), key, value, int(version)))?;
    set_own(conn, space, Own { bytes, version })?;
    Ok(KvChange::Done(version))
}

fn remove(conn: &Connection, space: &KvSpace, key: &str, expected: Option<u64>) -> Result<KvChange<bool>, StoreError> {
    let present = present(conn, space, key)?;
    if let Some(found) = conflict(present.as_ref(), expected) {
        return Ok(KvChange::Conflict { found });
    }
    let Some(Present { bytes, .. }) = present else { return Ok(KvChange::Done(false)) };
    let own = own(conn, space)?;
    sql::execute(conn, "DELETE FROM kv WHERE plugin = ?1 AND scope = ?2 AND key = ?3", (&space.plugin, space.scope(), key))?;
    set_own(conn, space, Own { bytes: own.bytes.saturating_sub(bytes), ..own })?;
    Ok(KvChange::Done(true))
}

/// The version that is there instead of the expected one.
fn conflict(present: Option<&Present>, expected: Option<u64>) -> Option<u64> {
    let found = present.map_or(0, |present| present.version);
    expected.is_some_and(|expected| expected != found).then_some(found)
}

fn present(conn: &Connection, space: &KvSpace, key: &str) -> Result<Option<Present>, StoreError> {
    let query = "SELECT version, length(value) FROM kv WHERE plugin = ?1 AND scope = ?2 AND key = ?3";
    sql::one(conn, query, (&space.plugin, space.scope(), key), |row| {
        Ok(Present { version: uint(row.get(0)?), bytes: weight(key, uint(row.get(1)?)) })
    })
}

/// What a key with a value of so many bytes counts.
fn weight(key: &str, value_bytes: u64) -> u64 {
    limits::STORAGE_ENTRY_BYTES + key.len() as u64 + value_bytes
}

fn own(conn: &Connection, space: &KvSpace) -> Result<Own, StoreError> {
    let query = "SELECT value, version FROM kv WHERE plugin = ?1 AND scope = ?2 AND key = ''";
    let own = sql::one(conn, query, (&space.plugin, space.scope()), |row| {
        Ok(Own { bytes: u64::from_be_bytes(row.get(0)?), version: uint(row.get(1)?) })
    })?;
    Ok(own.unwrap_or_default())
}

fn set_own(conn: &Connection, space: &KvSpace, own: Own) -> Result<(), StoreError> {
    let query = "INSERT INTO kv (plugin, scope, key, value, version) VALUES (?1, ?2, '', ?3, ?4)
        ON CONFLICT (plugin, scope, key) DO UPDATE SET value = excluded.value, version = excluded.version";
    sql::execute(conn, query, (&space.plugin, space.scope(), own.bytes.to_be_bytes(), int(own.version)))?;
    Ok(())
}

/// Keys that begin alike stand side by side, so it ends at the first that does not.
fn keys(conn: &Connection, space: &KvSpace, prefix: &str, after: &str, most: usize) -> Result<Vec<String>, StoreError> {
    // One bound each: with both, the index would be entered at the lower.
    let (query, from) = match after >= prefix {
        true => ("SELECT key FROM kv WHERE plugin = ?1 AND scope = ?2 AND key > ?3 ORDER BY key", after),
        false => ("SELECT key FROM kv WHERE plugin = ?1 AND scope = ?2 AND key >= ?3 ORDER BY key", prefix),
    };
    let mut statement = conn.prepare_cached(query)?;
    let mut rows = statement.query((&space.plugin, space.scope(), from))?;
    let mut keys = Vec::new();
    while keys.len() < most {
        let Some(row) = rows.next()? else { break };
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Forgets what was kept for a conversation that is about to be deleted; `expired` selects its id, `?1`, if that is so. The
/// scope is named as in [`KvSpace`].
pub(super) fn forget(conn: &Connection, expired: &str, id: ConversationId) -> Result<(), StoreError> {
    let own = format!("SELECT plugin, scope FROM kv WHERE key = '' AND scope IN (SELECT 'c' || id FROM ({expired}))");
    sql::execute(conn, &format!("DELETE FROM kv WHERE (plugin, scope) IN ({own})"), [id.0])?;
    Ok(())
}

#[cfg(test)]
mod tests;
