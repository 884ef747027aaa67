//! The tables, and how a connection is set up.
//!
//! Ids are never reused (AUTOINCREMENT): they name workspaces and calls, and the watermark counts on them. A partial index
//! exists wherever a start looks for open work, so that it costs what is open, not what is kept.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use crate::limits;

/// The tables of [`super::SCHEMA_VERSION`].
pub(super) const TABLES: &str = "
CREATE TABLE boots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    ended INTEGER
) STRICT;

CREATE TABLE channels (
    channel TEXT PRIMARY KEY,
    cursor TEXT,
    frozen_until TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    model TEXT NOT NULL,
    settings TEXT NOT NULL DEFAULT '{}',
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'expired')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    title TEXT NOT NULL DEFAULT '',
    closed_at INTEGER,
    effort TEXT,
    UNIQUE (channel, address)
) STRICT;
CREATE INDEX conversations_expiring ON conversations (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversations (id),
    parent INTEGER,
    kind TEXT NOT NULL,
    phase TEXT NOT NULL DEFAULT 'idle',
    next_seq INTEGER NOT NULL DEFAULT 1,
    fold_from INTEGER NOT NULL DEFAULT 1,
    epoch INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sessions_conversation ON sessions (conversation);
CREATE INDEX sessions_open ON sessions (phase) WHERE phase NOT IN ('idle', 'closed');

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    external_id TEXT NOT NULL,
    conversation INTEGER NOT NULL,
    kind TEXT NOT NULL,
    group_id TEXT,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'taken', 'done', 'aside')),
    session INTEGER,
    turn INTEGER,
    received_at INTEGER NOT NULL,
    held INTEGER NOT NULL DEFAULT 0,
    UNIQUE (source, external_id)
) STRICT;
CREATE INDEX inbox_new ON inbox (conversation, id) WHERE state = 'new';
CREATE INDEX inbox_taken ON inbox (conversation) WHERE state = 'taken';
CREATE INDEX inbox_held ON inbox (source) WHERE held = 1;

CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions (id),
    seq INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    sum BLOB NOT NULL CHECK (length(sum) = 8),
    UNIQUE (session, seq)
) STRICT;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    conversation INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'failed', 'aside')),
    created_at INTEGER NOT NULL,
    buttons TEXT NOT NULL DEFAULT '[]',
    answers TEXT
) STRICT;
CREATE INDEX outbox_pending ON outbox (conversation, id) WHERE state = 'pending';

CREATE TABLE parts (
    outbox INTEGER NOT NULL REFERENCES outbox (id),
    n INTEGER NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'unknown', 'refused')),
    boot INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    marked INTEGER NOT NULL DEFAULT 0,
    remote_id TEXT,
    UNIQUE (outbox, n)
) STRICT;
CREATE INDEX parts_sending ON parts (outbox) WHERE state = 'sending';

CREATE TABLE usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    step INTEGER NOT NULL,
    model TEXT NOT NULL,
    day INTEGER NOT NULL,
    input_uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost_micros INTEGER,
    estimated INTEGER NOT NULL,
    kind TEXT NOT NULL DEFAULT 'turn' CHECK (kind IN ('turn', 'compaction', 'helper')),
    conversation INTEGER NOT NULL DEFAULT 0,
    at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX usage_day ON usage (day, model);
CREATE INDEX usage_turn ON usage (session, turn);
CREATE INDEX usage_conversation ON usage (conversation);

CREATE TABLE blob_refs (
    hash TEXT NOT NULL,
    owner TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (hash, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_refs_owner ON blob_refs (owner);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    plugin TEXT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    boot INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    result TEXT
) STRICT;
CREATE INDEX jobs_running ON jobs (session) WHERE state = 'running';

CREATE TABLE kv (
    plugin TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (plugin, scope, key)
) STRICT;
CREATE INDEX kv_scopes ON kv (scope) WHERE key = '';

CREATE TABLE people (
    channel TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    since INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE strangers (
    channel TEXT NOT NULL,
    user_id TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 0,
    hinted_at INTEGER,
    PRIMARY KEY (channel, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    channel TEXT NOT NULL,
    subject TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    PRIMARY KEY (channel, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE panels (
    conversation INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    remote_id TEXT NOT NULL
) STRICT;

CREATE TABLE oddities (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    external_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
";

/// The only connection that writes. `auto_vacuum` counts only before the first table, so it comes first.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    make_private(path).map_err(|error| super::io_error("open", path, &error))?;
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(limits::DATABASE_WAIT)?;
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Broken(format!("{} does not support a write-ahead log (journal mode {mode})", path.display())));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "journal_size_limit", i64::try_from(limits::LOG_KEPT_BYTES).unwrap_or(-1))?;
    // The writer does it itself, after it has answered.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// Makes a database that is missing ours alone; its log and index get the same mode. SQLite opens one that cannot be written
/// for reading, and says so late and without its name.
fn make_private(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(limits::DATABASE_WAIT)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// The version of the tables; 0: there are none.
pub(super) fn version(conn: &Connection) -> Result<u32, StoreError> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
