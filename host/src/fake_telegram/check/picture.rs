//! Photos: only what can be shown is one.

use super::Refusal;
use crate::fake_telegram::limits;

/// Checks what is sent as a photo; gives its width and height.
pub(crate) fn photo(bytes: &[u8]) -> Result<(u32, u32), Refusal> {
    if bytes.len() > limits::PHOTO_BYTES {
        return Err(Refusal::bad(format!("file is too big: a photo has at most {} bytes", limits::PHOTO_BYTES)));
    }
    let (width, height) = size(bytes).ok_or_else(|| Refusal::bad("IMAGE_PROCESS_FAILED"))?;
    let (short, long) = (width.min(height), width.max(height));
    let fits = short > 0 && width.saturating_add(height) <= limits::PHOTO_SIDES && long / short.max(1) <= limits::PHOTO_RATIO;
    if fits { Ok((width, height)) } else { Err(Refusal::bad("PHOTO_INVALID_DIMENSIONS")) }
}

/// Width and height of a PNG, JPEG or GIF.
#[must_use]
pub fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let big = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let little = |at: usize| Some(u32::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.get(12..16) == Some(b"IHDR") {
        return Some((big(16)?, big(20)?));
    }
    if bytes.starts_with(b"GIF8") {
        return Some((little(6)?, little(8)?));
    }
    if bytes.starts_with(b"\xff\xd8") { jpeg(bytes) } else { None }
}

/// The frame header is somewhere behind segments that each say how long they are.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let mut at = 2;
    loop {
        let [0xff, marker] = *bytes.get(at..at + 2)? else { return None };
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Some((word(at + 7)?.into(), word(at + 5)?.into())),
            0xff => at += 1,
            0xd8 | 0x01 => at += 2,
            _ => at += 2 + usize::from(word(at + 2)?),
        }
    }
}

/// A grey picture of this size, as PNG: something to send.
#[must_use]
pub fn png(width: u16, height: u16) -> Vec<u8> {
    let row = [&[0][..], &vec![0x80; usize::from(width)]].concat();
    let raw = row.repeat(usize::from(height));
    let mut packed = vec![0x78, 0x01];
    let pieces: Vec<&[u8]> = raw.chunks(usize::from(u16::MAX)).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        packed.push(u8::from(at + 1 == pieces.len()));
        packed.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        packed.extend(*piece);
    }
    packed.extend(adler(&raw).to_be_bytes());
    let header = [&u32::from(width).to_be_bytes()[..], &u32::from(height).to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", &packed), chunk(b"IEND", &[])].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunks].concat()
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&name[..], data].concat();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
}

fn adler(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_pictures_of_a_size_that_can_be_shown() {
        assert_eq!(photo(&png(30, 20)), Ok((30, 20)));
        assert_eq!(photo(&png(2, 40)), Ok((2, 40)));
        assert_eq!(photo(b"GIF89a\x05\x00\x06\x00"), Ok((5, 6)));
        let jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\x00\x07\x00\x09\x01\x01\x11\x00";
        assert_eq!(photo(jpeg), Ok((9, 7)));
        for (bytes, said) in [
            (png(1, 21), "PHOTO_INVALID_DIMENSIONS"),
            (png(9000, 1001), "PHOTO_INVALID_DIMENSIONS"),
            (b"no picture".to_vec(), "IMAGE_PROCESS_FAILED"),
            (b"\xff\xd8\xff".to_vec(), "IMAGE_PROCESS_FAILED"),
            (vec![0; limits::PHOTO_BYTES + 1], "file is too big"),
        ] {
            let refused = photo(&bytes).unwrap_err().description;
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn a_made_picture_is_whole() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
        assert!(png(400, 400).ends_with(b"IEND\xaeB`\x82"));
    }
}
