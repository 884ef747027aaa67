//! `config check`: is the configuration right?

use serde_json::json;

use super::args::ConfigVerb;
use super::{Context, ExitCode, output};
use crate::config::ConfigError;

/// Runs the verb. What is wrong is its result, so it is printed here and not as an error.
pub(super) fn run(context: &Context, verb: ConfigVerb) -> anyhow::Result<ExitCode> {
    let ConfigVerb::Check { json } = verb;
    let file = context.config_file.as_ref().map(|path| path.display().to_string());
    match context.config() {
        Ok(config) if json => {
            output::json(&json!({ "ok": true, "file": file, "default_model": config.default_model, "problems": [] }))?;
            Ok(ExitCode::Ok)
        }
        Ok(config) => {
            let place = file.unwrap_or_else(|| "no configuration, the embedded default".into());
            output::text(&format!("{place}: right; default model {}\n", config.default_model))?;
            Ok(ExitCode::Ok)
        }
        Err(ConfigError::Invalid { problems }) => {
            if json {
                output::json(&json!({ "ok": false, "file": file, "problems": problems }))?;
            } else {
                let lines: Vec<_> = problems.iter().map(|problem| format!("{problem}\n")).collect();
                output::text(&lines.concat())?;
            }
            Ok(ExitCode::Config)
        }
        Err(error) => Err(error.into()),
    }
}
