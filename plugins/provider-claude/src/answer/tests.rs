//! Streams as servers send them, cut at every byte.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use stellaclaw_sdk::chat::{FailureKind, Phase, Piece, Stop, Usage};
use stellaclaw_sdk::deltas::ItemKind;
use stellaclaw_sdk::openai::stream::Stream;

use super::*;

/// Everything a host learns: the texts by item, the other deltas in order, the last usage.
#[derive(Debug, PartialEq)]
struct Seen {
    texts: BTreeMap<u32, String>,
    others: Vec<Delta>,
    usage: Option<Usage>,
    result: Result<Completion, Failure>,
}

fn play<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut seen = Seen { texts: BTreeMap::new(), others: Vec::new(), usage: None, result: Err(Failure::cancelled()) };
    let mut stream = Stream::new(Answer::new("claude-sonnet-5", "request-1"));
    let mut chunks = chunks.into_iter();
    seen.result = loop {
        let Some(chunk) = chunks.next() else {
            break stream.finish().map(|finished| {
                seen.note(finished.deltas);
                finished.completion
            });
        };
        match stream.push(chunk) {
            Ok(deltas) => seen.note(deltas),
            Err(failure) => break Err(failure),
        }
    };
    seen
}

impl Seen {
    fn note(&mut self, deltas: Vec<Delta>) {
        for delta in deltas {
            match delta {
                Delta::Fragment(fragment) => self.texts.entry(fragment.index).or_default().push_str(&fragment.text),
                Delta::Usage(usage) => self.usage = Some(usage),
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

    fn pieces(&self) -> &[Piece] {
        &self.completion().message.pieces
    }

    fn calls(&self) -> Vec<(&str, &str, &str)> {
        self.pieces()
            .iter()
            .filter_map(|piece| match piece {
                Piece::ToolUse(call) => Some((call.call_id.as_str(), call.name.as_str(), call.arguments.as_str())),
                _ => None,
            })
            .collect()
    }
}

/// Plays a body whole, in every two parts and byte by byte; it is the same each time. A failure that comes first may leave
/// out what a larger chunk brought with it, so there only the failure is compared.
fn replay(body: &str) -> Seen {
    let bytes = body.as_bytes();
    let whole = play([bytes]);
    let same = |other: Seen, how: &str| {
        if whole.result.is_ok() {
            assert_eq!(other, whole, "{how}");
        } else {
            assert_eq!(other.result, whole.result, "{how}");
        }
    };
    for at in 0..=bytes.len() {
        same(play([&bytes[..at], &bytes[at..]]), &format!("cut at {at}"));
    }
    same(play(bytes.chunks(1)), "byte by byte");
    same(play(bytes.chunks(7)), "seven bytes at a time");
    whole
}

fn events(all: &[Value]) -> String {
    all.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg", "model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}})
}

fn block(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, kind: &str, key: &str, more: &str) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, key: more}})
}

fn text(more: &str) -> Value {
    delta(0, "text_delta", "text", more)
}

fn end(reason: &str) -> [Value; 2] {
    [json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}), json!({"type": "message_stop"})]
}

/// A message of these events, that ends for this reason.
fn message(inside: &[Value], reason: &str) -> String {
    events(&[&[start()], inside, &end(reason)].concat())
}

