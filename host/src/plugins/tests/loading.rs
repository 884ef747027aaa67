//! Which components serve, and why others do not.

use std::fs;

use super::*;

/// A directory of dropped-in components.
fn drop_in(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn statuses(plugins: BTreeMap<String, config::Plugin>, dir: &TempDir) -> Vec<PluginStatus> {
    start_with(plugins, vec![dir.path().to_owned()], false).list()
}

fn hostile() -> Vec<u8> {
    fs::read(&*HOSTILE).unwrap()
}

fn patched(from: &str, to: &str) -> Vec<u8> {
    super::patched::patched(&hostile(), from, to)
}

fn refusal(status: &PluginStatus) -> &str {
    match &status.state {
        State::Refused { reason } => reason,
        other => panic!("{} is {other:?}", status.name),
    }
}

#[test]
fn a_dropped_in_plugin_waits_for_grants_to_its_bytes() {
    let dir = drop_in(&[("hostile.wasm", &hostile())]);
    let status = statuses(BTreeMap::new(), &dir).remove(0);
    assert_eq!((status.source, status.kinds.as_slice()), (Source::DroppedIn, [Kind::Tools, Kind::Provider].as_slice()));
    let digest = status.digest.unwrap();
    let State::Waiting { line, command, .. } = status.state else { panic!("{:?}", status.state) };
    assert_eq!(command.as_deref(), Some("stellaclaw plugin grant hostile"));
    assert_eq!(line, format!("[plugins.hostile]\nsha256 = \"{digest}\"\nfs = [\"workspace:rw\"]\nhttp = [\"https://example.com\"]"));

    let granted = config::Plugin { path: None, trust_path: false, sha256: Some(digest.clone()), http: Some(Vec::new()), ..entry(true) };
    let status = statuses([("hostile".to_owned(), granted.clone())].into(), &dir).remove(0);
    assert_eq!(status.state, State::Ready);

    // Other bytes wait, and the accepted ones go on serving.
    fs::write(dir.path().join("hostile.wasm"), patched("on purpose", "oh no, not")).unwrap();
    let host = start_with([("hostile".to_owned(), granted)].into(), vec![dir.path().to_owned()], false);
    let status = host.list().remove(0);
    assert_ne!(status.digest.as_ref(), Some(&digest));
    let State::Waiting { reason, line, command } = status.state else { panic!("{:?}", status.state) };
    assert!(reason.contains("the old ones go on serving"), "{reason}");
    assert_eq!((status.serving, command), (Some(digest), None), "its grants stand in the configuration");
    assert_eq!(line, format!("[plugins.hostile]\nsha256 = \"{}\"", status.digest.unwrap()));
    let error = Session::new().call(&host, "misbehave", &serde_json::json!({"how": "panic"})).unwrap_err();
    assert!(error.message.ends_with("on purpose"), "{}", error.message);
}

#[test]
fn the_loser_of_a_clash_is_refused_and_both_are_named() {
    let dir = drop_in(&[("hostile.wasm", &hostile()), ("other.wasm", &hostile())]);
    let found = statuses([("hostile".to_owned(), entry(true))].into(), &dir);
    assert_eq!(
        found.iter().map(|status| (status.name.as_str(), status.source)).collect::<Vec<_>>(),
        [("hostile", Source::Configured), ("hostile", Source::DroppedIn), ("other", Source::DroppedIn)]
    );
    assert_eq!(
        refusal(&found[1]),
        "the dropped-in plugin hostile: the name is taken by the configured plugin hostile; give it another one"
    );
    let tool =
        "the dropped-in plugin other: the tool misbehave is already offered by the configured plugin hostile; rename or remove one of them";
    assert_eq!(refusal(&found[2]), tool);
}

#[test]
fn a_configured_name_is_not_taken_over_when_its_file_is_gone() {
    let dir = drop_in(&[("hostile.wasm", &hostile())]);
    let gone = config::Plugin { path: Some(dir.path().join("gone.wasm")), ..entry(true) };
    let found = statuses([("hostile".to_owned(), gone)].into(), &dir);
    assert!(refusal(&found[0]).contains("gone.wasm"), "{:?}", found[0]);
    assert!(refusal(&found[1]).contains("the name is taken by the configured plugin hostile"), "{:?}", found[1]);
    assert_eq!((&found[0].serving, &found[1].serving), (&None, &None));
}

#[test]
fn what_served_last_serves_only_at_its_path_and_unless_others_are_named() {
    let workdir = tempfile::tempdir().unwrap();
    let digest = crate::plugins::registry::digest(&hostile());
    let path = workdir.path().join("gone.wasm");
    for folder in ["components", "cache", "data"] {
        fs::create_dir(workdir.path().join(folder)).unwrap();
    }
    fs::write(workdir.path().join(format!("components/{digest}.wasm")), hostile()).unwrap();
    let served = serde_json::json!({ format!("configured/hostile {}", path.display()): digest });
    fs::write(workdir.path().join("components/served.json"), served.to_string()).unwrap();
    let serving = |path: &std::path::Path, sha256: Option<String>| {
        let entry = config::Plugin { path: Some(path.to_owned()), trust_path: sha256.is_none(), sha256, ..config::Plugin::default() };
        let config =
            Arc::new(Config { plugins: [("hostile".to_owned(), entry)].into(), plugin_dirs: Vec::new(), ..Config::embedded(false) });
        let setup = Setup { workdir: workdir.path().to_owned(), config: config.into(), bundled: false };
        TOKIO.block_on(async {
            let plugins = Plugins::start(&setup).unwrap();
            plugins.wait_ready().await;
            plugins.list()[0].serving.clone()
        })
    };
    assert_eq!(serving(&path, None), Some(digest.clone()), "its file is gone, and it goes on");
    assert_eq!(serving(&workdir.path().join("another.wasm"), None), None, "nobody trusts these bytes there");
    assert_eq!(serving(&path, Some("1".repeat(64))), None, "the operator wants others");
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let newer = patched("stellaclaw:plugin/tools@0.1.0", "stellaclaw:plugin/tools@0.9.0");
    let wanting = patched("stellaclaw:plugin/conversation@0.1.0", "stellaclaw:plugin/conversativn@0.1.0");
    let dir = drop_in(&[("a.wasm", &newer), ("b.wasm", &wanting), ("c.wasm", b"\0asm\x01\0\0\0"), ("d.wasm", b"#!/bin/sh")]);
    let found = statuses(BTreeMap::new(), &dir);
    let reasons: Vec<_> = found.iter().map(refusal).collect();
    assert!(reasons[0].contains("exports stellaclaw:plugin/tools in version 0.9.0; this host serves 0.1.0"), "{}", reasons[0]);
    assert!(reasons[1].contains("stellaclaw:plugin/conversativn@0.1.0"), "{}", reasons[1]);
    assert!(reasons[2].contains("a core WebAssembly module"), "{}", reasons[2]);
    assert!(reasons[3].contains("not a WebAssembly component"), "{}", reasons[3]);
}

#[test]
fn settings_that_do_not_fit_refuse_the_plugin() {
    let settings = serde_json::json!({"depth": "deep"});
    let host = start(config::Plugin { settings, ..entry(true) });
    assert!(refusal(&host.list()[0]).starts_with("[plugins.hostile.settings]: /depth: "));
    let off = start(config::Plugin { enabled: Some(false), ..entry(true) });
    assert_eq!(refusal(&off.list()[0]), "switched off: [plugins.hostile] enabled = false");
}

#[test]
fn a_second_start_compiles_nothing() {
    assert!(TOKIO.block_on(HOST.ready("hostile")));
    let config =
        Arc::new(Config { plugins: [("hostile".to_owned(), entry(true))].into(), plugin_dirs: Vec::new(), ..Config::embedded(false) });
    let setup = Setup { workdir: WORKDIR.path().to_owned(), config: config.into(), bundled: false };
    let again = TOKIO.block_on(async { Plugins::start(&setup).unwrap() });
    assert_eq!(again.list()[0].state, State::Ready, "it serves when start returns");
}

#[test]
fn bundled_components_serve_with_what_they_ask_for() {
    let host = start_with(BTreeMap::new(), Vec::new(), true);
    for status in host.list() {
        assert_eq!((status.source, &status.state), (Source::Bundled, &State::Ready), "{}", status.name);
    }
    let inspection = host.inspect("tools-fs").unwrap();
    assert!(inspection.grants.contains(&"fs workspace:rw".to_owned()), "{:?}", inspection.grants);

    let session = Session::new();
    fs::write(session.workspace.path().join("welcome.md"), "Good day.").unwrap();
    let output = session.call(&host, "file_read", &serde_json::json!({"path": "welcome.md"})).unwrap();
    assert!(format!("{output:?}").contains("Good day."), "{output:?}");
}

#[test]
fn inspect_prints_what_it_is_could_do_and_may_do() {
    let inspection = HOST.inspect("hostile").unwrap();
    let mut exports = inspection.exports.clone();
    // In the order in which the linker met them.
    exports.sort_unstable();
    assert_eq!(exports, ["stellaclaw:plugin/provider@0.1.0", "stellaclaw:plugin/tools@0.1.0"]);
    assert_eq!(inspection.grants, ["fs /data (plugin-private)", "fs workspace:rw"]);
    assert!(inspection.imports.capabilities.contains(&"stellaclaw:plugin/secrets@0.1.0".to_owned()), "{:?}", inspection.imports);
    let printed = inspection.to_string();
    assert!(
        printed.contains("could do at most (capabilities)")
            && printed.contains("may do here (granted by the configuration, [plugins.hostile])"),
        "{printed}"
    );
    let file = HOST.inspect(&HOSTILE.to_string_lossy()).unwrap();
    assert_eq!(file.grants, ["nothing: it is not a plugin of this host"]);
    assert_eq!(HOST.inspect("nobody").unwrap_err().to_string(), "there is no plugin \"nobody\", and no such file");
}
