//! Files on their way to Telegram: streamed, of a length that is known before.
//!
//! A file that turns out shorter, or cannot be read, ends the request in its middle. The server cannot take that for the
//! whole, so this is told apart from an outcome that nobody knows.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Api, ApiError};
use crate::limits;

/// A file to upload.
pub struct FileBody {
    name: String,
    media_type: Option<String>,
    length_bytes: u64,
    chunks: BoxStream<'static, io::Result<Bytes>>,
}

impl FileBody {
    /// Something in memory.
    pub fn from_bytes(name: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(name, bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())
    }

    /// The first `length_bytes` of an open file, from where it stands.
    pub fn from_file(name: &str, file: File, length_bytes: u64) -> Self {
        let chunks = stream::try_unfold((file, length_bytes), |(mut file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(limits::TELEGRAM_UPLOAD_CHUNK);
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; size];
                file.read_exact(&mut chunk)?;
                Ok::<_, io::Error>((Bytes::from(chunk), file))
            });
            let (chunk, file) = read.await.map_err(io::Error::other)??;
            Ok(Some((chunk, (file, left - size as u64))))
        });
        Self::new(name, length_bytes, chunks.boxed())
    }

    fn new(name: &str, length_bytes: u64, chunks: BoxStream<'static, io::Result<Bytes>>) -> Self {
        // It becomes a header.
        let name = name.chars().map(|c| if c.is_control() || matches!(c, '"' | '\\') { '_' } else { c });
        Self { name: name.take(limits::TELEGRAM_NAME_CHARS).collect(), media_type: None, length_bytes, chunks }
    }

    /// Says what it is; something that is no media type is left out.
    #[must_use]
    pub fn with_media_type(mut self, media_type: Option<&str>) -> Self {
        let is_one = |name: &str| Part::text("").mime_str(name).is_ok();
        self.media_type = media_type.filter(|name| is_one(name)).map(str::to_owned);
        self
    }

    fn part(self, broken: Arc<OnceLock<String>>) -> Part {
        let chunks = self.chunks.inspect(move |chunk| {
            if let Err(failure) = chunk {
                // The first one is what ends the request.
                let _: Result<(), _> = broken.set(failure.to_string());
            }
        });
        let part = || Part::stream_with_length(Body::wrap_stream(chunks), self.length_bytes).file_name(self.name);
        match self.media_type.as_deref() {
            None => part(),
            Some(media_type) => with_mime(part(), media_type),
        }
    }
}

#[expect(clippy::expect_used, reason = "with_media_type has tried it")]
fn with_mime(part: Part, media_type: &str) -> Part {
    part.mime_str(media_type).expect("a media type")
}

impl Api {
    /// Calls a method with files. `parameters` become fields: text as it is, anything else as JSON; a file is found under the
    /// name of its field.
    pub async fn upload<T: DeserializeOwned>(
        &self,
        method: &str,
        parameters: &impl Serialize,
        files: Vec<(String, FileBody)>,
        timeout: Duration,
    ) -> Result<T, ApiError> {
        let wrong = |why: String| ApiError::NotSent(format!("{method}: write its parameters: {why}"));
        let mut form = Form::new();
        match serde_json::to_value(parameters).map_err(|failure| wrong(failure.to_string()))? {
            Value::Object(fields) => {
                for (name, value) in fields {
                    form = match value {
                        Value::Null => form,
                        Value::String(text) => form.text(name, text),
                        other => form.text(name, other.to_string()),
                    };
                }
            }
            other => return Err(wrong(format!("{other} is no object"))),
        }
        let broken = Arc::new(OnceLock::new());
        for (field, file) in files {
            form = form.part(field, file.part(broken.clone()));
        }
        let request = self.client.post(self.address(&["bot"], method)).multipart(form);
        match self.exchange(method, request, timeout).await {
            Err(ApiError::Unknown(_)) if let Some(why) = broken.get() => {
                Err(ApiError::Unreadable(format!("{method}: read the file: {why}; nothing was sent")))
            }
            result => result,
        }
    }
}
