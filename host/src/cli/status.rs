//! `status`: what the host is doing, read from the work directory. It changes nothing, whether a host runs or not.

mod health;

use std::fmt::Write as _;

use serde::Serialize;

use super::args::StatusArgs;
use super::{Context, ExitCode, host, output, plugin};
use crate::channels::terminal::protocol::{Look, ToClient};
use crate::clock::{self, Moment};
use crate::config::Config;
use crate::halt;
use crate::plugins::State;
use crate::session::figures::{tokens, usd};
use crate::store::{Phase, SCHEMA_VERSION, Store, Totals};
use crate::workdir::WorkDir;
use health::Health;

/// The whole report.
#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    workdir: String,
    workdir_version: u32,
    config: Option<String>,
    /// Why it cannot be read, while a host goes on with the one before.
    config_problem: Option<String>,
    default_model: Option<String>,
    /// A process holds the lock.
    running: bool,
    /// It serves verbs of other processes.
    socket: bool,
    health: Health,
    /// Since when no turn begins.
    stopped_at_ms: Option<Moment>,
    store: Option<Stored>,
    plugins: Vec<Component>,
}

/// A component that a running host knows; without one, a file in the plugin directories or the configuration.
#[derive(Debug, Serialize)]
struct Component {
    name: String,
    /// `ready`, `compiling`, `waiting` or `refused`; none while no host serves, since only a host loads it.
    state: Option<&'static str>,
}

/// What the store says; none before the first start.
#[derive(Debug, Serialize)]
struct Stored {
    conversations: Vec<Chat>,
    /// Messages that no turn has taken yet, by conversation.
    waiting: Vec<String>,
    /// Conversations with replies that are not delivered.
    undelivered: Vec<String>,
    open: Vec<Open>,
    /// Used since midnight, UTC.
    today: Totals,
}

#[derive(Debug, Serialize)]
struct Chat {
    id: String,
    channel: String,
    address: String,
    model: String,
}

/// A session with an unfinished turn.
#[derive(Debug, Serialize)]
struct Open {
    session: String,
    conversation: String,
    phase: Phase,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, args: StatusArgs) -> anyhow::Result<ExitCode> {
    if args.exit_code {
        return health::tell(context, &health::examine(context).await, args.json);
    }
    let config = context.config();
    // One that cannot be seen is none that is made at the first start.
    let workdir = if context.workdir.try_exists().unwrap_or(true) { Some(WorkDir::existing(&context.workdir)?) } else { None };
    let running = workdir.as_ref().map(super::is_held).transpose()?.unwrap_or(false);
    let (config, config_problem) = match config {
        Ok(config) => (Some(config), None),
        // It serves all the same, and how it is must be seen.
        Err(error) if running => (None, Some(super::chain(&error.into()))),
        Err(error) => return Err(error.into()),
    };
    let store = match &workdir {
        Some(workdir) if workdir.database().exists() => Some(stored(&Store::open_read_only(workdir)?).await?),
        _ => None,
    };
    let socket = running && workdir.as_ref().is_some_and(|workdir| workdir.socket().exists());
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        workdir: context.workdir.display().to_string(),
        workdir_version: SCHEMA_VERSION,
        config: context.config_file.as_ref().map(|path| path.display().to_string()),
        config_problem,
        default_model: config.as_ref().map(|config| config.default_model.clone()),
        running,
        socket,
        health: health::examine(context).await,
        stopped_at_ms: workdir.as_ref().and_then(halt::since),
        store,
        plugins: components(context, config.as_ref(), workdir.as_ref().filter(|_| socket)).await,
    };
    if args.json {
        output::json(&status)?;
    } else {
        output::text(&render(&status))?;
    }
    Ok(ExitCode::Ok)
}

/// `serving`: where a host listens. One that does not answer is no reason to say nothing.
async fn components(context: &Context, config: Option<&Config>, serving: Option<&WorkDir>) -> Vec<Component> {
    let answer = match serving {
        Some(workdir) => host::look(workdir, Look::Plugins).await.ok().flatten(),
        None => None,
    };
    match answer {
        Some(ToClient::Plugins { plugins }) => {
            plugins.into_iter().map(|plugin| Component { name: plugin.name, state: Some(state(&plugin.state)) }).collect()
        }
        _ => config.into_iter().flat_map(|config| plugin::names(context, config)).map(|name| Component { name, state: None }).collect(),
    }
}

fn state(state: &State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Compiling => "compiling",
        State::Waiting { .. } => "waiting",
        State::Refused { .. } => "refused",
    }
}

