//! What an exchange needs from outside: the imports of the component, or a script in tests.

use stellaclaw_sdk::Result;
use stellaclaw_sdk::deltas::Delta;
use stellaclaw_sdk::http::Piece;
use stellaclaw_sdk::websocket::{ConnectError, Frame};

/// A value that outlives the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The conversation's: how WebSockets do here.
    Sockets,
    /// The conversation's: the token of the turn.
    Turn,
}

/// The outside.
pub trait World {
    type Socket: Socket;
    type Body: Body;

    /// Milliseconds since 1970.
    fn now(&self) -> u64;
    /// Takes the parked socket back, with its note.
    fn resume(&mut self) -> Option<(Self::Socket, Vec<u8>)>;
    /// Opens a connection. The host adds the login.
    fn open(&mut self, url: String, headers: Vec<(String, String)>) -> Result<Self::Socket, ConnectError>;
    /// Leaves a socket for the next call.
    fn park(&mut self, socket: Self::Socket, note: Vec<u8>);
    /// Sends a request. The host adds the login.
    fn post(&mut self, url: String, headers: Vec<(String, String)>, body: Vec<Piece>) -> Result<Self::Body>;
    /// The server rejected the login: renews it.
    fn renew(&mut self) -> Result<()>;
    /// What is kept at a place; nothing where nothing can be kept.
    fn kept(&mut self, place: Place) -> Option<Vec<u8>>;
    fn keep(&mut self, place: Place, value: &[u8]);
    /// False: the host wants no more.
    fn emit(&mut self, batch: &[Delta]) -> bool;
}

/// An open connection.
pub trait Socket {
    /// Of the server's upgrade answer.
    fn headers(&self) -> Vec<(String, String)>;
    fn send(&mut self, frame: Vec<Piece>) -> Result<()>;
    /// None when nothing came for as long as the model may be silent.
    fn receive(&mut self) -> Result<Option<Frame>>;
}

/// An answer over HTTPS.
pub trait Body {
    fn status(&self) -> u16;
    fn headers(&self) -> Vec<(String, String)>;
    fn read(&mut self) -> Result<Option<Vec<u8>>>;
}
