//! WebSockets to granted origins.
//!
//! The host checks the origin, adds credentials by slot and answers pings. A connection ends with the call that opened it,
//! unless it is parked: then a later call of this component, in the same session and with the same model, may find it again.

use crate::Result;
pub use crate::bindings::imports::stellaclaw::plugin::websocket::{ConnectError, Connection, Frame, Refusal, Request, connect, resume};
use crate::http::{Credential, Piece, Place};

/// Puts a request for a connection together.
#[derive(Debug)]
pub struct Builder(Request);

/// A connection to `url`, which begins with `wss:` (or `ws:` on this machine).
#[must_use]
pub fn to(url: impl Into<String>) -> Builder {
    Builder(Request { url: url.into(), headers: Vec::new(), credentials: Vec::new(), timeout: 0 })
}

impl Builder {
    /// Adds a header to the request that opens the connection.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Has the host send the secret of `slot` as a bearer token.
    #[must_use]
    pub fn bearer(mut self, slot: impl Into<String>) -> Self {
        self.0.credentials.push(Credential { slot: slot.into(), place: Place::Bearer });
        self
    }

    /// Sets how long opening it may take, in milliseconds; 0 is the host's own choice.
    #[must_use]
    pub fn timeout(mut self, millis: u64) -> Self {
        self.0.timeout = millis;
        self
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// The server's answer where it is no upgrade; or `denied` with the configuration key for an origin or slot that is not
    /// granted, `unavailable` when there is no connection, `timeout`, `cancelled`.
    pub fn open(self) -> Result<Connection, ConnectError> {
        connect(&self.0)
    }
}

impl Connection {
    /// Sends one text message.
    ///
    /// # Errors
    ///
    /// What [`Connection::send`] fails with.
    pub fn send_text(&self, text: impl Into<String>) -> Result<()> {
        self.send(&[Piece::Bytes(text.into().into_bytes())])
    }

    /// The first header called `name` of the server's answer, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Refusal {
    /// The first header called `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
