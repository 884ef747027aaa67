//! A server that speaks the Bot API on loopback: what tests run the bot against, and what anybody can try it with
//! (`stellaclaw dev fake-telegram`).
//!
//! It keeps what Telegram keeps (chats, messages, files, the queue of updates with its rules), refuses what Telegram
//! refuses and a little more, does the harm that it is told to ([`Fault`]), and logs every call ([`Call`]): the log and
//! the messages are what tests judge by. People's side are methods here, and a page in the browser.
//!
//! ```text
//! let telegram = FakeTelegram::start(Options::default()).await?;
//! let ann = telegram.new_user("Ann");                          // her private chat has her number
//! telegram.fault(Fault::lost_after().on("sendMessage"));       // processed, but the bot never hears of it
//! telegram.write(ann, ann, Post::text("hello"))?;              // the bot polls telegram.api_base_url()
//! let reply = telegram.sent(ann, "hello to you").await?;       // waits until the bot has said it
//! assert!(!reply.silent);
//! assert_eq!(telegram.calls_of("sendMessage").len(), 2);
//! ```
//!
//! What it does not do: `parse_mode`, rich messages, replies to other chats, webhooks (they can be set, but nothing is
//! sent to them), privacy mode (the bot sees everything in its groups), channels, polls, inline mode; limits on how often
//! something may be sent, unless a fault sets them; forgetting updates after a day; converting files.

mod check;
mod faults;
pub mod limits;
mod log;
mod methods;
mod params;
mod people;
mod server;
mod state;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::check::Refusal;
pub use self::check::keyboard::{Button, Keyboard};
pub use self::check::picture::png;
pub use self::check::text::{Entity, Kind as EntityKind, units};
pub use self::faults::{Fault, Odds, Seen};
pub use self::log::Call;
pub use self::people::{Misuse, Post};
pub use self::state::StoredFile;
pub use self::state::chats::{Chat, ChatKind, Draft, Standing, User};
pub use self::state::messages::{Author, Content, FileKind, Message, Origin, Quote};
pub use self::state::updates::Update;

use self::faults::{Faults, Harm};
use self::log::Log;
use self::state::State;
use crate::clock;

/// How a server starts.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// 0: any.
    pub port: u16,
    /// Else one that is easily found where it should not be.
    pub token: Option<String>,
    /// Where calls, messages and updates are appended, one JSON object per line.
    pub log: Option<PathBuf>,
}

/// Something that was waited for did not happen.
#[derive(Debug, thiserror::Error)]
#[error("waited {} s for {what}; the last calls were: {calls}", limits::WAIT.as_secs())]
pub struct NeverHappened {
    what: String,
    calls: String,
}

/// A running server; clones are the same one. It ends with the last of them.
#[derive(Debug, Clone)]
pub struct FakeTelegram {
    shared: Arc<Shared>,
    serving: Arc<Serving>,
}

#[derive(Debug)]
struct Serving {
    address: SocketAddr,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Shared {
    token: String,
    inner: Mutex<Inner>,
    /// Counts changes.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    faults: Faults,
    log: Log,
    /// How far the server's clock is ahead.
    ahead: Duration,
    released: BTreeSet<String>,
    held: BTreeMap<String, usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Does something to it and tells everybody who waits.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let done = self.look(change);
        self.changed.send_modify(|count| *count += 1);
        done
    }

    /// Does something to it that nobody waits for.
    fn look<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = lock(&self.inner);
        let ahead = i64::try_from(inner.ahead.as_millis()).unwrap_or(i64::MAX);
        inner.state.now = clock::now().0.saturating_add(ahead);
        let done = look(&mut inner);
        for line in std::mem::take(&mut inner.state.told) {
            inner.log.write(&line);
        }
        done
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A call has arrived: its number in the log, and what is to be done to it.
    fn arrived(&self, method: &str, params: Value) -> (u64, Option<Harm>) {
        self.change(|inner| {
            let chat = &params["chat_id"];
            let chat = chat.as_i64().or_else(|| chat.as_str().and_then(|chat| chat.parse().ok()));
            let now = inner.state.now;
            let harm = inner.faults.strike(now, Seen { method, chat, params: &params });
            let fault = harm.as_ref().map(|harm| format!("{harm:?}"));
            (inner.log.begin(now, method, chat, params, fault), harm)
        })
    }

