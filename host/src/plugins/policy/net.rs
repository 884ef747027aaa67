//! Which addresses and origins a request may reach: one decision for every caller.
//!
//! - An origin is matched on the parsed URL, never on its text: scheme, host, port, then methods and a path prefix at a
//!   component border.
//! - An address is judged in binary form after everything that can hide an IPv4 address in an IPv6 one was taken off.
//! - Private, shared and loopback addresses are reached where the operator wrote the address itself, or said of a name that
//!   it is one of their own network: what any other name leads to is up to whoever answers for it. No name reaches a
//!   link-local address or another one at which clouds answer with credentials: that takes the address itself as the
//!   origin's host. Nothing reaches multicast, unspecified and reserved addresses.
//!
//! What it does not do: resolve names or connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Who wrote an origin down, and what they said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The component's manifest: public addresses, however it is written.
    Manifest,
    /// The operator, in the configuration or `grants.toml`: an address or `localhost` is what it says, a name is public.
    Operator,
    /// The operator, who also means a private network: a model's `base_url`, and hosts in `private`.
    OperatorAsPrivate,
}

/// A granted origin: scheme, host, port, and optionally a path prefix and methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginGrant {
    pub scheme: String,
    pub host: Host,
    pub port: u16,
    /// With a slash at the end; `/` is everything.
    pub path: String,
    /// None: every method.
    pub methods: Option<Vec<String>>,
    pub named_by: NamedBy,
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no origin: {reason}; write https://host[:port][/path]")]
pub struct OriginError {
    pub text: String,
    pub reason: String,
}

/// What may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Addresses of the public internet.
    Public,
    /// Also private, shared and loopback ones.
    Private,
    /// Also link-local ones: the operator wrote the address itself.
    Local,
    /// Only loopback ones: `localhost` means this host, whatever a resolver says.
    Loopback,
}

/// What an address is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Public,
    /// RFC 1918, RFC 6598 (shared by a carrier's customers), unique local.
    Private,
    Loopback,
    /// Link-local, and the other addresses at which clouds answer with credentials.
    LinkLocal,
    /// Multicast, unspecified, documentation, reserved: nobody answers there.
    Unusable,
}

impl OriginGrant {
    /// Reads `[METHOD[,METHOD] ]scheme://host[:port][/path]`.
    pub fn parse(text: &str, named_by: NamedBy) -> Result<Self, OriginError> {
        let refuse = |reason: &str| OriginError { text: text.to_owned(), reason: reason.to_owned() };
        let (methods, address) = match text.trim().split_once(' ') {
            Some((methods, address)) => (Some(methods), address.trim_start()),
            None => (None, text.trim()),
        };
        let methods = methods.map(|methods| methods.split(',').map(str::to_owned).collect::<Vec<_>>());
        let is_method = |method: &String| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if !methods.iter().flatten().all(is_method) {
            return Err(refuse("the methods before it are capital letters with commas between them"));
        }
        let url = Url::parse(address).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("only http and https are served"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("a user or password does not belong in it"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("a query or fragment does not belong in it"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return Err(refuse("it has no host")) };
        let path = format!("{}/", url.path().trim_end_matches('/'));
        Ok(Self { scheme: url.scheme().to_owned(), host: host.to_owned(), port, path, methods, named_by })
    }

    /// Is the URL within this origin, for this method?
    #[must_use]
    pub fn allows(&self, method: &str, url: &Url) -> bool {
        self.covers(url) && self.methods.as_ref().is_none_or(|methods| methods.iter().any(|allowed| allowed == method))
    }

    /// Is the URL within this origin, whatever the method?
    #[must_use]
    pub fn covers(&self, url: &Url) -> bool {
        url.scheme() == self.scheme
            && url.port_or_known_default() == Some(self.port)
            && url.host().is_some_and(|host| same_host(&host, &self.host))
            && within(url.path(), &self.path)
    }

    /// What a request to this origin may connect to.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match (&self.host, self.named_by) {
            (_, NamedBy::Manifest) => Reach::Public,
            (Host::Domain(name), _) if is_localhost(name) => Reach::Loopback,
            (Host::Domain(_), NamedBy::Operator) => Reach::Public,
            (Host::Domain(_), NamedBy::OperatorAsPrivate) => Reach::Private,
            (Host::Ipv4(_) | Host::Ipv6(_), _) => Reach::Local,
        }
    }

    /// Does it name this machine or its network in so many words?
    #[must_use]
    pub fn is_inside(&self) -> bool {
        match &self.host {
            Host::Domain(name) => is_localhost(name),
            Host::Ipv4(address) => scope(IpAddr::V4(*address)) != Scope::Public,
            Host::Ipv6(address) => scope(IpAddr::V6(*address)) != Scope::Public,
        }
    }

