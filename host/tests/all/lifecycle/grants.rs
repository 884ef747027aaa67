//! What the operator grants and takes back while calls run, files change and somebody sits at the terminal.

use stellaclaw::channels::terminal::protocol::ToClient;
use stellaclaw::plugins::Mount;

use super::*;
use crate::support::pty::Pty;

/// A work directory with the first version, as a dropped-in component.
fn dropped_in() -> (Work, PathBuf) {
    let work = Work::new();
    let file = plugins(&work).join("swap.wasm");
    put(&file, &guests::swap());
    (work, file)
}

async fn granted(work: &Work, more: &[&str]) {
    let ran = work.run(&[&["plugin", "grant", "swap", "--yes"], more].concat(), "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Has the call wait in the guest for a file.
async fn waits(work: &Work, client: &mut Client, id: &str) {
    client.send(id, "call which_version {\"after\": \"go\"}").await.unwrap();
    guests::awaits(&work.workspace(client.conversation()).join("go")).await;
}

#[tokio::test]
async fn what_is_taken_back_is_taken_from_calls_that_run() {
    let (work, _) = dropped_in();
    granted(&work, &["--fs", "workspace:rw"]).await;
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &log).await.unwrap();
    until_serves(&work, "swap", &guests::swap()).await;
    // More than before takes nothing away.
    waits(&work, &mut client, "more").await;
    granted(&work, &[]).await;
    until(&work, "swap", "the grant to be seen", |plugin| plugin["state"] == "ready").await;
    fs::write(work.workspace(client.conversation()).join("go"), "").unwrap();
    let (replies, _) = client.settle().await.unwrap();
    assert_eq!(replies.last().unwrap().text, "version-1");

    fs::remove_file(work.workspace(client.conversation()).join("go")).unwrap();
    waits(&work, &mut client, "less").await;
    let revoked = work.run(&["plugin", "revoke", "swap", "--yes"], "").await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert!(revoked.output.contains("ends calls that run with more than is granted now"), "{revoked:?}");
    let (replies, _) = client.settle().await.unwrap();
    let last = &replies.last().unwrap().text;
    assert!(last.contains("what was granted to swap was taken back while the call ran, which ended it"), "{last}");
    assert_eq!(call(&mut client, "which_version", &json!({})).await, "version-1", "it serves with what is left");
    host.stop().await;
}

#[tokio::test]
async fn what_is_granted_is_kept_whatever_becomes_of_its_file() {
    let (work, file) = dropped_in();
    granted(&work, &[]).await;
    // No host has seen the first one.
    put(&file, &guests::swapped());
    let waits = listed(&work, "swap").await;
    assert_eq!((&waits["digest"], &waits["serving"]), (&json!(sha256(&guests::swapped())), &json!(sha256(&guests::swap()))), "{waits:#}");
    let host = work.host().await;
    let mut client = Client::attach(&work, "", &Log::new(work.folder())).await.unwrap();
    until_serves(&work, "swap", &guests::swap()).await;
    assert_eq!(call(&mut client, "write_one", &json!({"text": "x"})).await, "written");
    host.stop().await;

    // Who takes it back is told first what serves then.
    let asked = work.run(&["plugin", "revoke", "swap"], "").await;
    assert_eq!(asked.code, Some(2), "{asked:?}");
    insta::assert_snapshot!("revoke_with_other_bytes_in_the_file", shown(&work, &asked));
    fs::remove_file(&file).unwrap();
    let asked = work.run(&["plugin", "revoke", "swap"], "").await;
    assert!(asked.output.contains("! its file is gone, so it serves no more\n"), "{asked:?}");
}

#[tokio::test]
async fn a_secret_that_is_granted_is_in_no_mount_from_then_on() {
    let (work, _) = dropped_in();
    let keys = work.folder().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("note.txt"), "a note").unwrap();
    let log = Log::new(work.folder());
    let host = work.host().await;
    let mount = || vec![Mount { name: "keys".into(), path: keys.clone(), writable: false }];
    let mut client = Client::attach_with(&work, "before", mount(), &log).await.unwrap();
    let read = json!({"path": "mounts/keys/note.txt"});
    assert!(call(&mut client, "file_read", &read).await.contains("a note"));

    granted(&work, &["--secret", &format!("api-key=file:{}", keys.join("key").display())]).await;
    until(&work, "swap", "the grant to be seen", |plugin| plugin["state"] == "ready").await;
    let refused = call(&mut client, "file_read", &read).await;
    assert!(refused.contains("holds what no plugin may see"), "{refused}");
    let late = Client::attach_with(&work, "after", mount(), &log).await.unwrap();
    let ToClient::Refused { reason } = &late.welcome else { panic!("it was mounted: {:?}", late.welcome) };
    assert!(reason.contains("it would give plugins a secret"), "{reason}");
    assert!(host.said().contains("a directory of a call is not opened any more"));

    let revoked = work.run(&["plugin", "revoke", "swap", "--yes"], "").await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    until(&work, "swap", "the revocation to be seen", |plugin| plugin["state"]["waiting"].is_object()).await;
    assert!(call(&mut client, "file_read", &read).await.contains("a note"));
    host.stop().await;
}

