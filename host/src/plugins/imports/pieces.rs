//! What a guest sends as a list of pieces: its own bytes, and blobs that it names and never sees.
//!
//! A blob is used only if the call was handed it. Nothing is put together: the pieces share their bytes with whoever holds
//! them, and base64 is made while it is sent, so a large blob is in memory once.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use stellaclaw_bindings::http::{Encoding, Piece};
use stellaclaw_bindings::types::{Error, ErrorKind};

use crate::limits;
use crate::plugins::call::Handed;

/// Bytes to send, as often as they are needed.
#[derive(Clone)]
pub(super) struct Pieces {
    parts: Arc<[Part]>,
    bytes: u64,
}

struct Part {
    bytes: Bytes,
    encoding: Encoding,
}

impl Pieces {
    /// Finds the blobs among those that the call was handed, and keeps to the bounds.
    pub fn resolve(handed: &Handed, pieces: Vec<Piece>) -> Result<Self, Error> {
        let mut parts = Vec::with_capacity(pieces.len());
        let (mut own, mut blobs) = (0, 0);
        for piece in pieces {
            let (part, sum, most, what) = match piece {
                Piece::Bytes(bytes) => {
                    (Part { bytes: bytes.into(), encoding: Encoding::Raw }, &mut own, limits::REQUEST_BYTES as u64, "bytes of its own")
                }
                Piece::Blob(blob) => {
                    let bytes = handed.get(&blob.blob).cloned().ok_or_else(|| not_handed(&blob.blob))?;
                    (Part { bytes, encoding: blob.encoding }, &mut blobs, limits::REQUEST_BLOB_BYTES, "bytes of blobs")
                }
            };
            *sum += part.encoded_bytes();
            if *sum > most {
                return Err(error(ErrorKind::TooLarge, format!("the body has over {most} {what}")));
            }
            if !part.bytes.is_empty() {
                parts.push(part);
            }
        }
        Ok(Self { parts: parts.into(), bytes: own + blobs })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it in one piece, for who can send it in no other way.
    pub fn joined(&self) -> Vec<u8> {
        let mut body = self.body();
        let mut joined = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        while let Some(chunk) = body.next() {
            joined.extend_from_slice(&chunk);
        }
        joined
    }

    /// All of it as a body whose length is known.
    pub fn body(&self) -> PieceBody {
        PieceBody { pieces: self.clone(), part: 0, at: 0, left: self.bytes }
    }
}

impl Part {
    fn encoded_bytes(&self) -> u64 {
        let bytes = self.bytes.len() as u64;
        match self.encoding {
            Encoding::Raw => bytes,
            Encoding::Base64 => bytes.div_ceil(3) * 4,
        }
    }
}

fn not_handed(id: &str) -> Error {
    let shown = &id[..id.floor_char_boundary(limits::BLOB_ID_BYTES)];
    error(ErrorKind::NotFound, format!("this call was handed no blob {shown:?}; use the ids of the request's media"))
}

fn error(kind: ErrorKind, message: String) -> Error {
    Error { kind, message, retry_after: None }
}

/// See [`Pieces::body`].
pub(super) struct PieceBody {
    pieces: Pieces,
    part: usize,
    /// Bytes of the part that are gone.
    at: usize,
    left: u64,
}

impl PieceBody {
    fn next(&mut self) -> Option<Bytes> {
        let part = self.pieces.parts.get(self.part)?;
        let end = part.bytes.len().min(self.at + limits::BODY_CHUNK_BYTES);
        let chunk = part.bytes.slice(self.at..end);
        (self.part, self.at) = if end == part.bytes.len() { (self.part + 1, 0) } else { (self.part, end) };
        let chunk = match part.encoding {
            Encoding::Raw => chunk,
            Encoding::Base64 => STANDARD.encode(chunk).into(),
        };
        self.left = self.left.saturating_sub(chunk.len() as u64);
        Some(chunk)
    }
}

impl Body for PieceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use stellaclaw_bindings::http::BlobPiece;

    use super::*;

    fn bytes(bytes: &[u8]) -> Piece {
        Piece::Bytes(bytes.to_vec())
    }

    fn blob(id: &str, encoding: Encoding) -> Piece {
        Piece::Blob(BlobPiece { blob: id.to_owned(), encoding })
    }

    fn all(pieces: &Pieces) -> Vec<u8> {
        let mut body = pieces.body();
        let mut all = Vec::new();
        while let Some(chunk) = body.next() {
            assert!(!chunk.is_empty() && chunk.len() <= limits::BODY_CHUNK_BYTES / 3 * 4);
            all.extend_from_slice(&chunk);
            assert_eq!(body.size_hint().exact(), Some(pieces.bytes - all.len() as u64));
        }
        assert!(body.is_end_stream());
        all
    }

    #[test]
    fn blobs_stand_where_they_are_named_whatever_their_size() {
        // Around the borders of base64 and of the chunks.
        let sizes = [0, 1, 2, 3, 4, 1000].into_iter().chain((limits::BODY_CHUNK_BYTES - 2)..(limits::BODY_CHUNK_BYTES + 3));
        for size in sizes {
            let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let handed: Handed = [("a".to_owned(), Bytes::from(data.clone()))].into_iter().collect();
            let list = || vec![bytes(b"<"), blob("a", Encoding::Base64), bytes(b""), bytes(b"|"), blob("a", Encoding::Raw), bytes(b">")];
            let pieces = Pieces::resolve(&handed, list()).unwrap();
            let expected = [b"<", STANDARD.encode(&data).as_bytes(), b"|", &data, b">"].concat();
            assert_eq!((all(&pieces), all(&pieces)), (expected.clone(), expected), "{size}");
        }
        assert!(all(&Pieces::resolve(&Handed::default(), Vec::new()).unwrap()).is_empty());
    }

    #[test]
    fn what_was_not_handed_over_is_not_there() {
        let handed: Handed = [("sha256:ab".to_owned(), Bytes::from_static(b"x"))].into_iter().collect();
        let long = "é".repeat(10_000);
        for id in ["", "sha256:", "sha256:a", "sha256:ab ", "SHA256:AB", "ab", "../../state.db", "sha256:ab/../ab", "/etc/passwd", &long] {
            let refused = Pieces::resolve(&handed, vec![bytes(b"x"), blob(id, Encoding::Raw)]).err().unwrap();
            assert_eq!(refused.kind, ErrorKind::NotFound, "{id}");
            assert!(refused.message.len() < 1000);
        }
    }

    #[test]
    fn a_blob_that_is_named_again_and_again_counts_each_time() {
        let handed: Handed = [("a".to_owned(), Bytes::from(vec![0; 8 << 20]))].into_iter().collect();
        let times = |times: usize, encoding| Pieces::resolve(&handed, vec![blob("a", encoding); times]).map(|pieces| pieces.bytes);
        assert_eq!(times(12, Encoding::Raw).ok(), Some(96 << 20));
        assert_eq!(times(13, Encoding::Raw).unwrap_err().kind, ErrorKind::TooLarge);
        assert_eq!(times(9, Encoding::Base64).unwrap_err().kind, ErrorKind::TooLarge);
        let own = vec![bytes(&vec![0; limits::REQUEST_BYTES]), bytes(b"x")];
        assert_eq!(Pieces::resolve(&handed, own).err().unwrap().kind, ErrorKind::TooLarge);
    }
}
