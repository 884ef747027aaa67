//! A server that speaks OpenAI's chat completions and Responses, faults included, and is strict where the vendor is strict.
//!
//! What it answers is scripted by what users write and depends on the request alone, as with a real model; only faults
//! count the requests they are for. Every accepted request is kept, in memory and in a file: that log is what the checker
//! reads. An answer can be held until the test releases it by name.

mod media;
mod responses;
mod script;
mod strict;

use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub use self::script::{Answer, Fault, Script, pieces, text_of};
use super::holds::Holds;
use super::http::{Connection, Request};

/// The key that requests must bring.
pub const API_KEY: &str = "sk-canary-openai-7f3a91c2d4";

/// A request that was accepted.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Since the server started.
    pub at: Duration,
    pub body: Value,
    /// The entry of the script that answers it.
    pub key: String,
    /// Which answer of the entry.
    pub round: usize,
    /// What was done to it in place of the answer.
    pub fault: Option<&'static str>,
}

struct Shared {
    script: Script,
    started: Instant,
    asks: Mutex<Vec<Ask>>,
    refusals: Mutex<Vec<String>>,
    file: Mutex<File>,
    holds: Holds,
}

/// The server, until it is dropped.
pub struct FakeOpenAi {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for FakeOpenAi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeOpenAi {
    /// Serves `script`; its log goes to `folder`.
    pub async fn start(folder: &Path, script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let shared = Arc::new(Shared {
            script,
            started: Instant::now(),
            asks: Mutex::default(),
            refusals: Mutex::default(),
            file: Mutex::new(File::create(folder.join("asks.jsonl")).unwrap()),
            holds: Holds::default(),
        });
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, serving }
    }

    /// What goes into `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests that were accepted so far.
    pub fn asks(&self) -> Vec<Ask> {
        self.shared.asks.lock().unwrap().clone()
    }

    /// The accepted requests of one entry.
    pub fn asks_of(&self, key: &str) -> Vec<Ask> {
        self.asks().into_iter().filter(|ask| ask.key == key).collect()
    }

    /// Why requests were refused that the script did not want to fail.
    pub fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().unwrap().clone()
    }

    /// Lets the answers go that wait for this name, now and from now on.
    pub fn release(&self, name: &str) {
        self.shared.holds.release(name);
    }

    /// Waits until `count` requests were held under this name.
    pub async fn held(&self, name: &str, count: usize) {
        self.shared.holds.held(name, count).await;
    }

    /// How many requests were held under this name so far.
    pub fn held_count(&self, name: &str) -> usize {
        self.shared.holds.held_count(name)
    }

    /// How many clients left while they were held under this name.
    pub fn left_count(&self, name: &str) -> usize {
        self.shared.holds.left_count(name)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = shared.clone();
        tokio::spawn(async move {
            // A client that goes away is what some tests are about.
            drop(connection(stream, &shared).await);
        });
    }
}

async fn connection(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.request().await? {
        shared.answer(&mut connection, &request).await?;
    }
    Ok(())
}

impl Shared {
    async fn answer(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        let body = match self.admit(request) {
            Ok(body) => body,
            Err((status, code, message)) => {
                self.refusals.lock().unwrap().push(message.clone());
                let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}});
                return connection.json(status, &[], &error).await;
            }
        };
        let is_chat = body.get("input").is_none();
        let asked = if is_chat { body.clone() } else { responses::as_chat(&body) };
        let Some((key, round, answer)) = self.script.answer(&asked) else {
            let message = format!("the script has no answer to {}", asked["messages"]);
            self.refusals.lock().unwrap().push(message.clone());
            return connection.json(400, &[], &json!({"error": {"message": message}})).await;
        };
        let fault = self.accept(&body, key, round, answer);
        let model = body["model"].as_str().unwrap_or_default().to_owned();
        let usage = body["stream_options"]["include_usage"].as_bool().unwrap_or(false);
        let mut stream = script::Stream { model, usage, key, round, answer };
        match (fault, is_chat) {
            (Some(fault), true) => stream.fail(connection, &fault).await,
            (None, true) => stream.play(connection, &self.holds).await,
            (Some(fault), false) => responses::fail(&mut stream, connection, &fault).await,
            (None, false) => responses::play(&stream, connection, &self.holds).await,
        }
    }

    /// Checks a request as the vendor does.
    fn admit(&self, request: &Request) -> Result<Value, (u16, Option<&'static str>, String)> {
        let is_chat = match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/chat/completions") => true,
            ("POST", "/v1/responses") => false,
            (method, path) => return Err((404, None, format!("Unknown request URL: {method} {path}"))),
        };
        if request.header("authorization") != Some(&format!("Bearer {API_KEY}")) {
            return Err((401, None, "Incorrect API key provided".to_owned()));
        }
        let body: Value =
            serde_json::from_slice(&request.body).map_err(|error| (400, None, format!("We could not parse the JSON body: {error}")))?;
        if is_chat {
            strict::check(&body).map_err(|message| (400, None, message))?;
        } else {
            responses::check(&body).map_err(|(code, message)| (400, code, message))?;
        }
        Ok(body)
    }

    /// Logs a request. The fault that is due for it, if one is.
    fn accept(&self, body: &Value, key: &str, round: usize, answer: &Answer) -> Option<Fault> {
        let at = self.started.elapsed();
        let mut asks = self.asks.lock().unwrap();
        let before = asks.iter().filter(|ask| ask.key == key && ask.round == round).count();
        let fault = answer.faults.get(before).cloned();
        let name = fault.as_ref().map(Fault::name);
        let line = json!({"at_ms": at.as_millis() as u64, "key": key, "round": round, "fault": name, "body": body});
        writeln!(self.file.lock().unwrap(), "{line}").unwrap();
        asks.push(Ask { at, body: body.clone(), key: key.to_owned(), round, fault: name });
        fault
    }
}
