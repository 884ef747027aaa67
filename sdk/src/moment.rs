//! Moments of the contract, milliseconds since 1970, from dates and times as servers write them. All in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `[year, month, day]` and `[hour, minute, second]`; none for what is no date or time, or before 1970.
#[must_use]
pub fn of([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<u64> {
    let date = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let time = (0..=23).contains(&hour) && (0..=59).contains(&minute) && (0..=60).contains(&second);
    if !date || !time {
        return None;
    }
    // Days since 1970 by the civil calendar, counted in years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    u64::try_from((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000).ok()
}

/// `2024-02-05T12:14:33`, or the date alone; what follows is left alone.
#[must_use]
pub fn from_iso(text: &str) -> Option<u64> {
    let numbers = |text: &str, separator: char| -> Option<[i64; 3]> {
        let mut parts = text.split(separator).map(|part| part.parse::<i64>().ok());
        Some([parts.next()??, parts.next()??, parts.next()??])
    };
    let date = numbers(text.get(..10)?, '-')?;
    match text.get(10..).unwrap_or_default().strip_prefix('T') {
        Some(time) => of(date, numbers(time.get(..8)?, ':')?),
        None => of(date, [0; 3]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_and_without_a_time() {
        assert_eq!(from_iso("1970-01-01"), Some(0));
        assert_eq!(from_iso("2024-02-29T00:00:00"), Some(1_709_164_800_000));
        assert_eq!(from_iso("1994-11-06T08:49:37.250Z"), Some(784_111_777_000));
        for wrong in
            ["", "2024-02-5", "2024-13-01", "2024-02-05T25:00:00", "2024-02-05T1", "yesterday at noon", "1969-12-31", "2024-02-05T12:14:é"]
        {
            assert_eq!(from_iso(wrong), None, "{wrong}");
        }
    }
}
