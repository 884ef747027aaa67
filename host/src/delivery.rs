//! Delivery: outbox → parts → channel, one lane per conversation.
//!
//! - Replies of a conversation go out in order, one part at a time; conversations do not wait for each other.
//! - A part is marked `sending` and committed before its request leaves. A process that dies in between finds it `unknown`.
//! - An unmarked part is sent again only when it certainly did not arrive. One whose outcome is unknown is sent once more,
//!   marked "(may repeat)". Only a process that dies while the repeat is on its way makes the next one repeat it, a few times.
//! - A part that a channel refuses does not hold up the others. A reply that cannot even be planned goes as it is.
//! - Where a part of a reply has not arrived as far as is known, its people are told so, to be heard.
//! - What the store has no room for is done as soon as it has: neither time nor tries are used up by waiting.
//! - No value of a secret leaves in a message, whoever wrote it.
//!
//! How a reply is rendered and cut is the channel's business.

mod lane;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::commands::Button;
use crate::ids::{BootId, ConversationId};
use crate::limits::{DELIVERY_PAUSE, DELIVERY_PAUSE_MAX, FULL_PAUSE, LANE_GRACE};
use crate::secrets::Redactor;
use crate::store::{Conversation, MAY_REPEAT, OutboxKind, Store};
use crate::supervise::{Budget, Fatal, Supervisor};

/// How one sending ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived, under the channel's own id if it has one.
    Sent(Option<String>),
    /// It certainly did not. Again after this time, or when the channel says that the address can be reached.
    NotSent(Option<Duration>),
    /// The channel will never take it.
    Refused { code: u16, text: String },
    /// Nothing of it arrived, and it is not to be sent as it is: these parts may go in its place.
    Split(Vec<String>),
    /// It may or may not have arrived.
    Unknown,
}

/// A reply to plan.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Unique for ever.
    pub key: &'a str,
    pub conversation: &'a Conversation,
    pub kind: OutboxKind,
    /// Markdown.
    pub body: &'a str,
    pub buttons: &'a [Button],
    /// The channel's id of the message that it answers.
    pub answers: Option<&'a str>,
}

/// A part to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub conversation: ConversationId,
    pub address: String,
    /// The reply's key: unique for ever.
    pub key: String,
    pub n: u32,
    pub kind: OutboxKind,
    /// As planned.
    pub body: String,
    /// It may have arrived before: what is sent says so, with [`MAY_REPEAT`].
    pub marked: bool,
}

impl Part {
    /// A body that is text, with the mark if it may repeat.
    #[must_use]
    pub fn text(&self) -> String {
        match self.marked && !self.body.starts_with(MAY_REPEAT) {
            true => format!("{MAY_REPEAT}\n{}", self.body),
            false => self.body.clone(),
        }
    }
}

/// Where replies go.
pub trait Channel: Send + Sync {
    /// Renders a reply and cuts it into parts; at least one.
    fn plan(&self, reply: Reply<'_>) -> Vec<String>;

    /// Can something be sent there now? When not, the reply waits without a trace in the store, and
    /// [`Delivery::wake`] has to be called when it can.
    fn is_reachable(&self, conversation: &Conversation) -> bool;

    /// Sends a part, once.
    fn deliver(&self, part: Part) -> BoxFuture<'_, Outcome>;

    /// Everything of the conversation has been sent.
    fn drained(&self, conversation: ConversationId);
}

/// Channels by their names in the rows of conversations.
pub type Channels = HashMap<String, Arc<dyn Channel>>;

/// The handle: wakes lanes.
#[derive(Debug, Clone)]
pub struct Delivery {
    wake: mpsc::UnboundedSender<Wake>,
}

/// Who may have something to deliver.
#[derive(Debug, Clone, Copy)]
enum Wake {
    One(ConversationId),
    All,
}

/// Everything a lane needs.
#[derive(Clone)]
struct Deps {
    store: Store,
    boot: BootId,
    redactor: Redactor,
    channels: Arc<Channels>,
    pauses: Pauses,
}

/// How long it waits, and for what.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    /// See [`DELIVERY_PAUSE`].
    again: Duration,
    /// See [`DELIVERY_PAUSE_MAX`].
    again_max: Duration,
    /// See [`FULL_PAUSE`].
    full: Duration,
    /// See [`LANE_GRACE`].
    grace: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { again: DELIVERY_PAUSE, again_max: DELIVERY_PAUSE_MAX, full: FULL_PAUSE, grace: LANE_GRACE }
    }
}

