//! The only place that reads time. Deadlines use [`tokio::time`]; this is for moments that are kept.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::crash;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    /// The days since 1970-01-01, the key of daily budgets.
    #[must_use]
    pub fn day(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }

    /// When its day began, UTC.
    #[must_use]
    pub fn midnight(self) -> Self {
        Self(self.day().saturating_mul(86_400_000))
    }

    /// `20261122-143605`, UTC: sorts as time does, and can be part of a file's name.
    #[must_use]
    pub fn stamp(self) -> String {
        let (year, month, day) = date(self.day());
        let second = self.0.div_euclid(1000).rem_euclid(86_400);
        format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
    }

    /// `2026-11-22 14:36:05 UTC`, for people.
    #[must_use]
    pub fn utc(self) -> String {
        let stamp = self.stamp();
        let piece = |from: usize, to: usize| stamp.get(from..to).unwrap_or_default();
        let (date, time) = ([piece(0, 4), piece(4, 6), piece(6, 8)].join("-"), [piece(9, 11), piece(11, 13), piece(13, 15)].join(":"));
        format!("{date} {time} UTC")
    }

    /// `2026-11-22T14:36:05.120Z`, for other programs.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (date, time) = (self.utc().replace(' ', "T"), self.0.rem_euclid(1000));
        format!("{}.{time:03}Z", date.trim_end_matches("TUTC"))
    }

    /// Reads what [`Self::rfc3339`] writes, with or without parts of a second, which are left out.
    #[must_use]
    pub fn parse_utc(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
        let rest = text.get(19..)?.strip_suffix('Z')?;
        let is_fraction = rest.is_empty() || rest.strip_prefix('.').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_fraction || !marks.iter().all(|(at, mark)| text.get(*at..at + 1) == Some(mark)) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        // The year that begins in March, as in `date`.
        let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
        let days =
            year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day - 1 - 719_468;
        Some(Self(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000))
    }

    /// The milliseconds from `earlier` to this; 0 when the wall clock went back.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// The day of the Gregorian calendar that is so many days after 1970-01-01. Counts in years that begin in March, so that
/// the leap day is the last one.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + later, month, day)
}

/// Reads the wall clock.
#[must_use]
pub fn now() -> Moment {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX).saturating_add(crash::clock_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_utc_date_and_time() {
        for (seconds, stamp) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_795_358_165, "20261122-143605"),
            (4_107_542_400, "21000301-000000"),
            (-1, "19691231-235959"),
        ] {
            assert_eq!(Moment(seconds * 1000).stamp(), stamp);
        }
        assert_eq!(Moment(1_795_358_165_000).utc(), "2026-11-22 14:36:05 UTC");
    }
}
