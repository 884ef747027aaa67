//! Slash commands: one grammar and one set of answers for every channel.
//!
//! Pure. What a command changes is durable and belongs to the transaction that closes its inbox row; who applies it is
//! the session it was sent to.

use serde::{Deserialize, Serialize};

/// What a person can ask of the host, not of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Help,
    /// Close the session and open another one in the same conversation.
    New,
    /// Show the models, or use another one from the next request on.
    Model(Option<String>),
    Status,
    Cancel,
    Continue,
    /// Something with a slash that is none of ours.
    Unknown(String),
}

/// A button below a reply. Pressing it is the same as sending its command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    pub label: String,
    pub command: String,
}

/// The commands with what they do, in the order of `/help`.
pub const COMMANDS: &[(&str, &str)] = &[
    ("help", "what you can type"),
    ("new", "start over: same workspace and model, empty history"),
    ("model", "show the models; /model NAME uses another one"),
    ("status", "model, workspace, state and usage"),
    ("cancel", "stop what is running now"),
    ("continue", "go on with a turn that stopped"),
];

/// The command that `text` is, if it is one. A path such as `/etc/passwd` in a message is not.
#[must_use]
pub fn parse(text: &str) -> Option<Command> {
    let text = text.trim();
    let rest = text.strip_prefix('/')?;
    let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !is_name {
        return None;
    }
    let argument = argument.trim();
    Some(match name.to_ascii_lowercase().as_str() {
        "help" | "start" => Command::Help,
        "new" => Command::New,
        "model" => Command::Model((!argument.is_empty()).then(|| argument.to_owned())),
        "status" => Command::Status,
        "cancel" | "stop" => Command::Cancel,
        "continue" => Command::Continue,
        _ => Command::Unknown(name.to_owned()),
    })
}

/// The answer to `/help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Write a message, or one of these:\n");
    for (name, what) in COMMANDS {
        text.push_str(&format!("\n- `/{name}` — {what}"));
    }
    text
}

/// The answer to something with a slash that is no command.
#[must_use]
pub fn unknown(name: &str) -> String {
    format!("There is no command `/{name}`. `/help` lists them; to send the text itself, begin it with a space and another word.")
}

/// The answer to `/model` and to a name that does not exist.
#[must_use]
pub fn models<'a>(current: &str, aliases: impl Iterator<Item = (&'a str, &'a str)>, wanted: Option<&str>) -> String {
    let mut text = match wanted {
        Some(wanted) => format!("There is no model called `{wanted}`. These are configured:\n"),
        None => String::from("The models that are configured:\n"),
    };
    for (alias, id) in aliases {
        let mark = if alias == current { " (in use)" } else { "" };
        text.push_str(&format!("\n- `{alias}` — {id}{mark}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_whatever_their_case_and_paths_are_not_commands() {
        let check = |text: &str, expected: Option<Command>| assert_eq!(parse(text), expected, "{text:?}");
        check("/help", Some(Command::Help));
        check("  /NEW  ", Some(Command::New));
        check("/model", Some(Command::Model(None)));
        check("/model  main ", Some(Command::Model(Some("main".into()))));
        check("/stop", Some(Command::Cancel));
        check("/frobnicate now", Some(Command::Unknown("frobnicate".into())));
        check("/etc/passwd is a file", None);
        check("/", None);
        check("what does /help do?", None);
        check("// a comment", None);
    }

    #[test]
    fn every_listed_command_parses() {
        for (name, _) in COMMANDS {
            assert!(!matches!(parse(&format!("/{name}")), None | Some(Command::Unknown(_))), "{name}");
        }
    }
}
