//! The `options` table of a model: what the operator may say beyond the contract.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use stellaclaw_sdk::chat::Failure;

use crate::request::invalid;

/// The JSON Schema of [`Options`], in the manifest: the host checks the configuration against it.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "thinking": {
      "enum": ["adaptive", "enabled", "disabled", "none"],
      "description": "adaptive (the default) for Claude 4.6 and later; enabled, with a budget, for earlier ones; none: the request does not mention it"
    },
    "budget_tokens": {
      "type": "integer",
      "minimum": 1024,
      "description": "What thinking = \"enabled\" may use of max_output; half of it unless said"
    },
    "sampling": { "type": "boolean", "description": "Send `temperature`, which current models refuse; false unless said" },
    "version": { "type": "string", "description": "anthropic-version; 2026-10-21 unless said" },
    "betas": { "type": "array", "items": { "type": "string" }, "description": "anthropic-beta: features that are not general yet" },
    "tools": { "type": "array", "items": { "type": "object" }, "description": "Tools that the vendor runs itself, such as web_search" },
    "extra": { "type": "object", "description": "Merged into the body; cannot replace what the provider sets" },
    "headers": { "type": "object", "additionalProperties": { "type": "string" }, "description": "Further headers; never secrets" }
  }
}"#;

/// Headers that are ours or the host's.
const RESERVED_HEADERS: [&str; 11] = [
    "x-api-key",
    "authorization",
    "proxy-authorization",
    "cookie",
    "host",
    "content-type",
    "content-length",
    "transfer-encoding",
    "accept",
    "anthropic-version",
    "anthropic-beta",
];

/// The parsed table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How the model is asked to think.
    pub thinking: Thinking,
    /// For [`Thinking::Enabled`].
    pub budget_tokens: Option<u64>,
    /// Whether sampling parameters are sent.
    pub sampling: bool,
    /// The protocol's version.
    pub version: Option<String>,
    /// Beta features.
    pub betas: Vec<String>,
    /// Tools that the vendor runs itself.
    pub tools: Vec<Value>,
    /// Merged into the body.
    pub extra: Map<String, Value>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
}

/// How the model is asked to think.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// As much as the model finds right.
    #[default]
    Adaptive,
    /// Up to a budget.
    Enabled,
    /// Not at all.
    Disabled,
    /// The request does not mention it.
    None,
}

impl Options {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// `invalid-request`, naming the key.
    pub fn parse(json: &str) -> Result<Self, Failure> {
        let wrong = |what: String| invalid(&format!("the model's options: {what}"));
        let json = if json.trim().is_empty() { "{}" } else { json };
        let options: Self = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        for name in options.headers.keys() {
            if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
                return Err(wrong(format!("headers: {name} cannot be set here; a key belongs in api_key, versions in version and betas")));
            }
        }
        if options.budget_tokens.is_some() && options.thinking != Thinking::Enabled {
            return Err(wrong("budget_tokens: only thinking = \"enabled\" has a budget; for the others set the model's effort".to_owned()));
        }
        Ok(options)
    }
}
