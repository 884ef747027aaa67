//! Sending a request and following its redirects.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, COOKIE, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use stellaclaw_bindings::types::{Error, ErrorKind};
use tokio::time::Instant;
use url::{Host, Url};

use super::body::Body;
use super::client::Blocked;
use super::request::{Form, Prepared, is_private_enough};
use super::{HttpContext, error};
use crate::limits;
use crate::plugins::policy::net::{OriginGrant, Reach};
use crate::secrets::Redactor;

/// Sends a request; returns when the headers of the answer are there.
pub(super) async fn exchange(context: &HttpContext, mut request: Prepared) -> Result<Body, Error> {
    let deadline = Instant::now() + request.total;
    let first = request.url.origin();
    // Once a redirect has led to another origin no credential is added again, even if the way leads back.
    let mut at_home = true;
    let mut followed = 0;
    loop {
        let reach = reach(context, &request.method, &request.url, followed > 0)?;
        let response = one(context, &request, reach, at_home, deadline).await?;
        let Some(next) = location(&request.url, &response) else { return answer(context, &request, response, deadline) };
        if request.redirects == 0 {
            return answer(context, &request, response, deadline);
        }
        if followed == request.redirects {
            return Err(error(ErrorKind::Failed, format!("more than {followed} redirects")));
        }
        followed += 1;
        let next = next.map_err(|reason| error(ErrorKind::Failed, format!("the server redirects to no address: {reason}")))?;
        if next.origin() != first {
            at_home = false;
            // A server that repeats the query in its redirect would send the secret there.
            if context.redactor.text(next.as_str()) != next.as_str() {
                let shown = context.redactor.text(&shown(&next)).into_owned();
                return Err(error(ErrorKind::Denied, format!("the redirect to {shown} carries a secret")));
            }
            request.headers.remove(AUTHORIZATION);
            request.headers.remove(COOKIE);
        }
        turn(&mut request, response.status(), next);
    }
}

/// The next request of a redirect: a form that was posted is fetched, everything else is repeated.
fn turn(request: &mut Prepared, status: StatusCode, next: Url) {
    let fetch = match status {
        StatusCode::SEE_OTHER => request.method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => request.method == Method::POST,
        _ => false,
    };
    if fetch {
        request.method = Method::GET;
        request.body = None;
        let content: Vec<_> = request.headers.keys().filter(|name| name.as_str().starts_with("content-")).cloned().collect();
        for name in content {
            request.headers.remove(name);
        }
    }
    request.url = next;
}

/// Which addresses the granted origin reaches; an error if there is none.
pub(super) fn reach(context: &HttpContext, method: &Method, url: &Url, redirected: bool) -> Result<Reach, Error> {
    let granted = context.origins.iter().filter(|origin| origin.allows(method.as_str(), url));
    // The operator's word goes beyond the manifest's when both name the origin.
    let Some(reach) = granted.map(OriginGrant::reach).max_by_key(|reach| *reach != Reach::Public) else {
        let (origin, plugin) = (url.origin().ascii_serialization(), &context.plugin);
        let what = if redirected { "the redirect to" } else { "the request to" };
        return Err(error(
            ErrorKind::Denied,
            format!("{what} {} is not granted; to allow it add {origin:?} to [plugins.{plugin}] http", context.redactor.text(&shown(url))),
        ));
    };
    let literal: Option<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        _ => None,
    };
    match literal {
        Some(address) if !reach.allows(address) => {
            let blocked = Blocked { name: url.host_str().unwrap_or_default().to_owned(), address };
            Err(error(ErrorKind::Denied, blocked.refusal(&context.plugin)))
        }
        _ => Ok(reach),
    }
}

/// One request and the head of its answer.
pub(super) async fn one(
    context: &HttpContext,
    request: &Prepared,
    reach: Reach,
    at_home: bool,
    deadline: Instant,
) -> Result<reqwest::Response, Error> {
    let body = request.body.as_ref().map(|body| reqwest::Body::wrap(body.body()));
    let (client, sent) = outgoing(context, request, reach, at_home, body)?;
    // The server may think for as long as it may be silent later.
    let silence = request.connect.saturating_add(request.idle);
    match tokio::time::timeout(silence.min(deadline.saturating_duration_since(Instant::now())), client.execute(sent)).await {
        Ok(done) => done.map_err(|failure| failed(context, failure)),
        Err(_) => Err(too_late(deadline, request.idle, request.total)),
    }
}

