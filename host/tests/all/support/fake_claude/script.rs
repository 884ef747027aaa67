//! What is answered, and what goes wrong in place of it.

use std::io;

use serde_json::{Value, json};

use super::super::fake_openai::pieces;
use super::super::holds::Holds;
use super::super::http::Connection;
use super::{API_KEY, sign};

/// One answer: what it thinks, says and calls, in this order.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    thoughts: Vec<Thought>,
    text: String,
    calls: Vec<(String, Value)>,
    stop: Option<&'static str>,
    /// Held until released, before anything of it is sent.
    held: Option<String>,
    /// In place of the answer: the first fault to the first request, and so on.
    pub(super) faults: Vec<Fault>,
}

#[derive(Debug, Clone)]
enum Thought {
    Shown(String),
    Redacted(String),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status with the vendor's error body, and perhaps more headers.
    Status { status: u16, class: &'static str, message: &'static str, headers: Vec<(&'static str, String)> },
    /// The connection ends in the middle of the stream.
    Cut,
    /// An event with an error in the middle of the stream.
    ErrorEvent,
    /// An event that is no JSON.
    Malformed,
    /// An event with bytes that are no text.
    Garbage,
    /// An event that is longer than any may be.
    Huge,
    /// Status 200 and an error as the whole body.
    OkWithError,
    /// A page for people, with this status.
    Page(u16),
    /// A stream that ends properly without having said that the answer is complete.
    Unfinished,
    /// A body that is shorter than its head says.
    LyingLength,
    /// A refusal that repeats the key it was sent.
    Leak,
}

impl Fault {
    pub fn status(status: u16, class: &'static str, message: &'static str) -> Self {
        Self::Status { status, class, message, headers: Vec::new() }
    }

    /// Overloaded; try again after so many seconds.
    pub fn overloaded(retry_after: &str) -> Self {
        let headers = vec![("retry-after", retry_after.to_owned())];
        Self::Status { status: 529, class: "overloaded_error", message: "Overloaded", headers }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Cut => "cut",
            Self::ErrorEvent => "error event",
            Self::Malformed => "malformed",
            Self::Garbage => "garbage",
            Self::Huge => "huge",
            Self::OkWithError => "ok with error",
            Self::Page(_) => "page",
            Self::Unfinished => "unfinished",
            Self::LyingLength => "lying length",
            Self::Leak => "leak",
        }
    }
}

impl Answer {
    pub fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Calls of tools, in one answer.
    pub fn calls<const N: usize>(calls: [(&str, Value); N]) -> Self {
        Self { calls: calls.into_iter().map(|(name, input)| (name.to_owned(), input)).collect(), ..Self::default() }
    }

    /// Said before the calls.
    pub fn saying(mut self, text: &str) -> Self {
        self.text = text.to_owned();
        self
    }

    /// Thought before anything else, and signed.
    pub fn thinking(mut self, text: &str) -> Self {
        self.thoughts.push(Thought::Shown(text.to_owned()));
        self
    }

    /// The same, and nobody may read it.
    pub fn redacted(mut self, text: &str) -> Self {
        self.thoughts.push(Thought::Redacted(text.to_owned()));
        self
    }

    /// Ends for this reason.
    pub fn stopped(mut self, reason: &'static str) -> Self {
        self.stop = Some(reason);
        self
    }

    pub fn held(mut self, name: &str) -> Self {
        self.held = Some(name.to_owned());
        self
    }

    pub fn after(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.extend(faults);
        self
    }
}

/// The vendor's form of an error.
pub(super) fn error(class: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": class, "message": message}, "request_id": "req_fake"})
}

/// An answer on its way.
pub(super) struct Stream<'a> {
    model: String,
    /// What the marks in the request ask for.
    ttl: Option<String>,
    key: &'a str,
    round: usize,
    answer: &'a Answer,
}

impl<'a> Stream<'a> {
    pub(super) fn new(body: &Value, key: &'a str, round: usize, answer: &'a Answer) -> Self {
        let model = body["model"].as_str().unwrap_or_default().to_owned();
        Self { model, ttl: super::strict::marks(body).pop(), key, round, answer }
    }

    /// The blocks as they go back, and the id of the first call among them.
    pub(super) fn to_remember(&self) -> Option<(String, Vec<Value>)> {
        let blocks = self.blocks();
        let call = blocks.iter().find(|block| block["type"] == "tool_use")?["id"].as_str()?.to_owned();
        Some((call, blocks))
    }

    fn blocks(&self) -> Vec<Value> {
        let thought = |thought: &Thought| match thought {
            Thought::Shown(text) => json!({"type": "thinking", "thinking": text, "signature": sign(&self.model, text)}),
            Thought::Redacted(text) => json!({"type": "redacted_thinking", "data": format!("{text}:{}", sign(&self.model, text))}),
        };
        let mut blocks: Vec<_> = self.answer.thoughts.iter().map(thought).collect();
        if !self.answer.text.is_empty() {
            blocks.push(json!({"type": "text", "text": self.answer.text}));
        }
        for (index, (name, input)) in self.answer.calls.iter().enumerate() {
            let id = format!("toolu_{}_{}_{index}", self.key.replace(' ', "_"), self.round);
            blocks.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
        }
        blocks
    }

