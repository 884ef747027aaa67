//! The configuration, resolved: every default filled in, every value checked.
//!
//! Two stages: `raw` mirrors the TOML and knows the keys; `resolve` turns it into [`Config`]. Nothing else sees the raw
//! form. A conversation stores a model's alias, never a copy of what is here. Secrets are named, never read, here.
//!
//! [`environment`] reads the environment variables, except those that hold a secret; [`Current`] is what counts in a running host.

mod current;
pub mod environment;
mod error;
mod helpers;
mod model;
mod raw;
mod resolve;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::chat::{Batching, Replay};
use crate::limits;

pub use current::Current;
pub use error::{ConfigError, Problem};
pub use helpers::{Helper, Helpers, Role};
pub use model::{AudioLimits, ImageLimits, Model, PdfLimits, Price, Retry};
pub(crate) use raw::parse_span;
pub(crate) use resolve::{is_host_of, is_name, parse_origin};

/// The version of the configuration's form.
pub const CONFIG_VERSION: &str = "0.5";

/// What the operator wants.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read from; none for the embedded default.
    pub source: Option<PathBuf>,
    pub default_model: String,
    pub models: BTreeMap<String, Model>,
    /// Relative ones start at the work directory.
    pub plugin_dirs: Vec<PathBuf>,
    /// `[plugins.NAME]`: settings and grants.
    pub plugins: BTreeMap<String, Plugin>,
    pub limits: Limits,
    pub session: Session,
    /// `[channels.telegram]`; none: there is no such channel.
    pub telegram: Option<Telegram>,
}

/// `[channels.telegram]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telegram {
    pub token: SecretSource,
    /// `https://api.telegram.org`, or a Bot API server of one's own.
    pub api_base_url: Url,
    /// Instead of what HTTPS_PROXY says.
    pub proxy: Option<Url>,
    /// Numbers of people who talk and decide about others.
    pub owners: Vec<i64>,
    /// Numbers of people who talk.
    pub people: Vec<i64>,
    /// Numbers of groups in which they may.
    pub groups: Vec<i64>,
    /// Answers are shown while they are written.
    pub preview: bool,
}

impl Telegram {
    /// The list that names somebody or a group; what it gives only the configuration takes.
    #[must_use]
    pub fn list_of(&self, number: i64) -> Option<&'static str> {
        let lists = [("owners", &self.owners), ("people", &self.people), ("groups", &self.groups)];
        lists.into_iter().find(|(_, list)| list.contains(&number)).map(|(name, _)| name)
    }
}

/// Where a secret is kept. The value is read when it is used, and never part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; a trailing newline is not part of the secret.
    File(PathBuf),
    /// A ChatGPT login, as the Codex CLI keeps it in `auth.json`; renewed when it has to be.
    CodexAuth(PathBuf),
}

/// `[plugins.NAME]`
#[derive(Debug, Clone, Default)]
pub struct Plugin {
    /// A configured component. None: the entry narrows or grants something to a bundled or dropped-in one.
    pub path: Option<PathBuf>,
    /// The bytes that the grants are for.
    pub sha256: Option<String>,
    /// `trust = "path"`: the grants are for whatever is at the path.
    pub trust_path: bool,
    pub enabled: Option<bool>,
    /// None: not said. A bundled component then gets what its manifest requests.
    pub fs: Option<Vec<FsGrant>>,
    /// Origins, `https://host[:port][/path]`.
    pub http: Option<Vec<String>>,
    /// Hosts in `http` that may lie in a private network.
    pub private: Vec<String>,
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Slots that `secrets.sign` may use.
    pub sign: Vec<String>,
    pub settings: Value,
    pub limits: PluginLimits,
    /// Stricter classes per tool.
    pub tools: BTreeMap<String, ToolOverride>,
}

/// `"workspace:rw"`, `"shared:ro"`, `"mounts/NAME:rw"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsGrant {
    pub mount: FsMount,
    pub writable: bool,
}

/// A text that is no [`FsGrant`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a file grant; write `workspace`, `shared` or `mounts/NAME`, then `:ro` or `:rw`")]
pub struct FsGrantError(pub String);

impl FromStr for FsGrant {
    type Err = FsGrantError;

    fn from_str(text: &str) -> Result<Self, FsGrantError> {
        let parse = || {
            let (mount, mode) = text.split_once(':')?;
            let mount = match (mount, mount.strip_prefix("mounts/")) {
                ("workspace", _) => FsMount::Workspace,
                ("shared", _) => FsMount::Shared,
                (_, Some(name)) if !name.is_empty() && !name.contains('/') => FsMount::Mount(name.to_owned()),
                _ => return None,
            };
            let writable = match mode {
                "rw" => true,
                "ro" => false,
                _ => return None,
            };
            Some(Self { mount, writable })
        };
        parse().ok_or_else(|| FsGrantError(text.to_owned()))
    }
}

impl fmt::Display for FsGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.writable { "rw" } else { "ro" };
        match &self.mount {
            FsMount::Workspace => write!(f, "workspace:{mode}"),
            FsMount::Shared => write!(f, "shared:{mode}"),
            FsMount::Mount(name) => write!(f, "mounts/{name}:{mode}"),
        }
    }
}

