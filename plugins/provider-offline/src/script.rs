//! Which round of which entry is played.
//!
//! The rule: take the last user message that some entry matches (the first such entry in the list; one without `match`
//! matches every message). The round is the number of assistant messages after it; beyond the last round, the last. Without
//! a match the script has nothing to say and the grammar answers.
//!
//! So an entry of two rounds, a call and a text, does one call per turn for any number of turns; three rounds do two batches
//! of calls and a text; and conversations differ by what their users write.
//!
//! Templates in texts and arguments: `{user}` is the text of that message, `{last_result}` the text of the last tool answer,
//! `{round}` the round, `{turn}` the number of user messages so far. In arguments they are escaped for a JSON string.

use serde_json::Value;
use stellaclaw_sdk::chat::{AnswerPiece, Piece, Request, Role};

use crate::options::{Entry, Event};

/// The events of the round that is due, templates filled in.
#[must_use]
pub fn events(script: &[Entry], request: &Request) -> Option<Vec<Event>> {
    let messages = &request.messages;
    let (at, user, entry) =
        messages.iter().enumerate().rev().filter(|(_, message)| message.role == Role::User).find_map(|(at, message)| {
            let text = message.text();
            let entry = script.iter().find(|entry| entry.matches.as_ref().is_none_or(|matches| text.contains(matches.as_str())))?;
            Some((at, text, entry))
        })?;
    let round = messages[at..].iter().filter(|message| message.role == Role::Assistant).count();
    let events = entry.rounds.get(round).or(entry.rounds.last())?;
    let turn = messages[..=at].iter().filter(|message| message.role == Role::User).count();
    let fields = [("{user}", user), ("{last_result}", last_result(request)), ("{round}", round.to_string()), ("{turn}", turn.to_string())];
    Some(events.iter().map(|event| filled(event, &fields)).collect())
}

fn filled(event: &Event, fields: &[(&str, String)]) -> Event {
    let fill = |text: &str, escape: fn(&str) -> String| replace(text, fields, escape);
    match event {
        Event::Text(text) => Event::Text(fill(text, str::to_owned)),
        Event::Reasoning(text) => Event::Reasoning(fill(text, str::to_owned)),
        Event::Refusal(text) => Event::Refusal(fill(text, str::to_owned)),
        Event::Tool { name, arguments, id } => {
            Event::Tool { name: name.clone(), arguments: fill(arguments, escaped), id: id.as_ref().map(|id| fill(id, str::to_owned)) }
        }
        other => other.clone(),
    }
}

/// One pass, so that what is filled in is not looked at again.
fn replace(text: &str, fields: &[(&str, String)], escape: fn(&str) -> String) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(brace) = rest.find('{') {
        filled.push_str(&rest[..brace]);
        rest = &rest[brace..];
        match fields.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(&escape(value));
                rest = &rest[name.len()..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn last_result(request: &Request) -> String {
    let pieces = request.messages.iter().rev().flat_map(|message| message.pieces.iter().rev());
    let answer = pieces.filter_map(|piece| if let Piece::ToolAnswer(answer) = piece { Some(answer) } else { None }).next();
    let texts = answer.into_iter().flat_map(|answer| &answer.pieces);
    texts.filter_map(|piece| if let AnswerPiece::Text(text) = piece { Some(text.as_str()) } else { None }).collect()
}