    /// What somebody should know before they grant it; nothing for a public name over https.
    #[must_use]
    pub fn remarks(&self) -> Vec<&'static str> {
        let of_address = |address: IpAddr| match scope(address) {
            Scope::Public => "an address instead of a name",
            Scope::Private => "an address of a private network",
            Scope::Loopback => "this machine",
            Scope::LinkLocal => "an address at which clouds answer with credentials",
            Scope::Unusable => "an address where nobody answers",
        };
        let host = match &self.host {
            Host::Domain(name) if is_localhost(name) => Some("this machine"),
            Host::Domain(_) if self.named_by == NamedBy::OperatorAsPrivate => Some("may lead into a private network"),
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(of_address(IpAddr::V4(*address))),
            Host::Ipv6(address) => Some(of_address(IpAddr::V6(*address))),
        };
        let plain = (self.scheme == "http").then_some("not encrypted");
        let is_foreign = matches!(&self.host, Host::Domain(name) if name.split('.').any(|label| label.starts_with("xn--")));
        let foreign = is_foreign.then_some("letters that may look like others");
        plain.into_iter().chain(foreign).chain(host).collect()
    }
}

impl Reach {
    /// May this address be connected to?
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match scope(address) {
            Scope::Public => self != Self::Loopback,
            Scope::Private => matches!(self, Self::Private | Self::Local),
            Scope::Loopback => self != Self::Public,
            Scope::LinkLocal => self == Self::Local,
            Scope::Unusable => false,
        }
    }
}

/// The address, freed of every form that carries an IPv4 address in an IPv6 one.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let parts = v6.segments();
    let last = |parts: [u16; 8]| Ipv4Addr::from(u32::from(parts[6]) << 16 | u32::from(parts[7]));
    match parts {
        // ::1 and :: are IPv6 addresses, not IPv4 ones in the compatible form.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // Compatible, mapped, translated (RFC 2765), NAT64 with the well-known prefix.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => IpAddr::V4(last(parts)),
        // 6to4.
        [0x2002, high, low, ..] => IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        _ => address,
    }
}

/// What an address is good for.
#[must_use]
pub fn scope(address: IpAddr) -> Scope {
    match plain(address) {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

fn scope_v4(address: Ipv4Addr) -> Scope {
    match address.octets() {
        [127, ..] => Scope::Loopback,
        // Where Alibaba's and Azure's machines get their credentials.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Scope::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Scope::Private,
        [169, 254, ..] => Scope::LinkLocal,
        [0 | 224..=255, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Scope::Unusable
        }
        _ => Scope::Public,
    }
}

fn scope_v6(address: Ipv6Addr) -> Scope {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Scope::Loopback,
        // Where Amazon's, Google's and Scaleway's machines get their credentials.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] | [0xfd00, 0x42, ..] => Scope::LinkLocal,
        [0xfc00..=0xfdff, ..] => Scope::Private,
        // NAT64 with a prefix of the network's own: it may lead to any of these.
        [0x64, 0xff9b, 1, ..] => Scope::LinkLocal,
        [0xfe80..=0xfebf, ..] => Scope::LinkLocal,
        // Teredo, ORCHID, benchmarking and documentation lie in the global range, but nothing public is there.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Scope::Unusable,
        [0x2000..=0x3fff, ..] => Scope::Public,
        _ => Scope::Unusable,
    }
}

/// Is this the loopback host, for which http is as good as https?
#[must_use]
pub fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_localhost(name),
        Host::Ipv4(address) => scope(IpAddr::V4(*address)) == Scope::Loopback,
        Host::Ipv6(address) => scope(IpAddr::V6(*address)) == Scope::Loopback,
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

fn same_host(a: &Host<&str>, b: &Host) -> bool {
    match (a, b) {
        (Host::Domain(a), Host::Domain(b)) => a.strip_suffix('.').unwrap_or(a) == b.strip_suffix('.').unwrap_or(b),
        (Host::Ipv4(a), Host::Ipv4(b)) => a == b,
        (Host::Ipv6(a), Host::Ipv6(b)) => a == b,
        _ => false,
    }
}

/// Is `path` at or below `prefix`, which ends with a slash? A path that some servers would read as leaving it is not.
fn within(path: &str, prefix: &str) -> bool {
    if prefix == "/" {
        return true;
    }
    let below = path.starts_with(prefix) || path == prefix.trim_end_matches('/');
    let lower = path.to_ascii_lowercase();
    // Servers that cut off what follows a semicolon read `..;x` as `..`.
    let climbs =
        lower.split('/').any(|segment| matches!(segment.split(';').next().map(|name| name.split("%3b").next()), Some(Some("." | ".."))));
    below && !climbs && !lower.contains("%2f") && !lower.contains("%5c") && !path.contains('\\') && !lower.contains("%25")
}

#[cfg(test)]
mod tests;
