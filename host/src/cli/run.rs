//! `run`: the host, in the foreground, until it is told to stop.

use std::path::Path;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::RunArgs;
use super::{Context, ExitCode, doctor, is_held};
use crate::kernel::{Kernel, StartError};
use crate::observe;
use crate::supervise::Fatal;

/// Serves until SIGTERM or SIGINT; a second one does not wait for anything.
pub(super) async fn run(context: &Context, _args: RunArgs) -> anyhow::Result<ExitCode> {
    let (mut terminate, mut interrupt) = signals()?;
    let setup = context.setup()?;
    let root = setup.workdir.root().to_owned();
    let logs = setup.workdir.logs().join(observe::NAME);
    // Who is not the host does not touch its log.
    if is_held(&setup.workdir)? {
        return Err(locked(&root));
    }
    let opened = context.logs.to_folder(&setup.workdir.logs());
    opened.with_context(|| format!("failed to open {}", logs.display())).map_err(|error| ExitCode::Disk.error(error))?;
    for check in doctor::exposed(context, &setup.config) {
        tracing::warn!(what = check.name, repair = check.repair, "{}", check.why);
    }
    let kernel = match Kernel::start(setup).await {
        Err(StartError::Locked) => return Err(locked(&root)),
        started => started?,
    };
    context.logs.redact(kernel.redactor().clone());
    tracing::info!(workdir = %root.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    let code = tokio::select! {
        fatal = kernel.failed() => return Err(fatal_exit(&fatal).error(fatal)),
        _ = terminate.recv() => ExitCode::Terminated,
        _ = interrupt.recv() => ExitCode::Interrupted,
    };
    tracing::info!("stopping; a second signal does not wait");
    tokio::select! {
        stopped = kernel.shutdown() => stopped.context("failed to stop the host")?,
        _ = terminate.recv() => return Ok(ExitCode::Terminated),
        _ = interrupt.recv() => return Ok(ExitCode::Interrupted),
    }
    // Asked to stop and stopped: that is success for a service manager.
    Ok(if code == ExitCode::Terminated { ExitCode::Ok } else { code })
}

fn locked(root: &Path) -> anyhow::Error {
    ExitCode::Locked.error(anyhow::anyhow!("a host serves {} already; `stellaclaw status` shows it", root.display()))
}

/// SIGTERM and SIGINT.
pub(super) fn signals() -> anyhow::Result<(Signal, Signal)> {
    let terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    Ok((terminate, interrupt))
}

/// The code for a host that cannot go on.
pub(in crate::cli) fn fatal_exit(fatal: &Fatal) -> ExitCode {
    match fatal {
        Fatal::Disk(_) => ExitCode::Disk,
        Fatal::GaveUp { .. } => ExitCode::GaveUp,
    }
}
