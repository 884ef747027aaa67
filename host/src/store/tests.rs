//! The promises of the store as a whole.

mod damage;

use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::chat::Usage;
use crate::clock::Moment;
use crate::ids::{BootId, ConversationId, OutboxId, TurnId};

pub(super) const AT: Moment = Moment(1_800_000_000_000);

/// A store in a fresh work directory, with one conversation and its session.
pub(super) struct Fixture {
    pub folder: tempfile::TempDir,
    pub workdir: WorkDir,
    pub store: Store,
    pub conversation: ConversationId,
    pub session: Session,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(folder.path()).unwrap();
        let (store, opened) = Store::open(&workdir, options).unwrap();
        assert_eq!(opened, Opened::default());
        let conversation = conversation(&store, "main").await;
        let session = store.foreground(conversation).await.unwrap();
        Self { folder, workdir, store, conversation, session }
    }

    /// Closes the store and opens it again.
    pub async fn reopen(&mut self) -> Opened {
        self.store.close().await;
        let (store, opened) = Store::open(&self.workdir, Options::default()).unwrap();
        self.store = store;
        opened
    }

    /// Runs SQL that the store has no command for.
    pub fn tamper(&self, sql: &str) -> usize {
        Connection::open(self.workdir.database()).unwrap().execute(sql, []).unwrap()
    }

    pub async fn now(&self) -> Session {
        self.store.session(self.session.id).await.unwrap().unwrap()
    }

    pub async fn append(&self, bodies: &[&str]) -> Appended {
        let append = Append { events: bodies.iter().map(|body| event(body)).collect(), ..Append::new(&self.now().await, TurnId(1), AT) };
        self.store.append(append).await.unwrap()
    }

    pub async fn accept(&self, external_id: &str) -> Accepted {
        let accept = Accept::rows(vec![message(self.conversation, external_id)], AT);
        self.store.accept(accept).await.unwrap()[0]
    }

    pub async fn reply(&self, key: &str) -> OutboxId {
        self.store.tell(reply(self.conversation, key), AT).await.unwrap()
    }
}

pub(super) async fn conversation(store: &Store, address: &str) -> ConversationId {
    let new = NewConversation { channel: "terminal".into(), address: address.into(), model: "main".into(), expires_at: None };
    store.get_or_create(new, AT).await.unwrap().0.id
}

pub(super) fn event(body: &str) -> NewEvent {
    NewEvent { kind: "answered".into(), body: body.into(), blobs: Vec::new() }
}

