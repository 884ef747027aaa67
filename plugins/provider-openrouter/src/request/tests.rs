//! Bodies as they are sent.

use stellaclaw_sdk::chat::{
    AnswerPiece, Cache, Media, Message, Opaque, Phase, Piece as ChatPiece, Reasoning, Role, TextPiece, Timeouts, ToolAnswer, ToolChoice,
    ToolSpec, ToolUse,
};
use stellaclaw_sdk::types::Modality;

use serde_json::json;

use super::*;
use crate::chat::origin;

fn model(base_url: Option<&str>, options: &str) -> Model {
    Model {
        alias: "main".into(),
        id: "vendor/model".into(),
        base_url: base_url.map(str::to_owned),
        credential: None,
        context_window: 1000,
        reads: Vec::new(),
        timeouts: Timeouts { connect: 1, idle: 2, total: 3 },
        options: options.into(),
        ext: None,
    }
}

fn text(text: &str) -> ChatPiece {
    ChatPiece::Text(TextPiece { text: text.into(), annotations: None })
}

fn message(role: Role, pieces: Vec<ChatPiece>) -> Message {
    let origin = (role == Role::Assistant).then(|| origin("vendor/model"));
    Message { id: "m".into(), role, phase: Some(Phase::Final), origin, pieces, cache_break: false }
}

fn thought(format: &str, data: &str) -> ChatPiece {
    ChatPiece::Reasoning(Reasoning {
        text: Some("t".into()),
        summary: Vec::new(),
        opaque: Some(Opaque { format: format.into(), data: data.into() }),
    })
}

fn thought_item(data: &str) -> ChatPiece {
    thought(stellaclaw_sdk::responses::ITEM_FORMAT, data)
}

fn call(id: &str, arguments: &str) -> ChatPiece {
    ChatPiece::ToolUse(ToolUse { call_id: id.into(), item_id: None, name: "ls".into(), arguments: arguments.into(), freeform: false })
}

fn answer(id: &str, pieces: Vec<AnswerPiece>) -> ChatPiece {
    ChatPiece::ToolAnswer(ToolAnswer { call_id: id.into(), pieces, is_error: false })
}

fn image() -> Media {
    Media {
        blob: "sha256:0".into(),
        modality: Modality::Image,
        media_type: "image/png".into(),
        name: Some("a.png".into()),
        size: 9,
        detail: None,
    }
}

