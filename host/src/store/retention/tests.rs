use std::fs::File;
use std::time::SystemTime;

use super::*;
use crate::ids::TurnId;
use crate::store::tests::{AT, Fixture, event, message};
use crate::store::{Accept, Append, NewConversation, NewInbox, Phase};

/// Makes every blob older than its time.
fn age_blobs(blobs: &std::path::Path) {
    for folder in std::fs::read_dir(blobs).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let past = SystemTime::now() - limits::BLOB_KEPT - Duration::from_secs(1);
            File::open(file.unwrap().path()).unwrap().set_modified(past).unwrap();
        }
    }
}

fn after(duration: Duration) -> Moment {
    Moment(AT.0 + i64::try_from(duration.as_millis()).unwrap() + 1)
}

#[tokio::test]
async fn keys_are_kept_for_their_time_and_open_rows_for_ever() {
    let fixture = Fixture::new().await;
    let done = fixture.accept("1").await.id;
    fixture.accept("2").await;
    fixture.store.append(Append { done: vec![done], ..Append::new(&fixture.session, TurnId(1), AT) }).await.unwrap();
    let early = Moment(AT.0 + i64::try_from(limits::INBOX_KEPT.as_millis()).unwrap());
    assert_eq!(fixture.store.prune(early, None).await.unwrap().inbox_rows, 0);
    assert_eq!(fixture.store.prune(after(limits::INBOX_KEPT), None).await.unwrap().inbox_rows, 1);
    assert!(fixture.accept("1").await.new);
    assert!(!fixture.accept("2").await.new);
}

#[tokio::test]
async fn ids_of_forgotten_rows_are_not_used_again() {
    let mut fixture = Fixture::new().await;
    let done = fixture.accept("1").await.id;
    fixture.store.append(Append { done: vec![done], ..Append::new(&fixture.session, TurnId(1), AT) }).await.unwrap();
    fixture.store.prune(after(limits::INBOX_KEPT), None).await.unwrap();
    assert_eq!(fixture.reopen().await.lost, None);
    assert!(fixture.accept("2").await.id > done);
}

#[tokio::test]
async fn an_expired_conversation_goes_with_everything_in_it_when_nothing_is_open() {
    let fixture = Fixture::new().await;
    let expires_at = Some(Moment(AT.0 + i64::try_from(limits::ASK_KEPT.as_millis()).unwrap()));
    let new = NewConversation { channel: "ask".into(), address: "u1".into(), model: "main".into(), expires_at };
    let (ask, _) = fixture.store.get_or_create(new, AT).await.unwrap();
    let session = fixture.store.foreground(ask.id).await.unwrap();
    let long = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES));
    let row = NewInbox { body: long.clone(), ..message(ask.id, "q") };
    let row = fixture.store.accept(Accept::rows(vec![row], AT)).await.unwrap()[0].id;
    let began = Append { events: vec![event(&long)], take: vec![row], phase: Some(Phase::Asking), ..Append::new(&session, TurnId(1), AT) };
    let next_seq = fixture.store.append(began).await.unwrap().next_seq;
    let late = after(limits::ASK_KEPT);
    assert_eq!(fixture.store.expired(late).await.unwrap(), []);
    let outbox = vec![crate::store::tests::reply(ask.id, "s2.t1.final")];
    let ended = Append { expected_seq: next_seq, phase: Some(Phase::Idle), outbox, ..Append::new(&session, TurnId(1), AT) };
    let reply = fixture.store.append(ended).await.unwrap().outbox[0];
    assert_eq!(fixture.store.expired(late).await.unwrap(), []);
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    fixture.store.plan_and_send(reply, vec!["answer".into()], boot).await.unwrap();
    fixture.store.part_sent(reply, 0, None, boot).await.unwrap();
    age_blobs(&fixture.workdir.blobs());
    let early = Moment(late.0 - 2);
    assert_eq!(fixture.store.expired(early).await.unwrap(), []);
    fixture.store.delete_expired(vec![ask.id]).await.unwrap();
    assert!(fixture.store.session(session.id).await.unwrap().is_some(), "it has not expired");
    assert_eq!(fixture.store.expired(late).await.unwrap(), [ask.id]);
    assert_eq!(fixture.store.expired(late).await.unwrap(), [ask.id], "until it is deleted");
    fixture.store.delete_expired(vec![ask.id]).await.unwrap();
    assert_eq!(fixture.store.prune(early, None).await.unwrap().blobs, 1);
    assert_eq!(fixture.store.session(session.id).await.unwrap(), None);
    assert_eq!(fixture.store.check().await.unwrap(), Checked::default());
    assert_eq!(fixture.store.conversations().await.unwrap().len(), 1);
}

