//! Connections between the calls that use them.
//!
//! A parked connection is a cache: whoever comes for it may find nothing. It is found by the same plugin with the same bytes
//! and grants, in the same session, with the same model; it is closed when it has ended, when more comes than a few pings,
//! when it was parked for too long or too many are, and when what its plugin may do has changed. Nobody reads what comes
//! meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::socket::Socket;
use crate::ids::SessionId;
use crate::limits;
use crate::plugins::grants::Grant;

/// Whose connections.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub(in crate::plugins) session: SessionId,
    /// The alias of the model that is asked; none in the call of a tool.
    pub(in crate::plugins) model: Option<String>,
    /// The bytes of the plugin.
    pub(in crate::plugins) digest: String,
    /// What it may do in any call.
    pub(in crate::plugins) granted: Arc<Grant>,
    /// What it may do in this call, which is more where a model has a key.
    pub(in crate::plugins) grant: Arc<Grant>,
}

/// All that are parked in this process. Cheap to clone.
#[derive(Clone)]
pub struct Parked {
    shelf: Arc<Mutex<Shelf>>,
    /// How long each stays.
    time: Duration,
}

#[derive(Default)]
struct Shelf {
    /// By plugin; the oldest first.
    kept: HashMap<String, Vec<Kept>>,
    next: u64,
}

struct Kept {
    id: u64,
    place: Place,
    key: String,
    note: Vec<u8>,
    socket: Socket,
    _keeper: Keeper,
}

/// The task that closes it; it ends with what it looks after.
struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Place {
    /// Do both mean the same connections by the same key? Whether they may have them is another question.
    fn is_same_session(&self, other: &Self) -> bool {
        (self.session, &self.model) == (other.session, &other.model)
    }
}

impl Parked {
    /// None yet; each will stay so long at most.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self { shelf: Arc::default(), time }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection, or drops it: one that has ended, has unread frames, or whose key or note is too long.
    pub(super) fn put(&self, place: &Place, key: String, socket: Socket, note: Vec<u8>) {
        let plugin = place.grant.plugin.clone();
        let too_large = key.len() > limits::PARKED_KEY_BYTES || note.len() > limits::PARKED_NOTE_BYTES;
        if too_large || socket.is_over() || socket.held_bytes() > limits::PARKED_BYTES {
            tracing::debug!(plugin, key, "a connection is closed instead of being parked");
            return;
        }
        socket.park(true);
        let mut shelf = self.shelf();
        let id = shelf.next;
        shelf.next += 1;
        let keeper = Keeper(tokio::spawn(self.clone().keep(plugin.clone(), id, socket.over())).abort_handle());
        let kept = shelf.kept.entry(plugin).or_default();
        kept.retain(|other| other.key != key || !other.place.is_same_session(place));
        kept.push(Kept { id, place: place.clone(), key, note, socket, _keeper: keeper });
        let here = kept.iter().filter(|other| other.place.is_same_session(place)).count();
        if here > limits::PARKED_HERE
            && let Some(oldest) = kept.iter().position(|other| other.place.is_same_session(place))
        {
            kept.remove(oldest);
        }
        if kept.len() > limits::PARKED_OF_PLUGIN {
            kept.remove(0);
        }
    }

    /// The connection that was parked there, and its note.
    pub(super) fn take(&self, place: &Place, key: &str) -> Option<(Socket, Vec<u8>)> {
        let mut shelf = self.shelf();
        let kept = shelf.kept.get_mut(&place.grant.plugin)?;
        let at = kept.iter().position(|other| other.key == key && other.place.is_same_session(place))?;
        let Kept { socket, note, place: parked_by, .. } = kept.remove(at);
        let is_alive = !socket.is_over() && parked_by == *place;
        socket.park(false);
        is_alive.then_some((socket, note))
    }

    /// Closes the ones whose plugin is not served any more with the bytes and grants that they were opened with.
    pub(in crate::plugins) fn keep_only(&self, is_served: impl Fn(&Place) -> bool) {
        self.shelf().kept.retain(|_, kept| {
            kept.retain(|one| is_served(&one.place));
            !kept.is_empty()
        });
    }

    /// Closes a connection when it has ended or its time is over.
    async fn keep(self, plugin: String, id: u64, over: impl Future<Output = ()>) {
        let _ = tokio::time::timeout(self.time, over).await;
        let mut shelf = self.shelf();
        if let Some(kept) = shelf.kept.get_mut(&plugin) {
            kept.retain(|one| one.id != id);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shelf().kept.values().map(Vec::len).sum()
    }
}
