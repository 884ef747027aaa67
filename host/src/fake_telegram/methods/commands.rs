//! Menus of commands.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::limits;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Command {
    command: String,
    description: String,
}

impl Command {
    fn check(&self) -> Result<(), Refusal> {
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let named = (1..=limits::COMMAND_CHARS).contains(&self.command.len()) && self.command.chars().all(name);
        if !named {
            return Err(Refusal::bad("BOT_COMMAND_INVALID"));
        }
        let described = (1..=limits::COMMAND_TEXT_CHARS).contains(&self.description.chars().count());
        if described { Ok(()) } else { Err(Refusal::bad("BOT_COMMAND_DESCRIPTION_INVALID")) }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Scope {
    Default,
    AllPrivateChats,
    AllGroupChats,
    AllChatAdministrators,
    Chat { chat_id: i64 },
    ChatAdministrators { chat_id: i64 },
    ChatMember { chat_id: i64, user_id: i64 },
}

/// The menu that is meant: `SCOPE/LANGUAGE`.
fn menu(state: &State, params: &mut Params) -> Result<String, Refusal> {
    let scope = params.object::<Scope>("scope")?.unwrap_or(Scope::Default);
    let language = params.text("language_code")?.unwrap_or_default();
    let known = language.is_empty() || (language.len() == 2 && language.chars().all(|c| c.is_ascii_lowercase()));
    if !known {
        return Err(Refusal::bad("invalid language code specified"));
    }
    let scope = match scope {
        Scope::Default => "default".to_owned(),
        Scope::AllPrivateChats => "all_private_chats".to_owned(),
        Scope::AllGroupChats => "all_group_chats".to_owned(),
        Scope::AllChatAdministrators => "all_chat_administrators".to_owned(),
        Scope::Chat { chat_id } => format!("chat {}", state.known_chat(chat_id)?.id),
        Scope::ChatAdministrators { chat_id } => format!("chat_administrators {}", state.known_chat(chat_id)?.id),
        Scope::ChatMember { chat_id, user_id } => format!("chat_member {} {user_id}", state.known_chat(chat_id)?.id),
    };
    Ok(format!("{scope}/{language}"))
}

pub(super) fn set_my_commands(state: &mut State, mut params: Params) -> Answer {
    let commands = params.object::<Vec<Command>>("commands")?.unwrap_or_default();
    let menu = menu(state, &mut params)?;
    params.done()?;
    if commands.len() > limits::COMMANDS {
        return Err(Refusal::bad("BOT_COMMANDS_TOO_MUCH"));
    }
    commands.iter().try_for_each(Command::check)?;
    if commands.is_empty() {
        state.menus.remove(&menu);
    } else {
        state.menus.insert(menu, json!(commands));
    }
    Ok(json!(true))
}

pub(super) fn get_my_commands(state: &mut State, mut params: Params) -> Answer {
    let menu = menu(state, &mut params)?;
    params.done()?;
    Ok(state.menus.get(&menu).cloned().unwrap_or_else(|| json!([])))
}

pub(super) fn delete_my_commands(state: &mut State, mut params: Params) -> Answer {
    let menu = menu(state, &mut params)?;
    params.done()?;
    state.menus.remove(&menu);
    Ok(json!(true))
}
