//! Which held messages are fetched next, and how the tries of a file go on. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Group;
use crate::ids::ConversationId;
use crate::limits::{TELEGRAM_FETCH_TRIES, TELEGRAM_FETCHES, TELEGRAM_FETCHES_EACH, TELEGRAM_RETRY, TELEGRAM_RETRY_MAX};

/// Those to begin with, of what is held in order of arrival: the many files of one conversation leave places for others.
pub(super) fn due(held: impl Iterator<Item = Group>, running: &HashSet<Group>) -> Vec<Group> {
    let mut busy: HashMap<ConversationId, usize> = HashMap::new();
    running.iter().for_each(|(conversation, _)| *busy.entry(*conversation).or_default() += 1);
    let mut due = Vec::new();
    for group in held {
        let places = busy.entry(group.0).or_default();
        let has_room = running.len() + due.len() < TELEGRAM_FETCHES && *places < TELEGRAM_FETCHES_EACH;
        if has_room && !running.contains(&group) && !due.contains(&group) {
            *places += 1;
            due.push(group);
        }
    }
    due
}

/// Why a file is not here.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nobody was asked for it, or the answer was to ask later: that says nothing about the file, however often it happens.
    Later {
        reason: String,
        /// The pause that was asked for.
        pause: Option<Duration>,
    },
    ForNow(String),
    ForGood(String),
}

/// The tries of a file.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: u32,
    /// In a row.
    later: u32,
}

impl Tries {
    /// After what pause it is tried again; or why it is not.
    pub fn next(&mut self, failed: Failed) -> Result<Duration, String> {
        match failed {
            Failed::ForGood(reason) => Err(reason),
            Failed::Later { pause, .. } => {
                let growing = (TELEGRAM_RETRY * 2u32.saturating_pow(self.later)).min(TELEGRAM_RETRY_MAX);
                self.later = (self.later + 1).min(10);
                Ok(pause.map_or(growing, |asked| asked.max(TELEGRAM_RETRY)))
            }
            Failed::ForNow(reason) => {
                (self.failed, self.later) = (self.failed + 1, 0);
                if self.failed < TELEGRAM_FETCH_TRIES { Ok(TELEGRAM_RETRY * self.failed) } else { Err(reason) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(conversation: i64, name: &str) -> Group {
        (ConversationId(conversation), name.to_owned())
    }

    #[test]
    fn many_files_of_one_conversation_leave_places_for_others() {
        let held = || {
            let many = (0..20).map(|n| group(1, &n.to_string()));
            many.chain([group(2, "a"), group(2, "album"), group(2, "album"), group(3, "a")]).chain((4..20).map(|other| group(other, "a")))
        };
        let first = due(held(), &HashSet::new());
        let expected = [group(1, "0"), group(1, "1"), group(2, "a"), group(2, "album"), group(3, "a")];
        assert_eq!(first[..5], expected, "the oldest of each first, and no group twice");
        assert_eq!(first.len(), TELEGRAM_FETCHES);
        let mut running: HashSet<_> = first.into_iter().collect();
        assert_eq!(due(held(), &running), []);
        running.remove(&group(3, "a"));
        assert_eq!(due(held().filter(|held| *held != group(3, "a")), &running), [group(7, "a")], "the first ones have theirs");
        running.remove(&group(1, "0"));
        running.remove(&group(4, "a"));
        assert_eq!(due(held().skip(1), &running)[0], group(1, "2"));
    }

    #[test]
    fn without_a_network_a_file_is_waited_for_with_growing_pauses_and_no_try_is_used_up() {
        let later = |pause| Failed::Later { reason: "no route".into(), pause };
        let mut tries = Tries::default();
        let pauses: Vec<_> = (0..1000).map(|_| tries.next(later(None)).unwrap()).collect();
        assert_eq!(pauses[..3], [TELEGRAM_RETRY, 2 * TELEGRAM_RETRY, 4 * TELEGRAM_RETRY]);
        assert!(pauses[10..].iter().all(|pause| *pause == TELEGRAM_RETRY_MAX));
        let hour = Duration::from_secs(3600);
        assert_eq!(tries.next(later(Some(hour))), Ok(hour), "Telegram knows best when");
        assert_eq!(tries.next(later(Some(Duration::ZERO))), Ok(TELEGRAM_RETRY));
        let failed = || Failed::ForNow("cut".into());
        for n in 1..TELEGRAM_FETCH_TRIES {
            assert_eq!(tries.next(failed()), Ok(TELEGRAM_RETRY * n));
            assert_eq!(tries.next(later(None)), Ok(TELEGRAM_RETRY), "from the beginning");
        }
        assert_eq!(tries.next(failed()), Err("cut".into()));
        assert_eq!(Tries::default().next(Failed::ForGood("too large".into())), Err("too large".into()));
    }
}
