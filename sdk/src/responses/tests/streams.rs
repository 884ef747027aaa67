//! Streams and frames, cut and garbled in every way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use crate::chat::{Completion, Failure, FailureKind, Phase, Piece, Reasoning, Stop, ToolUse};
use crate::deltas::{Delta, ItemKind};
use crate::json::Json;

const TOOLS: &str = include_str!("../fixtures/tools.sse");

fn fresh() -> Answer {
    Answer::new(&Dialect::openai("provider-test"), "some-model", "request-1")
}

/// Everything a host learns: the texts by item, the other deltas in order.
#[derive(Debug, PartialEq)]
struct Seen {
    texts: BTreeMap<u32, String>,
    others: Vec<Delta>,
    result: Result<Completion, Failure>,
}

impl Seen {
    fn note(&mut self, deltas: Vec<Delta>) {
        for delta in deltas {
            match delta {
                Delta::Fragment(fragment) => self.texts.entry(fragment.index).or_default().push_str(&fragment.text),
                other => self.others.push(other),
            }
        }
    }

    fn completion(&self) -> &Completion {
        self.result.as_ref().unwrap()
    }

    fn failure(&self) -> &Failure {
        self.result.as_ref().unwrap_err()
    }

    fn calls(&self) -> Vec<&ToolUse> {
        let pieces = self.completion().message.pieces.iter();
        pieces.filter_map(|piece| if let Piece::ToolUse(call) = piece { Some(call) } else { None }).collect()
    }

    fn thoughts(&self) -> Vec<&Reasoning> {
        let pieces = self.completion().message.pieces.iter();
        pieces.filter_map(|piece| if let Piece::Reasoning(thought) = piece { Some(thought) } else { None }).collect()
    }
}

fn play<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut seen = Seen { texts: BTreeMap::new(), others: Vec::new(), result: Err(Failure::cancelled()) };
    let mut stream = Stream::new(fresh());
    for chunk in chunks {
        match stream.push(chunk) {
            Ok(deltas) => seen.note(deltas),
            Err(failure) => {
                seen.result = Err(failure);
                return seen;
            }
        }
    }
    seen.result = stream.finish().map(|finished| {
        seen.note(finished.deltas);
        finished.completion
    });
    seen
}

fn frames(events: &[Value]) -> Seen {
    let mut seen = Seen { texts: BTreeMap::new(), others: Vec::new(), result: Err(Failure::cancelled()) };
    let mut answer = fresh();
    let mut deltas = Vec::new();
    for event in events {
        if let Err(failure) = answer.event(event.to_string().as_bytes(), &mut deltas) {
            seen.result = Err(failure);
            return seen;
        }
    }
    seen.result = answer.finish(&mut deltas);
    seen.note(deltas);
    seen
}

