//! Chats as conversations: opened when somebody talks there, moved with their group, closed when nothing can be sent there.

use super::Telegram;
use super::send::Target;
use crate::clock::{self, Moment};
use crate::ids::ConversationId;
use crate::router::{Arrival, RouterError, Wanted};
use crate::session::event::Beside;
use crate::store::{Conversation, Person, Role, StoreError};

impl Telegram {
    /// Where a chat is now.
    pub(super) fn moved(&self, target: Target) -> Target {
        match self.state().moved.get(&target.chat()) {
            Some(chat) => Target::new(*chat, target.thread()),
            None => target,
        }
    }

    /// What a start has to know of groups that have another number: a conversation of theirs may have stayed at the old one.
    pub(super) async fn remember_moves(&self) -> Result<(), StoreError> {
        let all = self.0.store.conversations().await?;
        let left = all.iter().filter(|known| known.channel == self.0.name);
        let moves = left.filter_map(|known| Some((known.address.parse::<Target>().ok()?.chat(), known.moved_to()?.parse().ok()?)));
        self.state().moved.extend(moves);
        Ok(())
    }

    /// The conversations of a chat and its topics, also those that stayed at an old number of its group.
    async fn known_at(&self, chat: i64) -> Result<Vec<Conversation>, StoreError> {
        let mut known = self.0.store.conversations_at(&self.0.name, &chat.to_string()).await?;
        let before: Vec<_> = self.state().moved.iter().filter(|(_, to)| **to == chat).map(|(from, _)| *from).collect();
        for from in before {
            known.extend(self.0.store.conversations_at(&self.0.name, &from.to_string()).await?);
        }
        Ok(known)
    }

    /// Is this the private chat of an owner who cannot be written to? Since when?
    pub(super) async fn owner_away_since(&self, chat: i64) -> Result<Option<Moment>, StoreError> {
        if !self.state().access.is_owner(chat) {
            return Ok(None);
        }
        let known = self.0.store.conversations_at(&self.0.name, &chat.to_string()).await?;
        Ok(known.iter().filter_map(|known| known.closed_at).max())
    }

    /// The conversation at a place, made when there is none and opened when it was closed.
    pub(super) async fn conversation(&self, target: Target, title: Option<&str>) -> Result<ConversationId, StoreError> {
        let target = self.moved(target);
        let wanted = Wanted { channel: self.0.name.clone(), address: target.to_string(), mounts: Vec::new(), passing: false };
        let known = match self.host().router.open(wanted).await {
            Ok(open) => open.conversation,
            Err(RouterError::Store(error)) => return Err(error),
            // Its workspace cannot be had: that is for its session to say, and must hold up nobody else.
            Err(error) => {
                tracing::error!(chat = %target, %error, "a conversation cannot be prepared");
                let known = self.0.store.conversations_at(&self.0.name, &target.to_string()).await?;
                let failed = StoreError::Io { action: "open", path: format!("the conversation {target}"), reason: error.to_string() };
                known.into_iter().find(|known| known.address == target.to_string()).ok_or(failed)?
            }
        };
        if known.closed_at.is_some() {
            self.0.store.set_closed(vec![known.id], None).await?;
        }
        if let Some(title) = title.filter(|title| *title != known.title) {
            self.0.store.set_title(known.id, title.to_owned()).await?;
        }
        Ok(known.id)
    }

    /// The command that ends what runs.
    pub(super) fn cancel(&self, conversation: ConversationId, external_id: String) -> Arrival {
        Arrival {
            conversation,
            source: self.0.name.clone(),
            external_id,
            text: "/cancel".to_owned(),
            sender: None,
            beside: Beside::default(),
            held: None,
        }
    }

    /// A group has another number from now on: its conversations and what was decided about it, or asked, go along. Where the new
    /// number has a conversation already, that is the one which people go on with, for it is theirs by now; the other one ends what it
    /// has begun, and what it says goes to the new number, too, also after a restart.
    pub(super) async fn migrate(&self, from: i64, to: i64) -> Result<(), StoreError> {
        let known = self.0.store.conversations_at(&self.0.name, &from.to_string()).await?;
        let is_ours = self.state().access.is_our_group(from);
        let is_of_note = self.requested(from).await?.is_some() || self.decided(&from.to_string()).await?.is_some();
        if known.is_empty() && !is_ours && !is_of_note {
            return Ok(());
        }
        self.0.store.move_address(&self.0.name, &from.to_string(), &to.to_string()).await?;
        if is_ours {
            // It may be ours by its old number in the configuration, which does not follow.
            let name = known.first().map(|known| known.title.clone()).unwrap_or_default();
            let group = Person { id: to.to_string(), role: Role::Group, name, since: clock::now() };
            self.0.store.set_person(&self.0.name, group).await?;
        }
        self.look_who_may_talk().await?;
        if self.state().moved.insert(from, to).is_none() {
            tracing::info!(from, to, "a group became a supergroup");
            for left in self.0.store.conversations_at(&self.0.name, &from.to_string()).await? {
                tracing::warn!(conversation = %left.id, from, to, "the supergroup has a conversation of its own already; this one ends here");
            }
        }
        Ok(())
    }

    /// Nothing can be sent to a chat, or to one of its topics: its conversations are closed, and what runs in them is stopped.
    /// Which they are.
    pub(super) async fn close_chat(&self, target: Target, all_threads: bool) -> Result<Vec<ConversationId>, StoreError> {
        let address = target.to_string();
        let mut known = self.known_at(target.chat()).await?;
        known.retain(|known| all_threads || known.address == address);
        let open: Vec<_> = known.iter().filter(|known| known.closed_at.is_none()).map(|known| known.id).collect();
        if !open.is_empty() {
            tracing::info!(chat = address, "the bot cannot write there any more; the conversation is closed");
            self.0.store.set_closed(open, Some(clock::now())).await?;
        }
        // Also of those that were closed before: a kill may have come in between.
        let mut work = self.0.store.unfinished(&self.0.name).await?;
        work.retain(|(row, _)| known.iter().any(|known| known.id == row.conversation));
        self.end_work(&self.host().router, work.into_iter().map(|(row, _)| row).collect()).await?;
        Ok(known.into_iter().map(|known| known.id).collect())
    }

    /// The bot is in a chat again: its conversations go on.
    pub(super) async fn open_chat(&self, chat: i64) -> Result<(), StoreError> {
        let known = self.known_at(chat).await?;
        let closed: Vec<_> = known.into_iter().filter(|known| known.closed_at.is_some()).map(|known| known.id).collect();
        if closed.is_empty() { Ok(()) } else { self.0.store.set_closed(closed, None).await }
    }
}
