//! Moments as the vendor writes them, in milliseconds since 1970.

/// `2026-11-23T04:05:06Z`, with or without fractions of a second.
pub(crate) fn rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.trim().split_once(['T', 't'])?;
    let time = time.strip_suffix(['Z', 'z'])?;
    let (time, _) = time.split_once('.').unwrap_or((time, ""));
    at(date, time)
}

/// "You will regain access on 2026-12-01 at 00:00 UTC."
pub(crate) fn regained(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("regain access on ")?;
    let (date, rest) = rest.split_once(" at ")?;
    let (time, _) = rest.split_once(" UTC")?;
    at(date, time)
}

/// Days since 1970 by the civil calendar, counted in years that begin in March.
fn at(date: &str, time: &str) -> Option<u64> {
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':').or_else(|| {
        let [hour, minute] = numbers(time, ':')?;
        Some([hour, minute, 0])
    })?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year).checked_sub(719_468)?;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000)
}

/// Exactly so many numbers of at most four digits.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for number in &mut numbers {
        *number = parts.next().filter(|part| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_headers_and_of_sentences() {
        assert_eq!(rfc3339("1994-11-06T08:49:37Z"), Some(784_111_777_000));
        assert_eq!(rfc3339("2024-02-29T00:00:00.123Z"), Some(1_709_164_800_000));
        assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some(0));
        let said = "You have reached your specified API usage limits. You will regain access on 2024-02-29 at 00:00 UTC.";
        assert_eq!(regained(said), Some(1_709_164_800_000));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "T", "2024-02-29", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "99999-01-01T00:00:00Z", "2024-01-01T00:00:00+02:00"]
        {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        assert_eq!(regained("regain access on tomorrow at noon UTC"), None);
    }
}
