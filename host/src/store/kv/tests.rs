use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::store::tests::{AT, Fixture, conversation};
use crate::store::{NewConversation, Options, schema};
#[cfg(debug_assertions)]
use crate::workdir::WorkDir;

fn space(plugin: &str, conversation: Option<ConversationId>) -> KvSpace {
    KvSpace { plugin: plugin.to_owned(), conversation }
}

fn own_of(plugin: &str) -> KvSpace {
    space(plugin, None)
}

async fn kept(store: &Store, space: &KvSpace, key: &str, value: &str) -> u64 {
    match store.kv_put(space, key.into(), value.into(), None).await.unwrap() {
        KvChange::Done(version) => version,
        other => panic!("{key}: {other:?}"),
    }
}

async fn value(store: &Store, space: &KvSpace, key: &str) -> Option<String> {
    store.kv_get(space, key).await.unwrap().map(|entry| String::from_utf8(entry.value).unwrap())
}

/// What the rows of every scope hold, beside what their own rows say of it.
fn counted(conn: &Connection) -> Vec<(String, u64, u64)> {
    let query = "SELECT own.plugin || ' ' || own.scope, own.value,
        (SELECT coalesce(sum(?1 + length(CAST(key AS BLOB)) + length(value)), 0) FROM kv
         WHERE plugin = own.plugin AND scope = own.scope AND key <> '')
        FROM kv own WHERE own.key = '' ORDER BY 1";
    sql::all(conn, query, [int(limits::STORAGE_ENTRY_BYTES)], |row| Ok((row.get(0)?, u64::from_be_bytes(row.get(1)?), uint(row.get(2)?))))
        .unwrap()
}

fn assert_counted(database: &std::path::Path) {
    for (scope, said, held) in counted(&Connection::open(database).unwrap()) {
        assert_eq!(said, held, "{scope}");
    }
}

#[tokio::test]
async fn each_plugin_and_conversation_has_keys_of_its_own() {
    let mut fixture = Fixture::new().await;
    let other = conversation(&fixture.store, "other").await;
    let spaces = [
        own_of("a"),
        own_of("b"),
        space("a", Some(fixture.conversation)),
        space("a", Some(other)),
        space("b", Some(other)),
        // Named like what stands beside it in the table.
        own_of("plugin"),
        own_of("c1"),
    ];
    for (n, space) in spaces.iter().enumerate() {
        assert_eq!(fixture.store.kv_get(space, "k").await.unwrap(), None);
        kept(&fixture.store, space, "k", &n.to_string()).await;
    }
    fixture.reopen().await;
    for (n, space) in spaces.iter().enumerate() {
        assert_eq!(value(&fixture.store, space, "k").await, Some(n.to_string()));
        assert_eq!(fixture.store.kv_keys(space, String::new(), None, 10).await.unwrap(), ["k"]);
    }
    let gone = space("a", Some(ConversationId(99)));
    let refused = fixture.store.kv_put(&gone, "k".into(), Vec::new(), None).await.unwrap_err();
    assert_eq!(refused, StoreError::NotFound("conversation c99".into()));
}

#[tokio::test]
async fn a_change_that_expects_another_version_changes_nothing() {
    let store = Fixture::new().await.store;
    let own = own_of("a");
    let put = async |value: &str, expected| store.kv_put(&own, "k".into(), value.into(), expected).await.unwrap();
    assert_eq!(put("1", Some(7)).await, KvChange::Conflict { found: 0 });
    assert_eq!(put("1", Some(0)).await, KvChange::Done(1));
    assert_eq!(put("2", Some(0)).await, KvChange::Conflict { found: 1 });
    assert_eq!(put("2", Some(1)).await, KvChange::Done(2));
    assert_eq!(put("3", None).await, KvChange::Done(3));
    let remove = async |expected| store.kv_remove(&own, "k".into(), expected).await.unwrap();
    assert_eq!(remove(Some(2)).await, KvChange::Conflict { found: 3 });
    assert_eq!(remove(Some(0)).await, KvChange::Conflict { found: 3 });
    assert_eq!(value(&store, &own, "k").await.as_deref(), Some("3"));
    assert_eq!(remove(Some(3)).await, KvChange::Done(true));
    assert_eq!(remove(Some(3)).await, KvChange::Conflict { found: 0 });
    assert_eq!(remove(None).await, KvChange::Done(false));
    assert_eq!(remove(Some(0)).await, KvChange::Done(false));
}

