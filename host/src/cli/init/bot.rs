//! The bot: whether there is one, its token, and who it is.

use std::path::Path;

use super::kept::Asked;
use super::questions::Questions;
use super::written::Bot;
use crate::channels::telegram;
use crate::cli::args::InitArgs;
use crate::cli::doctor::Trouble;
use crate::cli::doctor::telegram::greet;
use crate::config::Config;

/// What the person wants; none: no bot.
pub(super) fn wanted(args: &InitArgs, questions: Questions) -> anyhow::Result<Option<Bot>> {
    let is_meant = args.telegram || args.token_env.is_some() || args.token_file.is_some() || args.api_base_url.is_some();
    let is_meant = is_meant || args.pair || args.no_pair || !args.owner.is_empty();
    let question = "Serve a Telegram bot? BotFather (https://t.me/BotFather) makes one with /newbot, and shows its token.";
    if args.no_telegram || !(is_meant || questions.agrees(question, true, "--telegram or --no-telegram")?) {
        return Ok(None);
    }
    let asked = Asked {
        what: "the bot's token",
        name: "telegram.key",
        variable: "TELEGRAM_BOT_TOKEN",
        env: args.token_env.as_deref(),
        file: args.token_file.as_deref(),
        flags: "--token-env or --token-file",
        valid: token,
        none: None,
    };
    let Some(token) = asked.answer(questions)? else { return Ok(None) };
    let api_base_url = args.api_base_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    Ok(Some(Bot { token, api_base_url, owners: args.owner.clone(), pairs: false }))
}

/// Asks Telegram who the bot is.
pub(super) async fn answers(config: &Config, questions: Questions) -> Result<(), Trouble> {
    let Some(telegram) = &config.telegram else { return Ok(()) };
    let greeted = greet(telegram).await?;
    questions.say(&format!("This is {}.", greeted.bot));
    if greeted.has_webhook {
        questions.say("It has a webhook, which is removed when it is served here: if something else serves it now, that ends.");
    }
    Ok(())
}

/// Does the person become the owner now?
pub(super) fn pairs(args: &InitArgs, questions: Questions) -> anyhow::Result<bool> {
    match args {
        InitArgs { pair: true, .. } => Ok(true),
        InitArgs { no_pair: true, .. } => Ok(false),
        InitArgs { owner, .. } if !owner.is_empty() => Ok(false),
        _ => questions.agrees(
            "Become its owner now? A code is shown; whoever sends it to the bot owns it.",
            true,
            "--owner, --pair or --no-pair",
        ),
    }
}

/// Is standard input meant to be both secrets?
pub(super) fn is_ambiguous(args: &InitArgs) -> bool {
    [&args.key_file, &args.token_file].iter().all(|file| file.as_deref() == Some(Path::new("-")))
}

fn token(text: &str) -> Result<(), String> {
    telegram::channel_name(text).map(drop).map_err(|error| error.to_string())
}
