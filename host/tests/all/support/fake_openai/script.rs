//! What is answered, and what goes wrong in place of it.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::holds::Holds;
use super::super::http::Connection;
use super::API_KEY;

/// Answers by what users write. The last user message that contains a key decides; the n-th request after it gets the
/// n-th answer of the key, and further ones the last.
#[derive(Debug, Clone)]
pub struct Script<A = Answer>(Vec<(String, Vec<A>)>);

impl<A> Default for Script<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// On the wire that has it.
    pub(super) thought: Option<String>,
    pub(super) text: String,
    pub(super) calls: Vec<(String, String)>,
    /// Held until released, before anything of it is sent.
    pub(super) held: Option<String>,
    /// Held until released, when its text has been sent.
    pub(super) held_after_text: Option<String>,
    /// Between the pieces of the text.
    pub(super) pace: Duration,
    /// In place of the answer: the first fault to the first request, and so on.
    pub(super) faults: Vec<Fault>,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status with the vendor's error body, and perhaps `Retry-After` in seconds.
    Status { status: u16, retry_after: Option<String> },
    /// The connection ends in the middle of the stream.
    Cut,
    /// A chunk with an error in the middle of the stream.
    ErrorChunk,
    /// An event that is no JSON.
    Malformed,
    /// Status 200 and an error as the whole body.
    OkWithError,
    /// Status 200 and a page for people.
    Page,
    /// A stream that ends properly without having said that the answer is complete.
    Unfinished,
    /// A refusal that repeats the key it was sent.
    Leak,
    /// More was sent than the model reads at once.
    TooLong,
    /// Reasoning that was sent back cannot be opened.
    BrokenSeal,
}

impl Fault {
    /// Too many requests; try again after so many seconds.
    pub fn too_many(retry_after: &str) -> Self {
        Self::Status { status: 429, retry_after: Some(retry_after.to_owned()) }
    }

    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Cut => "cut",
            Self::ErrorChunk => "error chunk",
            Self::Malformed => "malformed",
            Self::OkWithError => "ok with error",
            Self::Page => "page",
            Self::Unfinished => "unfinished",
            Self::Leak => "leak",
            Self::TooLong => "too long",
            Self::BrokenSeal => "broken seal",
        }
    }
}

impl Answer {
    pub fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Calls of tools, in one answer.
    pub fn calls<const N: usize>(calls: [(&str, Value); N]) -> Self {
        let calls = calls.into_iter().map(|(name, arguments)| (name.to_owned(), arguments.to_string())).collect();
        Self { calls, ..Self::default() }
    }

    /// After reasoning, of which this is the summary.
    pub fn thinking(mut self, thought: &str) -> Self {
        self.thought = Some(thought.to_owned());
        self
    }

    pub fn held(mut self, name: &str) -> Self {
        self.held = Some(name.to_owned());
        self
    }

    pub fn held_after_text(mut self, name: &str) -> Self {
        self.held_after_text = Some(name.to_owned());
        self
    }

    pub fn slowly(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    pub fn after(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.extend(faults);
        self
    }
}

impl<A> Script<A> {
    /// The answers to messages that contain `key`.
    pub fn on<const N: usize>(mut self, key: &str, answers: [A; N]) -> Self {
        assert!(N > 0, "{key} has no answer");
        self.0.push((key.to_owned(), answers.into()));
        self
    }

    /// The answer that is due, with its key and its number.
    pub fn answer(&self, body: &Value) -> Option<(&str, usize, &A)> {
        let messages = body["messages"].as_array()?;
        let (at, (key, answers)) =
            messages.iter().enumerate().rev().filter(|(_, message)| message["role"] == "user").find_map(|(at, message)| {
                let text = text_of(&message["content"]);
                Some((at, self.0.iter().find(|(key, _)| text.contains(key.as_str()))?))
            })?;
        let round = messages[at..].iter().filter(|message| message["role"] == "assistant").count();
        Some((key, round, &answers[round.min(answers.len() - 1)]))
    }
}

/// The text of a message's content.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// An answer on its way.
pub(super) struct Stream<'a> {
    pub model: String,
    pub usage: bool,
    pub key: &'a str,
    pub round: usize,
    pub answer: &'a Answer,
}

