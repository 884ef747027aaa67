//! The operator's settings for this plugin: `[plugins.NAME.settings]`, checked against the manifest's schema.
//!
//! In a call of [`crate::WebSearch`] and [`crate::Images`] they are the model entry instead: see [`Entry`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::chat::Timeouts;
use crate::{Error, Result};

/// The slot that a model entry's `api_key` fills.
pub const API_KEY: &str = "api-key";

/// The model entry in whose name a component searches or draws.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry<O> {
    /// The vendor's name for the model.
    pub model: String,
    /// The server, where it is not the component's own.
    pub base_url: Option<String>,
    #[serde(deserialize_with = "timeouts")]
    pub timeouts: Timeouts,
    /// The entry's `options`, checked against the manifest's schema.
    #[serde(flatten)]
    pub options: O,
}

fn timeouts<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Timeouts, D::Error> {
    #[derive(Deserialize)]
    struct Times {
        connect: u64,
        idle: u64,
        total: u64,
    }
    let Times { connect, idle, total } = Times::deserialize(deserializer)?;
    Ok(Timeouts { connect, idle, total })
}

/// The settings as `T`. Without settings this is what an empty table gives.
///
/// # Errors
///
/// `invalid` when they do not fit `T`: the schema allows more than the type.
pub fn get<T: DeserializeOwned>() -> Result<T> {
    let json = crate::bindings::imports::stellaclaw::plugin::settings::get();
    serde_json::from_str(&json).map_err(|error| Error::invalid(format!("settings: {error}")))
}

/// The model entry, with its options as `O`.
///
/// # Errors
///
/// `invalid` when they do not fit `O`, and outside a call in the name of a model.
pub fn entry<O: DeserializeOwned>() -> Result<Entry<O>> {
    get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    struct Options {
        country: Option<String>,
    }

    #[test]
    fn an_entry_is_its_options_with_its_name_server_and_times() {
        let json = r#"{"country":"DE","model":"m","base_url":null,"timeouts":{"connect":1,"idle":2,"total":3}}"#;
        let entry: Entry<Options> = serde_json::from_str(json).unwrap();
        assert_eq!((entry.model.as_str(), entry.base_url.as_deref(), entry.options.country.as_deref()), ("m", None, Some("DE")));
        assert_eq!(entry.timeouts, Timeouts { connect: 1, idle: 2, total: 3 });
    }
}
