//! PNG pictures: every form of them in, 8 bits per colour out.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::Unfit;
use super::picture::Picture;
use crate::limits;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
/// Start and step of each pass of an interlaced picture, across and down.
const PASSES: [(u32, u32, u32, u32); 7] =
    [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)];

/// How the pixels are written.
#[derive(Clone, Copy)]
struct Form {
    width: u32,
    height: u32,
    /// Bits of one sample.
    depth: usize,
    colour: Colour,
    interlaced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Grey,
    Rgb,
    Palette,
    GreyAlpha,
    Rgba,
}

/// What the chunks hold.
struct Chunks<'a> {
    form: Form,
    palette: &'a [u8],
    transparency: &'a [u8],
    data: Vec<u8>,
}

/// The picture.
pub fn decode(bytes: &[u8]) -> Result<Picture, Unfit> {
    let chunks = chunks(bytes)?;
    let Form { width, height, interlaced, .. } = chunks.form;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits::IMAGE_PIXELS {
        return Err(Unfit::TooManyPixels(width, height));
    }
    let size = usize::try_from(pixels * 4).map_err(|_| Unfit::TooManyPixels(width, height))?;
    let mut picture = Picture { width, height, rgba: vec![0; size] };
    let mut data = ZlibDecoder::new(chunks.data.as_slice());
    let whole = [(0, 1, 0, 1)];
    for pass in if interlaced { &PASSES[..] } else { &whole[..] } {
        chunks.pass(*pass, &mut data, &mut picture)?;
    }
    Ok(picture)
}

fn damaged(what: &str) -> Unfit {
    Unfit::Damaged(what.to_owned())
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn chunks(bytes: &[u8]) -> Result<Chunks<'_>, Unfit> {
    let cut = || damaged("its end is missing");
    let mut rest = bytes.strip_prefix(SIGNATURE).ok_or(Unfit::Other)?;
    let mut found: Option<Chunks<'_>> = None;
    loop {
        let length = number(rest.get(..4).ok_or_else(cut)?) as usize;
        let (name, body) = (rest.get(4..8).ok_or_else(cut)?, rest.get(8..).and_then(|rest| rest.get(..length)).ok_or_else(cut)?);
        let sum = rest.get(8 + length..12 + length).ok_or_else(cut)?;
        if sum != checksum(name, body).to_be_bytes() {
            return Err(damaged("a checksum is wrong"));
        }
        rest = rest.get(12 + length..).unwrap_or_default();
        match (name, &mut found) {
            (b"IHDR", None) => found = Some(Chunks { form: Form::read(body)?, palette: &[], transparency: &[], data: Vec::new() }),
            (_, None) | (b"IHDR", Some(_)) => return Err(damaged("its header is not where it belongs")),
            (b"PLTE", Some(found)) => found.palette = body,
            (b"tRNS", Some(found)) => found.transparency = body,
            (b"IDAT", Some(found)) => found.data.extend_from_slice(body),
            (b"IEND", Some(_)) => return found.ok_or_else(cut),
            _ => {}
        }
    }
}

fn checksum(name: &[u8], body: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(name);
    sum.update(body);
    sum.sum()
}

impl Form {
    fn read(header: &[u8]) -> Result<Self, Unfit> {
        let [_, _, _, _, _, _, _, _, depth, colour, 0, 0, interlaced @ (0 | 1)] = header else { return Err(damaged("its header is none")) };
        let (width, height) = (number(&header[..4]), number(&header[4..8]));
        let colour = match (colour, depth) {
            (0, 1 | 2 | 4 | 8 | 16) => Colour::Grey,
            (2, 8 | 16) => Colour::Rgb,
            (3, 1 | 2 | 4 | 8) => Colour::Palette,
            (4, 8 | 16) => Colour::GreyAlpha,
            (6, 8 | 16) => Colour::Rgba,
            _ => return Err(damaged("its colours are of no known form")),
        };
        if width == 0 || height == 0 {
            return Err(damaged("it has no size"));
        }
        Ok(Self { width, height, depth: usize::from(*depth), colour, interlaced: *interlaced == 1 })
    }

    fn samples(self) -> usize {
        match self.colour {
            Colour::Grey | Colour::Palette => 1,
            Colour::GreyAlpha => 2,
            Colour::Rgb => 3,
            Colour::Rgba => 4,
        }
    }
}

