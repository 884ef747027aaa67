//! A component that computes, and nothing else: what code costs in a sandbox. Measured beside the same code natively.

use stellaclaw_sdk::serde_json::{self, Value, json};
use stellaclaw_sdk::{Call, Error, Output, Result, Tool, plugin, schemars, serde};

/// Decodes a text and encodes it again, `rounds` times.
#[must_use]
pub fn recode(text: &str, rounds: u64) -> u64 {
    let mut bytes = 0;
    for _ in 0..rounds {
        let value: Value = serde_json::from_str(std::hint::black_box(text)).unwrap_or_default();
        bytes += value.to_string().len() as u64;
    }
    bytes
}

/// What is decoded: 200 pieces of a streamed answer.
#[must_use]
pub fn stream() -> String {
    let choice =
        |n: u32| json!([{"index": 0, "delta": {"content": format!("word {n}, \"quoted\"\n"), "tool_calls": []}, "finish_reason": null}]);
    let chunk = |n: u32| json!({"id": "gen-1", "object": "chat.completion.chunk", "created": 1_800_000_000 + n, "model": "m", "choices": choice(n)});
    Value::from((0..200).map(chunk).collect::<Vec<_>>()).to_string()
}

/// A loop of three shifts: each step needs the one before.
#[must_use]
pub fn shift(rounds: u64) -> u64 {
    let mut number = std::hint::black_box(88_172_645_463_325_252_u64);
    for _ in 0..rounds {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
    }
    number
}

/// Computes.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
struct Toil {
    /// recode, shift
    how: String,
    /// How often.
    rounds: u64,
}

impl Tool for Toil {
    fn call(self, _call: &Call) -> Result<Output> {
        let done = match self.how.as_str() {
            "recode" => recode(&stream(), self.rounds),
            "shift" => shift(self.rounds),
            other => return Err(Error::invalid(format!("unknown: {other}"))),
        };
        Ok(Output::text(done.to_string()))
    }
}

plugin! { tools: [Toil] }
