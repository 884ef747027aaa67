//! Messages, and how they look in answers and updates.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::State;
use super::chats::{Chat, ChatKind};
use crate::fake_telegram::check::keyboard::Keyboard;
use crate::fake_telegram::check::text::Entity;

/// Who a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    Bot,
    User(i64),
    /// An administrator who shows only the group.
    Anonymous,
}

/// What a message is, beside its text or caption.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Text,
    /// A stored file. `more` are the fields of its kind, such as a duration.
    File {
        kind: FileKind,
        file: String,
        more: Map<String, Value>,
    },
    /// Fields of the message that are all there is: a location, a contact.
    Other(Map<String, Value>),
    /// The same, of something that happened to the chat.
    Service(Map<String, Value>),
}

/// What a file is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Photo,
    Document,
    Audio,
    Voice,
    Video,
    VideoNote,
    Animation,
    Sticker,
}

impl FileKind {
    /// The field of a message, and the parameter of the method that sends it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Voice => "voice",
            Self::Video => "video",
            Self::VideoNote => "video_note",
            Self::Animation => "animation",
            Self::Sticker => "sticker",
        }
    }
}

/// Where a forwarded message comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    User(i64),
    /// Somebody who does not want to be linked to.
    Hidden(String),
    /// A channel of this title, and the message's number there.
    Channel(String, i64),
}

/// A part of another message that a reply is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Quote {
    pub text: String,
    pub entities: Vec<Entity>,
    pub position: usize,
}

/// One message, as it is now, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub chat: i64,
    pub id: i64,
    /// A topic; in a supergroup without topics the message that began the thread.
    pub thread: Option<i64>,
    pub by: Author,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The text, or the caption.
    pub text: String,
    pub entities: Vec<Entity>,
    pub content: Content,
    /// Sent with `disable_notification`.
    pub silent: bool,
    /// Sent or last edited with link previews turned off.
    pub previews_off: bool,
    pub keyboard: Option<Keyboard>,
    pub reply_to: Option<i64>,
    pub quote: Option<Quote>,
    pub origin: Option<Origin>,
    /// Which album it belongs to.
    pub album: Option<String>,
    /// What it said before each edit, with the moment of that edit.
    pub edits: Vec<(i64, String)>,
    pub deleted: Option<i64>,
    /// Emoji by who reacted.
    pub reactions: BTreeMap<i64, Vec<String>>,
}

impl Message {
    pub(in crate::fake_telegram) fn new(chat: i64, by: Author, content: Content) -> Self {
        Self {
            chat,
            id: 0,
            thread: None,
            by,
            at: 0,
            text: String::new(),
            entities: Vec::new(),
            content,
            silent: false,
            previews_off: false,
            keyboard: None,
            reply_to: None,
            quote: None,
            origin: None,
            album: None,
            edits: Vec::new(),
            deleted: None,
            reactions: BTreeMap::new(),
        }
    }

    #[must_use]
    pub fn is_bots(&self) -> bool {
        self.by == Author::Bot
    }

    /// The stored file in it.
    #[must_use]
    pub fn file(&self) -> Option<(FileKind, &str)> {
        match &self.content {
            Content::File { kind, file, .. } => Some((*kind, file)),
            _ => None,
        }
    }

    /// Says something else now. The earlier text is kept.
    pub(in crate::fake_telegram) fn reword(&mut self, now: i64, text: String, entities: Vec<Entity>) {
        let before = std::mem::replace(&mut self.text, text);
        self.edits.push((now, before));
        self.entities = entities;
    }
}

impl State {
    /// A message as the Bot API shows it. `Null` when there is none.
    #[must_use]
    pub fn message_json(&self, chat: i64, id: i64) -> Value {
        match self.chats.get(&chat).and_then(|chat| Some((chat, chat.messages.get(&id)?))) {
            Some((chat, message)) => Value::Object(self.full(chat, message)),
            None => Value::Null,
        }
    }

    fn full(&self, chat: &Chat, message: &Message) -> Map<String, Value> {
        let mut json = self.plain(chat, message);
        // Telegram shows what is written in a topic as a reply to its beginning.
        let replied = message.reply_to.or(message.thread.filter(|id| chat.is_forum() && *id != message.id));
        if let Some(replied) = replied.and_then(|id| chat.messages.get(&id)).filter(|replied| replied.deleted.is_none()) {
            json.insert("reply_to_message".into(), Value::Object(self.plain(chat, replied)));
        }
        if let Some(quote) = &message.quote {
            let mut shown = json!({"text": quote.text, "position": quote.position, "is_manual": true});
            if !quote.entities.is_empty() {
                shown["entities"] = json!(quote.entities);
            }
            json.insert("quote".into(), shown);
        }
        json
    }

