//! The conversation in which the call runs.

use serde_json::Value;

use crate::bindings::imports::stellaclaw::plugin::conversation;
pub use crate::bindings::imports::stellaclaw::plugin::conversation::{Step, StepState, interrupted, plan, progress};
use crate::types::Part;
use crate::{Error, Result};

/// Sends a message to the person, delivered once, now.
///
/// # Errors
///
/// `unavailable` outside a session.
pub fn say(text: &str) -> Result<()> {
    conversation::say(&[Part::Text(text.to_owned())])
}

/// Model, usage and sessions, as `/status` shows them.
///
/// # Errors
///
/// `unavailable` outside a session.
pub fn status() -> Result<Value> {
    serde_json::from_str(&conversation::status()?).map_err(|error| Error::failed(error.to_string()))
}