#[tokio::test]
async fn no_version_comes_again_after_a_key_was_removed() {
    let mut fixture = Fixture::new().await;
    let own = own_of("a");
    let seen = kept(&fixture.store, &own, "k", "same").await;
    fixture.store.kv_remove(&own, "k".into(), None).await.unwrap();
    fixture.reopen().await;
    let again = kept(&fixture.store, &own, "k", "same").await;
    assert_ne!(again, seen);
    let late = fixture.store.kv_put(&own, "k".into(), b"late".to_vec(), Some(seen)).await.unwrap();
    assert_eq!(late, KvChange::Conflict { found: again });
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_each_change_counts_once() {
    const TASKS: u64 = 16;
    const EACH: u64 = 8;
    let fixture = Fixture::new().await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, own) = (fixture.store.clone(), own_of("a"));
            tokio::spawn(async move {
                let (mut versions, mut created) = (Vec::new(), 0);
                while versions.len() < EACH as usize {
                    let before = store.kv_get(&own, "n").await.unwrap();
                    let (number, expected) =
                        before.map_or((0, 0), |entry| (u64::from_be_bytes(entry.value.try_into().unwrap()), entry.version));
                    let put = store.kv_put(&own, "n".into(), (number + 1).to_be_bytes().to_vec(), Some(expected)).await.unwrap();
                    if let KvChange::Done(version) = put {
                        versions.push(version);
                        created += u32::from(expected == 0);
                    }
                }
                (versions, created)
            })
        })
        .collect();
    let (mut versions, mut created) = (HashSet::new(), 0);
    for task in tasks {
        let (its, one) = task.await.unwrap();
        its.into_iter().for_each(|version| assert!(versions.insert(version), "version {version} twice"));
        created += one;
    }
    let end = fixture.store.kv_get(&own_of("a"), "n").await.unwrap().unwrap();
    assert_eq!(end.value, (TASKS * EACH).to_be_bytes());
    assert_eq!(created, 1, "it was new once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_bounded_also_when_many_write_at_once() {
    let fixture = Fixture::new().await;
    let each = limits::STORAGE_VALUE_BYTES;
    let tasks: Vec<_> = (10..58)
        .map(|n| {
            let (store, own) = (fixture.store.clone(), own_of("a"));
            tokio::spawn(async move { store.kv_put(&own, n.to_string(), vec![0; each], None).await.unwrap() })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        match task.await.unwrap() {
            KvChange::Done(_) => done += 1,
            KvChange::Over { bytes } => assert!(bytes > limits::STORAGE_SCOPE_BYTES),
            KvChange::Conflict { .. } => panic!("nothing was expected"),
        }
    }
    let weight = each as u64 + 2 + limits::STORAGE_ENTRY_BYTES;
    assert_eq!(done, limits::STORAGE_SCOPE_BYTES / weight);
    assert_counted(&fixture.workdir.database());
    // To the last byte, and not one more.
    let left = limits::STORAGE_SCOPE_BYTES - done * weight - limits::STORAGE_ENTRY_BYTES;
    let put =
        async |bytes: u64| fixture.store.kv_put(&own_of("a"), "x".into(), vec![0; usize::try_from(bytes).unwrap()], None).await.unwrap();
    assert_eq!(put(left).await, KvChange::Over { bytes: limits::STORAGE_SCOPE_BYTES + 1 });
    assert!(matches!(put(left - 1).await, KvChange::Done(_)));
    // Another scope has room of its own.
    kept(&fixture.store, &space("a", Some(fixture.conversation)), "x", &"x".repeat(each)).await;
}

#[test]
fn empty_values_fill_a_scope_too() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(schema::TABLES).unwrap();
    let (own, most) = (own_of("a"), usize::try_from(limits::STORAGE_SCOPE_BYTES / (limits::STORAGE_ENTRY_BYTES + 4)).unwrap());
    for n in 0..most {
        assert!(matches!(put(&conn, &own, &format!("{n:04}"), b"", None).unwrap(), KvChange::Done(_)), "{n}");
    }
    assert!(matches!(put(&conn, &own, "more", b"", None).unwrap(), KvChange::Over { .. }));
    assert_eq!(remove(&conn, &own, "0000", None).unwrap(), KvChange::Done(true));
    assert!(matches!(put(&conn, &own, "more", b"", None).unwrap(), KvChange::Done(_)), "what was counted is given back");
}

