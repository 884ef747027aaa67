//! Rows of the inbox, as a session reads them.

use serde::{Deserialize, Serialize};

use super::event::{Beside, TurnInput};
use crate::ids::InboxId;
use crate::store::{InboxKind, InboxRow};

/// The body of a row, as the router writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    pub text: String,
    /// Who wrote it, where more than one person could have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    #[serde(flatten)]
    pub beside: Beside,
}

impl Body {
    /// A text and nothing else.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), sender: None, beside: Beside::default() }
    }
}

/// A command that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandRow {
    pub(super) id: InboxId,
    pub(super) text: String,
    pub(super) by: String,
    /// The channel's id of the message, for the answer to it.
    pub(super) remote: Option<String>,
}

/// Commands and messages, each in order of arrival. A body that cannot be read is a message that says so.
pub(super) fn split(rows: Vec<InboxRow>) -> (Vec<CommandRow>, Vec<TurnInput>) {
    let (mut commands, mut messages) = (Vec::new(), Vec::new());
    for row in rows {
        let body =
            serde_json::from_str(&row.body).unwrap_or_else(|error| Body::text(format!("(a message that could not be read: {error})")));
        match row.kind {
            InboxKind::Command => {
                let by = body.sender.unwrap_or_else(|| row.source.clone());
                commands.push(CommandRow { id: row.id, text: body.text, by, remote: body.beside.remote });
            }
            InboxKind::Message => {
                let Body { text, sender, beside } = body;
                messages.push(TurnInput { inbox: row.id, text, sender, at: row.received_at, beside });
            }
        }
    }
    (commands, messages)
}
