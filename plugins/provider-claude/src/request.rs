//! A request as the body of `POST {base}/v1/messages`.
//!
//! Pure. Keys are put in a fixed order and the conversation is mapped the same way every time, so that equal prefixes give
//! equal bytes and the vendor's prompt cache holds.

use serde_json::{Map, Value, json};
use stellaclaw_sdk::chat::{self, Failure, FailureKind, Model, Origin, Request, Role, ToolChoice, ToolSpec};
use stellaclaw_sdk::http::Piece;
use stellaclaw_sdk::json::Json;

use crate::blocks::{Block, Turn, cache_place, text, turns_json};
use crate::messages;
use crate::options::{Options, Thinking};

/// Where requests go unless the model has a `base_url`.
pub const DEFAULT_BASE: &str = "https://api.anthropic.com";
/// The version of the protocol. It refuses sampling parameters, of which none is sent unless an option says so.
pub const VERSION: &str = "2026-10-21";
/// The format of opaque reasoning that is a signed block, and of one that nobody can read.
pub const THINKING: &str = "thinking";
/// See [`THINKING`].
pub const REDACTED_THINKING: &str = "redacted_thinking";

/// The vendor wants a limit in every request. Each of its current models takes this one.
const MAX_TOKENS: u64 = 32_000;
/// The least budget for thinking.
const MIN_BUDGET: u64 = 1024;
/// What is ours of the body's keys that are written after the others.
const WRITTEN_LAST: [&str; 3] = ["system", "tools", "messages"];

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The address.
    pub url: String,
    /// Every header but the credential, which the host adds.
    pub headers: Vec<(String, String)>,
    /// The body: JSON, with blobs in it.
    pub body: Vec<Piece>,
    /// How long what is written to the cache lives there, in seconds.
    pub cache_life: u32,
}

/// Who the answers of `model` come from. Opaque pieces go back to exactly this.
#[must_use]
pub fn origin(model: &str) -> Origin {
    Origin { provider: env!("CARGO_PKG_NAME").into(), model: model.into(), wire: "messages".into() }
}

/// Puts the request together.
///
/// # Errors
///
/// `invalid-request` for options, schemas and extras that are not what they must be.
pub fn build(model: &Model, request: &Request) -> Result<Prepared, Failure> {
    let options = Options::parse(&model.options)?;
    let base = model.base_url.as_deref().unwrap_or(DEFAULT_BASE).trim_end_matches('/');
    // As vendors write it, with the version or without.
    let base = base.strip_suffix("/v1").unwrap_or(base);
    let cache = Life::of(request);
    Ok(Prepared {
        url: format!("{base}/v1/messages"),
        headers: headers(&options),
        body: body(model, request, &options, cache)?,
        cache_life: if cache == Some(Life::Hour) { 3600 } else { crate::usage::CACHE_LIFE_SECONDS },
    })
}

/// The request without what the model thought.
#[must_use]
pub fn without_thoughts(request: &Request) -> Request {
    let mut request = request.clone();
    for message in &mut request.messages {
        message.pieces.retain(|piece| !matches!(piece, chat::Piece::Reasoning(_)));
    }
    request
}

/// How long the vendor keeps what it has read, when it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Minutes,
    Hour,
}

impl Life {
    /// None for a life that the vendor does not have: then nothing is marked.
    fn of(request: &Request) -> Option<Self> {
        match request.cache.as_ref()?.ttl? {
            300_000 => Some(Self::Minutes),
            3_600_000 => Some(Self::Hour),
            _ => None,
        }
    }

    fn mark(self) -> Json {
        json!({"type": "ephemeral", "ttl": if self == Self::Hour { "1h" } else { "5m" }}).into()
    }
}

fn headers(options: &Options) -> Vec<(String, String)> {
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("accept".to_owned(), "text/event-stream".to_owned()),
        ("anthropic-version".to_owned(), options.version.clone().unwrap_or_else(|| VERSION.to_owned())),
    ];
    if !options.betas.is_empty() {
        headers.push(("anthropic-beta".to_owned(), options.betas.join(",")));
    }
    headers.extend(options.headers.clone());
    headers
}

fn body(model: &Model, request: &Request, options: &Options, cache: Option<Life>) -> Result<Vec<Piece>, Failure> {
    let turns = messages::map(request, &origin(&model.id));
    let mut keys = Map::new();
    keys.insert("model".into(), model.id.as_str().into());
    let max_tokens = request.max_output.unwrap_or_else(|| MAX_TOKENS.min((model.context_window / 4).max(1)));
    keys.insert("max_tokens".into(), max_tokens.into());
    keys.insert("stream".into(), true.into());
    tool_choice(&mut keys, request);
    if let Some(thinking) = thinking(request, options, max_tokens, &turns)? {
        keys.insert("thinking".into(), thinking);
    }
    output(&mut keys, request)?;
    if let (true, Some(temperature)) = (options.sampling, request.temperature) {
        keys.insert("temperature".into(), temperature.into());
    }
    if let Some(tier) = &request.service_tier {
        keys.insert("service_tier".into(), tier.as_str().into());
    }
    merge(&mut keys, request, options)?;
    let mut tools = request.tools.iter().map(tool).collect::<Result<Vec<_>, _>>()?;
    tools.extend(options.tools.iter().cloned());
    Ok(write(keys, tools, request, &turns, cache))
}

