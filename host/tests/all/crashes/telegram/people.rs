//! Who may talk: the first owner by a code, a stranger and a group by her buttons, another one by the terminal; and access that is
//! taken back while a turn runs. Each decision is made once or not at all, and can be made again; nobody has more than was decided.

use stellaclaw::fake_telegram::{ChatKind, Post};

use super::{LOOK, Stage, is_of, kill_at_each};
use crate::crashes::stage::{Boot, Played};
use crate::support::bot::Bot;
use crate::support::fake_openai::{Answer, Script};

/// What a decision takes. The way of a message is another scenario's.
const KINDS: &[&str] = &["accept", "pair", "request", "tell", "decide", "revoke"];
/// The same of a question, a welcome, and what runs for somebody who may not talk any more.
const REPLIES: &[&str] = &["plan", "send", "sent"];

fn counts(point: &str) -> bool {
    is_of(point, KINDS) || (is_of(point, REPLIES) && point.contains("@tg:"))
}

fn script() -> Script {
    let notes = |script: Script, name: &str| script.on(name, [Answer::text(&format!("Noted by {name}."))]);
    let script = ["anna", "bob", "cid", "team"].into_iter().fold(Script::default(), notes);
    script.on("long work", [Answer::text("This answer is given up.").held("work")])
}

async fn play(boots: Vec<Boot>) -> Played {
    let mut stage = Stage::new(Bot::scripted(script()).await, counts, boots);
    stage.bot.nobody();
    let (ann, telegram) = (stage.bot.ann, stage.bot.telegram.clone());
    let [bob, cid] = ["Bob", "Cid"].map(|name| telegram.new_user(name));
    stage.pair().await;
    stage.write("I am anna.").await;

    stage.bot.write_unheard(bob, "May I?");
    stage.allow(&format!("Number {bob}\n"), bob).await;
    stage.says(bob, bob, "I am bob.").await;

    stage.decide("approve", cid, |bot| role(bot, cid).is_some()).await;
    stage.says(cid, cid, "I am cid.").await;

    let team = telegram.new_group(ChatKind::Supergroup { forum: false }, "Team", &[ann, bob]).unwrap();
    stage.allow("Team", team).await;
    stage.says(team, bob, "@stella_claw_bot we are the team.").await;

    telegram.write(bob, bob, Post::text("It is long work.")).unwrap();
    stage.until("the held turn", |bot| bot.vendor.as_ref().unwrap().held_count("work") > 0).await;
    stage.decide("revoke", bob, |bot| role(bot, bob).is_none()).await;
    stage.until("what ran to be given up", |bot| bot.rows("SELECT id FROM sessions WHERE phase <> 'idle'").is_empty()).await;
    stage.bot.write_unheard(bob, "And now?");
    stage.finish().await;

    let decided = stage.bot.rows("SELECT role || ' ' || user_id FROM people ORDER BY role");
    let asked = stage.bot.rows("SELECT key FROM outbox WHERE kind = 'question'").len();
    let welcomed = stage.bot.rows("SELECT key FROM outbox WHERE key LIKE 'tg:%.paired.%' OR key LIKE 'tg:%.welcome.%'").len();
    let mut played = stage.judge();
    let expected = [format!("group {team}"), format!("member {cid}"), format!("owner {ann}")];
    if decided != expected {
        played.verdict.broken.push(format!("those who may talk are {decided:?}"));
    }
    // About Bob, about the group, and about Bob again.
    if asked != 3 {
        played.verdict.broken.push(format!("{asked} questions were asked"));
    }
    // Ann as the owner, and Bob.
    if welcomed != 2 {
        played.verdict.broken.push(format!("{welcomed} people were told that they may talk"));
    }
    played
}

/// What was decided about somebody.
fn role(bot: &Bot, subject: i64) -> Option<String> {
    bot.rows(&format!("SELECT role FROM people WHERE user_id = '{subject}'")).pop()
}

impl Stage {
    /// The terminal shows a code and Ann sends it. A kill takes the code with it: then there is another one.
    async fn pair(&mut self) {
        self.boot().await;
        while role(&self.bot, self.bot.ann).is_none() {
            self.boot().await;
            let (verb, crashes, mut sent) = (self.bot.work.begin(&["pair"]), self.crashes, false);
            let reached = |bot: &Bot| role(bot, bot.ann).is_some();
            while self.crashes == crashes && !reached(&self.bot) {
                if let Some(code) = Bot::shown_code(&verb.so_far()).filter(|_| !sent) {
                    self.bot.write_unheard(self.bot.ann, &code);
                    sent = true;
                }
                self.look().await;
                tokio::time::sleep(LOOK).await;
            }
        }
        self.settle().await;
    }

    /// Somebody who may talk does, and is answered.
    async fn says(&mut self, chat: i64, person: i64, text: &str) {
        self.bot.telegram.write(chat, person, Post::text(text)).unwrap();
        self.settle().await;
    }

    /// Ann is asked about this, and allows it.
    async fn allow(&mut self, about: &str, subject: i64) {
        let ann = self.bot.ann;
        let card = |bot: &Bot| {
            let asked = bot.telegram.bot_messages(ann).into_iter();
            asked.rev().find(|message| message.keyboard.is_some() && message.text.contains(about)).map(|message| message.id)
        };
        self.settle().await;
        self.until("the question", |bot| card(bot).is_some()).await;
        self.bot.telegram.press(ann, ann, card(&self.bot).unwrap(), "Allow").unwrap();
        self.until("the decision", |bot| role(bot, subject).is_some()).await;
        self.settle().await;
    }

    /// The operator decides. What was not answered is asked again, unless it has been done.
    async fn decide(&mut self, verb: &str, subject: i64, is_done: impl Fn(&Bot) -> bool) {
        loop {
            self.boot().await;
            let ran = self.bot.work.run(&["pair", verb, &subject.to_string()], "").await;
            self.look().await;
            if ran.code == Some(0) || is_done(&self.bot) {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_who_may_talk_is_as_it_was_decided() {
    kill_at_each("one crash around a decision", KINDS, play).await;
}
