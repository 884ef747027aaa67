//! A guest's standard output and error: kept at both ends, counted in between.
//!
//! Writing never waits, never fails and never traps: a guest that writes without end loses the middle, not its life. What
//! is kept goes to the log, and a panic's text to the error; the model sees none of it as such.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::limits;

/// A shared end of the pipe.
#[derive(Clone, Default)]
pub(super) struct Tail(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Tail {
    /// What was written, with a line that counts what is missing.
    pub fn text(&self) -> String {
        let kept = self.lock();
        let mut bytes = kept.head.clone();
        if kept.dropped > 0 {
            bytes.extend_from_slice(format!("\n[{} bytes left out]\n", kept.dropped).as_bytes());
        }
        bytes.extend(&kept.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn push(&self, mut bytes: &[u8]) {
        const HALF: usize = limits::GUEST_OUTPUT_BYTES / 2;
        let mut kept = self.lock();
        let room = bytes.len().min(HALF - kept.head.len());
        kept.head.extend_from_slice(&bytes[..room]);
        bytes = &bytes[room..];
        let skipped = bytes.len().saturating_sub(HALF);
        let over = (kept.tail.len() + bytes.len() - skipped).saturating_sub(HALF);
        kept.tail.drain(..over);
        kept.tail.extend(&bytes[skipped..]);
        kept.dropped += (skipped + over) as u64;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Tail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tail {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Tail {
    async fn ready(&mut self) {}
}

impl OutputStream for Tail {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::GUEST_OUTPUT_BYTES)
    }
}

impl AsyncWrite for Tail {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_counted_and_both_ends_are_kept() {
        let pipe = Tail::default();
        pipe.push(b"begin ");
        pipe.push(&vec![b'x'; 3 * limits::GUEST_OUTPUT_BYTES]);
        for _ in 0..10 {
            pipe.push(&vec![b'y'; 1000]);
        }
        pipe.push(b" end");
        let text = pipe.text();
        assert!(text.starts_with("begin xxx") && text.ends_with("yyy end"), "{} bytes", text.len());
        let dropped = 6 + 3 * limits::GUEST_OUTPUT_BYTES + 10_000 + 4 - limits::GUEST_OUTPUT_BYTES;
        assert!(text.contains(&format!("[{dropped} bytes left out]")));
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let pipe = Tail::default();
        pipe.push(&vec![b'a'; limits::GUEST_OUTPUT_BYTES]);
        assert_eq!(pipe.text(), "a".repeat(limits::GUEST_OUTPUT_BYTES));
    }
}