    fn plain(&self, chat: &Chat, message: &Message) -> Map<String, Value> {
        let mut json = Map::new();
        let mut put = |key: &str, value: Value| drop(json.insert(key.to_owned(), value));
        put("message_id", message.id.into());
        if let Some(thread) = message.thread {
            put("message_thread_id", thread.into());
            if chat.topics.contains_key(&thread) {
                put("is_topic_message", true.into());
            }
        }
        put("from", self.author(message.by));
        if message.by == Author::Anonymous {
            put("sender_chat", chat.json());
        }
        put("chat", chat.json());
        put("date", (message.at / 1000).into());
        if let Some((edited, _)) = message.edits.last() {
            put("edit_date", (edited / 1000).into());
        }
        if let Some(origin) = &message.origin {
            put("forward_origin", self.origin(origin, message.at / 1000));
        }
        if let Some(album) = &message.album {
            put("media_group_id", json!(album));
        }
        let (text, entities) = match message.content {
            Content::Text => ("text", "entities"),
            _ => ("caption", "caption_entities"),
        };
        match &message.content {
            Content::Text => {}
            Content::File { kind, file, more } => {
                put(kind.field(), self.file_json(*kind, file, more));
                // For bots from before there were animations.
                if *kind == FileKind::Animation {
                    put(FileKind::Document.field(), self.file_json(FileKind::Document, file, &Map::new()));
                }
            }
            Content::Other(fields) | Content::Service(fields) => fields.iter().for_each(|(key, value)| put(key, value.clone())),
        }
        if !message.text.is_empty() {
            put(text, json!(message.text));
        }
        if !message.entities.is_empty() {
            put(entities, json!(message.entities));
        }
        if let Some(keyboard) = &message.keyboard {
            put("reply_markup", json!(keyboard));
        }
        json
    }

    fn author(&self, by: Author) -> Value {
        match by {
            Author::Bot => json!(self.bot),
            Author::User(id) => json!(self.users.get(&id)),
            Author::Anonymous => {
                json!({"id": 1_087_968_824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot"})
            }
        }
    }

    fn origin(&self, origin: &Origin, date: i64) -> Value {
        match origin {
            Origin::User(id) => json!({"type": "user", "date": date, "sender_user": self.users.get(id)}),
            Origin::Hidden(name) => json!({"type": "hidden_user", "date": date, "sender_user_name": name}),
            Origin::Channel(title, id) => {
                let chat = json!({"id": super::SUPERGROUPS - 1, "title": title, "type": "channel"});
                json!({"type": "channel", "date": date, "chat": chat, "message_id": id})
            }
        }
    }

    fn file_json(&self, kind: FileKind, id: &str, more: &Map<String, Value>) -> Value {
        let mut json = Map::new();
        json.insert("file_id".into(), id.into());
        json.insert("file_unique_id".into(), format!("U{id}").into());
        if let Some(file) = self.files.get(id) {
            json.insert("file_size".into(), file.size.into());
            if !matches!(kind, FileKind::Photo | FileKind::Voice | FileKind::VideoNote) {
                json.extend(file.name.iter().map(|name| ("file_name".to_owned(), json!(name))));
            }
            if !matches!(kind, FileKind::Photo | FileKind::VideoNote) {
                json.extend(file.mime.iter().map(|mime| ("mime_type".to_owned(), json!(mime))));
            }
        }
        json.extend(more.clone());
        if kind != FileKind::Photo {
            return Value::Object(json);
        }
        // Every photo comes in several sizes, the largest last.
        let mut small = json.clone();
        small.insert("file_id".into(), format!("{id}s").into());
        small.insert("file_unique_id".into(), format!("U{id}s").into());
        small.insert("file_size".into(), 1.into());
        for side in ["width", "height"] {
            let full = json.get(side).and_then(Value::as_u64).unwrap_or_default();
            small.insert(side.into(), full.div_ceil(4).into());
        }
        json!([small, json])
    }

    /// The thread that a reply is in where a supergroup has no topics: that of the message it replies to.
    pub(in crate::fake_telegram) fn reply_thread(&self, chat: i64, reply_to: Option<i64>) -> Option<i64> {
        let chat = self.chats.get(&chat).filter(|chat| chat.kind == ChatKind::Supergroup { forum: false })?;
        let replied = chat.messages.get(&reply_to?)?;
        Some(replied.thread.unwrap_or(replied.id))
    }
}
