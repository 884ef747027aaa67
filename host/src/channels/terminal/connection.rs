//! One attached client.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};

use super::link::{self, Reader};
use super::protocol::{Kind, Look, PROTOCOL, Place, Settled, ToClient, ToHost};
use super::{CHANNEL, Outgoing, Terminal, errands};
use crate::channels::telegram::Telegram;
use crate::delivery::{Delivery, Outcome};
use crate::ids::{CallId, TurnKey};
use crate::operator::Deed;
use crate::plugins::Inspection;
use crate::router::{Arrival, Open, Router, Wanted};
use crate::session::event::Beside;
use crate::session::live::{Activity, Live, LiveView, StandIn};
use crate::store::{OutboxKind, Phase};
use crate::supervise::Stopping;

/// What a new client has to say hello.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// What a client has to take the host's last line.
const BYE_TIME: Duration = Duration::from_millis(200);
/// How often a client that waits for quiet is looked after when nothing is heard.
const SETTLE_LOOK: Duration = Duration::from_millis(500);

/// Serves one client from its hello to its end.
pub(super) struct Connection {
    terminal: Terminal,
    router: Router,
    delivery: Delivery,
    telegram: Option<Telegram>,
}

/// What the client has been shown of the running turn.
#[derive(Default)]
struct Seen {
    answer: u64,
    text: usize,
    /// Calls by whether their end was shown.
    calls: HashMap<CallId, bool>,
    held_up: bool,
    summarising: bool,
    /// Who stood in, and in which turn.
    stand_in: Option<(TurnKey, StandIn)>,
}

struct Serving<'a> {
    router: Router,
    open: Open,
    once: bool,
    view: LiveView,
    writer: &'a mut OwnedWriteHalf,
    seen: Seen,
    written: Written,
    settle: bool,
}

/// Parts that were written, at least in part, and not acknowledged. What is left at the end is unknown.
#[derive(Default)]
struct Written(HashMap<(String, u32), oneshot::Sender<Outcome>>);

impl Drop for Written {
    fn drop(&mut self) {
        for (_, outcome) in self.0.drain() {
            // Delivery may have given up waiting.
            let _: Result<(), Outcome> = outcome.send(Outcome::Unknown);
        }
    }
}

impl Connection {
    pub(super) fn new(terminal: Terminal, router: Router, delivery: Delivery, telegram: Option<Telegram>) -> Self {
        Self { terminal, router, delivery, telegram }
    }

    /// Serves the client until it leaves, is detached, or the host stops, whatever it is doing then.
    pub(super) async fn run(self, stream: UnixStream, mut stopping: Stopping) -> io::Result<()> {
        let user = stream.peer_cred()?.uid();
        let (reader, mut writer) = stream.into_split();
        tokio::select! {
            ended = self.serve(user, Reader::new(reader), &mut writer) => ended,
            () = stopping.wait() => {
                // A line may be half written; a client that cannot read this reads the end.
                let bye = tokio::time::timeout(BYE_TIME, link::write(&mut writer, &ToClient::Bye)).await;
                bye.unwrap_or(Ok(()))
            }
        }
    }

    async fn serve(self, user: u32, mut reader: Reader<OwnedReadHalf>, writer: &mut OwnedWriteHalf) -> io::Result<()> {
        let hello = tokio::time::timeout(HELLO_TIME, reader.next::<ToHost>()).await;
        let Some(hello) = hello.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no hello"))?? else { return Ok(()) };
        match hello {
            ToHost::Look { protocol, version, at } => return link::write(writer, &self.look(protocol, &version, &at).await).await,
            ToHost::Do { protocol, version, deed } => return link::write(writer, &self.act(protocol, &version, deed).await).await,
            ToHost::Access { protocol, version, wish, bot } => {
                refuse_others(writer, protocol, &version).await?;
                return errands::decide(self.telegram.as_ref(), wish, bot.as_deref(), &mut reader, writer).await;
            }
            ToHost::Send { protocol, version, errand } => {
                refuse_others(writer, protocol, &version).await?;
                let answer = errands::send(self.telegram.as_ref(), &errand).await;
                return link::write(writer, &answer.unwrap_or_else(|reason| ToClient::Refused { reason })).await;
            }
            _ => {}
        }
        let (open, once) = match self.open(user, hello).await {
            Ok(open) => open,
            Err(reason) => return link::write(writer, &ToClient::Refused { reason }).await,
        };
        let conversation = open.conversation.id;
        link::write(writer, &self.welcome(&open)).await?;
        let (deliver, mut outgoing) = mpsc::unbounded_channel();
        let changed = Arc::new(Notify::new());
        let view = self.router.live(conversation);
        let mut live = view.watch();
        let written = Written::default();
        let mut serving = Serving { router: self.router, open, once, view, writer, seen: Seen::default(), written, settle: false };
        serving.seen.catch_up(&live.borrow_and_update());
        let _attachment = self.terminal.attach(conversation, deliver, changed.clone());
        self.delivery.wake(conversation);
        // Of the past only what still lasts is shown.
        let lasting = serving.seen.events(&live.borrow());
        serving.say_all(&lasting).await?;
        loop {
            tokio::select! {
                line = reader.next::<ToHost>() => match line? {
                    Some(line) => serving.hear(line).await?,
                    None => return Ok(()),
                },
                part = outgoing.recv() => match part {
                    Some(part) => {
                        // What happened before it is shown before it.
                        let events = serving.seen.events(&live.borrow_and_update());
                        serving.say_all(&events).await?;
                        serving.deliver(part).await?;
                    }
                    // Detached: it did not acknowledge what it was sent.
                    None => return Ok(()),
                },
                Ok(()) = live.changed() => {
                    let events = serving.seen.events(&live.borrow_and_update());
                    serving.say_all(&events).await?;
                }
                () = changed.notified() => {}
                // Whatever ends without a reply or a change that can be seen.
                () = tokio::time::sleep(SETTLE_LOOK), if serving.settle => {}
            }
            serving.settle().await?;
        }
    }

