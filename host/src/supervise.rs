//! Who is restarted, how often, and what ends the process.
//!
//! Every long-lived task belongs to a [`Supervisor`]. One that panics is started again from what is durable, never from
//! what was in memory; one that panics too often ends the process with its own exit code. Sessions have a budget of
//! their own and never end the process (see `router`).

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::health::Health;
use crate::limits::{PANIC_WINDOW, PANICS};

/// Why the process cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The store cannot be written. Exit code 74.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// A part of the host was restarted too often. Exit code 70.
    #[error("gave up restarting {task} after {PANICS} panics within {} s", PANIC_WINDOW.as_secs())]
    GaveUp { task: &'static str },
}

/// Counts failures within a window of time.
#[derive(Debug)]
pub struct Budget {
    failures: VecDeque<Instant>,
    most: usize,
    window: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { failures: VecDeque::new(), most: PANICS, window: PANIC_WINDOW }
    }
}

impl Budget {
    /// Records a failure. False when there were too many.
    #[must_use]
    pub fn allows(&mut self, now: Instant) -> bool {
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now.duration_since(*first) > self.window) {
            self.failures.pop_front();
        }
        self.failures.len() < self.most
    }
}

/// Owns the long-lived tasks. A cheap handle.
#[derive(Debug, Clone)]
pub struct Supervisor {
    tasks: Arc<Mutex<JoinSet<()>>>,
    stop: watch::Sender<bool>,
    fatal: watch::Sender<Option<Fatal>>,
    health: Health,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { tasks: Arc::default(), stop: watch::Sender::new(false), fatal: watch::Sender::new(None), health: Health::default() }
    }
}

impl Supervisor {
    /// Runs `task` until it returns or the host stops, and again after a panic.
    pub fn keep<F>(&self, name: &'static str, mut task: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (mut stop, fatal) = (self.stopping(), self.fatal.clone());
        self.spawn(async move {
            let mut budget = Budget::default();
            loop {
                let mut running = JoinSet::new();
                running.spawn(task());
                let ended = tokio::select! {
                    ended = running.join_next() => ended,
                    () = stop.wait() => return,
                };
                match ended {
                    Some(Err(panic)) if panic.is_panic() => {
                        tracing::error!(task = name, "a part of the host panicked and is started again");
                        if !budget.allows(Instant::now()) {
                            fatal.send_replace(Some(Fatal::GaveUp { task: name }));
                            return;
                        }
                    }
                    _ => return,
                }
            }
        });
    }

    /// Where the tasks report how they are.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Owns a task that ends by itself.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Owns a task that nothing depends on: where it is when the host stops, it is dropped.
    pub fn spawn_until_stop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopping = self.stopping();
        self.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopping.wait() => {}
            }
        });
    }

    /// Ends the process as soon as whoever runs it looks.
    pub fn fail(&self, fatal: Fatal) {
        self.fatal.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(fatal);
            }
            first
        });
    }

    /// Waits for a reason to end the process.
    pub async fn failed(&self) -> Fatal {
        let mut fatal = self.fatal.subscribe();
        loop {
            if let Some(fatal) = fatal.borrow_and_update().clone() {
                return fatal;
            }
            if fatal.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What a task waits on to learn that the host stops.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Tells every task to stop, and waits at most `bound` for them.
    pub async fn stop(&self, bound: Duration) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(bound, all).await.is_err() {
            tracing::warn!("some tasks did not stop in time and are dropped");
        }
    }
}

/// Becomes true when the host stops.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits until the host stops.
    pub async fn wait(&mut self) {
        // A supervisor that is gone has stopped.
        let _: Result<_, watch::error::RecvError> = self.0.wait_for(|stop| *stop).await;
    }

    /// Is the host stopping?
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_until_its_budget_is_gone() {
        let supervisor = Supervisor::default();
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = starts.clone();
        supervisor.keep("delivery", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { panic!("on purpose") }
        });
        assert_eq!(supervisor.failed().await, Fatal::GaveUp { task: "delivery" });
        assert_eq!(starts.load(Ordering::Relaxed), PANICS);
    }

    #[test]
    fn old_panics_do_not_count() {
        let (mut budget, mut now) = (Budget::default(), Instant::now());
        for _ in 0..20 {
            assert!(budget.allows(now));
            now += PANIC_WINDOW / 2;
        }
    }

    #[tokio::test]
    async fn stopping_waits_for_tasks_but_not_for_ever() {
        let supervisor = Supervisor::default();
        let (done, was_done) = tokio::sync::oneshot::channel();
        let mut stopping = supervisor.stopping();
        supervisor.spawn(async move {
            stopping.wait().await;
            done.send(()).unwrap();
        });
        supervisor.spawn(std::future::pending());
        supervisor.stop(Duration::from_millis(100)).await;
        was_done.await.unwrap();
    }

    #[tokio::test]
    async fn stopping_does_not_wait_for_what_nothing_depends_on() {
        const HANGS: Duration = Duration::from_secs(10);
        let supervisor = Supervisor::default();
        supervisor.spawn_until_stop(std::future::pending());
        tokio::time::timeout(HANGS, supervisor.stop(PANIC_WINDOW)).await.unwrap();
        // Also when it begins after the stop.
        supervisor.spawn_until_stop(std::future::pending());
        tokio::time::timeout(HANGS, supervisor.stop(PANIC_WINDOW)).await.unwrap();
    }
}
