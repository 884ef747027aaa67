//! `dev`: aids for trying things out.

use anyhow::{Context as _, anyhow};

use super::args::FakeTelegramArgs;
use super::run::signals;
use super::{ExitCode, output};
use crate::fake_telegram::{FakeTelegram, Options};
use crate::limits;

/// `dev fake-telegram`: serves until it is interrupted.
pub(super) async fn fake_telegram(args: FakeTelegramArgs) -> anyhow::Result<ExitCode> {
    let (mut terminate, mut interrupt) = signals()?;
    if args.token.as_deref().is_some_and(|token| !is_token(token)) {
        let least = limits::SECRET_BYTES_MIN;
        let error = anyhow!("--token: write the bot's number, a colon, and at least {least} of a-z, A-Z, 0-9, `-` and `_`");
        return Err(ExitCode::Usage.error(error));
    }
    let options = Options { port: args.port, token: args.token, log: args.log };
    let telegram = FakeTelegram::start(options).await;
    let telegram = telegram.with_context(|| format!("failed to serve on port {} of this machine; --port takes another one", args.port))?;
    telegram.new_user("Ann");
    output::text(&advice(&telegram.api_base_url(), telegram.token()))?;
    Ok(tokio::select! {
        _ = interrupt.recv() => ExitCode::Interrupted,
        _ = terminate.recv() => ExitCode::Terminated,
    })
}

/// What the token looks like that a client takes apart.
fn is_token(token: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let Some((number, secret)) = token.split_once(':') else { return false };
    number.parse::<i64>().is_ok_and(|number| number > 0) && secret.len() >= limits::SECRET_BYTES_MIN && secret.chars().all(word)
}

fn advice(address: &str, token: &str) -> String {
    format!(
        "\
The chats are at {address} in a browser. For the bot, add to its configuration:

[channels.telegram]
token = {{ env = \"TELEGRAM_BOT_TOKEN\" }}
api_base_url = \"{address}\"

and start it with this in its environment:

export TELEGRAM_BOT_TOKEN={token}

Ctrl-C ends this, and forgets everything.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_number_and_a_secret() {
        for (token, fine) in [
            ("7000000001:AAcanary-of_x", true),
            ("700000001:short", false),
            ("AAcanary-of_x", false),
            ("0:AAcanary-of_x", false),
            ("7:AAcanary of x", false),
        ] {
            assert_eq!(is_token(token), fine, "{token}");
        }
    }
}
