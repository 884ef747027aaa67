//! What becomes of calls: answers, errors, traps, limits and stops.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::chat::{FailureKind, Piece};

#[test]
fn a_panic_is_one_line_for_the_model_and_a_named_backtrace_for_the_log() {
    let session = Session::new();
    let error = session.misbehave("panic").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.starts_with("the tool crashed: panicked at ") && error.message.ends_with("on purpose"), "{}", error.message);
    let trap = error.trap.unwrap();
    assert!(trap.contains("wasm backtrace") && trap.contains("hostile"), "{trap}");
    assert!(!trap.contains("stellaclaw::plugins"), "the host's own stack is nobody's business: {trap}");
    assert_eq!(session.misbehave("fail").unwrap_err().message, "it exists", "the next call has a sandbox of its own");
}

#[test]
fn errors_of_the_tool_keep_their_kind() {
    let error = Session::new().misbehave("fail").unwrap_err();
    assert_eq!((error.kind, error.trap), (ErrorKind::Conflict, None));
}

#[test]
fn limits_end_a_call_and_say_which() {
    let session = Session::new();
    let memory = session.misbehave("allocate").unwrap_err();
    assert_eq!(memory.kind, ErrorKind::TooLarge);
    assert!(memory.message.contains("[plugins.hostile.limits] memory"), "{}", memory.message);
    let recursion = session.misbehave("recurse").unwrap_err();
    assert!(recursion.message.contains("recursion"), "{}", recursion.message);
    let large = session.misbehave("large").unwrap_err();
    assert_eq!(large.kind, ErrorKind::TooLarge);
    assert!(large.message.contains("[plugins.hostile.limits] output"), "{}", large.message);
    assert_eq!(session.misbehave("exit").unwrap_err().message, "the tool crashed: it ended itself with status 1");
    assert_eq!(text(&session.misbehave("flood").unwrap()), "flooded", "output without end is cut, not punished");

    let limits = config::PluginLimits { host_calls: Some(1000), ..config::PluginLimits::default() };
    let host = start(config::Plugin { limits, ..entry(true) });
    for how in ["call", "stat"] {
        let calls = session.call(&host, "misbehave", &json!({ "how": how })).unwrap_err();
        assert!(calls.message.contains("[plugins.hostile.limits] host_calls"), "{how}: {}", calls.message);
    }
}

#[test]
fn a_guest_with_more_memory_than_the_pool_has_runs_outside_it() {
    let limits = config::PluginLimits { memory_bytes: Some(256 << 20), ..config::PluginLimits::default() };
    let host = start(config::Plugin { limits, ..entry(true) });
    let allocate = json!({"how": "allocate"});
    let session = Session::new();
    assert_eq!(text(&session.call(&host, "misbehave", &allocate).unwrap()), (100 << 20).to_string());
    let error = session.call_within(&host, "misbehave", &json!({"how": "loop"}), Duration::from_millis(100), stop().1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "its epochs move too");
}

#[test]
fn a_guest_that_loops_or_sleeps_ends_with_its_time() {
    for how in ["loop", "sleep"] {
        let begin = Instant::now();
        let time = Duration::from_millis(200);
        let error = Session::new().call_within(&HOST, "misbehave", &json!({ "how": how }), time, stop().1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{how}");
        assert!(error.message.contains("[plugins.hostile.limits] wall_time"), "{}", error.message);
        assert!(begin.elapsed() < Duration::from_secs(5), "{how}: {:?}", begin.elapsed());
    }
}

#[test]
fn a_stop_is_a_flag_then_a_grace_then_the_end() {
    let stopped = |how: &str, grace: u64| {
        let (stopper, signal) = stop();
        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            stopper.stop(Duration::from_millis(grace));
        });
        let begin = Instant::now();
        let answer = Session::new().call_within(&HOST, "misbehave", &json!({ "how": how }), Duration::from_secs(60), signal);
        later.join().unwrap();
        (answer, begin.elapsed())
    };
    let (obedient, _) = stopped("obey", 10_000);
    assert_eq!(text(&obedient.unwrap()), "obeyed");
    for how in ["loop", "sleep"] {
        let (stubborn, elapsed) = stopped(how, 200);
        assert_eq!(stubborn.unwrap_err().kind, ErrorKind::Cancelled);
        assert!(elapsed >= Duration::from_millis(300) && elapsed < Duration::from_secs(5), "{how}: {elapsed:?}");
    }
}

