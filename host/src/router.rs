//! The router: what arrives → a conversation → its session's actor.
//!
//! What arrives is a row of the inbox before anything else happens to it. One actor per conversation is in memory while
//! there is work, and for a while after; one that fails or panics is folded again from its journal, and one that does so
//! too often is left alone until the host starts again. Sessions never end the process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock;
use crate::commands;
use crate::halt;
use crate::health::Part;
use crate::ids::{ConversationId, InboxId};
use crate::limits::{ASK_KEPT, CANCEL_TIME, FULL_PAUSE, MAILBOX_MESSAGES, MESSAGE_BYTES};
use crate::operator::{self, Deed, Done};
use crate::plugins::policy::paths::{self, MountError};
use crate::plugins::{self, Mount, Plugins};
use crate::session::event::Beside;
use crate::session::inbox::Body;
use crate::session::live::{Activity, LiveView};
use crate::session::{self, Deps, Exit, Opening, places};
use crate::store::{
    Accept, Conversation, InboxKind, InboxRow, NewConversation, NewInbox, NewOutbox, Oddity, OutboxKind, Phase, Room, Standing, StoreError,
    Stranger,
};
use crate::supervise::{Budget, Stopping, Supervisor};

/// Before a session that failed is folded again.
const RETRY: Duration = Duration::from_millis(200);

/// How often an operator's `/cancel` is looked after.
const CANCEL_LOOK: Duration = Duration::from_millis(20);
/// The name of turns among the parts of the host.
const TURNS: &str = "turns";
/// The store's name among the parts of the host.
const STORE: &str = "store";

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    deps: Deps,
    supervisor: Supervisor,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    actors: HashMap<ConversationId, Arc<Notify>>,
    lives: HashMap<ConversationId, LiveView>,
    /// Given up until the next start.
    aside: HashMap<ConversationId, String>,
}

/// A conversation that a channel wants to use.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub channel: String,
    pub address: String,
    pub mounts: Vec<Mount>,
    /// Deleted some time after its last use.
    pub passing: bool,
}

/// A conversation that a channel can use.
#[derive(Debug, Clone)]
pub struct Open {
    pub conversation: Conversation,
    pub workspace: PathBuf,
    pub created: bool,
}

/// Something a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub conversation: ConversationId,
    /// The door it came through, `terminal`.
    pub source: String,
    /// Unique within the source.
    pub external_id: String,
    pub text: String,
    pub sender: Option<String>,
    pub beside: Beside,
    /// What it is while its files are being fetched: kept instead of itself, for [`Router::held`]. None: it has none.
    pub held: Option<Value>,
}

/// What a channel was told in one piece: taken whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub arrivals: Vec<Arrival>,
    /// (channel, cursor): where the channel goes on.
    pub cursor: Option<(String, String)>,
    pub strangers: Vec<Stranger>,
    pub oddities: Vec<Oddity>,
    /// What was held and is handed out with the arrivals, as by [`Router::release`].
    pub release: Vec<(InboxId, Body)>,
}