    /// Sends the whole answer.
    pub(super) async fn play(&mut self, connection: &mut Connection, holds: &Holds) -> io::Result<()> {
        if let Some(name) = &self.answer.held {
            holds.hold(name, connection).await?;
        }
        self.open(connection).await?;
        for (index, block) in self.blocks().iter().enumerate() {
            self.block(connection, index, block).await?;
        }
        let stop = self.answer.stop.unwrap_or(if self.answer.calls.is_empty() { "end_turn" } else { "tool_use" });
        let usage = json!({"input_tokens": 60, "output_tokens": 12, "output_tokens_details": {"thinking_tokens": 2}});
        let end = json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": usage});
        self.event(connection, &end).await?;
        self.event(connection, &json!({"type": "message_stop"})).await?;
        connection.end().await
    }

    async fn block(&self, connection: &mut Connection, index: usize, block: &Value) -> io::Result<()> {
        let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
        let (begun, added) = match text("type").as_str() {
            "text" => (
                json!({"type": "text", "text": ""}),
                pieces(&text("text"), 7).into_iter().map(|piece| ("text_delta", "text", piece)).collect(),
            ),
            "thinking" => {
                let mut added: Vec<_> =
                    pieces(&text("thinking"), 5).into_iter().map(|piece| ("thinking_delta", "thinking", piece)).collect();
                added.push(("signature_delta", "signature", text("signature")));
                (json!({"type": "thinking", "thinking": "", "signature": ""}), added)
            }
            "tool_use" => {
                let input = pieces(&block["input"].to_string(), 9);
                let mut begun = block.clone();
                begun["input"] = json!({});
                let added = [String::new()].into_iter().chain(input).map(|piece| ("input_json_delta", "partial_json", piece)).collect();
                (begun, added)
            }
            _ => (block.clone(), Vec::new()),
        };
        self.event(connection, &json!({"type": "content_block_start", "index": index, "content_block": begun})).await?;
        self.event(connection, &json!({"type": "ping"})).await?;
        for (kind, key, piece) in added {
            self.event(connection, &json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, key: piece}})).await?;
        }
        self.event(connection, &json!({"type": "content_block_stop", "index": index})).await
    }

    /// Does what goes wrong.
    pub(super) async fn fail(&mut self, connection: &mut Connection, fault: &Fault) -> io::Result<()> {
        match fault {
            Fault::Status { status, class, message, headers } => connection.json(*status, headers, &error(class, message)).await,
            Fault::Cut => {
                self.half(connection).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Fault::ErrorEvent => {
                self.half(connection).await?;
                self.event(connection, &error("overloaded_error", "Overloaded")).await?;
                connection.end().await
            }
            Fault::Malformed => self.broken(connection, b"data: {\"type\": \"content_block_delta\", \"del\n\n").await,
            Fault::Garbage => self.broken(connection, b"data: {\"type\": \"ping\", \"x\": \"\xff\xfe\"}\n\n").await,
            Fault::Huge => {
                self.half(connection).await?;
                let filler = vec![b'x'; 1 << 20];
                connection.chunk(b"data: ").await?;
                for _ in 0..100 {
                    connection.chunk(&filler).await?;
                }
                connection.end().await
            }
            Fault::OkWithError => connection.json(200, &[], &error("api_error", "Internal server error")).await,
            Fault::Page(status) => {
                connection
                    .whole(*status, "text/html", &[], b"<html><head><title>Gateway</title></head><body>Please wait.</body></html>")
                    .await
            }
            Fault::Unfinished => {
                self.half(connection).await?;
                connection.end().await
            }
            Fault::LyingLength => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\nevent: ping\ndata: {\"type\": \"ping\"}\n\n";
                connection.raw(head.as_bytes()).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Fault::Leak => {
                let headers = [("request-id", format!("req-{API_KEY}"))];
                let message = format!("invalid x-api-key: {API_KEY}");
                connection.json(401, &headers, &error("authentication_error", &message)).await
            }
        }
    }

    /// The beginning of an answer, and these bytes.
    async fn broken(&self, connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
        self.half(connection).await?;
        connection.chunk(bytes).await?;
        connection.end().await
    }

    /// The beginning of an answer that will not be finished.
    async fn half(&self, connection: &mut Connection) -> io::Result<()> {
        self.open(connection).await?;
        let begun = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
        self.event(connection, &begun).await?;
        let delta = json!({"type": "text_delta", "text": "This is what will be "});
        self.event(connection, &json!({"type": "content_block_delta", "index": 0, "delta": delta})).await
    }

    async fn open(&self, connection: &mut Connection) -> io::Result<()> {
        connection.begin().await?;
        let written = |ttl: &str| if self.ttl.as_deref() == Some(ttl) { 30 } else { 0 };
        let usage = json!({"input_tokens": 60, "cache_read_input_tokens": 40, "cache_creation_input_tokens": written("5m") + written("1h"),
            "cache_creation": {"ephemeral_5m_input_tokens": written("5m"), "ephemeral_1h_input_tokens": written("1h")},
            "output_tokens": 1, "service_tier": "standard"});
        let id = format!("msg_{}_{}", self.key.replace(' ', "_"), self.round);
        let message = json!({"id": id, "type": "message", "role": "assistant", "model": self.model, "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": usage});
        self.event(connection, &json!({"type": "message_start", "message": message})).await
    }

    async fn event(&self, connection: &mut Connection, event: &Value) -> io::Result<()> {
        let name = event["type"].as_str().unwrap_or_default();
        connection.chunk(format!("event: {name}\ndata: {event}\n\n").as_bytes()).await
    }
}
