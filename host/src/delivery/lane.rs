//! One conversation's replies, in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Channel, Deps, Outcome, Part, Reply};
use crate::clock;
use crate::crash;
use crate::ids::ConversationId;
use crate::limits::PART_TRIES;
use crate::store::{Conversation, NewOutbox, Next, OutboxKind, OutboxRow, OutboxState, PartOutcome, PartRow, PartState, StoreError};
use crate::supervise::{Budget, Stopping};

/// The end of the key of what is said about a reply that has not arrived whole.
const UNDELIVERED: &str = ".undelivered";

/// Delivers until nothing is pending or the address cannot be reached.
/// When the host stops, what is on its way is waited for, and nothing else begins.
pub(super) async fn run(deps: &Deps, conversation: ConversationId, notify: &Notify, mut stopping: Stopping) {
    let mut budget = Budget::default();
    while let Err(error) = drain(deps, conversation, notify, &stopping).await {
        if matches!(deps.store.conversation(conversation).await, Ok(None)) {
            tracing::debug!(%conversation, %error, "a conversation was deleted while a reply was on its way");
            return;
        }
        let pause = if error.passes() {
            tracing::warn!(%conversation, %error, "delivery waits");
            deps.pauses.full
        } else if matches!(error, StoreError::Closed | StoreError::Broken(_)) {
            return;
        } else if budget.allows(Instant::now()) {
            tracing::error!(%conversation, %error, "delivery of a conversation failed and is tried again");
            deps.pauses.again
        } else {
            tracing::error!(%conversation, %error, "delivery of a conversation failed too often and waits for its next message");
            return;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopping.wait() => return,
        }
    }
}

async fn drain(deps: &Deps, id: ConversationId, notify: &Notify, stopping: &Stopping) -> Result<(), StoreError> {
    loop {
        // Between two replies it may have been closed, or have moved.
        let Some(conversation) = deps.store.conversation(id).await? else { return Ok(()) };
        let Some(channel) = deps.channels.get(conversation.channel.as_str()).cloned() else { return Ok(()) };
        let is_open = conversation.closed_at.is_none();
        if is_open && !channel.is_reachable(&conversation) {
            return Ok(());
        }
        let Some(row) = deps.store.pending_outbox(id, 1).await?.pop() else {
            channel.drained(id);
            return Ok(());
        };
        if stopping.is_stopping() {
            return Ok(());
        }
        let lane = Lane { deps, conversation: &conversation, channel: &channel, row: &row, notify, stopping };
        if !is_open {
            lane.set_aside().await?;
        } else if !lane.deliver().await? {
            return Ok(());
        }
    }
}

struct Lane<'a> {
    deps: &'a Deps,
    conversation: &'a Conversation,
    channel: &'a Arc<dyn Channel>,
    row: &'a OutboxRow,
    notify: &'a Notify,
    stopping: &'a Stopping,
}

