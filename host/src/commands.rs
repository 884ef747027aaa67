//! Slash commands: one grammar and one set of answers for every channel.
//!
//! Pure. What a command changes is durable and belongs to the transaction that closes its inbox row; who applies it is
//! the session it was sent to.

use serde::{Deserialize, Serialize};

/// What a person can ask of the host, not of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The first thing that a channel may send for a person.
    Start,
    Help,
    /// Close the session and open another one in the same conversation.
    New,
    /// Show the models, or use another one from the next request on.
    Model(Option<String>),
    /// Show how much the model reasons, or change it from the next request on.
    Reasoning(Option<String>),
    Status,
    Cancel,
    Continue,
    /// Summarise the older part of the history now.
    Compact,
    /// Something with a slash that is none of ours.
    Unknown(String),
}

impl Command {
    /// Is what runs over with it?
    #[must_use]
    pub fn ends_the_turn(&self) -> bool {
        matches!(self, Self::Cancel | Self::New)
    }
}

/// A button below a reply. Pressing it is the same as sending its command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    pub label: String,
    pub command: String,
}

impl Button {
    #[must_use]
    pub fn new(label: impl Into<String>, command: impl Into<String>) -> Self {
        Self { label: label.into(), command: command.into() }
    }
}

/// Commands that belong together: what they are about, and each with what it does.
pub type Group = (&'static str, &'static [(&'static str, &'static str)]);

/// The commands in the order of `/help`.
pub const GROUPS: &[Group] = &[
    ("While I work", &[("cancel", "stop what is running now"), ("continue", "go on with a turn that stopped")]),
    (
        "This conversation",
        &[
            ("status", "model, workspace, state and usage"),
            ("model", "show the models; /model NAME uses another one"),
            ("reasoning", "how much the model thinks; /reasoning high, /reasoning default"),
            ("compact", "summarise the older part of the conversation now"),
            ("new", "start over: same workspace and model, empty history"),
        ],
    ),
    ("Help", &[("help", "what you can type")]),
];

/// Every command with what it does.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(|(_, commands)| commands.iter().copied())
}

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
        "start" => Command::Start,
        "help" => Command::Help,
        "new" => Command::New,
        "model" => Command::Model((!argument.is_empty()).then(|| argument.to_owned())),
        "reasoning" => Command::Reasoning((!argument.is_empty()).then(|| argument.to_ascii_lowercase())),
        "status" => Command::Status,
        "cancel" | "stop" => Command::Cancel,
        "continue" => Command::Continue,
        "compact" => Command::Compact,
        _ => Command::Unknown(name.to_owned()),
    })
}

/// The answer to `/start`.
#[must_use]
pub fn greeting() -> String {
    format!("Hello. I am an agent with a workspace of my own: ask me something, or have me do something with files.\n\n{}", help())
}

/// The answer to `/help`. Its commands are no code: in Telegram that could not be tapped.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Write a message, also while I work, or one of these.");
    for (about, commands) in GROUPS {
        text.push_str(&format!("\n\n**{about}**\n"));
        for (name, what) in *commands {
            text.push_str(&format!("\n- /{name} — {what}"));
        }
    }
    text
}

/// The answer to something with a slash that is no command.
#[must_use]
pub fn unknown(name: &str) -> String {
    format!("There is no command `/{name}`. /help lists them; to send the text itself, begin it with a space and another word.")
}

