//! Something that may happen so many times within a span of time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When it happened, lately.
#[derive(Debug, Default)]
pub(in crate::channels::telegram) struct Recent(VecDeque<Instant>);

impl Recent {
    /// Has it happened fewer than `most` times within the span before now?
    pub(in crate::channels::telegram) fn has_room(&mut self, most: usize, span: Duration, now: Instant) -> bool {
        while self.0.front().is_some_and(|first| now.duration_since(*first) >= span) {
            self.0.pop_front();
        }
        self.0.len() < most
    }

    /// It happens now.
    pub(in crate::channels::telegram) fn add(&mut self, now: Instant) {
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_when_the_span_has_passed() {
        let (mut recent, start, span) = (Recent::default(), Instant::now(), Duration::from_secs(60));
        for n in 0..3 {
            let now = start + Duration::from_secs(n);
            assert!(recent.has_room(3, span, now));
            recent.add(now);
        }
        assert!(!recent.has_room(3, span, start + Duration::from_secs(59)));
        assert!(recent.has_room(3, span, start + span));
        recent.add(start + span);
        assert!(!recent.has_room(3, span, start + span), "only one has passed");
    }
}
