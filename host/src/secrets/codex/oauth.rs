//! What is asked of OpenAI's server of logins: new tokens for a token, tokens for a code, codes for a person.
//!
//! An answer is told apart by its status and code; its text, which may repeat what was sent, goes nowhere.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{crash, limits};

/// Codex's own client: it is public, and no other may use these logins.
const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";
const ISSUER: &str = "https://auth.openai.com";
const SCOPE: &str = "openid profile email offline_access api.connectors.read api.connectors.invoke";
const ORIGINATOR: &str = "stellaclaw";

/// Tokens as the server gives them. Has no `Debug`.
#[derive(Clone, Deserialize)]
pub struct Tokens {
    pub id_token: Option<String>,
    pub access_token: Option<String>,
    pub refresh_token: Option<String>,
}

/// A login that a person confirms on another machine.
#[derive(Deserialize)]
pub struct Device {
    device_auth_id: String,
    #[serde(alias = "usercode")]
    pub user_code: String,
    interval: Option<Value>,
}

/// What a confirmed [`Device`] is worth.
#[derive(Deserialize)]
pub struct Confirmed {
    authorization_code: String,
    code_verifier: String,
}

/// Why the server gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Asking again is of no use.
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Failed(String),
}

/// Why a token or code is worth nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it has expired")]
    Expired,
    #[error("it was used already, maybe by another program with the same login")]
    Used,
    #[error("it was revoked")]
    Revoked,
    #[error("the server refuses it")]
    Rejected,
}

/// The server.
#[derive(Debug, Clone)]
pub struct AuthServer {
    issuer: String,
    client: Client,
}

impl AuthServer {
    /// OpenAI's.
    ///
    /// # Errors
    ///
    /// No client can be made.
    pub fn new() -> reqwest::Result<Self> {
        Self::at(&crash::auth_server().unwrap_or_else(|| ISSUER.to_owned()))
    }

    pub(crate) fn at(issuer: &str) -> reqwest::Result<Self> {
        let client = Client::builder()
            .user_agent(concat!("stellaclaw/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(limits::LOGIN_CONNECT)
            .timeout(limits::LOGIN_TOTAL)
            .build()?;
        Ok(Self { issuer: issuer.to_owned(), client })
    }

    /// New tokens for a token that is worth nothing afterwards.
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub async fn renew(&self, refresh: &str) -> Result<Tokens, AuthError> {
        let asked = json!({ "client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": refresh });
        self.tokens(self.post("/oauth/token").header("originator", ORIGINATOR).json_body(&asked)).await
    }

    /// The tokens of a login.
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub async fn exchange(&self, code: &str, redirect: &str, verifier: &str) -> Result<Tokens, AuthError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("client_id", CLIENT_ID),
            ("code_verifier", verifier),
        ];
        self.tokens(self.post("/oauth/token").form(&form)).await
    }

    async fn tokens(&self, request: RequestBuilder) -> Result<Tokens, AuthError> {
        let tokens: Tokens = parsed(&said(request).await?.1)?;
        match tokens.access_token {
            Some(_) => Ok(tokens),
            None => Err(AuthError::Failed("the server answers without a token".to_owned())),
        }
    }

    /// Where a person logs in with a browser.
    #[must_use]
    pub fn authorize(&self, redirect: &str, challenge: &str, state: &str) -> String {
        let query = [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", redirect),
            ("scope", SCOPE),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
            ("id_token_add_organizations", "true"),
            ("codex_cli_simplified_flow", "true"),
            ("state", state),
            ("originator", ORIGINATOR),
        ];
        let address = format!("{}/oauth/authorize", self.issuer);
        Url::parse_with_params(&address, query).map_or(address, String::from)
    }

    /// Begins a login on another machine.
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub async fn device(&self) -> Result<Device, AuthError> {
        let request = self.post("/api/accounts/deviceauth/usercode").json_body(&json!({ "client_id": CLIENT_ID }));
        parsed(&said(request).await?.1)
    }

    /// Where the person confirms it.
    #[must_use]
    pub fn device_page(&self) -> String {
        format!("{}/codex/device", self.issuer)
    }

    /// Has the person confirmed it?
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub async fn confirmed(&self, device: &Device) -> Result<Option<Confirmed>, AuthError> {
        let asked = json!({ "device_auth_id": device.device_auth_id, "user_code": device.user_code });
        let request = self.post("/api/accounts/deviceauth/token").json_body(&asked);
        match answered(request).await? {
            (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => parsed(&checked(status, body)?).map(Some),
        }
    }

    /// The tokens of a login that was confirmed.
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub async fn claim(&self, confirmed: &Confirmed) -> Result<Tokens, AuthError> {
        let redirect = format!("{}/deviceauth/callback", self.issuer);
        self.exchange(&confirmed.authorization_code, &redirect, &confirmed.code_verifier).await
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.issuer)).header(ACCEPT, "application/json")
    }
}