impl Delivery {
    /// Starts delivering for `channels`, with what is pending.
    #[must_use]
    pub fn start(store: Store, boot: BootId, redactor: Redactor, channels: Channels, supervisor: &Supervisor) -> Self {
        Self::with(Deps { store, boot, redactor, channels: Arc::new(channels), pauses: Pauses::default() }, supervisor)
    }

    fn with(deps: Deps, supervisor: &Supervisor) -> Self {
        let (wake, woken) = mpsc::unbounded_channel();
        let woken = Arc::new(tokio::sync::Mutex::new(woken));
        let owner = supervisor.clone();
        supervisor.keep("delivery", move || run(deps.clone(), woken.clone(), owner.clone()));
        Self { wake }
    }

    /// There may be something to deliver, or an address can be reached again.
    pub fn wake(&self, conversation: ConversationId) {
        self.tell(Wake::One(conversation));
    }

    /// The same of every conversation.
    pub fn wake_all(&self) {
        self.tell(Wake::All);
    }

    fn tell(&self, wake: Wake) {
        // Delivery ends after everybody who wakes it.
        let _: Result<(), _> = self.wake.send(wake);
    }
}

/// Starts lanes, and wakes those that run.
async fn run(deps: Deps, woken: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Wake>>>, supervisor: Supervisor) {
    let mut woken = woken.lock().await;
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let mut lanes = Lanes { deps, supervisor, running: HashMap::new(), ended };
    let mut budget = Budget::default();
    // A run that follows a panic finds its work in the store.
    let mut looks = true;
    loop {
        if looks {
            looks = !lanes.wake_all().await;
        }
        tokio::select! {
            wake = woken.recv() => match wake {
                Some(Wake::One(conversation)) => lanes.wake(conversation),
                Some(Wake::All) => looks = true,
                None => return,
            },
            Some((conversation, panicked)) = has_ended.recv() => {
                if panicked && !budget.allows(Instant::now()) {
                    lanes.supervisor.fail(Fatal::GaveUp { task: "delivery" });
                    return;
                }
                // A wake that came while the lane was ending is kept in its `Notify`.
                if let Some(notify) = lanes.running.remove(&conversation)
                    && (panicked || is_notified(&notify))
                {
                    lanes.start(conversation);
                }
            }
            () = tokio::time::sleep(lanes.deps.pauses.full), if looks => {}
        }
    }
}

/// The lanes that run. A lane ends when its conversation has nothing that can be sent.
struct Lanes {
    deps: Deps,
    supervisor: Supervisor,
    running: HashMap<ConversationId, Arc<Notify>>,
    /// Which has ended, and whether it panicked.
    ended: mpsc::UnboundedSender<(ConversationId, bool)>,
}

impl Lanes {
    /// Of all conversations with something pending. False: the store cannot say just now.
    async fn wake_all(&mut self) -> bool {
        match self.deps.store.lanes().await {
            Ok(pending) => pending.into_iter().for_each(|conversation| self.wake(conversation)),
            Err(error) if error.passes() => {
                tracing::warn!(%error, "delivery waits");
                return false;
            }
            Err(error) => tracing::error!(%error, "nobody knows what is to be delivered; each conversation goes on with its next message"),
        }
        true
    }

    fn wake(&mut self, conversation: ConversationId) {
        match self.running.get(&conversation) {
            Some(notify) => notify.notify_one(),
            None => self.start(conversation),
        }
    }

    fn start(&mut self, conversation: ConversationId) {
        let notify = Arc::new(Notify::new());
        self.running.insert(conversation, notify.clone());
        let (deps, ended, mut stopping) = (self.deps.clone(), self.ended.clone(), self.supervisor.stopping());
        self.supervisor.spawn(async move {
            let lane = async {
                tokio::select! {
                    () = lane::run(&deps, conversation, &notify, stopping.clone()) => {}
                    // What is on its way may still arrive, and then it is known that it did.
                    () = async { stopping.wait().await; tokio::time::sleep(deps.pauses.grace).await } => {}
                }
            };
            let panicked = AssertUnwindSafe(lane).catch_unwind().await.is_err();
            // Delivery may have ended before its lane.
            let _: Result<(), _> = ended.send((conversation, panicked));
        });
    }
}

/// Was the notification given and not taken? Takes it.
fn is_notified(notify: &Notify) -> bool {
    let notified = std::pin::pin!(notify.notified());
    let mut notified = notified;
    notified.as_mut().enable()
}
