//! What became of a request, as far as anybody can know.

use std::fmt;
use std::time::Duration;

/// A call that did not give its result.
#[derive(thiserror::Error)]
pub enum ApiError {
    /// The server has certainly not seen it: no connection was made.
    #[error("{0}")]
    NotSent(String),
    /// The server has read it and will not do it.
    #[error(transparent)]
    Rejected(Box<Refusal>),
    /// It may or may not have been done: no answer, half of one, one of somebody else, or the server's own failure.
    #[error("{0}")]
    Unknown(String),
    /// It was done, but what came back is not what was expected.
    #[error("{why}")]
    Undecodable { why: String, raw: String },
    /// A file to upload could not be read to its end, so the server never got the whole request.
    #[error("{0}")]
    Unreadable(String),
}

/// A refusal in the server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method}: {code} {description}")]
pub struct Refusal {
    pub method: String,
    pub code: u16,
    pub description: String,
    /// Too many requests: again after this.
    pub retry_after: Option<Duration>,
    /// The group is a supergroup now, with this id.
    pub migrate_to: Option<i64>,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Rejected(Box::new(refusal))
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::NotSent(_) => "NotSent",
            Self::Rejected(_) => "Rejected",
            Self::Unknown(_) => "Unknown",
            // Its JSON is people's messages, or a path with the token in it.
            Self::Undecodable { .. } => "Undecodable",
            Self::Unreadable(_) => "Unreadable",
        };
        write!(out, "{kind}({self})")
    }
}

/// The bot cannot write to the chat any more, beside every 403.
const GONE: &[&str] = &[
    "chat not found",
    "bot was kicked",
    "bot was blocked",
    "bot is not a member",
    "user is deactivated",
    "group chat was deleted",
    "group chat was deactivated",
    "not enough rights to send text messages",
    "have no rights to send a message",
    "need administrator rights in the channel",
    "chat_write_forbidden",
    "chat_send_plain_forbidden",
    "chat_restricted",
    "channel_private",
    "peer_id_invalid",
];
/// Files of a kind may not be sent there by anybody.
const MEDIA_FORBIDDEN: &[&str] = &["not enough rights to send", "chat_send_"];
const THREAD_GONE: &[&str] = &["message thread not found", "topic_closed", "topic_deleted", "topic_id_invalid"];
const UNPARSABLE: &[&str] = &["can't parse entit", "can't parse messageentity", "entity_", "entities_"];
const MESSAGE_GONE: &[&str] = &["message to edit not found", "message can't be edited", "message_id_invalid"];

impl ApiError {
    /// What the server said, if it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Rejected(refusal) => Some(refusal),
            _ => None,
        }
    }

    fn has_code(&self, code: u16) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code)
    }

    fn says(&self, any: &[&str]) -> bool {
        self.refusal().is_some_and(|refusal| {
            let text = refusal.description.to_lowercase();
            any.iter().any(|part| text.contains(part))
        })
    }

    /// Somebody else polls with this token, or a webhook is set.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.has_code(409)
    }

    /// The token is not, or no longer, one of a bot. What does not look like a token is "Not Found".
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.has_code(401) || (self.has_code(404) && !self.says(&["method not found"]))
    }

    /// The server does not know the method; for one that it must know, see [`Self::is_unauthorized`].
    #[must_use]
    pub fn is_method_missing(&self) -> bool {
        self.has_code(404)
    }

    /// Too many requests.
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.has_code(429)
    }

    /// An edit to what is there already: as good as done.
    #[must_use]
    pub fn is_not_modified(&self) -> bool {
        self.says(&["message is not modified"])
    }

    /// The text would do without its entities.
    #[must_use]
    pub fn is_unparsable_entities(&self) -> bool {
        self.has_code(400) && self.says(UNPARSABLE)
    }

    /// Nothing can be sent to that chat any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.has_code(403) || self.says(GONE)
    }

    /// Files of that kind cannot be sent there, whatever is in them.
    #[must_use]
    pub fn is_media_forbidden(&self) -> bool {
        self.has_code(400) && self.says(MEDIA_FORBIDDEN) && !self.is_gone()
    }

    /// Nothing can be sent to that topic any more.
    #[must_use]
    pub fn is_thread_gone(&self) -> bool {
        self.says(THREAD_GONE)
    }

    /// The message to edit is not there, or too old.
    #[must_use]
    pub fn is_message_gone(&self) -> bool {
        self.says(MESSAGE_GONE)
    }
}
