//! Every way in which a server says no, as the one typed failure of the contract.
//!
//! Bodies come as `{"error": {…}}`, `{"error": "…"}`, `{"detail": …}`, `{"message": …}` or HTML, with any status, before
//! the stream, in it, or instead of it under status 200. What is most specific decides: OpenRouter's `error_type`, then the
//! code, then what the text says about the context, then the status.

use serde_json::Value;

use crate::chat::{Failure, FailureKind as Kind};
use crate::retry;

/// The vendor's answer is kept up to this length.
const RAW_BYTES: usize = 16 << 10;
/// A message is for a person.
const MESSAGE_CHARS: usize = 1000;

/// The failure that a response with an error status means. `now` is in milliseconds since 1970.
#[must_use]
pub fn http(status: u16, headers: &[(String, String)], body: &[u8], now: u64) -> Failure {
    let parsed = Parsed::of(body);
    let mut failure = parsed.failure(Some(status), body);
    failure.request_id = request_id(headers);
    failure.retry_after = retry::from_headers(headers, now).or(failure.retry_after);
    if failure.resets_at.is_none() && status == 429 {
        failure.resets_at = header(headers, "x-ratelimit-reset").and_then(moment);
    }
    failure
}

/// The failure that an error inside a stream, or a body with status 200, means: its code is the status. A frame of a socket
/// brings its headers with it.
#[must_use]
pub fn in_stream(body: &[u8]) -> Failure {
    let parsed = Parsed::of(body);
    let status = parsed.status;
    let headers = parsed.headers.clone();
    let mut failure = parsed.failure(status, body);
    failure.request_id = request_id(&headers);
    // Without a clock a date is no wait.
    let wait = retry::from_headers(&headers, u64::MAX).filter(|wait| *wait > 0);
    failure.retry_after = wait.or(failure.retry_after);
    failure
}

