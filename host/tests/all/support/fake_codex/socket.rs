//! One connection: it remembers the answers that were given on it.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::http::{Connection, Request};
use super::events::{self, Out};
use super::{Accepted, Fault, Shared, Way};

/// An open connection.
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub async fn text(&mut self, text: String) -> io::Result<()> {
        self.0.send(Message::text(text)).await.map_err(broken)
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::other(error)
}

/// Takes a connection over and answers until it ends.
pub async fn serve(shared: &Shared, number: usize, mut connection: Connection, request: &Request) -> io::Result<()> {
    let key = request.header("sec-websocket-key").ok_or(io::ErrorKind::InvalidData)?;
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let headers = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", &accept), ("openai-model", "served")];
    connection.switch(&headers).await?;
    let (stream, rest) = connection.into_parts();
    let mut socket = Socket(WebSocketStream::from_partially_read(stream, rest, Role::Server, None).await);
    let head_state = request.header("x-codex-turn-state").cloned();
    let mut known: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    while let Some(message) = socket.0.next().await {
        let text = match message.map_err(broken)? {
            Message::Text(text) => text,
            Message::Close(_) => return Ok(()),
            _ => continue,
        };
        let frame: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if !turn(shared, number, &mut socket, frame, &head_state, &mut known).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers one frame. False: the connection is to break.
async fn turn(
    shared: &Shared,
    number: usize,
    socket: &mut Socket,
    frame: Value,
    head_state: &Option<String>,
    known: &mut BTreeMap<String, Vec<Value>>,
) -> io::Result<bool> {
    let new = frame["input"].as_array().cloned().unwrap_or_default();
    let input = match frame["previous_response_id"].as_str() {
        None => new,
        Some(previous) => match known.get(previous) {
            Some(before) => [before.clone(), new].concat(),
            None => return socket.text(not_found(previous)).await.map(|()| true),
        },
    };
    let state = frame["client_metadata"]["x-codex-turn-state"].as_str().map(str::to_owned).or_else(|| head_state.clone());
    let previous = frame["previous_response_id"].as_str().map(str::to_owned);
    let accepted = match shared.accept(Way::Socket(number), frame, input, state) {
        Ok(accepted) => accepted,
        Err((status, error)) => return socket.text(error_frame(status, &error, &[])).await.map(|()| true),
    };
    match &accepted.fault {
        Some(Fault::Status { status, error, headers }) => return socket.text(error_frame(*status, error, headers)).await.map(|()| true),
        Some(Fault::Forgotten) => {
            known.clear();
            return socket.text(not_found(previous.as_deref().unwrap_or("none"))).await.map(|()| true);
        }
        Some(Fault::Binary) => return socket.0.send(Message::binary(vec![0xff, 0])).await.map(|()| true).map_err(broken),
        Some(Fault::Ping) => ping(shared, socket).await?,
        _ => {}
    }
    let whole = events::play(shared, &accepted, &mut Out::Socket(socket)).await?;
    remember(known, accepted);
    Ok(whole)
}

/// The memory of a connection is its last answer.
fn remember(known: &mut BTreeMap<String, Vec<Value>>, accepted: Accepted<'_>) {
    known.clear();
    let output = events::items(&accepted);
    known.insert(accepted.id, [accepted.input, output].concat());
}

async fn ping(shared: &Shared, socket: &mut Socket) -> io::Result<()> {
    socket.0.send(Message::Ping("are you there".into())).await.map_err(broken)?;
    loop {
        match socket.0.next().await {
            Some(Ok(Message::Pong(said))) if said == "are you there" => break,
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
    shared.signals.send_modify(|signals| signals.pongs += 1);
    Ok(())
}

fn error_frame(status: u16, error: &Value, headers: &[(String, String)]) -> String {
    let headers: serde_json::Map<_, _> = headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let mut frame = json!({"type": "error", "status": status, "headers": headers});
    for (key, value) in error.as_object().unwrap() {
        frame[key] = value.clone();
    }
    frame.to_string()
}

fn not_found(id: &str) -> String {
    let message = format!("Previous response with id '{id}' not found.");
    let error = json!({"error": {"type": "invalid_request_error", "code": "previous_response_not_found", "message": message,
        "param": "previous_response_id"}});
    error_frame(400, &error, &[])
}
