//! Whatever a channel answers, whenever the host stops, dies or has no room, and in whatever order: nothing is sent twice
//! without its mark, nothing is lost without a trace, and nothing stays on its way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::{OutboxRow, PartRow};

/// What comes of a sending.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Sent,
    NotSent,
    /// And nothing can be sent there for a while.
    Frozen,
    Refused,
    /// By an address that is closed with it.
    Closed,
    Split,
    Unknown {
        arrives: bool,
    },
    /// The lane panics.
    Panic {
        arrives: bool,
    },
    /// The host is killed.
    Kill {
        arrives: bool,
    },
    /// The host is stopped, and the answer comes during that or never.
    Stop {
        answers: bool,
    },
}

/// Something that was sent.
#[derive(Debug, Clone)]
struct Attempt {
    body: String,
    marked: bool,
    arrived: bool,
    act: Act,
}

impl Attempt {
    /// Was the host told that it has not arrived?
    fn is_known_not(&self) -> bool {
        matches!(self.act, Act::NotSent | Act::Frozen | Act::Refused | Act::Closed | Act::Split)
    }
}

/// How the host lives until it dies.
#[derive(Debug, Clone)]
struct Life {
    acts: Vec<Act>,
    trips: Vec<Trip>,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Sent),
        2 => Just(Act::NotSent),
        1 => Just(Act::Frozen),
        2 => Just(Act::Refused),
        1 => Just(Act::Closed),
        2 => Just(Act::Split),
        3 => any::<bool>().prop_map(|arrives| Act::Unknown { arrives }),
        1 => any::<bool>().prop_map(|arrives| Act::Panic { arrives }),
        2 => any::<bool>().prop_map(|arrives| Act::Kill { arrives }),
        2 => any::<bool>().prop_map(|answers| Act::Stop { answers }),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    let trip = prop_oneof![20 => Just(Trip::Goes), 6 => Just(Trip::Fails), 1 => Just(Trip::DiesBefore), 1 => Just(Trip::DiesAfter)];
    (prop::collection::vec(act(), 1..8), prop::collection::vec(trip, 0..40)).prop_map(|(acts, trips)| Life { acts, trips })
}

/// A channel that outlives its hosts. It cuts replies at `|`, and can split parts of two characters.
struct World {
    store: Store,
    conversation: ConversationId,
    acts: Mutex<VecDeque<Act>>,
    attempts: Mutex<Vec<Attempt>>,
    is_frozen: AtomicBool,
    is_drained: AtomicBool,
    is_killed: AtomicBool,
    is_stopped: AtomicBool,
    has_panicked: AtomicBool,
}

impl Channel for World {
    fn plan(&self, reply: Reply<'_>) -> Vec<String> {
        match reply.key.strip_suffix(".undelivered") {
            // Said about a reply, after all of them.
            Some(key) => vec![format!("not {key}")],
            None => reply.body.split('|').map(str::to_owned).collect(),
        }
    }

    fn is_reachable(&self, _conversation: &Conversation) -> bool {
        !self.is_frozen.load(Ordering::Relaxed)
    }

    fn deliver(&self, part: Part) -> BoxFuture<'_, Outcome> {
        self.send(part).boxed()
    }

    fn drained(&self, _conversation: ConversationId) {
        self.is_drained.store(true, Ordering::Relaxed);
    }
}

impl World {
    fn next(&self, part: &Part) -> Act {
        match self.acts.lock().unwrap().pop_front().unwrap_or(Act::Sent) {
            Act::Split if part.body.len() != 2 => Act::Refused,
            // Many would end the process.
            Act::Panic { .. } if self.has_panicked.swap(true, Ordering::Relaxed) => Act::Sent,
            act => act,
        }
    }

    async fn send(&self, part: Part) -> Outcome {
        let act = self.next(&part);
        let arrived = match act {
            Act::Sent => true,
            Act::Unknown { arrives } | Act::Panic { arrives } | Act::Kill { arrives } | Act::Stop { answers: arrives } => arrives,
            Act::NotSent | Act::Frozen | Act::Refused | Act::Closed | Act::Split => false,
        };
        self.attempts.lock().unwrap().push(Attempt { body: part.body.clone(), marked: part.marked, arrived, act });
        match act {
            Act::Sent => Outcome::Sent(None),
            Act::NotSent => Outcome::NotSent(Some(Duration::ZERO)),
            Act::Frozen => {
                self.is_frozen.store(true, Ordering::Relaxed);
                Outcome::NotSent(Some(Duration::ZERO))
            }
            Act::Refused => Outcome::Refused { code: 400, text: "no".to_owned() },
            Act::Closed => {
                while self.store.set_closed(vec![part.conversation], Some(clock::now())).await.is_err() {}
                Outcome::Refused { code: 403, text: "gone".to_owned() }
            }
            Act::Split => Outcome::Split(["a", "b"].map(|piece| format!("{}{piece}", part.body)).to_vec()),
            Act::Unknown { .. } => Outcome::Unknown,
            Act::Panic { .. } => panic!("on purpose"),
            Act::Kill { .. } => {
                self.is_killed.store(true, Ordering::Relaxed);
                std::future::pending().await
            }
            Act::Stop { answers } => {
                self.is_stopped.store(true, Ordering::Relaxed);
                tokio::time::sleep(if answers { SHORT.again * 3 } else { HANGS }).await;
                Outcome::Sent(None)
            }
        }
    }

