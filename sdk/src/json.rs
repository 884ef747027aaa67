//! JSON text in which media stand: what bodies and frames are written with.
//!
//! A string of it may hold a blob, which the host puts in while it sends: the bytes of a picture never pass through the
//! component. Invariants: it is valid JSON whatever it was made of; equal values give equal text, byte for byte.
//!
//! ```
//! use stellaclaw_sdk::http::Piece;
//! use stellaclaw_sdk::json::Json;
//! use stellaclaw_sdk::serde_json::json;
//!
//! let body = Json::object([("model", json!("m").into()), ("image", Json::base64("data:image/png;base64,", "sha256:0"))]);
//! let [Piece::Bytes(before), Piece::Blob(blob), Piece::Bytes(after)] = &body.pieces()[..] else { panic!() };
//! assert_eq!(before, br#"{"model":"m","image":"data:image/png;base64,"#);
//! assert_eq!((blob.blob.as_str(), after.as_slice()), ("sha256:0", br#""}"#.as_slice()));
//! ```

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::chat::Media;
use crate::http::{BlobPiece, Encoding, Piece};

/// A JSON value as text, in pieces.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(Vec<Piece>);

impl Json {
    /// JSON text that is kept to the byte.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn raw(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok(Self::bytes(text.trim()))
    }

    /// A list.
    #[must_use]
    pub fn list(values: impl IntoIterator<Item = Self>) -> Self {
        let mut list = Self::bytes("[");
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                list.push(b",");
            }
            list.append(value);
        }
        list.push(b"]");
        list
    }

    /// An object with these fields, in this order.
    #[must_use]
    pub fn object<N: AsRef<str>>(fields: impl IntoIterator<Item = (N, Self)>) -> Self {
        let mut object = Self::bytes("{");
        for (at, (name, value)) in fields.into_iter().enumerate() {
            if at > 0 {
                object.push(b",");
            }
            object.append(name.as_ref().into());
            object.push(b":");
            object.append(value);
        }
        object.push(b"}");
        object
    }

    /// A string: `prefix`, and the blob's bytes in base64.
    #[must_use]
    pub fn base64(prefix: &str, blob: &str) -> Self {
        let mut text = Value::from(prefix).to_string();
        // The blob goes before the closing quotation mark.
        text.pop();
        let blob = Piece::Blob(BlobPiece { blob: blob.to_owned(), encoding: Encoding::Base64 });
        Self(vec![Piece::Bytes(text.into_bytes()), blob, Piece::Bytes(b"\"".to_vec())])
    }

    /// A string: a `data:` address with what `media` holds.
    #[must_use]
    pub fn data_url(media: &Media) -> Self {
        Self::base64(&format!("data:{};base64,", media.media_type), &media.blob)
    }

    /// The text as the body of a request, or as a frame.
    #[must_use]
    pub fn pieces(self) -> Vec<Piece> {
        self.0
    }

    /// The text for people and tests: a blob is shown as its id.
    #[must_use]
    pub fn shown(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Piece::Blob(blob) => blob.blob.clone(),
        };
        self.0.iter().map(piece).collect()
    }

    fn bytes(text: &str) -> Self {
        Self(vec![Piece::Bytes(text.into())])
    }

    fn push(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Piece::Bytes(last)) => last.extend_from_slice(bytes),
            _ => self.0.push(Piece::Bytes(bytes.to_vec())),
        }
    }

    fn append(&mut self, other: Self) {
        for piece in other.0 {
            match piece {
                Piece::Bytes(bytes) => self.push(&bytes),
                blob => self.0.push(blob),
            }
        }
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self::bytes(&value.to_string())
    }
}

impl From<Map<String, Value>> for Json {
    fn from(object: Map<String, Value>) -> Self {
        Value::Object(object).into()
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Value::from(text).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn raw_text_is_kept_and_checked() {
        assert_eq!(Json::raw(" {\"b\": 1.50, \"a\" :2}\n").unwrap().shown(), "{\"b\": 1.50, \"a\" :2}");
        for wrong in ["", "{", "{} {}", "nan"] {
            assert!(Json::raw(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_in_a_name_or_a_prefix_leaves_its_string() {
        let json = Json::object([("a\"b", Json::list([Json::base64("x\"\n", "id"), Json::list([])]))]);
        assert_eq!(json.shown(), r#"{"a\"b":["x\"\nid",[]]}"#);
        assert_eq!(json.pieces().len(), 3, "bytes beside bytes are one piece");
    }

    proptest! {
        #[test]
        fn what_is_put_together_is_what_it_was_made_of(texts in prop::collection::vec("\\PC{0,8}", 0..6), blobs in 0usize..4) {
            let blob = |at: usize| Json::base64("p,", &format!("sha256:{at}"));
            let json = Json::object([
                ("texts", Json::list(texts.iter().map(|text| text.as_str().into()))),
                ("blobs", Json::list((0..blobs).map(blob))),
            ]);
            let known: Vec<_> = (0..blobs).map(|at| format!("p,sha256:{at}")).collect();
            prop_assert_eq!(serde_json::from_str::<Value>(&json.shown()).unwrap(), json!({"texts": texts, "blobs": known}));
        }
    }
}
