//! How the parts of a running host are: what `status` shows, and what a container's health check depends on.
//!
//! A part reports what lasts, not what the next try may mend. Nothing here is durable: a host that starts is well until a
//! part says otherwise. What is wrong keeps the moment since when it is, however its reason changes. A change is logged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::{self, Moment};

/// How a part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It serves, and a person should look: a restart would not help.
    Warned {
        reason: String,
        since: Moment,
    },
    /// It does not do its work. The host is not healthy.
    Degraded {
        reason: String,
        since: Moment,
    },
}

impl State {
    fn since(&self) -> Option<Moment> {
        match self {
            Self::Ok => None,
            Self::Warned { since, .. } | Self::Degraded { since, .. } => Some(*since),
        }
    }
}

/// A part with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    #[serde(flatten)]
    pub state: State,
}

/// The registry. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, State>>>);

impl Health {
    /// The part works, or works again.
    pub fn ok(&self, part: &str) {
        if self.set(part, |_| State::Ok) {
            tracing::info!(part, "a part of the host is well");
        }
    }

    /// The part serves, and a person should look at it.
    pub fn warned(&self, part: &str, reason: &str) {
        let warned = |since| State::Warned { reason: reason.to_owned(), since };
        if self.set(part, warned) {
            tracing::warn!(part, reason, "a part of the host needs a look");
        }
    }

    /// The part does not do its work.
    pub fn degraded(&self, part: &str, reason: &str) {
        let degraded = |since| State::Degraded { reason: reason.to_owned(), since };
        if self.set(part, degraded) {
            tracing::warn!(part, reason, "a part of the host is degraded");
        }
    }

    /// Every part that ever reported, by name.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().map(|(name, state)| Part { name: name.clone(), state: state.clone() }).collect()
    }

    /// True: it changed.
    fn set(&self, part: &str, state: impl FnOnce(Moment) -> State) -> bool {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parts.get(part);
        let state = state(before.and_then(State::since).unwrap_or_else(clock::now));
        if before == Some(&state) {
            return false;
        }
        let news = before.is_some() || state != State::Ok;
        parts.insert(part.to_owned(), state);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_keeps_its_beginning_until_it_is_right() {
        let health = Health::default();
        let since = || health.parts()[0].state.since();
        health.ok("telegram");
        assert_eq!(since(), None);
        health.degraded("telegram", "409: another poller");
        let began = since().unwrap();
        while clock::now() == began {}
        health.warned("telegram", "slow");
        health.degraded("telegram", "401: unauthorized");
        assert_eq!(since(), Some(began));
        assert_eq!(health.parts().len(), 1);
        health.ok("telegram");
        health.degraded("telegram", "409: another poller");
        assert!(since().unwrap() > began);
    }

    #[test]
    fn a_part_is_one_object() {
        let part = Part { name: "store".into(), state: State::Degraded { reason: "full".into(), since: Moment(7) } };
        let text = serde_json::to_string(&part).unwrap();
        assert_eq!(text, r#"{"name":"store","state":"degraded","reason":"full","since":7}"#);
        assert_eq!(serde_json::from_str::<Part>(&text).unwrap(), part);
    }
}
