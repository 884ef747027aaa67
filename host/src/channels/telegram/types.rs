//! What Telegram sends, as far as it is used: tolerant of what is new, missing or wrong beside it.
//!
//! An entity, a kind of chat or a status that is not known stays text. What a message *means* is `update`'s business.

pub mod tolerant;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use tolerant::{List, Maybe, Present};

#[derive(Debug, Clone, Deserialize)]
pub struct User {
    pub id: i64,
    #[serde(default)]
    pub is_bot: Maybe<bool>,
    #[serde(default)]
    pub first_name: Maybe<String>,
    #[serde(default)]
    pub last_name: Maybe<String>,
    #[serde(default)]
    pub username: Maybe<String>,
}

/// The bot itself.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Me {
    pub id: i64,
    #[serde(default)]
    pub first_name: Maybe<String>,
    #[serde(default)]
    pub username: Maybe<String>,
    /// Its private chats have topics.
    #[serde(default)]
    pub has_topics_enabled: Maybe<bool>,
    /// Privacy mode is off.
    #[serde(default)]
    pub can_read_all_group_messages: Maybe<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Chat {
    pub id: i64,
    #[serde(default, rename = "type")]
    pub kind: Maybe<String>,
    #[serde(default)]
    pub title: Maybe<String>,
    #[serde(default)]
    pub first_name: Maybe<String>,
    #[serde(default)]
    pub last_name: Maybe<String>,
    #[serde(default)]
    pub username: Maybe<String>,
    #[serde(default)]
    pub is_forum: Maybe<bool>,
}

/// Offsets and lengths in UTF-16 units.
#[derive(Debug, Clone, Deserialize)]
pub struct MessageEntity {
    #[serde(rename = "type")]
    pub kind: String,
    pub offset: usize,
    pub length: usize,
    #[serde(default)]
    pub user: Maybe<User>,
}

/// Content and circumstances of a message. What it replies to is left as it came, because it looks the same again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Message {
    pub message_id: Maybe<i64>,
    pub message_thread_id: Maybe<i64>,
    pub is_topic_message: Maybe<bool>,
    pub from: Maybe<User>,
    pub sender_chat: Maybe<Chat>,
    pub chat: Maybe<Chat>,
    pub date: Maybe<i64>,
    pub edit_date: Maybe<i64>,
    pub media_group_id: Maybe<String>,
    pub via_bot: Maybe<User>,
    pub forward_origin: Maybe<Origin>,
    pub reply_to_message: Maybe<Value>,
    pub external_reply: Maybe<ExternalReply>,
    pub quote: Maybe<Quote>,
    pub text: Maybe<String>,
    pub entities: List<MessageEntity>,
    pub caption: Maybe<String>,
    pub caption_entities: List<MessageEntity>,
    pub rich_message: Maybe<Value>,
    #[serde(flatten)]
    pub media: Media,
    pub forum_topic_created: Present,
    pub migrate_to_chat_id: Maybe<i64>,
    pub migrate_from_chat_id: Maybe<i64>,
}

/// What a message holds beside text; a reply from elsewhere says it the same way.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Media {
    pub photo: List<Attachment>,
    pub document: Maybe<Attachment>,
    pub audio: Maybe<Attachment>,
    pub voice: Maybe<Attachment>,
    pub video: Maybe<Attachment>,
    pub video_note: Maybe<Attachment>,
    pub animation: Maybe<Attachment>,
    pub sticker: Maybe<Sticker>,
    pub location: Maybe<Location>,
    pub venue: Maybe<Venue>,
    pub contact: Maybe<Contact>,
    pub poll: Maybe<Poll>,
    pub dice: Maybe<Dice>,
    pub checklist: Maybe<Checklist>,
    pub story: Present,
    pub game: Present,
    pub paid_media: Present,
    pub invoice: Present,
    pub giveaway: Present,
    pub giveaway_winners: Present,
}

