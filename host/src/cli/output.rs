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

/// Lines with aligned columns: the first `left` to the left, figures after them to the right.
pub(super) fn table<const N: usize>(rows: &[[String; N]], left: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column < left {
            true => format!("{cell:width$}"),
            false => format!("{cell:>width$}"),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Prints `value` as indented JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string_pretty(value).context("failed to write JSON")?;
    line.push('\n');
    text(&line)
}
