//! What a call is: who asks, for what, with which answer or error. The words that sessions and the runtime share.
//!
//! Nothing here knows wasm; the contract's own types become these in `convert`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chat::{Batching, Modality, Replay, Usage};
use crate::ids::{CallId, ConversationId, SessionId};
use crate::media;
pub use crate::store::SessionKind;
use crate::store::Store;

/// The kinds of error a call can end with: the contract's `error-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    Denied,
    Invalid,
    NotFound,
    Conflict,
    TooLarge,
    RateLimited,
    Unavailable,
    Timeout,
    Cancelled,
    Failed,
}

/// Why a call has no answer. The message is what the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub kind: ErrorKind,
    pub message: String,
    pub retry_after_ms: Option<u64>,
    /// The guest's panic text and named backtrace: for the log, never for the model.
    #[serde(skip)]
    pub trap: Option<String>,
}

impl CallError {
    /// An error of `kind`, with nothing else to say.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: None, trap: None }
    }
}

/// A piece of a tool's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputPart {
    Text(String),
    /// JSON text.
    Json(String),
    /// A file below one of the call's mounts, by its guest path.
    File {
        path: String,
        media_type: Option<String>,
        name: Option<String>,
        #[serde(skip)]
        content: Content,
    },
}

/// What is in a file of an answer, when the call returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// Nothing that a model could be shown.
    #[default]
    None,
    Media(Bytes, media::Kind),
    /// Why it is not known.
    Unread(String),
}

/// A tool's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub parts: Vec<OutputPart>,
    /// One line for the person who watches.
    pub summary: Option<String>,
}

/// What a catalogue may depend on. Equal values give equal catalogues, so it is a cache key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionInfo {
    pub kind: SessionKind,
    pub reads: Vec<Modality>,
    /// Helper roles that a configured model serves, sorted.
    pub helpers: Vec<String>,
}

impl SessionInfo {
    /// Nothing special: what a component is checked with.
    #[must_use]
    pub fn plain() -> Self {
        Self { kind: SessionKind::Foreground, reads: Vec::new(), helpers: Vec::new() }
    }
}

/// A tool that a session can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The plugin that offers it.
    pub plugin: String,
    pub name: String,
    pub description: String,
    /// JSON Schema, as text.
    pub parameters: String,
    pub batching: Batching,
    pub replay: Replay,
    pub timeout: Duration,
}

/// The directories of a conversation, as host paths. `shared` and each of `mounts` appear inside the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub workspace: PathBuf,
    pub shared: Option<PathBuf>,
    pub mounts: Vec<Mount>,
}

/// An operator's directory, seen as `mounts/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub name: String,
    pub path: PathBuf,
    pub writable: bool,
}

/// In whose name a call runs.
#[derive(Clone)]
pub struct CallContext {
    pub conversation: ConversationId,
    pub session: SessionId,
    pub info: SessionInfo,
    pub places: Places,
    pub port: Arc<dyn SessionPort>,
    /// The alias of the session's own model; none outside a session.
    pub model: Option<String>,
    /// Where the plugin keeps its own values; none outside a host.
    pub store: Option<Store>,
    /// What it may send of what the host keeps.
    pub blobs: Handed,
}

/// The blobs that a call was handed: it names them, and the host puts their bytes into what the call sends. No other name
/// means anything to it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Handed(Arc<BTreeMap<String, Bytes>>);

impl Handed {
    /// The bytes of a blob, if this call was handed it.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Bytes> {
        self.0.get(id)
    }
}

impl FromIterator<(String, Bytes)> for Handed {
    fn from_iter<I: IntoIterator<Item = (String, Bytes)>>(blobs: I) -> Self {
        Self(Arc::new(blobs.into_iter().collect()))
    }
}

/// One tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    pub id: CallId,
    pub name: String,
    /// JSON text, already checked against the tool's schema.
    pub arguments: String,
    pub attempt: u32,
}

/// What a call can ask of the session it runs in. `session` implements it; the arrow never turns back.
pub trait SessionPort: Send + Sync {
    /// Delivers a message to the person, once. Durable when it returns.
    fn say(&self, text: String) -> futures_util::future::BoxFuture<'_, Result<(), CallError>>;
    /// Replaces the plan shown in the progress panel: (text, state of `pending|active|done`).
    fn plan(&self, steps: Vec<(String, String)>, note: Option<String>) -> Result<(), CallError>;
    /// Replaces the call's line in the progress panel.
    fn progress(&self, call: &CallId, text: String);
    /// May the call have others do what costs? A refusal names the limit.
    fn may_spend(&self) -> futures_util::future::BoxFuture<'_, Result<(), CallError>>;
    /// Keeps what the model `alias` has used, which the call has asked. Durable when it returns.
    fn spent<'a>(&'a self, alias: &'a str, usage: Usage) -> futures_util::future::BoxFuture<'a, Result<(), CallError>>;
    /// What `/status` shows.
    fn status(&self) -> Result<Value, CallError>;
}

/// A piece of an answer on its way, for the live preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// Text said to the person, appended.
    Text(String),
    /// Thinking, appended.
    Reasoning(String),
    /// The model has begun to write a call of this tool.
    ToolUse(String),
}
