use super::*;
use crate::store::tests::{AT, Fixture, event, message, reply};

#[tokio::test]
async fn an_append_from_an_old_picture_is_a_conflict_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    let row = fixture.accept("1").await.id;
    let old = Append {
        events: vec![event("{}")],
        take: vec![row],
        outbox: vec![reply(fixture.conversation, "k")],
        ..Append::new(&fixture.session, TurnId(1), AT)
    };
    fixture.append(&["{}"]).await;
    let seq = fixture.store.append(old.clone()).await.unwrap_err();
    assert_eq!(seq, StoreError::Conflict("session s1 is at epoch 0 and row 2, not at epoch 0 and row 1".into()));
    let claimed = fixture.store.claim_session(fixture.session.id).await.unwrap();
    let epoch = Append { expected_seq: 2, ..old.clone() };
    assert!(matches!(fixture.store.append(epoch).await, Err(StoreError::Conflict(_))));
    assert_eq!(fixture.store.lanes().await.unwrap(), []);
    let current = Append { expected_seq: 2, epoch: claimed.epoch, ..old };
    assert_eq!(fixture.store.append(current).await.unwrap().next_seq, 3);
}

#[tokio::test]
async fn an_input_is_taken_by_one_turn_only() {
    let fixture = Fixture::new().await;
    let row = fixture.accept("1").await.id;
    let take = |session: &Session| Append { take: vec![row], ..Append::new(session, TurnId(1), AT) };
    fixture.store.append(take(&fixture.session)).await.unwrap();
    let again = fixture.store.append(take(&fixture.session)).await;
    assert_eq!(again, Err(StoreError::Conflict("inbox row i1 is not new".into())));
    let done = Append { done: vec![row], ..Append::new(&fixture.session, TurnId(1), AT) };
    fixture.store.append(done.clone()).await.unwrap();
    assert!(matches!(fixture.store.append(done).await, Err(StoreError::Conflict(_))));
    // Its body is gone, its key is not.
    assert!(!fixture.accept("1").await.new);
    let bodies = fixture.store.read(|conn| sql::all(conn, "SELECT body FROM inbox", [], |row| row.get::<_, String>(0))).await.unwrap();
    assert_eq!(bodies, [""]);
}

