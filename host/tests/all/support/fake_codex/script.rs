//! What is answered, and what goes wrong in place of it.

use serde_json::{Value, json};

/// Answers by what users write. The last message of a user that contains a key decides; the n-th request after it gets the
/// n-th answer of the key, and further ones the last.
#[derive(Debug, Clone, Default)]
pub struct Script {
    answers: Vec<(String, Vec<Answer>)>,
    refused: Vec<u16>,
}

/// One answer: items in this order.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub(super) thought: Option<String>,
    pub(super) text: String,
    pub(super) calls: Vec<(String, String)>,
    pub(super) held: Option<String>,
    pub(super) held_after_text: Option<String>,
    /// The first fault to the first request, and so on.
    pub(super) faults: Vec<Fault>,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection is gone before anything was said.
    Gone,
    /// It is gone in the middle of the answer.
    Cut,
    /// An error with a status: a frame, or an answer without a stream.
    Status { status: u16, error: Value, headers: Vec<(String, String)> },
    /// `response.failed` with this code, in the middle of the answer.
    Failed(&'static str),
    /// The answer that the request builds on is not remembered, whatever it is.
    Forgotten,
    /// A binary frame.
    Binary,
    /// A ping that must be answered before the answer comes.
    Ping,
}

impl Fault {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Cut => "cut",
            Self::Status { .. } => "status",
            Self::Failed(_) => "failed",
            Self::Forgotten => "forgotten",
            Self::Binary => "binary",
            Self::Ping => "ping",
        }
    }

    /// The subscription is used up until then, in seconds since 1970.
    pub fn used_up(resets_at: u64) -> Self {
        let error = json!({"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus",
            "resets_at": resets_at}});
        Self::Status { status: 429, error, headers: vec![("x-codex-primary-used-percent".into(), "100".into())] }
    }

    /// This connection has lived long enough.
    pub fn too_old() -> Self {
        let error = json!({"error": {"type": "invalid_request_error", "code": "websocket_connection_limit_reached",
            "message": "Responses websocket connection limit reached (60 minutes)."}});
        Self::Status { status: 400, error, headers: Vec::new() }
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

    /// Begins with a thought.
    pub fn thinking(mut self, thought: &str) -> Self {
        self.thought = Some(thought.to_owned());
        self
    }

    /// Held until released, before anything of it is sent.
    pub fn held(mut self, name: &str) -> Self {
        self.held = Some(name.to_owned());
        self
    }

    /// Held until released, when its text has been sent.
    pub fn held_after_text(mut self, name: &str) -> Self {
        self.held_after_text = Some(name.to_owned());
        self
    }

    pub fn after(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.extend(faults);
        self
    }
}

impl Script {
    /// The answers to messages that contain `key`.
    pub fn on<const N: usize>(mut self, key: &str, answers: [Answer; N]) -> Self {
        assert!(N > 0, "{key} has no answer");
        self.answers.push((key.to_owned(), answers.into()));
        self
    }

    /// The first attempts to open a connection are refused with these.
    pub fn refusing(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.refused.extend(statuses);
        self
    }

    /// Why attempt `number` is refused.
    pub(super) fn upgrade(&self, number: usize) -> Option<(u16, Value)> {
        let status = *self.refused.get(number)?;
        Some((status, json!({"detail": format!("the fake says {status}")})))
    }

    /// The answer that is due, with its key and its number.
    pub(super) fn answer(&self, input: &[Value]) -> Option<(&str, usize, &Answer)> {
        let text = text_of(input.iter().rev().find(|item| is_user(item))?);
        let (key, answers) = self.answers.iter().find(|(key, _)| text.contains(key.as_str()))?;
        let round = round(input);
        Some((key, round, &answers[round.min(answers.len() - 1)]))
    }
}

fn is_user(item: &Value) -> bool {
    item["role"] == "user"
}

/// How many answers followed the last message of a user: each ended with calls, whose outputs stand together.
pub(super) fn round(input: &[Value]) -> usize {
    let from = input.iter().rposition(is_user).unwrap_or(0);
    let is_output = |item: &Value| item["type"] == "function_call_output";
    input[from..].windows(2).filter(|pair| is_output(&pair[1]) && !is_output(&pair[0])).count()
}

fn text_of(item: &Value) -> String {
    match &item["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}
