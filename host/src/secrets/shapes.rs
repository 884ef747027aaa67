//! Finding what looks like a credential though nobody named it: tokens in an address that a library quotes, a key that a
//! server repeats in its error.
//!
//! For lines of the log only. In what a tool reads or a person is sent such text may be what it is about; there only
//! secrets that are known are replaced.

use super::redact::MARK;

/// What well-known tokens begin with, and how much follows at least.
const BEGINNINGS: [(&str, usize); 11] = [
    ("sk-", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AIza", 30),
];
/// Digits of a Telegram bot's id, and characters of its key.
const BOT: (usize, usize) = (6, 30);
/// Characters after `Bearer`. Shorter words are prose.
const BEARER: usize = 16;

/// The text with what looks like a token replaced; none when nothing does.
pub(super) fn replace(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut clean: Option<String> = None;
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        // Tokens begin and end with ASCII, so the text is cut between characters.
        let Some((from, to)) = token(bytes, at) else {
            at += 1;
            continue;
        };
        let clean = clean.get_or_insert_with(|| String::with_capacity(text.len()));
        clean.push_str(&text[copied..from]);
        clean.push_str(MARK);
        (copied, at) = (to, to);
    }
    clean.map(|clean| clean + &text[copied..])
}

/// Where the secret lies of what begins at `at`.
fn token(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let rest = &bytes[at..];
    // In the address of a request letters stand before the id: `bot123456:…`.
    if rest[0].is_ascii_digit() && !before.is_some_and(|byte| byte.is_ascii_digit()) {
        return bot(rest).map(|length| (at, at + length));
    }
    if before.is_some_and(is_key) {
        return None;
    }
    let begins = BEGINNINGS.iter().find(|(beginning, _)| rest.starts_with(beginning.as_bytes()));
    if let Some((beginning, least)) = begins {
        let length = run(&rest[beginning.len()..], is_key);
        return (length >= *least).then_some((at, at + beginning.len() + length));
    }
    let (word, rest) = rest.split_at_checked("bearer".len())?;
    let gap = run(rest, |byte| matches!(byte, b' ' | b'\t'));
    let length = run(&rest[gap..], |byte| is_key(byte) || b".~+/=".contains(&byte));
    let from = at + word.len() + gap;
    (word.eq_ignore_ascii_case(b"bearer") && gap > 0 && length >= BEARER).then_some((from, from + length))
}

/// The length of a Telegram bot's token.
fn bot(bytes: &[u8]) -> Option<usize> {
    let digits = run(bytes, |byte| byte.is_ascii_digit());
    let colon = [&b":"[..], b"%3A", b"%3a"].into_iter().find(|colon| bytes[digits..].starts_with(colon))?.len();
    let key = run(&bytes[digits + colon..], is_key);
    (digits >= BOT.0 && key >= BOT.1).then_some(digits + colon + key)
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(**byte)).count()
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_found_where_they_stand_and_words_are_left() {
        let key = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
        let check = |text: &str, clean: &str| assert_eq!(replace(text).as_deref().unwrap_or(text), clean, "{text}");
        check(&format!("https://api.telegram.org/bot123456789:{key}/getMe"), "https://api.telegram.org/bot[redacted]/getMe");
        check(&format!("bot123456789%3A{key}."), "bot[redacted].");
        check("Incorrect API key provided: sk-proj-0123456789abcdefghij", "Incorrect API key provided: [redacted]");
        check("\"authorization\":\"Bearer abc.def-ghi/jkl=mno\"", "\"authorization\":\"Bearer [redacted]\"");
        check("BEARER  0123456789abcdef,x", "BEARER  [redacted],x");
        check(&format!("ghp_{key}é"), "[redacted]é");
        for innocent in [
            "2026-11-22T20:48:05.123456Z",
            "task-0123456789abcdefghijklmno",
            "a_sk-0123456789abcdefghijklmno",
            "12345:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
            "123456:short",
            "bearer of good news",
            "bearer0123456789abcdef",
            "the prefix sk-",
            "beare",
            "Bearer [redacted]",
        ] {
            check(innocent, innocent);
        }
    }

    proptest! {
        #[test]
        fn a_token_never_stays_and_what_is_around_it_does(
            before in "([a-zé ]* )?", after in "([ ,\"/é][a-zA-Zé ,.]{0,20})?",
            token in prop_oneof!["[0-9]{6,12}:[A-Za-z0-9_-]{30,60}", "sk-[A-Za-z0-9_-]{20,60}", "gh[pousr]_[A-Za-z0-9]{30,60}"],
            bearer in "[Bb]earer [A-Za-z0-9._~+/=-]{16,60}",
        ) {
            prop_assert_eq!(replace(&format!("{before}{token}{after}")), Some(format!("{before}{MARK}{after}")));
            let after = after.replace('/', ";");
            let (word, _) = bearer.split_at(7);
            let (line, clean) = (format!("{before}{bearer}{after}"), format!("{before}{word}{MARK}{after}"));
            prop_assert_eq!(replace(&line), Some(clean));
        }

        #[test]
        fn nothing_that_looks_like_a_token_is_left_of_any_text(text in "([0-9]{5,8}:|%3A|sk-|ghp_|[Bb]earer |[A-Za-z0-9_-]{0,40}|[é ]|.){0,12}") {
            if let Some(clean) = replace(&text) {
                prop_assert_eq!(replace(&clean), None);
            }
        }
    }
}
