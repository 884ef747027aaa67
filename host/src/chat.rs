//! What a model reads and writes, in the form that is kept.
//!
//! The journal holds these types as JSON, so a field is only ever added (with a default), never changed. The contract's
//! `chat` interface says the same things; `plugins/convert.rs` is the only place where one becomes the other.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Moment;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Assistant,
    Tool,
}

/// Commentary is said between tool calls; final is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Commentary,
    Final,
}

/// What a model can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    Text,
    Image,
    Pdf,
    Audio,
    File,
}

impl Modality {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Pdf => "pdf",
            Self::Audio => "audio",
            Self::File => "file",
        }
    }
}

/// Who wrote a message. Opaque pieces are replayed only to the same origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub provider: String,
    pub model: String,
    pub wire: String,
}

/// Bytes only their origin understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opaque {
    pub format: String,
    /// JSON text, kept to the byte.
    pub data: String,
}

/// A picture, document or recording, as a blob of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    pub blob: String,
    pub modality: Modality,
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Width and height of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<(u32, u32)>,
}

/// A call as the model wrote it. `call_id` is the vendor's own id, not ours: vendors repeat theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    pub call_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    pub name: String,
    pub arguments: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freeform: bool,
}

/// A piece of a tool's answer as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerPiece {
    Text(String),
    Media(Media),
}

impl AnswerPiece {
    /// The file, if it is one.
    #[must_use]
    pub fn media(&self) -> Option<&Media> {
        match self {
            Self::Text(_) => None,
            Self::Media(media) => Some(media),
        }
    }
}

/// The answer to a [`ToolUse`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolAnswer {
    pub call_id: String,
    pub pieces: Vec<AnswerPiece>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// What the model thought, as far as its vendor shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summary: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
}

/// Text with the vendor's annotations (JSON text).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextPiece {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<String>,
}

/// The pieces of a message, in the order in which they were produced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    Text(TextPiece),
    Media(Media),
    ToolUse(ToolUse),
    ToolAnswer(ToolAnswer),
    Reasoning(Reasoning),
    Refusal(String),
    Hosted(Opaque),
    Compaction(Opaque),
}

impl Piece {
    /// The file, if it is one.
    #[must_use]
    pub fn media(&self) -> Option<&Media> {
        if let Self::Media(media) = self { Some(media) } else { None }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(TextPiece { text: text.into(), annotations: None })
    }
}

/// One message of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    pub pieces: Vec<Piece>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cache_break: bool,
}

impl Message {
    /// The text pieces, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The calls that the message asks for, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = &ToolUse> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::ToolUse(tool_use) => Some(tool_use),
            _ => None,
        })
    }
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema, as text.
    pub parameters: String,
}

/// One question to a model: what `context::render` makes of a session's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Derived like call ids: `<session>.<turn>.<step>`.
    pub id: String,
    pub session: String,
    pub turn: String,
    pub system: Vec<TextPiece>,
    pub messages: Vec<Message>,
    pub tools: Vec<ToolSpec>,
    pub parallel_tools: bool,
    pub max_output: Option<u64>,
    pub temperature: Option<f64>,
    pub effort: Option<String>,
    pub reasoning_summary: Option<String>,
    pub service_tier: Option<String>,
    /// How long the vendor is to keep what it reads.
    pub cache_ttl_ms: Option<u64>,
    /// The JSON Schema of an answer that is to be JSON, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<String>,
}

impl Request {
    /// One question in words, outside of any history.
    #[must_use]
    pub fn question(id: String, session: String, text: String) -> Self {
        let message =
            Message { id: id.clone(), role: Role::User, phase: None, origin: None, pieces: vec![Piece::text(text)], cache_break: false };
        Self {
            id,
            turn: session.clone(),
            session,
            system: Vec::new(),
            messages: vec![message],
            tools: Vec::new(),
            parallel_tools: false,
            max_output: None,
            temperature: None,
            effort: None,
            reasoning_summary: None,
            service_tier: None,
            cache_ttl_ms: None,
            response_schema: None,
        }
    }
}

/// Tokens, each counted once: input = uncached + cache read + cache write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input_uncached: u64,
    pub cache_read: u64,
    /// Tokens written to the cache, by its life in seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_write: Vec<(u32, u64)>,
    pub output: u64,
    #[serde(default)]
    pub reasoning: u64,
    /// Millionths of a US dollar, only when the provider or a configured price says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
}

impl Usage {
    /// All tokens together.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let written = self.cache_write.iter().map(|(_, tokens)| *tokens);
        // A provider's figures: nonsense is to be much, not little.
        [self.input_uncached, self.cache_read, self.output].into_iter().chain(written).fold(0, u64::saturating_add)
    }
}

/// Why a completion ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    EndTurn,
    ToolUse,
    MaxOutput,
    StopSequence(String),
    Refusal(Option<String>),
    ContentFilter,
    Pause,
    ContextFull,
    Other(String),
}

/// A model's whole answer; the authority over everything that was streamed before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    pub message: Message,
    pub stop: Stop,
    pub usage: Usage,
    pub response_id: Option<String>,
    pub served_model: Option<String>,
}

/// Why there is no completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    Denied,
    AuthExpired,
    AuthInvalid,
    Forbidden,
    Quota,
    UsageLimit,
    RateLimit,
    Overloaded,
    Server,
    Timeout,
    Transport,
    ContextOverflow,
    InvalidRequest,
    InvalidMedia,
    Policy,
    ModelNotFound,
    ContinuationLost,
    Protocol,
    Cancelled,
    Other,
}

/// How far a model request had come when it failed, as the host saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// Nothing of it had left.
    #[default]
    BeforeSend,
    /// Its vendor may have it.
    Sent,
    /// Some of the answer had come.
    AfterOutput,
}

impl Reached {
    /// Is it the default?
    #[must_use]
    pub fn is_before_send(&self) -> bool {
        *self == Self::BeforeSend
    }
}

/// A failed request, as its provider (or the host, for a trap or a timeout) reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    pub status: Option<u16>,
    pub code: Option<String>,
    pub request_id: Option<String>,
    pub retry_after_ms: Option<u64>,
    /// When the limit that was reached is lifted.
    pub resets_at: Option<Moment>,
    pub usage: Option<Box<Usage>>,
    /// The vendor's answer, cut and redacted.
    pub raw: Option<Value>,
    pub reached: Reached,
}

impl Failure {
    /// A failure of `kind`, with nothing else known.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            code: None,
            request_id: None,
            retry_after_ms: None,
            resets_at: None,
            usage: None,
            raw: None,
            reached: Reached::default(),
        }
    }
}

/// May calls of one answer run side by side?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    Parallel,
    Serial,
}

/// What the host may do when it does not know whether a call ran. Later is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    Read,
    Idempotent,
    Effect,
}
