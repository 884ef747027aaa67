//! What the operator asks of the bot from the terminal.

use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use uuid::Uuid;

use super::Telegram;
use super::fetch::file_name;
use super::send::Target;
use crate::clock;
use crate::ids::{ConversationId, OutboxId};
use crate::limits::TELEGRAM_FILE_OUT_BYTES;
use crate::store::{NewOutbox, OutboxKind, OutboxState, Person, Role, StoreError};

/// Where files of errands are kept, in the workspace of the chat that they go to.
const FOLDER: &str = "attachments/outgoing";

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

    /// Queues something for an address, durable when it returns.
    ///
    /// # Errors
    ///
    /// In words: the address is none, or the file cannot be sent.
    pub async fn bring(&self, address: &str, text: &str, file: Option<&Path>, silent: bool) -> Result<OutboxId, String> {
        let target: Target = address.parse().map_err(|error| format!("{error}"))?;
        let conversation = self.conversation(target, None).await.map_err(|error| error.to_string())?;
        let id = Uuid::new_v4();
        let mut body = text.to_owned();
        if let Some(file) = file {
            let kept = self.keep_file(conversation, file, id).await.map_err(|error| format!("cannot send {}: {error}", file.display()))?;
            body.push_str(&format!("\n\n<attachment>{kept}</attachment>"));
        }
        let kind = if silent { OutboxKind::Tell } else { OutboxKind::Final };
        let reply = NewOutbox::new(format!("{}.errand.{id}", self.0.name), conversation, kind, body);
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

    /// Copies a file of the operator into the workspace of the chat: what is sent is what it was now.
    async fn keep_file(&self, conversation: ConversationId, file: &Path, id: Uuid) -> io::Result<String> {
        let workspace = self.workdir().workspace(conversation);
        let file = file.to_owned();
        let copying = tokio::task::spawn_blocking(move || {
            let (folder, name) = file.parent().zip(file.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
            let from = Dir::open_ambient_dir(folder, ambient_authority())?;
            let found = from.metadata(name)?;
            if !found.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
            }
            if !(1..=TELEGRAM_FILE_OUT_BYTES).contains(&found.len()) {
                let why = format!("it has {} bytes; bots can send 1 byte to {} MB", found.len(), TELEGRAM_FILE_OUT_BYTES >> 20);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            let to = Dir::open_ambient_dir(workspace, ambient_authority())?;
            let place = format!("{FOLDER}/{}", id.simple());
            to.create_dir_all(&place)?;
            let kept = format!("{place}/{}", file_name(&name.to_string_lossy()));
            from.copy(name, &to, &kept)?;
            Ok(kept)
        });
        copying.await.map_err(io::Error::other)?
    }
}
