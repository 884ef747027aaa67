//! The queue of updates, and who asks for them.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::State;
use crate::fake_telegram::check::Refusal;
use crate::fake_telegram::limits;

/// Kinds that a bot gets only when it names them.
const UNASKED: [&str; 3] = ["chat_member", "message_reaction", "message_reaction_count"];

/// Kinds of updates that there are, as far as `allowed_updates` may name them.
pub(in crate::fake_telegram) const KINDS: [&str; 26] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
    "guest_message",
    "stopped_message_generation",
];

/// An update, as long as the log lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub id: i64,
    /// As it is delivered.
    pub body: Value,
    pub queued: i64,
    /// When it was in an answer, as often as it was.
    pub delivered: Vec<i64>,
    /// When a call with a higher offset was made. Only then it is gone.
    pub confirmed: Option<i64>,
    /// One that there was before. It waits until it was delivered, whatever is confirmed.
    pub again: bool,
}

/// The queue.
#[derive(Debug)]
pub struct Updates {
    /// Every update there was, in the order in which it was queued.
    pub(in crate::fake_telegram) all: Vec<Update>,
    /// Positions in `all` of those that wait, by their id.
    waiting: VecDeque<usize>,
    next: i64,
    allowed: Option<BTreeSet<String>>,
    /// Updates that were not even queued because their kind is not allowed.
    pub(in crate::fake_telegram) unwanted: u64,
    pub(in crate::fake_telegram) webhook: Option<String>,
    /// The number of the newest call that asks. An older one has lost.
    pub(in crate::fake_telegram) poll: u64,
}

impl Default for Updates {
    fn default() -> Self {
        Self { all: Vec::new(), waiting: VecDeque::new(), next: 815_000_001, allowed: None, unwanted: 0, webhook: None, poll: 0 }
    }
}

impl Updates {
    /// How many wait.
    pub(in crate::fake_telegram) fn pending(&self) -> usize {
        self.waiting.len()
    }

    /// Which kinds are delivered, when some were named.
    pub(in crate::fake_telegram) fn allowed(&self) -> Option<&BTreeSet<String>> {
        self.allowed.as_ref()
    }

    /// Remembers what a bot wants to hear of. An empty list means the usual kinds.
    pub(in crate::fake_telegram) fn allow(&mut self, kinds: Vec<String>) -> Result<(), Refusal> {
        if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(Refusal::bad(format!("can't parse allowed_updates: there is no kind {unknown:?}")));
        }
        self.allowed = Some(kinds.into_iter().collect()).filter(|kinds: &BTreeSet<String>| !kinds.is_empty());
        Ok(())
    }

    fn wants(&self, kind: &str) -> bool {
        self.allowed.as_ref().map_or(!UNASKED.contains(&kind), |allowed| allowed.contains(kind))
    }

    fn push(&mut self, update: Update) {
        self.waiting.push_back(self.all.len());
        self.all.push(update);
    }

    /// Forgets those of which this is so, by their place in the queue and their id.
    fn confirm(&mut self, now: i64, gone: impl Fn(usize, i64) -> bool) {
        let Self { all, waiting, .. } = self;
        let mut place = 0;
        waiting.retain(|at| {
            let update = &mut all[*at];
            let gone = gone(place, update.id) && !(update.again && update.delivered.is_empty());
            place += 1;
            if gone {
                update.confirmed = Some(now);
            }
            !gone
        });
    }
}

impl State {
    /// Queues an update of this kind; its id, or none when the bot does not want the kind.
    pub(in crate::fake_telegram) fn queue(&mut self, kind: &str, what: Value) -> Option<i64> {
        if !self.updates.wants(kind) {
            self.updates.unwanted += 1;
            self.tell("unwanted", json!({kind: what}));
            return None;
        }
        Some(self.queue_raw(json!({kind: what})))
    }

    /// Queues whatever this is. What is no object comes as it is, without an id.
    pub(in crate::fake_telegram) fn queue_raw(&mut self, body: Value) -> i64 {
        let id = self.updates.next;
        self.updates.next += 1;
        let body = match body {
            Value::Object(fields) => {
                let mut whole = serde_json::Map::from_iter([("update_id".to_owned(), json!(id))]);
                whole.extend(fields);
                Value::Object(whole)
            }
            other => other,
        };
        let id = body["update_id"].as_i64().unwrap_or(id);
        self.tell("update", body.clone());
        self.push_update(id, body, false);
        id
    }

    /// Queues an update that there was once more, with its id.
    pub(in crate::fake_telegram) fn queue_again(&mut self, id: i64) -> bool {
        let Some(body) = self.updates.all.iter().rev().find(|update| update.id == id).map(|update| update.body.clone()) else {
            return false;
        };
        self.tell("repeated", body.clone());
        self.push_update(id, body, true);
        true
    }

    fn push_update(&mut self, id: i64, body: Value, again: bool) {
        self.updates.push(Update { id, body, queued: self.now, delivered: Vec::new(), confirmed: None, again });
    }

    /// From now on ids are counted from here. Telegram chooses them anew only when nothing waits.
    pub(in crate::fake_telegram) fn jump_ids(&mut self, to: i64) -> bool {
        let may = to >= self.updates.next || self.updates.pending() == 0;
        if may {
            self.updates.next = to;
        }
        may
    }

    /// What a call with this offset confirms: what is below it. An offset far above the newest update is of another
    /// queue, from before the ids were chosen anew, and confirms nothing.
    pub(in crate::fake_telegram) fn confirm_below(&mut self, offset: i64) {
        let before = self.updates.pending();
        if offset > 0 && offset <= self.updates.next.saturating_add(limits::OFFSET_AHEAD) {
            self.updates.confirm(self.now, |_, id| id < offset);
        } else if offset < 0 {
            let kept = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            let forgotten = before.saturating_sub(kept);
            self.updates.confirm(self.now, |place, _| place < forgotten);
        }
        let confirmed = before - self.updates.pending();
        if confirmed > 0 {
            self.tell("confirmed", json!({"offset": offset, "updates": confirmed}));
        }
    }

    /// The oldest updates that wait.
    pub(in crate::fake_telegram) fn deliver(&mut self, limit: usize) -> Vec<Value> {
        let now = self.now;
        let Updates { all, waiting, .. } = &mut self.updates;
        let delivered = waiting.iter().take(limit).map(|at| {
            let update = &mut all[*at];
            update.delivered.push(now);
            update.body.clone()
        });
        delivered.collect()
    }

    /// Forgets what waits.
    pub(in crate::fake_telegram) fn forget_updates(&mut self) {
        self.updates.confirm(self.now, |_, _| true);
    }
}
