//! What an update means: raw JSON in, one of a few events out. Pure.
//!
//! - Whatever comes is answered with an event or a reason, never with a panic, and a field that is wrong spoils no other.
//! - Who wrote is a person's numeric id or nobody: what was sent in the name of a chat has no person, whoever Telegram
//!   puts there for old bots.
//! - Every text is bounded; a name is one line of visible characters.
//!
//! What it does not do: decide who may talk, or fetch anything.

mod address;
mod media;
mod message;
mod rich;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::render::is_visible;
use super::types::tolerant::{self, Maybe};
use super::types::{CallbackQuery, Chat, ChatMember, ChatMemberUpdated, Me, Message, MessageGenerationStopped, User};
use crate::limits;

pub use address::Addressee;
pub use media::{FileKind, FileRef};
pub use message::{Incoming, Quoted};

/// One update.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub id: i64,
    pub event: Event,
}

/// Something that is no update, or lacks what its kind is about. To be confirmed all the same, or it blocks what follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    pub reason: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Message(Box<Incoming>),
    /// A message as it is now.
    Edited(Box<Incoming>),
    /// A button below a message of the bot was pressed.
    Button(Button),
    /// What the bot is in a chat has changed.
    Membership {
        chat: ChatRef,
        by: Person,
        status: Membership,
    },
    /// A group became a supergroup; both ids may say so.
    Migrated {
        from: i64,
        to: i64,
    },
    /// The stop button of a draft was pressed.
    Stopped {
        chat: i64,
        thread: Option<i64>,
        draft_id: i64,
    },
    Reaction,
    /// Something that needs no answer: a topic was made, a member joined, a message was pinned.
    Service,
    Unknown {
        kind: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    pub query_id: String,
    pub from: Person,
    pub chat: ChatRef,
    pub message_id: i64,
    pub thread: Option<i64>,
    pub data: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    Administrator,
    Member,
    Restricted {
        can_send: bool,
    },
    Left,
    /// In a private chat: the person has blocked the bot.
    Kicked,
}

