//! The command line: verbs and options, without what they do.

mod init;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config;
use crate::ids::ConversationId;
use crate::limits::LOG_SHOWN;

use crate::fake_telegram;

pub use init::{InitArgs, Provider};

/// A self-hosted agent server whose every tool and model provider is a sandboxed component.
#[derive(Debug, Clone, Parser)]
#[command(name = "stellaclaw", version, after_help = super::exit::HELP)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    /// What to do; `run` when left out.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The configuration; else $STELLACLAW_CONFIG, ~/.config/stellaclaw/config.toml, /etc/stellaclaw/config.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is kept; else $STELLACLAW_WORKDIR, ~/.local/share/stellaclaw
    #[arg(long, global = true, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// How log lines look; text on a terminal and in the journal, else json
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Log more; twice for everything. Wins over RUST_LOG
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only. Wins over RUST_LOG
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// See [`Common::log_format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// See [`Common::color`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Set up a model, a bot and the configuration, step by step
    Init(Box<InitArgs>),
    /// Serve every channel, in the foreground
    Run(RunArgs),
    /// Talk in the terminal
    Chat(ChatArgs),
    /// Ask one thing; only the answer goes to standard output
    Ask(AskArgs),
    /// Send a message, and a file with it, to a chat
    Send(SendArgs),
    /// Say who may talk to the bot; without a verb, make a code for its first owner
    Pair(PairArgs),
    /// Log in where a model is used with an account instead of a key
    #[command(subcommand)]
    Login(LoginVerb),
    /// Show what the host is doing
    Status(StatusArgs),
    /// Show what models used, in tokens and money
    Usage(UsageArgs),
    /// Show the log of the host
    Logs(LogsArgs),
    /// Check everything and say how to repair it
    Doctor(DoctorArgs),
    /// Look after conversations
    #[command(subcommand, visible_alias = "conv")]
    Conversation(ConversationVerb),
    /// End every turn, and begin none until `resume`; messages are kept
    StopAll,
    /// Begin turns again after `stop-all`
    Resume,
    /// Make, check and restore backups
    #[command(subcommand)]
    Backup(BackupVerb),
    /// Have systemd keep the host running
    #[command(subcommand)]
    Service(ServiceVerb),
    /// Work with the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Show models, and try them
    #[command(subcommand)]
    Model(ModelVerb),
    /// Work with components
    #[command(subcommand)]
    Plugin(PluginVerb),
    /// Aids for trying things out
    #[command(subcommand)]
    Dev(DevVerb),
    /// Print the script with which a shell completes verbs and options
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `run`
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {}

/// `chat`
#[derive(Debug, Clone, Default, Args)]
pub struct ChatArgs {
    /// The conversation to go on with; made when there is none of that name
    #[arg(long, value_name = "NAME")]
    pub conversation: Option<String>,
    /// A directory to show the agent as mounts/NAME, read-only unless :rw follows
    #[arg(long, value_name = "DIR[:ro|:rw]")]
    pub mount: Vec<MountArg>,
}

/// `login`
#[derive(Debug, Clone, Subcommand)]
pub enum LoginVerb {
    /// Log in to ChatGPT, for `api_key = { codex_auth = "FILE" }`
    Codex(LoginArgs),
}

/// `login codex`
#[derive(Debug, Clone, Args)]
pub struct LoginArgs {
    /// Confirm the login in a browser on any machine, with a code
    #[arg(long)]
    pub device: bool,
    /// Where the login is kept; else $CODEX_HOME/auth.json, ~/.codex/auth.json
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Replace the login of another account without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// `ask`
#[derive(Debug, Clone, Args)]
pub struct AskArgs {
    /// What to ask
    pub text: String,
    /// Print the answer with its usage as JSON
    #[arg(long)]
    pub json: bool,
}

/// `send`
#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// Where to: `telegram:CHAT` or `telegram:CHAT:TOPIC`
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    /// A file that goes with it
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Without a sound
    #[arg(long)]
    pub silent: bool,
    /// The message, in Markdown; `-` reads it from standard input
    pub text: Option<String>,
}

