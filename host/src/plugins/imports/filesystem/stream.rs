//! Streams over an open file. Every operation happens at once, on the calling thread.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::open::OpenFile;
use crate::limits;

/// Reads on from a position.
pub(super) struct FileInput {
    file: Arc<OpenFile>,
    position: u64,
    closed: bool,
}

impl FileInput {
    pub fn new(file: Arc<OpenFile>, position: u64) -> Self {
        Self { file, position, closed: false }
    }
}

#[async_trait]
impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        match read_at(&self.file, size, self.position) {
            Ok(data) if data.is_empty() => {
                self.closed = true;
                Err(StreamError::Closed)
            }
            Ok(data) => {
                self.position += data.len() as u64;
                Ok(data.into())
            }
            Err(error) => {
                self.closed = true;
                Err(StreamError::LastOperationFailed(error.into()))
            }
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.read(size)
    }
}

#[async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {}
}

/// Where a stream writes.
#[derive(Clone, Copy)]
pub(super) enum Position {
    At(u64),
    End,
}

/// Writes on from a position, or at the end of the file whatever its length is by then.
pub(super) struct FileOutput {
    file: Arc<OpenFile>,
    position: Position,
    closed: bool,
}

impl FileOutput {
    pub fn new(file: Arc<OpenFile>, position: Position) -> Self {
        Self { file, position, closed: false }
    }
}

#[async_trait]
impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        match self.file.write_all(&bytes, self.position) {
            Ok(()) => {
                if let Position::At(position) = &mut self.position {
                    *position += bytes.len() as u64;
                }
                Ok(())
            }
            Err(error) => {
                self.closed = true;
                Err(StreamError::LastOperationFailed(error.into()))
            }
        }
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.closed { Err(StreamError::Closed) } else { Ok(limits::FILE_CHUNK_BYTES) }
    }
}

#[async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {}
}

/// At most one chunk from `position`; empty at the end.
pub(super) fn read_at(file: &OpenFile, size: usize, position: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::with_capacity(size.min(limits::FILE_CHUNK_BYTES));
    loop {
        match rustix::io::pread(&file.fd, spare_capacity(&mut data), position) {
            Ok(_) => return Ok(data),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
