//! Server-sent events out of bytes, in whatever pieces they come.
//!
//! Invariant: how the bytes are cut into chunks changes nothing. Lines are put together as bytes, so a character cut in
//! two is whole again before anybody looks at it. An event that lies within one chunk on one line is not copied.
//!
//! ```
//! use stellaclaw_sdk::chat::Failure;
//! use stellaclaw_sdk::sse::Decoder;
//!
//! let mut decoder = Decoder::default();
//! let mut seen = Vec::new();
//! for chunk in [b"event: hello\nda".as_slice(), b"ta: {}\n\n"] {
//!     decoder.push(chunk, |event| {
//!         seen.push((event.name.to_vec(), event.data.to_vec()));
//!         Ok::<_, Box<Failure>>(())
//!     })?;
//! }
//! assert_eq!(seen, [(b"hello".to_vec(), b"{}".to_vec())]);
//! # Ok::<_, Box<Failure>>(())
//! ```

use crate::chat::{Failure, FailureKind};

/// An event is at most this long. No server sends a megabyte in one; without a limit one line could fill the memory.
pub const EVENT_BYTES: usize = 8 << 20;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// What `event:` said; empty without it.
    pub name: &'a [u8],
    /// The `data:` lines, joined by line feeds.
    pub data: &'a [u8],
}

/// A line or an event is longer than [`EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Boxed, because the result travels through every line and a failure is large.
impl From<TooLong> for Box<Failure> {
    fn from(_: TooLong) -> Self {
        Self::new(Failure::new(FailureKind::Protocol, format!("an event of the stream is longer than {EVENT_BYTES} bytes")))
    }
}

/// The decoder: what is left over between two chunks.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    /// The data of an event whose end has not come, once it had to be copied.
    data: Vec<u8>,
    has_data: bool,
    name: Vec<u8>,
    /// The last byte was a carriage return; a line feed right after it belongs to it.
    after_cr: bool,
    /// The first line is over: a byte order mark is none from here on.
    begun: bool,
}

