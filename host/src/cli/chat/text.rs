//! What may reach a terminal: text, and nothing that the terminal would obey.
//!
//! A model's answer, a file, a tool's error can hold escape sequences that move the cursor, rewrite the title or paste
//! into the clipboard, and bidirectional overrides that show one thing and mean another. None of them is ever written,
//! to a terminal or to a pipe.

use std::borrow::Cow;

/// Text without control characters (newline and tab excepted) and without bidirectional overrides. ESC becomes `␛`, so
/// that an attempt can be seen; the others become `\u{fffd}`. A carriage return before a newline is dropped.
#[must_use]
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\u{1b}' => clean.push('␛'),
            harmful if is_harmful(harmful) => clean.push(char::REPLACEMENT_CHARACTER),
            other => clean.push(other),
        }
    }
    Cow::Owned(clean)
}

fn is_harmful(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_are_shown_and_not_obeyed() {
        assert_eq!(harmless("plain\ttext\n"), "plain\ttext\n");
        assert_eq!(harmless("\x1b]0;owned\x07"), "␛]0;owned\u{fffd}");
        assert_eq!(harmless("a\r\nb\rc"), "a\nb\u{fffd}c");
        assert_eq!(harmless("\u{9b}31m\u{202e}txt"), "\u{fffd}31m\u{fffd}txt");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(text in any::<String>()) {
            let clean = harmless(&text).into_owned();
            prop_assert!(!clean.chars().any(is_harmful));
            let again = harmless(&clean).into_owned();
            prop_assert_eq!(again, clean);
        }
    }
}