pub(super) fn message(conversation: ConversationId, external_id: &str) -> NewInbox {
    NewInbox {
        source: "terminal".into(),
        external_id: external_id.into(),
        conversation,
        kind: InboxKind::Message,
        group: None,
        body: format!(r#"{{"text":"{external_id}"}}"#),
        blobs: Vec::new(),
        held: false,
    }
}

pub(super) fn reply(conversation: ConversationId, key: &str) -> NewOutbox {
    NewOutbox::new(key, conversation, OutboxKind::Final, format!("**{key}**"))
}

#[tokio::test]
async fn a_conversation_is_made_once_and_keeps_its_model() {
    let fixture = Fixture::new().await;
    let again = NewConversation { channel: "terminal".into(), address: "main".into(), model: "other".into(), expires_at: None };
    let (known, new) = fixture.store.get_or_create(again, AT).await.unwrap();
    assert_eq!((known.id, known.model.as_str(), new), (fixture.conversation, "main", false));
    fixture.store.set_model(known.id, "fast".into()).await.unwrap();
    assert_eq!(fixture.store.conversation(known.id).await.unwrap().unwrap().model, "fast");
    assert_eq!(fixture.store.foreground(known.id).await.unwrap().id, fixture.session.id);
    let missing = fixture.store.set_model(ConversationId(99), "fast".into()).await.unwrap_err();
    assert_eq!(missing, StoreError::NotFound("conversation c99".into()));
}

#[tokio::test]
async fn everything_committed_is_there_after_reopening() {
    let mut fixture = Fixture::new().await;
    let row = fixture.accept("m1").await;
    let session = fixture.now().await;
    let turn = Append {
        events: vec![event(r#"{"n":1}"#)],
        take: vec![row.id],
        phase: Some(Phase::Asking),
        outbox: vec![reply(fixture.conversation, "s1.t1.notice")],
        usage: vec![NewUsage {
            step: 1,
            kind: UsageKind::Turn,
            model: "main".into(),
            usage: Usage { output: 7, ..Usage::default() },
            estimated: false,
        }],
        ..Append::new(&session, TurnId(1), AT)
    };
    assert_eq!(fixture.store.append(turn).await.unwrap().next_seq, 2);
    assert_eq!(fixture.reopen().await, Opened::default());
    let journal = fixture.store.load(session.id).await.unwrap();
    assert_eq!((journal.session.phase, journal.events.len(), journal.damage), (Phase::Asking, 1, None));
    assert_eq!(fixture.store.open_sessions().await.unwrap().len(), 1);
    assert!(fixture.store.open_inbox(fixture.conversation, None).await.unwrap().is_empty());
    assert_eq!(fixture.store.lanes().await.unwrap(), [fixture.conversation]);
    assert_eq!(fixture.store.usage_of_turn(session.id, TurnId(1)).await.unwrap().unpriced_tokens, 7);
    let version = std::fs::read_to_string(fixture.workdir.root().join("STELLA_VERSION")).unwrap();
    assert_eq!(version.trim(), SCHEMA_VERSION.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_are_committed_together_and_a_bad_one_fails_alone() {
    let fixture = Fixture::with(Options { commit_delay: Duration::from_millis(20), ..Options::default() }).await;
    let before = fixture.store.stats();
    let jobs = (0..64).map(|n| {
        let (store, conversation) = (fixture.store.clone(), fixture.conversation);
        tokio::spawn(async move {
            // A conversation that is not there: refused within the group.
            let target = if n % 8 == 0 { ConversationId(999) } else { conversation };
            store.tell(reply(target, &format!("k{n}")), AT).await
        })
    });
    let jobs: Vec<_> = jobs.collect();
    let mut refused = 0;
    for job in jobs {
        match job.await.unwrap() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, StoreError::NotFound("conversation c999".into()));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 8);
    assert_eq!(fixture.store.pending_outbox(fixture.conversation, 100).await.unwrap().len(), 56);
    let after = fixture.store.stats();
    assert_eq!(after.awaited - before.awaited, 64);
    assert!(after.commits - before.commits <= 8, "{} commits", after.commits - before.commits);
    assert!(after.bytes > before.bytes);
}

#[tokio::test]
async fn a_constraint_error_undoes_its_own_job_only() {
    let fixture = Fixture::new().await;
    let begun = fixture.store.queue(0, true, |tx| sql::execute(tx.conn, "INSERT INTO channels (channel) VALUES ('a')", [])).await;
    let failing = fixture
        .store
        .queue(0, true, |tx| {
            sql::execute(tx.conn, "INSERT INTO channels (channel) VALUES ('b')", [])?;
            sql::execute(tx.conn, "INSERT INTO channels (channel) VALUES ('a')", [])
        })
        .await;
    let last = fixture.store.queue(0, true, |tx| sql::execute(tx.conn, "INSERT INTO channels (channel) VALUES ('c')", [])).await;
    assert_eq!(begun.unwrap().wait().await, Ok(1));
    assert!(matches!(failing.unwrap().wait().await, Err(StoreError::Constraint(_))));
    assert_eq!(last.unwrap().wait().await, Ok(1));
    let read = |conn: &Connection| sql::all(conn, "SELECT channel FROM channels ORDER BY 1", [], |row| row.get::<_, String>(0));
    assert_eq!(fixture.store.read(read).await.unwrap(), ["a", "c"]);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_committed_and_passes() {
    let fixture = Fixture::with(Options { max_pages: Some(80), ..Options::default() }).await;
    let big = |key: String| NewOutbox { body: "x".repeat(8000), ..reply(fixture.conversation, &key) };
    let mut committed = 0;
    let error = loop {
        match fixture.store.tell(big(format!("k{committed}")), AT).await {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(committed > 3);
    assert_eq!(fixture.store.pending_outbox(fixture.conversation, 1000).await.unwrap().len(), committed);
    assert_eq!(fixture.store.check().await.unwrap().problems, Vec::<String>::new());
    // It works again when there is room.
    fixture.store.write(0, |tx| Ok(tx.conn.pragma_update(None, "max_page_count", 10_000)?)).await.unwrap();
    fixture.store.tell(big("later".into()), AT).await.unwrap();
}

#[test]
fn a_full_disk_answers_every_job_of_its_group() {
    // The writer runs on this thread, so that the group is certain.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut conn = schema::open_writer(&path).unwrap();
    migrate::migrate(&mut conn, &path, &migrate::PLAN).unwrap();
    conn.pragma_update(None, "max_page_count", 60).unwrap();
    let (watermark, _) = Watermark::open(&folder.path().join("state.mark"), Mark::default()).unwrap();
    let (sender, receiver) = channel();
    let shared = Shared::new();
    let writer = Writer::new(conn, &path, watermark, receiver, shared.clone(), Duration::ZERO);
    let job = |sql: &'static str| {
        let (caller, answer) = oneshot::channel();
        let run = move |tx: &mut Tx<'_>| sql::execute(tx.conn, sql, []);
        let work = Box::new(Task { run: Some(run), outcome: None, caller });
        sender.send(Message::Job(Job { work, bytes: 0, label: None, awaited: true, rides: false, place: None })).unwrap();
        answer
    };
    let mut answers = [
        job("INSERT INTO channels (channel) VALUES ('a')"),
        job("INSERT INTO channels (channel, cursor) VALUES ('b', hex(zeroblob(400000)))"),
    ];
    drop(sender);
    writer.run();
    for answer in &mut answers {
        let answer = answer.try_recv().unwrap();
        assert!(matches!(answer, Err(StoreError::Full(_))), "{answer:?}");
    }
    assert_eq!(shared.broken(), None);
    let kept: u32 = Connection::open(&path).unwrap().query_row("SELECT count(*) FROM channels", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn the_same_arrival_is_accepted_once_and_the_cursor_moves_with_it() {
    let fixture = Fixture::new().await;
    let rows = vec![message(fixture.conversation, "7"), message(fixture.conversation, "8"), message(fixture.conversation, "7")];
    let cursor = Some(("terminal".to_owned(), "9".to_owned()));
    let first = fixture.store.accept(Accept { cursor, ..Accept::rows(rows.clone(), AT) }).await.unwrap();
    assert_eq!(first.iter().map(|row| row.new).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(first[0].id, first[2].id);
    let again = fixture.store.accept(Accept::rows(rows, AT)).await.unwrap();
    assert!(again.iter().all(|row| !row.new));
    assert_eq!(fixture.store.cursor("terminal").await.unwrap().as_deref(), Some("9"));
    assert_eq!(fixture.store.cursor("tg:1").await.unwrap(), None);
    let other = NewInbox { source: "tg:1".into(), ..message(fixture.conversation, "7") };
    assert!(fixture.store.accept(Accept::rows(vec![other], AT)).await.unwrap()[0].new);
    let open = fixture.store.open_inbox(fixture.conversation, Some(InboxKind::Message)).await.unwrap();
    assert_eq!(open.iter().map(|row| row.external_id.as_str()).collect::<Vec<_>>(), ["7", "8", "7"]);
    assert_eq!(fixture.store.waiting_conversations(Some(InboxKind::Command)).await.unwrap(), []);
    assert_eq!(fixture.store.waiting_conversations(None).await.unwrap(), [fixture.conversation]);
}

#[tokio::test]
async fn messages_that_there_is_no_room_for_are_not_taken_and_that_is_said_once() {
    let fixture = Fixture::new().await;
    let id = fixture.conversation;
    let accept = async |keys: &[&str]| {
        let rows = keys
            .iter()
            .map(|key| NewInbox { kind: if *key == "cancel" { InboxKind::Command } else { InboxKind::Message }, ..message(id, key) });
        let room = Some(Room { messages: 2, full: "full".into() });
        fixture.store.accept(Accept { room, ..Accept::rows(rows.collect(), AT) }).await.unwrap().len()
    };
    let told = async || fixture.store.pending_outbox(id, 9).await.unwrap().into_iter().map(|row| row.body).collect::<Vec<_>>();
    assert_eq!(accept(&["1", "2"]).await, 2);
    assert!(told().await.is_empty());
    // A command passes, and what is here already is not turned away.
    assert_eq!(accept(&["3", "cancel", "2", "4"]).await, 2);
    assert_eq!(accept(&["5"]).await, 0);
    assert_eq!(told().await, ["full"]);
    let first = fixture.store.open_inbox(id, Some(InboxKind::Message)).await.unwrap().remove(0);
    fixture.store.set_aside(vec![first.id]).await.unwrap();
    assert_eq!(accept(&["6", "7"]).await, 1);
    assert_eq!(told().await, ["full", "full"], "it was full again");
    let open = fixture.store.open_inbox(id, Some(InboxKind::Message)).await.unwrap();
    assert_eq!(open.iter().map(|row| row.external_id.as_str()).collect::<Vec<_>>(), ["2", "6"]);
}

#[tokio::test]
async fn a_command_and_its_effect_are_one_transaction() {
    let fixture = Fixture::new().await;
    let row = fixture.accept("new").await.id;
    let effects = vec![
        CommandEffect::SetModel { conversation: fixture.conversation, alias: "fast".into() },
        CommandEffect::NewSession { conversation: fixture.conversation },
    ];
    let done = CommandDone { row, effects, outbox: vec![reply(fixture.conversation, "i1.answer")], at: AT };
    let outcome = fixture.store.command_done(done.clone()).await.unwrap();
    let opened = outcome.opened.unwrap();
    assert_ne!(opened.id, fixture.session.id);
    assert_eq!(fixture.now().await.phase, Phase::Closed);
    assert_eq!(fixture.store.foreground(fixture.conversation).await.unwrap(), opened);
    assert_eq!(outcome.outbox.len(), 1);
    // The actor of the closed session finds out; the command cannot be applied twice.
    let late = Append { events: vec![event("{}")], ..Append::new(&fixture.session, TurnId(1), AT) };
    assert!(matches!(fixture.store.append(late).await, Err(StoreError::Conflict(_))));
    assert!(matches!(fixture.store.claim_session(fixture.session.id).await, Err(StoreError::Conflict(_))));
    assert!(matches!(fixture.store.command_done(done).await, Err(StoreError::Conflict(_))));
    assert_eq!(fixture.store.foreground(fixture.conversation).await.unwrap(), opened);
}

#[tokio::test]
async fn a_reply_goes_part_by_part_and_its_key_is_sent_once() {
    let fixture = Fixture::new().await;
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    let id = fixture.reply("s1.t1.final").await;
    assert_eq!(fixture.reply("s1.t1.final").await, id);
    assert_eq!(fixture.store.plan_and_send(id, vec!["one".into(), "two".into()], boot).await.unwrap(), Next::Part(0));
    assert!(matches!(fixture.store.plan_and_send(id, vec![], boot).await, Err(StoreError::Conflict(_))));
    assert_eq!(fixture.store.part_sent(id, 0, Some("100".into()), boot).await.unwrap(), Next::Part(1));
    fixture.store.part_ended(id, 1, PartOutcome::NotSent).await.unwrap();
    fixture.store.send_part(id, 1, boot, false).await.unwrap();
    assert!(matches!(fixture.store.send_part(id, 0, boot, false).await, Err(StoreError::Conflict(_))));
    let row = &fixture.store.pending_outbox(fixture.conversation, 10).await.unwrap()[0];
    let states: Vec<_> = row.parts.iter().map(|part| (part.state, part.tries, part.remote_id.as_deref())).collect();
    assert_eq!(states, [(PartState::Sent, 1, Some("100")), (PartState::Sending, 1, None)], "what has not arrived does not count");
    assert_eq!(fixture.store.part_sent(id, 1, None, boot).await.unwrap(), Next::Done);
    assert_eq!(fixture.store.outbox(id).await.unwrap().unwrap().state, OutboxState::Sent);
    assert_eq!(fixture.store.lanes().await.unwrap(), []);
    let empty = fixture.reply("s1.t2.final").await;
    assert_eq!(fixture.store.plan_and_send(empty, vec![], boot).await.unwrap(), Next::Done);
}

#[tokio::test]
async fn a_part_is_replaced_by_others_with_its_mark_and_the_rest_follows() {
    let fixture = Fixture::new().await;
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    let id = fixture.reply("s1.t1.final").await;
    let bodies = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    fixture.store.plan_and_send(id, bodies(&["one", "two", "three", "four"]), boot).await.unwrap();
    assert!(matches!(fixture.store.split_part(id, 1, bodies(&["x"])).await, Err(StoreError::Conflict(_))));
    fixture.store.part_sent(id, 0, None, boot).await.unwrap();
    fixture.store.part_ended(id, 1, PartOutcome::Unknown).await.unwrap();
    fixture.store.send_part(id, 1, boot, true).await.unwrap();
    fixture.store.split_part(id, 1, bodies(&["two-a", "two-b", "two-c"])).await.unwrap();
    let row = fixture.store.outbox(id).await.unwrap().unwrap();
    let parts: Vec<_> = row.parts.iter().map(|part| (part.n, part.body.as_str(), part.marked, part.tries)).collect();
    let pieces = [(1, "two-a", true, 1), (2, "two-b", true, 1), (3, "two-c", true, 1)];
    assert_eq!(parts, [&[(0, "one", false, 1)], &pieces[..], &[(4, "three", false, 0), (5, "four", false, 0)]].concat());
    assert!(row.parts[1..].iter().all(|part| part.state == PartState::Pending));
}

#[tokio::test]
async fn nothing_more_of_a_reply_goes_when_its_conversation_is_condemned() {
    let fixture = Fixture::new().await;
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    let id = fixture.reply("s1.t1.final").await;
    fixture.store.plan_and_send(id, vec!["one".into(), "two".into()], boot).await.unwrap();
    fixture.store.condemn(fixture.conversation, true).await.unwrap();
    assert_eq!(fixture.store.part_sent(id, 0, None, boot).await.unwrap(), Next::Done);
    let row = fixture.store.outbox(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.parts[0].state, row.parts[1].state), (OutboxState::Aside, PartState::Sent, PartState::Pending));
}

#[tokio::test]
async fn a_reply_that_ends_has_nothing_on_its_way() {
    let fixture = Fixture::new().await;
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    let id = fixture.reply("s1.t1.final").await;
    assert!(fixture.store.is_awaited("s1.t1.final".into()).await.unwrap());
    fixture.store.plan_and_send(id, vec!["one".into()], boot).await.unwrap();
    fixture.store.finish_outbox(id, OutboxState::Aside, None, AT).await.unwrap();
    assert_eq!(fixture.store.outbox(id).await.unwrap().unwrap().parts[0].state, PartState::Unknown);
    assert!(!fixture.store.is_awaited("s1.t1.final".into()).await.unwrap());
}

#[tokio::test]
async fn a_start_marks_what_was_being_sent_unknown_and_finds_open_work() {
    let mut fixture = Fixture::new().await;
    let first = fixture.store.recover("0.1.0", AT).await.unwrap();
    assert_eq!((first.last_seen, first.crashed, first.unknown_parts), (None, false, 0));
    let id = fixture.reply("s1.t1.final").await;
    fixture.store.plan_and_send(id, vec!["one".into(), "two".into()], first.boot).await.unwrap();
    let asking = Append { phase: Some(Phase::Asking), ..Append::new(&fixture.session, TurnId(1), AT) };
    fixture.store.append(asking).await.unwrap();
    fixture.store.seen(first.boot, Moment(AT.0 + 30_000));
    fixture.reopen().await;
    let second = fixture.store.recover("0.1.0", Moment(AT.0 + 60_000)).await.unwrap();
    assert_eq!((second.last_seen, second.crashed, second.unknown_parts), (Some(Moment(AT.0 + 30_000)), true, 1));
    assert_eq!(second.open.iter().map(|session| session.id).collect::<Vec<_>>(), [fixture.session.id]);
    let parts = &fixture.store.outbox(id).await.unwrap().unwrap().parts;
    assert_eq!((parts[0].state, parts[0].boot, parts[1].state), (PartState::Unknown, Some(first.boot), PartState::Pending));
    // The repeat stays unknown: the reply is not done by itself, the caller ends it.
    fixture.store.send_part(id, 0, second.boot, true).await.unwrap();
    fixture.store.part_ended(id, 0, PartOutcome::Unknown).await.unwrap();
    fixture.store.send_part(id, 1, second.boot, false).await.unwrap();
    assert_eq!(fixture.store.part_sent(id, 1, None, second.boot).await.unwrap(), Next::Unsettled);
    assert!(fixture.store.outbox(id).await.unwrap().unwrap().parts[0].marked);
    fixture.store.finish_outbox(id, OutboxState::Sent, None, AT).await.unwrap();
    fixture.store.end_boot(second.boot, AT).await.unwrap();
    assert!(!fixture.store.recover("0.1.0", AT).await.unwrap().crashed);
}

#[tokio::test]
async fn a_ride_is_committed_without_company_within_its_delay() {
    let fixture = Fixture::new().await;
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    let before = fixture.store.stats();
    fixture.store.seen(boot, Moment(AT.0 + 1));
    tokio::time::sleep(limits::RIDE_DELAY / 4).await;
    assert_eq!(fixture.store.stats().commits, before.commits);
    tokio::time::sleep(limits::RIDE_DELAY).await;
    assert_eq!(fixture.store.stats().commits, before.commits + 1);
    assert_eq!(fixture.store.stats().awaited, before.awaited);
    fixture.store.seen(boot, Moment(AT.0 + 2));
    fixture.reply("k").await;
    assert_eq!(fixture.store.stats().commits, before.commits + 2);
}

#[tokio::test]
async fn the_log_is_written_back_when_it_is_long() {
    let fixture = Fixture::new().await;
    for n in 0..6 {
        let body = "x".repeat(2 << 20);
        fixture.store.tell(NewOutbox { body, ..reply(fixture.conversation, &n.to_string()) }, AT).await.unwrap();
    }
    // A commit that is answered is followed by the writing back that it made due.
    fixture.reply("last").await;
    let log = std::fs::metadata(fixture.workdir.root().join("state.db-wal")).unwrap().len();
    assert!(log <= limits::LOG_BYTES + (3 << 20), "{log}");
    assert!(fixture.store.stats().bytes > 12 << 20);
}

#[tokio::test]
async fn wake_ups_follow_the_commit_and_end_with_the_store() {
    let fixture = Fixture::new().await;
    let mut wakes = fixture.store.wakes();
    fixture.accept("1").await;
    fixture.accept("2").await;
    fixture.accept("2").await;
    assert_eq!(wakes.next().await, Some(Wake::Inbox(fixture.conversation)));
    fixture.reply("k").await;
    assert_eq!(wakes.next().await, Some(Wake::Outbox(fixture.conversation)));
    fixture.store.close().await;
    assert_eq!(wakes.next().await, None);
    assert_eq!(fixture.store.wakes().next().await, None);
    let late = fixture.store.tell(reply(fixture.conversation, "late"), AT).await;
    assert_eq!(late, Err(StoreError::Closed));
}

#[tokio::test]
async fn reading_verbs_read_while_the_host_writes_and_cannot_write() {
    let fixture = Fixture::new().await;
    let reader = Store::open_read_only(&fixture.workdir).unwrap();
    fixture.append(&["{}", "{}"]).await;
    assert_eq!(reader.load(fixture.session.id).await.unwrap().events.len(), 2);
    assert_eq!(reader.set_model(fixture.conversation, "x".into()).await, Err(StoreError::ReadOnly));
    assert_eq!(reader.put_blob(b"x".to_vec()).await, Err(StoreError::ReadOnly));
    fixture.store.close().await;
    let alone = Store::open_read_only(&fixture.workdir).unwrap();
    assert_eq!(alone.conversations().await.unwrap().len(), 1);
    let empty = tempfile::tempdir().unwrap();
    let missing = Store::open_read_only(&WorkDir::existing(empty.path()).unwrap()).unwrap_err();
    assert!(matches!(missing, StoreError::NotFound(_)), "{missing}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn rows_that_were_committed_and_are_gone_are_reported() {
    let mut fixture = Fixture::new().await;
    fixture.accept("1").await;
    fixture.append(&["{}"]).await;
    fixture.store.close().await;
    let copy = fixture.folder.path().join("copy.db");
    std::fs::copy(fixture.workdir.database(), &copy).unwrap();
    fixture.reopen().await;
    fixture.accept("2").await;
    fixture.append(&["{}", "{}"]).await;
    fixture.store.close().await;
    std::fs::rename(&copy, fixture.workdir.database()).unwrap();
    let lost = Lost { inbox_known: 2, inbox_now: 1, journal_known: 3, journal_now: 1 };
    assert_eq!(fixture.reopen().await.lost, Some(lost));
}

#[tokio::test]
async fn after_an_io_error_the_store_is_broken_for_good() {
    let fixture = Fixture::new().await;
    let store = fixture.store.clone();
    let broken = tokio::spawn(async move { store.broken().await });
    let failed: Result<(), _> = fixture.store.write(0, |_| Err(StoreError::Broken("disk I/O error".into()))).await;
    assert_eq!(failed, Err(StoreError::Broken("disk I/O error".into())));
    assert_eq!(broken.await.unwrap(), "disk I/O error");
    let later = fixture.store.tell(reply(fixture.conversation, "k"), AT).await;
    assert_eq!(later, Err(StoreError::Broken("disk I/O error".into())));
}

#[tokio::test]
async fn a_panicking_job_breaks_the_store_and_leaves_nobody_waiting() {
    let fixture = Fixture::new().await;
    let failed: Result<(), _> = fixture.store.write(0, |_| panic!("a fault of the store")).await;
    assert_eq!(failed, Err(StoreError::Broken("a job of the writer panicked".into())));
    assert_eq!(fixture.store.broken().await, "a job of the writer panicked");
}

/// What waits while the disk works goes with the next commit, however much it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_conversations_share_the_commits_of_a_slow_disk() {
    async fn commits_per_step(sessions: usize) -> f64 {
        const STEPS: usize = 10;
        let fixture = Fixture::with(Options { commit_delay: Duration::from_millis(5), ..Options::default() }).await;
        let mut opened = Vec::new();
        for n in 0..sessions {
            let conversation = conversation(&fixture.store, &n.to_string()).await;
            opened.push(fixture.store.foreground(conversation).await.unwrap());
        }
        let before = fixture.store.stats();
        let running = opened.into_iter().map(|mut session| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                for _ in 0..STEPS {
                    let append = Append { events: vec![event(r#"{"a":1}"#)], ..Append::new(&session, TurnId(1), AT) };
                    session.next_seq = store.append(append).await.unwrap().next_seq;
                }
            })
        });
        for task in running.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let after = fixture.store.stats();
        (after.commits - before.commits) as f64 / (sessions * STEPS) as f64
    }
    let (eight, sixty_four) = (commits_per_step(8).await, commits_per_step(64).await);
    assert!(eight <= 0.5, "{eight} commits per step with 8 conversations");
    assert!(sixty_four <= 0.1, "{sixty_four} commits per step with 64 conversations");
}

#[tokio::test]
async fn labels_name_crash_points_only_where_there_are_any() {
    let fixture = Fixture::new().await;
    let made = Arc::new(AtomicU64::new(0));
    let count = made.clone();
    let labelled = fixture.store.at(move || {
        count.fetch_add(1, Ordering::Relaxed);
        "answer@s1.t1.1".into()
    });
    labelled.tell(reply(fixture.conversation, "k"), AT).await.unwrap();
    assert_eq!(made.load(Ordering::Relaxed), u64::from(crash::armed()));
    let _: BootId = labelled.recover("0.1.0", AT).await.unwrap().boot;
}

/// The parent runs this test again as a child that a crash point kills around the commit of its third reply.
#[tokio::test]
#[cfg(debug_assertions)]
async fn a_kill_before_the_commit_loses_the_job_and_one_after_it_does_not() {
    const NAME: &str = "store::tests::a_kill_before_the_commit_loses_the_job_and_one_after_it_does_not";
    if let Some(root) = std::env::var_os("STELLACLAW_TEST_WORKDIR") {
        let store = Store::open(&WorkDir::open(root).unwrap(), Options::default()).unwrap().0;
        let conversation = conversation(&store, "main").await;
        for n in 1..=4 {
            store.at(|| format!("tell@k{n}")).tell(reply(conversation, &format!("k{n}")), AT).await.unwrap();
        }
        return;
    }
    for (point, kept) in [("tell.before@k3", 2), ("tell.after@k3", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("points");
        let root = folder.path().join("work");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env("CRASH_AT", point)
            .env("CRASH_LIST", &list)
            .env("STELLACLAW_TEST_WORKDIR", &root)
            .output()
            .unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.status), Some(9), "{point}: {child:?}");
        assert_eq!(std::fs::read_to_string(&list).unwrap().lines().last(), Some(point));
        let (store, opened) = Store::open(&WorkDir::open(&root).unwrap(), Options::default()).unwrap();
        assert_eq!(opened, Opened::default(), "{point}");
        assert_eq!(store.pending_outbox(ConversationId(1), 10).await.unwrap().len(), kept, "{point}");
    }
}

#[tokio::test]
async fn a_held_message_holds_up_those_after_it_but_no_command_until_it_is_released() {
    let mut fixture = Fixture::new().await;
    let id = fixture.conversation;
    let held = NewInbox { held: true, ..message(id, "album") };
    let command = NewInbox { kind: InboxKind::Command, ..message(id, "stop") };
    let accept = Accept::rows(vec![message(id, "before"), held, message(id, "after"), command], AT);
    let rows: Vec<_> = fixture.store.accept(accept).await.unwrap().iter().map(|row| row.id).collect();
    let open = async |store: &Store| store.open_inbox(id, None).await.unwrap().into_iter().map(|row| row.external_id).collect::<Vec<_>>();
    assert_eq!(open(&fixture.store).await, ["before", "stop"]);
    fixture.reopen().await;
    let known = fixture.store.held_inbox("terminal").await.unwrap();
    assert_eq!(known.iter().map(|row| row.id).collect::<Vec<_>>(), [rows[1]]);
    // A long body becomes a blob, as if it had been so from the beginning.
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(limits::INLINE_BYTES));
    fixture.store.release(vec![(rows[1], body.clone())]).await.unwrap();
    fixture.store.release(vec![(rows[1], "late".into())]).await.unwrap();
    assert_eq!(open(&fixture.store).await, ["before", "album", "after", "stop"]);
    assert_eq!(fixture.store.open_inbox(id, None).await.unwrap()[1].body, body);
    assert_eq!(fixture.store.held_inbox("terminal").await.unwrap(), []);
}

#[tokio::test]
async fn what_is_released_with_new_rows_is_never_found_without_them() {
    let fixture = Fixture::new().await;
    let id = fixture.conversation;
    let held = NewInbox { held: true, ..message(id, "1") };
    let row = fixture.store.accept(Accept::rows(vec![held], AT)).await.unwrap()[0].id;
    let refused = NewInbox { conversation: ConversationId(999), ..message(id, "2") };
    let release = vec![(row, "{}".to_owned())];
    let accept = Accept { release: release.clone(), ..Accept::rows(vec![refused], AT) };
    assert!(matches!(fixture.store.accept(accept).await, Err(StoreError::NotFound(_))));
    assert_eq!(fixture.store.open_inbox(id, None).await.unwrap(), []);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(limits::INLINE_BYTES));
    let new = NewInbox { body: long.clone(), ..message(id, "3") };
    fixture.store.accept(Accept { release, ..Accept::rows(vec![new], AT) }).await.unwrap();
    let bodies: Vec<_> = fixture.store.open_inbox(id, None).await.unwrap().into_iter().map(|row| row.body).collect();
    assert_eq!(bodies, ["{}".to_owned(), long]);
    // The same again releases nothing: what is held by now came after it.
    let held = NewInbox { held: true, ..message(id, "4") };
    let row = fixture.store.accept(Accept::rows(vec![held], AT)).await.unwrap()[0].id;
    let again = Accept { release: vec![(row, "{}".to_owned())], ..Accept::rows(vec![message(id, "3")], AT) };
    assert!(!fixture.store.accept(again).await.unwrap()[0].new);
    assert_eq!(fixture.store.open_inbox(id, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn it_is_known_when_something_last_came_from_a_source() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.store.last_received("terminal").await.unwrap(), None);
    for (key, at) in [("1", Moment(AT.0 + 5)), ("2", AT)] {
        fixture.store.accept(Accept::rows(vec![message(fixture.conversation, key)], at)).await.unwrap();
    }
    assert_eq!(fixture.store.last_received("terminal").await.unwrap(), Some(Moment(AT.0 + 5)));
    assert_eq!(fixture.store.last_received("tg:1").await.unwrap(), None);
}

#[tokio::test]
async fn a_conversation_that_has_nothing_but_held_messages_does_not_wait() {
    let fixture = Fixture::new().await;
    let held = NewInbox { held: true, ..message(fixture.conversation, "1") };
    let row = fixture.store.accept(Accept::rows(vec![held], AT)).await.unwrap()[0].id;
    assert_eq!(fixture.store.waiting_conversations(None).await.unwrap(), []);
    let mut wakes = fixture.store.wakes();
    fixture.store.release(vec![(row, "{}".into())]).await.unwrap();
    assert_eq!(wakes.next().await, Some(Wake::Inbox(fixture.conversation)));
    assert_eq!(fixture.store.waiting_conversations(None).await.unwrap(), [fixture.conversation]);
}

#[tokio::test]
async fn an_address_moves_with_its_threads_and_what_was_decided_about_it() {
    let fixture = Fixture::new().await;
    for address in ["-5", "-5:7", "-5:9", "-55", "-1005:9"] {
        conversation(&fixture.store, address).await;
    }
    let group = Person { id: "-5".into(), role: Role::Group, name: "G".into(), since: AT };
    fixture.store.set_person("terminal", group).await.unwrap();
    fixture.store.move_address("terminal", "-5", "-1005").await.unwrap();
    let all = fixture.store.conversations().await.unwrap();
    let addresses: Vec<_> = all.iter().map(|known| (known.address.as_str(), known.moved_to())).collect();
    let left = ("-5:9", Some("-1005"));
    assert_eq!(addresses, [("main", None), ("-1005", None), ("-1005:7", None), left, ("-55", None), ("-1005:9", None)]);
    assert_eq!(fixture.store.people("terminal").await.unwrap()[0].id, "-1005");
    let there = fixture.store.conversations_at("terminal", "-1005").await.unwrap();
    assert_eq!(there.iter().map(|known| known.address.as_str()).collect::<Vec<_>>(), ["-1005", "-1005:7", "-1005:9"]);
}

#[tokio::test]
async fn what_is_unfinished_is_known_and_set_aside_only_while_nobody_has_it() {
    let fixture = Fixture::new().await;
    let row = |id: &str, held: bool| NewInbox {
        source: "tg:1".into(),
        external_id: id.into(),
        conversation: fixture.conversation,
        kind: InboxKind::Message,
        group: None,
        body: format!("{{\"text\":\"{id}\"}}"),
        blobs: Vec::new(),
        held,
    };
    let command = NewInbox { kind: InboxKind::Command, ..row("command", false) };
    let accept = Accept::rows(vec![row("held", true), row("free", false), command], AT);
    let rows = fixture.store.accept(accept).await.unwrap();
    let known = async || -> Vec<String> {
        let all = fixture.store.unfinished("terminal").await.unwrap();
        all.into_iter().map(|(row, address)| format!("{address} {}", row.external_id)).collect()
    };
    let address = fixture.store.conversation(fixture.conversation).await.unwrap().unwrap().address;
    assert_eq!(known().await, [format!("{address} held"), format!("{address} free")], "commands are applied, whoever gave them");
    assert!(fixture.store.unfinished("tg:1").await.unwrap().is_empty(), "of another channel's conversations");
    fixture.store.set_aside(vec![rows[0].id]).await.unwrap();
    assert_eq!(known().await, [format!("{address} free")]);
    // Released after that it stays aside, and it holds up nothing.
    fixture.store.release(vec![(rows[0].id, "{\"text\":\"late\"}".into())]).await.unwrap();
    let open = fixture.store.open_inbox(fixture.conversation, Some(InboxKind::Message)).await.unwrap();
    assert_eq!(open.iter().map(|row| row.external_id.as_str()).collect::<Vec<_>>(), ["free"]);
}
