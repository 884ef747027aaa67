//! From a query to the address that answers it.

use serde::Deserialize;
use stellaclaw_sdk::web_search::{Query, Vertical};
use stellaclaw_sdk::{Error, Result};

/// Where Brave is.
const BASE_URL: &str = "https://api.search.brave.com/res/v1";
/// Brave refuses longer queries.
const QUERY_CHARS: usize = 400;
/// … and those of more words.
const QUERY_WORDS: usize = 50;

/// The JSON Schema of a model's `options`.
pub const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "country": { "type": "string", "pattern": "^([A-Z]{2}|ALL)$", "description": "Where results come from when a query does not say; unset: US." },
        "language": { "type": "string", "minLength": 2, "maxLength": 7, "description": "The language of results when a query does not say; unset: en." },
        "safesearch": { "enum": ["off", "moderate", "strict"], "description": "What is left out; unset: moderate." },
        "extra_snippets": { "type": "boolean", "description": "Up to five more passages of each page, where the plan has them." }
    },
    "additionalProperties": false
}"#;

/// A model's `options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    pub country: Option<String>,
    pub language: Option<String>,
    pub safesearch: Option<String>,
    pub extra_snippets: bool,
}

/// The address of a query.
///
/// # Errors
///
/// `invalid` for what Brave does not take.
pub fn url(query: &Query, options: &Options, base_url: Option<&str>) -> Result<String> {
    let text = query.checked()?.text.trim();
    let (characters, words) = (text.chars().count(), text.split_whitespace().count());
    if characters > QUERY_CHARS || words > QUERY_WORDS {
        let message =
            format!("the query has {characters} characters and {words} words; at most {QUERY_CHARS} and {QUERY_WORDS}: shorten it");
        return Err(Error::invalid(message));
    }
    let (path, most) = match query.vertical {
        Vertical::Web => ("web", 20),
        Vertical::News => ("news", 50),
        Vertical::Images => ("images", 200),
        Vertical::Videos => ("videos", 50),
    };
    let mut url = format!("{}/{path}/search?q={}&count={}", base(base_url), encoded(text), query.count.clamp(1, most));
    let mut add = |name: &str, value: &str| url.push_str(&format!("&{name}={}", encoded(value)));
    if let Some(country) = query.country.as_ref().or(options.country.as_ref()) {
        add("country", &country.to_ascii_uppercase());
    }
    if let Some(language) = query.language.as_ref().or(options.language.as_ref()) {
        add("search_lang", language);
    }
    match (options.safesearch.as_deref(), query.vertical) {
        // Of pictures there is no middle way.
        (Some("moderate"), Vertical::Images) => add("safesearch", "strict"),
        (Some(level), _) => add("safesearch", level),
        (None, _) => {}
    }
    if let Some(freshness) = &query.freshness {
        add("freshness", fresh(freshness, query.vertical)?);
    }
    if query.vertical == Vertical::Web {
        add("result_filter", "web");
        add("text_decorations", "false");
    }
    if options.extra_snippets && matches!(query.vertical, Vertical::Web | Vertical::News) {
        add("extra_snippets", "true");
    }
    Ok(url)
}

/// The server's root, also where somebody has written the address of one search.
fn base(base_url: Option<&str>) -> &str {
    let base = base_url.unwrap_or(BASE_URL).trim_end_matches('/');
    let of_one = ["web", "news", "images", "videos"].iter().find_map(|path| base.strip_suffix("/search")?.strip_suffix(path));
    of_one.map_or(base, |root| root.trim_end_matches('/'))
}

fn fresh(freshness: &str, vertical: Vertical) -> Result<&str> {
    if vertical == Vertical::Images {
        return Err(Error::invalid("pictures cannot be searched by their age; leave `freshness` out"));
    }
    let day = |text: &str| {
        text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
    };
    let known = matches!(freshness, "pd" | "pw" | "pm" | "py") || freshness.split_once("to").is_some_and(|(from, to)| day(from) && day(to));
    if known {
        Ok(freshness)
    } else {
        Err(Error::invalid(format!("freshness {freshness:?} is none of pd, pw, pm, py and YYYY-MM-DDtoYYYY-MM-DD")))
    }
}

