//! Lines of JSON over a stream, bounded.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use crate::limits::SOCKET_LINE_BYTES;

/// The reading side. [`Reader::next`] may be dropped at any await without losing anything.
#[derive(Debug)]
pub struct Reader<R> {
    stream: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(stream: R) -> Self {
        Self { stream: BufReader::new(stream), line: Vec::new() }
    }

    /// The next object; none at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the stream fails with, and `InvalidData` for a line that is too long or not a `T`.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            let buffer = self.stream.fill_buf().await?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            self.line.extend_from_slice(&buffer[..taken]);
            std::pin::Pin::new(&mut self.stream).consume(taken);
            if self.line.len() > SOCKET_LINE_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {SOCKET_LINE_BYTES} bytes")));
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return serde_json::from_slice(&line).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

/// Writes one object as one line.
///
/// # Errors
///
/// What the stream fails with.
pub async fn write<W: AsyncWrite + Unpin>(stream: &mut W, line: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_arrive_whole_however_they_are_cut() {
        let (mut near, far) = tokio::io::duplex(3);
        let writer = tokio::spawn(async move {
            write(&mut near, &vec!["one", "two"]).await.unwrap();
            write(&mut near, &Vec::<&str>::new()).await.unwrap();
        });
        let mut reader = Reader::new(far);
        assert_eq!(reader.next::<Vec<String>>().await.unwrap(), Some(vec!["one".to_owned(), "two".to_owned()]));
        assert_eq!(reader.next::<Vec<String>>().await.unwrap(), Some(Vec::new()));
        assert_eq!(reader.next::<Vec<String>>().await.unwrap(), None);
        writer.await.unwrap();
    }
}
