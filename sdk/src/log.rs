//! Lines for the operator: 4 KiB each, 1,000 per call; the rest is counted.

use crate::bindings::imports::stellaclaw::plugin::log::{Level, write};

/// Writes a line at level debug.
pub fn debug(message: &str) {
    write(Level::Debug, message, &[]);
}

/// Writes a line at level info.
pub fn info(message: &str) {
    write(Level::Info, message, &[]);
}

/// Writes a line at level warn.
pub fn warn(message: &str) {
    write(Level::Warn, message, &[]);
}

/// Writes a line at level error.
pub fn error(message: &str) {
    write(Level::Error, message, &[]);
}

/// Writes a line at level info with named values beside it.
pub fn fields(message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    write(Level::Info, message, &fields);
}
