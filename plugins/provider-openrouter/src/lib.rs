//! OpenRouter, and with `base_url` every server that speaks OpenAI's chat completions (llama.cpp, Ollama, vLLM, …) or its
//! Responses.
//!
//! This file does the input and output; everything else is pure, so that it is tested and measured without a sandbox:
//! [`request`] makes a body of a request, [`chat`] an answer of bytes; what Responses need is the SDK's.
//!
//! Invariants: what arrives is handed on once per chunk read from the network; a stream without its terminal is an error
//! whatever text came before; reasoning goes back only to the model it came from, unmodified.

pub mod chat;
pub mod models;
pub mod options;
pub mod request;
mod responses;

use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Model, Request};
use stellaclaw_sdk::model_list::Entry;
use stellaclaw_sdk::openai::failure;
use stellaclaw_sdk::openai::stream::{Answer, Stream};
use stellaclaw_sdk::responses::Answer as ResponsesAnswer;
use stellaclaw_sdk::{ModelList, Provider, deltas, http, moment, plugin};

use chat::Answer as ChatAnswer;
use options::{Api, SCHEMA as OPTIONS_SCHEMA};
use request::Prepared;

/// At most this much is asked for in one read.
const READ_BYTES: u32 = 65_536;
/// The rest of an error's body says nothing that the start did not.
const ERROR_BODY_BYTES: usize = 65_536;

/// OpenRouter's list of models has about 1 MiB.
const LIST_BYTES: usize = 8 << 20;

/// The provider of this component.
#[derive(Debug)]
pub struct OpenRouter;

plugin! {
    provider: OpenRouter,
    model_list: OpenRouter,
    http: ["https://openrouter.ai"],
    slots: ["api-key" => ["https://openrouter.ai"]],
    options: OPTIONS_SCHEMA,
}

/// The code of a server that cannot open reasoning it is sent back: it was sealed for another account, or with a lost key.
const BROKEN_SEAL: &str = "invalid_encrypted_content";

impl Provider for OpenRouter {
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure> {
        let mut shown = false;
        let answered = ask(model, request, request::build(model, request)?, &mut shown);
        match answered {
            // Nothing was answered yet. Without the reasoning the conversation goes on; with it, it never would.
            Err(failure) if failure.code.as_deref() == Some(BROKEN_SEAL) && !shown => {
                let request = request::without_reasoning(request);
                ask(model, &request, request::build(model, &request)?, &mut shown)
            }
            answered => answered,
        }
    }
}

/// `shown`: some of an answer was handed on.
fn ask(model: &Model, request: &Request, call: Prepared, shown: &mut bool) -> Result<Completion, Failure> {
    let mut builder = http::post(call.url).pieces(call.body).timeouts(model.timeouts);
    for (name, value) in call.headers {
        builder = builder.header(&name, value);
    }
    if let Some(slot) = &model.credential {
        builder = builder.bearer(slot.as_str());
    }
    let response = builder.send()?;
    let (status, headers) = (response.status(), response.headers());
    if !(200..300).contains(&status) {
        return Err(failure::http(status, &headers, &response.beginning(ERROR_BODY_BYTES), moment::now()));
    }
    let id = failure::request_id(&headers);
    match call.api {
        Api::Chat => {
            let answer = ChatAnswer::new(&model.id, &request.id).request_id(id).cache_life(call.cache_life);
            receive(&response, Stream::new(answer), shown)
        }
        Api::Responses => {
            let answer = ResponsesAnswer::new(&responses::DIALECT, &model.id, &request.id).request_id(id).cache_life(call.cache_life);
            receive(&response, Stream::new(answer), shown)
        }
    }
}

impl ModelList for OpenRouter {
    fn models(account: &Model) -> Result<Vec<Entry>, Failure> {
        let mut builder = http::get(models::url(account)).timeouts(account.timeouts);
        if let Some(slot) = &account.credential {
            builder = builder.bearer(slot.as_str());
        }
        let response = builder.send()?;
        let status = response.status();
        if !(200..300).contains(&status) {
            return Err(failure::http(status, &response.headers(), &response.beginning(ERROR_BODY_BYTES), moment::now()));
        }
        models::entries(&response.bytes(LIST_BYTES)?)
    }
}

/// Reads until the answer is complete, handing on what each chunk brought.
fn receive(response: &http::Response, mut stream: Stream<impl Answer>, shown: &mut bool) -> Result<Completion, Failure> {
    while !stream.is_done() {
        match response.read(READ_BYTES) {
            Ok(Some(bytes)) => emit(&stream.push(&bytes)?, shown)?,
            Ok(None) => break,
            // The answer is whole; only its end marker, or the usage, was lost.
            Err(error) if stream.is_terminal() && error.kind != stellaclaw_sdk::ErrorKind::Cancelled => break,
            Err(error) => return Err(stream.interrupted(error.into())),
        }
    }
    let finished = stream.finish()?;
    emit(&finished.deltas, shown)?;
    Ok(finished.completion)
}

fn emit(batch: &[deltas::Delta], shown: &mut bool) -> Result<(), Failure> {
    *shown |= batch.iter().any(|delta| !matches!(delta, deltas::Delta::Started(_)));
    if batch.is_empty() || deltas::emit(batch) { Ok(()) } else { Err(Failure::cancelled()) }
}

/// The answer cannot be understood.
fn protocol(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Protocol, message)
}
