//! Files on their way from Telegram: chunk by chunk, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::Instant;

use super::{Api, causes, is_not_sent};
use crate::limits;

/// A file that is being fetched.
pub struct Download {
    api: Api,
    response: Response,
    received_bytes: u64,
    limit_bytes: u64,
    deadline: Instant,
}

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("the file has over {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    /// It is not there, or no longer: ask for its path again.
    #[error("fetch the file: the server says {0}")]
    Refused(u16),
    /// The server has certainly not been asked.
    #[error("fetch the file: {0}")]
    NotSent(String),
    #[error("fetch the file: {0}")]
    Failed(String),
}

impl Api {
    /// Begins to fetch what `getFile` gave a path for; `timeout` is for all of it.
    pub async fn download(&self, path: &str, limit_bytes: u64, timeout: Duration) -> Result<Download, DownloadError> {
        let deadline = Instant::now() + timeout;
        let request = self.client.get(self.address(&["file", "bot"], path)).send();
        let response = tokio::time::timeout_at(deadline, request).await.map_err(|_| late())?.map_err(|failure| {
            let failed = if is_not_sent(&failure) { DownloadError::NotSent } else { DownloadError::Failed };
            failed(self.clean(&causes(failure)))
        })?;
        if !response.status().is_success() {
            return Err(DownloadError::Refused(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|length| length > limit_bytes) {
            return Err(DownloadError::TooLarge { limit_bytes });
        }
        Ok(Download { api: self.clone(), response, received_bytes: 0, limit_bytes, deadline })
    }
}

impl Download {
    /// The next piece; none at the end of the whole file.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let until = self.deadline.min(Instant::now() + limits::TELEGRAM_DOWNLOAD_IDLE);
        let chunk = tokio::time::timeout_at(until, self.response.chunk())
            .await
            .map_err(|_| late())?
            .map_err(|failure| DownloadError::Failed(self.api.clean(&causes(failure))))?;
        self.received_bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.received_bytes > self.limit_bytes {
            return Err(DownloadError::TooLarge { limit_bytes: self.limit_bytes });
        }
        Ok(chunk)
    }
}

fn late() -> DownloadError {
    DownloadError::Failed("it took too long".to_owned())
}
