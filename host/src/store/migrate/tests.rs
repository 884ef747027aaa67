use std::path::Path;
use std::process::Command;

use super::*;
use crate::store::{Options, Store};
use crate::workdir::WorkDir;

const FIRST: Plan = Plan { tables: "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;", version: 1, migrations: &[] };
const THIRD: Plan = Plan {
    tables: "CREATE TABLE notes (id INTEGER PRIMARY KEY, words TEXT NOT NULL, starred INTEGER NOT NULL DEFAULT 0) STRICT;",
    version: 3,
    migrations: &[
        Migration { to: 2, sql: "ALTER TABLE notes RENAME COLUMN text TO words;" },
        Migration { to: 3, sql: "ALTER TABLE notes ADD COLUMN starred INTEGER NOT NULL DEFAULT 0;" },
    ],
};

fn first_version(path: &Path) -> Connection {
    let mut conn = schema::open_writer(path).unwrap();
    assert_eq!(migrate(&mut conn, path, &FIRST).unwrap(), None);
    conn.execute("INSERT INTO notes (text) VALUES ('kept')", []).unwrap();
    conn
}

fn migrated(path: &Path) -> Result<Option<u32>, StoreError> {
    check(path, &THIRD)?;
    let mut conn = schema::open_writer(path)?;
    migrate(&mut conn, path, &THIRD)
}

#[test]
fn each_version_is_reached_in_order_with_a_copy_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(first_version(&path));
    // Half a copy of an attempt that was killed.
    std::fs::write(folder.path().join("state.db.new"), "half").unwrap();
    assert_eq!(migrated(&path).unwrap(), Some(1));
    assert_eq!(migrated(&path).unwrap(), None);
    let conn = Connection::open(&path).unwrap();
    let row: (String, i64) = conn.query_row("SELECT words, starred FROM notes", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(row, ("kept".into(), 0));
    let copy = Connection::open(folder.path().join("state.db.v1")).unwrap();
    assert_eq!(schema::version(&copy).unwrap(), 1);
    assert_eq!(copy.query_row("SELECT text FROM notes", [], |row| row.get::<_, String>(0)).unwrap(), "kept");
}

#[test]
fn a_failing_step_leaves_the_version_before_it() {
    const BROKEN: Plan = Plan {
        migrations: &[
            Migration { to: 2, sql: "ALTER TABLE notes RENAME COLUMN text TO words;" },
            Migration { to: 3, sql: "DELETE FROM notes; ALTER TABLE nothing ADD COLUMN x TEXT;" },
        ],
        ..THIRD
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut conn = first_version(&path);
    migrate(&mut conn, &path, &BROKEN).unwrap_err();
    assert_eq!(schema::version(&conn).unwrap(), 2);
    assert_eq!(conn.query_row("SELECT words FROM notes", [], |row| row.get::<_, String>(0)).unwrap(), "kept");
    drop(conn);
    assert_eq!(migrated(&path).unwrap(), Some(2));
}

#[test]
fn a_newer_database_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let workdir = WorkDir::open(folder.path()).unwrap();
    let conn = schema::open_writer(&workdir.database()).unwrap();
    conn.execute_batch("CREATE TABLE future (x) STRICT;").unwrap_err();
    conn.execute_batch("CREATE TABLE future (x TEXT) STRICT; PRAGMA user_version = 999;").unwrap();
    drop(conn);
    let before = std::fs::read(workdir.database()).unwrap();
    let newer = StoreError::Newer { found: 999, known: SCHEMA_VERSION };
    assert_eq!(Store::open(&workdir, Options::default()).unwrap_err(), newer);
    assert_eq!(Store::open_read_only(&workdir).unwrap_err(), newer);
    assert_eq!(std::fs::read(workdir.database()).unwrap(), before);
    assert!(!folder.path().join("STELLA_VERSION").exists());
}

#[test]
fn a_new_database_can_give_space_back_and_syncs_fully() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut conn = schema::open_writer(&path).unwrap();
    migrate(&mut conn, &path, &PLAN).unwrap();
    drop(conn);
    let conn = schema::open_writer(&path).unwrap();
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("auto_vacuum"), pragma("synchronous"), pragma("user_version")), (2, 2, i64::from(SCHEMA_VERSION)));
}

