//! The first picture of a GIF.

use super::Unfit;
use super::picture::Picture;
use crate::limits;

/// Codes are at most twelve bits long.
const CODES: usize = 1 << 12;
/// First line and step of each pass of an interlaced picture.
const PASSES: [(usize, usize); 4] = [(0, 8), (4, 8), (2, 4), (1, 2)];

/// The first picture, on a canvas that is transparent where it has nothing.
pub fn decode(bytes: &[u8]) -> Result<Picture, Unfit> {
    let mut rest = Rest(bytes.get(6..).unwrap_or_default());
    let (width, height) = (rest.word()?, rest.word()?);
    let &[packed, _, _] = rest.take(3)? else { return Err(cut()) };
    let colours = rest.colours(packed)?;
    let mut clear = None;
    loop {
        match rest.byte()? {
            // What follows says which colour of the next picture is transparent; other extensions say nothing about it.
            b'!' => {
                let is_control = rest.byte()? == 0xf9;
                let blocks = rest.blocks()?;
                if let (true, &[packed, _, _, entry, ..]) = (is_control, &blocks[..]) {
                    clear = (packed & 1 == 1).then_some(entry);
                }
            }
            b',' => return frame(&mut rest, Canvas { width, height, colours, clear }),
            _ => return Err(damaged("it has no picture")),
        }
    }
}

fn damaged(what: &str) -> Unfit {
    Unfit::Damaged(what.to_owned())
}

fn cut() -> Unfit {
    damaged("its end is missing")
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unfit> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Unfit> {
        self.take(1)?.first().copied().ok_or_else(cut)
    }

    fn word(&mut self) -> Result<usize, Unfit> {
        Ok(usize::from(self.byte()?) | usize::from(self.byte()?) << 8)
    }

    /// The table of colours that `packed` announces, empty where it announces none.
    fn colours(&mut self, packed: u8) -> Result<&'a [u8], Unfit> {
        if packed & 0x80 == 0 { Ok(&[]) } else { self.take(3 << ((packed & 7) + 1)) }
    }

    /// Blocks up to an empty one, put together.
    fn blocks(&mut self) -> Result<Vec<u8>, Unfit> {
        let mut whole = Vec::new();
        loop {
            match self.byte()? {
                0 => return Ok(whole),
                length => whole.extend_from_slice(self.take(length.into())?),
            }
        }
    }
}

struct Canvas<'a> {
    width: usize,
    height: usize,
    colours: &'a [u8],
    clear: Option<u8>,
}

fn frame(rest: &mut Rest<'_>, canvas: Canvas<'_>) -> Result<Picture, Unfit> {
    let (left, top, width, height) = (rest.word()?, rest.word()?, rest.word()?, rest.word()?);
    let packed = rest.byte()?;
    let own = rest.colours(packed)?;
    let colours = if own.is_empty() { canvas.colours } else { own };
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    for (width, height) in [(width, height), (canvas.width, canvas.height)] {
        if (width * height) as u64 > limits::IMAGE_PIXELS {
            return Err(Unfit::TooManyPixels(side(width), side(height)));
        }
    }
    let bits = rest.byte()?;
    let pixels = unpack(&rest.blocks()?, bits, width * height)?;
    let lines: Vec<usize> = match packed & 0x40 {
        0 => (0..height).collect(),
        _ => PASSES.iter().flat_map(|(first, step)| (*first..height).step_by(*step)).collect(),
    };
    let mut rgba = vec![0; canvas.width * canvas.height * 4];
    for (line, row) in lines.into_iter().zip(pixels.chunks(width.max(1))) {
        for (x, entry) in row.iter().enumerate().filter(|(_, entry)| Some(**entry) != canvas.clear) {
            let (x, y) = (left + x, top + line);
            let at = (y * canvas.width + x) * 4;
            let colour = colours.get(usize::from(*entry) * 3..).and_then(|colours| colours.get(..3));
            let colour = colour.ok_or_else(|| damaged("a colour is not in its table"))?;
            if let Some(pixel) = rgba.get_mut(at..at + 4).filter(|_| x < canvas.width) {
                pixel.copy_from_slice(&[colour, &[255]].concat());
            }
        }
    }
    Ok(Picture { width: side(canvas.width), height: side(canvas.height), rgba })
}

/// The colours of so many pixels. Each code stands for one colour, or for what an earlier code stood for and one more.
fn unpack(data: &[u8], bits: u8, pixels: usize) -> Result<Vec<u8>, Unfit> {
    if !(2..=8).contains(&bits) {
        return Err(damaged("its codes are of no known size"));
    }
    let clear = 1_usize << bits;
    let (mut known, mut width) = (clear + 2, u32::from(bits) + 1);
    let mut codes = vec![(0_usize, 0_u8); CODES];
    let mut before: Option<(usize, u8)> = None;
    let (mut held, mut held_bits) = (0_u32, 0);
    let mut found = Vec::with_capacity(pixels);
    let mut backwards = Vec::new();
    let mut data = data.iter();
    while found.len() < pixels {
        while held_bits < width {
            held |= u32::from(*data.next().ok_or_else(|| damaged("pixels are missing"))?) << held_bits;
            held_bits += 8;
        }
        let code = (held & ((1 << width) - 1)) as usize;
        held >>= width;
        held_bits -= width;
        if code == clear {
            (known, width, before) = (clear + 2, u32::from(bits) + 1, None);
            continue;
        }
        let mut at = match before {
            Some((earlier, first)) if code == known => {
                backwards.push(first);
                earlier
            }
            Some(_) if code < known && code != clear + 1 => code,
            None if code < clear => code,
            _ => return Err(damaged("a code stands for nothing")),
        };
        while at >= clear + 2 {
            let (earlier, last) = codes.get(at).copied().unwrap_or_default();
            backwards.push(last);
            at = earlier;
        }
        let first = u8::try_from(at).unwrap_or(0);
        backwards.push(first);
        if let (Some((earlier, _)), Some(code)) = (before, codes.get_mut(known)) {
            *code = (earlier, first);
            known += 1;
            width += u32::from(known == 1 << width && width < 12);
        }
        found.extend(backwards.drain(..).rev());
        before = Some((code, first));
    }
    found.truncate(pixels);
    Ok(found)
}
