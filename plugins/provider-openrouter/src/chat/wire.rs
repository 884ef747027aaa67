//! A chunk of a chat completion, as much of it as is used.
//!
//! Texts are borrowed from the chunk where JSON allows it: a stream is tens of thousands of these. Unknown fields are
//! ignored, `null` is the same as absent, and texts may come as lists of parts or as JSON values, as some servers send them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
pub(crate) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) model: Option<Text<'a>>,
    /// OpenRouter: who served it.
    #[serde(borrow, default)]
    pub(crate) provider: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) service_tier: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) object: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) choices: Option<Choices<'a>>,
    #[serde(borrow, default)]
    pub(crate) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) error: Option<&'a RawValue>,
    /// The error shape of FastAPI servers.
    #[serde(borrow, default)]
    pub(crate) detail: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(borrow, default)]
    pub(crate) delta: Option<Part<'a>>,
    /// In place of `delta` when the server did not stream.
    #[serde(borrow, default)]
    pub(crate) message: Option<Part<'a>>,
    #[serde(borrow, default)]
    pub(crate) finish_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) native_finish_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) error: Option<&'a RawValue>,
}

/// A piece of the message, or all of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Part<'a> {
    #[serde(borrow, default)]
    pub(crate) content: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) reasoning: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) reasoning_content: Option<Text<'a>>,
    #[serde(default)]
    pub(crate) reasoning_details: Option<Value>,
    #[serde(borrow, default)]
    pub(crate) tool_calls: Option<Vec<CallPart<'a>>>,
    #[serde(default)]
    pub(crate) annotations: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CallPart<'a> {
    #[serde(default)]
    pub(crate) index: Option<i64>,
    #[serde(borrow, default)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) function: Option<FunctionPart<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct FunctionPart<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) arguments: Option<Text<'a>>,
}

/// The first choice; we never ask for a second.
#[derive(Debug)]
pub(crate) struct Choices<'a>(pub(crate) Option<Choice<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = Choices<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let first = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Choices(first))
            }
        }
        deserializer.deserialize_seq(First)
    }
}

/// A text, borrowed unless it has escapes.
#[derive(Debug, Default)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl Text<'_> {
    /// The text of an optional field; absent is empty.
    pub(crate) fn of<'t>(text: Option<&'t Text<'_>>) -> &'t str {
        text.map_or("", |text| &text.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    /// A list of parts, as in `content: [{"type": "text", "text": "…"}]`.
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut all = String::new();
        while let Some(part) = parts.next_element::<Value>()? {
            all.push_str(part.as_str().or_else(|| part.get("text")?.as_str()).unwrap_or_default());
        }
        Ok(Text(Cow::Owned(all)))
    }

    /// Arguments that came as an object and not as its text.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let value = Value::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Text(Cow::Owned(value.to_string())))
    }
}
