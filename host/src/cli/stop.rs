//! `stop-all` and `resume`: the operator's emergency stop, and its end.

use anyhow::Context as _;

use super::{Context, ExitCode, host, output};
use crate::operator::{Deed, Done};
use crate::workdir::WorkDir;
use crate::{clock, halt};

/// No turn begins from the first line on; those that run are ended after it.
pub(super) async fn stop_all(context: &Context) -> anyhow::Result<ExitCode> {
    let workdir = WorkDir::existing(&context.workdir)?;
    halt::set(&workdir, clock::now()).with_context(|| format!("failed to stop what is in {}", workdir.root().display()))?;
    let ended = host::act(&workdir, Deed::StopAll).await;
    if ended.context("no turn begins any more, but those that run were not ended")? == Done::Running {
        let error = anyhow::anyhow!("no turn begins any more, but one that runs does not end; `stellaclaw status` shows it");
        return Err(ExitCode::Temporary.error(error));
    }
    output::text("Everything is stopped. Messages are kept and answered after `stellaclaw resume`.\n")?;
    Ok(ExitCode::Ok)
}

/// What waited goes on.
pub(super) async fn resume(context: &Context) -> anyhow::Result<ExitCode> {
    let workdir = WorkDir::existing(&context.workdir)?;
    let lifted = halt::lift(&workdir).with_context(|| format!("failed to resume what is in {}", workdir.root().display()))?;
    // Also when nothing was stopped: somebody may have removed the file, and what waited still waits.
    host::act(&workdir, Deed::Resume).await.context("turns may begin again, but the host was not told")?;
    output::text(if lifted { "Turns begin again.\n" } else { "Nothing was stopped.\n" })?;
    Ok(ExitCode::Ok)
}
