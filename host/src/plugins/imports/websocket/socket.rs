//! An open connection: a task of its own reads ahead, answers pings and writes; what it reads lies in an inbox.
//!
//! The task is the connection's: it ends when its [`Socket`] is dropped, and the connection with it. One task does both
//! directions, so that neither side waits for the other to read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use futures_util::{Sink as _, Stream as _};
use stellaclaw_bindings::http::Header;
use stellaclaw_bindings::types::{Error, ErrorKind};
use stellaclaw_bindings::websocket::Frame;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::super::http::error;
use super::wire::{Meter, Metered};
use crate::limits;
use crate::secrets::{Redactor, Secret};

/// A close without a code (RFC 6455, 7.4.1).
const NO_CODE: u16 = 1005;

/// An open connection.
pub struct Socket {
    /// Of the server's answer.
    pub headers: Vec<Header>,
    inbox: Arc<Inbox>,
    outgoing: mpsc::Sender<Outgoing>,
    meter: Arc<Meter>,
    redactor: Redactor,
    task: AbortHandle,
}

/// A message that goes, and who waits for it to be gone.
struct Outgoing {
    text: String,
    gone: oneshot::Sender<Result<(), Error>>,
}

/// What came and was not taken.
#[derive(Default)]
struct Inbox {
    state: Mutex<Unread>,
    arrived: Notify,
    /// The task, when it waits for room.
    reader: AtomicWaker,
}

#[derive(Default)]
struct Unread {
    frames: VecDeque<Frame>,
    bytes: usize,
    end: Option<Error>,
}

impl Socket {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, headers: Vec<Header>, redactor: Redactor) -> Self {
        let (inbox, meter) = (Arc::new(Inbox::default()), Meter::new());
        let (outgoing, queue) = mpsc::channel(1);
        let pump = pump(Metered { inner: stream, meter: meter.clone() }, inbox.clone(), queue, redactor.clone());
        let task = tokio::spawn(pump).abort_handle();
        Self { headers, inbox, outgoing, meter, redactor, task }
    }

    /// Keeps these secrets out of what comes, too.
    pub(super) fn learn<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) {
        self.redactor.learn(secrets);
    }

    /// Sends one message. A wait that is given up ends the connection.
    pub(super) async fn send(&self, text: String) -> Result<(), Error> {
        struct Cut<'a>(Option<&'a AbortHandle>);
        impl Drop for Cut<'_> {
            fn drop(&mut self) {
                self.0.map(AbortHandle::abort);
            }
        }
        let (gone, sent) = oneshot::channel();
        let mut cut = Cut(Some(&self.task));
        let sent = match self.outgoing.send(Outgoing { text, gone }).await {
            Ok(()) => sent.await.ok(),
            Err(_) => None,
        };
        cut.0 = None;
        sent.unwrap_or_else(|| Err(self.inbox.why_it_ended()))
    }

    /// The next frame; none when nothing comes within `wait`. The farewell of the server is a frame, and then there is no more.
    pub(super) async fn receive(&self, wait: Duration) -> Result<Option<Frame>, Error> {
        let next = async {
            loop {
                let arrived = self.inbox.arrived.notified();
                if let Some(next) = self.inbox.take() {
                    return next;
                }
                if self.is_over() {
                    return Err(self.inbox.why_it_ended());
                }
                tokio::select! {
                    () = arrived => {}
                    () = self.outgoing.closed() => {}
                }
            }
        };
        match tokio::time::timeout(wait, next).await {
            Ok(next) => next.map(|frame| Some(self.clean(frame))),
            Err(_) => Ok(None),
        }
    }

    fn clean(&self, frame: Frame) -> Frame {
        match frame {
            Frame::Text(text) => Frame::Text(self.redactor.text(&text).into_owned()),
            Frame::Binary(bytes) => Frame::Binary(self.redactor.bytes(&bytes).into_owned()),
            Frame::Closed(code) => Frame::Closed(code),
        }
    }

    /// Is there no connection any more, whatever of it is still unread?
    pub(super) fn is_over(&self) -> bool {
        self.outgoing.is_closed()
    }

    /// Waits until there is no connection any more.
    pub(super) fn over(&self) -> impl Future<Output = ()> + use<> {
        let outgoing = self.outgoing.clone();
        async move { outgoing.closed().await }
    }

    /// Little may come from now on, or anything again.
    pub(super) fn park(&self, is_parked: bool) {
        self.meter.park(is_parked);
    }

    /// What came and was not taken, also what is not a whole message yet.
    pub(super) fn held_bytes(&self) -> usize {
        self.inbox.state().bytes + self.meter.unfinished()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, Unread> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, frame: Frame) {
        let mut state = self.state();
        state.bytes += size(&frame);
        state.frames.push_back(frame);
        drop(state);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Result<Frame, Error>> {
        let mut state = self.state();
        if let Some(frame) = state.frames.pop_front() {
            state.bytes -= size(&frame);
            drop(state);
            self.reader.wake();
            return Some(Ok(frame));
        }
        state.end.clone().map(Err)
    }

    fn end(&self, why: Error) {
        self.state().end.get_or_insert(why);
        self.arrived.notify_one();
    }

    fn why_it_ended(&self) -> Error {
        self.state().end.clone().unwrap_or_else(|| error(ErrorKind::Unavailable, "the connection was given up in the middle of a message"))
    }

    /// Is there room for what comes next? Where there is none, the task is woken when there is.
    fn has_room(&self, context: &Context<'_>) -> bool {
        self.reader.register(context.waker());
        self.state().bytes < limits::SOCKET_UNREAD_BYTES
    }
}

