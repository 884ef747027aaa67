//! JPEG pictures.

use jpeg_encoder::{ColorType, Encoder};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Unfit;
use super::picture::Picture;
use crate::limits;

/// The tag of a camera's note about its position.
const ORIENTATION: u16 = 0x0112;

/// The picture, the right way up; and whether it is sound, so that it can be sent as it is: neither turned nor damaged.
pub fn decode(bytes: &[u8]) -> Result<(Picture, bool), Unfit> {
    let damaged = |error: String| Unfit::Damaged(error);
    let options = |strict| {
        let most = usize::from(u16::MAX);
        let options = DecoderOptions::default().set_max_width(most).set_max_height(most).set_strict_mode(strict);
        options.jpeg_set_out_colorspace(ColorSpace::RGBA)
    };
    let read = |strict| {
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options(strict));
        decoder.decode_headers()?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        if width as u64 * height as u64 > limits::IMAGE_PIXELS {
            return Ok(None);
        }
        let rgba = decoder.decode()?;
        Ok::<_, zune_jpeg::errors::DecodeErrors>(Some((width, height, rgba, orientation(decoder.exif().map_or(&[], Vec::as_slice)))))
    };
    let (found, whole) = match read(true) {
        Ok(found) => (found, true),
        Err(_) => (read(false).map_err(|error| damaged(error.to_string()))?, false),
    };
    let (width, height, rgba, orientation) = found.ok_or_else(|| damaged("it says two sizes".into()))?;
    let side = |side: usize| u32::try_from(side).map_err(|error| damaged(error.to_string()));
    let picture = Picture { width: side(width)?, height: side(height)?, rgba };
    if picture.rgba.len() != width * height * 4 || picture.rgba.is_empty() {
        return Err(damaged("pixels are missing".into()));
    }
    Ok((picture.turned(orientation), whole && orientation == 1))
}

/// The picture as a JPEG, on white where it is transparent.
pub fn encode(picture: &Picture) -> Result<Vec<u8>, Unfit> {
    let (Ok(width), Ok(height)) = (u16::try_from(picture.width), u16::try_from(picture.height)) else { return Err(Unfit::Stubborn) };
    let mut bytes = Vec::new();
    let written = Encoder::new(&mut bytes, limits::JPEG_QUALITY).encode(&picture.on_white(), width, height, ColorType::Rgb);
    written.map(|()| bytes).map_err(|_| Unfit::Stubborn)
}

/// What EXIF data says about the camera's position; 1, upright, where it says nothing.
fn orientation(exif: &[u8]) -> u16 {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let big = match tiff.get(..4) {
        Some(b"MM\0*") => true,
        Some(b"II*\0") => false,
        _ => return 1,
    };
    let number = |at: usize, length: usize| {
        let bytes = tiff.get(at..at.checked_add(length)?)?;
        let fold = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        Some(if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    };
    let found = || {
        let directory = number(4, 4)? as usize;
        let entries = number(directory, 2)? as usize;
        let entry = (0..entries).map(|n| directory + 2 + n * 12).find(|at| number(*at, 2) == Some(ORIENTATION.into()))?;
        u16::try_from(number(entry + 8, 2)?).ok().filter(|value| (1..=8).contains(value))
    };
    found().unwrap_or(1)
}
