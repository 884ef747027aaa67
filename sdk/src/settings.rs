//! The operator's settings for this plugin: `[plugins.NAME.settings]`, checked against the manifest's schema.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The settings as `T`. Without settings this is what an empty table gives.
///
/// # Errors
///
/// `invalid` when they do not fit `T`: the schema allows more than the type.
pub fn get<T: DeserializeOwned>() -> Result<T> {
    let json = crate::bindings::imports::stellaclaw::plugin::settings::get();
    serde_json::from_str(&json).map_err(|error| Error::invalid(format!("settings: {error}")))
}
