//! What tests let go wrong with a store, step by step: a full disk, and the death of whoever asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Store, StoreError};

/// What becomes of a command or a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trip {
    Goes,
    /// As on a full disk: nothing of it is done.
    Fails,
    /// Whoever asks dies before it is done.
    DiesBefore,
    /// It is done, and whoever asks dies before they know.
    DiesAfter,
}

/// Those that are still to come; what follows them goes.
#[derive(Debug, Default)]
pub(super) struct Trips {
    next: Mutex<VecDeque<Trip>>,
    has_died: AtomicBool,
}

impl Store {
    /// What becomes of the next steps, in place of what was said before.
    pub(crate) fn trip(&self, next: impl IntoIterator<Item = Trip>) {
        let trips = &self.inner.trips;
        *trips.next.lock().unwrap_or_else(PoisonError::into_inner) = next.into_iter().collect();
        trips.has_died.store(false, Ordering::Relaxed);
    }

    /// Has somebody died since?
    pub(crate) fn has_died(&self) -> bool {
        self.inner.trips.has_died.load(Ordering::Relaxed)
    }

    pub(super) async fn tripping<T>(&self, step: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let trips = &self.inner.trips;
        let trip = trips.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Trip::Goes);
        let die = async || {
            trips.has_died.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        };
        match trip {
            Trip::Goes => return step.await,
            Trip::Fails => return Err(StoreError::Full("a test wants it to be".to_owned())),
            Trip::DiesBefore => die().await,
            Trip::DiesAfter => {
                drop(step.await);
                die().await;
            }
        }
        Err(StoreError::Closed)
    }
}
