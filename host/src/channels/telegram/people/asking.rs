//! When owners are asked about somebody, and about whom that is noted. Pure.
//!
//! Whoever is a stranger costs nothing: who was asked about is not asked about again, and neither notes nor questions are more
//! than so many within an hour, however many come. Groups, for which somebody asks who may talk, are not held up by strangers.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Recent;
use crate::limits::{REQUEST_CARDS, REQUEST_CARDS_TIME, REQUESTS_NEW, REQUESTS_NEW_TIME};

/// Since the host started.
#[derive(Debug, Default)]
pub(in crate::channels::telegram) struct Asking {
    /// Those who need not be looked at, until when. As many as are noted within the time for which a request is open, and those
    /// that the store had already.
    open: HashMap<i64, Instant>,
    people: Rate,
    groups: Rate,
    /// Somebody was left out, or had to make room.
    is_crowded: bool,
}

/// Requests, lately.
#[derive(Debug, Default)]
struct Rate {
    noted: Recent,
    shown: Recent,
}

/// What is to be done about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is asked about them already.
    Asked,
    /// Others have come before them; a later message may find room.
    Crowded,
    /// They may be noted, if they are not.
    Free,
}

impl Asking {
    pub(super) fn admits(&mut self, subject: i64, now: Instant) -> Admission {
        if self.open.get(&subject).is_some_and(|until| now < *until) {
            return Admission::Asked;
        }
        let has_room = self.rate(subject).noted.has_room(REQUESTS_NEW, REQUESTS_NEW_TIME, now);
        if has_room { Admission::Free } else { Admission::Crowded }
    }

    fn rate(&mut self, subject: i64) -> &mut Rate {
        if subject < 0 { &mut self.groups } else { &mut self.people }
    }

    /// A new request was written.
    pub(super) fn note(&mut self, subject: i64, now: Instant) {
        self.rate(subject).noted.add(now);
    }

    /// May owners be shown a question now? Then they are.
    pub(super) fn shows(&mut self, subject: i64, now: Instant) -> bool {
        let shown = &mut self.rate(subject).shown;
        let may = shown.has_room(REQUEST_CARDS, REQUEST_CARDS_TIME, now);
        if may {
            shown.add(now);
        }
        may
    }

    /// It is asked about somebody for as long as is `left` of it, which is not more than [`REQUEST_TIME`](crate::limits::REQUEST_TIME).
    pub(super) fn open(&mut self, subject: i64, left: Duration, now: Instant) {
        self.open.retain(|_, until| now < *until);
        self.open.insert(subject, now + left);
    }

    /// Nobody asks about somebody any more.
    pub(super) fn close(&mut self, subject: i64) {
        self.open.remove(&subject);
    }

    /// Somebody was left out, or had to make room.
    pub(super) fn crowd(&mut self) {
        self.is_crowded = true;
    }

    /// Somebody looks after requests. True: there was reason to.
    pub(super) fn is_looked_after(&mut self) -> bool {
        std::mem::take(&mut self.is_crowded)
    }

    /// Who may talk was decided anew: everybody else is looked at again.
    pub(super) fn begin_anew(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REQUEST_TIME;

    #[test]
    fn a_flood_is_noted_at_a_bounded_rate_and_who_is_left_out_may_come_again() {
        let (mut asking, start) = (Asking::default(), Instant::now());
        let mut noted = 0;
        for stranger in 0..10_000 {
            if asking.admits(stranger, start) == Admission::Free {
                asking.note(stranger, start);
                asking.open(stranger, REQUEST_TIME, start);
                noted += 1;
            }
        }
        assert_eq!((noted, asking.open.len()), (REQUESTS_NEW, REQUESTS_NEW));
        assert_eq!(asking.admits(0, start), Admission::Asked);
        assert_eq!(asking.admits(9_999, start), Admission::Crowded);
        assert_eq!(asking.admits(9_999, start + REQUESTS_NEW_TIME), Admission::Free);
        assert_eq!((0..100).filter(|stranger| asking.shows(*stranger, start)).count(), REQUEST_CARDS);
        assert!(asking.admits(-5, start) == Admission::Free && asking.shows(-5, start), "a friend's group is not held up by them");
    }

    #[test]
    fn who_was_asked_about_may_ask_again_when_that_has_ended() {
        let (mut asking, start) = (Asking::default(), Instant::now());
        for subject in 0..2 {
            asking.open(subject, REQUEST_TIME, start);
        }
        asking.close(1);
        assert_eq!((asking.admits(0, start), asking.admits(1, start)), (Admission::Asked, Admission::Free));
        let late = start + REQUEST_TIME;
        assert_eq!(asking.admits(0, late - Duration::from_secs(1)), Admission::Asked);
        assert_eq!(asking.admits(0, late), Admission::Free);
        asking.open(2, REQUEST_TIME, late);
        assert_eq!(asking.open.len(), 1, "what has ended takes no room");
        // One that was noted long ago, and found again, ends when it would have.
        let (left, found) = (Duration::from_secs(60), late + Duration::from_secs(5));
        asking.open(3, left, found);
        assert_eq!(asking.admits(3, found + left - Duration::from_secs(1)), Admission::Asked);
        assert_eq!(asking.admits(3, found + left), Admission::Free);
        asking.begin_anew();
        assert_eq!(asking.admits(2, late), Admission::Free);
    }
}
