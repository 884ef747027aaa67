//! `stellaclaw:plugin/log`: lines for the operator.

use std::fmt::Write as _;

use stellaclaw_bindings::log::{Host, Level};

use crate::limits;
use crate::plugins::instance::{Call, Guest};

impl Host for Guest {
    async fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.call.count()?;
        self.call.log_lines = self.call.log_lines.saturating_add(1);
        if self.call.log_lines <= limits::LOG_LINES {
            let line = line(&self.call, &message, &fields);
            let (plugin, call) = (&self.call.grant.plugin, self.call.session.as_ref().map(|session| session.call.0.as_str()));
            match level {
                Level::Debug => tracing::debug!(target: "plugin", plugin, call, "{line}"),
                Level::Info => tracing::info!(target: "plugin", plugin, call, "{line}"),
                Level::Warn => tracing::warn!(target: "plugin", plugin, call, "{line}"),
                Level::Error => tracing::error!(target: "plugin", plugin, call, "{line}"),
            }
        }
        Ok(())
    }
}

/// What of a text is looked at: more than is kept, so that a secret at the end is found whole or cut away.
fn part(text: &str) -> &str {
    &text[..text.floor_char_boundary(2 * limits::LOG_LINE_BYTES)]
}

/// Message and fields on one line, without secrets, control characters, or what is over the limit.
fn line(call: &Call, message: &str, fields: &[(String, String)]) -> String {
    let mut line = part(message).to_owned();
    for (name, value) in fields {
        if line.len() > limits::LOG_LINE_BYTES {
            break;
        }
        let _ = write!(line, " {}={:?}", part(name), part(value));
    }
    let line = call.redactor.text(&line);
    let mut line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(limits::LOG_LINE_BYTES));
    line
}
