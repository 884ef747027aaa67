//! A request as the body of `POST {base}/chat/completions`.
//!
//! Pure. Keys are put in a fixed order and the conversation is mapped the same way every time, so that equal prefixes give
//! equal bytes and the server's prompt cache holds.

use serde_json::{Map, Value, json};
use stellaclaw_sdk::chat::{Failure, FailureKind, Model, Origin, Request, ToolChoice, ToolSpec};

use crate::messages;
use crate::options::{MaxTokensKey, Options};
use crate::usage::CACHE_LIFE_SECONDS;

/// Where requests go unless the model has a `base_url`.
pub const DEFAULT_BASE: &str = "https://openrouter.ai/api/v1";
/// The format of opaque reasoning that is a list of details.
pub const REASONING_DETAILS: &str = "reasoning_details";

/// OpenRouter refuses longer session ids.
const SESSION_CHARS: usize = 256;
const HOUR_MS: u64 = 3_600_000;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The address.
    pub url: String,
    /// Every header but the credential, which the host adds.
    pub headers: Vec<(String, String)>,
    /// The body: JSON.
    pub body: Vec<u8>,
    /// How long what is written to the cache lives there, in seconds.
    pub cache_life: u32,
}

/// Who the answers of `model` come from. Opaque reasoning goes back to exactly this.
#[must_use]
pub fn origin(model: &str) -> Origin {
    Origin { provider: env!("CARGO_PKG_NAME").into(), model: model.into(), wire: "chat-completions".into() }
}

/// Puts the request together.
///
/// # Errors
///
/// `invalid-request` for options, schemas and extras that are not what they must be.
pub fn build(model: &Model, request: &Request) -> Result<Prepared, Failure> {
    let options = Options::parse(&model.options)?;
    let base = model.base_url.as_deref().unwrap_or(DEFAULT_BASE).trim_end_matches('/');
    let server = Server::of(base);
    let body = body(model, request, &options, server)?;
    let body = serde_json::to_vec(&body).map_err(|error| invalid(&error.to_string()))?;
    let hour = server == Server::OpenRouter && wants_hour(request);
    Ok(Prepared {
        url: format!("{base}/chat/completions"),
        headers: headers(&options, server),
        body,
        cache_life: if hour { 3600 } else { CACHE_LIFE_SECONDS },
    })
}

/// The dialects that differ in more than their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    OpenRouter,
    OpenAi,
    Compatible,
}

impl Server {
    fn of(base: &str) -> Self {
        let authority = base.split_once("://").map_or(base, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match host.as_str() {
            "openrouter.ai" => Self::OpenRouter,
            "api.openai.com" => Self::OpenAi,
            host if host.ends_with(".openrouter.ai") => Self::OpenRouter,
            _ => Self::Compatible,
        }
    }
}

fn headers(options: &Options, server: Server) -> Vec<(String, String)> {
    let mut headers = vec![("content-type", "application/json"), ("accept", "text/event-stream")];
    if server == Server::OpenRouter {
        headers.extend([("x-openrouter-title", "Stellaclaw"), ("x-openrouter-categories", "cli-agent")]);
    }
    headers.retain(|(name, _)| !options.headers.keys().any(|own| own.eq_ignore_ascii_case(name)));
    let own = options.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).chain(own).collect()
}

fn body(model: &Model, request: &Request, options: &Options, server: Server) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    body.insert("model".into(), model.id.as_str().into());
    body.insert("messages".into(), messages::map(model, request, server)?.into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    tools(&mut body, request)?;
    limits(&mut body, request, options, server);
    thinking(&mut body, request, server);
    if let Some(schema) = &request.response_schema {
        let schema = object_or_fail(schema, "the response schema")?;
        let strict = closed(&schema);
        body.insert(
            "response_format".into(),
            json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": schema}}),
        );
    }
    if let Some(tier) = &request.service_tier {
        body.insert("service_tier".into(), tier.as_str().into());
    }
    if let Some(cache) = &request.cache {
        body.insert("prompt_cache_key".into(), cache.key.as_str().into());
    }
    if server == Server::OpenRouter && !request.session.is_empty() {
        body.insert("session_id".into(), request.session.chars().take(SESSION_CHARS).collect::<String>().into());
    }
    routing(&mut body, options);
    merge(&mut body, request, options)?;
    Ok(body)
}

