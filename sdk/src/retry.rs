//! When to try again: `retry-after-ms`, `retry-after` in seconds or as a date, or "try again in 1.5s" in the text.
//!
//! What cannot be read is no wait. No wait is longer than a day.

use crate::moment;

/// A broken header cannot park a session for ever.
const DAY_MS: u64 = 86_400_000;

/// The wait a server asks for in its headers, in milliseconds. `now` is in milliseconds since 1970.
#[must_use]
pub fn from_headers(headers: &[(String, String)], now: u64) -> Option<u64> {
    let header = |name: &str| headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    if let Some(millis) = header("retry-after-ms").and_then(|value| scaled(value, 1.0)) {
        return Some(millis);
    }
    let value = header("retry-after")?;
    scaled(value, 1000.0).or_else(|| Some(http_date(value)?.saturating_sub(now).min(DAY_MS)))
}

/// The wait a message speaks of, in milliseconds: "Please try again in 1m2.5s".
#[must_use]
pub fn from_text(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let mut rest = lower.split_once("try again in ")?.1;
    let mut total: Option<u64> = None;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let unit = match &tail[..letters] {
            "ms" | "milliseconds" => 1.0,
            "s" | "sec" | "second" | "seconds" => 1000.0,
            "m" | "min" | "minute" | "minutes" => 60_000.0,
            "h" | "hour" | "hours" => 3_600_000.0,
            _ => return total,
        };
        let Some(millis) = scaled(number, unit) else { return total };
        total = Some((total.unwrap_or(0) + millis).min(DAY_MS));
        rest = &tail[letters..];
    }
}

/// A number times `unit`, as milliseconds; a day at most.
fn scaled(number: &str, unit: f64) -> Option<u64> {
    let millis = number.parse::<f64>().ok()? * unit;
    (millis.is_finite() && millis >= 0.0).then(|| (millis.ceil() as u64).min(DAY_MS))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as milliseconds since 1970.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split([' ', ':']);
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = || words.next()?.parse::<i64>().ok();
    moment::of([year, month, day], [clock()?, clock()?, clock()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &str, value: &str) -> Vec<(String, String)> {
        vec![("Date".into(), "x".into()), (name.into(), value.into())]
    }

    #[test]
    fn every_form_of_the_header() {
        assert_eq!(from_headers(&headers("Retry-After", "2"), 0), Some(2000));
        assert_eq!(from_headers(&headers("retry-after", "0.25"), 0), Some(250));
        assert_eq!(from_headers(&headers("Retry-After-Ms", "1500"), 0), Some(1500));
        assert_eq!(from_headers(&headers("retry-after", "1e99"), 0), Some(86_400_000));
        assert_eq!(from_headers(&headers("retry-after", "-1"), 0), None);
        assert_eq!(from_headers(&headers("retry-after", "soon"), 0), None);
        assert_eq!(from_headers(&[], 0), None);
    }

    #[test]
    fn dates_are_counted_from_now() {
        let date = |text: &str| http_date(text).map(|millis| millis / 1000);
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(date("Sunday, 06-Nov-94 08:49:37 GMT"), None);
        assert_eq!(from_headers(&headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), 784_111_770_000), Some(7000));
        assert_eq!(from_headers(&headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), u64::MAX), Some(0));
        assert_eq!(from_headers(&headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), 0), Some(DAY_MS));
    }

    #[test]
    fn waits_in_words() {
        assert_eq!(from_text("Rate limit reached. Please try again in 7.66s. Visit"), Some(7660));
        assert_eq!(from_text("Try again in 20ms"), Some(20));
        assert_eq!(from_text("try again in 1h2m3s"), Some(3_723_000));
        assert_eq!(from_text("try again in 5 seconds"), Some(5000));
        assert_eq!(from_text("try again in a while"), None);
        assert_eq!(from_text("try later"), None);
    }
}
