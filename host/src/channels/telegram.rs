//! Telegram: the Bot API, polled.
//!
//! - What arrives is stored, and the offset moves with it in one transaction; only the next poll confirms it (`poll`, `intake`).
//! - Who may talk is decided by numbers, and widened only from the terminal, by an owner's button, or by the first owner's
//!   pairing code (`access`, `people`). What is odd, unknown or a stranger's costs a bounded row and nothing else.
//! - Files are fetched after their message was accepted, and before anybody reads it (`fetch`).
//! - A reply is planned (`plan`, `render`), and each part sent once (`deliver`). What only shows progress (`present`, `panel`)
//!   gives way to it.
//!
//! The transport and the types are our own (`api`, `types`, `send`, `update`): an update that has something new in it must
//! not lose its text, and what a failure means for delivery must be known exactly.

pub mod access;
mod albums;
pub mod api;
mod chats;
mod courtesy;
mod deliver;
mod errand;
mod fetch;
mod intake;
mod keyboard;
pub mod pace;
mod pace_keeper;
pub mod panel;
mod people;
mod plan;
mod poll;
mod present;
pub mod render;
pub mod send;
pub mod types;
pub mod update;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use self::access::Access;
use self::albums::Albums;
use self::api::{Api, SetupError};
use self::errand::copies::Copies;
use self::pace::{EditBudget, Freezes, Throttle};
use self::people::{Asking, Pairing, Recent};
use self::plan::Shelf;
use self::present::Stage;
use self::send::Target;
use crate::clock::{self, Moment};
use crate::config::{self, Current};
use crate::delivery::{Channel, Delivery, Outcome, Part, Reply};
use crate::ids::ConversationId;
use crate::router::Router;
use crate::secrets::Secret;
use crate::store::{Conversation, Store, StoreError};
use crate::supervise::Supervisor;
use crate::workdir::WorkDir;

pub use self::errand::{Address, Fate, Settled, Unsettled};
pub use self::people::REQUESTS_PART;

/// One bot. Cheap to clone.
#[derive(Clone)]
pub struct Telegram(Arc<Inner>);

struct Inner {
    /// The channel's name in rows: `tg:<bot id>`.
    name: String,
    api: Api,
    config: Current,
    /// The server, as it is while the host runs.
    server: Url,
    store: Store,
    workdir: WorkDir,
    /// Held by whoever polls for this bot.
    lock: PathBuf,
    state: Mutex<State>,
    /// Set when it starts to serve.
    host: OnceLock<Host>,
    /// A message with files was accepted.
    arrived: Notify,
    /// For files that wait: Telegram answers again, or somebody ended a waiting.
    file_news: Notify,
    /// Held while updates are taken, and while access is taken back: nothing is let in by what was true before.
    admission: tokio::sync::Mutex<()>,
}

/// What it works with.
struct Host {
    router: Router,
    delivery: Delivery,
    supervisor: Supervisor,
    /// When Telegram last brought something, as far as that is known at the start.
    heard: Option<Moment>,
    /// When a host last served before this one.
    served: Option<Moment>,
}

#[derive(Default)]
struct State {
    access: Access,
    freezes: Freezes,
    edits: EditBudget,
    throttle: Throttle,
    /// Groups that became supergroups, by their old numbers: in this run, or with a conversation that stayed there.
    moved: HashMap<i64, i64>,
    /// Conversations that are woken when their chat thaws.
    thawing: HashSet<ConversationId>,
    pairing: Option<Pairing>,
    asking: Asking,
    /// Strangers were told that they are.
    hinted: Recent,
    /// Those of them who were told, or never are, since the last decision: what else they write costs no look at the store.
    told: HashSet<i64>,
    albums: Albums,
    /// When somebody who may talk was last heard in a chat.
    heard: HashMap<i64, Instant>,
    /// Updates without a number that were kept: nothing confirms them, and they come again.
    unnumbered: HashSet<[u8; 32]>,
    /// Conversations that are shown.
    stages: HashMap<ConversationId, Arc<Stage>>,
    /// Telegram's server does not know drafts.
    is_draftless: bool,
    /// Groups with topics, by what their messages say.
    forums: HashSet<i64>,
    copies: Copies,
}

