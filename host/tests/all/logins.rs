//! Logins in the place of keys: how they come to be, and what is left of them whatever happens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::fake_auth::{FakeAuth, file, token};
use crate::support::fake_openai::{API_KEY, Answer, FakeOpenAi, Script};
use crate::support::host::{Work, was_killed};

/// A work directory whose model has a login, and the servers of both.
struct Account {
    work: Work,
    auth: FakeAuth,
    model: FakeOpenAi,
}

impl Account {
    async fn new() -> Self {
        let mut work = Work::new();
        let model = FakeOpenAi::start(work.folder(), Script::default().on("hello", [Answer::text("Good day.")])).await;
        let auth = FakeAuth::start("refresh-token-0");
        // It says nothing of its end, so that its age counts.
        auth.give(API_KEY);
        work.configure(&format!(
            "default_model = \"main\"\n[models.main]\nprovider = \"provider-openrouter\"\nmodel = \"fake-main\"\nbase_url = \"{}\"\n\
             api_key = {{ codex_auth = \"auth.json\" }}\n",
            model.base_url()
        ));
        work.set("TEST_AUTH", &auth.address());
        let account = Self { work, auth, model };
        // It ended in 2001.
        account.put(&file("acc-1", Some(1_000_000_000), "refresh-token-0"));
        account
    }

    fn path(&self) -> PathBuf {
        self.work.folder().join("auth.json")
    }

    fn put(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn kept(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path()).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_model_is_asked_with_a_login_that_was_renewed_before() {
    let account = Account::new().await;
    let asked = account.work.run(&["ask", "hello"], "").await;
    assert_eq!((asked.code, asked.output.trim()), (Some(0), "Good day."), "{}", asked.errors);
    assert_eq!((account.auth.given(), account.kept()["tokens"]["access_token"].as_str()), (1, Some(API_KEY)));
    assert_eq!(account.kept()["agent_identity"]["kept"], true);
    assert_eq!(account.work.run(&["ask", "hello"], "").await.code, Some(0));
    assert_eq!(account.auth.given(), 1, "and not again");
    assert!(account.model.refusals().is_empty(), "{:?}", account.model.refusals());
    let kept = account.kept();
    for name in ["access_token", "refresh_token", "id_token"] {
        let secret = kept["tokens"][name].as_str().unwrap();
        assert!(![&asked.output, &asked.errors, &account.work.log()].iter().any(|text| text.contains(secret)), "{name} is told");
    }
}

#[tokio::test]
async fn a_kill_around_a_renewal_loses_at_most_the_login_and_says_so() {
    for (point, is_lost) in [("login.given", true), ("login.kept", false)] {
        let account = Account::new().await;
        let killed = account.work.command(&["ask", "hello"]).env("CRASH_AT", point).status().unwrap();
        assert!(was_killed(killed), "{point}");
        serde_json::from_str::<Value>(&fs::read_to_string(account.path()).unwrap()).expect("the file is whole");
        let asked = account.work.run(&["ask", "hello"], "").await;
        assert_eq!(asked.code == Some(0), !is_lost, "{point}: {} {}", asked.output, asked.errors);
        if is_lost {
            let said = format!("{}{}", asked.output, asked.errors);
            assert!(said.contains("it was used already") && said.contains("stellaclaw login codex"), "{said}");
        }
        assert_eq!(account.auth.given(), 1, "{point}");
    }
}

#[tokio::test]
async fn somebody_logs_in_with_a_code() {
    let account = Account::new().await;
    fs::remove_file(account.path()).unwrap();
    account.auth.let_wait(2);
    let path = account.path().display().to_string();
    let done = account.work.run(&["login", "codex", "--device", "--file", &path], "").await;
    assert_eq!(done.code, Some(0), "{}", done.errors);
    assert!(done.errors.contains("/codex/device in any browser and enter the code ABCD-1234"), "{}", done.errors);
    assert!(done.output.contains("Logged in as acc-1@example.com") && done.output.contains("api_key = { codex_auth = "), "{}", done.output);
    let mode = fs::metadata(account.path()).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, account.kept()["tokens"]["refresh_token"].as_str()), (0o600, Some("refresh-token-1")));
    assert_eq!(account.work.run(&["ask", "hello"], "").await.code, Some(0));

    // There is no terminal to ask on: the login of another account stays.
    account.put(&file("acc-7", None, "refresh-token-7"));
    let refused = account.work.run(&["login", "codex", "--device", "--file", &path], "").await;
    assert_eq!(refused.code, Some(2), "{}", refused.errors);
    assert!(refused.errors.contains("stellaclaw login codex --yes"), "{}", refused.errors);
    assert_eq!(account.kept()["tokens"]["account_id"], "acc-7");
    assert_eq!(account.work.run(&["login", "codex", "--device", "--yes", "--file", &path], "").await.code, Some(0));
    assert_eq!(account.kept()["tokens"]["account_id"], "acc-1");
}

#[tokio::test]
async fn the_doctor_looks_at_a_login() {
    let account = Account::new().await;
    let line = async || {
        let report = account.work.run(&["doctor"], "").await.output;
        let at = report.lines().position(|line| line.contains("models.main.api_key")).unwrap();
        report.lines().skip(at).take(2).collect::<Vec<_>>().join("\n")
    };
    account.put(&file("acc-1", Some(4_070_908_800), "refresh-token-0"));
    let good = line().await;
    assert!(good.contains("a login of acc-1@example.com; its token ends 2099-01-01 00:00:00 UTC, and is renewed before"), "{good}");
    account.put(&file("acc-1", Some(4_070_908_800), ""));
    assert!(line().await.contains("that nothing can renew"));
    account.put("{}");
    let none = line().await;
    assert!(none.contains("it holds no access token") && none.contains("stellaclaw login codex --file"), "{none}");
    assert!(!none.contains(&token("acc-1", Some(4_070_908_800), 0)));
}