/// The server's name for the exchange, which its support asks for.
#[must_use]
pub fn request_id(headers: &[(String, String)]) -> Option<String> {
    ["x-generation-id", "x-request-id", "x-oai-request-id", "request-id", "cf-ray"]
        .iter()
        .find_map(|name| header(headers, name))
        .map(str::to_owned)
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn frame_headers(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    headers.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// What an error's body says.
#[derive(Debug, Default)]
struct Parsed {
    message: String,
    /// OpenRouter's classifier.
    error_type: Option<String>,
    code: Option<String>,
    /// The vaguer `type` beside a code.
    class: Option<String>,
    /// Which part of the request is meant.
    param: String,
    status: Option<u16>,
    headers: Vec<(String, String)>,
    /// The request was looked at and found wanting by a moderator.
    moderated: bool,
    resets_at: Option<u64>,
    json: bool,
}

impl Parsed {
    fn of(body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(value) => Self::of_json(&value),
            Err(_) => Self { message: page_text(&String::from_utf8_lossy(body)), ..Self::default() },
        }
    }

    fn of_json(value: &Value) -> Self {
        // One server puts its error in a list.
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        let choice = value.pointer("/choices/0/error");
        let error = value.get("error").filter(|error| !error.is_null()).or(choice).unwrap_or(value);
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = match (error, text("message")) {
            (Value::String(message), _) => message.clone(),
            (_, Some(message)) => message,
            _ => detail(error).or_else(|| value.get("message")?.as_str().map(str::to_owned)).unwrap_or_default(),
        };
        let metadata = error.get("metadata").filter(|metadata| metadata.is_object()).unwrap_or(&Value::Null);
        let code = error.get("code").or_else(|| error.get("status"));
        Self {
            message: with_upstream(message, metadata),
            error_type: metadata.get("error_type").and_then(Value::as_str).map(str::to_owned),
            code: code.and_then(Value::as_str).filter(|code| code.parse::<u16>().is_err()).map(str::to_owned),
            class: text("type").filter(|class| class != "error"),
            param: text("param").unwrap_or_default(),
            status: ["status", "status_code"].iter().find_map(|key| status(value.get(key)?)).or_else(|| code.and_then(status)),
            headers: value.get("headers").map(frame_headers).unwrap_or_default(),
            moderated: metadata.get("reasons").is_some() || metadata.get("flagged_input").is_some(),
            resets_at: metadata
                .pointer("/headers/X-RateLimit-Reset")
                .or_else(|| error.get("resets_at"))
                .and_then(|reset| moment(reset.as_str().map_or_else(|| reset.to_string(), str::to_owned).as_str())),
            json: true,
        }
    }

    fn failure(self, status: Option<u16>, body: &[u8]) -> Failure {
        let kind = self.kind(status);
        let said = if self.message.is_empty() { "no reason given" } else { self.message.trim() };
        let said: String = said.chars().take(MESSAGE_CHARS).collect();
        let message = match status {
            Some(404) if !self.json => format!("HTTP 404: {said}. There is no such service at this address; check base_url"),
            Some(status) => format!("HTTP {status}: {said}"),
            None => said,
        };
        let waits = matches!(kind, Kind::RateLimit | Kind::Overloaded | Kind::Server);
        Failure {
            status,
            retry_after: if waits { retry::from_text(&self.message) } else { None },
            resets_at: self.resets_at.filter(|_| matches!(kind, Kind::RateLimit | Kind::UsageLimit)),
            code: self.error_type.or(self.code).or(self.class),
            raw: Some(raw(body)),
            ..Failure::new(kind, message)
        }
    }

    fn kind(&self, status: Option<u16>) -> Kind {
        let text = self.message.to_ascii_lowercase();
        if text.contains("free-models-per-day") {
            return Kind::UsageLimit;
        }
        if let Some(kind) = self.error_type.as_deref().and_then(by_error_type) {
            return kind;
        }
        if let Some(kind) = [&self.code, &self.class].into_iter().flatten().find_map(|code| by_code(code)) {
            return kind;
        }
        if self.param.ends_with(".image_url") {
            return Kind::InvalidMedia;
        }
        if says_context_overflow(&text) && !matches!(status, Some(401..=403 | 429)) {
            return Kind::ContextOverflow;
        }
        match status {
            Some(403) if self.moderated => Kind::Policy,
            Some(404) if !self.json => Kind::InvalidRequest,
            Some(status) => by_status(status),
            None if self.json && !self.message.is_empty() => Kind::Server,
            None => Kind::Protocol,
        }
    }
}

fn by_error_type(error_type: &str) -> Option<Kind> {
    Some(match error_type {
        "context_length_exceeded" | "token_limit_exceeded" | "string_too_long" | "payload_too_large" => Kind::ContextOverflow,
        "authentication" => Kind::AuthInvalid,
        "permission_denied" => Kind::Forbidden,
        "payment_required" => Kind::Quota,
        "rate_limit_exceeded" => Kind::RateLimit,
        "provider_overloaded" => Kind::Overloaded,
        "provider_unavailable" | "server" => Kind::Server,
        "max_tokens_exceeded" | "invalid_request" | "precondition_failed" | "unprocessable" => Kind::InvalidRequest,
        "invalid_prompt" | "content_policy_violation" | "refusal" => Kind::Policy,
        "not_found" => Kind::ModelNotFound,
        "timeout" => Kind::Timeout,
        image if is_image(image) => Kind::InvalidMedia,
        _ => return None,
    })
}

/// OpenAI's codes, and the types that servers like it use in their place.
fn by_code(code: &str) -> Option<Kind> {
    Some(match code {
        "context_length_exceeded" | "exceed_context_size_error" | "request_too_large" | "string_above_max_length" => Kind::ContextOverflow,
        "token_expired" => Kind::AuthExpired,
        "invalid_api_key" | "incorrect_api_key" | "unauthorized" | "authentication_error" => Kind::AuthInvalid,
        "permission_error" | "usage_not_included" | "data_residency_mismatch" => Kind::Forbidden,
        "insufficient_quota" | "credit_balance_exhausted" | "billing_hard_limit_reached" | "billing_error" => Kind::Quota,
        "usage_limit_reached" => Kind::UsageLimit,
        "rate_limit_exceeded" | "rate_limit_error" => Kind::RateLimit,
        "server_is_overloaded" | "slow_down" | "overloaded_error" | "engine_overloaded" | "engine_overloaded_error" => Kind::Overloaded,
        "server_error" | "api_error" | "internal_error" | "internal_server_error" => Kind::Server,
        "timeout_error" | "vector_store_timeout" => Kind::Timeout,
        "invalid_prompt"
        | "content_filter"
        | "content_policy_violation"
        | "bio_policy"
        | "cyber_policy"
        | "misalignment_policy_violation" => Kind::Policy,
        "model_not_found" | "not_found_error" => Kind::ModelNotFound,
        "unsupported_parameter" | "unsupported_value" => Kind::InvalidRequest,
        "previous_response_not_found" => Kind::ContinuationLost,
        "websocket_connection_limit_reached" => Kind::Transport,
        image if is_image(image) => Kind::InvalidMedia,
        _ => return None,
    })
}

fn by_status(status: u16) -> Kind {
    match status {
        200..=399 => Kind::Protocol,
        401 => Kind::AuthInvalid,
        402 => Kind::Quota,
        403 => Kind::Forbidden,
        404 => Kind::ModelNotFound,
        408 | 504 | 524 => Kind::Timeout,
        // Too large for the server: only a shorter conversation helps.
        413 => Kind::ContextOverflow,
        429 => Kind::RateLimit,
        503 | 529 => Kind::Overloaded,
        // A conflict is a lock the server could not get: like its other troubles, it passes.
        409 | 500..=599 => Kind::Server,
        400..=499 => Kind::InvalidRequest,
        _ => Kind::Other,
    }
}

fn is_image(code: &str) -> bool {
    code.starts_with("invalid_image") || code.starts_with("image_")
}

fn says_context_overflow(text: &str) -> bool {
    const SAID: [&str; 7] = [
        "maximum context length",
        "context length exceeded",
        "context window",
        "available context size",
        "prompt is too long",
        "input is too long",
        "exceeds the maximum number of tokens",
    ];
    SAID.iter().any(|said| text.contains(said))
}

fn status(code: &Value) -> Option<u16> {
    let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(code).ok().filter(|code| (400..600).contains(code))
}

/// A moment in seconds or milliseconds since 1970; anything smaller is a span and no moment.
fn moment(text: &str) -> Option<u64> {
    match text.trim().parse::<f64>().ok()? {
        millis if (1e12..1e14).contains(&millis) => Some(millis as u64),
        seconds if (1e9..1e11).contains(&seconds) => Some((seconds * 1000.0) as u64),
        _ => None,
    }
}

/// The `detail` of FastAPI servers: a text, or a list of what is wrong where.
fn detail(error: &Value) -> Option<String> {
    match error.get("detail")? {
        Value::String(detail) => Some(detail.clone()),
        Value::Array(list) => {
            let said = list.iter().filter_map(|entry| {
                let at: Vec<String> =
                    entry.get("loc")?.as_array()?.iter().map(|part| part.to_string().trim_matches('"').to_owned()).collect();
                Some(format!("{}: {}", at.join("."), entry.get("msg")?.as_str()?))
            });
            Some(said.collect::<Vec<_>>().join("; ")).filter(|said| !said.is_empty())
        }
        other => Some(detail(other).or_else(|| other.get("message")?.as_str().map(str::to_owned)).unwrap_or_else(|| other.to_string())),
    }
}

/// OpenRouter says "Provider returned error"; what the provider said is beside it.
fn with_upstream(message: String, metadata: &Value) -> String {
    let provider = metadata.get("provider_name").and_then(Value::as_str);
    let said = match metadata.get("raw") {
        Some(Value::String(raw)) => {
            let inner = serde_json::from_str::<Value>(raw).ok();
            let inner = inner.as_ref().and_then(|inner| inner.pointer("/error/message").or_else(|| inner.get("message")));
            Some(inner.and_then(Value::as_str).unwrap_or(raw).to_owned())
        }
        Some(Value::Object(raw)) => {
            raw.get("message").or_else(|| raw.get("error")?.get("message")).and_then(Value::as_str).map(str::to_owned)
        }
        _ => None,
    };
    match (provider, said) {
        (Some(provider), Some(said)) => format!("{message} ({provider}: {said})"),
        (Some(provider), None) => format!("{message} ({provider})"),
        (None, Some(said)) if said != message => format!("{message} ({said})"),
        _ => message,
    }
}

/// The title of a page, or its text: what a proxy has to say.
#[must_use]
pub fn page_text(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    if let (Some(start), Some(end)) = (lower.find("<title>"), lower.find("</title>"))
        && let Some(title) = page.get(start + 7..end)
    {
        return title.trim().to_owned();
    }
    let mut text = String::new();
    let mut inside = false;
    for c in page.chars().take(4 * MESSAGE_CHARS) {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            _ if inside => {}
            _ => text.push(c),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The body as JSON of at most 16 KiB: itself, or the start of it as a string.
#[must_use]
pub fn raw(body: &[u8]) -> String {
    if body.len() <= RAW_BYTES
        && let Ok(text) = std::str::from_utf8(body)
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    {
        return text.to_owned();
    }
    let text = String::from_utf8_lossy(body);
    let mut chars = RAW_BYTES;
    loop {
        // Escapes make it longer than what was cut.
        let json = Value::from(text.chars().take(chars).collect::<String>()).to_string();
        if json.len() <= RAW_BYTES {
            return json;
        }
        chars /= 2;
    }
}

#[cfg(test)]
mod tests;
