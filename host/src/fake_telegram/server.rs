//! HTTP: from a connection to a call, and back, with the harm that a fault does on the way.

pub(super) mod request;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::check::Refusal;
use super::faults::Harm;
use super::methods::{self, updates};
use super::params::Params;
use super::{Shared, view};
use crate::fake_telegram::limits;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(super) type Answer = Response<Body>;

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends here")]
pub(super) struct Gone;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&shared, request));
                    // How a connection ends is in the log, call by call.
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the fake Bot API server failed to accept a connection");
                tokio::time::sleep(limits::LOOK).await;
            }
        }
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Gone> {
    let path = request.uri().path().to_owned();
    if path == "/" || path.starts_with("/_/") {
        return Ok(view::answer(shared, request).await);
    }
    if let Some((token, file)) = path.strip_prefix("/file/bot").and_then(|rest| rest.split_once('/')) {
        return download(shared, token, file).await;
    }
    match path.strip_prefix("/bot").and_then(|rest| rest.split_once('/')) {
        Some((token, method)) => call(shared, token, method, request).await,
        None => Ok(refused(&Refusal::new(404, "Not Found"))),
    }
}

/// Ends the log's entry of a call, also when its bot goes away.
struct Entry<'a> {
    shared: &'a Shared,
    number: u64,
    ended: bool,
}

impl Entry<'_> {
    fn end(&mut self) {
        self.ended = true;
        self.shared.change(|inner| inner.log.end(inner.state.now, self.number, false));
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.change(|inner| inner.log.end(inner.state.now, self.number, true));
        }
    }
}

async fn call(shared: &Arc<Shared>, token: &str, method: &str, request: Request<Incoming>) -> Result<Answer, Gone> {
    // A request whose body never comes whole has not arrived.
    let read = request::read(request).await.map_err(|_| Gone)?;
    let (params, wrong) = match read {
        Ok(params) => (params, None),
        Err(refusal) => (Params::default(), Some(refusal)),
    };
    let wrong = if token == shared.token { wrong } else { Some(Refusal::new(401, "Unauthorized")) };
    let (number, harm) = shared.arrived(method, params.json());
    let mut entry = Entry { shared, number, ended: false };
    if let Some(harm) = &harm {
        before(shared, &mut entry, harm).await?;
    }
    let result = match (&harm, wrong) {
        (Some(Harm::Refuse(refusal)), _) => Err(refusal.clone()),
        (Some(Harm::Page { status, processed: false }), _) => {
            entry.end();
            return Ok(page(*status));
        }
        (_, Some(refusal)) => Err(refusal),
        _ => process(shared, method, params).await,
    };
    shared.change(|inner| inner.log.result(number, result.clone()));
    let harm = harm.filter(|harm| !matches!(harm, Harm::Refuse(_)));
    let (status, body) = match &result {
        Ok(result) => (200, json!({"ok": true, "result": result})),
        Err(refusal) => (refusal.code, refusal.body()),
    };
    after(shared, &mut entry, harm, status, "application/json", Bytes::from(body.to_string())).await
}

