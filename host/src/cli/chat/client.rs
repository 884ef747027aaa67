//! A client of `host.sock`: attached to a running host, or to the one that this process becomes.
//!
//! A message that got no receipt is sent again with the same id after every reconnection, so it is accepted exactly
//! once, whichever host accepts it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::channels::terminal::link::{self, Reader};
use crate::channels::terminal::protocol::{PROTOCOL, Place, ToClient, ToHost};
use crate::cli::run::fatal_exit;
use crate::kernel::{Kernel, Setup, StartError};
use crate::limits::HOST_START;
use crate::plugins::Mount;

/// Between two attempts to attach.
const RETRY: Duration = Duration::from_millis(30);

/// An attached client.
pub(crate) struct Client {
    setup: Setup,
    place: Place,
    mounts: Vec<Mount>,
    reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The host, when it is this process.
    kernel: Option<Kernel>,
    /// Messages without a receipt, oldest first.
    open: VecDeque<(String, String)>,
    /// A settle was asked for and not answered.
    settling: bool,
}

impl Client {
    /// Attaches to the host of the work directory, or becomes it. The second value is the host's welcome.
    pub(crate) async fn attach(setup: Setup, place: Place, mounts: Vec<Mount>) -> anyhow::Result<(Self, ToClient)> {
        let (stream, kernel) = connect(&setup).await?;
        let (reader, writer) = stream.into_split();
        let mut client = Self { setup, place, mounts, reader: Reader::new(reader), writer, kernel, open: VecDeque::new(), settling: false };
        let welcome = match client.hello().await? {
            Some(welcome) => welcome,
            None => client.welcomed().await?,
        };
        Ok((client, welcome))
    }

    /// Is the host this process?
    pub(crate) fn is_host(&self) -> bool {
        self.kernel.is_some()
    }

    /// The host, when it is this process.
    pub(crate) fn kernel(&self) -> Option<&Kernel> {
        self.kernel.as_ref()
    }

    /// Sends a message; it is accepted when its receipt comes.
    pub(crate) async fn say(&mut self, text: String) -> anyhow::Result<()> {
        let id = uuid::Uuid::new_v4().to_string();
        self.open.push_back((id.clone(), text.clone()));
        if link::write(&mut self.writer, &ToHost::Say { id, text }).await.is_err() {
            self.reattach().await?;
        }
        Ok(())
    }

    /// Asks to be told when nothing is going on any more.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        self.settling = true;
        if link::write(&mut self.writer, &ToHost::Settle).await.is_err() {
            self.reattach().await?;
        }
        Ok(())
    }

    /// Says that a part was written.
    pub(crate) async fn ack(&mut self, key: String, part: u32) -> anyhow::Result<()> {
        // Unacknowledged, the part comes again, marked; that is the promise.
        if link::write(&mut self.writer, &ToHost::Ack { key, part }).await.is_err() {
            self.reattach().await?;
        }
        Ok(())
    }

    /// The next event; none when the host went away: then [`Client::reattach`]. May be dropped at any await.
    ///
    /// # Errors
    ///
    /// The host is this process and cannot go on.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<ToClient>> {
        let failed = async {
            match &self.kernel {
                Some(kernel) => kernel.failed().await,
                None => std::future::pending().await,
            }
        };
        let line = tokio::select! {
            line = self.reader.next::<ToClient>() => line,
            fatal = failed => return Err(fatal_exit(&fatal).error(fatal)),
        };
        let event = match line {
            Ok(None | Some(ToClient::Bye)) | Err(_) => return Ok(None),
            Ok(Some(event)) => event,
        };
        match &event {
            ToClient::Receipt { id } | ToClient::Rejected { id, .. } => self.open.retain(|(open, _)| open != id),
            ToClient::Settled { .. } => self.settling = false,
            _ => {}
        }
        Ok(Some(event))
    }

    /// Detaches, and stops the host when it is this process.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        drop((self.reader, self.writer));
        match self.kernel {
            Some(kernel) => kernel.shutdown().await.context("failed to stop the host"),
            None => Ok(()),
        }
    }

    /// Attaches again, to the next host or as it, and says again what got no receipt. Not to be dropped half-way.
    pub(crate) async fn reattach(&mut self) -> anyhow::Result<()> {
        if self.kernel.is_some() {
            bail!("the host in this process ended the connection");
        }
        self.welcomed().await?;
        let settle = self.settling.then_some(ToHost::Settle);
        let open: Vec<_> = self.open.iter().map(|(id, text)| ToHost::Say { id: id.clone(), text: text.clone() }).collect();
        for line in open.iter().chain(&settle) {
            if link::write(&mut self.writer, line).await.is_err() {
                // This host is gone, too; whoever reads next finds out and tries again.
                break;
            }
        }
        Ok(())
    }

    /// Connects again until a host says welcome. One that is just ending may still take a connection.
    async fn welcomed(&mut self) -> anyhow::Result<ToClient> {
        let deadline = Instant::now() + HOST_START;
        while self.kernel.is_none() && Instant::now() < deadline {
            let (stream, kernel) = connect(&self.setup).await?;
            let (reader, writer) = stream.into_split();
            (self.reader, self.writer, self.kernel) = (Reader::new(reader), writer, kernel);
            if let Some(welcome) = self.hello().await? {
                return Ok(welcome);
            }
            tokio::time::sleep(RETRY).await;
        }
        bail!("the host ended the connection without a welcome")
    }

    /// The host's welcome; none when the host ended the connection.
    async fn hello(&mut self) -> anyhow::Result<Option<ToClient>> {
        let hello = ToHost::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            place: self.place.clone(),
            mounts: self.mounts.clone(),
        };
        if link::write(&mut self.writer, &hello).await.is_err() {
            return Ok(None);
        }
        match self.reader.next::<ToClient>().await {
            Ok(Some(welcome @ ToClient::Welcome { .. })) => Ok(Some(welcome)),
            Ok(Some(ToClient::Refused { reason })) => bail!("the host refused the conversation: {reason}"),
            Ok(None | Some(ToClient::Bye)) => Ok(None),
            Ok(Some(line)) => bail!("the host did not say welcome: {line:?}"),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(error).context("failed to read the host's welcome"),
            Err(_) => Ok(None),
        }
    }
}

/// Connects to the host, or becomes it. Between the lock and the socket of a starting host there is a moment in which
/// neither works; then it tries again.
pub(in crate::cli) async fn connect(setup: &Setup) -> anyhow::Result<(UnixStream, Option<Kernel>)> {
    let socket = setup.workdir.socket();
    let deadline = Instant::now() + HOST_START;
    loop {
        if let Ok(stream) = UnixStream::connect(&socket).await {
            return Ok((stream, None));
        }
        match Kernel::start(setup.clone()).await {
            Ok(kernel) => {
                let stream = UnixStream::connect(&socket).await.with_context(|| format!("failed to connect to {}", socket.display()))?;
                return Ok((stream, Some(kernel)));
            }
            Err(StartError::Locked) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error.into()),
        }
    }
}
