//! `stellaclaw:plugin/websocket`: connections to granted origins.
//!
//! - A connection is opened by the client of [`super::http`], by its rules: origin, checked address, credentials by slot.
//!   Redirects are not followed.
//! - Frames that come are read ahead up to a bound, with pings answered, whether the guest waits for one or not. Each is
//!   redacted as a whole, however the server cut it.
//! - A connection ends with its call, unless the guest parks it (see `parked`).
//! - Imports that wait say so, and return `cancelled` when the call is being stopped. A message that was cut off by that ends
//!   its connection: nothing goes on being sent behind a call.
//!
//! What it does not do: compression, a farewell when it hangs up, binary messages to the server. A secret that a server spreads
//! over several messages is not found.

mod connect;
mod parked;
mod socket;
#[cfg(test)]
pub(in crate::plugins) mod tests;
mod wire;

use std::time::Duration;

use stellaclaw_bindings::http::{Header, Piece};
use stellaclaw_bindings::types::{Error, ErrorKind};
use stellaclaw_bindings::websocket::{ConnectError, Connection, Frame, Host, HostConnection, Request};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::http::{HttpContext, error, unless_stopped};
use crate::limits;
pub use parked::{Parked, Place};
use socket::Socket;

/// The state of a store that has WebSockets.
pub trait HasSockets: Send {
    fn sockets(&mut self) -> SocketView<'_>;
}

/// What the imports of one call work on.
pub struct SocketView<'a> {
    pub http: &'a mut HttpContext,
    pub sockets: &'a mut Sockets,
    pub table: &'a mut ResourceTable,
}

/// The connections of one call, and where it can park them.
pub struct Sockets {
    parked: Parked,
    /// None: there is no session, and nothing is parked.
    place: Option<Place>,
    /// Connections that are open.
    open: usize,
}

impl Sockets {
    #[must_use]
    pub fn new(parked: Parked, place: Option<Place>) -> Self {
        Self { parked, place, open: 0 }
    }
}

struct HasSocketView;

impl HasData for HasSocketView {
    type Data<'a> = SocketView<'a>;
}

/// Links `stellaclaw:plugin/websocket`.
pub fn add_to_linker<T: HasSockets + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    stellaclaw_bindings::websocket::add_to_linker::<T, HasSocketView>(linker, T::sockets)
}

/// The contract's handle only names an index of the table; what lies there is a [`Socket`].
fn socket(connection: &Resource<Connection>) -> Resource<Socket> {
    Resource::new_own(connection.rep())
}

impl SocketView<'_> {
    /// One more connection of this call; an error if it has all it may have.
    fn check_room(&self) -> Result<(), Error> {
        if self.sockets.open < limits::SOCKETS {
            return Ok(());
        }
        let message = format!("a call has at most {} connections open; drop or park one", limits::SOCKETS);
        Err(error(ErrorKind::Unavailable, message))
    }

    fn hand_out(&mut self, socket: Socket) -> wasmtime::Result<Resource<Connection>> {
        let connection = Resource::new_own(self.table.push(socket)?.rep());
        self.sockets.open += 1;
        Ok(connection)
    }

    fn take_back(&mut self, connection: &Resource<Connection>) -> wasmtime::Result<Socket> {
        let socket = self.table.delete(socket(connection))?;
        self.sockets.open = self.sockets.open.saturating_sub(1);
        Ok(socket)
    }
}

impl Host for SocketView<'_> {
    async fn connect(&mut self, request: Request) -> wasmtime::Result<Result<Resource<Connection>, ConnectError>> {
        if let Err(full) = self.check_room() {
            return Ok(Err(ConnectError::Error(full)));
        }
        let opened = unless_stopped(self.http.stop(), async { Ok(connect::open(self.http, request).await) }).await;
        match opened.unwrap_or_else(|stopped| Err(ConnectError::Error(stopped))) {
            Ok(socket) => Ok(Ok(self.hand_out(socket)?)),
            Err(failed) => Ok(Err(failed)),
        }
    }

    async fn resume(&mut self, key: String) -> wasmtime::Result<Option<(Resource<Connection>, Vec<u8>)>> {
        if self.check_room().is_err() {
            return Ok(None);
        }
        let Some((socket, note)) = self.sockets.place.as_ref().and_then(|place| self.sockets.parked.take(place, &key)) else {
            return Ok(None);
        };
        // A secret may be another one than when it was opened.
        socket.learn(self.http.secrets());
        Ok(Some((self.hand_out(socket)?, note)))
    }
}

impl HostConnection for SocketView<'_> {
    async fn headers(&mut self, connection: Resource<Connection>) -> wasmtime::Result<Vec<Header>> {
        Ok(self.table.get(&socket(&connection))?.headers.clone())
    }

    async fn send(&mut self, connection: Resource<Connection>, text: Vec<Piece>) -> wasmtime::Result<Result<(), Error>> {
        let socket = self.table.get(&socket(&connection))?;
        let text = match connect::text(self.http, text) {
            Ok(text) => text,
            Err(refused) => return Ok(Err(refused)),
        };
        self.http.progress().leaves();
        Ok(unless_stopped(self.http.stop(), socket.send(text)).await)
    }

    async fn receive(&mut self, connection: Resource<Connection>, wait: u64) -> wasmtime::Result<Result<Option<Frame>, Error>> {
        let socket = self.table.get(&socket(&connection))?;
        let wait = Duration::from_millis(wait).min(limits::HTTP_TIME_MAX);
        Ok(unless_stopped(self.http.stop(), socket.receive(wait)).await)
    }

    async fn park(&mut self, connection: Resource<Connection>, key: String, note: Vec<u8>) -> wasmtime::Result<()> {
        let socket = self.take_back(&connection)?;
        if let Some(place) = &self.sockets.place {
            self.sockets.parked.put(place, key, socket, note);
        }
        Ok(())
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.take_back(&connection)?;
        Ok(())
    }
}
