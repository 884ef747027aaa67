//! Where the configuration and the work directory are, and everything else that the environment says.
//!
//! The variables are read here; only a secret's own variable is read by `secrets`, when it is used. What was given on the command line wins over them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError};

/// This user's configuration, as [`personal`] wants it.
pub const CONFIG_PLACE: &str = "stellaclaw/config.toml";

/// Makes `openrouter/auto` the default model when there is no configuration.
pub const OPENROUTER_API_KEY: &str = "OPENROUTER_API_KEY";

/// The value of an environment variable; none when it is unset or empty.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The work directory: `given`, `$STELLACLAW_WORKDIR`, `$XDG_DATA_HOME/stellaclaw`, `~/.local/share/stellaclaw`.
#[must_use]
pub fn work_directory(given: Option<&Path>) -> Option<PathBuf> {
    work_directory_by(given, &variable)
}

/// The configuration file: `given`, `$STELLACLAW_CONFIG`, and then whichever exists of
/// `$XDG_CONFIG_HOME/stellaclaw/config.toml` (`~/.config`) and `/etc/stellaclaw/config.toml`.
///
/// A file that was named need not exist: that it does not is an error when it is loaded. So is one's own that cannot be seen:
/// nobody is served as nobody has configured it.
#[must_use]
pub fn config_file(given: Option<&Path>) -> Option<PathBuf> {
    config_file_by(given, &variable, &|path| path.try_exists().ok())
}

/// A place among the user's own configurations: below `$XDG_CONFIG_HOME` (`~/.config`).
#[must_use]
pub fn personal(place: &str) -> Option<PathBuf> {
    personal_by(place, &variable)
}

/// The path with the user's home in the place of a leading `~`; none where there is no home.
#[must_use]
pub fn expanded(path: &Path) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => variable("HOME").map(|home| PathBuf::from(home).join(rest)),
        Err(_) => Some(path.to_owned()),
    }
}

/// Where the Codex CLI keeps its login: `$CODEX_HOME/auth.json`, `~/.codex/auth.json`.
#[must_use]
pub fn codex_login() -> Option<PathBuf> {
    let home = variable("CODEX_HOME").map(PathBuf::from).or_else(|| expanded(Path::new("~/.codex")));
    home.map(|home| home.join("auth.json"))
}

/// Where locks of this machine's processes are: `$XDG_RUNTIME_DIR`, else the folder for temporary files.
#[must_use]
pub fn runtime_directory() -> PathBuf {
    let named = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    named.unwrap_or_else(std::env::temp_dir)
}

/// Loads the file that [`config_file`] finds, or the embedded default.
///
/// # Errors
///
/// Those of [`Config::load`].
pub fn load(given: Option<&Path>) -> Result<Config, ConfigError> {
    match config_file(given) {
        Some(path) => Config::load(&path),
        None => Ok(Config::embedded(variable(OPENROUTER_API_KEY).is_some())),
    }
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn work_directory_by(given: Option<&Path>, variable: Variables<'_>) -> Option<PathBuf> {
    let named = given.map(Path::to_owned).or_else(|| variable("STELLACLAW_WORKDIR").map(PathBuf::from));
    named.or_else(|| base("XDG_DATA_HOME", ".local/share", variable).map(|base| base.join("stellaclaw")))
}

/// `exists`: none where that cannot be seen.
fn config_file_by(given: Option<&Path>, variable: Variables<'_>, exists: &dyn Fn(&Path) -> Option<bool>) -> Option<PathBuf> {
    let named = given.map(Path::to_owned).or_else(|| variable("STELLACLAW_CONFIG").map(PathBuf::from));
    let own = || personal_by(CONFIG_PLACE, variable).filter(|path| exists(path) != Some(false));
    let common = || Some(PathBuf::from("/etc/stellaclaw/config.toml")).filter(|path| exists(path) == Some(true));
    named.or_else(own).or_else(common)
}

fn personal_by(place: &str, variable: Variables<'_>) -> Option<PathBuf> {
    base("XDG_CONFIG_HOME", ".config", variable).map(|base| base.join(place))
}

/// A base directory. XDG says that a relative one is to be ignored.
fn base(name: &str, below_home: &str, variable: Variables<'_>) -> Option<PathBuf> {
    let named = variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(below_home)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    }

    #[test]
    fn the_config_is_the_first_that_is_named_or_exists() {
        let check = |given: Option<&str>, variables: &'static [(&str, &str)], existing: &'static str| {
            let found = config_file_by(given.map(Path::new), &set(variables), &|path| Some(path == Path::new(existing)));
            found.map(|path| path.to_str().unwrap().to_owned())
        };
        let all: &[_] = &[("STELLACLAW_CONFIG", "/b.toml"), ("XDG_CONFIG_HOME", "/x"), ("HOME", "/home/me")];
        assert_eq!(check(Some("a.toml"), all, "").as_deref(), Some("a.toml"));
        assert_eq!(check(None, all, "").as_deref(), Some("/b.toml"));
        assert_eq!(check(None, &all[1..], "/x/stellaclaw/config.toml").as_deref(), Some("/x/stellaclaw/config.toml"));
        assert_eq!(
            check(None, &all[2..], "/home/me/.config/stellaclaw/config.toml").as_deref(),
            Some("/home/me/.config/stellaclaw/config.toml")
        );
        assert_eq!(check(None, &all[1..], "/etc/stellaclaw/config.toml").as_deref(), Some("/etc/stellaclaw/config.toml"));
        assert_eq!(check(None, &all[1..], ""), None);
        let unseen = config_file_by(None, &set(&all[1..]), &|_| None);
        assert_eq!(unseen.as_deref(), Some(Path::new("/x/stellaclaw/config.toml")), "one's own counts, also where it cannot be seen");
        assert_eq!(config_file_by(None, &set(&[]), &|_| None), None);
    }

    #[test]
    fn the_work_directory_is_the_first_that_is_named() {
        let check = |given: Option<&str>, variables: &'static [(&str, &str)]| work_directory_by(given.map(Path::new), &set(variables));
        let all: &[_] = &[("STELLACLAW_WORKDIR", "/b"), ("XDG_DATA_HOME", "/x"), ("HOME", "/home/me")];
        assert_eq!(check(Some("a"), all), Some("a".into()));
        assert_eq!(check(None, all), Some("/b".into()));
        assert_eq!(check(None, &all[1..]), Some("/x/stellaclaw".into()));
        assert_eq!(check(None, &[("XDG_DATA_HOME", "relative"), ("HOME", "/home/me")]), Some("/home/me/.local/share/stellaclaw".into()));
        assert_eq!(check(None, &[]), None);
    }
}
