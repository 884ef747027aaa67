//! How often a chat's progress may be changed: one budget for the panel and the preview together.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// The edits of every chat.
#[derive(Debug, Clone, Default)]
pub struct EditBudget {
    chats: HashMap<i64, Chat>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Chat {
    last: Option<Instant>,
    refused: Option<Instant>,
}

impl EditBudget {
    /// When the next edit may be made; now, if that is past.
    #[must_use]
    pub fn next(&self, chat: i64, now: Instant) -> Instant {
        let gap = self.gap(chat, now);
        self.chats.get(&chat).and_then(|known| known.last).map_or(now, |last| now.max(last + gap))
    }

    /// Takes an edit if it may be made now.
    pub fn take(&mut self, chat: i64, now: Instant) -> bool {
        let may = self.next(chat, now) <= now;
        if may {
            self.chats.entry(chat).or_default().last = Some(now);
            self.shrink(now);
        }
        may
    }

    /// The chat has answered 429.
    pub fn refused(&mut self, chat: i64, now: Instant) {
        self.chats.entry(chat).or_default().refused = Some(now);
        self.shrink(now);
    }

    /// What lies between two edits at this moment.
    #[must_use]
    pub fn gap(&self, chat: i64, now: Instant) -> Duration {
        let gap = if chat > 0 { limits::TELEGRAM_EDIT_PRIVATE } else { limits::TELEGRAM_EDIT_GROUP };
        match self.chats.get(&chat) {
            Some(known) if known.is_wide(now) => gap * 2,
            _ => gap,
        }
    }

    fn shrink(&mut self, now: Instant) {
        if self.chats.len() > limits::TELEGRAM_PACED_CHATS {
            let longest = 2 * limits::TELEGRAM_EDIT_GROUP;
            self.chats.retain(|_, known| known.is_wide(now) || known.last.is_some_and(|last| now < last + longest));
        }
    }
}

impl Chat {
    fn is_wide(self, now: Instant) -> bool {
        self.refused.is_some_and(|refused| now < refused + limits::TELEGRAM_EDIT_WIDE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edits_are_further_apart_in_groups_and_after_a_refusal() {
        let (mut budget, now) = (EditBudget::default(), Instant::now());
        for (chat, gap) in [(5, 1200), (-100, 4000)] {
            let gap = Duration::from_millis(gap);
            assert!(budget.take(chat, now));
            assert!(!budget.take(chat, now + gap - Duration::from_millis(1)));
            assert_eq!(budget.next(chat, now), now + gap);
            assert!(budget.take(chat, now + gap));
            budget.refused(chat, now + gap);
            assert_eq!(budget.next(chat, now + gap), now + gap * 3);
            let later = now + gap + Duration::from_secs(600);
            assert_eq!(budget.gap(chat, later - Duration::from_millis(1)), gap * 2);
            assert_eq!(budget.gap(chat, later), gap);
        }
    }

    #[test]
    fn many_chats_cost_bounded_memory() {
        let (mut budget, start) = (EditBudget::default(), Instant::now());
        for chat in 1..3 * limits::TELEGRAM_PACED_CHATS as u32 {
            budget.take(i64::from(chat), start + Duration::from_millis(10) * chat);
        }
        assert!(budget.chats.len() <= limits::TELEGRAM_PACED_CHATS + 1);
    }

    proptest! {
        #[test]
        fn two_edits_are_never_too_close(group in any::<bool>(), acts in prop::collection::vec((0..3000_u64, prop::bool::weighted(0.05)), 1..200)) {
            let chat = if group { -100 } else { 100 };
            let (mut budget, mut now) = (EditBudget::default(), Instant::now());
            let (mut last, mut refused): (Option<Instant>, Option<Instant>) = (None, None);
            for (pass, refuse) in acts {
                now += Duration::from_millis(pass);
                if refuse {
                    budget.refused(chat, now);
                    refused = Some(now);
                }
                let wide = refused.is_some_and(|refused| now < refused + Duration::from_secs(600));
                let gap = Duration::from_millis(if group { 4000 } else { 1200 }) * if wide { 2 } else { 1 };
                let may = last.is_none_or(|last| now >= last + gap);
                prop_assert_eq!(budget.take(chat, now), may);
                if may {
                    last = Some(now);
                }
            }
        }
    }
}
