//! Renewals by a server that gives each token once.

use serde_json::Value;
use tempfile::TempDir;

use super::super::fake_auth::{FakeAuth, Fault, file, token};
use super::*;

/// It ended in 2001.
const OVER: Option<i64> = Some(1_000_000_000);
/// It ends in 2096.
const LONG: Option<i64> = Some(4_000_000_000);

struct Case {
    dir: TempDir,
    server: FakeAuth,
    renewals: Renewals,
}

impl Case {
    fn new(ends: Option<i64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("auth.json"), file("acc-1", ends, "refresh-token-0")).unwrap();
        let server = FakeAuth::start("refresh-token-0");
        Self { renewals: another(&server), dir, server }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("auth.json")
    }

    fn source(&self) -> SecretSource {
        SecretSource::CodexAuth(self.path())
    }

    fn kept(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path()).unwrap()).unwrap()
    }

    fn put(&self, text: String) {
        std::fs::write(self.path(), text).unwrap();
    }

    async fn credential(&self) -> Result<Credential, SecretError> {
        self.renewals.credential(&self.source()).await
    }

    async fn failure(&self) -> String {
        self.credential().await.err().unwrap().to_string()
    }
}

/// As another process would have it.
fn another(server: &FakeAuth) -> Renewals {
    Renewals::by(AuthServer::at(&server.address()).map_err(|error| error.to_string()))
}

#[tokio::test]
async fn a_token_that_has_long_to_live_is_left_alone() {
    let case = Case::new(LONG);
    assert_eq!(case.credential().await.ok().unwrap().value.expose(), token("acc-1", LONG, 0));
    assert_eq!(case.server.asked(), Vec::<String>::new());
    let (plain, used) = (SecretSource::Env("PATH".to_owned()), case.credential().await.ok().unwrap());
    assert!(matches!(case.renewals.renew(&plain, &used).await, Err(RenewError::Fixed)));
}

#[tokio::test]
async fn who_asks_together_shares_one_renewal_and_it_is_written_before() {
    let case = Case::new(OVER);
    let redactor = Redactor::default();
    case.renewals.tell(&redactor);
    let all = futures_util::future::join_all((0..20).map(|_| case.credential())).await;
    for credential in all {
        let value = credential.ok().unwrap().value;
        assert_eq!(value.expose(), case.kept()["tokens"]["access_token"].as_str().unwrap(), "it is on the disk");
    }
    assert_eq!(case.server.given(), 1);
    assert_eq!(case.kept()["tokens"]["refresh_token"], case.server.good());
    assert_eq!(case.kept()["agent_identity"]["kept"], true);
    for secret in ["access_token", "refresh_token", "id_token"] {
        let text = case.kept()["tokens"][secret].as_str().unwrap().to_owned();
        assert_eq!(redactor.text(&format!("a {text} b")), "a [redacted] b", "{secret}");
    }
}

