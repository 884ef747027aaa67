//! Components that ask others: who is reached, with what, and what is refused.

use serde_json::json;

use super::*;
use crate::chat::Modality;
use crate::config::{Helper, Helpers, Model, SecretSource, Session as SessionConfig};

/// Asks as `one`, and answers as `two`, which has tools of other names.
static COURIER: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let one = build("courier");
    let bytes = fs::read(&one).unwrap();
    let pairs = [("look_up", "look_in"), ("have_drawn", "have_shown"), ("ask_somebody", "ask_everyone")];
    let other = pairs.into_iter().fold(bytes, |bytes, (from, to)| patched::patched(&bytes, from, to));
    let two = WORKDIR.path().join("courier-two.wasm");
    fs::write(&two, other).unwrap();
    [one, two]
});

fn courier(at: usize) -> config::Plugin {
    config::Plugin { path: Some(COURIER[at].clone()), trust_path: true, ..config::Plugin::default() }
}

/// The entry of a model that `two` serves.
fn model(alias: &str) -> Model {
    Model { alias: alias.into(), provider: "two".into(), id: format!("{alias}-id"), ..Model::offline() }
}

fn named(alias: &str) -> Option<Helper> {
    Some(Helper::Model(alias.into()))
}

fn runtime(one: config::Plugin, models: impl IntoIterator<Item = Model>, helpers: Helpers) -> Plugins {
    let two = courier(1);
    let offline = Config::embedded(false);
    let models: BTreeMap<_, _> = models.into_iter().chain([Model::offline()]).map(|model| (model.alias.clone(), model)).collect();
    let session = SessionConfig { helpers, ..SessionConfig::default() };
    let config = Arc::new(Config { plugins: [("one".into(), one), ("two".into(), two)].into(), models, session, ..offline });
    let setup = Setup { workdir: WORKDIR.path().to_owned(), config: config.into(), bundled: true };
    TOKIO.block_on(async {
        let plugins = Plugins::start(&setup).unwrap();
        plugins.wait_ready().await;
        plugins
    })
}

/// `two` searches and draws, and looks at pictures.
static SERVED: LazyLock<Plugins> = LazyLock::new(|| {
    let key = WORKDIR.path().join("courier.key");
    fs::write(&key, "a-key-that-nobody-sees").unwrap();
    let seeker = Model {
        options: json!({ "country": "DE" }),
        api_key: Some(SecretSource::File(key)),
        total_timeout: Duration::from_secs(20),
        ..model("seeker")
    };
    let eye = Model { reads: vec![Modality::Text, Modality::Image], ..model("eye") };
    let helpers = Helpers { search: named("seeker"), image_generation: named("painter"), image: named("eye"), ..Helpers::default() };
    runtime(courier(0), [seeker, model("painter"), eye], helpers)
});

fn look_up(session: &Session, host: &Plugins, text: &str, count: u32) -> Result<Value, CallError> {
    session.call(host, "look_up", &json!({ "text": text, "count": count })).map(|output| parsed(&output))
}

fn parsed(output: &Output) -> Value {
    match output.parts.as_slice() {
        [OutputPart::Json(json)] => serde_json::from_str(json).unwrap(),
        other => panic!("not one JSON: {other:?}"),
    }
}

#[test]
fn a_search_reaches_whoever_serves_the_role_with_the_entry_and_its_key() {
    let session = Session::new();
    let found = look_up(&session, &SERVED, "entry", 3).unwrap();
    let entry: Value = serde_json::from_str(found[0][2].as_str().unwrap()).unwrap();
    let times = json!({ "connect": 10_000, "idle": 120_000, "total": 20_000 });
    assert_eq!(entry, json!({ "country": "DE", "model": "seeker-id", "base_url": null, "timeouts": times }));
    assert_eq!(look_up(&session, &SERVED, "key", 3).unwrap()[0][2], "true");
    assert_eq!(look_up(&session, &SERVED, "plenty", 7).unwrap().as_array().unwrap().len(), 7);
    assert_eq!(look_up(&session, &SERVED, "plenty", 1000).unwrap().as_array().unwrap().len(), 200);
    assert_eq!(*session.listener.0.lock().unwrap(), vec!["seeker used 0"; 4], "each is noted");
}

#[test]
fn who_is_asked_has_its_own_grants_and_not_those_of_who_asks() {
    let session = Session::new();
    fs::write(session.workspace.path().join("note.txt"), "private").unwrap();
    let mut one = courier(0);
    one.fs = Some(vec![FsGrant { mount: FsMount::Workspace, writable: true }]);
    let host = runtime(one, [model("seeker")], Helpers { search: named("seeker"), ..Helpers::default() });
    let found = look_up(&session, &host, "files", 1).unwrap();
    assert!(!found[0][2].as_str().unwrap().contains("private"), "{found}");
    assert_eq!(look_up(&session, &host, "key", 1).unwrap()[0][2], "false");
}

