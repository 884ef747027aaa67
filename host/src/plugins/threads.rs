//! Threads that run calls: a guest never stands on a worker of the runtime, whatever it does.
//!
//! A few threads are kept warm; more are started while all are busy, up to a bound, and then calls queue. An idle thread
//! looks for work for a moment before it sleeps. A thread that never comes back (a guest in a system call that hangs) costs
//! one slot and nothing else: nobody waits for these threads, not even the end of the process.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::limits;

type Job = Box<dyn FnOnce(&Handle) + Send>;

/// The pool. Its threads end after it, each when it is idle.
pub(super) struct Threads {
    pool: Arc<Pool>,
    runtime: Handle,
}

struct Pool {
    state: Mutex<State>,
    work: Condvar,
    /// Jobs in the queue, readable without the lock.
    queued: AtomicUsize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    idle: usize,
    threads: usize,
    closed: bool,
}

/// Why there is no result of a job.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("panicked: {0}")]
    Panicked(String),
    #[error("no thread: {0}")]
    NoThread(std::io::Error),
}

impl Threads {
    /// Starts the warm threads. What they run uses `runtime` for time and sockets.
    pub fn start(runtime: Handle) -> std::io::Result<Self> {
        let pool = Arc::new(Pool { state: Mutex::default(), work: Condvar::new(), queued: AtomicUsize::new(0) });
        let threads = Self { pool, runtime };
        let mut state = threads.pool.lock();
        for _ in 0..limits::CALL_THREADS_WARM {
            threads.spawn(&mut state)?;
        }
        drop(state);
        Ok(threads)
    }

    /// Runs a future on a thread of the pool. When the answer is no longer awaited, a job in the queue is not begun, and one
    /// that runs ends where it next waits.
    pub async fn run<F, R>(&self, job: impl FnOnce() -> F + Send + 'static) -> Result<R, Lost>
    where
        F: Future<Output = R>,
        R: Send + 'static,
    {
        let (mut sender, receiver) = oneshot::channel();
        self.submit(Box::new(move |runtime| {
            if sender.is_closed() {
                return;
            }
            let awaited = async {
                tokio::select! {
                    biased;
                    () = sender.closed() => None,
                    result = job() => Some(result),
                }
            };
            let result = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(awaited)));
            let result = result.map_err(|payload| Lost::Panicked(panic_text(&*payload))).transpose();
            if let Some(result) = result {
                // The asker may have given up.
                let _ = sender.send(result);
            }
        }))
        .map_err(Lost::NoThread)?;
        receiver.await.unwrap_or_else(|_| Err(Lost::Panicked("the thread ended".into())))
    }

    fn submit(&self, job: Job) -> std::io::Result<()> {
        let mut state = self.pool.lock();
        if state.idle <= state.queue.len() && state.threads < limits::CALL_THREADS_MAX {
            match self.spawn(&mut state) {
                // The threads that exist will come to it.
                Err(error) if state.threads > 0 => tracing::warn!(%error, "no more threads for calls"),
                other => other?,
            }
        }
        state.queue.push_back(job);
        self.pool.queued.fetch_add(1, Ordering::Release);
        drop(state);
        self.pool.work.notify_one();
        Ok(())
    }

    fn spawn(&self, state: &mut State) -> std::io::Result<()> {
        let (pool, runtime) = (self.pool.clone(), self.runtime.clone());
        thread::Builder::new().name("call".into()).spawn(move || pool.work(&runtime))?;
        state.threads += 1;
        state.idle += 1;
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.pool.lock().closed = true;
        self.pool.work.notify_all();
    }
}

impl Pool {
    /// A thread's life. It is idle when it begins, and whenever it waits here.
    fn work(&self, runtime: &Handle) {
        while let Some(job) = self.next() {
            job(runtime);
            self.lock().idle += 1;
        }
    }

    fn next(&self) -> Option<Job> {
        let begin = Instant::now();
        while self.queued.load(Ordering::Acquire) == 0 && begin.elapsed() < limits::CALL_THREAD_SPIN {
            std::hint::spin_loop();
        }
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                self.queued.fetch_sub(1, Ordering::Release);
                state.idle -= 1;
                return Some(job);
            }
            if state.closed {
                return None;
            }
            let (guard, timeout) = self.work.wait_timeout(state, limits::CALL_THREAD_IDLE).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if timeout.timed_out() && state.queue.is_empty() && state.threads > limits::CALL_THREADS_WARM {
                state.threads -= 1;
                state.idle -= 1;
                return None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn blocking_jobs_do_not_hold_each_other_up() {
        let threads = Threads::start(Handle::current()).unwrap();
        let begin = Instant::now();
        let jobs = (0..12u64).map(|index| {
            threads.run(move || async move {
                thread::sleep(Duration::from_millis(200));
                index
            })
        });
        let answers = futures_util::future::try_join_all(jobs).await.unwrap();
        assert_eq!(answers, (0..12).collect::<Vec<_>>());
        assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_runs_for_an_asker_that_has_gone() {
        let threads = Threads::start(Handle::current()).unwrap();
        let (sender, receiver) = oneshot::channel::<()>();
        let running = threads.run(|| async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(100), running).await.is_err());
        let ended = tokio::time::timeout(Duration::from_secs(5), receiver).await.unwrap();
        assert!(ended.is_err(), "the job was dropped with what it held");
    }

    #[tokio::test]
    async fn a_panic_ends_its_job_only() {
        let threads = Threads::start(Handle::current()).unwrap();
        for _ in 0..2 * limits::CALL_THREADS_WARM {
            let lost = threads.run(|| async { panic!("on purpose") }).await;
            assert!(matches!(lost, Err::<(), _>(Lost::Panicked(text)) if text == "on purpose"));
        }
        assert_eq!(threads.run(|| async { 5 }).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn the_threads_end_with_the_pool() {
        let threads = Threads::start(Handle::current()).unwrap();
        let pool = Arc::downgrade(&threads.pool);
        threads.run(|| async {}).await.unwrap();
        drop(threads);
        for _ in 0..500 {
            if pool.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} threads are left", pool.strong_count());
    }
}
