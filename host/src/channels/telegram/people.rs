//! Who may talk, and what follows when that changes.
//!
//! Access is widened only here: by the code that the terminal shows ([`pairing`]), by a button that an owner presses in their
//! private chat ([`requests`]), and from the terminal. When somebody loses it, what runs for them is stopped and what waits
//! is set aside, also when that was decided while no host ran.

mod asking;
pub(super) mod card;
mod pairing;
mod recent;
mod requests;

use std::collections::BTreeSet;

use uuid::Uuid;

pub(super) use self::asking::Asking;
pub(super) use self::pairing::Pairing;
pub(super) use self::recent::Recent;
pub use self::requests::REQUESTS_PART;

use super::Telegram;
use super::access::Access;
use super::fetch::Held;
use super::send::Target;
use crate::clock;
use crate::commands::Button;
use crate::router::{Arrival, Batch, Router};
use crate::session::inbox::Body;
use crate::store::{InboxRow, NewOutbox, OutboxKind, Person, Role, StoreError};

/// The source of what follows when somebody may not talk any more.
const ACCESS: &str = "access";

impl Telegram {
    /// Before anything that is open goes on: reads who may talk, and ends what is open of those who may not any more.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn recover(&self, router: &Router) -> Result<(), StoreError> {
        self.remember_moves().await?;
        self.look_who_may_talk().await?;
        self.end_refused_work(router).await
    }

    /// Reads who may talk, again. Whoever may not may be asked about, and told so, once more.
    pub(super) async fn look_who_may_talk(&self) -> Result<(), StoreError> {
        let decided = self.0.store.people(&self.0.name).await?;
        let config = self.settings();
        {
            let mut state = self.state();
            state.access = Access::new(&config.owners, &config.people, &config.groups, &decided);
            state.asking.begin_anew();
            state.told.clear();
        }
        self.withdraw_answered().await
    }

    /// Lets those talk whom the configuration names now. What runs for somebody who may not any more is ended.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn reconfigured(&self) -> Result<(), StoreError> {
        let _nothing_is_taken = self.0.admission.lock().await;
        self.look_who_may_talk().await?;
        self.end_refused_work(&self.host().router).await
    }

    /// What an owner or the operator decided about somebody. Who asks for it holds back whatever is taken meanwhile. An owner who
    /// is let in stays one.
    pub(super) async fn settle_now(&self, subject: &str, name: &str, allowed: bool) -> Result<Person, StoreError> {
        if allowed && subject.parse().is_ok_and(|id| self.state().access.is_owner(id)) {
            return Ok(Person { id: subject.to_owned(), role: Role::Owner, name: name.to_owned(), since: clock::now() });
        }
        let role = match (allowed, subject.starts_with('-')) {
            (true, true) => Role::Group,
            (true, false) => Role::Member,
            (false, _) => Role::Rejected,
        };
        let person = Person { id: subject.to_owned(), role, name: name.to_owned(), since: clock::now() };
        self.0.store.at(|| format!("decide@{subject}")).set_person(&self.0.name, person.clone()).await?;
        self.is_looked_after();
        self.look_who_may_talk().await?;
        tracing::info!(subject, name, ?role, "access was decided about");
        if !allowed {
            self.end_refused_work(&self.host().router).await?;
        }
        Ok(person)
    }

    /// Takes back what was decided about somebody. Who asks for it holds back whatever is taken meanwhile.
    pub(super) async fn revoke_now(&self, id: i64) -> Result<(), StoreError> {
        self.0.store.at(|| format!("revoke@{id}")).remove_person(&self.0.name, &id.to_string()).await?;
        self.is_looked_after();
        self.look_who_may_talk().await?;
        self.end_refused_work(&self.host().router).await
    }

    /// What is open of those who may not talk, or not any more.
    async fn end_refused_work(&self, router: &Router) -> Result<(), StoreError> {
        let mut open = self.0.store.unfinished(&self.0.name).await?;
        open.retain(|(row, address)| !self.may_go_on(row, address));
        self.end_work(router, open.into_iter().map(|(row, _)| row).collect()).await
    }

    /// May the writer of a message that was accepted once still talk where it was written?
    fn may_go_on(&self, row: &InboxRow, address: &str) -> bool {
        let Ok(target) = address.parse::<Target>() else { return true };
        let chat = self.moved(target).chat();
        let state = self.state();
        match chat > 0 {
            true => state.access.is_known(chat),
            false => state.access.is_our_group(chat) && writer(row).is_none_or(|writer| state.access.is_known(writer)),
        }
    }

    /// Messages that wait are set aside, also those whose files are being fetched; turns that have begun with one are stopped.
    pub(super) async fn end_work(&self, router: &Router, rows: Vec<InboxRow>) -> Result<(), StoreError> {
        let (begun, waiting): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.taken_by.is_some());
        let begun: BTreeSet<_> = begun.into_iter().map(|row| row.conversation).collect();
        if begun.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        tracing::info!(
            turns = begun.len(),
            messages = waiting.len(),
            "turns are stopped and messages set aside: nobody may go on with them"
        );
        let store = self.0.store.at(|| format!("refuse@{}", waiting.len()));
        store.set_aside(waiting.into_iter().map(|row| row.id).collect()).await?;
        self.0.file_news.notify_waiters();
        let id = Uuid::new_v4();
        let cancel = |conversation| {
            let cancel = self.cancel(conversation, format!("refused.{id}.{conversation}"));
            // Not Telegram's: it says nothing about when that was last heard of.
            Arrival { source: ACCESS.to_owned(), ..cancel }
        };
        let arrivals = begun.into_iter().map(cancel).collect();
        router.accept_all(Batch { arrivals, ..Batch::default() }).await
    }

    /// Something for a person's private chat, durable and once per key.
    async fn notify(&self, person: i64, key: &str, text: &str, buttons: Vec<Button>) -> Result<(), StoreError> {
        let conversation = self.conversation(Target::new(person, None), None).await?;
        let kind = if buttons.is_empty() { OutboxKind::Notice } else { OutboxKind::Question };
        let message = NewOutbox { buttons, ..NewOutbox::new(format!("{}.{key}", self.0.name), conversation, kind, text) };
        self.0.store.at(|| format!("tell@{key}")).tell(message, clock::now()).await.map(drop)
    }
}

/// Who wrote a message in a group.
fn writer(row: &InboxRow) -> Option<i64> {
    let held = serde_json::from_str::<Held>(&row.body).map(|held| held.body);
    let body = held.or_else(|_| serde_json::from_str::<Body>(&row.body)).ok()?;
    body.beside.writer?.parse().ok()
}

#[cfg(test)]
mod tests;
