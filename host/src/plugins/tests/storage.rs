//! What a guest keeps in the store, and what it cannot.

use serde_json::json;

use super::*;
use crate::clock;
use crate::store::{NewConversation, Options, Store};
use crate::workdir::WorkDir;

static KEEPER: LazyLock<PathBuf> = LazyLock::new(|| build("keeper"));

/// A host with the component under a name.
fn keeper(name: &str) -> Plugins {
    start_with([(name.to_owned(), config::Plugin { path: Some(KEEPER.clone()), ..entry(false) })].into(), Vec::new(), false)
}

/// A store with two conversations, and sessions of them.
struct Kept {
    _folder: TempDir,
    store: Store,
    one: Session,
    two: Session,
}

impl Kept {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&WorkDir::open(folder.path()).unwrap(), options).unwrap().0;
        let session = |address: &str| {
            let new = NewConversation { channel: "t".into(), address: address.into(), model: "m".into(), expires_at: None };
            let conversation = TOKIO.block_on(store.get_or_create(new, clock::now())).unwrap().0.id;
            Session { conversation, store: Some(store.clone()), ..Session::new() }
        };
        let (one, two) = (session("one"), session("two"));
        Self { _folder: folder, store, one, two }
    }
}

fn keep(session: &Session, host: &Plugins, arguments: Value) -> Result<Value, CallError> {
    session.call(host, "keep", &arguments).map(|output| serde_json::from_str(text(&output)).unwrap())
}

#[test]
fn what_a_plugin_keeps_is_seen_by_its_next_calls_and_by_no_other_plugin() {
    let kept = Kept::new();
    let (ours, theirs) = (keeper("keeper"), keeper("other"));
    let put = |session, here, value| keep(session, &ours, json!({"how": "put", "key": "k", "here": here, "value": value})).unwrap();
    let get = |session, host, here| keep(session, host, json!({"how": "get", "key": "k", "here": here})).unwrap();
    put(&kept.one, false, "everywhere");
    put(&kept.one, true, "here");
    assert_eq!(get(&kept.one, &ours, false), json!(["everywhere", 1]));
    assert_eq!(get(&kept.one, &ours, true), json!(["here", 1]));
    assert_eq!(get(&kept.two, &ours, false), json!(["everywhere", 1]), "the plugin's own is one for all conversations");
    assert_eq!(get(&kept.two, &ours, true), Value::Null, "and the conversation's is not");
    put(&kept.two, true, "there");
    assert_eq!(get(&kept.one, &ours, true), json!(["here", 1]));

    // Whatever it calls its keys, a plugin finds its own.
    for key in ["k", "keeper", "keeper/k", "../keeper/k", "keeper\0plugin\0k", "c1", "plugin", "%", "_", "k' OR '1'='1", "*"] {
        for here in [false, true] {
            let asked = keep(&kept.one, &theirs, json!({"how": "get", "key": key, "here": here})).unwrap();
            assert_eq!(asked, Value::Null, "{key:?}");
            assert_eq!(keep(&kept.one, &theirs, json!({"how": "remove", "key": key, "here": here})).unwrap(), json!(false), "{key:?}");
            assert_eq!(keep(&kept.one, &theirs, json!({"how": "keys", "key": key, "here": here})).unwrap(), json!([]), "{key:?}");
        }
    }
    assert_eq!(keep(&kept.one, &theirs, json!({"how": "keys"})).unwrap(), json!([]));
    let over = keep(&kept.one, &theirs, json!({"how": "put", "key": "k", "expected": 1})).unwrap_err();
    assert_eq!(over.kind, ErrorKind::Conflict, "not even whether it is there: {}", over.message);
    keep(&kept.one, &theirs, json!({"how": "put", "key": "k", "value": "theirs"})).unwrap();
    assert_eq!(get(&kept.one, &ours, false), json!(["everywhere", 1]));
}

#[test]
fn a_refusal_says_what_was_tried_and_the_bound() {
    let kept = Kept::new();
    let host = keeper("keeper");
    let keep = |arguments| keep(&kept.one, &host, arguments);
    let refused = |arguments| {
        let error = keep(arguments).unwrap_err();
        (error.kind, error.message)
    };
    let long = "the key has 1048576 bytes; at most 256".to_owned();
    for how in ["get", "put", "remove"] {
        assert_eq!(refused(json!({"how": how, "key_bytes": 1 << 20})), (ErrorKind::TooLarge, format!("{how}: {long}")));
        assert_eq!(refused(json!({"how": how})), (ErrorKind::Invalid, format!("{how}: the key is empty; it has 1 to 256 bytes")));
    }
    let (kind, message) = refused(json!({"how": "keys", "key_bytes": 1 << 20}));
    assert_eq!((kind, message.as_str()), (ErrorKind::TooLarge, "keys: the prefix has 1048576 bytes; at most 256"));
    let (kind, message) = refused(json!({"how": "put", "key": "k", "value_bytes": 10 << 20}));
    assert_eq!((kind, message.as_str()), (ErrorKind::TooLarge, "put \"k\": the value has 10485760 bytes; at most 65536"));
    // The largest of each is taken.
    keep(json!({"how": "put", "key_bytes": 256, "value_bytes": 64 << 10})).unwrap();
    keep(json!({"how": "put", "key": "a\u{0}b\nc", "value": "odd"})).unwrap();
    assert_eq!(keep(json!({"how": "keys", "key": "a"})).unwrap(), json!(["a\u{0}b\nc"]));

    keep(json!({"how": "put", "key": "v", "value": "1"})).unwrap();
    let conflict = |arguments| {
        let (kind, message) = refused(arguments);
        assert_eq!(kind, ErrorKind::Conflict);
        message
    };
    let message = conflict(json!({"how": "put", "key": "v", "expected": 0}));
    assert_eq!(message, "put \"v\": it has version 3 and none was expected; get it and try again");
    let message = conflict(json!({"how": "remove", "key": "w", "expected": 9}));
    assert_eq!(message, "remove \"w\": it is not there and version 9 was expected; get it and try again");

    let filled = keep(json!({"how": "fill", "key": "f", "value_bytes": 64 << 10, "times": 100})).unwrap();
    assert_eq!(filled, json!(14));
    let (kind, message) = refused(json!({"how": "put", "key": "more", "value_bytes": 64 << 10}));
    assert_eq!(kind, ErrorKind::TooLarge);
    assert!(message.starts_with("put \"more\": the scope `plugin` would hold 10"), "{message}");
    assert!(message.ends_with(" bytes of keys and values; at most 1048576: remove some"), "{message}");
    keep(json!({"how": "put", "key": "more", "value_bytes": 64 << 10, "here": true})).unwrap();
}

