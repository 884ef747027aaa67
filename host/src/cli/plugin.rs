//! `plugin list`, `plugin inspect`, `plugin call`: components without a session. What their authors need has files of its
//! own.
//!
//! None of them opens the store or takes the lock. What a running host serves, it says itself; without one they look for
//! themselves. A call runs in a work directory of its own that is gone afterwards, so its `/data` is empty and nothing that
//! it leaves there is kept.

pub(super) mod check;
pub(super) mod dev;
mod grant;
pub(super) mod granting;
pub(super) mod new;
pub(super) mod nobody;
pub(super) mod pack;
mod target;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use super::args::{CallArgs, Reach};
use super::components::Components;
use super::{Context, ExitCode, host, output};
use crate::channels::terminal::protocol::{Look, ToClient};
use crate::config::{Config, Plugin};
use crate::ids::CallId;
use crate::plugins::stop::stop;
use crate::plugins::{
    CallError, ErrorKind, InspectError, Inspection, Output, OutputPart, PluginStatus, Plugins, Setup, Source, State, Tool, ToolCall,
    bundled_owner, file_digest, named_digest,
};

/// `plugin list`
pub(super) async fn list(context: &Context, json: bool) -> anyhow::Result<ExitCode> {
    let found = match host::at_host(context, Look::Plugins).await? {
        Some(ToClient::Plugins { plugins }) => plugins,
        Some(other) => return Err(anyhow!("the host did not list its plugins: {other:?}")),
        None => {
            let components = Components::as_served(context, &context.config()?)?;
            components.plugins.wait_ready().await;
            components.plugins.list()
        }
    };
    if json {
        output::json(&found)?;
    } else {
        output::text(&render(&found))?;
    }
    Ok(ExitCode::Ok)
}

/// `plugin inspect`
pub(super) async fn inspect(context: &Context, what: &str, json: bool) -> anyhow::Result<ExitCode> {
    let found = match host::at_host(context, Look::Plugin { name: what.to_owned() }).await? {
        Some(ToClient::Plugin { inspection: Some(found) }) => *found,
        // It may be a file.
        _ => {
            let components = Components::as_served(context, &context.config()?)?;
            components.plugins.wait_ready().await;
            let found = components.plugins.inspect(what).map_err(|error| match error {
                InspectError::NotFound(_) => ExitCode::NotFound.error(error),
                other => other.into(),
            })?;
            Inspection { offers: components.plugins.offers(what).await, ..found }
        }
    };
    if json {
        output::json(&found)?
    } else {
        output::text(&found.to_string())?
    }
    Ok(ExitCode::Ok)
}

/// `plugin call`
pub(super) async fn call(context: &Context, args: CallArgs) -> anyhow::Result<ExitCode> {
    let (workspace, grants) = (workspace(&args.reach)?, granted(&args.reach)?);
    let mut config = context.config()?;
    let entry = config.plugins.get(&args.plugin).cloned().unwrap_or_default();
    let (name, bundled) = match component(context, &config, &entry, &args.plugin)? {
        Some((name, path)) => {
            // A component from outside starts with nothing but its own `/data`.
            let grants = grants.unwrap_or_else(grant::none);
            let entry = Plugin { path: Some(path), sha256: None, trust_path: true, ..grants.apply(entry) };
            config.plugins = [(name.clone(), entry)].into();
            (name, false)
        }
        None => {
            let entry = grants.map_or_else(|| grant::default(&entry), |grants| grants.apply(entry.clone()));
            config.plugins = [(args.plugin.clone(), entry)].into();
            (args.plugin.clone(), true)
        }
    };
    config.plugin_dirs.clear();
    let components = Components::apart(context, config, bundled)?;
    let answer = one_call(&components.plugins, &name, &args.tool, &args.arguments, workspace).await?;
    let (value, code) = result(answer);
    output::json(&value)?;
    Ok(code)
}

/// The workspace of a call.
fn workspace(reach: &Reach) -> anyhow::Result<PathBuf> {
    let named = reach.workspace.display();
    let workspace = reach.workspace.canonicalize().with_context(|| format!("failed to open the workspace {named}"));
    let workspace = workspace.map_err(|error| ExitCode::NotFound.error(error))?;
    if !workspace.is_dir() {
        return Err(ExitCode::NotFound.error(anyhow!("the workspace {} is not a directory", workspace.display())));
    }
    Ok(workspace)
}

