//! `plugin dev`: from a saved source to a component that a host serves.
//!
//! Cargo builds, [`Trial`] judges, and only what a host would serve takes the place of what it serves now: a broken build
//! changes nothing, and neither does a good one where somebody else has put a plugin of that name. What the component says is shown, from the call that is made here and from those of a host that serves
//! the same work directory.

mod build;
mod follow;
mod served;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, anyhow};

use self::build::Build;
use self::served::Served;
use self::watch::Watch;
use super::check::{Ready, Trial};
use super::grant::{self, Grants};
use super::{one_call, result, target};
use crate::cli::args::DevArgs;
use crate::cli::chat::eprintln;
use crate::cli::scratch::Scratch;
use crate::cli::{Context, ExitCode, output};
use crate::config;

/// Runs until it is interrupted, or once.
pub(in crate::cli) async fn run(context: &Context, args: DevArgs) -> anyhow::Result<ExitCode> {
    let workspace = super::workspace(&args.reach)?;
    let grants = super::granted(&args.reach)?.unwrap_or_else(grant::none);
    let call = args.call.as_deref().and_then(|call| Some((call.first()?.clone(), call.get(1)?.clone())));
    let project = Project::open(&args.dir)?;
    let served = Served::new(places(context, &project.name)?, &context.workdir, &project.name, &project.folder, args.replace);
    served.check()?;
    let scratch = Scratch::new().context("failed to make a temporary directory")?;
    if let Some(advice) = target::advice() {
        return Err(anyhow!("{advice}"));
    }
    let dev = Dev { context, project, served, scratch, grants, workspace, call };
    tokio::select! {
        code = interrupted() => code,
        code = dev.serve(args.once) => code,
    }
}

/// The code to end with, once somebody wants it.
async fn interrupted() -> anyhow::Result<ExitCode> {
    let (mut terminate, mut interrupt) = crate::cli::run::signals()?;
    Ok(tokio::select! {
        _ = interrupt.recv() => ExitCode::Interrupted,
        _ = terminate.recv() => ExitCode::Terminated,
    })
}

/// Where a host of this work directory looks for the plugin `name`, the place that it prefers first.
fn places(context: &Context, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let config = context.config()?;
    if let Some(path) = config.plugins.get(name).and_then(|entry| entry.path.clone()) {
        return Ok(vec![path]);
    }
    if config.plugin_dirs.is_empty() {
        return Err(anyhow!("the configuration has no plugin_dirs, so nothing could be served; name one"));
    }
    Ok(config.plugin_dirs.iter().map(|folder| context.in_workdir(folder).join(format!("{name}.wasm"))).collect())
}

/// A crate that is a plugin.
struct Project {
    folder: PathBuf,
    /// The crate's name, which its manifest carries.
    name: String,
}

impl Project {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let failed = || format!("failed to read {}", folder.join("Cargo.toml").display());
        let text = fs::read_to_string(folder.join("Cargo.toml")).with_context(failed).map_err(|error| ExitCode::NotFound.error(error))?;
        let manifest: toml::Table = toml::from_str(&text).with_context(failed)?;
        let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
        let name = name.with_context(|| format!("{} names no package", folder.join("Cargo.toml").display()))?;
        if !config::is_name(name) {
            return Err(anyhow!("{name:?} is not a plugin's name; use a-z, 0-9, `-` and `_`, at most 64 of them"));
        }
        Ok(Self { folder: folder.canonicalize().with_context(failed)?, name: name.to_owned() })
    }
}

/// Everything that does not change while it runs.
struct Dev<'a> {
    context: &'a Context,
    project: Project,
    served: Served,
    /// Where a component waits for its judgement.
    scratch: Scratch,
    grants: Grants,
    workspace: PathBuf,
    /// Tool and arguments.
    call: Option<(String, String)>,
}

impl Dev<'_> {
    async fn serve(&self, once: bool) -> anyhow::Result<ExitCode> {
        if once {
            return self.round().await;
        }
        let mut watch = Watch::start(&self.project.folder).context("failed to watch the sources")?;
        let logs = self.context.workdir.join("logs");
        let rounds = async {
            loop {
                // What was wrong has been said; the next change may mend it.
                if let Err(error) = self.round().await {
                    eprintln(&format!("stellaclaw: {}", crate::cli::chain(&error)));
                }
                eprintln(&format!("watching {}", self.project.folder.display()));
                watch.changed().await;
            }
        };
        tokio::select! {
            () = follow::lines(&logs, &self.project.name) => Ok(ExitCode::Ok),
            () = rounds => Ok(ExitCode::Ok),
        }
    }

    /// Build, judge, serve, call.
    async fn round(&self) -> anyhow::Result<ExitCode> {
        let begin = Instant::now();
        let Some(built) = Build::start(&self.project.folder)?.component().await? else {
            eprintln("the build failed; what was served before still is");
            return Ok(ExitCode::Failed);
        };
        // A copy, so that what was judged is what is served. The file's name is the plugin's.
        let judged = self.scratch.path().join(format!("{}.wasm", self.project.name));
        fs::copy(&built, &judged).with_context(|| format!("failed to read {}", built.display()))?;
        let trial = Trial::of(self.context, &judged, self.grants.clone()).await?;
        let advice = trial.check.refusals.iter().map(|text| ("refused", text));
        for (word, text) in advice.chain(trial.check.warnings.iter().map(|text| ("warning", text))) {
            eprintln(&format!("{word}: {text}"));
        }
        if trial.is_refused() {
            eprintln("a host would refuse it; what was served before still is");
            return Ok(ExitCode::Failed);
        }
        self.served.put(&judged)?;
        eprintln(&format!("{} is up to date after {:.1} s", self.served.path().display(), begin.elapsed().as_secs_f64()));
        match (&self.call, &trial.ready) {
            (Some((tool, arguments)), Some(ready)) => self.call(ready, tool, arguments).await,
            _ => Ok(ExitCode::Ok),
        }
    }

    async fn call(&self, ready: &Ready, tool: &str, arguments: &str) -> anyhow::Result<ExitCode> {
        let answer = one_call(&ready.components.plugins, &self.project.name, tool, arguments, self.workspace.clone()).await?;
        // The log has told of a trap already.
        let (value, code) = result(answer.map_err(|error| crate::plugins::CallError { trap: None, ..error }));
        output::json(&value)?;
        Ok(code)
    }
}
