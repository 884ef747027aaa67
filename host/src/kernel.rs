//! The host, assembled: who holds the work directory's lock, opens the store, runs the components and serves the socket.
//!
//! The order of a start is that of recovery: lock, store (migrated), components, the new boot with the parts of older
//! ones made unknown, delivery, what is open of those who may not talk any more, open commands, open turns, and only then new
//! messages. Nothing is served in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::channels::telegram::{self, Telegram};
use crate::channels::terminal::{self, Socket, Terminal};
use crate::clock::{self, Moment};
use crate::config::{Config, Current};
use crate::crash;
use crate::delivery::{Channel, Channels, Delivery};
use crate::halt;
use crate::health::Health;
use crate::ids::BootId;
use crate::limits::{CLOCK_DRIFT, FIRST_MAINTENANCE, MAINTENANCE, SEEN, STOP_BOUND};
use crate::operator;
use crate::plugins::{self, Plugins};
use crate::router::Router;
use crate::secrets::{Redactor, Secret, SecretError};
use crate::session::fallback::Cooldowns;
use crate::session::ledger::Ledger;
use crate::session::shown::Shown;
use crate::session::{Deps, Opening};
use crate::store::{self, Recovered, Store, StoreError, Wake, Wakes};
use crate::supervise::{Fatal, Supervisor};
use crate::workdir::{Lock, WorkDir, WorkDirError};

/// What is secret of a bot.
const TOKEN: &str = "channels.telegram.token";

/// What a host is started from.
#[derive(Debug, Clone)]
pub struct Setup {
    pub workdir: WorkDir,
    pub config: Arc<Config>,
    pub store: store::Options,
}

