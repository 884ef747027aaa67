//! A decoded picture: made smaller, and turned the right way up.

/// Red, green, blue and opacity of each pixel, row by row from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub rgba: Vec<u8>,
}

impl Picture {
    /// Is every pixel opaque?
    pub fn is_opaque(&self) -> bool {
        self.rgba.chunks_exact(4).all(|pixel| pixel.get(3) == Some(&255))
    }

    /// The pixels on white, without their opacity.
    pub fn on_white(&self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(self.rgba.len() / 4 * 3);
        for pixel in self.rgba.chunks_exact(4) {
            let [colours @ .., opacity] = pixel else { continue };
            let opacity = u32::from(*opacity);
            rgb.extend(colours.iter().map(|colour| byte((u32::from(*colour) * opacity + 255 * (255 - opacity) + 127) / 255)));
        }
        rgb
    }

    /// The picture at most this wide and high, with its own proportions.
    pub fn within(self, max_width: u32, max_height: u32) -> Self {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let (most_wide, most_high) = (u64::from(max_width), u64::from(max_height));
        if width <= most_wide && height <= most_high {
            return self;
        }
        // The side that is further over its bound decides.
        let (wide, high) = match width * most_high >= height * most_wide {
            true => (most_wide, (height * most_wide / width).max(1)),
            false => ((width * most_high / height).max(1), most_high),
        };
        self.scaled(wide, high)
    }

    /// Every pixel becomes the mean of what it covers, weighted by how much of it, and by how opaque it is.
    fn scaled(&self, width: u64, height: u64) -> Self {
        let (source_width, source_height) = (u64::from(self.width), u64::from(self.height));
        let columns: Vec<Vec<(usize, u64)>> = (0..width).map(|at| covered(at, source_width, width)).collect();
        let mut rgba = Vec::with_capacity(usize::try_from(width * height * 4).unwrap_or_default());
        let mut row = vec![[0_u64; 4]; columns.len()];
        for at in 0..height {
            row.fill([0; 4]);
            for (y, weight) in covered(at, source_height, height) {
                let line =
                    usize::try_from(source_width).map_or(&[][..], |width| self.rgba.chunks_exact(width * 4).nth(y).unwrap_or_default());
                for (sum, column) in row.iter_mut().zip(&columns) {
                    let mean = mean(line, column, source_width);
                    sum.iter_mut().zip(mean).for_each(|(sum, part)| *sum += part * weight);
                }
            }
            for [red, green, blue, opacity] in &row {
                let colour = |sum: u64| byte(u32::try_from((sum * 255 + opacity / 2).checked_div(*opacity).unwrap_or(0)).unwrap_or(255));
                rgba.extend([colour(*red), colour(*green), colour(*blue)]);
                rgba.push(byte(u32::try_from((opacity / source_height + 127) / 255).unwrap_or(255)));
            }
        }
        Self { width: u32::try_from(width).unwrap_or(1), height: u32::try_from(height).unwrap_or(1), rgba }
    }

    /// The picture as the camera's note about its position (EXIF, 1 to 8) wants it seen.
    pub fn turned(self, orientation: u16) -> Self {
        let (wide, high) = (self.width as usize, self.height as usize);
        let (last_x, last_y) = (wide.saturating_sub(1), high.saturating_sub(1));
        // Where the pixel at (x, y) of the result comes from.
        let from: fn(usize, usize, usize, usize) -> (usize, usize) = match orientation {
            2 => |x, y, last_x, _| (last_x - x, y),
            3 => |x, y, last_x, last_y| (last_x - x, last_y - y),
            4 => |x, y, _, last_y| (x, last_y - y),
            5 => |x, y, _, _| (y, x),
            6 => |x, y, _, last_y| (y, last_y - x),
            7 => |x, y, last_x, last_y| (last_x - y, last_y - x),
            8 => |x, y, last_x, _| (last_x - y, x),
            _ => return self,
        };
        let (new_wide, new_high) = if orientation >= 5 { (high, wide) } else { (wide, high) };
        let mut rgba = Vec::with_capacity(self.rgba.len());
        for y in 0..new_high {
            for x in 0..new_wide {
                let (x, y) = from(x, y, last_x, last_y);
                let at = (y * wide + x) * 4;
                rgba.extend_from_slice(self.rgba.get(at..at + 4).unwrap_or(&[0; 4]));
            }
        }
        let (width, height) = if orientation >= 5 { (self.height, self.width) } else { (self.width, self.height) };
        Self { width, height, rgba }
    }
}

/// Which of `source` points the one at `at` of `scaled` covers, and how much: the weights sum up to `source`.
fn covered(at: u64, source: u64, scaled: u64) -> Vec<(usize, u64)> {
    let (left, right) = (at * source, (at + 1) * source);
    let points = left / scaled..right.div_ceil(scaled);
    points
        .filter_map(|point| {
            let weight = right.min((point + 1) * scaled).saturating_sub(left.max(point * scaled));
            Some((usize::try_from(point).ok()?, weight))
        })
        .collect()
}

/// Colours times opacity, and opacity times 255, of what a column covers of a line.
fn mean(line: &[u8], column: &[(usize, u64)], width: u64) -> [u64; 4] {
    let mut sums = [0_u64; 4];
    for (x, weight) in column {
        let Some([red, green, blue, opacity]) = line.get(x * 4..x * 4 + 4) else { continue };
        let opacity = u64::from(*opacity);
        for (sum, colour) in sums.iter_mut().zip([*red, *green, *blue, 255]) {
            *sum += u64::from(colour) * opacity * weight;
        }
    }
    sums.map(|sum| (sum + width / 2) / width)
}

fn byte(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}
