//! For how long nobody has polled: Telegram drops what waits for more than a day, and nobody can know what it was. Pure.
//!
//! Where a host was up without reaching Telegram and was restarted meanwhile, it is taken for one that has polled.

use crate::clock::Moment;
use crate::limits::TELEGRAM_KEPT;

/// When somebody last polled, as far as that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence(Option<Moment>);

impl Absence {
    pub fn since(polled: Option<Moment>) -> Self {
        Self(polled)
    }

    /// A poll went well. The hours without one before it, if that was too long.
    pub fn ends(&mut self, now: Moment) -> Option<u64> {
        let absent = self.0.replace(now).map(|before| now.since(before));
        absent.filter(|millis| u128::from(*millis) > TELEGRAM_KEPT.as_millis()).map(|millis| millis / 3_600_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1000;

    #[test]
    fn more_than_a_day_is_too_long_and_is_said_once() {
        assert_eq!(Absence::since(None).ends(Moment(1000 * HOUR)), None, "it was never there before");
        assert_eq!(Absence::since(Some(Moment(0))).ends(Moment(24 * HOUR)), None);
        let mut absence = Absence::since(Some(Moment(0)));
        assert_eq!(absence.ends(Moment(30 * HOUR)), Some(30));
        assert_eq!(absence.ends(Moment(31 * HOUR)), None);
        assert_eq!(absence.ends(Moment(5 * HOUR)), None, "the clock went back");
        assert_eq!(absence.ends(Moment(60 * HOUR)), Some(55), "Telegram was out of reach, or the machine slept");
    }
}
