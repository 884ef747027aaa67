//! Connections: shared by all calls, and made only to addresses that were checked.
//!
//! hyper asks the resolver once for each new connection and goes to what it answers, so the address that is checked is
//! the address that is used. A literal address is never resolved; the exchange checks it.
//! Tests can say what a name leads to: see `crash`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::plugins::policy::net::{Reach, Scope, scope};
use crate::{crash, limits};

/// How names become addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The connections of the whole host. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    lookup: Lookup,
    /// One for each reach, protocol and connect timeout: connections that were made under one rule serve only that rule.
    clients: Mutex<HashMap<(Reach, Speaks, Duration), reqwest::Client>>,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Speaks {
    /// What the server prefers.
    Any,
    /// HTTP/1.1: only that can become another protocol.
    Http1,
}

/// A name led to an address that the origin's grant does not reach, or is one.
#[derive(Debug, thiserror::Error)]
#[error("{name} leads to {address}, which is {}", match scope(*address) { Scope::Public => "not this machine", _ => "no public address" })]
pub(super) struct Blocked {
    pub name: String,
    pub address: IpAddr,
}

impl Blocked {
    /// The refusal, with what would allow it.
    pub fn refusal(&self, plugin: &str) -> String {
        let is_address = self.name.parse::<IpAddr>().is_ok() || self.name.starts_with('[');
        let key = format!("[plugins.{plugin}]");
        match scope(self.address) {
            Scope::Public | Scope::Unusable => self.to_string(),
            _ if is_address => format!("{self}; to allow it write the origin itself in {key} http"),
            Scope::LinkLocal => format!("{self}; no name may lead there, only the address itself in {key} http"),
            _ if self.name.trim_end_matches('.').ends_with("localhost") => self.to_string(),
            Scope::Private | Scope::Loopback => format!("{self}; to allow it add {:?} to {key} private", self.name),
        }
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClient {
    /// Resolves names as the system does.
    #[must_use]
    pub fn new() -> Self {
        Self::with_lookup(Arc::new(|name| {
            Box::pin(async move {
                if let Some(addresses) = crash::lookup(&name) {
                    return Ok(addresses);
                }
                Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
            })
        }))
    }

    /// Resolves names with `lookup`.
    #[must_use]
    pub fn with_lookup(lookup: Lookup) -> Self {
        Self(Arc::new(Shared { lookup, clients: Mutex::default() }))
    }

    pub(super) fn client(&self, reach: Reach, speaks: Speaks, connect: Duration) -> reqwest::Result<reqwest::Client> {
        // A few steps instead of every value, because each value is a pool of its own.
        let connect = limits::HTTP_CONNECT_STEPS.into_iter().find(|step| connect <= *step).unwrap_or(limits::HTTP_CONNECT_MAX);
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(reach, speaks, connect)) {
            return Ok(client.clone());
        }
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("stellaclaw/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(connect)
            .tcp_nodelay(true)
            .http2_max_header_list_size(u32::try_from(limits::HEADER_BYTES).unwrap_or(u32::MAX))
            .dns_resolver(Arc::new(Checked { lookup: self.0.lookup.clone(), reach }));
        if speaks == Speaks::Http1 {
            client = client.http1_only();
        }
        let client = client.build()?;
        clients.insert((reach, speaks, connect), client.clone());
        Ok(client)
    }
}

struct Checked {
    lookup: Lookup,
    reach: Reach,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (name, reach) = (name.as_str().to_owned(), self.reach);
        let found = (self.lookup)(name.clone());
        Box::pin(async move {
            let addresses = found.await?;
            // One bad address refuses all: which one is connected to is not ours to choose.
            if let Some(address) = addresses.iter().copied().find(|address| !reach.allows(*address)) {
                return Err(Blocked { name, address }.into());
            }
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