    /// Runs a host until everything is delivered, or it ends as it has to. In a kill its tasks are dropped wherever they are.
    fn live(self: &Arc<Self>, life: Life) {
        *self.acts.lock().unwrap() = life.acts.into();
        for flag in [&self.is_frozen, &self.is_drained, &self.is_killed, &self.is_stopped, &self.has_panicked] {
            flag.store(false, Ordering::Relaxed);
        }
        let runtime = runtime();
        runtime.block_on(async {
            let boot = self.store.recover("test", clock::now()).await.unwrap().boot;
            self.store.set_closed(vec![self.conversation], None).await.unwrap();
            if self.store.lanes().await.unwrap().is_empty() {
                return;
            }
            self.store.trip(life.trips);
            let supervisor = Supervisor::default();
            let channels = Arc::new(HashMap::from([("scripted".to_owned(), self.clone() as Arc<dyn Channel>)]));
            let deps = Deps { store: self.store.clone(), boot, redactor: Redactor::default(), channels, pauses: SHORT };
            let delivery = Delivery::with(deps, &supervisor);
            let until = Instant::now() + HANGS;
            while !self.is_drained.load(Ordering::Relaxed) && !self.is_killed.load(Ordering::Relaxed) && !self.store.has_died() {
                if self.is_stopped.load(Ordering::Relaxed) {
                    return supervisor.stop(HANGS).await;
                }
                if self.is_frozen.swap(false, Ordering::Relaxed) {
                    delivery.wake(self.conversation);
                }
                assert!(Instant::now() < until, "it is stuck: {:?}", self.attempts.lock().unwrap());
                tokio::time::sleep(SHORT.again).await;
            }
        });
        drop(runtime);
        self.store.trip([]);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What must hold of all that was sent.
fn judge(attempts: &[Attempt], rows: &[OutboxRow], told: &BTreeSet<String>) {
    let mut by_body: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    let mut arrived = Vec::new();
    for (at, attempt) in attempts.iter().enumerate() {
        // The same, or what it is a piece of.
        let is_doubt = |before: &&Attempt| attempt.body.starts_with(&before.body) && !before.is_known_not();
        assert!(attempt.marked || !attempts[..at].iter().any(|before| is_doubt(&before)), "{} is sent again without a mark", attempt.body);
        let before = by_body.entry(&attempt.body).or_default();
        if attempt.arrived && !before.iter().any(|before| before.arrived) {
            arrived.push(attempt.body.as_str());
        }
        before.push(attempt);
    }
    assert!(arrived.is_sorted(), "{arrived:?} is not the order");
    for row in rows {
        let is_sent = row.parts.iter().any(|part| part.state == PartState::Sent);
        match row.state {
            OutboxState::Sent => assert!(is_sent, "{row:?}"),
            OutboxState::Failed => assert!(!is_sent, "{row:?}"),
            OutboxState::Aside => assert!(attempts.iter().any(|attempt| attempt.act == Act::Closed), "{row:?}"),
            OutboxState::Pending => panic!("{row:?} waits for ever"),
        }
        let is_whole = row.parts.iter().all(|part| part.state != PartState::Refused) || row.state == OutboxState::Aside;
        let told = told.contains(&format!("{}.undelivered", row.key));
        assert!(told != is_whole, "{row:?} is not whole, or was said not to be");
        for part in &row.parts {
            judge_part(row, part, by_body.get(part.body.as_str()).map_or(&[], Vec::as_slice));
        }
    }
}

fn judge_part(row: &OutboxRow, part: &PartRow, attempts: &[&Attempt]) {
    match part.state {
        PartState::Sending => panic!("{row:?} is on its way for ever"),
        PartState::Sent => assert!(attempts.iter().any(|attempt| attempt.arrived), "{part:?} counts as sent"),
        PartState::Refused => {
            let is_why = |attempt: &&Attempt| !attempt.is_known_not() || matches!(attempt.act, Act::Refused | Act::Closed);
            assert!(attempts.iter().any(is_why), "{part:?} was never refused: {attempts:?}");
        }
        PartState::Pending | PartState::Unknown => assert_eq!(row.state, OutboxState::Aside, "{row:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_lost_doubled_or_left(lives in prop::collection::vec(life(), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(folder.path()).unwrap();
        let database = workdir.database();
        let (store, _) = Store::open(&workdir, Options::default()).unwrap();
        let runtime = runtime();
        let (conversation, ids) = runtime.block_on(async {
            let new = NewConversation { channel: "scripted".into(), address: "a".into(), model: "m".into(), expires_at: None };
            let conversation = store.get_or_create(new, clock::now()).await.unwrap().0.id;
            let mut ids = Vec::new();
            for (key, body) in [("s1.t1.final", "10|11"), ("s1.t2.final", "20"), ("s1.t3.final", "30|31|32")] {
                let new = NewOutbox::new(key, conversation, OutboxKind::Final, body);
                ids.push(store.tell(new, clock::now()).await.unwrap());
            }
            (conversation, ids)
        });
        let world = Arc::new(World {
            store: store.clone(),
            conversation,
            acts: Mutex::default(),
            attempts: Mutex::default(),
            is_frozen: AtomicBool::default(),
            is_drained: AtomicBool::default(),
            is_killed: AtomicBool::default(),
            is_stopped: AtomicBool::default(),
            has_panicked: AtomicBool::default(),
        });
        lives.into_iter().for_each(|life| world.live(life));
        // The last one is a good one.
        world.live(Life { acts: Vec::new(), trips: Vec::new() });
        let rows: Vec<_> = ids.into_iter().map(|id| runtime.block_on(store.outbox(id)).unwrap().unwrap()).collect();
        let known = rusqlite::Connection::open(&database).unwrap();
        let mut known = known.prepare("SELECT key FROM outbox WHERE kind = 'question'").unwrap();
        let told = known.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        judge(&world.attempts.lock().unwrap(), &rows, &told);
    }
}
