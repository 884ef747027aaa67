//! How far a model request has come, as the host sees it: its component is not asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::chat::Reached;

/// Shared by what may see a request leave or its answer arrive. Cheap to clone; another call has another one.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Requests that have left, or are about to.
    left: AtomicU32,
    answers: AtomicBool,
}

impl Progress {
    /// Something is about to leave. From here on its receiver may have it.
    pub fn leaves(&self) {
        self.0.left.fetch_add(1, Ordering::Relaxed);
    }

    /// It did not: nobody could be reached.
    pub fn stays(&self) {
        self.0.left.fetch_sub(1, Ordering::Relaxed);
    }

    /// What leaves while the answer of this is kept asks no model.
    #[must_use]
    pub fn aside(&self) -> Aside {
        Aside { left: self.0.left.load(Ordering::Relaxed), progress: self.clone() }
    }

    /// Some of the answer is there.
    pub fn answers(&self) {
        self.0.answers.store(true, Ordering::Relaxed);
    }

    /// How far it is.
    #[must_use]
    pub fn reached(&self) -> Reached {
        if self.0.answers.load(Ordering::Relaxed) {
            Reached::AfterOutput
        } else if self.0.left.load(Ordering::Relaxed) > 0 {
            Reached::Sent
        } else {
            Reached::BeforeSend
        }
    }
}

/// See [`Progress::aside`].
#[derive(Debug)]
pub struct Aside {
    progress: Progress,
    left: u32,
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.progress.0.left.store(self.left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_forward_unless_it_did_not_leave() {
        let progress = Progress::default();
        assert_eq!(progress.reached(), Reached::BeforeSend);
        progress.leaves();
        assert_eq!(progress.reached(), Reached::Sent);
        progress.stays();
        assert_eq!(progress.reached(), Reached::BeforeSend);
        // A second request of the same call that does not leave: the first one did.
        progress.leaves();
        progress.leaves();
        progress.stays();
        assert_eq!(progress.reached(), Reached::Sent);
        let aside = progress.aside();
        progress.leaves();
        drop(aside);
        progress.stays();
        assert_eq!(progress.reached(), Reached::BeforeSend);
        progress.answers();
        assert_eq!(progress.reached(), Reached::AfterOutput);
    }
}
