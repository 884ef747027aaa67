//! A message that somebody wrote: its text, files and circumstances.

use serde::Deserialize as _;

use super::address::{self, Addressee};
use super::media::{self, FileRef};
use super::{ChatKind, ChatRef, Person, chat_name, cut, line, rich};
use crate::channels::telegram::send::GENERAL;
use crate::channels::telegram::types::{Chat, Me, Message, Origin};
use crate::limits;

/// A message with something in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    pub chat: ChatRef,
    /// Its topic. What is in General, or in no topic, has none.
    pub thread: Option<i64>,
    pub message_id: i64,
    /// The person who wrote it; nobody when it was sent in the name of a chat.
    pub from: Option<Person>,
    /// The chat in whose name it was sent: a channel, or the group itself for an anonymous administrator.
    pub sender_chat: Option<String>,
    /// Seconds since 1970-01-01 UTC.
    pub date: i64,
    /// Text or caption, without a leading name of the bot and without the bot's name after a command.
    pub text: String,
    pub to: Addressee,
    /// Messages with the same one belong together.
    pub album: Option<String>,
    pub files: Vec<FileRef>,
    /// What is neither text nor a file: places, contacts, polls, dice, stickers.
    pub notes: Vec<String>,
    pub quoted: Option<Quoted>,
    /// Whose words these were before they were forwarded.
    pub forwarded: Option<String>,
    /// The inline bot that made it.
    pub via_bot: Option<String>,
}

/// What a message replies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    pub by: String,
    pub is_by_bot_itself: bool,
    /// The part that was marked, or else the whole text.
    pub text: String,
    pub files: Vec<FileRef>,
    pub notes: Vec<String>,
}

impl Incoming {
    /// None for a message about the chat, in which nobody says anything.
    pub(super) fn new(message: &Message, chat: &Chat, by_chat: bool, me: &Me) -> Result<Option<Self>, String> {
        let (text, files, notes) = (words(message), media::files(&message.media), media::notes(&message.media));
        if text.is_none() && files.is_empty() && notes.is_empty() {
            return Ok(None);
        }
        let chat = ChatRef::new(chat);
        let thread = thread(message, &chat, me);
        let quoted = quoted(message, thread, me);
        let entities = if message.text.is_some() { &message.entities } else { &message.caption_entities };
        let addressed = address::read(&text.unwrap_or_default(), entities, me);
        let to = match addressed.to {
            _ if chat.kind == ChatKind::Private => Addressee::Bot,
            Addressee::Nobody | Addressee::AnyBot if quoted.as_ref().is_some_and(|quoted| quoted.is_by_bot_itself) => Addressee::Bot,
            to => to,
        };
        Ok(Some(Self {
            thread,
            message_id: message.message_id.0.ok_or("no message id")?,
            from: message.from.as_ref().filter(|_| !by_chat).map(Person::new),
            sender_chat: by_chat.then(|| message.sender_chat.as_ref().and_then(chat_name).unwrap_or_else(|| "a chat".to_owned())),
            date: message.date.unwrap_or(0),
            text: addressed.text,
            to,
            album: message
                .media_group_id
                .as_deref()
                .filter(|id| !id.is_empty() && id.len() <= limits::TELEGRAM_ID_BYTES)
                .map(str::to_owned),
            files,
            notes,
            quoted,
            forwarded: message.forward_origin.as_ref().map(name),
            via_bot: message.via_bot.as_ref().map(Person::new).and_then(|bot| bot.username),
            chat,
        }))
    }
}

/// The topic of a message. A thread outside topics is only a chain of replies; nothing can be sent to it.
pub(super) fn thread(message: &Message, chat: &ChatRef, me: &Me) -> Option<i64> {
    let in_topic = message.is_topic_message.unwrap_or(false) || (chat.kind == ChatKind::Private && me.has_topics_enabled.unwrap_or(false));
    message.message_thread_id.filter(|thread| in_topic && (*thread != GENERAL || chat.kind == ChatKind::Private))
}

/// Text, caption, or what a rich message says; bounded.
fn words(message: &Message) -> Option<String> {
    let words = message.text.0.clone().or_else(|| message.caption.0.clone()).or_else(|| message.rich_message.as_ref().map(rich::text));
    words.filter(|words| !words.is_empty()).map(|mut words| {
        words.truncate(words.floor_char_boundary(limits::TELEGRAM_TEXT_BYTES));
        words
    })
}

fn quoted(message: &Message, thread: Option<i64>, me: &Me) -> Option<Quoted> {
    let marked = message.quote.as_ref().map(|quote| quote.text.as_str());
    if let Some(reply) = message.reply_to_message.as_ref().and_then(|reply| Message::deserialize(reply).ok()) {
        // Without another one, what is written in a topic replies to the message that made the topic.
        let is_topic = reply.forum_topic_created.0 || (thread.is_some() && reply.message_id.0 == thread);
        if is_topic {
            return None;
        }
        let by_chat = reply.sender_chat.as_ref().and_then(chat_name);
        let by = by_chat.clone().or_else(|| reply.from.as_ref().map(|user| Person::new(user).name));
        return Some(Quoted {
            by: by.unwrap_or_else(|| "somebody".to_owned()),
            is_by_bot_itself: by_chat.is_none() && reply.from.as_ref().is_some_and(|user| user.id == me.id),
            text: cut(marked.or(words(&reply).as_deref()).unwrap_or_default(), limits::TELEGRAM_QUOTE_CHARS),
            files: media::files(&reply.media),
            notes: media::notes(&reply.media),
        });
    }
    let reply = message.external_reply.as_ref()?;
    Some(Quoted {
        by: reply.origin.as_ref().map_or_else(|| "somebody".to_owned(), name),
        is_by_bot_itself: false,
        text: cut(marked.unwrap_or_default(), limits::TELEGRAM_QUOTE_CHARS),
        files: media::files(&reply.media),
        notes: media::notes(&reply.media),
    })
}

/// Who wrote it first.
fn name(origin: &Origin) -> String {
    let chat = origin.sender_chat.as_ref().or(origin.chat.as_ref()).and_then(chat_name);
    let signature = origin.author_signature.as_deref().map(line).filter(|signature| !signature.is_empty());
    let person = origin.sender_user.as_ref().map(|user| Person::new(user).name);
    let hidden = origin.sender_user_name.as_deref().map(line).filter(|name| !name.is_empty());
    let name = person.or(hidden).or(chat).unwrap_or_else(|| "somebody".to_owned());
    match signature {
        Some(signature) => format!("{name} ({signature})"),
        None => name,
    }
}
