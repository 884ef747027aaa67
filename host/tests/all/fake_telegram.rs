//! `dev fake-telegram`, as somebody uses it who wants to try the bot.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use assert_cmd::Command as Checked;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

#[tokio::test]
async fn dev_fake_telegram_serves_what_it_says_until_it_is_interrupted() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stellaclaw"));
    command.env_clear().args(["--workdir", "/nonexistent", "dev", "fake-telegram", "--port", "0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    while !said.contains("Ctrl-C") {
        assert!(out.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let after = |start: &str| said.split(start).nth(1).unwrap().split(['"', '\n']).next().unwrap();
    let (base, token) = (after("api_base_url = \""), after("TELEGRAM_BOT_TOKEN="));
    let client = &reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |path: String| async move { client.get(path).send().await.unwrap().text().await.unwrap() };
    let me: Value = serde_json::from_str(&get(format!("{base}/bot{token}/getMe")).await).unwrap();
    assert_eq!(me["result"]["is_bot"], true);
    assert!(get(base.to_owned()).await.starts_with("<!doctype html>"));
    let chats: Value = serde_json::from_str(&get(format!("{base}/_/chats")).await).unwrap();
    assert_eq!(chats["chats"][0]["title"], "Ann");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(130), ""));
    let shown = said.replace(base, "http://127.0.0.1:8081");
    insta::assert_snapshot!(shown);
}

#[test]
fn dev_fake_telegram_refuses_what_is_no_token() {
    let mut command = Checked::new(env!("CARGO_BIN_EXE_stellaclaw"));
    let done = command.env_clear().args(["--workdir", "/nonexistent", "dev", "fake-telegram", "--token", "secret"]).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(!String::from_utf8(done.stderr).unwrap().contains("secret"));
}