fn events_of(stream: &str) -> Vec<Value> {
    stream.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn completed(output: Value) -> Value {
    json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": output}})
}

fn done(place: u64, item: Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": place, "item": item})
}

fn ended(status: &str, response: Value) -> Value {
    json!({"type": format!("response.{status}"), "response": response})
}

#[test]
fn a_stream_with_reasoning_text_and_two_calls_cut_anywhere() {
    let bytes = TOOLS.as_bytes();
    let whole = play([bytes]);
    for at in 0..=bytes.len() {
        assert_eq!(play([&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
    }
    assert_eq!(play(bytes.chunks(1)), whole);
    assert_eq!(frames(&events_of(TOOLS)).result, whole.result, "a socket says the same");
    let marked = format!("{TOOLS}data: [DONE]\n\n");
    assert_eq!(play([marked.as_bytes()]), whole);

    let completion = whole.completion();
    assert_eq!((&completion.stop, completion.response_id.as_deref()), (&Stop::ToolUse, Some("resp_1")));
    assert_eq!(completion.served_model.as_deref(), Some("gpt-5.5-2026-08-01"));
    assert_eq!(completion.served_tier.as_deref(), Some("default"));
    assert_eq!((completion.message.phase, completion.message.id.as_str()), (Some(Phase::Commentary), "resp_1"));
    assert_eq!(completion.message.origin, Some(Dialect::openai("provider-test").origin("some-model")));
    let usage = &completion.usage;
    assert_eq!((usage.input_uncached, usage.cache_read, usage.output, usage.reasoning), (20, 100, 42, 30));
    let [Piece::Reasoning(thought), Piece::Text(text), Piece::ToolUse(one), Piece::ToolUse(two)] = &completion.message.pieces[..] else {
        panic!("{:?}", completion.message.pieces);
    };
    assert_eq!((thought.summary.len(), thought.summary[1].as_str(), &thought.text), (2, "Beide.", &None));
    let opaque = thought.opaque.as_ref().unwrap();
    assert!(TOOLS.contains(&opaque.data), "kept to the byte: {}", opaque.data);
    assert!(opaque.data.contains("dGhlIHdob2xl"), "the first telling has a part of the seal only");
    assert_eq!(text.text, "Ich lese beide 漢字 🦀.");
    assert!(text.annotations.as_ref().unwrap().contains("url_citation"));
    assert_eq!(
        (one.call_id.as_str(), one.item_id.as_deref(), one.arguments.as_str()),
        ("call_a", Some("fc_1"), r#"{"file_path": "ä.md"}"#)
    );
    assert_eq!((two.name.as_str(), two.arguments.as_str()), ("ls", "{}"));
    assert_eq!(whole.texts[&0], "Zwei Dateien – lesen.\n\nBeide.");
    assert_eq!((whole.texts[&1].as_str(), whole.texts[&2].as_str()), (text.text.as_str(), one.arguments.as_str()));
    let kinds: Vec<_> =
        whole.others.iter().filter_map(|delta| if let Delta::ItemStarted(item) = delta { Some(item.kind) } else { None }).collect();
    assert_eq!(kinds, [ItemKind::ReasoningSummary, ItemKind::Text, ItemKind::ToolUse, ItemKind::ToolUse]);
    let finished = whole.others.iter().filter(|delta| matches!(delta, Delta::ItemFinished(_))).count();
    assert_eq!(finished, 4);
}

#[test]
fn every_single_telling_is_enough() {
    let whole = frames(&events_of(TOOLS));
    let without = |drop: fn(&str) -> bool, empty: bool| {
        let mut events = events_of(TOOLS);
        events.retain(|event| !drop(event["type"].as_str().unwrap()));
        if empty {
            events.last_mut().unwrap()["response"]["output"] = json!([]);
        }
        frames(&events)
    };
    let pieces = |seen: &Seen| seen.completion().message.pieces.clone();
    // What the Codex server does: the last response is empty.
    assert_eq!(pieces(&without(|_| false, true)), pieces(&whole));
    assert_eq!(pieces(&without(|kind| kind.ends_with(".delta"), true)), pieces(&whole));
    assert_eq!(pieces(&without(|kind| kind != "response.output_item.done" && kind != "response.completed", false)), pieces(&whole));
    let last_only = without(|kind| kind != "response.completed", false);
    assert_eq!((last_only.calls(), last_only.thoughts()), (whole.calls(), whole.thoughts()));
    assert_eq!(last_only.completion().message.text(), whole.completion().message.text());
    let by_pieces = without(|kind| kind == "response.output_item.done", true);
    assert_eq!(by_pieces.completion().message.text(), whole.completion().message.text());
    let said: Vec<_> = by_pieces.calls().iter().map(|call| (call.call_id.clone(), call.arguments.clone())).collect();
    assert_eq!(said, whole.calls().iter().map(|call| (call.call_id.clone(), call.arguments.clone())).collect::<Vec<_>>());
    assert_eq!(by_pieces.thoughts()[0].summary, whole.thoughts()[0].summary);
    assert_eq!(by_pieces.thoughts()[0].opaque, None, "half a seal is none");
    let by_parts = without(|kind| kind.ends_with(".delta") || kind == "response.output_item.done", true);
    assert_eq!(by_parts.completion().message.text(), whole.completion().message.text());
    assert_eq!(by_parts.calls()[0].arguments, whole.calls()[0].arguments);
}

#[test]
fn items_that_have_another_name_each_time_are_told_apart() {
    let message = |id: &str| json!({"type": "message", "id": id, "content": [{"type": "output_text", "text": "Hi"}]});
    let call = |id: &str| json!({"type": "function_call", "id": id, "call_id": "c", "name": "ls", "arguments": "{}"});
    let seen = frames(&[
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "tmp1"}}),
        json!({"type": "response.output_text.delta", "output_index": 0, "item_id": "tmp2", "delta": "Hi"}),
        done(0, message("tmp3")),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc1", "delta": "{}"}),
        done(1, call("fc2")),
        completed(json!([message("m4"), call("fc3")])),
    ]);
    assert_eq!((seen.completion().message.pieces.len(), seen.completion().message.text().as_str()), (2, "Hi"));
    // The last response has left out what came first.
    let shifted = frames(&[
        done(0, json!({"type": "reasoning", "id": "rs", "encrypted_content": "x"})),
        done(1, message("m1")),
        completed(json!([message("m2")])),
    ]);
    assert_eq!(shifted.completion().message.pieces.len(), 2);
    let bare = frames(&[
        json!({"type": "response.output_text.delta", "delta": "a"}),
        json!({"type": "response.output_text.delta", "delta": "b"}),
        completed(json!([])),
    ]);
    assert_eq!(bare.completion().message.text(), "ab");
}

#[test]
fn calls_have_ids_of_their_own() {
    let call =
        |n: u64, id: &str| done(n, json!({"type": "function_call", "id": format!("fc{n}"), "call_id": id, "name": "ls", "arguments": " "}));
    let seen = frames(&[call(0, "call_0"), call(1, ""), done(2, json!({"type": "function_call", "name": "glob"})), completed(json!([]))]);
    let calls: Vec<_> = seen.calls().iter().map(|call| (call.call_id.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("call_0", "{}"), ("fc1", "{}"), ("call_1", "{}")]);
    let free = frames(&[
        json!({"type": "response.custom_tool_call_input.delta", "output_index": 0, "item_id": "ctc", "delta": "*** Begin"}),
        done(0, json!({"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "patch", "input": ""})),
        completed(json!([])),
    ]);
    assert!(free.calls()[0].freeform && free.calls()[0].arguments == "*** Begin", "{:?}", free.calls());
}

#[test]
fn how_an_answer_ends() {
    let text = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "x"});
    let end = |event: Value| frames(&[text.clone(), event]).completion().stop.clone();
    let incomplete = |reason: &str| ended("incomplete", json!({"status": "incomplete", "incomplete_details": {"reason": reason}}));
    assert_eq!(end(completed(json!([]))), Stop::EndTurn);
    assert_eq!(end(incomplete("max_output_tokens")), Stop::MaxOutput);
    assert_eq!(end(incomplete("content_filter")), Stop::ContentFilter);
    assert_eq!(end(incomplete("sunset")), Stop::Other("sunset".into()));
    assert_eq!(
        end(ended("completed", json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}))),
        Stop::MaxOutput
    );
    assert_eq!(end(ended("completed", json!({"end_turn": false}))), Stop::Pause);
    assert_eq!(end(ended("completed", json!({"end_turn": true}))), Stop::EndTurn);
    assert_eq!(end(ended("completed", json!(null))), Stop::EndTurn);
    let refused = frames(&[json!({"type": "response.refusal.delta", "output_index": 0, "delta": "No."}), completed(json!([]))]);
    assert_eq!(refused.completion().stop, Stop::Refusal(Some("No.".into())));
    // A call that was cut off is none; one that was whole before is one.
    let begun = |n: u64| json!({"type": "response.output_item.added", "output_index": n, "item": {"type": "function_call", "id": format!("fc{n}"), "call_id": format!("c{n}"), "name": "ls"}});
    let whole =
        done(0, json!({"type": "function_call", "id": "fc0", "call_id": "c0", "name": "ls", "arguments": "{}", "status": "completed"}));
    let cut = frames(&[
        begun(0),
        whole,
        begun(1),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc1", "delta": "{\"pa"}),
        incomplete("max_output_tokens"),
    ]);
    assert_eq!((cut.calls().len(), &cut.completion().stop), (1, &Stop::MaxOutput));
}

