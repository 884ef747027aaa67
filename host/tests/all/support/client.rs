//! A scripted client of `host.sock`. Its log is one of those that the checker reads: what it was told, and what it told.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use stellaclaw::channels::terminal::link::{self, Reader};
use stellaclaw::channels::terminal::protocol::{Kind, PROTOCOL, Place, Settled, ToClient, ToHost};
use stellaclaw::plugins::Mount;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

pub use super::checker::{Entry, What};
use super::host::Work;
use super::within;

/// The log of all clients of a test.
#[derive(Clone)]
pub struct Log(Arc<Mutex<(Vec<Entry>, File)>>);

impl Log {
    /// Kept in memory, and in a file of `folder`.
    pub fn new(folder: &Path) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), File::create(folder.join("client.jsonl")).unwrap()))))
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().0.clone()
    }

    fn note(&self, place: &str, what: What) {
        let line = match &what {
            What::Said { id, text } => json!({"place": place, "said": id, "text": text}),
            What::Receipt { id } => json!({"place": place, "receipt": id}),
            What::Delivered { key, part, text } => json!({"place": place, "delivered": key, "part": part, "text": text}),
            What::Acknowledged { key, part } => json!({"place": place, "acknowledged": key, "part": part}),
        };
        let mut log = self.0.lock().unwrap();
        writeln!(log.1, "{line}").unwrap();
        log.0.push(Entry { place: place.to_owned(), what });
    }
}

/// A delivered part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub key: String,
    pub part: u32,
    pub kind: Kind,
    pub text: String,
}

/// An attached client.
pub struct Client {
    name: String,
    reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    log: Log,
    pub welcome: ToClient,
    /// Acknowledge what is delivered as it arrives.
    pub acknowledges: bool,
}

impl Client {
    /// Attaches to the local user's conversation, or to another one of theirs.
    pub async fn attach(work: &Work, name: &str, log: &Log) -> io::Result<Self> {
        Self::attach_at(work, name, chat(name), log).await
    }

    /// The same, with directories of the user's.
    pub async fn attach_with(work: &Work, name: &str, mounts: Vec<Mount>, log: &Log) -> io::Result<Self> {
        Self::hello(&work.socket(), name, chat(name), mounts, log).await
    }

    pub async fn attach_at(work: &Work, name: &str, place: Place, log: &Log) -> io::Result<Self> {
        Self::attach_to(&work.socket(), name, place, log).await
    }

    pub async fn attach_to(socket: &Path, name: &str, place: Place, log: &Log) -> io::Result<Self> {
        Self::hello(socket, name, place, Vec::new(), log).await
    }

    async fn hello(socket: &Path, name: &str, place: Place, mounts: Vec<Mount>, log: &Log) -> io::Result<Self> {
        let (reader, mut writer) = UnixStream::connect(socket).await?.into_split();
        let mut reader = Reader::new(reader);
        let hello = ToHost::Hello { protocol: PROTOCOL, version: "test".into(), place, mounts };
        link::write(&mut writer, &hello).await?;
        let welcome = within("a welcome", reader.next::<ToClient>()).await?.ok_or(ErrorKind::UnexpectedEof)?;
        Ok(Self { name: name.to_owned(), reader, writer, log: log.clone(), welcome, acknowledges: true })
    }

    /// The id of its conversation.
    pub fn conversation(&self) -> &str {
        match &self.welcome {
            ToClient::Welcome { conversation, .. } => conversation,
            other => panic!("no welcome: {other:?}"),
        }
    }

    /// Sends a message, and does not wait.
    pub async fn send(&mut self, id: &str, text: &str) -> io::Result<()> {
        self.log.note(&self.name, What::Said { id: id.to_owned(), text: text.to_owned() });
        link::write(&mut self.writer, &ToHost::Say { id: id.to_owned(), text: text.to_owned() }).await
    }

    pub async fn acknowledge(&mut self, delivered: &Delivered) -> io::Result<()> {
        // Noted before: from the first byte on the host may know.
        self.log.note(&self.name, What::Acknowledged { key: delivered.key.clone(), part: delivered.part });
        link::write(&mut self.writer, &ToHost::Ack { key: delivered.key.clone(), part: delivered.part }).await
    }

    /// Asks to be told when nothing goes on any more.
    pub async fn ask_to_settle(&mut self) -> io::Result<()> {
        link::write(&mut self.writer, &ToHost::Settle).await
    }

    /// The next line; an error when the host is gone.
    pub async fn next(&mut self) -> io::Result<ToClient> {
        let line = within(&format!("a line for {:?}", self.name), self.reader.next::<ToClient>()).await?;
        let line = line.ok_or(ErrorKind::UnexpectedEof)?;
        match &line {
            ToClient::Receipt { id } => self.log.note(&self.name, What::Receipt { id: id.clone() }),
            ToClient::Deliver { key, part, kind, text } => {
                self.log.note(&self.name, What::Delivered { key: key.clone(), part: *part, text: text.clone() });
                if self.acknowledges {
                    let delivered = Delivered { key: key.clone(), part: *part, kind: *kind, text: text.clone() };
                    self.acknowledge(&delivered).await?;
                }
            }
            _ => {}
        }
        Ok(line)
    }

    /// Reads until `found` finds what it looks for.
    pub async fn until<T>(&mut self, mut found: impl FnMut(&ToClient) -> Option<T>) -> io::Result<T> {
        loop {
            let line = self.next().await?;
            if let Some(value) = found(&line) {
                return Ok(value);
            }
        }
    }

    /// Sends a message and waits for its receipt.
    pub async fn say(&mut self, id: &str, text: &str) -> io::Result<()> {
        self.send(id, text).await?;
        self.until(|line| match line {
            ToClient::Receipt { id: received } if received == id => Some(()),
            ToClient::Rejected { id, reason } => panic!("{id} was rejected: {reason}"),
            _ => None,
        })
        .await
    }

    /// The next part that is delivered.
    pub async fn delivered(&mut self) -> io::Result<Delivered> {
        self.until(as_delivered).await
    }

    /// Waits until nothing goes on any more. What was delivered meanwhile, and how it is.
    pub async fn settle(&mut self) -> io::Result<(Vec<Delivered>, Settled)> {
        self.ask_to_settle().await?;
        let mut all = Vec::new();
        let state = self
            .until(|line| {
                all.extend(as_delivered(line));
                if let ToClient::Settled { state, .. } = line { Some(*state) } else { None }
            })
            .await?;
        Ok((all, state))
    }

    /// Says something and waits for everything that comes of it.
    pub async fn talk(&mut self, id: &str, text: &str) -> io::Result<Vec<Delivered>> {
        self.send(id, text).await?;
        Ok(self.settle().await?.0)
    }
}

fn chat(name: &str) -> Place {
    Place::Chat { name: (!name.is_empty()).then(|| name.to_owned()) }
}

fn as_delivered(line: &ToClient) -> Option<Delivered> {
    match line {
        ToClient::Deliver { key, part, kind, text } => Some(Delivered { key: key.clone(), part: *part, kind: *kind, text: text.clone() }),
        _ => None,
    }
}
