//! Secrets: where they come from, and how they are kept out of everything that leaves.
//!
//! - A [`Secret`] has no `Debug`, no `Display` and no serialisation; its memory is wiped when it is dropped.
//! - A value under 12 bytes is refused: it would be found in innocent text, so it could not be redacted.
//! - No error here carries a value or a part of one.
//! - A login is a secret that is renewed: see [`codex`] and `renewal`.
//!
//! What it does not do: check who else can read a secret's file (`doctor` does).

pub mod codex;
#[cfg(test)]
#[path = "../tests/all/support/fake_auth.rs"]
pub(crate) mod fake_auth;
mod redact;
mod renewal;
mod shapes;

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::config::SecretSource;
use crate::{files, limits};
pub use redact::{Redactor, Stream};
pub use renewal::{Credential, RenewError, Renewals, keep_login};

/// The value of a secret.
#[derive(Clone)]
pub struct Secret(SecretString);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable {name} is not set; set it, or name another source in the configuration")]
    Unset { name: String },
    #[error("the environment variable {name} is not UTF-8")]
    NotText { name: String },
    #[error("read the secret in {path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{from}: a secret has at least {min} bytes, this one is too short to be redacted safely", min = limits::SECRET_BYTES_MIN)]
    Short { from: String },
    #[error("{from}: a secret is one line of visible characters")]
    Malformed { from: String },
    #[error("{path}: {reason}; log in with `stellaclaw login codex --file {path}`", path = path.display())]
    NoLogin { path: PathBuf, reason: codex::LoginError },
    #[error("{0}")]
    NotRenewed(RenewError),
}

impl Secret {
    /// Takes a value; `from` says in an error where it came from.
    pub fn new(value: impl Into<SecretString>, from: &str) -> Result<Self, SecretError> {
        let value: SecretString = value.into();
        if value.expose_secret().len() < limits::SECRET_BYTES_MIN {
            return Err(SecretError::Short { from: from.to_owned() });
        }
        if value.expose_secret().chars().any(char::is_control) {
            return Err(SecretError::Malformed { from: from.to_owned() });
        }
        Ok(Self(value))
    }

    /// The value, for the one place that sends or signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl SecretSource {
    /// Everything that it holds and nobody may see.
    pub fn read_all(&self) -> Result<Vec<Secret>, SecretError> {
        match self {
            Self::CodexAuth(path) => Ok(codex::Login::read(path)?.secrets()),
            plain => Ok(vec![plain.read()?]),
        }
    }

    /// Reads the secret now; nothing is kept.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Unset { name: name.clone() })?;
                let value = value.into_string().map_err(|_| SecretError::NotText { name: name.clone() })?;
                Secret::new(value, name)
            }
            Self::File(path) => {
                let text = files::text(path, limits::SECRET_FILE_BYTES)
                    .map(SecretString::from)
                    .map_err(|source| SecretError::Unreadable { path: path.clone(), source })?;
                let line = text.expose_secret().strip_suffix('\n').unwrap_or(text.expose_secret());
                let line = line.strip_suffix('\r').unwrap_or(line);
                Secret::new(line, &path.display().to_string())
            }
            Self::CodexAuth(path) => Ok(codex::Login::read(path)?.credential(path)?.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-0123456789abcdef\r\n").unwrap();
        let secret = SecretSource::File(file.path().to_owned()).read().ok().unwrap();
        assert_eq!(secret.expose(), "sk-0123456789abcdef");
    }

    #[test]
    fn bad_secrets_are_refused_without_being_shown() {
        let refusal = |value: &str| Secret::new(value, "KEY").err().unwrap().to_string();
        assert_eq!(refusal("hunter2-abc"), "KEY: a secret has at least 12 bytes, this one is too short to be redacted safely");
        assert_eq!(refusal("two\nlines-of-text"), "KEY: a secret is one line of visible characters");
        assert!(Secret::new("hunter2-abcd", "KEY").is_ok());
        let missing = SecretSource::Env("STELLACLAW_TEST_NO_SUCH_VARIABLE".to_owned()).read().err().unwrap();
        assert!(missing.to_string().contains("STELLACLAW_TEST_NO_SUCH_VARIABLE is not set"));
    }

    #[test]
    fn what_has_no_end_or_no_writer_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [pipe, "/dev/zero".into()] {
            let refused = SecretSource::File(path).read().err().unwrap();
            assert!(refused.to_string().ends_with("not a regular file"), "{refused}");
        }
    }
}
