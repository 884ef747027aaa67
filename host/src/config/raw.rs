//! The configuration as it stands in the file: one struct per table, one field per key.
//!
//! Nothing here has a default or a meaning; [`super::resolve`] gives both. Every struct refuses unknown keys. What was
//! written beside a key that expects something else is never repeated in an error when it could be a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, de};

use crate::chat::{Batching, Modality, Replay};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Checked before anything else is read.
    #[serde(rename = "version")]
    pub _version: String,
    pub default_model: Option<String>,
    pub plugin_dirs: Option<Vec<PathBuf>>,
    #[serde(default)]
    pub models: BTreeMap<String, RawModel>,
    #[serde(default)]
    pub plugins: BTreeMap<String, RawPlugin>,
    #[serde(default)]
    pub limits: RawLimits,
    #[serde(default)]
    pub session: RawSession,
    #[serde(default)]
    pub channels: RawChannels,
}

/// `[channels]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChannels {
    pub telegram: Option<RawTelegram>,
}

/// `[channels.telegram]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTelegram {
    pub token: Secret<RawSecret>,
    pub api_base_url: Option<String>,
    pub proxy: Option<String>,
    #[serde(default)]
    pub owners: Vec<Number>,
    #[serde(default)]
    pub people: Vec<Number>,
    #[serde(default)]
    pub groups: Vec<Number>,
    pub preview: Option<bool>,
}

/// The number of a person or group. A name is refused: it can be given up and taken by somebody else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = i64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, such as 123456789")
            }
            fn visit_i64<E: de::Error>(self, id: i64) -> Result<i64, E> {
                Ok(id)
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<i64, E> {
                Err(E::custom(format_args!(
                    "{name:?} is a name, and a name can change hands; write the number, which the bot tells whoever writes to it"
                )))
            }
        }
        deserializer.deserialize_any(Id).map(Self)
    }
}

/// `[models.ALIAS]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub provider: String,
    pub model: String,
    pub base_url: Option<String>,
    pub api_key: Option<Secret<RawSecret>>,
    pub context_window: Option<u64>,
    pub max_output: Option<u64>,
    pub reads: Option<Vec<Modality>>,
    pub connect_timeout: Option<Span>,
    pub idle_timeout: Option<Span>,
    pub total_timeout: Option<Span>,
    pub temperature: Option<f64>,
    pub effort: Option<String>,
    pub reasoning_summary: Option<String>,
    pub service_tier: Option<String>,
    pub cache_ttl: Option<Span>,
    #[serde(default)]
    pub retry: RawRetry,
    #[serde(default)]
    pub fallback: Vec<String>,
    #[serde(default)]
    pub image: RawImage,
    #[serde(default)]
    pub pdf: RawPdf,
    #[serde(default)]
    pub audio: RawAudio,
    pub price: Option<RawPrice>,
    pub options: Option<toml::Table>,
}

/// `[models.ALIAS.retry]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetry {
    pub tries: Option<u32>,
    pub wait: Option<Span>,
    pub max_wait: Option<Span>,
}

/// `[models.ALIAS.image]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawImage {
    pub max_width: Option<u32>,
    pub max_height: Option<u32>,
    pub max_bytes: Option<Size>,
    pub types: Option<Vec<String>>,
}

/// `[models.ALIAS.pdf]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPdf {
    pub max_bytes: Option<Size>,
}

/// `[models.ALIAS.audio]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudio {
    pub max_bytes: Option<Size>,
    pub types: Option<Vec<String>>,
}

/// `[models.ALIAS.price]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrice {
    pub input: f64,
    pub cache_read: Option<f64>,
    pub cache_write: Option<f64>,
    pub cache_write_1h: Option<f64>,
    pub output: f64,
}

/// `{ env = … }`, `{ file = … }`, `{ codex_auth = … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecret {
    pub env: Option<String>,
    pub file: Option<PathBuf>,
    pub codex_auth: Option<PathBuf>,
}

/// A secret for a slot: [`RawSecret`] and where it may go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecretGrant {
    pub env: Option<String>,
    pub file: Option<PathBuf>,
    pub codex_auth: Option<PathBuf>,
    pub origins: Option<Vec<String>>,
}

/// `[plugins.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlugin {
    pub path: Option<PathBuf>,
    pub sha256: Option<String>,
    pub trust: Option<Trust>,
    pub enabled: Option<bool>,
    pub fs: Option<Vec<String>>,
    pub http: Option<Vec<String>>,
    #[serde(default)]
    pub private: Vec<String>,
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret<RawSecretGrant>>,
    #[serde(default)]
    pub sign: Vec<String>,
    pub settings: Option<toml::Table>,
    #[serde(default)]
    pub limits: RawPluginLimits,
    #[serde(default)]
    pub tools: BTreeMap<String, RawTool>,
}

/// What grants are tied to when no digest is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trust {
    Path,
}

/// `[plugins.NAME.limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPluginLimits {
    pub wall_time: Option<Span>,
    pub memory: Option<Size>,
    pub handles: Option<u32>,
    pub host_calls: Option<u64>,
    pub output: Option<Size>,
}

/// `[plugins.NAME.tools.TOOL]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTool {
    pub replay: Option<Replay>,
    pub batching: Option<Batching>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub turn_steps: Option<u32>,
    pub turn_time: Option<Span>,
    pub tool_time: Option<Span>,
    pub turn_spend: Option<f64>,
    pub day_spend: Option<f64>,
    pub turn_tokens: Option<u64>,
    pub day_tokens: Option<u64>,
    pub conversation_spend: Option<f64>,
    pub conversation_tokens: Option<u64>,
}

/// `[session]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSession {
    pub resume_within: Option<Span>,
    pub ask_tries: Option<u32>,
    pub instructions: Option<String>,
    pub history: Option<Span>,
    pub compact_at: Option<u64>,
    pub compact_keep: Option<u64>,
    pub compact_idle: Option<bool>,
    #[serde(default)]
    pub helpers: RawHelpers,
}

/// `[session.helpers]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHelpers {
    pub image: Option<String>,
    pub pdf: Option<String>,
    pub audio: Option<String>,
    pub search: Option<String>,
    pub image_generation: Option<String>,
}

/// A span of time: `"500ms"`, `"30s"`, `"10m"`, `"2h"`, `"90d"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let millis = deserializer.deserialize_str(WithUnit { what: "a span of time", example: "30s", units })?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// A span of time as it is written in the configuration.
pub(crate) fn parse_span(text: &str) -> Result<Duration, de::value::Error> {
    Span::deserialize(de::value::StrDeserializer::new(text)).map(|span| span.0)
}

/// A size: `"512B"`, `"64KiB"`, `"128MiB"`, `"1GiB"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        deserializer.deserialize_str(WithUnit { what: "a size", example: "64MiB", units }).map(Self)
    }
}

/// Reads a whole number that is followed by one of `units`.
struct WithUnit {
    what: &'static str,
    example: &'static str,
    units: &'static [(&'static str, u64)],
}

impl Visitor<'_> for WithUnit {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as text, such as {:?}", self.what, self.example)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let factor = self.units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
        let value = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        value.ok_or_else(|| {
            let units = self.units.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            E::custom(format_args!("{text:?} is not {}; write a whole number and one of {units}, such as {:?}", self.what, self.example))
        })
    }
}

/// A table that names a secret. Text in its place may be the secret itself, so it is refused without being shown.
#[derive(Debug)]
pub(super) struct Secret<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table that says where the secret is kept, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`")
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<T, E> {
                Err(E::custom("a secret is never written in the configuration, write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`"))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Table(PhantomData)).map(Self)
    }
}
