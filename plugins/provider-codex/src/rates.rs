//! How much of the subscription is used: from events of the stream, and from headers.

use std::collections::BTreeMap;

use serde_json::Value;
use stellaclaw_sdk::chat::RateWindow;

const MINUTE_MS: u64 = 60_000;
/// Windows beyond these are not handed on: their names come from outside.
const WINDOWS: usize = 16;
const NAME_CHARS: usize = 64;

/// The windows of a `codex.rate_limits` event.
#[must_use]
pub fn from_event(event: &Value) -> Vec<RateWindow> {
    let limits = &event["rate_limits"];
    let family = ["metered_limit_name", "limit_name"].iter().find_map(|key| event[*key].as_str()).filter(|name| !name.is_empty());
    let windows = ["primary", "secondary"].into_iter().filter_map(|kind| {
        let window = limits[kind].as_object()?;
        let number = |key: &str| window.get(key).and_then(Value::as_f64);
        let used = number("used_percent").filter(|used| used.is_finite());
        let minutes = number("window_minutes").and_then(whole);
        let reset = number("reset_at").and_then(whole);
        (used.is_some() || reset.is_some()).then(|| made(family, kind, used, minutes, reset))
    });
    windows.collect()
}

/// The windows among the headers of an answer: `x-codex-[FAMILY-](primary|secondary)-(used-percent|window-minutes|reset-at)`.
#[must_use]
pub fn from_headers(headers: &[(String, String)]) -> Vec<RateWindow> {
    let mut found: BTreeMap<(Option<String>, &'static str), [Option<f64>; 3]> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let Some(rest) = name.strip_prefix("x-codex-") else { continue };
        let Some((at, rest)) = ["-used-percent", "-window-minutes", "-reset-at"]
            .iter()
            .enumerate()
            .find_map(|(at, suffix)| Some((at, rest.strip_suffix(suffix)?)))
        else {
            continue;
        };
        let Some((kind, family)) = ["primary", "secondary"].into_iter().find_map(|kind| Some((kind, rest.strip_suffix(kind)?))) else {
            continue;
        };
        let family = Some(family.trim_end_matches('-').to_owned()).filter(|family| !family.is_empty());
        let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        found.entry((family, kind)).or_default()[at] = number;
    }
    let windows = found.into_iter().filter(|(_, [used, _, reset])| used.is_some() || reset.is_some());
    windows
        .take(WINDOWS)
        .map(|((family, kind), [used, minutes, reset])| made(family.as_deref(), kind, used, minutes.and_then(whole), reset.and_then(whole)))
        .collect()
}

fn made(family: Option<&str>, kind: &str, used: Option<f64>, minutes: Option<u64>, reset: Option<u64>) -> RateWindow {
    let family = family.map(|family| format!("{}-", family.chars().take(NAME_CHARS).collect::<String>()));
    RateWindow {
        id: format!("{}{kind}", family.unwrap_or_default()),
        used_percent: used,
        limit: None,
        remaining: None,
        window: minutes.map(|minutes| minutes * MINUTE_MS),
        resets_at: reset.map(|seconds| seconds * 1000),
    }
}

/// What a float can count, and what survives being multiplied.
fn whole(number: f64) -> Option<u64> {
    (0.0..1e12).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn window(id: &str, used: Option<f64>, window: Option<u64>, resets_at: Option<u64>) -> RateWindow {
        RateWindow { id: id.into(), used_percent: used, limit: None, remaining: None, window, resets_at }
    }

    #[test]
    fn an_event_has_two_windows() {
        let event = json!({"type": "codex.rate_limits", "plan_type": "plus", "rate_limits": {"allowed": true, "limit_reached": false,
            "primary": {"used_percent": 12.5, "window_minutes": 300, "reset_at": 1_795_000_000},
            "secondary": {"used_percent": 3, "window_minutes": 10_080, "reset_at": null}}, "credits": null});
        let expected = vec![
            window("primary", Some(12.5), Some(18_000_000), Some(1_795_000_000_000)),
            window("secondary", Some(3.0), Some(604_800_000), None),
        ];
        assert_eq!(from_event(&event), expected);
        let named = json!({"metered_limit_name": "codex_spark", "rate_limits": {"primary": {"used_percent": 1}}});
        assert_eq!(from_event(&named), [window("codex_spark-primary", Some(1.0), None, None)]);
    }

    #[test]
    fn headers_say_the_same() {
        let headers = [
            ("X-Codex-Primary-Used-Percent", "40.0"),
            ("x-codex-primary-window-minutes", "300"),
            ("x-codex-primary-reset-at", "1795000000"),
            ("x-codex-spark-secondary-used-percent", "7"),
            ("x-codex-secondary-window-minutes", "10080"),
            ("x-codex-credits-balance", "12"),
            ("x-codex-active-limit", "primary"),
            ("content-type", "text/html"),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let expected = vec![
            window("primary", Some(40.0), Some(18_000_000), Some(1_795_000_000_000)),
            window("spark-secondary", Some(7.0), None, None),
        ];
        assert_eq!(from_headers(&headers), expected);
    }

    #[test]
    fn nonsense_is_no_window() {
        for event in [json!(null), json!({}), json!({"rate_limits": {"primary": 3}}), json!({"rate_limits": {"primary": {"reset_at": -1}}})]
        {
            assert_eq!(from_event(&event), [], "{event}");
        }
        let header = |value: &str| from_headers(&[("x-codex-primary-reset-at".to_owned(), value.to_owned())]);
        for value in ["", "soon", "-4", "NaN", "1e300"] {
            assert!(header(value).iter().all(|window| window.resets_at.is_none()), "{value}");
        }
        let many: Vec<_> = (0..1000).map(|at| (format!("x-codex-l{at}-primary-used-percent"), "1".to_owned())).collect();
        assert_eq!(from_headers(&many).len(), WINDOWS);
    }
}
