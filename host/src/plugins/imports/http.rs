//! `stellaclaw:plugin/http`: requests to granted origins.
//!
//! - Every request, and every redirect of one, is checked against the granted origins before anything is resolved; every
//!   address is checked after it was resolved, and the connection goes to the address that was checked.
//! - A credential is put in by the host, over https (loopback excepted), when its own origins cover the address, and never
//!   again after a redirect to another origin. Nothing in a URL, header or body is substituted.
//! - Secrets are redacted from everything that comes back, across chunk borders.
//! - Imports that wait say so, and return `cancelled` when the call is being stopped. Dropping the future ends the
//!   request: nothing goes on behind it.
//!
//! - Blobs go out by name: the guest never has their bytes, and names only those that its call was handed.
//!
//! What it does not do: proxies, cookies, caching. An origin that stores what it receives and gives it back in a form of its
//! own can show a secret to the guest, or the bytes of a blob.

mod body;
mod client;
mod exchange;
mod request;
#[cfg(test)]
mod tests;
mod upgrade;
mod upload;

use stellaclaw_bindings::http::{Host, HostResponse, HostUpload, Request, Response, Upload};
use stellaclaw_bindings::types::{Error, ErrorKind};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::limits;
use crate::plugins::call::Handed;
use crate::plugins::policy::net::OriginGrant;
use crate::plugins::progress::Progress;
use crate::plugins::stop::StopSignal;
use crate::secrets::{Redactor, Secret};
use body::Body;
pub use client::{HttpClient, Lookup};
pub(super) use upgrade::{Upgrade, Upgraded, upgrade};
use upload::Sending;

/// The state of a store that has HTTP.
pub trait HasHttp: Send {
    fn http(&mut self) -> HttpView<'_>;
}

/// What the imports of one call work on.
pub struct HttpView<'a> {
    pub http: &'a mut HttpContext,
    pub table: &'a mut ResourceTable,
}

/// A secret for a slot, and where it may go.
#[derive(Clone)]
pub struct SlotGrant {
    pub slot: String,
    pub secret: Secret,
    pub origins: Vec<OriginGrant>,
}

/// The HTTP of one call.
pub struct HttpContext {
    client: HttpClient,
    plugin: String,
    origins: Vec<OriginGrant>,
    slots: Vec<SlotGrant>,
    redactor: Redactor,
    blobs: Handed,
    stop: StopSignal,
    /// Is told when something leaves.
    progress: Progress,
    /// Responses and uploads that are open.
    open: usize,
}

impl HttpContext {
    /// `plugin` is the name in `[plugins.NAME]`, for messages. Without `origins` everything is refused.
    #[must_use]
    pub fn new(
        client: HttpClient,
        plugin: &str,
        origins: Vec<OriginGrant>,
        slots: Vec<SlotGrant>,
        redactor: Redactor,
        blobs: Handed,
        stop: StopSignal,
    ) -> Self {
        Self { client, plugin: plugin.to_owned(), origins, slots, redactor, blobs, stop, progress: Progress::default(), open: 0 }
    }

