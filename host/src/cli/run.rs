//! `run`: the host, in the foreground, until it is told to stop.

mod notify;

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::args::RunArgs;
use super::{Context, ExitCode, doctor};
use crate::config::{Config, environment};
use crate::kernel::Kernel;
use crate::limits::{FULL_PAUSE, HOST_START};
use crate::observe;
use crate::supervise::Fatal;
use crate::workdir::{Lock, WorkDir};

/// The configuration's name among the parts of the host.
const CONFIGURATION: &str = "configuration";
/// How often a work directory is looked at that somebody else has.
const LOCK_LOOK: Duration = Duration::from_millis(30);
/// The name there of what it changed about who may talk.
const ACCESS: &str = "telegram access";

/// Serves until SIGTERM or SIGINT; a second one does not wait for anything. SIGHUP reads the configuration again.
pub(super) async fn run(context: &Context, _args: RunArgs) -> anyhow::Result<ExitCode> {
    let (mut terminate, mut interrupt) = signals()?;
    let hangup = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
    let setup = context.setup()?;
    let root = setup.workdir.root().to_owned();
    let logs = setup.workdir.logs().join(observe::NAME);
    let lock = tokio::select! {
        lock = own(&setup.workdir) => lock?,
        _ = terminate.recv() => return Ok(ExitCode::Ok),
        _ = interrupt.recv() => return Ok(ExitCode::Interrupted),
    };
    // Who is not the host does not touch its log.
    let opened = context.logs.to_folder(&setup.workdir.logs());
    opened.with_context(|| format!("failed to open {}", logs.display())).map_err(|error| ExitCode::Disk.error(error))?;
    tell_exposed(context, &setup.config);
    let kernel = Kernel::start_with(setup, lock).await?;
    context.logs.redact(kernel.redactor().clone());
    tracing::info!(workdir = %root.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    notify::ready(&format!("serving {}", root.display()));
    let code = tokio::select! {
        fatal = kernel.failed() => return Err(fatal_exit(&fatal).error(fatal)),
        _ = terminate.recv() => ExitCode::Terminated,
        _ = interrupt.recv() => ExitCode::Interrupted,
        never = follow(context, &kernel, hangup, &root) => match never {},
        never = notify::keep_alive(&kernel) => match never {},
    };
    notify::stopping();
    tracing::info!("stopping; a second signal does not wait");
    tokio::select! {
        stopped = kernel.shutdown() => stopped.context("failed to stop the host")?,
        _ = terminate.recv() => return Ok(ExitCode::Terminated),
        _ = interrupt.recv() => return Ok(ExitCode::Interrupted),
    }
    // Asked to stop and stopped: that is success for a service manager.
    Ok(if code == ExitCode::Terminated { ExitCode::Ok } else { code })
}

/// Reads the configuration again whenever somebody asks for it. Several who ask meanwhile are one. What it changes about who
/// may talk is tried until it is done.
async fn follow(context: &Context, kernel: &Kernel, mut hangup: Signal, root: &Path) -> Infallible {
    let mut serving = format!("serving {}", root.display());
    let mut is_settled = true;
    loop {
        let is_read = tokio::select! {
            asked = hangup.recv() => {
                if asked.is_none() {
                    return std::future::pending().await;
                }
                notify::reloading();
                let read = reload(context, kernel).await;
                let before = read.as_ref().err().map(|reason| format!(" as configured before: {reason}"));
                serving = format!("serving {}{}", root.display(), before.unwrap_or_default());
                read.is_ok()
            }
            () = tokio::time::sleep(FULL_PAUSE), if !is_settled => false,
        };
        let was_settled = is_settled;
        if is_read || !was_settled {
            is_settled = settle(kernel).await;
        }
        if is_settled && !was_settled {
            kernel.health().ok(ACCESS);
        }
        if is_settled && is_read {
            tracing::info!("the configuration was read again and counts from now on");
        }
        let left = if is_settled { "" } else { "; who may talk is not as the configuration says yet" };
        notify::ready(&format!("{serving}{left}"));
    }
}

/// Goes on with the configuration as it is in its file now, or, when anything in it is wrong, with the one before; then why.
async fn reload(context: &Context, kernel: &Kernel) -> Result<(), String> {
    let file = context.config_file.clone();
    let loaded = tokio::task::spawn_blocking(move || environment::load(file.as_deref())).await;
    let refused = match loaded {
        Ok(Ok(config)) => {
            tell_exposed(context, &config);
            kernel.reconfigure(config).await;
            kernel.health().ok(CONFIGURATION);
            return Ok(());
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(reason = refused, "the configuration could not be read again; the one before goes on");
    let reason = refused.lines().next().unwrap_or_default().to_owned();
    kernel.health().warned(CONFIGURATION, &format!("the file was refused, and what was read before counts: {reason}"));
    Err(reason)
}

/// Does what the configuration changed about who may talk. False: not all of it yet.
async fn settle(kernel: &Kernel) -> bool {
    let Err(error) = kernel.settle_access().await else { return true };
    tracing::error!(%error, "the configuration was read, but who may talk is not as it says yet; that is tried again");
    kernel.health().degraded(ACCESS, &format!("who may talk is not as the configuration says yet: {error}"));
    false
}

/// Says which files are open to others.
fn tell_exposed(context: &Context, config: &Config) {
    for check in doctor::exposed(context, config) {
        tracing::warn!(what = check.name, repair = check.repair, "{}", check.why);
    }
}

/// Has the work directory from now on. Waits for whoever else has it and does not serve it: a host that is ending, or a verb that
/// changes something.
async fn own(workdir: &WorkDir) -> anyhow::Result<Lock> {
    let root = workdir.root().display();
    let deadline = Instant::now() + HOST_START;
    let mut is_told = false;
    loop {
        if let Some(lock) = workdir.lock()? {
            return Ok(lock);
        }
        if UnixStream::connect(workdir.socket()).await.is_ok() {
            let error = anyhow::anyhow!("a host serves {root} already; `stellaclaw status` shows it");
            return Err(ExitCode::Locked.error(error));
        }
        if Instant::now() > deadline {
            let error = anyhow::anyhow!("another process has {root}, and neither serves it nor ends");
            return Err(ExitCode::Locked.error(error));
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!(workdir = %root, "another process has the work directory and does not serve it; waiting for its end");
        }
        tokio::time::sleep(LOCK_LOOK).await;
    }
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
