//! The running host, asked or told one thing. It alone knows what it serves, and it alone changes what it holds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::UnixStream;

use crate::channels::terminal::link::{self, Reader};
use crate::channels::terminal::protocol::{Look, PROTOCOL, ToClient, ToHost};
use crate::cli::{Context, ExitCode, is_held};
use crate::limits::HOST_START;
use crate::operator::{self, Deed, Done};
use crate::store::{Options, Store};
use crate::workdir::{Lock, WorkDir};

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
        if let Some(answer) = look(&workdir, at.clone()).await? {
            return Ok(Some(answer));
        }
        if !is_held(&workdir)? {
            return Ok(None);
        }
        tokio::time::sleep(RETRY).await;
    }
    Err(silent(&workdir))
}

/// The answer of a host that serves just now.
pub(super) async fn look(workdir: &WorkDir, at: Look) -> anyhow::Result<Option<ToClient>> {
    once(workdir, ToHost::Look { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), at }).await
}

/// Does something to conversations: the host does it, or without one this process, holding the lock meanwhile. Nothing else
/// is begun then: turns that were running go on when a host starts.
pub(super) async fn act(workdir: &WorkDir, deed: Deed) -> anyhow::Result<Done> {
    let deadline = Instant::now() + HOST_START;
    while Instant::now() < deadline {
        let line = ToHost::Do { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), deed };
        match once(workdir, line).await? {
            Some(ToClient::Did { done }) => return Ok(done),
            Some(other) => bail!("the host did something else: {other:?}"),
            None => {}
        }
        if let Some(lock) = workdir.lock()? {
            return alone(workdir.clone(), lock, deed).await;
        }
        tokio::time::sleep(RETRY).await;
    }
    Err(silent(workdir))
}

async fn alone(workdir: WorkDir, lock: Lock, deed: Deed) -> anyhow::Result<Done> {
    // Before the first start nothing runs and nothing waits.
    if !workdir.database().exists() {
        return Ok(Done::Nothing);
    }
    let place = workdir.clone();
    let opening = tokio::task::spawn_blocking(move || Store::open(&place, Options::default()));
    let (store, opened) = opening.await.context("failed to open the store")??;
    if opened.lost.is_some() {
        // A commit would let the next start forget that.
        bail!("the end of the store is missing; start a host first, which says what is gone and keeps what is left");
    }
    let done = operator::act_at_rest(&store, &workdir, deed).await;
    store.close().await;
    drop(lock);
    Ok(done?)
}

fn silent(workdir: &WorkDir) -> anyhow::Error {
    let error = anyhow::anyhow!("a host holds {} and does not answer; try again, or see its log", workdir.root().display());
    ExitCode::Temporary.error(error)
}

/// None: no host takes the connection, or it ends.
async fn once(workdir: &WorkDir, line: ToHost) -> anyhow::Result<Option<ToClient>> {
    let Ok(stream) = UnixStream::connect(workdir.socket()).await else { return Ok(None) };
    let (reader, mut writer) = stream.into_split();
    if link::write(&mut writer, &line).await.is_err() {
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