#[tokio::test]
async fn keys_are_listed_in_order_and_page_by_page() {
    let store = Fixture::new().await.store;
    let own = own_of("a");
    let mut all = ["a", "a\0b", "a\nb", "a%", "a_", "ab", "ab/c", "b", "ä", "\u{10ffff}", "' OR 1=1 --", "\0"];
    for key in all {
        kept(&store, &own, key, key).await;
        assert_eq!(value(&store, &own, key).await.as_deref(), Some(key));
    }
    kept(&store, &own_of("b"), "ab", "").await;
    all.sort_unstable();
    let keys =
        async |prefix: &str, after: Option<&str>, most| store.kv_keys(&own, prefix.into(), after.map(Into::into), most).await.unwrap();
    assert_eq!(keys("", None, 100).await, all);
    assert_eq!(keys("", Some(""), 100).await, all);
    assert_eq!(keys("a", None, 100).await, ["a", "a\0b", "a\nb", "a%", "a_", "ab", "ab/c"]);
    assert_eq!(keys("a%", None, 100).await, ["a%"]);
    assert_eq!(keys("a", Some("a_"), 100).await, ["ab", "ab/c"]);
    assert_eq!(keys("ab", Some("a"), 100).await, ["ab", "ab/c"], "from before the first");
    assert_eq!(keys("a", Some("b"), 100).await, [""; 0], "from behind the last");
    assert_eq!(keys("zz", None, 100).await, [""; 0]);
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = keys("", paged.last().map(String::as_str), 5).await;
        assert!(page.len() <= 5);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn what_was_kept_for_a_conversation_goes_with_it() {
    let fixture = Fixture::new().await;
    let new = NewConversation { channel: "ask".into(), address: "u1".into(), model: "main".into(), expires_at: Some(AT) };
    let (ask, _) = fixture.store.get_or_create(new, AT).await.unwrap();
    let (its, main, own) = (space("a", Some(ask.id)), space("a", Some(fixture.conversation)), own_of("a"));
    for space in [&its, &main, &own] {
        kept(&fixture.store, space, "k", "v").await;
    }
    kept(&fixture.store, &space("b", Some(ask.id)), "k", "v").await;
    assert_eq!(fixture.store.expired(AT).await.unwrap(), [ask.id]);
    fixture.store.delete_expired(vec![ask.id]).await.unwrap();
    let scopes: Vec<_> = counted(&Connection::open(fixture.workdir.database()).unwrap()).into_iter().map(|(scope, ..)| scope).collect();
    assert_eq!(scopes, ["a c1", "a plugin"]);
    assert_eq!(value(&fixture.store, &main, "k").await.as_deref(), Some("v"));
    // A call that outlived it brings nothing back.
    let late = fixture.store.kv_put(&its, "k".into(), Vec::new(), None).await.unwrap_err();
    assert!(matches!(late, StoreError::NotFound(_)), "{late}");
}

#[tokio::test]
async fn a_new_session_finds_what_the_conversation_kept() {
    let fixture = Fixture::new().await;
    let main = space("a", Some(fixture.conversation));
    kept(&fixture.store, &main, "k", "v").await;
    let row = fixture.accept("new").await.id;
    let effects = vec![crate::store::CommandEffect::NewSession { conversation: fixture.conversation }];
    let done = crate::store::CommandDone { row, effects, outbox: Vec::new(), at: AT };
    assert!(fixture.store.command_done(done).await.unwrap().opened.is_some());
    assert_eq!(value(&fixture.store, &main, "k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_change_whose_caller_is_gone_is_done_whole_or_not_at_all() {
    let options = Options { commit_delay: std::time::Duration::from_millis(20), ..Options::default() };
    let fixture = Fixture::with(options).await;
    let (store, own) = (&fixture.store, own_of("a"));
    kept(store, &own, "old", "before").await;
    drop(store.kv_put(&own, "never".into(), b"asked".to_vec(), None));
    let mut asked = Box::pin(store.kv_put(&own, "old".into(), b"after".to_vec(), None));
    tokio::select! {
        biased;
        _ = &mut asked => panic!("a commit takes its time"),
        () = std::future::ready(()) => {}
    }
    drop(asked);
    // Jobs are done in order: what was queued before this one is done.
    kept(store, &own, "last", "").await;
    assert_eq!(value(store, &own, "old").await.as_deref(), Some("after"));
    assert_eq!(value(store, &own, "never").await, None);
    assert_counted(&fixture.workdir.database());
}

#[tokio::test]
async fn a_full_disk_keeps_the_old_value() {
    let fixture = Fixture::with(Options { max_pages: Some(90), ..Options::default() }).await;
    let own = own_of("a");
    kept(&fixture.store, &own, "k", "before").await;
    let full = fixture.store.kv_put(&own, "k".into(), vec![0; 400 << 10], None).await.unwrap_err();
    assert!(matches!(full, StoreError::Full(_)), "{full}");
    assert_eq!(value(&fixture.store, &own, "k").await.as_deref(), Some("before"));
    kept(&fixture.store, &own, "k", "after").await;
    assert_counted(&fixture.workdir.database());
}

/// Runs itself in a process that is killed around the COMMIT.
#[tokio::test]
#[cfg(debug_assertions)]
async fn a_value_that_was_kept_survives_the_kill_that_follows() {
    const NAME: &str = "store::kv::tests::a_value_that_was_kept_survives_the_kill_that_follows";
    if let Ok(root) = std::env::var("STELLACLAW_TEST_WORKDIR") {
        let (store, _) = Store::open(&WorkDir::open(root).unwrap(), Options::default()).unwrap();
        kept(&store, &own_of("a"), "k", "before").await;
        kept(&store.at(|| "kv@k".into()), &own_of("a"), "k", "after").await;
        panic!("it should have been killed");
    }
    for (point, found) in [("kv.before@k", "before"), ("kv.after@k", "after")] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("work");
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env("CRASH_AT", point)
            .env("STELLACLAW_TEST_WORKDIR", &root)
            .output()
            .unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.status), Some(9), "{point}: {child:?}");
        let workdir = WorkDir::open(&root).unwrap();
        let (store, _) = Store::open(&workdir, Options::default()).unwrap();
        assert_eq!(value(&store, &own_of("a"), "k").await.as_deref(), Some(found), "{point}");
        assert_counted(&workdir.database());
    }
}