#[test]
fn a_listing_is_complete_over_many_pages() {
    let kept = Kept::new();
    let host = keeper("keeper");
    let more = crate::limits::STORAGE_KEYS + 5;
    assert_eq!(keep(&kept.one, &host, json!({"how": "fill", "key": "n", "times": more})).unwrap(), json!(more));
    let keys: Vec<String> = (0..more).map(|n| format!("n{n:06}")).collect();
    assert_eq!(keep(&kept.one, &host, json!({"how": "keys", "key": "n"})).unwrap(), json!(keys));
}

#[test]
fn puts_count_as_calls_of_the_host() {
    let kept = Kept::new();
    let limits = config::PluginLimits { host_calls: Some(200), ..config::PluginLimits::default() };
    let entry = config::Plugin { path: Some(KEEPER.clone()), limits, ..entry(false) };
    let host = start_with([("keeper".to_owned(), entry)].into(), Vec::new(), false);
    let error = keep(&kept.one, &host, json!({"how": "fill", "key": "n", "times": 100_000})).unwrap_err();
    assert!(error.message.contains("[plugins.keeper.limits] host_calls"), "{}", error.message);
    let kept_keys = keep(&kept.one, &host, json!({"how": "keys"})).unwrap();
    assert!(kept_keys.as_array().is_some_and(|keys| (100..=200).contains(&keys.len())), "{kept_keys}");
}

#[test]
fn where_nothing_is_stored_every_function_is_unavailable() {
    let host = keeper("keeper");
    // The tool is offered only if a catalogue can store nothing.
    let nowhere = Session::new();
    for how in ["get", "put", "remove", "keys"] {
        let error = keep(&nowhere, &host, json!({"how": how, "key": "k"})).unwrap_err();
        assert_eq!(
            (error.kind, error.message.contains("nothing is stored here")),
            (ErrorKind::Unavailable, true),
            "{how}: {}",
            error.message
        );
    }
    let kept = Kept::new();
    let gone = Session { conversation: ConversationId(99), ..kept.one };
    let error = keep(&gone, &host, json!({"how": "put", "key": "k", "here": true})).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, "put \"k\": the conversation was deleted"));
}

#[test]
fn calls_side_by_side_lose_no_update() {
    const CALLS: usize = 4;
    const EACH: u32 = 10;
    let kept = Kept::new();
    let host = keeper("keeper");
    std::thread::scope(|threads| {
        for _ in 0..CALLS {
            threads.spawn(|| keep(&kept.one, &host, json!({"how": "count", "key": "n", "times": EACH})).unwrap());
        }
    });
    let end = keep(&kept.one, &host, json!({"how": "get", "key": "n"})).unwrap();
    assert_eq!(end[0], json!((CALLS * EACH as usize).to_string()));
}

#[test]
fn a_call_that_is_ended_leaves_whole_values() {
    let kept = Kept::with(Options { commit_delay: Duration::from_millis(50), ..Options::default() });
    let host = keeper("keeper");
    let fill = json!({"how": "fill", "key": "n", "value_bytes": 1000, "times": 100_000});
    let error = kept.one.call_within(&host, "keep", &fill, Duration::from_millis(300), stop().1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    let space = crate::store::KvSpace { plugin: "keeper".into(), conversation: None };
    TOKIO.block_on(async {
        // What was queued when it ended is done before this.
        kept.store.kv_remove(&space, "none".into(), None).await.unwrap();
        let keys = kept.store.kv_keys(&space, String::new(), None, usize::MAX).await.unwrap();
        for key in &keys {
            assert_eq!(kept.store.kv_get(&space, key).await.unwrap().unwrap().value, b"v".repeat(1000));
        }
        let each = crate::limits::STORAGE_ENTRY_BYTES;
        let room = (crate::limits::STORAGE_SCOPE_BYTES - keys.len() as u64 * (each + 1007) - each - 1) as usize;
        let put = async |bytes| kept.store.kv_put(&space, "r".into(), vec![0; bytes], None).await.unwrap();
        assert!(matches!(put(room + 1).await, crate::store::KvChange::Over { .. }));
        assert!(matches!(put(room).await, crate::store::KvChange::Done(_)), "the scope counts what it holds, to the byte");
    });
}

#[test]
fn an_inspection_names_what_it_keeps() {
    let shown = keeper("keeper").inspect("keeper").unwrap();
    assert_eq!(shown.imports.capabilities, ["stellaclaw:plugin/storage@0.1.0"]);
    assert!(shown.grants.contains(&"storage (plugin-private)".to_owned()), "{:?}", shown.grants);
    assert!(!HOST.inspect("hostile").unwrap().grants.iter().any(|line| line.starts_with("storage")), "only for those that use it");
}
