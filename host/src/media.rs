//! Files that a model reads: what they are, and how they are made to fit what its vendor takes.
//!
//! - Pure, but for `read`: equal bytes and bounds give equal bytes, or the same reason.
//! - What a file is is read from its bytes, never from its name or from what somebody says.
//! - A picture that is sent was decoded here, as far as its form is known here: one that a vendor would refuse would be refused
//!   with every further request of its conversation.
//! - Before anything of a picture is decoded its size is known to be within [`limits::IMAGE_PIXELS`].
//!
//! What it does not do: play, draw or convert anything but pictures; decode WebP, which is sent as it is or not at all; keep what
//! moves moving where it has to be written anew.

mod gif;
mod jpeg;
mod picture;
mod png;
mod read;
mod sniff;

use bytes::Bytes;

use crate::chat::Modality;
use crate::config::{AudioLimits, ImageLimits, Model, PdfLimits};
use crate::limits;
use picture::Picture;

pub use read::{Found, read};
pub use sniff::{Kind, dimensions, sniff};

/// What a model's vendor takes of one kind of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    Image(ImageLimits),
    Pdf(PdfLimits),
    Audio(AudioLimits),
}

/// A file as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    pub bytes: Bytes,
    pub media_type: &'static str,
}

/// Why a file is not sent. What the model reads, after the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is not what it was taken for")]
    Other,
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it has over {0} bytes")]
    TooLarge(u64),
    #[error("it has {0}x{1} pixels, too many to make it smaller")]
    TooManyPixels(u32, u32),
    #[error("{0} is not taken by this model, only {1}")]
    Type(&'static str, String),
    #[error("it is too large, and a file of type {0} is not made smaller")]
    Rigid(&'static str),
    #[error("it could not be made small enough")]
    Stubborn,
}

impl Bounds {
    /// What `model` takes; none where nothing of the kind can be sent.
    #[must_use]
    pub fn of(model: &Model, modality: Modality) -> Option<Self> {
        match modality {
            Modality::Image => Some(Self::Image(model.image.clone())),
            Modality::Pdf => Some(Self::Pdf(model.pdf.clone())),
            Modality::Audio => Some(Self::Audio(model.audio.clone())),
            Modality::Text | Modality::File => None,
        }
    }
}

/// The file as it may be sent: as it is, or a picture made smaller or of another type.
///
/// # Errors
/// The reason why it cannot be sent at all.
pub fn fit(bytes: &Bytes, bounds: &Bounds) -> Result<Fitted, Unfit> {
    let kind = sniff(bytes).ok_or(Unfit::Other)?;
    let whole = |max_bytes: u64| match bytes.len() as u64 > max_bytes {
        true => Err(Unfit::TooLarge(max_bytes)),
        false => Ok(Fitted { bytes: bytes.clone(), media_type: kind.media_type }),
    };
    match (bounds, kind.modality) {
        (Bounds::Image(limits), Modality::Image) => fit_image(bytes, kind.media_type, limits),
        (Bounds::Pdf(limits), Modality::Pdf) => whole(limits.max_bytes),
        (Bounds::Audio(limits), Modality::Audio) => match limits.types.iter().any(|taken| taken == kind.media_type) {
            true => whole(limits.max_bytes),
            false => Err(Unfit::Type(kind.media_type, limits.types.join(", "))),
        },
        _ => Err(Unfit::Other),
    }
}

fn fit_image(bytes: &Bytes, media_type: &'static str, limits: &ImageLimits) -> Result<Fitted, Unfit> {
    let (width, height) = dimensions(bytes).ok_or_else(|| Unfit::Damaged("it has no size".into()))?;
    let is_taken = |media_type: &str| limits.types.iter().any(|taken| taken == media_type);
    let fits = width <= limits.max_width && height <= limits.max_height && bytes.len() as u64 <= limits.max_bytes && is_taken(media_type);
    if u64::from(width) * u64::from(height) > limits::IMAGE_PIXELS {
        return Err(Unfit::TooManyPixels(width, height));
    }
    let as_it_is = Fitted { bytes: bytes.clone(), media_type };
    let picture = match media_type {
        "image/png" => png::decode(bytes)?,
        "image/gif" => gif::decode(bytes)?,
        "image/jpeg" => {
            let (picture, sound) = jpeg::decode(bytes)?;
            if fits && !sound {
                return shrink(picture, media_type, limits);
            }
            picture
        }
        _ => return if fits { Ok(as_it_is) } else { Err(Unfit::Rigid(media_type)) },
    };
    if fits { Ok(as_it_is) } else { shrink(picture, media_type, limits) }
}

/// Writes the picture anew, as small as it has to be.
fn shrink(mut picture: Picture, media_type: &'static str, limits: &ImageLimits) -> Result<Fitted, Unfit> {
    let writable = ["image/png", "image/jpeg"];
    let is_taken = |media_type: &str| limits.types.iter().any(|taken| taken == media_type);
    let first = limits.types.iter().find_map(|taken| writable.into_iter().find(|known| known == taken));
    let Some(first) = writable.into_iter().find(|known| *known == media_type && is_taken(known)).or(first) else {
        return Err(Unfit::Type(media_type, limits.types.join(", ")));
    };
    let fits = |bytes: &[u8]| bytes.len() as u64 <= limits.max_bytes;
    let (mut max_width, mut max_height) = (limits.max_width, limits.max_height);
    for _ in 0..limits::IMAGE_ROUNDS {
        picture = picture.within(max_width, max_height);
        if first == "image/png" {
            let bytes = png::encode(&picture)?;
            if fits(&bytes) {
                return Ok(Fitted { bytes: bytes.into(), media_type: first });
            }
        }
        if is_taken("image/jpeg") {
            let bytes = jpeg::encode(&picture)?;
            if fits(&bytes) {
                return Ok(Fitted { bytes: bytes.into(), media_type: "image/jpeg" });
            }
        }
        (max_width, max_height) = ((picture.width / 4 * 3).max(1), (picture.height / 4 * 3).max(1));
    }
    Err(Unfit::Stubborn)
}

#[cfg(test)]
mod tests;