enum Field<'a> {
    Blank,
    Data(&'a [u8]),
    Name(&'a [u8]),
    /// A comment, or a field that no answer of a model needs.
    Other,
}

impl Decoder {
    /// Takes a chunk and gives `sink` every event that is complete with it.
    ///
    /// # Errors
    ///
    /// [`TooLong`], and whatever `sink` returned; decoding cannot go on after either.
    pub fn push<E: From<TooLong>>(&mut self, bytes: &[u8], mut sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut rest = bytes;
        // The event's only data line so far, still in `bytes`.
        let mut held = None;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else { break };
            self.after_cr = rest[end] == b'\r';
            if self.line.is_empty() {
                self.take_line(&rest[..end], Some(&mut held), &mut sink)?;
            } else {
                self.keep_line(&rest[..end])?;
                let mut line = std::mem::take(&mut self.line);
                self.take_line(&line, None, &mut sink)?;
                line.clear();
                self.line = line;
            }
            rest = &rest[end + 1..];
        }
        if let Some(data) = held {
            self.keep_data(data)?;
        }
        Ok(self.keep_line(rest)?)
    }

    /// The stream ended: an event that only lacks its blank line is given to `sink` all the same.
    ///
    /// # Errors
    ///
    /// As [`Decoder::push`].
    pub fn finish<E: From<TooLong>>(&mut self, mut sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        self.take_line(&line, None, &mut sink)?;
        self.take_line(b"", None, &mut sink)
    }

    /// A whole line. With `held` it lives in the chunk, and its data may stay there.
    fn take_line<'a, E: From<TooLong>>(
        &mut self,
        line: &'a [u8],
        held: Option<&mut Option<&'a [u8]>>,
        sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = if std::mem::replace(&mut self.begun, true) { line } else { line.strip_prefix(BOM).unwrap_or(line) };
        match (field(line), held) {
            (Field::Other, _) => {}
            (Field::Name(name), _) => {
                self.name.clear();
                self.name.extend_from_slice(&name[..name.len().min(64)]);
            }
            (Field::Data(data), Some(held)) if held.is_none() && !self.has_data => *held = Some(data),
            (Field::Data(data), held) => {
                if let Some(first) = held.and_then(Option::take) {
                    self.keep_data(first)?;
                }
                self.keep_data(data)?;
            }
            (Field::Blank, held) => return self.dispatch(held.and_then(Option::take), sink),
        }
        Ok(())
    }

    fn dispatch<E>(&mut self, held: Option<&[u8]>, sink: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let result = match held {
            Some(data) => sink(Event { name: &self.name, data }),
            None if self.has_data => sink(Event { name: &self.name, data: &self.data }),
            None => Ok(()),
        };
        self.has_data = false;
        self.data.clear();
        self.name.clear();
        result
    }

    fn keep_data(&mut self, data: &[u8]) -> Result<(), TooLong> {
        if self.data.len() + data.len() > EVENT_BYTES {
            return Err(TooLong);
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn keep_line(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + part.len() > EVENT_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }
}

fn field(line: &[u8]) -> Field<'_> {
    if line.is_empty() {
        return Field::Blank;
    }
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let value = line.get(colon + 1..).unwrap_or_default();
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match &line[..colon] {
        b"data" => Field::Data(value),
        b"event" => Field::Name(value),
        _ => Field::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl From<TooLong> for String {
        fn from(_: TooLong) -> Self {
            "too long".into()
        }
    }

    type Events = Vec<(Vec<u8>, Vec<u8>)>;

    fn decode(chunks: &[&[u8]]) -> Result<Events, String> {
        let mut events = Vec::new();
        let mut decoder = Decoder::default();
        let mut sink = |event: Event<'_>| {
            events.push((event.name.to_vec(), event.data.to_vec()));
            Ok::<_, String>(())
        };
        for chunk in chunks {
            decoder.push(chunk, &mut sink)?;
        }
        decoder.finish(&mut sink)?;
        Ok(events)
    }

    fn data(text: &str) -> (Vec<u8>, Vec<u8>) {
        (Vec::new(), text.as_bytes().to_vec())
    }

    #[test]
    fn every_line_ending_comments_names_and_many_lines() {
        let stream = "\u{feff}data: one\n\n: OPENROUTER PROCESSING\r\n\r\ndata:two\r\rid: 7\nevent: error\ndata: a\ndata\ndata:  b\r\n\r\nretry: 3\n\ndata: end";
        let error = (b"error".to_vec(), b"a\n\n b".to_vec());
        assert_eq!(decode(&[stream.as_bytes()]).unwrap(), vec![data("one"), data("two"), error, data("end")]);
    }

    #[test]
    fn a_cut_anywhere_changes_nothing() {
        let stream = "data: ü\r\n\r\n: c\ndata: 漢\ndata: 字\n\nevent: x\rdata: 🦀\r\r".as_bytes();
        let whole = decode(&[stream]).unwrap();
        assert_eq!(whole.len(), 3);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                assert_eq!(
                    decode(&[&stream[..first], &stream[first..second], &stream[second..]]).unwrap(),
                    whole,
                    "cut at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_refused() {
        let part = vec![b'x'; 1 << 20];
        let line: Vec<&[u8]> = std::iter::once(b"data: ".as_slice()).chain(std::iter::repeat_n(part.as_slice(), 9)).collect();
        assert_eq!(decode(&line).unwrap_err(), "too long");
        let mut data_line = b"data: ".to_vec();
        data_line.extend_from_slice(&part);
        data_line.push(b'\n');
        assert_eq!(decode(&[data_line.as_slice(); 9]).unwrap_err(), "too long");
    }

    proptest! {
        #[test]
        fn chunking_is_invisible(
            lines in prop::collection::vec(("(data|event|id|)", "[:]? ?", "\\PC{0,12}", "(\n|\r|\r\n|\n\n|\r\n\r\n)"), 0..24),
            cuts in prop::collection::vec(0usize..400, 0..12),
        ) {
            let stream: Vec<u8> = lines.iter().flat_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}").into_bytes()).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&chunks), decode(&[&stream]));
        }
    }
}