impl Lane<'_> {
    /// Delivers one reply. False: the address cannot be reached, the reply waits.
    async fn deliver(&self) -> Result<bool, StoreError> {
        let store = self.deps.store.at(|| format!("plan@{}", self.row.key));
        let mut parts = self.row.parts.clone();
        if parts.is_empty() {
            let bodies = self.plan();
            let next = self.durably(|| store.plan_and_send(self.row.id, bodies.clone(), self.deps.boot)).await?;
            return self.send_from(planned(bodies), next).await;
        }
        // Parts of an earlier run or try: begin with the first that is not settled.
        let Some(open) = parts.iter().position(is_open) else {
            self.finish(&parts).await?;
            return Ok(true);
        };
        let part = &mut parts[open];
        let n = part.n;
        // Left by a lane that ended in the middle.
        if part.state == PartState::Sending {
            part.state = PartState::Unknown;
            self.durably(|| store.part_ended(self.row.id, n, PartOutcome::Unknown)).await?;
        }
        // One repeat in a run of the host. The next run does not know either what became of that, and repeats it again: seen
        // twice is better than not at all.
        if part.state == PartState::Unknown && part.marked && (part.boot == Some(self.deps.boot) || part.tries >= PART_TRIES) {
            part.state = PartState::Refused;
            self.give_up(n).await?;
            return Box::pin(self.resume(parts)).await;
        }
        let marked = part.marked || part.state == PartState::Unknown;
        (part.marked, part.state) = (marked, PartState::Sending);
        self.durably(|| store.send_part(self.row.id, n, self.deps.boot, marked)).await?;
        self.send_from(parts, Next::Part(n)).await
    }

    fn plan(&self) -> Vec<String> {
        let body = self.deps.redactor.text(&self.row.body);
        let reply = Reply {
            key: &self.row.key,
            conversation: self.conversation,
            kind: self.row.kind,
            body: &body,
            buttons: &self.row.buttons,
            answers: self.row.answers.as_deref(),
        };
        // It would be so again at every start.
        catch_unwind(AssertUnwindSafe(|| self.channel.plan(reply))).unwrap_or_else(|_| {
            tracing::error!(key = self.row.key, "a reply could not be planned and is sent as it is");
            vec![body.to_string()]
        })
    }

    async fn resume(&self, parts: Vec<PartRow>) -> Result<bool, StoreError> {
        let row = OutboxRow { parts, ..self.row.clone() };
        Lane { row: &row, ..*self }.deliver().await
    }

    /// Sends parts that are marked `sending`, one after the other.
    async fn send_from(&self, mut parts: Vec<PartRow>, mut next: Next) -> Result<bool, StoreError> {
        let (id, boot, mut pause) = (self.row.id, self.deps.boot, self.deps.pauses.again);
        loop {
            let n = match next {
                Next::Part(n) => n,
                Next::Done => return Ok(true),
                Next::Unsettled => return Box::pin(self.resume(parts)).await,
            };
            let store = self.deps.store.at(|| format!("sent@{}.{n}", self.row.key));
            let ended = async |outcome| self.durably(|| store.part_ended(id, n, outcome)).await;
            if self.stopping.is_stopping() {
                ended(PartOutcome::NotSent).await?;
                return Ok(false);
            }
            let Some(part) = parts.iter_mut().find(|part| part.n == n) else { return Ok(true) };
            match self.send(part).await {
                Outcome::Sent(remote_id) => {
                    part.state = PartState::Sent;
                    next = self.durably(|| store.part_sent(id, n, remote_id.clone(), boot)).await?;
                    pause = self.deps.pauses.again;
                }
                Outcome::NotSent(after) => {
                    ended(PartOutcome::NotSent).await?;
                    if !self.wait(after.unwrap_or(pause)).await {
                        return Ok(false);
                    }
                    pause = (pause * 2).min(self.deps.pauses.again_max);
                    self.durably(|| store.send_part(id, n, boot, part.marked)).await?;
                }
                Outcome::Unknown if part.marked => {
                    self.give_up(n).await?;
                    part.state = PartState::Refused;
                    return Box::pin(self.resume(parts)).await;
                }
                Outcome::Unknown => {
                    ended(PartOutcome::Unknown).await?;
                    part.state = PartState::Unknown;
                    if !self.channel.is_reachable(self.conversation) {
                        return Ok(false);
                    }
                    return Box::pin(self.resume(parts)).await;
                }
                Outcome::Split(bodies) => {
                    self.durably(|| store.split_part(id, n, bodies.clone())).await?;
                    return Ok(true);
                }
                Outcome::Refused { code, text } => {
                    tracing::warn!(key = self.row.key, part = n, code, text, "a channel refused a part");
                    ended(PartOutcome::Refused).await?;
                    part.state = PartState::Refused;
                    // Was it the address that was refused?
                    if self.is_closed().await? {
                        self.set_aside().await?;
                        return Ok(true);
                    }
                    return Box::pin(self.resume(parts)).await;
                }
            }
        }
    }

    /// Does something to the store, and again while it has no room: what is known of a sending must not be forgotten. When
    /// the host stops, until its grace is over.
    async fn durably<T, F: Future<Output = Result<T, StoreError>>>(&self, what: impl Fn() -> F) -> Result<T, StoreError> {
        loop {
            match what().await {
                Err(error) if error.passes() => {
                    tracing::warn!(key = self.row.key, %error, "delivery waits");
                    tokio::time::sleep(self.deps.pauses.full).await;
                }
                other => return other,
            }
        }
    }

    /// Nobody knows whether the repetition of a part has arrived either.
    async fn give_up(&self, n: u32) -> Result<(), StoreError> {
        tracing::warn!(key = self.row.key, part = n, "a part may not have arrived and is not sent any more");
        let store = self.deps.store.at(|| format!("sent@{}.{n}", self.row.key));
        self.durably(|| store.part_ended(self.row.id, n, PartOutcome::Refused)).await
    }

    async fn is_closed(&self) -> Result<bool, StoreError> {
        let conversation = self.deps.store.conversation(self.conversation.id).await?;
        Ok(conversation.is_some_and(|conversation| conversation.closed_at.is_some()))
    }

    async fn set_aside(&self) -> Result<(), StoreError> {
        tracing::warn!(key = self.row.key, conversation = %self.conversation.id, "a reply is set aside: its address is closed");
        let store = self.deps.store.at(|| format!("aside@{}", self.row.key));
        self.durably(|| store.finish_outbox(self.row.id, OutboxState::Aside, None, clock::now())).await
    }

    async fn send(&self, part: &PartRow) -> Outcome {
        crash::point(|| format!("send.before@{}.{}", self.row.key, part.n));
        let outcome = self
            .channel
            .deliver(Part {
                conversation: self.conversation.id,
                address: self.conversation.address.clone(),
                key: self.row.key.clone(),
                n: part.n,
                kind: self.row.kind,
                body: part.body.clone(),
                marked: part.marked,
            })
            .await;
        crash::point(|| format!("send.after@{}.{}", self.row.key, part.n));
        outcome
    }

    /// Waits before the next try. False: it has to wait until the address can be reached.
    async fn wait(&self, pause: Duration) -> bool {
        if !self.channel.is_reachable(self.conversation) {
            return false;
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.notify.notified() => {}
            () = stopping.wait() => return false,
        }
        self.channel.is_reachable(self.conversation)
    }

    /// Every part is settled, and at least one was refused.
    async fn finish(&self, parts: &[PartRow]) -> Result<(), StoreError> {
        let sent = parts.iter().any(|part| part.state == PartState::Sent);
        let state = if sent { OutboxState::Sent } else { OutboxState::Failed };
        if state == OutboxState::Failed {
            tracing::error!(key = self.row.key, conversation = %self.conversation.id, "nothing of a reply has arrived, as far as is known");
        }
        let store = self.deps.store.at(|| format!("finish@{}", self.row.key));
        self.durably(|| store.finish_outbox(self.row.id, state, self.undelivered(), clock::now())).await
    }

    /// What is said about a turn's reply that has not arrived whole. Nothing is said about what says it, about notices, or about
    /// what is not the agent's: it could not say that again.
    fn undelivered(&self) -> Option<NewOutbox> {
        let key = &self.row.key;
        if self.row.kind == OutboxKind::Notice || key.ends_with(UNDELIVERED) {
            return None;
        }
        let turn = turn_of(key)?;
        let body =
            format!("Something that I said here, or a part of it, may not have arrived ({turn}). It is kept: ask me to say it again.");
        Some(NewOutbox::new(format!("{key}{UNDELIVERED}"), self.conversation.id, OutboxKind::Question, body))
    }
}

/// The turn that a reply's key names: `s1.t2` of `s1.t2.final`.
fn turn_of(key: &str) -> Option<&str> {
    let (session, rest) = key.split_once('.')?;
    let (turn, _) = rest.split_once('.')?;
    let is_number = |word: &str, letter| word.strip_prefix(letter).is_some_and(|number| number.parse::<u64>().is_ok());
    (is_number(session, 's') && is_number(turn, 't')).then(|| &key[..session.len() + 1 + turn.len()])
}

fn is_open(part: &PartRow) -> bool {
    matches!(part.state, PartState::Pending | PartState::Sending | PartState::Unknown)
}

fn planned(bodies: Vec<String>) -> Vec<PartRow> {
    let mut n = 0;
    bodies
        .into_iter()
        .map(|body| {
            let state = if n == 0 { PartState::Sending } else { PartState::Pending };
            let part = PartRow { n, body, state, boot: None, tries: 0, marked: false, remote_id: None };
            n += 1;
            part
        })
        .collect()
}
