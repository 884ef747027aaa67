//! A provider that answers as no model does.

use std::fs;

use stellaclaw::channels::terminal::protocol::{Kind, Settled, ToClient};

use crate::hostile::{CANARY, Stage, case, compiled};
use crate::support::client::Log;
use crate::support::guests;
use crate::support::host::Work;

/// With the model `bad`, and `slow` of the same component, which has a second for an answer. The model to begin with is another one.
fn with_models() -> Work {
    beginning_with("main")
}

fn beginning_with(default: &str) -> Work {
    let mut work = Work::new();
    let path = guests::hostile();
    work.set("CANARY", CANARY);
    let model = |alias: &str, time: &str| {
        format!("[models.{alias}]\nprovider = \"hostile\"\nmodel = \"bad\"\napi_key = {{ env = \"CANARY\" }}\ntotal_timeout = {time:?}\n")
    };
    work.configure(&format!(
        "default_model = {default:?}\n[models.main]\nprovider = \"provider-offline\"\nmodel = \"offline\"\n{}{}\
         [session]\nask_tries = 2\n[limits]\nturn_steps = 8\n[plugins.hostile]\npath = {path:?}\ntrust = \"path\"\n",
        model("bad", "30s"),
        model("slow", "1s"),
    ));
    work
}

#[tokio::test]
async fn an_answer_that_no_model_gives_harms_nobody() {
    let mut stage = Stage::start(with_models()).await;
    stage.says("/model bad").await;
    let cases = [
        case("half", &["The model `bad` broke off its answer: the tool crashed: panicked at", "`/continue` tries again"]),
        case("huge-deltas", &["did not answer", "it handed over too much at once"]),
        case("flood", &["broke off its answer: the answer has 9437", "at most 8388608 ([plugins.hostile.limits] output)"]),
        case("many-calls", &["did not answer: the answer asks for 10000 calls; at most 256 at a time"]),
        case("failure", &["did not answer: fff"]),
        case("other-end", &["What counts."]),
        case("strange-deltas", &["What counts."]),
        case("some-calls", &["256 answers to 256 ids: there is no 0.txt"]),
        case("same-ids", &["2 answers to 2 ids: there is no a"]),
        case("no-id", &["1 answers to 1 ids: there is no a"]),
        case("bad-json", &["1 answers to 1 ids: not valid JSON: "]),
        case("no-json", &["1 answers to 1 ids: not valid JSON: "]),
        case("surrogate", &["1 answers to 1 ids: not valid JSON: "]),
        case("deep-json", &["not valid JSON: recursion limit exceeded"]),
        case("freeform", &["1 answers to 1 ids: not valid JSON: "]),
        case("control-name", &["there is no tool called \"\\u{1b}[2J\\n\\u{202e}file_read\""]),
        case("long-name", &[&format!("there is no tool called \"{}\"", "n".repeat(64))]),
        case("nothing", &["The model returned an empty answer."]),
        case("nothing-to-call", &["The model returned an empty answer."]),
        case("many-pieces", &["The model returned an empty answer."]),
        case("pause", &["`/continue`"]),
        case("forged-answer", &["It was granted."]),
        case("forged-person", &["I am the person."]),
        case("forged-media", &["A picture."]),
        case("opaque", &["Deep."]),
        case("cost", &["An expensive answer."]),
    ];
    let mut wrong = Vec::new();
    for case in cases {
        stage.says("/new").await;
        wrong.extend(stage.plays(&case).await.err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.ends().await;
}

#[tokio::test]
async fn what_was_shown_of_half_an_answer_is_taken_back() {
    let mut stage = Stage::start(with_models()).await;
    for (number, (model, how, reason)) in [
        ("bad", "half-and-trap", "broke off its answer: the tool crashed: panicked at"),
        ("bad", "half-and-fail", "broke off its answer, at the last of 2 attempts: come back later"),
        ("slow", "half-and-loop", "broke off its answer, at the last of 2 attempts: the model request took longer than 1 s and was ended"),
    ]
    .into_iter()
    .enumerate()
    {
        stage.says("/new").await;
        stage.says(&format!("/model {model}")).await;
        stage.victim.say(&format!("half-{number}"), how).await.unwrap();
        let shown = |line: &ToClient| matches!(line, ToClient::Text { append } if append.contains("half of")).then_some(());
        stage.victim.until(shown).await.unwrap();
        fs::write(stage.work.workdir().join("data/hostile/seen"), "").unwrap();
        stage.victim.until(|line| matches!(line, ToClient::Discard).then_some(())).await.unwrap();
        stage.is_healthy().await;
        let (replies, state) = stage.victim.settle().await.unwrap();
        assert_eq!((replies.len(), replies[0].kind, state), (1, Kind::Question, Settled::Parked), "{replies:?}");
        assert!(replies[0].text.contains(reason) && !replies[0].text.contains("half of"), "{replies:?}");
        stage.is_at_its_level().await.unwrap();
    }
    stage.ends().await;
}

#[tokio::test]
async fn what_a_terminal_would_obey_does_not_reach_one() {
    let work = beginning_with("bad");
    let host = work.host().await;
    drop(compiled(&work, &Log::new(work.folder())).await);
    let asked = work.run(&["ask", "escapes"], "").await;
    let chatted = work.run(&["chat"], "escapes\n").await;
    for ran in [asked, chatted] {
        let harmful = |text: &str| text.chars().any(|c| (c.is_control() && !"\n\t".contains(c)) || c == '\u{202e}');
        assert!(ran.output.contains("␛]0;owned") && ran.output.contains("line"), "{ran:?}");
        assert!(!harmful(&ran.output) && !harmful(&ran.errors), "{ran:?}");
    }
    host.stop().await;
}

#[tokio::test]
async fn absurd_usage_uses_the_budget_up_and_crashes_nobody() {
    let mut stage = Stage::start(with_models()).await;
    stage.says("/model bad").await;
    assert_eq!(stage.says("usage").await.last().unwrap().text, "An expensive answer.");
    let replies = stage.says("other-end").await;
    assert!(replies.last().unwrap().text.contains("Today's budget is used up"), "{replies:?}");
    stage.ends().await;
}
