//! Every row of the table of errors.

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn body(class: &str, message: &str) -> String {
    serde_json::json!({"type": "error", "error": {"type": class, "message": message}, "request_id": "req_1"}).to_string()
}

fn failed(status: u16, class: &str, message: &str) -> Failure {
    http(status, &[], body(class, message).as_bytes(), NOW)
}

fn headers(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_vendors_table() {
    let rows = [
        (400, "invalid_request_error", Kind::InvalidRequest),
        (401, "authentication_error", Kind::AuthInvalid),
        (402, "billing_error", Kind::Quota),
        (403, "permission_error", Kind::Forbidden),
        (409, "conflict_error", Kind::Server),
        (413, "request_too_large", Kind::ContextOverflow),
        (429, "rate_limit_error", Kind::RateLimit),
        (500, "api_error", Kind::Server),
        (504, "timeout_error", Kind::Timeout),
        (529, "overloaded_error", Kind::Overloaded),
    ];
    for (status, class, kind) in rows {
        let failure = failed(status, class, "m");
        assert_eq!((failure.kind, failure.status, failure.code.as_deref()), (kind, Some(status), Some(class)));
        assert_eq!(failure.request_id.as_deref(), Some("req_1"));
        // The same inside a stream, where there is no status.
        assert_eq!(in_stream(body(class, "m").as_bytes()).kind, kind, "{class}");
    }
    assert_eq!(failed(404, "not_found_error", "model: claude-none").kind, Kind::ModelNotFound);
    let address = failed(404, "not_found_error", "Not Found");
    assert!(address.kind == Kind::InvalidRequest && address.message.contains("check base_url"), "{address:?}");
}

#[test]
fn a_status_alone() {
    let rows = [
        (302, Kind::Protocol),
        (400, Kind::InvalidRequest),
        (401, Kind::AuthInvalid),
        (402, Kind::Quota),
        (403, Kind::Forbidden),
        (404, Kind::InvalidRequest),
        (405, Kind::InvalidRequest),
        (408, Kind::Timeout),
        (409, Kind::Server),
        (413, Kind::ContextOverflow),
        (422, Kind::InvalidRequest),
        (429, Kind::RateLimit),
        (500, Kind::Server),
        (502, Kind::Server),
        (503, Kind::Overloaded),
        (504, Kind::Timeout),
        (520, Kind::Server),
        (524, Kind::Timeout),
        (529, Kind::Overloaded),
        (600, Kind::Other),
    ];
    for (status, kind) in rows {
        assert_eq!(http(status, &[], b"<html><title>Nope</title></html>", NOW).kind, kind, "{status}");
        assert_eq!(http(status, &[], b"", NOW).kind, kind, "{status} without a body");
    }
}

#[test]
fn what_hides_among_the_invalid_requests() {
    let rows = [
        ("prompt is too long: 210001 tokens > 200000 maximum", Kind::ContextOverflow),
        ("input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000, decrease input length", Kind::ContextOverflow),
        ("Request exceeds the maximum size", Kind::ContextOverflow),
        ("Your credit balance is too low to access the Anthropic API.", Kind::Quota),
        ("Output blocked by content filtering policy", Kind::Policy),
        ("messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6275800 bytes > 5242880 bytes", Kind::InvalidMedia),
        ("messages.3.content.0.image.source.base64.data: At least one of the image dimensions exceed max allowed size", Kind::InvalidMedia),
        ("messages.1.content.0.document.source.base64.data: The PDF specified was not valid.", Kind::InvalidMedia),
        ("A maximum of 100 PDF pages may be provided.", Kind::InvalidMedia),
        ("max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens", Kind::InvalidRequest),
    ];
    for (message, kind) in rows {
        assert_eq!(failed(400, "invalid_request_error", message).kind, kind, "{message}");
        assert_eq!(in_stream(body("invalid_request_error", message).as_bytes()).kind, kind, "{message}");
    }
    let limit = "You have reached your specified API usage limits. You will regain access on 2024-02-29 at 00:00 UTC.";
    let failure = failed(400, "invalid_request_error", limit);
    assert_eq!((failure.kind, failure.resets_at), (Kind::UsageLimit, Some(1_709_164_800_000)));
    // The words alone do not turn another error into one of the request.
    assert_eq!(failed(529, "overloaded_error", "the context window service is busy").kind, Kind::Overloaded);
    assert_eq!(failed(429, "rate_limit_error", "too many, see usage limits").kind, Kind::RateLimit);
}

#[test]
fn codes_are_more_than_their_class() {
    let coded = |status, class: &str, code: &str| {
        let body = serde_json::json!({"error": {"type": class, "message": "m", "details": {"error_code": code}}}).to_string();
        let failure = http(status, &[], body.as_bytes(), NOW);
        assert_eq!(failure.code.as_deref(), Some(code));
        failure.kind
    };
    assert_eq!(coded(400, "invalid_request_error", "contract_spend_limit_reached"), Kind::UsageLimit);
    assert_eq!(coded(403, "permission_error", "linked_organization_billing_unavailable"), Kind::Quota);
    assert_eq!(coded(400, "invalid_request_error", "image_dimensions_too_large"), Kind::InvalidMedia);
    assert_eq!(coded(429, "rate_limit_error", "ramp_limit_exceeded"), Kind::RateLimit);
    assert_eq!(coded(500, "api_error", "of_the_future"), Kind::Server);
}

#[test]
fn when_to_try_again() {
    let failure =
        http(529, &headers(&[("Retry-After", "7"), ("request-id", "req_9")]), body("overloaded_error", "Overloaded").as_bytes(), NOW);
    assert_eq!((failure.retry_after, failure.request_id.as_deref()), (Some(7000), Some("req_9")));
    let both = headers(&[("retry-after", "7"), ("retry-after-ms", "1500")]);
    assert_eq!(http(429, &both, b"{}", NOW).retry_after, Some(1500));
    let windows = headers(&[
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "2024-02-29T00:00:00Z"),
        ("anthropic-ratelimit-tokens-remaining", "5"),
        ("anthropic-ratelimit-tokens-reset", "2025-02-28T00:00:00Z"),
    ]);
    assert_eq!(http(429, &windows, b"{}", NOW).resets_at, Some(1_709_164_800_000));
    assert_eq!(http(529, &windows, b"{}", NOW).resets_at, None);
}

