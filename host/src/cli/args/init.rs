//! `init`: a flag for every question that it asks.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use url::Url;

/// `init`
#[derive(Debug, Clone, Default, Args)]
pub struct InitArgs {
    /// Where the model is
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,
    /// The server's address, such as http://localhost:11434/v1
    #[arg(long, value_name = "URL")]
    pub base_url: Option<Url>,
    /// The model, as its server calls it
    #[arg(long, value_name = "ID")]
    pub model: Option<String>,
    /// The environment variable that holds the key
    #[arg(long, value_name = "NAME", group = "key")]
    pub key_env: Option<String>,
    /// The file that holds the key; - to read it from standard input and keep it beside the configuration
    #[arg(long, value_name = "FILE", group = "key")]
    pub key_file: Option<PathBuf>,
    /// The server needs no key
    #[arg(long, group = "key")]
    pub no_key: bool,
    /// The file of the ChatGPT login; unset: where `login codex` keeps it
    #[arg(long, value_name = "FILE", group = "key")]
    pub codex_auth: Option<PathBuf>,
    /// Serve a Telegram bot
    #[arg(long)]
    pub telegram: bool,
    /// No Telegram
    #[arg(long, conflicts_with_all = ["telegram", "token", "api_base_url", "owner", "pair", "no_pair"])]
    pub no_telegram: bool,
    /// The environment variable that holds the bot's token
    #[arg(long, value_name = "NAME", group = "token")]
    pub token_env: Option<String>,
    /// The file that holds the bot's token; - to read it from standard input and keep it beside the configuration
    #[arg(long, value_name = "FILE", group = "token")]
    pub token_file: Option<PathBuf>,
    /// A Bot API server of your own, or that of `stellaclaw dev fake-telegram`
    #[arg(long, value_name = "URL")]
    pub api_base_url: Option<Url>,
    /// Your number, instead of pairing; may be repeated
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub owner: Vec<i64>,
    /// Show a code, and wait until the first owner has sent it to the bot
    #[arg(long, conflicts_with = "owner")]
    pub pair: bool,
    /// The bot gets its owner later, by `stellaclaw pair`
    #[arg(long, conflicts_with_all = ["pair", "owner"])]
    pub no_pair: bool,
    /// Have systemd start the host for you, now and whenever you log in
    #[arg(long)]
    pub service: bool,
    /// Start it yourself
    #[arg(long, conflicts_with = "service")]
    pub no_service: bool,
    /// Write the configuration without asking the model and Telegram whether it works
    #[arg(long)]
    pub untested: bool,
    /// Replace a configuration; the one before is kept as config.toml.bak
    #[arg(long)]
    pub force: bool,
    /// Never ask: what is not given is refused, with the flag that is missing
    #[arg(long, visible_alias = "non-interactive")]
    pub yes: bool,
}

/// See [`InitArgs::provider`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    /// openrouter.ai
    Openrouter,
    /// api.anthropic.com
    Claude,
    /// chatgpt.com, with a subscription
    Codex,
    /// Any server that speaks OpenAI's chat completions
    OpenaiCompatible,
    /// No model for now: what you write is taken as commands for the tools
    Offline,
}
