//! Logins as they stand in files.

use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::super::fake_auth::{file, token};
use super::*;

const NOW: Moment = Moment(1_800_000_000_000);

fn login(ends: Option<i64>) -> Login {
    Login::parse(&file("acc-1", ends, "refresh-token-0")).ok().unwrap()
}

fn tokens(account: &str) -> Tokens {
    Tokens { id_token: Some(token(account, None, 7)), access_token: Some(token(account, Some(1_900_000_000), 7)), refresh_token: None }
}

#[test]
fn a_token_tells_what_a_component_may_know() {
    let credential = login(Some(1_800_000_600)).credential(Path::new("auth.json")).ok().unwrap();
    let known: Vec<_> = credential.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(known, [("account-id", "acc-1"), ("plan", "plus"), ("expires-at", "1800000600000")]);
    assert_eq!(login(None).email().as_deref(), Some("acc-1@example.com"));

    // The account is in the tokens where the file does not name it.
    let mut whole: Value = serde_json::from_str(&file("acc-1", None, "r")).unwrap();
    whole["tokens"]["account_id"] = Value::Null;
    assert_eq!(Login::parse(&whole.to_string()).ok().unwrap().account().as_deref(), Some("acc-1"));
}

#[test]
fn a_token_is_renewed_only_when_it_is_nearly_over() {
    let seconds = NOW.0 / 1000;
    for (left, due, over) in [(-1, true, true), (0, true, true), (299, true, false), (300, true, false), (301, false, false)] {
        let login = login(Some(seconds + left));
        assert_eq!((login.is_due(NOW), login.is_over(NOW)), (due, over), "{left}");
    }
    // Without an end it is its age that counts.
    let (day, last) = (86_400_000, Moment::parse_utc("2026-01-01T00:00:00Z").unwrap());
    assert!(!login(None).is_due(Moment(last.0 + 8 * day)));
    assert!(login(None).is_due(Moment(last.0 + 8 * day + 1)));
}

#[test]
fn new_tokens_take_their_place_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real.json"), dir.path().join("auth.json"));
    std::fs::write(&real, file("acc-1", None, "refresh-token-0")).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let renewed = Login::read(&link).ok().unwrap().renewed(&tokens("acc-1"), NOW).ok().unwrap();
    renewed.write(&link).unwrap();
    assert!(link.is_symlink(), "a link stays one");
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&real).unwrap()).unwrap();
    assert_eq!(kept["agent_identity"]["kept"], true);
    assert_eq!(kept["tokens"]["odd"], 1);
    assert_eq!(kept["tokens"]["refresh_token"], "refresh-token-0", "what was not given stays");
    assert_eq!(kept["tokens"]["access_token"], tokens("acc-1").access_token.unwrap());
    assert_eq!(kept["last_refresh"], "2027-01-15T08:00:00.000Z");

    assert_eq!(login(None).renewed(&tokens("acc-2"), NOW).err(), Some(OtherAccount));
    let new = Login::new(&tokens("acc-2"), NOW).ok().unwrap();
    assert_eq!((new.account().as_deref(), new.refresh()), (Some("acc-2"), None));
}

#[test]
fn what_is_no_login_is_refused_and_not_repeated() {
    let refused = |text: &str| Login::parse(text).err().unwrap();
    for text in ["", "[]", "\"sk-0123456789abcdef\"", "{"] {
        assert_eq!(refused(text), LoginError::NotJson);
    }
    for text in ["{}", r#"{"tokens": null, "OPENAI_API_KEY": "sk-0123456789abcdef"}"#, r#"{"tokens": {"access_token": ""}}"#] {
        assert_eq!(refused(text), LoginError::NoToken);
        assert!(!refused(text).to_string().contains("sk-"));
    }
}

#[test]
fn every_token_is_a_secret() {
    assert_eq!(login(None).secrets().len(), 3);
}

proptest! {
    #[test]
    fn no_token_is_too_odd_to_be_looked_at(token in "[ -~]{0,60}", claims in "[ -~]{0,60}") {
        let _ = account_of(&token);
        let _ = account_of(&format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims)));
    }

    #[test]
    fn a_moment_is_read_as_it_was_written(seconds in 0_i64..4_000_000_000) {
        let moment = Moment(seconds * 1000);
        prop_assert_eq!(Moment::parse_utc(&moment.rfc3339()), Some(moment));
    }
}
