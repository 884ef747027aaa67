//! Characters that have no place in a message, and those that nobody sees.

/// What is left of a text when control characters and those that turn the direction of writing by force are taken out. Every kind of
/// line end becomes a line feed.
pub fn cleaned(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut after_return = false;
    for c in text.chars() {
        let feed_of_return = after_return && c == '\n';
        after_return = c == '\r';
        match c {
            '\n' if feed_of_return => {}
            '\n' | '\t' => clean.push(c),
            '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

/// Whether there is anything to see: Telegram refuses a message where there is not.
pub fn is_visible(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !is_invisible(c))
}

/// What Telegram counts as empty or takes out (the combining ones of the first line), and what fonts show as nothing.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{30a}' | '\u{333}' | '\u{33f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}'
        | '\u{e0000}'..='\u{e0fff}')
}
