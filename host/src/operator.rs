//! What an operator does to conversations from outside of them.
//!
//! Everything is durable in the store before anybody acts on it, so it is the same with a host and without one, and a kill
//! in between leaves it for the next start. Who holds the work directory's lock calls this; the router adds what needs a
//! running session.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::clock;
use crate::ids::ConversationId;
use crate::session::inbox::Body;
use crate::store::{Accept, Condemned, InboxKind, NewInbox, Phase, Store, StoreError};
use crate::workdir::WorkDir;

/// The door through which the operator's commands come.
const SOURCE: &str = "operator";
/// Who it is for the conversation.
const BY: &str = "the operator";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Ends what runs in a conversation, as `/cancel` does.
    Stop { conversation: ConversationId },
    /// Ends what runs in every conversation.
    StopAll,
    /// Goes on with what waited.
    Resume,
    /// Removes a conversation with everything in it; `force`: also while a turn runs.
    Delete { conversation: ConversationId, force: bool },
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Done,
    /// It is noted, and happens when a host starts.
    Noted,
    /// There was nothing to do.
    Nothing,
    NotFound,
    /// A turn runs, or does not end.
    Running,
}

/// Does it where no session runs.
///
/// # Errors
///
/// What the store can fail with.
pub async fn act_at_rest(store: &Store, workdir: &WorkDir, deed: Deed) -> Result<Done, StoreError> {
    match deed {
        Deed::Stop { conversation } => match cancel(store, conversation).await? {
            Done::Done => Ok(Done::Noted),
            other => Ok(other),
        },
        Deed::StopAll => cancel_running(store).await.map(|()| Done::Noted),
        Deed::Resume => Ok(Done::Nothing),
        Deed::Delete { conversation, force } => delete(store, workdir, conversation, force).await,
    }
}

/// Puts a `/cancel` into the inbox of a conversation in which a turn is open. It is applied before anything else there.
///
/// # Errors
///
/// What the store can fail with.
pub async fn cancel(store: &Store, conversation: ConversationId) -> Result<Done, StoreError> {
    if store.conversation(conversation).await?.is_none() {
        return Ok(Done::NotFound);
    }
    if !is_open(store.standing(conversation).await?.phase) {
        return Ok(Done::Nothing);
    }
    // One that waits is enough.
    let commands = store.open_inbox(conversation, Some(InboxKind::Command)).await?;
    if commands.iter().any(|row| row.source == SOURCE) {
        return Ok(Done::Done);
    }
    let row = NewInbox {
        source: SOURCE.to_owned(),
        external_id: Uuid::new_v4().to_string(),
        conversation,
        kind: InboxKind::Command,
        group: None,
        body: json!(Body { sender: Some(BY.to_owned()), ..Body::text("/cancel") }).to_string(),
        blobs: Vec::new(),
        held: false,
    };
    store.at(|| format!("cancel@{conversation}")).accept(Accept::rows(vec![row], clock::now())).await?;
    Ok(Done::Done)
}

/// The same for every conversation in which a turn runs. One that waits for a person goes on waiting.
///
/// # Errors
///
/// What the store can fail with.
pub async fn cancel_running(store: &Store) -> Result<(), StoreError> {
    for session in store.open_sessions().await? {
        if session.phase != Phase::Parked {
            cancel(store, session.conversation).await?;
        }
    }
    Ok(())
}

/// Has a conversation whose foreground session is in this phase a turn to end?
#[must_use]
pub fn is_open(phase: Option<Phase>) -> bool {
    !matches!(phase, None | Some(Phase::Idle | Phase::Closed))
}

/// Removes a conversation. From its first commit on nothing is accepted into it, and the next start goes on where a kill
/// came.
///
/// # Errors
///
/// What the store can fail with.
pub async fn delete(store: &Store, workdir: &WorkDir, conversation: ConversationId, force: bool) -> Result<Done, StoreError> {
    match store.condemn(conversation, force).await? {
        Condemned::Yes => {}
        Condemned::NotFound => return Ok(Done::NotFound),
        Condemned::Running => return Ok(Done::Running),
    }
    remove_expired(store, workdir).await?;
    Ok(Done::Done)
}