/// The parent runs this test again as a child that a crash point kills, then goes on where the child died.
#[test]
#[cfg(debug_assertions)]
fn a_kill_between_any_two_steps_is_made_good_by_the_next_start() {
    const NAME: &str = "store::migrate::tests::a_kill_between_any_two_steps_is_made_good_by_the_next_start";
    if let Some(path) = std::env::var_os("STELLACLAW_TEST_DATABASE") {
        migrated(Path::new(&path)).unwrap();
        return;
    }
    let points =
        [("migrate.backup@v1", 1), ("migrate.before@v2", 1), ("migrate.after@v2", 2), ("migrate.before@v3", 2), ("migrate.after@v3", 3)];
    for (point, version) in points {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        drop(first_version(&path));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env("CRASH_AT", point)
            .env("STELLACLAW_TEST_DATABASE", &path)
            .output()
            .unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.status), Some(9), "{point}: {child:?}");
        assert_eq!(schema::version(&Connection::open(&path).unwrap()).unwrap(), version, "{point}");
        assert!(folder.path().join("state.db.v1").exists());
        assert_eq!(migrated(&path).unwrap(), (version < 3).then_some(version), "{point}");
        let conn = Connection::open(&path).unwrap();
        assert_eq!(conn.query_row("SELECT words FROM notes", [], |row| row.get::<_, String>(0)).unwrap(), "kept");
    }
}

const V1: Plan = Plan { tables: include_str!("v1.sql"), version: 1, migrations: &[] };

#[test]
fn usage_of_the_first_version_is_of_its_conversation_and_day() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut conn = schema::open_writer(&path).unwrap();
    migrate(&mut conn, &path, &V1).unwrap();
    conn.execute_batch(
        "INSERT INTO conversations (id, channel, address, model, created_at) VALUES (7, 'terminal', 'a', 'main', 0);
         INSERT INTO sessions (id, conversation, kind) VALUES (3, 7, 'foreground');
         INSERT INTO usage (session, turn, step, model, day, input_uncached, cache_read, cache_write, output, reasoning, estimated)
         VALUES (3, 1, 1, 'main', 2, 1, 1, 1, 1, 1, 0), (99, 1, 1, 'main', 2, 1, 1, 1, 1, 1, 0);",
    )
    .unwrap();
    assert_eq!(migrate(&mut conn, &path, &PLAN).unwrap(), Some(1));
    let mut statement = conn.prepare("SELECT kind, conversation, at FROM usage ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(String, i64, i64)> = rows.map(Result::unwrap).collect();
    // A session that is gone takes the name of its conversation with it.
    assert_eq!(rows, [("turn".into(), 7, 2 * 86_400_000), ("turn".into(), 0, 2 * 86_400_000)]);
}

/// The tables that this release makes, and those that it makes of the first ones.
#[test]
fn a_migrated_database_is_like_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let columns = |name: &str, plans: &[&Plan]| {
        let path = folder.path().join(name);
        let mut conn = schema::open_writer(&path).unwrap();
        for plan in plans {
            migrate(&mut conn, &path, plan).unwrap();
        }
        let query = "SELECT m.name, c.cid, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk FROM sqlite_schema m
            JOIN pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.cid";
        let mut statement = conn.prepare(query).unwrap();
        let columns = statement.query_map([], |row| {
            let (table, at, name, kind): (String, i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let (required, default, key): (bool, Option<String>, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
            Ok(format!("{table}.{at} {name} {kind} {required} {default:?} {key}"))
        });
        let columns: Vec<_> = columns.unwrap().map(Result::unwrap).collect();
        let indices = "SELECT name || ' ' || coalesce(sql, '') FROM sqlite_schema WHERE type = 'index' ORDER BY name";
        let mut statement = conn.prepare(indices).unwrap();
        let indices: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (columns, indices)
    };
    assert_eq!(columns("old", &[&V1, &PLAN]), columns("new", &[&PLAN]));
}
