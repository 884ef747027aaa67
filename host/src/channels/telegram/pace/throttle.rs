//! How many messages go out at all: the whole bot's, and those to a group that are no answers.
//!
//! Each limit is a moment that runs ahead of time by an interval with every message, and may be ahead only so far.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// The messages of a bot.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    bot: Ahead,
    groups: HashMap<i64, Ahead>,
}

/// What a message is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// An answer or a question: it waits for the bot's limit only.
    Final,
    /// Everything else.
    Progress,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ahead(Option<Instant>);

struct Rate {
    burst: u32,
    interval: Duration,
}

const BOT: Rate = Rate { burst: limits::TELEGRAM_BOT_BURST, interval: limits::TELEGRAM_BOT_INTERVAL };
const GROUP: Rate = Rate { burst: limits::TELEGRAM_GROUP_BURST, interval: limits::TELEGRAM_GROUP_INTERVAL };

impl Throttle {
    /// When a message may be taken; now, if that is past.
    #[must_use]
    pub fn next(&self, chat: i64, weight: Weight, now: Instant) -> Instant {
        let group = self.groups.get(&chat).filter(|_| weight == Weight::Progress);
        group.map_or(now, |group| group.next(&GROUP, now)).max(self.bot.next(&BOT, now))
    }

    /// Takes a message, or says when to ask again.
    pub fn take(&mut self, chat: i64, weight: Weight, now: Instant) -> Result<(), Instant> {
        let next = self.next(chat, weight, now);
        if next > now {
            return Err(next);
        }
        self.bot.advance(&BOT, now);
        if chat < 0 {
            let mut group = self.groups.get(&chat).copied().unwrap_or_default();
            group.advance(&GROUP, now);
            self.groups.insert(chat, group);
            if self.groups.len() > limits::TELEGRAM_PACED_CHATS {
                self.groups.retain(|_, group| group.0.is_some_and(|ahead| ahead > now));
            }
        }
        Ok(())
    }
}

impl Ahead {
    /// When the next message may go.
    fn next(self, rate: &Rate, now: Instant) -> Instant {
        let room = rate.interval * (rate.burst - 1);
        self.0.and_then(|ahead| ahead.checked_sub(room)).map_or(now, |next| next.max(now))
    }

    /// A message goes. Answers may go beyond the limit, but what they owe is bounded.
    fn advance(&mut self, rate: &Rate, now: Instant) {
        let ahead = self.0.unwrap_or(now).max(now) + rate.interval;
        self.0 = Some(ahead.min(now + rate.interval * rate.burst));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_do_not_wait_for_a_groups_progress() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let progress = (0..10).filter(|_| throttle.take(-100, Weight::Progress, now).is_ok()).count();
        assert_eq!(progress, 5);
        assert_eq!(throttle.take(-100, Weight::Progress, now), Err(now + Duration::from_secs(4)));
        assert_eq!(throttle.take(-100, Weight::Final, now), Ok(()));
        assert_eq!(throttle.take(-200, Weight::Progress, now), Ok(()));
        assert_eq!(throttle.take(5, Weight::Progress, now), Ok(()));
    }

    #[test]
    fn answers_leave_less_room_for_progress() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..5 {
            throttle.take(-100, Weight::Final, now).unwrap();
        }
        assert!(throttle.take(-100, Weight::Progress, now).is_err());
    }

    #[test]
    fn many_groups_cost_bounded_memory() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for group in 1..3 * limits::TELEGRAM_PACED_CHATS as u32 {
            throttle.take(-i64::from(group), Weight::Final, start + limits::TELEGRAM_BOT_INTERVAL * group).unwrap();
        }
        assert!(throttle.groups.len() <= limits::TELEGRAM_PACED_CHATS + 1);
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_30_messages_and_no_minute_more_than_20_to_a_group(
            asks in prop::collection::vec((0..300_u64, prop::bool::weighted(0.1)), 1..800)
        ) {
            let (mut throttle, start) = (Throttle::default(), Instant::now());
            let (mut now, mut all, mut group) = (start, Vec::new(), Vec::new());
            for (pass, in_group) in asks {
                // Bursts are what matters: most asks come at once.
                now += Duration::from_millis(pass.saturating_sub(200));
                if throttle.take(if in_group { -100 } else { 5 }, Weight::Progress, now).is_ok() {
                    all.push(now);
                    if in_group {
                        group.push(now);
                    }
                }
            }
            let within = |times: &[Instant], window: Duration| times.iter().map(|from| times.iter().filter(|at| *at >= from && **at < *from + window).count()).max().unwrap_or(0);
            prop_assert!(within(&all, Duration::from_secs(1)) <= 30);
            prop_assert!(within(&group, Duration::from_secs(60)) <= 20);
        }

        #[test]
        fn who_waits_as_told_gets_through(asks in prop::collection::vec(0..2_i64, 1..100)) {
            let (mut throttle, mut now) = (Throttle::default(), Instant::now());
            for chat in asks {
                if let Err(next) = throttle.take(-chat - 1, Weight::Progress, now) {
                    prop_assert!(next > now);
                    now = next;
                    prop_assert_eq!(throttle.take(-chat - 1, Weight::Progress, now), Ok(()));
                }
            }
        }
    }
}