async fn stored(store: &Store) -> anyhow::Result<Stored> {
    let ids = |ids: Vec<crate::ids::ConversationId>| ids.iter().map(ToString::to_string).collect();
    let conversations = store.conversations().await?.into_iter();
    let open = store.open_sessions().await?.into_iter();
    Ok(Stored {
        conversations: conversations
            .map(|chat| Chat { id: chat.id.to_string(), channel: chat.channel, address: chat.address, model: chat.model })
            .collect(),
        waiting: ids(store.waiting_conversations(None).await?),
        undelivered: ids(store.lanes().await?),
        open: open
            .map(|session| Open { session: session.id.to_string(), conversation: session.conversation.to_string(), phase: session.phase })
            .collect(),
        today: store.usage_of_day(clock::now()).await?,
    })
}

/// `ready: a, b; refused: c`, the components that someone has to look at by name at the end.
fn render_components(found: &[Component]) -> String {
    let named = |state: Option<&str>| {
        let names: Vec<_> = found.iter().filter(|component| component.state == state).map(|component| component.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{}: {}", state.unwrap_or("not loaded"), names.join(", ")))
    };
    let states = [Some("ready"), Some("compiling"), Some("waiting"), Some("refused"), None];
    let mut text = states.into_iter().filter_map(named).collect::<Vec<_>>().join("; ");
    if found.is_empty() {
        text.push_str("the bundled ones");
    }
    if found.iter().any(|component| matches!(component.state, Some("waiting" | "refused"))) {
        text.push_str(" (`stellaclaw plugin list` says why)");
    }
    text
}

fn render(status: &Status) -> String {
    let host = match (status.running, status.socket) {
        (false, _) => "not running",
        (true, true) => "running",
        (true, false) => "starting or stopping",
    };
    let mut lines = vec![
        ("stellaclaw", format!("{}, {host}", status.version)),
        ("work directory", format!("{} (version {})", status.workdir, status.workdir_version)),
        ("configuration", status.config.clone().unwrap_or_else(|| "none, the embedded default".into())),
    ];
    let problem = status.config_problem.iter().flat_map(|problem| problem.lines());
    lines.extend(problem.map(|line| ("", format!("cannot be used as it is now: {line}"))));
    lines.extend(status.default_model.clone().map(|model| ("default model", model)));
    lines.push(("plugins", render_components(&status.plugins)));
    let stopped = |since: Moment| ("turns", format!("stopped since {}; `stellaclaw resume` lets them begin again", since.utc()));
    lines.extend(status.stopped_at_ms.map(stopped));
    // Without a host nobody asks how it is.
    let health = if status.running { status.health.lines() } else { Vec::new() };
    lines.extend(health.into_iter().map(|line| ("health", line)));
    match &status.store {
        None => lines.push(("store", "made at the first start".into())),
        Some(store) => {
            let today = &store.today;
            let unpriced = match today.unpriced_tokens {
                0 => String::new(),
                unpriced => format!(", {} tokens of unknown price", tokens(unpriced)),
            };
            let used = format!("{} model requests, {} USD{unpriced}", today.requests, usd(today.cost_micros, 2));
            lines.push(("today", format!("{used} (`stellaclaw usage` says more)")));
            for (title, ids) in [("waiting", &store.waiting), ("undelivered", &store.undelivered)] {
                lines.push((title, if ids.is_empty() { "nothing".into() } else { ids.join(", ") }));
            }
            lines.extend(
                store.open.iter().map(|open| ("open turn", format!("{} of {}, {:?}", open.session, open.conversation, open.phase))),
            );
            let chats = store.conversations.iter();
            lines
                .extend(chats.map(|chat| ("conversation", format!("{} {} {}, model {}", chat.id, chat.channel, chat.address, chat.model))));
        }
    }
    lines.iter().fold(String::new(), |mut text, (title, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{title:<15} {value}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_told_by_what_they_do() {
        let component = |name: &str, state| Component { name: name.to_owned(), state };
        assert_eq!(render_components(&[]), "the bundled ones");
        assert_eq!(render_components(&[component("a", None), component("b", None)]), "not loaded: a, b");
        assert_eq!(render_components(&[component("a", Some("ready")), component("b", Some("compiling"))]), "ready: a; compiling: b");
        let found = [component("a", Some("refused")), component("b", Some("ready")), component("c", Some("waiting"))];
        assert_eq!(render_components(&found), "ready: b; waiting: c; refused: a (`stellaclaw plugin list` says why)");
    }
}