fn size(frame: &Frame) -> usize {
    limits::SOCKET_FRAME_BYTES
        + match frame {
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.len(),
            Frame::Closed(_) => 0,
        }
}

/// Reads and writes until the connection ends.
async fn pump<S>(stream: Metered<S>, inbox: Arc<Inbox>, queue: mpsc::Receiver<Outgoing>, redactor: Redactor)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        // Answers to pings pile up where a server does not read.
        .max_write_buffer_size(limits::SOCKET_SEND_BYTES + limits::SOCKET_UNREAD_BYTES)
        .max_message_size(Some(limits::SOCKET_MESSAGE_BYTES))
        .max_frame_size(Some(limits::SOCKET_MESSAGE_BYTES));
    let meter = stream.meter.clone();
    let stream = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await;
    let mut pump = Pump { stream, inbox, meter, queue, sending: None };
    let why = std::future::poll_fn(|context| pump.poll(context)).await;
    let why = match why {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            error(ErrorKind::Unavailable, "the connection is closed")
        }
        tungstenite::Error::Capacity(_) => {
            error(ErrorKind::TooLarge, format!("the server sends a message of over {} bytes", limits::SOCKET_MESSAGE_BYTES))
        }
        broken @ tungstenite::Error::Io(_) => {
            error(ErrorKind::Unavailable, format!("the connection broke: {}", redactor.text(&broken.to_string())))
        }
        broken => error(ErrorKind::Failed, format!("the server breaks the protocol: {}", redactor.text(&broken.to_string()))),
    };
    if let Some(Sending { gone: Some(gone), .. }) = pump.sending.take() {
        let _ = gone.send(Err(why.clone()));
    }
    pump.inbox.end(why);
}

/// Both directions of a connection.
struct Pump<S> {
    stream: WebSocketStream<Metered<S>>,
    inbox: Arc<Inbox>,
    meter: Arc<Meter>,
    queue: mpsc::Receiver<Outgoing>,
    sending: Option<Sending>,
}

/// What is on its way out.
struct Sending {
    /// None when the connection has taken it.
    message: Option<Message>,
    gone: Option<oneshot::Sender<Result<(), Error>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    /// Goes on as far as it can; ready when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<tungstenite::Error> {
        loop {
            let wrote = match self.write(context) {
                Ok(wrote) => wrote,
                Err(ended) => return Poll::Ready(ended),
            };
            let read = match self.read(context) {
                Ok(read) => read,
                Err(ended) => return Poll::Ready(ended),
            };
            if !wrote && !read {
                return Poll::Pending;
            }
        }
    }

    /// One step of writing; false when it has to wait.
    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, tungstenite::Error> {
        let Some(sending) = &mut self.sending else {
            let Poll::Ready(Some(Outgoing { text, gone })) = self.queue.poll_recv(context) else { return Ok(false) };
            self.sending = Some(Sending { message: Some(Message::text(text)), gone: Some(gone) });
            return Ok(true);
        };
        let mut stream = Pin::new(&mut self.stream);
        if sending.message.is_some() {
            let Poll::Ready(ready) = stream.as_mut().poll_ready(context) else { return Ok(false) };
            ready?;
            if let Some(message) = sending.message.take() {
                stream.as_mut().start_send(message)?;
            }
        }
        let Poll::Ready(flushed) = stream.poll_flush(context) else { return Ok(false) };
        flushed?;
        if let Some(Sending { gone: Some(gone), .. }) = self.sending.take() {
            let _ = gone.send(Ok(()));
        }
        Ok(true)
    }

    /// One step of reading; false when it has to wait.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, tungstenite::Error> {
        if !self.inbox.has_room(context) {
            return Ok(false);
        }
        let Poll::Ready(next) = Pin::new(&mut self.stream).poll_next(context) else { return Ok(false) };
        let message = next.unwrap_or(Err(tungstenite::Error::ConnectionClosed))?;
        // Between the parts of a message there may be pings: it is no whole one yet.
        if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
            self.meter.message();
        }
        match message {
            Message::Text(text) => self.inbox.put(Frame::Text(text.to_string())),
            Message::Binary(bytes) => self.inbox.put(Frame::Binary(bytes.into())),
            Message::Close(farewell) => {
                self.inbox.put(Frame::Closed(farewell.map_or(NO_CODE, |farewell| farewell.code.into())));
                // The answer, if it can go at once; nobody waits for a server to hang up.
                let _ = Pin::new(&mut self.stream).poll_flush(context);
                return Err(tungstenite::Error::ConnectionClosed);
            }
            // Pings are answered with the next look.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
        Ok(true)
    }
}