#[tokio::test]
async fn history_is_forgotten_only_when_asked_and_only_below_the_fold() {
    let fixture = Fixture::new().await;
    fixture.append(&["1", "2", "3"]).await;
    let session = fixture.now().await;
    let compact = Append { events: vec![event("cut")], fold_from: Some(4), ..Append::new(&session, TurnId(2), AT) };
    fixture.store.append(compact).await.unwrap();
    let day = Duration::from_secs(86_400);
    assert_eq!(fixture.store.prune(after(day), None).await.unwrap().journal_rows, 0);
    assert_eq!(fixture.store.prune(AT, Some(day)).await.unwrap().journal_rows, 0);
    assert_eq!(fixture.store.prune(after(day), Some(day)).await.unwrap().journal_rows, 3);
    assert_eq!(fixture.store.load(session.id).await.unwrap().events.len(), 1);
    assert_eq!(fixture.store.check().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_blob_goes_when_no_row_names_it_and_it_is_old() {
    let fixture = Fixture::new().await;
    let named = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES));
    fixture.append(&[&named]).await;
    let loose = fixture.store.put_blob(b"loose".to_vec()).await.unwrap();
    assert_eq!(fixture.store.prune(AT, None).await.unwrap().blobs, 0);
    age_blobs(&fixture.workdir.blobs());
    // Put again, it is on its way to a row.
    assert_eq!(fixture.store.put_blob(b"loose".to_vec()).await.unwrap(), loose);
    assert_eq!(fixture.store.prune(AT, None).await.unwrap().blobs, 0);
    age_blobs(&fixture.workdir.blobs());
    assert_eq!(fixture.store.prune(AT, None).await.unwrap().blobs, 1);
    assert_eq!(fixture.store.blob(&loose).await, Err(StoreError::NotFound(format!("blob {loose}"))));
    assert_eq!(fixture.store.load(fixture.session.id).await.unwrap().events[0].body, named);
}

#[tokio::test]
async fn pruning_gives_the_space_back() {
    let fixture = Fixture::new().await;
    let body = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES - 2));
    for _ in 0..100 {
        fixture.append(&[body.as_str(); 3]).await;
    }
    let session = fixture.now().await;
    let compact = Append { fold_from: Some(session.next_seq), ..Append::new(&session, TurnId(2), AT) };
    fixture.store.append(compact).await.unwrap();
    let size = || std::fs::metadata(fixture.workdir.database()).unwrap().len();
    let day = Duration::from_secs(86_400);
    fixture.store.prune(AT, Some(day)).await.unwrap();
    let full = size();
    assert!(full > 4 << 20, "{full}");
    assert_eq!(fixture.store.prune(after(day), Some(day)).await.unwrap().journal_rows, 300);
    assert!(size() < 1 << 20, "{} of {full} bytes left", size());
    let log = std::fs::metadata(fixture.workdir.root().join("state.db-wal")).unwrap().len();
    assert_eq!(log, 0);
}

