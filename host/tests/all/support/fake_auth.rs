#![allow(dead_code, reason = "the unit tests and the tests of the program each need a part of it")]
//! A server of logins on loopback: each token renews once, each code is worth one login, and whoever asks wrongly is refused.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Codex's public client.
const CLIENT: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// What it does instead of what it should.
#[derive(Clone)]
pub enum Fault {
    Say(u16, &'static str),
    HangUp,
    /// It gives tokens of somebody else.
    Stranger,
    /// It gives an access token alone.
    Sparse,
}

#[derive(Default)]
struct State {
    /// The token that renews.
    good: String,
    given: u32,
    faults: VecDeque<Fault>,
    /// Paths of all requests.
    asked: Vec<String>,
    /// Code, challenge and redirect of logins that a person has confirmed.
    codes: Vec<(String, String, String)>,
    /// Questions that a device still asks in vain.
    pending: u32,
    /// What the next access token is, if not one of its own.
    access: Option<String>,
}

/// Serves until the process ends.
#[derive(Clone)]
pub struct FakeAuth {
    port: u16,
    state: Arc<Mutex<State>>,
}

/// A token that says what Codex's tokens say; seconds since 1970.
pub fn token(account: &str, ends: Option<i64>, number: u32) -> String {
    let mut claims = json!({
        "n": number, "email": format!("{account}@example.com"),
        "https://api.openai.com/auth": { "chatgpt_account_id": account, "chatgpt_plan_type": "plus" },
    });
    if let Some(ends) = ends {
        claims["exp"] = ends.into();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({ "alg": "none" })), part(&claims))
}

/// What `auth.json` holds, with something that only others know.
pub fn file(account: &str, ends: Option<i64>, refresh: &str) -> String {
    let access = token(account, ends, 0);
    json!({
        "auth_mode": "chatgpt", "OPENAI_API_KEY": null, "agent_identity": { "kept": true },
        "tokens": { "id_token": token(account, None, 0), "access_token": access, "refresh_token": refresh, "account_id": account, "odd": 1 },
        "last_refresh": "2026-01-01T00:00:00Z",
    })
    .to_string()
}

impl FakeAuth {
    /// `good` renews.
    pub fn start(good: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { good: good.to_owned(), ..State::default() }));
        let fake = Self { port, state };
        let serving = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        fake
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next answers are these.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// A device asks so often in vain.
    pub fn let_wait(&self, questions: u32) {
        self.state.lock().unwrap().pending = questions;
    }

    /// Gives this access token.
    pub fn give(&self, access: &str) {
        self.state.lock().unwrap().access = Some(access.to_owned());
    }

    /// Paths of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How often new tokens were given.
    pub fn given(&self) -> u32 {
        self.state.lock().unwrap().given
    }

    /// The token that renews now.
    pub fn good(&self) -> String {
        self.state.lock().unwrap().good.clone()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut line, mut head) = (String::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            head.push_str(&line);
            line.clear();
        }
        let lower = head.to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut state = self.state.lock().unwrap();
        state.asked.push(path.split('?').next().unwrap().to_owned());
        let fault = if head.starts_with("POST") { state.faults.pop_front() } else { None };
        let (status, headers, body) = match fault {
            Some(Fault::HangUp) => return,
            Some(Fault::Say(status, body)) => (status, String::new(), body.to_owned()),
            fault => state.answer(&path, &lower, &String::from_utf8(body).unwrap(), fault.as_ref(), &self.address()),
        };
        drop(state);
        let answer = format!("HTTP/1.1 {status} So\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes());
    }
}

impl State {
    fn answer(&mut self, path: &str, head: &str, body: &str, fault: Option<&Fault>, address: &str) -> (u16, String, String) {
        let plain = |status: u16, body: Value| (status, String::new(), body.to_string());
        let is_json = head.contains("content-type: application/json");
        let said: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(query) = path.strip_prefix("/oauth/authorize?") {
            return self.confirm(query);
        }
        match path {
            "/oauth/token" if is_json => {
                if said["client_id"] != CLIENT || said["grant_type"] != "refresh_token" {
                    return plain(400, json!({ "error": "invalid_request" }));
                }
                if said["refresh_token"] != self.good.as_str() {
                    return plain(401, json!({ "error": { "code": "refresh_token_reused" } }));
                }
                plain(200, self.tokens(fault))
            }
            "/oauth/token" => {
                let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default();
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
                let found = (field("code").to_owned(), challenge, field("redirect_uri").to_owned());
                let at = self.codes.iter().position(|code| *code == found);
                match at.filter(|_| field("client_id") == CLIENT && field("grant_type") == "authorization_code") {
                    Some(at) => {
                        self.codes.remove(at);
                        plain(200, self.tokens(fault))
                    }
                    None => plain(400, json!({ "error": "invalid_grant" })),
                }
            }
            "/api/accounts/deviceauth/usercode" if said["client_id"] == CLIENT => {
                plain(200, json!({ "device_auth_id": "device-1", "usercode": "ABCD-1234", "interval": "0" }))
            }
            "/api/accounts/deviceauth/token" if said["device_auth_id"] == "device-1" && said["user_code"] == "ABCD-1234" => {
                if self.pending > 0 {
                    self.pending -= 1;
                    return plain(403, json!({}));
                }
                let verifier = "a-verifier-of-the-server";
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
                self.codes.push(("code-d".to_owned(), challenge.clone(), format!("{address}/deviceauth/callback")));
                plain(200, json!({ "authorization_code": "code-d", "code_challenge": challenge, "code_verifier": verifier }))
            }
            _ => plain(404, json!({})),
        }
    }

    /// A person has logged in with the browser, which is sent back.
    fn confirm(&mut self, query: &str) -> (u16, String, String) {
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let field = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
        if field("client_id") != CLIENT || field("code_challenge_method") != "S256" || field("response_type") != "code" {
            return (400, String::new(), String::new());
        }
        let (redirect, state) = (field("redirect_uri"), field("state"));
        self.codes.push(("code-b".to_owned(), field("code_challenge"), redirect.clone()));
        (302, format!("location: {redirect}?code=code-b&state={state}\r\n"), String::new())
    }

    fn tokens(&mut self, fault: Option<&Fault>) -> Value {
        self.given += 1;
        let account = if matches!(fault, Some(Fault::Stranger)) { "acc-2" } else { "acc-1" };
        // In the year 2099.
        let access = self.access.clone().unwrap_or_else(|| token(account, Some(4_070_908_800), self.given));
        if matches!(fault, Some(Fault::Sparse)) {
            return json!({ "access_token": access });
        }
        self.good = format!("refresh-token-{}", self.given);
        json!({ "id_token": token(account, None, self.given), "access_token": access, "refresh_token": self.good })
    }
}
