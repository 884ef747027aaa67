//! Requests as items.

use serde_json::{Value, json};

use super::super::*;
use crate::chat::{
    AnswerPiece, Cache, Media, Message, Model, Opaque, Phase, Piece, Reasoning, Request, Role, TextPiece, Timeouts, ToolAnswer, ToolChoice,
    ToolSpec, ToolUse,
};
use crate::types::Modality;

fn dialect() -> Dialect<'static> {
    Dialect::openai("provider-test")
}

pub(super) fn model() -> Model {
    Model {
        alias: "main".into(),
        id: "some-model".into(),
        base_url: None,
        credential: None,
        context_window: 1000,
        reads: Vec::new(),
        timeouts: Timeouts { connect: 1, idle: 2, total: 3 },
        options: "{}".into(),
        ext: None,
    }
}

fn text(text: &str) -> Piece {
    Piece::Text(TextPiece { text: text.into(), annotations: None })
}

fn message(role: Role, pieces: Vec<Piece>) -> Message {
    let origin = (role == Role::Assistant).then(|| dialect().origin("some-model"));
    Message { id: "m".into(), role, phase: Some(Phase::Commentary), origin, pieces, cache_break: false }
}

fn opaque(data: &str) -> Opaque {
    Opaque { format: ITEM_FORMAT.into(), data: data.into() }
}

fn thought(data: &str) -> Piece {
    Piece::Reasoning(Reasoning { text: Some("t".into()), summary: Vec::new(), opaque: Some(opaque(data)) })
}

fn call(id: &str, freeform: bool) -> Piece {
    Piece::ToolUse(ToolUse { call_id: id.into(), item_id: Some(format!("fc_{id}")), name: "ls".into(), arguments: String::new(), freeform })
}

fn answer(id: &str, pieces: Vec<AnswerPiece>) -> Piece {
    Piece::ToolAnswer(ToolAnswer { call_id: id.into(), pieces, is_error: false })
}

fn media(modality: Modality, media_type: &str, name: Option<&str>) -> Media {
    Media { blob: "sha256:0".into(), modality, media_type: media_type.into(), name: name.map(str::to_owned), size: 9, detail: None }
}

pub(super) fn request(messages: Vec<Message>) -> Request {
    Request {
        id: "r".into(),
        session: "s1".into(),
        turn: "t1".into(),
        system: ["You are", "", "an agent"].map(|text| TextPiece { text: text.into(), annotations: None }).to_vec(),
        messages,
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        parallel_tools: true,
        max_output: None,
        temperature: None,
        effort: None,
        reasoning_summary: None,
        response_schema: None,
        service_tier: None,
        cache: None,
        extra: None,
        ext: None,
    }
}

fn input(messages: Vec<Message>) -> Vec<Value> {
    sent(&dialect(), messages)
}

fn sent(dialect: &Dialect<'_>, messages: Vec<Message>) -> Vec<Value> {
    let body = Body::new(dialect, &model(), &request(messages)).unwrap();
    body.input.iter().map(|item| serde_json::from_str(&item.shown()).unwrap()).collect()
}

