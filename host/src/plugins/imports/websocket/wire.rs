//! The bytes of a connection, counted as they come: a message is read whole before anybody sees it, so only here can be told
//! how much a server makes the host hold.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits;

/// What came on a connection, and what still may.
pub(super) struct Meter {
    /// Since the last whole message.
    unfinished: AtomicUsize,
    /// What may still come.
    left: AtomicUsize,
}

impl Meter {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { unfinished: AtomicUsize::new(0), left: AtomicUsize::new(usize::MAX) })
    }

    pub fn message(&self) {
        self.unfinished.store(0, Ordering::Relaxed);
    }

    /// What is held of a message that is not whole.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Little may come from now on, or anything again.
    pub fn park(&self, is_parked: bool) {
        self.left.store(if is_parked { limits::PARKED_BYTES } else { usize::MAX }, Ordering::Relaxed);
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        self.unfinished.fetch_add(bytes, Ordering::Relaxed);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        left.map(drop).map_err(|_| io::Error::other("too much came while nobody was there for it"))
    }
}

/// A stream whose bytes are counted.
pub(super) struct Metered<S> {
    pub inner: S,
    pub meter: Arc<Meter>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        Poll::Ready(self.meter.count(buffer.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
