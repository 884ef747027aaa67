//! Users and chats.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::messages::Message;
use crate::fake_telegram::check::text::Entity;

/// Somebody, or a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    pub id: i64,
    pub is_bot: bool,
    pub first_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language_code: Option<String>,
}

/// What a chat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatKind {
    Private,
    Group,
    Supergroup { forum: bool },
}

/// What the bot is in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Member,
    Administrator,
    /// It has left, or was not there yet.
    Left,
    Kicked,
    /// By the person of a private chat.
    Blocked,
}

impl Standing {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Administrator => "administrator",
            Self::Left => "left",
            Self::Kicked | Self::Blocked => "kicked",
        }
    }
}

/// One chat.
#[derive(Debug, Clone)]
pub struct Chat {
    pub id: i64,
    pub kind: ChatKind,
    /// A person's name in a private chat.
    pub title: String,
    pub username: Option<String>,
    pub members: BTreeSet<i64>,
    pub bot: Standing,
    /// Has the bot heard of it? It cannot write to a person who never wrote to it.
    pub started: bool,
    pub migrated_to: Option<i64>,
    pub topics: BTreeMap<i64, String>,
    pub messages: BTreeMap<i64, Message>,
    pub(in crate::fake_telegram) drafts: BTreeMap<Option<i64>, Draft>,
    pub(in crate::fake_telegram) actions: BTreeMap<Option<i64>, (String, i64)>,
    pub(super) last_message: i64,
}

/// A message that is being written, shown in a private chat for a while.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Draft {
    pub id: i64,
    pub text: String,
    pub entities: Vec<Entity>,
    pub can_stop: bool,
    pub keep_on_stop: bool,
    /// Its button was pressed.
    pub stopped: bool,
    /// When it fades away.
    pub until: i64,
}

impl Chat {
    pub(super) fn new(id: i64, kind: ChatKind, title: &str) -> Self {
        Self {
            id,
            kind,
            title: title.to_owned(),
            username: None,
            members: BTreeSet::new(),
            bot: Standing::Member,
            started: true,
            migrated_to: None,
            topics: BTreeMap::new(),
            messages: BTreeMap::new(),
            drafts: BTreeMap::new(),
            actions: BTreeMap::new(),
            // A supergroup's first message is that it was made; its number is also that of General.
            last_message: 1,
        }
    }

    /// The private chat of a person; the bot has not heard of it yet.
    pub(in crate::fake_telegram) fn private(user: &User) -> Self {
        let chat = Self::new(user.id, ChatKind::Private, &user.first_name);
        Self { started: false, username: user.username.clone(), members: BTreeSet::from([user.id]), ..chat }
    }

    #[must_use]
    pub fn is_private(&self) -> bool {
        self.kind == ChatKind::Private
    }

    #[must_use]
    pub fn is_forum(&self) -> bool {
        matches!(self.kind, ChatKind::Supergroup { forum: true })
    }

    /// As it is in messages and updates.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut chat = match self.kind {
            ChatKind::Private => json!({"id": self.id, "first_name": self.title, "type": "private"}),
            ChatKind::Group => json!({"id": self.id, "title": self.title, "type": "group"}),
            ChatKind::Supergroup { .. } => json!({"id": self.id, "title": self.title, "type": "supergroup"}),
        };
        if let Some(name) = &self.username {
            chat["username"] = json!(name);
        }
        if self.is_forum() {
            chat["is_forum"] = json!(true);
        }
        chat
    }
}
