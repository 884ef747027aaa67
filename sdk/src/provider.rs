//! Language models.

use crate::chat::{Completion, Failure, FailureKind, Message, Model, Request, Usage};

/// A component that serves a language model. Named in the configuration as a model's `provider`.
pub trait Provider {
    /// Answers one request. What arrives on the way goes out through [`crate::deltas::emit`]; what is returned is the
    /// authority over it.
    ///
    /// # Errors
    ///
    /// Why there is no completion. Whether anything was sent or shown is not said: the host saw it itself.
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure>;

    /// Gets ready for `request`. Nobody waits for it, and doing nothing is fine.
    ///
    /// # Errors
    ///
    /// Logged by the host, and otherwise ignored.
    fn prepare(_model: &Model, _request: &Request) -> Result<(), Failure> {
        Ok(())
    }
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
            retry_after: None,
            resets_at: None,
            usage: None,
            raw: None,
        }
    }

    /// The call is being stopped.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "the request was stopped")
    }
}

impl From<crate::Error> for Failure {
    /// What an import refused or could not do, before there was an answer to classify.
    fn from(error: crate::Error) -> Self {
        use crate::ErrorKind as Kind;
        let kind = match error.kind {
            Kind::Denied => FailureKind::Denied,
            Kind::Cancelled => FailureKind::Cancelled,
            Kind::Timeout => FailureKind::Timeout,
            Kind::Invalid | Kind::TooLarge => FailureKind::InvalidRequest,
            _ => FailureKind::Transport,
        };
        Self { retry_after: error.retry_after, ..Self::new(kind, error.message) }
    }
}

impl Usage {
    /// Nothing used.
    #[must_use]
    pub fn none() -> Self {
        Self { input_uncached: 0, cache_read: 0, cache_write: Vec::new(), output: 0, reasoning: 0, cost: None, raw: None }
    }
}

impl Message {
    /// The text pieces of the message, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                crate::chat::Piece::Text(text) => Some(text.text.as_str()),
                _ => None,
            })
            .collect()
    }
}
