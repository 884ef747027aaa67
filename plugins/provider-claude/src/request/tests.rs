//! Bodies as they are sent.

use stellaclaw_sdk::chat::{
    AnswerPiece, Cache, Media, Message, Opaque, Phase, Piece as Said, Reasoning, TextPiece, Timeouts, ToolAnswer, ToolUse,
};
use stellaclaw_sdk::types::Modality;

use super::*;

fn model(base_url: Option<&str>, options: &str) -> Model {
    Model {
        alias: "main".into(),
        id: "claude-sonnet-5".into(),
        base_url: base_url.map(str::to_owned),
        credential: None,
        context_window: 200_000,
        reads: Vec::new(),
        timeouts: Timeouts { connect: 1, idle: 2, total: 3 },
        options: options.into(),
        ext: None,
    }
}

fn text(text: &str) -> Said {
    Said::Text(TextPiece { text: text.into(), annotations: None })
}

fn message(role: Role, pieces: Vec<Said>) -> Message {
    let origin = (role == Role::Assistant).then(|| origin("claude-sonnet-5"));
    Message { id: "m".into(), role, phase: Some(Phase::Final), origin, pieces, cache_break: false }
}

fn user(said: &str) -> Message {
    message(Role::User, vec![text(said)])
}

fn opaque(format: &str, data: &str) -> Option<Opaque> {
    Some(Opaque { format: format.into(), data: data.into() })
}

/// A signed block, with what a re-encoding would change: spaces, escapes, the order of the keys.
const SIGNED: &str = r#"{"signature":"sig/+==", "thinking":"\u00e4 \"hm\"","type":"thinking"}"#;

fn thought(data: &str) -> Said {
    Said::Reasoning(Reasoning { text: Some("ä \"hm\"".into()), summary: Vec::new(), opaque: opaque("thinking", data) })
}

fn call(id: &str, arguments: &str) -> Said {
    Said::ToolUse(ToolUse { call_id: id.into(), item_id: None, name: "ls".into(), arguments: arguments.into(), freeform: false })
}

fn answer(id: &str, pieces: Vec<AnswerPiece>) -> Said {
    Said::ToolAnswer(ToolAnswer { call_id: id.into(), pieces, is_error: false })
}

fn said(text: &str) -> Vec<AnswerPiece> {
    vec![AnswerPiece::Text(text.into())]
}

