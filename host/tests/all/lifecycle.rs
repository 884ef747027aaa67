//! Components that come, change and go while the host runs, and what is granted to them.

mod grants;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Log};
use crate::support::fake_openai::{Answer, Script, text_of};
use crate::support::guests;
use crate::support::host::{Ran, Work};
use crate::support::scene::Scene;
use crate::support::{HANGS, sha256};

/// The plugin folder, made.
fn plugins(work: &Work) -> PathBuf {
    let folder = work.workdir().join("plugins");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Replaces a file at once, as careful people do.
fn put(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("part");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(&temporary, path).unwrap();
}

/// What `plugin list` says of a plugin; null when it is not there.
async fn listed(work: &Work, name: &str) -> Value {
    let ran = work.run(&["plugin", "list", "--json"], "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let all: Vec<Value> = serde_json::from_str(&ran.output).unwrap();
    all.into_iter().find(|plugin| plugin["name"] == name).unwrap_or(Value::Null)
}

/// Waits until `plugin list` says so.
async fn until(work: &Work, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let plugin = listed(work, name).await;
        if is_so(&plugin) {
            return plugin;
        }
        assert!(started.elapsed() < HANGS, "{name}: waited in vain for {what}: {plugin:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_serves(work: &Work, name: &str, bytes: &[u8]) -> Value {
    let digest = sha256(bytes);
    until(work, name, "these bytes to serve", |plugin| plugin["serving"] == *digest).await
}

/// What the tool says.
async fn call(client: &mut Client, tool: &str, arguments: &Value) -> String {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let id = format!("call-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let replies = client.talk(&id, &format!("call {tool} {arguments}")).await.unwrap();
    replies.last().unwrap().text.clone()
}

/// Waits until the tool `which_version` answers so: what is looked at may be there before it serves.
async fn until_answers(client: &mut Client, wanted: &str) {
    let started = Instant::now();
    while call(client, "which_version", &json!({})).await != wanted {
        assert!(started.elapsed() < HANGS, "waited in vain for {wanted:?}");
    }
}

fn reason(plugin: &Value) -> &str {
    plugin["state"]["refused"]["reason"].as_str().unwrap_or_default()
}

/// The digests that the names of files in a folder of the work directory begin with.
fn digests(work: &Work, folder: &str) -> Vec<String> {
    let files = fs::read_dir(work.workdir().join(folder)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.filter_map(|file| file.split_once(['-', '.']).map(|(digest, _)| digest.to_owned())).collect()
}

/// What nothing means any more is gone, with its code, and after a start what somebody else has left there, too.
async fn is_tidied(work: &Work, meant: &str, gone: &str) {
    let stray = work.workdir().join(format!("components/{}.wasm", sha256(b"stray")));
    fs::write(&stray, b"stray").unwrap();
    let host = work.host().await;
    assert!(!stray.exists());
    host.stop().await;
    for folder in ["components", "cache"] {
        let digests = digests(work, folder);
        assert!(digests.iter().any(|digest| digest == meant) && !digests.iter().any(|digest| digest == gone), "{folder}: {digests:?}");
    }
}

#[tokio::test]
async fn a_copied_component_serves_and_what_replaces_it_takes_over_only_when_it_can() {
    let work = Work::new();
    work.configure("plugin_dirs = [\"plugins\", \"later\"]\n");
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    let (one, two) = (guests::swap(), guests::swapped());

    // Into a directory that was not there when the host started, and in pieces: the first one settles by itself.
    let folder = work.workdir().join("later");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("swap.wasm");
    let (first, second) = one.split_at(one.len() / 2);
    fs::write(&file, first).unwrap();
    let half = until(&work, "swap", "half a component to be refused", |plugin| !reason(plugin).is_empty()).await;
    assert_eq!(half["serving"], Value::Null, "{half:#}");
    assert!(call(&mut client, "which_version", &json!({})).await.contains("no tool `which_version`"));
    let mut copy = fs::File::options().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut copy, second).unwrap();
    drop(copy);
    until_serves(&work, "swap", &one).await;
    assert_eq!(call(&mut client, "which_version", &json!({})).await, "version-1");

    // Its settings.
    fs::write(folder.join("swap.toml"), "[settings]\ngreeting = \"hello \"\n").unwrap();
    until_answers(&mut client, "hello version-1").await;
    // A grant beside a file is an error, and what served goes on as it was.
    fs::write(folder.join("swap.toml"), "fs = [\"workspace:rw\"]\n").unwrap();
    let refused = until(&work, "swap", "a grant beside it to be refused", |plugin| !reason(plugin).is_empty()).await;
    assert!(reason(&refused).contains("unknown field `fs`") && reason(&refused).contains("grants belong in the configuration"));
    assert_eq!(refused["serving"], *sha256(&one));
    assert_eq!(call(&mut client, "which_version", &json!({})).await, "hello version-1");
    fs::remove_file(folder.join("swap.toml")).unwrap();
    until(&work, "swap", "the refusal to end", |plugin| reason(plugin).is_empty()).await;
    until_answers(&mut client, "version-1").await;

    // Garbage.
    fs::write(&file, b"#!/bin/sh\necho no component\n").unwrap();
    let garbage = until(&work, "swap", "garbage to be refused", |plugin| !reason(plugin).is_empty()).await;
    assert!(reason(&garbage).contains("not a WebAssembly component"), "{garbage:#}");
    assert_eq!(garbage["serving"], *sha256(&one));
    assert_eq!(call(&mut client, "which_version", &json!({})).await, "version-1");
    let text = work.run(&["plugin", "list"], "").await.output;
    assert!(text.contains("not a WebAssembly component") && text.contains(&format!("serves: the bytes before, sha256 {}", sha256(&one))));
    let status = work.run(&["status"], "").await.output;
    assert!(status.contains("refused: swap (`stellaclaw plugin list` says why)"), "{status}");

    // Still so after a restart, also for who looks without a host.
    host.stop().await;
    assert_eq!(listed(&work, "swap").await["serving"], *sha256(&one));
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    until_serves(&work, "swap", &one).await;
    assert_eq!(call(&mut client, "which_version", &json!({})).await, "version-1");

    // A component that only its catalogue or its linking would refuse.
    put(&file, &guests::patched(&one, "stellaclaw:plugin/http@0.1.0", "stellaclaw:plugin/httq@0.1.0"));
    let unknown = until(&work, "swap", "an unknown import to be refused", |plugin| reason(plugin).contains("httq")).await;
    assert_eq!(unknown["serving"], *sha256(&one));

    // A new version, the directory made again, and its end.
    put(&file, &two);
    until_serves(&work, "swap", &two).await;
    assert_eq!(call(&mut client, "which_version", &json!({})).await, "version-2");
    fs::remove_dir_all(&folder).unwrap();
    until(&work, "swap", "it to be gone", Value::is_null).await;
    assert!(call(&mut client, "which_version", &json!({})).await.contains("no tool `which_version`"));
    fs::create_dir(&folder).unwrap();
    fs::write(&file, b"garbage again").unwrap();
    let gone = until(&work, "swap", "garbage to be refused", |plugin| !reason(plugin).is_empty()).await;
    assert_eq!(gone["serving"], Value::Null, "what was removed does not come back: {gone:#}");
    put(&file, &one);
    until_serves(&work, "swap", &one).await;
    assert_eq!(call(&mut client, "which_version", &json!({})).await, "version-1");
    host.stop().await;
    is_tidied(&work, &sha256(&one), &sha256(&two)).await;
}

#[tokio::test]
async fn a_running_call_ends_on_the_version_it_began_with() {
    let work = Work::new();
    let file = work.folder().join("anywhere.bin");
    let (one, two) = (guests::swap(), guests::swapped());
    fs::write(&file, &one).unwrap();
    work.configure(&format!("[plugins.swap]\npath = {:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\n", file.display()));
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut long = Client::attach(&work, "long", &log).await.unwrap();
    let mut short = Client::attach(&work, "short", &log).await.unwrap();
    long.send("long", "call which_version {\"after\": \"go\"}").await.unwrap();
    let go = work.workspace(long.conversation()).join("go");
    guests::awaits(&go).await;
    put(&file, &two);
    until_serves(&work, "swap", &two).await;
    assert_eq!(call(&mut short, "which_version", &json!({})).await, "version-2");
    fs::write(&go, "").unwrap();
    let (replies, _) = long.settle().await.unwrap();
    assert_eq!(replies.last().unwrap().text, "version-1");
    assert_eq!(call(&mut long, "which_version", &json!({})).await, "version-2", "its next turn");
    host.stop().await;
}

/// Without what differs from run to run.
fn shown(work: &Work, ran: &Ran) -> String {
    ran.output
        .replace(&work.workdir().display().to_string(), "WORKDIR")
        .replace(&sha256(&guests::swap()), "SHA256-OF-ONE")
        .replace(&sha256(&guests::swapped()), "SHA256-OF-TWO")
}

#[tokio::test]
async fn grants_are_shown_asked_for_and_tied_to_the_bytes() {
    let work = Work::new();
    let (one, two) = (guests::swap(), guests::swapped());
    let file = plugins(&work).join("swap.wasm");
    fs::write(&file, &one).unwrap();
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    let waits = until(&work, "swap", "it to wait", |plugin| plugin["serving"] == *sha256(&one)).await;
    assert_eq!(waits["state"]["waiting"]["command"], "stellaclaw plugin grant swap");
    assert_ne!(call(&mut client, "write_one", &json!({"text": "x"})).await, "written");

    // Nobody to ask, nothing done.
    let grants = work.workdir().join("grants.toml");
    let asked = work.run(&["plugin", "grant", "swap"], "y\n").await;
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(asked.errors.contains("plugin grant swap") && asked.errors.contains("--yes") && !grants.exists(), "{asked:?}");
    let useless = work.run(&["plugin", "grant", "swap", "--fs", "shared:rw", "--http", "https://evil.example", "--yes"], "").await;
    assert_eq!(useless.code, Some(2), "{useless:?}");
    assert!(useless.errors.contains("--http https://evil.example: swap does not ask for it") && !grants.exists(), "{useless:?}");

    let granted = work.run(&["plugin", "grant", "swap", "--yes"], "").await;
    assert_eq!(granted.code, Some(0), "{granted:?}");
    insta::assert_snapshot!("grant_what_is_asked_for", shown(&work, &granted));
    until(&work, "swap", "the grant to be seen", |plugin| plugin["state"] == "ready").await;
    assert_eq!(call(&mut client, "write_one", &json!({"text": "x"})).await, "written");
    let inspected = work.run(&["plugin", "inspect", "swap"], "").await.output;
    assert!(inspected.contains("granted by grants.toml") && inspected.contains("fs workspace:rw"), "{inspected}");

    // Other bytes wait; the old ones serve with what they were granted, also after a restart.
    put(&file, &two);
    let waits = until(&work, "swap", "the new bytes to wait", |plugin| plugin["digest"] == *sha256(&two)).await;
    assert_eq!(waits["serving"], *sha256(&one), "{waits:#}");
    assert_eq!(call(&mut client, "write_one", &json!({"text": "y"})).await, "written");
    let list = work.run(&["plugin", "list"], "").await;
    insta::assert_snapshot!("list_with_bytes_that_wait", shown(&work, &list));
    let notices = host.said().lines().filter(|line| line.contains("other bytes than the grants of swap are for")).count();
    assert_eq!(notices, 1, "{}", host.said());
    host.stop().await;
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    until_serves(&work, "swap", &one).await;
    assert_eq!(call(&mut client, "write_one", &json!({"text": "z"})).await, "written");

    // The operator agrees, to less of it and with a secret.
    let secret = ["--fs", "workspace:ro", "--secret", "api-key=env:SWAP_KEY", "--sign", "api-key"];
    let changed = work.run(&[&["plugin", "grant", "swap", "--yes"], secret.as_slice()].concat(), "").await;
    assert_eq!(changed.code, Some(0), "{changed:?}");
    insta::assert_snapshot!("grant_for_other_bytes", shown(&work, &changed));
    until_serves(&work, "swap", &two).await;
    assert_ne!(call(&mut client, "write_two", &json!({"text": "x"})).await, "written", "it may only read now");

    let revoked = work.run(&["plugin", "revoke", "swap", "--yes"], "").await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    insta::assert_snapshot!("revoke", shown(&work, &revoked));
    until(&work, "swap", "the revocation to be seen", |plugin| plugin["state"]["waiting"].is_object()).await;
    let again = work.run(&["plugin", "revoke", "swap", "--yes"], "").await;
    assert_eq!(again.code, Some(7), "{again:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_grant_is_for_one_source_and_a_bundled_name_is_worth_nothing() {
    let work = Work::new();
    let folder = plugins(&work);
    let one = guests::swap();
    fs::write(folder.join("swap.wasm"), &one).unwrap();
    fs::write(folder.join("tools-fs.wasm"), &one).unwrap();
    let granted = work.run(&["plugin", "grant", "swap", "--yes"], "").await;
    assert_eq!(granted.code, Some(0), "{granted:?}");
    assert_eq!(listed(&work, "swap").await["state"], "ready", "without a host, too");

    // The bundled one keeps its name; both are named.
    let all: Vec<Value> = serde_json::from_str(&work.run(&["plugin", "list", "--json"], "").await.output).unwrap();
    let impostor = all.iter().find(|plugin| plugin["name"] == "tools-fs" && plugin["source"] == "dropped_in").unwrap();
    assert_eq!(reason(impostor), "the dropped-in plugin tools-fs: the name is taken by the bundled plugin tools-fs; give it another one");
    let bundled = work.run(&["plugin", "grant", "tools-fs", "--yes"], "").await;
    assert_eq!(bundled.code, Some(8), "{bundled:?}");
    assert!(bundled.errors.contains("tools-fs is bundled") && bundled.errors.contains("[plugins.tools-fs]"), "{bundled:?}");

    // The same bytes from another source have nothing of it.
    let elsewhere = work.folder().join("swap.wasm");
    fs::rename(folder.join("swap.wasm"), &elsewhere).unwrap();
    work.configure(&format!("[plugins.swap]\npath = {:?}\n", elsewhere.display()));
    let configured = listed(&work, "swap").await;
    assert_eq!(configured["source"], "configured");
    assert!(configured["state"]["waiting"].is_object(), "{configured:#}");

    // Where the configuration grants, it is the one place to do so.
    work.configure(&format!("[plugins.swap]\npath = {:?}\nsha256 = {:?}\nfs = []\n", elsewhere.display(), sha256(&one)));
    let refused = work.run(&["plugin", "grant", "swap", "--yes"], "").await;
    assert_eq!(refused.code, Some(8), "{refused:?}");
    assert!(refused.errors.contains("stand in the configuration; change [plugins.swap] in") && refused.errors.contains("config.toml"));
    let unknown = work.run(&["plugin", "grant", "nobody", "--yes"], "").await;
    assert_eq!(unknown.code, Some(7), "{unknown:?}");
}

/// The texts of a request, without the system prompt.
fn said(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().unwrap().iter();
    messages.filter(|message| message["role"] != "system").map(|message| text_of(&message["content"])).collect()
}

#[tokio::test]
async fn the_model_is_told_once_what_changed_and_sees_the_same_otherwise() {
    let swap = || Answer::calls([("which_version", json!({}))]);
    let scene = Scene::new(
        Script::default()
            .on("one", [Answer::text("1")])
            .on("two", [Answer::text("2")])
            .on("three", [Answer::text("3")])
            .on("four", [Answer::text("4")])
            .on("five", [swap().held("asked"), Answer::text("5")])
            .on("six", [Answer::text("6")]),
    )
    .await;
    let (work, file) = (&scene.work, plugins(&scene.work).join("swap.wasm"));
    let host = work.host().await;
    let mut client = Client::attach(work, "", &scene.log).await.unwrap();
    client.talk("1", "one").await.unwrap();
    client.talk("2", "two").await.unwrap();
    put(&file, &guests::swap());
    until_serves(work, "swap", &guests::swap()).await;
    client.talk("3", "three").await.unwrap();
    // Other bytes with the same tools are no news.
    let same = guests::patched(&guests::swap(), "version-1", "version-9");
    put(&file, &same);
    until_serves(work, "swap", &same).await;
    client.talk("4", "four").await.unwrap();
    // It goes between the answer that calls it and the call.
    client.say("5", "five").await.unwrap();
    scene.fake.held("asked", 1).await;
    fs::remove_file(&file).unwrap();
    until(work, "swap", "it to be gone", Value::is_null).await;
    scene.fake.release("asked");
    client.settle().await.unwrap();
    client.talk("6", "six").await.unwrap();

    let ask = |key: &str, round: usize| scene.fake.asks_of(key)[round].body.clone();
    let (one, two, three, four) = (ask("one", 0), ask("two", 0), ask("three", 0), ask("four", 0));
    assert_eq!((&one["tools"], &one["messages"][0]), (&two["tools"], &two["messages"][0]));
    assert_eq!((&three["tools"], &three["messages"][0]), (&four["tools"], &four["messages"][0]));
    assert_eq!(said(&two), ["one", "1", "two"], "a session begins without news");
    let told = said(&four);
    assert_eq!(told.iter().filter(|text| text.contains("[Notice: tools changed]")).count(), 1, "{told:?}");
    let news = told.iter().position(|text| text.contains("`swap` now offers: which_version, write_one, fetch_page.")).unwrap();
    assert!(told[news + 1..].iter().any(|text| text.contains("three")) && !told[..news].iter().any(|text| text.contains("three")));
    let vanished = said(&ask("five", 1));
    assert!(vanished.iter().any(|text| text.contains("there is no tool called `which_version`")), "{vanished:?}");
    let gone = said(&ask("six", 0));
    assert!(gone.iter().any(|text| text.contains("`swap` is gone, and its tools with it.")), "{gone:?}");
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
    host.stop().await;
}
