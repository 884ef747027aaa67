//! Whole answers: the grammar in a conversation, scripts, and what is emitted on the way.

use serde_json::{Value, json};
use stellaclaw_sdk::chat::{
    AnswerPiece, FailureKind, Message, Piece, Role, Stop, TextPiece, Timeouts, ToolAnswer, ToolChoice, ToolSpec, ToolUse,
};

use super::*;

/// Collects what is emitted, and stops the call when told to.
#[derive(Default)]
struct Recorder {
    batches: Vec<Vec<Delta>>,
    slept: Duration,
    /// Emits are refused from this one on.
    refuse_from: Option<usize>,
    interrupt_after: Option<Duration>,
}

impl Stage for Recorder {
    fn emit(&mut self, batch: &[Delta]) -> bool {
        self.batches.push(batch.to_vec());
        self.refuse_from.is_none_or(|at| self.batches.len() < at)
    }

    fn sleep(&mut self, time: Duration) {
        self.slept += time;
    }

    fn interrupted(&mut self) -> bool {
        self.interrupt_after.is_some_and(|after| self.slept >= after)
    }
}

fn model(options: &Value) -> Model {
    Model {
        alias: "main".into(),
        id: "offline".into(),
        base_url: None,
        credential: None,
        context_window: 1000,
        reads: Vec::new(),
        timeouts: Timeouts { connect: 1, idle: 1, total: 1 },
        options: options.to_string(),
        ext: None,
    }
}

fn message(role: Role, pieces: Vec<Piece>) -> Message {
    Message { id: "m".into(), role, phase: None, origin: None, pieces, cache_break: false }
}

fn user(text: &str) -> Message {
    message(Role::User, vec![Piece::Text(TextPiece { text: text.into(), annotations: None })])
}

fn said(text: &str) -> Message {
    Message { role: Role::Assistant, ..user(text) }
}

fn result(call_id: &str, text: &str) -> Message {
    message(
        Role::Tool,
        vec![Piece::ToolAnswer(ToolAnswer { call_id: call_id.into(), pieces: vec![AnswerPiece::Text(text.into())], is_error: false })],
    )
}

