//! The model: where it is, its key, and whether it answers.

use anyhow::{Context as _, anyhow};
use url::Url;

use super::kept::{Asked, Kept};
use super::questions::Questions;
use super::written::Model;
use crate::chat::Modality;
use crate::cli::args::{InitArgs, Provider};
use crate::cli::components::Components;
use crate::cli::doctor::Trouble;
use crate::cli::model::trial;
use crate::cli::{Context, ExitCode};
use crate::config::{Config, SecretSource, environment};

/// A way to a model that is offered.
struct Preset {
    provider: Provider,
    /// What the person reads.
    said: &'static str,
    /// The component that serves it.
    component: &'static str,
    /// A model that is there for everybody; vendors' own change too often to be named.
    model: Option<&'static str>,
    /// Is the server one of the person's choice?
    any_server: bool,
    key: Key,
    /// What every model of the vendor reads beside text.
    reads: &'static [Modality],
    context_window: Option<u64>,
}

/// What a vendor knows its customers by.
enum Key {
    None,
    /// The file that a new one goes into, and the variable that it is likely in.
    Secret(&'static str, &'static str),
    /// A login that is kept in a file: that of `stellaclaw login codex`.
    Login,
}

const PRESETS: &[Preset] = &[
    Preset {
        provider: Provider::Openrouter,
        said: "OpenRouter (one key, many models)",
        component: "provider-openrouter",
        model: Some("openrouter/auto"),
        any_server: false,
        key: Key::Secret("openrouter.key", environment::OPENROUTER_API_KEY),
        reads: &[],
        context_window: None,
    },
    Preset {
        provider: Provider::Claude,
        said: "Claude, from Anthropic (an API key)",
        component: "provider-claude",
        model: None,
        any_server: false,
        key: Key::Secret("anthropic.key", "ANTHROPIC_API_KEY"),
        reads: &[Modality::Image, Modality::Pdf],
        context_window: Some(200_000),
    },
    Preset {
        provider: Provider::Codex,
        said: "ChatGPT, from OpenAI (a subscription, after `stellaclaw login codex`)",
        component: "provider-codex",
        model: None,
        any_server: false,
        key: Key::Login,
        reads: &[Modality::Image],
        context_window: Some(272_000),
    },
    Preset {
        provider: Provider::OpenaiCompatible,
        said: "another server that speaks OpenAI's chat completions (a vendor, Ollama, vLLM, …)",
        component: "provider-openrouter",
        model: None,
        any_server: true,
        key: Key::Secret("model.key", "OPENAI_API_KEY"),
        reads: &[],
        context_window: None,
    },
    Preset {
        provider: Provider::Offline,
        said: "none for now: an offline stand-in that only runs the tools",
        component: "provider-offline",
        model: Some("offline"),
        any_server: false,
        key: Key::None,
        reads: &[],
        context_window: None,
    },
];

/// What the person wants.
pub(super) fn wanted(args: &InitArgs, questions: Questions) -> anyhow::Result<Model> {
    let preset = preset(args, questions)?;
    preset.refuse_useless(args)?;
    let base_url = match (&args.base_url, preset.any_server) {
        (_, false) => None,
        (Some(url), _) => {
            address(url.as_str()).map_err(|why| ExitCode::Usage.error(anyhow!("--base-url {url}: {why}")))?;
            Some(url.to_string())
        }
        (None, _) => {
            let url = questions.text("The server's address, such as http://localhost:11434/v1:", None, address, "--base-url")?;
            Some(url)
        }
    };
    let id = preset.model(args, questions)?;
    let key = match &preset.key {
        Key::Secret(..) if args.no_key => None,
        Key::Secret(file, variable) => preset.asked(args, file, variable).answer(questions)?,
        Key::Login => Some(login(args)?),
        Key::None => None,
    };
    Ok(Model {
        provider: preset.component,
        id,
        base_url: base_url.map(|url| url.trim_end_matches('/').to_owned()),
        key,
        reads: preset.reads,
        context_window: preset.context_window,
    })
}

/// A login that is there: `init` makes none.
fn login(args: &InitArgs) -> anyhow::Result<Kept> {
    let path = match &args.codex_auth {
        Some(file) => environment::expanded(file).and_then(|file| std::path::absolute(file).ok()),
        None => environment::codex_login(),
    };
    let source = SecretSource::CodexAuth(path.context("there is no home directory; say where the login is with --codex-auth")?);
    let read = source.read().context("failed to read the login; `stellaclaw login codex` makes one");
    read.map_err(|error| ExitCode::Auth.error(error))?;
    Ok(Kept::There(source))
}

fn preset(args: &InitArgs, questions: Questions) -> anyhow::Result<&'static Preset> {
    let index = match args.provider {
        Some(provider) => PRESETS.iter().position(|preset| preset.provider == provider).unwrap_or(0),
        None => {
            let options = PRESETS.iter().map(|preset| preset.said.to_owned()).collect();
            questions.choose("Which model answers?", options, 0, "--provider")?
        }
    };
    Ok(&PRESETS[index])
}

impl Preset {
    fn model(&self, args: &InitArgs, questions: Questions) -> anyhow::Result<String> {
        let id = match &args.model {
            Some(id) => id.trim().to_owned(),
            // Nothing is asked about what has one model alone.
            None => match self.model.filter(|_| matches!(self.key, Key::None)) {
                Some(only) => only.to_owned(),
                None => questions.text("The model, as the server calls it:", self.model, not_empty, "--model")?,
            },
        };
        not_empty(&id).map_err(|why| ExitCode::Usage.error(anyhow!("--model: {why}")))?;
        Ok(id)
    }

    fn asked<'a>(&self, args: &'a InitArgs, file: &'static str, variable: &'a str) -> Asked<'a> {
        Asked {
            what: "the key of the model's server",
            name: file,
            variable,
            env: args.key_env.as_deref(),
            file: args.key_file.as_deref(),
            flags: if self.any_server { "--key-env, --key-file or --no-key" } else { "--key-env or --key-file" },
            valid: |_| Ok(()),
            none: self.any_server.then_some("the server needs none"),
        }
    }

    /// Flags that would have no effect are a mistake.
    fn refuse_useless(&self, args: &InitArgs) -> anyhow::Result<()> {
        let has_key = args.key_env.is_some() || args.key_file.is_some();
        let is_secret = matches!(self.key, Key::Secret(..));
        let useless = [
            ("--base-url", args.base_url.is_some() && !self.any_server),
            ("--no-key", args.no_key && !self.any_server && !matches!(self.key, Key::None)),
            ("--model", args.model.is_some() && matches!(self.key, Key::None)),
            ("a key", has_key && !is_secret),
            ("--codex-auth", args.codex_auth.is_some() && !matches!(self.key, Key::Login)),
        ];
        match useless.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(ExitCode::Usage.error(anyhow!("{flag} does not go with this --provider"))),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_provider_that_can_be_named_is_offered() {
        let offered: Vec<_> = PRESETS.iter().map(|preset| preset.provider).collect();
        assert_eq!(offered, Provider::value_variants());
    }
}
