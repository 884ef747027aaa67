//! From what is written to what is meant: defaults filled in, values checked, every wrong one reported.
//!
//! A check that fails records a problem and goes on, so that one run shows all of them. Nothing is read here except the
//! text: neither a secret nor a component.

mod model;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use toml::de::DeTable;
use url::Url;

use super::environment;
use super::error::{ConfigError, Problem, Source, did_you_mean, syntax};
use super::raw::{Number, Raw, RawHelpers, RawLimits, RawPlugin, RawSecretGrant, RawSession, RawTelegram, Span, Trust};
use super::{
    CONFIG_VERSION, Config, FsGrant, Helper, Helpers, Limits, Model, Plugin, PluginLimits, SecretGrant, SecretSource, Session, Telegram,
    ToolOverride,
};
use crate::limits;

/// Reads `text`, which stands in `file`.
pub(super) fn resolve(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let one = |problem| ConfigError::Invalid { problems: vec![problem] };
    let table = DeTable::parse(text).map_err(|error| one(syntax(file, text, &error)))?;
    let source = Source { file, text, table: table.get_ref() };
    // A newer form may have keys that this version does not know: say that it is newer, not that a key is wrong.
    check_version(&source).map_err(one)?;
    let raw: Raw = toml::from_str(text).map_err(|error| one(source.refused(&error)))?;
    let mut resolver = Resolver { source, problems: Vec::new() };
    let config = resolver.config(raw);
    if resolver.problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { problems: resolver.problems }) }
}

fn check_version(source: &Source<'_>) -> Result<(), Problem> {
    let fix = || Some(format!("write `version = \"{CONFIG_VERSION}\"`"));
    let Some(value) = source.table.get("version") else {
        return Err(source.problem(&[], "the key `version` is missing", fix()));
    };
    let Some(written) = value.get_ref().as_str() else {
        return Err(source.problem(&["version"], "the version is a text", fix()));
    };
    let numbers = |version: &str| -> Option<Vec<u32>> { version.split('.').map(|part| part.parse().ok()).collect() };
    match numbers(written).map(|written| written.cmp(&numbers(CONFIG_VERSION).unwrap_or_default())) {
        Some(std::cmp::Ordering::Equal) => Ok(()),
        Some(std::cmp::Ordering::Greater) => {
            let message = format!("version {written} is newer than {CONFIG_VERSION}, the one this stellaclaw reads");
            Err(source.problem(&["version"], message, Some("install a newer stellaclaw".into())))
        }
        Some(std::cmp::Ordering::Less) => {
            let message = format!("version {written} is older than {CONFIG_VERSION} and is not read any more");
            Err(source.problem(&["version"], message, Some("write the file anew after example_config.toml".into())))
        }
        None => Err(source.problem(&["version"], format!("{written:?} is not a version"), fix())),
    }
}

