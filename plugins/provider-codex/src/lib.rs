//! OpenAI's models over a ChatGPT subscription, in the protocol of Codex: a WebSocket that is kept between calls, and a stream
//! of events over HTTPS where there is none. With a plain API key and a `base_url`, the same at api.openai.com.
//!
//! This file does the input and output; everything else is pure or asks for it through [`world::World`], so that it is tested
//! without a sandbox: [`call`] makes frames of a request, [`exchange`] decides what is sent when, [`note`] what is known of a
//! socket that was parked.
//!
//! Invariants: the login never enters the component; what was answered in part is never asked again; a request is sent in
//! short only when the server is known to remember exactly what is left out.

mod answer;
pub mod call;
pub mod exchange;
pub mod identity;
pub mod memory;
pub mod note;
pub mod options;
pub mod rates;
pub mod world;

use std::time::{SystemTime, UNIX_EPOCH};

use stellaclaw_sdk::chat::{Completion, Failure, Model, Request};
use stellaclaw_sdk::deltas::Delta;
use stellaclaw_sdk::http::{Credential, Piece, Place as CredentialPlace};
use stellaclaw_sdk::storage::Scope;
use stellaclaw_sdk::websocket::{ConnectError, Connection, Frame};
use stellaclaw_sdk::{Error, ErrorKind, Provider, Result, deltas, http, log, plugin, secrets, storage, websocket};

use call::Call;
use exchange::Exchange;
use identity::{Identity, new_installation, session_id};
use options::SCHEMA as OPTIONS_SCHEMA;
use world::{Body, Place, Socket, World};

/// At most this much is asked for in one read.
const READ_BYTES: u32 = 65_536;
/// The parked socket. The host keeps those of different models and sessions apart.
const SOCKET: &str = "responses";
/// This installation's number, for all conversations.
const INSTALLATION: &str = "installation";

/// The provider of this component.
#[derive(Debug)]
pub struct Codex;

plugin! {
    provider: Codex,
    http: ["https://chatgpt.com"],
    slots: ["api-key" => ["https://chatgpt.com"]],
    options: OPTIONS_SCHEMA,
}

impl Provider for Codex {
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure> {
        let call = Call::new(model, request, identity(model, request)?)?;
        Exchange::new(&mut Imports { model }, &call, request).complete()
    }

    fn prepare(model: &Model, request: &Request) -> Result<(), Failure> {
        let call = Call::new(model, request, identity(model, request)?)?;
        Exchange::new(&mut Imports { model }, &call, request).prepare()
    }
}

/// Who asks: the account of the login, and the session's name.
fn identity(model: &Model, request: &Request) -> Result<Identity, Failure> {
    let account = match &model.credential {
        Some(slot) => secrets::attributes(slot)?.into_iter().find(|(name, _)| name == "account-id").map(|(_, value)| value),
        None => None,
    };
    Ok(Identity { session: session_id(&installation(), &request.session), account })
}

/// The number of this installation, drawn at the first call. Where nothing is kept, every call is one of its own.
fn installation() -> String {
    let fresh = new_installation();
    let known = || storage::get(Scope::Plugin, INSTALLATION).ok().flatten().and_then(|entry| String::from_utf8(entry.value).ok());
    if let Some(known) = known() {
        return known;
    }
    match storage::put(Scope::Plugin, INSTALLATION, fresh.as_bytes(), Some(0)) {
        // Another call was faster.
        Err(Error { kind: ErrorKind::Conflict, .. }) => known().unwrap_or(fresh),
        _ => fresh,
    }
}

/// The imports of the component.
struct Imports<'a> {
    model: &'a Model,
}

/// A connection, and how long it may be silent.
struct Line {
    connection: Connection,
    idle: u64,
}

impl Imports<'_> {
    fn credentials(&self) -> Vec<Credential> {
        let slot = self.model.credential.iter();
        slot.map(|slot| Credential { slot: slot.clone(), place: CredentialPlace::Bearer }).collect()
    }

    fn line(&self, connection: Connection) -> Line {
        Line { connection, idle: self.model.timeouts.idle }
    }
}

impl World for Imports<'_> {
    type Socket = Line;
    type Body = http::Response;

    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn resume(&mut self) -> Option<(Line, Vec<u8>)> {
        let (connection, note) = websocket::resume(SOCKET)?;
        Some((self.line(connection), note))
    }

    fn open(&mut self, url: String, headers: Vec<(String, String)>) -> Result<Line, ConnectError> {
        let request = websocket::Request { url, headers, credentials: self.credentials(), timeout: self.model.timeouts.connect };
        websocket::connect(&request).map(|connection| self.line(connection))
    }

    fn park(&mut self, socket: Line, note: Vec<u8>) {
        Connection::park(socket.connection, SOCKET, &note);
    }

    fn post(&mut self, url: String, headers: Vec<(String, String)>, body: Vec<Piece>) -> Result<http::Response> {
        http::send(&http::Request {
            method: "POST".into(),
            url,
            headers,
            credentials: self.credentials(),
            body,
            timeouts: Some(self.model.timeouts),
            redirects: 0,
        })
    }

    fn renew(&mut self) -> Result<()> {
        match &self.model.credential {
            Some(slot) => secrets::renew(slot),
            None => Err(Error::not_found("there is no login to renew")),
        }
    }

    fn kept(&mut self, place: Place) -> Option<Vec<u8>> {
        storage::get(Scope::Conversation, key(place)).ok().flatten().map(|entry| entry.value)
    }

    fn keep(&mut self, place: Place, value: &[u8]) {
        // It only saves work: a call goes on without.
        if let Err(error) = storage::put(Scope::Conversation, key(place), value, None) {
            log::info(&format!("{} is not kept: {}", key(place), error.message));
        }
    }

    fn emit(&mut self, batch: &[Delta]) -> bool {
        deltas::emit(batch)
    }
}

fn key(place: Place) -> &'static str {
    match place {
        Place::Sockets => "sockets",
        Place::Turn => "turn",
    }
}

impl Socket for Line {
    fn headers(&self) -> Vec<(String, String)> {
        self.connection.headers()
    }

    fn send(&mut self, frame: Vec<Piece>) -> Result<()> {
        self.connection.send(&frame)
    }

    fn receive(&mut self) -> Result<Option<Frame>> {
        self.connection.receive(self.idle)
    }
}

impl Body for http::Response {
    fn status(&self) -> u16 {
        http::Response::status(self)
    }

    fn headers(&self) -> Vec<(String, String)> {
        http::Response::headers(self)
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>> {
        http::Response::read(self, READ_BYTES)
    }
}
