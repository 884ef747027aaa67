//! Where Telegram is strict: what is refused, in its words. Pure.
//!
//! Where Telegram would quietly do something else than it was told (drop the entities after the hundredth, ignore a field
//! that it does not know), this refuses too: a bot that relies on it is wrong.

pub mod keyboard;
pub mod picture;
pub mod text;

use serde::Serialize;
use serde_json::{Value, json};

/// An answer with `ok: false`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code} {description}")]
pub struct Refusal {
    pub code: u16,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate_to: Option<i64>,
}

impl Refusal {
    #[must_use]
    pub fn new(code: u16, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), retry_after: None, migrate_to: None }
    }

    /// 400.
    pub(crate) fn bad(description: impl AsRef<str>) -> Self {
        Self::new(400, format!("Bad Request: {}", description.as_ref()))
    }

    /// 403.
    pub(crate) fn forbidden(description: &str) -> Self {
        Self::new(403, format!("Forbidden: {description}"))
    }

    /// 409.
    pub(crate) fn conflict(description: &str) -> Self {
        Self::new(409, format!("Conflict: {description}"))
    }

    /// 429.
    #[must_use]
    pub fn too_many(retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(429, format!("Too Many Requests: retry after {retry_after}")) }
    }

    /// 400 of a group that is a supergroup now.
    pub(crate) fn migrated(to: i64) -> Self {
        Self { migrate_to: Some(to), ..Self::bad("group chat was upgraded to a supergroup chat") }
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({"ok": false, "error_code": self.code, "description": self.description});
        if let Some(seconds) = self.retry_after {
            body["parameters"] = json!({"retry_after": seconds});
        }
        if let Some(chat) = self.migrate_to {
            body["parameters"] = json!({"migrate_to_chat_id": chat});
        }
        body
    }
}

/// A description that a parser's error is part of.
pub(crate) fn unreadable(what: &str, error: &serde_json::Error) -> Refusal {
    Refusal::bad(format!("can't parse {what}: {error}"))
}