fn request(messages: Vec<Message>) -> Request {
    Request {
        id: "r".into(),
        session: "s1".into(),
        turn: "t1".into(),
        system: Vec::new(),
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

fn conversation() -> Request {
    let system = ["You are", "", "an agent"].map(|text| TextPiece { text: text.into(), annotations: None });
    let mut request = request(vec![
        message(Role::User, vec![text("look"), ChatPiece::Media(image())]),
        message(
            Role::Assistant,
            vec![
                thought("reasoning_details", r#"[{"type":"reasoning.text","text":"t","signature":"s"}]"#),
                text("Sure."),
                call("a", ""),
                call("b", "{bad"),
            ],
        ),
        message(Role::Tool, vec![answer("a", vec![AnswerPiece::Text("x".into()), AnswerPiece::Media(image())])]),
        Message { cache_break: true, ..message(Role::Tool, vec![answer("b", vec![AnswerPiece::Text("no".into())]), text("and hurry")]) },
    ]);
    request.system = system.to_vec();
    request.tools = vec![ToolSpec { name: "ls".into(), description: "Lists".into(), parameters: r#"{"type":"object"}"#.into() }];
    request
}

fn sent(model: &Model, request: &Request) -> Value {
    shown(build(model, request).unwrap().body)
}

/// The body with the blobs' ids in their places.
fn shown(body: Vec<Piece>) -> Value {
    let bytes = body.into_iter().flat_map(|piece| match piece {
        Piece::Bytes(bytes) => bytes,
        Piece::Blob(blob) => blob.blob.into_bytes(),
    });
    serde_json::from_slice(&bytes.collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_conversation_for_openrouter() {
    let mut request = conversation();
    request.max_output = Some(64);
    request.temperature = Some(0.5);
    request.effort = Some("high".into());
    request.reasoning_summary = Some("auto".into());
    request.service_tier = Some("flex".into());
    request.cache = Some(Cache { key: "k".into(), ttl: Some(HOUR_MS) });
    request.response_schema =
        Some(r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#.into());
    request.extra = Some(r#"{"model":"other","top_p":0.9,"n":2}"#.into());
    let options = r#"{"provider":{"sort":"price"},"models":["x/y"],"plugins":[{"id":"web"}],"extra":{"top_p":0.1,"top_k":3}}"#;
    let prepared = build(&model(None, options), &request).unwrap();
    assert_eq!((prepared.url.as_str(), prepared.cache_life), ("https://openrouter.ai/api/v1/chat/completions", 3600));
    let body: Value = shown(prepared.body);
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
}

#[test]
fn a_conversation_for_a_local_server() {
    let mut request = conversation();
    request.tool_choice = ToolChoice::Named("ls".into());
    request.parallel_tools = false;
    request.max_output = Some(64);
    request.effort = Some("low".into());
    request.cache = Some(Cache { key: "k".into(), ttl: None });
    let options = r#"{"max_tokens_key":"max_completion_tokens","omit":["stream_options","prompt_cache_key"]}"#;
    let prepared = build(&model(Some("http://127.0.0.1:8080/v1/"), options), &request).unwrap();
    assert_eq!((prepared.url.as_str(), prepared.cache_life), ("http://127.0.0.1:8080/v1/chat/completions", 300));
    assert_eq!(prepared.headers, build(&model(Some("http://x/v1"), ""), &request).unwrap().headers);
    let body: Value = shown(prepared.body);
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
}

#[test]
fn attribution_goes_to_openrouter_only() {
    let names = |base: Option<&str>, options: &str| -> Vec<String> {
        let prepared = build(&model(base, options), &request(Vec::new())).unwrap();
        prepared.headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    };
    let plain = ["content-type: application/json", "accept: text/event-stream"];
    assert_eq!(names(None, "{}")[2..], ["x-openrouter-title: Stellaclaw", "x-openrouter-categories: cli-agent"]);
    assert_eq!(names(Some("https://eu.openrouter.ai:443/api/v1"), "{}").len(), 4);
    assert_eq!(names(Some("https://openrouter.ai.example.com/v1"), "{}"), plain);
    assert_eq!(names(Some("https://x@localhost/openrouter.ai"), "{}"), plain);
    assert_eq!(names(None, r#"{"headers":{"X-OpenRouter-Title":"Mine"}}"#)[3], "X-OpenRouter-Title: Mine");
}

#[test]
fn reasoning_goes_back_to_its_origin_only() {
    let details = || thought("reasoning_details", "[1]");
    let bare = || thought("reasoning_content", r#""t""#);
    let keys = |message: Message, after: Option<Message>| {
        let body = sent(&model(None, "{}"), &request([Some(message), after].into_iter().flatten().collect()));
        body["messages"][0].as_object().unwrap().keys().skip(2).cloned().collect::<Vec<_>>().join(" ")
    };
    let next = || Some(message(Role::User, vec![text("next")]));
    assert_eq!(keys(message(Role::Assistant, vec![details(), text("x")]), None), "reasoning_details");
    assert_eq!(keys(message(Role::Assistant, vec![details(), text("x")]), next()), "reasoning_details");
    assert_eq!(keys(message(Role::Assistant, vec![bare(), text("x")]), None), "reasoning_content");
    assert_eq!(keys(message(Role::Assistant, vec![bare(), text("x")]), next()), "");
    let foreign = Message { origin: Some(origin("other/model")), ..message(Role::Assistant, vec![details(), text("x")]) };
    assert_eq!(keys(foreign, None), "");
    let unknown = Message { origin: None, ..message(Role::Assistant, vec![details(), text("x")]) };
    assert_eq!(keys(unknown, None), "");
    let joined =
        sent(&model(None, "{}"), &request(vec![message(Role::Assistant, vec![details(), thought("reasoning_details", "[2]"), text("x")])]));
    assert_eq!(joined["messages"][0]["reasoning_details"], json!([1, 2]));
}

#[test]
fn what_tools_show_follows_all_their_answers() {
    let shows = |id: &str| message(Role::Tool, vec![answer(id, vec![AnswerPiece::Media(image())])]);
    let body = sent(
        &model(None, "{}"),
        &request(vec![
            message(Role::Assistant, vec![call("a", "{}"), call("b", "{}")]),
            shows("a"),
            shows("b"),
            message(Role::Assistant, vec![text("I see.")]),
        ]),
    );
    let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["assistant", "tool", "tool", "user", "assistant"]);
    let kinds: Vec<_> = body["messages"][3]["content"].as_array().unwrap().iter().map(|part| part["type"].clone()).collect();
    assert_eq!(kinds, ["text", "image_url", "text", "image_url"]);
    assert_eq!(body["messages"][1]["content"], "[a.png, image/png: shown below]");
}

#[test]
fn documents_and_recordings_go_as_the_wire_has_them() {
    let media = |modality, media_type: &str| ChatPiece::Media(Media { modality, media_type: media_type.into(), ..image() });
    let pieces = vec![
        media(Modality::Pdf, "application/pdf"),
        media(Modality::Audio, "audio/mpeg"),
        media(Modality::Audio, "audio/midi"),
        media(Modality::File, "application/zip"),
        ChatPiece::Media(Media { detail: Some("low".into()), ..image() }),
    ];
    let content = sent(&model(None, "{}"), &request(vec![message(Role::User, pieces)]))["messages"][0]["content"].clone();
    assert_eq!(content[0]["file"], json!({"filename": "a.png", "file_data": "data:application/pdf;base64,sha256:0"}));
    assert_eq!(content[1]["input_audio"], json!({"data": "sha256:0", "format": "mp3"}));
    assert!(content[2]["text"].as_str().unwrap().contains("audio/midi") && content[3]["text"].as_str().unwrap().contains("zip"));
    assert_eq!(content[4]["image_url"], json!({"url": "data:image/png;base64,sha256:0", "detail": "low"}));
}

#[test]
fn a_cache_mark_stands_at_the_last_text_beside_media() {
    let marked = Message { cache_break: true, ..message(Role::User, vec![text("look"), ChatPiece::Media(image())]) };
    let content = sent(&model(None, "{}"), &request(vec![marked]))["messages"][0]["content"].clone();
    assert_eq!((content[0]["cache_control"]["type"].as_str(), content[1].get("cache_control")), (Some("ephemeral"), None));
}

#[test]
fn what_openrouter_read_in_a_document_goes_back_to_it_alone() {
    let annotations = r#"[{"type":"file","file":{"hash":"h"}},{"type":"url_citation","url_citation":{}}]"#;
    let said = ChatPiece::Text(TextPiece { text: "x".into(), annotations: Some(annotations.into()) });
    let sent_to =
        |base: Option<&str>, message: Message| sent(&model(base, "{}"), &request(vec![message]))["messages"][0].get("annotations").cloned();
    let own = message(Role::Assistant, vec![said]);
    assert_eq!(sent_to(None, own.clone()), Some(json!([{"type": "file", "file": {"hash": "h"}}])));
    assert_eq!(sent_to(Some("http://localhost:1234"), own.clone()), None);
    assert_eq!(sent_to(None, Message { origin: Some(origin("other/model")), ..own }), None);
}

#[test]
fn the_same_conversation_by_responses() {
    let mut request = conversation();
    request.max_output = Some(64);
    request.cache = Some(Cache { key: "k".into(), ttl: Some(HOUR_MS) });
    request.extra = Some(r#"{"input":"mine","store":true,"top_p":0.9}"#.into());
    let options = r#"{"api":"responses","provider":{"sort":"price"},"omit":["max_output_tokens"]}"#;
    let prepared = build(&model(None, options), &request).unwrap();
    assert_eq!((prepared.url.as_str(), prepared.api), ("https://openrouter.ai/api/v1/responses", Api::Responses));
    let body = shown(prepared.body);
    let fields: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "model",
            "instructions",
            "stream",
            "store",
            "include",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "prompt_cache_key",
            "session_id",
            "provider",
            "top_p",
            "input"
        ]
    );
    assert_eq!(body["store"], false);
    let ids = |body: &Value| body["input"].as_array().unwrap().iter().filter(|item| item.get("id").is_some()).count();
    assert_eq!(ids(&body), 3, "a message and two calls: {body}");
    let elsewhere = shown(build(&model(Some("https://api.openai.com/v1"), options), &request).unwrap().body);
    assert_eq!((ids(&elsewhere), elsewhere.get("session_id")), (0, None));
    let failure = build(&model(None, r#"{"api":"responses","omit":["store"]}"#), &request).unwrap_err();
    assert!(failure.message.contains("omit: store is always sent"), "{}", failure.message);
}

#[test]
fn without_reasoning_everything_else_stays() {
    let thought = r#"{"type":"reasoning","id":"rs","encrypted_content":"x"}"#;
    let mut own = message(Role::Assistant, vec![thought_item(thought), text("x"), call("a", "{}")]);
    own.origin = Some(crate::responses::DIALECT.origin("vendor/model"));
    let request = request(vec![own]);
    let model = model(Some("https://api.openai.com/v1"), r#"{"api":"responses"}"#);
    let kinds = |request: &Request| {
        let items = sent(&model, request)["input"].as_array().unwrap().clone();
        items.iter().map(|item| item["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&request), ["reasoning", "message", "function_call"]);
    assert_eq!(kinds(&without_reasoning(&request)), ["message", "function_call"]);
}

#[test]
fn an_assistant_with_nothing_to_say_is_left_out() {
    let body =
        sent(&model(None, "{}"), &request(vec![message(Role::Assistant, vec![thought("x", "1")]), message(Role::User, vec![text("hi")])]));
    assert_eq!(body["messages"], json!([{"role": "user", "content": "hi"}]));
}

#[test]
fn at_most_four_cache_marks_and_only_at_openrouter() {
    let messages: Vec<Message> = (0..6).map(|n| Message { cache_break: true, ..message(Role::User, vec![text(&n.to_string())]) }).collect();
    let marked = |base: Option<&str>| {
        let body = sent(&model(base, "{}"), &request(messages.clone()));
        body["messages"].as_array().unwrap().iter().map(|message| message["content"].is_array()).collect::<Vec<_>>()
    };
    assert_eq!(marked(None), [false, false, true, true, true, true]);
    assert_eq!(marked(Some("http://localhost:1234")), [false; 6]);
}

#[test]
fn limits_are_named_as_the_server_names_them() {
    let mut request = request(Vec::new());
    request.max_output = Some(5);
    let key = |base: Option<&str>, options: &str| {
        let body = sent(&model(base, options), &request);
        body.as_object().unwrap().keys().find(|key| key.starts_with("max")).unwrap().clone()
    };
    assert_eq!(key(None, "{}"), "max_tokens");
    assert_eq!(key(Some("https://api.openai.com/v1"), "{}"), "max_completion_tokens");
    assert_eq!(key(Some("https://api.openai.com/v1"), r#"{"max_tokens_key":"max_tokens"}"#), "max_tokens");
}

#[test]
fn wrong_options_and_extras_are_named() {
    let refused = |options: &str, extra: Option<&str>| {
        let mut request = request(Vec::new());
        request.extra = extra.map(str::to_owned);
        let failure = build(&model(None, options), &request).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidRequest);
        failure.message
    };
    assert!(refused(r#"{"colour":1}"#, None).contains("unknown field `colour`"));
    assert!(refused(r#"{"max_tokens_key":"most"}"#, None).contains("most"));
    assert!(refused(r#"{"headers":{"Authorization":"x"}}"#, None).contains("headers: Authorization cannot be set"));
    assert!(refused(r#"{"omit":["messages"]}"#, None).contains("omit: messages"));
    assert!(refused("{}", Some("[]")).contains("extra is no JSON object"));
}

#[test]
fn the_options_schema_knows_what_the_type_knows() {
    let schema: Value = serde_json::from_str(crate::options::SCHEMA).unwrap();
    let known = ["api", "max_tokens_key", "extra", "omit", "provider", "models", "plugins", "headers"];
    assert!(schema["properties"].as_object().unwrap().keys().eq(known));
}
