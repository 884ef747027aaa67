//! Tools that say which version they are, and ask for everything that can be granted. The tests patch the version and the names.

use stellaclaw_sdk::{Batching, Call, Error, Output, Replay, Result, Tool, http, plugin, schemars, serde, settings};

const VERSION: &str = "version-1";

#[derive(serde::Deserialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Settings {
    #[serde(default)]
    greeting: String,
}

/// Says which version this is.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct WhichVersion {
    /// Wait for this file first, and say so by another one beside it, whose name ends in `.awaited`.
    #[serde(default)]
    after: Option<String>,
}

impl Tool for WhichVersion {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Effect;

    fn call(self, _call: &Call) -> Result<Output> {
        if let Some(path) = &self.after {
            std::fs::write(format!("{path}.awaited"), "")?;
        }
        while self.after.as_ref().is_some_and(|path| std::fs::metadata(path).is_err()) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(Output::text(settings::get::<Settings>()?.greeting + VERSION))
    }
}

/// Only the first version has this tool under this name.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct WriteOne {
    text: String,
}

impl Tool for WriteOne {
    fn call(self, _call: &Call) -> Result<Output> {
        std::fs::write("written.txt", &self.text).map_err(|error| Error::from(error).context("written.txt"))?;
        Ok(Output::text("written"))
    }
}

/// Fetches a page.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct FetchPage {
    url: String,
}

impl Tool for FetchPage {
    fn call(self, _call: &Call) -> Result<Output> {
        http::get(&self.url).send().map(|_| Output::text("fetched"))
    }
}

plugin! {
    tools: [WhichVersion, WriteOne, FetchPage],
    fs: ["workspace:rw"],
    http: ["https://api.example.com"],
    slots: ["api-key" => ["https://api.example.com"]],
    settings: r#"{"type":"object","properties":{"greeting":{"type":"string"}},"additionalProperties":false}"#
}
