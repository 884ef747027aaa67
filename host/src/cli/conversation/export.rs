//! `conversation export`: the whole history of a conversation, read from its journals page by page.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{described, find, show};
use crate::cli::args::{ExportArgs, ExportFormat};
use crate::cli::chat::harmless;
use crate::cli::{ExitCode, chain};
use crate::session::event::Event;
use crate::store::{Overview, Session, Store};
use crate::workdir::WorkDir;

/// Writes it. Rows that are damaged are left out and said, and the verb then fails.
pub(super) async fn run(workdir: &WorkDir, args: ExportArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open_read_only(workdir)?;
    let found = find(&store, args.conversation).await?;
    let out: Box<dyn Write> = match &args.output {
        Some(path) => {
            // What people wrote is for this user alone, and nothing is overwritten.
            let made = File::options().write(true).create_new(true).mode(0o600).open(path);
            Box::new(made.with_context(|| format!("failed to make {}", path.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let mut export = Export { out: BufWriter::new(out), format: args.format, harmless: args.output.is_none(), damaged: 0 };
    match export.write(workdir, &store, &found).await {
        // Nobody reads any more.
        Err(error) if is_broken_pipe(&error) => return Ok(ExitCode::Ok),
        written => written.context("failed to write the history")?,
    }
    Ok(if export.damaged == 0 { ExitCode::Ok } else { ExitCode::Failed })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

struct Export {
    out: BufWriter<Box<dyn Write>>,
    format: ExportFormat,
    /// It may be seen on a terminal.
    harmless: bool,
    damaged: usize,
}

impl Export {
    async fn write(&mut self, workdir: &WorkDir, store: &Store, found: &Overview) -> anyhow::Result<()> {
        self.head(workdir, found)?;
        for session in store.sessions(found.conversation.id).await? {
            let mut next = Some(1);
            while let Some(from) = next {
                let page = store.recorded(session.id, from).await?;
                for reason in &page.damaged {
                    tracing::error!("{}", chain(&anyhow::anyhow!("left out, {reason}")));
                }
                self.damaged += page.damaged.len();
                for event in &page.events {
                    self.event(&session, event)?;
                }
                next = page.next;
            }
        }
        Ok(self.out.flush()?)
    }

    fn head(&mut self, workdir: &WorkDir, found: &Overview) -> anyhow::Result<()> {
        let mut described = described(workdir, found);
        match self.format {
            ExportFormat::Jsonl => {
                described["type"] = json!("conversation");
                self.put(&format!("{described}\n"))
            }
            ExportFormat::Markdown => {
                let conversation = &found.conversation;
                let head = format!(
                    "# Conversation {} ({} {})\n\nIts files are in `{}`.\n\n",
                    conversation.id,
                    conversation.channel,
                    conversation.address,
                    workdir.workspace(conversation.id).display()
                );
                self.put(&head)
            }
        }
    }

    fn event(&mut self, session: &Session, event: &crate::store::Event) -> anyhow::Result<()> {
        let text = match self.format {
            ExportFormat::Jsonl => {
                let body: &RawValue = serde_json::from_str(&event.body)?;
                let (session, turn) = (session.id.to_string(), event.turn.to_string());
                let head = json!({ "type": "event", "session": session, "turn": turn, "seq": event.seq, "at_ms": event.at });
                let head = head.to_string();
                // The body as it was written: it is what was summed.
                format!("{},\"event\":{body}}}\n", head.trim_end_matches('}'))
            }
            ExportFormat::Markdown => match serde_json::from_str(&event.body) {
                Ok(known) => markdown(&known, event),
                Err(_) => String::new(),
            },
        };
        self.put(&text)
    }

    fn put(&mut self, text: &str) -> anyhow::Result<()> {
        let text = if self.harmless { harmless(text) } else { text.into() };
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

/// What was said, and which tools were called with what.
fn markdown(event: &Event, row: &crate::store::Event) -> String {
    let mut text: String = show::said(event, row.at).iter().map(show::Said::markdown).collect();
    match event {
        Event::Answered { calls, .. } => {
            for call in calls {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or(Value::String(call.arguments.clone()));
                text.push_str(&format!("- called `{}` with `{arguments}`\n", call.name));
            }
            if !calls.is_empty() {
                text.push('\n');
            }
        }
        Event::Compacted { summary, .. } => text.push_str(&format!("*Everything before was replaced by this summary:*\n\n{summary}\n\n")),
        Event::Closed { .. } => text.push_str("---\n\n"),
        _ => {}
    }
    text
}
