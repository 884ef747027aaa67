//! `init`: from nothing to a model and a bot that answer.
//!
//! - Questions first, then tries, then everything is written at once: who stops before that finds nothing changed.
//! - A secret is never in the configuration, in an argument or in what is said. It is named by its variable, or goes into a
//!   file of its own.
//! - Every question has a flag. Without a terminal, or with `--yes`, a flag that is missing is named.
//!
//! What it does not do: change a configuration that is there. `--force` replaces it.

mod bot;
mod kept;
mod model;
mod questions;
mod written;

use std::path::Path;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use self::questions::Questions;
use self::written::Wanted;
use super::args::{InitArgs, InstallArgs, ServiceVerb};
use super::doctor::Trouble;
use super::{Context, ExitCode, is_held, output, pair, service};
use crate::config::{Config, environment};
use crate::secrets::Redactor;
use crate::workdir::WorkDir;

/// There where systemd runs.
const SYSTEMD: &str = "/run/systemd/system";
/// What a person can do about something that does not work.
const WAYS: [&str; 3] = ["answer again", "go on, and mend it later", "stop"];

/// Runs the verb.
pub(super) async fn run(context: &Context, args: InitArgs) -> anyhow::Result<ExitCode> {
    let path = context.config_file.clone().or_else(|| environment::personal(environment::CONFIG_PLACE));
    let path = path.context("there is no home directory; say where the configuration goes with --config")?;
    let path = std::path::absolute(&path).with_context(|| format!("failed to find {}", path.display()))?;
    refuse(&args, &path)?;
    let questions = Questions::new(args.yes, context.color);
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let wanted = tokio::select! {
        wanted = ask(context, &args, &path, questions) => wanted?,
        _ = interrupt.recv() => return Err(interrupted()),
    };
    let written = wanted.write(&path)?;
    let serves = WorkDir::existing(&context.workdir).is_ok_and(|workdir| is_held(&workdir).unwrap_or(false));
    let context = Context { config_file: Some(path.clone()), logs: context.logs.clone(), workdir: context.workdir.clone(), ..*context };
    let finished = tokio::select! {
        finished = finish(&context, &wanted) => finished,
        _ = interrupt.recv() => Err(ExitCode::Interrupted.error(anyhow!("stopped; what was written stays"))),
    };
    let list: String = written.iter().map(|(path, what)| format!("  {}  {what}\n", path.display())).collect();
    output::text(&format!("Written:\n{list}\n{}", next(&path, &wanted, finished.is_ok(), serves)))?;
    finished
}

/// What needs the configuration: an owner, and a service.
async fn finish(context: &Context, wanted: &Wanted) -> anyhow::Result<ExitCode> {
    if wanted.bot.as_ref().is_some_and(|bot| bot.pairs) {
        pair::now(context).await?;
    }
    if !wanted.service {
        return Ok(ExitCode::Ok);
    }
    service::run(context, ServiceVerb::Install(InstallArgs { name: "stellaclaw".into(), now: true, force: false }))
}

/// What cannot be right, before anybody is asked.
fn refuse(args: &InitArgs, path: &Path) -> anyhow::Result<()> {
    if bot::is_ambiguous(args) {
        let error = anyhow!("only one of --key-file and --token-file can be standard input; keep one of them in a file (mode 600)");
        return Err(ExitCode::Usage.error(error));
    }
    if path.exists() && !args.force {
        return Err(taken(path));
    }
    Ok(())
}

fn taken(path: &Path) -> anyhow::Error {
    let path = path.display();
    ExitCode::Usage.error(anyhow!("nothing was changed: {path} is there already; --force replaces it, and keeps it as {path}.bak"))
}

/// Nothing has been written when this is said.
fn interrupted() -> anyhow::Error {
    ExitCode::Interrupted.error(anyhow!("stopped; nothing was written"))
}

