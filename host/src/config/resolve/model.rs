//! `[models.ALIAS]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::model::{AUDIO_TYPES, IMAGE_TYPES};
use super::super::raw::{RawAudio, RawImage, RawModel, RawPdf, RawPrice, RawRetry, Size, Span};
use super::super::{AudioLimits, ImageLimits, Model, PdfLimits, Price, Retry};
use super::{Resolver, empty, json_table};
use crate::chat::Modality;
use crate::limits;

impl Resolver<'_> {
    pub(super) fn model(&mut self, alias: String, raw: RawModel) -> Model {
        let key = alias.clone();
        let path = |last: &'static str| ["models", key.as_str(), last];
        self.name(&["models", &alias], &alias);
        let words = [
            ("provider", Some(&raw.provider)),
            ("model", Some(&raw.model)),
            ("effort", raw.effort.as_ref()),
            ("reasoning_summary", raw.reasoning_summary.as_ref()),
            ("service_tier", raw.service_tier.as_ref()),
        ];
        for (last, text) in words {
            if text.is_some_and(|text| text.trim().is_empty()) {
                self.problem(&path(last), "the text is empty", None);
            }
        }
        for (last, number) in [("context_window", raw.context_window), ("max_output", raw.max_output)] {
            self.positive(&path(last), number.map(|number| number as f64));
        }
        if raw.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            self.problem(&path("temperature"), "a temperature is between 0 and 2", None);
        }
        let api_key = raw.api_key.and_then(|secret| self.secret(&path("api_key"), secret.0.env, secret.0.file, secret.0.codex_auth));
        if let Some(url) = &raw.base_url {
            self.base_url(&path("base_url"), url, api_key.is_some());
        }
        Model {
            provider: raw.provider,
            id: raw.model,
            base_url: raw.base_url,
            api_key,
            context_window: raw.context_window.unwrap_or(limits::CONTEXT_WINDOW),
            max_output: raw.max_output,
            reads: raw.reads.unwrap_or_else(|| vec![Modality::Text]),
            connect_timeout: self.span(&path("connect_timeout"), raw.connect_timeout, limits::MODEL_CONNECT_TIME),
            idle_timeout: self.span(&path("idle_timeout"), raw.idle_timeout, limits::MODEL_IDLE_TIME),
            total_timeout: self.span(&path("total_timeout"), raw.total_timeout, limits::MODEL_TOTAL_TIME),
            temperature: raw.temperature,
            effort: raw.effort,
            reasoning_summary: raw.reasoning_summary,
            service_tier: raw.service_tier,
            cache_ttl: self.cache_ttl(&path("cache_ttl"), raw.cache_ttl),
            retry: self.retry(&alias, &raw.retry),
            fallback: raw.fallback,
            image: self.image(&alias, raw.image),
            pdf: self.pdf(&alias, &raw.pdf),
            audio: self.audio(&alias, raw.audio),
            price: raw.price.map(|price| self.price(&alias, &price)),
            options: raw.options.map_or_else(empty, json_table),
            alias,
        }
    }

    fn price(&mut self, alias: &str, raw: &RawPrice) -> Price {
        let prices = [
            ("input", Some(raw.input)),
            ("cache_read", raw.cache_read),
            ("cache_write", raw.cache_write),
            ("cache_write_1h", raw.cache_write_1h),
            ("output", Some(raw.output)),
        ];
        for (last, price) in prices {
            if price.is_some_and(|price| !(price.is_finite() && price >= 0.0)) {
                self.problem(&["models", alias, "price", last], "a price is US dollars per million tokens, at least 0", None);
            }
        }
        let cache_write = raw.cache_write.unwrap_or(raw.input);
        Price {
            input: raw.input,
            cache_read: raw.cache_read.unwrap_or(raw.input),
            cache_write,
            cache_write_1h: raw.cache_write_1h.unwrap_or(cache_write),
            output: raw.output,
        }
    }

    fn cache_ttl(&mut self, path: &[&str], span: Option<Span>) -> Option<Duration> {
        self.positive(path, span.map(|span| span.0.as_secs_f64()));
        span.map(|span| span.0)
    }

    fn retry(&mut self, alias: &str, raw: &RawRetry) -> Retry {
        let default = Retry::default();
        let path = |last: &'static str| ["models", alias, "retry", last];
        self.positive(&path("tries"), raw.tries.map(f64::from));
        let wait = self.span(&path("wait"), raw.wait, default.wait);
        let max_wait = self.span(&path("max_wait"), raw.max_wait, default.max_wait.max(wait));
        if max_wait < wait {
            self.problem(&path("max_wait"), "the longest wait is shorter than `wait`", None);
        }
        Retry { tries: raw.tries, wait, max_wait }
    }

    fn image(&mut self, alias: &str, raw: RawImage) -> ImageLimits {
        let default = ImageLimits::default();
        for (last, side) in [("max_width", raw.max_width), ("max_height", raw.max_height)] {
            self.positive(&["models", alias, "image", last], side.map(f64::from));
        }
        ImageLimits {
            max_width: raw.max_width.unwrap_or(default.max_width),
            max_height: raw.max_height.unwrap_or(default.max_height),
            max_bytes: self.media_bytes(alias, "image", raw.max_bytes, default.max_bytes),
            types: self.media_types(alias, "image", raw.types, default.types, &IMAGE_TYPES),
        }
    }

    fn pdf(&mut self, alias: &str, raw: &RawPdf) -> PdfLimits {
        PdfLimits { max_bytes: self.media_bytes(alias, "pdf", raw.max_bytes, limits::PDF_BYTES) }
    }

    fn audio(&mut self, alias: &str, raw: RawAudio) -> AudioLimits {
        let default = AudioLimits::default();
        AudioLimits {
            max_bytes: self.media_bytes(alias, "audio", raw.max_bytes, default.max_bytes),
            types: self.media_types(alias, "audio", raw.types, default.types, &AUDIO_TYPES),
        }
    }

    fn media_bytes(&mut self, alias: &str, kind: &str, written: Option<Size>, default: u64) -> u64 {
        let bytes = written.map_or(default, |size| size.0);
        if bytes == 0 || bytes > limits::MEDIA_BYTES {
            let most = limits::MEDIA_BYTES >> 20;
            self.problem(&["models", alias, kind, "max_bytes"], format!("a file has at least 1 byte, and at most {most} MiB"), None);
        }
        bytes
    }

    fn media_types(&mut self, alias: &str, kind: &str, written: Option<Vec<String>>, default: Vec<String>, served: &[&str]) -> Vec<String> {
        let Some(types) = written else { return default };
        let path = ["models", alias, kind, "types"];
        if types.is_empty() {
            self.problem(&path, "no media type is left", format!("leave {kind:?} out of `reads` instead"));
        }
        for wrong in types.iter().filter(|written| !served.contains(&written.as_str())) {
            self.problem(&path, format!("{wrong:?} is not served"), format!("choose from {}", served.join(", ")));
        }
        types
    }

    /// Models that are asked instead of others are there. Only the list of the first one counts, so no chain leads back.
    pub(super) fn fallbacks(&mut self, models: &BTreeMap<String, Model>) {
        for model in models.values() {
            let path = ["models", model.alias.as_str(), "fallback"];
            for alias in &model.fallback {
                if *alias == model.alias {
                    self.problem(&path, "a model does not stand in for itself", None);
                } else {
                    self.alias(&path, alias, models);
                }
            }
        }
    }
}
