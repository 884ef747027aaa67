//! What is granted as of now, by `plugin grant` and by the configuration, and what of it was taken back meanwhile.
//!
//! A call begins only while its grant is what it was when it was asked for, and ends when a part of that is taken back: a
//! plugin that may do no more than before does so at once, not after the calls that run.

use std::sync::Arc;

use tokio::sync::watch;

use super::grants;
use super::grants::file::{Granted, GrantsFile};
use super::load::{self, Plugin, Serving};
use crate::config::{Config, Current};

/// `grants.toml` as it counts now, and the configuration.
pub(super) struct Granting {
    granted: watch::Sender<Arc<GrantsFile>>,
    config: Current,
}

/// What a call began with. None: without any grant.
type BeganWith<'a> = Option<(&'a Plugin, &'a Serving)>;

impl Granting {
    pub fn new(config: Current) -> Self {
        Self { granted: watch::Sender::default(), config }
    }

    /// This counts from now on.
    pub fn publish(&self, granted: &GrantsFile) {
        self.granted.send_if_modified(|now| {
            let is_new = **now != *granted;
            if is_new {
                *now = Arc::new(granted.clone());
            }
            is_new
        });
    }

    /// What counts now of `grants.toml`.
    pub fn now(&self) -> Arc<GrantsFile> {
        self.granted.borrow().clone()
    }

    /// The configuration that counts now.
    pub fn config(&self) -> Arc<Config> {
        self.config.get()
    }

    /// May a call begin with what was granted?
    pub fn holds(&self, then: BeganWith<'_>) -> bool {
        let Some((plugin, serving)) = then else { return true };
        let granted = serving.granted.as_deref();
        let is_same = |then: &Granted, now: &Granted| now.sha256 == then.sha256 && now.covers(then);
        granted.is_none_or(|then| now_of(then, &self.now()).is_some_and(|now| is_same(then, now))) && self.allows(plugin, serving, true)
    }

    /// Returns when a part of what was granted is taken back. That it is for other bytes now takes nothing from a call that
    /// runs.
    pub async fn withdrawn(&self, then: BeganWith<'_>) {
        let Some((plugin, serving)) = then else { return std::future::pending().await };
        let (mut granted, mut config) = (self.granted.subscribe(), self.config.subscribe());
        let file = serving.granted.as_deref();
        while file.is_none_or(|then| now_of(then, &self.now()).is_some_and(|now| now.covers(then))) && self.allows(plugin, serving, false) {
            let changed = tokio::select! {
                changed = granted.changed() => changed,
                changed = config.changed() => changed,
            };
            if changed.is_err() {
                // Nobody can take it back any more.
                return std::future::pending().await;
            }
        }
    }

    /// Does the configuration, with `grants.toml` where it leaves that to it, still allow what it allowed? `named`: also the
    /// bytes must still be the ones it means.
    fn allows(&self, plugin: &Plugin, serving: &Serving, named: bool) -> bool {
        let config = self.config.get();
        if Arc::ptr_eq(&config, &serving.config) {
            return true;
        }
        let (entry, _) = load::entry(&config, &self.now(), plugin.source, &plugin.name);
        if entry.as_ref().is_some_and(|entry| entry.enabled == Some(false)) {
            return false;
        }
        let entry = entry.map(|mut entry| {
            if !named && entry.sha256.is_some() {
                entry.sha256 = Some(serving.digest.clone());
            }
            entry
        });
        let now = grants::decide(&plugin.name, plugin.source, &serving.surface, &serving.digest, entry.as_ref());
        now.is_ok_and(|(now, _)| now.covers(&serving.grant))
    }
}

fn now_of<'a>(then: &Granted, now: &'a GrantsFile) -> Option<&'a Granted> {
    now.get(then.source, &then.name)
}
