//! `chat`: a conversation in the terminal, or through a pipe.
//!
//! A client of the host's socket and nothing more, also when the host is this process. With a terminal at both ends it
//! edits lines, streams answers and shows tools; otherwise each line of the input is a message, sent when the one
//! before is answered, and only what is delivered is written.

pub(super) mod client;
mod prompt;
mod screen;
pub(super) mod text;

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::mpsc;

use self::client::Client;
use self::prompt::{Lines, Prompt, Typed};
use self::screen::{Screen, Style};
pub(super) use self::text::harmless;
use super::args::{ChatArgs, MountArg};
use super::{Context, ExitCode};
use crate::channels::terminal::protocol::{Place, Settled, ToClient};
use crate::chat::FailureKind;
use crate::plugins::{Mount, State};

/// Runs until the person leaves or the input ends.
pub(super) async fn run(context: &Context, arguments: ChatArgs) -> anyhow::Result<ExitCode> {
    let setup = context.setup()?;
    let place = Place::Chat { name: arguments.conversation };
    let started = Instant::now();
    let mounts = arguments.mount.iter().map(named).collect::<anyhow::Result<_>>()?;
    let history = setup.workdir.cache().join("history");
    let (client, welcome) = Client::attach(setup, place, mounts).await?;
    let watched = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    for line in banner(&welcome, client.is_host(), watched) {
        eprintln(&line);
    }
    let style = if watched { Style::Watched { colours: context.color } } else { Style::Plain };
    let screen = Screen::new(std::io::stdout(), style);
    if watched {
        Chat { client, screen, started }.interact(&history, context.color).await
    } else {
        Chat { client, screen, started }.piped().await
    }
}

/// Nothing is going on: why, and what the model said instead of an answer.
type Quiet = (Settled, Option<FailureKind>);

/// The code for a turn that waits, by what its model request failed with.
pub(super) fn parked(failure: Option<FailureKind>) -> ExitCode {
    use FailureKind as Kind;
    match failure {
        Some(Kind::AuthExpired | Kind::AuthInvalid | Kind::Forbidden) => ExitCode::Auth,
        Some(Kind::Denied | Kind::Policy) => ExitCode::Denied,
        Some(Kind::Timeout | Kind::Transport) => ExitCode::Network,
        Some(Kind::RateLimit | Kind::Overloaded | Kind::Server | Kind::UsageLimit) => ExitCode::Temporary,
        _ => ExitCode::Failed,
    }
}

struct Chat<W> {
    client: Client,
    screen: Screen<W>,
    started: Instant,
}

impl<W: Write> Chat<W> {
    /// One message per line, each after the answer to the one before.
    async fn piped(mut self) -> anyhow::Result<ExitCode> {
        let mut lines = stdin_lines()?;
        let mut ended = (Settled::Idle, None);
        // Replies that waited for a client come first.
        self.client.settle().await?;
        self.until_settled().await?;
        while let Some(line) = lines.recv().await {
            let line = line.context("failed to read standard input")?;
            if line.trim().is_empty() {
                continue;
            }
            self.client.say(line).await?;
            self.client.settle().await?;
            ended = self.until_settled().await?;
        }
        self.client.leave().await?;
        Ok(match ended {
            (Settled::Idle, _) => ExitCode::Ok,
            (Settled::Parked, failure) => parked(failure),
        })
    }

    async fn until_settled(&mut self) -> anyhow::Result<Quiet> {
        loop {
            if let Some(state) = self.handle_next().await? {
                return Ok(state);
            }
        }
    }

    /// Shows the next event. The state, when it says that nothing is going on.
    async fn handle_next(&mut self) -> anyhow::Result<Option<Quiet>> {
        let event = self.client.next().await?;
        self.handle(event).await
    }

    /// Shows an event; attaches again when there is none because the host went away.
    async fn handle(&mut self, event: Option<ToClient>) -> anyhow::Result<Option<Quiet>> {
        let Some(event) = event else {
            self.client.reattach().await?;
            return Ok(None);
        };
        self.screen.show(&event).context("failed to write the answer")?;
        match event {
            ToClient::Deliver { key, part, .. } => self.client.ack(key, part).await?,
            ToClient::Rejected { reason, .. } => anyhow::bail!("the message was not accepted: {reason}"),
            ToClient::Settled { state, failure } => return Ok(Some((state, failure))),
            _ => {}
        }
        Ok(None)
    }

    /// Prompt, work, prompt, until Ctrl-D.
    async fn interact(mut self, history: &Path, colours: bool) -> anyhow::Result<ExitCode> {
        let prompt = Prompt::start(Some(history.to_owned()), colours).context("failed to start the prompt")?;
        self.client.settle().await?;
        self.until_settled().await?;
        self.report_plugins(&prompt);
        while let Some(line) = self.prompted(&prompt).await? {
            if line.trim().is_empty() {
                continue;
            }
            self.client.say(line).await?;
            self.client.settle().await?;
            self.watch_turn().await?;
        }
        self.client.leave().await?;
        Ok(ExitCode::Ok)
    }

    /// A first start compiles the components while the person types; say so when it is done.
    fn report_plugins(&self, prompt: &Prompt) {
        let Some(plugins) = self.client.kernel().map(|kernel| kernel.plugins().clone()) else { return };
        if plugins.list().iter().all(|plugin| plugin.state != State::Compiling) {
            return;
        }
        let (printer, started) = (prompt.printer(), self.started);
        tokio::spawn(async move {
            plugins.wait_ready().await;
            printer(format!("The plugins are ready ({:.1} s).", started.elapsed().as_secs_f64()));
        });
    }

