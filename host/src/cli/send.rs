//! `send`: one message from a script, through the same delivery as every reply.

use std::io::Read as _;

use anyhow::{Context as _, bail};

use super::args::SendArgs;
use super::chat::client;
use super::{Context, ExitCode};
use crate::channels::telegram::{Address, Fate};
use crate::channels::terminal::link::{self, Reader};
use crate::channels::terminal::protocol::{Errand, PROTOCOL, ToClient, ToHost};

/// Sends it, and says by its exit code what became of it.
pub(super) async fn run(context: &Context, args: SendArgs) -> anyhow::Result<ExitCode> {
    args.to.parse::<Address>().map_err(|error| ExitCode::Usage.error(error))?;
    let text = match args.text.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("failed to read the message from standard input")?;
            text
        }
        Some(text) => text.to_owned(),
        None => String::new(),
    };
    if text.trim().is_empty() && args.file.is_none() {
        return Err(ExitCode::Usage.error(anyhow::anyhow!("there is nothing to send; give a text, `-` for standard input, or --file")));
    }
    let file = match args.file {
        Some(file) => Some(std::path::absolute(&file).with_context(|| format!("failed to find {}", file.display()))?),
        None => None,
    };
    let setup = context.setup()?;
    let (stream, kernel) = client::connect(&setup).await?;
    let (reader, mut writer) = stream.into_split();
    let errand = Errand { to: args.to, text, file, silent: args.silent };
    let line = ToHost::Send { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), errand };
    link::write(&mut writer, &line).await.context("failed to tell the host")?;
    let answer = Reader::new(reader).next::<ToClient>().await.context("failed to read the host's answer");
    if let Some(kernel) = kernel {
        kernel.shutdown().await.context("failed to stop the host")?;
    }
    match answer? {
        Some(ToClient::Sent { fate: Fate::Arrived }) => Ok(ExitCode::Ok),
        Some(ToClient::Sent { fate: Fate::Partly }) => {
            bail!("only a part of the message arrived; the host's log (`stellaclaw logs`) says why")
        }
        Some(ToClient::Sent { fate: Fate::Refused }) => {
            bail!("the chat did not take the message; the host's log (`stellaclaw logs`) says why")
        }
        Some(ToClient::Sent { fate: Fate::Waits }) => {
            let error = anyhow::anyhow!("the message is kept and has not arrived yet; a host goes on trying");
            Err(ExitCode::Temporary.error(error))
        }
        Some(ToClient::Refused { reason }) => bail!("{reason}"),
        None | Some(ToClient::Bye) => Err(ExitCode::Temporary.error(anyhow::anyhow!("the host stopped; try again"))),
        Some(other) => bail!("the host answered something else: {other:?}"),
    }
}
