mod whatever;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::clock;
use crate::store::trips::Trip;
use crate::store::{MAY_REPEAT, NewConversation, NewOutbox, Options, OutboxState, PartState};
use crate::workdir::WorkDir;

/// Nothing is waited for that long when all is well.
const HANGS: Duration = Duration::from_secs(10);
const SHORT: Pauses = Pauses {
    again: Duration::from_millis(1),
    again_max: Duration::from_millis(4),
    full: Duration::from_millis(1),
    grace: Duration::from_millis(50),
};

/// A channel that cuts replies at `|` and ends sendings as it was told; then everything is sent.
#[derive(Default)]
struct Scripted {
    outcomes: Mutex<VecDeque<Outcome>>,
    sent: Mutex<Vec<String>>,
    unreachable: AtomicBool,
    drained: Notify,
    /// Sendings take until this is given, once for each.
    held: Option<Notify>,
    began: Notify,
}

impl Channel for Scripted {
    fn plan(&self, reply: Reply<'_>) -> Vec<String> {
        assert!(!reply.body.contains("poison"), "on purpose");
        reply.body.split('|').map(str::to_owned).collect()
    }
    fn is_reachable(&self, _conversation: &Conversation) -> bool {
        !self.unreachable.load(Ordering::Relaxed)
    }
    fn deliver(&self, part: Part) -> BoxFuture<'_, Outcome> {
        self.sent.lock().unwrap().push(part.text());
        let outcome = self.outcomes.lock().unwrap().pop_front().unwrap_or(Outcome::Sent(None));
        async move {
            self.began.notify_one();
            if let Some(held) = &self.held {
                held.notified().await;
            }
            outcome
        }
        .boxed()
    }
    fn drained(&self, _conversation: ConversationId) {
        self.drained.notify_one();
    }
}

/// What is said about a reply that has not arrived whole.
fn undelivered(reference: &str) -> String {
    format!("Something that I said here, or a part of it, may not have arrived ({reference}). It is kept: ask me to say it again.")
}

struct Rig {
    _folder: tempfile::TempDir,
    deps: Deps,
    store: Store,
    boot: BootId,
    channel: Arc<Scripted>,
    conversation: ConversationId,
    delivery: Delivery,
    supervisor: Supervisor,
}

impl Rig {
    async fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        Self::with(Scripted { outcomes: Mutex::new(outcomes.into_iter().collect()), ..Scripted::default() }).await
    }

    async fn with(channel: Scripted) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&WorkDir::open(folder.path()).unwrap(), Options::default()).unwrap();
        let boot = store.recover("test", clock::now()).await.unwrap().boot;
        let new = NewConversation { channel: "scripted".into(), address: "a".into(), model: "m".into(), expires_at: None };
        let conversation = store.get_or_create(new, clock::now()).await.unwrap().0.id;
        let channel = Arc::new(channel);
        let channels = HashMap::from([("scripted".to_owned(), channel.clone() as Arc<dyn Channel>)]);
        let supervisor = Supervisor::default();
        let secret = crate::secrets::Secret::new("canary-secret-value", "test").unwrap();
        let deps = Deps { store: store.clone(), boot, redactor: Redactor::new([&secret]), channels: Arc::new(channels), pauses: SHORT };
        let delivery = Delivery::with(deps.clone(), &supervisor);
        let rig = Self { _folder: folder, deps, store, boot, channel, conversation, delivery, supervisor };
        // It has looked what is pending, and finds nothing later that it was not woken for.
        rig.deliver().await;
        rig
    }

    async fn put(&self, key: &str, body: &str) -> crate::ids::OutboxId {
        let new = NewOutbox::new(key, self.conversation, OutboxKind::Final, body);
        self.store.tell(new, clock::now()).await.unwrap()
    }

    /// Delivers until nothing is pending. What was sent, in order.
    async fn deliver(&self) -> Vec<String> {
        self.delivery.wake(self.conversation);
        self.drained().await
    }

    async fn drained(&self) -> Vec<String> {
        tokio::time::timeout(HANGS, self.channel.drained.notified()).await.unwrap();
        self.channel.sent.lock().unwrap().clone()
    }

    async fn state(&self, id: crate::ids::OutboxId) -> (OutboxState, Vec<PartState>) {
        let row = self.store.outbox(id).await.unwrap().unwrap();
        (row.state, row.parts.iter().map(|part| part.state).collect())
    }
}

