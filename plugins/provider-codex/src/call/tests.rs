use serde_json::json;
use stellaclaw_sdk::chat::{
    AnswerPiece, Cache, FailureKind, Message, Opaque, Piece, Reasoning, Role, TextPiece, Timeouts, ToolAnswer, ToolChoice, ToolSpec,
    ToolUse, Usage,
};
use stellaclaw_sdk::http::Piece as WirePiece;

use super::*;

pub(crate) fn model(base_url: Option<&str>, options: &str) -> Model {
    Model {
        alias: "main".into(),
        id: "gpt-x".into(),
        base_url: base_url.map(str::to_owned),
        credential: Some("api-key".into()),
        context_window: 272_000,
        reads: Vec::new(),
        timeouts: Timeouts { connect: 1000, idle: 2000, total: 3000 },
        options: options.into(),
        ext: None,
    }
}

pub(crate) fn request(messages: Vec<Message>) -> Request {
    Request {
        id: "7.1.0".into(),
        session: "7".into(),
        turn: "7.1".into(),
        system: vec![TextPiece { text: "Be good.".into(), annotations: None }],
        messages,
        tools: vec![ToolSpec { name: "ls".into(), description: "Lists.".into(), parameters: r#"{"type":"object"}"#.into() }],
        tool_choice: ToolChoice::Auto,
        parallel_tools: true,
        max_output: Some(100),
        temperature: Some(0.5),
        effort: Some("high".into()),
        reasoning_summary: Some("auto".into()),
        response_schema: None,
        service_tier: Some("fast".into()),
        cache: Some(Cache { key: "the host's".into(), ttl: None }),
        extra: None,
        ext: None,
    }
}

pub(crate) fn message(role: Role, pieces: Vec<Piece>) -> Message {
    let origin = (role == Role::Assistant).then(|| dialect(&identity(true)).origin("gpt-x"));
    Message { id: "m".into(), role, phase: None, origin, pieces, cache_break: false }
}

pub(crate) fn text(text: &str) -> Piece {
    Piece::Text(TextPiece { text: text.into(), annotations: None })
}

pub(crate) fn user(said: &str) -> Message {
    message(Role::User, vec![text(said)])
}

pub(crate) fn identity(account: bool) -> Identity {
    Identity { session: "11111111-2222-8333-9444-555555555555".into(), account: account.then(|| "acct".into()) }
}

fn thought() -> Piece {
    let item = r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"sealed"}"#;
    Piece::Reasoning(Reasoning {
        text: None,
        summary: Vec::new(),
        opaque: Some(Opaque { format: "responses-item".into(), data: item.into() }),
    })
}

fn tool_use(id: &str) -> Piece {
    let call =
        ToolUse { call_id: id.into(), item_id: Some(format!("fc_{id}")), name: "ls".into(), arguments: "{}".into(), freeform: false };
    Piece::ToolUse(call)
}

fn tool_answer(id: &str) -> Message {
    let answer = ToolAnswer { call_id: id.into(), pieces: vec![AnswerPiece::Text("a.txt".into())], is_error: false };
    message(Role::Tool, vec![Piece::ToolAnswer(answer)])
}

pub(crate) fn shown(pieces: &[WirePiece]) -> Value {
    let text: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| match piece {
            WirePiece::Bytes(bytes) => bytes.clone(),
            WirePiece::Blob(blob) => blob.blob.clone().into_bytes(),
        })
        .collect();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_frame_is_what_the_backend_takes_and_nothing_else() {
    let (model, request) = (model(None, r#"{"verbosity":"low"}"#), request(vec![user("go")]));
    let call = Call::new(&model, &request, identity(true)).unwrap();
    assert_eq!(call.url(Way::WebSocket), "wss://chatgpt.com/backend-api/codex/responses");
    assert_eq!(call.url(Way::Https), "https://chatgpt.com/backend-api/codex/responses");
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown(&call.frame(None, Some("sticky")))).unwrap());
    let body = shown(&call.post_body());
    assert_eq!((&body["type"], &body["client_metadata"]), (&Value::Null, &Value::Null));
    let warming = shown(&call.warming_frame());
    assert_eq!((&warming["generate"], &warming["input"], &warming["tools"][0]["name"]), (&json!(false), &json!([]), &json!("ls")));
}

#[test]
fn a_plain_key_has_the_limits_and_no_account() {
    let request = request(vec![user("go")]);
    let model_at = model(Some("https://api.openai.com/v1/"), "");
    let call = Call::new(&model_at, &request, identity(false)).unwrap();
    let frame = shown(&call.frame(None, None));
    assert_eq!((&frame["max_output_tokens"], &frame["temperature"]), (&json!(100), &json!(0.5)));
    assert_eq!(call.url(Way::WebSocket), "wss://api.openai.com/v1/responses");
    assert!(!call.headers(Way::WebSocket, None).iter().any(|(name, _)| name == "chatgpt-account-id"));
    let refused = Call::new(&model(None, ""), &request, identity(false)).unwrap_err();
    assert_eq!(refused.kind, FailureKind::InvalidRequest);
    assert!(refused.message.contains("codex_auth") && refused.message.contains("base_url"), "{}", refused.message);
}

#[test]
fn tiers_extras_and_omissions() {
    let mut request = request(vec![user("go")]);
    let mut field = |tier: Option<&str>, options: &str, key: &str| {
        request.service_tier = tier.map(str::to_owned);
        let model = model(None, options);
        shown(&Call::new(&model, &request, identity(true)).unwrap().post_body())[key].clone()
    };
    for (tier, sent) in [("fast", json!("priority")), ("flex", json!("flex")), ("standard", json!(null)), ("", json!(null))] {
        assert_eq!(field(Some(tier), "", "service_tier"), sent, "{tier}");
    }
    let options = r#"{"extra":{"store":true,"model":"other","truncation":"auto"},"omit":["prompt_cache_key"]}"#;
    assert_eq!(field(None, options, "store"), json!(false));
    assert_eq!(field(None, options, "model"), json!("gpt-x"));
    assert_eq!(field(None, options, "truncation"), json!("auto"));
    assert_eq!(field(None, options, "prompt_cache_key"), json!(null));
    let refused = Call::new(&model(None, r#"{"omit":["input"]}"#), &request, identity(true)).unwrap_err();
    assert!(refused.message.contains("input"), "{}", refused.message);
}

fn completion(pieces: Vec<Piece>) -> Completion {
    Completion {
        message: message(Role::Assistant, pieces),
        stop: Stop::ToolUse,
        usage: Usage::none(),
        response_id: Some("resp_1".into()),
        served_model: None,
        served_tier: None,
        ext: None,
    }
}

#[test]
fn a_tool_round_is_a_continuation() {
    let model = model(None, "");
    let first = request(vec![user("go")]);
    let answer = completion(vec![thought(), tool_use("a"), tool_use("b")]);
    let last = Call::new(&model, &first, identity(true)).unwrap().remembered(&answer).unwrap();
    assert_eq!((last.response.as_str(), last.items), ("resp_1", 4));

    let second = request(vec![user("go"), answer.message.clone(), tool_answer("a"), tool_answer("b")]);
    let call = Call::new(&model, &second, identity(true)).unwrap();
    assert_eq!(call.new_from(&last), Some(4));
    let frame = shown(&call.frame(Some(("resp_1", 4)), None));
    assert_eq!(frame["previous_response_id"], "resp_1");
    let kinds: Vec<_> = frame["input"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["function_call_output", "function_call_output"]);
    let full = shown(&call.frame(None, None));
    assert_eq!((full["input"].as_array().unwrap().len(), &full["previous_response_id"]), (6, &Value::Null));

    let mut other = second.clone();
    other.effort = Some("low".into());
    assert_eq!(Call::new(&model, &other, identity(true)).unwrap().new_from(&last), None, "another effort");
    let mut other = second.clone();
    other.tools.clear();
    assert_eq!(Call::new(&model, &other, identity(true)).unwrap().new_from(&last), None, "other tools");
    let mut other = second;
    other.messages[1].pieces.remove(0);
    assert_eq!(Call::new(&model, &other, identity(true)).unwrap().new_from(&last), None, "the reasoning was dropped");
}

#[test]
fn an_answer_that_was_cut_off_is_not_built_upon() {
    let (model, request) = (model(None, ""), request(vec![user("go")]));
    let call = Call::new(&model, &request, identity(true)).unwrap();
    let cut = Completion { stop: Stop::MaxOutput, ..completion(vec![text("half")]) };
    assert_eq!(call.remembered(&cut), None);
    assert_eq!(call.remembered(&Completion { response_id: None, ..completion(vec![text("whole")]) }), None);
}

#[test]
fn a_warmed_connection_takes_any_history() {
    let model = model(None, "");
    let empty = request(Vec::new());
    let warmed = Call::new(&model, &empty, identity(true)).unwrap().warmed("resp_0".into());
    let first = request(vec![user("go")]);
    let call = Call::new(&model, &first, identity(true)).unwrap();
    assert_eq!(call.new_from(&warmed), Some(0));
    assert!(call.is_warmed_by(&warmed));
    let mut other = first.clone();
    other.system[0].text = "Be bad.".into();
    let other = Call::new(&model, &other, identity(true)).unwrap();
    assert!(other.new_from(&warmed).is_none() && !other.is_warmed_by(&warmed));
}

#[test]
fn another_login_is_another_peer() {
    let request = request(vec![user("go")]);
    let peer = |options: &str, account: &str| {
        let model = model(None, options);
        Call::new(&model, &request, Identity { account: Some(account.into()), ..identity(true) }).unwrap().peer()
    };
    assert_eq!(peer("", "a"), peer("{}", "a"));
    assert_ne!(peer("", "a"), peer("", "b"));
    assert_ne!(peer("", "a"), peer(r#"{"headers":{"x-more":"1"}}"#, "a"));
}
