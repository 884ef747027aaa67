//! The `options` table of a model: what the operator may say beyond the contract.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use stellaclaw_sdk::chat::{Failure, FailureKind};

/// The JSON Schema of [`Options`], in the manifest: the host checks the configuration against it.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "originator": { "type": "string", "description": "Who says to be asking; stellaclaw unless told" },
    "version": { "type": "string", "description": "The client version that the backend is told; empty for none" },
    "user_agent": { "type": "string", "description": "The User-Agent header; originator/version unless told" },
    "headers": { "type": "object", "additionalProperties": { "type": "string" }, "description": "Further headers; never secrets" },
    "verbosity": { "enum": ["low", "medium", "high"], "description": "How long answers are; unset: the model's default" },
    "websocket": { "type": "boolean", "description": "false: event streams over HTTPS only, for networks that let no WebSocket through" },
    "extra": { "type": "object", "description": "Merged into the body; cannot replace what the provider sets" },
    "omit": { "type": "array", "items": { "type": "string" }, "description": "Optional keys of the body not to send" }
  }
}"#;

/// Headers that are ours or the host's.
const RESERVED_HEADERS: [&str; 14] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "host",
    "connection",
    "upgrade",
    "content-type",
    "content-length",
    "transfer-encoding",
    "accept",
    "chatgpt-account-id",
    "session-id",
    "thread-id",
    "x-codex-turn-state",
];

/// The parsed table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The header `originator`.
    pub originator: String,
    /// The header `version`; empty for none.
    pub version: String,
    /// The header `user-agent`.
    pub user_agent: Option<String>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// `text.verbosity`.
    pub verbosity: Option<String>,
    /// May a WebSocket be tried?
    pub websocket: bool,
    /// Merged into the body.
    pub extra: Map<String, Value>,
    /// Keys that are not sent.
    pub omit: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            originator: "stellaclaw".into(),
            // The client whose protocol this is: the backend keeps new models from older ones.
            version: "0.163.0".into(),
            user_agent: None,
            headers: BTreeMap::new(),
            verbosity: None,
            websocket: true,
            extra: Map::new(),
            omit: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// `invalid-request`, naming the key.
    pub fn parse(json: &str) -> Result<Self, Failure> {
        let invalid = |what: String| Failure::new(FailureKind::InvalidRequest, format!("the model's options: {what}"));
        let json = if json.trim().is_empty() { "{}" } else { json };
        let options: Self = serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
        for name in options.headers.keys() {
            if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
                return Err(invalid(format!("headers: {name} cannot be set here; a login belongs in api_key")));
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_and_the_type_know_the_same_keys() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let keys: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let all = r#"{"originator":"o","version":"","user_agent":"u","headers":{"x-a":"b"},"verbosity":"low","websocket":false,
            "extra":{"a":1},"omit":["include"]}"#;
        let given: Map<String, Value> = serde_json::from_str(all).unwrap();
        assert_eq!(keys, given.keys().cloned().collect::<Vec<_>>());
        assert!(!Options::parse(all).unwrap().websocket);
        assert!(Options::parse("").unwrap().websocket);
        assert!(Options::parse(r#"{"orginator":"x"}"#).unwrap_err().message.contains("orginator"));
    }

    #[test]
    fn a_login_is_no_header() {
        for name in ["Authorization", "ChatGPT-Account-ID", "session-id"] {
            let message = Options::parse(&format!(r#"{{"headers":{{"{name}":"x"}}}}"#)).unwrap_err().message;
            assert!(message.contains(name) && message.contains("api_key"), "{message}");
        }
    }
}