impl Stream<'_> {
    /// Sends the whole answer.
    pub(super) async fn play(&mut self, connection: &mut Connection, holds: &Holds) -> io::Result<()> {
        if let Some(name) = &self.answer.held {
            holds.hold(name, connection).await?;
        }
        self.open(connection).await?;
        // Small, unless they are so many that they cost more than they show.
        let size = if self.answer.pace.is_zero() { self.answer.text.chars().count() / 100 } else { 0 };
        for piece in pieces(&self.answer.text, size.max(7)) {
            self.delta(connection, &json!({"content": piece})).await?;
            tokio::time::sleep(self.answer.pace).await;
        }
        if let Some(name) = &self.answer.held_after_text {
            holds.hold(name, connection).await?;
        }
        for (index, (name, arguments)) in self.answer.calls.iter().enumerate() {
            let id = format!("call_{}_{}_{index}", self.key.replace(' ', "_"), self.round);
            let first = json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
            self.delta(connection, &json!({"tool_calls": [first]})).await?;
            for piece in pieces(arguments, 9) {
                self.delta(connection, &json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})).await?;
            }
        }
        let finish = if self.answer.calls.is_empty() { "stop" } else { "tool_calls" };
        self.event(connection, &json!([{"index": 0, "delta": {}, "finish_reason": finish}]), None).await?;
        if self.usage {
            let usage = json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110,
                "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 2}});
            self.event(connection, &json!([]), Some(usage)).await?;
        }
        connection.chunk(b"data: [DONE]\n\n").await?;
        connection.end().await
    }

    /// Does what goes wrong.
    pub(super) async fn fail(&mut self, connection: &mut Connection, fault: &Fault) -> io::Result<()> {
        match fault {
            Fault::Status { status, retry_after } => {
                let headers: Vec<_> = retry_after.iter().map(|after| ("retry-after", after.clone())).collect();
                let (kind, code) = match status {
                    429 => ("requests", "rate_limit_exceeded"),
                    401 => ("invalid_request_error", "invalid_api_key"),
                    _ => ("server_error", "server_error"),
                };
                let error = json!({"error": {"message": format!("the fake says {status}"), "type": kind, "param": null, "code": code}});
                connection.json(*status, &headers, &error).await
            }
            Fault::Cut => {
                self.half(connection).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Fault::ErrorChunk => {
                self.half(connection).await?;
                let chunk = json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": self.model,
                    "error": {"code": 502, "message": "the upstream went away", "metadata": {"error_type": "provider_unavailable"}},
                    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]});
                connection.chunk(format!("data: {chunk}\n\n").as_bytes()).await?;
                connection.end().await
            }
            Fault::Malformed => {
                self.half(connection).await?;
                connection.chunk(b"data: {\"choices\": [{\n\n").await?;
                connection.end().await
            }
            Fault::OkWithError => {
                let error = json!({"error": {"code": 503, "message": "no capacity", "metadata": {"error_type": "provider_overloaded"}}});
                connection.json(200, &[], &error).await
            }
            Fault::Page => connection.whole(200, "text/html", &[], b"<html><body><h1>Gateway</h1>Please wait.</body></html>").await,
            Fault::Unfinished => {
                self.half(connection).await?;
                connection.end().await
            }
            Fault::TooLong => {
                let message = "This model's maximum context length is 100 tokens. However, your messages resulted in 200 tokens.";
                let error =
                    json!({"message": message, "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"});
                connection.json(400, &[], &json!({"error": error})).await
            }
            Fault::BrokenSeal => {
                let message = "The encrypted content could not be verified.";
                let error =
                    json!({"message": message, "type": "invalid_request_error", "param": null, "code": "invalid_encrypted_content"});
                connection.json(400, &[], &json!({"error": error})).await
            }
            Fault::Leak => {
                let message = format!("Incorrect API key provided: {API_KEY}. You can find your API key in your account.");
                let headers = [("x-request-id", format!("req-{API_KEY}"))];
                connection.json(401, &headers, &json!({"error": {"message": message, "code": "invalid_api_key"}})).await
            }
        }
    }

    /// The beginning of an answer that will not be finished.
    async fn half(&self, connection: &mut Connection) -> io::Result<()> {
        self.open(connection).await?;
        self.delta(connection, &json!({"content": "This is what will be "})).await
    }

    async fn open(&self, connection: &mut Connection) -> io::Result<()> {
        connection.begin().await?;
        connection.chunk(b": processing\n\n").await?;
        self.delta(connection, &json!({"role": "assistant", "content": ""})).await
    }

    async fn delta(&self, connection: &mut Connection, delta: &Value) -> io::Result<()> {
        self.event(connection, &json!([{"index": 0, "delta": delta, "finish_reason": null}]), None).await
    }

    async fn event(&self, connection: &mut Connection, choices: &Value, usage: Option<Value>) -> io::Result<()> {
        let id = format!("chatcmpl-{}-{}", self.key.replace(' ', "-"), self.round);
        let chunk =
            json!({"id": id, "object": "chat.completion.chunk", "created": 1, "model": self.model, "choices": choices, "usage": usage});
        connection.chunk(format!("data: {chunk}\n\n").as_bytes()).await
    }
}

/// A text in pieces of so many characters.
pub fn pieces(text: &str, chars: usize) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(chars).map(|piece| piece.iter().collect()).collect()
}
