//! `conversation show`: one conversation, and what was said in it last.

use serde::Serialize;
use serde_json::{Value, json};

use super::{described, find, one_line, word};
use crate::cli::{ExitCode, output};
use crate::clock::Moment;
use crate::ids::ConversationId;
use crate::limits;
use crate::session::event::{Event, TurnInput};
use crate::store::{self, Overview, Store};
use crate::workdir::WorkDir;

/// The most that is shown of a message, in characters.
const SHOWN_CHARS: usize = 500;
/// Messages that are shown.
const SHOWN: usize = 6;

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Said {
    at_ms: Moment,
    /// A person's name where the channel gave one, `user`, or `assistant`.
    by: String,
    text: String,
}

/// Runs the verb.
pub(super) async fn run(workdir: &WorkDir, id: ConversationId, json: bool) -> anyhow::Result<ExitCode> {
    let store = Store::open_read_only(workdir)?;
    let found = find(&store, id).await?;
    let last = last(&store, id).await?;
    if json {
        let mut described = described(workdir, &found);
        described["last"] = json!(last);
        output::json(&described)?;
    } else {
        output::text(&render(workdir, &found, &last))?;
    }
    Ok(ExitCode::Ok)
}

/// What an event says in words, if it does.
pub(super) fn said(event: &Event, at: Moment) -> Vec<Said> {
    let input =
        |input: &TurnInput| Said { at_ms: input.at, by: input.sender.clone().unwrap_or_else(|| "user".into()), text: input.text.clone() };
    match event {
        Event::TurnBegan { inputs, .. } | Event::InputsJoined { inputs } => inputs.iter().map(input).collect(),
        Event::Answered { message, .. } if !message.text().trim().is_empty() => {
            vec![Said { at_ms: at, by: "assistant".into(), text: message.text() }]
        }
        _ => Vec::new(),
    }
}

impl Said {
    /// A line that says who and when, and what they said.
    pub(super) fn markdown(&self) -> String {
        format!("### {}, {}\n\n{}\n\n", self.by, self.at_ms.utc(), self.text.trim_end())
    }
}

/// The newest, from as few rows as possible.
async fn last(store: &Store, id: ConversationId) -> anyhow::Result<Vec<Said>> {
    let mut newest = Vec::new();
    for session in store.sessions(id).await?.iter().rev() {
        let mut to = session.next_seq;
        while to > 1 && newest.len() < SHOWN {
            let from = to.saturating_sub(limits::READ_ROWS as u64).max(1);
            let page = store.recorded(session.id, from).await?;
            let rows = page.events.iter().filter(|event| event.seq < to);
            let mut older: Vec<_> = rows.filter_map(|row| Some(said(&serde_json::from_str(&row.body).ok()?, row.at))).flatten().collect();
            older.append(&mut newest);
            newest = older;
            to = from;
        }
    }
    Ok(newest.split_off(newest.len().saturating_sub(SHOWN)))
}

fn render(workdir: &WorkDir, found: &Overview, last: &[Said]) -> String {
    let Overview { conversation, phase, sessions, turns, waiting, undelivered, last_at } = found;
    let store::Conversation { id, channel, address, model, effort, settings, created_at, expires_at, title, closed_at } = conversation;
    let mut lines = vec![
        ("conversation", format!("{id} ({channel} {address})")),
        ("title", one_line(title)),
        ("model", model.clone()),
        ("phase", word(*phase)),
        ("workspace", workdir.workspace(*id).display().to_string()),
        ("created", created_at.utc()),
        ("last activity", last_at.utc()),
        ("history", format!("{turns} turns in {sessions} sessions")),
        ("open", format!("{waiting} messages waiting, {undelivered} replies not delivered")),
    ];
    lines.extend(effort.clone().map(|effort| ("reasoning", effort)));
    lines.extend(closed_at.map(|at| ("closed", at.utc())));
    lines.extend(expires_at.map(|at| ("deleted after", at.utc())));
    lines.extend(settings.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), shown(value))));
    let mut text: String = lines.iter().map(|(title, value)| format!("{title:<15} {value}\n")).collect();
    for said in last {
        let mut cut: String = said.text.trim_end().chars().take(SHOWN_CHARS).collect();
        if cut.len() < said.text.trim_end().len() {
            cut.push('…');
        }
        text.push_str(&format!("\n{}, {}:\n{}\n", said.by, said.at_ms.utc(), cut));
    }
    text
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