#[tokio::test]
async fn replies_and_their_parts_arrive_in_order_and_once() {
    let rig = Rig::new([]).await;
    let first = rig.put("s1.t1.final", "one|two").await;
    rig.put("s1.t2.final", "three").await;
    assert_eq!(rig.deliver().await, ["one", "two", "three"]);
    assert_eq!(rig.state(first).await, (OutboxState::Sent, vec![PartState::Sent, PartState::Sent]));
    assert_eq!(rig.deliver().await.len(), 3, "a second wake sends nothing");
}

#[tokio::test]
async fn what_certainly_did_not_arrive_is_sent_again_without_a_mark() {
    let rig = Rig::new([Outcome::NotSent(Some(Duration::ZERO)), Outcome::NotSent(Some(Duration::ZERO))]).await;
    rig.put("k", "hello").await;
    assert_eq!(rig.deliver().await, ["hello", "hello", "hello"]);
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_once_more_with_the_mark_and_never_a_third_time() {
    let rig = Rig::new([Outcome::Unknown]).await;
    let once = rig.put("k1", "hello").await;
    assert_eq!(rig.deliver().await, ["hello".to_owned(), format!("{MAY_REPEAT}\nhello")]);
    assert_eq!(rig.state(once).await.0, OutboxState::Sent);

    let rig = Rig::new([Outcome::Unknown, Outcome::Unknown]).await;
    let twice = rig.put("s1.t2.final", "hello").await;
    assert_eq!(rig.deliver().await, ["hello".to_owned(), format!("{MAY_REPEAT}\nhello"), undelivered("s1.t2")]);
    assert_eq!(rig.state(twice).await, (OutboxState::Failed, vec![PartState::Refused]));
}

#[tokio::test]
async fn a_refused_part_does_not_hold_up_the_others() {
    let rig = Rig::new([Outcome::Sent(None), Outcome::Refused { code: 400, text: "no".into() }]).await;
    let id = rig.put("s1.t2.final", "one|two|three").await;
    assert_eq!(rig.deliver().await, ["one", "two", "three", &undelivered("s1.t2")]);
    assert_eq!(rig.state(id).await, (OutboxState::Sent, vec![PartState::Sent, PartState::Refused, PartState::Sent]));
}

#[tokio::test]
async fn what_does_not_arrive_is_spoken_of_once_and_for_what_somebody_waits_for() {
    let refused = || Outcome::Refused { code: 400, text: "no".into() };
    let rig = Rig::new([refused(), refused(), refused(), refused()]).await;
    rig.put("s1.t2.final", "one").await;
    rig.put("tg:1.errand.00", "of a script").await;
    let notice = NewOutbox::new("notice", rig.conversation, OutboxKind::Notice, "two");
    rig.store.tell(notice, clock::now()).await.unwrap();
    assert_eq!(rig.deliver().await, ["one".to_owned(), "of a script".to_owned(), "two".to_owned(), undelivered("s1.t2")]);
    let told = rig.store.pending_outbox(rig.conversation, 9).await.unwrap();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn an_address_that_cannot_be_reached_costs_nothing_until_it_can() {
    let rig = Rig::new([]).await;
    rig.channel.unreachable.store(true, Ordering::Relaxed);
    let id = rig.put("k", "hello").await;
    let commits = rig.store.stats().jobs;
    rig.delivery.wake(rig.conversation);
    tokio::task::yield_now().await;
    assert_eq!(rig.state(id).await.0, OutboxState::Pending);
    rig.channel.unreachable.store(false, Ordering::Relaxed);
    assert_eq!(rig.deliver().await, ["hello"]);
    assert_eq!(rig.store.stats().jobs - commits, 2, "plan and sent");
}

#[tokio::test]
async fn what_is_for_a_closed_address_is_set_aside() {
    let rig = Rig::new([]).await;
    rig.store.set_closed(vec![rig.conversation], Some(clock::now())).await.unwrap();
    let id = rig.put("k1", "hello").await;
    assert!(rig.deliver().await.is_empty());
    assert_eq!(rig.state(id).await.0, OutboxState::Aside);
    rig.store.set_closed(vec![rig.conversation], None).await.unwrap();
    rig.put("k2", "again").await;
    assert_eq!(rig.deliver().await, ["again"]);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_on_its_way_and_begins_nothing_else() {
    let rig = Rig::with(Scripted { held: Some(Notify::new()), ..Scripted::default() }).await;
    let id = rig.put("k", "one|two").await;
    let other = rig.put("k2", "three").await;
    rig.delivery.wake(rig.conversation);
    rig.channel.began.notified().await;
    let stopping = rig.supervisor.stopping();
    let (supervisor, channel) = (rig.supervisor.clone(), rig.channel.clone());
    let stopped = tokio::spawn(async move { supervisor.stop(Duration::from_secs(30)).await });
    while !stopping.is_stopping() {
        tokio::task::yield_now().await;
    }
    channel.held.as_ref().unwrap().notify_one();
    stopped.await.unwrap();
    assert_eq!(*rig.channel.sent.lock().unwrap(), ["one"]);
    assert_eq!(rig.state(id).await, (OutboxState::Pending, vec![PartState::Sent, PartState::Pending]));
    assert_eq!(rig.state(other).await.0, OutboxState::Pending);
}

#[tokio::test]
async fn a_part_that_an_older_run_was_sending_is_marked() {
    let rig = Rig::new([]).await;
    let id = rig.put("k", "one|two").await;
    rig.store.plan_and_send(id, vec!["one".into(), "two".into()], rig.boot).await.unwrap();
    let later = rig.store.recover("test", clock::now()).await.unwrap();
    assert_eq!(later.unknown_parts, 1);
    assert_eq!(rig.deliver().await, [format!("{MAY_REPEAT}\none"), "two".to_owned()]);
}

#[tokio::test]
async fn no_secret_leaves_in_a_message() {
    let rig = Rig::new([]).await;
    rig.put("k", "the key is canary-secret-value, he said").await;
    let sent = rig.deliver().await.concat();
    assert!(!sent.contains("canary-secret-value") && sent.contains("he said"), "{sent}");
}

#[tokio::test]
async fn a_store_without_room_uses_up_no_tries() {
    // More often than a lane may fail, wherever it is: while it looks, plans, sends, and ends what was refused.
    let full = || [Trip::Fails; 3 * crate::limits::PANICS].into_iter();
    for goes in 0..8 {
        let refused = Outcome::Refused { code: 400, text: "no".into() };
        let rig = Rig::new([Outcome::Sent(None), refused]).await;
        let id = rig.put("s1.t2.final", "one|two").await;
        rig.store.trip(std::iter::repeat_n(Trip::Goes, goes).chain(full()));
        assert_eq!(rig.deliver().await, ["one", "two", &undelivered("s1.t2")], "{goes}");
        rig.store.trip([]);
        assert_eq!(rig.state(id).await, (OutboxState::Sent, vec![PartState::Sent, PartState::Refused]), "{goes}");
    }
}

#[tokio::test]
async fn what_waits_is_found_also_when_the_store_cannot_say_at_first() {
    let rig = Rig::new([]).await;
    rig.supervisor.stop(HANGS).await;
    rig.put("k1", "one").await;
    rig.store.trip([Trip::Fails; 3]);
    let delivery = Delivery::with(rig.deps.clone(), &Supervisor::default());
    assert_eq!(rig.drained().await, ["one"], "at a start");
    rig.put("k2", "two").await;
    rig.store.trip([Trip::Fails; 3]);
    delivery.wake_all();
    assert_eq!(rig.drained().await, ["one", "two"], "when a channel begins to serve");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_store_without_room() {
    let rig = Rig::with(Scripted { held: Some(Notify::new()), ..Scripted::default() }).await;
    let id = rig.put("k", "one").await;
    rig.delivery.wake(rig.conversation);
    rig.channel.began.notified().await;
    rig.store.trip(vec![Trip::Fails; 100_000]);
    rig.channel.held.as_ref().unwrap().notify_one();
    tokio::time::timeout(HANGS, rig.supervisor.stop(HANGS * 3)).await.unwrap();
    rig.store.trip([]);
    assert_eq!(rig.state(id).await, (OutboxState::Pending, vec![PartState::Sending]), "the next run repeats it, marked");
}

#[tokio::test]
async fn a_part_that_is_split_goes_as_its_pieces_in_its_place() {
    let pieces = || Outcome::Split(vec!["two-a".into(), "two-b".into()]);
    let rig = Rig::new([Outcome::Sent(None), pieces(), Outcome::Sent(None), Outcome::Unknown]).await;
    let id = rig.put("k", "one|two|three").await;
    assert_eq!(rig.deliver().await, ["one", "two", "two-a", "two-b", &format!("{MAY_REPEAT}\ntwo-b"), "three"]);
    assert_eq!(rig.state(id).await, (OutboxState::Sent, vec![PartState::Sent; 4]));

    // What it may have been before, they may be.
    let rig = Rig::new([Outcome::Unknown, pieces()]).await;
    rig.put("k", "two").await;
    let marked = |text: &str| format!("{MAY_REPEAT}\n{text}");
    assert_eq!(rig.deliver().await, ["two".to_owned(), marked("two"), marked("two-a"), marked("two-b")]);
}

#[tokio::test]
async fn a_reply_that_cannot_be_planned_goes_as_it_is_and_holds_up_nobody() {
    let rig = Rig::new([]).await;
    let id = rig.put("k1", "poison|more").await;
    rig.put("k2", "one|two").await;
    assert_eq!(rig.deliver().await, ["poison|more", "one", "two"]);
    assert_eq!(rig.state(id).await.0, OutboxState::Sent);
}

/// Tries that certainly did not arrive say nothing about what may have.
#[tokio::test]
async fn a_part_that_could_not_be_sent_for_long_is_still_repeated() {
    let rig = Rig::new(vec![Outcome::NotSent(None); 2 * crate::limits::PART_TRIES as usize]).await;
    let id = rig.put("k", "hello").await;
    rig.channel.outcomes.lock().unwrap().push_back(Outcome::Unknown);
    rig.channel.outcomes.lock().unwrap().push_back(Outcome::NotSent(Some(HANGS)));
    rig.delivery.wake(rig.conversation);
    let marked = format!("{MAY_REPEAT}\nhello");
    tokio::time::timeout(HANGS, async {
        while rig.channel.sent.lock().unwrap().last() != Some(&marked) || rig.state(id).await.1 != [PartState::Pending] {
            tokio::time::sleep(SHORT.again).await;
        }
    })
    .await
    .unwrap();
    // The run ends while the marked one is on its way.
    rig.supervisor.stop(HANGS).await;
    rig.store.send_part(id, 0, rig.boot, true).await.unwrap();
    let boot = rig.store.recover("test", clock::now()).await.unwrap().boot;
    let _later = Delivery::with(Deps { boot, ..rig.deps.clone() }, &Supervisor::default());
    assert_eq!(rig.drained().await.last(), Some(&marked));
    assert_eq!(rig.state(id).await.0, OutboxState::Sent);
}

/// Runs of the host that each died with the part on its way.
#[tokio::test]
async fn each_run_repeats_what_the_run_before_left_unknown_but_not_for_ever() {
    for deaths in 1..=crate::limits::PART_TRIES {
        let rig = Rig::new([]).await;
        let id = rig.put("s1.t2.final", "hello").await;
        rig.store.plan_and_send(id, vec!["hello".into()], rig.boot).await.unwrap();
        for _ in 1..deaths {
            let boot = rig.store.recover("test", clock::now()).await.unwrap().boot;
            rig.store.send_part(id, 0, boot, true).await.unwrap();
        }
        rig.store.recover("test", clock::now()).await.unwrap();
        let sent = rig.deliver().await;
        if deaths < crate::limits::PART_TRIES {
            assert_eq!((sent, rig.state(id).await.0), (vec![format!("{MAY_REPEAT}\nhello")], OutboxState::Sent), "{deaths}");
        } else {
            assert_eq!((sent, rig.state(id).await.0), (vec![undelivered("s1.t2")], OutboxState::Failed), "{deaths}");
        }
    }
}
