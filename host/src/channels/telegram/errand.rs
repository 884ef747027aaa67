//! What the operator asks of the bot from the terminal.

pub(super) mod copies;

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Telegram;
use super::plan::{self, Planned};
use super::send::Target;
use crate::clock;
use crate::ids::OutboxId;
use crate::store::{NewOutbox, OutboxKind, OutboxRow, OutboxState, PartState, Person, Role, StoreError};

/// Where the operator sends something: `telegram:CHAT` or `telegram:CHAT:TOPIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(Target);

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; write telegram:CHAT or telegram:CHAT:TOPIC, both numeric ids")]
pub struct ParseAddressError(String);

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let target = text.strip_prefix("telegram:").and_then(|target| target.parse().ok());
        target.map(Self).ok_or_else(|| ParseAddressError(text.chars().take(80).collect()))
    }
}

/// What became of something that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Arrived,
    /// Of something the channel took only a part.
    Partly,
    /// The channel did not take it.
    Refused,
    /// It is kept, and goes on being tried.
    Waits,
}

impl Fate {
    /// What is said in place of a file is not the file.
    fn of(row: &OutboxRow) -> Self {
        let is_instead = |body: &str| matches!(plan::read(body), Planned::Text(words) if words.is_instead);
        let arrived = row.parts.iter().filter(|part| part.state == PartState::Sent && !is_instead(&part.body)).count();
        match arrived {
            _ if row.state == OutboxState::Pending => Self::Waits,
            0 => Self::Refused,
            all if all == row.parts.len() => Self::Arrived,
            _ => Self::Partly,
        }
    }
}

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

    fn refuse_configured(&self, id: i64) -> Result<(), Unsettled> {
        self.settings().list_of(id).map_or(Ok(()), |list| Err(Unsettled::Configured { list, id }))
    }

    /// Queues something for an address, durable when it returns. The text may be somebody else's: it attaches nothing.
    ///
    /// # Errors
    ///
    /// In words: the file cannot be sent, or the store fails.
    pub async fn bring(&self, address: Address, text: &str, file: Option<&Path>, silent: bool) -> Result<OutboxId, String> {
        let conversation = self.conversation(address.0, None).await.map_err(|error| error.to_string())?;
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
    pub async fn fate(&self, reply: OutboxId) -> Result<Fate, StoreError> {
        Ok(self.0.store.outbox(reply).await?.map_or(Fate::Refused, |row| Fate::of(&row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::telegram::plan::Words;
    use crate::clock::Moment;
    use crate::ids::ConversationId;
    use crate::store::PartRow;

    #[test]
    fn an_address_names_its_channel_and_a_place_in_it() {
        assert_eq!("telegram:-100:7".parse(), Ok(Address(Target::new(-100, Some(7)))));
        for wrong in ["nonsense", "7", "telegram:", "telegram:@name", "telegram:7:x", "telegram:7:1:2", "chat:7"] {
            let refused = wrong.parse::<Address>().unwrap_err().to_string();
            assert_eq!(refused, format!("{wrong:?} is no address; write telegram:CHAT or telegram:CHAT:TOPIC, both numeric ids"));
        }
    }

    #[test]
    fn only_what_has_arrived_itself_counts_as_arrived() {
        use PartState::{Refused, Sent};
        let (text, instead) = (Planned::Text(Words::plain("hi")), Planned::Text(Words::instead("Telegram did not take it.")));
        let fate = |state, parts: &[(&Planned, PartState)]| {
            let part = |(part, state): &(&Planned, PartState)| {
                let body = plan::written(std::slice::from_ref(*part)).remove(0);
                PartRow { n: 0, body, state: *state, boot: None, tries: 1, marked: false, remote_id: None }
            };
            Fate::of(&OutboxRow {
                id: OutboxId(1),
                key: "k".into(),
                conversation: ConversationId(1),
                kind: OutboxKind::Final,
                body: String::new(),
                state,
                created_at: Moment(0),
                buttons: Vec::new(),
                answers: None,
                parts: parts.iter().map(part).collect(),
            })
        };
        assert_eq!(fate(OutboxState::Sent, &[(&text, Sent)]), Fate::Arrived);
        assert_eq!(fate(OutboxState::Sent, &[(&text, Sent), (&instead, Sent)]), Fate::Partly);
        assert_eq!(fate(OutboxState::Sent, &[(&text, Sent), (&text, Refused)]), Fate::Partly);
        assert_eq!(fate(OutboxState::Aside, &[(&text, Sent), (&text, PartState::Pending)]), Fate::Partly);
        assert_eq!(fate(OutboxState::Sent, &[(&instead, Sent)]), Fate::Refused);
        assert_eq!(fate(OutboxState::Failed, &[(&text, Refused)]), Fate::Refused);
        assert_eq!(fate(OutboxState::Aside, &[]), Fate::Refused);
        assert_eq!(fate(OutboxState::Pending, &[(&text, Sent), (&text, PartState::Unknown)]), Fate::Waits);
    }
}