fn media(modality: Modality, media_type: &str) -> Media {
    let name = media_type.replace('/', ".");
    Media { blob: "sha256:0".into(), modality, media_type: media_type.into(), name: Some(name), size: 9, detail: None }
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

fn tool_spec() -> ToolSpec {
    ToolSpec { name: "ls".into(), description: "Lists".into(), parameters: r#"{"type":"object"}"#.into() }
}

fn conversation() -> Request {
    let picture = media(Modality::Image, "image/png");
    let mut request = request(vec![
        message(Role::User, vec![text("look"), Said::Media(picture.clone()), Said::Media(media(Modality::Pdf, "application/pdf"))]),
        message(Role::Assistant, vec![thought(SIGNED), text("Sure."), call("a", ""), call("b", "{bad"), call("c", r#" {"n": 1.0} "#)]),
        message(Role::Tool, vec![answer("a", vec![AnswerPiece::Text("x".into()), AnswerPiece::Media(picture)]), answer("b", said("no"))]),
        message(Role::Tool, vec![answer("c", vec![])]),
        Message {
            cache_break: true,
            ..message(Role::User, vec![text(" "), text("and hurry"), Said::Media(media(Modality::Audio, "audio/ogg"))])
        },
    ]);
    request.system = ["You are", " ", "an agent"].map(|text| TextPiece { text: text.into(), annotations: None }).into();
    request.tools = vec![tool_spec()];
    request
}

/// The body with a name in place of each blob's bytes.
fn text_of(body: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Piece::Blob(blob) => format!("<{:?} {}>", blob.encoding, blob.blob),
    };
    body.iter().map(piece).collect()
}

fn sent(options: &str, request: &Request) -> Value {
    serde_json::from_str(&text_of(&build(&model(None, options), request).unwrap().body)).unwrap()
}

/// The messages that these become, for the model that wrote them.
fn turns(messages: Vec<Message>) -> Value {
    sent("", &request(messages))["messages"].clone()
}

fn cached(ttl: Option<u64>, mut request: Request) -> Request {
    request.cache = Some(Cache { key: "k".into(), ttl });
    request
}

#[test]
fn a_whole_conversation() {
    let mut request = cached(Some(3_600_000), conversation());
    request.max_output = Some(64_000);
    request.temperature = Some(0.5);
    request.effort = Some("high".into());
    request.reasoning_summary = Some("auto".into());
    request.service_tier = Some("standard_only".into());
    request.parallel_tools = false;
    request.response_schema = Some(r#"{"type":"object"}"#.into());
    request.extra = Some(r#"{"model":"other","speed":"fast"}"#.into());
    let options = r#"{"extra":{"speed":"standard","metadata":{"user_id":"u"}},"betas":["a","b"],"headers":{"x-team":"t"}}"#;
    let prepared = build(&model(None, options), &request).unwrap();
    assert_eq!((prepared.url.as_str(), prepared.cache_life), ("https://api.anthropic.com/v1/messages", 3600));
    let headers: Vec<_> = prepared.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let expected = ["content-type: application/json", "accept: text/event-stream", "anthropic-version: 2026-10-21"];
    assert_eq!(headers[..3], expected);
    assert_eq!(headers[3..], ["anthropic-beta: a,b", "x-team: t"]);
    let body: Value = serde_json::from_str(&text_of(&prepared.body)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
}

#[test]
fn another_server() {
    let url = |base: &str| build(&model(Some(base), ""), &request(vec![user("hi")])).unwrap().url;
    assert_eq!(url("https://api.z.ai/api/anthropic/"), "https://api.z.ai/api/anthropic/v1/messages");
    assert_eq!(url("http://127.0.0.1:8080/v1"), "http://127.0.0.1:8080/v1/messages");
    let options =
        r#"{"version":"2023-06-01","thinking":"none","sampling":true,"tools":[{"type":"web_search_20260318","name":"web_search"}]}"#;
    let mut request = request(vec![user("hi")]);
    request.temperature = Some(0.5);
    request.tools = vec![tool_spec()];
    let prepared = build(&model(None, options), &request).unwrap();
    assert!(prepared.headers.contains(&("anthropic-version".into(), "2023-06-01".into())));
    insta::assert_snapshot!(text_of(&prepared.body));
}

#[test]
fn thinking_goes_back_to_the_byte() {
    let body = build(&model(None, ""), &conversation()).unwrap().body;
    assert!(text_of(&body).contains(&format!("[{SIGNED},{{\"type\":\"text\"")), "{}", text_of(&body));
}

#[test]
fn blobs_are_pieces_of_their_own() {
    let body = build(&model(None, ""), &conversation()).unwrap().body;
    let blobs = body.iter().filter(|piece| matches!(piece, Piece::Blob(blob) if blob.encoding == stellaclaw_sdk::http::Encoding::Base64));
    assert_eq!((blobs.count(), body.len()), (3, 7));
}

#[test]
fn what_the_model_thought_goes_back_to_its_origin_only() {
    let kinds = |origin: Option<Origin>, pieces: Vec<Said>| {
        let said = Message { origin, ..message(Role::Assistant, pieces) };
        let turns = turns(vec![user("go"), said, user("next")]);
        turns[1]["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let own = || Some(origin("claude-sonnet-5"));
    let all = || {
        let redacted = r#"{"type":"redacted_thinking","data":"x"}"#;
        vec![
            thought(SIGNED),
            Said::Reasoning(Reasoning { text: None, summary: Vec::new(), opaque: opaque("redacted_thinking", redacted) }),
            Said::Hosted(Opaque { format: "server_tool_use".into(), data: r#"{"type":"server_tool_use","id":"s"}"#.into() }),
            text("x"),
        ]
    };
    assert_eq!(kinds(own(), all()), "thinking redacted_thinking server_tool_use text");
    assert_eq!(kinds(Some(origin("claude-opus-5")), all()), "text");
    assert_eq!(kinds(Some(Origin { wire: "other".into(), ..origin("claude-sonnet-5") }), all()), "text");
    assert_eq!(kinds(None, all()), "text");
    // Unsigned, of another format, damaged, or with nothing after it.
    let unsigned = Said::Reasoning(Reasoning { text: Some("t".into()), summary: Vec::new(), opaque: None });
    let foreign = Said::Reasoning(Reasoning { text: None, summary: Vec::new(), opaque: opaque("reasoning_details", "[]") });
    assert_eq!(kinds(own(), vec![unsigned, foreign, thought("{cut"), text("x"), thought(SIGNED)]), "text");
    let cited = |list: &str| {
        let said = message(Role::Assistant, vec![Said::Text(TextPiece { text: "x".into(), annotations: Some(list.into()) })]);
        turns(vec![user("go"), said, user("next")])[1]["content"][0]["citations"].clone()
    };
    assert_eq!((cited(r#"[{"url":"u"}]"#), cited("[]"), cited("{")), (json!([{"url": "u"}]), Value::Null, Value::Null));
}

#[test]
fn roles_take_turns_and_answers_come_first() {
    let turns = turns(vec![
        user("one"),
        user("two"),
        message(Role::Assistant, vec![call("a", "{}")]),
        message(Role::Tool, vec![text("first"), answer("a", said("x"))]),
        user("three"),
        message(Role::Assistant, vec![text("  \n")]),
        user("four"),
    ]);
    let shape: Vec<String> = turns
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| {
            let blocks = turn["content"].as_array().unwrap().iter();
            let said = blocks.map(|block| block["text"].as_str().or(block["type"].as_str()).unwrap());
            format!("{}: {}", turn["role"].as_str().unwrap(), said.collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert_eq!(shape, ["user: one, two", "assistant: tool_use", "user: tool_result, first, three, four"]);
}

#[test]
fn a_user_has_the_last_word_unless_the_vendor_paused() {
    let last = |messages| turns(messages).as_array().unwrap().last().unwrap().clone();
    let go_on = json!({"role": "user", "content": [{"type": "text", "text": "Continue."}]});
    assert_eq!(last(vec![user("go"), message(Role::Assistant, vec![text("half ")])]), go_on);
    assert_eq!(last(vec![]), go_on);
    assert_eq!(last(vec![user(" ")]), go_on);
    let search = Said::Hosted(Opaque { format: "server_tool_use".into(), data: r#"{"type":"server_tool_use","id":"s"}"#.into() });
    let paused = last(vec![user("go"), message(Role::Assistant, vec![search, text("so far \n")])]);
    assert_eq!((&paused["role"], &paused["content"][1]["text"]), (&json!("assistant"), &json!("so far")));
}

#[test]
fn calls_of_other_vendors_are_valid_and_keep_their_answers() {
    let foreign = |id: &str, name: &str| Message {
        origin: Some(Origin { provider: "p".into(), model: "m".into(), wire: "chat-completions".into() }),
        ..message(
            Role::Assistant,
            vec![Said::ToolUse(ToolUse {
                call_id: id.into(),
                item_id: Some("i".into()),
                name: name.into(),
                arguments: "{}".into(),
                freeform: false,
            })],
        )
    };
    let turns = turns(vec![
        user("go"),
        foreign("functions.ls:0", "functions.ls"),
        message(Role::Tool, vec![answer("functions.ls:0", said("1"))]),
        foreign("functions.ls:0", "ls"),
        message(Role::Tool, vec![answer("functions.ls:0", said("2"))]),
    ]);
    let id = |at: usize, key: &str| turns[at]["content"][0][key].as_str().unwrap().to_owned();
    assert_eq!((id(1, "id"), id(3, "id")), (id(2, "tool_use_id"), id(4, "tool_use_id")));
    assert_ne!(id(1, "id"), id(3, "id"));
    assert!(id(1, "name").starts_with("functions_ls_"));
}

#[test]
fn arguments_are_an_object_whatever_the_model_wrote() {
    let input = |arguments: &str, freeform: bool| {
        let call = ToolUse { call_id: "a".into(), item_id: None, name: "ls".into(), arguments: arguments.into(), freeform };
        turns(vec![user("go"), message(Role::Assistant, vec![Said::ToolUse(call)]), message(Role::Tool, vec![answer("a", said("x"))])])[1]["content"][0]
            ["input"]
            .clone()
    };
    assert_eq!(input(" ", false), json!({}));
    assert_eq!(input(r#"{"a":[1]}"#, false), json!({"a": [1]}));
    assert_eq!(input("[1]", false), json!({"input": "[1]"}));
    assert_eq!(input(r#"{"a":"\ud83d"}"#, false), json!({"input": r#"{"a":"\ud83d"}"#}), "half a pair is no text");
    assert_eq!(input(r#"{"a":1}"#, true), json!({"input": r#"{"a":1}"#}));
}

#[test]
fn errors_of_tools_are_told_in_words() {
    let result = |pieces: Vec<AnswerPiece>| {
        let failed = Said::ToolAnswer(ToolAnswer { call_id: "a".into(), pieces, is_error: true });
        turns(vec![user("go"), message(Role::Assistant, vec![call("a", "{}")]), message(Role::Tool, vec![failed])])[2]["content"][0].clone()
    };
    assert_eq!(result(said("no"))["is_error"], true);
    assert_eq!(result(said(" "))["content"][0]["text"], "failed without saying why");
    let pictured = result(vec![AnswerPiece::Text("no".into()), AnswerPiece::Media(media(Modality::Image, "image/png"))]);
    assert_eq!((&pictured["is_error"], pictured["content"].as_array().unwrap().len()), (&Value::Null, 2));
}

/// Where the body has its marks, as JSON pointers.
fn marks(value: &Value) -> Vec<String> {
    fn find(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if object.contains_key("cache_control") {
                    found.push(at.to_owned());
                }
                object.iter().for_each(|(key, value)| find(value, &format!("{at}/{key}"), found));
            }
            Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| find(value, &format!("{at}/{index}"), found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    find(value, "", &mut found);
    found
}

#[test]
fn the_cache_ends_at_one_place() {
    let marked = |ttl: Option<u64>, messages: Vec<Message>| {
        let mut request = cached(ttl, request(messages));
        request.system = vec![TextPiece { text: "You are".into(), annotations: None }];
        marks(&sent("", &request))
    };
    let breaks = |message: Message| Message { cache_break: true, ..message };
    let minutes = Some(300_000);
    assert_eq!(marked(minutes, vec![breaks(user("one")), breaks(user("two"))]), ["/messages/0/content/1"]);
    let answered =
        vec![user("go"), message(Role::Assistant, vec![call("a", "{}")]), breaks(message(Role::Tool, vec![answer("a", said("x"))]))];
    assert_eq!(marked(minutes, answered), ["/messages/2/content/0"]);
    // A message of which nothing is sent: the conversation is cached as far as it goes.
    assert_eq!(marked(minutes, vec![user("go"), message(Role::Assistant, vec![text("x")]), breaks(user(" "))]), ["/messages/1/content/0"]);
    assert_eq!(marked(minutes, vec![breaks(user(" "))]), ["/system/0"]);
    assert_eq!(marked(minutes, vec![user("one")]), [""; 0]);
    assert_eq!(marked(None, vec![breaks(user("one"))]), [""; 0]);
    assert_eq!(marked(Some(600_000), vec![breaks(user("one"))]), [""; 0]);
    let thinking = vec![
        user("go"),
        breaks(message(Role::Assistant, vec![text("x"), thought(SIGNED), call("a", "{}")])),
        message(Role::Tool, vec![answer("a", said("x"))]),
    ];
    assert_eq!(marked(minutes, thinking), ["/messages/1/content/2"], "never on what was thought");
}

#[test]
fn how_the_model_is_asked_to_think() {
    let thinking = |options: &str, change: &dyn Fn(&mut Request)| {
        let mut request = request(vec![user("go")]);
        request.tools = vec![tool_spec()];
        change(&mut request);
        let body = sent(options, &request);
        format!("{} {}", body["thinking"], body["output_config"])
    };
    let plain = |_: &mut Request| {};
    let enabled = r#"{"thinking":"enabled","budget_tokens":2048}"#;
    assert_eq!(thinking("", &plain), r#"{"type":"adaptive"} null"#);
    assert_eq!(thinking("", &|r| r.effort = Some("minimal".into())), r#"{"type":"adaptive"} {"effort":"low"}"#);
    assert_eq!(thinking("", &|r| r.effort = Some("none".into())), r#"{"type":"disabled"} null"#);
    assert_eq!(thinking("", &|r| r.reasoning_summary = Some("none".into())), r#"{"type":"adaptive","display":"omitted"} null"#);
    assert_eq!(thinking(r#"{"thinking":"disabled"}"#, &plain), r#"{"type":"disabled"} null"#);
    assert_eq!(thinking(r#"{"thinking":"none"}"#, &|r| r.effort = Some("max".into())), r#"null {"effort":"max"}"#);
    assert_eq!(thinking(enabled, &plain), r#"{"type":"enabled","budget_tokens":2048} null"#);
    assert_eq!(thinking(r#"{"thinking":"enabled"}"#, &plain), r#"{"type":"enabled","budget_tokens":16000} null"#);
    assert_eq!(thinking(enabled, &|r| r.tool_choice = ToolChoice::Required), "null null");
    let in_a_loop = |first: Vec<Said>| {
        let mut messages = vec![user("go"), message(Role::Assistant, [first, vec![call("a", "{}")]].concat())];
        messages.push(message(Role::Tool, vec![answer("a", said("x"))]));
        move |r: &mut Request| r.messages.clone_from(&messages)
    };
    assert_eq!(thinking(enabled, &in_a_loop(vec![thought(SIGNED)])), r#"{"type":"enabled","budget_tokens":2048} null"#);
    assert_eq!(thinking(enabled, &in_a_loop(vec![text("x")])), "null null", "another vendor's model began the loop");
    assert_eq!(thinking("", &in_a_loop(vec![text("x")])), r#"{"type":"adaptive"} null"#);
}

#[test]
fn tools_are_chosen_as_the_vendor_says_it() {
    let choice = |choice: ToolChoice, parallel: bool| {
        let mut request = request(vec![user("go")]);
        (request.tools, request.tool_choice, request.parallel_tools) = (vec![tool_spec()], choice, parallel);
        sent("", &request)["tool_choice"].to_string()
    };
    assert_eq!(choice(ToolChoice::Auto, true), "null");
    assert_eq!(choice(ToolChoice::Auto, false), r#"{"type":"auto","disable_parallel_tool_use":true}"#);
    assert_eq!(choice(ToolChoice::None, false), r#"{"type":"none"}"#);
    assert_eq!(choice(ToolChoice::Required, true), r#"{"type":"any"}"#);
    assert_eq!(choice(ToolChoice::Named("ls".into()), false), r#"{"type":"tool","name":"ls","disable_parallel_tool_use":true}"#);
    let mut bare = request(vec![user("go")]);
    bare.tool_choice = ToolChoice::None;
    assert_eq!(sent("", &bare).get("tool_choice"), None);
}

#[test]
fn there_is_always_a_limit() {
    let limit = |window: u64, most: Option<u64>| {
        let request = Request { max_output: most, ..request(vec![user("go")]) };
        let prepared = build(&Model { context_window: window, ..model(None, "") }, &request).unwrap();
        serde_json::from_str::<Value>(&text_of(&prepared.body)).unwrap()["max_tokens"].as_u64().unwrap()
    };
    assert_eq!((limit(200_000, None), limit(8000, None), limit(0, None), limit(8000, Some(5))), (32_000, 2000, 1, 5));
}

#[test]
fn wrong_options_and_extras_are_named() {
    let refused = |options: &str, extra: Option<&str>| {
        let mut request = request(Vec::new());
        request.max_output = Some(4096);
        request.extra = extra.map(str::to_owned);
        let failure = build(&model(None, options), &request).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidRequest);
        failure.message
    };
    assert!(refused(r#"{"colour":1}"#, None).contains("unknown field `colour`"));
    assert!(refused(r#"{"thinking":"hard"}"#, None).contains("hard"));
    assert!(refused(r#"{"headers":{"X-Api-Key":"x"}}"#, None).contains("headers: X-Api-Key cannot be set"));
    assert!(refused(r#"{"budget_tokens":2048}"#, None).contains("only thinking = \"enabled\" has a budget"));
    assert!(
        refused(r#"{"thinking":"enabled","budget_tokens":4096}"#, None)
            .contains("budget_tokens: 4096 is not between 1024 and max_output (4096)")
    );
    assert!(refused(r#"{"extra":{"messages":[]}}"#, None).contains("extra: messages"));
    assert!(refused("{}", Some("[]")).contains("extra is no JSON object"));
}

#[test]
fn the_options_schema_knows_what_the_type_knows() {
    let schema: Value = serde_json::from_str(crate::options::SCHEMA).unwrap();
    let known = ["thinking", "budget_tokens", "sampling", "version", "betas", "tools", "extra", "headers"];
    assert!(schema["properties"].as_object().unwrap().keys().eq(known));
}

#[test]
fn a_longer_conversation_begins_with_the_shorter_one() {
    let whole = conversation();
    let unmarked = |messages: &[Message]| {
        let messages = messages.iter().map(|message| Message { cache_break: false, ..message.clone() }).collect();
        turns(messages).as_array().unwrap().iter().flat_map(|turn| turn["content"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    let longer = unmarked(&whole.messages);
    for end in [1, 4, 5] {
        let shorter = unmarked(&whole.messages[..end]);
        assert_eq!(longer[..shorter.len()], shorter, "the first {end}");
    }
}
