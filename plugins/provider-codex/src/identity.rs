//! Who is asking: a stable name for the session, and the headers that carry it.
//!
//! The backend keeps its caches by session id, so the id must be the same for the life of a session, and must say nothing
//! about the session elsewhere: it is a digest of a number that this installation drew once, and the host's name for it.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::options::Options;

/// The protocol of the WebSocket.
const BETA: &str = "responses_websockets=2026-02-06";
/// The header that keeps the requests of a turn on one server.
pub const TURN_STATE: &str = "x-codex-turn-state";
/// Longer ones are not kept: the note of a parked socket is bounded.
const TURN_STATE_BYTES: usize = 8 << 10;

/// The session's name for the backend.
#[must_use]
pub fn session_id(installation: &str, session: &str) -> String {
    let digest = Sha256::new().chain_update(installation).chain_update([0]).chain_update(session).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// A number for a new installation.
#[must_use]
pub fn new_installation() -> String {
    Uuid::new_v4().to_string()
}

/// The way a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The upgrade of a connection.
    WebSocket,
    /// `POST`, answered by a stream of events.
    Https,
}

/// Who asks whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// From [`session_id`].
    pub session: String,
    /// The ChatGPT account; none with a plain API key.
    pub account: Option<String>,
}

impl Identity {
    /// Every header but the credential, which the host adds, and the turn's.
    #[must_use]
    pub fn headers(&self, options: &Options, way: Way) -> Vec<(String, String)> {
        let mut headers: Vec<(&str, String)> = Vec::new();
        match way {
            Way::WebSocket => headers.push(("openai-beta", BETA.into())),
            Way::Https => headers.extend([("content-type", "application/json".into()), ("accept", "text/event-stream".into())]),
        }
        if let Some(account) = &self.account {
            headers.push(("chatgpt-account-id", account.clone()));
        }
        headers.push(("originator", options.originator.clone()));
        headers.push(("user-agent", options.user_agent.clone().unwrap_or_else(|| user_agent(options))));
        if !options.version.is_empty() {
            headers.push(("version", options.version.clone()));
        }
        for name in ["session-id", "thread-id", "x-client-request-id"] {
            headers.push((name, self.session.clone()));
        }
        headers.retain(|(name, value)| !value.is_empty() && !options.headers.keys().any(|own| own.eq_ignore_ascii_case(name)));
        let own = options.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        headers.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(own).collect()
    }
}

fn user_agent(options: &Options) -> String {
    format!("{}/{}", options.originator, env!("CARGO_PKG_VERSION"))
}

/// The turn's token among the headers of an answer.
#[must_use]
pub fn turn_state(headers: &[(String, String)]) -> Option<String> {
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(TURN_STATE))?;
    kept_turn_state(value)
}

/// The token, unless it is too long to be kept.
#[must_use]
pub fn kept_turn_state(value: &str) -> Option<String> {
    (1..=TURN_STATE_BYTES).contains(&value.len()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_name_per_installation() {
        let name = session_id("installation", "7");
        assert_eq!(name, session_id("installation", "7"));
        assert_ne!(name, session_id("installation", "8"));
        assert_ne!(name, session_id("another", "7"));
        assert_ne!(session_id("a", "b1"), session_id("ab", "1"));
        assert_eq!(Uuid::parse_str(&name).unwrap().get_version_num(), 8);
        assert!(!name.contains('7') || !name.ends_with("-7"));
        assert_ne!(new_installation(), new_installation());
    }

    #[test]
    fn headers_are_what_the_backend_expects() {
        let identity = Identity { session: "s".into(), account: Some("a".into()) };
        let text = |headers: Vec<(String, String)>| headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
        let options = Options::parse(r#"{"user_agent":"u"}"#).unwrap();
        insta::assert_snapshot!(text(identity.headers(&options, Way::WebSocket)), @r"
        openai-beta: responses_websockets=2026-02-06
        chatgpt-account-id: a
        originator: stellaclaw
        user-agent: u
        version: 0.163.0
        session-id: s
        thread-id: s
        x-client-request-id: s
        ");
        let options = Options::parse(r#"{"originator":"codex_exec","version":"","headers":{"User-Agent":"own","x-more":"1"}}"#).unwrap();
        insta::assert_snapshot!(text(Identity { account: None, ..identity }.headers(&options, Way::Https)), @r"
        content-type: application/json
        accept: text/event-stream
        originator: codex_exec
        session-id: s
        thread-id: s
        x-client-request-id: s
        User-Agent: own
        x-more: 1
        ");
        assert_eq!(user_agent(&Options::default()), format!("stellaclaw/{}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_turn_state_of_any_length_is_read_and_a_huge_one_is_not_kept() {
        let header = |value: &str| vec![("X-Codex-Turn-State".to_owned(), value.to_owned())];
        assert_eq!(turn_state(&header("abc")).as_deref(), Some("abc"));
        assert_eq!(turn_state(&header("")), None);
        assert_eq!(turn_state(&header(&"x".repeat(TURN_STATE_BYTES + 1))), None);
        assert_eq!(turn_state(&[]), None);
    }
}
