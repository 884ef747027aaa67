//! A ChatGPT login as the Codex CLI keeps it in `auth.json`: its tokens, what they say of themselves, and the file.
//!
//! - Whatever else is in the file stays there, in its order.
//! - The file is replaced whole, mode 0600, through a link to where it leads.
//! - Nothing in an error repeats what the file holds.
//!
//! What it does not do: ask the server (see [`oauth`] and `secrets::renewal`), check signatures: whoever can write the file
//! decides what is in it.

pub mod oauth;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Credential, Secret, SecretError};
use crate::clock::Moment;
use crate::files::{self, durable};
use crate::limits;
use oauth::Tokens;

/// Where tokens say whose they are.
const NAMESPACE: &str = "https://api.openai.com/auth";

/// A login. Has no `Debug`.
#[derive(Clone)]
pub struct Login {
    whole: Map<String, Value>,
    access: String,
}

/// Why a file holds no login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    #[error("it is not a JSON object")]
    NotJson,
    #[error("it holds no access token: nobody has logged in to ChatGPT with it")]
    NoToken,
}

/// The tokens are those of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server gave tokens of another account")]
pub struct OtherAccount;

impl Login {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds no login.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text =
            files::text(path, limits::SECRET_FILE_BYTES).map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| SecretError::NoLogin { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<Self, LoginError> {
        let Ok(Value::Object(whole)) = serde_json::from_str(text) else { return Err(LoginError::NotJson) };
        Self::of(whole)
    }

    fn of(whole: Map<String, Value>) -> Result<Self, LoginError> {
        let access = whole.get("tokens").and_then(|tokens| tokens.get("access_token")).and_then(Value::as_str);
        let access = access.filter(|access| !access.is_empty()).ok_or(LoginError::NoToken)?.to_owned();
        Ok(Self { whole, access })
    }

    /// The login that new tokens make, in place of what was there.
    ///
    /// # Errors
    ///
    /// There is no access token among them.
    pub fn new(tokens: &Tokens, now: Moment) -> Result<Self, LoginError> {
        let mut whole = Map::new();
        whole.insert("auth_mode".into(), "chatgpt".into());
        whole.insert("OPENAI_API_KEY".into(), Value::Null);
        whole.insert("tokens".into(), json!({}));
        put(&mut whole, tokens, now);
        let mut login = Self::of(whole)?;
        let account = login.account();
        if let Some(tokens) = login.whole.get_mut("tokens") {
            tokens["account_id"] = account.into();
        }
        Ok(login)
    }

    /// The same login with new tokens; what the answer leaves out stays.
    ///
    /// # Errors
    ///
    /// The tokens are of another account.
    pub fn renewed(&self, tokens: &Tokens, now: Moment) -> Result<Self, OtherAccount> {
        let mut whole = self.whole.clone();
        put(&mut whole, tokens, now);
        let renewed = Self::of(whole).unwrap_or_else(|_| self.clone());
        let said = [&tokens.id_token, &tokens.access_token].into_iter().flatten().find_map(|token| account_of(token));
        match (self.account(), said) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(OtherAccount),
            _ => Ok(renewed),
        }
    }

    /// The token that requests carry.
    #[must_use]
    pub fn access(&self) -> &str {
        &self.access
    }

    /// The token that buys new ones, once.
    #[must_use]
    pub fn refresh(&self) -> Option<&str> {
        self.token("refresh_token").filter(|token| !token.is_empty())
    }

    fn token(&self, name: &str) -> Option<&str> {
        self.whole.get("tokens")?.get(name)?.as_str()
    }

    /// The account that requests name.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        let stored = self.token("account_id").filter(|account| !account.is_empty()).map(str::to_owned);
        stored.or_else(|| self.token("id_token").and_then(account_of)).or_else(|| account_of(&self.access))
    }

    /// Who logged in, for people.
    #[must_use]
    pub fn email(&self) -> Option<String> {
        let claims = self.token("id_token").and_then(claims)?;
        let profile = || claims.get("https://api.openai.com/profile")?.get("email");
        claims.get("email").or_else(profile)?.as_str().map(str::to_owned)
    }

    /// When the access token ends, if it says so.
    #[must_use]
    pub fn expires(&self) -> Option<Moment> {
        let seconds = claims(&self.access)?.get("exp")?.as_i64()?;
        Some(Moment(seconds.saturating_mul(1000)))
    }

    /// Has the access token ended?
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        self.expires().is_some_and(|end| end <= now)
    }

    /// Should it be renewed before it is used? A token that has long to live never is.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        match self.expires() {
            Some(end) => end.since(now) <= millis(limits::LOGIN_EARLY),
            None => {
                let last = self.whole.get("last_refresh").and_then(Value::as_str).and_then(Moment::parse_utc);
                last.is_some_and(|last| now.since(last) > millis(limits::LOGIN_AGE))
            }
        }
    }

    /// The token with what a component may know of it: account, plan, end.
    pub(super) fn credential(&self, path: &Path) -> Result<Credential, SecretError> {
        let ours = |key: &str| of_openai(&self.access, key).or_else(|| self.token("id_token").and_then(|token| of_openai(token, key)));
        let plan = ours("chatgpt_plan_type").and_then(|plan| plan.as_str().map(str::to_owned));
        let is_fedramp = ours("chatgpt_account_is_fedramp") == Some(Value::Bool(true));
        let facts = [
            ("account-id", self.account()),
            ("plan", plan),
            ("expires-at", self.expires().map(|end| end.0.to_string())),
            ("fedramp", is_fedramp.then(|| "true".to_owned())),
        ];
        let attributes = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Ok(Credential { value: Secret::new(self.access.as_str(), &path.display().to_string())?, attributes })
    }

    /// Everything in it that nobody may see.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let names = ["access_token", "refresh_token", "id_token"];
        let key = self.whole.get("OPENAI_API_KEY").and_then(Value::as_str);
        let values = names.into_iter().filter_map(|name| self.token(name)).chain(key);
        values.filter_map(|value| Secret::new(value, "a login").ok()).collect()
    }

    /// Replaces the file. When this returns, the new one is there for good.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.whole)?;
        durable::replace(&place(path), &text)
    }
}

/// Where a file really is: one that is replaced in the place of a link would be missed by everybody else.
pub(super) fn place(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn put(whole: &mut Map<String, Value>, tokens: &Tokens, now: Moment) {
    let given = [("id_token", &tokens.id_token), ("access_token", &tokens.access_token), ("refresh_token", &tokens.refresh_token)];
    if let Some(Value::Object(kept)) = whole.get_mut("tokens") {
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            kept.insert(name.into(), value.as_str().into());
        }
    }
    whole.insert("last_refresh".into(), now.rfc3339().into());
}

/// What a token says of itself.
fn claims(token: &str) -> Option<Value> {
    let claims = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()
}

fn of_openai(token: &str, key: &str) -> Option<Value> {
    claims(token)?.get(NAMESPACE)?.get(key).cloned()
}

fn account_of(token: &str) -> Option<String> {
    of_openai(token, "chatgpt_account_id")?.as_str().map(str::to_owned)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