/// Any kind of file.
#[derive(Debug, Clone, Deserialize)]
pub struct Attachment {
    pub file_id: String,
    #[serde(default)]
    pub file_unique_id: Maybe<String>,
    #[serde(default)]
    pub file_name: Maybe<String>,
    #[serde(default)]
    pub mime_type: Maybe<String>,
    #[serde(default)]
    pub file_size: Maybe<u64>,
    #[serde(default)]
    pub duration: Maybe<u64>,
    #[serde(default)]
    pub width: Maybe<u64>,
    #[serde(default)]
    pub height: Maybe<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Sticker {
    pub emoji: Maybe<String>,
    pub set_name: Maybe<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Location {
    pub latitude: f64,
    pub longitude: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Venue {
    pub location: Maybe<Location>,
    pub title: Maybe<String>,
    pub address: Maybe<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Contact {
    pub phone_number: Maybe<String>,
    pub first_name: Maybe<String>,
    pub last_name: Maybe<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Poll {
    pub question: Maybe<String>,
    pub options: List<Line>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Dice {
    pub emoji: Maybe<String>,
    pub value: Maybe<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Checklist {
    pub title: Maybe<String>,
    pub tasks: List<Line>,
}

/// An option of a poll, a task of a checklist.
#[derive(Debug, Clone, Deserialize)]
pub struct Line {
    pub text: String,
}

/// Where a forwarded message comes from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Origin {
    pub sender_user: Maybe<User>,
    pub sender_user_name: Maybe<String>,
    pub sender_chat: Maybe<Chat>,
    pub chat: Maybe<Chat>,
    pub author_signature: Maybe<String>,
}

/// A reply to a message of another chat or topic.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ExternalReply {
    pub origin: Maybe<Origin>,
    #[serde(flatten)]
    pub media: Media,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Quote {
    pub text: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct CallbackQuery {
    pub id: String,
    #[serde(deserialize_with = "tolerant::object")]
    pub from: User,
    #[serde(default)]
    pub message: Maybe<Message>,
    #[serde(default)]
    pub data: Maybe<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ChatMemberUpdated {
    #[serde(deserialize_with = "tolerant::object")]
    pub chat: Chat,
    #[serde(deserialize_with = "tolerant::object")]
    pub from: User,
    #[serde(deserialize_with = "tolerant::object")]
    pub new_chat_member: ChatMember,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ChatMember {
    pub status: String,
    #[serde(default)]
    pub is_member: Maybe<bool>,
    #[serde(default)]
    pub can_send_messages: Maybe<bool>,
}

/// The stop button of a draft.
#[derive(Debug, Clone, Deserialize)]
pub struct MessageGenerationStopped {
    #[serde(deserialize_with = "tolerant::object")]
    pub chat: Chat,
    #[serde(default)]
    pub message_thread_id: Maybe<i64>,
    pub draft_id: i64,
}

/// A message of ours that was sent.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct SentMessage {
    pub message_id: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct WebhookInfo {
    #[serde(default)]
    pub url: Maybe<String>,
}

/// Where to fetch a file.
#[derive(Clone, Deserialize)]
pub struct File {
    #[serde(default)]
    pub file_size: Maybe<u64>,
    /// A local server puts the token into it.
    #[serde(default)]
    file_path: Maybe<String>,
}

/// Where a file is.
#[derive(Clone, PartialEq, Eq)]
pub enum FilePlace {
    /// On the server, under this path.
    Server(String),
    /// On this machine's disk: a local server that was started with `--local`.
    Disk(PathBuf),
}

impl File {
    /// None when the server cannot give it out, for it is too large.
    #[must_use]
    pub fn place(&self) -> Option<FilePlace> {
        let path = self.file_path.as_deref()?;
        Some(if path.starts_with('/') { FilePlace::Disk(Path::new(path).to_owned()) } else { FilePlace::Server(path.to_owned()) })
    }
}

impl fmt::Debug for File {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("File").field("file_size", &self.file_size.0).finish_non_exhaustive()
    }
}

impl fmt::Debug for FilePlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(_) => out.write_str("Server(…)"),
            Self::Disk(_) => out.write_str("Disk(…)"),
        }
    }
}
