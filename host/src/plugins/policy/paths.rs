//! Which directories may be mounted, and under which names.
//!
//! No mount may contain, or lie in, what decides over plugins or remembers for the host: a guest that could write there
//! would grant itself anything, and one that could read there would see every conversation. The paths compared are real
//! ones (links resolved by the caller), component by component, never as text.

use std::path::{Path, PathBuf};

/// What must stay out of every mount.
#[derive(Debug, Clone, Default)]
pub struct Guarded {
    /// Files and directories with what they are, for messages.
    pub paths: Vec<(PathBuf, &'static str)>,
}

/// Why a directory cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    #[error(
        "mount {name:?}: a name is up to 64 bytes without / \\ : \" and control characters, and does not begin with . - or a space; rename the directory or mount a link to it"
    )]
    Name { name: String },
    #[error("mount {path}: write an absolute path without `..`", path = path.display())]
    Relative { path: PathBuf },
    #[error(
        "mount {path}: it would give plugins {what} ({guarded}); mount a directory beside it",
        path = path.display(),
        guarded = guarded.display()
    )]
    Guarded { path: PathBuf, guarded: PathBuf, what: &'static str },
}

impl Guarded {
    /// The host's own places: a configuration file and a work directory. The conversations' workspaces, `shared` and the
    /// skills below the work directory are no part of it; the host mounts those itself.
    #[must_use]
    pub fn of(config: Option<&Path>, workdir: &Path, plugin_dirs: &[PathBuf]) -> Self {
        let below = [
            ("state.db", "the store"),
            ("grants.toml", "the grants"),
            ("plugins", "the plugins"),
            ("components", "the plugins"),
            ("cache", "the code cache"),
            ("data", "other plugins' data"),
            ("blobs", "the store"),
            ("logs", "the logs"),
            ("lock", "the store"),
            ("host.sock", "the control socket"),
            ("STELLA_VERSION", "the store"),
        ];
        let mut paths: Vec<(PathBuf, &'static str)> = below.map(|(name, what)| (workdir.join(name), what)).to_vec();
        paths.extend(config.map(|config| (config.to_owned(), "the configuration")));
        paths.extend(plugin_dirs.iter().map(|dir| (workdir.join(dir), "the plugins")));
        Self { paths }
    }

    /// May the directory be mounted?
    pub fn check(&self, path: &Path) -> Result<(), MountError> {
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(MountError::Relative { path: path.to_owned() });
        }
        match self.paths.iter().find(|(guarded, _)| guarded.starts_with(path) || path.starts_with(guarded)) {
            Some((guarded, what)) => Err(MountError::Guarded { path: path.to_owned(), guarded: guarded.clone(), what }),
            None => Ok(()),
        }
    }
}

/// May a mount be called this? The name is one directory in every workspace, and a part of a grant (`mounts/NAME:ro`).
pub fn check_name(name: &str) -> Result<(), MountError> {
    let is_plain = |character: char| !character.is_control() && !matches!(character, '/' | '\\' | ':' | '"');
    let good = !name.is_empty() && name.len() <= 64 && !name.starts_with(['.', '-', ' ']) && name.chars().all(is_plain);
    if good { Ok(()) } else { Err(MountError::Name { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_over_plugins_cannot_be_mounted() {
        let guarded = Guarded::of(Some(Path::new("/etc/stellaclaw/config.toml")), Path::new("/srv/claw"), &[PathBuf::from("/opt/drop-in")]);
        let table = [
            ("/", false),
            ("/srv", false),
            ("/srv/claw", false),
            ("/srv/claw/.", false),
            ("/srv//claw/", false),
            ("/srv/claw/plugins", false),
            ("/srv/claw/plugins/x", false),
            ("/srv/claw/components", false),
            ("/srv/claw/cache/x", false),
            ("/srv/claw/blobs", false),
            ("/srv/claw/data/other", false),
            ("/etc", false),
            ("/etc/stellaclaw", false),
            ("/opt", false),
            ("/opt/drop-in/x", false),
            ("docs", false),
            ("/home/me/../../srv/claw", false),
            ("/srv/claw2", true),
            ("/srv/claw/pluginsx", true),
            ("/srv/claw/conversations/1", true),
            ("/srv/claw/rundir/shared", true),
            ("/home/me/docs", true),
        ];
        for (path, allowed) in table {
            assert_eq!(guarded.check(Path::new(path)).is_ok(), allowed, "{path}");
        }
        let error = guarded.check(Path::new("/etc")).unwrap_err().to_string();
        assert_eq!(error, "mount /etc: it would give plugins the configuration (/etc/stellaclaw/config.toml); mount a directory beside it");
    }

    #[test]
    fn names() {
        for name in ["docs", "a", "0", "my-docs_2", "Documents", "My.Docs", "dócs", "a b", "_x", "~"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "x".repeat(65);
        for name in ["", ".", "..", ".git", "a/b", "a\\b", "-x", " x", "a\0", "a\n", "a:rw", "a\"", long.as_str()] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