impl Membership {
    /// Can the bot still write there?
    #[must_use]
    pub fn is_in(self) -> bool {
        matches!(self, Self::Administrator | Self::Member | Self::Restricted { can_send: true })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: i64,
    pub name: String,
    pub username: Option<String>,
    pub is_bot: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRef {
    pub id: i64,
    pub kind: ChatKind,
    pub title: Option<String>,
    /// It has topics; what belongs to none of them is in General.
    pub is_forum: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatKind {
    Private,
    Group,
    Supergroup,
    Channel,
    Other,
}

/// The number of an update, if it has one.
pub fn number(raw: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Id {
        #[serde(default)]
        update_id: Maybe<i64>,
    }
    let is_object = raw.trim_start().starts_with('{');
    Some(raw).filter(|_| is_object).and_then(|raw| serde_json::from_str::<Id>(raw).ok()).and_then(|id| id.update_id.0)
}

/// Whose an update is, as far as that can be told without understanding it: a person's number, else that of a chat.
pub fn sender(raw: &str) -> Option<i64> {
    let update: Value = serde_json::from_str(raw).ok()?;
    let (_, body) = update.as_object()?.iter().find(|(name, _)| *name != "update_id")?;
    ["from", "user", "chat"].iter().find_map(|field| body.get(field)?.get("id")?.as_i64())
}

/// Reads one update; `me` is the bot that it came to.
pub fn decode(raw: &str, me: &Me) -> Result<Update, Malformed> {
    let malformed = |reason: String| Malformed { reason: line(&reason) };
    let fields = match serde_json::from_str::<Value>(raw) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(malformed("an update that is no object".to_owned())),
        Err(failure) => return Err(malformed(format!("an update that cannot be read: {failure}"))),
    };
    let Some(id) = number(raw) else { return Err(malformed("an update without an id".to_owned())) };
    let Some((kind, body)) = fields.iter().find(|(name, _)| *name != "update_id") else {
        return Err(malformed("an update with nothing in it".to_owned()));
    };
    let event = event(kind, body, me).map_err(|reason| malformed(format!("{kind}: {reason}")))?;
    Ok(Update { id, event })
}

fn event(kind: &str, body: &Value, me: &Me) -> Result<Event, String> {
    match kind {
        "message" => message(body, me, Event::Message),
        "edited_message" => message(body, me, Event::Edited),
        "callback_query" => button(&read::<CallbackQuery>(body)?, me),
        "my_chat_member" => {
            let change: ChatMemberUpdated = read(body)?;
            let Some(status) = membership(&change.new_chat_member) else {
                return Ok(Event::Unknown { kind: format!("{kind} {}", line(&change.new_chat_member.status)) });
            };
            Ok(Event::Membership { chat: ChatRef::new(&change.chat), by: Person::new(&change.from), status })
        }
        "stopped_message_generation" => {
            let stopped: MessageGenerationStopped = read(body)?;
            Ok(Event::Stopped { chat: stopped.chat.id, thread: stopped.message_thread_id.0, draft_id: stopped.draft_id })
        }
        "message_reaction" | "message_reaction_count" => Ok(Event::Reaction),
        other => Ok(Event::Unknown { kind: line(other) }),
    }
}

fn message(body: &Value, me: &Me, event: fn(Box<Incoming>) -> Event) -> Result<Event, String> {
    let message: Message = read(body)?;
    let chat = message.chat.as_ref().ok_or("no chat")?;
    if let Some(to) = message.migrate_to_chat_id.0 {
        return Ok(Event::Migrated { from: chat.id, to });
    }
    if let Some(from) = message.migrate_from_chat_id.0 {
        return Ok(Event::Migrated { from, to: chat.id });
    }
    // A sender that is there and cannot be read must not turn a chat into a person.
    let by_chat = body.get("sender_chat").is_some_and(|sender| !sender.is_null());
    Ok(Incoming::new(&message, chat, by_chat, me)?.map_or(Event::Service, |incoming| event(Box::new(incoming))))
}

fn button(query: &CallbackQuery, me: &Me) -> Result<Event, String> {
    let Some((message, data)) = query.message.as_ref().zip(query.data.as_ref()) else {
        return Ok(Event::Unknown { kind: "callback_query that is not from a message of the bot".to_owned() });
    };
    if query.id.len() > limits::TELEGRAM_ID_BYTES || data.len() > limits::TELEGRAM_ID_BYTES {
        return Err("an id or data that is too long".to_owned());
    }
    let chat = ChatRef::new(message.chat.as_ref().ok_or("no chat")?);
    Ok(Event::Button(Button {
        query_id: query.id.clone(),
        from: Person::new(&query.from),
        message_id: message.message_id.0.ok_or("no message id")?,
        thread: message::thread(message, &chat, me),
        chat,
        data: data.clone(),
    }))
}

fn membership(member: &ChatMember) -> Option<Membership> {
    Some(match member.status.as_str() {
        "creator" | "administrator" => Membership::Administrator,
        "member" => Membership::Member,
        "restricted" if member.is_member.0 == Some(false) => Membership::Left,
        "restricted" => Membership::Restricted { can_send: member.can_send_messages.unwrap_or(true) },
        "left" => Membership::Left,
        "kicked" => Membership::Kicked,
        _ => return None,
    })
}

impl Person {
    fn new(user: &User) -> Self {
        let username = user.username.as_deref().map(line).filter(|name| !name.is_empty());
        let name = full_name(&user.first_name, &user.last_name).or_else(|| username.clone()).unwrap_or_else(|| user.id.to_string());
        Self { id: user.id, name, username, is_bot: user.is_bot.unwrap_or(false) }
    }
}

impl ChatRef {
    fn new(chat: &Chat) -> Self {
        let kind = match chat.kind.as_deref() {
            Some("private") => ChatKind::Private,
            Some("group") => ChatKind::Group,
            Some("supergroup") => ChatKind::Supergroup,
            Some("channel") => ChatKind::Channel,
            _ => ChatKind::Other,
        };
        Self { id: chat.id, kind, title: chat_name(chat), is_forum: chat.is_forum.unwrap_or(false) && kind == ChatKind::Supergroup }
    }
}

fn chat_name(chat: &Chat) -> Option<String> {
    let title = chat.title.as_deref().map(line).filter(|title| is_visible(title));
    title.or_else(|| full_name(&chat.first_name, &chat.last_name)).or_else(|| chat.username.as_deref().map(line))
}

fn full_name(first: &Maybe<String>, last: &Maybe<String>) -> Option<String> {
    let name = format!("{} {}", first.as_deref().unwrap_or_default(), last.as_deref().unwrap_or_default());
    // One that nobody sees is none.
    Some(line(&name)).filter(|name| is_visible(name))
}

fn read<T: DeserializeOwned>(body: &Value) -> Result<T, String> {
    tolerant::object(body).map_err(|failure| failure.to_string())
}

/// One line of visible characters, not too long. What steers the direction of text is taken out too: it could make a name
/// look like something else.
fn line(text: &str) -> String {
    let steers = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let visible: String =
        text.chars().filter(|c| !steers(*c)).map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c }).collect();
    cut(&visible.split_whitespace().collect::<Vec<_>>().join(" "), limits::TELEGRAM_NAME_CHARS)
}

/// At most so many characters; what was cut is seen to be.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars.saturating_sub(1)).chain(['…']).collect(),
    }
}