/// A name means what it means to a host.
#[tokio::test]
async fn a_call_by_name_is_to_who_has_the_name_and_to_the_named_bytes() {
    let (work, file) = dropped_in();
    let run = async |arguments: &[&str]| work.run(&[&["plugin", "call"], arguments].concat(), "").await;
    // Not to an impostor, which a host refuses.
    fs::copy(&file, plugins(&work).join("tools-fs.wasm")).unwrap();
    let impostor = run(&["tools-fs", "which_version"]).await;
    assert_eq!(impostor.code, Some(7), "{impostor:?}");
    assert!(impostor.errors.contains("tools-fs has no tool") && impostor.errors.contains("file_read"), "{impostor:?}");
    fs::remove_file(plugins(&work).join("tools-fs.wasm")).unwrap();

    // Not to bytes that wait for the operator, wherever they named others.
    granted(&work, &[]).await;
    put(&file, &guests::swapped());
    let path = file.to_str().unwrap().to_owned();
    let refused = async || {
        let waiting = run(&["swap", "which_version"]).await;
        assert_eq!(waiting.code, Some(8), "{waiting:?}");
        let (there, named) = (sha256(&guests::swapped()), sha256(&guests::swap()));
        assert!(waiting.errors.contains(&format!("sha256 {there}, not {named}")), "{waiting:?}");
        let by_path = run(&[&path, "which_version"]).await;
        assert!(by_path.output.contains("version-2"), "a path means the file: {by_path:?}");
    };
    refused().await;
    work.configure(&format!("[plugins.swap]\nsha256 = {:?}\n", sha256(&guests::swap())));
    refused().await;
    put(&file, &guests::swap());
    let named = run(&["swap", "which_version"]).await;
    assert!(named.output.contains("version-1"), "{named:?}");

    // Under the name that it has in the configuration.
    work.configure(&format!("plugin_dirs = []\n[plugins.renamed]\npath = {path:?}\nsettings = {{ greeting = \"hello \" }}\n"));
    let renamed = run(&["renamed", "which_version"]).await;
    assert!(renamed.output.contains("hello version-1"), "{renamed:?}");
    let denied = run(&["renamed", "fetch_page", "{\"url\": \"https://api.example.com\"}"]).await;
    assert!(denied.output.contains("[plugins.renamed] http"), "{denied:?}");
}

#[tokio::test]
async fn somebody_at_a_terminal_is_asked_and_only_a_yes_is_one() {
    let (work, _) = dropped_in();
    let grants = work.workdir().join("grants.toml");
    let ask = async |verb: &str, typed: &str| {
        let mut terminal = Pty::start(&work, &["plugin", verb, "swap"]);
        terminal.types(typed);
        terminal.finish().await
    };
    for typed in ["n\n", "\n", "yes please\n"] {
        let (code, said) = ask("grant", typed).await;
        assert_eq!(code, Some(8), "{said}");
        let shown = said.find("+ http https://api.example.com").expect("what would change");
        let asked = said.find("Grant this? [y/N] ").expect("the question");
        assert!(shown < asked && said.contains("Nothing was changed."), "{said}");
        assert!(!grants.exists(), "{said}");
    }
    let (code, said) = ask("grant", "y\n").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(fs::read_to_string(&grants).unwrap().contains("https://api.example.com"));
    assert_eq!(listed(&work, "swap").await["state"], "ready");

    let (code, said) = ask("revoke", "n\n").await;
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("Take this back? [y/N] ") && said.contains("! it goes on serving without these"), "{said}");
    assert_eq!(listed(&work, "swap").await["state"], "ready");
    let (code, said) = ask("revoke", "yes\n").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(listed(&work, "swap").await["state"]["waiting"].is_object());
}