/// `pair`
#[derive(Debug, Clone, Default, Args)]
pub struct PairArgs {
    #[command(subcommand)]
    pub verb: Option<PairVerb>,
}

/// `pair …`
#[derive(Debug, Clone, Subcommand)]
pub enum PairVerb {
    /// List who may talk, who has asked, and who was only counted
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a person talk to the bot, or those who may do so in a group
    Approve {
        /// The number of the person or group
        #[arg(allow_negative_numbers = true)]
        id: i64,
    },
    /// Ignore a person or group from now on
    Reject {
        /// The number of the person or group
        #[arg(allow_negative_numbers = true)]
        id: i64,
    },
    /// Forget what was decided; what runs there is stopped
    Revoke {
        /// The number of the person or group
        #[arg(allow_negative_numbers = true)]
        id: i64,
    },
}

/// `status`
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Only whether the host is healthy: 0 when it is, else 1 and why. With --quiet a healthy one prints nothing
    #[arg(long)]
    pub exit_code: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `service …`
#[derive(Debug, Clone, Subcommand)]
pub enum ServiceVerb {
    /// Write a systemd unit of this user, and enable it
    Install(InstallArgs),
    /// Show whether it runs; ends with 0 when it does
    Status {
        /// The unit's name
        #[arg(long, default_value = "stellaclaw", value_parser = unit_name)]
        name: String,
    },
    /// Stop it, and remove the unit; everything else stays
    Uninstall(UninstallArgs),
}

/// `service install`
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// The unit's name, for several hosts
    #[arg(long, default_value = "stellaclaw", value_parser = unit_name)]
    pub name: String,
    /// Start it, or restart it, at once
    #[arg(long)]
    pub now: bool,
    /// Replace a unit of that name that somebody else wrote
    #[arg(long)]
    pub force: bool,
}

/// `service uninstall`
#[derive(Debug, Clone, Args)]
pub struct UninstallArgs {
    /// The unit's name
    #[arg(long, default_value = "stellaclaw", value_parser = unit_name)]
    pub name: String,
    /// Also one that somebody else wrote
    #[arg(long)]
    pub force: bool,
}

fn unit_name(text: &str) -> Result<String, String> {
    match crate::config::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name has a-z, 0-9, `-` and `_`, at most 64 of them".to_owned()),
    }
}

/// `usage`
#[derive(Debug, Clone, Args)]
pub struct UsageArgs {
    /// From so long ago until now: 12h, 7d, 90d
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = span)]
    pub since: Duration,
    /// One line for each
    #[arg(long, value_enum, default_value_t = Usage::Model)]
    pub by: Usage,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`UsageArgs::by`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Usage {
    Model,
    Conversation,
    /// UTC
    Day,
    /// What it was for: turns, compaction, helpers
    Kind,
}

fn span(text: &str) -> Result<Duration, String> {
    config::parse_span(text).map_err(|error| error.to_string())
}

/// `logs`
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Wait for new lines and show them
    #[arg(short, long)]
    pub follow: bool,
    /// The least level to show
    #[arg(long, value_enum, default_value_t = LogLevel::Trace)]
    pub level: LogLevel,
    /// Only what names this conversation, or one of its sessions; `stellaclaw conversation list` has the ids
    #[arg(long, value_name = "ID", value_parser = conversation_id)]
    pub conversation: Option<ConversationId>,
    /// The last so many lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = LOG_SHOWN)]
    pub lines: usize,
    /// Print the lines as they are, in JSON
    #[arg(long)]
    pub json: bool,
}

/// The levels of lines, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The id of a conversation, as people write it.
fn conversation_id(text: &str) -> Result<ConversationId, String> {
    text.parse().map_err(|_| "an id looks like c1; `stellaclaw conversation list` has them".to_owned())
}

