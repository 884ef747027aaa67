//! Requests to granted origins.
//!
//! The host checks the origin of every request and redirect, pins the resolved address, and adds credentials by slot:
//! a secret never enters the component.

pub use crate::bindings::imports::stellaclaw::plugin::http::{
    BlobPiece, Credential, Encoding, Piece, Place, Request, Response, Upload, open_upload, send,
};
use crate::chat::Timeouts;
use crate::{Error, Result};

/// Puts a request together.
#[derive(Debug)]
pub struct Builder(Request);

/// A `GET` of `url`.
#[must_use]
pub fn get(url: impl Into<String>) -> Builder {
    Builder::new("GET", url)
}

/// A `POST` to `url`.
#[must_use]
pub fn post(url: impl Into<String>) -> Builder {
    Builder::new("POST", url)
}

impl Builder {
    /// A request with any method.
    #[must_use]
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self(Request {
            method: method.to_owned(),
            url: url.into(),
            headers: Vec::new(),
            credentials: Vec::new(),
            body: Vec::new(),
            timeouts: None,
            redirects: 5,
        })
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Has the host send the secret of `slot` as a bearer token.
    #[must_use]
    pub fn bearer(mut self, slot: impl Into<String>) -> Self {
        self.0.credentials.push(Credential { slot: slot.into(), place: Place::Bearer });
        self
    }

    /// Has the host send a secret where `credential` says.
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.0.credentials.push(credential);
        self
    }

    /// Sets the body to bytes.
    #[must_use]
    pub fn body(mut self, bytes: Vec<u8>) -> Self {
        self.0.body = vec![Piece::Bytes(bytes)];
        self
    }

    /// Sets the body to pieces, one after the other. A blob is one of the media of this call's request: the host puts its
    /// bytes there, so that they never pass through the component.
    #[must_use]
    pub fn pieces(mut self, pieces: Vec<Piece>) -> Self {
        self.0.body = pieces;
        self
    }

    /// Sets how long to wait.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.0.timeouts = Some(timeouts);
        self
    }

    /// Follows at most this many redirects; 5 unless told.
    #[must_use]
    pub fn redirects(mut self, most: u8) -> Self {
        self.0.redirects = most;
        self
    }

    /// Sends it and waits for the answer's head.
    ///
    /// # Errors
    ///
    /// `denied` with the configuration key for an origin or slot that is not granted, `unavailable` when there is no
    /// connection, `timeout`, `cancelled`.
    pub fn send(self) -> Result<Response> {
        send(&self.0)
    }

    /// Begins to send it with a body that is written bit by bit, of `length` bytes where it is known: for what is too large
    /// to hold. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// As [`Builder::send`]; `invalid` when it has a body already. `unavailable` and `timeout` come from the writes.
    pub fn upload(self, length: Option<u64>) -> Result<Upload> {
        open_upload(&self.0, length)
    }
}

impl Response {
    /// The first header called `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// `too-large` when it is longer than `most` bytes, and what reading can fail with.
    pub fn bytes(&self, most: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read(1 << 16)? {
            all.extend_from_slice(&chunk);
            if all.len() > most {
                return Err(Error::too_large(format!("the answer is longer than {most} bytes")));
            }
        }
        Ok(all)
    }

    /// As much of the body as is there, `most` bytes or a little more: of an error that is told even when its body breaks off.
    #[must_use]
    pub fn beginning(&self, most: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < most {
            match self.read(1 << 16) {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        body
    }
}
