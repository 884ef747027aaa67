//! OpenAI's Responses: what this component adds to the SDK's module of that name.

use stellaclaw_sdk::chat::{Failure, Model, Request};
use stellaclaw_sdk::json::Json;
use stellaclaw_sdk::responses::{Body, Dialect};

use crate::options::Options;
use crate::request::{self, Server};

/// Keys that are always sent.
const NEEDED: [&str; 6] = ["model", "instructions", "input", "stream", "store", "tools"];

/// What its answers are: the same for every server.
pub(crate) const DIALECT: Dialect<'static> = Dialect::openai(env!("CARGO_PKG_NAME"));

pub(crate) fn write(model: &Model, request: &Request, options: &Options, server: Server) -> Result<Json, Failure> {
    // OpenRouter's schema has an id in all that a model wrote.
    let dialect = Dialect { item_ids: server == Server::OpenRouter, ..DIALECT };
    let mut body = Body::new(&dialect, model, request)?;
    request::extend(&mut body.fields, request, options, server, &NEEDED)?;
    Ok(body.into_json())
}
