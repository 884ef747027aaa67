//! A component that keeps values in the store, in every way that is allowed and a few that are not. Built by the host's tests.

use stellaclaw_sdk::serde_json::{Value, json};
use stellaclaw_sdk::storage::{self, Scope};
use stellaclaw_sdk::{Batching, Call, Error, ErrorKind, Output, Result, SessionInfo, Tool, plugin, schemars, serde};

/// Keeps values.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
struct Keep {
    /// get, put, remove, keys, count, fill
    how: String,
    /// The conversation's scope and not the plugin's.
    #[serde(default)]
    here: bool,
    /// The key, or what keys begin with.
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    /// So many bytes of key or value instead of those above.
    #[serde(default)]
    key_bytes: Option<usize>,
    #[serde(default)]
    value_bytes: Option<usize>,
    #[serde(default)]
    expected: Option<u64>,
    /// How often, for count and fill.
    #[serde(default)]
    times: u32,
}

impl Tool for Keep {
    const BATCHING: Batching = Batching::Parallel;

    /// Only where nothing is stored, as it should be in a catalogue.
    fn offered(_session: &SessionInfo) -> bool {
        let nothing = |error: Error| error.kind == ErrorKind::Unavailable;
        storage::put(Scope::Plugin, "catalogue", b"", None).is_err_and(nothing)
            && storage::get(Scope::Plugin, "catalogue").is_err_and(nothing)
            && storage::remove(Scope::Plugin, "catalogue", None).is_err_and(nothing)
            && storage::keys(Scope::Plugin, "").is_err_and(nothing)
    }

    fn call(self, _call: &Call) -> Result<Output> {
        let scope = if self.here { Scope::Conversation } else { Scope::Plugin };
        let key = self.key_bytes.map_or(self.key, |bytes| "k".repeat(bytes));
        let value = self.value_bytes.map_or(self.value, |bytes| "v".repeat(bytes)).into_bytes();
        let done: Value = match self.how.as_str() {
            "get" => storage::get(scope, &key)?.map(|entry| json!([String::from_utf8_lossy(&entry.value), entry.version])).into(),
            "put" => storage::put(scope, &key, &value, self.expected)?.into(),
            "remove" => storage::remove(scope, &key, self.expected)?.into(),
            "keys" => storage::keys(scope, &key)?.into(),
            "count" => {
                for _ in 0..self.times {
                    storage::update(scope, &key, one_more)?;
                }
                Value::Null
            }
            "fill" => {
                let kept = (0..self.times).take_while(|n| storage::put(scope, &format!("{key}{n:06}"), &value, None).is_ok());
                kept.count().into()
            }
            other => return Err(Error::invalid(format!("unknown: {other}"))),
        };
        Ok(Output::text(done.to_string()))
    }
}

fn one_more(value: Option<Vec<u8>>) -> Result<Vec<u8>> {
    let text = String::from_utf8(value.unwrap_or_default()).map_err(|error| Error::failed(error.to_string()))?;
    let number: u64 = if text.is_empty() { 0 } else { text.parse().map_err(|_| Error::failed(format!("not a number: {text}")))? };
    Ok((number + 1).to_string().into_bytes())
}

plugin! { tools: [Keep] }
