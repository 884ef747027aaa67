//! Streams as servers send them, cut at every byte.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Phase, Piece, Stop, Usage};
use stellaclaw_sdk::deltas::{Delta, ItemKind};

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
    let mut stream = ChatStream::new(Answer::new("some/model", "request-1"));
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

    fn calls(&self) -> Vec<(&str, &str, &str)> {
        let pieces = self.completion().message.pieces.iter();
        pieces
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

fn events(data: &[&str]) -> String {
    data.iter().map(|data| format!("data: {data}\n\n")).collect()
}

#[test]
fn an_openrouter_stream_with_reasoning_text_and_two_calls() {
    let seen = replay(include_str!("fixtures/openrouter_tools.sse"));
    let completion = seen.completion();
    assert_eq!(completion.stop, Stop::ToolUse);
    assert_eq!(completion.response_id.as_deref(), Some("gen-1"));
    assert_eq!(completion.served_model.as_deref(), Some("anthropic/claude-sonnet"));
    assert_eq!(completion.ext.as_deref(), Some(r#"{"provider":"Anthropic","native_finish_reason":"tool_use"}"#));
    assert_eq!((completion.message.phase, completion.message.id.as_str()), (Some(Phase::Commentary), "gen-1"));
    assert_eq!(completion.message.origin, Some(origin("some/model")));
    let [Piece::Reasoning(thought), Piece::Text(text), Piece::ToolUse(_), Piece::ToolUse(_)] = &completion.message.pieces[..] else {
        panic!("{:?}", completion.message.pieces);
    };
    assert_eq!(thought.text.as_deref(), Some("Zwei Dateien – lesen."));
    insta::assert_snapshot!(thought.opaque.as_ref().unwrap().data, @r#"[{"type":"reasoning.text","text":"Zwei Dateien – lesen.","format":"anthropic-claude-v1","index":0,"signature":"c2ln"}]"#);
    assert_eq!(text.text, "Ich lese beide 漢字 🦀.");
    assert_eq!(seen.calls(), [("toolu_a", "file_read", r#"{"file_path": "ä.md"}"#), ("toolu_b", "file_read", r#"{"file_path": "b.md"}"#)]);
    assert_eq!(seen.texts[&2], r#"{"file_path": "ä.md"}"#);
    let usage = seen.usage.as_ref().unwrap();
    assert_eq!(*usage, completion.usage);
    assert_eq!((usage.input_uncached, usage.cache_read, usage.output, usage.cost.as_deref()), (20, 100, 42, Some("0.00123")));
    let kinds: Vec<_> =
        seen.others.iter().filter_map(|delta| if let Delta::ItemStarted(item) = delta { Some(item.kind) } else { None }).collect();
    assert_eq!(kinds, [ItemKind::Reasoning, ItemKind::Text, ItemKind::ToolUse, ItemKind::ToolUse]);
}

#[test]
fn a_plain_stream_with_crlf_and_a_text_in_parts() {
    let body = "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\r\n\r\n\
        data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"a\\n\"}]}}]}\r\n\r\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"\\u00fc\"},\"finish_reason\":null}]}\r\n\r\n\
        data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\r\n\r\ndata: [DONE]\r\n\r\n";
    let seen = replay(body);
    assert_eq!(seen.completion().message.text(), "a\nü");
    assert_eq!((&seen.completion().stop, seen.completion().usage.output), (&Stop::MaxOutput, 2));
    assert_eq!(seen.completion().message.phase, Some(Phase::Final));
}

#[test]
fn calls_without_an_index_and_whole_at_once() {
    let seen = replay(&events(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","type":"function","function":{"name":"ls","arguments":{"path":"."}}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"ls","arguments":""}},{"function":{"name":"glob","arguments":"{\"p\":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]));
    assert_eq!(seen.calls(), [("a", "ls", r#"{"path":"."}"#), ("call_1", "ls", "{}"), ("call_2", "glob", r#"{"p":1}"#)]);
    assert_eq!(seen.completion().stop, Stop::ToolUse);
}

#[test]
fn calls_that_share_an_index_and_repeat_their_ids() {
    let seen = replay(&events(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"ls","arguments":"{\"x\""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"ls","arguments":":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"ls","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"ls","arguments":" "}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
    ]));
    assert_eq!(seen.calls(), [("a", "ls", r#"{"x":1}"#), ("b", "ls", "{}"), ("call_2", "ls", "{}")]);
}

#[test]
fn reasoning_that_comes_as_a_text_keeps_its_field() {
    let seen = replay(&events(&[
        r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"m","reasoning":"m"}}]}"#,
        r#"{"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}"#,
    ]));
    let Piece::Reasoning(thought) = &seen.completion().message.pieces[0] else { panic!() };
    let opaque = thought.opaque.as_ref().unwrap();
    assert_eq!((thought.text.as_deref(), opaque.format.as_str(), opaque.data.as_str()), (Some("hmm"), "reasoning_content", r#""hmm""#));
}

#[test]
fn a_body_that_is_not_streamed() {
    let seen = replay(
        r#" {"id":"c","object":"chat.completion","model":"m","choices":[{"message":{"role":"assistant","content":"Hallo",
        "tool_calls":[{"id":"x","type":"function","function":{"name":"ls","arguments":"{}"}}]},"finish_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
    );
    assert_eq!((seen.completion().message.text().as_str(), seen.calls().len(), &seen.completion().stop), ("Hallo", 1, &Stop::ToolUse));
    assert_eq!(seen.texts[&0], "Hallo");
    assert_eq!(seen.completion().usage.output, 1);
}

#[test]
fn a_stream_without_its_end_is_no_answer() {
    let cut = replay(&events(&[r#"{"id":"c","choices":[{"delta":{"content":"almost every"}}],"usage":{"prompt_tokens":7}}"#]));
    assert_eq!((cut.failure().kind, cut.failure().request_id.as_deref()), (FailureKind::Transport, Some("c")));
    assert_eq!(cut.failure().usage.as_ref().unwrap().input_uncached, 7);
    assert_eq!(replay("").failure().kind, FailureKind::Transport);
    assert_eq!(replay(": ping\n\ndata: [DONE]\n\n").failure().kind, FailureKind::Transport);
    assert_eq!(replay(r#"{"choices":[{"message":"#).failure().kind, FailureKind::Transport);
    let done = replay(&events(&[r#"{"choices":[{"delta":{"content":"all"}}]}"#, "[DONE]"]));
    assert_eq!((done.completion().message.text().as_str(), &done.completion().stop), ("all", &Stop::EndTurn));
    let bare = replay("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}");
    assert!(bare.completion().message.pieces.is_empty());
    assert_eq!(bare.completion().message.id, "request-1");
}

#[test]
fn errors_in_the_stream() {
    let text = r#"{"id":"g","choices":[{"delta":{"content":"I "}}]}"#;
    let kind = |error: &str| {
        let seen = replay(&events(&[text, error, "[DONE]"]));
        (seen.failure().kind, seen.failure().status)
    };
    let openrouter = r#"{"id":"g","choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502,"message":"gone","metadata":{"error_type":"provider_unavailable"}}}"#;
    assert_eq!(kind(openrouter), (FailureKind::Server, Some(502)));
    assert_eq!(kind(r#"{"choices":[{"error":{"code":429,"message":"slow"},"delta":{}}]}"#), (FailureKind::RateLimit, Some(429)));
    assert_eq!(kind(r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#), (FailureKind::Server, None));
    assert_eq!(kind(r#"{"error":"out of memory"}"#), (FailureKind::Server, None));
    assert_eq!(kind(r#"{"object":"error","message":"maximum context length is 8","code":400}"#), (FailureKind::ContextOverflow, Some(400)));
    assert_eq!(kind(r#"{"detail":"no"}"#), (FailureKind::Server, None));
    assert_eq!(kind("not json").0, FailureKind::Protocol);
    let named = replay("event: error\ndata: {\"message\":\"broken\",\"code\":\"server_error\"}\n\n");
    assert_eq!((named.failure().kind, named.failure().message.as_str()), (FailureKind::Server, "broken"));
}

#[test]
fn errors_in_place_of_the_stream() {
    let error = replay(r#"{"error":{"code":402,"message":"Insufficient credits"},"user_id":"u"}"#);
    assert_eq!((error.failure().kind, error.failure().status), (FailureKind::Quota, Some(402)));
    let choice = replay(r#"{"id":"g","choices":[{"error":{"code":503,"message":"busy"},"message":{"content":""}}]}"#);
    assert_eq!(choice.failure().kind, FailureKind::Overloaded);
    assert_eq!(replay("<html><title>Sign in</title></html>").failure().kind, FailureKind::Protocol);
    assert_eq!(replay(r#"{"hello":"world"}"#).failure().kind, FailureKind::Protocol);
    assert_eq!(
        replay(r#"[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]"#).failure().kind,
        FailureKind::InvalidRequest
    );
}

#[test]
fn how_an_answer_stops() {
    let stop = |choice: &str| replay(&events(&[&format!(r#"{{"choices":[{choice}]}}"#)])).completion().stop.clone();
    assert_eq!(stop(r#"{"finish_reason":"content_filter"}"#), Stop::ContentFilter);
    assert_eq!(stop(r#"{"finish_reason":"stop","native_finish_reason":"refusal"}"#), Stop::Refusal(None));
    assert_eq!(stop(r#"{"finish_reason":"stop","delta":{"refusal":"No."}}"#), Stop::Refusal(Some("No.".into())));
    assert_eq!(stop(r#"{"finish_reason":"length","native_finish_reason":"model_context_window_exceeded"}"#), Stop::ContextFull);
    assert_eq!(stop(r#"{"finish_reason":"stop","native_finish_reason":"pause_turn"}"#), Stop::Pause);
    assert_eq!(stop(r#"{"finish_reason":"abort"}"#), Stop::Other("abort".into()));
}

#[test]
fn many_events_of_a_chunk_become_one_delta() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let mut stream = ChatStream::new(Answer::new("m", "r"));
    let deltas = stream.push(event.repeat(20).as_bytes()).unwrap();
    let [Delta::Started(_), Delta::ItemStarted(_), Delta::Fragment(fragment), Delta::Usage(_)] = &deltas[..] else { panic!("{deltas:?}") };
    assert_eq!(fragment.text, "x".repeat(20));
    assert_eq!(stream.push(event.as_bytes()).unwrap().len(), 1, "the same usage is not said again");
}

#[test]
fn an_answer_without_end_is_refused() {
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(1 << 20));
    let mut stream = ChatStream::new(Answer::new("m", "r"));
    let failure = (0..20).find_map(|_| stream.push(event.as_bytes()).err()).unwrap();
    assert_eq!(failure.kind, FailureKind::Protocol);
}

proptest! {
    #[test]
    fn how_an_answer_is_cut_changes_nothing(
        parts in prop::collection::vec(("(content|reasoning|refusal)", "\\PC{0,6}", prop::option::of(0u8..3)), 0..12),
        cuts in prop::collection::vec(0usize..2000, 0..8),
    ) {
        let chunk = |(field, text, call): &(String, String, Option<u8>)| {
            let text = serde_json::Value::from(text.as_str());
            let call = call.map(|n| format!(r#","tool_calls":[{{"index":{n},"id":"c{n}","function":{{"name":"ls","arguments":{text}}}}}]"#));
            format!("data: {{\"choices\":[{{\"delta\":{{\"{field}\":{text}{}}}}}]}}\r\n\r\n", call.unwrap_or_default())
        };
        let mut body: String = parts.iter().map(chunk).collect();
        body.push_str("data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
        let bytes = body.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let whole = play([bytes]);
        prop_assert!(whole.result.is_ok(), "{:?}", whole.result);
        prop_assert_eq!(play(cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]])), whole);
    }
}
