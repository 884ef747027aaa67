//! JSON with blobs in it, as the pieces of a request's body.
//!
//! The bytes of media never come here: where they belong, the text is cut and the host puts them in as base64.

use serde::Serialize;
use stellaclaw_sdk::http::{BlobPiece, Encoding, Piece};

/// A body that is being written. What is written is well-formed when the calls are in order; nothing checks that here.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pieces: Vec<Piece>,
    text: Vec<u8>,
}

impl Body {
    /// JSON as it stands.
    pub(crate) fn raw(&mut self, json: &str) {
        self.text.extend_from_slice(json.as_bytes());
    }

    /// A value as JSON.
    pub(crate) fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        // Strings and JSON values always have a form, and a vector takes what it is given.
        let written = serde_json::to_writer(&mut self.text, value);
        debug_assert!(written.is_ok());
    }

    /// A string that holds a blob's bytes in base64.
    pub(crate) fn blob(&mut self, blob: &str) {
        self.text.push(b'"');
        self.pieces.push(Piece::Bytes(std::mem::take(&mut self.text)));
        self.pieces.push(Piece::Blob(BlobPiece { blob: blob.to_owned(), encoding: Encoding::Base64 }));
        self.text.push(b'"');
    }

    /// What comes between the elements of a list: nothing before the first.
    pub(crate) fn separate(&mut self, at: usize) {
        if at > 0 {
            self.raw(",");
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Piece> {
        self.pieces.push(Piece::Bytes(self.text));
        self.pieces
    }
}