#[tokio::test]
async fn unawaited_appends_keep_their_order() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session.clone();
    let mut pending = Vec::new();
    for n in 0..5 {
        let append = Append { events: vec![event(&n.to_string())], ..Append::new(&session, TurnId(1), AT) };
        pending.push(fixture.store.append_unawaited(append).await.unwrap());
        session.next_seq += 1;
    }
    for (n, pending) in (2..).zip(pending) {
        assert_eq!(pending.wait().await.unwrap().next_seq, n);
    }
    let journal = fixture.store.load(session.id).await.unwrap();
    assert_eq!(journal.events.iter().map(|event| event.body.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_result_for_another_conversation_is_accepted_in_the_same_commit() {
    let fixture = Fixture::new().await;
    let mut wakes = fixture.store.wakes();
    let result = NewInbox { source: "agent".into(), ..message(fixture.conversation, "s2.t1") };
    let append = Append { inbox: vec![result.clone(), result], ..Append::new(&fixture.session, TurnId(1), AT) };
    let accepted = fixture.store.append(append).await.unwrap().inbox;
    assert_eq!((accepted[0].new, accepted[1].new), (true, false));
    assert_eq!(wakes.next().await, Some(crate::store::Wake::Inbox(fixture.conversation)));
}

#[tokio::test]
async fn a_long_body_is_a_blob_and_comes_back_whole() {
    let fixture = Fixture::new().await;
    let long = format!(r#"{{"text":"{}"}}"#, "ä".repeat(limits::INLINE_BYTES));
    fixture.append(&["{}", &long]).await;
    let stored = fixture.store.read(|conn| sql::all(conn, "SELECT length(body) FROM journal", [], |row| row.get::<_, i64>(0))).await;
    assert_eq!(stored.unwrap(), [2, 71]);
    assert_eq!(fixture.store.load(fixture.session.id).await.unwrap().events[1].body, long);
    let refs = fixture.store.read(|conn| sql::all(conn, "SELECT owner FROM blob_refs", [], |row| row.get::<_, String>(0))).await;
    assert_eq!(refs.unwrap(), ["j:1:2"]);
}

#[tokio::test]
async fn long_journals_are_read_in_pages_and_from_the_fold() {
    let fixture = Fixture::new().await;
    let bodies: Vec<String> = (1..=limits::READ_ROWS * 2 + 3).map(|n| n.to_string()).collect();
    fixture.append(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let journal = fixture.store.load(fixture.session.id).await.unwrap();
    assert_eq!(journal.events.len(), bodies.len());
    assert!(journal.events.iter().zip(&bodies).all(|(event, body)| event.body == *body && event.seq.to_string() == *body));
    let session = fixture.now().await;
    let compact = Append { events: vec![event("cut")], fold_from: Some(session.next_seq), ..Append::new(&session, TurnId(2), AT) };
    fixture.store.append(compact).await.unwrap();
    let journal = fixture.store.load(fixture.session.id).await.unwrap();
    assert_eq!(journal.events.iter().map(|event| event.body.as_str()).collect::<Vec<_>>(), ["cut"]);
}

#[tokio::test]
async fn a_flipped_byte_at_the_end_is_reported_and_the_rest_kept() {
    let fixture = Fixture::new().await;
    fixture.append(&[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]).await;
    fixture.tamper(r#"UPDATE journal SET body = '{"n":4}' WHERE seq = 3"#);
    let journal = fixture.store.load(fixture.session.id).await.unwrap();
    assert_eq!(journal.events.len(), 2);
    let damage = journal.damage.unwrap();
    assert_eq!((damage.from_seq, damage.rows), (3, 1));
    assert_eq!(damage.reason, "row 3 of session s1 does not match its checksum");
    assert_eq!(fixture.store.check().await.unwrap().problems, ["row 3 of session s1 does not match its checksum"]);
    let cut = fixture.store.cut_damaged(fixture.session.id, 3).await.unwrap();
    assert_eq!(cut.next_seq, 3);
    fixture.append(&["again"]).await;
    assert_eq!(fixture.store.load(fixture.session.id).await.unwrap().damage, None);
}

#[tokio::test]
async fn a_missing_end_is_reported() {
    let fixture = Fixture::new().await;
    fixture.append(&["1", "2", "3"]).await;
    fixture.tamper("DELETE FROM journal WHERE seq >= 2");
    let damage = fixture.store.load(fixture.session.id).await.unwrap().damage.unwrap();
    assert_eq!((damage.from_seq, damage.rows), (2, 2));
    assert_eq!(fixture.store.check().await.unwrap().problems, ["session s1: 2 of 3 rows are missing"]);
}

#[tokio::test]
async fn damage_in_the_middle_is_an_error() {
    let fixture = Fixture::new().await;
    fixture.append(&["1", "2", "3"]).await;
    for damage in ["UPDATE journal SET kind = 'other' WHERE seq = 2", "DELETE FROM journal WHERE seq = 2"] {
        fixture.tamper(damage);
        let error = fixture.store.load(fixture.session.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{damage}: {error}");
    }
}

#[tokio::test]
async fn every_field_is_under_the_sum() {
    for (column, value) in [("turn", "9"), ("kind", "'x'"), ("body", "'x'"), ("session", "2"), ("seq", "9")] {
        let fixture = Fixture::new().await;
        fixture.store.open_session(fixture.conversation, crate::store::SessionKind::Background, None).await.unwrap();
        fixture.append(&["1"]).await;
        fixture.tamper(&format!("UPDATE journal SET {column} = {value}"));
        let problems = fixture.store.check().await.unwrap().problems;
        assert!(problems.iter().any(|line| line.contains("checksum")), "{column}: {problems:?}");
    }
}

#[tokio::test]
async fn a_damaged_or_missing_blob_counts_as_damage() {
    let fixture = Fixture::new().await;
    let long = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES));
    fixture.append(&["1", &long]).await;
    let hash = BlobHash::of(long.as_bytes());
    let path = fixture.workdir.blobs().join(&hash.as_str()[..2]).join(hash.as_str());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(fixture.store.load(fixture.session.id).await.unwrap().damage.unwrap().from_seq, 2);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(fixture.store.load(fixture.session.id).await.unwrap().damage.unwrap().from_seq, 2);
    assert_eq!(fixture.store.check().await.unwrap().problems.len(), 2);
}

#[tokio::test]
async fn a_row_cannot_name_a_blob_that_is_not_there() {
    let fixture = Fixture::new().await;
    let named = |hash: BlobHash| Append {
        events: vec![NewEvent { blobs: vec![hash], ..event("{}") }],
        ..Append::new(&fixture.session, TurnId(1), AT)
    };
    let missing = fixture.store.append(named(BlobHash::of(b"nothing"))).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound(_)), "{missing}");
    let hash = fixture.store.put_blob(b"picture".to_vec()).await.unwrap();
    fixture.store.append(named(hash.clone())).await.unwrap();
    assert_eq!(fixture.store.blob(&hash).await.unwrap(), b"picture");
}
