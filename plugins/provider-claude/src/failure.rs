//! Every way in which the vendor says no, as the one typed failure of the contract.
//!
//! Bodies come as `{"type": "error", "error": {…}}`, in the shapes of servers that are like it, or as HTML from the proxy
//! before it; with any status, before the stream, in it, or instead of it under status 200. What is most specific decides:
//! the code, what the text says, the type, then the status. Where the vendor says whether to try again, that is kept.

use serde_json::Value;
use stellaclaw_sdk::chat::{Failure, FailureKind as Kind};
use stellaclaw_sdk::openai::failure::{page_text, raw};
use stellaclaw_sdk::retry;

use crate::moment;

/// A message is for a person.
const MESSAGE_CHARS: usize = 1000;

/// The failure that a response with an error status means. `now` is in milliseconds since 1970.
#[must_use]
pub fn http(status: u16, headers: &[(String, String)], body: &[u8], now: u64) -> Failure {
    let mut failure = Said::of(body).failure(Some(status), body);
    failure.request_id = request_id(headers).or(failure.request_id);
    failure.retry_after = retry::from_headers(headers, now).or(failure.retry_after);
    if failure.kind == Kind::RateLimit {
        failure.resets_at = failure.resets_at.or_else(|| used_up(headers));
    }
    failure.kind = match header(headers, "x-should-retry") {
        Some("true") if is_repeatable(failure.kind) => Kind::Server,
        Some("false") => given_up(failure.kind),
        _ => failure.kind,
    };
    failure
}

/// The failure that an error inside a stream, or a body with status 200, means.
#[must_use]
pub fn in_stream(body: &[u8]) -> Failure {
    Said::of(body).failure(None, body)
}

/// Was the request refused because of what the model thought before? It was signed for another account or with a lost
/// key, or something changed it: then it will be refused each time.
#[must_use]
pub fn refuses_thoughts(failure: &Failure) -> bool {
    let text = &failure.message;
    // With a status it is the answer to the request: nothing of another one was shown.
    failure.status == Some(400)
        && failure.kind == Kind::InvalidRequest
        && text.contains("thinking")
        && (text.contains("signature") || text.contains("cannot be modified"))
}

/// The server's name for the exchange, which its support asks for.
#[must_use]
pub fn request_id(headers: &[(String, String)]) -> Option<String> {
    ["request-id", "x-request-id", "cf-ray"].iter().find_map(|name| header(headers, name)).map(str::to_owned)
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// When all the limits that are used up are renewed.
fn used_up(headers: &[(String, String)]) -> Option<u64> {
    let renewed = |limit: &str| {
        let of = |what: &str| header(headers, &format!("anthropic-ratelimit-{limit}-{what}"));
        (of("remaining")? == "0").then(|| moment::rfc3339(of("reset")?)).flatten()
    };
    ["requests", "tokens", "input-tokens", "output-tokens"].into_iter().filter_map(renewed).max()
}

/// Says the vendor's "try again" more than the kind? A request that is too long, or has no key, fails again all the same.
fn is_repeatable(kind: Kind) -> bool {
    matches!(kind, Kind::InvalidRequest | Kind::Other | Kind::Protocol)
}

/// What a kind that may pass becomes when the vendor says that it will not.
fn given_up(kind: Kind) -> Kind {
    match kind {
        Kind::RateLimit => Kind::UsageLimit,
        Kind::Overloaded | Kind::Server | Kind::Timeout | Kind::Protocol => Kind::Other,
        kind => kind,
    }
}

/// What an error's body says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    /// The vendor's classes: `invalid_request_error` and so on.
    class: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
    json: bool,
}

