//! What Telegram knows: users, chats, messages, files, updates. No I/O, and no time but what it is told.
//!
//! Every change that a log would hold is appended to [`State::told`]; who drives the state takes it from there.

pub mod chats;
pub mod messages;
pub mod updates;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{Value, json};

use self::chats::{Chat, ChatKind, Draft, Standing, User};
use self::messages::{Author, Content, Message};
use self::updates::Updates;
use super::check::Refusal;

/// The first id of a supergroup, below which the others are counted.
const SUPERGROUPS: i64 = -1_000_000_000_000;

/// Everything.
#[derive(Debug)]
pub struct State {
    /// Milliseconds since 1970, as it was last told.
    pub(super) now: i64,
    pub(super) bot: User,
    pub(super) users: BTreeMap<i64, User>,
    pub(super) chats: BTreeMap<i64, Chat>,
    pub(super) files: BTreeMap<String, StoredFile>,
    /// Where a server of one's own has its files on this machine's disk.
    pub(super) folder: Option<PathBuf>,
    pub(super) updates: Updates,
    pub(super) queries: BTreeMap<String, Query>,
    /// Menus of commands by scope and language.
    pub(super) menus: BTreeMap<String, Value>,
    /// What has happened since this was last emptied.
    pub(super) told: Vec<Value>,
    /// Private chats and groups share one count of messages; each supergroup has its own.
    last_message: i64,
    last_id: i64,
}

/// A file that somebody sent.
#[derive(Debug, Clone)]
pub struct StoredFile {
    pub id: String,
    pub name: Option<String>,
    pub mime: Option<String>,
    /// What Telegram says. For a file of a person it may be more than there are bytes, so that large files need no memory.
    pub size: u64,
    pub bytes: Bytes,
}

/// A pressed button.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub pressed: i64,
    /// The notice that it was answered with, maybe empty.
    pub answer: Option<String>,
}

impl State {
    pub(super) fn new(bot: User, now: i64) -> Self {
        Self {
            now,
            users: BTreeMap::from([(bot.id, bot.clone())]),
            bot,
            chats: BTreeMap::new(),
            files: BTreeMap::new(),
            folder: None,
            updates: Updates::default(),
            queries: BTreeMap::new(),
            menus: BTreeMap::new(),
            told: Vec::new(),
            last_message: 0,
            last_id: 1000,
        }
    }

    pub(super) fn new_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn tell(&mut self, kind: &str, what: Value) {
        self.told.push(json!({"at": self.now, "event": kind, kind: what}));
    }

    /// A chat that the bot may write to.
    pub(super) fn open_chat(&self, id: i64) -> Result<&Chat, Refusal> {
        let chat = self.known_chat(id)?;
        let group = if matches!(chat.kind, ChatKind::Group) { "group" } else { "supergroup" };
        match chat.bot {
            Standing::Member | Standing::Administrator => Ok(chat),
            Standing::Blocked => Err(Refusal::forbidden("bot was blocked by the user")),
            Standing::Kicked => Err(Refusal::forbidden(&format!("bot was kicked from the {group} chat"))),
            Standing::Left => Err(Refusal::forbidden(&format!("bot is not a member of the {group} chat"))),
        }
    }

    /// A chat that the bot has heard of and that still is one.
    pub(super) fn known_chat(&self, id: i64) -> Result<&Chat, Refusal> {
        let chat = self.chats.get(&id).filter(|chat| chat.started).ok_or_else(|| Refusal::bad("chat not found"))?;
        match chat.migrated_to {
            Some(to) => Err(Refusal::migrated(to)),
            None => Ok(chat),
        }
    }

    /// The thread of a message that is sent. General has a number, but not for this.
    pub(super) fn thread(&self, chat: i64, thread: Option<i64>) -> Result<Option<i64>, Refusal> {
        let known = |id| self.chats.get(&chat).is_some_and(|chat| chat.topics.contains_key(&id));
        match thread {
            None => Ok(None),
            Some(id) if known(id) => Ok(Some(id)),
            Some(_) => Err(Refusal::bad("message thread not found")),
        }
    }

    /// Adds a message to its chat and gives it its number.
    pub(super) fn add(&mut self, mut message: Message) -> i64 {
        let Some(chat) = self.chats.get_mut(&message.chat) else { return 0 };
        message.id = if matches!(chat.kind, ChatKind::Supergroup { .. }) {
            chat.last_message += 1;
            chat.last_message
        } else {
            self.last_message += 1;
            self.last_message
        };
        message.at = self.now;
        if message.by == Author::Bot && !matches!(message.content, Content::Service(_)) {
            chat.drafts.remove(&message.thread);
            chat.actions.remove(&message.thread);
        }
        let (chat, id) = (message.chat, message.id);
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.messages.insert(id, message);
        }
        let told = self.message_json(chat, id);
        self.tell("message", told);
        id
    }

    /// A message that is there for the bot to act on.
    pub(super) fn message(&self, chat: i64, id: i64) -> Option<&Message> {
        self.chats.get(&chat)?.messages.get(&id).filter(|message| message.deleted.is_none())
    }

    pub(super) fn message_mut(&mut self, chat: i64, id: i64) -> Option<&mut Message> {
        self.chats.get_mut(&chat)?.messages.get_mut(&id).filter(|message| message.deleted.is_none())
    }

    /// The draft that is shown in a private chat, if it has not faded away.
    #[must_use]
    pub fn draft(&self, chat: i64, thread: Option<i64>) -> Option<&Draft> {
        self.chats.get(&chat)?.drafts.get(&thread).filter(|draft| draft.until > self.now)
    }

    /// What the bot is said to be doing in a chat.
    #[must_use]
    pub fn action(&self, chat: i64, thread: Option<i64>) -> Option<&str> {
        let (action, until) = self.chats.get(&chat)?.actions.get(&thread)?;
        (*until > self.now).then_some(action.as_str())
    }

    /// Keeps a file.
    pub(super) fn keep(&mut self, name: Option<String>, mime: Option<String>, size: u64, bytes: Bytes) -> String {
        let id = format!("FILE{:08}", self.new_id());
        self.files.insert(id.clone(), StoredFile { id: id.clone(), name, mime, size, bytes });
        id
    }

    /// Makes a chat; the bot is in it.
    pub(super) fn new_chat(&mut self, kind: ChatKind, title: &str) -> i64 {
        let number = self.new_id();
        let id = if matches!(kind, ChatKind::Supergroup { .. }) { SUPERGROUPS - number } else { -number };
        self.chats.insert(id, Chat::new(id, kind, title));
        id
    }
}
