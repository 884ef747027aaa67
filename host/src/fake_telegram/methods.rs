//! The methods of the Bot API, one function each: what is taken, what is refused, what changes, what is answered. Pure,
//! but for the time that the state was told.
//!
//! `getUpdates` waits, which is the server's part: [`updates::begin_poll`] and [`updates::poll`] are what it asks.

mod chats;
mod commands;
mod edit;
mod files;
mod media;
mod send;
pub(super) mod updates;

use serde_json::Value;

use super::check::Refusal;
use super::params::Params;
use super::state::State;

type Answer = Result<Value, Refusal>;
type Method = fn(&mut State, Params) -> Answer;

/// The method that waits.
pub(super) const GET_UPDATES: &str = "getUpdates";

/// Every other method.
const METHODS: [(&str, Method); 26] = [
    ("getMe", chats::get_me),
    ("getWebhookInfo", updates::get_webhook_info),
    ("setWebhook", updates::set_webhook),
    ("deleteWebhook", updates::delete_webhook),
    ("sendMessage", send::send_message),
    ("sendMessageDraft", send::send_message_draft),
    ("sendChatAction", send::send_chat_action),
    ("editMessageText", edit::edit_message_text),
    ("editMessageReplyMarkup", edit::edit_message_reply_markup),
    ("deleteMessage", edit::delete_message),
    ("setMessageReaction", edit::set_message_reaction),
    ("answerCallbackQuery", edit::answer_callback_query),
    ("setMyCommands", commands::set_my_commands),
    ("getMyCommands", commands::get_my_commands),
    ("deleteMyCommands", commands::delete_my_commands),
    ("getFile", files::get_file),
    ("sendPhoto", media::send_photo),
    ("sendDocument", media::send_document),
    ("sendAudio", media::send_audio),
    ("sendVoice", media::send_voice),
    ("sendVideo", media::send_video),
    ("sendAnimation", media::send_animation),
    ("sendMediaGroup", media::send_media_group),
    ("getChat", chats::get_chat),
    ("getChatMember", chats::get_chat_member),
    ("leaveChat", chats::leave_chat),
];

/// Calls a method.
pub(super) fn call(state: &mut State, name: &str, params: Params) -> Answer {
    match METHODS.iter().find(|(known, _)| *known == name) {
        Some((_, method)) => method(state, params),
        None => Err(Refusal::new(404, "Not Found")),
    }
}
