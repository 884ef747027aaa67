//! Tokens and money, each counted once.
//!
//! Chat completions call them `prompt_tokens` and `completion_tokens`, Responses `input_tokens` and `output_tokens`. The first
//! includes what came from the cache and what was written to it, the second includes reasoning; the contract counts the parts.

use serde_json::Value;

use crate::chat::Usage;

/// The life of a cache entry when the request did not ask for another, in seconds.
pub const CACHE_LIFE_SECONDS: u32 = 300;

/// Reads a `usage` object. None when it is not one.
#[must_use]
pub fn parse(json: &str, cache_life: u32) -> Option<Usage> {
    let usage: Value = serde_json::from_str(json).ok()?;
    usage.as_object()?;
    let count = |pointer: &str| usage.pointer(pointer).and_then(tokens);
    let first = |pointers: &[&str]| pointers.iter().find_map(|pointer| count(pointer));
    let completion = first(&["/completion_tokens", "/output_tokens"]).unwrap_or(0);
    let total = count("/total_tokens");
    let prompt = first(&["/prompt_tokens", "/input_tokens"]).or_else(|| Some(total?.saturating_sub(completion))).unwrap_or(0);
    let read = ["/prompt_tokens_details/cached_tokens", "/input_tokens_details/cached_tokens", "/prompt_cache_hit_tokens"];
    let cache_read = first(&read).unwrap_or(0).min(prompt);
    let written = ["/prompt_tokens_details/cache_write_tokens", "/input_tokens_details/cache_write_tokens"];
    let written = first(&written).unwrap_or(0).min(prompt - cache_read);
    let reasoning = ["/completion_tokens_details/reasoning_tokens", "/output_tokens_details/reasoning_tokens"];
    let reasoning = first(&reasoning).unwrap_or(0);
    // A few servers count reasoning beside the completion; the total gives them away.
    let beside = reasoning > completion || (reasoning > 0 && total == Some(prompt + completion + reasoning));
    Some(Usage {
        input_uncached: prompt - cache_read - written,
        cache_read,
        cache_write: if written > 0 { vec![(cache_life, written)] } else { Vec::new() },
        output: if beside { completion + reasoning } else { completion },
        reasoning,
        cost: cost(&usage),
        raw: Some(json.to_owned()),
    })
}

fn tokens(value: &Value) -> Option<u64> {
    // Some servers send `12.0`; nobody sends what a float cannot count, and sums below must not overflow.
    let float = value.as_f64().filter(|float| (0.0..1e15).contains(float))?;
    Some(float as u64)
}

/// What it cost. With a key of the person's own, `cost` is only OpenRouter's fee and the upstream's price comes on top.
fn cost(usage: &Value) -> Option<String> {
    let dollars =
        |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|cost: &f64| cost.is_finite() && *cost >= 0.0);
    let fee = usage.get("cost").and_then(dollars)?;
    let upstream = usage.pointer("/cost_details/upstream_inference_cost").and_then(dollars).unwrap_or(0.0);
    let sum = fee + upstream;
    if usage.get("is_byok") == Some(&Value::Bool(true)) && upstream > 0.0 && sum.is_finite() {
        let sum = format!("{sum:.12}");
        return Some(sum.trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    // `{}` of a float never has an exponent and always gives the number back.
    Some(format!("{fee}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Usage {
        parse(json, CACHE_LIFE_SECONDS).unwrap()
    }

    #[test]
    fn the_parts_of_the_prompt_are_counted_once() {
        let json = r#"{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050,"cost":1.4e-5,
            "prompt_tokens_details":{"cached_tokens":600,"cache_write_tokens":300,"audio_tokens":null},
            "completion_tokens_details":{"reasoning_tokens":20}}"#;
        let usage = parsed(json);
        assert_eq!((usage.input_uncached, usage.cache_read, usage.cache_write.clone()), (100, 600, vec![(300, 300)]));
        assert_eq!((usage.output, usage.reasoning, usage.cost.as_deref()), (50, 20, Some("0.000014")));
        assert_eq!(usage.raw.as_deref(), Some(json));
        let responses = json.replace("prompt_tokens", "input_tokens").replace("completion_tokens", "output_tokens");
        assert_eq!(parsed(&responses), Usage { raw: Some(responses), ..usage });
    }

    #[test]
    fn other_servers_count_otherwise() {
        assert_eq!(parsed(r#"{"prompt_tokens":10,"prompt_cache_hit_tokens":4,"completion_tokens":1}"#).input_uncached, 6);
        assert_eq!(
            parsed(r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":10,"completion_tokens_details":{"reasoning_tokens":3}}"#)
                .output,
            5
        );
        assert_eq!(parsed(r#"{"total_tokens":9,"completion_tokens":2.0,"prompt_tokens_details":null}"#).input_uncached, 7);
        assert_eq!(parsed(r#"{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":5}}"#).cache_read, 1);
        assert_eq!(parsed(r#"{"prompt_tokens":1}"#).cost, None);
        assert_eq!(parse("3", 300), None);
    }

    #[test]
    fn money_is_a_plain_decimal() {
        let cost = |json: &str| parsed(json).cost.unwrap();
        assert_eq!(cost(r#"{"cost":0}"#), "0");
        assert_eq!(cost(r#"{"cost":0.00492}"#), "0.00492");
        assert_eq!(cost(r#"{"cost":"0.5"}"#), "0.5");
        assert_eq!(cost(r#"{"cost":0.1,"is_byok":true,"cost_details":{"upstream_inference_cost":0.2}}"#), "0.3");
        assert!(
            cost(r#"{"cost":1e308,"is_byok":true,"cost_details":{"upstream_inference_cost":1e308}}"#).starts_with('1'),
            "no sum is infinite"
        );
        assert_eq!(cost(r#"{"cost":0.1,"is_byok":false,"cost_details":{"upstream_inference_cost":0.2}}"#), "0.1");
    }
}