/// Why something was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    #[error("a message is at most {MESSAGE_BYTES} bytes, this one has {0}; send it as a file in the workspace")]
    TooLong(usize),
    #[error("{MAILBOX_MESSAGES} messages are being worked on here; this one was not taken, send it again later")]
    Full,
    #[error("cannot mount {path}: {source}", path = path.display())]
    NoMount { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("cannot prepare the workspace {path}: {source}", path = path.display())]
    Workspace { path: PathBuf, source: std::io::Error },
    #[error("this conversation failed repeatedly and is left alone until the host starts again ({0})")]
    Aside(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A message, or a command if its text is one. What somebody else wrote commands nothing, whoever forwards it.
fn row(arrival: Arrival) -> NewInbox {
    let is_own = arrival.beside.forwarded.is_none();
    let kind = if is_own && commands::parse(&arrival.text).is_some() { InboxKind::Command } else { InboxKind::Message };
    let group = arrival.beside.group.clone();
    let held = arrival.held.is_some();
    let body = arrival.held.unwrap_or_else(|| json!(Body { text: arrival.text, sender: arrival.sender, beside: arrival.beside }));
    NewInbox {
        source: arrival.source,
        external_id: arrival.external_id,
        conversation: arrival.conversation,
        kind,
        group,
        body: body.to_string(),
        blobs: Vec::new(),
        held,
    }
}

fn bodies(rows: Vec<(InboxId, Body)>) -> Vec<(InboxId, String)> {
    rows.into_iter().map(|(id, body)| (id, json!(body).to_string())).collect()
}

/// How much is open at most in a conversation: memory, and what a model is asked to read at once, have an end.
fn room() -> Room {
    let full = format!(
        "I am working on {MAILBOX_MESSAGES} messages of this chat and take no more for now. What came after them was not taken; please send it again later."
    );
    Room { messages: MAILBOX_MESSAGES, full }
}

impl Router {
    #[must_use]
    pub fn new(deps: Deps, supervisor: Supervisor) -> Self {
        Self(Arc::new(Inner { deps, supervisor, state: Mutex::default() }))
    }

    /// The conversation at an address, with its workspace; made when there is none.
    ///
    /// # Errors
    ///
    /// A mount that must not be one, and what the store and the disk can fail with.
    pub async fn open(&self, wanted: Wanted) -> Result<Open, RouterError> {
        let deps = &self.0.deps;
        let now = clock::now();
        let mounts = self.checked(wanted.mounts)?;
        let new = NewConversation {
            channel: wanted.channel,
            address: wanted.address,
            model: deps.config.get().default_model.clone(),
            expires_at: wanted.passing.then(|| crate::clock::Moment(now.0 + i64::try_from(ASK_KEPT.as_millis()).unwrap_or(i64::MAX))),
        };
        let (mut conversation, created) = deps.store.get_or_create(new, now).await?;
        let wished = if mounts.is_empty() { places::mounts(&conversation.settings) } else { mounts.clone() };
        let prepared = places::prepare(&deps.workdir, conversation.id, wished).and_then(|places| {
            if created && !wanted.passing {
                places::welcome(&places)?;
            }
            Ok(places)
        });
        let path = deps.workdir.workspace(conversation.id);
        let places = prepared.map_err(|source| RouterError::Workspace { path, source })?;
        // Kept only when they can be had.
        if !mounts.is_empty() {
            conversation.settings["mounts"] = json!(mounts);
            deps.store.set_settings(conversation.id, conversation.settings.clone()).await?;
        }
        Ok(Open { conversation, workspace: places.workspace, created })
    }

    /// Takes what a person wrote. Durable when it returns; the same arrival again changes nothing.
    ///
    /// # Errors
    ///
    /// Too long, or what the store can fail with. Nothing is kept then.
    pub async fn accept(&self, arrival: Arrival) -> Result<(), RouterError> {
        if arrival.text.len() > MESSAGE_BYTES {
            return Err(RouterError::TooLong(arrival.text.len()));
        }
        if let Some(reason) = self.state().aside.get(&arrival.conversation) {
            return Err(RouterError::Aside(reason.clone()));
        }
        let store = self.0.deps.store.at(|| format!("accept@{}", arrival.external_id));
        let accepted = store.accept(Accept { room: Some(room()), ..Accept::rows(vec![row(arrival)], clock::now()) }).await?;
        if accepted.is_empty() { Err(RouterError::Full) } else { Ok(()) }
    }

    /// Takes what a channel was told. Durable when it returns; the same again changes nothing but counters. What is for a
    /// conversation that was set aside waits for the next start. Messages that a conversation has no room for are not taken, and
    /// it is told so.
    ///
    /// # Errors
    ///
    /// What the store can fail with. Nothing is kept then, and the cursor stays.
    pub async fn accept_all(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { arrivals, cursor, strangers, oddities, release } = batch;
        let store = self.0.deps.store.at(|| format!("accept@{}", cursor.as_ref().map_or("-", |(_, cursor)| cursor)));
        let rows = arrivals.into_iter().map(row).collect();
        let release = bodies(release);
        store.accept(Accept { rows, cursor, strangers, oddities, release, room: Some(room()), at: clock::now() }).await.map(drop)
    }

    /// Everything of one source that is held, in order of arrival.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn held(&self, source: &str) -> Result<Vec<InboxRow>, StoreError> {
        self.0.deps.store.held_inbox(source).await
    }

    /// Hands out what was held, as what it has become.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn release(&self, rows: Vec<(InboxId, Body)>) -> Result<(), StoreError> {
        let store = self.0.deps.store.at(|| format!("release@{}", rows.first().map_or(0, |(id, _)| id.0)));
        store.release(bodies(rows)).await
    }

    /// There may be something in the conversation's inbox: the store says so after each commit that puts it there.
    pub fn wake(&self, conversation: ConversationId) {
        self.run(conversation, Opening::Woken);
    }

    /// The conversation's session may have been in the middle of a turn.
    pub fn resume(&self, conversation: ConversationId, opening: Opening) {
        self.run(conversation, opening);
    }

    /// What can be seen of the conversation's running turn.
    #[must_use]
    pub fn live(&self, conversation: ConversationId) -> LiveView {
        self.state().lives.entry(conversation).or_default().clone()
    }

    /// The component that serves a model; empty when the configuration has no such model.
    #[must_use]
    pub fn provider_of(&self, alias: &str) -> String {
        self.0.deps.config.get().models.get(alias).map(|model| model.provider.clone()).unwrap_or_default()
    }

    /// The models that `/model` offers, by their aliases.
    #[must_use]
    pub fn models(&self) -> Vec<String> {
        self.0.deps.config.get().models.keys().cloned().collect()
    }

    /// The components that serve.
    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        &self.0.deps.plugins
    }

    /// Does what the operator wants done to conversations.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn act(&self, deed: Deed) -> Result<Done, StoreError> {
        let Deps { store, workdir, .. } = &self.0.deps;
        match deed {
            Deed::Stop { conversation } => self.stop(conversation).await,
            Deed::StopAll => self.stop_all().await,
            Deed::Resume => {
                for conversation in store.waiting_conversations(None).await? {
                    self.wake(conversation);
                }
                Ok(Done::Done)
            }
            Deed::Delete { conversation, force } => {
                if force {
                    // What its calls leave behind should be removed, too; one that does not end loses its session.
                    self.stop(conversation).await?;
                }
                operator::delete(store, workdir, conversation, force).await
            }
        }
    }

    /// Ends what runs in a conversation, and waits for its end.
    async fn stop(&self, conversation: ConversationId) -> Result<Done, StoreError> {
        let store = &self.0.deps.store;
        let noted = operator::cancel(store, conversation).await?;
        if noted != Done::Done {
            return Ok(noted);
        }
        let deadline = Instant::now() + CANCEL_TIME;
        while operator::is_open(store.standing(conversation).await?.phase) {
            if Instant::now() > deadline {
                return Ok(Done::Running);
            }
            tokio::time::sleep(CANCEL_LOOK).await;
        }
        Ok(Done::Done)
    }

    /// Ends every turn that runs, and waits for their ends.
    async fn stop_all(&self) -> Result<Done, StoreError> {
        let store = &self.0.deps.store;
        operator::cancel_running(store).await?;
        let deadline = Instant::now() + CANCEL_TIME;
        while store.open_sessions().await?.iter().any(|session| session.phase != Phase::Parked) {
            if Instant::now() > deadline {
                return Ok(Done::Running);
            }
            tokio::time::sleep(CANCEL_LOOK).await;
        }
        Ok(Done::Done)
    }

    /// How the host is. The store is tried now: what a health check says must be so when it says it.
    pub async fn health(&self) -> Vec<Part> {
        let health = self.0.supervisor.health();
        match self.try_store().await.map_err(|error| error.to_string()).and_then(|()| self.held_up().map_or(Ok(()), Err)) {
            Ok(()) => health.ok(STORE),
            Err(reason) => health.degraded(STORE, &reason),
        }
        match halt::since(&self.0.deps.workdir) {
            None => health.ok(TURNS),
            Some(_) => health.warned(TURNS, "stopped by the operator; `stellaclaw resume` lets them begin again"),
        }
        health.parts()
    }

    /// Takes what every message takes: the table of actors, and the store's writer.
    ///
    /// # Errors
    ///
    /// What the store can fail with. One that answers at all is alive.
    pub async fn try_store(&self) -> Result<(), StoreError> {
        drop(self.state());
        self.0.deps.store.seen_durably(self.0.deps.boot, clock::now()).await
    }

    /// Why a session cannot go on, if one cannot.
    fn held_up(&self) -> Option<String> {
        self.state().lives.values().find_map(LiveView::held_up_by)
    }

    /// Components that are still being compiled.
    #[must_use]
    pub fn preparing(&self) -> usize {
        self.0.deps.plugins.list().iter().filter(|plugin| plugin.state == plugins::State::Compiling).count()
    }

    /// Is nothing going on in the conversation? True and the phase, when every message was answered (or waits for the
    /// person) and every reply delivered.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn settled(&self, conversation: ConversationId) -> Result<Option<Phase>, StoreError> {
        let Standing { phase, open, undelivered } = self.0.deps.store.standing(conversation).await?;
        if undelivered {
            return Ok(None);
        }
        let (aside, left) = {
            let state = self.state();
            (state.aside.contains_key(&conversation), state.lives.get(&conversation).and_then(LiveView::newest_left))
        };
        if aside {
            return Ok(Some(Phase::Parked));
        }
        let mut phase = phase.unwrap_or(Phase::Idle);
        // Its session has said why they stay in the inbox.
        let all_left = open.iter().all(|(id, kind)| *kind == InboxKind::Message && Some(*id) <= left);
        if phase == Phase::Idle && !open.is_empty() && halt::since(&self.0.deps.workdir).is_some() {
            phase = Phase::Parked;
        }
        let settled = match phase {
            Phase::Idle | Phase::Closed => open.is_empty(),
            // Messages may stay when a turn waits for money, or everything is stopped.
            Phase::Parked => all_left,
            _ => false,
        };
        if !settled && !open.is_empty() {
            self.wake(conversation);
        }
        Ok(settled.then_some(phase))
    }

    /// Ends a conversation that is used once.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn close(&self, conversation: ConversationId) -> Result<(), StoreError> {
        let store = &self.0.deps.store;
        let session = store.foreground(conversation).await?;
        store.close_session(session.id).await
    }

    /// The mounts with their real paths, if all of them may be mounted.
    fn checked(&self, mounts: Vec<Mount>) -> Result<Vec<Mount>, RouterError> {
        let deps = &self.0.deps;
        let guarded = deps.plugins.guarded();
        mounts
            .into_iter()
            .map(|mount| {
                paths::check_name(&mount.name)?;
                let path = mount.path.canonicalize().map_err(|source| RouterError::NoMount { path: mount.path.clone(), source })?;
                guarded.check(&path)?;
                if !path.is_dir() {
                    return Err(RouterError::NoMount { path, source: std::io::ErrorKind::NotADirectory.into() });
                }
                Ok(Mount { path, ..mount })
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the conversation's actor, or starts it.
    fn run(&self, conversation: ConversationId, opening: Opening) {
        let (wake, live) = {
            let mut state = self.state();
            if let Some(reason) = state.aside.get(&conversation) {
                tracing::debug!(%conversation, reason, "a conversation that was set aside is not woken");
                return;
            }
            if let Some(wake) = state.actors.get(&conversation) {
                wake.notify_one();
                return;
            }
            let wake = Arc::new(Notify::new());
            state.actors.insert(conversation, wake.clone());
            (wake, state.lives.entry(conversation).or_default().clone())
        };
        let router = self.clone();
        let stopping = self.0.supervisor.stopping();
        self.0.supervisor.spawn(async move { router.keep(conversation, opening, live, wake, stopping).await });
    }

    /// Runs a conversation's actors one after the other until there is nothing to do.
    async fn keep(&self, id: ConversationId, mut opening: Opening, live: LiveView, wake: Arc<Notify>, mut stopping: Stopping) {
        let mut budget = Budget::default();
        loop {
            let ended = self.run_once(id, opening, &live, &wake, &stopping).await;
            opening = Opening::Woken;
            if stopping.is_stopping() {
                break;
            }
            let failed = match ended {
                Ok(Ok(Exit::Stopped)) | Ok(Err(StoreError::Closed | StoreError::Broken(_))) => break,
                // The next session may have something to read already.
                Ok(Ok(Exit::Closed)) => continue,
                Ok(Ok(Exit::Idle)) => {
                    if self.leave(id, &wake, &live) {
                        return;
                    }
                    continue;
                }
                // Room and locks are not the session's failure.
                Ok(Err(error)) if error.passes() => {
                    tracing::warn!(conversation = %id, %error, "a session waits");
                    live.held_up(Some(error.to_string()));
                    opening = Opening::Restarted { last_seen: Some(clock::now()), clean: true };
                    tokio::select! {
                        () = tokio::time::sleep(FULL_PAUSE) => continue,
                        () = stopping.wait() => break,
                    }
                }
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("it panicked: {panic}"),
            };
            tracing::error!(conversation = %id, reason = failed, "a session ended and is folded again");
            if !budget.allows(Instant::now()) {
                self.set_aside(id, failed, &live).await;
                break;
            }
            opening = Opening::Restarted { last_seen: Some(clock::now()), clean: false };
            tokio::time::sleep(RETRY).await;
        }
        self.state().actors.remove(&id);
    }

    /// Leaves a conversation alone until the host starts again, and tells the person.
    async fn set_aside(&self, id: ConversationId, reason: String, live: &LiveView) {
        tracing::error!(conversation = %id, "a session failed too often and is set aside until the host starts again");
        let body = format!("This conversation failed repeatedly and is left alone until the host starts again. Reference: {id}.");
        let notice = NewOutbox::new(format!("{id}.{}.aside", self.0.deps.boot), id, OutboxKind::Notice, body);
        if let Err(error) = self.0.deps.store.tell(notice, clock::now()).await {
            tracing::error!(conversation = %id, %error, "the notice about it could not be kept");
        }
        self.state().aside.insert(id, reason);
        live.activity(Activity::Parked);
    }

    /// One actor, in a task of its own so that a panic ends nothing else.
    async fn run_once(
        &self,
        id: ConversationId,
        opening: Opening,
        live: &LiveView,
        wake: &Arc<Notify>,
        stopping: &Stopping,
    ) -> Result<Result<Exit, StoreError>, String> {
        let deps = self.0.deps.clone();
        let (live, wake, stopping) = (live.clone(), wake.clone(), stopping.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Deleted: nobody is left to speak for.
            let Some(conversation) = deps.store.conversation(id).await? else { return Ok(Exit::Stopped) };
            session::run(deps, conversation, opening, live, wake, stopping).await
        });
        match task.join_next().await {
            Some(Ok(ended)) => Ok(ended),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it was dropped".to_owned()),
        }
    }

    /// Takes an idle actor out of memory. False: it was woken in the meantime.
    fn leave(&self, id: ConversationId, wake: &Arc<Notify>, live: &LiveView) -> bool {
        let mut state = self.state();
        let mut woken = std::pin::pin!(wake.notified());
        if woken.as_mut().enable() {
            return false;
        }
        state.actors.remove(&id);
        if !live.is_watched() {
            state.lives.remove(&id);
        }
        true
    }
}