    /// Waits until the name is released.
    async fn held(&self, name: &str) {
        let mut changes = self.changes();
        self.change(|inner| *inner.held.entry(name.to_owned()).or_default() += 1);
        while !self.look(|inner| inner.released.contains(name)) && changes.changed().await.is_ok() {}
    }
}

impl FakeTelegram {
    /// Starts one.
    ///
    /// # Errors
    /// Its port or its log cannot be opened.
    pub async fn start(options: Options) -> io::Result<Self> {
        let token = options.token.unwrap_or_else(|| "7000000001:AAcanary-of-the-fake-bot-api-server".to_owned());
        let number = token.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(7_000_000_001);
        let bot =
            User { id: number, is_bot: true, first_name: "Stella".into(), username: Some("stella_claw_bot".into()), language_code: None };
        let inner = Inner {
            state: State::new(bot, clock::now().0),
            faults: Faults::default(),
            log: Log::new(options.log.as_deref())?,
            ahead: Duration::ZERO,
            released: BTreeSet::new(),
            held: BTreeMap::new(),
        };
        let shared = Arc::new(Shared { token, inner: Mutex::new(inner), changed: watch::Sender::default() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let task = Mutex::new(Some(tokio::spawn(server::serve(listener, shared.clone()))));
        Ok(Self { shared, serving: Arc::new(Serving { address, task }) })
    }

    /// What goes into `api_base_url`; in a browser it shows the chats.
    #[must_use]
    pub fn api_base_url(&self) -> String {
        format!("http://{}", self.serving.address)
    }

    #[must_use]
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// From now on it is a Bot API server of one's own, started with `--local`: it says where below this folder a file lies, and
    /// any size can be fetched. The files that people have sent until now lie there.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn be_local(&self, folder: &Path) -> io::Result<()> {
        let files = self.shared.change(|inner| inner.state.keep_in(folder.to_owned()));
        files.into_iter().try_for_each(|(path, bytes)| {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, bytes)
        })
    }

    #[must_use]
    pub fn bot(&self) -> User {
        self.shared.look(|inner| inner.state.bot.clone())
    }

    /// Ends every connection and accepts no more: connecting fails.
    pub async fn down(&self) {
        let task = lock(&self.serving.task).take();
        if let Some(task) = task {
            task.abort();
            drop(task.await);
        }
    }

