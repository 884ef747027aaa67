//! A body that is written while it is sent.
//!
//! A write returns when there is room for it: two pieces are in memory at most, one here and one with the connection. The
//! request is driven by the imports of its own call alone, and an upload that is dropped breaks it off: the server never
//! sees a body that was given up as a whole one. What was sent cannot be sent again, so no redirect is followed; it is the
//! answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use hyper::body::{Body, Frame, SizeHint};
use stellaclaw_bindings::http::Request;
use stellaclaw_bindings::types::{Error, ErrorKind};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::exchange::{answer, failed, outgoing, reach, too_late};
use super::request::{Prepared, prepare};
use super::{HttpContext, body, error};
use crate::limits;

/// A request that is on its way while its body is written.
pub(super) struct Sending {
    request: Prepared,
    exchange: Exchange,
    room: mpsc::Sender<Bytes>,
    whole: Arc<AtomicBool>,
    /// What may still be written.
    left: u64,
    /// `left` must be written.
    exact: bool,
    deadline: Instant,
}

enum Exchange {
    Open(BoxFuture<'static, reqwest::Result<reqwest::Response>>),
    /// The server did not wait for the whole body.
    Answered(reqwest::Response),
    Failed(Error),
}

impl Sending {
    /// Checks the request; nothing is sent before the first write.
    pub fn open(context: &HttpContext, request: Request, length: Option<u64>) -> Result<Self, Error> {
        if !request.body.is_empty() {
            return Err(error(ErrorKind::Invalid, "the body of an upload is what is written to it; leave request.body empty"));
        }
        let left = length.unwrap_or(limits::UPLOAD_BYTES);
        if left > limits::UPLOAD_BYTES {
            return Err(error(ErrorKind::TooLarge, format!("an upload has at most {} bytes", limits::UPLOAD_BYTES)));
        }
        let request = prepare(context, request)?;
        let reach = reach(context, &request.method, &request.url, false)?;
        let (room, receiver) = mpsc::channel(1);
        let whole = Arc::new(AtomicBool::new(false));
        let body = UploadBody { receiver, whole: whole.clone(), left: length };
        let (client, sent) = outgoing(context, &request, reach, true, Some(reqwest::Body::wrap(body)))?;
        let exchange = Exchange::Open(async move { client.execute(sent).await }.boxed());
        let deadline = Instant::now() + request.total;
        Ok(Self { request, exchange, room, whole, left, exact: length.is_some(), deadline })
    }

    /// Sends a part of the body, as soon as there is room for it.
    pub async fn write(&mut self, context: &HttpContext, data: Vec<u8>) -> Result<(), Error> {
        let Some(left) = self.left.checked_sub(data.len() as u64) else {
            let (left, what) = (self.left, if self.exact { "the length that was announced" } else { "what an upload may have" });
            return Err(error(ErrorKind::TooLarge, format!("{} bytes are {left} at most: that is {what}", data.len())));
        };
        self.left = left;
        let mut data = Bytes::from(data);
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(limits::READ_BYTES));
            let Exchange::Open(pending) = &mut self.exchange else { return Err(self.over()) };
            let idle = self.request.connect.saturating_add(self.request.idle);
            let patience = idle.min(self.deadline.saturating_duration_since(Instant::now()));
            tokio::select! {
                biased;
                ended = &mut *pending => {
                    self.exchange = Exchange::of(context, ended);
                    return Err(self.over());
                }
                room = self.room.reserve() => match room {
                    Ok(room) => room.send(piece),
                    // Nobody reads the body any more; the exchange says why.
                    Err(_) => {
                        let ended = pending.await;
                        self.exchange = Exchange::of(context, ended);
                        return Err(self.over());
                    }
                },
                // The piece is lost: what was sent must not pass as whole.
                () = tokio::time::sleep(patience) => {
                    let late = too_late(self.deadline, self.request.idle, self.request.total);
                    self.exchange = Exchange::Failed(late.clone());
                    return Err(late);
                }
            }
        }
        Ok(())
    }

    /// The body is whole: waits for the answer.
    pub async fn finish(self, context: &HttpContext) -> Result<body::Body, Error> {
        let Self { request, exchange, room, whole, left, exact, deadline } = self;
        let response = match exchange {
            Exchange::Answered(response) => response,
            Exchange::Failed(why) => return Err(why),
            Exchange::Open(_) if exact && left > 0 => {
                return Err(error(
                    ErrorKind::Invalid,
                    format!("{left} bytes of the announced length were not written; the upload is given up"),
                ));
            }
            Exchange::Open(pending) => {
                whole.store(true, Ordering::Release);
                drop(room);
                let silence = request.connect.saturating_add(request.idle);
                let patience = silence.min(deadline.saturating_duration_since(Instant::now()));
                match tokio::time::timeout(patience, pending).await {
                    Ok(ended) => ended.map_err(|failure| failed(context, failure))?,
                    Err(_) => return Err(too_late(deadline, request.idle, request.total)),
                }
            }
        };
        answer(context, &request, response, deadline)
    }

    /// Why nothing more can be written.
    fn over(&self) -> Error {
        match &self.exchange {
            Exchange::Failed(why) => why.clone(),
            Exchange::Answered(_) | Exchange::Open(_) => {
                error(ErrorKind::Conflict, "the server has answered before it had the whole body; finish the upload to read its answer")
            }
        }
    }
}

impl Exchange {
    fn of(context: &HttpContext, ended: reqwest::Result<reqwest::Response>) -> Self {
        match ended {
            Ok(response) => Self::Answered(response),
            Err(failure) => Self::Failed(failed(context, failure)),
        }
    }
}

/// The connection's end.
struct UploadBody {
    receiver: mpsc::Receiver<Bytes>,
    /// What was written is all of it.
    whole: Arc<AtomicBool>,
    left: Option<u64>,
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(context).map(|piece| match piece {
            Some(piece) => {
                self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
                Some(Ok(Frame::data(piece)))
            }
            None if self.whole.load(Ordering::Acquire) => None,
            None => Some(Err(io::Error::other("the upload was given up"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
