//! What the operator asks of the bot from the terminal: who may talk to it, and messages that scripts send.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::link::{self, Reader};
use super::protocol::{Errand, ToClient, ToHost, Wish};
use crate::channels::telegram::{Address, Fate, Settled, Telegram};
use crate::limits::{ERRAND_TIME, PAIRING_TIME};

/// How often something that nobody announces is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// What is said without a bot.
const NO_BOT: &str = "there was no [channels.telegram] in the configuration when the host started; if there is one now, start it anew";

/// Does what the operator wants about who may talk. For a code it stays until somebody has used it, or the client leaves. `bot`: the
/// one that they mean, when they know.
pub(super) async fn decide(
    telegram: Option<&Telegram>,
    wish: Wish,
    bot: Option<&str>,
    reader: &mut Reader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let Some(telegram) = telegram else { return refuse(writer, NO_BOT).await };
    if let Some(bot) = bot.filter(|bot| *bot != telegram.name()) {
        let reason = format!(
            "the host that runs serves the bot {}, and channels.telegram.token is that of {} now; start the host anew, and try again",
            number(telegram.name()),
            number(bot)
        );
        return refuse(writer, &reason).await;
    }
    let decided = match wish {
        Wish::Pair => return pair(telegram, reader, writer).await,
        Wish::Allow(id) => telegram.settle_number(id, true).await,
        Wish::Ignore(id) => telegram.settle_number(id, false).await,
        Wish::Forget(id) => telegram.forget(id).await,
    };
    match decided {
        Ok(Settled { person, is_ownerless }) => link::write(writer, &ToClient::Decided { person, is_ownerless }).await,
        Err(error) => refuse(writer, &error.to_string()).await,
    }
}

async fn pair(telegram: &Telegram, reader: &mut Reader<OwnedReadHalf>, writer: &mut OwnedWriteHalf) -> io::Result<()> {
    let code = match telegram.pair() {
        Ok(code) => code,
        Err(error) => return refuse(writer, &error.to_string()).await,
    };
    let bot = number(telegram.name()).to_owned();
    link::write(writer, &ToClient::Code { code: code.clone(), seconds: PAIRING_TIME.as_secs(), bot }).await?;
    let deadline = Instant::now() + PAIRING_TIME;
    while Instant::now() < deadline {
        tokio::select! {
            // It says nothing more; it can only leave.
            _ = reader.next::<ToHost>() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Some(person) = telegram.owner().await.map_err(io::Error::other)? {
            return link::write(writer, &ToClient::Decided { person: Some(person), is_ownerless: false }).await;
        }
    }
    telegram.unpair(&code);
    refuse(writer, "nobody has used the code; ask for another one").await
}

/// Sends something, and waits a while for what becomes of it.
pub(super) async fn send(telegram: Option<&Telegram>, errand: &Errand) -> Result<ToClient, String> {
    let telegram = telegram.ok_or(NO_BOT)?;
    let address: Address = errand.to.parse().map_err(|error| format!("{error}"))?;
    let reply = telegram.bring(address, &errand.text, errand.file.as_deref(), errand.silent).await?;
    let deadline = Instant::now() + ERRAND_TIME;
    loop {
        let fate = telegram.fate(reply).await.map_err(|error| error.to_string())?;
        if fate != Fate::Waits || Instant::now() > deadline {
            return Ok(ToClient::Sent { fate });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The number of a bot, by the name of its channel.
fn number(channel: &str) -> &str {
    channel.split_once(':').map_or(channel, |(_, number)| number)
}

async fn refuse(writer: &mut OwnedWriteHalf, reason: &str) -> io::Result<()> {
    link::write(writer, &ToClient::Refused { reason: reason.to_owned() }).await
}
