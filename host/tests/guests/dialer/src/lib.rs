//! A component that opens WebSockets where it is told, also where it should not. Built by the host's tests.

use stellaclaw_sdk::serde_json::{Value, json};
use stellaclaw_sdk::websocket::{self, ConnectError, Connection, Frame};
use stellaclaw_sdk::{Batching, Call, Error, Output, Replay, Result, Tool, plugin, schemars, serde};

/// Opens a connection, or takes a parked one back, and does something with it.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
struct Dial {
    /// Where to; without it the parked one is taken back.
    #[serde(default)]
    url: Option<String>,
    /// Where it is parked, before and afterwards.
    #[serde(default)]
    key: String,
    /// echo, hold, flood, hoard
    how: String,
    #[serde(default)]
    text: String,
}

impl Tool for Dial {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        let (connection, note) = match &self.url {
            Some(url) => (open(url)?, String::new()),
            None => match websocket::resume(&self.key) {
                Some((connection, note)) => (connection, String::from_utf8_lossy(&note).into_owned()),
                None => return Ok(Output::text(Value::Null.to_string())),
            },
        };
        let done = match self.how.as_str() {
            "echo" => {
                connection.send_text(&self.text)?;
                json!([said(connection.receive(10_000)?), note])
            }
            // Until it is stopped.
            "hold" => {
                let stopped = connection.receive(u64::MAX).err();
                return Err(stopped.unwrap_or_else(|| Error::failed("something came")));
            }
            // As much as it gets.
            "hoard" => {
                connection.send_text(&self.text)?;
                let mut hoard = Vec::new();
                while let Ok(Some(frame)) = connection.receive(10_000) {
                    hoard.push(frame);
                }
                json!(hoard.len())
            }
            // As many as there is room for, under all names.
            "flood" => {
                let url = self.url.unwrap_or_default();
                for n in 0..100 {
                    Connection::park(open(&url)?, &format!("{}{n}", self.key), &[b'x'; 64 << 10]);
                }
                let mut all = Vec::new();
                while let Ok(connection) = websocket::to(&url).open() {
                    all.push(connection);
                }
                return Ok(Output::text(all.len().to_string()));
            }
            other => return Err(Error::invalid(format!("unknown: {other}"))),
        };
        Connection::park(connection, &self.key, self.text.as_bytes());
        Ok(Output::text(done.to_string()))
    }
}

fn open(url: &str) -> Result<Connection> {
    websocket::to(url).open().map_err(|failed| match failed {
        ConnectError::Refused(refusal) => Error::failed(format!("refused with {}", refusal.status)),
        ConnectError::Error(error) => error,
    })
}

fn said(frame: Option<Frame>) -> Option<String> {
    match frame {
        Some(Frame::Text(text)) => Some(text),
        _ => None,
    }
}

plugin! {
    tools: [Dial],
    http: ["http://127.0.0.1:44444"],
}
