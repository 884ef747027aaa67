//! OpenRouter, and with `base_url` every server that speaks OpenAI's chat completions: llama.cpp, Ollama, vLLM, …
//!
//! This file does the input and output; everything else is pure, so that it is tested and measured without a sandbox:
//! [`request`] makes a body of a request, [`stream`] an answer of bytes, [`failure`] a typed reason of an error.
//!
//! Invariants: what arrives is handed on once per chunk read from the network; a stream without its terminal is an error
//! whatever text came before; reasoning goes back only to the model it came from, unmodified.

mod answer;
mod calls;
pub mod failure;
mod messages;
pub mod options;
mod reasoning;
pub mod request;
pub mod stream;
pub mod usage;
mod wire;

use std::time::{SystemTime, UNIX_EPOCH};

use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Model, Request};
use stellaclaw_sdk::{Provider, deltas, http, plugin};

use options::SCHEMA as OPTIONS_SCHEMA;
use stream::ChatStream;

/// At most this much is asked for in one read.
const READ_BYTES: u32 = 65_536;
/// The rest of an error's body says nothing that the start did not.
const ERROR_BODY_BYTES: usize = 65_536;

/// The provider of this component.
#[derive(Debug)]
pub struct OpenRouter;

plugin! {
    provider: OpenRouter,
    http: ["https://openrouter.ai"],
    slots: ["api-key" => ["https://openrouter.ai"]],
    options: OPTIONS_SCHEMA,
}

impl Provider for OpenRouter {
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure> {
        let call = request::build(model, request)?;
        let mut builder = http::post(call.url).body(call.body).timeouts(model.timeouts);
        for (name, value) in call.headers {
            builder = builder.header(&name, value);
        }
        if let Some(slot) = &model.credential {
            builder = builder.bearer(slot.as_str());
        }
        let response = builder.send()?;
        let status = response.status();
        if !(200..300).contains(&status) {
            return Err(failure::http(status, &response.headers(), &error_body(&response), now()));
        }
        let stream =
            ChatStream::new(&model.id, &request.id).request_id(failure::request_id(&response.headers())).cache_life(call.cache_life);
        receive(&response, stream)
    }
}

/// Reads until the answer is complete, handing on what each chunk brought.
fn receive(response: &http::Response, mut stream: ChatStream) -> Result<Completion, Failure> {
    while !stream.is_done() {
        match response.read(READ_BYTES) {
            Ok(Some(bytes)) => emit(&stream.push(&bytes)?)?,
            Ok(None) => break,
            // The answer is whole; only its end marker, or the usage, was lost.
            Err(error) if stream.is_terminal() && error.kind != stellaclaw_sdk::ErrorKind::Cancelled => break,
            Err(error) => return Err(stream.interrupted(error.into())),
        }
    }
    let finished = stream.finish()?;
    emit(&finished.deltas)?;
    Ok(finished.completion)
}

fn emit(batch: &[deltas::Delta]) -> Result<(), Failure> {
    if batch.is_empty() || deltas::emit(batch) { Ok(()) } else { Err(Failure::cancelled()) }
}

/// As much of the body as is there: a failure is reported even when its body breaks off.
fn error_body(response: &http::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < ERROR_BODY_BYTES {
        match response.read(READ_BYTES) {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) | Err(_) => break,
        }
    }
    body
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The answer cannot be understood.
fn protocol(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Protocol, message)
}
