//! From nothing to a bot that answers: `init` by flags and by questions, and the steps that README names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stellaclaw::fake_telegram::{FakeTelegram, Fault as Trouble, Options, Post};

use crate::support::fake_auth;
use crate::support::fake_openai::{API_KEY, Answer, FakeOpenAi, Fault, Script};
use crate::support::host::{Ran, Work};
use crate::support::pty::Pty;
use crate::support::{HANGS, files, read, within};

const WRONG_TOKEN: &str = "7000000001:AAcanary-that-nobody-knows";
const WRONG_KEY: &str = "sk-canary-wrong-0123456789";

/// A user without a configuration, a vendor, and a Telegram.
struct Newcomer {
    work: Work,
    vendor: FakeOpenAi,
    telegram: FakeTelegram,
    ann: i64,
}

impl Newcomer {
    async fn new(ready: Answer) -> Self {
        let work = Work::new();
        let script = Script::default().on("Say: ready", [ready]).on("hello", [Answer::text("Hello to you.")]);
        let vendor = FakeOpenAi::start(work.folder(), script).await;
        let telegram = FakeTelegram::start(Options::default()).await.unwrap();
        let ann = telegram.new_user("Ann");
        Self { work, vendor, telegram, ann }
    }

    fn config(&self) -> PathBuf {
        self.work.folder().join(".config/stellaclaw/config.toml")
    }