#[tokio::test]
async fn processes_that_ask_at_once_burn_no_token() {
    let case = Case::new(OVER);
    let others: Vec<_> = (0..8).map(|_| another(&case.server)).collect();
    let all = futures_util::future::join_all(others.iter().map(|one| {
        let source = case.source();
        async move { one.credential(&source).await.map(|credential| credential.value.expose().to_owned()) }
    }))
    .await;
    let values: std::collections::BTreeSet<_> = all.into_iter().map(|value| value.ok().unwrap()).collect();
    assert_eq!((values.len(), case.server.given()), (1, 1));
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once_and_not_again_at_once() {
    let case = Case::new(LONG);
    let used = case.credential().await.ok().unwrap();
    let renewed = case.renewals.renew(&case.source(), &used).await.unwrap_or_else(|error| panic!("{error}"));
    assert_ne!(renewed.value.expose(), used.value.expose());
    // Who was rejected with the old one gets the new one.
    let late = case.renewals.renew(&case.source(), &used).await.ok().unwrap();
    assert_eq!(late.value.expose(), renewed.value.expose());
    assert!(matches!(case.renewals.renew(&case.source(), &renewed).await, Err(RenewError::JustNow(_))));
    assert_eq!(case.server.given(), 1);
}

#[tokio::test]
async fn what_another_program_renewed_is_taken_without_asking() {
    let case = Case::new(LONG);
    let used = case.credential().await.ok().unwrap();
    case.put(file("acc-1", Some(4_000_000_001), "refresh-token-of-another"));
    let renewed = case.renewals.renew(&case.source(), &used).await.ok().unwrap();
    assert_eq!(renewed.value.expose(), token("acc-1", Some(4_000_000_001), 0));
    case.put(file("acc-9", LONG, "refresh-token-of-a-stranger"));
    assert!(matches!(case.renewals.renew(&case.source(), &renewed).await, Err(RenewError::OtherAccount(_))));
    assert_eq!(case.server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_asked_again_until_somebody_logs_in() {
    for (status, body, why) in [
        (401, "<html>", "the server refuses it"),
        (400, r#"{"error":{"code":"refresh_token_expired"}}"#, "it has expired"),
        (401, r#"{"error":"refresh_token_reused"}"#, "it was used already"),
        (403, r#"{"code":"token_revoked"}"#, "it was revoked"),
        (400, r#"{"error":"invalid_grant"}"#, "the server refuses it"),
    ] {
        let case = Case::new(OVER);
        case.server.fail([Fault::Say(status, body)]);
        for _ in 0..3 {
            let failure = case.failure().await;
            assert!(failure.contains(why) && failure.contains("`stellaclaw login codex --file "), "{failure}");
            assert!(!failure.contains("refresh-token-0"), "{failure}");
        }
        assert_eq!(case.server.asked().len(), 1, "{body}");
        case.put(file("acc-1", LONG, "refresh-token-new"));
        assert!(case.credential().await.is_ok(), "a new login is seen");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_later() {
    for fault in [Fault::Say(503, ""), Fault::Say(429, "{}"), Fault::Say(200, "<html>"), Fault::Say(200, "{}"), Fault::HangUp] {
        let case = Case::new(OVER);
        case.server.fail([fault]);
        let failure = case.failure().await;
        assert!(failure.ends_with("it is tried again"), "{failure}");
        assert_eq!(case.failure().await, failure, "not at once");
        assert_eq!(case.server.asked().len(), 1);
        let later = another(&case.server).credential(&case.source()).await;
        assert!(later.is_ok());
    }
    // A token that is still good serves meanwhile.
    let soon = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap() + 200;
    let case = Case::new(Some(soon));
    case.server.fail([Fault::Say(500, "")]);
    assert_eq!(case.credential().await.ok().unwrap().value.expose(), token("acc-1", Some(soon), 0));
    assert_eq!(case.server.asked().len(), 1);
}

#[tokio::test]
async fn tokens_of_somebody_else_are_not_taken_and_missing_ones_stay() {
    let case = Case::new(OVER);
    let before = case.kept();
    case.server.fail([Fault::Stranger]);
    assert!(case.failure().await.contains("the server gave tokens of another account"));
    assert_eq!(case.kept(), before);

    let case = Case::new(OVER);
    case.server.fail([Fault::Sparse]);
    assert!(case.credential().await.is_ok());
    assert_eq!(case.kept()["tokens"]["refresh_token"], "refresh-token-0");
}

#[tokio::test]
async fn what_could_not_be_written_is_not_lost() {
    let case = Case::new(OVER);
    let login = Login::read(&case.path()).ok().unwrap();
    let given = login.renewed(&AuthServer::at(&case.server.address()).unwrap().renew("refresh-token-0").await.ok().unwrap(), clock::now());
    let given = given.ok().unwrap();
    let known = case.renewals.0.known(&case.path());
    // As a full disk leaves it.
    known.lock().await.unwritten = Some(("refresh-token-0".to_owned(), given.clone()));
    assert_eq!(case.credential().await.ok().unwrap().value.expose(), given.access());
    assert_eq!(case.kept()["tokens"]["refresh_token"], case.server.good(), "and nobody was asked again");
    assert_eq!(case.server.given(), 1);
}

#[tokio::test]
async fn a_renewal_goes_on_when_who_asked_is_gone() {
    let case = Case::new(OVER);
    let held = lock(&case.path()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), case.credential()).await.is_err(), "it waits for another process");
    drop(held);
    while case.kept()["tokens"]["refresh_token"] == "refresh-token-0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(case.server.good(), case.kept()["tokens"]["refresh_token"]);
}
