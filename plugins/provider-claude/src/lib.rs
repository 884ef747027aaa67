//! Claude, and with `base_url` every server that speaks the Anthropic Messages protocol.
//!
//! This file does the input and output; everything else is pure, so that it is tested and measured without a sandbox:
//! [`request`] makes a body of a request, [`answer`] an answer of events, [`failure`] a typed reason of an error.
//!
//! Invariants: what arrives is handed on once per chunk read from the network; a stream without its terminal is an error
//! whatever text came before; thinking goes back only to the model it came from, unmodified; the bytes of media never come
//! into this component.

pub mod answer;
mod block;
mod blocks;
pub mod failure;
mod ids;
mod media;
mod messages;
mod moment;
pub mod options;
pub mod request;
pub mod usage;
mod wire;

use std::time::{SystemTime, UNIX_EPOCH};

use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Model, Request};
use stellaclaw_sdk::openai::stream::Stream;
use stellaclaw_sdk::{Provider, deltas, http, plugin};

use answer::Answer;
use options::SCHEMA as OPTIONS_SCHEMA;

/// At most this much is asked for in one read.
const READ_BYTES: u32 = 65_536;
/// The rest of an error's body says nothing that the start did not.
const ERROR_BODY_BYTES: usize = 65_536;

/// The provider of this component.
#[derive(Debug)]
pub struct Claude;

plugin! {
    provider: Claude,
    http: ["https://api.anthropic.com"],
    slots: ["api-key" => ["https://api.anthropic.com"]],
    options: OPTIONS_SCHEMA,
}

impl Provider for Claude {
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure> {
        match ask(model, request) {
            // Nothing was answered yet. Without the thoughts the conversation goes on; with them, it never would.
            Err(failure) if failure::refuses_thoughts(&failure) => ask(model, &request::without_thoughts(request)),
            answered => answered,
        }
    }
}

fn ask(model: &Model, request: &Request) -> Result<Completion, Failure> {
    let call = request::build(model, request)?;
    let key = |slot: &String| http::Credential { slot: slot.clone(), place: http::Place::Header("x-api-key".into()) };
    let response = http::send(&http::Request {
        method: "POST".into(),
        url: call.url,
        headers: call.headers,
        credentials: model.credential.iter().map(key).collect(),
        body: call.body,
        timeouts: Some(model.timeouts),
        // A question that is sent somewhere else arrives there without its body, or without the key.
        redirects: 0,
    })?;
    let (status, headers) = (response.status(), response.headers());
    if !(200..300).contains(&status) {
        return Err(failure::http(status, &headers, &error_body(&response), now()));
    }
    let answer = Answer::new(&model.id, &request.id).request_id(failure::request_id(&headers)).cache_life(call.cache_life);
    receive(&response, Stream::new(answer))
}

/// Reads until the answer is complete, handing on what each chunk brought.
fn receive(response: &http::Response, mut stream: Stream<Answer>) -> Result<Completion, Failure> {
    while !stream.is_done() {
        match response.read(READ_BYTES) {
            Ok(Some(bytes)) => emit(&stream.push(&bytes)?)?,
            Ok(None) => break,
            // The answer is whole; only its end marker was lost.
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
