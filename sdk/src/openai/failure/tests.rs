//! Every row of the tables of errors.

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn failed(status: u16, body: &str) -> Failure {
    http(status, &[], body.as_bytes(), NOW)
}

fn kind(status: u16, body: &str) -> Kind {
    failed(status, body).kind
}

#[test]
fn a_status_alone() {
    let rows = [
        (302, Kind::Protocol),
        (400, Kind::InvalidRequest),
        (401, Kind::AuthInvalid),
        (402, Kind::Quota),
        (403, Kind::Forbidden),
        (404, Kind::ModelNotFound),
        (408, Kind::Timeout),
        (409, Kind::Server),
        (413, Kind::ContextOverflow),
        (422, Kind::InvalidRequest),
        (429, Kind::RateLimit),
        (500, Kind::Server),
        (502, Kind::Server),
        (503, Kind::Overloaded),
        (504, Kind::Timeout),
        (524, Kind::Timeout),
        (529, Kind::Overloaded),
        (599, Kind::Server),
    ];
    for (status, expected) in rows {
        assert_eq!(kind(status, &format!(r#"{{"error":{{"code":{status},"message":"m"}}}}"#)), expected, "{status}");
    }
}

#[test]
fn openrouters_error_type_is_the_best_classifier() {
    let rows = [
        ("context_length_exceeded", Kind::ContextOverflow),
        ("token_limit_exceeded", Kind::ContextOverflow),
        ("string_too_long", Kind::ContextOverflow),
        ("payload_too_large", Kind::ContextOverflow),
        ("max_tokens_exceeded", Kind::InvalidRequest),
        ("authentication", Kind::AuthInvalid),
        ("permission_denied", Kind::Forbidden),
        ("payment_required", Kind::Quota),
        ("rate_limit_exceeded", Kind::RateLimit),
        ("provider_overloaded", Kind::Overloaded),
        ("provider_unavailable", Kind::Server),
        ("invalid_request", Kind::InvalidRequest),
        ("invalid_prompt", Kind::Policy),
        ("not_found", Kind::ModelNotFound),
        ("precondition_failed", Kind::InvalidRequest),
        ("unprocessable", Kind::InvalidRequest),
        ("content_policy_violation", Kind::Policy),
        ("refusal", Kind::Policy),
        ("invalid_image", Kind::InvalidMedia),
        ("image_too_large", Kind::InvalidMedia),
        ("server", Kind::Server),
        ("timeout", Kind::Timeout),
        ("unmapped", Kind::Forbidden),
    ];
    for (error_type, expected) in rows {
        let failure = failed(403, &format!(r#"{{"error":{{"code":403,"message":"m","metadata":{{"error_type":"{error_type}"}}}}}}"#));
        assert_eq!((failure.kind, failure.code.as_deref()), (expected, Some(error_type)));
    }
}

#[test]
fn codes_of_openai_and_its_likes() {
    let rows = [
        (401, "invalid_api_key", Kind::AuthInvalid),
        (401, "token_expired", Kind::AuthExpired),
        (429, "insufficient_quota", Kind::Quota),
        (429, "credit_balance_exhausted", Kind::Quota),
        (429, "usage_limit_reached", Kind::UsageLimit),
        (429, "usage_not_included", Kind::Forbidden),
        (429, "rate_limit_exceeded", Kind::RateLimit),
        (400, "context_length_exceeded", Kind::ContextOverflow),
        (404, "model_not_found", Kind::ModelNotFound),
        (400, "unsupported_parameter", Kind::InvalidRequest),
        (400, "invalid_image_url", Kind::InvalidMedia),
        (400, "content_filter", Kind::Policy),
        (500, "server_is_overloaded", Kind::Overloaded),
        (400, "something_new", Kind::InvalidRequest),
        (400, "invalid_value", Kind::InvalidRequest),
        (400, "previous_response_not_found", Kind::ContinuationLost),
        (400, "websocket_connection_limit_reached", Kind::Transport),
        (403, "data_residency_mismatch", Kind::Forbidden),
        (500, "vector_store_timeout", Kind::Timeout),
        (400, "bio_policy", Kind::Policy),
        (400, "misalignment_policy_violation", Kind::Policy),
    ];
    for (status, code, expected) in rows {
        let body = format!(r#"{{"error":{{"message":"m","type":"invalid_request_error","param":null,"code":"{code}"}}}}"#);
        assert_eq!(kind(status, &body), expected, "{code}");
    }
    assert_eq!(
        kind(400, r#"{"error":{"code":400,"message":"the request exceeds","type":"exceed_context_size_error","n_ctx":8}}"#),
        Kind::ContextOverflow
    );
    assert_eq!(kind(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#), Kind::Overloaded);
}

#[test]
fn shapes_of_bodies() {
    let message = |body: &str| failed(400, body).message;
    assert_eq!(message(r#"{"error":{"message":"one"}}"#), "HTTP 400: one");
    assert_eq!(message(r#"{"error":"two"}"#), "HTTP 400: two");
    assert_eq!(message(r#"{"detail":"Unsupported parameter: max_output_tokens"}"#), "HTTP 400: Unsupported parameter: max_output_tokens");
    assert_eq!(message(r#"{"detail":[{"loc":["body","n",0],"msg":"extra"}]}"#), "HTTP 400: body.n.0: extra");
    assert_eq!(message(r#"{"message":"three"}"#), "HTTP 400: three");
    assert_eq!(message("<!DOCTYPE html><TITLE> Blocked </TITLE>"), "HTTP 400: Blocked");
    assert_eq!(message("<h1>502</h1> <p>Bad\ngateway"), "HTTP 400: 502 Bad gateway");
    assert_eq!(message(""), "HTTP 400: no reason given");
    assert_eq!(message("\u{0}\u{ff}"), "HTTP 400: \u{0}\u{ff}");
    assert_eq!(kind(403, "<html><title>Just a moment...</title>"), Kind::Forbidden);
    let wrong_address = failed(404, "404 page not found");
    assert_eq!(wrong_address.kind, Kind::InvalidRequest);
    assert!(wrong_address.message.contains("base_url"), "{}", wrong_address.message);
}

#[test]
fn the_upstreams_own_words_are_shown() {
    let raw = r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"provider_name":"Anthropic",
        "raw":"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}}"}}}"#;
    let failure = failed(400, raw);
    assert_eq!(failure.message, "HTTP 400: Provider returned error (Anthropic: prompt is too long: 9 tokens > 8 maximum)");
    assert_eq!(failure.kind, Kind::ContextOverflow);
    assert_eq!(
        kind(403, r#"{"error":{"code":403,"message":"flagged","metadata":{"reasons":["hate"],"flagged_input":"x"}}}"#),
        Kind::Policy
    );
}

#[test]
fn waits_and_ids_come_from_the_headers() {
    let headers = [("Retry-After", "7"), ("X-Request-Id", "req"), ("X-Generation-Id", "gen")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let failure = http(503, &headers, b"{}", NOW);
    assert_eq!((failure.kind, failure.retry_after, failure.request_id.as_deref()), (Kind::Overloaded, Some(7000), Some("gen")));
    assert_eq!(failed(429, r#"{"error":{"message":"Please try again in 1.2s"}}"#).retry_after, Some(1200));
    let day = r#"{"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day","metadata":{"headers":{"X-RateLimit-Reset":"1700006400000"}}}}"#;
    assert_eq!((failed(429, day).kind, failed(429, day).resets_at), (Kind::UsageLimit, Some(1_700_006_400_000)));
    let limit = http(429, &[("x-ratelimit-reset".into(), "1700006400".into())], b"{}", NOW);
    assert_eq!(limit.resets_at, Some(1_700_006_400_000));
    assert_eq!(request_id(&[]), None);
}

#[test]
fn a_frame_is_read_like_a_response_with_its_status_and_headers() {
    let frame = r#"{"type":"error","status":429,"error":{"type":"usage_limit_reached","message":"limit","code":null,
        "resets_at":1700006400,"plan_type":"plus"},"headers":{"x-request-id":"req","retry-after":3}}"#;
    let failure = in_stream(frame.as_bytes());
    assert_eq!((failure.kind, failure.status, failure.code.as_deref()), (Kind::UsageLimit, Some(429), Some("usage_limit_reached")));
    let times = (failure.retry_after, failure.resets_at);
    assert_eq!((failure.request_id.as_deref(), times), (Some("req"), (Some(3000), Some(1_700_006_400_000))));
    let bare = in_stream(br#"{"type":"error","code":"rate_limit_exceeded","message":"slow down","param":null,"sequence_number":3}"#);
    assert_eq!((bare.kind, bare.message.as_str(), bare.status), (Kind::RateLimit, "slow down", None));
    assert_eq!(in_stream(br#"{"type":"error","status_code":401,"error":{"message":"m"}}"#).kind, Kind::AuthInvalid);
    let dated = br#"{"error":{"message":"m","code":503},"headers":{"retry-after":"Sun, 06 Nov 1994 08:49:37 GMT"}}"#;
    assert_eq!(in_stream(dated).retry_after, None);
}

#[test]
fn a_picture_that_cannot_be_read_is_named_by_its_place() {
    let body =
        r#"{"error":{"message":"Expected a base64-encoded data URL","code":"invalid_value","param":"input[3].content[0].image_url"}}"#;
    assert_eq!(kind(400, body), Kind::InvalidMedia);
}

#[test]
fn the_raw_answer_is_json_and_short() {
    assert_eq!(failed(400, r#"{"error": 1}"#).raw.as_deref(), Some(r#"{"error": 1}"#));
    for body in ["\u{1}".repeat(40_000), format!("{{\"error\":\"{}\"}}", "ü".repeat(20_000)), "<html>".into()] {
        let raw = failed(500, &body).raw.unwrap();
        assert!(raw.len() <= 16 << 10 && serde_json::from_str::<String>(&raw).is_ok());
    }
    assert!(failed(400, &format!("{{\"error\":\"{}\"}}", "x".repeat(20_000))).message.len() < 1100);
}