/// What a plugin may do, with keys and versions as small numbers so that they meet.
#[derive(Debug, Clone)]
enum Act {
    Put { space: usize, key: usize, bytes: usize, expected: Expected },
    Remove { space: usize, key: usize, expected: Expected },
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Anything,
    New,
    /// The version that the key has.
    Right,
    Some(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let expected = prop_oneof![
        3 => Just(Expected::Anything), 1 => Just(Expected::New), 2 => Just(Expected::Right), 1 => (0..20_u64).prop_map(Expected::Some)
    ];
    // Four of the largest fill a scope.
    let bytes = prop_oneof![0..2000_usize, 200_000..300_000_usize];
    prop_oneof![
        4 => (0..3_usize, 1..6_usize, bytes, expected.clone())
            .prop_map(|(space, key, bytes, expected)| Act::Put { space, key, bytes, expected }),
        1 => (0..3_usize, 1..6_usize, expected).prop_map(|(space, key, expected)| Act::Remove { space, key, expected }),
    ]
}

/// A space as a map does it.
#[derive(Default)]
struct Model {
    entries: BTreeMap<String, (Vec<u8>, u64)>,
    last: u64,
}

impl Model {
    fn version(&self, key: &str) -> u64 {
        self.entries.get(key).map_or(0, |(_, version)| *version)
    }

