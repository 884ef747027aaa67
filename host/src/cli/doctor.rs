//! `doctor`: checks everything that a working host needs, one line each, and says how to repair what is wrong.
//!
//! It repairs nothing and makes no work directory. In one that exists the store is opened for reading, and components are
//! compiled where the host would look for them.

mod checks;
mod online;
pub(in crate::cli) mod telegram;
mod updates;

use std::fmt::Write as _;

use serde::Serialize;

use super::args::DoctorArgs;
use super::chat::harmless;
use super::{Context, ExitCode, output};
use crate::config::Config;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub name: String,
    level: Level,
    /// What was found.
    pub why: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), level: Level::Ok, why: why.into(), repair: None }
    }

    fn warn(name: impl Into<String>, why: impl Into<String>, repair: impl Into<String>) -> Self {
        Self { name: name.into(), level: Level::Warn, why: why.into(), repair: Some(repair.into()) }
    }

    fn fail(name: impl Into<String>, why: impl Into<String>, repair: impl Into<String>) -> Self {
        Self { name: name.into(), level: Level::Fail, why: why.into(), repair: Some(repair.into()) }
    }
}

/// Something that was asked for does not work.
pub(super) struct Trouble {
    /// What a verb ends with that needs it.
    pub code: ExitCode,
    pub why: String,
    pub repair: String,
}

impl Trouble {
    pub(super) fn new(code: ExitCode, why: impl Into<String>, repair: impl Into<String>) -> Self {
        Self { code, why: why.into(), repair: repair.into() }
    }

    fn check(self, name: impl Into<String>) -> Check {
        Check::fail(name, self.why, self.repair)
    }
}

/// Runs the verb.
pub(super) async fn run(context: &Context, args: DoctorArgs) -> anyhow::Result<ExitCode> {
    if args.updates {
        return updates::show(context, args.json).await;
    }
    let checks = examine(context, args.online).await;
    if args.json {
        output::json(&checks)?;
    } else {
        output::styled(&render(&checks, context.color))?;
    }
    let failed = checks.iter().any(|check| check.level == Level::Fail);
    Ok(if failed { ExitCode::Failed } else { ExitCode::Ok })
}

/// What other users of the machine can read or change and should not.
pub(super) fn exposed(context: &Context, config: &Config) -> Vec<Check> {
    let mut report = Vec::new();
    checks::secrets(config, &mut report);
    report.retain(|check| check.level == Level::Warn);
    report.extend(context.config_file.as_deref().and_then(checks::changeable));
    report
}

async fn examine(context: &Context, online: bool) -> Vec<Check> {
    let mut report = Vec::new();
    let config = checks::config(context, &mut report);
    checks::workdir(context, &mut report).await;
    updates::check(context, &mut report).await;
    checks::disk(context, &mut report);
    let Some(config) = config else { return report };
    checks::secrets(&config, &mut report);
    telegram::check(context, &config, online, &mut report).await;
    if let Some(runtime) = checks::components(context, &config, &mut report).await
        && online
    {
        online::models(&config, &runtime, &mut report).await;
    }
    report
}

fn render(checks: &[Check], color: bool) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let (word, code) = match check.level {
            Level::Ok => ("ok  ", "32"),
            Level::Warn => ("warn", "33"),
            Level::Fail => ("fail", "31"),
        };
        let word = if color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() };
        let (name, why) = (harmless(&check.name), harmless(&check.why).replace('\n', "\n      "));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{word}  {name:width$}  {why}");
        if let Some(repair) = &check.repair {
            let _ = writeln!(text, "      → {}", harmless(repair));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_line_per_check_and_one_per_repair() {
        let checks = [Check::ok("disk", "9 GiB free"), Check::fail("configuration", "wrong", "mend it")];
        insta::assert_snapshot!(render(&checks, false), @r"
        ok    disk           9 GiB free
        fail  configuration  wrong
              → mend it
        ");
    }
}
