//! Stopping a call: first a flag that waiting imports and the guest see, then a grace, then the sandbox is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How a call is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopping {
    /// What the guest has to return before its sandbox is dropped.
    pub grace: Duration,
}

/// The side that stops a call. Dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct Stop {
    sender: watch::Sender<Option<Stopping>>,
    waiting: Arc<AtomicU32>,
}

/// The side of the call. Imports that wait select on [`StopSignal::stopped`].
#[derive(Debug, Clone)]
pub struct StopSignal {
    receiver: watch::Receiver<Option<Stopping>>,
    waiting: Arc<AtomicU32>,
}

/// Marks the call as standing in an import that waits, until it is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<AtomicU32>);

/// A new pair for one call.
#[must_use]
pub fn stop() -> (Stop, StopSignal) {
    let (sender, receiver) = watch::channel(None);
    let waiting = Arc::new(AtomicU32::new(0));
    (Stop { sender, waiting: waiting.clone() }, StopSignal { receiver, waiting })
}

impl Stop {
    /// Stops the call. A second stop can only shorten the grace.
    pub fn stop(&self, grace: Duration) {
        self.sender.send_if_modified(|stopping| {
            let shorter = stopping.is_none_or(|now| grace < now.grace);
            if shorter {
                *stopping = Some(Stopping { grace });
            }
            shorter
        });
    }

    /// Does the call stand in an import that waits (and so returns at once when stopped)?
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl StopSignal {
    /// Has the call been stopped?
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.receiver.borrow().is_some()
    }

    /// Waits until the call is stopped. Never returns when nobody can stop it any more.
    pub async fn stopped(&mut self) -> Stopping {
        loop {
            if let Some(stopping) = *self.receiver.borrow_and_update() {
                return stopping;
            }
            if self.receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for a stop with a shorter grace than `current`.
    pub async fn hastened(&mut self, current: Stopping) -> Stopping {
        loop {
            if let Some(stopping) = *self.receiver.borrow_and_update()
                && stopping.grace < current.grace
            {
                return stopping;
            }
            if self.receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Says that the call now stands in an import that waits.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_stop_only_shortens_the_grace() {
        let (stop, mut signal) = stop();
        assert!(!signal.is_stopped());
        stop.stop(Duration::from_millis(200));
        stop.stop(Duration::from_millis(500));
        assert_eq!(signal.stopped().await.grace, Duration::from_millis(200));
        stop.stop(Duration::ZERO);
        let now = signal.hastened(Stopping { grace: Duration::from_millis(200) }).await;
        assert_eq!(now.grace, Duration::ZERO);
    }

    #[test]
    fn a_call_waits_while_its_guard_lives() {
        let (stop, signal) = stop();
        let guard = signal.waiting();
        assert!(stop.is_waiting());
        drop(guard);
        assert!(!stop.is_waiting());
    }
}