    /// The conversation that a hello asks for.
    async fn open(&self, user: u32, hello: ToHost) -> Result<(Open, bool), String> {
        let ToHost::Hello { protocol, version, place, mounts } = hello else { return Err("the first line must be a hello".to_owned()) };
        same_protocol(protocol, &version)?;
        let (address, passing) = match place {
            Place::Chat { name: None } => (user.to_string(), false),
            Place::Chat { name: Some(name) } => (format!("{user}/{name}"), false),
            Place::Ask { id } => (format!("ask/{id}"), true),
        };
        let wanted = Wanted { channel: CHANNEL.to_owned(), address, mounts, passing };
        self.router.open(wanted).await.map(|open| (open, passing)).map_err(|error| error.to_string())
    }

    /// What the host says about itself.
    async fn look(&self, protocol: u32, version: &str, at: &Look) -> ToClient {
        if let Err(reason) = same_protocol(protocol, version) {
            return ToClient::Refused { reason };
        }
        let plugins = self.router.plugins();
        match at {
            Look::Plugins => ToClient::Plugins { plugins: plugins.list() },
            Look::Plugin { name } => {
                let offers = plugins.offers(name).await;
                let inspection = plugins.inspect_plugin(name).map(|found| Box::new(Inspection { offers, ..found }));
                ToClient::Plugin { inspection }
            }
            Look::Health => ToClient::Health { parts: self.router.health().await },
        }
    }

    /// Does something to conversations from outside of them.
    async fn act(&self, protocol: u32, version: &str, deed: Deed) -> ToClient {
        if let Err(reason) = same_protocol(protocol, version) {
            return ToClient::Refused { reason };
        }
        match self.router.act(deed).await {
            Ok(done) => {
                tracing::info!(?deed, ?done, "the operator acted");
                ToClient::Did { done }
            }
            Err(error) => ToClient::Refused { reason: error.to_string() },
        }
    }

    fn welcome(&self, open: &Open) -> ToClient {
        let alias = open.conversation.model.clone();
        ToClient::Welcome {
            conversation: open.conversation.id.to_string(),
            workspace: open.workspace.clone(),
            provider: self.router.provider_of(&alias),
            model: alias,
            created: open.created,
            preparing: self.router.preparing(),
        }
    }
}

/// A client of another version gets a reason, and nothing is done for it.
async fn refuse_others(writer: &mut OwnedWriteHalf, protocol: u32, version: &str) -> io::Result<()> {
    match same_protocol(protocol, version) {
        Ok(()) => Ok(()),
        Err(reason) => {
            link::write(writer, &ToClient::Refused { reason }).await?;
            Err(io::Error::new(io::ErrorKind::InvalidData, "another version"))
        }
    }
}

fn same_protocol(protocol: u32, version: &str) -> Result<(), String> {
    if protocol == PROTOCOL {
        return Ok(());
    }
    let ours = env!("CARGO_PKG_VERSION");
    Err(format!("this host ({ours}) and the client ({version}) are of different versions; restart the host or use its version"))
}