#[test]
fn a_guest_sees_its_grants_and_nothing_else() {
    let session = Session::new();
    let settings = json!({"depth": 3});
    let host = start(config::Plugin { settings: settings.clone(), ..entry(true) });
    let output = session.call(&host, "look", &json!({})).unwrap();
    let seen: Value = serde_json::from_str(text(&output)).unwrap();
    assert_eq!((&seen["environment"], &seen["arguments"]), (&json!(0), &json!(0)));
    assert_eq!(seen["settings"], settings);
    assert_eq!(seen["secret"], false);
    assert_eq!(seen["emit"], false, "deltas are for models");
    assert!(seen["socket"]["Err"].is_string(), "{seen}");
    for (import, key) in [("http", "[plugins.hostile]"), ("sign", "[plugins.hostile]")] {
        let refusal = seen[import]["Err"].as_str().unwrap();
        assert!(refusal.contains("Denied") && refusal.contains(key), "{import}: {refusal}");
    }
    assert_eq!(seen["say"], json!({"Ok": null}));
    assert_eq!(*session.listener.0.lock().unwrap(), ["hello"]);
}

#[test]
fn files_are_the_workspace_and_a_refusal_names_the_key() {
    let session = Session::new();
    let write = |host: &Plugins, path: &str| session.call(host, "touch", &json!({"path": path, "text": "t"}));
    write(&HOST, "a.txt").unwrap();
    assert_eq!(std::fs::read_to_string(session.workspace.path().join("a.txt")).unwrap(), "t");
    write(&HOST, "/data/kept").unwrap();
    let read = |host: &Plugins, path: &str| session.call(host, "touch", &json!({ "path": path }));
    assert_eq!(text(&read(&HOST, "/data/kept").unwrap()), "t", "one directory for all calls of the plugin");
    assert_eq!(text(&read(&HOST, "/workspace/a.txt").unwrap()), "t");
    read(&HOST, "/etc/passwd").unwrap_err();
    read(&HOST, "../a.txt").unwrap_err();

    let reader = start(entry(false));
    assert_eq!(text(&read(&reader, "a.txt").unwrap()), "t");
    let refused = write(&reader, "b.txt").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Denied);
    assert!(refused.message.contains("[plugins.hostile] fs = [\"workspace:rw\"]"), "{}", refused.message);
}

#[test]
fn what_is_said_in_a_call_is_bounded() {
    let session = Session::new();
    assert_eq!(text(&session.misbehave("chatter").unwrap()), crate::limits::SAYS.to_string());
    assert_eq!(session.listener.0.lock().unwrap().len(), crate::limits::SAYS as usize);
    assert_eq!(session.listener.1.lock().unwrap().as_str(), "x".repeat(crate::limits::PROGRESS_BYTES));
    assert_eq!(session.misbehave("shout").unwrap_err().kind, ErrorKind::TooLarge);
}

