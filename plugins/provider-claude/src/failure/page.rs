//! Bodies that are for people, and bodies that are kept.

use serde_json::Value;

/// The vendor's answer is kept up to this length.
const RAW_BYTES: usize = 16 << 10;
/// What is looked at of a page.
const PAGE_CHARS: usize = 4000;

/// The title of a page, or its text: what a proxy has to say.
pub(super) fn text(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    if let (Some(start), Some(end)) = (lower.find("<title>"), lower.find("</title>"))
        && let Some(title) = page.get(start + 7..end)
    {
        return title.trim().to_owned();
    }
    let mut text = String::new();
    let mut inside = false;
    for c in page.chars().take(PAGE_CHARS) {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            _ if inside => {}
            _ => text.push(c),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The body as JSON of at most [`RAW_BYTES`]: itself, or the start of it as a string.
pub(super) fn raw(body: &[u8]) -> String {
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