/// A store in which something of everything is to be forgotten, and something to be kept. Its session.
async fn forgetful(fixture: &Fixture) {
    let done = fixture.accept("1").await.id;
    fixture.accept("2").await;
    let long = |fill: &str| format!("\"{}\"", fill.repeat(limits::INLINE_BYTES));
    fixture.append(&["1", &long("a"), &long("b")]).await;
    let session = fixture.now().await;
    let compact = Append { events: vec![event("cut")], done: vec![done], fold_from: Some(3), ..Append::new(&session, TurnId(2), AT) };
    fixture.store.append(compact).await.unwrap();
    for address in ["u1", "u2"] {
        let expires_at = Some(AT);
        let new = NewConversation { channel: "ask".into(), address: address.into(), model: "main".into(), expires_at };
        let (ask, _) = fixture.store.get_or_create(new, AT).await.unwrap();
        fixture.store.foreground(ask.id).await.unwrap();
    }
    for loose in [b"loose", b"worse"] {
        fixture.store.put_blob(loose.to_vec()).await.unwrap();
    }
    age_blobs(&fixture.workdir.blobs());
}

/// Forgets as the host does.
async fn forget(store: &Store) {
    let late = after(limits::INBOX_KEPT);
    let expired = store.expired(late).await.unwrap();
    store.delete_expired(expired).await.unwrap();
    store.prune(late, Some(Duration::from_secs(86_400))).await.unwrap();
}

/// What is left: rows by table, and the names of blobs.
fn left(workdir: &crate::workdir::WorkDir) -> Vec<String> {
    let conn = Connection::open(workdir.database()).unwrap();
    let count = |table: &str| -> u32 { conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap() };
    let mut left: Vec<String> =
        ["conversations", "sessions", "inbox", "journal", "blob_refs"].iter().map(|table| format!("{table} {}", count(table))).collect();
    for folder in std::fs::read_dir(workdir.blobs()).unwrap() {
        let files = std::fs::read_dir(folder.unwrap().path()).unwrap();
        left.extend(files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()));
    }
    left.sort();
    left
}

/// The parent runs this test again as a child that a crash point kills.
#[tokio::test]
#[cfg(debug_assertions)]
async fn a_kill_while_forgetting_leaves_only_more_for_the_next_time() {
    use std::process::Command;
    const NAME: &str = "store::retention::tests::a_kill_while_forgetting_leaves_only_more_for_the_next_time";
    if let Some(root) = std::env::var_os("STELLACLAW_TEST_WORKDIR") {
        let workdir = crate::workdir::WorkDir::open(root).unwrap();
        let (store, _) = Store::open(&workdir, crate::store::Options::default()).unwrap();
        forget(&store).await;
        return store.close().await;
    }
    let child = |fixture: &Fixture, variable: &str, value: &str| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME]).env("STELLACLAW_TEST_WORKDIR", fixture.workdir.root()).env(variable, value).output().unwrap()
    };
    let made = async || {
        let fixture = Fixture::new().await;
        forgetful(&fixture).await;
        fixture.store.close().await;
        fixture
    };
    let undisturbed = made().await;
    let before = left(&undisturbed.workdir);
    let list = undisturbed.folder.path().join("points.txt");
    assert!(child(&undisturbed, "CRASH_LIST", list.to_str().unwrap()).status.success());
    let expected = left(&undisturbed.workdir);
    let tables = ["blob_refs 1", "conversations 1", "inbox 1", "journal 2", "sessions 1"];
    assert!(tables.iter().all(|table| expected.iter().any(|line| line == table)), "{before:?} became {expected:?}");
    let points: std::collections::BTreeSet<String> = std::fs::read_to_string(list).unwrap().lines().map(str::to_owned).collect();
    for part in [
        "prune.before@expired",
        "prune.after@conversations",
        "prune.after@inbox",
        "prune.after@journal",
        "sweep.before@",
        "prune.after@vacuum",
    ] {
        assert!(points.iter().any(|point| point.starts_with(part)), "no point {part}: {points:?}");
    }
    for point in points {
        let fixture = made().await;
        let killed = child(&fixture, "CRASH_AT", &point);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{point}: {killed:?}");
        let (store, opened) = Store::open(&fixture.workdir, crate::store::Options::default()).unwrap();
        assert_eq!(opened.lost, None, "{point}");
        assert_eq!(store.check().await.unwrap().problems, Vec::<String>::new(), "{point}");
        forget(&store).await;
        store.close().await;
        assert_eq!(left(&fixture.workdir), expected, "{point}");
    }
}
