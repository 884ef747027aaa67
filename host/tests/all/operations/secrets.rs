//! The bot's token, the model's key and the proxy's password are in nothing that a host or a verb says, at any level and in any
//! form, in no file, and not where other users of the machine can look.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::hostile::assert_no_secret;
use crate::operations::proxy::{Proxy, rename};
use crate::support::bot::Bot;
use crate::support::fake_openai::{API_KEY, Answer, Fault, Script};
use crate::support::host::Host;

const PASSWORD: &str = "proxy-password-4f1e9a";

/// What must be nowhere.
fn forms(bot: &Bot) -> Vec<String> {
    let token = bot.telegram.token();
    let plain = [token, token.split_once(':').unwrap().1, API_KEY, PASSWORD].map(str::to_owned);
    plain.into_iter().chain([STANDARD.encode(format!("me:{PASSWORD}")), token.replace(':', "%3A")]).collect()
}

fn assert_free(bot: &Bot, what: &str, text: &str) {
    for form in forms(bot) {
        assert!(!text.contains(&form), "{form} in {what}: {text}");
    }
}

/// Everything that a person can ask about a host that serves.
async fn ask_everything(bot: &Bot, host: &Host) {
    let to = format!("telegram:{}", bot.ann);
    let verbs: &[&[&str]] = &[
        &["status"],
        &["status", "--json"],
        &["status", "--exit-code", "--json"],
        &["-vv", "doctor", "--online"],
        &["doctor", "--json"],
        &["logs", "-n", "100000"],
        &["logs", "--json", "-n", "100000"],
        &["conv", "list", "--json"],
        &["conv", "show", "c1"],
        &["conv", "export", "c1"],
        &["conv", "export", "c1", "--format", "markdown"],
        &["config", "check", "--json"],
        &["plugin", "list", "--json"],
        &["pair", "list", "--json"],
        &["send", "--to", &to, "From a script."],
        &["backup", "create", "kept"],
    ];
    for verb in verbs {
        let ran = bot.work.run(verb, "").await;
        assert!(!ran.output.is_empty() || !ran.errors.is_empty() || verb[0] == "send", "{verb:?} says nothing");
        assert_free(bot, &verb.join(" "), &format!("{}{}", ran.output, ran.errors));
    }
    let command = fs::read(format!("/proc/{}/cmdline", host.pid().as_raw_nonzero())).unwrap();
    assert_free(bot, "the command line", &String::from_utf8_lossy(&command));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_is_said() {
    let read = Answer::calls([("file_read", json!({"path": "welcome.md"}))]);
    let script =
        Script::default().on("read", [read, Answer::text("It is read.")]).on("fail", [Answer::text("").after([Fault::Leak, Fault::Leak])]);
    let mut bot = Bot::scripted(script).await;
    let proxy = Proxy::to(rename(&bot, ""));
    bot.work.set("ALL_PROXY", &proxy.url.replace("http://", &format!("http://me:{PASSWORD}@")));
    bot.work.set("RUST_LOG", "trace");

    // In JSON, and with a panic.
    let host = bot.work.start(&[("FAULT_AT", "import.tool")]).await.unwrap();
    bot.exchange("read", "It is read.").await;
    bot.exchange("fail", "refused our credentials").await;
    ask_everything(&bot, &host).await;
    let kept = fs::read_to_string(bot.work.workdir().join("logs/stellaclaw.log")).unwrap();
    let panics = |line: &str| line.contains("a host function panics because a test wants it to") && line.contains("\"ERROR\"");
    assert!(kept.lines().any(|line| panics(line) && serde_json::from_str::<Value>(line).is_ok()), "a panic is a line of the log");
    assert!(host.said().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "every line is JSON");

    // A configuration with secrets in it is refused without them.
    let file = bot.work.folder().join("config.toml");
    let right = fs::read_to_string(&file).unwrap();
    let token = bot.telegram.token();
    for wrong in [
        right.replace("token = { env = \"FAKE_TOKEN\" }", &format!("token = \"{token}\"")),
        right.replace("api_key = { env = \"FAKE_KEY\" }", &format!("api_key = \"{API_KEY}\"")),
        format!("{right}proxy = \"http://me:{PASSWORD}@127.0.0.1:1\"\n"),
    ] {
        assert_ne!(wrong, right);
        fs::write(&file, wrong).unwrap();
        let before = host.said().matches("could not be read again").count();
        host.signal(rustix::process::Signal::HUP);
        super::reloading::says(&host, "could not be read again", before + 1).await;
        let check = bot.work.run(&["config", "check"], "").await;
        assert_eq!(check.code, Some(3), "{check:?}");
        assert_free(&bot, "config check", &check.output);
    }
    fs::write(&file, right).unwrap();
    host.stop().await;

    // As text, for the journal.
    let stream = bot.work.folder().join("host-1.log");
    fs::write(&stream, "").unwrap();
    let found = fs::metadata(&stream).unwrap();
    let host = bot.work.start(&[("JOURNAL_STREAM", &format!("{}:{}", found.dev(), found.ino()))]).await.unwrap();
    bot.exchange("/help", "/cancel").await;
    ask_everything(&bot, &host).await;
    assert!(host.said().lines().all(|line| line.starts_with('<')), "every line is text");
    host.stop().await;
    assert!(proxy.asked("POST http://telegram.invalid/bot"));
    let forms = forms(&bot);
    assert_no_secret(&bot.work, &forms.iter().map(String::as_str).collect::<Vec<_>>());
}
