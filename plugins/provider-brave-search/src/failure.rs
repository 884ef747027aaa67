//! Every way in which Brave says no, as an error of the contract: what happened, and what would help.

use serde_json::Value;
use stellaclaw_sdk::{Error, ErrorKind, retry};

/// Brave asks for no shorter wait.
const WAIT_MS: u64 = 1000;
/// A broken header cannot park anybody for ever.
const WAIT_MOST_MS: u64 = 31 * 86_400_000;
/// A message is for a person.
const DETAIL_CHARS: usize = 500;

/// The error that an answer with an error status means. `now` is in milliseconds since 1970.
#[must_use]
pub fn of(status: u16, headers: &[(String, String)], body: &[u8], now: u64) -> Error {
    let (code, detail) = said(body);
    let said = match (code.is_empty(), detail.is_empty()) {
        (true, true) => format!("status {status}"),
        (false, true) => code.clone(),
        (true, false) => detail,
        (false, false) => format!("{code}: {detail}"),
    };
    let (kind, what) = match (status, code.as_str()) {
        (_, "SUBSCRIPTION_TOKEN_INVALID") | (401 | 403, _) => {
            (ErrorKind::Unavailable, "Brave refuses the key, mend the `api_key` of its model")
        }
        (429, _) | (_, "RATE_LIMITED" | "QUOTA_LIMITED") => (ErrorKind::RateLimited, "Brave takes no more queries for now"),
        (_, "OPTION_NOT_IN_PLAN") => (ErrorKind::Unavailable, "the plan at Brave does not include this search"),
        (400 | 422, _) => (ErrorKind::Invalid, "Brave does not understand the query"),
        (404, _) => (ErrorKind::Unavailable, "there is no search at this address, mend the `base_url` of its model"),
        (408 | 504, _) => (ErrorKind::Timeout, "Brave took too long"),
        _ => (ErrorKind::Unavailable, "Brave cannot search at the moment"),
    };
    let retry_after = (kind == ErrorKind::RateLimited).then(|| wait(headers, now));
    Error { retry_after, ..Error::new(kind, format!("{what}: {said}")) }
}

/// The code and the words of an error's body.
fn said(body: &[u8]) -> (String, String) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Default::default() };
    let error = value.get("error").unwrap_or(&value);
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let detail = [word("detail"), word("message"), error.as_str().unwrap_or_default()].into_iter().find(|text| !text.is_empty());
    (word("code").chars().take(80).collect(), detail.unwrap_or_default().chars().take(DETAIL_CHARS).collect())
}

/// How long to wait, in milliseconds. Limits come as lists, per second first and per month last: the longest of those that are
/// used up counts.
fn wait(headers: &[(String, String)], now: u64) -> u64 {
    let list = |name: &str| -> Vec<u64> {
        let value = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.as_str());
        value.split(',').map_while(|number| number.trim().parse().ok()).collect()
    };
    if let Some(asked) = retry::from_headers(headers, now) {
        return asked.max(WAIT_MS);
    }
    let (left, resets) = (list("x-ratelimit-remaining"), list("x-ratelimit-reset"));
    let used_up = resets.iter().enumerate().filter(|(at, _)| left.get(*at) == Some(&0)).map(|(_, seconds)| *seconds).max();
    let seconds = used_up.or(resets.first().copied()).unwrap_or(0);
    seconds.saturating_mul(1000).clamp(WAIT_MS, WAIT_MOST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(code: &str, status: u16) -> Vec<u8> {
        format!(
            r#"{{"type":"ErrorResponse","error":{{"id":"1","status":{status},"code":"{code}","detail":"Said so.","meta":{{}}}},"time":1}}"#
        )
        .into()
    }

    fn headers(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_row_has_its_kind() {
        for (status, code, kind, says) in [
            (422, "SUBSCRIPTION_TOKEN_INVALID", ErrorKind::Unavailable, "api_key"),
            (401, "", ErrorKind::Unavailable, "api_key"),
            (403, "FORBIDDEN", ErrorKind::Unavailable, "api_key"),
            (429, "RATE_LIMITED", ErrorKind::RateLimited, "no more queries"),
            (422, "VALIDATION", ErrorKind::Invalid, "Said so."),
            (400, "OPTION_NOT_IN_PLAN", ErrorKind::Unavailable, "plan"),
            (400, "BAD", ErrorKind::Invalid, "query"),
            (404, "NOT_FOUND", ErrorKind::Unavailable, "base_url"),
            (504, "", ErrorKind::Timeout, "too long"),
            (500, "INTERNAL", ErrorKind::Unavailable, "INTERNAL: Said so."),
        ] {
            let error = of(status, &[], &body(code, status), 0);
            assert_eq!(error.kind, kind, "{status} {code}");
            assert!(error.message.contains(says), "{}", error.message);
            assert_eq!(error.retry_after.is_some(), kind == ErrorKind::RateLimited);
        }
        assert_eq!(of(503, &[], b"<html>", 0).message, "Brave cannot search at the moment: status 503");
        assert_eq!(of(500, &[], br#"{"message":"down"}"#, 0).message, "Brave cannot search at the moment: down");
    }

    #[test]
    fn the_wait_is_that_of_the_limit_that_is_used_up() {
        let wait = |all: &[(&str, &str)]| of(429, &headers(all), b"", 0).retry_after.unwrap();
        assert_eq!(wait(&[("X-RateLimit-Remaining", "0, 100"), ("X-RateLimit-Reset", "2, 900")]), 2000);
        assert_eq!(wait(&[("X-RateLimit-Remaining", "0, 0"), ("X-RateLimit-Reset", "1, 900")]), 900_000);
        assert_eq!(wait(&[("x-ratelimit-reset", "0, 900")]), 1000);
        assert_eq!(wait(&[("retry-after", "7"), ("x-ratelimit-reset", "1")]), 7000);
        assert_eq!(wait(&[("x-ratelimit-reset", "99999999999999999999")]), 1000);
        assert_eq!(wait(&[("x-ratelimit-reset", "9999999999999")]), WAIT_MOST_MS);
        assert_eq!(wait(&[]), 1000);
    }
}