    fn expected(&self, key: &str, expected: Expected) -> Option<u64> {
        match expected {
            Expected::Anything => None,
            Expected::New => Some(0),
            Expected::Right => Some(self.version(key)),
            Expected::Some(version) => Some(version),
        }
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|(key, (value, _))| limits::STORAGE_ENTRY_BYTES + (key.len() + value.len()) as u64).sum()
    }

    fn put(&mut self, key: &str, value: &[u8], expected: Option<u64>) -> KvChange<u64> {
        let found = self.version(key);
        if expected.is_some_and(|expected| expected != found) {
            return KvChange::Conflict { found };
        }
        let before = self.entries.insert(key.to_owned(), (value.to_vec(), self.last + 1));
        let bytes = self.bytes();
        if bytes > limits::STORAGE_SCOPE_BYTES {
            match before {
                Some(before) => drop(self.entries.insert(key.to_owned(), before)),
                None => drop(self.entries.remove(key)),
            }
            return KvChange::Over { bytes };
        }
        self.last += 1;
        KvChange::Done(self.last)
    }

    fn remove(&mut self, key: &str, expected: Option<u64>) -> KvChange<bool> {
        let found = self.version(key);
        if expected.is_some_and(|expected| expected != found) {
            return KvChange::Conflict { found };
        }
        KvChange::Done(self.entries.remove(key).is_some())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_scope_is_a_map_with_a_bound(acts in prop::collection::vec(act(), 1..60)) {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(schema::TABLES).unwrap();
        conn.execute("INSERT INTO conversations (channel, address, model, created_at) VALUES ('t', 'a', 'm', 0)", []).unwrap();
        let spaces = [own_of("a"), own_of("b"), space("a", Some(ConversationId(1)))];
        let mut models = [Model::default(), Model::default(), Model::default()];
        for act in acts {
            match act {
                Act::Put { space, key, bytes, expected } => {
                    let (key, value) = ("é".repeat(key), vec![7; bytes]);
                    let expected = models[space].expected(&key, expected);
                    prop_assert_eq!(put(&conn, &spaces[space], &key, &value, expected).unwrap(), models[space].put(&key, &value, expected));
                }
                Act::Remove { space, key, expected } => {
                    let key = "é".repeat(key);
                    let expected = models[space].expected(&key, expected);
                    prop_assert_eq!(remove(&conn, &spaces[space], &key, expected).unwrap(), models[space].remove(&key, expected));
                }
            }
        }
        for (space, model) in spaces.iter().zip(&models) {
            let own = own(&conn, space).unwrap();
            prop_assert_eq!((own.bytes, own.version), (model.bytes(), model.last));
            let listed = keys(&conn, space, "", "", usize::MAX).unwrap();
            prop_assert!(listed.iter().eq(model.entries.keys()));
        }
        for (scope, said, held) in counted(&conn) {
            prop_assert_eq!(said, held, "{}", scope);
        }
    }
}
