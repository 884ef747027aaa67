//! A panel: sent, changed by a newer message that joins its turn, and finished. None says for good that its turn works.

use serde_json::json;

use super::{Stage, is_of, kill_at_each};
use crate::crashes::stage::{Boot, Played};
use crate::support::bot::Bot;
use crate::support::bot_checker::is_panel;
use crate::support::fake_openai::{Answer, Script};

const KINDS: &[&str] = &["panel_noted", "panel_sent", "panel_kept", "panel_edited", "panel_closed", "panel_forgotten", "inputs_joined"];

fn script() -> Script {
    let read = || Answer::calls([("file_read", json!({"file_path": "welcome.md"}))]);
    Script::default()
        .on("begin", [read(), Answer::text("This answer is given up.").held("first")])
        .on("change", [read(), Answer::text("It is changed.").held("second")])
}

async fn play(boots: Vec<Boot>) -> Played {
    // Without previews: nothing but the panel takes from the chat's budget.
    let mut stage = Stage::new(Bot::scripted_with(script(), "preview = false\n").await, |point| is_of(point, KINDS), boots);
    stage.bot.write("Please begin.");
    stage.until("the first request", |bot| bot.vendor.as_ref().unwrap().held_count("first") > 0).await;
    stage.until("a panel", |bot| shows(bot, "1 tool call") && is_kept(bot)).await;
    stage.bot.write("Please change it.");
    stage.until("the second request", |bot| bot.vendor.as_ref().unwrap().held_count("second") > 0).await;
    stage.until("a change of the panel", |bot| shows(bot, "2 tool calls")).await;
    stage.bot.vendor.as_ref().unwrap().release("second");
    stage.finish().await;
    stage.judge()
}

/// Does a panel of a turn that works say this?
fn shows(bot: &Bot, what: &str) -> bool {
    let says = |text: &str| text.starts_with("Working") && text.lines().next().is_some_and(|line| line.ends_with(what));
    bot.telegram.bot_messages(bot.ann).iter().any(|message| is_panel(message) && says(&message.text))
}

/// Does the store know its number?
fn is_kept(bot: &Bot) -> bool {
    bot.rows("SELECT remote_id FROM panels").iter().any(|id| id.bytes().any(|byte| byte.is_ascii_digit()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_no_panel_says_for_good_that_its_turn_works() {
    kill_at_each("one crash around a panel", KINDS, play).await;
}