impl Said {
    fn of(body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(value) => Self::of_json(&value),
            Err(_) => Self { message: page_text(&String::from_utf8_lossy(body)), ..Self::default() },
        }
    }

    fn of_json(value: &Value) -> Self {
        let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = match error {
            Value::String(message) => Some(message.clone()),
            _ => text("message").or_else(|| text("detail")).or_else(|| value.get("message")?.as_str().map(str::to_owned)),
        };
        let code = error.pointer("/details/error_code").or_else(|| error.get("code")).and_then(Value::as_str);
        Self {
            message: message.unwrap_or_default(),
            class: text("type").filter(|class| class != "error"),
            code: code.filter(|code| code.parse::<u16>().is_err()).map(str::to_owned),
            request_id: value.get("request_id").and_then(Value::as_str).map(str::to_owned),
            json: true,
        }
    }

    fn failure(self, status: Option<u16>, body: &[u8]) -> Failure {
        let kind = self.kind(status);
        let said = if self.message.is_empty() { "no reason given" } else { self.message.trim() };
        let mut said: String = said.chars().take(MESSAGE_CHARS).collect();
        if let Some(hint) = self.hint(kind, status) {
            said = format!("{said} ({hint})");
        }
        let waits = matches!(kind, Kind::RateLimit | Kind::Overloaded | Kind::Server);
        let message = match status {
            Some(status) => format!("HTTP {status}: {said}"),
            None => said,
        };
        Failure {
            status,
            retry_after: if waits { retry::from_text(&self.message) } else { None },
            resets_at: if kind == Kind::UsageLimit { moment::regained(&self.message) } else { None },
            code: self.code.or(self.class),
            request_id: self.request_id,
            raw: Some(raw(body)),
            ..Failure::new(kind, message)
        }
    }

    fn kind(&self, status: Option<u16>) -> Kind {
        if let Some(kind) = self.code.as_deref().and_then(by_code) {
            return kind;
        }
        let text = self.message.to_ascii_lowercase();
        if let Some(kind) = self.class.as_deref().and_then(|class| by_class(class, &text)) {
            return kind;
        }
        if !matches!(status, Some(401..=403 | 429 | 500..))
            && let Some(kind) = by_text(&text)
        {
            return kind;
        }
        match status {
            Some(status) => by_status(status, self.json),
            None if self.class.as_deref() == Some("invalid_request_error") => Kind::InvalidRequest,
            None if self.json && !self.message.is_empty() => Kind::Server,
            None => Kind::Protocol,
        }
    }

    /// What would mend it, where the configuration can.
    fn hint(&self, kind: Kind, status: Option<u16>) -> Option<&'static str> {
        let text = self.message.to_ascii_lowercase();
        match kind {
            Kind::InvalidRequest if matches!(status, Some(404 | 405)) => {
                Some("there is no Messages service at this address; check base_url")
            }
            Kind::Protocol if matches!(status, Some(300..=399)) => Some("the server sends requests elsewhere; check base_url"),
            Kind::InvalidRequest if text.contains("thinking") => Some("options = { thinking = … } says how this model thinks"),
            Kind::InvalidRequest if text.contains("max_tokens") => Some("max_output is what the model may write"),
            Kind::InvalidRequest if text.contains("effort") => Some("effort is not for every model"),
            Kind::InvalidRequest if text.contains("anthropic-version") => Some("options = { version = … } says which is sent"),
            _ => None,
        }
    }
}

fn by_code(code: &str) -> Option<Kind> {
    Some(match code {
        "contract_spend_limit_reached" | "enforced_spend_limit_reached" | "linked_organization_spend_limit_reached" => Kind::UsageLimit,
        "linked_organization_billing_unavailable" => Kind::Quota,
        "organization_on_hold" => Kind::Forbidden,
        "ramp_limit_exceeded" => Kind::RateLimit,
        "request_body_too_large_after_decoding" => Kind::ContextOverflow,
        image if image.starts_with("image_") => Kind::InvalidMedia,
        _ => return None,
    })
}

/// The vendor's classes, but for the one of invalid requests: that holds much else, and the text decides.
fn by_class(class: &str, text: &str) -> Option<Kind> {
    Some(match class {
        "authentication_error" => Kind::AuthInvalid,
        "billing_error" => Kind::Quota,
        "permission_error" => Kind::Forbidden,
        // The vendor names the model; anything else that is not found is the address.
        "not_found_error" if text.contains("model") => Kind::ModelNotFound,
        "not_found_error" => Kind::InvalidRequest,
        // A conflict is a lock the server could not get: like its other troubles, it passes.
        "api_error" | "conflict_error" => Kind::Server,
        "request_too_large" => Kind::ContextOverflow,
        "rate_limit_error" => Kind::RateLimit,
        "timeout_error" => Kind::Timeout,
        "overloaded_error" => Kind::Overloaded,
        _ => return None,
    })
}

fn by_text(text: &str) -> Option<Kind> {
    let says = |said: &[&str]| said.iter().any(|said| text.contains(said));
    if says(&["prompt is too long", "exceed context limit", "context window", "request exceeds the maximum size", "input is too long"]) {
        return Some(Kind::ContextOverflow);
    }
    if says(&["credit balance is too low"]) {
        return Some(Kind::Quota);
    }
    if says(&["usage limits", "spend limit", "spending limit"]) {
        return Some(Kind::UsageLimit);
    }
    if says(&["content filtering policy", "usage policy"]) {
        return Some(Kind::Policy);
    }
    let media =
        says(&["could not process image", "could not process pdf", "image exceeds", "image dimensions", "pdf pages", "password protected"]);
    let source = text.contains(".source") && says(&[".image", ".document"]);
    (media || source).then_some(Kind::InvalidMedia)
}

fn by_status(status: u16, json: bool) -> Kind {
    match status {
        200..=399 => Kind::Protocol,
        401 => Kind::AuthInvalid,
        402 => Kind::Quota,
        403 => Kind::Forbidden,
        404 if json => Kind::ModelNotFound,
        408 | 504 | 524 => Kind::Timeout,
        // Too large for the server: only a shorter conversation helps.
        413 => Kind::ContextOverflow,
        429 => Kind::RateLimit,
        503 | 529 => Kind::Overloaded,
        409 | 500..=599 => Kind::Server,
        400..=499 => Kind::InvalidRequest,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests;
