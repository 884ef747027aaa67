//! What the operator asks of the bot from the terminal.

pub(super) mod copies;

use std::path::Path;

use uuid::Uuid;

use super::Telegram;
use super::send::Target;
use crate::clock;
use crate::ids::OutboxId;
use crate::store::{NewOutbox, OutboxKind, OutboxState, Person, Role, StoreError};

impl Telegram {
    /// The first owner that somebody has become.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn owner(&self) -> Result<Option<Person>, StoreError> {
        let people = self.0.store.people(&self.0.name).await?;
        Ok(people.into_iter().find(|person| person.role == Role::Owner))
    }

    /// The code is not waited for any more.
    pub fn unpair(&self) {
        self.state().pairing = None;
    }

    /// What the operator decided about a number.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn settle_number(&self, id: i64, allowed: bool) -> Result<Person, StoreError> {
        let subject = id.to_string();
        let asked = self.0.store.requests(&self.0.name).await?.into_iter().find(|request| request.subject == subject);
        let name = asked.map_or_else(|| subject.clone(), |request| request.name);
        self.settle(&subject, &name, allowed).await
    }

    /// Takes back what was decided about a number. None: nothing was.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn forget(&self, id: i64) -> Result<Option<Person>, StoreError> {
        let subject = id.to_string();
        let known = self.0.store.people(&self.0.name).await?.into_iter().find(|person| person.id == subject);
        self.revoke(&subject).await?;
        Ok(known)
    }

    /// Queues something for an address, durable when it returns. The text may be somebody else's: it attaches nothing.
    ///
    /// # Errors
    ///
    /// In words: the address is none, or the file cannot be sent.
    pub async fn bring(&self, address: &str, text: &str, file: Option<&Path>, silent: bool) -> Result<OutboxId, String> {
        let target: Target = address.parse().map_err(|error| format!("{error}"))?;
        let conversation = self.conversation(target, None).await.map_err(|error| error.to_string())?;
        let id = Uuid::new_v4();
        let _bringing = file.map(|_| self.bringing(conversation, id));
        let body = match file {
            Some(file) => {
                let kept = self.keep_copy(conversation, file, id).await;
                copies::with_file(&kept.map_err(|error| format!("cannot send {}: {error}", file.display()))?, text)
            }
            None => text.to_owned(),
        };
        let kind = if silent { OutboxKind::Tell } else { OutboxKind::Final };
        let reply = NewOutbox::new(copies::key(&self.0.name, id), conversation, kind, body);
        self.0.store.tell(reply, clock::now()).await.map_err(|error| error.to_string())
    }

    /// What became of something that was queued.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn fate(&self, reply: OutboxId) -> Result<OutboxState, StoreError> {
        Ok(self.0.store.outbox(reply).await?.map_or(OutboxState::Failed, |row| row.state))
    }
}