#[test]
fn items_that_nobody_knows_go_back_as_they_came() {
    let search = json!({"type": "web_search_call", "id": "ws", "status": "completed", "action": {"query": "x", "odd": 1.50}});
    let seen = frames(&[
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "web_search_call", "id": "ws"}}),
        json!({"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws", "delta": {"a": 1}, "output": 7}),
        done(0, search.clone()),
        json!({"type": "response.something.new", "error": null, "item": [1], "response": "odd", "output_index": "first"}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "mcp_call", "id": "never-done"}}),
        done(2, json!({"type": "compaction", "id": "cmp", "encrypted_content": "c"})),
        completed(json!([])),
    ]);
    let [Piece::Hosted(hosted), Piece::Compaction(compaction)] = &seen.completion().message.pieces[..] else {
        panic!("{:?}", seen.completion().message.pieces);
    };
    assert_eq!((hosted.format.as_str(), hosted.data.as_str()), (ITEM_FORMAT, search.to_string().as_str()));
    assert!(compaction.data.contains("cmp"));
    let mut answer = fresh();
    let unknown = answer.event(br#"{"type":"codex.rate_limits","rate_limits":{}}"#, &mut Vec::new());
    assert_eq!(unknown, Ok(false), "its provider may know it");
}

#[test]
fn errors_in_the_middle_end_the_answer() {
    let failure = |event: Value| {
        let created = json!({"type": "response.created", "response": {"id": "r", "model": "m"}});
        frames(&[created, event]).failure().clone()
    };
    let failed = |code: &str| {
        failure(ended("failed", json!({"status": "failed", "error": {"code": code, "message": "m"}, "usage": {"input_tokens": 3}})))
    };
    assert_eq!(failed("server_error").kind, FailureKind::Server);
    assert_eq!(failed("rate_limit_exceeded").kind, FailureKind::RateLimit);
    assert_eq!(failed("invalid_prompt").kind, FailureKind::Policy);
    assert_eq!(failed("context_length_exceeded").kind, FailureKind::ContextOverflow);
    let usage = failed("server_error").usage.unwrap();
    assert_eq!((usage.input_uncached, failed("server_error").request_id.as_deref()), (3, Some("r")));
    assert_eq!(failure(ended("failed", json!({"status": "failed"}))).kind, FailureKind::Server);
    assert_eq!(failure(ended("completed", json!({"status": "cancelled"}))).kind, FailureKind::Server);
    assert_eq!(
        failure(json!({"type": "error", "code": "rate_limit_exceeded", "message": "Please try again in 2s"})).retry_after,
        Some(2000)
    );
    assert_eq!(failure(json!({"error": {"message": "m", "code": 502}})).kind, FailureKind::Server);
    let frame = json!({"type": "error", "status": 400, "error": {"code": "previous_response_not_found", "message": "m"}});
    assert_eq!(failure(frame).kind, FailureKind::ContinuationLost);
}