/// The harm that comes before anything is done.
async fn before(shared: &Shared, entry: &mut Entry<'_>, harm: &Harm) -> Result<(), Gone> {
    match harm {
        Harm::Hang { processed: false } => std::future::pending().await,
        Harm::Lost { processed: false } => {
            entry.end();
            Err(Gone)
        }
        Harm::Hold { name, processed: false } => {
            shared.held(name).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Answers, with the harm that comes after all was done.
async fn after(shared: &Shared, entry: &mut Entry<'_>, harm: Option<Harm>, status: u16, kind: &str, body: Bytes) -> Result<Answer, Gone> {
    match &harm {
        Some(Harm::Hang { processed: true }) => std::future::pending().await,
        Some(Harm::Hold { name, processed: true }) => shared.held(name).await,
        Some(Harm::Delay(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    entry.end();
    match harm {
        Some(Harm::Lost { processed: true }) => Err(Gone),
        Some(Harm::Page { processed: true, status }) => Ok(page(status)),
        Some(Harm::Odd) => Ok(whole(status, kind, Bytes::from_static(br#"{"ok":true,"result":[]}"#))),
        Some(Harm::Cut) => Ok(cut(status, kind, &body)),
        Some(Harm::Slow { bytes, pause }) => Ok(slow(status, kind, body, bytes, pause)),
        _ => Ok(whole(status, kind, body)),
    }
}

async fn process(shared: &Shared, method: &str, params: Params) -> Result<Value, Refusal> {
    if method != methods::GET_UPDATES {
        return shared.change(|inner| methods::call(&mut inner.state, method, params));
    }
    let poll = shared.change(|inner| updates::begin_poll(&mut inner.state, params))?;
    let mut changes = shared.changes();
    let until = tokio::time::Instant::now() + poll.timeout;
    loop {
        // What is there at the very end is delivered, too.
        let over = tokio::time::Instant::now() >= until;
        match shared.look(|inner| updates::poll(&mut inner.state, &poll))? {
            Some(found) => return Ok(found),
            None if over => return Ok(json!([])),
            None => {}
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

async fn download(shared: &Arc<Shared>, token: &str, path: &str) -> Result<Answer, Gone> {
    let (number, harm) = shared.arrived("download", json!({"path": path}));
    let mut entry = Entry { shared, number, ended: false };
    if let Some(harm) = &harm {
        before(shared, &mut entry, harm).await?;
    }
    let result = match &harm {
        Some(Harm::Refuse(refusal)) => Err(refusal.clone()),
        Some(Harm::Page { status, processed: false }) => {
            entry.end();
            return Ok(page(*status));
        }
        _ if token != shared.token => Err(Refusal::new(401, "Unauthorized")),
        _ => shared.look(|inner| inner.state.file_at(path).map(|file| file.bytes.clone())).ok_or(Refusal::new(404, "Not Found")),
    };
    shared.change(|inner| inner.log.result(number, result.as_ref().map(|bytes| json!({"size": bytes.len()})).map_err(Clone::clone)));
    match result {
        Ok(bytes) => after(shared, &mut entry, harm, 200, "application/octet-stream", bytes).await,
        Err(refusal) => {
            entry.end();
            Ok(refused(&refusal))
        }
    }
}

fn response(status: u16, kind: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    }
    response
}

pub(super) fn whole(status: u16, kind: &str, body: Bytes) -> Answer {
    response(status, kind, Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn refused(refusal: &Refusal) -> Answer {
    whole(refusal.code, "application/json", Bytes::from(refusal.body().to_string()))
}

fn page(status: u16) -> Answer {
    let text = "<html><head><title>Something went wrong</title></head><body><h1>Something went wrong</h1></body></html>";
    whole(status, "text/html", Bytes::from_static(text.as_bytes()))
}

/// Half of the body, of which the header promises all.
fn cut(status: u16, kind: &str, body: &Bytes) -> Answer {
    let parts = stream::unfold(Some(body.slice(..body.len() / 2)), |half| async {
        match half {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                // What was sent so far arrives.
                tokio::time::sleep(limits::LOOK).await;
                Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None))
            }
        }
    });
    sized(body.len(), response(status, kind, StreamBody::new(parts).boxed_unsync()))
}

fn slow(status: u16, kind: &str, body: Bytes, bytes: usize, pause: Duration) -> Answer {
    let length = body.len();
    let pieces = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(bytes.min(rest.len()));
        Some((Ok(Frame::data(piece)), rest))
    });
    sized(length, response(status, kind, StreamBody::new(pieces).boxed_unsync()))
}

fn sized(length: usize, mut answer: Answer) -> Answer {
    answer.headers_mut().insert(hyper::header::CONTENT_LENGTH, length.into());
    answer
}
