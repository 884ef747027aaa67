//! The poll loop: durable offset, one poller, and a poll that hangs, is refused or conflicts is begun anew.
//!
//! The offset is the store's cursor, moved by the transaction that takes a batch, so what was asked for with it has been
//! taken. After days of silence ids begin somewhere else: then a poll without an offset finds out where ([`silence`]).
//! One update that the store will never take is kept as it is and passed over; nothing else makes the offset move.

mod absence;
mod silence;

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use sha2::{Digest as _, Sha256};

use self::absence::Absence;
use self::silence::Silence;
use super::Telegram;
use super::api::{ApiError, Poller};
use super::send::{ALLOWED_UPDATES, BotCommand, CommandScope, DeleteWebhook, GetUpdates, Nothing, SetMyCommands};
use super::types::{Me, WebhookInfo};
use crate::limits::{
    FULL_PAUSE, TELEGRAM_CALL_TIME, TELEGRAM_POLL, TELEGRAM_POLL_MARGIN, TELEGRAM_RETRY, TELEGRAM_RETRY_MAX, TELEGRAM_UNAUTHORIZED_PAUSE,
};
use crate::store::StoreError;
use crate::{clock, commands, crash};

/// The channel's name among the parts of the host.
const PART: &str = "telegram";
/// Failures in a row after which it is not a passing one.
const LASTING: u32 = 3;

/// The most updates that a poll brings.
const BATCH: u8 = 100;
/// What goes wrong while updates without a number come again and again.
const UNNUMBERED: &str = "Telegram sends updates without a number; nothing after them can come";

/// What goes wrong is said once, and how long it lasts decides the pause.
#[derive(Default)]
struct Trouble {
    said: Option<&'static str>,
    tries: u32,
}

impl Telegram {
    /// Polls until the host stops.
    pub(super) async fn poll(self) {
        let _lock = self.lock().await;
        let mut trouble = Trouble::default();
        let me = loop {
            match self.greet().await {
                Ok(me) => break me,
                Err(error) => trouble.wait(&self, &error).await,
            }
        };
        tracing::info!(bot = me.username.as_deref().unwrap_or("?"), id = me.id, "Telegram is polled");
        trouble.over(&self);
        self.poll_as(&me, trouble).await;
    }

    async fn poll_as(&self, me: &Me, mut trouble: Trouble) {
        let mut poller = None;
        let mut limit = BATCH;
        let mut silence = Silence::since(self.host().heard);
        let mut absence = Absence::since(self.host().served);
        loop {
            let cursor = match self.offset().await {
                Ok(cursor) => cursor,
                Err(error) => {
                    tracing::warn!(%error, "polling waits for the store");
                    tokio::time::sleep(FULL_PAUSE).await;
                    continue;
                }
            };
            let offset = cursor.filter(|_| !silence.is_long(clock::now()));
            let polled = match poller.take().map_or_else(|| self.api().poller(), Ok) {
                Ok(with) => (self.ask(&with, offset, limit).await, with),
                Err(error) => {
                    tracing::error!(%error, "Telegram cannot be polled");
                    tokio::time::sleep(TELEGRAM_RETRY_MAX).await;
                    continue;
                }
            };
            match polled {
                (Ok(updates), with) => {
                    poller = Some(with);
                    limit = limit.saturating_mul(2).min(BATCH);
                    if let Some(hours) = absence.ends(clock::now()).filter(|_| cursor.is_some()) {
                        tracing::warn!(hours, "nobody polled for more than a day, after which Telegram drops messages: some may be lost");
                    }
                    // Nothing says nothing about ids: whoever asks without an offset goes on so until something comes.
                    if !updates.is_empty() {
                        silence.ends(clock::now());
                    }
                    if self.take_all(me, &updates).await {
                        trouble.over(self);
                    } else {
                        trouble.lasts(self, UNNUMBERED, &"nothing confirms them");
                        tokio::time::sleep(TELEGRAM_RETRY).await;
                    }
                }
                // Whatever it was, the next poll has a connection of its own.
                (Err(error), _) => {
                    // An answer that cannot be read to its end may be one that is too long.
                    if matches!(error, ApiError::Unknown(_) | ApiError::Undecodable { .. }) {
                        limit = (limit / 2).max(1);
                    }
                    if error.is_conflict() {
                        self.remove_webhook().await;
                    }
                    trouble.wait(self, &error).await;
                }
            }
        }
    }

    async fn ask(&self, poller: &Poller, offset: Option<i64>, limit: u8) -> Result<Vec<String>, ApiError> {
        let time = crash::poll_time().unwrap_or(TELEGRAM_POLL);
        let request = GetUpdates { offset, limit, timeout: time.as_secs(), allowed_updates: ALLOWED_UPDATES };
        let updates = poller.updates(&request, time + TELEGRAM_POLL_MARGIN.min(time)).await?;
        Ok(updates.iter().map(|update| update.get().to_owned()).collect())
    }

