//! Opening a connection: the guest's request checked, the handshake, and what the server made of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use sha1::{Digest as _, Sha1};
use stellaclaw_bindings::http::{Header, Piece};
use stellaclaw_bindings::types::{Error, ErrorKind};
use stellaclaw_bindings::websocket::{ConnectError, Refusal, Request};
use url::Url;
use uuid::Uuid;

use super::super::http::{HttpContext, Upgrade, Upgraded, error, upgrade};
use super::super::pieces::Pieces;
use super::socket::Socket;
use crate::limits;

/// Opens a connection, or says why there is none.
pub(super) async fn open(context: &HttpContext, request: Request) -> Result<Socket, ConnectError> {
    let url = address(&request.url).map_err(ConnectError::Error)?;
    check_headers(&request.headers).map_err(ConnectError::Error)?;
    let offers_protocol = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(SEC_WEBSOCKET_PROTOCOL.as_str()));
    let key = STANDARD.encode(Uuid::new_v4().as_bytes());
    let timeout = match request.timeout {
        0 => limits::HTTP_CONNECT,
        millis => Duration::from_millis(millis).min(limits::HTTP_TIME_MAX),
    };
    let handshake = handshake(&key).map_err(ConnectError::Error)?;
    let wanted = Upgrade { url, headers: request.headers, credentials: request.credentials, handshake, timeout };
    match upgrade(context, wanted).await.map_err(ConnectError::Error)? {
        Upgraded::Switched { stream, headers, shown } => {
            agreed(&headers, &key, offers_protocol).map_err(ConnectError::Error)?;
            Ok(Socket::new(stream, shown, context.redactor().clone()))
        }
        Upgraded::Refused(mut answer) => {
            let mut body = Vec::new();
            // What there is of the answer says more than that the rest is missing.
            while let Ok(Some(piece)) = answer.read(context.stop(), u32::MAX).await {
                body.extend(piece);
                if body.len() >= limits::SOCKET_REFUSAL_BYTES {
                    break;
                }
            }
            body.truncate(limits::SOCKET_REFUSAL_BYTES);
            Err(ConnectError::Refused(Refusal { status: answer.status, headers: answer.headers, body }))
        }
    }
}

/// The address in the scheme that origins are granted in.
fn address(text: &str) -> Result<Url, Error> {
    let scheme = match text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
        Some("wss") => "https",
        Some("ws") => "http",
        _ => return Err(error(ErrorKind::Invalid, "the url of a websocket begins with wss: or ws:")),
    };
    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
    Url::parse(&format!("{scheme}:{rest}")).map_err(|wrong| error(ErrorKind::Invalid, format!("the url cannot be read: {wrong}")))
}

/// The handshake is the host's; a guest only names the protocols that it would speak.
fn check_headers(headers: &[Header]) -> Result<(), Error> {
    let name = headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let taken = |name: &String| name.starts_with("sec-websocket-") && name != SEC_WEBSOCKET_PROTOCOL.as_str();
    match name.into_iter().find(taken) {
        Some(name) => Err(error(ErrorKind::Invalid, format!("the header {name} is set by the host; leave it out"))),
        None => Ok(()),
    }
}

fn handshake(key: &str) -> Result<HeaderMap, Error> {
    let key = HeaderValue::from_str(key).map_err(|_| error(ErrorKind::Failed, "the key of the handshake is no header"))?;
    let plain = HeaderValue::from_static;
    let headers =
        [(CONNECTION, plain("Upgrade")), (UPGRADE, plain("websocket")), (SEC_WEBSOCKET_VERSION, plain("13")), (SEC_WEBSOCKET_KEY, key)];
    Ok(headers.into_iter().collect())
}

/// Did the server agree to what was asked, and to nothing else?
fn agreed(headers: &HeaderMap, key: &str, offers_protocol: bool) -> Result<(), Error> {
    let is = |name, wanted: &str| headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()));
    // RFC 6455, 1.3.
    let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    let proof = headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value.as_bytes() == accept.as_bytes());
    let wrong = if !is(UPGRADE, "websocket") || !proof {
        "it does not speak the protocol"
    } else if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        "it wants an extension that was not offered"
    } else if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) && !offers_protocol {
        "it wants a protocol that was not offered"
    } else {
        return Ok(());
    };
    Err(error(ErrorKind::Failed, format!("the server opens no websocket: {wrong}")))
}

/// The text that a message is put together from.
pub(super) fn text(context: &HttpContext, pieces: Vec<Piece>) -> Result<String, Error> {
    let pieces = Pieces::resolve(context.blobs(), pieces)?;
    if pieces.bytes() > limits::SOCKET_SEND_BYTES as u64 {
        return Err(error(ErrorKind::TooLarge, format!("the message has over {} bytes", limits::SOCKET_SEND_BYTES)));
    }
    String::from_utf8(pieces.joined()).map_err(|_| error(ErrorKind::Invalid, "a message is text: these bytes are not UTF-8"))
}
