//! Where the conversation stands, and what is said next.
//!
//! What follows the last assistant message is to be answered: tool answers are put into words, what the user wrote (perhaps
//! while the tools ran) is read as commands. Nothing before that message counts, so the same conversation always gives the
//! same answer.

use stellaclaw_sdk::chat::{Piece, Request, Role, ToolAnswer, ToolChoice, ToolUse};

use crate::answers;
use crate::grammar::{COMMANDS, Command, parse};
use crate::options::Event;

/// The events of the answer.
#[must_use]
pub fn events(request: &Request) -> Vec<Event> {
    let last = request.messages.iter().rposition(|message| message.role == Role::Assistant);
    let (before, new) = request.messages.split_at(last.map_or(0, |at| at + 1));
    let calls: Vec<&ToolUse> = before.last().into_iter().flat_map(|message| &message.pieces).filter_map(tool_use).collect();
    let results: Vec<(Option<&ToolUse>, &ToolAnswer)> = new
        .iter()
        .flat_map(|message| &message.pieces)
        .filter_map(|piece| if let Piece::ToolAnswer(answer) = piece { Some(answer) } else { None })
        .map(|answer| (calls.iter().copied().find(|call| call.call_id == answer.call_id), answer))
        .collect();
    // Piece by piece: what the host adds to a message is a piece of its own and continues nobody's text.
    let commands: Vec<Command> = new
        .iter()
        .filter(|message| message.role == Role::User)
        .flat_map(|message| &message.pieces)
        .filter_map(|piece| if let Piece::Text(text) = piece { Some(parse(&text.text)) } else { None })
        .flatten()
        .collect();

    let mut said = Vec::new();
    if !results.is_empty() {
        said.push(answers::told(&results));
    }
    let due = due(&commands, request, &mut said);
    if said.is_empty() && due.is_empty() {
        said.push(help());
    }
    let text = (!said.is_empty()).then(|| Event::Text(said.join("\n\n")));
    text.into_iter().chain(due).collect()
}

fn tool_use(piece: &Piece) -> Option<&ToolUse> {
    if let Piece::ToolUse(call) = piece { Some(call) } else { None }
}

/// The calls to make; what stands in their way goes to `said`.
fn due(commands: &[Command], request: &Request, said: &mut Vec<String>) -> Vec<Event> {
    let mut calls = Vec::new();
    for command in commands {
        match command {
            Command::Call { tool, arguments } if offered(request, tool) => {
                calls.push(Event::Tool { name: tool.clone(), arguments: arguments.to_string(), id: None });
            }
            Command::Call { tool, .. } => said.push(not_offered(request, tool)),
            Command::Wrong(what) => said.push(what.clone()),
            Command::Help => said.push(help()),
            Command::Unknown => {}
        }
    }
    let understood = commands.iter().any(|command| *command != Command::Unknown);
    if !understood && !commands.is_empty() {
        said.push(help());
    }
    if !request.parallel_tools && calls.len() > 1 {
        said.push("I may make one call at a time here, so I begin with the first; please ask again for the others.".to_owned());
        calls.truncate(1);
    }
    calls
}

fn offered(request: &Request, tool: &str) -> bool {
    !matches!(request.tool_choice, ToolChoice::None) && request.tools.iter().any(|spec| spec.name == tool)
}

fn not_offered(request: &Request, tool: &str) -> String {
    if request.tools.is_empty() || matches!(request.tool_choice, ToolChoice::None) {
        return format!("There is no tool `{tool}` here: this conversation offers none at all.");
    }
    let names: Vec<String> = request.tools.iter().map(|spec| format!("`{}`", spec.name)).collect();
    format!("There is no tool `{tool}` here; offered are {}.", names.join(", "))
}

/// Who this is, what it understands, how to get a real model.
fn help() -> String {
    format!(
        "I am the offline provider: no language model and no network, only a few commands that drive the real tools. \
         I understand {COMMANDS}; join several with ` && `. \
         For a real model set OPENROUTER_API_KEY, or name a provider, a model and its api_key under `[models.main]` in the configuration."
    )
}