    /// Serves again after [`FakeTelegram::down`].
    ///
    /// # Errors
    /// Its port cannot be opened any more.
    pub async fn up(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.serving.address).await?;
        let task = tokio::spawn(server::serve(listener, self.shared.clone()));
        *lock(&self.serving.task) = Some(task);
        Ok(())
    }

    // ── People ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Somebody new; the number is also that of the private chat. The bot hears of it with the first message.
    pub fn new_user(&self, name: &str) -> i64 {
        self.shared.change(|inner| inner.state.add_user(name))
    }

    /// A group of these people, the first of whom adds the bot.
    ///
    /// # Errors
    /// There are no such people.
    pub fn new_group(&self, kind: ChatKind, title: &str, members: &[i64]) -> Result<i64, Misuse> {
        self.shared.change(|inner| inner.state.add_group(kind, title, members))
    }

    /// A topic of a forum or of a private chat.
    ///
    /// # Errors
    /// The chat has no topics.
    pub fn new_topic(&self, chat: i64, by: i64, name: &str) -> Result<i64, Misuse> {
        self.shared.change(|inner| inner.state.add_topic(chat, by, name))
    }

    /// Somebody sends something; the number of the message.
    ///
    /// # Errors
    /// They are not in that chat, or it has no such topic.
    pub fn write(&self, chat: i64, user: i64, post: Post) -> Result<i64, Misuse> {
        self.shared.change(|inner| inner.state.post(chat, user, post))
    }

    /// Several files as one album.
    ///
    /// # Errors
    /// Those of [`FakeTelegram::write`].
    pub fn write_album(&self, chat: i64, user: i64, posts: Vec<Post>) -> Result<Vec<i64>, Misuse> {
        self.shared.change(|inner| inner.state.post_album(chat, user, posts))
    }

    /// Somebody changes what they wrote.
    ///
    /// # Errors
    /// There is no such message of a person.
    pub fn edit(&self, chat: i64, message: i64, text: &str) -> Result<(), Misuse> {
        self.shared.change(|inner| inner.state.change(chat, message, text))
    }

    /// Somebody presses a button, named by its data or its text; the number of the query.
    ///
    /// # Errors
    /// The message has no such button.
    pub fn press(&self, chat: i64, user: i64, message: i64, button: &str) -> Result<String, Misuse> {
        self.shared.change(|inner| inner.state.press(chat, user, message, button))
    }

    /// What a pressed button was answered with, if it was.
    #[must_use]
    pub fn query_answer(&self, query: &str) -> Option<String> {
        self.shared.look(|inner| inner.state.queries.get(query)?.answer.clone())
    }

    /// The native stop button of a draft is pressed.
    ///
    /// # Errors
    /// No draft is shown there that can be stopped.
    pub fn stop_draft(&self, chat: i64, thread: Option<i64>) -> Result<(), Misuse> {
        self.shared.change(|inner| inner.state.stop_draft(chat, thread))
    }

    /// Somebody's reactions to a message, instead of those before.
    ///
    /// # Errors
    /// There is no such message.
    pub fn react(&self, chat: i64, user: i64, message: i64, emoji: &[&str]) -> Result<(), Misuse> {
        self.shared.change(|inner| inner.state.react(chat, user, message, emoji))
    }

    /// Somebody adds, promotes, removes or blocks the bot.
    ///
    /// # Errors
    /// There is no such chat.
    pub fn set_standing(&self, chat: i64, by: i64, standing: Standing) -> Result<(), Misuse> {
        self.shared.change(|inner| inner.state.set_standing(chat, by, standing))
    }

    /// A group becomes a supergroup; its new number.
    ///
    /// # Errors
    /// It is no group.
    pub fn migrate(&self, group: i64, by: i64, forum: bool) -> Result<i64, Misuse> {
        self.shared.change(|inner| inner.state.migrate(group, by, forum))
    }

    // ── Updates as they should not be ───────────────────────────────────────────────────────────────────────────────

    /// Queues an update of any shape; an object without `update_id` gets the next one. The id.
    pub fn inject(&self, update: Value) -> i64 {
        self.shared.change(|inner| inner.state.queue_raw(update))
    }

    /// Queues an update once more, with its id. False: there was none.
    pub fn repeat(&self, update: i64) -> bool {
        self.shared.change(|inner| inner.state.queue_again(update))
    }

    /// Counts ids from here. False: lower, while updates wait; Telegram does that only to a queue that was empty for long.
    pub fn jump_ids(&self, to: i64) -> bool {
        self.shared.change(|inner| inner.state.jump_ids(to))
    }

    /// Sets a webhook, as another program with the token would.
    pub fn set_webhook(&self, address: Option<&str>) {
        self.shared.change(|inner| inner.state.updates.webhook = address.map(str::to_owned));
    }

    // ── Faults and time ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Something goes wrong from now on; the number takes it back.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.shared.change(|inner| inner.faults.add(fault))
    }

    pub fn remove_fault(&self, fault: u64) {
        self.shared.change(|inner| inner.faults.remove(fault));
    }

    /// Nothing goes wrong any more; what is held stays held.
    pub fn clear_faults(&self) {
        self.shared.change(|inner| inner.faults.clear());
    }

    /// From now on a seed decides what goes wrong, beside the faults that were told.
    pub fn random_faults(&self, seed: u64, odds: Odds) {
        self.shared.change(|inner| inner.faults.randomly(seed, odds));
    }

    /// Lets the calls go that are held under this name, now and from now on.
    pub fn release(&self, name: &str) {
        self.shared.change(|inner| inner.released.insert(name.to_owned()));
    }

    /// How many calls were held under this name so far.
    #[must_use]
    pub fn held_count(&self, name: &str) -> usize {
        self.shared.look(|inner| inner.held.get(name).copied().unwrap_or(0))
    }

    /// Moves the server's clock ahead: drafts fade, floods end, queries grow old.
    pub fn advance(&self, time: Duration) {
        self.shared.change(|inner| inner.ahead += time);
    }

    // ── What happened ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.look(|inner| inner.log.calls.clone())
    }

    /// The calls from this number on.
    #[must_use]
    pub fn calls_since(&self, number: usize) -> Vec<Call> {
        self.shared.look(|inner| inner.log.calls.get(number..).unwrap_or_default().to_vec())
    }

    /// The calls of one method.
    #[must_use]
    pub fn calls_of(&self, method: &str) -> Vec<Call> {
        self.shared.look(|inner| inner.log.calls.iter().filter(|call| call.method == method).cloned().collect())
    }

    /// A chat with everything in it.
    #[must_use]
    pub fn chat(&self, chat: i64) -> Option<Chat> {
        self.shared.look(|inner| inner.state.chats.get(&chat).cloned())
    }

    /// The numbers of all chats.
    #[must_use]
    pub fn chats(&self) -> Vec<i64> {
        self.shared.look(|inner| inner.state.chats.keys().copied().collect())
    }

    /// Every message that ever was in a chat, in order, deleted ones too.
    #[must_use]
    pub fn messages(&self, chat: i64) -> Vec<Message> {
        self.chat(chat).map(|chat| chat.messages.into_values().collect()).unwrap_or_default()
    }

    /// The messages of the bot in a chat, without deleted ones.
    #[must_use]
    pub fn bot_messages(&self, chat: i64) -> Vec<Message> {
        self.messages(chat).into_iter().filter(|message| message.is_bots() && message.deleted.is_none()).collect()
    }

    #[must_use]
    pub fn message(&self, chat: i64, message: i64) -> Option<Message> {
        self.shared.look(|inner| inner.state.chats.get(&chat)?.messages.get(&message).cloned())
    }

    /// A file that somebody sent, by its id.
    #[must_use]
    pub fn file(&self, id: &str) -> Option<StoredFile> {
        self.shared.look(|inner| inner.state.files.get(id).cloned())
    }

    /// The draft that is shown now.
    #[must_use]
    pub fn draft(&self, chat: i64, thread: Option<i64>) -> Option<Draft> {
        self.shared.look(|inner| inner.state.draft(chat, thread).cloned())
    }

    /// What the bot is shown to be doing now, such as `typing`.
    #[must_use]
    pub fn action(&self, chat: i64, thread: Option<i64>) -> Option<String> {
        self.shared.look(|inner| inner.state.action(chat, thread).map(str::to_owned))
    }

    /// Every update there was, with when it was delivered and confirmed.
    #[must_use]
    pub fn updates(&self) -> Vec<Update> {
        self.shared.look(|inner| inner.state.updates.all.clone())
    }

    /// How many updates wait to be confirmed.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.look(|inner| inner.state.updates.pending())
    }

    /// How many updates were dropped because the bot did not ask for their kind.
    #[must_use]
    pub fn unwanted(&self) -> u64 {
        self.shared.look(|inner| inner.state.updates.unwanted)
    }

    /// The menu of commands of a scope, as `all_private_chats/` or `default/de`.
    #[must_use]
    pub fn menu(&self, scope: &str) -> Option<Value> {
        self.shared.look(|inner| inner.state.menus.get(scope).cloned())
    }

    /// Waits until there is something to return.
    ///
    /// # Errors
    /// There is nothing for far too long.
    pub async fn wait<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> Result<T, NeverHappened> {
        let mut changes = self.shared.changes();
        let looking = async {
            loop {
                if let Some(found) = found(self) {
                    return found;
                }
                // Some things only time changes.
                drop(tokio::time::timeout(limits::LOOK, changes.changed()).await);
            }
        };
        tokio::time::timeout(limits::WAIT, looking).await.map_err(|_| {
            let count = self.shared.look(|inner| inner.log.calls.len());
            let calls = self.calls_since(count.saturating_sub(20));
            let shown = calls.iter().map(|call| format!("\n  {} {}{}", call.method, call.params, came_to(call)));
            NeverHappened { what: what.to_owned(), calls: shown.collect() }
        })
    }

    /// Waits for a message of the bot with this in its text.
    ///
    /// # Errors
    /// There is none for far too long.
    pub async fn sent(&self, chat: i64, text: &str) -> Result<Message, NeverHappened> {
        let found = |telegram: &Self| telegram.bot_messages(chat).into_iter().find(|message| message.text.contains(text));
        self.wait(&format!("{text:?} in chat {chat}"), found).await
    }

    /// Waits until every update so far is confirmed.
    ///
    /// # Errors
    /// One is not for far too long.
    pub async fn confirmed(&self) -> Result<(), NeverHappened> {
        let all = |telegram: &Self| (telegram.waiting() == 0).then_some(());
        self.wait("every update to be confirmed", all).await
    }
}

/// What became of a call, for an error.
fn came_to(call: &Call) -> String {
    match (&call.fault, &call.result) {
        (Some(fault), _) => format!(" ({fault})"),
        (None, Some(Err(refusal))) => format!(" ({refusal})"),
        (None, Some(Ok(_))) => String::new(),
        (None, None) => " (waits)".to_owned(),
    }
}
