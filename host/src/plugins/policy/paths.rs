//! Which directories may be mounted, and under which names.
//!
//! No mount may contain, or lie in, what decides over plugins or remembers for the host: a guest that could write there
//! would grant itself anything, and one that could read there would see every conversation or a secret. The paths compared
//! are real ones (links resolved by the caller), component by component, never as text.

use std::path::{Path, PathBuf};

use crate::config::{Config, SecretSource};

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
    /// The host's own places: the configuration with what it names, and the work directory. The conversations' workspaces,
    /// `shared` and the skills below the work directory are no part of it; the host mounts those itself.
    #[must_use]
    pub fn of(config: &Config, workdir: &Path) -> Self {
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
        paths.extend(config.source.iter().map(|source| (source.clone(), "the configuration")));
        paths.extend(config.plugin_dirs.iter().map(|dir| (workdir.join(dir), "the plugins")));
        // Whatever lies there runs with the plugin's grants. Other components are known by their bytes.
        let trusted = config.plugins.values().filter(|plugin| plugin.trust_path).filter_map(|plugin| plugin.path.clone());
        paths.extend(trusted.map(|path| (path, "the plugins")));
        paths.extend(config.secret_sources().filter_map(|(_, source)| match source {
            SecretSource::File(path) | SecretSource::CodexAuth(path) => Some((path.clone(), "a secret")),
            SecretSource::Env(_) => None,
        }));
        Self { paths }
    }

    /// The same, and these files of secrets.
    #[must_use]
    pub fn with_secrets(mut self, files: impl Iterator<Item = PathBuf>) -> Self {
        self.paths.extend(files.map(|path| (path, "a secret")));
        self
    }

    /// The same, and where the paths lead when links are followed, which `real` says.
    #[must_use]
    pub fn with_real(mut self, real: impl Fn(&Path) -> PathBuf) -> Self {
        let led: Vec<_> = self.paths.iter().map(|(path, what)| (real(path), *what)).filter(|led| !self.paths.contains(led)).collect();
        self.paths.extend(led);
        self
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
    use crate::config::Plugin;

    #[test]
    fn what_decides_over_plugins_cannot_be_mounted() {
        let dev = Plugin { path: Some("/home/me/dev/x.wasm".into()), trust_path: true, ..Plugin::default() };
        let known = Plugin { path: Some("/home/me/docs/y.wasm".into()), ..Plugin::default() };
        let mut config = Config {
            source: Some("/etc/stellaclaw/config.toml".into()),
            plugin_dirs: vec!["/opt/drop-in".into()],
            plugins: [("dev".into(), dev), ("known".into(), known)].into(),
            ..Config::embedded(false)
        };
        for model in config.models.values_mut() {
            model.api_key = Some(SecretSource::File("/home/me/keys/one".into()));
        }
        let led = |path: &Path| path.strip_prefix("/srv").map_or(path.to_owned(), |rest| Path::new("/mnt/disk").join(rest));
        let guarded = Guarded::of(&config, Path::new("/srv/claw")).with_secrets(["/home/me/more/two".into()].into_iter()).with_real(led);
        let table = [
            ("/mnt/disk", false),
            ("/mnt/disk/claw/plugins", false),
            ("/home/me/keys", false),
            ("/home/me/more", false),
            ("/home/me/more/two", false),
            ("/home/me/dev", false),
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