struct Resolver<'a> {
    source: Source<'a>,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    fn problem(&mut self, path: &[&str], message: impl Into<String>, fix: impl Into<Option<String>>) {
        let problem = self.source.problem(path, message, fix.into());
        self.problems.push(problem);
    }

    fn config(&mut self, raw: Raw) -> Config {
        let models: BTreeMap<_, _> = if raw.models.is_empty() {
            let offline = Model::offline();
            [(offline.alias.clone(), offline)].into()
        } else {
            raw.models.into_iter().map(|(alias, model)| (alias.clone(), self.model(alias, model))).collect()
        };
        let default_model = self.default_model(raw.default_model, &models);
        self.fallbacks(&models);
        Config {
            source: Some(self.source.file.to_owned()),
            default_model,
            plugin_dirs: raw.plugin_dirs.unwrap_or_else(super::default_plugin_dirs),
            plugins: raw.plugins.into_iter().map(|(name, plugin)| (name.clone(), self.plugin(&name, plugin))).collect(),
            limits: self.limits(raw.limits),
            session: self.session(raw.session, &models),
            telegram: raw.channels.telegram.and_then(|telegram| self.telegram(telegram)),
            models,
        }
    }

    fn telegram(&mut self, raw: RawTelegram) -> Option<Telegram> {
        let path = |last: &'static str| ["channels", "telegram", last];
        let token = self.secret(&path("token"), raw.token.0.env, raw.token.0.file, raw.token.0.codex_auth);
        let base = self.web(&path("api_base_url"), raw.api_base_url.as_deref().unwrap_or(limits::TELEGRAM_URL));
        let proxy = raw.proxy.as_deref().map(|proxy| self.web(&path("proxy"), proxy));
        for (last, ids, group) in [("owners", &raw.owners, false), ("people", &raw.people, false), ("groups", &raw.groups, true)] {
            for id in ids.iter().filter(|id| (id.0 < 0) != group) {
                let what = if group { "a group has a negative number" } else { "a person has a positive number" };
                self.problem(&path(last), format!("{} is none of {last}: {what}", id.0), None);
            }
        }
        let numbers = |ids: Vec<Number>| ids.into_iter().map(|id| id.0).collect();
        Some(Telegram {
            token: token?,
            api_base_url: base?,
            proxy: proxy.flatten(),
            owners: numbers(raw.owners),
            people: numbers(raw.people),
            groups: numbers(raw.groups),
            preview: raw.preview.unwrap_or(true),
        })
    }

    /// An address of a server: http or https, without a user, query or fragment.
    fn web(&mut self, path: &[&str], text: &str) -> Option<Url> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none());
        if url.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
            let fix = "leave them out; a proxy that wants them goes with them into the environment, as HTTPS_PROXY";
            self.problem(path, "a name or a password is in the address", fix.to_owned());
            return None;
        }
        if url.is_none() {
            // It is not shown, it may hold a password.
            self.problem(path, "not the address of a server", "write `https://host` or `http://host:port`".to_owned());
        }
        url
    }

    fn default_model(&mut self, written: Option<String>, models: &BTreeMap<String, Model>) -> String {
        let aliases = || models.keys().map(String::as_str);
        match written {
            Some(alias) if models.contains_key(&alias) => alias,
            Some(alias) => {
                self.problem(
                    &["default_model"],
                    format!("there is no model {alias:?}"),
                    did_you_mean(&alias, aliases().collect::<Vec<_>>()),
                );
                alias
            }
            None if models.len() == 1 => models.keys().next().cloned().unwrap_or_default(),
            None => {
                let names = aliases().map(|alias| format!("`{alias}`")).collect::<Vec<_>>().join(", ");
                self.problem(&[], "the key `default_model` is missing", format!("it names one of {names}"));
                String::new()
            }
        }
    }

    fn plugin(&mut self, name: &str, raw: RawPlugin) -> Plugin {
        let path = |last: &'static str| ["plugins", name, last];
        self.name(&["plugins", name], name);
        if raw.sha256.as_ref().is_some_and(|sum| sum.len() != 64 || !sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))) {
            self.problem(&path("sha256"), "a SHA-256 is 64 digits, 0-9 and a-f", format!("`stellaclaw plugin inspect {name}` prints it"));
        }
        if raw.sha256.is_some() && raw.trust.is_some() {
            self.problem(&path("trust"), "`trust` and `sha256` exclude each other", "remove one of them".to_owned());
        }
        if raw.trust.is_some() && raw.path.is_none() {
            self.problem(&path("trust"), "`trust = \"path\"` needs a `path`", None);
        }
        for origin in raw.http.iter().flatten() {
            self.origin(&path("http"), origin);
        }
        for host in &raw.private {
            if !raw.http.iter().flatten().any(|origin| is_host_of(host, origin)) {
                let fix = "write the host alone, as it stands in an origin of `http`".to_owned();
                self.problem(&path("private"), format!("{host:?} is the host of no origin in `http`"), fix);
            }
        }
        let secrets: BTreeMap<_, _> = raw
            .secrets
            .into_iter()
            .filter_map(|(slot, secret)| self.secret_grant(name, &slot, secret.0).map(|grant| (slot, grant)))
            .collect();
        for slot in &raw.sign {
            if self.source.has(&["plugins", name, "secrets", slot]) {
                continue;
            }
            self.problem(&path("sign"), format!("the slot `{slot}` has no secret"), format!("add `secrets = {{ {slot} = … }}`"));
        }
        Plugin {
            path: raw.path.map(|path| self.beside_the_file(path)),
            sha256: raw.sha256,
            trust_path: raw.trust == Some(Trust::Path),
            enabled: raw.enabled,
            fs: raw.fs.map(|grants| grants.iter().filter_map(|grant| self.fs_grant(&path("fs"), grant)).collect()),
            http: raw.http,
            private: raw.private,
            secrets,
            sign: raw.sign,
            settings: raw.settings.map_or_else(empty, json_table),
            limits: self.plugin_limits(name, &raw.limits),
            tools: raw.tools.into_iter().map(|(tool, raw)| (tool, ToolOverride { replay: raw.replay, batching: raw.batching })).collect(),
        }
    }

    fn plugin_limits(&mut self, name: &str, raw: &super::raw::RawPluginLimits) -> PluginLimits {
        let numbers = [
            ("wall_time", raw.wall_time.map(|span| span.0.as_secs_f64())),
            ("memory", raw.memory.map(|size| size.0 as f64)),
            ("handles", raw.handles.map(f64::from)),
            ("host_calls", raw.host_calls.map(|calls| calls as f64)),
            ("output", raw.output.map(|size| size.0 as f64)),
        ];
        for (last, number) in numbers {
            self.positive(&["plugins", name, "limits", last], number);
        }
        PluginLimits {
            wall_time: raw.wall_time.map(|span| span.0),
            memory_bytes: raw.memory.map(|size| size.0),
            handles: raw.handles,
            host_calls: raw.host_calls,
            output_bytes: raw.output.map(|size| size.0),
        }
    }

    fn secret_grant(&mut self, plugin: &str, slot: &str, raw: RawSecretGrant) -> Option<SecretGrant> {
        let path = ["plugins", plugin, "secrets", slot];
        let origins = raw.origins.unwrap_or_default();
        if origins.is_empty() {
            self.problem(&path, "the secret has no `origins` that it may be sent to", "add `origins = [\"https://…\"]`".to_owned());
        }
        for origin in &origins {
            if let Some(url) = self.origin(&path, origin)
                && !may_carry_secrets(&url)
            {
                self.problem(&path, "an origin is not https, and a secret never leaves in the clear", None);
            }
        }
        let source = self.secret(&path, raw.env, raw.file, raw.codex_auth)?;
        Some(SecretGrant { source, origins })
    }

    fn secret(&mut self, path: &[&str], env: Option<String>, file: Option<PathBuf>, codex_auth: Option<PathBuf>) -> Option<SecretSource> {
        match (env, file, codex_auth) {
            (Some(name), None, None) if !name.is_empty() && !name.contains(['=', '\0']) => Some(SecretSource::Env(name)),
            (Some(_), None, None) => {
                self.problem(path, "`env` is not the name of an environment variable", None);
                None
            }
            (None, Some(file), None) => Some(SecretSource::File(self.beside_the_file(file))),
            (None, None, Some(_)) if path.first() == Some(&"channels") => {
                self.problem(path, "a login to ChatGPT is of no use here", "write `{ env = … }` or `{ file = … }`".to_owned());
                None
            }
            (None, None, Some(file)) => {
                let there = environment::expanded(&file).map(|file| SecretSource::CodexAuth(self.beside_the_file(file)));
                if there.is_none() {
                    self.problem(path, "`~` means nothing: HOME is not set", "write the whole path".to_owned());
                }
                there
            }
            _ => {
                self.problem(path, "a secret has exactly one source", "write `{ env = … }` or `{ file = … }`".to_owned());
                None
            }
        }
    }

    fn limits(&mut self, raw: RawLimits) -> Limits {
        let default = Limits::default();
        for (last, number) in [
            ("turn_steps", raw.turn_steps.map(f64::from)),
            ("turn_tokens", raw.turn_tokens.map(|tokens| tokens as f64)),
            ("day_tokens", raw.day_tokens.map(|tokens| tokens as f64)),
            ("conversation_tokens", raw.conversation_tokens.map(|tokens| tokens as f64)),
        ] {
            self.positive(&["limits", last], number);
        }
        Limits {
            turn_steps: raw.turn_steps.unwrap_or(default.turn_steps),
            turn_time: self.span(&["limits", "turn_time"], raw.turn_time, default.turn_time),
            tool_time: self.span(&["limits", "tool_time"], raw.tool_time, default.tool_time),
            turn_spend_micros: self.dollars(&["limits", "turn_spend"], raw.turn_spend, default.turn_spend_micros),
            day_spend_micros: self.dollars(&["limits", "day_spend"], raw.day_spend, default.day_spend_micros),
            turn_tokens: raw.turn_tokens.unwrap_or(default.turn_tokens),
            day_tokens: raw.day_tokens.unwrap_or(default.day_tokens),
            conversation_spend_micros: raw
                .conversation_spend
                .map(|dollars| self.dollars(&["limits", "conversation_spend"], Some(dollars), u64::MAX)),
            conversation_tokens: raw.conversation_tokens,
        }
    }

    fn session(&mut self, raw: RawSession, models: &BTreeMap<String, Model>) -> Session {
        let default = Session::default();
        self.positive(&["session", "ask_tries"], raw.ask_tries.map(f64::from));
        self.positive(&["session", "history"], raw.history.map(|span| span.0.as_secs_f64()));
        for (last, tokens) in [("compact_at", raw.compact_at), ("compact_keep", raw.compact_keep)] {
            self.positive(&["session", last], tokens.map(|tokens| tokens as f64));
        }
        if raw.compact_keep.zip(raw.compact_at).is_some_and(|(keep, at)| keep > at / 2) {
            let fix = "what stays as it is has at most half of that: nothing would become smaller".to_owned();
            self.problem(&["session", "compact_keep"], "more than half of `compact_at`", fix);
        }
        Session {
            resume_within: raw.resume_within.map_or(default.resume_within, |span| span.0),
            ask_tries: raw.ask_tries.unwrap_or(default.ask_tries),
            instructions: raw.instructions.filter(|text| !text.trim().is_empty()),
            history: raw.history.map(|span| span.0),
            compact_at: raw.compact_at,
            compact_keep: raw.compact_keep,
            compact_idle: raw.compact_idle.unwrap_or(default.compact_idle),
            helpers: self.helpers(raw.helpers, models),
        }
    }

    fn helpers(&mut self, raw: RawHelpers, models: &BTreeMap<String, Model>) -> Helpers {
        let mut helper = |role: &'static str, written: Option<String>| match written {
            Some(own) if own == "self" => Some(Helper::Own),
            Some(alias) => {
                self.alias(&["session", "helpers", role], &alias, models);
                Some(Helper::Model(alias))
            }
            None => None,
        };
        Helpers {
            image: helper("image", raw.image),
            pdf: helper("pdf", raw.pdf),
            audio: helper("audio", raw.audio),
            search: helper("search", raw.search),
            image_generation: helper("image_generation", raw.image_generation),
        }
    }

    /// An alias that another key names.
    fn alias(&mut self, path: &[&str], alias: &str, models: &BTreeMap<String, Model>) {
        if !models.contains_key(alias) {
            let known: Vec<_> = models.keys().map(String::as_str).collect();
            self.problem(path, format!("there is no model {alias:?}"), did_you_mean(alias, known));
        }
    }

    /// A name that is a part of file names and keys.
    fn name(&mut self, path: &[&str], name: &str) {
        if !is_name(name) {
            self.problem(path, format!("{name:?} is not a name"), "use a-z, 0-9, `-` and `_`, at most 64 of them".to_owned());
        }
    }

    fn positive(&mut self, path: &[&str], number: Option<f64>) {
        if number.is_some_and(|number| number <= 0.0) {
            self.problem(path, "the value is 0", "write more than 0, or remove the key for the default".to_owned());
        }
    }

    fn span(&mut self, path: &[&str], span: Option<Span>, default: Duration) -> Duration {
        self.positive(path, span.map(|span| span.0.as_secs_f64()));
        span.map_or(default, |span| span.0)
    }

    /// US dollars to millionths.
    fn dollars(&mut self, path: &[&str], dollars: Option<f64>, default: u64) -> u64 {
        match dollars {
            None => default,
            Some(dollars) if dollars.is_finite() && dollars > 0.0 && dollars < 1e9 => (dollars * 1e6).round() as u64,
            Some(_) => {
                self.problem(path, "a budget is US dollars, more than 0", None);
                default
            }
        }
    }

    fn base_url(&mut self, path: &[&str], text: &str, has_key: bool) {
        match server(text) {
            None => self.problem(path, "not the address of a server", ADDRESS.to_owned()),
            Some(url) if has_key && !may_carry_secrets(&url) => {
                self.problem(path, "the `api_key` would leave in the clear", "use https, or a loopback address".to_owned());
            }
            Some(_) => {}
        }
    }

    /// A wrong one is not shown, it may hold a password.
    fn origin(&mut self, path: &[&str], text: &str) -> Option<Url> {
        let url = parse_origin(text);
        if url.is_none() {
            let fix = format!("{ADDRESS}; methods may stand before it, `GET,POST https://host`");
            self.problem(path, "not an origin", fix);
        }
        url
    }

    fn fs_grant(&mut self, path: &[&str], text: &str) -> Option<FsGrant> {
        let grant = text.parse().ok();
        if grant.is_none() {
            let fix = "write `workspace`, `shared` or `mounts/NAME`, then `:ro` or `:rw`".to_owned();
            self.problem(path, format!("{text:?} is not a file grant"), fix);
        }
        grant
    }

    /// Relative paths of the file start where the file is.
    fn beside_the_file(&self, path: PathBuf) -> PathBuf {
        self.source.file.parent().map_or(path.clone(), |folder| folder.join(path))
    }
}