#[test]
fn a_refused_file_does_not_hide_that_the_time_was_over() {
    let reader = start(entry(false));
    let time = Duration::from_millis(300);
    let error = Session::new().call_within(&reader, "misbehave", &json!({"how": "refused"}), time, stop().1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{}", error.message);
}

#[test]
fn a_catalogue_is_made_where_the_clock_stands_still() {
    let catalog = TOKIO.block_on(HOST.tools(&Session::info()));
    let names: Vec<_> = catalog.tools().iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["misbehave", "dawdle", "look", "touch", "clock_stands"]);
    let moves = Session::new().call(&HOST, "clock_stands", &json!({})).unwrap();
    assert_eq!(text(&moves), "false", "and a call has the real one");
    let again = TOKIO.block_on(HOST.tools(&Session::info()));
    assert!(Arc::ptr_eq(&catalog, &again), "equal sessions share it");
    let refusal = HOST.check_arguments(&catalog.tools()[0], r#"{"how": 1}"#).unwrap_err();
    assert!(refusal.starts_with("/how: "), "{refusal}");
}

fn complete(said: &str, model: &config::Model, stop: StopSignal, on_delta: OnDelta) -> Result<chat::Completion, chat::Failure> {
    let request = chat::Request::question("s1.t1.1".into(), "s1".into(), said.into());
    TOKIO.block_on(HOST.complete(model, &request, Session::new().context(), stop, on_delta))
}

fn parrot() -> config::Model {
    config::Model { provider: "hostile".into(), ..config::Model::offline() }
}

#[test]
fn a_model_streams_and_its_completion_is_the_authority() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let on_delta = {
        let shown = shown.clone();
        Arc::new(move |batch: Vec<Delta>| shown.lock().unwrap().extend(batch))
    };
    let completion = complete("good day", &parrot(), stop().1, on_delta).unwrap();
    assert_eq!(completion.message.pieces, [Piece::text("no key: good day")]);
    assert_eq!(*shown.lock().unwrap(), [Delta::Text("good ".into()), Delta::Text("day".into())]);
}

#[test]
fn what_a_model_answers_is_bounded() {
    let shown = Arc::new(Mutex::new(0));
    let on_delta = {
        let shown = shown.clone();
        let count = |delta: &Delta| if let Delta::Text(text) = delta { text.len() } else { 0 };
        Arc::new(move |batch: Vec<Delta>| *shown.lock().unwrap() += batch.iter().map(count).sum::<usize>())
    };
    let refused = complete("flood", &parrot(), stop().1, on_delta).unwrap_err();
    assert!(refused.message.contains("[plugins.hostile.limits] output"), "{}", refused.message);
    let shown = *shown.lock().unwrap();
    assert!(shown > 0 && shown <= crate::limits::OUTPUT_BYTES, "{shown} bytes of preview");
}

#[test]
fn a_model_that_is_stopped_or_traps_is_a_typed_failure() {
    let (stopper, signal) = stop();
    let stop_it: OnDelta = Arc::new(move |_| stopper.stop(Duration::from_secs(60)));
    assert_eq!(complete("on and on", &parrot(), signal, stop_it).unwrap_err().kind, FailureKind::Cancelled);

    let trapped = complete("panic", &parrot(), stop().1, Arc::new(|_| {})).unwrap_err();
    assert_eq!(trapped.kind, FailureKind::Other);
    assert!(trapped.message.contains("model on purpose"), "{}", trapped.message);

    let nobody = config::Model { provider: "nobody".into(), ..parrot() };
    assert_eq!(complete("", &nobody, stop().1, Arc::new(|_| {})).unwrap_err().kind, FailureKind::ModelNotFound);
    let loud = config::Model { options: json!({"loud": 3}), ..parrot() };
    let refused = complete("", &loud, stop().1, Arc::new(|_| {})).unwrap_err();
    assert_eq!(refused.kind, FailureKind::InvalidRequest);
    assert!(refused.message.starts_with("[models.offline.options]: /loud"), "{}", refused.message);
    let keyless = config::Model { api_key: Some(config::SecretSource::Env("STELLACLAW_TEST_UNSET".into())), ..parrot() };
    let denied = complete("", &keyless, stop().1, Arc::new(|_| {})).unwrap_err();
    assert_eq!(denied.kind, FailureKind::Denied);
    assert!(denied.message.contains("STELLACLAW_TEST_UNSET"), "{}", denied.message);
}
