//! `conversation`: what an operator does with conversations from outside of them.
//!
//! What only reads opens the store for reading, also beside a host. What changes something is done by the host, or under
//! the lock where there is none.

mod export;
mod show;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::args::ConversationVerb;
use super::{Context, ExitCode, consent, host, output};
use crate::ids::ConversationId;
use crate::operator::{Deed, Done};
use crate::store::{Overview, Phase, Store};
use crate::workdir::WorkDir;

/// Runs the verb.
pub(super) async fn run(context: &Context, verb: ConversationVerb) -> anyhow::Result<ExitCode> {
    let workdir = WorkDir::existing(&context.workdir)?;
    match verb {
        ConversationVerb::List { json } => list(&workdir, json).await,
        ConversationVerb::Show { conversation, json } => show::run(&workdir, conversation, json).await,
        ConversationVerb::Export(args) => export::run(&workdir, args).await,
        ConversationVerb::Delete { conversation, yes, force } => delete(&workdir, conversation, yes, force).await,
        ConversationVerb::Stop { conversation } => stop(&workdir, conversation).await,
    }
}

async fn list(workdir: &WorkDir, json: bool) -> anyhow::Result<ExitCode> {
    // Before the first start there is none.
    let all = match workdir.database().exists() {
        true => Store::open_read_only(workdir)?.overviews().await?,
        false => Vec::new(),
    };
    if json {
        output::json(&all.iter().map(|one| described(workdir, one)).collect::<Vec<_>>())?;
    } else {
        output::text(&render(&all))?;
    }
    Ok(ExitCode::Ok)
}

async fn delete(workdir: &WorkDir, id: ConversationId, yes: bool, force: bool) -> anyhow::Result<ExitCode> {
    let found = find(&Store::open_read_only(workdir)?, id).await?;
    let Overview { conversation, turns, waiting, undelivered, .. } = &found;
    output::text(&format!(
        "{id} ({} {}): {turns} turns, {waiting} messages waiting, {undelivered} replies not delivered, and the files in {}\n",
        conversation.channel,
        conversation.address,
        workdir.workspace(id).display()
    ))?;
    if !consent::is_given(yes, "Delete all of it?", &format!("stellaclaw conversation delete {id} --yes"))? {
        output::text("Nothing was changed.\n")?;
        return Ok(ExitCode::Denied);
    }
    match host::act(workdir, Deed::Delete { conversation: id, force }).await? {
        Done::NotFound => Err(none(id)),
        Done::Running => {
            let error = anyhow!("a turn runs in {id}; end it with `stellaclaw conversation stop {id}`, or add --force");
            Err(ExitCode::Denied.error(error))
        }
        Done::Done | Done::Noted | Done::Nothing => {
            output::text(&format!("{id} is deleted.\n"))?;
            Ok(ExitCode::Ok)
        }
    }
}

async fn stop(workdir: &WorkDir, id: ConversationId) -> anyhow::Result<ExitCode> {
    let said = match host::act(workdir, Deed::Stop { conversation: id }).await? {
        Done::NotFound => return Err(none(id)),
        Done::Running => {
            let error = anyhow!("the turn in {id} does not end; it is cancelled when the host starts again at the latest");
            return Err(ExitCode::Temporary.error(error));
        }
        Done::Done => format!("The turn in {id} has ended."),
        Done::Noted => format!("No host runs. The turn in {id} ends before the next one goes on with anything."),
        Done::Nothing => format!("Nothing runs in {id}."),
    };
    output::text(&format!("{said}\n"))?;
    Ok(ExitCode::Ok)
}

async fn find(store: &Store, id: ConversationId) -> anyhow::Result<Overview> {
    let all = store.overviews().await?;
    all.into_iter().find(|one| one.conversation.id == id).ok_or_else(|| none(id))
}

fn none(id: ConversationId) -> anyhow::Error {
    ExitCode::NotFound.error(anyhow!("there is no conversation {id}; `stellaclaw conversation list` has them all"))
}

fn described(workdir: &WorkDir, one: &Overview) -> Value {
    let Overview { conversation, phase, sessions, turns, waiting, undelivered, last_at } = one;
    json!({
        "id": conversation.id.to_string(), "channel": conversation.channel, "address": conversation.address, "title": conversation.title,
        "model": conversation.model, "effort": conversation.effort, "phase": phase.unwrap_or(Phase::Idle), "sessions": sessions, "turns": turns, "waiting": waiting,
        "undelivered": undelivered, "created_at_ms": conversation.created_at, "last_at_ms": last_at,
        "expires_at_ms": conversation.expires_at, "closed_at_ms": conversation.closed_at, "settings": conversation.settings, "workspace": workdir.workspace(conversation.id),
    })
}

/// In the words of the JSON.
fn word(phase: Option<Phase>) -> String {
    serde_json::to_value(phase.unwrap_or(Phase::Idle)).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A chat's title is what somebody wrote.
pub(super) fn one_line(title: &str) -> String {
    title.replace(['\n', '\t'], " ")
}

fn render(all: &[Overview]) -> String {
    let head = ["id", "channel", "address", "model", "phase", "turns", "last activity", "title"].map(str::to_owned);
    let rows = all.iter().map(|one| {
        let Overview { conversation, phase, turns, last_at, .. } = one;
        [
            conversation.id.to_string(),
            conversation.channel.clone(),
            conversation.address.clone(),
            conversation.model.clone(),
            word(*phase),
            turns.to_string(),
            last_at.utc(),
            one_line(&conversation.title),
        ]
    });
    let rows: Vec<_> = [head].into_iter().chain(rows).collect();
    output::table(&rows, 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::store::Conversation;

    #[test]
    fn a_list_is_a_table() {
        let one = |id, address: &str, phase| Overview {
            conversation: Conversation {
                id: ConversationId(id),
                channel: "terminal".into(),
                address: address.into(),
                model: "main".into(),
                effort: None,
                settings: json!({}),
                created_at: Moment(0),
                expires_at: None,
                title: "Notes\nand more".into(),
                closed_at: None,
            },
            phase,
            sessions: 1,
            turns: 7,
            waiting: 0,
            undelivered: 0,
            last_at: Moment(1_795_358_165_000),
        };
        insta::assert_snapshot!(render(&[one(1, "1000", None), one(12, "1000/notes", Some(Phase::Asking))]), @r"
        id   channel   address     model  phase   turns  last activity            title
        c1   terminal  1000        main   idle    7      2026-11-22 14:36:05 UTC  Notes and more
        c12  terminal  1000/notes  main   asking  7      2026-11-22 14:36:05 UTC  Notes and more
        ");
    }
}
