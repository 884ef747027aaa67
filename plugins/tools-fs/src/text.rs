//! Text as files hold it: byte order mark, line endings, UTF-8 in pieces.

/// What some editors put before the first line.
pub(crate) const BOM: char = '\u{feff}';

/// The first `most` bytes of `text`, or fewer where a character would be split.
pub(crate) fn cut_bytes(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The first `most` characters of `text`, and whether there are more.
pub(crate) fn cut_chars(text: &str, most: usize) -> (&str, bool) {
    match text.char_indices().nth(most) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}

/// Does every line of `text` that ends, end with CRLF? False when no line ends.
pub(crate) fn is_crlf(text: &str) -> bool {
    let newlines = text.bytes().filter(|byte| *byte == b'\n').count();
    newlines > 0 && text.matches("\r\n").count() == newlines
}

/// Checks that bytes which arrive in pieces are UTF-8.
#[derive(Debug, Default)]
pub(crate) struct Utf8Check {
    /// The beginning of a character whose rest is in the next piece.
    open: Vec<u8>,
    /// How many bytes are known to be good.
    good: u64,
}

impl Utf8Check {
    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// The position of the first byte that is not UTF-8.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<(), u64> {
        while !self.open.is_empty() {
            let Some((first, rest)) = piece.split_first() else { return Ok(()) };
            self.open.push(*first);
            piece = rest;
            match std::str::from_utf8(&self.open) {
                Ok(_) => {
                    self.good += self.open.len() as u64;
                    self.open.clear();
                }
                Err(error) if error.error_len().is_some() => return Err(self.good),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => self.good += piece.len() as u64,
            Err(error) => {
                self.good += error.valid_up_to() as u64;
                if error.error_len().is_some() {
                    return Err(self.good);
                }
                self.open.extend_from_slice(&piece[error.valid_up_to()..]);
            }
        }
        Ok(())
    }

    /// There are no more pieces.
    ///
    /// # Errors
    ///
    /// The position of a character that was never finished.
    pub(crate) fn finish(&self) -> Result<(), u64> {
        if self.open.is_empty() { Ok(()) } else { Err(self.good) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_never_splits_a_character() {
        assert_eq!(cut_bytes("aé", 2), "a");
        assert_eq!(cut_bytes("aé", 9), "aé");
        assert_eq!(cut_chars("aéb", 2), ("aé", true));
        assert_eq!(cut_chars("aéb", 3), ("aéb", false));
    }

    #[test]
    fn a_file_is_crlf_only_when_every_line_is() {
        assert!(is_crlf("a\r\nb\r\n"));
        assert!(is_crlf("a\r\nb"));
        assert!(!is_crlf("a\r\nb\n"));
        assert!(!is_crlf("a"));
    }

    #[test]
    fn utf8_is_checked_across_pieces() {
        let text = "a€𝄞é".as_bytes();
        for size in 1..=text.len() {
            let mut check = Utf8Check::default();
            for piece in text.chunks(size) {
                check.feed(piece).unwrap();
            }
            check.finish().unwrap();
        }
        let mut check = Utf8Check::default();
        check.feed(b"ab\xe2").unwrap();
        assert_eq!(check.feed(b"zz"), Err(2));
        let mut check = Utf8Check::default();
        check.feed(b"ab\xe2\x82").unwrap();
        assert_eq!(check.finish(), Err(2));
    }
}
