//! `plugin check`: everything a host would refuse about a component, and what its author should know.
//!
//! First its outside is looked at, then it is compiled, linked and asked for its catalogue by the runtime that would serve
//! it: there is no second judgement here, only advice. It runs with nothing granted.

mod lint;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::grant::{self, Grants};
use super::nobody;
use crate::chat::Modality;
use crate::cli::components::Components;
use crate::cli::{Context, ExitCode, output};
use crate::config::Plugin;
use crate::plugins::{Check, InspectError, SessionInfo, SessionKind, State, Tool, check};

/// Runs the verb. What is wrong is its result.
pub(in crate::cli) async fn run(context: &Context, file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let trial = Trial::of(context, file, grant::none()).await?;
    if json {
        output::json(&trial.json())?;
    } else {
        output::text(&trial.text())?;
    }
    Ok(if trial.is_refused() { ExitCode::Failed } else { ExitCode::Ok })
}

/// A component as a host would take it.
pub(super) struct Trial {
    pub check: Check,
    /// What runs it; none when it is refused, or cannot be tried.
    pub ready: Option<Ready>,
}

/// A component that could serve.
pub(super) struct Ready {
    pub components: Components,
    /// The tools that some session is offered.
    tools: Vec<Tool>,
    code_bytes: u64,
    /// From its bytes to its catalogue.
    time: Duration,
}

impl Trial {
    /// Looks at the component in `file`, and makes it ready to be called with `grants`.
    pub async fn of(context: &Context, file: &Path, grants: Grants) -> anyhow::Result<Self> {
        let check = check(file).map_err(|error| match error {
            InspectError::NotFound(path) => ExitCode::NotFound.error(anyhow::anyhow!("there is no file {path}")),
            other => other.into(),
        })?;
        let mut trial = Self { check, ready: None };
        if !trial.is_refused() {
            trial.try_out(context, file, grants).await?;
        }
        Ok(trial)
    }

    pub fn is_refused(&self) -> bool {
        !self.check.refusals.is_empty()
    }

    async fn try_out(&mut self, context: &Context, file: &Path, grants: Grants) -> anyhow::Result<()> {
        let (check, mut config) = (&mut self.check, context.config()?);
        let name = check.plugin.clone();
        let entry = config.plugins.remove(&name).unwrap_or_default();
        if let Some(problems) = &check.needs_settings
            && entry.settings.as_object().is_none_or(serde_json::Map::is_empty)
        {
            check.warnings.push(format!(
                "it serves only with settings, so it was not tried: {problems}; write [plugins.{name}.settings] in a configuration and check again"
            ));
            return Ok(());
        }
        let path = file.canonicalize()?;
        config.plugins = [(name.clone(), Plugin { path: Some(path), trust_path: true, ..grants.apply(entry) })].into();
        config.plugin_dirs.clear();
        let begin = Instant::now();
        let components = Components::anew(config)?;
        components.plugins.wait_ready().await;
        let time = begin.elapsed();
        match components.plugins.list().into_iter().map(|plugin| plugin.state).next() {
            Some(State::Refused { reason }) => {
                check.refusals.extend(reason.lines().map(str::to_owned));
                return Ok(());
            }
            Some(State::Compiling) => {
                check.refusals.push("this machine could not try it just now; check again".to_owned());
                return Ok(());
            }
            Some(State::Ready | State::Waiting { .. }) | None => {}
        }
        let mut tools: Vec<Tool> = Vec::new();
        for info in sessions() {
            for tool in components.plugins.tools(&info).await.tools() {
                if !tools.iter().any(|known| known.name == tool.name) {
                    tools.push(tool.clone());
                }
            }
        }
        let silent = check.tools.iter().filter(|name| !tools.iter().any(|tool| tool.name == **name));
        check.warnings.extend(silent.map(|name| format!("{name}: its manifest names it, and no kind of session is offered it")));
        check.warnings.extend(tools.iter().flat_map(lint::tool));
        let code_bytes = code_bytes(&components.scratch.path().join("cache"))?;
        self.ready = Some(Ready { components, tools, code_bytes, time });
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let mut value = json!(self.check);
        value["ok"] = (!self.is_refused()).into();
        if let Some(Ready { code_bytes, time, .. }) = &self.ready {
            value["code_bytes"] = (*code_bytes).into();
            value["ready_ms"] = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into();
        }
        value
    }

    fn text(&self) -> String {
        let check = &self.check;
        let mut text = title(check);
        // Nothing could be read.
        if !check.digest.is_empty() {
            let kinds: Vec<_> = check.kinds.iter().map(|kind| kind.what()).collect();
            let is = if kinds.is_empty() { "no plugin".to_owned() } else { kinds.join(" and ") };
            let size = kib(check.component_bytes);
            // Writing to a string cannot fail.
            let _ = match &self.ready {
                Some(Ready { code_bytes, time, .. }) => {
                    writeln!(text, "is {is}: {size} KiB, compiled {} KiB, ready in {} ms", kib(*code_bytes), time.as_millis())
                }
                None => writeln!(text, "is {is}: {size} KiB"),
            };
        }
        let tools = self.ready.iter().flat_map(|ready| &ready.tools);
        let lines: Vec<_> = tools.map(|tool| format!("  {} ({}, {})\n", tool.name, word(&tool.replay), word(&tool.batching))).collect();
        if !lines.is_empty() {
            let _ = write!(text, "tools\n{}", lines.concat());
        }
        let _ = write!(text, "{check}");
        text.push_str(if self.is_refused() { "a host would refuse it\n" } else { "a host would serve it\n" });
        text
    }
}

/// Which component it is: as its manifest says, or else by the name of its file.
fn title(check: &Check) -> String {
    let Check { plugin, name, version, contract, digest, .. } = check;
    match (name.is_empty(), digest.is_empty()) {
        (false, _) => format!("{name} {version} (contract {contract}, sha256 {digest})\n"),
        (true, false) => format!("{plugin} (sha256 {digest})\n"),
        (true, true) => format!("{plugin}\n"),
    }
}

/// The kinds of sessions that a catalogue may make a difference between.
fn sessions() -> impl Iterator<Item = SessionInfo> {
    let able = |kind| SessionInfo {
        kind,
        reads: vec![Modality::Text, Modality::Image, Modality::Pdf, Modality::Audio, Modality::File],
        helpers: ["audio", "image", "image-generation", "pdf", "search"].map(str::to_owned).into(),
    };
    let kinds = [SessionKind::Foreground, SessionKind::Background, SessionKind::Subagent, SessionKind::Cron];
    [nobody::info()].into_iter().chain(kinds.into_iter().map(able))
}

/// The compiled code in a cache that has nothing else.
fn code_bytes(cache: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in cache.read_dir()? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 10)
}

/// The contract's word for a class.
fn word(class: &impl serde::Serialize) -> String {
    json!(class).as_str().unwrap_or_default().to_owned()
}
