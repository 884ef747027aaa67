//! A guest's request, checked: what can be refused without touching the network is refused here.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use stellaclaw_bindings::chat::Timeouts;
use stellaclaw_bindings::http::{Credential, Place, Request};
use stellaclaw_bindings::types::{Error, ErrorKind};
use url::Url;

use super::client::Speaks;
use super::{HttpContext, SlotGrant, error};
use crate::limits;
use crate::plugins::imports::pieces::Pieces;
use crate::plugins::policy::net::is_loopback;

/// Headers that belong to the connection or to the host. `accept-encoding`: an encoding the host cannot read would hide
/// a secret from the redaction.
const RESERVED: [&str; 14] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "expect",
    "accept-encoding",
    "http2-settings",
];

/// A request that may be sent, as far as can be said before its address is checked.
pub(super) struct Prepared {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// None: it has none.
    pub body: Option<Pieces>,
    pub credentials: Vec<Prefilled>,
    pub redirects: u8,
    pub speaks: Speaks,
    pub connect: Duration,
    pub idle: Duration,
    pub total: Duration,
}

/// A credential with the value in it, and where it may go.
pub(super) struct Prefilled {
    pub slot: SlotGrant,
    pub form: Form,
}

/// What is added to a request.
pub(super) enum Form {
    Header(HeaderName, HeaderValue),
    Query(String),
}

/// Checks a request and fills in its credentials.
pub(super) fn prepare(context: &HttpContext, request: Request) -> Result<Prepared, Error> {
    let invalid = |message: String| error(ErrorKind::Invalid, message);
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| {
            method.as_str().bytes().all(|byte| byte.is_ascii_uppercase()) && *method != Method::CONNECT && *method != Method::TRACE
        })
        .ok_or_else(|| {
            invalid(format!("{:?} is no method that http.send serves; use GET, POST or another in capital letters", request.method))
        })?;
    let mut url = Url::parse(&request.url).map_err(|error| invalid(format!("the url cannot be read: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(invalid(format!("the url begins with {}:, http.send serves http and https", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the url carries a user or password; use `credentials`".to_owned()));
    }
    url.set_fragment(None);
    let headers = headers(&request.headers)?;
    let mut credentials = Vec::with_capacity(request.credentials.len());
    for credential in request.credentials {
        credentials.push(prefill(context, credential, &url, &headers)?);
    }
    let body = if request.body.is_empty() { None } else { Some(Pieces::resolve(&context.blobs, request.body)?) };
    let timeouts = request.timeouts.unwrap_or(Timeouts { connect: 0, idle: 0, total: 0 });
    let or = |millis: u64, default: Duration| if millis == 0 { default } else { Duration::from_millis(millis).min(limits::HTTP_TIME_MAX) };
    Ok(Prepared {
        method,
        url,
        headers,
        body,
        credentials,
        redirects: request.redirects.min(limits::REDIRECTS),
        speaks: Speaks::Any,
        connect: or(timeouts.connect, limits::HTTP_CONNECT),
        idle: or(timeouts.idle, limits::HTTP_IDLE),
        total: or(timeouts.total, limits::HTTP_TOTAL),
    })
}

fn headers(given: &[(String, String)]) -> Result<HeaderMap, Error> {
    let invalid = |message: String| error(ErrorKind::Invalid, message);
    // A map for more than 24,576 panics.
    if given.len() > limits::HEADERS {
        return Err(error(ErrorKind::TooLarge, format!("the request has {} headers, {} are served", given.len(), limits::HEADERS)));
    }
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::HEADER_BYTES {
        return Err(error(ErrorKind::TooLarge, format!("the headers have {bytes} bytes, {} are served", limits::HEADER_BYTES)));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("{name:?} is no header name")))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(invalid(format!("the header {name} is set by the host; leave it out")));
        }
        // This refuses CR, LF and NUL.
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| invalid(format!("the value of the header {name} has a control character, such as a line break")))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn prefill(context: &HttpContext, credential: Credential, url: &Url, headers: &HeaderMap) -> Result<Prefilled, Error> {
    let invalid = |message: String| error(ErrorKind::Invalid, message);
    let (plugin, slot) = (&context.plugin, credential.slot);
    let granted = context.slots.iter().find(|granted| granted.slot == slot).cloned().ok_or_else(|| {
        error(
            ErrorKind::Denied,
            format!(
                "the secret slot {slot:?} is empty; fill it with [plugins.{plugin}] secrets.{slot} = {{ env = \"…\", origins = [\"…\"] }}"
            ),
        )
    })?;
    let secret = granted.secret.expose();
    let form = match credential.place {
        Place::Bearer => header("authorization", &format!("Bearer {secret}"))?,
        Place::Basic(user) if user.contains(':') || user.chars().any(char::is_control) => {
            return Err(invalid("a user name for basic authorization has no colon and no control character".to_owned()));
        }
        Place::Basic(user) => header("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{secret}"))))?,
        Place::Header(name) => header(&name, secret)?,
        Place::Query(name) => Form::Query(name),
    };
    match &form {
        Form::Header(name, _) if headers.contains_key(name) => {
            return Err(invalid(format!("the header {name} is given and is also a credential's place; leave one out")));
        }
        Form::Query(name) if url.query_pairs().any(|(key, _)| key == *name) => {
            return Err(invalid(format!("the url has the parameter {name:?}, which is also a credential's place; leave one out")));
        }
        _ => {}
    }
    if !granted.origins.iter().any(|origin| origin.covers(url)) {
        let origin = url.origin().ascii_serialization();
        return Err(error(
            ErrorKind::Denied,
            format!(
                "the secret in slot {slot:?} may not go to {origin}; to allow it add the origin to [plugins.{plugin}] secrets.{slot}.origins"
            ),
        ));
    }
    if !is_private_enough(url) {
        return Err(error(ErrorKind::Denied, format!("the secret in slot {slot:?} goes only over https; the url begins with http:")));
    }
    Ok(Prefilled { slot: granted, form })
}

/// https, or a host that is this machine.
pub(super) fn is_private_enough(url: &Url) -> bool {
    url.scheme() == "https" || url.host().is_some_and(|host| is_loopback(&host))
}

fn header(name: &str, value: &str) -> Result<Form, Error> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|name| !RESERVED.contains(&name.as_str()))
        .ok_or_else(|| error(ErrorKind::Invalid, format!("{name:?} is no header that a credential can be put in")))?;
    let mut value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| error(ErrorKind::Invalid, "the secret has a control character and cannot be put in a header"))?;
    value.set_sensitive(true);
    Ok(Form::Header(name, value))
}