    async fn offset(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.0.store.cursor(&self.0.name).await?.and_then(|cursor| cursor.parse().ok()))
    }

    /// Takes a batch, and again for as long as the store has no room: it is not confirmed before. When the store will never
    /// take it, that is because of one of the updates, and each is taken alone. False: nothing of it can be confirmed.
    async fn take_all(&self, me: &Me, updates: &[String]) -> bool {
        if updates.is_empty() {
            return true;
        }
        loop {
            match self.take(me, updates).await {
                Ok(moves) => return moves,
                Err(error) if error.is_about_the_command() => {
                    tracing::warn!(%error, updates = updates.len(), "updates cannot be taken together; each is taken alone");
                    break;
                }
                Err(error) => tracing::warn!(%error, updates = updates.len(), "updates wait until they can be kept"),
            }
            tokio::time::sleep(FULL_PAUSE).await;
        }
        let mut moves = false;
        for update in updates {
            moves |= self.take_one(me, update).await;
        }
        moves
    }

    /// Takes one update, or keeps it for the operator if it cannot be taken; waits while neither can be.
    async fn take_one(&self, me: &Me, update: &String) -> bool {
        loop {
            let error = match self.take(me, std::slice::from_ref(update)).await {
                Ok(moves) => return moves,
                Err(error) if error.is_about_the_command() => match self.put_aside(update, &error).await {
                    Ok(moves) => return moves,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            tracing::warn!(%error, "an update waits until it can be kept");
            tokio::time::sleep(FULL_PAUSE).await;
        }
    }

    /// Who the bot is, and that it is polled from now on.
    async fn greet(&self) -> Result<Me, ApiError> {
        let me: Me = self.api().call("getMe", &Nothing {}, TELEGRAM_CALL_TIME).await?;
        let webhook: WebhookInfo = self.api().call("getWebhookInfo", &Nothing {}, TELEGRAM_CALL_TIME).await?;
        if webhook.url.as_deref().is_some_and(|url| !url.is_empty()) {
            tracing::warn!("the bot had a webhook; it is removed, because a bot is either called or polls");
            self.remove_webhook().await;
        }
        self.name_commands();
        Ok(me)
    }

    async fn remove_webhook(&self) {
        let parameters = DeleteWebhook { drop_pending_updates: false };
        if let Err(error) = self.api().call::<bool>("deleteWebhook", &parameters, TELEGRAM_CALL_TIME).await {
            tracing::debug!(%error, "the webhook could not be removed");
        }
    }

    /// Tells Telegram the commands for its menu, until it has heard them. Nobody waits for it.
    fn name_commands(&self) {
        let telegram = self.clone();
        self.host().supervisor.spawn_until_stop(async move {
            let commands: Vec<_> = commands::all().map(|(command, description)| BotCommand { command, description }).collect();
            for scope in [CommandScope::AllPrivateChats, CommandScope::AllGroupChats] {
                let parameters = SetMyCommands { commands: &commands, scope };
                let mut pause = TELEGRAM_RETRY;
                while let Err(error) = telegram.api().call::<bool>("setMyCommands", &parameters, TELEGRAM_CALL_TIME).await {
                    tracing::warn!(%error, "the bot's menu of commands is not up to date");
                    let Some(asked) = asks_again(&error) else { break };
                    tokio::time::sleep(asked.max(pause)).await;
                    pause = (pause * 2).min(TELEGRAM_RETRY_MAX);
                }
            }
        });
    }

    /// Waits until no other process on this machine polls for this bot.
    async fn lock(&self) -> File {
        let mut trouble = Trouble::default();
        loop {
            match try_lock(&self.0.lock) {
                Ok(Some(lock)) => {
                    trouble.over(self);
                    return lock;
                }
                Ok(None) => {
                    let who = self.0.lock.display();
                    trouble.lasts(self, "another process on this machine polls for this bot; stop one of them", &who);
                }
                Err(error) => {
                    let why = format!("{}: {error}", self.0.lock.display());
                    trouble.lasts(self, "cannot make sure that nobody else polls for this bot", &why);
                }
            }
            tokio::time::sleep(TELEGRAM_RETRY_MAX).await;
        }
    }
}

impl Trouble {
    /// Says what is wrong, once, and waits.
    async fn wait(&mut self, telegram: &Telegram, error: &ApiError) {
        let (what, asked) = explain(error);
        if error.is_conflict() || error.is_unauthorized() || (self.said == Some(what) && self.tries + 1 >= LASTING) {
            self.lasts(telegram, what, error);
        } else if self.is_new(what) {
            tracing::error!(channel = telegram.0.name, %error, "{what}");
        }
        tokio::time::sleep(self.pause(asked)).await;
    }

    /// Is it to be said? It has been, then.
    fn is_new(&mut self, what: &'static str) -> bool {
        let is_new = self.said != Some(what);
        if is_new {
            (self.said, self.tries) = (Some(what), 0);
        }
        is_new
    }

    /// Before the next try.
    fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let backoff = (TELEGRAM_RETRY * 2u32.saturating_pow(self.tries)).min(TELEGRAM_RETRY_MAX);
        self.tries = (self.tries + 1).min(10);
        asked.unwrap_or(backoff)
    }

    /// The host is not healthy meanwhile, and says so itself, once. What the error says is for the log alone.
    fn lasts(&mut self, telegram: &Telegram, what: &'static str, error: &dyn Display) {
        if self.is_new(what) {
            tracing::error!(channel = telegram.0.name, %error, "polling goes wrong");
        }
        telegram.host().supervisor.health().degraded(PART, what);
    }

    fn over(&mut self, telegram: &Telegram) {
        telegram.host().supervisor.health().ok(PART);
        if self.said.take().is_some() {
            telegram.0.file_news.notify_waiters();
            tracing::info!(channel = telegram.0.name, "Telegram answers again");
        }
        self.tries = 0;
    }
}

