//! `pair`: who may talk to the bot. The first owner by a code, everybody else by a decision of the operator.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::args::{PairArgs, PairVerb};
use super::chat::client;
use super::doctor::Trouble;
use super::doctor::telegram::greet;
use super::{Context, ExitCode, host, output};
use crate::channels::telegram;
use crate::channels::terminal::link::{self, Reader};
use crate::channels::terminal::protocol::{Look, PROTOCOL, ToClient, ToHost, Wish};
use crate::config;
use crate::health::State;
use crate::kernel::Kernel;
use crate::limits::HEALTH_TIME;
use crate::store::{Person, Role, Store};
use crate::workdir::WorkDir;

/// Shows or changes who may talk.
pub(super) async fn run(context: &Context, args: PairArgs) -> anyhow::Result<ExitCode> {
    let (wish, id) = match args.verb {
        None => return now(context).await,
        Some(PairVerb::List { json }) => return list(context, json).await,
        Some(PairVerb::Approve { id }) => (Wish::Allow(id), id),
        Some(PairVerb::Reject { id }) => (Wish::Ignore(id), id),
        Some(PairVerb::Revoke { id }) => (Wish::Forget(id), id),
    };
    let mut host = Host::ask(context, wish.clone()).await?;
    let answer = host.next().await;
    host.leave().await?;
    match answer? {
        ToClient::Decided { person: Some(person), is_ownerless } => output::text(&came_of(&wish, &person, is_ownerless))?,
        ToClient::Decided { person: None, .. } => {
            let error = anyhow::anyhow!("nothing was decided about {id}; `stellaclaw pair list` shows what was");
            return Err(ExitCode::NotFound.error(error));
        }
        other => bail!("the host answered something else: {other:?}"),
    }
    Ok(ExitCode::Ok)
}

/// What is said of a decision.
fn came_of(wish: &Wish, person: &Person, is_ownerless: bool) -> String {
    let name = named(person);
    let mut text = match wish {
        Wish::Forget(_) => format!("{name} is unknown again.\n"),
        Wish::Allow(_) if person.role == Role::Owner => format!("{name} owns the bot already; nothing was changed.\n"),
        _ => format!("{name}: {}.\n", meaning(person.role)),
    };
    if is_ownerless {
        text.push_str(
            "The bot has no owner now: whoever else writes to it is only counted, and nobody is asked about them. `stellaclaw pair` makes a \
             code for the next owner.\n",
        );
    }
    text
}

/// Shows a code, and waits until somebody has become the first owner by it.
pub(in crate::cli) async fn now(context: &Context) -> anyhow::Result<ExitCode> {
    let mut host = Host::ask(context, Wish::Pair).await?;
    let paired = wait(context, &mut host).await;
    host.leave().await?;
    let person = paired?;
    output::text(&format!("{} is the owner of the bot now.\n", named(&person)))?;
    Ok(ExitCode::Ok)
}

async fn wait(context: &Context, host: &mut Host) -> anyhow::Result<Person> {
    let (code, seconds, bot) = match host.next().await? {
        ToClient::Code { code, seconds, bot } => (code, seconds, bot),
        other => bail!("the host answered something else: {other:?}"),
    };
    let (first, second) = code.split_at(code.len() / 2);
    let (minutes, (bot, trouble)) = (seconds / 60, called(context, &bot).await);
    output::text(&format!(
        "Send this to the bot {bot}, in a private chat, within {minutes} minutes:\n\n    {first}-{second}\n\n{trouble}Waiting …\n"
    ))?;
    match host.next().await? {
        ToClient::Decided { person: Some(person), .. } => Ok(person),
        other => bail!("the host answered something else: {other:?}"),
    }
}

/// The bot of this number, by the name with which people find it; and what keeps Telegram from saying that, to be shown.
async fn called(context: &Context, number: &str) -> (String, String) {
    let config = context.config().ok().and_then(|config| config.telegram);
    let Some(telegram) = config.filter(|telegram| bot(telegram).is_some_and(|bot| bot.ends_with(&format!(":{number}")))) else {
        return (number.to_owned(), String::new());
    };
    match tokio::time::timeout(HEALTH_TIME, greet(&telegram)).await {
        Ok(Ok(greeted)) => (greeted.bot, String::new()),
        Ok(Err(Trouble { why, .. })) => (number.to_owned(), format!("Telegram cannot be asked about it just now: {why}\n")),
        Err(_) => (number.to_owned(), "Telegram does not answer just now.\n".to_owned()),
    }
}

/// Its channel's name, as far as its token can be read here.
fn bot(telegram: &config::Telegram) -> Option<String> {
    telegram::channel_name(telegram.token.read().ok()?.expose()).ok()
}

/// A host that was asked something: one that runs, or this process.
struct Host {
    reader: Reader<OwnedReadHalf>,
    _writer: OwnedWriteHalf,
    kernel: Option<Kernel>,
}