/// Removes conversations whose time is over, their workspaces first: a workspace never outlives its row.
///
/// # Errors
///
/// What the store can fail with.
pub async fn remove_expired(store: &Store, workdir: &WorkDir) -> Result<(), StoreError> {
    loop {
        let expired = store.expired(clock::now()).await?;
        if expired.is_empty() {
            return Ok(());
        }
        for conversation in &expired {
            let workspace = workdir.workspace(*conversation);
            let removing = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(workspace));
            match removing.await.map_err(|_| StoreError::Closed)? {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%conversation, %error, "a workspace could not be removed");
                }
                _ => {}
            }
        }
        store.delete_expired(expired).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::ids::TurnId;
    use crate::store::{self, Append, Conversation, NewConversation};

    async fn opened() -> (tempfile::TempDir, WorkDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(folder.path()).unwrap();
        let (store, _) = Store::open(&workdir, store::Options::default()).unwrap();
        (folder, workdir, store)
    }

    async fn make(store: &Store, workdir: &WorkDir, address: &str, expires_at: Option<Moment>) -> Conversation {
        let new = NewConversation { channel: "terminal".into(), address: address.into(), model: "m".into(), expires_at };
        let made = store.get_or_create(new, clock::now()).await.unwrap().0;
        std::fs::create_dir(workdir.workspace(made.id)).unwrap();
        std::fs::write(workdir.workspace(made.id).join("notes.txt"), "x").unwrap();
        made
    }

    #[tokio::test]
    async fn an_expired_conversation_goes_with_its_workspace_and_the_others_stay() {
        let (_folder, workdir, store) = opened().await;
        let kept = make(&store, &workdir, "chat", None).await.id;
        let mut expired = Vec::new();
        for n in 0..70 {
            expired.push(make(&store, &workdir, &format!("ask/{n}"), Some(Moment(1))).await.id);
        }
        // A kill came between a workspace and its row.
        store.expired(clock::now()).await.unwrap();
        std::fs::remove_dir_all(workdir.workspace(expired[0])).unwrap();
        remove_expired(&store, &workdir).await.unwrap();
        let left = store.conversations().await.unwrap();
        assert_eq!(left.iter().map(|conversation| conversation.id).collect::<Vec<_>>(), [kept]);
        assert!(workdir.workspace(kept).join("notes.txt").exists());
        assert!(expired.iter().all(|id| !workdir.workspace(*id).exists()));
    }

    #[tokio::test]
    async fn a_condemned_conversation_takes_nothing_more_and_goes_also_after_a_kill() {
        let (_folder, workdir, store) = opened().await;
        let doomed = make(&store, &workdir, "chat", None).await.id;
        let session = store.foreground(doomed).await.unwrap();
        let asking = Append { phase: Some(Phase::Asking), ..Append::new(&session, TurnId(1), clock::now()) };
        store.append(asking).await.unwrap();
        assert_eq!(delete(&store, &workdir, doomed, false).await.unwrap(), Done::Running);
        assert_eq!(cancel(&store, doomed).await.unwrap(), Done::Done);
        assert_eq!(store.open_inbox(doomed, Some(InboxKind::Command)).await.unwrap().len(), 1);
        // A kill comes after the first commit.
        assert_eq!(store.condemn(doomed, true).await.unwrap(), Condemned::Yes);
        assert_eq!(store.condemn(doomed, true).await.unwrap(), Condemned::NotFound);
        assert_eq!(store.conversation(doomed).await.unwrap(), None);
        assert!(matches!(store.foreground(doomed).await, Err(StoreError::NotFound(_))), "no session is opened in it");
        let late = Append { phase: Some(Phase::Idle), ..Append::new(&session, TurnId(1), clock::now()) };
        assert!(matches!(store.append(late).await, Err(StoreError::Conflict(_))), "its turn is over");
        assert_eq!(cancel(&store, doomed).await.unwrap(), Done::NotFound);
        // Its address is free at once.
        let next = NewConversation { channel: "terminal".into(), address: "chat".into(), model: "m".into(), expires_at: None };
        let (next, created) = store.get_or_create(next, clock::now()).await.unwrap();
        assert!(created && next.id != doomed);
        remove_expired(&store, &workdir).await.unwrap();
        assert!(!workdir.workspace(doomed).exists());
        assert_eq!(store.sessions(doomed).await.unwrap(), []);
        assert_eq!(store.check().await.unwrap(), crate::store::Checked { journal_rows: 0, blobs: 0, problems: Vec::new() });
    }
}
