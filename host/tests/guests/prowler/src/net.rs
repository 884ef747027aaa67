//! Requests of any shape, and sockets, which no component has.

use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};

use stellaclaw_sdk::chat::Timeouts;
use stellaclaw_sdk::http::{self, Credential, Piece, Place, Request};
use stellaclaw_sdk::serde_json::{Value, json};
use stellaclaw_sdk::{Call, Error, Output, Result, Tool, schemars, serde};

/// Sends one request after the other, and tells what came of each.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
pub struct Fetch {
    requests: Vec<Ask>,
    /// What is looked for in everything that comes back, written backwards: it must not be found in what is asked.
    #[serde(default)]
    needles: Vec<String>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
pub(crate) struct Ask {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The slot, `bearer`, `basic`, `header` or `query`, and a name.
    #[serde(default)]
    credentials: Vec<(String, String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    redirects: u8,
    /// Milliseconds in total; none for the host's own.
    #[serde(default)]
    total: u64,
    /// How much of the body is told; all of it is read.
    #[serde(default = "some")]
    keep: usize,
    /// How much is asked for at once.
    #[serde(default = "much")]
    at_once: u32,
}

fn get() -> String {
    "GET".to_owned()
}

fn some() -> usize {
    4096
}

fn much() -> u32 {
    1 << 20
}

/// What came back.
pub(crate) struct Answer {
    pub status: u16,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub bytes: usize,
}

impl Ask {
    pub(crate) fn send(&self) -> Result<Answer> {
        let place = |kind: &str, name: &str| match kind {
            "bearer" => Ok(Place::Bearer),
            "basic" => Ok(Place::Basic(name.to_owned())),
            "header" => Ok(Place::Header(name.to_owned())),
            "query" => Ok(Place::Query(name.to_owned())),
            other => Err(Error::invalid(format!("{other} is no place"))),
        };
        let credentials = self
            .credentials
            .iter()
            .map(|(slot, kind, name)| Ok(Credential { slot: slot.clone(), place: place(kind, name)? }))
            .collect::<Result<_>>()?;
        let response = http::send(&Request {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            credentials,
            body: if self.body.is_empty() { Vec::new() } else { vec![Piece::Bytes(self.body.clone().into())] },
            timeouts: Some(Timeouts { connect: 0, idle: 0, total: self.total }),
            redirects: self.redirects,
        })?;
        let (mut body, mut bytes) = (Vec::new(), 0);
        while let Some(piece) = response.read(self.at_once)? {
            bytes += piece.len();
            let room = self.keep.saturating_sub(body.len());
            body.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Ok(Answer { status: response.status(), url: response.url(), headers: response.headers(), body, bytes })
    }
}

impl Tool for Fetch {
    fn call(self, _call: &Call) -> Result<Output> {
        let told: Vec<Value> = self
            .requests
            .iter()
            .map(|ask| match ask.send() {
                Ok(Answer { status, url, headers, body, bytes }) => {
                    let body = String::from_utf8_lossy(&body).into_owned();
                    let seen = self.seen(headers.iter().flat_map(|(name, value)| [name, value]).chain([&url, &body]));
                    json!({"status": status, "url": url, "headers": headers, "body": body, "bytes": bytes, "seen": seen})
                }
                Err(error) => {
                    let seen = self.seen([&error.message]);
                    json!({"kind": format!("{:?}", error.kind), "message": error.message, "seen": seen})
                }
            })
            .collect();
        Ok(Output::text(Value::Array(told).to_string()))
    }
}

impl Fetch {
    /// Which needles are in one of these.
    fn seen<'a>(&self, texts: impl IntoIterator<Item = &'a String>) -> Vec<usize> {
        let needles: Vec<String> = self.needles.iter().map(|needle| needle.chars().rev().collect()).collect();
        let texts: Vec<_> = texts.into_iter().collect();
        (0..needles.len()).filter(|at| texts.iter().any(|text| text.contains(&needles[*at]))).collect()
    }
}

/// Tries everything that has to do with sockets.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
pub struct Dial {
    address: String,
    name: String,
}

impl Tool for Dial {
    fn call(self, _call: &Call) -> Result<Output> {
        let address = self.address.as_str();
        let told = json!({
            "connect": TcpStream::connect(address).is_ok(),
            "listen": TcpListener::bind("127.0.0.1:0").is_ok(),
            "bind": UdpSocket::bind("127.0.0.1:0").is_ok(),
            "send": UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"out", address)).is_ok(),
            "look-up": (self.name.as_str(), 80).to_socket_addrs().is_ok_and(|mut found| found.next().is_some()),
        });
        Ok(Output::text(told.to_string()))
    }
}