    /// The same, with somebody who is told when something leaves.
    #[must_use]
    pub fn watched(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    fn has_room(&self) -> Result<(), Error> {
        if self.open < limits::OPEN_RESPONSES {
            return Ok(());
        }
        let message = format!("a call has at most {} responses and uploads open; drop one that was read", limits::OPEN_RESPONSES);
        Err(error(ErrorKind::Unavailable, message))
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn stop(&self) -> &StopSignal {
        &self.stop
    }

    pub(super) fn blobs(&self) -> &Handed {
        &self.blobs
    }

    /// The slot has another value from now on.
    pub(super) fn replace(&mut self, slot: &str, secret: &Secret) {
        for granted in self.slots.iter_mut().filter(|granted| granted.slot == slot) {
            granted.secret = secret.clone();
        }
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.slots.iter().map(|slot| &slot.secret)
    }
}

struct HasHttpView;

impl HasData for HasHttpView {
    type Data<'a> = HttpView<'a>;
}

/// Links `stellaclaw:plugin/http`.
pub fn add_to_linker<T: HasHttp + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    stellaclaw_bindings::http::add_to_linker::<T, HasHttpView>(linker, T::http)
}

pub(super) fn error(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error { kind, message: message.into(), retry_after: None }
}

/// Waits for `work`, unless the call is being stopped.
pub(super) async fn unless_stopped<T>(stop: &StopSignal, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut stop = stop.clone();
    let _waiting = stop.waiting();
    tokio::select! {
        biased;
        _ = stop.stopped() => Err(error(ErrorKind::Cancelled, "the call is being stopped")),
        done = work => done,
    }
}

/// The contract's handle only names an index of the table; what lies there is a [`Body`].
fn body(response: &Resource<Response>) -> Resource<Body> {
    Resource::new_own(response.rep())
}

/// As for [`body`].
fn sending(upload: &Resource<Upload>) -> Resource<Sending> {
    Resource::new_own(upload.rep())
}

impl Host for HttpView<'_> {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Resource<Response>, Error>> {
        if let Err(full) = self.http.has_room() {
            return Ok(Err(full));
        }
        let sent = match request::prepare(self.http, request) {
            Ok(prepared) => unless_stopped(&self.http.stop, exchange::exchange(self.http, prepared)).await,
            Err(refused) => Err(refused),
        };
        match sent {
            Ok(answer) => {
                let response = Resource::new_own(self.table.push(answer)?.rep());
                self.http.open += 1;
                Ok(Ok(response))
            }
            Err(failed) => Ok(Err(failed)),
        }
    }

    async fn open_upload(&mut self, request: Request, length: Option<u64>) -> wasmtime::Result<Result<Resource<Upload>, Error>> {
        match self.http.has_room().and_then(|()| Sending::open(self.http, request, length)) {
            Ok(upload) => {
                let upload = Resource::new_own(self.table.push(upload)?.rep());
                self.http.open += 1;
                Ok(Ok(upload))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }
}

impl HostResponse for HttpView<'_> {
    async fn status(&mut self, response: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&body(&response))?.status)
    }

    async fn url(&mut self, response: Resource<Response>) -> wasmtime::Result<String> {
        Ok(self.table.get(&body(&response))?.url.clone())
    }

    async fn headers(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.table.get(&body(&response))?.headers.clone())
    }

    async fn read(&mut self, response: Resource<Response>, max: u32) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let body = self.table.get_mut(&body(&response))?;
        Ok(body.read(&self.http.stop, max).await)
    }

    async fn drop(&mut self, response: Resource<Response>) -> wasmtime::Result<()> {
        self.table.delete(body(&response))?;
        self.http.open = self.http.open.saturating_sub(1);
        Ok(())
    }
}

impl HostUpload for HttpView<'_> {
    async fn write(&mut self, upload: Resource<Upload>, data: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let upload = self.table.get_mut(&sending(&upload))?;
        Ok(unless_stopped(&self.http.stop, upload.write(self.http, data)).await)
    }

    async fn finish(&mut self, upload: Resource<Upload>) -> wasmtime::Result<Result<Resource<Response>, Error>> {
        let upload = self.table.delete(sending(&upload))?;
        match unless_stopped(&self.http.stop, upload.finish(self.http)).await {
            // It takes the place of its upload.
            Ok(answer) => Ok(Ok(Resource::new_own(self.table.push(answer)?.rep()))),
            Err(failed) => {
                self.http.open = self.http.open.saturating_sub(1);
                Ok(Err(failed))
            }
        }
    }

    async fn drop(&mut self, upload: Resource<Upload>) -> wasmtime::Result<()> {
        self.table.delete(sending(&upload))?;
        self.http.open = self.http.open.saturating_sub(1);
        Ok(())
    }
}
