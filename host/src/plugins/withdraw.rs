//! What is granted with `plugin grant` as of now, and what of it was taken back meanwhile.
//!
//! A call begins only while its grant is what it was when it was asked for, and ends when a part of that is taken back: a
//! plugin that may do no more than before does so at once, not after the calls that run.

use std::sync::Arc;

use tokio::sync::watch;

use super::grants::file::{Granted, GrantsFile};

/// `grants.toml` as it counts now.
#[derive(Default)]
pub(super) struct Granting(watch::Sender<Arc<GrantsFile>>);

impl Granting {
    /// This counts from now on.
    pub fn publish(&self, granted: &GrantsFile) {
        self.0.send_if_modified(|now| {
            let is_new = **now != *granted;
            if is_new {
                *now = Arc::new(granted.clone());
            }
            is_new
        });
    }

    /// What counts now.
    pub fn now(&self) -> Arc<GrantsFile> {
        self.0.borrow().clone()
    }

    /// May a call begin with what was granted? Nothing, where something else than `grants.toml` says what it may do.
    pub fn holds(&self, then: Option<&Granted>) -> bool {
        then.is_none_or(|then| now_of(then, &self.0.borrow()).is_some_and(|now| now.sha256 == then.sha256 && now.covers(then)))
    }

    /// Returns when a part of what was granted is taken back. That it is for other bytes now takes nothing from a call that
    /// runs.
    pub async fn withdrawn(&self, then: Option<&Granted>) {
        let mut granted = self.0.subscribe();
        let Some(then) = then else { return std::future::pending().await };
        if granted.wait_for(|granted| !now_of(then, granted).is_some_and(|now| now.covers(then))).await.is_err() {
            // Nobody can take it back any more.
            std::future::pending::<()>().await;
        }
    }
}

fn now_of<'a>(then: &Granted, now: &'a GrantsFile) -> Option<&'a Granted> {
    now.get(then.source, &then.name)
}
