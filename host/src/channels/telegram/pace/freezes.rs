//! Who must not be written to before a moment that Telegram named.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Moment;
use crate::limits;

/// Freezes of chats, and of the whole bot.
#[derive(Debug, Clone, Default)]
pub struct Freezes {
    all: Option<Instant>,
    chats: HashMap<i64, Instant>,
}

/// As it is kept between two runs: wall-clock moments.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    all: Option<Moment>,
    chats: HashMap<i64, Moment>,
}

impl Freezes {
    /// A 429 for a chat, or for a request that belongs to none. `jitter` keeps many waiters from coming back at once.
    pub fn freeze(&mut self, chat: Option<i64>, retry_after: Duration, jitter: Duration, now: Instant) {
        let until = now + retry_after.min(limits::TELEGRAM_FREEZE_MAX) + jitter.min(limits::TELEGRAM_FREEZE_MAX);
        match chat {
            None => self.all = self.all.max(Some(until)),
            Some(chat) => {
                self.chats.entry(chat).and_modify(|old| *old = until.max(*old)).or_insert(until);
                self.shrink(now);
            }
        }
    }

    /// Until when a chat is frozen, if it is.
    #[must_use]
    pub fn until(&self, chat: i64, now: Instant) -> Option<Instant> {
        self.all.max(self.chats.get(&chat).copied()).filter(|until| *until > now)
    }

    /// To be kept; what has ended is left out.
    #[must_use]
    pub fn to_json(&self, now: Instant, wall: Moment) -> String {
        let moment = |until: Instant| {
            let left = until.saturating_duration_since(now).as_millis();
            (left > 0).then(|| Moment(wall.0.saturating_add(i64::try_from(left).unwrap_or(i64::MAX))))
        };
        let chats = self.chats.iter().filter_map(|(chat, until)| Some((*chat, moment(*until)?))).collect();
        serde_json::to_string(&Kept { all: self.all.and_then(moment), chats }).unwrap_or_default()
    }

    /// What was kept. Something that cannot be read is nothing: the worst that follows is another 429.
    #[must_use]
    pub fn from_json(kept: &str, now: Instant, wall: Moment) -> Self {
        let kept: Kept = serde_json::from_str(kept).unwrap_or_default();
        let left = |until: Moment| Duration::from_millis(until.since(wall));
        let mut freezes = Self::default();
        for (chat, until) in kept.chats.into_iter().map(|(chat, until)| (Some(chat), until)).chain(kept.all.map(|until| (None, until))) {
            if !left(until).is_zero() {
                freezes.freeze(chat, left(until), Duration::ZERO, now);
            }
        }
        freezes
    }

    /// When there are too many: forgets what has ended, and then the half that ends first.
    fn shrink(&mut self, now: Instant) {
        if self.chats.len() > limits::TELEGRAM_FREEZES {
            self.chats.retain(|_, until| *until > now);
        }
        if self.chats.len() > limits::TELEGRAM_FREEZES {
            let mut ends: Vec<Instant> = self.chats.values().copied().collect();
            ends.sort_unstable();
            let middle = ends[ends.len() / 2];
            self.chats.retain(|_, until| *until > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WALL: Moment = Moment(1_700_000_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_chat_is_frozen_for_as_long_as_it_was_said() {
        let (mut freezes, now) = (Freezes::default(), Instant::now());
        freezes.freeze(Some(5), seconds(37), seconds(1), now);
        freezes.freeze(Some(5), seconds(3), Duration::ZERO, now);
        assert_eq!(freezes.until(5, now), Some(now + seconds(38)));
        assert_eq!(freezes.until(5, now + seconds(38)), None);
        assert_eq!(freezes.until(6, now), None);
        freezes.freeze(None, seconds(2), Duration::ZERO, now);
        assert_eq!(freezes.until(6, now), Some(now + seconds(2)));
        assert_eq!(freezes.until(5, now), Some(now + seconds(38)));
    }

    #[test]
    fn a_freeze_outlives_the_process_and_what_ended_meanwhile_does_not() {
        let (mut freezes, now) = (Freezes::default(), Instant::now());
        freezes.freeze(Some(-100), seconds(149), Duration::ZERO, now);
        freezes.freeze(Some(7), seconds(10), Duration::ZERO, now);
        let kept = freezes.to_json(now, WALL);
        let later = now + seconds(1000);
        let back = Freezes::from_json(&kept, later, Moment(WALL.0 + 20_000));
        assert_eq!(back.until(-100, later), Some(later + seconds(129)));
        assert_eq!(back.until(7, later), None);
        assert_eq!(back.chats.len(), 1);
    }

    #[test]
    fn a_clock_that_went_wrong_freezes_nobody_for_ever() {
        let now = Instant::now();
        let back = Freezes::from_json(r#"{"chats":{"5":99999999999999}}"#, now, WALL);
        assert_eq!(back.until(5, now), Some(now + limits::TELEGRAM_FREEZE_MAX));
    }

    #[test]
    fn many_chats_cost_bounded_memory() {
        let (mut freezes, now) = (Freezes::default(), Instant::now());
        for chat in 0..2 * limits::TELEGRAM_FREEZES as u64 {
            freezes.freeze(i64::try_from(chat).ok(), seconds(chat + 1), Duration::ZERO, now);
        }
        assert!(freezes.chats.len() <= limits::TELEGRAM_FREEZES);
        assert!(freezes.until(2 * limits::TELEGRAM_FREEZES as i64 - 1, now).is_some());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was(chats in prop::collection::hash_map(any::<i64>(), 0..200_000_u64, 0..20), all in prop::option::of(0..100_u64)) {
            let (mut freezes, now) = (Freezes::default(), Instant::now());
            for (chat, left) in &chats {
                freezes.freeze(Some(*chat), seconds(*left), Duration::ZERO, now);
            }
            if let Some(left) = all {
                freezes.freeze(None, seconds(left), Duration::ZERO, now);
            }
            let back = Freezes::from_json(&freezes.to_json(now, WALL), now, WALL);
            for chat in chats.into_keys().chain([0]) {
                prop_assert_eq!(back.until(chat, now), freezes.until(chat, now));
            }
        }

        #[test]
        fn any_text_is_taken(text in "\\PC*") {
            let _ = Freezes::from_json(&text, Instant::now(), WALL);
        }
    }
}
