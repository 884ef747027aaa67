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
    let row = fixture.store.accept(Accept { rows: vec![row], cursor: None, at: AT }).await.unwrap()[0].id;
    let began = Append { events: vec![event(&long)], take: vec![row], phase: Some(Phase::Asking), ..Append::new(&session, TurnId(1), AT) };
    let next_seq = fixture.store.append(began).await.unwrap().next_seq;
    let late = after(limits::ASK_KEPT);
    assert_eq!(fixture.store.prune(late, None).await.unwrap().conversations, []);
    let outbox = vec![crate::store::tests::reply(ask.id, "s2.t1.final")];
    let ended = Append { expected_seq: next_seq, phase: Some(Phase::Idle), outbox, ..Append::new(&session, TurnId(1), AT) };
    let reply = fixture.store.append(ended).await.unwrap().outbox[0];
    assert_eq!(fixture.store.prune(late, None).await.unwrap().conversations, []);
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    fixture.store.plan_and_send(reply, vec!["answer".into()], boot).await.unwrap();
    fixture.store.part_sent(reply, 0, None, boot).await.unwrap();
    age_blobs(&fixture.workdir.blobs());
    let early = Moment(late.0 - 2);
    assert_eq!(fixture.store.prune(early, None).await.unwrap(), Pruned::default());
    let pruned = fixture.store.prune(late, None).await.unwrap();
    assert_eq!((pruned.conversations, pruned.blobs), (vec![ask.id], 1));
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