#[test]
fn thinking_text_and_two_calls() {
    let seen = replay(include_str!("fixtures/thinking_and_tools.sse"));
    let completion = seen.completion();
    assert_eq!((&completion.stop, completion.message.phase), (&Stop::ToolUse, Some(Phase::Commentary)));
    assert_eq!((completion.response_id.as_deref(), completion.message.id.as_str()), (Some("msg_01"), "msg_01"));
    assert_eq!((completion.served_model.as_deref(), completion.served_tier.as_deref()), (Some("claude-sonnet-5"), Some("standard")));
    assert_eq!(completion.message.origin, Some(crate::request::origin("claude-sonnet-5")));
    let [Piece::Reasoning(thought), Piece::Reasoning(redacted), Piece::Text(text), Piece::ToolUse(_), Piece::ToolUse(_)] = seen.pieces()
    else {
        panic!("{:?}", seen.pieces());
    };
    assert_eq!(thought.text.as_deref(), Some("Zwei Dateien  – lesen.\n 🦀"));
    let opaque = |thought: &stellaclaw_sdk::chat::Reasoning| {
        let opaque = thought.opaque.clone().unwrap();
        (opaque.format, opaque.data)
    };
    let signed = r#"{"type":"thinking","thinking":"Zwei Dateien  – lesen.\n 🦀","signature":"EqQBCgIYAhIM/+=="}"#;
    assert_eq!(opaque(thought), ("thinking".into(), signed.into()));
    assert_eq!(opaque(redacted), ("redacted_thinking".into(), r#"{"type":"redacted_thinking","data":"EmwKAhgB"}"#.into()));
    assert_eq!(text.text, "Ich lese beide 漢字 \"🦀\".");
    assert_eq!(seen.calls(), [("toolu_a", "file_read", r#"{"file_path": "ä.md"}"#), ("toolu_b", "ls", "{}")]);
    let usage = seen.usage.as_ref().unwrap();
    assert_eq!(*usage, completion.usage);
    assert_eq!((usage.input_uncached, usage.cache_read, &usage.cache_write), (12, 4000, &vec![(300, 300)]));
    assert_eq!((usage.output, usage.reasoning), (89, 40));
    let kinds: Vec<_> =
        seen.others.iter().filter_map(|delta| if let Delta::ItemStarted(item) = delta { Some(item.kind) } else { None }).collect();
    assert_eq!(kinds, [ItemKind::Reasoning, ItemKind::Text, ItemKind::ToolUse, ItemKind::ToolUse]);
    assert_eq!(seen.texts[&0], "Zwei Dateien  – lesen.\n 🦀");
}

#[test]
fn every_way_in_which_an_answer_stops() {
    let stop = |reason: &str| replay(&message(&[text("x")], reason)).completion().stop.clone();
    assert_eq!(stop("end_turn"), Stop::EndTurn);
    assert_eq!(stop("max_tokens"), Stop::MaxOutput);
    assert_eq!(stop("stop_sequence"), Stop::StopSequence(String::new()));
    assert_eq!(stop("pause_turn"), Stop::Pause);
    assert_eq!(stop("refusal"), Stop::Refusal(None));
    assert_eq!(stop("model_context_window_exceeded"), Stop::ContextFull);
    assert_eq!(stop("compaction"), Stop::Other("compaction".into()));
    let ended = |delta: Value| {
        let body = events(&[start(), text("x"), json!({"type": "message_delta", "delta": delta}), json!({"type": "message_stop"})]);
        replay(&body).completion().stop.clone()
    };
    assert_eq!(ended(json!({"stop_reason": "stop_sequence", "stop_sequence": "END"})), Stop::StopSequence("END".into()));
    let refused = json!({"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "bio", "explanation": null}});
    assert_eq!(ended(refused), Stop::Refusal(Some("bio".into())));
    let call = block(1, json!({"type": "tool_use", "id": "a", "name": "ls", "input": {}}));
    assert_eq!(replay(&message(std::slice::from_ref(&call), "end_turn")).completion().stop, Stop::ToolUse);
    assert_eq!(replay(&message(&[call], "max_tokens")).completion().stop, Stop::MaxOutput);
    assert_eq!(replay(&message(&[text("x")], "pause_turn")).completion().message.phase, Some(Phase::Commentary));
}

#[test]
fn thinking_that_was_cut_off_is_shown_and_not_kept() {
    let seen = replay(&message(
        &[block(0, json!({"type": "thinking", "thinking": "", "signature": ""})), delta(0, "thinking_delta", "thinking", "hm")],
        "max_tokens",
    ));
    let [Piece::Reasoning(thought)] = seen.pieces() else { panic!("{:?}", seen.pieces()) };
    assert_eq!((thought.text.as_deref(), &thought.opaque), (Some("hm"), &None));
}

#[test]
fn thinking_that_is_not_shown_is_kept() {
    let seen = replay(&message(
        &[
            block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, "signature_delta", "signature", "sig"),
            text(""),
        ],
        "end_turn",
    ));
    let [Piece::Reasoning(thought)] = seen.pieces() else { panic!("{:?}", seen.pieces()) };
    assert_eq!(thought.text, None);
    assert_eq!(thought.opaque.as_ref().unwrap().data, r#"{"type":"thinking","thinking":"","signature":"sig"}"#);
    assert_eq!(seen.texts.len(), 0);
}

#[test]
fn what_the_vendor_ran_itself_is_kept_as_it_came() {
    let result = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "url": "u"}]});
    let citation = json!({"type": "content_block_delta", "index": 2, "delta": {"type": "citations_delta", "citation": {"url": "u"}}});
    let seen = replay(&message(
        &[
            block(0, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
            delta(0, "input_json_delta", "partial_json", r#"{"query":"#),
            delta(0, "input_json_delta", "partial_json", r#""x"}"#),
            block(1, result.clone()),
            block(2, json!({"type": "text", "text": "", "citations": []})),
            delta(2, "text_delta", "text", "found"),
            citation,
            block(3, json!({"type": "of_the_future", "a": 1})),
            delta(3, "future_delta", "b", "lost"),
        ],
        "end_turn",
    ));
    let [Piece::Hosted(call), Piece::Hosted(found), Piece::Text(text)] = seen.pieces() else { panic!("{:?}", seen.pieces()) };
    assert_eq!(call.data, r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}}"#);
    assert_eq!((found.format.as_str(), &found.data), ("web_search_tool_result", &result.to_string()));
    assert_eq!((text.text.as_str(), text.annotations.as_deref()), ("found", Some(r#"[{"url":"u"}]"#)));
}

#[test]
fn broken_arguments_are_handed_on_as_they_are() {
    let call = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "ls", "input": input});
    let seen = replay(&message(
        &[
            block(0, call("a", json!({}))),
            delta(0, "input_json_delta", "partial_json", r#"{"path": "/tm"#),
            block(1, call("b", json!({"path": "."}))),
            block(2, call("c", json!(null))),
        ],
        "max_tokens",
    ));
    assert_eq!(seen.calls(), [("a", "ls", r#"{"path": "/tm"#), ("b", "ls", r#"{"path":"."}"#), ("c", "ls", "{}")]);
}

#[test]
fn errors_in_the_stream() {
    let kind = |class: &str| {
        let error = json!({"type": "error", "error": {"type": class, "message": "Overloaded"}, "request_id": "req_7"});
        let seen = replay(&events(&[start(), text("I "), error]));
        assert_eq!(seen.failure().request_id.as_deref(), Some("req_7"));
        assert_eq!(seen.failure().usage.as_ref().map(|usage| usage.input_uncached), Some(9), "what was read is paid for");
        seen.failure().kind
    };
    assert_eq!(kind("overloaded_error"), FailureKind::Overloaded);
    assert_eq!(kind("api_error"), FailureKind::Server);
    assert_eq!(kind("rate_limit_error"), FailureKind::RateLimit);
    assert_eq!(kind("invalid_request_error"), FailureKind::InvalidRequest);
    let unnamed = replay("data: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n");
    assert_eq!(unnamed.failure().kind, FailureKind::Overloaded);
    assert_eq!(replay("event: error\ndata: gone\n\n").failure().kind, FailureKind::Protocol);
    let malformed = replay(&format!("{}event: x\ndata: {{\"type\": \"content_bl\n\n", events(&[start()])));
    assert_eq!(malformed.failure().kind, FailureKind::Protocol);
    let wrong = replay(&events(&[start(), json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 3}})]));
    assert_eq!(wrong.failure().kind, FailureKind::Protocol);
}

#[test]
fn an_answer_that_does_not_say_that_it_is_complete_is_none() {
    for body in [events(&[]), events(&[start()]), events(&[start(), text("All of it.")]), events(&[json!({"type": "message_stop"})])] {
        assert_eq!(replay(&body).failure().kind, FailureKind::Transport, "{body}");
    }
    let [ended, _] = end("end_turn");
    let seen = replay(&events(&[start(), text("all"), ended]));
    assert_eq!(seen.completion().message.text(), "all", "only the end marker is missing");
}

#[test]
fn answers_and_errors_in_place_of_the_stream() {
    let body = json!({"type": "message", "id": "m1", "model": "m", "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 2},
        "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "a", "name": "ls", "input": {"p": 1}}]});
    let seen = replay(&body.to_string());
    assert_eq!((seen.completion().message.text().as_str(), &seen.completion().stop), ("Hi", &Stop::ToolUse));
    assert_eq!((seen.calls(), seen.completion().usage.output), (vec![("a", "ls", r#"{"p":1}"#)], 2));
    assert_eq!(seen.texts[&1], "Hi");
    let error = replay(r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#);
    assert_eq!(error.failure().kind, FailureKind::Overloaded);
    assert_eq!(replay("<html><title>Sign in</title></html>").failure().kind, FailureKind::Protocol);
    assert_eq!(replay(r#"{"type":"message","con"#).failure().kind, FailureKind::Transport);
    assert_eq!(replay("[1]").failure().kind, FailureKind::Protocol);
}

#[test]
fn servers_that_leave_things_out() {
    let bare = json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}});
    let seen = replay(&format!("{}data: [DONE]\n\n", events(&[json!({"type": "message_start"}), bare, end("end_turn")[0].clone()])));
    assert_eq!((seen.completion().message.text().as_str(), seen.completion().message.id.as_str()), ("Hi", "request-1"));
    let lost = events(&[start(), delta(5, "input_json_delta", "partial_json", "{}"), end("end_turn")[0].clone()]);
    assert_eq!(replay(&lost).pieces(), []);
}

#[test]
fn bytes_that_are_no_text() {
    let mut body = events(&[start()]).into_bytes();
    body.extend_from_slice(
        b"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\xff\xfe\"}}\n\n",
    );
    assert_eq!(play([&body[..]]).failure().kind, FailureKind::Protocol);
    assert_eq!(play(body.chunks(1)).failure().kind, FailureKind::Protocol);
}

#[test]
fn an_answer_without_end_is_refused() {
    let failed = |event: &str| {
        let mut stream = Stream::new(Answer::new("m", "r"));
        stream.push(events(&[start()]).as_bytes()).unwrap();
        (0..200_000).find_map(|_| stream.push(event.as_bytes()).err()).unwrap()
    };
    let long = "x".repeat(1 << 20);
    assert_eq!(failed(&events(&[text(&long)])).kind, FailureKind::Protocol);
    assert_eq!(failed(&events(&[delta(0, "signature_delta", "signature", &long)])).kind, FailureKind::Protocol);
    assert_eq!(failed(&events(&[block(0, json!({"type": "text", "text": ""}))])).kind, FailureKind::Protocol, "blocks without end");
    assert_eq!(failed(&format!("data: {long}")).kind, FailureKind::Protocol, "an event without end");
}

#[test]
fn many_events_of_a_chunk_become_one_delta() {
    let mut stream = Stream::new(Answer::new("m", "r"));
    let deltas = stream.push((events(&[start()]) + &events(&[text("x")]).repeat(20)).as_bytes()).unwrap();
    let [Delta::Started(_), Delta::ItemStarted(_), Delta::Fragment(fragment), Delta::Usage(_)] = &deltas[..] else { panic!("{deltas:?}") };
    assert_eq!(fragment.text, "x".repeat(20));
    assert_eq!(stream.push(events(&[text("x")]).as_bytes()).unwrap().len(), 1);
}

/// Events of a conversation with a server that may do anything, in any order.
fn any_event() -> impl Strategy<Value = Value> {
    let index = 0..3_u64;
    let kind = prop_oneof!["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "new"];
    let added = prop_oneof![
        Just(("text_delta", "text")),
        Just(("thinking_delta", "thinking")),
        Just(("signature_delta", "signature")),
        Just(("input_json_delta", "partial_json")),
        Just(("new_delta", "new")),
    ];
    prop_oneof![
        (index.clone(), kind, "[a-z ü🦀]{0,4}").prop_map(|(index, kind, said)| block(
            index,
            json!({"type": kind, "id": said, "name": "ls", "text": said, "thinking": said, "input": {}})
        )),
        (index, added, "[a-z{}\":ü🦀]{0,6}").prop_map(|(index, (kind, key), more)| delta(index, kind, key, &more)),
        Just(json!({"type": "ping"})),
        Just(json!({"type": "content_block_stop", "index": 0})),
        (0..9_u64).prop_map(|tokens| json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": {"output_tokens": tokens}})),
    ]
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_answer(inside in prop::collection::vec(any_event(), 0..12), cuts in prop::collection::vec(0..400_usize, 0..6)) {
        let body = message(&inside, "end_turn");
        let bytes = body.as_bytes();
        let whole = play([bytes]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&play(cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]])), &whole);
        prop_assert_eq!(&play(bytes.chunks(1)), &whole);
        prop_assert!(whole.result.is_ok());
    }

    #[test]
    fn whatever_comes_there_is_an_answer_or_a_failure(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let whole = play([&bytes[..]]);
        prop_assert_eq!(play(bytes.chunks(3)).result, whole.result);
    }
}
