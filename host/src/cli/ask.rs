//! `ask`: one question in a conversation of its own. Only the answer goes to standard output.

use std::collections::HashSet;
use std::io::Write;

use anyhow::Context as _;
use serde_json::json;

use super::args::AskArgs;
use super::chat::client::Client;
use super::chat::{eprintln, harmless, parked};
use super::{Context, ExitCode};
use crate::channels::terminal::protocol::{Kind, Place, Settled, ToClient};

/// Asks, waits for the answer, and leaves.
pub(super) async fn run(context: &Context, arguments: AskArgs) -> anyhow::Result<ExitCode> {
    if arguments.text.trim().is_empty() {
        return Err(ExitCode::Usage.error(anyhow::anyhow!("the question is empty")));
    }
    let place = Place::Ask { id: uuid::Uuid::new_v4().to_string() };
    let (mut client, welcome) = Client::attach(context.setup()?, place, Vec::new()).await?;
    client.say(arguments.text).await?;
    client.settle().await?;
    let mut out = std::io::stdout();
    let mut heard = Heard::default();
    let (state, failure) = loop {
        match client.next().await? {
            Some(ToClient::Deliver { key, part, kind, text }) => {
                if heard.hear(&key, part, kind, text) && !arguments.json {
                    heard.print(&mut out).context("failed to write the answer")?;
                }
                // Only what was written is acknowledged.
                client.ack(key, part).await?;
            }
            Some(ToClient::HeldUp { reason }) => tracing::warn!(reason, "the answer has to wait"),
            Some(ToClient::Rejected { reason, .. }) => anyhow::bail!("the question was not accepted: {reason}"),
            Some(ToClient::Settled { state, failure }) => break (state, failure),
            Some(_) => {}
            None => client.reattach().await?,
        }
    };
    let ToClient::Welcome { conversation, model, .. } = welcome else { anyhow::bail!("the host did not say which conversation this is") };
    if arguments.json {
        let line = json!({ "answer": heard.answer, "notices": heard.notices, "conversation": conversation, "model": model });
        writeln!(out, "{line}").context("failed to write the answer")?;
    }
    for notice in &heard.notices {
        eprintln(notice);
    }
    client.leave().await?;
    Ok(match state {
        // A command is answered with a notice.
        Settled::Idle if heard.answer.is_some() || !heard.notices.is_empty() => ExitCode::Ok,
        Settled::Idle => ExitCode::Failed,
        Settled::Parked => parked(failure),
    })
}

/// What was delivered. A part that comes again is the same part.
#[derive(Default)]
struct Heard {
    parts: HashSet<(String, u32)>,
    answer: Option<String>,
    notices: Vec<String>,
}

impl Heard {
    /// True: a piece of the answer that is new.
    fn hear(&mut self, key: &str, part: u32, kind: Kind, text: String) -> bool {
        if !self.parts.insert((key.to_owned(), part)) {
            return false;
        }
        match kind {
            Kind::Final => self.answer.get_or_insert_with(String::new).push_str(&text),
            _ => self.notices.push(text),
        }
        kind == Kind::Final
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let answer = self.answer.as_deref().unwrap_or_default();
        writeln!(out, "{}", harmless(answer).trim_end_matches('\n'))?;
        out.flush()
    }
}
