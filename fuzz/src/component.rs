//! The bytes of a component: from the file to what may serve, without compiling.

use std::sync::LazyLock;

use stellaclaw::config::Config;
use stellaclaw::plugins::fuzz::{Examined, examine, is_satisfied};
use tempfile::TempDir;

/// Where `/data` would be.
static DATA: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

/// A reason quotes at most one text of its author, which is bounded, in a few lines.
const MOST_REASON_BYTES: usize = 16 << 10;

pub fn run(data: &[u8]) {
    if let Ok(examined) = examine("fuzzed", data, "", DATA.path()) {
        check(data, &examined);
    }
}

/// Looks at a component with the text beside it.
pub(super) fn with_settings(wasm: &[u8], toml: &str) {
    match examine("fuzzed", wasm, toml, DATA.path()) {
        Ok(examined) => check(wasm, &examined),
        Err(reason) => assert!(reason.len() <= MOST_REASON_BYTES && is_plain(&reason), "of the text beside it: {reason:?}"),
    }
}

fn check(wasm: &[u8], examined: &Examined) {
    let Examined { status, inspection, refused, line } = examined;
    if let Some(reason) = refused {
        assert!(reason.len() <= MOST_REASON_BYTES, "{} bytes of reason: {reason:.300}", reason.len());
    } else {
        assert!(!status.kinds.is_empty() && status.version.is_some(), "it serves and nobody knows what it is: {status:?}");
    }
    let texts = [Some(inspection), refused.as_ref(), line.as_ref(), status.version.as_ref(), status.description.as_ref()];
    for text in texts.into_iter().flatten().chain(&status.tools) {
        assert!(is_plain(text), "a terminal would be told {text:?}");
    }
    if let Some(line) = line {
        // What the operator is told to add is a configuration, says nothing of other plugins, and is enough.
        let text = format!("version = \"0.5\"\n[models.m]\nprovider = \"p\"\nmodel = \"m\"\n{line}\n");
        let config = Config::parse(&text, "/config.toml".as_ref()).unwrap_or_else(|error| panic!("{error}\nfor\n{line}"));
        assert!(config.plugins.len() == 1 && config.models.len() == 1, "more than was meant:\n{line}");
        assert!(is_satisfied("fuzzed", wasm, &config.plugins["fuzzed"]), "not enough:\n{line}");
    }
}

/// Nothing in it steers a terminal.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || c == '\n')
}
