//! When to try again what failed in a way that may pass: soon at first, then ever more seldom.

use std::time::{Duration, Instant};

use crate::limits::{AGAIN_AFTER, AGAIN_AT_MOST};

/// How often something has failed, and when it is due again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    due: Option<Instant>,
}

impl Backoff {
    /// Is it to be tried `now`?
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// It failed; for how long it is left alone now.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let pause = AGAIN_AFTER.saturating_mul(1 << self.failures.min(16)).min(AGAIN_AT_MOST);
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + pause);
        pause
    }

    /// How often it has failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        assert!(backoff.is_due(now), "what never failed");
        let mut before = Duration::ZERO;
        for failures in 1..=40 {
            let pause = backoff.failed(now);
            assert!(pause >= before && pause >= AGAIN_AFTER && pause <= AGAIN_AT_MOST, "{pause:?} after {before:?}");
            assert!(!backoff.is_due(now + pause / 2) && backoff.is_due(now + pause));
            assert_eq!(backoff.failures(), failures);
            (before, now) = (pause, now + pause);
        }
        assert_eq!(before, AGAIN_AT_MOST);
    }
}
