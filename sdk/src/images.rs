//! Drawing and editing images: for those who serve it, and for those who ask whoever serves it here.

use crate::Result;
pub use crate::bindings::imports::stellaclaw::plugin::image_types::{Drawing, EditPrompt, Image, Prompt};
use crate::bindings::imports::stellaclaw::plugin::images;

/// What one image may have. The contract says it, as it does the next one.
pub const IMAGE_BYTES: usize = 8 << 20;
/// What all images of one call may have.
pub const CALL_BYTES: usize = 12 << 20;

/// A component that draws. Named by a model entry, and by `session.helpers.image_generation`.
///
/// [`crate::settings::entry`] is the model entry; its `api_key` is in the slot `api-key`.
pub trait Images {
    /// Draws something new.
    ///
    /// # Errors
    ///
    /// What whoever asked is told.
    fn generate(prompt: &Prompt) -> Result<Drawing>;

    /// Changes images.
    ///
    /// # Errors
    ///
    /// What whoever asked is told.
    fn edit(prompt: &EditPrompt) -> Result<Drawing>;
}

/// Has whoever serves `session.helpers.image_generation` draw something new.
///
/// # Errors
///
/// `unavailable` with the configuration key where nobody serves it, and whatever who serves it answers.
pub fn generate(prompt: &Prompt) -> Result<Drawing> {
    images::generate(prompt)
}

/// Has whoever serves `session.helpers.image_generation` change images.
///
/// # Errors
///
/// Those of [`generate`].
pub fn edit(prompt: &EditPrompt) -> Result<Drawing> {
    images::edit(prompt)
}

impl Prompt {
    /// One image of `text`, everything else as the model chooses.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), size: None, quality: None, background: None, count: 1, ext: None }
    }
}