/// Asks and tries until everything works, or the person goes on without.
async fn ask(context: &Context, args: &InitArgs, path: &Path, questions: Questions) -> anyhow::Result<Wanted> {
    if questions.asks() {
        questions.say("Nothing is written before the last question. Ctrl-C stops.");
    }
    let mut wanted = Wanted { model: model::wanted(args, questions)?, bot: None, service: false };
    loop {
        let config = checked(context, &wanted, path, args.force)?;
        let Err(trouble) = (if args.untested { Ok(()) } else { model::answers(context, &config, questions).await? }) else { break };
        if is_accepted(questions, "The model", trouble)? {
            break;
        }
        wanted.model = model::wanted(&InitArgs::default(), questions)?;
    }
    wanted.bot = bot::wanted(args, questions)?;
    loop {
        let config = checked(context, &wanted, path, args.force)?;
        let Err(trouble) = (if args.untested { Ok(()) } else { bot::answers(&config, questions).await }) else { break };
        if is_accepted(questions, "The bot", trouble)? {
            break;
        }
        let again = InitArgs { telegram: true, token_env: None, token_file: None, ..args.clone() };
        wanted.bot = bot::wanted(&again, questions)?;
    }
    if let Some(bot) = &mut wanted.bot {
        bot.pairs = bot::pairs(args, questions)?;
    }
    // Where nobody can be asked it is not missed.
    let is_asked = questions.asks() && !args.no_service && Path::new(SYSTEMD).exists();
    wanted.service =
        args.service || (is_asked && questions.agrees("Have systemd start it, now and whenever you log in?", true, "--service")?);
    Ok(wanted)
}

/// The configuration as it would be. The log is free of its secrets from now on.
fn checked(context: &Context, wanted: &Wanted, path: &Path, force: bool) -> anyhow::Result<Config> {
    if let Some(path) = wanted.in_the_way(path).filter(|_| !force) {
        return Err(taken(&path));
    }
    let config = wanted.config(path)?;
    let secrets: Vec<_> = config.secret_sources().filter_map(|(_, source)| source.read_all().ok()).flatten().collect();
    context.logs.redact(Redactor::new(&secrets));
    Ok(config)
}

/// Does the person go on all the same? False: they answer again.
fn is_accepted(questions: Questions, what: &str, trouble: Trouble) -> anyhow::Result<bool> {
    let Trouble { code, why, repair } = trouble;
    if !questions.asks() {
        let error = anyhow!("nothing was written: {why}; {repair}, or give --untested to write the configuration all the same");
        return Err(code.error(error));
    }
    questions.say(&format!("{what} does not work: {why}\n  → {repair}"));
    match questions.choose("What now?", WAYS.map(str::to_owned).to_vec(), 0, "--untested")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(interrupted()),
    }
}

/// What to type next. `serves`: a host ran when the configuration was written.
fn next(path: &Path, wanted: &Wanted, finished: bool, serves: bool) -> String {
    let is_usual = environment::personal(environment::CONFIG_PLACE).is_some_and(|usual| usual == path);
    let program = if is_usual { "stellaclaw".to_owned() } else { format!("stellaclaw --config {}", path.display()) };
    let mut lines = vec!["Next:".to_owned()];
    let mut line = |verb: &str, what: &str| lines.push(format!("  {program} {verb:<6}  {what}"));
    if wanted.bot.as_ref().is_some_and(|bot| bot.owners.is_empty() && !(bot.pairs && finished)) {
        line("pair", "shows a code; who sends it to the bot owns it");
    }
    if wanted.service && finished {
        line("status", "shows what the host does");
    } else if wanted.service {
        line("service install --now", "has systemd start it");
    } else if wanted.bot.is_some() {
        line("run", "serves the bot");
    }
    line("chat", "talks here in the terminal");
    line("doctor", "checks everything");
    if serves {
        lines.push("\nA host was running with the configuration before. It goes on with that one: stop it and start it anew.".to_owned());
    }
    lines.join("\n") + "\n"
}