#[test]
fn a_refusal_names_the_key_that_would_help() {
    let session = Session::new();
    let refused = |host: &Plugins| look_up(&session, host, "x", 1).unwrap_err();
    let nobody = refused(&runtime(courier(0), [], Helpers::default()));
    assert_eq!(
        (nobody.kind, nobody.message.as_str()),
        (ErrorKind::Unavailable, "nobody serves the role search; name a model in session.helpers.search")
    );
    let offline = refused(&runtime(courier(0), [], Helpers { search: named("offline"), ..Helpers::default() }));
    assert_eq!(
        offline.message,
        "session.helpers.search: model offline is served by provider-offline, which is a provider, not a web search"
    );
    let own = refused(&runtime(courier(0), [], Helpers { search: Some(Helper::Own), ..Helpers::default() }));
    assert!(own.message.starts_with("session.helpers.search is \"self\", and this call has no session"), "{own:?}");
    let untied = config::Plugin { trust_path: false, ..courier(0) };
    let untied = refused(&runtime(untied, [model("seeker")], Helpers { search: named("seeker"), ..Helpers::default() }));
    assert_eq!(untied.kind, ErrorKind::Denied);
    assert!(untied.message.contains("[plugins.one]\nsha256 = \""), "{untied:?}");
}

#[test]
fn the_models_of_a_session_serve_the_roles_that_are_its_own() {
    let helpers = Helpers { search: Some(Helper::Own), ..Helpers::default() };
    let host = runtime(courier(0), [model("seeker")], helpers.clone());
    let session = Session { model: Some("seeker".into()), ..Session::new() };
    assert_eq!(look_up(&session, &host, "plenty", 2).unwrap().as_array().unwrap().len(), 2);
    let session = Session { model: Some("offline".into()), ..Session::new() };
    assert!(look_up(&session, &host, "plenty", 2).unwrap_err().message.contains("not a web search"));

    let config = host.inner.granting.config();
    assert_eq!(host.helpers(&config, config.models.get("seeker")), ["search"]);
    assert_eq!(host.helpers(&config, config.models.get("offline")), Vec::<String>::new());
    let config = SERVED.inner.granting.config();
    assert_eq!(SERVED.helpers(&config, None), ["image", "image-generation", "search"]);
}

#[test]
fn nobody_is_asked_while_it_asks() {
    let refused = look_up(&Session::new(), &SERVED, "pass", 1).unwrap_err();
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (ErrorKind::Unavailable, "two is asked for something already: one, which asks two; name another model in session.helpers.search")
    );
}

#[test]
fn one_call_asks_so_often_and_no_more() {
    let most = limits::HELPER_CALLS;
    let session = Session::new();
    session.call(&SERVED, "look_up", &json!({ "text": "x", "count": 1, "times": most })).unwrap();
    let refused = session.call(&SERVED, "look_up", &json!({ "text": "x", "count": 1, "times": most + 1 })).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::RateLimited, "{refused:?}");
}

#[test]
fn what_goes_wrong_with_who_is_asked_is_an_error_of_who_asks() {
    let session = Session::new();
    let failed = |text: &str| look_up(&session, &SERVED, text, 1).unwrap_err();
    let slow = failed("refuse");
    assert_eq!((slow.kind, slow.message.as_str(), slow.retry_after_ms), (ErrorKind::RateLimited, "not so fast", Some(1234)));
    let trap = failed("trap");
    assert!(trap.kind == ErrorKind::Failed && trap.message.contains("gives up"), "{trap:?}");
    assert_eq!(trap.trap, None, "who asks did not trap");
    assert_eq!(failed("long").kind, ErrorKind::TooLarge);
    let text = "x".repeat(limits::HELPER_TEXT_BYTES + 1);
    assert_eq!(failed(&text).kind, ErrorKind::TooLarge);
    assert_eq!(*session.listener.0.lock().unwrap(), Vec::<String>::new(), "nothing was used");
}

#[test]
fn who_is_asked_ends_with_its_own_time_and_with_who_asks() {
    let impatient = Model { total_timeout: Duration::from_millis(300), ..model("seeker") };
    let host = runtime(courier(0), [impatient], Helpers { search: named("seeker"), ..Helpers::default() });
    let session = Session::new();
    let late = look_up(&session, &host, "sleep", 1).unwrap_err();
    assert_eq!(late.kind, ErrorKind::Timeout);
    assert!(late.message.contains("the search took longer than 0.3 s") && late.message.contains("total_timeout"), "{late:?}");

    let patient = &*SERVED;
    let arguments = json!({ "text": "sleep", "count": 1 });
    let begin = Instant::now();
    let over = session.call_within(patient, "look_up", &arguments, Duration::from_millis(500), stop().1).unwrap_err();
    assert_eq!(over.kind, ErrorKind::Timeout);

    let (stopper, signal) = stop();
    let stops = std::thread::spawn(move || {
        while !stopper.is_waiting() {
            std::thread::sleep(Duration::from_millis(1));
        }
        stopper.stop(Duration::from_secs(3600));
    });
    let stopped = session.call_within(patient, "look_up", &arguments, Duration::from_secs(3600), signal).unwrap_err();
    stops.join().unwrap();
    assert_eq!(stopped.kind, ErrorKind::Cancelled);
    assert!(begin.elapsed() < Duration::from_secs(60), "neither the grace nor the time of the one that sleeps was waited for");
    assert_eq!(patient.inner.helping.available_permits(), limits::HELPERS_WAITING, "nobody waits any more");
}

