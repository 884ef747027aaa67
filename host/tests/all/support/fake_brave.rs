//! A search like Brave's, which refuses what Brave refuses. The first word of a query says what it does.

use std::io;

use serde_json::{Value, json};

use super::web::{Visit, Web};

/// The key of its one account.
pub const BRAVE_KEY: &str = "BSA-canary-of-the-fake-search";

/// The server, until it is dropped.
pub fn start() -> Web {
    Web::start(|visit| {
        let refused = |status: u16, code: &str, detail: &str| {
            (status, json!({ "type": "ErrorResponse", "error": { "status": status, "code": code, "detail": detail }, "time": 1 }))
        };
        let (status, body) = match asked(visit) {
            Err(detail) => refused(422, "VALIDATION", &detail),
            Ok(_) if visit.header("x-subscription-token").as_deref() != Some(BRAVE_KEY) => {
                refused(422, "SUBSCRIPTION_TOKEN_INVALID", "The provided subscription token is invalid.")
            }
            Ok((_, query, _)) if query.starts_with("hurry") => {
                let body = refused(429, "RATE_LIMITED", "Request rate limit exceeded for plan.").1;
                return say(visit, 429, "X-RateLimit-Remaining: 0, 99\r\nX-RateLimit-Reset: 2, 900\r\n", &body);
            }
            Ok((_, query, _)) if query.starts_with("leak") => refused(500, "INTERNAL", &format!("cannot look up {BRAVE_KEY}")),
            Ok((vertical, query, count)) => (200, answer(&vertical, &query, count)),
        };
        say(visit, status, "", &body)
    })
}

fn say(visit: &mut Visit, status: u16, head: &str, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    visit.say(format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// The vertical, the query and the count, if the request is one that Brave takes.
fn asked(visit: &Visit) -> Result<(String, String, usize), String> {
    let known = ["q", "count", "country", "search_lang", "safesearch", "freshness", "result_filter", "text_decorations", "extra_snippets"];
    let url = url::Url::parse(&format!("http://fake{}", visit.target())).map_err(|error| error.to_string())?;
    if !visit.request.starts_with("GET ") {
        return Err("only GET is taken here".into());
    }
    let vertical = url.path().strip_prefix("/res/v1/").and_then(|path| path.strip_suffix("/search")).unwrap_or_default();
    let most = match vertical {
        "web" => 20,
        "news" | "videos" => 50,
        "images" => 200,
        other => return Err(format!("no such search: {other}")),
    };
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| !known.contains(&name.as_ref())) {
        return Err(format!("unknown parameter {name}"));
    }
    let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let query = parameter("q").filter(|query| !query.is_empty() && query.chars().count() <= 400).ok_or("q is missing or too long")?;
    let count = parameter("count").and_then(|count| count.parse().ok()).filter(|count| (1..=most).contains(count));
    Ok((vertical.to_owned(), query, count.ok_or("count is out of range")?))
}

fn answer(vertical: &str, query: &str, count: usize) -> Value {
    let hit = |n: usize| {
        json!({
            "title": format!("<strong>{query}</strong> {n}"), "url": format!("https://example.org/{n}"),
            "description": format!("All about {query} &amp; more."), "page_age": "2026-11-22T08:00:00", "age": "1 day ago",
            "meta_url": { "hostname": "example.org" },
        })
    };
    let hits: Vec<_> = (1..=count).map(hit).collect();
    match vertical {
        "web" => json!({ "type": "search", "query": { "original": query }, "web": { "type": "search", "results": hits } }),
        other => json!({ "type": other, "query": { "original": query }, "results": hits }),
    }
}