/// `conversation …`
#[derive(Debug, Clone, Subcommand)]
pub enum ConversationVerb {
    /// List them all
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one: its settings, where it stands, and what was said last
    Show {
        /// Its id
        #[arg(value_name = "ID", value_parser = conversation_id)]
        conversation: ConversationId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write its whole history; the files of its workspace are not in it
    Export(ExportArgs),
    /// Remove it with its history, its workspace and what plugins keep for it
    Delete {
        /// Its id
        #[arg(value_name = "ID", value_parser = conversation_id)]
        conversation: ConversationId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Also while a turn runs
        #[arg(long)]
        force: bool,
    },
    /// End what runs in it, as /cancel does
    Stop {
        /// Its id
        #[arg(value_name = "ID", value_parser = conversation_id)]
        conversation: ConversationId,
    },
}

/// `conversation export`
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Its id
    #[arg(value_name = "ID", value_parser = conversation_id)]
    pub conversation: ConversationId,
    /// Events as they are kept, one per line, or what was said, to read
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub format: ExportFormat,
    /// A file to make, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// See [`ExportArgs::format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Jsonl,
    Markdown,
}

/// `doctor`
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Ask every model a short question, and Telegram about the bot, too
    #[arg(long)]
    pub online: bool,
    /// Show the updates of Telegram that were not understood or could not be taken, as they came, and check nothing
    #[arg(long, conflicts_with = "online")]
    pub updates: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `backup …`