/// What `--grant` says, when it says something.
fn granted(reach: &Reach) -> anyhow::Result<Option<grant::Grants>> {
    if reach.grant.is_empty() {
        return Ok(None);
    }
    grant::parse(&reach.grant).map(Some).map_err(|error| ExitCode::Usage.error(error))
}

async fn one_call(
    plugins: &Plugins,
    name: &str,
    tool: &str,
    arguments: &str,
    workspace: PathBuf,
) -> anyhow::Result<Result<Output, CallError>> {
    if !plugins.ready(name).await {
        return Err(not_serving(plugins, name));
    }
    let catalog = plugins.tools(&nobody::info()).await;
    let tools: Vec<&Tool> = catalog.tools().iter().filter(|tool| tool.plugin == name).collect();
    let Some(tool) = tools.iter().find(|offered| offered.name == tool) else {
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let error = anyhow!("{name} has no tool {tool:?}; it has: {}", names.join(", "));
        return Err(ExitCode::NotFound.error(error));
    };
    if let Err(message) = plugins.check_arguments(tool, arguments) {
        return Ok(Err(CallError { kind: ErrorKind::Invalid, message, retry_after_ms: None, trap: None }));
    }
    let call = ToolCall { id: CallId("cli.1.1.0".into()), name: tool.name.clone(), arguments: arguments.to_owned(), attempt: 1 };
    let (stop, signal) = stop();
    let interrupted = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stop(crate::limits::STOP_GRACE);
        }
        std::future::pending::<()>().await;
    });
    let answer = plugins.run_tool(tool, call, nobody::context(workspace), signal).await;
    interrupted.abort();
    Ok(answer)
}

/// What is printed, and the code to end with.
fn result(answer: Result<Output, CallError>) -> (Value, ExitCode) {
    match answer {
        Ok(output) => {
            let parts: Vec<_> = output.parts.into_iter().map(part).collect();
            (json!({ "ok": true, "parts": parts, "summary": output.summary }), ExitCode::Ok)
        }
        Err(error) => {
            if let Some(trap) = &error.trap {
                tracing::error!(trap, "the component trapped");
            }
            let code = if error.kind == ErrorKind::Denied { ExitCode::Denied } else { ExitCode::Failed };
            (json!({ "ok": false, "error": error }), code)
        }
    }
}

/// A piece of an answer. JSON text is shown as what it says.
fn part(part: OutputPart) -> Value {
    match part {
        OutputPart::Json(text) => json!({ "json": serde_json::from_str(&text).unwrap_or(Value::String(text)) }),
        other => json!(other),
    }
}

/// The component `what`, its name and its file; none when it is bundled. A name means what it means to a host: who has the
/// name, and only the bytes that the operator has named, if they have.
fn component(context: &Context, config: &Config, entry: &Plugin, what: &str) -> anyhow::Result<Option<(String, PathBuf)>> {
    let path = Path::new(what);
    if what.contains(std::path::MAIN_SEPARATOR) || path.extension().is_some() {
        let found = path.canonicalize().with_context(|| format!("failed to open {what}"));
        let path = found.map_err(|error| ExitCode::NotFound.error(error))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(Some((name, path)));
    }
    if bundled_owner(what, "").is_some() {
        return Ok(None);
    }
    let file = format!("{what}.wasm");
    let places = config.plugin_dirs.iter().map(|folder| context.in_workdir(folder).join(&file));
    let Some(path) = entry.path.clone().or_else(|| places.into_iter().find(|path| path.symlink_metadata().is_ok())) else {
        return Ok(None);
    };
    let setup = Setup { workdir: context.workdir.clone(), config: config.clone().into(), bundled: true };
    if let Some(named) = named_digest(&setup, what)? {
        let there = file_digest(&path).map_err(|reason| anyhow!("{what}: {reason}"))?;
        if there != named {
            let shown = path.display();
            return Err(ExitCode::Denied.error(anyhow!(
                "{shown} has other bytes than the operator named for {what}: sha256 {there}, not {named}; accept them there, or call the file by its path"
            )));
        }
    }
    Ok(Some((what.to_owned(), path)))
}

/// The names of the components beside the bundled ones that a host would look at.
pub(super) fn names(context: &Context, config: &Config) -> Vec<String> {
    let configured = config.plugins.iter().filter(|(_, plugin)| plugin.path.is_some()).map(|(name, _)| name.clone());
    let folders = config.plugin_dirs.iter().filter_map(|folder| context.in_workdir(folder).read_dir().ok());
    let files = folders.flatten().filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let dropped = files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let dropped = dropped.filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    let mut names: Vec<_> = configured.chain(dropped).collect();
    names.sort();
    names.dedup();
    names
}

