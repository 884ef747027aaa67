//! Brings a database to the version this release knows.
//!
//! - Newer than ours: refused, nothing is changed.
//! - Older: a whole copy first (`state.db.v<N>`), then one transaction per version. Each moves `user_version` with it, so a
//!   kill between any two leaves a database of some version from which the next start goes on.
//! - New: the tables of today, in one transaction.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{SCHEMA_VERSION, StoreError, schema};
use crate::crash;

/// From the version before `to` to `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    pub to: u32,
    pub sql: &'static str,
}

/// What a release knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// The tables of the last version.
    pub tables: &'static str,
    pub version: u32,
    /// In order, the last one to `version`. Never changed once released.
    pub migrations: &'static [Migration],
}

/// What this release knows. Version 1 is the first.
pub(super) const PLAN: Plan = Plan { tables: schema::TABLES, version: SCHEMA_VERSION, migrations: &[SECOND] };

/// Channels with people, groups and files: who may talk, what is held until it is fetched, what a reply answers. And usage that
/// says what for, where and when.
const SECOND: Migration = Migration {
    to: 2,
    sql: "
ALTER TABLE conversations ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN closed_at INTEGER;
ALTER TABLE conversations ADD COLUMN effort TEXT;
ALTER TABLE inbox ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX inbox_taken ON inbox (conversation) WHERE state = 'taken';
CREATE INDEX inbox_held ON inbox (source) WHERE held = 1;
ALTER TABLE outbox ADD COLUMN buttons TEXT NOT NULL DEFAULT '[]';
ALTER TABLE outbox ADD COLUMN answers TEXT;
ALTER TABLE people ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE people ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
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
ALTER TABLE usage ADD COLUMN kind TEXT NOT NULL DEFAULT 'turn' CHECK (kind IN ('turn', 'compaction', 'helper'));
ALTER TABLE usage ADD COLUMN conversation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
UPDATE usage SET at = day * 86400000,
    conversation = coalesce((SELECT sessions.conversation FROM sessions WHERE sessions.id = usage.session), 0);
CREATE INDEX usage_conversation ON usage (conversation);
",
};

/// The database's version; 0: there is none. One that this plan does not know is refused. Opens it for reading only.
pub(super) fn check(path: &Path, plan: &Plan) -> Result<u32, StoreError> {
    if !path.exists() {
        return Ok(0);
    }
    if !path.is_file() {
        return Err(super::io_error("open", path, &"it is not a file"));
    }
    let found = schema::version(&schema::open_reader(path)?)?;
    if found > plan.version {
        return Err(StoreError::Newer { found, known: plan.version });
    }
    Ok(found)
}

/// Makes or migrates the tables. The version it came from, if it migrated.
pub(super) fn migrate(conn: &mut Connection, path: &Path, plan: &Plan) -> Result<Option<u32>, StoreError> {
    let from = schema::version(conn)?;
    if from == plan.version {
        return Ok(None);
    }
    if from == 0 {
        step(conn, plan.tables, plan.version)?;
        return Ok(None);
    }
    back_up(conn, path, from)?;
    for migration in plan.migrations.iter().filter(|migration| migration.to > from) {
        crash::point(|| format!("migrate.before@v{}", migration.to));
        step(conn, migration.sql, migration.to)?;
        crash::point(|| format!("migrate.after@v{}", migration.to));
    }
    let now = schema::version(conn)?;
    if now != plan.version {
        return Err(StoreError::Broken(format!("no migration leads from version {now} to {}", plan.version)));
    }
    Ok(Some(from))
}

fn step(conn: &mut Connection, sql: &str, to: u32) -> Result<(), StoreError> {
    let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "user_version", to)?;
    Ok(transaction.commit()?)
}

/// A whole copy beside the database. It gets its name when it is complete and durable.
fn back_up(conn: &Connection, path: &Path, version: u32) -> Result<(), StoreError> {
    let target = backup_path(path, version);
    let temporary = target.with_extension("new");
    let io = |action| {
        let path = temporary.display().to_string();
        move |error: std::io::Error| StoreError::Io { action, path: path.clone(), reason: error.to_string() }
    };
    if temporary.exists() {
        fs::remove_file(&temporary).map_err(io("remove"))?;
    }
    conn.execute("VACUUM INTO ?1", [temporary.to_string_lossy()])?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).map_err(io("make private"))?;
    File::open(&temporary).and_then(|file| file.sync_all()).map_err(io("sync"))?;
    fs::rename(&temporary, &target).map_err(io("rename"))?;
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|file| file.sync_all()).map_err(io("sync the folder of"))?;
    }
    crash::point(|| format!("migrate.backup@v{version}"));
    Ok(())
}

/// `state.db.v<N>`
fn backup_path(path: &Path, version: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{version}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