/// Why a bot cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the token is none of a bot; it looks like 123456789:AAF…, as BotFather gave it")]
    Token,
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The channel's name in the rows of conversations: `tg:` and the bot's number, which its token begins with.
///
/// # Errors
///
/// The token does not look like one.
pub fn channel_name(token: &str) -> Result<String, StartError> {
    let bot = token.split_once(':').and_then(|(bot, _)| bot.parse::<u64>().ok());
    bot.map(|bot| format!("tg:{bot}")).ok_or(StartError::Token)
}

impl Telegram {
    /// The bot of a token, with the `settings` of now. Nothing is asked of Telegram yet.
    ///
    /// # Errors
    ///
    /// The token does not look like one, or there is no client for the configured server.
    pub fn new(config: Current, settings: &config::Telegram, token: Secret, store: Store, workdir: WorkDir) -> Result<Self, StartError> {
        let name = channel_name(token.expose())?;
        let lock = config::environment::runtime_directory().join(poll::lock_name(settings.api_base_url.as_str(), token.expose()));
        let api = Api::new(&settings.api_base_url, token, settings.proxy.as_ref())?;
        let inner = Inner {
            name,
            api,
            config,
            server: settings.api_base_url.clone(),
            store,
            workdir,
            lock,
            admission: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            host: OnceLock::new(),
            arrived: Notify::new(),
            file_news: Notify::new(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The channel's name in the rows of conversations.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Is it the bot of this token?
    #[must_use]
    pub fn has_token(&self, token: &Secret) -> bool {
        self.0.api.has_token(token)
    }

    /// Serves until the host stops, after [`Telegram::recover`]. `served`: when a host last did before.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn serve(
        &self,
        router: Router,
        delivery: Delivery,
        supervisor: &Supervisor,
        served: Option<Moment>,
    ) -> Result<(), StartError> {
        let frozen = self.0.store.frozen(&self.0.name).await?;
        self.state().freezes = Freezes::from_json(&frozen, Instant::now(), clock::now());
        let heard = self.0.store.last_received(&self.0.name).await?;
        if self.0.host.set(Host { router, delivery, supervisor: supervisor.clone(), heard, served }).is_err() {
            return Ok(());
        }
        self.present_again().await?;
        let (poller, fetcher) = (self.clone(), self.clone());
        supervisor.keep("telegram", move || poller.clone().poll());
        supervisor.keep("telegram files", move || fetcher.clone().fetch());
        supervisor.spawn(self.clone().sweep_all_copies());
        // Whoever looked before it served has found that nothing can be sent.
        self.host().delivery.wake_all();
        Ok(())
    }

    fn api(&self) -> &Api {
        &self.0.api
    }

    /// What the configuration says of the bot now.
    #[expect(clippy::expect_used, reason = "a replaced configuration keeps the bot that is served")]
    fn settings(&self) -> config::Telegram {
        self.0.config.get().telegram.clone().expect("it is served")
    }

    fn workdir(&self) -> &WorkDir {
        &self.0.workdir
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::expect_used, reason = "only tasks that serve() has started come here")]
    fn host(&self) -> &Host {
        self.0.host.get().expect("it serves")
    }
}

impl Channel for Telegram {
    fn plan(&self, reply: Reply<'_>) -> Vec<String> {
        let shelf = Shelf::open(self.workdir(), reply.conversation.id);
        if let Err(error) = &shelf {
            tracing::warn!(conversation = %reply.conversation.id, %error, "the files of a reply cannot be looked at");
        }
        plan::written(&plan::plan(&reply, shelf.as_ref().ok()))
    }

    /// Nothing can be sent before it serves: what a sending's end means is not known before.
    fn is_reachable(&self, conversation: &Conversation) -> bool {
        if self.0.host.get().is_none() {
            return false;
        }
        let Ok(target) = conversation.address.parse::<Target>() else { return true };
        match self.frozen_for(self.moved(target)) {
            None => true,
            Some(left) => {
                self.wake_after(conversation.id, left);
                false
            }
        }
    }

    fn deliver(&self, part: Part) -> BoxFuture<'_, Outcome> {
        self.send_part(part).boxed()
    }

    fn drained(&self, conversation: ConversationId) {
        self.delivered(conversation);
        self.sweep_copies(conversation);
    }
}
