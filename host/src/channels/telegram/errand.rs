//! What the operator asks of the bot from the terminal.

pub(super) mod copies;

use std::path::Path;

use uuid::Uuid;

use super::Telegram;
use super::send::Target;
use crate::clock;
use crate::ids::OutboxId;
use crate::store::{NewOutbox, OutboxKind, OutboxState, Person, Role, StoreError};

/// What came of a decision.
#[derive(Debug)]
pub struct Settled {
    pub person: Option<Person>,
    /// There was an owner before, and is none now.
    pub is_ownerless: bool,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    #[error(
        "nothing was changed: channels.telegram.{list} names {id}; take it out there, and have the host read the configuration again \
         (SIGHUP, `systemctl --user reload stellaclaw`)"
    )]
    Configured { list: &'static str, id: i64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

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

    /// What the operator decided about a number. An owner who is let in stays one.
    ///
    /// # Errors
    ///
    /// The configuration names somebody who is to be turned down, or the store fails.
    pub async fn settle_number(&self, id: i64, allowed: bool) -> Result<Settled, Unsettled> {
        let _nothing_is_taken = self.0.admission.lock().await;
        if !allowed {
            self.refuse_configured(id)?;
        }
        let subject = id.to_string();
        let known = self.decided(&subject).await?.map(|person| person.name);
        let asked = self.0.store.requests(&self.0.name).await?.into_iter().find(|request| request.subject == subject);
        let name = asked.map(|request| request.name).or(known).unwrap_or_else(|| subject.clone());
        let had_owner = self.has_owner();
        let person = self.settle_now(&subject, &name, allowed).await?;
        Ok(Settled { person: Some(person), is_ownerless: had_owner && !self.has_owner() })
    }

    /// Takes back what was decided about a number; nobody: nothing was.
    ///
    /// # Errors
    ///
    /// The configuration names it, or the store fails.
    pub async fn forget(&self, id: i64) -> Result<Settled, Unsettled> {
        let _nothing_is_taken = self.0.admission.lock().await;
        self.refuse_configured(id)?;
        let person = self.decided(&id.to_string()).await?;
        let had_owner = self.has_owner();
        self.revoke_now(id).await?;
        Ok(Settled { person, is_ownerless: had_owner && !self.has_owner() })
    }

    fn has_owner(&self) -> bool {
        self.state().access.owners().next().is_some()
    }

    pub(super) async fn decided(&self, subject: &str) -> Result<Option<Person>, StoreError> {
        Ok(self.0.store.people(&self.0.name).await?.into_iter().find(|person| person.id == subject))
    }

    /// What the configuration gives only the configuration takes.
    fn refuse_configured(&self, id: i64) -> Result<(), Unsettled> {
        let settings = self.settings();
        let lists = [("owners", &settings.owners), ("people", &settings.people), ("groups", &settings.groups)];
        match lists.into_iter().find(|(_, list)| list.contains(&id)) {
            Some((list, _)) => Err(Unsettled::Configured { list, id }),
            None => Ok(()),
        }
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
