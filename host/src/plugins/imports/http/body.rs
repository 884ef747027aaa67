//! The answer to a request, read piece by piece.

use std::time::Duration;

use bytes::Bytes;
use stellaclaw_bindings::types::{Error, ErrorKind};
use tokio::time::Instant;

use super::exchange::{describe, too_late};
use super::{error, unless_stopped};
use crate::limits;
use crate::plugins::stop::StopSignal;
use crate::secrets::{Redactor, Stream};

/// An answer: its head, and its body on its way.
pub(in crate::plugins::imports) struct Body {
    pub status: u16,
    pub url: String,
    pub headers: Vec<(String, String)>,
    response: reqwest::Response,
    redactor: Redactor,
    stream: Stream,
    /// Redacted, and not yet read.
    ready: Bytes,
    received_bytes: u64,
    idle: Duration,
    total: Duration,
    deadline: Instant,
    end: End,
}

/// Whether more can come.
enum End {
    Open,
    Complete,
    /// A body that was cut or refused stays so: reading on must not look like its end.
    Broken(Error),
}

impl Body {
    pub fn new(
        response: reqwest::Response,
        url: String,
        headers: Vec<(String, String)>,
        redactor: Redactor,
        idle: Duration,
        total: Duration,
        deadline: Instant,
    ) -> Self {
        Self {
            status: response.status().as_u16(),
            url,
            headers,
            stream: redactor.stream(),
            response,
            redactor,
            ready: Bytes::new(),
            received_bytes: 0,
            idle,
            total,
            deadline,
            end: End::Open,
        }
    }

    /// What is there, waiting for at least one byte; none at the end.
    pub async fn read(&mut self, stop: &StopSignal, max: u32) -> Result<Option<Vec<u8>>, Error> {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(limits::READ_BYTES);
        if max == 0 {
            return Err(error(ErrorKind::Invalid, "response.read with a max of 0; ask for at least one byte"));
        }
        while self.ready.is_empty() {
            match &self.end {
                End::Complete => return Ok(None),
                End::Broken(why) => return Err(why.clone()),
                End::Open => {}
            }
            // A stop leaves the body as it is: nothing was taken from it.
            let chunk = unless_stopped(stop, async { Ok(self.chunk().await) }).await?;
            match chunk {
                Ok(Some(chunk)) => self.ready = self.stream.push(chunk.into()).into(),
                Ok(None) => {
                    self.ready = self.stream.finish().into();
                    self.end = End::Complete;
                }
                Err(why) => self.end = End::Broken(why),
            }
        }
        Ok(Some(self.ready.split_to(max.min(self.ready.len())).into()))
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let Ok(chunk) = tokio::time::timeout(self.idle.min(left), self.response.chunk()).await else {
            return Err(too_late(self.deadline, self.idle, self.total));
        };
        let chunk = chunk.map_err(|failure| describe(&self.redactor, failure, "read the answer"))?;
        self.received_bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.received_bytes > limits::RESPONSE_BYTES {
            return Err(error(ErrorKind::TooLarge, format!("the answer has over {} bytes", limits::RESPONSE_BYTES)));
        }
        Ok(chunk)
    }
}
