//! A server that speaks Anthropic's Messages, faults included, and is strict where the vendor is strict.
//!
//! Scripts, holds and faults are as in [`super::fake_openai`]. What it thinks it signs, for the model that was asked; it
//! knows its signatures again, and what it said around the calls that it made.

mod script;
mod strict;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::{io, mem};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub use self::script::{Answer, Fault};
use super::fake_openai::Script;
use super::holds::Holds;
use super::http::{Connection, Request};
use super::sha256;

/// The key that requests must bring.
pub const API_KEY: &str = "sk-ant-canary-5e81b0d7c39f";

/// A request that was accepted.
#[derive(Debug, Clone)]
pub struct Ask {
    pub body: Value,
    /// The entry of the script that answers it.
    pub key: String,
    /// Which answer of the entry.
    pub round: usize,
    /// What was done to it in place of the answer.
    pub fault: Option<&'static str>,
}

struct Shared {
    script: Script<Answer>,
    asks: Mutex<Vec<Ask>>,
    refusals: Mutex<Vec<String>>,
    /// The blocks of each answer with calls, by the id of its first call.
    given: Mutex<BTreeMap<String, Vec<Value>>>,
    holds: Holds,
}

/// The server, until it is dropped.
pub struct FakeClaude {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for FakeClaude {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeClaude {
    /// Serves `script`.
    pub async fn start(script: Script<Answer>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let shared = Arc::new(Shared {
            script,
            asks: Mutex::default(),
            refusals: Mutex::default(),
            given: Mutex::default(),
            holds: Holds::default(),
        });
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, serving }
    }

    /// What goes into `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
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

    /// Answers that wait until they are released.
    pub fn holds(&self) -> &Holds {
        &self.shared.holds
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

/// What stands for the vendor's signature: it is good for this text of this model alone.
fn sign(model: &str, text: &str) -> String {
    format!("{}/+==", sha256(format!("{model}\n{text}").as_bytes()))
}

impl Shared {
    async fn answer(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        let body = match self.admit(request) {
            Ok(body) => body,
            Err((status, class, message)) => {
                self.refusals.lock().unwrap().push(message.clone());
                return connection.json(status, &[], &script::error(class, &message)).await;
            }
        };
        let Some((key, round, answer)) = self.script.answer(&body) else {
            let message = format!("the script has no answer to {}", body["messages"]);
            self.refusals.lock().unwrap().push(message.clone());
            return connection.json(400, &[], &script::error("invalid_request_error", &message)).await;
        };
        let fault = self.accept(&body, key, round, answer);
        let mut stream = script::Stream::new(&body, key, round, answer);
        match fault {
            Some(fault) => stream.fail(connection, &fault).await,
            None => {
                if let Some((call, blocks)) = stream.to_remember() {
                    self.given.lock().unwrap().insert(call, blocks);
                }
                stream.play(connection, &self.holds).await
            }
        }
    }

    /// Checks a request as the vendor does.
    fn admit(&self, request: &Request) -> Result<Value, (u16, &'static str, String)> {
        let invalid = |message: String| (400, "invalid_request_error", message);
        if (request.method.as_str(), request.path.as_str()) != ("POST", "/v1/messages") {
            return Err((404, "not_found_error", format!("Not found: {} {}", request.method, request.path)));
        }
        if request.header("x-api-key").map(String::as_str) != Some(API_KEY) || request.header("authorization").is_some() {
            return Err((401, "authentication_error", "invalid x-api-key".to_owned()));
        }
        let version = request.header("anthropic-version").map_or("", String::as_str);
        if !["2023-06-01", "2026-10-21"].contains(&version) {
            return Err(invalid(format!("anthropic-version: {version:?} is not a valid version")));
        }
        if request.header("content-type").map(String::as_str) != Some("application/json") {
            return Err(invalid("content-type: must be application/json".to_owned()));
        }
        if request.body.len() > 32 << 20 {
            return Err((413, "request_too_large", "Request exceeds the maximum size".to_owned()));
        }
        let body: Value =
            serde_json::from_slice(&request.body).map_err(|error| invalid(format!("The request body is not valid JSON: {error}")))?;
        strict::check(&body, &self.given.lock().unwrap()).map_err(invalid)?;
        Ok(body)
    }

    /// Logs a request. The fault that is due for it, if one is.
    fn accept(&self, body: &Value, key: &str, round: usize, answer: &Answer) -> Option<Fault> {
        let mut asks = self.asks.lock().unwrap();
        let before = asks.iter().filter(|ask| ask.key == key && ask.round == round).count();
        let fault = answer.faults.get(before).cloned();
        asks.push(Ask { body: body.clone(), key: key.to_owned(), round, fault: fault.as_ref().map(Fault::name) });
        fault
    }
}

/// A request's body without the prompt and the tools, which change with the host.
pub fn shown(body: &Value) -> Value {
    let mut body = body.clone();
    for key in ["system", "tools"] {
        if let Some(value) = body.get_mut(key) {
            let list = mem::take(value);
            *value = json!(format!("[{key}]"));
            assert!(list.as_array().is_some_and(|list| !list.is_empty()), "{key} is there and empty");
        }
    }
    body
}
