//! Files on their way from a disk: only those that a model could be shown are read to their end.

use std::fs::File;
use std::io::{self, Read as _};

use bytes::Bytes;

use super::{Kind, sniff};
use crate::limits;

/// What an open file holds.
#[derive(Debug)]
pub enum Found {
    Media(Bytes, Kind),
    /// More bytes than any model is sent.
    TooLarge,
    /// Nothing that a model could be shown.
    Other,
}

/// Reads a file.
///
/// # Errors
/// Those of reading.
pub fn read(mut file: &File) -> io::Result<Found> {
    let mut bytes = Vec::new();
    (&mut file).take(limits::SNIFFED_BYTES as u64).read_to_end(&mut bytes)?;
    let Some(kind) = sniff(&bytes) else { return Ok(Found::Other) };
    let begun = bytes.len() as u64;
    file.take((limits::MEDIA_BYTES + 1).saturating_sub(begun)).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > limits::MEDIA_BYTES { Found::TooLarge } else { Found::Media(bytes.into(), kind) })
}
