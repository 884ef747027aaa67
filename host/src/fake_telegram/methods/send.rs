//! Sending text, drafts and signs of life.

use serde::Deserialize;
use serde_json::json;

use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::check::keyboard::Keyboard;
use crate::fake_telegram::check::text::{self, Entity};
use crate::fake_telegram::limits;
use crate::fake_telegram::state::chats::Draft;
use crate::fake_telegram::state::messages::{Author, Content, Message, Quote};

/// What every message that is sent says about where it goes and how.
pub(super) struct Place {
    pub chat: i64,
    thread: Option<i64>,
    silent: bool,
    reply_to: Option<i64>,
    quote: Option<Quote>,
    keyboard: Option<Keyboard>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyParameters {
    message_id: i64,
    chat_id: Option<i64>,
    #[serde(default)]
    allow_sending_without_reply: bool,
    quote: Option<String>,
    #[serde(default)]
    quote_entities: Vec<Entity>,
    quote_position: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkPreview {
    #[serde(default)]
    pub is_disabled: bool,
    url: Option<String>,
    #[serde(default)]
    prefer_small_media: bool,
    #[serde(default)]
    prefer_large_media: bool,
    #[serde(default, rename = "show_above_text")]
    _show_above_text: bool,
}

impl LinkPreview {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let contradicts = (self.prefer_small_media && self.prefer_large_media) || (self.is_disabled && self.url.is_some());
        if contradicts { Err(Refusal::bad("link_preview_options contradict each other")) } else { Ok(()) }
    }
}

impl Place {
    /// Takes the parameters that say it. With a keyboard, unless it is an album.
    pub(super) fn take(state: &State, params: &mut Params) -> Result<Self, Refusal> {
        let chat = params.chat()?;
        let thread = params.int("message_thread_id")?;
        let silent = params.flag("disable_notification")?;
        let reply = params.object::<ReplyParameters>("reply_parameters")?;
        let keyboard = params.object::<Keyboard>("reply_markup")?.map(Keyboard::checked).transpose()?.flatten();
        state.open_chat(chat)?;
        let thread = state.thread(chat, thread)?;
        let mut place = Self { chat, thread, silent, reply_to: None, quote: None, keyboard };
        if let Some(reply) = reply {
            place.reply(state, reply)?;
        }
        place.thread = place.thread.or_else(|| state.reply_thread(chat, place.reply_to));
        Ok(place)
    }

    fn reply(&mut self, state: &State, reply: ReplyParameters) -> Result<(), Refusal> {
        if reply.chat_id.is_some_and(|chat| chat != self.chat) {
            return Err(Refusal::bad("this server knows no replies to other chats"));
        }
        match state.message(self.chat, reply.message_id) {
            None if reply.allow_sending_without_reply => Ok(()),
            None => Err(Refusal::bad("message to be replied not found")),
            Some(message) => {
                self.reply_to = Some(message.id);
                if let Some(quoted) = reply.quote {
                    let (text, entities) = text::checked(&quoted, reply.quote_entities)?;
                    let found = message.text.find(&text).filter(|_| !text.is_empty() && text::units(&text) <= limits::QUOTE_UNITS);
                    let at = found.ok_or_else(|| Refusal::bad("QUOTE_TEXT_INVALID"))?;
                    let position = reply.quote_position.unwrap_or_else(|| text::units(&message.text[..at]));
                    self.quote = Some(Quote { text, entities, position });
                }
                Ok(())
            }
        }
    }

    /// A message for it.
    pub(super) fn message(&self, content: Content) -> Message {
        let message = Message::new(self.chat, Author::Bot, content);
        let (quote, keyboard) = (self.quote.clone(), self.keyboard.clone());
        Message { thread: self.thread, silent: self.silent, reply_to: self.reply_to, quote, keyboard, ..message }
    }
}

/// A text with its entities that fits a message.
pub(super) fn take_text(params: &mut Params) -> Result<(String, Vec<Entity>), Refusal> {
    let text = params.text("text")?.unwrap_or_default();
    let entities = params.object("entities")?.unwrap_or_default();
    let (text, entities) = text::checked(&text, entities)?;
    if text.is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    if text::units(&text) > limits::TEXT_UNITS {
        return Err(Refusal::bad("message is too long"));
    }
    Ok((text, entities))
}

/// Are link previews turned off?
pub(super) fn take_preview(params: &mut Params) -> Result<bool, Refusal> {
    let preview = params.object::<LinkPreview>("link_preview_options")?;
    preview.as_ref().map_or(Ok(()), LinkPreview::check)?;
    Ok(preview.is_some_and(|preview| preview.is_disabled))
}

pub(super) fn send_message(state: &mut State, mut params: Params) -> Answer {
    let place = Place::take(state, &mut params)?;
    let (text, entities) = take_text(&mut params)?;
    let previews_off = take_preview(&mut params)?;
    params.done()?;
    let id = state.add(Message { text, entities, previews_off, ..place.message(Content::Text) });
    Ok(state.message_json(place.chat, id))
}

/// Only in private chats; an empty text shows that the bot thinks.
pub(super) fn send_message_draft(state: &mut State, mut params: Params) -> Answer {
    let chat = params.chat()?;
    let thread = params.int("message_thread_id")?;
    let id = params.needed("draft_id")?;
    let text = params.text("text")?.unwrap_or_default();
    let entities = params.object("entities")?.unwrap_or_default();
    let (can_stop, keep_on_stop) = (params.flag("can_stop")?, params.flag("keep_on_stop")?);
    params.done()?;
    if !state.open_chat(chat)?.is_private() {
        return Err(Refusal::bad("drafts can be sent to private chats only"));
    }
    let thread = state.thread(chat, thread)?;
    let (text, entities) = text::checked(&text, entities)?;
    if id == 0 {
        return Err(Refusal::bad("draft_id must be non-zero"));
    }
    if text::units(&text) > limits::TEXT_UNITS {
        return Err(Refusal::bad("message is too long"));
    }
    let until = state.now + ms(limits::DRAFT);
    if let Some(drafts) = state.chats.get_mut(&chat).map(|chat| &mut chat.drafts) {
        let stopped = drafts.get(&thread).is_some_and(|draft| draft.id == id && draft.stopped);
        if !stopped {
            drafts.insert(thread, Draft { id, text, entities, can_stop, keep_on_stop, stopped, until });
        }
    }
    Ok(json!(true))
}

/// What a bot can be shown to do.
const ACTIONS: [&str; 11] = [
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
];

/// The only method that takes the number of the topic General.
pub(super) fn send_chat_action(state: &mut State, mut params: Params) -> Answer {
    let chat = params.chat()?;
    let thread = params.int("message_thread_id")?;
    let action = params.text("action")?.unwrap_or_default();
    params.done()?;
    let general = state.open_chat(chat)?.is_forum() && thread == Some(1);
    let thread = if general { None } else { state.thread(chat, thread)? };
    if !ACTIONS.contains(&action.as_str()) {
        return Err(Refusal::bad("wrong parameter action in request"));
    }
    let until = state.now + ms(limits::ACTION);
    if let Some(chat) = state.chats.get_mut(&chat) {
        chat.actions.insert(thread, (action, until));
    }
    Ok(json!(true))
}

pub(super) fn ms(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
