//! The same over Telegram. People write, press and wait; Telegram repeats what was not confirmed; what the terminal was told and did
//! not answer is told again.
//!
//! Here it is what everybody does: a turn with tools and an answer in two parts, an album, a file that goes out, a button, a turn
//! that is cancelled.

mod panels;
mod people;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use stellaclaw::fake_telegram::{Message, Post, png};

use super::stage::{Boot, Played};
use super::{judge, play_all};
use crate::support::bot::Bot;
use crate::support::fake_openai::{Answer, Script};
use crate::support::host::{Host, was_killed};
use crate::support::{HANGS, within};

/// Runs at the same time. Most of one is waiting: for an album to be complete, for the budget of edits, for the disk.
const AT_A_TIME: usize = 8;
/// More points than this would take too long.
const POINTS_MAX: usize = 150;
/// How often it is looked whether what is waited for is there.
const LOOK: Duration = Duration::from_millis(10);

fn script() -> Script {
    let write = |content: &str| ("file_write", json!({"file_path": "effects.txt", "content": format!("{content}\n"), "mode": "append"}));
    let read = |path: &str| ("file_read", json!({"file_path": path}));
    let long: String = (0..62).map(|n| format!("Line {n:02} of an answer that is **too long** for one message of Telegram.\n\n")).collect();
    Script::default()
        .on("alpha", [Answer::calls([read("welcome.md"), write("a first")]), Answer::text(&format!("{long}All of alpha is done."))])
        .on("beta", [Answer::calls([write("b first")]), Answer::text("Here is [the list](effects.txt) of beta.")])
        .on("gamma", [Answer::text("This answer is given up.").held("gamma")])
}

/// A bot, those who write to it, and its crashes.
struct Stage {
    bot: Bot,
    /// The points that this scenario is about. Whether others fire may depend on time here.
    counts: fn(&str) -> bool,
    boots: Vec<Boot>,
    booted: usize,
    host: Option<Host>,
    crashes: usize,
}

/// Everything that Ann does, whatever dies on the way.
async fn play(boots: Vec<Boot>) -> Played {
    let mut stage = Stage::new(Bot::scripted(script()).await, |point| !is_of(point, SHOWING), boots);
    let ann = stage.bot.ann;
    stage.write("Please do alpha.").await;
    let pictures = ["beta, the first", "beta, the second"].map(|caption| Post::photo(png(40, 30)).caption(caption));
    stage.bot.telegram.write_album(ann, ann, pictures.into()).unwrap();
    stage.settle().await;
    stage.write("/model").await;
    let shown = stage.bot.telegram.bot_messages(ann).into_iter().find(|message| message.keyboard.is_some()).unwrap();
    stage.bot.telegram.press(ann, ann, shown.id, "/model other").unwrap();
    stage.settle().await;
    stage.bot.write("Please do gamma.");
    stage.until("the held turn", |bot| bot.vendor.as_ref().unwrap().held_count("gamma") > 0).await;
    stage.write("/cancel").await;
    stage.finish().await;
    stage.judge()
}

impl Stage {
    fn new(bot: Bot, counts: fn(&str) -> bool, boots: Vec<Boot>) -> Self {
        Self { bot, counts, boots, booted: 0, host: None, crashes: 0 }
    }

    async fn write(&mut self, text: &str) {
        self.bot.write(text);
        self.settle().await;
    }

    async fn settle(&mut self) {
        self.until("everything to be answered", Bot::is_settled).await;
    }

