//! Every way in which the vendor says no, as an error of the contract: what happened, and what would help.

use serde_json::Value;
use stellaclaw_sdk::{Error, ErrorKind, retry};

/// A message is for a person.
const MESSAGE_CHARS: usize = 500;

/// The error that an answer with an error status means. `now` is in milliseconds since 1970.
#[must_use]
pub fn of(status: u16, headers: &[(String, String)], body: &[u8], now: u64) -> Error {
    let (code, message) = said(body);
    let said = match (code.is_empty(), message.is_empty()) {
        (true, true) => format!("status {status}"),
        (false, true) => code.clone(),
        (true, false) => message.clone(),
        (false, false) => format!("{code}: {message}"),
    };
    let (kind, what) = classified(status, &code);
    let waits = kind == ErrorKind::RateLimited;
    let retry_after = waits.then(|| retry::from_headers(headers, now).or_else(|| retry::from_text(&message))).flatten();
    Error { retry_after, ..Error::new(kind, format!("{what}: {said}")) }
}

fn classified(status: u16, code: &str) -> (ErrorKind, &'static str) {
    match (status, code) {
        (_, "moderation_blocked" | "content_policy_violation") => {
            (ErrorKind::Invalid, "the vendor does not draw this, ask for something else")
        }
        (_, "insufficient_quota" | "billing_hard_limit_reached") | (402, _) => {
            (ErrorKind::Unavailable, "the account has nothing left, top it up or name another model")
        }
        (_, code) if code.starts_with("invalid_image") => (ErrorKind::Invalid, "an image cannot be used"),
        (401, _) => (ErrorKind::Unavailable, "the vendor refuses the key, mend the `api_key` of the model"),
        (403, _) => (ErrorKind::Unavailable, "the account may not do this"),
        (_, "model_not_found") | (404, _) => (ErrorKind::Unavailable, "there is no such model or server, mend `model` or `base_url`"),
        (429, _) => (ErrorKind::RateLimited, "the vendor draws no more for now"),
        (413, _) => (ErrorKind::TooLarge, "the images are too large"),
        (408 | 504 | 524, _) => (ErrorKind::Timeout, "the vendor took too long"),
        (400..500, _) => (ErrorKind::Invalid, "the vendor does not understand the request"),
        _ => (ErrorKind::Unavailable, "the vendor cannot draw at the moment"),
    }
}

/// The code and the words of an error's body.
fn said(body: &[u8]) -> (String, String) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Default::default() };
    let error = value.get("error").unwrap_or(&value);
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = [word("code"), word("type")].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let message = [word("message"), error.as_str().unwrap_or_default()].into_iter().find(|text| !text.is_empty());
    (code.chars().take(80).collect(), message.unwrap_or_default().chars().take(MESSAGE_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_kind() {
        for (status, code, kind, says) in [
            (400, "moderation_blocked", ErrorKind::Invalid, "something else"),
            (400, "content_policy_violation", ErrorKind::Invalid, "something else"),
            (400, "invalid_image_file", ErrorKind::Invalid, "cannot be used"),
            (400, "billing_hard_limit_reached", ErrorKind::Unavailable, "top it up"),
            (400, "unknown_parameter", ErrorKind::Invalid, "unknown_parameter: Said so."),
            (401, "invalid_api_key", ErrorKind::Unavailable, "api_key"),
            (403, "", ErrorKind::Unavailable, "may not"),
            (404, "model_not_found", ErrorKind::Unavailable, "`model`"),
            (413, "", ErrorKind::TooLarge, "too large"),
            (429, "insufficient_quota", ErrorKind::Unavailable, "top it up"),
            (429, "rate_limit_exceeded", ErrorKind::RateLimited, "no more for now"),
            (524, "", ErrorKind::Timeout, "too long"),
            (500, "server_error", ErrorKind::Unavailable, "at the moment"),
        ] {
            let body = format!(r#"{{"error":{{"message":"Said so.","type":"{code}","param":null,"code":"{code}"}}}}"#);
            let error = of(status, &[], body.as_bytes(), 0);
            assert_eq!(error.kind, kind, "{status} {code}");
            assert!(error.message.contains(says), "{}", error.message);
            assert_eq!(error.retry_after, None);
        }
        assert_eq!(of(502, &[], b"<html>", 0).message, "the vendor cannot draw at the moment: status 502");
    }

    #[test]
    fn a_wait_is_read_from_headers_and_words() {
        let headers = [("retry-after".to_owned(), "7".to_owned())];
        assert_eq!(of(429, &headers, b"", 0).retry_after, Some(7000));
        let body = br#"{"error":{"code":"rate_limit_exceeded","message":"Please try again in 12s."}}"#;
        assert_eq!(of(429, &[], body, 0).retry_after, Some(12_000));
    }
}
