//! What the configuration says about one model.

use std::time::Duration;

use serde_json::Value;

use super::SecretSource;
use crate::chat::Modality;
use crate::limits;

/// `[models.ALIAS]`
#[derive(Debug, Clone)]
pub struct Model {
    pub alias: String,
    /// The component that serves it.
    pub provider: String,
    /// The vendor's name for it.
    pub id: String,
    pub base_url: Option<String>,
    pub api_key: Option<SecretSource>,
    pub context_window: u64,
    pub max_output: Option<u64>,
    pub reads: Vec<Modality>,
    pub connect_timeout: Duration,
    pub idle_timeout: Duration,
    pub total_timeout: Duration,
    pub temperature: Option<f64>,
    pub effort: Option<String>,
    pub reasoning_summary: Option<String>,
    pub service_tier: Option<String>,
    /// How long the vendor keeps what it has read; none: as the vendor does by itself.
    pub cache_ttl: Option<Duration>,
    pub retry: Retry,
    /// Aliases of models to ask instead when this one cannot answer, in order.
    pub fallback: Vec<String>,
    pub image: ImageLimits,
    pub pdf: PdfLimits,
    pub audio: AudioLimits,
    pub price: Option<Price>,
    /// The component's own table, checked against its schema when the component is loaded.
    pub options: Value,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub input: f64,
    pub cache_read: f64,
    pub cache_write: f64,
    /// Of what is kept for an hour or longer.
    pub cache_write_1h: f64,
    pub output: f64,
}

/// `retry`: what is done about a request that failed in a way that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all; none: `session.ask_tries`.
    pub tries: Option<u32>,
    /// The wait before the second attempt; it doubles for each further one.
    pub wait: Duration,
    /// The longest wait.
    pub max_wait: Duration,
}

/// `image`: pictures that are sent to the model. Larger ones are made smaller first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLimits {
    pub max_width: u32,
    pub max_height: u32,
    pub max_bytes: u64,
    /// Media types that the vendor takes. Others are converted to the first one that can hold them.
    pub types: Vec<String>,
}

/// `pdf`: documents that are sent to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PdfLimits {
    pub max_bytes: u64,
}

/// `audio`: recordings that are sent to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioLimits {
    pub max_bytes: u64,
    /// Media types that the vendor takes.
    pub types: Vec<String>,
}

/// Every media type that pictures may be sent as, the default of `image.types`.
pub const IMAGE_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/gif"];
/// Every media type that recordings may be sent as. Most vendors take the first two alone, the default of `audio.types`.
pub const AUDIO_TYPES: [&str; 6] = ["audio/mpeg", "audio/wav", "audio/ogg", "audio/flac", "audio/mp4", "audio/aac"];

impl Default for Retry {
    fn default() -> Self {
        Self { tries: None, wait: limits::RETRY_BASE, max_wait: limits::RETRY_MAX }
    }
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_width: limits::IMAGE_SIDE,
            max_height: limits::IMAGE_SIDE,
            max_bytes: limits::IMAGE_BYTES,
            types: IMAGE_TYPES.map(str::to_owned).into(),
        }
    }
}

impl Default for PdfLimits {
    fn default() -> Self {
        Self { max_bytes: limits::PDF_BYTES }
    }
}

impl Default for AudioLimits {
    fn default() -> Self {
        Self { max_bytes: limits::AUDIO_BYTES, types: AUDIO_TYPES[..2].iter().map(|&name| name.to_owned()).collect() }
    }
}

impl Model {
    /// `provider-offline`, which needs neither a network nor a key.
    #[must_use]
    pub fn offline() -> Self {
        Self {
            alias: "offline".into(),
            provider: "provider-offline".into(),
            id: "offline".into(),
            base_url: None,
            api_key: None,
            context_window: limits::CONTEXT_WINDOW,
            max_output: None,
            reads: vec![Modality::Text],
            connect_timeout: limits::MODEL_CONNECT_TIME,
            idle_timeout: limits::MODEL_IDLE_TIME,
            total_timeout: limits::MODEL_TOTAL_TIME,
            temperature: None,
            effort: None,
            reasoning_summary: None,
            service_tier: None,
            cache_ttl: None,
            retry: Retry::default(),
            fallback: Vec::new(),
            image: ImageLimits::default(),
            pdf: PdfLimits::default(),
            audio: AudioLimits::default(),
            price: None,
            options: Value::Object(serde_json::Map::new()),
        }
    }
}