fn tools(body: &mut Map<String, Value>, request: &Request) -> Result<(), Failure> {
    if request.tools.is_empty() {
        return Ok(());
    }
    body.insert("tools".into(), request.tools.iter().map(tool).collect::<Result<Vec<_>, _>>()?.into());
    let choice = match &request.tool_choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    };
    body.insert("tool_choice".into(), choice);
    body.insert("parallel_tool_calls".into(), request.parallel_tools.into());
    Ok(())
}

fn tool(spec: &ToolSpec) -> Result<Value, Failure> {
    let parameters = object_or_fail(&spec.parameters, &format!("the schema of the tool {}", spec.name))?;
    Ok(json!({"type": "function", "function": {"name": spec.name, "description": spec.description, "parameters": parameters}}))
}

fn limits(body: &mut Map<String, Value>, request: &Request, options: &Options, server: Server) {
    if let Some(most) = request.max_output {
        let default = if server == Server::OpenAi { MaxTokensKey::MaxCompletionTokens } else { MaxTokensKey::MaxTokens };
        let key = match options.max_tokens_key.unwrap_or(default) {
            MaxTokensKey::MaxTokens => "max_tokens",
            MaxTokensKey::MaxCompletionTokens => "max_completion_tokens",
        };
        body.insert(key.into(), most.into());
    }
    if let Some(temperature) = request.temperature {
        body.insert("temperature".into(), temperature.into());
    }
}

fn thinking(body: &mut Map<String, Value>, request: &Request, server: Server) {
    if server != Server::OpenRouter {
        if let Some(effort) = &request.effort {
            body.insert("reasoning_effort".into(), effort.as_str().into());
        }
        return;
    }
    let mut reasoning = Map::new();
    for (key, value) in [("effort", &request.effort), ("summary", &request.reasoning_summary)] {
        if let Some(value) = value {
            reasoning.insert(key.into(), value.as_str().into());
        }
    }
    if !reasoning.is_empty() {
        body.insert("reasoning".into(), reasoning.into());
    }
}

fn routing(body: &mut Map<String, Value>, options: &Options) {
    if let Some(provider) = &options.provider {
        body.insert("provider".into(), provider.clone().into());
    }
    if !options.models.is_empty() {
        body.insert("models".into(), options.models.clone().into());
    }
    if !options.plugins.is_empty() {
        body.insert("plugins".into(), options.plugins.clone().into());
    }
}

/// Adds the extras, of which nothing replaces what is there; then takes out what the server refuses.
fn merge(body: &mut Map<String, Value>, request: &Request, options: &Options) -> Result<(), Failure> {
    let extra = match &request.extra {
        Some(extra) => object_or_fail(extra, "extra")?,
        None => Map::new(),
    };
    for (key, value) in extra.into_iter().chain(options.extra.clone()) {
        // A second choice would be paid for and thrown away.
        if key != "n" {
            body.entry(key).or_insert(value);
        }
    }
    for key in &options.omit {
        if matches!(key.as_str(), "model" | "messages" | "stream" | "tools") {
            return Err(invalid(&format!("the model's options: omit: {key} is always sent")));
        }
        body.shift_remove(key);
    }
    Ok(())
}

pub(crate) fn wants_hour(request: &Request) -> bool {
    request.cache.as_ref().and_then(|cache| cache.ttl).is_some_and(|ttl| ttl >= HOUR_MS)
}

pub(crate) fn invalid(message: &str) -> Failure {
    Failure::new(FailureKind::InvalidRequest, message)
}

fn object_or_fail(json: &str, what: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(json).map_err(|error| invalid(&format!("{what} is no JSON object: {error}")))
}

/// Does every object of the schema list all its fields as required and admit no other? Only such a schema may be strict.
fn closed(schema: &Map<String, Value>) -> bool {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let required = schema.get("required").and_then(Value::as_array);
        let all = required.is_some_and(|required| fields.keys().all(|field| required.iter().any(|name| name == field)));
        if !all || schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return false;
        }
    }
    schema.values().all(closed_value)
}

fn closed_value(value: &Value) -> bool {
    match value {
        Value::Object(object) => closed(object),
        Value::Array(list) => list.iter().all(closed_value),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
