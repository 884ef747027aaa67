//! One request of the host, as what is sent: addresses, headers, frames and bodies. Pure.

use serde_json::{Map, Value, json};
use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Model, Request, Stop};
use stellaclaw_sdk::http::Piece;
use stellaclaw_sdk::json::Json;
use stellaclaw_sdk::responses::{Answer, Body, Dialect, System};

use crate::identity::{Identity, TURN_STATE, Way};
use crate::note::{Last, digest};
use crate::options::Options;

/// Where requests go unless the model has a `base_url`.
pub const DEFAULT_BASE: &str = "https://chatgpt.com/backend-api/codex";
/// Keys that decide how an exchange goes: nobody but this component sets them.
const OWN: [&str; 7] = ["type", "input", "stream", "store", "previous_response_id", "generate", "client_metadata"];
/// What the backend is told where the host says nothing: it refuses a request without.
const NO_INSTRUCTIONS: &str = "You are a helpful assistant.";

/// A request, ready to be sent in any way.
#[derive(Debug)]
pub struct Call<'a> {
    model: &'a Model,
    request: &'a Request,
    identity: Identity,
    options: Options,
    base: String,
    body: Body,
    /// The items as text, and the digest of everything else: what the note of a socket is compared with.
    items: Vec<String>,
    rest: String,
}

impl<'a> Call<'a> {
    /// Puts the request together.
    ///
    /// # Errors
    ///
    /// `invalid-request` for options, schemas and extras that are not what they must be, and for a plain API key that nobody
    /// said where to send.
    pub fn new(model: &'a Model, request: &'a Request, identity: Identity) -> Result<Self, Failure> {
        let options = Options::parse(&model.options)?;
        let base = match (&model.base_url, &identity.account) {
            (Some(base), _) => base.as_str(),
            (None, Some(_)) => DEFAULT_BASE,
            (None, None) => {
                return Err(invalid(
                    "api_key is no login of a ChatGPT account: use { codex_auth = \"~/.codex/auth.json\" }, or with a plain API key \
                     base_url = \"https://api.openai.com/v1\"",
                ));
            }
        };
        let base = base.trim_end_matches('/').trim_end_matches("/responses").to_owned();
        let mut body = Body::new(&dialect(&identity), model, request)?;
        refine(&mut body.fields, request, &identity, &options)?;
        let items = body.input.iter().map(Json::shown).collect();
        let rest = digest(&[Value::Object(body.fields.clone()).to_string()]);
        Ok(Self { model, request, identity, options, base, body, items, rest })
    }

    /// May a WebSocket be tried?
    #[must_use]
    pub fn wants_socket(&self) -> bool {
        self.options.websocket
    }

    /// Is it a login that may be renewed?
    #[must_use]
    pub fn has_account(&self) -> bool {
        self.identity.account.is_some()
    }

    /// The address for `way`.
    #[must_use]
    pub fn url(&self, way: Way) -> String {
        let base = match (way, self.base.strip_prefix("http")) {
            (Way::WebSocket, Some(rest)) => format!("ws{rest}"),
            _ => self.base.clone(),
        };
        format!("{base}/responses")
    }

    /// Every header but the credential.
    #[must_use]
    pub fn headers(&self, way: Way, turn_state: Option<&str>) -> Vec<(String, String)> {
        let mut headers = self.identity.headers(&self.options, way);
        headers.extend(turn_state.map(|state| (TURN_STATE.to_owned(), state.to_owned())));
        headers
    }

    /// Whom a connection is with: another login, server or header needs another one.
    #[must_use]
    pub fn peer(&self) -> String {
        let headers = self.headers(Way::WebSocket, None).into_iter().flat_map(|(name, value)| [name, value]);
        digest(&[self.url(Way::WebSocket)].into_iter().chain(headers).collect::<Vec<_>>())
    }

    /// From which item on this is news to a server that remembers `last`.
    #[must_use]
    pub fn new_from(&self, last: &Last) -> Option<usize> {
        last.new_from(&self.rest, &self.items)
    }

    /// Is a connection that remembers `last` as warm as one can be?
    #[must_use]
    pub fn is_warmed_by(&self, last: &Last) -> bool {
        last.rest == self.rest && (last.items == 0 || self.new_from(last).is_some())
    }