impl Device {
    /// How long to wait between questions.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let seconds = self.interval.as_ref().and_then(|value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()));
        seconds.map_or(limits::LOGIN_POLL, Duration::from_secs).clamp(Duration::from_millis(1), limits::LOGIN_POLL_MAX)
    }
}

async fn answered(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), AuthError> {
    let failed = |failure: reqwest::Error| {
        let failure = failure.without_url();
        let cause = std::error::Error::source(&failure).map(|cause| format!(": {cause}")).unwrap_or_default();
        AuthError::Failed(format!("{failure}{cause}"))
    };
    let mut response = request.send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > limits::SECRET_FILE_BYTES {
            return Err(AuthError::Failed("the server's answer is too long".to_owned()));
        }
    }
    Ok((response.status(), body))
}

async fn said(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), AuthError> {
    let (status, body) = answered(request).await?;
    Ok((status, checked(status, body)?))
}

/// The body of a success.
fn checked(status: StatusCode, body: Vec<u8>) -> Result<Vec<u8>, AuthError> {
    if status.is_success() { Ok(body) } else { Err(judged(status, &body)) }
}

fn parsed<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, AuthError> {
    serde_json::from_slice(body).map_err(|_| AuthError::Failed("the server's answer is not what was agreed".to_owned()))
}

/// What an answer that is none means.
fn judged(status: StatusCode, body: &[u8]) -> AuthError {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [said.pointer("/error/code"), said.get("error"), said.get("code")];
    let code = places.into_iter().flatten().find_map(Value::as_str).unwrap_or_default();
    let refused = match code {
        "refresh_token_expired" => Some(Refusal::Expired),
        "refresh_token_reused" => Some(Refusal::Used),
        "refresh_token_invalidated" | "token_revoked" => Some(Refusal::Revoked),
        "invalid_grant" if status == StatusCode::BAD_REQUEST => Some(Refusal::Rejected),
        _ if status == StatusCode::UNAUTHORIZED => Some(Refusal::Rejected),
        _ => None,
    };
    let shown = |code: &str| code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    match refused {
        Some(refusal) => AuthError::Refused(refusal),
        None if !code.is_empty() && shown(code) => AuthError::Failed(format!("the server answers {} ({code})", status.as_u16())),
        None => AuthError::Failed(format!("the server answers {}", status.as_u16())),
    }
}

/// A body of JSON: reqwest's own way needs a feature that nothing else here does.
trait JsonBody {
    fn json_body(self, value: &Value) -> Self;
}

impl JsonBody for RequestBuilder {
    fn json_body(self, value: &Value) -> Self {
        self.header(reqwest::header::CONTENT_TYPE, "application/json").body(value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_never_do_is_told_from_what_may_pass() {
        let judged = |status: u16, body: &str| match judged(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
            AuthError::Refused(refusal) => Ok(refusal),
            AuthError::Failed(reason) => Err(reason),
        };
        for body in ["", "<html>", r#"{"error":{"code":"anything"}}"#, "[1]"] {
            assert_eq!(judged(401, body), Ok(Refusal::Rejected), "{body}");
        }
        for (code, refusal) in [
            ("refresh_token_expired", Refusal::Expired),
            ("refresh_token_reused", Refusal::Used),
            ("refresh_token_invalidated", Refusal::Revoked),
            ("token_revoked", Refusal::Revoked),
        ] {
            for body in
                [format!(r#"{{"error":{{"code":"{code}"}}}}"#), format!(r#"{{"error":"{code}"}}"#), format!(r#"{{"code":"{code}"}}"#)]
            {
                for status in [400, 401, 403] {
                    assert_eq!(judged(status, &body), Ok(refusal), "{status} {body}");
                }
            }
        }
        assert_eq!(judged(400, r#"{"error":"invalid_grant"}"#), Ok(Refusal::Rejected));
        assert_eq!(judged(400, r#"{"error":"invalid_request"}"#), Err("the server answers 400 (invalid_request)".to_owned()));
        assert_eq!(judged(503, r#"{"error":{"code":"a token <b>"}}"#), Err("the server answers 503".to_owned()), "its words stay there");
        assert_eq!(judged(429, "{}"), Err("the server answers 429".to_owned()));
    }
}