    fn keep(&self, name: &str, secret: &str) -> String {
        let path = self.work.folder().join(name);
        fs::write(&path, format!("{secret}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `init` with the vendor and the bot, the key on standard input.
    async fn by_flags(&self, key: &str, token: &str, more: &[&str]) -> Ran {
        let (token, vendor, telegram) = (self.keep("token", token), self.vendor.base_url(), self.telegram.api_base_url());
        let model = ["init", "--yes", "--provider", "openai-compatible", "--base-url", &vendor, "--model", "fake-main", "--key-file", "-"];
        let bot = ["--token-file", &token, "--api-base-url", &telegram];
        let ran = self.work.run(&[&model[..], &bot, more].concat(), &format!("{key}\n")).await;
        for secret in [key, token.as_str(), API_KEY, self.telegram.token()].iter().filter(|secret| !secret.starts_with('/')) {
            assert!(!ran.output.contains(secret) && !ran.errors.contains(secret), "{ran:?}");
        }
        ran
    }

    fn wrote_nothing(&self) -> bool {
        !self.work.folder().join(".config").exists()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_alone_set_up_a_bot_that_answers() {
    let new = Newcomer::new(Answer::text("ready")).await;
    let ann = new.ann.to_string();
    let ran = new.by_flags(API_KEY, new.telegram.token(), &["--owner", &ann]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.errors.contains("fake-main answered") && ran.errors.contains("This is @stella_claw_bot."), "{ran:?}");
    assert_eq!(new.vendor.asks().len(), 1, "{:?}", new.vendor.refusals());

    let (config, key) = (new.config(), new.config().with_file_name("model.key"));
    for path in [&config, &key] {
        assert!(ran.output.contains(path.to_str().unwrap()), "{ran:?}");
        assert_eq!(mode(path), 0o600);
    }
    assert_eq!(mode(config.parent().unwrap()), 0o700);
    assert_eq!(fs::read_to_string(&key).unwrap().trim_end(), API_KEY);
    for (path, bytes) in files(new.work.folder()) {
        let holds = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!holds(API_KEY) || path == key, "the key is in {}", path.display());
        assert!(!holds(new.telegram.token()) || path.ends_with("token"), "the token is in {}", path.display());
    }

    let host = new.work.host().await;
    new.telegram.write(new.ann, new.ann, Post::text("hello")).unwrap();
    new.telegram.sent(new.ann, "Hello to you.").await.unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_said_and_writes_nothing() {
    let new = Newcomer::new(Answer::text("ready")).await;
    let refused = new.by_flags(WRONG_KEY, new.telegram.token(), &["--no-pair"]).await;
    assert_eq!((refused.code, refused.output.as_str()), (Some(4), ""), "{refused:?}");
    assert!(refused.errors.contains("mend models.main.api_key") && refused.errors.contains("--untested"), "{refused:?}");
    let unknown = new.by_flags(API_KEY, WRONG_TOKEN, &["--no-pair"]).await;
    assert_eq!((unknown.code, unknown.output.as_str()), (Some(4), ""), "{unknown:?}");
    assert!(unknown.errors.contains("Telegram does not know this token"), "{unknown:?}");
    new.telegram.down().await;
    let gone = new.by_flags(API_KEY, new.telegram.token(), &["--no-pair"]).await;
    assert_eq!((gone.code, gone.output.as_str()), (Some(5), ""), "{gone:?}");
    assert!(new.wrote_nothing());

    let untested = new.by_flags(WRONG_KEY, WRONG_TOKEN, &["--no-pair", "--untested"]).await;
    assert_eq!(untested.code, Some(0), "{untested:?}");
    assert!(untested.output.contains("stellaclaw pair ") && new.config().exists(), "{untested:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_host_that_serves_another_bot_nobody_is_paired() {
    let new = Newcomer::new(Answer::text("ready")).await;
    let first = new.by_flags(API_KEY, new.telegram.token(), &["--no-pair"]).await;
    assert!(first.code == Some(0) && !first.output.contains("A host was running"), "{first:?}");
    let host = new.work.host().await;
    let other = "7000000002:AAcanary-of-another-bot";
    let ran = new.by_flags(API_KEY, other, &["--force", "--pair", "--untested"]).await;
    assert!(ran.code != Some(0) && !ran.output.contains("Send this"), "{ran:?}");
    assert!(ran.errors.contains("serves the bot 7000000001") && ran.errors.contains("that of 7000000002 now"), "{ran:?}");
    assert!(ran.output.contains("A host was running with the configuration before."), "{ran:?}");
    let refused = new.work.run(&["pair", "approve", &new.ann.to_string()], "").await;
    assert!(refused.code != Some(0) && refused.errors.contains("serves the bot 7000000001"), "{refused:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_is_missing_or_wrong_is_named_and_nothing_is_written() {
    let new = Newcomer::new(Answer::text("ready")).await;
    let home = new.work.folder().to_str().unwrap();
    let nonsense = new.keep("nonsense", "not-a-token-of-a-bot");
    let openrouter = ["--provider", "openrouter"];
    let cases: &[&[&str]] = &[
        &[],
        &openrouter,
        &["--provider", "openrouter", "--model", "a/b"],
        &["--provider", "openrouter", "--model", "a/b", "--no-key"],
        &["--provider", "openrouter", "--model", "a/b", "--key-env", WRONG_KEY],
        &["--provider", "openrouter", "--model", "a/b", "--key-env", "NO_SUCH_KEY"],
        &["--provider", "openrouter", "--model", "a/b", "--key-file", "none.key"],
        &["--provider", "openrouter", "--base-url", "https://example.com"],
        &["--provider", "openai-compatible"],
        &["--provider", "openai-compatible", "--base-url", "ftp://example.com", "--model", "m", "--no-key", "--untested"],
        &["--provider", "openai-compatible", "--base-url", "http://localhost:1/v1", "--model", "m"],
        &["--provider", "offline", "--model", "m"],
        &["--provider", "offline", "--untested"],
        &["--provider", "offline", "--untested", "--telegram"],
        &["--provider", "offline", "--untested", "--token-file", &nonsense],
        &["--provider", "offline", "--untested", "--token-env", "BOT"],
        &["--key-file", "-", "--token-file", "-"],
        &["--no-telegram", "--pair"],
        &["--owner", "-5"],
    ];
    let mut said = String::new();
    for case in cases {
        let mut command = new.work.command(&["init"]);
        let ended = command.args(*case).env("BOT", WRONG_TOKEN).stdin(std::process::Stdio::null()).output().unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap().replace(home, "~");
        assert!(ended.stdout.is_empty() && !errors.contains("canary"), "{case:?}: {errors}");
        let first = errors.split("\n\n").next().unwrap().trim_end();
        said += &format!("{}\n  {} {first}\n", case.join(" ").replace(home, "~"), ended.status.code().unwrap());
    }
    assert!(new.wrote_nothing());
    insta::assert_snapshot!(said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_there_is_kept() {
    let new = Newcomer::new(Answer::text("ready")).await;
    let offline = ["init", "--yes", "--provider", "offline", "--no-telegram"];
    fs::create_dir_all(new.config().parent().unwrap()).unwrap();
    fs::write(new.config(), "version = \"0.5\" # mine\n").unwrap();
    let kept = new.work.run(&offline, "").await;
    assert_eq!((kept.code, kept.output.as_str()), (Some(2), ""), "{kept:?}");
    assert!(kept.errors.contains("is there already") && kept.errors.contains("--force"), "{kept:?}");
    assert_eq!(fs::read_to_string(new.config()).unwrap(), "version = \"0.5\" # mine\n");
    let replaced = new.work.run(&[&offline[..], &["--force"]].concat(), "").await;
    assert_eq!(replaced.code, Some(0), "{replaced:?}");
    assert_eq!(fs::read_to_string(new.config().with_extension("toml.bak")).unwrap(), "version = \"0.5\" # mine\n");
    assert!(fs::read_to_string(new.config()).unwrap().contains("provider-offline"));

    // A secret of somebody else's making is not replaced either.
    let new = Newcomer::new(Answer::text("ready")).await;
    fs::create_dir_all(new.config().parent().unwrap()).unwrap();
    let key = new.config().with_file_name("model.key");
    fs::write(&key, "another-secret").unwrap();
    let kept = new.by_flags(API_KEY, new.telegram.token(), &["--no-pair", "--untested"]).await;
    assert!(kept.code == Some(2) && kept.errors.contains("model.key"), "{kept:?}");
    assert_eq!((fs::read_to_string(&key).unwrap().as_str(), new.config().exists()), ("another-secret", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_lead_to_the_same_and_a_wrong_answer_is_asked_again() {
    let new = Newcomer::new(Answer::text("ready").after([Fault::status(401)])).await;
    let mut person = Pty::start(&new.work, &["init", "--no-service", "--api-base-url", &new.telegram.api_base_url()]);
    let down = "\x1b[B";
    for wrong in [true, false] {
        person.until("Which model answers?").await;
        person.types(&format!("{down}{down}{down}\r"));
        person.until("The server's address").await;
        person.types(&format!("{}\r", new.vendor.base_url()));
        person.until("The model, as the server").await;
        person.types("fake-main\r");
        person.until("Where is the key").await;
        person.types("\r");
        person.until("Paste the key").await;
        person.types(&format!("{API_KEY}\r"));
        if wrong {
            person.until("The model does not work").await;
            person.until("What now?").await;
            person.types("\r");
        }
    }
    person.until("fake-main answered").await;
    // The flag says already that there is a bot.
    person.until("Where is the bot's token?").await;
    person.types("\r");
    person.until("Paste the bot's token").await;
    person.types("no token\r");
    person.until("the token is none of a bot").await;
    person.types(&format!("{}{WRONG_TOKEN}\r", "\x7f".repeat(8)));
    person.until("Telegram does not know this token").await;
    person.until("What now?").await;
    person.types("\r");
    person.until("Where is the bot's token?").await;
    person.types("\r");
    person.until("Paste the bot's token").await;
    person.types(&format!("{}\r", new.telegram.token()));
    person.until("This is @stella_claw_bot.").await;
    person.until("Become its owner now?").await;
    assert!(new.wrote_nothing(), "nothing is written before the last question");
    person.types("y\r");
    // The code that is shown makes Ann the owner.
    person.until("Send this to the bot").await;
    person.until("Waiting").await;
    let shown = person.shown();
    let code = shown.lines().map(str::trim).rfind(|line| line.len() == 9 && line.as_bytes()[4] == b'-').expect("a code").to_owned();
    new.telegram.write(new.ann, new.ann, Post::text(&code)).unwrap();
    person.until("is the owner of the bot now").await;
    let (ended, shown) = person.finish().await;
    assert_eq!(ended, Some(0), "{shown}");
    for secret in [API_KEY, WRONG_TOKEN, new.telegram.token()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    for name in ["config.toml", "model.key", "telegram.key"] {
        let path = new.config().with_file_name(name);
        assert!(shown.contains(path.to_str().unwrap()) && mode(&path) == 0o600, "{name}: {shown}");
    }
    assert!(!shown.contains("stellaclaw pair"), "there is an owner: {shown}");
    let host = new.work.host().await;
    new.telegram.write(new.ann, new.ann, Post::text("hello")).unwrap();
    new.telegram.sent(new.ann, "Hello to you.").await.unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_leaves_nothing_behind() {
    let new = Newcomer::new(Answer::text("ready").held("ready")).await;
    let token = new.keep("token", new.telegram.token());
    // At a question, with a key in hand.
    let arguments = ["init", "--provider", "openai-compatible", "--base-url", &new.vendor.base_url(), "--model", "fake-main"];
    let mut person = Pty::start(&new.work, &[&arguments[..], &["--untested"]].concat());
    person.until("Where is the key").await;
    person.types("\r");
    person.until("Paste the key").await;
    person.types(&format!("{API_KEY}\r"));
    person.until("Serve a Telegram bot?").await;
    person.types("\x03");
    let (ended, shown) = person.finish().await;
    assert!(ended == Some(130) && shown.contains("nothing was written"), "{ended:?} {shown}");
    assert!(new.wrote_nothing());
    // While the model is asked.
    let more = ["--yes", "--key-file", "-", "--token-file", &token, "--no-pair"];
    let mut trying = new.work.begin(&[&arguments[..], &more].concat());
    trying.close(&format!("{API_KEY}\n"));
    new.vendor.held("ready", 1).await;
    trying.signal(rustix::process::Signal::INT);
    let stopped = trying.finish("").await;
    assert_eq!((stopped.code, stopped.output.as_str()), (Some(130), ""), "{stopped:?}");
    assert!(new.wrote_nothing());
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_looks_at_the_bot() {
    let new = Newcomer::new(Answer::text("ready")).await;
    let ann = new.ann.to_string();
    assert_eq!(new.by_flags(API_KEY, new.telegram.token(), &["--owner", &ann]).await.code, Some(0));
    let lines = async |arguments: &[&str]| {
        let report = new.work.run(&[&["doctor"], arguments].concat(), "").await.output;
        let lines: Vec<_> = report.lines().filter(|line| line.contains("  telegram ")).map(|line| line.replace(' ', "")).collect();
        lines
    };
    assert_eq!(lines(&[]).await, ["oktelegrambot7000000001"]);
    assert_eq!(lines(&["--online"]).await, ["oktelegrambot7000000001", "oktelegram@stella_claw_botanswers"]);
    let webhook = format!("{}/bot{}/setWebhook", new.telegram.api_base_url(), new.telegram.token());
    let hook = reqwest::Client::new().post(webhook).header("content-type", "application/json");
    let set = hook.body("{\"url\": \"https://example.com/hook\"}").send().await.unwrap();
    assert!(set.status().is_success());
    let found = lines(&["--online"]).await;
    assert!(found.len() == 2 && found[1].starts_with("warntelegram@stella_claw_botanswers,andhasawebhook"), "{found:?}");
    // Only a host that polls finds out that somebody else does, too.
    let host = new.work.host().await;
    new.telegram.fault(Trouble::conflict().on("getUpdates").always());
    // The poll that waits just now ends with this, and the next one meets the other.
    new.telegram.write(new.ann, new.ann, Post::text("hello")).unwrap();
    let polled = async { while !lines(&[]).await.iter().any(|line| line.starts_with("failtelegramsomebodyelsepolls")) {} };
    within("doctor to say that somebody else polls", polled).await;
    new.telegram.clear_faults();
    host.stop().await;
    new.keep("token", WRONG_TOKEN);
    let found = lines(&["--online"]).await;
    assert!(found[1].starts_with("failtelegramTelegramdoesnotknowthistoken"), "{found:?}");
    new.keep("token", "not-a-token-of-a-bot");
    let found = lines(&[]).await;
    assert!(found[0].starts_with("failtelegramthetokenisnoneofabot"), "{found:?}");
}

/// The commands of a block of README that begins with this.
fn commands(begin: &str) -> String {
    let readme = read("README.md");
    let block = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).find(|block| block.starts_with(begin));
    block.unwrap_or_else(|| panic!("no block of README begins with {begin:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_that_readme_names_lead_to_an_answer() {
    let work = Work::new();
    // Another port than the usual one, which somebody may use just now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let script = commands("stellaclaw dev fake-telegram").replace("fake-telegram ", &format!("fake-telegram --port {port} "));
    let script = script.replace("8081", &port);
    assert!(script.contains("stellaclaw init ") && script.trim_end().ends_with("stellaclaw run"), "{script}");
    let host = work.shell(&script);
    let address = format!("http://127.0.0.1:{port}");
    let act = |act: &str| {
        let sent = reqwest::Client::new().post(format!("{address}/_/do")).header("x-fake-telegram", "1").body(act.to_owned());
        async move { sent.send().await.unwrap().text().await.unwrap() }
    };
    let chat = async || {
        let shown = reqwest::get(format!("{address}/_/chat?chat=101001")).await.ok()?.text().await.ok()?;
        Some(shown)
    };
    let until = async |what: &str| {
        let waiting = async {
            while !chat().await.is_some_and(|shown| shown.contains(what)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(HANGS * 2, waiting).await;
        assert!(waited.is_ok(), "no {what:?}: {:?} {}", chat().await, host.so_far());
    };
    until("messages").await;
    let said = act("{\"do\": \"write\", \"chat\": 101001, \"user\": 101001, \"text\": \"read welcome.md\"}").await;
    assert!(said.contains("message"), "{said}");
    until("Welcome to Stellaclaw").await;
    host.signal(rustix::process::Signal::TERM);
    host.finish("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_named_where_it_is_and_made_by_nobody_here() {
    let new = Newcomer::new(Answer::text("ready")).await;
    let login = new.work.folder().join("auth.json");
    let path = login.to_str().unwrap();
    let args = ["init", "--yes", "--provider", "codex", "--model", "some-model", "--codex-auth", path, "--no-telegram", "--untested"];
    let without = new.work.run(&args, "").await;
    assert_eq!(without.code, Some(4), "{without:?}");
    assert!(without.errors.contains("`stellaclaw login codex` makes one") && new.wrote_nothing(), "{without:?}");

    fs::write(&login, fake_auth::file("acc-1", None, "refresh-canary-0123")).unwrap();
    fs::set_permissions(&login, fs::Permissions::from_mode(0o600)).unwrap();
    let ran = new.work.run(&args, "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let written = fs::read_to_string(new.config()).unwrap();
    assert!(written.contains("provider = \"provider-codex\"") && written.contains(&format!("codex_auth = {path:?}")), "{written}");
    assert!(!written.contains("canary") && !ran.output.contains("canary"), "{written}");
}