/// What an [`FsGrant`] is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FsMount {
    /// The workspace with `shared` and every mount inside it.
    Workspace,
    /// Only `shared`.
    Shared,
    /// Only `mounts/NAME`.
    Mount(String),
}

/// A secret for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretGrant {
    pub source: SecretSource,
    pub origins: Vec<String>,
}

/// `[plugins.NAME.limits]`; none: the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginLimits {
    pub wall_time: Option<Duration>,
    pub memory_bytes: Option<u64>,
    pub handles: Option<u32>,
    pub host_calls: Option<u64>,
    pub output_bytes: Option<u64>,
}

/// `[plugins.NAME.tools.TOOL]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolOverride {
    pub replay: Option<Replay>,
    pub batching: Option<Batching>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub turn_steps: u32,
    pub turn_time: Duration,
    pub tool_time: Duration,
    /// Millionths of a US dollar.
    pub turn_spend_micros: u64,
    pub day_spend_micros: u64,
    /// Where the price is unknown.
    pub turn_tokens: u64,
    pub day_tokens: u64,
    /// Of one conversation in all; none: no limit.
    pub conversation_spend_micros: Option<u64>,
    pub conversation_tokens: Option<u64>,
}

/// `[session]`
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// After a longer downtime an unfinished turn waits for `/continue`.
    pub resume_within: Duration,
    pub ask_tries: u32,
    /// Appended to the system prompt.
    pub instructions: Option<String>,
    /// How long compacted history is kept; none for ever.
    pub history: Option<Duration>,
    /// Tokens of history at which it is compacted; none: nine tenths of what the model reads beside its answer.
    pub compact_at: Option<u64>,
    /// Tokens of the newest history that stay as they are; none: a tenth of `compact_at`.
    pub compact_keep: Option<u64>,
    /// A long history is compacted shortly before the vendor's cache of it would expire, where the model's `cache_ttl` says when.
    pub compact_idle: bool,
    pub helpers: Helpers,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or anything in it is wrong: every unknown key and every wrong value is.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads `text` as the contents of `file`, from whose folder its relative paths start.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        resolve::resolve(text, file)
    }

    /// Every secret that the configuration names, with its key.
    pub fn secret_sources(&self) -> impl Iterator<Item = (String, &SecretSource)> {
        let models = self.models.values().filter_map(|model| Some((format!("models.{}.api_key", model.alias), model.api_key.as_ref()?)));
        let slots = self.plugins.iter().flat_map(|(name, plugin)| {
            plugin.secrets.iter().map(move |(slot, grant)| (format!("plugins.{name}.secrets.{slot}"), &grant.source))
        });
        let token = self.telegram.as_ref().map(|telegram| ("channels.telegram.token".to_owned(), &telegram.token));
        models.chain(slots).chain(token)
    }

    /// What is used without a file: a model without a network, and with `OPENROUTER_API_KEY` set also a real one.
    #[must_use]
    pub fn embedded(openrouter_key_present: bool) -> Self {
        let mut models = vec![Model::offline()];
        if openrouter_key_present {
            models.push(Model {
                alias: "main".into(),
                provider: "provider-openrouter".into(),
                id: "openrouter/auto".into(),
                api_key: Some(SecretSource::Env(environment::OPENROUTER_API_KEY.into())),
                ..Model::offline()
            });
        }
        Self {
            source: None,
            default_model: models.last().map(|model| model.alias.clone()).unwrap_or_default(),
            models: models.into_iter().map(|model| (model.alias.clone(), model)).collect(),
            plugin_dirs: default_plugin_dirs(),
            plugins: BTreeMap::new(),
            limits: Limits::default(),
            session: Session::default(),
            telegram: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turn_steps: limits::TURN_STEPS,
            turn_time: limits::TURN_TIME,
            tool_time: limits::TOOL_TIME,
            turn_spend_micros: limits::TURN_SPEND_MICROS,
            day_spend_micros: limits::DAY_SPEND_MICROS,
            turn_tokens: limits::TURN_TOKENS,
            day_tokens: limits::DAY_TOKENS,
            conversation_spend_micros: None,
            conversation_tokens: None,
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            resume_within: limits::RESUME_WITHIN,
            ask_tries: limits::ASK_TRIES,
            instructions: None,
            history: None,
            compact_at: None,
            compact_keep: None,
            compact_idle: true,
            helpers: Helpers::default(),
        }
    }
}

fn default_plugin_dirs() -> Vec<PathBuf> {
    vec!["plugins".into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_the_configuration_names_it_names_in_one_of_its_lists() {
        let text = "version = \"0.5\"\n[channels.telegram]\ntoken = { env = \"TOKEN\" }\nowners = [1]\npeople = [2]\ngroups = [-3]\n";
        let settings = Config::parse(text, Path::new("/c/config.toml")).unwrap().telegram.unwrap();
        let lists = [1, 2, -3, 3, -1].map(|number| settings.list_of(number));
        assert_eq!(lists, [Some("owners"), Some("people"), Some("groups"), None, None]);
    }
}
