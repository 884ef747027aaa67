//! Tokens, each counted once.
//!
//! The wire's `input_tokens` leaves out what came from the cache and what was written to it, as the contract does. Its
//! figures are totals: a later one replaces an earlier one, and what a later object does not mention stays.

use serde_json::{Map, Value};
use stellaclaw_sdk::chat::Usage;

/// The life of a cache entry when the request did not ask for another, in seconds.
pub const CACHE_LIFE_SECONDS: u32 = 300;
const HOUR_SECONDS: u32 = 3600;

/// What is kept of the objects.
const KEYS: [&str; 8] = [
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "service_tier",
];

/// The totals so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals(Map<String, Value>);

impl Totals {
    /// Takes a `usage` object, or nothing of what is none. True when a figure changed.
    pub fn take(&mut self, json: &str) -> bool {
        let Ok(Value::Object(usage)) = serde_json::from_str(json) else { return false };
        let mut changed = false;
        for (key, value) in usage {
            if KEYS.contains(&key.as_str()) && !value.is_null() && self.0.get(&key) != Some(&value) {
                self.0.insert(key, value);
                changed = true;
            }
        }
        changed
    }

    /// The queue that served the request.
    #[must_use]
    pub fn tier(&self) -> Option<String> {
        self.0.get("service_tier")?.as_str().map(str::to_owned)
    }

    /// The contract's form. `cache_life`: of what was written when the vendor does not say. None before the first object.
    #[must_use]
    pub fn usage(&self, cache_life: u32) -> Option<Usage> {
        if self.0.is_empty() {
            return None;
        }
        let count = |key: &str| self.0.get(key).and_then(tokens);
        let written = |key: &str| self.0.get("cache_creation").and_then(|lives| tokens(lives.get(key)?)).unwrap_or(0);
        let (minutes, hour) = (written("ephemeral_5m_input_tokens"), written("ephemeral_1h_input_tokens"));
        let unsaid = count("cache_creation_input_tokens").unwrap_or(0).saturating_sub(minutes + hour);
        let mut cache_write: Vec<(u32, u64)> = Vec::new();
        for (life, tokens) in [(CACHE_LIFE_SECONDS, minutes), (HOUR_SECONDS, hour), (cache_life, unsaid)] {
            match cache_write.iter_mut().find(|(known, _)| *known == life) {
                _ if tokens == 0 => {}
                Some((_, known)) => *known += tokens,
                None => cache_write.push((life, tokens)),
            }
        }
        let output = count("output_tokens").unwrap_or(0);
        let thought = self.0.get("output_tokens_details").and_then(|details| tokens(details.get("thinking_tokens")?)).unwrap_or(0);
        Some(Usage {
            input_uncached: count("input_tokens").unwrap_or(0),
            cache_read: count("cache_read_input_tokens").unwrap_or(0),
            cache_write,
            output,
            reasoning: thought.min(output),
            cost: None,
            raw: Some(Value::Object(self.0.clone()).to_string()),
        })
    }
}

fn tokens(value: &Value) -> Option<u64> {
    // Nobody sends what a float cannot count, and sums must not overflow.
    let float = value.as_f64().filter(|float| (0.0..1e15).contains(float))?;
    Some(float as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(objects: &[&str], cache_life: u32) -> Usage {
        let mut totals = Totals::default();
        for json in objects {
            totals.take(json);
        }
        totals.usage(cache_life).unwrap()
    }

    #[test]
    fn the_parts_of_the_prompt_are_counted_once() {
        let start = r#"{"input_tokens":10,"cache_creation_input_tokens":500,"cache_read_input_tokens":2000,
            "cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":300},"output_tokens":1,"service_tier":"standard"}"#;
        let usage = after(&[start, r#"{"output_tokens":70,"output_tokens_details":{"thinking_tokens":50}}"#], 300);
        assert_eq!((usage.input_uncached, usage.cache_read, &usage.cache_write), (10, 2000, &vec![(300, 200), (3600, 300)]));
        assert_eq!((usage.output, usage.reasoning, usage.cost), (70, 50, None));
    }

    #[test]
    fn later_totals_replace_earlier_ones() {
        let usage = after(
            &[r#"{"input_tokens":5,"output_tokens":1}"#, r#"{"input_tokens":7,"output_tokens":30,"cache_read_input_tokens":null}"#],
            300,
        );
        assert_eq!((usage.input_uncached, usage.output, usage.cache_read), (7, 30, 0));
    }

    #[test]
    fn the_life_that_was_asked_for_is_that_of_what_is_not_told_apart() {
        assert_eq!(after(&[r#"{"cache_creation_input_tokens":9}"#], 3600).cache_write, [(3600, 9)]);
        let partly = r#"{"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_1h_input_tokens":4}}"#;
        assert_eq!(after(&[partly], 3600).cache_write, [(3600, 9)]);
        assert_eq!(after(&[partly], 300).cache_write, [(3600, 4), (300, 5)]);
    }

    #[test]
    fn nonsense_is_no_figure() {
        let mut totals = Totals::default();
        assert!(!totals.take("3") && !totals.take("{}") && !totals.take(r#"{"other":1}"#));
        assert_eq!(totals.usage(300), None);
        let usage =
            after(&[r#"{"input_tokens":-1,"output_tokens":1e300,"cache_creation":[],"output_tokens_details":{"thinking_tokens":8}}"#], 300);
        assert_eq!((usage.input_uncached, usage.output, usage.reasoning), (0, 0, 0));
    }
}
