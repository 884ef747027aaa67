//! Wake-ups: which conversations got new rows. A set, so it cannot overflow; what the rows say is read from the store.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::ids::ConversationId;

/// What has work since a commit. Coalesced: two commits before a look are one wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wake {
    /// New inbox rows.
    Inbox(ConversationId),
    /// New outbox rows.
    Outbox(ConversationId),
}

/// The wake-ups of a store, for one reader. Each reader gets all of them.
#[derive(Debug)]
pub struct Wakes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<Wake>,
    closed: bool,
}

impl Wakes {
    /// The next conversation with new work, or none when the store is closed.
    pub async fn next(&mut self) -> Option<Wake> {
        loop {
            {
                let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(wake) = state.waiting.pop_first() {
                    return Some(wake);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }
}

/// The readers of the wake-ups.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Readers>);

#[derive(Debug, Default)]
struct Readers {
    readers: Vec<Weak<Shared>>,
    closed: bool,
}

impl Wakers {
    /// A new reader, of what is committed from now on.
    pub fn subscribe(&self) -> Wakes {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = State { closed: all.closed, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        all.readers.retain(|reader| reader.strong_count() > 0);
        all.readers.push(Arc::downgrade(&shared));
        Wakes(shared)
    }

    /// Wakes everybody who reads.
    pub fn wake(&self, wakes: &[Wake]) {
        if !wakes.is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).each(|state| state.waiting.extend(wakes));
        }
    }

    /// No wake-up will follow.
    pub fn close(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.closed = true;
        all.each(|state| state.closed = true);
    }
}

impl Readers {
    fn each(&self, change: impl Fn(&mut State)) {
        for reader in self.readers.iter().filter_map(Weak::upgrade) {
            change(&mut reader.state.lock().unwrap_or_else(PoisonError::into_inner));
            reader.changed.notify_one();
        }
    }
}