/// Why a host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another host has the work directory")]
    Locked,
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Plugins(#[from] plugins::StartError),
    #[error("channels.telegram: {0}")]
    Telegram(#[from] telegram::StartError),
    #[error("channels.telegram.token: {0}")]
    Token(#[from] SecretError),
    #[error("cannot serve {path}: a socket cannot have so long a path; choose another work directory with --workdir", path = .0.display())]
    LongPath(std::path::PathBuf),
    #[error("cannot serve {path}: {source}", path = path.display())]
    Socket { path: std::path::PathBuf, source: std::io::Error },
}

/// A running host.
pub struct Kernel {
    config: Current,
    plugins: Plugins,
    router: Router,
    telegram: Option<Telegram>,
    store: Store,
    boot: BootId,
    supervisor: Supervisor,
    redactor: Redactor,
    // In the order in which they are let go.
    _socket: Socket,
    _lock: Lock,
}

impl Kernel {
    /// Becomes the host and recovers.
    ///
    /// # Errors
    ///
    /// [`StartError::Locked`] when there is one already; otherwise what went wrong, with nothing changed.
    pub async fn start(setup: Setup) -> Result<Self, StartError> {
        let lock = setup.workdir.lock()?.ok_or(StartError::Locked)?;
        Self::start_with(setup, lock).await
    }

    /// The same for who has the work directory's lock.
    ///
    /// # Errors
    ///
    /// What went wrong, with nothing changed.
    pub async fn start_with(setup: Setup, lock: Lock) -> Result<Self, StartError> {
        let Setup { workdir, config, store: options } = setup;
        raise_open_files();
        let for_store = workdir.clone();
        let opening = tokio::task::spawn_blocking(move || Store::open(&for_store, options));
        let current = Current::new(config.clone());
        let plugins = Plugins::start(&plugins::Setup { workdir: workdir.root().to_owned(), config: current.clone(), bundled: true })?;
        let (store, opened) = opening.await.map_err(|error| StoreError::Broken(error.to_string()))??;
        report(&opened);
        let supervisor = Supervisor::default();
        watch_store(&store, &supervisor);
        let wakes = store.wakes();
        let now = clock::now();
        let recovered = store.at(|| "recover@start".to_owned()).recover(env!("CARGO_PKG_VERSION"), now).await?;
        let boot = recovered.boot;
        let ledger = Ledger::load(&store, now).await?;
        let redactor = Redactor::new(&secrets_of(&config));
        plugins.watch(&redactor)?;
        let deps = Deps {
            redactor: redactor.clone(),
            store: store.clone(),
            plugins: plugins.clone(),
            config: current.clone(),
            workdir: workdir.clone(),
            boot,
            ledger,
            shown: Shown::default(),
            cooldowns: Cooldowns::default(),
            careful: Arc::new(Semaphore::new(1)),
        };
        let router = Router::new(deps, supervisor.clone());
        let terminal = Terminal::default();
        let telegram = telegram(&current, &store, &workdir)?;
        let mut channels: Channels = HashMap::from([(terminal::CHANNEL.to_owned(), Arc::new(terminal.clone()) as Arc<dyn Channel>)]);
        if let Some(telegram) = &telegram {
            channels.insert(telegram.name().to_owned(), Arc::new(telegram.clone()));
        }
        let delivery = Delivery::start(store.clone(), boot, redactor.clone(), channels, &supervisor);
        if let Some(telegram) = &telegram {
            telegram.recover(&router).await?;
        }
        if halt::since(&workdir).is_some() {
            tracing::warn!("everything is stopped by the operator; `stellaclaw resume` lets turns begin again");
            operator::cancel_running(&store).await?;
        }
        resume(&store, &router, &recovered, opened.lost.is_some()).await?;
        pump(wakes, &router, &delivery, &supervisor);
        maintain(&store, boot, &current, &workdir, &supervisor);
        if let Some(telegram) = &telegram {
            telegram.serve(router.clone(), delivery.clone(), &supervisor, recovered.last_seen).await?;
        }
        let path = workdir.socket();
        let served = terminal.serve(path.clone(), router.clone(), delivery, telegram.clone(), &supervisor);
        let socket = served.map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidInput => StartError::LongPath(path),
            _ => StartError::Socket { path, source },
        })?;
        Ok(Self { config: current, plugins, router, telegram, store, boot, supervisor, redactor, _socket: socket, _lock: lock })
    }

    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Knows every secret that the host may use, also those that are granted later.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How its parts are.
    #[must_use]
    pub fn health(&self) -> &Health {
        self.supervisor.health()
    }

    /// Goes on with another configuration; the log names what of it waits for the next start. A request or a call that runs
    /// ends with what it began with, unless it was taken back. Who may talk is settled by [`Kernel::settle_access`] only.
    pub async fn reconfigure(&self, config: Config) {
        self.redactor.learn(&secrets_of(&config));
        let mut waits = self.config.replace(config);
        if !waits.contains(&TOKEN) && self.has_new_token() {
            waits.push(TOKEN);
        }
        for key in waits {
            tracing::warn!("{key} takes effect at the next start");
        }
        let plugins = self.plugins.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || plugins.reconfigured()).await {
            tracing::error!(%error, "the plugins could not be looked at with the new configuration; they are with the next look");
        }
    }

    /// Is there another token now where the bot's was? One that cannot be read is none.
    fn has_new_token(&self) -> bool {
        let (Some(telegram), Some(settings)) = (&self.telegram, &self.config.get().telegram) else { return false };
        match settings.token.read() {
            Ok(token) => !telegram.has_token(&token),
            Err(error) => {
                tracing::warn!(%error, "{TOKEN} cannot be read; the bot goes on with the one that it has, until the next start");
                false
            }
        }
    }

    /// Lets those talk to the bot whom the configuration names now, and ends what runs for those who may not any more.
    ///
    /// # Errors
    ///
    /// The store kept that from being done, or part of it: it is to be tried again.
    pub async fn settle_access(&self) -> Result<(), StoreError> {
        match &self.telegram {
            Some(telegram) => telegram.reconfigured().await,
            None => Ok(()),
        }
    }

    /// Returns when the router and the store's writer do, whatever they say.
    pub async fn answers(&self) {
        if let Err(error) = self.router.try_store().await {
            tracing::debug!(%error, "the store answers with an error");
        }
    }

    /// Waits for a reason to end the process.
    pub async fn failed(&self) -> Fatal {
        self.supervisor.failed().await
    }

    /// Stops: turns are parked where they are, within a bound, and the store is closed.
    ///
    /// # Errors
    ///
    /// What the store fails with; everything that was accepted is in it.
    pub async fn shutdown(self) -> Result<(), StoreError> {
        self.supervisor.stop(STOP_BOUND).await;
        let ended = self.store.end_boot(self.boot, clock::now()).await;
        self.store.close().await;
        ended
    }
}

/// Allows the process as many open files as the system lets it have: each of many calls at once may hold many.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, current = limit.current, "the limit of open files cannot be raised");
    }
}

/// The secrets that a configuration names. One that cannot be read is for those who use it to report.
fn secrets_of(config: &Config) -> Vec<Secret> {
    config.secret_sources().filter_map(|(_, source)| source.read_all().ok()).flatten().collect()
}

/// The bot, if there is one.
fn telegram(current: &Current, store: &Store, workdir: &WorkDir) -> Result<Option<Telegram>, StartError> {
    let config = current.get();
    let Some(settings) = &config.telegram else { return Ok(None) };
    let token = settings.token.read()?;
    Ok(Some(Telegram::new(current.clone(), settings, token, store.clone(), workdir.clone())?))
}