#[test]
fn a_conversation_with_reasoning_calls_and_media() {
    let image = || media(Modality::Image, "image/png", Some("a.png"));
    let user = vec![
        text("look"),
        Piece::Media(image()),
        Piece::Media(media(Modality::Pdf, "application/pdf", None)),
        Piece::Media(media(Modality::Audio, "audio/mpeg", None)),
        Piece::Media(media(Modality::Audio, "audio/midi", Some("b.mid"))),
    ];
    let sealed = r#"{"id": "rs_1", "type":"reasoning","summary":[],"encrypted_content":"c2VhbA==","status":null}"#;
    let mut request = request(vec![
        message(Role::User, user),
        message(Role::Assistant, vec![thought(sealed), text("Sure."), call("a", false), call("b", true)]),
        message(
            Role::Tool,
            vec![
                answer("a", vec![AnswerPiece::Text("x".into()), AnswerPiece::Media(image())]),
                answer("b", vec![AnswerPiece::Text("one".into()), AnswerPiece::Text("two".into())]),
                text("and hurry"),
            ],
        ),
    ]);
    request.tools = vec![ToolSpec { name: "ls".into(), description: "Lists".into(), parameters: r#"{"type":"object"}"#.into() }];
    request.tool_choice = ToolChoice::Named("ls".into());
    request.max_output = Some(64);
    request.temperature = Some(0.5);
    request.effort = Some("high".into());
    request.reasoning_summary = Some("auto".into());
    request.service_tier = Some("flex".into());
    request.cache = Some(Cache { key: "k".into(), ttl: None });
    request.response_schema = Some(r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#.into());
    let body = Body::new(&dialect(), &model(), &request).unwrap();
    assert!(body.input[1].shown().contains(sealed), "reasoning goes back to the byte: {}", body.input[1].shown());
    let json = body.into_json().shown();
    insta::assert_snapshot!(serde_json::to_string_pretty(&serde_json::from_str::<Value>(&json).unwrap()).unwrap());
}

#[test]
fn what_a_server_does_not_take_is_left_out() {
    let codex = Dialect { wire: "codex", system: System::Developer, max_output: false, temperature: false, phases: true, ..dialect() };
    let mut request = request(vec![Message { phase: Some(Phase::Final), ..message(Role::Assistant, vec![text("x")]) }]);
    request.max_output = Some(64);
    request.temperature = Some(0.5);
    let body = Body::new(&codex, &model(), &request).unwrap();
    let fields: Vec<_> = body.fields.keys().map(String::as_str).collect();
    assert_eq!(fields, ["model", "stream", "store", "include"]);
    let items: Vec<Value> = body.input.iter().map(|item| serde_json::from_str(&item.shown()).unwrap()).collect();
    assert_eq!(items[0]["role"], "developer");
    assert_eq!(items[0]["content"][0]["text"], "You are\n\nan agent");
    assert_eq!((items[1]["role"].as_str(), items[1]["phase"].as_str()), (Some("assistant"), Some("final_answer")));
}

#[test]
fn reasoning_stands_right_before_what_it_led_to_or_not_at_all() {
    let kinds = |pieces: Vec<Piece>| {
        let items = input(vec![message(Role::Assistant, pieces)]);
        items.iter().map(|item| item["n"].as_str().or(item["type"].as_str()).unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let n = |n: &str| thought(&format!(r#"{{"n":"{n}"}}"#));
    assert_eq!(kinds(vec![n("1"), call("a", false), n("2"), call("b", false)]), "1 function_call 2 function_call");
    assert_eq!(kinds(vec![text("x"), n("1"), n("2"), text("y")]), "message 1 2 message");
    assert_eq!(kinds(vec![text("x"), n("1"), text(""), n("2")]), "message");
    assert_eq!(kinds(vec![n("1"), Piece::Hosted(opaque(r#"{"n":"h"}"#)), Piece::Compaction(opaque(r#"{"n":"c"}"#))]), "1 h c");
}

#[test]
fn only_the_origin_sees_its_own_items_again() {
    let pieces = || vec![thought("{}"), Piece::Hosted(opaque("{}")), text("x"), call("a", false), Piece::Refusal("no".into())];
    let kinds = |items: &[Value]| items.iter().map(|item| item["type"].clone()).collect::<Vec<_>>();
    let own = message(Role::Assistant, pieces());
    for (provider, model, wire) in
        [("other", "some-model", "responses"), ("provider-test", "other", "responses"), ("provider-test", "some-model", "chat-completions")]
    {
        let origin = crate::chat::Origin { provider: provider.into(), model: model.into(), wire: wire.into() };
        let items = input(vec![Message { origin: Some(origin), ..own.clone() }]);
        assert_eq!(kinds(&items), ["message", "function_call", "message"], "{wire}");
        assert_eq!((items[1].get("id"), items[2]["content"][0]["type"].as_str()), (None, Some("output_text")));
    }
    let items = input(vec![own]);
    assert_eq!((items.len(), items[3]["id"].as_str()), (5, Some("fc_a")));
    assert_eq!(items[4]["content"][0], json!({"type": "refusal", "refusal": "no"}));
    // What lost its reasoning must not be known by its id.
    let unsealed = Piece::Reasoning(Reasoning { text: Some("t".into()), summary: Vec::new(), opaque: None });
    assert_eq!(input(vec![message(Role::Assistant, vec![unsealed, call("a", false)])])[0].get("id"), None);
}

#[test]
fn a_server_that_wants_ids_is_given_them() {
    let wanting = Dialect { item_ids: true, ..dialect() };
    let foreign = Message { origin: None, ..message(Role::Assistant, vec![text("x"), call("a", false), text("y")]) };
    let items = sent(&wanting, vec![message(Role::User, vec![text("go")]), foreign, message(Role::Assistant, vec![call("b", false)])]);
    let ids: Vec<_> = items.iter().map(|item| item["id"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, ["", "msg_1", "fc_a", "msg_3", "fc_b"]);
    assert_eq!((items[1]["status"].as_str(), items[3]["status"].as_str()), (Some("completed"), Some("completed")));
}

#[test]
fn a_longer_history_begins_with_the_shorter_one() {
    let mut messages = vec![message(Role::User, vec![text("go"), Piece::Media(media(Modality::Image, "image/png", None))])];
    let body = |messages: &[Message]| Body::new(&dialect(), &model(), &request(messages.to_vec())).unwrap();
    let short = body(&messages);
    messages.extend([message(Role::Assistant, vec![thought("{}"), call("a", false)]), message(Role::Tool, vec![answer("a", Vec::new())])]);
    let long = body(&messages);
    assert_eq!((&long.fields, &long.input[..1]), (&short.fields, &short.input[..]));
    assert_eq!(long.input.len(), 4);
}

#[test]
fn ids_that_are_too_long_are_shortened_alike() {
    let long = "x".repeat(100);
    let other = format!("{}y", "x".repeat(99));
    let items = input(vec![
        message(Role::Assistant, vec![call(&long, false), call(&other, false)]),
        message(Role::Tool, vec![answer(&long, Vec::new()), answer(&other, Vec::new())]),
    ]);
    let ids: Vec<_> = items.iter().map(|item| item["call_id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| id.len() == 64) && ids[0] != ids[1], "{ids:?}");
    assert_eq!((ids[0], ids[1]), (ids[2], ids[3]));
}

#[test]
fn what_is_no_json_is_named() {
    let failed = |request: Request| Body::new(&dialect(), &model(), &request).unwrap_err().message;
    assert!(failed(request(vec![message(Role::Assistant, vec![thought("{"), text("x")])])).contains("a stored item is no JSON"));
    let mut broken = request(Vec::new());
    broken.tools = vec![ToolSpec { name: "ls".into(), description: String::new(), parameters: "[]".into() }];
    assert!(failed(broken).contains("the schema of the tool ls is no JSON object"));
}