    /// The frame: all of the input, or what follows the answer `after`.
    #[must_use]
    pub fn frame(&self, after: Option<(&str, usize)>, turn_state: Option<&str>) -> Vec<Piece> {
        let mut more: Vec<(&str, Json)> = Vec::new();
        if let Some((id, _)) = after {
            more.push(("previous_response_id", id.into()));
        }
        if let Some(state) = turn_state {
            more.push(("client_metadata", json!({TURN_STATE: state}).into()));
        }
        let input = self.body.input.get(after.map_or(0, |(_, from)| from)..).unwrap_or_default();
        self.written(Some("response.create"), more, input)
    }

    /// The frame that has the server read the instructions and the tools, and answer nothing.
    #[must_use]
    pub fn warming_frame(&self) -> Vec<Piece> {
        self.written(Some("response.create"), vec![("generate", json!(false).into())], &[])
    }

    /// The body of a `POST`.
    #[must_use]
    pub fn post_body(&self) -> Vec<Piece> {
        self.written(None, Vec::new(), &self.body.input)
    }

    fn written(&self, kind: Option<&str>, more: Vec<(&str, Json)>, input: &[Json]) -> Vec<Piece> {
        let fields = self.body.fields.iter().map(|(name, value)| (name.as_str(), value.clone().into()));
        let kind = kind.map(|kind| ("type", kind.into()));
        let input = ("input", Json::list(input.iter().cloned()));
        Json::object(kind.into_iter().chain(fields).chain(more).chain([input])).pieces()
    }

    /// What puts the answer together.
    #[must_use]
    pub fn answer(&self, request_id: Option<String>) -> Answer {
        Answer::new(&dialect(&self.identity), &self.model.id, &self.request.id).request_id(request_id)
    }

    /// What a server remembers that gave this answer on a connection; none when a request would not build on it.
    #[must_use]
    pub fn remembered(&self, completion: &Completion) -> Option<Last> {
        let response = completion.response_id.clone()?;
        if !matches!(completion.stop, Stop::EndTurn | Stop::ToolUse | Stop::Pause | Stop::Refusal(_)) {
            return None;
        }
        // As the next request will have it.
        let mut longer = self.request.clone();
        longer.messages.push(completion.message.clone());
        let body = Body::new(&dialect(&self.identity), self.model, &longer).ok()?;
        let items: Vec<_> = body.input.iter().map(Json::shown).collect();
        Some(Last { response, rest: self.rest.clone(), items: items.len(), digest: digest(&items) })
    }

    /// What a server remembers that was warmed.
    #[must_use]
    pub fn warmed(&self, response: String) -> Last {
        Last { response, rest: self.rest.clone(), items: 0, digest: digest::<&str>(&[]) }
    }
}

/// What a subscription's backend does not take is bounded by the model itself.
fn dialect(identity: &Identity) -> Dialect<'static> {
    let is_api = identity.account.is_none();
    Dialect {
        wire: "codex",
        system: System::Instructions,
        max_output: is_api,
        temperature: is_api,
        phases: true,
        ..Dialect::openai(env!("CARGO_PKG_NAME"))
    }
}

/// The fields as this backend has them.
fn refine(fields: &mut Map<String, Value>, request: &Request, identity: &Identity, options: &Options) -> Result<(), Failure> {
    if !fields.contains_key("instructions") {
        fields.insert("instructions".into(), NO_INSTRUCTIONS.into());
    }
    match request.service_tier.as_deref() {
        Some("fast") => drop(fields.insert("service_tier".into(), "priority".into())),
        Some("" | "auto" | "default" | "standard") => drop(fields.shift_remove("service_tier")),
        _ => {}
    }
    if let Some(verbosity) = &options.verbosity {
        let text = fields.entry("text").or_insert_with(|| json!({}));
        text["verbosity"] = verbosity.as_str().into();
    }
    // The cache is the session's, wherever its requests come to.
    fields.insert("prompt_cache_key".into(), identity.session.as_str().into());
    let extra = match &request.extra {
        Some(extra) => serde_json::from_str(extra).map_err(|error| invalid(format!("extra is no JSON object: {error}")))?,
        None => Map::new(),
    };
    for (key, value) in extra.into_iter().chain(options.extra.clone()) {
        if !OWN.contains(&key.as_str()) {
            fields.entry(key).or_insert(value);
        }
    }
    for key in &options.omit {
        if key == "model" || OWN.contains(&key.as_str()) {
            return Err(invalid(format!("the model's options: omit: {key} is always sent")));
        }
        fields.shift_remove(key);
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidRequest, message)
}

#[cfg(test)]
pub(crate) mod tests;