/// The buttons below it: each model, the one in use marked.
#[must_use]
pub fn model_buttons<'a>(current: &str, aliases: impl Iterator<Item = &'a str>) -> Vec<Button> {
    let mark = |alias| if alias == current { "✓ " } else { "" };
    aliases.map(|alias| Button::new(format!("{}{alias}", mark(alias)), format!("/model {alias}"))).collect()
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

/// What a person can say about reasoning, least first. Not every model knows each of them.
pub const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// As the configuration says.
pub const DEFAULT_EFFORT: &str = "default";

/// The buttons below the answer to `/reasoning`: what most models know, the one in use marked.
#[must_use]
pub fn effort_buttons(current: Option<&str>) -> Vec<Button> {
    let current = current.unwrap_or(DEFAULT_EFFORT);
    let mark = |level| if level == current { "✓ " } else { "" };
    let offered = ["low", "medium", "high", "xhigh", DEFAULT_EFFORT];
    offered.into_iter().map(|level| Button::new(format!("{}{level}", mark(level)), format!("/reasoning {level}"))).collect()
}

/// The answer to `/reasoning` and to a level that does not exist. `configured`: what the model's own is.
#[must_use]
pub fn efforts(current: Option<&str>, configured: Option<&str>, wanted: Option<&str>) -> String {
    let unknown = wanted.map_or_else(String::new, |wanted| format!("There is no level called `{wanted}`. "));
    let own = configured.map_or_else(|| "what its vendor does by itself".to_owned(), |effort| format!("`{effort}`"));
    let now = match current {
        Some(effort) => format!("The model reasons with effort `{effort}` in this conversation; its default is {own}."),
        None => format!("The model reasons with its default effort: {own}."),
    };
    let levels = EFFORTS.iter().map(|level| format!("`{level}`")).collect::<Vec<_>>().join(", ");
    format!("{unknown}{now}\n\n`/reasoning LEVEL` takes {levels} or `{DEFAULT_EFFORT}`; not every model knows each of them.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_whatever_their_case_and_paths_are_not_commands() {
        let check = |text: &str, expected: Option<Command>| assert_eq!(parse(text), expected, "{text:?}");
        check("/help", Some(Command::Help));
        check("/start", Some(Command::Start));
        check("/start from-a-link", Some(Command::Start));
        check("  /NEW  ", Some(Command::New));
        check("/model", Some(Command::Model(None)));
        check("/model  main ", Some(Command::Model(Some("main".into()))));
        check("/reasoning", Some(Command::Reasoning(None)));
        check("/reasoning High", Some(Command::Reasoning(Some("high".into()))));
        check("/stop", Some(Command::Cancel));
        check("/frobnicate now", Some(Command::Unknown("frobnicate".into())));
        check("/etc/passwd is a file", None);
        check("/", None);
        check("what does /help do?", None);
        check("// a comment", None);
    }

    #[test]
    fn every_listed_command_parses() {
        for (name, _) in all() {
            assert!(!matches!(parse(&format!("/{name}")), None | Some(Command::Unknown(_))), "{name}");
        }
    }

    #[test]
    fn help_is_grouped_and_greets_whoever_starts() {
        insta::assert_snapshot!(greeting());
    }

    #[test]
    fn models_can_be_chosen_by_typing_and_by_pressing() {
        let aliases = [("main", "vendor/large"), ("quick", "vendor/small")];
        assert_eq!(
            models("quick", aliases.into_iter(), None),
            "The models that are configured:\n\n- `main` — vendor/large\n- `quick` — vendor/small (in use)"
        );
        let buttons = model_buttons("quick", aliases.into_iter().map(|(alias, _)| alias));
        assert_eq!(buttons, [Button::new("main", "/model main"), Button::new("✓ quick", "/model quick")]);
        let pressed = parse(&buttons[0].command);
        assert_eq!(pressed, Some(Command::Model(Some("main".into()))));
    }

    #[test]
    fn reasoning_can_be_chosen_by_typing_and_by_pressing() {
        let answers = [efforts(None, None, None), efforts(Some("high"), Some("low"), None), efforts(None, Some("low"), Some("much"))];
        insta::assert_snapshot!(answers.join("\n\n"));
        let labels = |current| effort_buttons(current).into_iter().map(|button| button.label).collect::<Vec<_>>();
        assert_eq!(labels(Some("high")), ["low", "medium", "✓ high", "xhigh", "default"]);
        assert_eq!(labels(None), ["low", "medium", "high", "xhigh", "✓ default"]);
        for button in effort_buttons(None) {
            let Some(Command::Reasoning(Some(level))) = parse(&button.command) else { panic!("{button:?}") };
            assert!(EFFORTS.contains(&level.as_str()) || level == DEFAULT_EFFORT, "{level}");
        }
    }
}