impl Host {
    async fn ask(context: &Context, wish: Wish) -> anyhow::Result<Self> {
        let setup = context.setup()?;
        let bot = setup.config.telegram.as_ref().and_then(bot);
        let (stream, kernel) = client::connect(&setup).await?;
        let (reader, mut writer) = stream.into_split();
        let line = ToHost::Access { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), wish, bot };
        link::write(&mut writer, &line).await.context("failed to ask the host")?;
        Ok(Self { reader: Reader::new(reader), _writer: writer, kernel })
    }

    async fn next(&mut self) -> anyhow::Result<ToClient> {
        match self.reader.next().await.context("failed to read the host's answer")? {
            Some(ToClient::Refused { reason }) => Err(ExitCode::Failed.error(anyhow::anyhow!("{reason}"))),
            Some(ToClient::Bye) | None => Err(ExitCode::Temporary.error(anyhow::anyhow!("the host stopped; try again"))),
            Some(answer) => Ok(answer),
        }
    }

    async fn leave(self) -> anyhow::Result<()> {
        drop((self.reader, self._writer));
        match self.kernel {
            Some(kernel) => kernel.shutdown().await.context("failed to stop the host"),
            None => Ok(()),
        }
    }
}

async fn list(context: &Context, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let Some(telegram) = &config.telegram else { bail!("there is no [channels.telegram] in the configuration") };
    let channel = telegram::channel_name(telegram.token.read()?.expose()).context("channels.telegram.token")?;
    let store = Store::open_read_only(&WorkDir::existing(&context.workdir)?)?;
    let (people, requests) = (store.people(&channel).await?, store.requests(&channel).await?);
    let strangers = store.strangers(&channel).await?;
    let crowded = crowded(context).await;
    if as_json {
        let configured = json!({"owners": telegram.owners, "people": telegram.people, "groups": telegram.groups});
        let asked = json!({"configured": configured, "decided": people, "asked": requests, "crowded": crowded, "strangers": strangers});
        output::json(&asked)?;
        return Ok(ExitCode::Ok);
    }
    let mut text = String::new();
    let configured = [(&telegram.owners, Role::Owner), (&telegram.people, Role::Member), (&telegram.groups, Role::Group)];
    for (id, role) in configured.iter().flat_map(|(ids, role)| ids.iter().map(move |id| (id, role))) {
        let _ = writeln!(text, "{id:>16}  {} (by the configuration)", meaning(*role));
    }
    for person in &people {
        let _ = writeln!(text, "{:>16}  {}: {}", person.id, person.name, meaning(person.role));
    }
    for request in &requests {
        let _ = writeln!(text, "{:>16}  {}: asks; `stellaclaw pair approve {}`", request.subject, request.name, request.subject);
    }
    if let Some(crowded) = crowded {
        let _ = writeln!(text, "\n{crowded}.");
    }
    let counted: u64 = strangers.iter().map(|stranger| stranger.count).sum();
    if counted > 0 {
        let _ = writeln!(text, "\n{counted} messages of {} others were not read.", strangers.len());
    }
    output::text(if text.is_empty() {
        "Nobody may talk to the bot. `stellaclaw pair` makes a code for its first owner.\n"
    } else {
        &text
    })?;
    Ok(ExitCode::Ok)
}

/// What the running host says about requests that it did not keep.
async fn crowded(context: &Context) -> Option<String> {
    let workdir = WorkDir::existing(&context.workdir).ok()?;
    let asked = tokio::time::timeout(HEALTH_TIME, host::look(&workdir, Look::Health)).await;
    let Ok(Ok(Some(ToClient::Health { parts }))) = asked else { return None };
    parts.into_iter().find(|part| part.name == telegram::REQUESTS_PART).and_then(|part| match part.state {
        State::Ok => None,
        State::Warned { reason, .. } | State::Degraded { reason, .. } => Some(reason),
    })
}

fn named(person: &Person) -> String {
    if person.name == person.id { person.id.clone() } else { format!("{} ({})", person.name, person.id) }
}

fn meaning(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Member => "may talk",
        Role::Group => "a group in which those who may talk can do so",
        Role::Rejected => "ignored",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn a_decision_is_told_with_what_follows() {
        let person = |role| Person { id: "7".into(), role, name: "Ann".into(), since: Moment(0) };
        let said = [
            came_of(&Wish::Allow(7), &person(Role::Member), false),
            came_of(&Wish::Allow(7), &person(Role::Owner), false),
            came_of(&Wish::Ignore(7), &person(Role::Rejected), true),
            came_of(&Wish::Forget(7), &person(Role::Owner), true),
            came_of(&Wish::Forget(7), &person(Role::Member), false),
        ];
        insta::assert_snapshot!(said.concat(), @"
        Ann (7): may talk.
        Ann (7) owns the bot already; nothing was changed.
        Ann (7): ignored.
        The bot has no owner now: whoever else writes to it is only counted, and nobody is asked about them. `stellaclaw pair` makes a code for the next owner.
        Ann (7) is unknown again.
        The bot has no owner now: whoever else writes to it is only counted, and nobody is asked about them. `stellaclaw pair` makes a code for the next owner.
        Ann (7) is unknown again.
        ");
    }
}