    /// A line, while what others cause is shown above the prompt. None at the end.
    async fn prompted(&mut self, prompt: &Prompt) -> anyhow::Result<Option<String>> {
        let mut typed = prompt.ask();
        loop {
            tokio::select! {
                typed = &mut typed => match typed {
                    Ok(Typed::Line(line)) => return Ok(Some(line)),
                    Ok(Typed::Interrupted) => return Ok(Some(String::new())),
                    Ok(Typed::Ended) | Err(_) => return Ok(None),
                },
                event = self.client.next() => match event? {
                    Some(ToClient::Deliver { key, part, text, .. }) => {
                        prompt.print(harmless(&text).into_owned());
                        self.client.ack(key, part).await?;
                    }
                    Some(_) => {}
                    None => self.client.reattach().await?,
                },
            }
        }
    }

    /// Shows a turn until it ends. Ctrl-C cancels it; a line that is typed joins it.
    async fn watch_turn(&mut self) -> anyhow::Result<()> {
        let mut lines = Lines::start().context("failed to read the terminal")?;
        loop {
            tokio::select! {
                event = self.client.next() => {
                    if self.handle(event?).await?.is_some() {
                        // A line that was finished at the same moment begins the next turn.
                        let late = lines.stop().await;
                        if late.is_empty() {
                            return Ok(());
                        }
                        for line in late {
                            self.join(line).await?;
                        }
                        lines = Lines::start().context("failed to read the terminal")?;
                    }
                }
                Some(line) = lines.received.recv() => self.join(line).await?,
                _ = tokio::signal::ctrl_c() => self.join("/cancel".to_owned()).await?,
            }
        }
    }

    async fn join(&mut self, line: String) -> anyhow::Result<()> {
        if !line.trim().is_empty() {
            self.client.say(line.trim_end().to_owned()).await?;
            self.client.settle().await?;
        }
        Ok(())
    }
}

/// A mount is called what its directory is called.
fn named(mount: &MountArg) -> anyhow::Result<Mount> {
    let path = mount.path.canonicalize().with_context(|| format!("failed to mount {}", mount.path.display()))?;
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = name.with_context(|| format!("failed to mount {}: a mount needs a directory with a name in UTF-8", path.display()))?;
    Ok(Mount { name, path, writable: mount.writable })
}

/// The lines of standard input, read on a thread of their own.
fn stdin_lines() -> anyhow::Result<mpsc::Receiver<std::io::Result<String>>> {
    let (lines, received) = mpsc::channel(16);
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let failed = line.is_err();
                if lines.blocking_send(line).is_err() || failed {
                    return;
                }
            }
        })
        .context("failed to start reading standard input")?;
    Ok(received)
}

/// What is said before the first prompt, on standard error; at most eight lines.
fn banner(welcome: &ToClient, is_host: bool, watched: bool) -> Vec<String> {
    let ToClient::Welcome { workspace, model, provider, created, preparing, .. } = welcome else { return Vec::new() };
    let mut lines = Vec::new();
    if *preparing > 0 {
        lines.push(format!("Preparing {preparing} plugins in the background; only the first start takes these seconds."));
    }
    if *created {
        lines.push(format!("Your workspace is {}.", workspace.display()));
    }
    if provider == "provider-offline" {
        lines.push("This is the offline provider: no model, but real tools. Try:".to_owned());
        lines.extend(["  ls", "  read welcome.md", "  write notes.txt: remember the milk"].map(str::to_owned));
        lines.push("For a real model set OPENROUTER_API_KEY, or name one in the configuration (see example_config.toml).".to_owned());
    } else if *created || watched {
        lines.push(format!("The model is {model}, served by {provider}."));
    }
    if watched {
        let stays = if is_host { "" } else { " The host goes on without you." };
        lines.push(format!("/help lists commands, Ctrl-C stops a turn, Ctrl-D leaves.{stays}"));
    }
    lines
}

#[expect(clippy::print_stderr, reason = "talk goes to standard error; results alone to standard output")]
pub(super) fn eprintln(line: &str) {
    eprintln!("{}", harmless(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(provider: &str, created: bool, preparing: usize) -> ToClient {
        ToClient::Welcome {
            conversation: "c1".into(),
            workspace: "/home/me/work/c1".into(),
            model: "main".into(),
            provider: provider.into(),
            created,
            preparing,
        }
    }

    #[test]
    fn the_first_start_says_what_matters_in_eight_lines() {
        let lines = banner(&welcome("provider-offline", true, 3), true, true);
        assert!(lines.len() <= 8, "{lines:#?}");
        insta::assert_snapshot!(lines.join("\n"), @r"
        Preparing 3 plugins in the background; only the first start takes these seconds.
        Your workspace is /home/me/work/c1.
        This is the offline provider: no model, but real tools. Try:
          ls
          read welcome.md
          write notes.txt: remember the milk
        For a real model set OPENROUTER_API_KEY, or name one in the configuration (see example_config.toml).
        /help lists commands, Ctrl-C stops a turn, Ctrl-D leaves.
        ");
    }

    #[test]
    fn a_later_start_with_a_model_is_short() {
        insta::assert_snapshot!(banner(&welcome("provider-openrouter", false, 0), false, true).join("\n"), @r"
        The model is main, served by provider-openrouter.
        /help lists commands, Ctrl-C stops a turn, Ctrl-D leaves. The host goes on without you.
        ");
    }
}