/// The request as it leaves, with the credentials that may go where it goes.
pub(super) fn outgoing(
    context: &HttpContext,
    request: &Prepared,
    reach: Reach,
    at_home: bool,
    body: Option<reqwest::Body>,
) -> Result<(reqwest::Client, reqwest::Request), Error> {
    let client = context.client.client(reach, request.speaks, request.connect).map_err(|failure| failed(context, failure))?;
    let mut url = request.url.clone();
    let mut headers = request.headers.clone();
    if at_home && is_private_enough(&url) {
        for credential in &request.credentials {
            if !credential.slot.origins.iter().any(|origin| origin.covers(&request.url)) {
                continue;
            }
            match &credential.form {
                Form::Header(name, value) => drop(headers.insert(name, value.clone())),
                Form::Query(name) if url.query_pairs().any(|(key, _)| key == *name) => {}
                Form::Query(name) => drop(url.query_pairs_mut().append_pair(name, credential.slot.secret.expose())),
            }
        }
    }
    let mut sent = reqwest::Request::new(request.method.clone(), url);
    *sent.headers_mut() = headers;
    *sent.body_mut() = body;
    context.progress.leaves();
    Ok((client, sent))
}

/// Why there is no answer.
pub(super) fn failed(context: &HttpContext, failure: reqwest::Error) -> Error {
    if failure.is_connect() {
        context.progress.stays();
    }
    match blocked(&failure) {
        Some(blocked) => error(ErrorKind::Denied, blocked.refusal(&context.plugin)),
        None => describe(&context.redactor, failure, "send the request"),
    }
}

/// What a time limit that was reached is called.
pub(super) fn too_late(deadline: Instant, idle: Duration, total: Duration) -> Error {
    let message = if Instant::now() >= deadline {
        format!("the request took longer than {} ms in total", total.as_millis())
    } else {
        format!("the server was silent for {} ms", idle.as_millis())
    };
    error(ErrorKind::Timeout, message)
}

/// Where a redirect leads; none if the answer is none. `from` is the address without the credentials that were put in:
/// what is relative to it cannot repeat one.
fn location(from: &Url, response: &reqwest::Response) -> Option<Result<Url, String>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let next = std::str::from_utf8(location.as_bytes()).map_err(|error| error.to_string()).and_then(|location| {
        let mut next = from.join(location).map_err(|error| error.to_string())?;
        next.set_fragment(None);
        if !matches!(next.scheme(), "http" | "https") || !next.username().is_empty() || next.password().is_some() {
            return Err("it is not http or https, or carries a user".to_owned());
        }
        Ok(next)
    });
    Some(next)
}

/// What the guest is given of an answer.
pub(super) fn answer(context: &HttpContext, request: &Prepared, response: reqwest::Response, deadline: Instant) -> Result<Body, Error> {
    let headers = shown_headers(context, response.headers())?;
    // What reqwest could decode has lost this header; the rest would pass the redaction unread.
    let encoding = response.headers().get(CONTENT_ENCODING).filter(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if let Some(encoding) = encoding.filter(|_| request.method != Method::HEAD) {
        let encoding = context.redactor.text(&String::from_utf8_lossy(encoding.as_bytes())).into_owned();
        return Err(error(ErrorKind::Failed, format!("the server answers in the encoding {encoding:?}; gzip is served")));
    }
    let url = context.redactor.text(request.url.as_str()).into_owned();
    Ok(Body::new(response, url, headers, context.redactor.clone(), request.idle, request.total, deadline))
}

pub(super) fn shown_headers(context: &HttpContext, headers: &HeaderMap) -> Result<Vec<(String, String)>, Error> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > limits::HEADER_BYTES {
        return Err(error(ErrorKind::TooLarge, format!("the answer's headers have over {} bytes", limits::HEADER_BYTES)));
    }
    let shown = |value: &[u8]| context.redactor.text(&String::from_utf8_lossy(value)).into_owned();
    Ok(headers.iter().map(|(name, value)| (shown(name.as_str().as_bytes()), shown(value.as_bytes()))).collect())
}

/// The address without its query, which may be long and private.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Was it refused because of where the name leads?
fn blocked(failure: &reqwest::Error) -> Option<&Blocked> {
    let mut source = failure.source();
    while let Some(cause) = source {
        if let Some(blocked) = cause.downcast_ref() {
            return Some(blocked);
        }
        source = cause.source();
    }
    None
}

/// What went wrong, without the address (it may carry a secret) and without secrets.
pub(super) fn describe(redactor: &Redactor, failure: reqwest::Error, what: &str) -> Error {
    let failure = failure.without_url();
    let mut causes = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        causes = format!("{causes}: {cause}");
        source = cause.source();
    }
    let kind = if failure.is_timeout() {
        ErrorKind::Timeout
    } else if failure.is_builder() {
        ErrorKind::Invalid
    } else {
        ErrorKind::Unavailable
    };
    error(kind, format!("{what}: {}", redactor.text(&causes)))
}
