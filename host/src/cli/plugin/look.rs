//! Asks the running host what it serves. It alone knows.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::UnixStream;

use crate::channels::terminal::link::{self, Reader};
use crate::channels::terminal::protocol::{Look, PROTOCOL, ToClient, ToHost};
use crate::cli::{Context, ExitCode, is_held};
use crate::limits::HOST_START;
use crate::workdir::WorkDir;

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(30);

/// The host's answer; none when no host runs. One that is just starting or ending is waited for.
pub(super) async fn at_host(context: &Context, at: Look) -> anyhow::Result<Option<ToClient>> {
    if !context.workdir.exists() {
        return Ok(None);
    }
    let workdir = WorkDir::existing(&context.workdir)?;
    let deadline = Instant::now() + HOST_START;
    while Instant::now() < deadline {
        if let Some(answer) = once(&workdir, at.clone()).await? {
            return Ok(Some(answer));
        }
        if !is_held(&workdir)? {
            return Ok(None);
        }
        tokio::time::sleep(RETRY).await;
    }
    let error = anyhow::anyhow!("a host holds {} and does not answer; try again, or see its log", workdir.root().display());
    Err(ExitCode::Temporary.error(error))
}

/// The answer of a host that serves just now.
pub(in crate::cli) async fn once(workdir: &WorkDir, at: Look) -> anyhow::Result<Option<ToClient>> {
    match UnixStream::connect(workdir.socket()).await {
        Ok(stream) => ask(stream, at).await,
        Err(_) => Ok(None),
    }
}

/// None: the host ended the connection, because it ends.
async fn ask(stream: UnixStream, at: Look) -> anyhow::Result<Option<ToClient>> {
    let (reader, mut writer) = stream.into_split();
    let look = ToHost::Look { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), at };
    if link::write(&mut writer, &look).await.is_err() {
        return Ok(None);
    }
    match Reader::new(reader).next().await {
        Ok(Some(ToClient::Refused { reason })) => bail!("{reason}"),
        Ok(None | Some(ToClient::Bye)) => Ok(None),
        Ok(answer) => Ok(answer),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(error).context("failed to read the host's answer"),
        Err(_) => Ok(None),
    }
}