/// Could the same request go well later? After this time at the earliest.
fn asks_again(error: &ApiError) -> Option<Duration> {
    match error {
        ApiError::NotSent(_) | ApiError::Unknown(_) => Some(Duration::ZERO),
        ApiError::Rejected(refusal) => refusal.retry_after,
        ApiError::Undecodable { .. } | ApiError::Unreadable(_) => None,
    }
}

/// What an error means for the operator, and the pause that it asks for.
fn explain(error: &ApiError) -> (&'static str, Option<Duration>) {
    if error.is_conflict() {
        ("somebody else polls with this bot's token; stop the other one, or give this host a bot of its own", None)
    } else if error.is_unauthorized() {
        (
            "Telegram does not know this token; get the right one from BotFather and put it where channels.telegram.token says",
            Some(TELEGRAM_UNAUTHORIZED_PAUSE),
        )
    } else if let Some(after) = error.refusal().and_then(|refusal| refusal.retry_after) {
        ("Telegram asks to wait", Some(after))
    } else {
        ("Telegram cannot be reached; it is tried again", None)
    }
}

/// The lock for polling with a token at a server; none: somebody has it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags.cast_signed()).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The name of the lock's file: neither the token nor anything that leads to it.
pub(super) fn lock_name(server: &str, token: &str) -> String {
    let digest = Sha256::digest(format!("{server} {token}"));
    digest.iter().take(8).fold("stellaclaw-telegram-".to_owned(), |name, byte| format!("{name}{byte:02x}")) + ".lock"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::telegram::api::Refusal;

    fn refused(code: u16, retry_after: Option<Duration>) -> ApiError {
        Refusal { method: "getUpdates".into(), code, description: String::new(), retry_after, migrate_to: None }.into()
    }

    #[test]
    fn what_goes_wrong_is_explained_once_while_it_lasts_and_backed_off_from() {
        let seconds = Duration::from_secs;
        let mut trouble = Trouble::default();
        let mut meet = |error: &ApiError| {
            let (what, asked) = explain(error);
            (trouble.is_new(what), trouble.pause(asked))
        };
        // The token: asked for seldom. Somebody else: less and less often.
        let token = [401, 401, 404, 401].map(|code| meet(&refused(code, None)));
        assert_eq!(token, [true, false, false, false].map(|is_new| (is_new, TELEGRAM_UNAUTHORIZED_PAUSE)));
        let other = [409; 3].map(|code| meet(&refused(code, None)));
        assert_eq!(other, [(true, seconds(1)), (false, seconds(2)), (false, seconds(4))]);
        assert_eq!(meet(&refused(429, Some(seconds(7)))), (true, seconds(7)));
        assert_eq!(meet(&ApiError::NotSent("nobody there".into())), (true, seconds(1)));
    }

    #[test]
    fn a_request_that_may_go_well_later_is_made_again_and_no_other() {
        let again = |error: ApiError| asks_again(&error);
        assert_eq!(again(ApiError::NotSent("nobody there".into())), Some(Duration::ZERO));
        assert_eq!(again(ApiError::Unknown("502".into())), Some(Duration::ZERO));
        assert_eq!(again(refused(429, Some(Duration::from_secs(7)))), Some(Duration::from_secs(7)));
        assert_eq!(again(refused(400, None)), None);
        assert_eq!(again(ApiError::Undecodable { why: "odd".into(), raw: String::new() }), None);
    }
}
