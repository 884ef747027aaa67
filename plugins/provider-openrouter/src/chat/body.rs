//! The body of `POST {base}/chat/completions`.

use serde_json::{Map, Value, json};
use stellaclaw_sdk::chat::{Failure, Model, Request, ToolChoice, ToolSpec};
use stellaclaw_sdk::json::Json;
use stellaclaw_sdk::openai::schema;

use super::messages;
use crate::options::{MaxTokensKey, Options};
use crate::request::{self, Server};

/// Keys that are always sent.
const NEEDED: [&str; 4] = ["model", "messages", "stream", "tools"];

pub(crate) fn write(model: &Model, request: &Request, options: &Options, server: Server) -> Result<Json, Failure> {
    let messages = messages::map(model, request, server)?;
    let fields = fields(model, request, options, server)?;
    let fields = fields.into_iter().map(|(name, value)| (name, value.into()));
    Ok(Json::object(fields.chain([("messages".to_owned(), Json::list(messages))])))
}

fn fields(model: &Model, request: &Request, options: &Options, server: Server) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    fields.insert("model".into(), model.id.as_str().into());
    fields.insert("stream".into(), true.into());
    fields.insert("stream_options".into(), json!({"include_usage": true}));
    tools(&mut fields, request)?;
    limits(&mut fields, request, options, server);
    thinking(&mut fields, request, server);
    if let Some(schema) = &request.response_schema {
        let schema = schema::object(schema, "the response schema")?;
        let strict = schema::is_closed(&schema);
        fields.insert(
            "response_format".into(),
            json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": schema}}),
        );
    }
    if let Some(tier) = &request.service_tier {
        fields.insert("service_tier".into(), tier.as_str().into());
    }
    if let Some(cache) = &request.cache {
        fields.insert("prompt_cache_key".into(), cache.key.as_str().into());
    }
    request::extend(&mut fields, request, options, server, &NEEDED)?;
    Ok(fields)
}

fn tools(fields: &mut Map<String, Value>, request: &Request) -> Result<(), Failure> {
    if request.tools.is_empty() {
        return Ok(());
    }
    fields.insert("tools".into(), request.tools.iter().map(tool).collect::<Result<Vec<_>, _>>()?.into());
    let choice = match &request.tool_choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    };
    fields.insert("tool_choice".into(), choice);
    fields.insert("parallel_tool_calls".into(), request.parallel_tools.into());
    Ok(())
}

fn tool(spec: &ToolSpec) -> Result<Value, Failure> {
    let parameters = schema::object(&spec.parameters, &format!("the schema of the tool {}", spec.name))?;
    Ok(json!({"type": "function", "function": {"name": spec.name, "description": spec.description, "parameters": parameters}}))
}

fn limits(fields: &mut Map<String, Value>, request: &Request, options: &Options, server: Server) {
    if let Some(most) = request.max_output {
        let default = if server == Server::OpenAi { MaxTokensKey::MaxCompletionTokens } else { MaxTokensKey::MaxTokens };
        let key = match options.max_tokens_key.unwrap_or(default) {
            MaxTokensKey::MaxTokens => "max_tokens",
            MaxTokensKey::MaxCompletionTokens => "max_completion_tokens",
        };
        fields.insert(key.into(), most.into());
    }
    if let Some(temperature) = request.temperature {
        fields.insert("temperature".into(), temperature.into());
    }
}

fn thinking(fields: &mut Map<String, Value>, request: &Request, server: Server) {
    if server != Server::OpenRouter {
        if let Some(effort) = &request.effort {
            fields.insert("reasoning_effort".into(), effort.as_str().into());
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
        fields.insert("reasoning".into(), reasoning.into());
    }
}
