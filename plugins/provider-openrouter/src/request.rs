//! A request for either wire: where it goes, and what is the same in both bodies.
//!
//! Pure. Keys are put in a fixed order and the conversation is mapped the same way every time, so that equal prefixes give
//! equal bytes and the server's prompt cache holds.

use serde_json::{Map, Value};
use stellaclaw_sdk::chat::{Failure, FailureKind, Model, Request};
use stellaclaw_sdk::http::Piece;
use stellaclaw_sdk::openai::schema;
use stellaclaw_sdk::openai::usage::CACHE_LIFE_SECONDS;

use crate::options::{Api, Options};
use crate::{chat, responses};

/// Where requests go unless the model has a `base_url`.
pub const DEFAULT_BASE: &str = "https://openrouter.ai/api/v1";

/// OpenRouter refuses longer session ids.
const SESSION_CHARS: usize = 256;
const HOUR_MS: u64 = 3_600_000;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Which wire the answer comes on.
    pub api: Api,
    /// The address.
    pub url: String,
    /// Every header but the credential, which the host adds.
    pub headers: Vec<(String, String)>,
    /// The body: JSON, media left to the host.
    pub body: Vec<Piece>,
    /// How long what is written to the cache lives there, in seconds.
    pub cache_life: u32,
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
    let (path, body) = match options.api {
        Api::Chat => ("chat/completions", chat::body::write(model, request, &options, server)?),
        Api::Responses => ("responses", responses::write(model, request, &options, server)?),
    };
    let hour = options.api == Api::Chat && server == Server::OpenRouter && wants_hour(request);
    Ok(Prepared {
        api: options.api,
        url: format!("{base}/{path}"),
        headers: headers(&options, server),
        body: body.pieces(),
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

/// Adds what both wires have beside the contract's own: the session, OpenRouter's routing, and the operator's extras. Nothing
/// replaces what is there. Then takes out what the server refuses; `needed` is always sent.
pub(crate) fn extend(
    fields: &mut Map<String, Value>,
    request: &Request,
    options: &Options,
    server: Server,
    needed: &[&str],
) -> Result<(), Failure> {
    if server == Server::OpenRouter && !request.session.is_empty() {
        fields.insert("session_id".into(), request.session.chars().take(SESSION_CHARS).collect::<String>().into());
    }
    routing(fields, options);
    let extra = match &request.extra {
        Some(extra) => schema::object(extra, "extra")?,
        None => Map::new(),
    };
    for (key, value) in extra.into_iter().chain(options.extra.clone()) {
        // A second choice would be paid for and thrown away.
        if key != "n" && !needed.contains(&key.as_str()) {
            fields.entry(key).or_insert(value);
        }
    }
    for key in &options.omit {
        if needed.contains(&key.as_str()) {
            return Err(invalid(&format!("the model's options: omit: {key} is always sent")));
        }
        fields.shift_remove(key);
    }
    Ok(())
}

/// The request without what only the model that wrote it can read.
#[must_use]
pub fn without_reasoning(request: &Request) -> Request {
    let mut request = request.clone();
    for message in &mut request.messages {
        message.origin = None;
    }
    request
}

pub(crate) fn wants_hour(request: &Request) -> bool {
    request.cache.as_ref().and_then(|cache| cache.ttl).is_some_and(|ttl| ttl >= HOUR_MS)
}

pub(crate) fn invalid(message: &str) -> Failure {
    Failure::new(FailureKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
