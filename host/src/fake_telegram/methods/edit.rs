//! What happens to messages that there are: edits, reactions, answers to their buttons.

use serde::Deserialize;
use serde_json::json;

use super::send::{self, ms};
use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::check::keyboard::Keyboard;
use crate::fake_telegram::limits;
use crate::fake_telegram::state::messages::{Author, Content};

const NOT_MODIFIED: &str = "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message";

/// A message of the bot that can be edited.
fn own(state: &State, chat: i64, id: i64) -> Result<(), Refusal> {
    state.open_chat(chat)?;
    match state.message(chat, id) {
        None => Err(Refusal::bad("message to edit not found")),
        Some(message) if message.by != Author::Bot => Err(Refusal::bad("message can't be edited")),
        Some(_) => Ok(()),
    }
}

fn take_keyboard(params: &mut Params) -> Result<Option<Keyboard>, Refusal> {
    Ok(params.object::<Keyboard>("reply_markup")?.map(Keyboard::checked).transpose()?.flatten())
}

/// A keyboard that is not sent again is gone.
pub(super) fn edit_message_text(state: &mut State, mut params: Params) -> Answer {
    let (chat, id) = (params.chat()?, params.needed("message_id")?);
    let (text, entities) = send::take_text(&mut params)?;
    let previews_off = send::take_preview(&mut params)?;
    let keyboard = take_keyboard(&mut params)?;
    params.done()?;
    own(state, chat, id)?;
    let now = state.now;
    let Some(message) = state.message_mut(chat, id) else { return Err(Refusal::bad("message to edit not found")) };
    if message.content != Content::Text {
        return Err(Refusal::bad("there is no text in the message to edit"));
    }
    if (&message.text, &message.entities, &message.keyboard) == (&text, &entities, &keyboard) {
        return Err(Refusal::bad(NOT_MODIFIED));
    }
    message.reword(now, text, entities);
    message.keyboard = keyboard;
    message.previews_off = previews_off;
    Ok(edited(state, chat, id))
}

pub(super) fn edit_message_reply_markup(state: &mut State, mut params: Params) -> Answer {
    let (chat, id) = (params.chat()?, params.needed("message_id")?);
    let keyboard = take_keyboard(&mut params)?;
    params.done()?;
    own(state, chat, id)?;
    let Some(message) = state.message_mut(chat, id) else { return Err(Refusal::bad("message to edit not found")) };
    if message.keyboard == keyboard {
        return Err(Refusal::bad(NOT_MODIFIED));
    }
    message.keyboard = keyboard;
    Ok(edited(state, chat, id))
}

fn edited(state: &mut State, chat: i64, id: i64) -> serde_json::Value {
    let message = state.message_json(chat, id);
    state.tell("edited", message.clone());
    message
}

pub(super) fn delete_message(state: &mut State, mut params: Params) -> Answer {
    let (chat, id) = (params.chat()?, params.needed("message_id")?);
    params.done()?;
    let private = state.open_chat(chat)?.is_private();
    let now = state.now;
    let Some(message) = state.message_mut(chat, id) else { return Err(Refusal::bad("message to delete not found")) };
    if message.by != Author::Bot && !private {
        return Err(Refusal::bad("message can't be deleted"));
    }
    message.deleted = Some(now);
    state.tell("deleted", json!({"chat": chat, "message_id": id}));
    Ok(json!(true))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reaction {
    #[serde(rename = "type")]
    kind: String,
    emoji: Option<String>,
}

/// The emoji that bots may react with.
const REACTIONS: &str = "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷‍♂ 🤷 🤷‍♀ 😡";

/// All of the bot's reactions to a message, which is one or none.
pub(super) fn set_message_reaction(state: &mut State, mut params: Params) -> Answer {
    let (chat, id) = (params.chat()?, params.needed("message_id")?);
    let reactions = params.object::<Vec<Reaction>>("reaction")?.unwrap_or_default();
    params.flag("is_big")?;
    params.done()?;
    state.open_chat(chat)?;
    let mut emoji = Vec::new();
    for reaction in reactions {
        let known = reaction.emoji.filter(|emoji| reaction.kind == "emoji" && REACTIONS.split(' ').any(|known| known == emoji));
        emoji.push(known.ok_or_else(|| Refusal::bad("REACTION_INVALID"))?);
    }
    if emoji.len() > 1 {
        return Err(Refusal::bad("REACTIONS_TOO_MANY"));
    }
    let bot = state.bot.id;
    let Some(message) = state.message_mut(chat, id) else { return Err(Refusal::bad("message to react not found")) };
    message.reactions.insert(bot, emoji);
    Ok(json!(true))
}

pub(super) fn answer_callback_query(state: &mut State, mut params: Params) -> Answer {
    let id = params.text("callback_query_id")?.unwrap_or_default();
    let text = params.text("text")?.unwrap_or_default();
    params.flag("show_alert")?;
    params.int("cache_time")?;
    params.done()?;
    if text.chars().count() > limits::NOTICE_CHARS {
        return Err(Refusal::bad("MESSAGE_TOO_LONG"));
    }
    let oldest = state.now - ms(limits::QUERY_TIME);
    match state.queries.get_mut(&id).filter(|query| query.pressed >= oldest) {
        None => Err(Refusal::bad("query is too old and response timeout expired or query ID is invalid")),
        Some(query) => {
            query.answer = Some(text);
            Ok(json!(true))
        }
    }
}