#[test]
fn images_are_drawn_and_changed_within_the_limits_of_the_contract() {
    let session = Session::new();
    let draw = |text: &str, sources: &[usize]| {
        let drawn = session.call(&SERVED, "have_drawn", &json!({ "text": text, "sources": sources }));
        drawn.map(|output| parsed(&output)).map_err(|error| error.kind)
    };
    let png = |bytes: usize| json!(["image/png", bytes]);
    assert_eq!(draw("a fox", &[]).unwrap(), json!({ "images": [png(70)], "prompt": "a fox!" }));
    assert_eq!(*session.listener.0.lock().unwrap(), ["painter used 42"]);
    assert_eq!(draw("full", &[]).unwrap()["images"], json!([png(8 << 20), png(4 << 20)]));
    assert_eq!(draw("larger", &[3 << 20, 2 << 20]).unwrap()["images"], json!([png(3 << 20), png(2 << 20)]));
    for (text, sources, kind) in [
        ("over", vec![], ErrorKind::TooLarge),
        ("large", vec![], ErrorKind::TooLarge),
        ("page", vec![], ErrorKind::Failed),
        ("nothing", vec![], ErrorKind::Failed),
        ("x", vec![(8 << 20) + 1], ErrorKind::TooLarge),
        ("x", vec![7 << 20, 6 << 20], ErrorKind::TooLarge),
        ("x", vec![1; limits::IMAGES + 1], ErrorKind::TooLarge),
    ] {
        assert_eq!(draw(text, &sources), Err(kind), "{text} {sources:?}");
    }
}

#[test]
fn a_question_reaches_the_model_of_its_role() {
    let session = Session::new();
    let ask = |role: &str, text: &str| session.call(&SERVED, "ask_somebody", &json!({ "role": role, "text": text }));
    assert_eq!(text(&ask("image", "what is it?").unwrap()), "eye-id-served: what is it? None None");
    assert_eq!(*session.listener.0.lock().unwrap(), ["eye used 7"]);
    let refused = ask("image", "refuse").unwrap_err();
    assert_eq!((refused.kind, refused.message.as_str()), (ErrorKind::Invalid, "not that"));
    let unknown = ask("taste", "x").unwrap_err();
    assert_eq!((unknown.kind, unknown.message.contains("audio, image, image-generation, pdf, search")), (ErrorKind::Invalid, true));
    assert!(ask("pdf", "x").unwrap_err().message.contains("session.helpers.pdf"));
    let blind = runtime(courier(0), [model("eye")], Helpers { image: named("eye"), ..Helpers::default() });
    let refused = session.call(&blind, "ask_somebody", &json!({ "role": "image", "text": "x" })).unwrap_err();
    assert!(refused.message.contains("add \"image\" to models.eye.reads"), "{refused:?}");
}

#[test]
fn who_may_not_spend_asks_nobody() {
    let session = Session::new();
    session.listener.2.store(true, Ordering::Relaxed);
    for (tool, arguments) in [
        ("look_up", json!({ "text": "x", "count": 1 })),
        ("have_drawn", json!({ "text": "x" })),
        ("ask_somebody", json!({ "role": "image", "text": "x" })),
    ] {
        let refused = session.call(&SERVED, tool, &arguments).unwrap_err();
        assert_eq!((refused.kind, refused.message.as_str()), (ErrorKind::RateLimited, "nothing is left"), "{tool}");
    }
    assert_eq!(*session.listener.0.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn the_models_of_an_account_are_listed() {
    let account = |model: &Model| TOKIO.block_on(SERVED.account_models(model, Session::new().context(), stop().1));
    let listed = account(&model("eye")).unwrap();
    let known: Vec<_> = listed.iter().map(|model| (model.id.as_str(), model.context_window)).collect();
    assert_eq!(known, [("one", None), ("eye-id-two", Some(1000))]);
    let wrong = account(&Model::offline()).unwrap_err();
    assert_eq!(wrong.kind, crate::chat::FailureKind::ModelNotFound);
    assert!(wrong.message.contains("provider-offline cannot say which models"), "{wrong:?}");
    let options = account(&Model { options: json!({ "country": 5 }), ..model("eye") }).unwrap_err();
    assert_eq!(options.kind, crate::chat::FailureKind::InvalidRequest);
}
