//! Standard output: the result of a verb, nothing else.
//!
//! A reader that went away (`| head`) is not an error: there is nobody left to tell.

use std::io::{self, Write};

use anyhow::Context as _;
use serde::Serialize;

use super::chat::harmless;

/// Prints `text`. Names of files, texts of components and the like are in it: what could steer a terminal is made visible.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    styled(&harmless(text))
}

/// Prints `text` as it is, with colours. What is not ours in it went through [`harmless`].
pub(super) fn styled(text: &str) -> anyhow::Result<()> {
    is_read(text).map(drop)
}

/// The same. False: nobody reads any more.
pub(super) fn is_read(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("failed to write to standard output"),
    }
}

/// Prints `value` as indented JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string_pretty(value).context("failed to write JSON")?;
    line.push('\n');
    text(&line)
}