impl Serving<'_> {
    async fn say(&mut self, line: ToClient) -> io::Result<()> {
        link::write(self.writer, &line).await
    }

    /// Shows what happened.
    async fn say_all(&mut self, lines: &[ToClient]) -> io::Result<()> {
        if lines.iter().any(|line| matches!(line, ToClient::Text { .. })) {
            // From the first byte on it may be read.
            self.view.mark_shown(self.seen.answer);
        }
        for line in lines {
            link::write(self.writer, line).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, line: ToHost) -> io::Result<()> {
        match line {
            ToHost::Say { id, text } => {
                let arrival = Arrival {
                    conversation: self.open.conversation.id,
                    source: CHANNEL.to_owned(),
                    external_id: id.clone(),
                    text,
                    sender: None,
                    beside: Beside::default(),
                    held: None,
                };
                let line = match self.router.accept(arrival).await {
                    Ok(()) => ToClient::Receipt { id },
                    Err(error) => ToClient::Rejected { id, reason: error.to_string() },
                };
                self.say(line).await
            }
            ToHost::Ack { key, part } => {
                if let Some(outcome) = self.written.0.remove(&(key, part)) {
                    // Delivery may have given up waiting; then the part comes again, marked.
                    let _: Result<(), Outcome> = outcome.send(Outcome::Sent(None));
                }
                Ok(())
            }
            ToHost::Settle => {
                self.settle = true;
                Ok(())
            }
            ToHost::Hello { .. } | ToHost::Look { .. } | ToHost::Do { .. } | ToHost::Access { .. } | ToHost::Send { .. } => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a second hello"))
            }
        }
    }

    async fn deliver(&mut self, outgoing: Outgoing) -> io::Result<()> {
        let Outgoing { part, outcome } = outgoing;
        let text = part.text();
        let kind = match part.kind {
            OutboxKind::Final => Kind::Final,
            OutboxKind::Notice => Kind::Notice,
            OutboxKind::Question => Kind::Question,
            OutboxKind::Tell => Kind::Tell,
        };
        // From the first byte on it may arrive.
        self.written.0.insert((part.key.clone(), part.n), outcome);
        self.say(ToClient::Deliver { key: part.key, part: part.n, kind, text }).await
    }

    /// Says that nothing is going on, if somebody wants to know and it is so.
    async fn settle(&mut self) -> io::Result<()> {
        // The store is asked only when the answer could be yes.
        if !self.settle || self.view.is_working() {
            return Ok(());
        }
        let id = self.open.conversation.id;
        let state = match self.router.settled(id).await {
            Ok(Some(Phase::Parked)) => Settled::Parked,
            Ok(Some(_)) => Settled::Idle,
            Ok(None) => return Ok(()),
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        self.settle = false;
        if self.once
            && state == Settled::Idle
            && let Err(error) = self.router.close(id).await
        {
            tracing::warn!(conversation = %id, %error, "a conversation that is used once stays open");
        }
        let failure = self.router.live(id).last_failure().filter(|_| state == Settled::Parked);
        self.say(ToClient::Settled { state, failure }).await
    }
}

impl Seen {
    /// What happened before a client attached is not shown to it as news.
    fn catch_up(&mut self, live: &Live) {
        self.answer = live.answer;
        self.text = live.text.len();
        self.calls = live.calls.iter().map(|call| (call.call.clone(), call.ended.is_some())).collect();
    }

    /// What changed since the last look.
    fn events(&mut self, live: &Live) -> Vec<ToClient> {
        let mut events = Vec::new();
        if live.answer != self.answer {
            self.answer = live.answer;
            if live.discarded && self.text > 0 {
                events.push(ToClient::Discard);
            }
            self.text = 0;
        }
        if let Some(append) = live.text.get(self.text..)
            && !append.is_empty()
        {
            events.push(ToClient::Text { append: append.to_owned() });
            self.text = live.text.len();
        }
        if let Some((turn, now)) = live.turn.as_ref().zip(live.stand_in.as_ref()) {
            let seen = Some((turn.key, now.clone()));
            if self.stand_in != seen {
                self.stand_in = seen;
                events.push(ToClient::StandIn { model: now.model.clone(), instead_of: now.instead_of.clone() });
            }
        }
        if let Some(reason) = live.held_up.as_ref().filter(|_| !self.held_up) {
            events.push(ToClient::HeldUp { reason: reason.clone() });
        }
        self.held_up = live.held_up.is_some();
        let summarising = live.activity == Activity::Compacting;
        events.extend((summarising && !self.summarising).then_some(ToClient::Summarising));
        self.summarising = summarising;
        if live.calls.is_empty() {
            self.calls.clear();
        }
        for call in &live.calls {
            let id = call.call.to_string();
            if !self.calls.contains_key(&call.call) {
                self.calls.insert(call.call.clone(), false);
                events.push(ToClient::ToolStarted { call: id.clone(), name: call.name.clone(), argument: call.argument.clone() });
            }
            if let (Some(end), Some(false)) = (&call.ended, self.calls.get(&call.call)) {
                self.calls.insert(call.call.clone(), true);
                events.push(ToClient::ToolEnded {
                    call: id,
                    name: call.name.clone(),
                    ok: end.ok,
                    duration_ms: end.duration_ms,
                    summary: end.summary.clone(),
                });
            }
        }
        events
    }
}
