//! For how long nothing has come: after a week without updates Telegram may choose ids below those it gave before. Pure.
//!
//! What was last heard survives a restart as the newest row of the inbox. Rows are kept for 72 hours, and a start that finds
//! none takes the silence for a long one. Nothing is lost by a poll without an offset: it gives everything that waits.
//! Nothing is taken twice, either: what it could repeat is at most a day old, and had it become a row, that would have been
//! found. Strangers, who leave no row, may be counted once more.

use crate::clock::Moment;
use crate::limits::TELEGRAM_SILENCE;

/// When something last came; none: nobody knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence(Option<Moment>);

impl Silence {
    pub fn since(heard: Option<Moment>) -> Self {
        Self(heard)
    }

    /// Is it so long that ids may have begun anew? By the wall clock: a machine that sleeps hears nothing, either.
    pub fn is_long(&mut self, now: Moment) -> bool {
        // A clock that went back would make a silence of years look like none.
        self.0 = self.0.map(|heard| heard.min(now));
        self.0.is_none_or(|heard| u128::from(now.since(heard)) >= TELEGRAM_SILENCE.as_millis())
    }

    /// Something came.
    pub fn ends(&mut self, now: Moment) {
        self.0 = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    #[test]
    fn six_days_are_long_whoever_was_there_and_so_is_what_nobody_knows() {
        assert!(Silence::since(None).is_long(Moment(0)));
        let mut silence = Silence::since(Some(Moment(0)));
        assert!(!silence.is_long(Moment(6 * DAY - 1)) && silence.is_long(Moment(6 * DAY)));
        silence.ends(Moment(7 * DAY));
        assert!(!silence.is_long(Moment(8 * DAY)));
    }

    #[test]
    fn a_clock_that_went_back_ends_no_silence() {
        let mut silence = Silence::since(Some(Moment(1000 * DAY)));
        assert!(!silence.is_long(Moment(5 * DAY)));
        assert!(silence.is_long(Moment(11 * DAY)));
    }
}
