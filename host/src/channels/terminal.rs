//! The terminal: `host.sock` (0600), and whoever is attached to it.
//!
//! A part counts as sent when the attached client, having written it, acknowledged its key. Without a client it waits and
//! is shown first when one attaches; a client that went away in between leaves it unknown. The newest client of a
//! conversation gets its replies; all of them see the turn as it runs.

mod connection;
mod errands;
pub mod link;
pub mod protocol;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use self::connection::Connection;
use crate::channels::telegram::Telegram;
use crate::delivery::{Channel, Delivery, Outcome, Part, Reply};
use crate::ids::ConversationId;
use crate::limits::{ACK_TIME, SOCKET_CLIENTS};
use crate::router::Router;
use crate::store::Conversation;
use crate::supervise::Supervisor;

/// The channel's name in conversations' rows.
pub const CHANNEL: &str = "terminal";

/// The attached clients. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Terminal(Arc<Mutex<Clients>>);

#[derive(Debug, Default)]
struct Clients {
    next: u64,
    /// By conversation, oldest first.
    attached: HashMap<ConversationId, Vec<Attached>>,
}

/// One client of a conversation.
#[derive(Debug, Clone)]
struct Attached {
    id: u64,
    deliver: mpsc::UnboundedSender<Outgoing>,
    /// Something was delivered, or everything.
    changed: Arc<Notify>,
}

/// A part on its way to a client. Dropping it unanswered means that it was not written.
#[derive(Debug)]
struct Outgoing {
    part: Part,
    outcome: oneshot::Sender<Outcome>,
}

/// The socket's file, removed when the host stops.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "the socket's file was gone already");
        }
    }
}

impl Terminal {
    /// Serves the socket until the host stops. The caller holds the work directory's lock, so a file that is there is
    /// left over.
    ///
    /// # Errors
    ///
    /// What binding the socket can fail with.
    pub fn serve(
        &self,
        socket: PathBuf,
        router: Router,
        delivery: Delivery,
        telegram: Option<Telegram>,
        supervisor: &Supervisor,
    ) -> io::Result<Socket> {
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = Arc::new(bind_private(&socket)?);
        let (terminal, owner) = (self.clone(), supervisor.clone());
        let connection = move || Connection::new(terminal.clone(), router.clone(), delivery.clone(), telegram.clone());
        supervisor.keep("terminal", move || accept(listener.clone(), connection.clone(), owner.clone()));
        Ok(Socket(socket))
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches a client to a conversation until the guard is dropped.
    fn attach(&self, conversation: ConversationId, deliver: mpsc::UnboundedSender<Outgoing>, changed: Arc<Notify>) -> Attachment {
        let mut clients = self.clients();
        clients.next += 1;
        let id = clients.next;
        clients.attached.entry(conversation).or_default().push(Attached { id, deliver, changed });
        Attachment { terminal: self.clone(), conversation, id }
    }

    /// No more parts for this client. Its connection ends when it sees that nobody can send to it any more.
    fn detach(&self, conversation: ConversationId, id: u64) {
        let mut clients = self.clients();
        if let Some(attached) = clients.attached.get_mut(&conversation) {
            attached.retain(|client| client.id != id);
            if attached.is_empty() {
                clients.attached.remove(&conversation);
            }
        }
    }

    fn newest(&self, conversation: ConversationId) -> Option<Attached> {
        self.clients().attached.get(&conversation)?.last().cloned()
    }
}

/// Binds a socket that only this user can connect to, from its first moment.
fn bind_private(socket: &std::path::Path) -> io::Result<UnixListener> {
    // The work directory is 0700, so nobody else reaches the file between the two calls.
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

struct Attachment {
    terminal: Terminal,
    conversation: ConversationId,
    id: u64,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.terminal.detach(self.conversation, self.id);
    }
}

async fn accept(listener: Arc<UnixListener>, connect: impl Fn() -> Connection, supervisor: Supervisor) {
    let places = Arc::new(Semaphore::new(SOCKET_CLIENTS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connect();
                let stopping = supervisor.stopping();
                supervisor.spawn(async move {
                    if let Err(error) = connection.run(stream, stopping).await {
                        tracing::debug!(%error, "a terminal went away");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely; it passes.
                tracing::warn!(%error, "the terminal's socket did not accept a client");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

impl Channel for Terminal {
    /// A terminal has no limit on length: one part.
    fn plan(&self, reply: Reply<'_>) -> Vec<String> {
        vec![reply.body.to_owned()]
    }

    fn is_reachable(&self, conversation: &Conversation) -> bool {
        self.newest(conversation.id).is_some()
    }

    fn deliver(&self, part: Part) -> BoxFuture<'_, Outcome> {
        async move {
            let conversation = part.conversation;
            let Some(client) = self.newest(conversation) else { return Outcome::NotSent(None) };
            let (outcome, ended) = oneshot::channel();
            if client.deliver.send(Outgoing { part, outcome }).is_err() {
                return Outcome::NotSent(None);
            }
            match tokio::time::timeout(ACK_TIME, ended).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Outcome::NotSent(None),
                // A client that does not answer gets nothing more: the repeat waits for one that does.
                Err(_) => {
                    self.detach(conversation, client.id);
                    Outcome::Unknown
                }
            }
        }
        .boxed()
    }

    fn drained(&self, conversation: ConversationId) {
        if let Some(attached) = self.clients().attached.get(&conversation) {
            for client in attached {
                client.changed.notify_one();
            }
        }
    }
}
