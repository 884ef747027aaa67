//! What a file is, from its first bytes, and how large a picture says it is.

use crate::chat::Modality;

/// A kind of file that a model can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub modality: Modality,
    pub media_type: &'static str,
}

/// What the bytes begin like. None: nothing that a model is sent.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Kind> {
    let kind = |modality, media_type| Some(Kind { modality, media_type });
    let image = |media_type| kind(Modality::Image, media_type);
    let audio = |media_type| kind(Modality::Audio, media_type);
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => image("image/png"),
        [0xff, 0xd8, 0xff, ..] => image("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => image("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => image("image/webp"),
        [b'%', b'P', b'D', b'F', b'-', ..] => kind(Modality::Pdf, "application/pdf"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => audio("audio/wav"),
        [b'I', b'D', b'3', 2..=4, ..] => audio("audio/mpeg"),
        [b'f', b'L', b'a', b'C', ..] => audio("audio/flac"),
        [b'O', b'g', b'g', b'S', ..] => audio("audio/ogg"),
        // The same box begins films and HEIC pictures.
        [_, _, _, _, b'f', b't', b'y', b'p', b'M', b'4', b'A' | b'B', b' ', ..] => audio("audio/mp4"),
        [0xff, second, third, ..] if is_mp3_frame(*second, *third) => audio("audio/mpeg"),
        [0xff, 0xf0 | 0xf1 | 0xf8 | 0xf9, ..] => audio("audio/aac"),
        _ => None,
    }
}

/// The header of an MPEG audio frame of layer I, II or III, without the values that none has.
fn is_mp3_frame(second: u8, third: u8) -> bool {
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    second >> 5 == 7 && version != 1 && layer != 0 && third >> 4 != 15 && third >> 2 & 3 != 3
}

/// Width and height, as a picture's header says. None where it says nothing, or nothing sensible.
#[must_use]
pub fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let found = match sniff(bytes)?.media_type {
        "image/png" => (big(bytes.get(16..20)?), big(bytes.get(20..24)?)),
        "image/gif" => (little(bytes.get(6..8)?), little(bytes.get(8..10)?)),
        "image/webp" => webp(bytes)?,
        "image/jpeg" => jpeg(bytes)?,
        _ => return None,
    };
    (found.0 > 0 && found.1 > 0).then_some(found)
}

fn big(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    let body = bytes.get(20..)?;
    match bytes.get(12..16)? {
        b"VP8X" => Some((little(body.get(4..7)?) + 1, little(body.get(7..10)?) + 1)),
        b"VP8L" => {
            let packed = little(body.get(1..5)?);
            Some(((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((little(body.get(6..8)?) & 0x3fff, little(body.get(8..10)?) & 0x3fff)),
        _ => None,
    }
}

/// The frame header stands behind segments of any number and length.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        match bytes.get(at..at + 2)? {
            [0xff, 0xff] => at += 1,
            [0xff, 0x01 | 0xd0..=0xd7] => at += 2,
            // All frames but the tables that share their range.
            [0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf] => {
                return Some((big(bytes.get(at + 7..at + 9)?), big(bytes.get(at + 5..at + 7)?)));
            }
            // The picture itself, or its end: nothing was said before it.
            [0xff, 0xd9 | 0xda] => return None,
            [0xff, _] => at += 2 + (big(bytes.get(at + 2..at + 4)?) as usize).max(2),
            _ => return None,
        }
    }
}