fn not_serving(plugins: &Plugins, name: &str) -> anyhow::Error {
    let found = plugins.list().into_iter().find(|plugin| plugin.name == name);
    match found.map(|plugin| plugin.state) {
        None => ExitCode::NotFound.error(anyhow!("there is no plugin {name:?}; `stellaclaw plugin list` shows those that there are")),
        Some(State::Refused { reason }) => anyhow!("{name} cannot be loaded: {reason}"),
        Some(state) => anyhow!("{name} does not serve: {state:?}"),
    }
}

fn render(found: &[PluginStatus]) -> String {
    let width = found.iter().map(|plugin| plugin.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for plugin in found {
        let version = plugin.version.as_deref().unwrap_or("-");
        let source = match (plugin.source, &plugin.path) {
            (Source::Bundled, _) | (_, None) => "bundled".to_owned(),
            (_, Some(path)) => path.display().to_string(),
        };
        let (state, more) = match &plugin.state {
            State::Ready => ("ready", None),
            State::Compiling => ("compiling", None),
            State::Refused { reason } => ("refused", Some(reason.clone())),
            State::Waiting { reason, line, command: None } => ("waiting", Some(format!("{reason}\nto the configuration:\n{line}"))),
            State::Waiting { reason, line, command: Some(command) } => {
                ("waiting", Some(format!("{reason}\nrun: {command}\nor, to the configuration:\n{line}")))
            }
        };
        let older = plugin.serving.as_ref().filter(|serving| plugin.digest.as_ref() != Some(serving));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:width$}  {version:<8} {state:<9} {source}", plugin.name);
        for line in more.iter().flat_map(|more| more.lines()) {
            let _ = writeln!(text, "{:width$}  {line}", "");
        }
        if let Some(serving) = older {
            let _ = writeln!(text, "{:width$}  serves: the bytes before, sha256 {serving}", "");
        }
        if !plugin.tools.is_empty() {
            let _ = writeln!(text, "{:width$}  tools: {}", "", plugin.tools.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str, state: State) -> PluginStatus {
        PluginStatus {
            name: name.into(),
            version: Some("0.1.0".into()),
            description: None,
            source: Source::DroppedIn,
            path: Some(format!("/w/plugins/{name}.wasm").into()),
            digest: None,
            serving: None,
            state,
            tools: vec!["a".into(), "b".into()],
            kinds: Vec::new(),
        }
    }

    #[test]
    fn a_list_says_what_each_waits_for() {
        let waiting = |command: Option<&str>| State::Waiting {
            reason: "no grant for these bytes".into(),
            line: "[plugins.other]\nsha256 = \"12\"".into(),
            command: command.map(str::to_owned),
        };
        let refused = State::Refused { reason: "not a WebAssembly component".into() };
        let garbage = PluginStatus { digest: Some("34".into()), serving: Some("12".into()), ..plugin("swapped", refused) };
        let found = [
            plugin("one", State::Ready),
            plugin("other", waiting(None)),
            plugin("third", waiting(Some("stellaclaw plugin grant third"))),
            garbage,
        ];
        insta::assert_snapshot!(render(&found), @r#"
        one      0.1.0    ready     /w/plugins/one.wasm
                 tools: a, b
        other    0.1.0    waiting   /w/plugins/other.wasm
                 no grant for these bytes
                 to the configuration:
                 [plugins.other]
                 sha256 = "12"
                 tools: a, b
        third    0.1.0    waiting   /w/plugins/third.wasm
                 no grant for these bytes
                 run: stellaclaw plugin grant third
                 or, to the configuration:
                 [plugins.other]
                 sha256 = "12"
                 tools: a, b
        swapped  0.1.0    refused   /w/plugins/swapped.wasm
                 not a WebAssembly component
                 serves: the bytes before, sha256 12
                 tools: a, b
        "#);
    }

    #[test]
    fn the_exit_code_says_how_the_call_ended() {
        let error = |kind| Err(CallError { kind, message: "no".into(), retry_after_ms: None, trap: None });
        assert_eq!(result(error(ErrorKind::Denied)).1, ExitCode::Denied);
        assert_eq!(result(error(ErrorKind::Failed)).1, ExitCode::Failed);
        let parts = vec![OutputPart::Text("x".into()), OutputPart::Json("[1]".into())];
        let (value, code) = result(Ok(Output { parts, summary: None }));
        assert_eq!((value["parts"].clone(), code), (json!([{ "text": "x" }, { "json": [1] }]), ExitCode::Ok));
    }
}
