//! What a tool answers.

use serde::Serialize;

use crate::types::{Error, FileRef, Part};
use crate::{Output, Result};

impl Output {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())], summary: None, ext: None }
    }

    /// A JSON value. The host may shorten it between elements when it is too long for the model.
    ///
    /// # Errors
    ///
    /// When `value` has no JSON form (a map whose keys are not strings).
    pub fn json(value: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_string(value).map_err(|error| Error::failed(error.to_string()))?;
        Ok(Self { parts: vec![Part::Json(json)], summary: None, ext: None })
    }

    /// The same answer with a file beside it; `path` is below one of the plugin's mounts. When the call has returned the host
    /// opens it there: a model that reads pictures, PDFs or recordings is shown such a file, of every other it reads the path.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<String>, media_type: Option<&str>) -> Self {
        self.parts.push(Part::File(FileRef { path: path.into(), media_type: media_type.map(str::to_owned), name: None }));
        self
    }

    /// The same answer with one line for the person who watches (at most 200 bytes).
    #[must_use]
    pub fn with_summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }
}
