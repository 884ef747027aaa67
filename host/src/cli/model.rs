//! `model list`, `model test`: the models of the configuration, the models of an account, and whether one of them works.
//!
//! None of them opens the store or takes the lock: they look for components themselves, as a host would serve them.

mod table;
pub(super) mod trial;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{ModelVerb, TestArgs};
use super::chat::parked;
use super::components::Components;
use super::plugin::nobody;
use super::{Context, ExitCode, output};
use crate::config::{Config, Helper, Model, Role};
use crate::limits;
use crate::plugins::stop::stop;
use crate::plugins::{AccountModel, Kind, State};
use trial::{Outcome, Trial};

/// Runs the verb.
pub(super) async fn run(context: &Context, verb: ModelVerb) -> anyhow::Result<ExitCode> {
    match verb {
        ModelVerb::List { alias: None, json } => list(context, json).await,
        ModelVerb::List { alias: Some(alias), json } => account(context, &alias, json).await,
        ModelVerb::Test(args) => test(context, args).await,
    }
}

/// A model of the configuration.
#[derive(Debug, Serialize)]
struct Configured {
    alias: String,
    model: String,
    provider: String,
    /// What its component is, as far as a model entry can use it.
    is: Vec<Kind>,
    /// What it is used for: `default`, or a helper role.
    roles: Vec<String>,
    /// None: it can be asked.
    problem: Option<String>,
}

async fn list(context: &Context, json: bool) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let components = Components::as_served(context, &config)?;
    components.plugins.wait_ready().await;
    let found: Vec<_> = config.models.values().map(|model| configured(&config, &components, model)).collect();
    if json {
        output::json(&found)?;
    } else {
        output::text(&table::configured(&found))?;
    }
    Ok(ExitCode::Ok)
}

fn configured(config: &Config, components: &Components, model: &Model) -> Configured {
    let is: Vec<_> = components.plugins.kinds(model).into_iter().filter(|kind| *kind != Kind::Tools).collect();
    let default = (model.alias == config.default_model).then(|| "default".to_owned());
    let names = |helper: &Helper| *helper == Helper::Model(model.alias.clone());
    let helps = Role::ALL.into_iter().filter(|role| config.session.helpers.get(*role).is_some_and(names));
    Configured {
        alias: model.alias.clone(),
        model: model.id.clone(),
        provider: model.provider.clone(),
        problem: problem(components, model, &is),
        is,
        roles: default.into_iter().chain(helps.map(|role| role.word().to_owned())).collect(),
    }
}

/// Why a model cannot be asked.
fn problem(components: &Components, model: &Model, is: &[Kind]) -> Option<String> {
    let Some(plugin) = components.plugins.list().into_iter().find(|plugin| plugin.name == model.provider) else {
        return Some(format!("there is no plugin {}", model.provider));
    };
    match plugin.state {
        _ if plugin.serving.is_some() => {}
        State::Refused { reason } | State::Waiting { reason, .. } => return Some(reason),
        State::Compiling => return Some("its plugin is still being compiled".to_owned()),
        State::Ready => {}
    }
    if is.is_empty() {
        return Some(format!("{} serves no models", model.provider));
    }
    let unreadable = model.api_key.as_ref().and_then(|source| source.read().err()).map(|error| format!("api_key: {error}"));
    unreadable.or_else(|| components.plugins.check_options(model).err())
}

/// The models of an account.
async fn account(context: &Context, alias: &str, json: bool) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let model = named(&config, alias)?;
    let components = Components::as_served(context, &config)?;
    components.plugins.wait_ready().await;
    let (_stop, signal) = stop();
    let asking = components.plugins.account_models(model, nobody::context(components.scratch.path().to_owned()), signal);
    let listed = match tokio::time::timeout(limits::TRIAL_TIME, asking).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(failure)) => return Err(parked(Some(failure.kind)).error(anyhow!("{}", failure.message))),
        Err(_) => return Err(ExitCode::Network.error(anyhow!("no answer within {} s", limits::TRIAL_TIME.as_secs()))),
    };
    if json {
        output::json(&listed.iter().map(entry).collect::<Vec<_>>())?;
    } else {
        output::text(&table::account(&listed))?;
    }
    Ok(ExitCode::Ok)
}

fn entry(model: &AccountModel) -> Value {
    let reads: Vec<_> = model.reads.iter().map(|reads| table::word(*reads)).collect();
    let ext: Option<Value> = model.ext.as_deref().and_then(|ext| serde_json::from_str(ext).ok());
    json!({
        "id": model.id, "name": model.name, "context_window": model.context_window, "max_output": model.max_output, "reads": reads, "ext": ext,
    })
}

fn named<'a>(config: &'a Config, alias: &str) -> anyhow::Result<&'a Model> {
    config.models.get(alias).ok_or_else(|| {
        let known: Vec<_> = config.models.keys().map(String::as_str).collect();
        ExitCode::NotFound.error(anyhow!("the configuration has no model {alias:?}; it has: {}", known.join(", ")))
    })
}

async fn test(context: &Context, args: TestArgs) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let model = named(&config, &args.alias)?;
    let components = Components::as_served(context, &config)?;
    components.plugins.wait_ready().await;
    let trial = match trial::ask(model, &components).await {
        Ok(trial) => trial,
        Err(trouble) => return Err(trouble.code.error(anyhow!("{}: {}; {}", model.alias, trouble.why, trouble.repair))),
    };
    let files = kept(&trial, &model.alias, args.output.as_deref())?;
    if args.json {
        output::json(&report(model, &trial, &files))?;
    } else {
        output::text(&table::trial(model, &trial, &files))?;
    }
    Ok(ExitCode::Ok)
}

/// Puts what was drawn into new files.
fn kept(trial: &Trial, alias: &str, output: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let Outcome::Drawn(images) = &trial.outcome else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for (at, image) in images.iter().enumerate() {
        let ending = image.media_type.strip_prefix("image/").filter(|ending| ending.chars().all(char::is_alphanumeric)).unwrap_or("image");
        let number = if at == 0 { String::new() } else { format!("-{}", at + 1) };
        let path = match output {
            Some(output) if at == 0 => output.to_owned(),
            Some(output) => output.with_file_name(format!("{}{number}.{ending}", output.file_stem().unwrap_or_default().to_string_lossy())),
            None => PathBuf::from(format!("{alias}{number}.{ending}")),
        };
        // What is there already is somebody's.
        let made = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| file.write_all(&image.data));
        made.with_context(|| format!("failed to make {}; name another file with --output", path.display()))?;
        files.push(path);
    }
    Ok(files)
}

fn report(model: &Model, trial: &Trial, files: &[PathBuf]) -> Value {
    let said = match &trial.outcome {
        Outcome::Answered(text) => json!({ "answer": text }),
        Outcome::Found(hits) => {
            json!({ "found": hits.iter().map(|hit| json!({ "title": hit.title, "url": hit.url })).collect::<Vec<_>>() })
        }
        Outcome::Drawn(_) => json!({ "files": files }),
    };
    let took = u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX);
    let mut report = json!({ "alias": model.alias, "model": model.id, "provider": model.provider, "took_ms": took, "usage": trial.usage });
    if let (Value::Object(report), Value::Object(said)) = (&mut report, said) {
        report.extend(said);
    }
    report
}