/// `[a-z0-9_-]{1,64}`: a name that can be a part of file names and keys, wherever it was written.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Https, or a loopback address.
fn may_carry_secrets(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The table as JSON: dates become text, and what JSON has no number for becomes null.
fn json_table(table: toml::Table) -> Value {
    Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect())
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(yes) => Value::Bool(yes),
        toml::Value::Datetime(moment) => Value::String(moment.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        toml::Value::Table(table) => json_table(table),
    }
}

const ADDRESS: &str = "write `https://host`, with `:port` and `/path` where needed";

/// `https://host`, or `GET,POST https://host`.
pub(crate) fn parse_origin(text: &str) -> Option<Url> {
    let (methods, address) = text.trim().split_once(' ').unwrap_or(("ANY", text.trim()));
    let is_method = |method: &str| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    server(address.trim_start()).filter(|_| methods.split(',').all(is_method))
}

/// Is it the host of this origin?
pub(crate) fn is_host_of(host: &str, origin: &str) -> bool {
    let of_origin = parse_origin(origin).and_then(|url| url.host().map(|host| host.to_owned()));
    of_origin.is_some() && of_origin == url::Host::parse(host).ok()
}

/// The URL of a server: no user, no query, no fragment.
fn server(text: &str) -> Option<Url> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    Url::parse(text).ok().filter(plain)
}