impl Chunks<'_> {
    /// Reads one pass: every pixel, or a part of them in a grid.
    fn pass(&self, (x, dx, y, dy): (u32, u32, u32, u32), data: &mut ZlibDecoder<&[u8]>, picture: &mut Picture) -> Result<(), Unfit> {
        let form = self.form;
        let (wide, high) = (form.width.saturating_sub(x).div_ceil(dx), form.height.saturating_sub(y).div_ceil(dy));
        if wide == 0 || high == 0 {
            return Ok(());
        }
        let bits = form.samples() * form.depth;
        let length = (wide as usize * bits).div_ceil(8);
        let (mut line, mut above) = (vec![0; length], vec![0; length]);
        for row in 0..high {
            let mut filter = [0];
            data.read_exact(&mut filter).and_then(|()| data.read_exact(&mut line)).map_err(|_| damaged("pixels are missing"))?;
            unfilter(filter[0], &mut line, &above, bits.div_ceil(8))?;
            let start = (y + row * dy) as usize * form.width as usize;
            for column in 0..wide {
                let at = (start + (x + column * dx) as usize) * 4;
                let colour = self.pixel(&line, column as usize)?;
                if let Some(pixel) = picture.rgba.get_mut(at..at + 4) {
                    pixel.copy_from_slice(&colour);
                }
            }
            std::mem::swap(&mut line, &mut above);
        }
        Ok(())
    }

    fn pixel(&self, line: &[u8], column: usize) -> Result<[u8; 4], Unfit> {
        let first = column * self.form.samples();
        let raw = |n: usize| sample(line, first + n, self.form.depth);
        let byte = |n: usize| to_byte(raw(n), self.form.depth);
        // A colour that stands for "transparent" is given in 16 bits, whatever the depth.
        let is_key = |count: usize| {
            self.transparency.len() == count * 2 && (0..count).all(|n| number(&self.transparency[n * 2..n * 2 + 2]) == u32::from(raw(n)))
        };
        Ok(match self.form.colour {
            Colour::Grey => [byte(0), byte(0), byte(0), if is_key(1) { 0 } else { 255 }],
            Colour::Rgb => [byte(0), byte(1), byte(2), if is_key(3) { 0 } else { 255 }],
            Colour::GreyAlpha => [byte(0), byte(0), byte(0), byte(1)],
            Colour::Rgba => [byte(0), byte(1), byte(2), byte(3)],
            Colour::Palette => {
                let entry = usize::from(raw(0));
                let Some([red, green, blue]) = self.palette.get(entry * 3..entry * 3 + 3) else {
                    return Err(damaged("a colour is not in its palette"));
                };
                [*red, *green, *blue, self.transparency.get(entry).copied().unwrap_or(255)]
            }
        })
    }
}

fn sample(line: &[u8], n: usize, depth: usize) -> u16 {
    let byte = |at: usize| u16::from(line.get(at).copied().unwrap_or(0));
    match depth {
        16 => byte(n * 2) << 8 | byte(n * 2 + 1),
        8 => byte(n),
        _ => byte(n * depth / 8) >> (8 - depth - n * depth % 8) & ((1 << depth) - 1),
    }
}

fn to_byte(sample: u16, depth: usize) -> u8 {
    let value = if depth == 16 { sample >> 8 } else { sample * 255 / ((1 << depth) - 1) };
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// Each byte was written as the difference to what stands beside or above it.
fn unfilter(filter: u8, line: &mut [u8], above: &[u8], step: usize) -> Result<(), Unfit> {
    if filter > 4 {
        return Err(damaged("a line is of no known form"));
    }
    for at in 0..line.len() {
        let before = |bytes: &[u8]| at.checked_sub(step).and_then(|at| bytes.get(at).copied()).unwrap_or(0);
        let (left, up, corner) = (before(line), above.get(at).copied().unwrap_or(0), before(above));
        let guess = predicted(filter, left, up, corner);
        if let Some(byte) = line.get_mut(at) {
            *byte = byte.wrapping_add(guess);
        }
    }
    Ok(())
}

fn predicted(filter: u8, left: u8, up: u8, corner: u8) -> u8 {
    match filter {
        1 => left,
        2 => up,
        3 => u8::midpoint(left, up),
        4 => {
            let (left, up, corner) = (i16::from(left), i16::from(up), i16::from(corner));
            let near = |side: i16| (left + up - corner - side).abs();
            let best = [left, up, corner].into_iter().min_by_key(|side| near(*side)).unwrap_or(0);
            u8::try_from(best).unwrap_or(0)
        }
        _ => 0,
    }
}

/// The picture as a PNG, with its opacity where it has any.
pub fn encode(picture: &Picture) -> Result<Vec<u8>, Unfit> {
    let opaque = picture.is_opaque();
    let samples = if opaque { 3 } else { 4 };
    let mut data = ZlibEncoder::new(Vec::new(), Compression::default());
    let length = picture.width as usize * samples;
    let mut above = vec![0; length];
    for row in picture.rgba.chunks_exact(picture.width as usize * 4) {
        let line: Vec<u8> = row.chunks_exact(4).flat_map(|pixel| pixel.iter().copied().take(samples)).collect();
        let written = (0..=4).map(|filter| filtered(filter, &line, &above, samples)).min_by_key(|(_, weight)| *weight);
        if let Some((bytes, _)) = written {
            data.write_all(&bytes).map_err(|_| Unfit::Stubborn)?;
        }
        above = line;
    }
    let data = data.finish().map_err(|_| Unfit::Stubborn)?;
    let colour = if opaque { 2 } else { 6 };
    let header = [&picture.width.to_be_bytes()[..], &picture.height.to_be_bytes(), &[8, colour, 0, 0, 0]].concat();
    let mut bytes = SIGNATURE.to_vec();
    for (name, body) in [(b"IHDR", header), (b"IDAT", data), (b"IEND", Vec::new())] {
        bytes.extend(u32::try_from(body.len()).map_err(|_| Unfit::Stubborn)?.to_be_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&body);
        bytes.extend(checksum(name, &body).to_be_bytes());
    }
    Ok(bytes)
}

/// A line as differences, and how far they are from zero: what is near it compresses best.
fn filtered(filter: u8, line: &[u8], above: &[u8], step: usize) -> (Vec<u8>, u64) {
    let mut written = Vec::with_capacity(line.len() + 1);
    written.push(filter);
    let mut weight = 0;
    for (at, byte) in line.iter().enumerate() {
        let before = |bytes: &[u8]| at.checked_sub(step).and_then(|at| bytes.get(at).copied()).unwrap_or(0);
        let difference = byte.wrapping_sub(predicted(filter, before(line), above.get(at).copied().unwrap_or(0), before(above)));
        weight += u64::from(difference.cast_signed().unsigned_abs());
        written.push(difference);
    }
    (written, weight)
}
