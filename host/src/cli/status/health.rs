//! Is the host healthy? The answer of the host itself, bounded in time: the check of a container or a monitor.
//!
//! It asks the socket and nothing else: neither the configuration nor the store is read, so that an edited file does not
//! make a host that serves look ill.

use serde::Serialize;

use crate::channels::terminal::protocol::{Look, ToClient};
use crate::cli::{Context, ExitCode, host, is_held, output};
use crate::health::{Part, State};
use crate::limits::HEALTH_TIME;
use crate::workdir::WorkDir;

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    healthy: bool,
    /// Why it is not; one line each.
    problems: Vec<String>,
    parts: Vec<Part>,
}

impl Health {
    fn ill(problem: String) -> Self {
        Self { healthy: false, problems: vec![problem], parts: Vec::new() }
    }

    fn of(parts: Vec<Part>) -> Self {
        let problems: Vec<_> = parts.iter().filter(|part| matches!(part.state, State::Degraded { .. })).map(told).collect();
        Self { healthy: problems.is_empty(), problems, parts }
    }

    /// One line each: what is wrong, and what else a person should look at.
    pub(super) fn lines(&self) -> Vec<String> {
        let warned = self.parts.iter().filter(|part| matches!(part.state, State::Warned { .. })).map(told);
        let lines: Vec<_> = self.problems.iter().cloned().chain(warned).collect();
        if lines.is_empty() { vec!["healthy".into()] } else { lines }
    }
}

fn told(part: &Part) -> String {
    match &part.state {
        State::Ok => format!("{}: ok", part.name),
        State::Warned { reason, since } | State::Degraded { reason, since } => {
            format!("{}: {reason}, since {}", part.name, since.utc())
        }
    }
}

/// Asks the host.
pub(super) async fn examine(context: &Context) -> Health {
    let root = context.workdir.display();
    let workdir = match WorkDir::existing(&context.workdir) {
        Ok(workdir) => workdir,
        Err(error) => return Health::ill(format!("no host runs: {error}")),
    };
    match tokio::time::timeout(HEALTH_TIME, host::look(&workdir, Look::Health)).await {
        Ok(Ok(Some(ToClient::Health { parts }))) => Health::of(parts),
        Ok(Ok(Some(_))) => Health::ill("the host answers something else".into()),
        Ok(Ok(None)) if matches!(is_held(&workdir), Ok(true)) => Health::ill(format!("the host of {root} is starting or stopping")),
        Ok(Ok(None)) => Health::ill(format!("no host runs in {root}")),
        Ok(Err(error)) => Health::ill(format!("the host of {root} cannot be asked: {error:#}")),
        Err(_) => Health::ill(format!("the host of {root} does not answer within {} s", HEALTH_TIME.as_secs())),
    }
}

/// `status --exit-code`. With `--quiet` a healthy host is not worth a word.
pub(super) fn tell(context: &Context, health: &Health, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(health)?;
    } else if !(health.healthy && context.quiet) {
        let lines = health.lines();
        let lines = if context.quiet { &health.problems } else { &lines };
        output::text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    Ok(if health.healthy { ExitCode::Ok } else { ExitCode::Failed })
}