/// Says what opening the store found.
fn report(opened: &store::Opened) {
    if let Some(from) = opened.migrated_from {
        tracing::info!(from, to = store::SCHEMA_VERSION, "the store was migrated; the version before is kept beside it");
    }
    if let Some(lost) = &opened.lost {
        tracing::error!(
            inbox_known = lost.inbox_known,
            inbox_now = lost.inbox_now,
            journal_known = lost.journal_known,
            journal_now = lost.journal_now,
            "the end of the store is missing: rows that were committed are gone"
        );
    }
}

/// A store that cannot be trusted ends the process.
fn watch_store(store: &Store, supervisor: &Supervisor) {
    let (store, owner, mut stopping) = (store.clone(), supervisor.clone(), supervisor.stopping());
    supervisor.spawn(async move {
        tokio::select! {
            reason = store.broken() => owner.fail(Fatal::Disk(reason)),
            () = stopping.wait() => {}
        }
    });
}

/// Open commands before open turns, and then what was waiting. `lost`: the end of the store is missing.
async fn resume(store: &Store, router: &Router, recovered: &Recovered, lost: bool) -> Result<(), StoreError> {
    let opening = match lost || recovered.restored {
        true => Opening::SetBack,
        false => Opening::Restarted { last_seen: recovered.last_seen, clean: !recovered.crashed },
    };
    let open: Vec<_> = recovered.open.iter().map(|session| session.conversation).collect();
    let commands = store.waiting_conversations(Some(store::InboxKind::Command)).await?;
    for conversation in commands.iter().chain(&open) {
        let opening = if open.contains(conversation) { opening } else { Opening::Woken };
        router.resume(*conversation, opening);
    }
    for conversation in store.waiting_conversations(None).await? {
        router.wake(conversation);
    }
    Ok(())
}

/// Carries the store's wake-ups to those they are for.
fn pump(wakes: Wakes, router: &Router, delivery: &Delivery, supervisor: &Supervisor) {
    let (router, delivery, mut stopping) = (router.clone(), delivery.clone(), supervisor.stopping());
    let mut wakes = wakes;
    supervisor.spawn(async move {
        loop {
            tokio::select! {
                wake = wakes.next() => match wake {
                    Some(Wake::Inbox(conversation)) => router.wake(conversation),
                    Some(Wake::Outbox(conversation)) => delivery.wake(conversation),
                    None => return,
                },
                () = stopping.wait() => return,
            }
        }
    });
}

/// Notes that the host lives, and forgets what need not be kept.
fn maintain(store: &Store, boot: BootId, config: &Current, workdir: &WorkDir, supervisor: &Supervisor) {
    let (store, config, workdir, mut stopping) = (store.clone(), config.clone(), workdir.clone(), supervisor.stopping());
    supervisor.spawn(async move {
        let mut seen = tokio::time::interval(SEEN);
        let first = crash::first_maintenance().unwrap_or(FIRST_MAINTENANCE);
        let mut prune = tokio::time::interval_at(Instant::now() + first, MAINTENANCE);
        let mut clocks = (Instant::now(), clock::now());
        loop {
            tokio::select! {
                _ = seen.tick() => store.seen(boot, clock::now()),
                _ = prune.tick() => {
                    let before = std::mem::replace(&mut clocks, (Instant::now(), clock::now()));
                    match drift(before, clocks) > CLOCK_DRIFT {
                        true => tracing::warn!("the wall clock jumped; what is old is decided next time"),
                        false => forget(&store, config.get().session.history, &workdir).await,
                    }
                }
                () = stopping.wait() => return,
            }
        }
    });
}

/// How much the wall clock differs from the monotonic one since `before`.
fn drift(before: (Instant, Moment), now: (Instant, Moment)) -> Duration {
    let passed = i64::try_from(now.0.duration_since(before.0).as_millis()).unwrap_or(i64::MAX);
    Duration::from_millis(now.1.0.saturating_sub(before.1.0).abs_diff(passed))
}

async fn forget(store: &Store, history: Option<Duration>, workdir: &WorkDir) {
    let all = async {
        operator::remove_expired(store, workdir).await?;
        store.prune(clock::now(), history).await
    };
    if let Err(error) = all.await {
        tracing::warn!(%error, "maintenance of the store failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_drifts_and_one_that_runs_does_not() {
        let begin = (Instant::now(), Moment(1_800_000_000_000));
        let after = |monotonic: u64, wall: i64| drift(begin, (begin.0 + Duration::from_secs(monotonic), Moment(begin.1.0 + wall * 1000)));
        assert_eq!(after(3600, 3600), Duration::ZERO);
        assert!(after(3600, 3590) < CLOCK_DRIFT);
        for wall in [0, 7200, -3600, 90_000, 2_500_000_000, -1_800_000_000] {
            assert!(after(3600, wall) > CLOCK_DRIFT, "{wall}");
        }
    }
}