    /// Waits, and starts the host again when it dies meanwhile.
    async fn until(&mut self, what: &str, reached: impl Fn(&Bot) -> bool) {
        let started = std::time::Instant::now();
        loop {
            self.boot().await;
            if reached(&self.bot) {
                return;
            }
            self.look().await;
            assert!(started.elapsed() < HANGS, "{:?}: waited in vain for {what}\n{}", self.boots, self.bot.work.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The host may have died.
    async fn look(&mut self) {
        if self.host.as_mut().is_some_and(|host| host.ended().is_some()) {
            self.fell().await;
        }
    }

    async fn boot(&mut self) {
        while self.host.is_none() {
            let boot = self.boots.get(self.booted).cloned();
            self.booted += 1;
            let list = self.list();
            let variables = match &boot {
                Some(Boot::Listed) => vec![("CRASH_LIST", list.to_str().unwrap())],
                Some(Boot::Killed(point)) => vec![("CRASH_AT", point.as_str())],
                _ => vec![],
            };
            match self.bot.work.start(&variables).await {
                Ok(host) => self.host = Some(host),
                Err(status) => self.count(was_killed(status)),
            }
        }
    }

    async fn fell(&mut self) {
        if let Some(mut host) = self.host.take() {
            let status = host.exit().await;
            self.count(was_killed(status));
        }
    }

    fn count(&mut self, killed: bool) {
        assert!(killed, "{:?}: the host ended by itself\n{}", self.boots, self.bot.work.log());
        self.crashes += 1;
        assert!(self.crashes <= self.boots.len(), "{:?}: more crashes than planned", self.boots);
    }

    /// Stops the host in good order; one that dies on the way starts once more.
    async fn finish(&mut self) {
        loop {
            self.settle().await;
            let mut host = self.host.take().unwrap();
            host.signal(Signal::TERM);
            let status = within("the host to stop", host.exit()).await;
            if status.success() {
                return;
            }
            self.count(was_killed(status));
        }
    }

    fn list(&self) -> PathBuf {
        self.bot.work.folder().join("points.txt")
    }

    /// What fired in a boot that was listed, each as often as it did.
    fn listed(&self) -> BTreeSet<String> {
        let mut fired: BTreeSet<String> = BTreeSet::new();
        let text = std::fs::read_to_string(self.list()).unwrap_or_default();
        for point in text.lines().filter(|point| (self.counts)(point)) {
            let again = (2..).map(|n| format!("{point}#{n}"));
            // What is repeated until it is not needed any more is repeated as often as time allows.
            let names = std::iter::once(point.to_owned()).chain(again.take_while(|_| point.contains('*')));
            fired.extend(names.into_iter().find(|name| !fired.contains(name)));
        }
        fired
    }

    fn judge(self) -> Played {
        let mut verdict = self.bot.judge(&[self.bot.work.workspace("c1").join("effects.txt")], self.crashes, 0);
        let vendor = self.bot.vendor.as_ref().unwrap();
        verdict.broken.extend(vendor.refusals().into_iter().map(|why| format!("the vendor refused a request: {why}")));
        let listed = self.listed();
        let shown = |chat: i64| {
            let messages = self.bot.telegram.messages(chat).into_iter().filter(Message::is_bots);
            messages.map(|message| format!("  {chat}: {:?}\n", message.text)).collect::<String>()
        };
        let all: String = self.bot.telegram.chats().into_iter().map(shown).collect();
        let evidence = if verdict.is_good() { String::new() } else { format!("{all}{}", self.bot.work.log()) };
        Played { crashes: self.crashes, listed, verdict, evidence }
    }
}

fn is_of(point: &str, kinds: &[&str]) -> bool {
    point.split('.').next().is_some_and(|kind| kinds.contains(&kind))
}

/// Kills at every point of a scenario, and judges. There are before and after each of `kinds`.
async fn kill_at_each<F>(what: &str, kinds: &[&str], play: fn(Vec<Boot>) -> F)
where
    F: Future<Output = Played> + Send + 'static,
{
    let (first, again) = tokio::join!(play(vec![Boot::Listed]), play(vec![Boot::Listed]));
    assert_eq!(first.listed, again.listed, "two runs of the same scenario fire different points");
    assert!(first.verdict.is_good() && again.verdict.is_good(), "without a crash: {}\n{}", first.verdict, first.evidence);
    let points = first.listed;
    assert!(points.len() <= POINTS_MAX, "{} points: {points:#?}", points.len());
    for kind in kinds {
        for when in ["before", "after"] {
            let name = format!("{kind}.{when}@");
            assert!(points.iter().any(|point| point.starts_with(&name)), "no point {name}: {points:#?}");
        }
    }
    let runs = points.into_iter().map(|point| vec![Boot::Killed(point)]).collect();
    judge(what, &play_all(runs, AT_A_TIME, play).await);
}

/// What depends on time here: how much is shown of a turn.
const SHOWING: &[&str] = &["draft", "panel_noted", "panel_sent", "panel_kept", "panel_edited", "panel_closed", "panel_forgotten"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_a_bot_loses_nothing_and_says_nothing_twice() {
    let kinds = ["accept", "fetch", "release", "turn_began", "ask", "call", "turn_ended", "plan", "send", "sent", "command"];
    kill_at_each("one crash of a bot", &kinds, play).await;
}