/// Everything in the order in which the vendor's cache reads it: tools, system, messages.
fn write(keys: Map<String, Value>, tools: Vec<Value>, request: &Request, turns: &[Turn<'_>], cache: Option<Life>) -> Vec<Piece> {
    let mut fields: Vec<(String, Json)> = keys.into_iter().map(|(key, value)| (key, value.into())).collect();
    if !tools.is_empty() {
        fields.push(("tools".into(), Value::from(tools).into()));
    }
    let wanted = cache.filter(|_| request.messages.iter().any(|message| message.cache_break)).map(Life::mark);
    let place = cache_place(turns);
    let system: Vec<&str> = request.system.iter().map(|piece| piece.text.as_str()).filter(|text| !text.trim().is_empty()).collect();
    if !system.is_empty() {
        // Marked only when no message can be: what ends here alone leaves the conversation out.
        let mark = |at: usize| wanted.clone().filter(|_| place.is_none() && at + 1 == system.len());
        fields.push(("system".into(), Json::list(system.iter().enumerate().map(|(at, said)| text(said, None, mark(at))))));
    }
    fields.push(("messages".into(), turns_json(turns, place.zip(wanted.as_ref()))));
    Json::object(fields).pieces()
}

fn tool(spec: &ToolSpec) -> Result<Value, Failure> {
    let schema = object_or_fail(&spec.parameters, &format!("the schema of the tool {}", spec.name))?;
    let mut tool = Map::new();
    tool.insert("name".into(), spec.name.as_str().into());
    if !spec.description.is_empty() {
        tool.insert("description".into(), spec.description.as_str().into());
    }
    tool.insert("input_schema".into(), schema.into());
    Ok(tool.into())
}

/// Said only when it is not what the vendor does anyway.
fn tool_choice(keys: &mut Map<String, Value>, request: &Request) {
    if request.tools.is_empty() {
        return;
    }
    let mut choice = match &request.tool_choice {
        ToolChoice::Auto if request.parallel_tools => return,
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
    };
    if !request.parallel_tools && request.tool_choice != ToolChoice::None {
        choice["disable_parallel_tool_use"] = true.into();
    }
    keys.insert("tool_choice".into(), choice);
}

/// How the model is to think. None: the request does not mention it.
fn thinking(request: &Request, options: &Options, max_tokens: u64, turns: &[Turn<'_>]) -> Result<Option<Value>, Failure> {
    let mut thinking = match options.thinking {
        Thinking::None => return Ok(None),
        Thinking::Disabled => return Ok(Some(json!({"type": "disabled"}))),
        _ if request.effort.as_deref() == Some("none") => return Ok(Some(json!({"type": "disabled"}))),
        Thinking::Adaptive => json!({"type": "adaptive"}),
        // A budget goes with no forced tool, nor with a loop of tools that was begun without one.
        Thinking::Enabled if matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) => return Ok(None),
        Thinking::Enabled if begun_without_thinking(turns) => return Ok(None),
        Thinking::Enabled => {
            let budget = options.budget_tokens.unwrap_or((max_tokens / 2).max(MIN_BUDGET));
            if !(MIN_BUDGET..max_tokens).contains(&budget) {
                return Err(invalid(&format!(
                    "the model's options: budget_tokens: {budget} is not between {MIN_BUDGET} and max_output ({max_tokens}); change either"
                )));
            }
            json!({"type": "enabled", "budget_tokens": budget})
        }
    };
    if let Some(summary) = &request.reasoning_summary {
        let hidden = matches!(summary.as_str(), "none" | "omitted");
        thinking["display"] = if hidden { "omitted" } else { "summarized" }.into();
    }
    Ok(Some(thinking))
}

/// Do the last turns answer calls of a message in which nothing was thought first?
fn begun_without_thinking(turns: &[Turn<'_>]) -> bool {
    let [.., asked, answered] = turns else { return false };
    let is_loop = answered.role == Role::User && matches!(answered.blocks.first(), Some(Block::ToolResult { .. }));
    is_loop && !matches!(asked.blocks.first(), Some(Block::Thinking(_)))
}

fn output(keys: &mut Map<String, Value>, request: &Request) -> Result<(), Failure> {
    let mut output = Map::new();
    // Other vendors have a level below this one's least, and one that means none at all.
    match request.effort.as_deref() {
        None | Some("none") => {}
        Some("minimal") => _ = output.insert("effort".into(), "low".into()),
        Some(effort) => _ = output.insert("effort".into(), effort.into()),
    }
    if let Some(schema) = &request.response_schema {
        let schema = object_or_fail(schema, "the response schema")?;
        output.insert("format".into(), json!({"type": "json_schema", "schema": schema}));
    }
    if !output.is_empty() {
        keys.insert("output_config".into(), output.into());
    }
    Ok(())
}

/// Adds the extras, of which nothing replaces what is there.
fn merge(keys: &mut Map<String, Value>, request: &Request, options: &Options) -> Result<(), Failure> {
    let extra = match &request.extra {
        Some(extra) => object_or_fail(extra, "extra")?,
        None => Map::new(),
    };
    for (key, value) in extra.into_iter().chain(options.extra.clone()) {
        if WRITTEN_LAST.contains(&key.as_str()) {
            return Err(invalid(&format!("the model's options: extra: {key} is put together by the provider")));
        }
        keys.entry(key).or_insert(value);
    }
    Ok(())
}

pub(crate) fn invalid(message: &str) -> Failure {
    Failure::new(FailureKind::InvalidRequest, message)
}

fn object_or_fail(json: &str, what: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(json).map_err(|error| invalid(&format!("{what} is no JSON object: {error}")))
}

#[cfg(test)]
mod tests;