fn request(messages: Vec<Message>) -> Request {
    let tools = ["ls", "file_read", "file_write", "my_tool"].map(|name| ToolSpec {
        name: name.into(),
        description: String::new(),
        parameters: "{}".into(),
    });
    Request {
        id: "s1.t2.a1".into(),
        session: "s1".into(),
        turn: "t2".into(),
        system: Vec::new(),
        messages,
        tools: tools.to_vec(),
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

fn ask(options: &Value, messages: Vec<Message>) -> Completion {
    answer(&model(options), &request(messages), &mut Recorder::default()).unwrap()
}

fn offline(messages: Vec<Message>) -> Completion {
    ask(&json!({}), messages)
}

fn calls(completion: &Completion) -> Vec<(&str, &str, &str)> {
    let pieces = completion.message.pieces.iter();
    pieces
        .filter_map(|piece| match piece {
            Piece::ToolUse(call) => Some((call.call_id.as_str(), call.name.as_str(), call.arguments.as_str())),
            _ => None,
        })
        .collect()
}

fn use_of(id: &str, name: &str, arguments: &str) -> Piece {
    Piece::ToolUse(ToolUse { call_id: id.into(), item_id: None, name: name.into(), arguments: arguments.into(), freeform: false })
}

#[test]
fn a_command_becomes_a_call_and_its_answer_a_text() {
    let asked = offline(vec![user("read welcome.md\n")]);
    assert_eq!(calls(&asked), [("call_s1_t2_a1_0", "file_read", r#"{"file_path":"welcome.md"}"#)]);
    assert_eq!((&asked.stop, asked.message.text().as_str()), (&Stop::ToolUse, ""));
    let answer = json!({"file_path": "welcome.md", "content": "1: # Welcome\n2: \n3: Hi."}).to_string();
    let told = offline(vec![user("read welcome.md"), asked.message, result("call_s1_t2_a1_0", &answer)]);
    assert_eq!((told.message.text().as_str(), &told.stop), ("# Welcome\n\nHi.", &Stop::EndTurn));
    assert_eq!(told.usage.cost.as_deref(), Some("0"));
    assert!(told.usage.input_uncached > 0 && told.usage.output > 0);
}

#[test]
fn several_commands_are_called_side_by_side() {
    let asked = offline(vec![user("old"), said("done"), user("ls && read a\ncall my_tool {\"x\":1}")]);
    let names: Vec<&str> = calls(&asked).iter().map(|call| call.1).collect();
    assert_eq!(names, ["ls", "file_read", "my_tool"]);
    let told = offline(vec![
        user("ls && read a"),
        message(Role::Assistant, vec![use_of("a", "ls", "{}"), use_of("b", "my_tool", "{}")]),
        result("b", "second"),
        result("a", "first"),
    ]);
    assert_eq!(told.message.text(), "**call my_tool**\n\nsecond\n\n**ls**\n\nfirst");
    let mut one_by_one = request(vec![user("ls && read a")]);
    one_by_one.parallel_tools = false;
    let first = answer(&model(&json!({})), &one_by_one, &mut Recorder::default()).unwrap();
    assert_eq!(calls(&first).len(), 1);
    assert!(first.message.text().contains("one call at a time"));
}

#[test]
fn a_message_that_joined_is_answered_too() {
    let assistant = message(Role::Assistant, vec![use_of("a", "ls", "{}")]);
    let told = offline(vec![user("ls"), assistant, result("a", "x"), user("read b")]);
    assert_eq!((told.message.text().as_str(), calls(&told).len(), &told.stop), ("x", 1, &Stop::ToolUse));
}

#[test]
fn what_is_no_command_gets_the_help() {
    for text in ["hello", "help", "", "Write me a poem\nabout rust"] {
        let told = offline(vec![user(text)]);
        assert_eq!(calls(&told).len(), 0);
        assert!(told.message.text().contains("offline provider") || text.starts_with("Write"), "{text}");
    }
    let notice = message(Role::User, vec![user("A tool changed.").pieces.remove(0), user("ls").pieces.remove(0)]);
    let asked = offline(vec![notice]);
    assert_eq!((calls(&asked).len(), asked.message.text().as_str()), (1, ""));
    assert!(offline(vec![user("write x")]).message.text().starts_with("`write` needs a file"));
}

#[test]
fn a_tool_that_is_not_offered_is_not_called() {
    let told = offline(vec![user("grep x")]);
    assert!(told.message.text().starts_with("There is no tool `grep` here; offered are `ls`, `file_read`"), "{}", told.message.text());
    let mut bare = request(vec![user("ls")]);
    bare.tool_choice = ToolChoice::None;
    let told = answer(&model(&json!({})), &bare, &mut Recorder::default()).unwrap();
    assert!(told.message.text().contains("offers none at all"));
}

#[test]
fn a_text_streams_in_a_few_batches_that_add_up() {
    let text: String = (0..5000).map(|n| format!("w{n} ")).collect();
    let mut stage = Recorder::default();
    let options =
        json!({"script": [{"rounds": [[{"reasoning": "hm"}, {"text": "Hi. "}, {"text": text}, {"tool": "ls"}]]}], "delay_ms": 30});
    let completion = answer(&model(&options), &request(vec![user("x")]), &mut stage).unwrap();
    let deltas: Vec<&Delta> = stage.batches.iter().flatten().collect();
    assert!(
        matches!(deltas[0], Delta::Started(_)) && matches!(deltas[deltas.len() - 1], Delta::Usage(usage) if *usage == completion.usage)
    );
    assert!(stage.batches.len() < 60 && stage.slept >= Duration::from_millis(300));
    for (index, piece) in completion.message.pieces.iter().enumerate() {
        let fragments: String = deltas
            .iter()
            .filter_map(|delta| if let Delta::Fragment(fragment) = delta { Some(fragment) } else { None })
            .filter(|fragment| fragment.index as usize == index)
            .map(|fragment| fragment.text.as_str())
            .collect();
        let whole = match piece {
            Piece::Text(text) => &text.text,
            Piece::Reasoning(reasoning) => reasoning.text.as_ref().unwrap(),
            Piece::ToolUse(call) => &call.arguments,
            other => panic!("{other:?}"),
        };
        assert_eq!(fragments, *whole);
        assert!(
            deltas.iter().any(
                |delta| matches!(delta, Delta::ItemFinished(finished) if finished.index as usize == index && finished.piece == *piece)
            )
        );
    }
    assert_eq!(completion.message.pieces.len(), 3);
}

#[test]
fn a_call_and_a_text_per_turn_for_two_hundred_turns() {
    let options = json!({"script": [{"rounds": [[{"tool": "my_tool", "arguments": {"n": "{turn}", "said": "{user}"}}], [{"text": "Got {last_result}."}]]}]});
    let mut messages = Vec::new();
    for turn in 1..=200 {
        messages.push(user(&format!("go \"{turn}\"")));
        let asked = ask(&options, messages.clone());
        assert_eq!(calls(&asked)[0].2, json!({"n": turn.to_string(), "said": format!("go \"{turn}\"")}).to_string());
        messages.push(asked.message);
        messages.push(result("x", &format!("r{turn}")));
        let told = ask(&options, messages.clone());
        assert_eq!((told.message.text(), told.stop), (format!("Got r{turn}."), Stop::EndTurn));
        messages.push(told.message);
    }
}

#[test]
fn rounds_of_parallel_calls_and_entries_by_text() {
    let options = json!({"script": [
        {"match": "deploy", "rounds": [[{"tool": "ls"}, {"tool": "ls"}], [{"repeat": {"times": 3, "event": {"tool": "ls"}}}], [{"text": "done"}]]},
        {"match": "count", "rounds": [[{"text": "{round}"}]]},
    ]});
    let mut messages = vec![user("count"), said("0"), user("please deploy")];
    for (round, expected) in [2, 3, 0, 0].into_iter().enumerate() {
        let completion = ask(&options, messages.clone());
        assert_eq!(calls(&completion).len(), expected, "round {round}");
        messages.push(completion.message);
        messages.push(user("(a remark no entry matches)"));
    }
    assert_eq!(ask(&options, vec![user("count")]).message.text(), "0");
    assert!(ask(&options, vec![user("hello")]).message.text().contains("offline provider"), "without a match the grammar answers");
}

#[test]
fn scripts_force_ends() {
    let play =
        |events: Value, stage: &mut Recorder| answer(&model(&json!({"script": [{"rounds": [events]}]})), &request(vec![user("x")]), stage);
    let mut stage = Recorder::default();
    let failure = play(
        json!([{"text": "I "}, {"usage": {"input": 7}}, {"fail": {"kind": "overloaded", "message": "busy", "retry_after": 100}}]),
        &mut stage,
    )
    .unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str(), failure.retry_after), (FailureKind::Overloaded, "busy", Some(100)));
    assert_eq!(failure.usage.map(|usage| usage.input_uncached), Some(7));
    assert!(stage.batches.iter().flatten().any(|delta| matches!(delta, Delta::Fragment(_))));
    let stopped =
        play(json!([{"text": "I"}, {"stop": "max-output"}, {"usage": {"output": 3, "cost": "0.5"}}]), &mut Recorder::default()).unwrap();
    assert_eq!((stopped.stop, stopped.usage.cost.as_deref()), (Stop::MaxOutput, Some("0.5")));
    let wrong = play(json!([{"nonsense": 1}]), &mut Recorder::default()).unwrap_err();
    assert_eq!(wrong.kind, FailureKind::InvalidRequest);
}

#[test]
fn stopping_is_noticed_within_a_sleep() {
    let options = json!({"script": [{"rounds": [[{"sleep_ms": 60_000}, {"text": "never"}]]}]});
    let mut interrupted = Recorder { interrupt_after: Some(Duration::from_millis(50)), ..Recorder::default() };
    let failure = answer(&model(&options), &request(vec![user("x")]), &mut interrupted).unwrap_err();
    assert_eq!((failure.kind, interrupted.slept), (FailureKind::Cancelled, Duration::from_millis(50)));
    let mut refused = Recorder { refuse_from: Some(3), ..Recorder::default() };
    assert_eq!(answer(&model(&options), &request(vec![user("x")]), &mut refused).unwrap_err().kind, FailureKind::Cancelled);
    assert!(refused.slept < Duration::from_millis(100));
}

#[test]
#[should_panic(expected = "a trap for {nobody}")]
fn scripts_force_traps() {
    let _ = ask(&json!({"script": [{"rounds": [[{"panic": "a trap for {nobody}"}]]}]}), vec![user("x")]);
}