#[derive(Debug, Clone, Subcommand)]
pub enum BackupVerb {
    /// Make one, also while a host runs; prints where it is
    Create {
        /// A directory to make it in, or the name that it gets; else the current directory
        #[arg(value_name = "DIR|NAME", default_value = ".")]
        place: PathBuf,
        /// Leave out the files of conversations, and those they share
        #[arg(long)]
        without_workspaces: bool,
    },
    /// Check every file of one, and the store in it
    Verify {
        /// The backup
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a work directory of one; replies that were not delivered are set aside, open turns wait for /continue
    Restore {
        /// The backup
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
        /// An empty or missing directory; else the work directory
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
}

/// `config …`
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigVerb {
    /// Say whether the configuration is right, and what is wrong with it
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `model …`
#[derive(Debug, Clone, Subcommand)]
pub enum ModelVerb {
    /// List the models of the configuration and whether they can be asked; with an alias, the models that its account can use
    List {
        /// A model of the configuration
        alias: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a model for something small, whatever it is: a word, a search, a drawing. It costs what that costs
    Test(TestArgs),
}

/// `model test`
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// A model of the configuration
    pub alias: String,
    /// A file to make of a drawing, instead of one with the model's alias in this directory
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `plugin …`
#[derive(Debug, Clone, Subcommand)]
pub enum PluginVerb {
    /// List every component that was found
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a component is, the most it could do, and what it may do here
    Inspect {
        /// The name of a plugin, or a file
        #[arg(value_name = "NAME|FILE")]
        plugin: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make one tool call without a model; the answer is JSON on standard output
    Call(CallArgs),
    /// Write a new plugin, with the SDK that fits this program
    New(NewArgs),
    /// Say what a host would refuse about a component, and what its author should know
    Check {
        /// The component
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a manifest to a component that was built without the SDK
    Pack(PackArgs),
    /// Build a plugin whenever its sources change, check it, and put it where a host serves it
    Dev(DevArgs),
    /// Allow a component what it asks for, or part of it, for its bytes as they are now
    Grant(GrantArgs),
    /// Take back what was granted with `plugin grant`
    Revoke(RevokeArgs),
}

/// `plugin call`
#[derive(Debug, Clone, Args)]
pub struct CallArgs {
    /// The name of a plugin, or a file
    #[arg(value_name = "NAME|FILE")]
    pub plugin: String,
    /// The tool
    pub tool: String,
    /// Its arguments
    #[arg(value_name = "JSON", default_value = "{}")]
    pub arguments: String,
    #[command(flatten)]
    pub reach: Reach,
}

/// What a call from the command line can reach.
#[derive(Debug, Clone, Args)]
pub struct Reach {
    /// The directory that the call sees as its workspace
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub workspace: PathBuf,
    /// Instead of the default grants: `fs=workspace:ro`, `http=https://nas.example`, `private=nas.example` (a name in your own
    /// network); may be repeated
    #[arg(long, value_name = "GRANT")]
    pub grant: Vec<String>,
}

/// `plugin new`
#[derive(Debug, Clone, Args)]
pub struct NewArgs {
    /// The plugin: a letter, then a-z, 0-9, `-` and `_`
    pub name: String,
    /// The language; for others see `plugin pack`
    #[arg(long, default_value = "rust")]
    pub lang: String,
    /// What the example uses of the host, such as `http,settings`
    #[arg(long, value_name = "IMPORT", value_delimiter = ',')]
    pub imports: Vec<String>,
    /// The folder to make, instead of one with the plugin's name
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// `plugin pack`
#[derive(Debug, Clone, Args)]
pub struct PackArgs {
    /// The component
    pub file: PathBuf,
    /// The manifest: name, version, tools, what it asks for (.json or .toml)
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// Where the result goes, instead of into the component's file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace another manifest
    #[arg(long)]
    pub replace: bool,
}

/// `plugin dev`
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// The folder of the plugin
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// A call to make after each build
    #[arg(long, num_args = 2, value_names = ["TOOL", "JSON"])]
    pub call: Option<Vec<String>>,
    /// Build once, and end
    #[arg(long)]
    pub once: bool,
    /// Take the place of a plugin of the same name that was not put there from this folder
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// `dev …`
#[derive(Debug, Clone, Subcommand)]
pub enum DevVerb {
    /// Serve a Telegram of one's own on this machine, with a page in the browser to be the people in it
    FakeTelegram(FakeTelegramArgs),
}

/// `dev fake-telegram`
#[derive(Debug, Clone, Args)]
pub struct FakeTelegramArgs {
    /// The port; 0 for any
    #[arg(long, default_value_t = fake_telegram::limits::PORT)]
    pub port: u16,
    /// The bot's token, instead of one that is the same every time
    #[arg(long)]
    pub token: Option<String>,
    /// Append every call, message and update to this file, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// `plugin grant`
#[derive(Debug, Clone, Args)]
pub struct GrantArgs {
    /// The name of a plugin
    pub name: String,
    /// Only these files instead of what it asks for, such as `workspace:ro`; may be repeated
    #[arg(long, value_name = "GRANT")]
    pub fs: Vec<String>,
    /// Only these origins instead of what it asks for; may be repeated. A name leads to public addresses only
    #[arg(long, value_name = "ORIGIN")]
    pub http: Vec<String>,
    /// This host of an origin may be this machine or in its network; may be repeated. Of what it asks for, addresses of this
    /// machine and its network are left out without it
    #[arg(long, value_name = "HOST")]
    pub private: Vec<String>,
    /// A secret for a slot, never granted unasked; may be repeated
    #[arg(long, value_name = "SLOT=env:NAME|file:PATH")]
    pub secret: Vec<String>,
    /// The secret of this slot may be used to sign, too; may be repeated
    #[arg(long, value_name = "SLOT")]
    pub sign: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `plugin revoke`
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// The name of a plugin
    pub name: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `DIR`, `DIR:ro` or `DIR:rw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountArg {
    pub path: PathBuf,
    pub writable: bool,
}

impl FromStr for MountArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, writable) = match text.rsplit_once(':') {
            Some((path, "ro")) => (path, false),
            Some((path, "rw")) => (path, true),
            _ => (text, false),
        };
        if path.is_empty() { Err("the directory is missing".into()) } else { Ok(Self { path: path.into(), writable }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_mount_is_read_only_unless_it_says_otherwise() {
        let check = |text: &str| text.parse::<MountArg>().map(|mount| (mount.path.to_str().unwrap().to_owned(), mount.writable));
        assert_eq!(check("/a"), Ok(("/a".into(), false)));
        assert_eq!(check("/a:ro"), Ok(("/a".into(), false)));
        assert_eq!(check("/a:b:rw"), Ok(("/a:b".into(), true)));
        assert_eq!(check("/a:b"), Ok(("/a:b".into(), false)));
        assert!(check(":rw").is_err());
    }
}