#[test]
fn what_ends_early_or_makes_no_sense_is_no_answer() {
    let kind = |body: &str| play([body.as_bytes()]).failure().kind;
    let text = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n";
    assert_eq!(kind(text), FailureKind::Transport);
    assert_eq!(kind(&format!("{text}data: [DONE]\n\n")), FailureKind::Transport);
    assert_eq!(kind(""), FailureKind::Transport);
    assert_eq!(kind("data: {oh\n\n"), FailureKind::Protocol);
    assert_eq!(kind("data: [1]\n\n"), FailureKind::Protocol);
    let garbled = b"data: {\"type\":\"response.output_text.delta\",\"delta\":\"\xff\"}\n\n";
    assert_eq!(play([garbled.as_slice()]).failure().kind, FailureKind::Protocol, "no text is made of bytes that are none");
    let endless = [b"data: ".as_slice()].into_iter().chain(std::iter::repeat_n([b'x'; 1 << 16].as_slice(), 200));
    assert_eq!(play(endless).failure().kind, FailureKind::Protocol, "a line without end");
    assert_eq!(kind("<html><title>Hello</title>"), FailureKind::Protocol);
    assert_eq!(kind(r#"{"object":"response","status":"#), FailureKind::Transport);
    assert_eq!(kind(r#"{"object":"response","status":"in_progress","output":[]}"#), FailureKind::Transport);
    assert_eq!(kind(r#"{"detail":"Unsupported parameter: max_output_tokens"}"#), FailureKind::Server);
    assert_eq!(kind(r#"{"error":{"code":402,"message":"no credits"}}"#), FailureKind::Quota);
    let whole = play([r#" {"object":"response","id":"r","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":1,"cost":0.5}}"#.as_bytes()]);
    assert_eq!(whole.completion().message.text(), "Hi");
    assert_eq!(whole.completion().usage.cost.as_deref(), Some("0.5"));
}

#[test]
fn an_endless_answer_is_ended() {
    let mut answer = fresh();
    let big = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "x".repeat(1 << 20)}).to_string();
    let mut ended = (0..20).map(|_| answer.event(big.as_bytes(), &mut Vec::new()));
    assert_eq!(ended.find_map(Result::err).unwrap().kind, FailureKind::Protocol);
    let mut answer = fresh();
    let mut many =
        (0..2000).map(|n| answer.event(done(n, json!({"type": "message", "id": n.to_string()})).to_string().as_bytes(), &mut Vec::new()));
    assert!(many.find_map(Result::err).unwrap().message.contains("items"));
}

#[test]
fn an_answer_goes_back_as_it_came() {
    let whole = frames(&events_of(TOOLS));
    let own = Dialect::openai("provider-test");
    let mut request = super::requests::request(Vec::new());
    request.messages.push(whole.completion().message.clone());
    let items = Body::new(&own, &super::requests::model(), &request).unwrap().input;
    let kinds: Vec<Value> =
        items.iter().map(Json::shown).map(|item| serde_json::from_str::<Value>(&item).unwrap()["type"].clone()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "function_call"]);
    assert!(TOOLS.contains(&items[0].shown()), "{}", items[0].shown());
}

/// An event with anything in it.
fn any_event() -> impl Strategy<Value = Value> {
    let kinds = [
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.done",
        "response.refusal.delta",
        "response.completed",
        "response.incomplete",
        "keepalive",
    ];
    let item =
        (prop::sample::select(vec!["message", "reasoning", "function_call", "custom_tool_call", "odd"]), "[ab]?", "[cd]?", "\\PC{0,4}")
            .prop_map(|(kind, id, call, text)| {
                json!({"type": kind, "id": id, "call_id": call, "name": text, "arguments": text, "encrypted_content": text,
                "content": [{"type": "output_text", "text": text}, {"type": "refusal", "refusal": text}], "summary": [{"text": text}]})
            });
    (prop::sample::select(kinds.to_vec()), prop::option::of(0u64..3), "[ab]?", "\\PC{0,4}", item.clone(), prop::collection::vec(item, 0..3))
        .prop_map(|(kind, place, id, text, item, output)| {
            json!({"type": kind, "output_index": place, "item_id": id, "delta": text, "text": text, "arguments": text, "input": text,
                "content_index": 1, "item": item, "response": {"id": "r", "output": output, "status": null}})
        })
}

proptest! {
    #[test]
    fn any_events_make_an_answer_whose_calls_can_be_answered(events in prop::collection::vec(any_event(), 0..12)) {
        let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let whole = play([body.as_bytes()]);
        prop_assert_eq!(&play(body.as_bytes().chunks(5)).result, &whole.result);
        if let Ok(completion) = &whole.result {
            let mut ids: Vec<_> = whole.calls().iter().map(|call| call.call_id.clone()).collect();
            let count = ids.len();
            ids.sort();
            ids.dedup();
            prop_assert!(ids.len() == count && ids.iter().all(|id| !id.is_empty()), "{:?}", ids);
            // It can be sent back.
            let mut request = super::requests::request(Vec::new());
            request.messages.push(completion.message.clone());
            let body = Body::new(&Dialect::openai("provider-test"), &super::requests::model(), &request).unwrap();
            prop_assert!(serde_json::from_str::<Value>(&body.into_json().shown()).is_ok());
        }
    }
}
