//! The bot: is its token one, does Telegram know it, and can it be polled?

use super::{Check, Trouble};
use crate::channels::telegram::api::{Api, ApiError};
use crate::channels::telegram::send::Nothing;
use crate::channels::telegram::types::{Me, WebhookInfo};
use crate::channels::telegram::{self};
use crate::channels::terminal::protocol::{Look, ToClient};
use crate::cli::{Context, ExitCode, host};
use crate::config::{self, Config};
use crate::health::State;
use crate::limits;
use crate::workdir::WorkDir;

const NAME: &str = "telegram";

/// What Telegram says about the bot.
pub(in crate::cli) struct Greeted {
    /// Its name, with which people find it.
    pub bot: String,
    /// Somebody has told Telegram to call an address.
    pub has_webhook: bool,
}

/// Asks Telegram who the bot is.
pub(in crate::cli) async fn greet(telegram: &config::Telegram) -> Result<Greeted, Trouble> {
    let fix = "get the token from BotFather again, and put it where channels.telegram.token says";
    let token = telegram.token.read().map_err(|error| Trouble::new(ExitCode::Auth, error.to_string(), fix))?;
    telegram::channel_name(token.expose()).map_err(|error| Trouble::new(ExitCode::Auth, error.to_string(), fix))?;
    let api = Api::new(&telegram.api_base_url, token, telegram.proxy.as_ref());
    let api = api.map_err(|error| Trouble::new(ExitCode::Config, error.to_string(), "look at channels.telegram"))?;
    let asked = async {
        let me: Me = api.call("getMe", &Nothing {}, limits::TELEGRAM_CALL_TIME).await?;
        let webhook: WebhookInfo = api.call("getWebhookInfo", &Nothing {}, limits::TELEGRAM_CALL_TIME).await?;
        Ok((me, webhook))
    };
    let (me, webhook) = asked.await.map_err(|error: ApiError| match error.is_unauthorized() {
        true => Trouble::new(ExitCode::Auth, format!("Telegram does not know this token ({error})"), fix),
        false => {
            let repair = "look at the network, and at channels.telegram.api_base_url and channels.telegram.proxy";
            Trouble::new(ExitCode::Network, error.to_string(), repair)
        }
    })?;
    let bot = me.username.as_deref().map_or_else(|| me.id.to_string(), |name| format!("@{name}"));
    Ok(Greeted { bot, has_webhook: webhook.url.as_deref().is_some_and(|url| !url.is_empty()) })
}

/// Everything about the bot that is in the configuration.
pub(super) async fn check(context: &Context, config: &Config, online: bool, report: &mut Vec<Check>) {
    let Some(telegram) = &config.telegram else { return };
    report.push(configured(telegram));
    report.extend(of_host(context).await);
    if online {
        report.push(asked(telegram).await);
    }
}

/// As far as it can be seen here. That the token cannot be read was said with the other secrets.
fn configured(telegram: &config::Telegram) -> Check {
    let Ok(token) = telegram.token.read() else { return Check::fail(NAME, "the bot has no token", "mend channels.telegram.token") };
    match telegram::channel_name(token.expose()) {
        Err(error) => Check::fail(NAME, error.to_string(), "get it from BotFather again, and put it where channels.telegram.token says"),
        Ok(bot) => Check::ok(NAME, format!("bot {}", bot.trim_start_matches("tg:"))),
    }
}

/// What the running host has found out by polling: only it knows whether somebody else polls, too.
async fn of_host(context: &Context) -> Vec<Check> {
    let Ok(workdir) = WorkDir::existing(&context.workdir) else { return Vec::new() };
    let Ok(Ok(Some(ToClient::Health { parts }))) = tokio::time::timeout(limits::HEALTH_TIME, host::look(&workdir, Look::Health)).await
    else {
        return Vec::new();
    };
    let parts = parts.into_iter().filter(|part| part.name.starts_with(NAME));
    let check = |part: crate::health::Part| match part.state {
        State::Ok => None,
        State::Warned { reason, .. } => Some(Check::warn(part.name, reason, "`stellaclaw logs` has more")),
        State::Degraded { reason, .. } => Some(Check::fail(part.name, reason, "`stellaclaw logs` has more")),
    };
    parts.filter_map(check).collect()
}

async fn asked(telegram: &config::Telegram) -> Check {
    match greet(telegram).await {
        Ok(Greeted { bot, has_webhook: true }) => {
            let why = format!("{bot} answers, and has a webhook: something else may be serving it");
            Check::warn(NAME, why, "stop the other one; `stellaclaw run` removes the webhook")
        }
        Ok(Greeted { bot, .. }) => Check::ok(NAME, format!("{bot} answers")),
        Err(trouble) => trouble.check(NAME),
    }
}
