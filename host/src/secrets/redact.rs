//! Finding secrets in what leaves, in every form a server or a library may write them.
//!
//! Forms: as it is; base64 in both alphabets at each of the three alignments (so that it is also found inside
//! `base64(user:secret)`); percent-encoded with either case of hexadecimal, as in addresses, forms and JavaScript;
//! escaped as in JSON.
//! What it does not know: other letter cases, hexadecimal, HTML's entities, a text that is encoded only in part, twice, or in
//! a way of its own.
//!
//! A stream is redacted across chunk borders by holding back only what may be the beginning of a form, so that events
//! are not delayed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::{Secret, shapes};

/// What stands in a secret's place.
pub(super) const MARK: &str = "[redacted]";

/// Replaces secrets. Cheap to clone; what one learns, its clones know.
#[derive(Clone, Default)]
pub struct Redactor {
    forms: Arc<RwLock<Arc<Forms>>>,
}

#[derive(Default)]
struct Forms {
    /// As they are.
    secrets: BTreeSet<Vec<u8>>,
    /// Longest first, so that a form that contains another is replaced whole.
    all: Vec<Vec<u8>>,
    /// Which bytes a form begins with.
    first: Vec<bool>,
}

impl Redactor {
    /// Knows the given secrets in all their forms.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let redactor = Self::default();
        redactor.learn(secrets);
        redactor
    }

    /// Knows these secrets, too, from now on. A stream that has begun knows what was known then.
    pub fn learn<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) {
        let known = self.forms();
        let new: Vec<_> = secrets.into_iter().map(Secret::expose).filter(|secret| !known.secrets.contains(secret.as_bytes())).collect();
        if new.is_empty() {
            return;
        }
        let mut known = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        let secrets = known.secrets.iter().cloned().chain(new.iter().map(|secret| secret.as_bytes().to_vec())).collect();
        let mut all: Vec<Vec<u8>> = known.all.iter().cloned().chain(new.into_iter().flat_map(forms)).collect();
        all.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        let mut first = vec![false; 256];
        for byte in all.iter().filter_map(|form| form.first()) {
            first[usize::from(*byte)] = true;
        }
        *known = Arc::new(Forms { secrets, all, first });
    }

    fn forms(&self) -> Arc<Forms> {
        self.forms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The text without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.forms().replace(text.as_bytes(), true) {
            // Forms and mark are whole characters, so what is left is text.
            (Some(clean), _) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
            (None, _) => Cow::Borrowed(text),
        }
    }

    /// The line of a log without secrets, and without what only looks like one.
    #[must_use]
    pub fn line<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let clean = self.text(text);
        shapes::replace(&clean).map_or(clean, Cow::Owned)
    }

    /// The bytes without secrets.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self.forms().replace(bytes, true) {
            (Some(clean), _) => Cow::Owned(clean),
            (None, _) => Cow::Borrowed(bytes),
        }
    }

    /// A stream of chunks.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream { forms: self.forms(), held: Vec::new() }
    }
}

/// Redacts a stream chunk by chunk.
pub struct Stream {
    forms: Arc<Forms>,
    /// The end of what came, which may be the beginning of a form.
    held: Vec<u8>,
}

impl Stream {
    /// What can go out of everything that has come.
    #[must_use]
    pub fn push(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        if self.forms.all.is_empty() {
            return chunk;
        }
        let mut all = std::mem::take(&mut self.held);
        if all.is_empty() {
            all = chunk
        } else {
            all.extend_from_slice(&chunk)
        }
        let (clean, done) = self.forms.replace(&all, false);
        self.held = all.split_off(done);
        clean.unwrap_or(all)
    }

    /// What was held back. The stream has ended, so no longer form can come of it; a shorter one may be in it.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.forms.replace(&held, true).0.unwrap_or(held)
    }
}

impl Forms {
    /// Replaces forms in `bytes`; `end` says that nothing follows. Returns the replacement, if anything was replaced, and
    /// how many bytes were dealt with.
    fn replace(&self, bytes: &[u8], end: bool) -> (Option<Vec<u8>>, usize) {
        if self.all.is_empty() {
            return (None, bytes.len());
        }
        let mut clean: Option<Vec<u8>> = None;
        let (mut copied, mut at) = (0, 0);
        while let Some(byte) = bytes.get(at) {
            if !self.first[usize::from(*byte)] {
                at += 1;
                continue;
            }
            let rest = &bytes[at..];
            if !end && self.all.iter().any(|form| rest.len() < form.len() && form.starts_with(rest)) {
                break;
            }
            if let Some(form) = self.all.iter().find(|form| rest.starts_with(form)) {
                let clean = clean.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
                clean.extend_from_slice(&bytes[copied..at]);
                clean.extend_from_slice(MARK.as_bytes());
                at += form.len();
                copied = at;
            } else {
                at += 1;
            }
        }
        if let Some(clean) = &mut clean {
            clean.extend_from_slice(&bytes[copied..at]);
        }
        (clean, at)
    }
}

/// What percent-encoding leaves as it is besides letters and digits: RFC 3986, forms, JavaScript's `encodeURIComponent`.
const UNESCAPED: [&[u8]; 3] = [b"-._~", b"*-._", b"-_.!~*'()"];

/// What encoders of JSON escape although they need not: nothing, what HTML would read (Go), more of it (Gson, .NET), and
/// everything beyond ASCII (Python, PHP).
const ESCAPED: [(&str, bool); 8] =
    [("", false), ("", true), ("<>&", false), ("<>&", true), ("<>&'=", false), ("<>&'=", true), ("<>&'+", true), ("<>&'+=", true)];

