//! The command line: one verb, one file.
//!
//! A verb returns an exit code or an error; [`run`] is the only place that starts a runtime, and `main` the only one that
//! prints an error. Standard output carries the result, standard error everything else.

pub mod args;
mod ask;
mod backup;
mod chat;
mod completions;
mod components;
mod config;
mod consent;
mod conversation;
mod dev;
mod doctor;
mod exit;
mod host;
mod init;
mod login;
mod logs;
mod model;
mod output;
mod pair;
mod plugin;
mod run;
mod scratch;
mod send;
mod service;
mod status;
mod stop;
mod usage;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::{Config, ConfigError, environment};
use crate::kernel::Setup;
use crate::observe::{self, Format, Logs};
use crate::secrets::Redactor;
use crate::store;
use crate::workdir::{WorkDir, WorkDirError};
use args::{Arguments, Color, Common, DevVerb, LogFormat, LoginVerb, PluginVerb, RunArgs, Verb};
pub use exit::ExitCode;

/// What every verb needs: where things are and how to talk.
#[derive(Debug)]
pub struct Context {
    /// The configuration's file; none: the embedded default.
    pub config_file: Option<PathBuf>,
    /// The work directory; it may not exist yet.
    pub workdir: PathBuf,
    /// May standard output have colours?
    pub color: bool,
    /// Say only what must be said.
    pub quiet: bool,
    /// The log; `run` also gives it a folder.
    pub logs: Logs,
}

impl Context {
    /// The configuration, or the embedded default. From now on the log is free of the secrets that it names.
    ///
    /// # Errors
    ///
    /// Those of [`Config::load`]. A secret that cannot be read is for those who use it to report.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let config = environment::load(self.config_file.as_deref())?;
        let secrets: Vec<_> = config.secret_sources().filter_map(|(_, source)| source.read_all().ok()).flatten().collect();
        self.logs.redact(Redactor::new(&secrets));
        Ok(config)
    }

    /// What a host is started from; makes the work directory.
    ///
    /// # Errors
    ///
    /// A wrong configuration, or a work directory that cannot be used.
    pub(crate) fn setup(&self) -> anyhow::Result<Setup> {
        let config = Arc::new(self.config()?);
        Ok(Setup { workdir: WorkDir::open(&self.workdir)?, config, store: store::Options::default() })
    }

    fn new(common: &Common, logged: &str) -> anyhow::Result<Self> {
        let workdir = environment::work_directory(common.workdir.as_deref());
        let workdir = workdir.context("there is no home directory; say where to keep everything with --workdir")?;
        let workdir = std::path::absolute(&workdir).with_context(|| format!("failed to find {}", workdir.display()))?;
        let plain = environment::variable("NO_COLOR").is_some();
        let colored = |terminal: bool| match common.color {
            Color::Auto => terminal && !plain,
            Color::Always => true,
            Color::Never => false,
        };
        let terminal = std::io::stderr().is_terminal();
        let journal = observe::is_journal(environment::variable("JOURNAL_STREAM").as_deref());
        let format = match common.log_format {
            Some(LogFormat::Text) => Format::Text { color: colored(terminal) },
            None if terminal || journal => Format::Text { color: colored(terminal) },
            Some(LogFormat::Json) | None => Format::Json,
        };
        Ok(Self {
            config_file: environment::config_file(common.config.as_deref()),
            workdir,
            color: colored(std::io::stdout().is_terminal()),
            quiet: common.quiet,
            logs: observe::start(format, journal, &filter(common, logged)),
        })
    }

    /// A file of the operator that is named relative to the work directory.
    fn in_workdir(&self, path: &Path) -> PathBuf {
        self.workdir.join(path)
    }
}

/// Does a process hold the work directory? Makes no lock where there never was one.
fn is_held(workdir: &WorkDir) -> Result<bool, WorkDirError> {
    Ok(workdir.root().join("lock").exists() && workdir.lock()?.is_none())
}

/// What a verb logs unless told otherwise: the lines of components where they serve, everything of them while one is made.
fn logged(verb: &Verb) -> &'static str {
    match verb {
        Verb::Run(_) => "warn,stellaclaw=info,plugin=info",
        Verb::Plugin(PluginVerb::Dev(_)) => "warn,plugin=debug,stellaclaw::plugins::run=debug",
        _ => "warn",
    }
}

/// What is logged: by the flags, else by RUST_LOG, else by the verb.
fn filter(common: &Common, logged: &str) -> String {
    match (common.quiet, common.verbose) {
        (true, _) => "error".into(),
        (_, 1) => "info,stellaclaw=debug,plugin=debug".into(),
        (_, 2..) => "trace".into(),
        _ => {
            let named = environment::variable("RUST_LOG").and_then(|value| value.into_string().ok());
            named.unwrap_or_else(|| logged.into())
        }
    }
}

/// An error with its causes on one line, for people. A cause that its error has already quoted is not said twice.
#[must_use]
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    chat::harmless(&text).into_owned()
}

/// Does what the arguments say.
///
/// # Errors
///
/// Whatever kept the verb from its result; [`ExitCode::of`] gives the code to end with.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let verb = arguments.verb.unwrap_or(Verb::Run(RunArgs {}));
    let context = Context::new(&arguments.common, logged(&verb))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start the async runtime")?;
    let ended = runtime.block_on(dispatch(&context, verb));
    // A component that is still being compiled has nobody left to wait for it.
    runtime.shutdown_background();
    ended
}

async fn dispatch(context: &Context, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Init(args) => init::run(context, *args).await,
        Verb::Run(args) => run::run(context, args).await,
        Verb::Chat(args) => chat::run(context, args).await,
        Verb::Ask(args) => ask::run(context, args).await,
        Verb::Send(args) => send::run(context, args).await,
        Verb::Login(LoginVerb::Codex(args)) => login::codex(args).await,
        Verb::Pair(args) => pair::run(context, args).await,
        Verb::Status(args) => status::run(context, args).await,
        Verb::Usage(args) => usage::run(context, args).await,
        Verb::Logs(args) => logs::run(context, args).await,
        Verb::Doctor(args) => doctor::run(context, args).await,
        Verb::Backup(verb) => backup::run(context, verb).await,
        Verb::Completions { shell } => completions::run(shell),
        Verb::StopAll => stop::stop_all(context).await,
        Verb::Resume => stop::resume(context).await,
        Verb::Conversation(verb) => conversation::run(context, verb).await,
        Verb::Service(verb) => service::run(context, verb),
        Verb::Config(verb) => config::run(context, verb),
        Verb::Model(verb) => model::run(context, verb).await,
        Verb::Dev(DevVerb::FakeTelegram(args)) => dev::fake_telegram(args).await,
        Verb::Plugin(PluginVerb::List { json }) => plugin::list(context, json).await,
        Verb::Plugin(PluginVerb::Inspect { plugin, json }) => plugin::inspect(context, &plugin, json).await,
        Verb::Plugin(PluginVerb::Call(args)) => plugin::call(context, args).await,
        Verb::Plugin(PluginVerb::New(args)) => plugin::new::run(args),
        Verb::Plugin(PluginVerb::Check { file, json }) => plugin::check::run(context, &file, json).await,
        Verb::Plugin(PluginVerb::Pack(args)) => plugin::pack::run(args),
        Verb::Plugin(PluginVerb::Dev(args)) => plugin::dev::run(context, args).await,
        Verb::Plugin(PluginVerb::Grant(args)) => plugin::granting::grant(context, &args),
        Verb::Plugin(PluginVerb::Revoke(args)) => plugin::granting::revoke(context, &args),
    }
}
