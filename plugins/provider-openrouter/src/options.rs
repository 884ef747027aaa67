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
    "api": {
      "enum": ["chat", "responses"],
      "description": "The wire: chat completions, or OpenAI's Responses, in which reasoning of OpenAI's models goes on between tool calls; chat unless told"
    },
    "max_tokens_key": {
      "enum": ["max_tokens", "max_completion_tokens"],
      "description": "How the server calls the output limit in chat completions; max_tokens unless it is api.openai.com"
    },
    "extra": { "type": "object", "description": "Merged into the body; cannot replace what the provider sets" },
    "omit": {
      "type": "array",
      "items": { "type": "string" },
      "description": "Optional keys of the body not to send, for servers that refuse them: prompt_cache_key, stream_options, ..."
    },
    "provider": { "type": "object", "description": "OpenRouter: provider routing (order, only, sort, ...)" },
    "models": { "type": "array", "items": { "type": "string" }, "description": "OpenRouter: fallback models" },
    "plugins": { "type": "array", "items": { "type": "object" }, "description": "OpenRouter: plugins" },
    "headers": { "type": "object", "additionalProperties": { "type": "string" }, "description": "Further headers; never secrets" }
  }
}"#;

/// Headers that are ours or the host's.
const RESERVED_HEADERS: [&str; 8] =
    ["authorization", "proxy-authorization", "cookie", "host", "content-type", "content-length", "transfer-encoding", "accept"];

/// The parsed table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The wire.
    pub api: Api,
    /// The name of the output limit; none for the server's default.
    pub max_tokens_key: Option<MaxTokensKey>,
    /// Merged into the body.
    pub extra: Map<String, Value>,
    /// Keys that are not sent.
    pub omit: Vec<String>,
    /// OpenRouter's routing.
    pub provider: Option<Map<String, Value>>,
    /// OpenRouter's fallback models.
    pub models: Vec<String>,
    /// OpenRouter's plugins.
    pub plugins: Vec<Value>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
}

/// The wires that are spoken here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// Chat completions.
    #[default]
    Chat,
    /// OpenAI's Responses.
    Responses,
}

/// How a server calls the output limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensKey {
    /// Compatible servers, and OpenRouter.
    MaxTokens,
    /// OpenAI.
    MaxCompletionTokens,
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
                return Err(invalid(format!("headers: {name} cannot be set here; a key belongs in api_key")));
            }
        }
        Ok(options)
    }
}
