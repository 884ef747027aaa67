//! The same over Telegram: a turn with tools and an answer in two parts, an album, a file that goes out, a button, a turn that is
//! cancelled. People write, press and wait; Telegram repeats what was not confirmed.

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

/// Runs at the same time. Most of one is waiting: for an album to be complete, for the next update.
const AT_A_TIME: usize = 4;
/// More points than this would take too long.
const POINTS_MAX: usize = 200;

fn script() -> Script {
    let write = |content: &str| ("file_write", json!({"file_path": "effects.txt", "content": format!("{content}\n"), "mode": "append"}));
    let read = |path: &str| ("file_read", json!({"file_path": path}));
    let long: String = (0..90).map(|n| format!("Line {n:02} of an answer that is **too long** for one message of Telegram.\n\n")).collect();
    Script::default()
        .on("alpha", [Answer::calls([read("welcome.md"), write("a first")]), Answer::text(&format!("{long}All of alpha is done."))])
        .on("beta", [Answer::calls([write("b first")]), Answer::text("Here is [the list](effects.txt) of beta.")])
        .on("gamma", [Answer::text("This answer is given up.").held("gamma")])
}

/// A bot, those who write to it, and its crashes.
struct Stage {
    bot: Bot,
    boots: Vec<Boot>,
    booted: usize,
    host: Option<Host>,
    crashes: usize,
}

/// Everything that Ann does, whatever dies on the way.
async fn play(boots: Vec<Boot>) -> Played {
    let mut stage = Stage::new(boots).await;
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
    async fn new(boots: Vec<Boot>) -> Self {
        Self { bot: Bot::scripted(script()).await, boots, booted: 0, host: None, crashes: 0 }
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
            if self.host.as_mut().is_some_and(|host| host.ended().is_some()) {
                self.fell().await;
            }
            assert!(started.elapsed() < HANGS, "{:?}: waited in vain for {what}\n{}", self.boots, self.bot.work.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
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

    fn judge(self) -> Played {
        let mut verdict = self.bot.judge(&[self.bot.work.workspace("c1").join("effects.txt")], self.crashes, 0);
        let vendor = self.bot.vendor.as_ref().unwrap();
        verdict.broken.extend(vendor.refusals().into_iter().map(|why| format!("the vendor refused a request: {why}")));
        let listed = std::fs::read_to_string(self.list()).unwrap_or_default().lines().map(str::to_owned).collect();
        let shown = |chat: i64| {
            let messages = self.bot.telegram.messages(chat).into_iter().filter(Message::is_bots);
            messages.map(|message| format!("  {chat}: {:?}\n", message.text)).collect::<String>()
        };
        let all: String = self.bot.telegram.chats().into_iter().map(shown).collect();
        let evidence = if verdict.is_good() { String::new() } else { format!("{all}{}", self.bot.work.log()) };
        Played { crashes: self.crashes, listed, verdict, evidence }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_a_bot_loses_nothing_and_says_nothing_twice() {
    let (first, again) = tokio::join!(play(vec![Boot::Listed]), play(vec![Boot::Listed]));
    assert_eq!(first.listed, again.listed, "two runs of the same scenario fire different points");
    assert!(first.verdict.is_good() && again.verdict.is_good(), "without a crash: {}\n{}", first.verdict, first.evidence);
    let points = first.listed;
    assert!((60..=POINTS_MAX).contains(&points.len()), "{} points: {points:#?}", points.len());
    for kind in ["accept", "fetch", "release", "turn_began", "ask", "call", "turn_ended", "plan", "send", "sent", "command"] {
        for when in ["before", "after"] {
            let name = format!("{kind}.{when}@");
            assert!(points.iter().any(|point| point.starts_with(&name)), "no point {name}: {points:#?}");
        }
    }
    let runs = points.into_iter().map(|point| vec![Boot::Killed(point)]).collect();
    judge("one crash of a bot", &play_all(runs, AT_A_TIME, play).await);
}
