//! What is sent: one serialisable struct for each method, borrowed from whoever sends it.
//!
//! Entities are of whatever type renders them. Which topic id goes along is decided by [`Target`] alone.

mod target;

use serde::{Deserialize, Serialize};

pub use target::{GENERAL, ParseTargetError, Place, Target};

/// The updates that are asked for, always: what is left out keeps its last setting.
pub const ALLOWED_UPDATES: &[&str] = &["message", "edited_message", "callback_query", "my_chat_member", "stopped_message_generation"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GetUpdates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    pub limit: u8,
    /// Seconds; Telegram waits 50 at most.
    pub timeout: u64,
    pub allowed_updates: &'static [&'static str],
}

#[derive(Debug, Clone, Serialize)]
pub struct SendMessage<'a, E> {
    #[serde(flatten)]
    pub place: Place,
    pub text: &'a str,
    #[serde(skip_serializing_if = "<[E]>::is_empty")]
    pub entities: &'a [E],
    pub disable_notification: bool,
    pub link_preview_options: LinkPreviewOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_parameters: Option<ReplyParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<&'a InlineKeyboardMarkup>,
}

/// An edit without a keyboard takes away the one that is there.
#[derive(Debug, Clone, Serialize)]
pub struct EditMessageText<'a, E> {
    pub chat_id: i64,
    pub message_id: i64,
    pub text: &'a str,
    #[serde(skip_serializing_if = "<[E]>::is_empty")]
    pub entities: &'a [E],
    pub link_preview_options: LinkPreviewOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<&'a InlineKeyboardMarkup>,
}

/// Another keyboard below a message; none takes it away.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EditMessageReplyMarkup<'a> {
    pub chat_id: i64,
    pub message_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<&'a InlineKeyboardMarkup>,
}

/// A preview in a private chat, for half a minute; without text it says that the bot is thinking.
#[derive(Debug, Clone, Serialize)]
pub struct SendMessageDraft<'a, E> {
    #[serde(flatten)]
    pub place: Place,
    /// Not 0; the same one changes the draft that is there.
    pub draft_id: i64,
    pub text: &'a str,
    #[serde(skip_serializing_if = "<[E]>::is_empty")]
    pub entities: &'a [E],
    pub can_stop: bool,
    pub keep_on_stop: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct SendChatAction {
    #[serde(flatten)]
    pub place: Place,
    pub action: ChatAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatAction {
    Typing,
    UploadPhoto,
    UploadVideo,
    UploadVoice,
    UploadDocument,
}

#[derive(Debug, Clone, Serialize)]
pub struct AnswerCallbackQuery<'a> {
    pub callback_query_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    pub show_alert: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct SetMyCommands<'a> {
    pub commands: &'a [BotCommand<'a>],
    pub scope: CommandScope,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct BotCommand<'a> {
    pub command: &'a str,
    pub description: &'a str,
}

/// To whom commands are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CommandScope {
    Default,
    AllPrivateChats,
    AllGroupChats,
    Chat { chat_id: i64 },
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct DeleteWebhook {
    pub drop_pending_updates: bool,
}

/// For methods that take nothing.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Nothing {}

#[derive(Debug, Clone, Serialize)]
pub struct GetFile<'a> {
    pub file_id: &'a str,
}

/// How a single file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileMethod {
    Photo,
    Document,
    Audio,
    Voice,
    Video,
    Animation,
}

impl FileMethod {
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Photo => "sendPhoto",
            Self::Document => "sendDocument",
            Self::Audio => "sendAudio",
            Self::Voice => "sendVoice",
            Self::Video => "sendVideo",
            Self::Animation => "sendAnimation",
        }
    }

    /// The field that the file goes into, and its kind in an album.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Voice => "voice",
            Self::Video => "video",
            Self::Animation => "animation",
        }
    }
}

/// What goes along with a file.
#[derive(Debug, Clone, Serialize)]
pub struct SendFile<'a, E> {
    #[serde(flatten)]
    pub place: Place,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub caption: &'a str,
    #[serde(skip_serializing_if = "<[E]>::is_empty")]
    pub caption_entities: &'a [E],
    pub disable_notification: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_parameters: Option<ReplyParameters>,
}

/// 2 to 10 files as one album. Photos and videos may be mixed; documents and audio files only stand with their like.
#[derive(Debug, Clone, Serialize)]
pub struct SendMediaGroup<'a, E> {
    #[serde(flatten)]
    pub place: Place,
    pub media: &'a [InputMedia<'a, E>],
    pub disable_notification: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_parameters: Option<ReplyParameters>,
}

#[derive(Debug, Clone, Serialize)]
pub struct InputMedia<'a, E> {
    /// See [`FileMethod::field`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `attach://NAME` with the name of the file's field.
    pub media: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub caption: &'a str,
    #[serde(skip_serializing_if = "<[E]>::is_empty")]
    pub caption_entities: &'a [E],
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InlineKeyboardMarkup {
    pub inline_keyboard: Vec<Vec<InlineKeyboardButton>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InlineKeyboardButton {
    pub text: String,
    /// 1 to 64 bytes.
    pub callback_data: String,
}

/// A reply that is sent even if what it replies to is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReplyParameters {
    message_id: i64,
    allow_sending_without_reply: bool,
}

impl ReplyParameters {
    #[must_use]
    pub fn to(message_id: i64) -> Self {
        Self { message_id, allow_sending_without_reply: true }
    }
}

/// Always off: a preview takes more room than the text, and lets others see which addresses are talked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LinkPreviewOptions {
    is_disabled: bool,
}

impl LinkPreviewOptions {
    pub const OFF: Self = Self { is_disabled: true };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_says_only_what_it_has() {
        let place = Target::new(-100, Some(7)).to_send();
        let message = SendMessage::<()> {
            place,
            text: "hi",
            entities: &[],
            disable_notification: true,
            link_preview_options: LinkPreviewOptions::OFF,
            reply_parameters: Some(ReplyParameters::to(5)),
            reply_markup: None,
        };
        let expected = json!({"chat_id": -100, "message_thread_id": 7, "text": "hi", "disable_notification": true,
            "link_preview_options": {"is_disabled": true}, "reply_parameters": {"message_id": 5, "allow_sending_without_reply": true}});
        assert_eq!(serde_json::to_value(message).unwrap(), expected);
    }

    #[test]
    fn scopes_are_objects_with_a_type() {
        let scopes = [CommandScope::AllPrivateChats, CommandScope::Chat { chat_id: 5 }];
        assert_eq!(serde_json::to_value(scopes).unwrap(), json!([{"type": "all_private_chats"}, {"type": "chat", "chat_id": 5}]));
    }

    #[test]
    fn updates_are_always_asked_for_by_kind() {
        let request = GetUpdates { offset: None, limit: 100, timeout: 50, allowed_updates: ALLOWED_UPDATES };
        let written = serde_json::to_value(request).unwrap();
        assert_eq!(written["allowed_updates"].as_array().unwrap().len(), ALLOWED_UPDATES.len());
        assert!(written.get("offset").is_none());
    }
}