/// How a secret may be written.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    for shift in 0..3 {
        forms.extend(base64_forms(secret.as_bytes(), shift));
    }
    for (unescaped, upper) in UNESCAPED.into_iter().flat_map(|unescaped| [(unescaped, true), (unescaped, false)]) {
        let percent = percent(secret, unescaped, upper);
        forms.push(percent.replace("%20", "+").into_bytes());
        forms.push(percent.into_bytes());
    }
    let json = serde_json::Value::from(secret).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
    let slashed = json.replace('/', "\\/");
    for (special, beyond_ascii) in ESCAPED {
        for (json, upper) in [(&json, true), (&json, false), (&slashed, true), (&slashed, false)] {
            forms.push(escaped(json, special, beyond_ascii, upper).into_bytes());
        }
    }
    forms
}

/// The characters that depend on the secret alone when `shift` bytes stand before it in a group of three.
fn base64_forms(secret: &[u8], shift: usize) -> [Vec<u8>; 2] {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(secret);
    // Six bits each: the first whole one after the shift, and those that end within the secret.
    let from = (shift * 8).div_ceil(6);
    let to = padded.len() * 8 / 6;
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| engine.encode(&padded).as_bytes()[from..to].to_vec())
}

fn percent(secret: &str, unescaped: &[u8], upper: bool) -> String {
    let mut text = String::with_capacity(secret.len() * 3);
    for byte in secret.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || unescaped.contains(&byte) => text.push(char::from(byte)),
            byte if upper => text.push_str(&format!("%{byte:02X}")),
            byte => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

fn escaped(json: &str, special: &str, beyond_ascii: bool, upper: bool) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        if !special.contains(char) && (char.is_ascii() || !beyond_ascii) {
            text.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            text.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "s3cret/with+\"quotes\"&<é>";

    fn redactor() -> Redactor {
        Redactor::new([&Secret::new(SECRET, "test").ok().unwrap()])
    }

    fn every_form() -> Vec<String> {
        let mut forms = vec![
            SECRET.to_owned(),
            serde_json::Value::from(SECRET).to_string(),
            serde_json::Value::from(SECRET).to_string().replace('/', "\\/"),
            "s3cret\\/with\\u002b\\\"quotes\\\"\\u0026\\u003c\\u00e9\\u003e".to_owned(),
            // As Python, Go and PHP write it.
            "s3cret/with+\\\"quotes\\\"&<\\u00e9>".to_owned(),
            "s3cret/with+\\\"quotes\\\"\\u0026\\u003cé\\u003e".to_owned(),
            "s3cret\\/with+\\\"quotes\\\"&<\\u00e9>".to_owned(),
            "s3cret%2Fwith%2B%22quotes%22%26%3C%C3%A9%3E".to_owned(),
            "s3cret%2fwith%2b%22quotes%22%26%3c%c3%a9%3e".to_owned(),
        ];
        for user in ["", "u:", "me:", "you:", "\u{fb}\u{ff}:"] {
            for tail in ["", ";", "?x", "..."] {
                forms.push(STANDARD.encode(format!("{user}{SECRET}{tail}")));
                forms.push(URL_SAFE.encode(format!("{user}{SECRET}{tail}")));
            }
        }
        forms
    }

    #[test]
    fn what_one_learns_its_clones_know() {
        let redactor = Redactor::default();
        let clone = redactor.clone();
        for secret in ["first-secret-01", "second-secret-2"] {
            redactor.learn([&Secret::new(secret, "test").ok().unwrap()]);
        }
        assert_eq!(clone.text("first-secret-01 second-secret-2"), "[redacted] [redacted]");
    }

    #[test]
    fn every_form_is_found() {
        for form in every_form() {
            let clean = redactor().text(&format!("before {form} after")).into_owned();
            assert!(clean.contains("[redacted]"), "{form} -> {clean}");
            assert!(clean.starts_with("before ") && clean.ends_with(" after"));
        }
    }

    #[test]
    fn every_percent_encoding_is_found() {
        const SECRET: &str = "a~b*c!d(e)f'g h-i_j.k/l";
        let redactor = Redactor::new([&Secret::new(SECRET, "test").ok().unwrap()]);
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        assert_eq!(form, "a%7Eb*c%21d%28e%29f%27g+h-i_j.k%2Fl");
        for text in [form.as_str(), &form.to_lowercase(), "a~b*c!d(e)f'g%20h-i_j.k%2Fl", "a~b%2Ac%21d%28e%29f%27g%20h-i_j.k%2Fl"] {
            assert_eq!(redactor.text(text), "[redacted]", "{text}");
        }
    }

    #[test]
    fn innocent_text_is_borrowed() {
        assert!(matches!(redactor().text("s3cret/without it"), Cow::Borrowed(_)));
        assert!(matches!(Redactor::default().text(SECRET), Cow::Borrowed(_)));
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let mut stream = redactor().stream();
        assert_eq!(stream.push(b"data: hello\n\n".to_vec()), b"data: hello\n\n");
        assert_eq!(stream.push(b"data: s3cr".to_vec()), b"data: ");
        assert_eq!(stream.push(b"eamy\n".to_vec()), b"s3creamy\n");
        assert_eq!(stream.push(b"s3c".to_vec()), b"");
        assert_eq!(stream.finish(), b"s3c");
    }

    proptest! {
        #[test]
        fn a_split_secret_never_leaves(cuts in proptest::collection::vec(0_usize..400, 0..12), form in 0_usize..15) {
            let forms = every_form();
            let body = format!("x{0}yy{0}{0}z", forms[form]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let (mut stream, mut out) = (redactor().stream(), Vec::new());
            for pair in cuts.windows(2) {
                out.extend(stream.push(body.as_bytes()[pair[0]..pair[1]].to_vec()));
            }
            out.extend(stream.finish());
            prop_assert_eq!(String::from_utf8(out).unwrap(), redactor().text(&body).into_owned());
        }
    }
}
