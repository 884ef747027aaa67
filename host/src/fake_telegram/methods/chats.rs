//! The bot itself, chats and their members.

use serde_json::json;

use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::state::chats::Standing;

pub(super) fn get_me(state: &mut State, params: Params) -> Answer {
    params.done()?;
    let mut me = json!(state.bot);
    let more = [
        ("can_join_groups", true),
        ("can_read_all_group_messages", true),
        ("supports_inline_queries", false),
        ("has_topics_enabled", true),
    ];
    for (name, value) in more {
        me[name] = json!(value);
    }
    Ok(me)
}

pub(super) fn get_chat(state: &mut State, mut params: Params) -> Answer {
    let chat = params.chat()?;
    params.done()?;
    let mut chat = state.known_chat(chat)?.json();
    chat["accent_color_id"] = json!(0);
    chat["max_reaction_count"] = json!(11);
    Ok(chat)
}

pub(super) fn get_chat_member(state: &mut State, mut params: Params) -> Answer {
    let (chat, user) = (params.chat()?, params.needed("user_id")?);
    params.done()?;
    let chat = state.known_chat(chat)?;
    let known = state.users.get(&user).ok_or_else(|| Refusal::bad("invalid user_id specified"))?;
    let status = match user {
        user if user == state.bot.id => chat.bot.name(),
        user if chat.members.first() == Some(&user) => "creator",
        user if chat.members.contains(&user) => "member",
        _ => "left",
    };
    Ok(json!({"status": status, "user": known}))
}

pub(super) fn leave_chat(state: &mut State, mut params: Params) -> Answer {
    let chat = params.chat()?;
    params.done()?;
    if state.open_chat(chat)?.is_private() {
        return Err(Refusal::bad("chat not found"));
    }
    let bot = state.bot.id;
    state.set_standing(chat, bot, Standing::Left).map_err(|_| Refusal::bad("chat not found"))?;
    Ok(json!(true))
}
