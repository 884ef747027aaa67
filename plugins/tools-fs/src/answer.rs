//! What every tool of this plugin answers with: a value, and one line for the person who watches.

use stellaclaw_sdk::serde::Serialize;
use stellaclaw_sdk::{Output, Result};

use crate::text::cut_bytes;

/// The contract's limit for a summary.
const MAX_SUMMARY_BYTES: usize = 200;

/// A JSON answer.
pub(crate) fn json(value: &impl Serialize, summary: &str) -> Result<Output> {
    Ok(Output::json(value)?.with_summary(cut_bytes(summary, MAX_SUMMARY_BYTES)))
}

/// A plain answer.
pub(crate) fn text(value: String, summary: &str) -> Output {
    Output::text(value).with_summary(cut_bytes(summary, MAX_SUMMARY_BYTES))
}
