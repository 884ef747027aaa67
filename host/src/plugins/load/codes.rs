//! The machine code of every plugin that is meant to serve.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::plugins::cache::Cache;
use crate::plugins::engine::Engines;
use crate::plugins::link::{self, Linked, Wanted};

/// The machine code of a component.
#[derive(Clone)]
pub enum Code {
    Compiling,
    Ready(Arc<Linked>),
    Refused(String),
}

/// Where code is put when it is there.
pub type Slot = Arc<watch::Sender<Code>>;

/// The code of every plugin that is meant to serve, by digest, memory and settings.
#[derive(Default)]
pub struct Codes {
    slots: HashMap<(String, usize, Arc<str>), (Slot, bool)>,
}

impl Codes {
    /// The slot of this code. One that is new is filled from the cache, if there is one to look into.
    pub(super) fn slot(&mut self, wanted: &Wanted<'_>, settings: &Arc<str>, cache: Option<(&Engines, &Cache)>) -> Slot {
        let key = (wanted.digest.to_owned(), wanted.memory_bytes, settings.clone());
        let code = || match cache.and_then(|(engines, cache)| link::cached(engines, cache, wanted)) {
            Some(Ok(linked)) => Code::Ready(Arc::new(linked)),
            Some(Err(reason)) => Code::Refused(reason),
            None => Code::Compiling,
        };
        let (slot, is_used) = self.slots.entry(key).or_insert_with(|| (Arc::new(watch::channel(code()).0), true));
        *is_used = true;
        slot.clone()
    }

    /// Has such code been linked already?
    pub(super) fn is_ready(&self, digest: &str, settings: &str) -> bool {
        let of = self.slots.iter().filter(|((code, _, for_settings), _)| code == digest && **for_settings == *settings);
        of.map(|(_, (slot, _))| slot).any(|slot| matches!(*slot.borrow(), Code::Ready(_)))
    }

    /// Forgets this code: what was said of it was not about the component.
    pub fn forget(&mut self, code: &Slot) {
        self.slots.retain(|_, (slot, _)| !Arc::ptr_eq(slot, code));
    }

    /// Forgets what nobody has asked for since the last time. What was refused is asked for as long as its file is there.
    pub fn forget_unused(&mut self) {
        self.slots.retain(|_, (_, is_used)| std::mem::take(is_used));
    }
}
