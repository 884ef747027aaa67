//! The model: where it is, its key, and whether it answers.

use anyhow::{Context as _, anyhow};
use url::Url;

use super::kept::Asked;
use super::questions::Questions;
use super::written::Model;
use crate::cli::args::{InitArgs, Provider};
use crate::cli::components::Components;
use crate::cli::doctor::Trouble;
use crate::cli::model::trial;
use crate::cli::{Context, ExitCode};
use crate::config::{Config, environment};

const PROVIDERS: &[(Provider, &str)] = &[
    (Provider::Openrouter, "OpenRouter (one key, many models)"),
    (Provider::OpenaiCompatible, "another server that speaks OpenAI's chat completions (a vendor, Ollama, vLLM, …)"),
    (Provider::Offline, "none for now: an offline stand-in that only runs the tools"),
];
/// What is suggested for OpenRouter.
const MODEL: &str = "openrouter/auto";

/// What the person wants.
pub(super) fn wanted(args: &InitArgs, questions: Questions) -> anyhow::Result<Model> {
    let provider = match args.provider {
        Some(provider) => provider,
        None => {
            let options = PROVIDERS.iter().map(|(_, said)| (*said).to_owned()).collect();
            PROVIDERS[questions.choose("Which model answers?", options, 0, "--provider")?].0
        }
    };
    refuse_useless(args, provider)?;
    if provider == Provider::Offline {
        return Ok(Model { provider: "provider-offline", id: "offline".into(), base_url: None, key: None });
    }
    let is_openrouter = provider == Provider::Openrouter;
    let base_url = match (&args.base_url, is_openrouter) {
        (_, true) => None,
        (Some(url), _) => {
            address(url.as_str()).map_err(|why| ExitCode::Usage.error(anyhow!("--base-url {url}: {why}")))?;
            Some(url.to_string())
        }
        (None, _) => {
            let url = questions.text("The server's address, such as http://localhost:11434/v1:", None, address, "--base-url")?;
            Some(url)
        }
    };
    let id = match &args.model {
        Some(id) => id.trim().to_owned(),
        None => questions.text("The model, as the server calls it:", is_openrouter.then_some(MODEL), not_empty, "--model")?,
    };
    not_empty(&id).map_err(|why| ExitCode::Usage.error(anyhow!("--model: {why}")))?;
    let key = match args.no_key {
        true => None,
        false => key(args, is_openrouter).answer(questions)?,
    };
    Ok(Model { provider: "provider-openrouter", id, base_url: base_url.map(|url| url.trim_end_matches('/').to_owned()), key })
}

fn key(args: &InitArgs, is_openrouter: bool) -> Asked<'_> {
    Asked {
        what: "the key of the model's server",
        name: if is_openrouter { "openrouter.key" } else { "model.key" },
        variable: if is_openrouter { environment::OPENROUTER_API_KEY } else { "OPENAI_API_KEY" },
        env: args.key_env.as_deref(),
        file: args.key_file.as_deref(),
        flags: if is_openrouter { "--key-env or --key-file" } else { "--key-env, --key-file or --no-key" },
        valid: |_| Ok(()),
        none: (!is_openrouter).then_some("the server needs none"),
    }
}

/// Flags that would have no effect are a mistake.
fn refuse_useless(args: &InitArgs, provider: Provider) -> anyhow::Result<()> {
    let has_key = args.key_env.is_some() || args.key_file.is_some();
    let useless = match provider {
        Provider::Openrouter => [("--base-url", args.base_url.is_some()), ("--no-key", args.no_key), ("", false)],
        Provider::OpenaiCompatible => [("", false); 3],
        Provider::Offline => [("--base-url", args.base_url.is_some()), ("--model", args.model.is_some()), ("a key", has_key)],
    };
    match useless.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(ExitCode::Usage.error(anyhow!("{flag} does not go with this --provider"))),
        None => Ok(()),
    }
}

/// Asks the model something.
pub(super) async fn answers(context: &Context, config: &Config, questions: Questions) -> anyhow::Result<Result<(), Trouble>> {
    let Some(model) = config.models.get(&config.default_model) else { return Ok(Ok(())) };
    questions.say("Asking the model; the first time its component is prepared for this machine …");
    let runtime = Components::as_served(context, config).context("failed to try the model")?;
    runtime.plugins.wait_ready().await;
    Ok(trial::ask(model, &runtime).await.map(|trial| questions.say(&format!("{}.", trial.summary(model)))))
}

fn address(text: &str) -> Result<(), String> {
    match Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        true => Ok(()),
        false => Err("write https://HOST/v1 or http://HOST:PORT/v1".into()),
    }
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("it has a name".into()) } else { Ok(()) }
}