#[test]
fn the_vendors_word_on_another_try_is_kept() {
    let said = |status, should: &str| http(status, &headers(&[("X-Should-Retry", should)]), b"{}", NOW).kind;
    assert_eq!((said(429, "false"), said(529, "false"), said(500, "false")), (Kind::UsageLimit, Kind::Other, Kind::Other));
    assert_eq!((said(429, "true"), said(400, "true")), (Kind::RateLimit, Kind::Server));
    assert_eq!(
        (said(401, "true"), said(413, "true"), said(413, "false")),
        (Kind::AuthInvalid, Kind::ContextOverflow, Kind::ContextOverflow)
    );
    assert_eq!(said(429, "maybe"), Kind::RateLimit);
}

#[test]
fn bodies_of_other_servers() {
    let said = |body: &str| {
        let failure = http(400, &[], body.as_bytes(), NOW);
        (failure.kind, failure.message, failure.code)
    };
    let flat = said(r#"{"error":{"code":"400","type":"invalid_params","message":"prompt is too long"}}"#);
    assert_eq!(flat, (Kind::ContextOverflow, "HTTP 400: prompt is too long".into(), Some("invalid_params".into())));
    assert_eq!(said(r#"{"error":"out of memory"}"#).1, "HTTP 400: out of memory");
    assert_eq!(said(r#"{"message":"no"}"#).1, "HTTP 400: no");
    assert_eq!(said(r#"{"detail":"no"}"#).1, "HTTP 400: no");
    assert_eq!(said("[]").1, "HTTP 400: no reason given");
    assert_eq!(said("null").1, "HTTP 400: no reason given");
}

#[test]
fn what_mends_it_is_said() {
    let said = |message: &str| failed(400, "invalid_request_error", message).message;
    assert!(said("adaptive thinking is not supported on this model").contains("options = { thinking"));
    assert!(said("max_tokens: 64000 > 8192, which is the maximum allowed").contains("max_output"));
    assert!(http(307, &[], b"", NOW).message.contains("check base_url"));
}

#[test]
fn thoughts_that_are_refused_are_known() {
    let refused = |message: &str| refuses_thoughts(&failed(400, "invalid_request_error", message));
    assert!(refused("messages.1.content.0: Invalid `signature` in `thinking` block"));
    assert!(refused("messages.3.content.1: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified."));
    assert!(!refused("adaptive thinking is not supported on this model"));
    assert!(!refuses_thoughts(&failed(401, "authentication_error", "invalid signature of thinking")));
}

#[test]
fn pages_and_long_bodies() {
    let page = http(413, &[], b"<html><head><title> 413 Request Entity Too Large </title></head><body>cloudflare</body></html>", NOW);
    assert_eq!((page.kind, page.message.as_str()), (Kind::ContextOverflow, "HTTP 413: 413 Request Entity Too Large"));
    let long = http(500, &[], "<\u{e9}\u{0}".repeat(40_000).as_bytes(), NOW);
    assert!(long.raw.as_ref().unwrap().len() <= 16 << 10);
    let wordy = failed(500, "api_error", &"x".repeat(5000));
    assert!(wordy.message.len() < 1100);
    assert_eq!(http(500, &[], b"\xff\xfe\x00", NOW).kind, Kind::Server);
}
