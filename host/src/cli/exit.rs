//! Exit codes: one per class of outcome that a script or a service manager acts on.

use std::fmt;
use std::process;

use crate::backup::BackupError;
use crate::channels::telegram;
use crate::config::ConfigError;
use crate::kernel::StartError;
use crate::plugins::{self, GrantsError};
use crate::store::StoreError;
use crate::workdir::WorkDirError;

/// What the process says when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    Ok = 0,
    Failed = 1,
    /// Said by the argument parser.
    Usage = 2,
    Config = 3,
    Auth = 4,
    Network = 5,
    Locked = 6,
    NotFound = 7,
    Denied = 8,
    GaveUp = 70,
    Disk = 74,
    Temporary = 75,
    Interrupted = 130,
    Terminated = 143,
}

/// Printed by `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0    done
  1    failed, or not healthy
  2    the arguments are wrong
  3    the configuration is wrong, or the work directory is of another version
  4    a credential is missing or was refused
  5    a network or a provider cannot be reached
  6    the work directory is held by another process
  7    there is no such thing
  8    refused by a policy or a missing grant
  70   gave up restarting a part that keeps failing
  74   the disk is full or broken
  75   may succeed later
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
A service manager should not restart after 2, 3 and 4.";

/// An error with the code to end with. It adds no words of its own.
#[derive(Debug)]
struct Coded {
    code: ExitCode,
    error: anyhow::Error,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Coded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.chain().nth(1)
    }
}

impl ExitCode {
    /// An error that ends the process with this code.
    pub fn error(self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        anyhow::Error::new(Coded { code: self, error: error.into() })
    }

    /// The code that an error ends the process with: what it was given, or what its cause says.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(coded) = cause.downcast_ref::<Coded>() {
            return Some(coded.code);
        }
        if cause.is::<ConfigError>() || cause.is::<GrantsError>() {
            return Some(Self::Config);
        }
        if let Some(error) = cause.downcast_ref::<WorkDirError>() {
            return Some(match error {
                WorkDirError::Newer { .. } | WorkDirError::Foreign { .. } => Self::Config,
                WorkDirError::Absent { .. } => Self::NotFound,
                WorkDirError::Io { .. } => Self::Disk,
            });
        }
        if let Some(error) = cause.downcast_ref::<StartError>() {
            return match error {
                StartError::Locked => Some(Self::Locked),
                StartError::WorkDir(error) => Self::of_cause(error),
                StartError::Store(error) => Self::of_cause(error),
                StartError::LongPath(_) => Some(Self::Config),
                StartError::Socket { .. } => Some(Self::Disk),
                StartError::Token(_) => Some(Self::Auth),
                StartError::Telegram(telegram::StartError::Store(error)) => Self::of_cause(error),
                StartError::Telegram(_) => Some(Self::Config),
                StartError::Plugins(plugins::StartError::Directory { .. }) => Some(Self::Disk),
                StartError::Plugins(_) => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<BackupError>() {
            return match error {
                BackupError::Held(_) => Some(Self::Locked),
                BackupError::NotABackup(_) => Some(Self::NotFound),
                BackupError::Newer { .. } => Some(Self::Config),
                BackupError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some(Self::NotFound),
                BackupError::Io { .. } => Some(Self::Disk),
                BackupError::Store(error) => Self::of_cause(error),
                BackupError::WorkDir(error) => Self::of_cause(error),
                _ => None,
            };
        }
        cause.downcast_ref::<StoreError>().and_then(|error| match error {
            StoreError::Full(_) | StoreError::Broken(_) | StoreError::Damaged(_) | StoreError::Gone(_) | StoreError::Io { .. } => {
                Some(Self::Disk)
            }
            StoreError::Newer { .. } | StoreError::Older { .. } => Some(Self::Config),
            StoreError::NotFound(_) => Some(Self::NotFound),
            _ => None,
        })
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_ends_with_the_code_of_its_cause() {
        let config = anyhow::Error::new(ConfigError::Invalid { problems: Vec::new() }).context("failed to start");
        let disk = anyhow::Error::new(StoreError::Full("write".into()));
        let action = "make";
        let unwritable = plugins::StartError::Directory { action, path: "/x".into(), source: std::io::ErrorKind::PermissionDenied.into() };
        assert_eq!(ExitCode::of(&anyhow::Error::new(StartError::Plugins(unwritable))), ExitCode::Disk);
        let absent = WorkDirError::Io { action, path: "/x".into(), source: std::io::ErrorKind::NotFound.into() };
        assert_eq!(ExitCode::of(&anyhow::Error::new(StartError::WorkDir(absent))), ExitCode::Disk, "what cannot be made is no wrong name");
        let given = ExitCode::Denied.error(anyhow::anyhow!("inner").context("outer")).context("outermost");
        assert_eq!(ExitCode::of(&config), ExitCode::Config);
        assert_eq!(ExitCode::of(&disk), ExitCode::Disk);
        let wrapped = anyhow::Error::new(StartError::Store(StoreError::Broken("sync".into())));
        assert_eq!(ExitCode::of(&wrapped), ExitCode::Disk);
        assert_eq!(ExitCode::of(&given), ExitCode::Denied);
        assert_eq!(format!("{given:#}"), "outermost: outer: inner");
        assert_eq!(ExitCode::of(&anyhow::anyhow!("anything")), ExitCode::Failed);
    }

    #[test]
    fn the_help_names_every_code() {
        use ExitCode::*;
        let all = [Ok, Failed, Usage, Config, Auth, Network, Locked, NotFound, Denied, GaveUp, Disk, Temporary, Interrupted, Terminated];
        for code in all {
            assert!(HELP.contains(&format!("\n  {:<4} ", code as u8)), "{code:?}");
        }
    }
}
