//! The manifest: what a component is and asks for, as JSON in the custom section `stellaclaw:manifest`.
//!
//! A section is fixed when the component is linked, so the JSON is put together by `const fn`s. Made by
//! [`crate::plugin!`]; nothing here is called by hand.

/// What [`crate::plugin!`] was told.
#[derive(Debug)]
pub struct Manifest {
    pub name: &'static str,
    pub version: &'static str,
    pub description: &'static str,
    pub license: &'static str,
    /// Tool names, and whether each still has to be turned into snake case.
    pub tools: &'static [(&'static str, bool)],
    pub fs: &'static [&'static str],
    pub http: &'static [&'static str],
    pub slots: &'static [Slot],
    /// JSON Schemas.
    pub settings: Option<&'static str>,
    pub options: Option<&'static str>,
}

/// A secret the component can use, and where.
#[derive(Debug)]
pub struct Slot {
    pub name: &'static str,
    pub origins: &'static [&'static str],
}

/// Counts what it is given, or writes it: the same walk gives the length and then the bytes.
struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    const fn byte(&mut self, byte: u8) {
        if N > 0 {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    const fn string(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.byte(b'"');
        let mut i = 0;
        while i < bytes.len() {
            match bytes[i] {
                b'"' | b'\\' => {
                    self.byte(b'\\');
                    self.byte(bytes[i]);
                }
                0..=0x1f => self.byte(b' '),
                other => self.byte(other),
            }
            i += 1;
        }
        self.byte(b'"');
    }

    const fn name(&mut self, source: (&str, bool)) {
        let bytes = source.0.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            if source.1 && bytes[i].is_ascii_uppercase() {
                if i > 0 {
                    self.byte(b'_');
                }
                self.byte(bytes[i].to_ascii_lowercase());
            } else {
                self.byte(bytes[i]);
            }
            i += 1;
        }
    }

    const fn strings(&mut self, items: &[&str]) {
        self.byte(b'[');
        let mut i = 0;
        while i < items.len() {
            if i > 0 {
                self.byte(b',');
            }
            self.string(items[i]);
            i += 1;
        }
        self.byte(b']');
    }

    const fn manifest(&mut self, manifest: &Manifest) {
        self.raw("{\"contract\":\"0.1.0\",\"name\":");
        self.string(manifest.name);
        self.raw(",\"version\":");
        self.string(manifest.version);
        self.raw(",\"description\":");
        self.string(manifest.description);
        self.raw(",\"license\":");
        self.string(manifest.license);
        self.raw(",\"tools\":[");
        let mut i = 0;
        while i < manifest.tools.len() {
            if i > 0 {
                self.byte(b',');
            }
            self.byte(b'"');
            self.name(manifest.tools[i]);
            self.byte(b'"');
            i += 1;
        }
        self.raw("],\"requests\":{\"fs\":");
        self.strings(manifest.fs);
        self.raw(",\"http\":");
        self.strings(manifest.http);
        self.raw("},\"slots\":[");
        let mut i = 0;
        while i < manifest.slots.len() {
            if i > 0 {
                self.byte(b',');
            }
            self.raw("{\"name\":");
            self.string(manifest.slots[i].name);
            self.raw(",\"origins\":");
            self.strings(manifest.slots[i].origins);
            self.byte(b'}');
            i += 1;
        }
        self.byte(b']');
        if let Some(schema) = manifest.settings {
            self.raw(",\"settings\":");
            self.raw(schema);
        }
        if let Some(schema) = manifest.options {
            self.raw(",\"options\":");
            self.raw(schema);
        }
        self.byte(b'}');
    }
}

impl Manifest {
    /// The length of [`Manifest::json`] in bytes.
    #[must_use]
    pub const fn json_len(&self) -> usize {
        let mut counter = Writer::<0> { bytes: [], len: 0 };
        counter.manifest(self);
        counter.len
    }

    /// The manifest as JSON. `N` is [`Manifest::json_len`].
    #[must_use]
    pub const fn json<const N: usize>(&self) -> [u8; N] {
        let mut writer = Writer { bytes: [0; N], len: 0 };
        writer.manifest(self);
        writer.bytes
    }
}

/// The length of a tool's name in bytes.
#[must_use]
pub const fn name_len(source: (&str, bool)) -> usize {
    let mut counter = Writer::<0> { bytes: [], len: 0 };
    counter.name(source);
    counter.len
}

/// A tool's name. `N` is [`name_len`].
#[must_use]
pub const fn name_bytes<const N: usize>(source: (&str, bool)) -> [u8; N] {
    let mut writer = Writer { bytes: [0; N], len: 0 };
    writer.name(source);
    writer.bytes
}

/// The bytes of a Rust name as text.
#[must_use]
pub const fn utf8(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("a Rust name is UTF-8"),
    }
}
