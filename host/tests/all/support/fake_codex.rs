//! A server that speaks Codex' protocol: WebSockets and streams of events, strict where the backend is strict.
//!
//! What it answers is scripted by what users write and depends on the request alone; only faults count the requests they are
//! for. A connection remembers the answers that were given on it, and nothing else does: who names one elsewhere is told that
//! it is not there. Every accepted request is kept, with what it stands for in full.

mod events;
mod script;
mod socket;
mod strict;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::events::Out;
pub use self::script::{Answer, Fault, Script};
use super::http::{Connection, Request};
use super::within;

/// The key that requests must bring: a plain one, which has no account.
pub const API_KEY: &str = "sk-canary-codex-51b0de93aa";
/// The address of the service, below the server's.
const PATH: &str = "/backend-api/codex/responses";

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// On the connection of this number.
    Socket(usize),
    Post,
}

/// A request that was accepted.
#[derive(Debug, Clone)]
pub struct Ask {
    pub way: Way,
    /// As it came.
    pub body: Value,
    /// Everything it stands for, with what the connection remembered.
    pub input: Vec<Value>,
    /// The entry of the script that answers it; none for one that only warms the connection.
    pub key: Option<String>,
    pub fault: Option<&'static str>,
    /// The turn's token that came with it.
    pub turn_state: Option<String>,
}

/// The headers of a request, and the status that it got.
pub type Head = (u16, Vec<(String, String)>);

struct Shared {
    script: Script,
    asks: Mutex<Vec<Ask>>,
    /// Of both ways.
    heads: Mutex<Vec<Head>>,
    refusals: Mutex<Vec<String>>,
    signals: watch::Sender<Signals>,
}

#[derive(Debug, Default, Clone)]
struct Signals {
    released: Vec<String>,
    held: Vec<String>,
    /// Connections that were opened, and those that are gone.
    opened: usize,
    closed: usize,
    pongs: usize,
    /// Requests that only warm a connection.
    warmed: usize,
}

/// The server, until it is dropped.
pub struct FakeCodex {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for FakeCodex {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeCodex {
    /// Serves `script` to those who bring [`API_KEY`].
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let shared = Arc::new(Shared {
            script,
            asks: Mutex::default(),
            heads: Mutex::default(),
            refusals: Mutex::default(),
            signals: watch::Sender::default(),
        });
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, serving }
    }

    /// What goes into `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.address, PATH.strip_suffix("/responses").unwrap())
    }

    /// The requests that were accepted so far.
    pub fn asks(&self) -> Vec<Ask> {
        self.shared.asks.lock().unwrap().clone()
    }

    /// The accepted requests of one entry.
    pub fn asks_of(&self, key: &str) -> Vec<Ask> {
        self.asks().into_iter().filter(|ask| ask.key.as_deref() == Some(key)).collect()
    }

    /// The heads that came, and what each was answered with.
    pub fn heads(&self) -> Vec<Head> {
        self.shared.heads.lock().unwrap().clone()
    }

    /// Why requests were refused that the script did not want to fail.
    pub fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().unwrap().clone()
    }

    /// Lets the answers go that wait for this name, now and from now on.
    pub fn release(&self, name: &str) {
        self.shared.signals.send_modify(|signals| signals.released.push(name.to_owned()));
    }

    /// Waits until a request is held under this name.
    pub async fn held(&self, name: &str) {
        self.wait("a request to be held", |signals| signals.held.iter().any(|held| held == name)).await;
    }

    /// Waits until every connection but `left` is gone.
    pub async fn closed_but(&self, left: usize) {
        self.wait("connections to be closed", |signals| signals.opened - signals.closed == left).await;
    }

    /// Waits until connections were warmed so often.
    pub async fn warmed(&self, count: usize) {
        self.wait("a connection to be warmed", |signals| signals.warmed >= count).await;
    }

    /// How often a ping was answered.
    pub fn pongs(&self) -> usize {
        self.shared.signals.borrow().pongs
    }

    async fn wait(&self, what: &str, reached: impl Fn(&Signals) -> bool) {
        let mut signals = self.shared.signals.subscribe();
        let waiting = async { drop(signals.wait_for(|signals| reached(signals)).await.unwrap()) };
        within(what, waiting).await;
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
        if request.header("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket")) {
            return shared.upgrade(connection, &request).await;
        }
        shared.post(&mut connection, &request).await?;
    }
    Ok(())
}

