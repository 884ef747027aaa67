//! A torn or damaged file: what is left is used, what is missing is said, and nothing wrong is ever read.

use std::fs;
use std::path::Path;

use super::*;

const SEED: u64 = 0x57e1_1ac1_a0fa_0175;
/// A page with its frame header, and the header of the log.
const FRAME: u64 = 24 + 4096;
const LOG_HEADER: u64 = 32;

/// xorshift.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// A store that died with all its rows in the write-ahead log.
struct Died {
    fixture: Fixture,
    /// How long the log was after each commit, the first one being none.
    ends: Vec<u64>,
}

/// What a store that was opened after the damage says.
struct Found {
    rows: Vec<String>,
    inbox: usize,
    lost: Option<Lost>,
}

impl Died {
    async fn new() -> Self {
        let mut fixture = Fixture::new().await;
        fixture.reopen().await;
        let log = |fixture: &Fixture| fs::metadata(fixture.workdir.root().join("state.db-wal")).map_or(0, |file| file.len());
        let mut ends = vec![log(&fixture)];
        for n in 1..=12 {
            let session = fixture.now().await;
            let append = Append {
                events: vec![event(&format!(r#"{{"n":{n}}}"#))],
                inbox: vec![message(fixture.conversation, &n.to_string())],
                ..Append::new(&session, TurnId(1), AT)
            };
            fixture.store.append(append).await.unwrap();
            ends.push(log(&fixture));
        }
        assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
        Self { fixture, ends }
    }

    /// Commits that are whole in a log of this length.
    fn whole(&self, length: u64) -> usize {
        self.ends.iter().skip(1).filter(|end| **end <= length).count()
    }

    /// Opens a copy of the files, with the log as `damage` leaves it.
    async fn open(&self, damage: impl FnOnce(&mut Vec<u8>)) -> Found {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-wal", "state.mark", "STELLA_VERSION"] {
            fs::copy(self.fixture.workdir.root().join(name), folder.path().join(name)).unwrap();
        }
        let log = folder.path().join("state.db-wal");
        let mut bytes = fs::read(&log).unwrap();
        damage(&mut bytes);
        fs::write(&log, bytes).unwrap();
        let (store, opened) = Store::open(&WorkDir::open(folder.path()).unwrap(), Options::default()).unwrap();
        let journal = store.load(self.fixture.session.id).await.unwrap();
        assert_eq!(journal.damage, None, "whole transactions are gone, not parts of them");
        assert_eq!(store.check().await.unwrap().problems, Vec::<String>::new());
        let rows = journal.events.into_iter().map(|event| event.body).collect();
        let inbox = store.open_inbox(self.fixture.conversation, None).await.unwrap().len();
        store.close().await;
        Found { rows, inbox, lost: opened.lost }
    }

    /// So many commits are left, and what is missing was said.
    fn assert_kept(&self, found: &Found, kept: usize, what: &str) {
        let all = self.ends.len() - 1;
        let rows: Vec<_> = (1..=kept).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        assert_eq!((&found.rows, found.inbox), (&rows, kept), "{what}");
        let (known, now) = (all as u64, kept as u64);
        let lost = Lost { inbox_known: known, inbox_now: now, journal_known: known, journal_now: now };
        assert_eq!(found.lost, (kept < all).then_some(lost), "{what}");
    }
}

#[tokio::test]
async fn a_log_that_was_cut_anywhere_loses_whole_commits_and_says_which() {
    let died = Died::new().await;
    let whole = *died.ends.last().unwrap();
    let mut lengths: Vec<u64> = (0..8).flat_map(|frame| [0, 1, FRAME - 1].map(|more| whole.saturating_sub(frame * FRAME) + more)).collect();
    lengths.extend(died.ends.iter().flat_map(|end| [end.saturating_sub(1), *end]));
    lengths.extend([0, 1, LOG_HEADER - 1, LOG_HEADER, LOG_HEADER + 1]);
    let mut random = SEED;
    lengths.extend((0..24).map(|_| draw(&mut random, whole)));
    for length in lengths.into_iter().filter(|length| *length <= whole) {
        let found = died.open(|log| log.truncate(usize::try_from(length).unwrap())).await;
        died.assert_kept(&found, died.whole(length), &format!("cut at {length} of {whole}, {:?}", died.ends));
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_the_log_loses_what_follows_and_says_so() {
    let died = Died::new().await;
    let whole = *died.ends.last().unwrap();
    let mut random = SEED;
    for _ in 0..64 {
        let at = LOG_HEADER + draw(&mut random, whole - LOG_HEADER);
        let bit = 1u8 << draw(&mut random, 8);
        let found = died.open(|log| log[usize::try_from(at).unwrap()] ^= bit).await;
        // The commit that the byte is in, and all after it.
        died.assert_kept(&found, died.whole(at), &format!("bit {bit} at {at} of {whole}, {:?}", died.ends));
    }
}

#[tokio::test]
async fn an_older_database_is_noticed() {
    let mut fixture = Fixture::new().await;
    fixture.append(&["1"]).await;
    fixture.reopen().await;
    fixture.store.close().await;
    let older = fs::read(fixture.workdir.database()).unwrap();
    fixture.reopen().await;
    fixture.append(&["2", "3"]).await;
    fixture.store.close().await;
    fs::write(fixture.workdir.database(), older).unwrap();
    let opened = fixture.reopen().await;
    assert_eq!(opened.lost, Some(Lost { inbox_known: 0, inbox_now: 0, journal_known: 3, journal_now: 1 }));
    // Said once; what follows is not measured against what is gone.
    fixture.append(&["again"]).await;
    assert_eq!(fixture.reopen().await.lost, None);
}

#[tokio::test]
async fn replies_that_may_have_been_delivered_since_are_marked() {
    let mut fixture = Fixture::new().await;
    let boot = fixture.store.recover("0.1.0", AT).await.unwrap().boot;
    let unplanned = fixture.reply("s1.t1.final").await;
    let planned = fixture.reply("s1.t2.final").await;
    fixture.store.plan_and_send(planned, vec!["one".into(), "two".into(), "three".into()], boot).await.unwrap();
    fixture.store.part_sent(planned, 0, None, boot).await.unwrap();
    fixture.store.close().await;
    let older = fs::read(fixture.workdir.database()).unwrap();
    fixture.reopen().await;
    fixture.append(&["1"]).await;
    fixture.store.close().await;
    fs::write(fixture.workdir.database(), older).unwrap();
    for lost in [true, false] {
        assert_eq!(fixture.reopen().await.lost.is_some(), lost);
        assert_eq!(fixture.store.recover("0.1.0", AT).await.unwrap().unknown_parts, if lost { 2 } else { 0 });
        let body = fixture.store.outbox(unplanned).await.unwrap().unwrap().body;
        assert!(body.starts_with(MAY_REPEAT) && body.matches(MAY_REPEAT).count() == 1, "{body}");
        let parts = fixture.store.outbox(planned).await.unwrap().unwrap().parts;
        let states: Vec<_> = parts.iter().map(|part| part.state).collect();
        assert_eq!(states, [PartState::Sent, PartState::Unknown, PartState::Unknown]);
        fixture.append(&["again"]).await;
    }
}

#[tokio::test]
async fn a_database_with_flipped_bits_never_gives_other_rows() {
    let mut fixture = Fixture::new().await;
    let bodies: Vec<String> = (0..400).map(|n| format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(400))).collect();
    fixture.append(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fixture.reopen().await;
    fixture.store.close().await;
    let whole = fs::read(fixture.workdir.database()).unwrap();
    let (mut random, mut noticed) = (SEED, 0);
    for _ in 0..120 {
        let folder = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(folder.path()).unwrap();
        let mut bytes = whole.clone();
        let at = usize::try_from(draw(&mut random, whole.len() as u64)).unwrap();
        bytes[at] ^= 1 << draw(&mut random, 8);
        fs::write(workdir.database(), bytes).unwrap();
        let Ok((store, _)) = Store::open(&workdir, Options::default()) else {
            noticed += 1;
            continue;
        };
        match store.load(fixture.session.id).await {
            Ok(journal) => {
                let events = journal.events.iter().map(|event| &event.body);
                assert!(events.zip(&bodies).all(|(found, written)| found == written), "a row was read that was not written, byte {at}");
                noticed += usize::from(journal.damage.is_some());
                assert!(journal.damage.is_some() || journal.events.len() == bodies.len(), "rows are missing without a word, byte {at}");
            }
            Err(_) => noticed += 1,
        }
    }
    assert!(noticed > 30, "half of the file is rows, and {noticed} of 120 flips were noticed");
}

#[tokio::test]
async fn a_database_that_is_gone_or_empty_is_never_replaced_in_silence() {
    let fixture = Fixture::new().await;
    fixture.append(&["1"]).await;
    fixture.store.close().await;
    let open = || Store::open(&fixture.workdir, Options::default()).map(|(_, opened)| opened);
    let database = fixture.workdir.database();
    let whole = fs::read(&database).unwrap();
    fs::remove_file(&database).unwrap();
    let gone = StoreError::Gone(database.display().to_string());
    assert_eq!(open().unwrap_err(), gone);
    assert_eq!(Store::open_read_only(&fixture.workdir).unwrap_err(), gone);
    assert!(!database.exists());
    fs::write(&database, "").unwrap();
    assert_eq!(open().unwrap_err(), gone);
    fs::write(&database, "This is no database, and long enough to look like one. ".repeat(100)).unwrap();
    let garbage = open().unwrap_err();
    assert!(matches!(&garbage, StoreError::Broken(reason) if reason.contains("not a database")), "{garbage}");
    fs::write(&database, &whole).unwrap();
    assert_eq!(open().unwrap(), Opened::default());
}

#[tokio::test]
async fn small_files_that_are_wrong_are_mended() {
    let mut fixture = Fixture::new().await;
    fixture.append(&["1"]).await;
    let root = fixture.workdir.root().to_owned();
    let replace = |name: &str, text: Option<&str>| match text {
        Some(text) => fs::write(root.join(name), text).unwrap(),
        None => fs::remove_file(root.join(name)).unwrap(),
    };
    for (name, text) in [
        ("state.mark", None),
        ("state.mark", Some("")),
        ("state.mark", Some("short")),
        ("state.mark", Some("garbage, and far more than the bytes of a mark")),
        ("STELLA_VERSION", None),
        ("STELLA_VERSION", Some("0\n")),
    ] {
        fixture.store.close().await;
        replace(name, text);
        assert_eq!(fixture.reopen().await, Opened::default(), "{name} {text:?}");
        assert_eq!(fs::read_to_string(root.join("STELLA_VERSION")).unwrap().trim(), SCHEMA_VERSION.to_string());
        assert_eq!(fixture.store.load(fixture.session.id).await.unwrap().events.len(), 1);
    }
}

#[tokio::test]
async fn a_blob_that_cannot_be_read_now_is_no_damage() {
    let fixture = Fixture::new().await;
    let long = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES));
    fixture.append(&["1", &long]).await;
    let hash = BlobHash::of(long.as_bytes());
    let path = fixture.workdir.blobs().join(&hash.as_str()[..2]).join(hash.as_str());
    fs::remove_file(&path).unwrap();
    // Reading a directory fails, but not because it is missing or other than it was.
    fs::create_dir(&path).unwrap();
    let error = fixture.store.load(fixture.session.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, &long).unwrap();
    assert_eq!(fixture.store.load(fixture.session.id).await.unwrap().events.len(), 2);
}

#[tokio::test]
async fn files_of_the_store_are_its_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new().await;
    fixture.append(&["1", &format!("\"{}\"", "x".repeat(limits::INLINE_BYTES))]).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.mark"] {
        assert_eq!(mode(&fixture.workdir.root().join(name)), 0o600, "{name}");
    }
}