/// Percent-encoded, everything but letters, digits and `-_.~`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(text: &str) -> Query {
        Query::new(text, 8)
    }

    #[test]
    fn each_vertical_has_its_address_and_its_most() {
        let of = |vertical, count| url(&Query { vertical, count, ..query("red fox") }, &Options::default(), None).unwrap();
        let web = "https://api.search.brave.com/res/v1/web/search?q=red%20fox&count=20&result_filter=web&text_decorations=false";
        assert_eq!(of(Vertical::Web, 99), web);
        assert_eq!(of(Vertical::News, 99), "https://api.search.brave.com/res/v1/news/search?q=red%20fox&count=50");
        assert_eq!(of(Vertical::Images, 999), "https://api.search.brave.com/res/v1/images/search?q=red%20fox&count=200");
        assert_eq!(of(Vertical::Videos, 0), "https://api.search.brave.com/res/v1/videos/search?q=red%20fox&count=1");
    }

    #[test]
    fn a_query_wins_over_the_options() {
        let options =
            Options { country: Some("US".into()), language: Some("en".into()), safesearch: Some("moderate".into()), extra_snippets: true };
        let asked = Query { country: Some("de".into()), freshness: Some("pw".into()), vertical: Vertical::News, ..query("fuchs & hase") };
        let address = url(&asked, &options, Some("http://127.0.0.1:9/")).unwrap();
        assert_eq!(
            address,
            "http://127.0.0.1:9/news/search?q=fuchs%20%26%20hase&count=8&country=DE&search_lang=en&safesearch=moderate&freshness=pw&extra_snippets=true"
        );
        let pictures = url(&Query { vertical: Vertical::Images, ..query("fox") }, &options, None).unwrap();
        assert!(pictures.ends_with("&safesearch=strict"), "{pictures}");
    }

    #[test]
    fn the_address_of_one_search_leads_to_all() {
        for base_url in ["https://proxy.example/v1", "https://proxy.example/v1/", "https://proxy.example/v1/web/search"] {
            let address = url(&Query { vertical: Vertical::Videos, ..query("x") }, &Options::default(), Some(base_url)).unwrap();
            assert_eq!(address, "https://proxy.example/v1/videos/search?q=x&count=8");
        }
    }

    #[test]
    fn what_brave_does_not_take_is_refused_with_what_would_help() {
        let refusal = |query: Query| url(&query, &Options::default(), None).unwrap_err().message;
        assert!(refusal(query("  ")).contains("empty"));
        assert!(refusal(query(&"x".repeat(401))).contains("401 characters"));
        assert!(refusal(query(&"x ".repeat(51))).contains("51 words"));
        let fresh = |freshness: &str, vertical| Query { freshness: Some(freshness.into()), vertical, ..query("x") };
        assert!(refusal(fresh("yesterday", Vertical::Web)).contains("YYYY-MM-DDtoYYYY-MM-DD"));
        assert!(refusal(fresh("pd", Vertical::Images)).contains("leave `freshness` out"));
        url(&fresh("2024-01-02to2024-02-03", Vertical::Web), &Options::default(), None).unwrap();
    }

    proptest! {
        #[test]
        fn no_query_escapes_from_its_parameter(text in "\\PC{1,60}", country in "\\PC{0,5}") {
            let asked = Query { country: Some(country), ..query(&text) };
            if let Ok(address) = url(&asked, &Options::default(), None) {
                let plain = |c: char| c.is_ascii_alphanumeric() || ":/?&=-_.~%".contains(c);
                prop_assert!(address.chars().all(plain), "{}", address);
                prop_assert_eq!(address.matches('&').count(), 4);
            }
        }
    }
}