impl Shared {
    /// Opens a connection, or says why not.
    async fn upgrade(&self, mut connection: Connection, request: &Request) -> io::Result<()> {
        let number = self.heads.lock().unwrap().iter().filter(|(_, head)| head.iter().any(|(name, _)| name == "upgrade")).count();
        let refused = self.script.upgrade(number).or_else(|| self.admit(request, true).err());
        let status = refused.as_ref().map_or(101, |(status, _)| *status);
        self.heads.lock().unwrap().push((status, request.headers().to_vec()));
        if let Some((status, body)) = refused {
            let headers = [("x-request-id", "req_fake".to_owned())];
            return connection.json(status, &headers, &body).await;
        }
        let mut number = 0;
        self.signals.send_modify(|signals| {
            number = signals.opened;
            signals.opened += 1;
        });
        let ended = socket::serve(self, number, connection, request).await;
        self.signals.send_modify(|signals| signals.closed += 1);
        ended
    }

    /// Answers over HTTPS.
    async fn post(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        let admitted = self.admit(request, false);
        let status = admitted.as_ref().err().map_or(200, |(status, _)| *status);
        self.heads.lock().unwrap().push((status, request.headers().to_vec()));
        if let Err((status, body)) = admitted {
            return connection.json(status, &[], &body).await;
        }
        let parsed: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let input = parsed["input"].as_array().cloned().unwrap_or_default();
        let turn_state = request.header("x-codex-turn-state").cloned();
        let accepted = match self.accept(Way::Post, parsed, input, turn_state) {
            Ok(accepted) => accepted,
            Err((status, error)) => return connection.json(status, &[], &error).await,
        };
        if let Some(Fault::Status { status, error, headers }) = &accepted.fault {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            return connection.json(*status, &headers, error).await;
        }
        connection.begin().await?;
        let ended = events::play(self, &accepted, &mut Out::Stream(connection)).await?;
        if ended { connection.end().await } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }

    /// Checks a head as the backend does.
    fn admit(&self, request: &Request, socket: bool) -> Result<(), (u16, Value)> {
        let method = if socket { "GET" } else { "POST" };
        if (request.method.as_str(), request.path.as_str()) != (method, PATH) {
            return Err((404, json!({"detail": "Not Found"})));
        }
        let bearer = request.header("authorization").and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
        if bearer != API_KEY {
            let error = json!({"error": {"message": "Provided authentication token is expired.", "type": null, "code": "token_expired"}});
            return Err((401, error));
        }
        strict::head(request, socket).map_err(|message| {
            self.refusals.lock().unwrap().push(message.clone());
            (400, json!({"detail": message}))
        })
    }

    /// Checks a request, finds its answer and logs both. `input` is everything it stands for.
    fn accept(&self, way: Way, body: Value, input: Vec<Value>, turn_state: Option<String>) -> Result<Accepted<'_>, (u16, Value)> {
        let refuse = |message: String| {
            self.refusals.lock().unwrap().push(message.clone());
            // This backend does not speak like the vendor's others.
            (400, json!({"detail": message}))
        };
        strict::check(&body, way != Way::Post).map_err(refuse)?;
        strict::input(&input).map_err(refuse)?;
        let warms = body["generate"] == false;
        let mut accepted = Accepted { id: String::new(), key: String::new(), round: 0, answer: None, fault: None, input };
        if !warms {
            let (key, round, answer) =
                self.script.answer(&accepted.input).ok_or_else(|| refuse(format!("the script has no answer to {:?}", accepted.input)))?;
            (accepted.key, accepted.round, accepted.answer) = (key.to_owned(), round, Some(answer));
        }
        if warms {
            self.signals.send_modify(|signals| signals.warmed += 1);
        }
        let mut asks = self.asks.lock().unwrap();
        let before = asks.iter().filter(|ask| ask.key.as_deref() == Some(&accepted.key) && round_of(ask) == accepted.round).count();
        accepted.id = format!("resp_{}", asks.len());
        accepted.fault = accepted.answer.and_then(|answer| answer.faults.get(before).cloned());
        asks.push(Ask {
            way,
            body,
            input: accepted.input.clone(),
            key: (!warms).then(|| accepted.key.clone()),
            fault: accepted.fault.as_ref().map(Fault::name),
            turn_state,
        });
        Ok(accepted)
    }

    async fn hold(&self, name: &str) {
        self.signals.send_modify(|signals| signals.held.push(name.to_owned()));
        let mut signals = self.signals.subscribe();
        drop(signals.wait_for(|signals| signals.released.iter().any(|released| released == name)).await);
    }
}

fn round_of(ask: &Ask) -> usize {
    script::round(&ask.input)
}

/// A request that will be answered.
struct Accepted<'a> {
    /// Of the answer.
    id: String,
    key: String,
    round: usize,
    answer: Option<&'a Answer>,
    fault: Option<Fault>,
    input: Vec<Value>,
}
