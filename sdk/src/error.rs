//! The one error of the contract, easy to make.

use crate::types::{Error, ErrorKind};

/// The result of a tool, and of every import.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` is what the model reads (at most 4 KiB of it).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// The request cannot be right as it stands; say what to change.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// It exists already, or it changed under the caller.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// It is over a limit; name the limit.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, message)
    }

    /// Anything else that went wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// The call is being stopped.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the call was stopped")
    }

    /// The error with `context` before its message, so that it says what was tried.
    #[must_use]
    pub fn context(mut self, context: impl std::fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists | Io::DirectoryNotEmpty => ErrorKind::Conflict,
            Io::FileTooLarge | Io::QuotaExceeded | Io::StorageFull => ErrorKind::TooLarge,
            Io::InvalidInput | Io::InvalidData | Io::IsADirectory | Io::NotADirectory | Io::InvalidFilename => ErrorKind::Invalid,
            Io::TimedOut => ErrorKind::Timeout,
            Io::Interrupted => ErrorKind::Cancelled,
            _ => ErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid(error.to_string())
    }
}
