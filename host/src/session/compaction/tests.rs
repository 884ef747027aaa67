//! What is asked for a summary, and what is read out of an answer.

use proptest::prelude::*;

use super::*;
use crate::chat::{Batching, Media, Modality, Reasoning, Replay, TextPiece, ToolSpec};
use crate::session::event::{CompactReason, Outcome};
use crate::session::rig::{Rig, completion, ended};
use crate::session::turn::{Class, Ended, Input};

fn next_request(rig: &Rig, tools: &[ToolSpec]) -> Request {
    let model = crate::session::context::RenderModel {
        provider: "p",
        id: "id",
        reads: &[Modality::Text, Modality::Image],
        system: "be good",
        tools,
        max_output: None,
        temperature: None,
        effort: None,
        reasoning_summary: None,
        service_tier: None,
        cache_ttl_ms: None,
    };
    crate::session::context::render(&rig.state, 7, &model)
}

fn compaction(rig: &Rig, retold: bool) -> Compaction {
    Compaction { id: 9, why: CompactReason::Asked, cut: rig.state.head.next_seq, tokens: 0, retold, tries: 0, command: None }
}

/// A turn with thoughts, a picture, a call and a long answer.
fn rich() -> Rig {
    let mut rig = Rig::asking();
    let mut answer = completion("I look.", &["read"]);
    answer.message.pieces.insert(0, Piece::Reasoning(Reasoning { text: Some("secret thoughts".into()), summary: vec![], opaque: None }));
    let class = Class { replay: Replay::Read, batching: Batching::Parallel, refused: None };
    rig.step(Input::Answer { step: 1, completion: Box::new(answer), classes: vec![class] });
    let (blob, media_type, name) = ("sha256:0".into(), "image/png".into(), Some("cat.png".into()));
    let picture = Media { blob, modality: Modality::Image, media_type, name, size: 5, detail: None, pixels: None };
    let pieces = vec![AnswerPiece::Text("x".repeat(40_000)), AnswerPiece::Media(picture)];
    let call = rig.newest_call(0);
    rig.step(Input::CallEnded { call, ended: Ended { pieces, ..ended(Outcome::Ok) } });
    rig.answer("Done.");
    rig
}

#[test]
fn the_request_is_the_next_one_with_one_more_message() {
    let rig = rich();
    let tools = [ToolSpec { name: "read".into(), description: "reads".into(), parameters: "{}".into() }];
    let next = next_request(&rig, &tools);
    let asked = request(next.clone(), &rig.state, &compaction(&rig, false), 1_000);
    let (last, before) = asked.messages.split_last().unwrap();
    assert_eq!((before, &asked.system, &asked.tools), (next.messages.as_slice(), &next.system, &next.tools), "the cache serves it");
    assert_eq!((asked.id.as_str(), last.cache_break), ("s4.t1.c9", false));
    insta::assert_snapshot!(last.text());
}

#[test]
fn a_history_that_would_not_fit_is_retold_in_short() {
    let rig = rich();
    let tools = [ToolSpec { name: "read".into(), description: "reads".into(), parameters: "{}".into() }];
    let short = |room| request(next_request(&rig, &tools), &rig.state, &compaction(&rig, true), room);
    let asked = short(2_000);
    assert_eq!(
        (asked.messages.len(), asked.tools.len(), asked.system),
        (1, 0, vec![TextPiece { text: "be good".into(), annotations: None }])
    );
    let Piece::Text(retold) = &asked.messages[0].pieces[0] else { panic!("no text") };
    assert!(estimate::tokens(&retold.text) < 2_100);
    assert!(!retold.text.contains("secret thoughts"));
    let readable = retold.text.replace(&"x".repeat(750), "(750)").replace(&"x".repeat(200), "(200)");
    insta::assert_snapshot!(readable);
    let Piece::Text(least) = &short(20).messages[0].pieces[0] else { panic!("no text") };
    assert_eq!(least.text, "[The conversation so far, retold]\n[2 older parts are left out]\nYou: Done.");
}

#[test]
fn any_text_is_a_summary_and_what_still_runs_is_kept_apart() {
    let check = |answer: &str, text: &str, handles: &[&str]| {
        let summary = parse(answer).unwrap();
        assert_eq!(
            (summary.text.as_str(), summary.handles),
            (text, handles.iter().map(|handle| (*handle).to_owned()).collect()),
            "{answer}"
        );
    };
    check("They asked for a cake.", "They asked for a cake.", &[]);
    check("## State\nbaking\n## Handles\n- p1: the oven\n* j2: the timer\n", "## State\nbaking", &["p1: the oven", "j2: the timer"]);
    check("**Handles:**\np1\n\n**Plan**\neat", "**Plan**\neat", &["p1"]);
    check("```markdown\n# State\nfine\n# HANDLES\nnone\n```", "# State\nfine", &[]);
    check("## Handles\n- none\n- s3: a subagent", "", &["s3: a subagent"]);
    assert_eq!((parse(""), parse(" \n "), parse("## Handles\n- None.\n")), (None, None, None));
    let long = parse(&"é".repeat(limits::SUMMARY_CHARS + 9)).unwrap();
    assert!(long.text.chars().count() <= limits::SUMMARY_CHARS + 5);
    let many = parse(&format!("## Handles\n{}", "- p: x\n".repeat(100))).unwrap();
    assert_eq!(many.handles.len(), limits::SUMMARY_HANDLES);
}

#[test]
fn the_threshold_leaves_room_for_the_answer_and_the_tail_is_the_smaller_part() {
    let session = |at, keep| config::Session { compact_at: at, compact_keep: keep, ..config::Session::default() };
    assert_eq!(thresholds(&session(None, None), 128_000, 28_000), (90_000, 9_000));
    assert_eq!(thresholds(&session(Some(50_000), None), 128_000, 0), (50_000, 5_000));
    assert_eq!(thresholds(&session(Some(500_000), Some(400_000)), 128_000, 28_000), (90_000, 45_000), "no more than fits");
    assert_eq!(thresholds(&session(None, None), 8_000, 16_000), (3_600, 360), "a limit as large as the window is none");
}

proptest! {
    #[test]
    fn whatever_is_answered_is_read(answer in "(#|\\*|-|`|\n| |handles|State|é|.){0,300}") {
        if let Some(summary) = parse(&answer) {
            prop_assert!(!summary.text.is_empty() || !summary.handles.is_empty());
            prop_assert!(summary.handles.iter().all(|handle| !handle.trim().is_empty() && !handle.contains('\n')));
        }
    }
}
