//! One event, as much of it as is used.
//!
//! Fields stay unread text until somebody asks for them: a field of another type, in an event that is not known, is no error.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An event of the stream, or a frame.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    pub(super) fn of(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        if json.trim_ascii_start().starts_with(b"{") {
            return serde_json::from_slice(json);
        }
        // A list would be taken for the fields in their order.
        Err(serde::de::Error::custom("it is no object"))
    }

    /// What `type` says; empty without one.
    pub(super) fn kind(&self) -> Cow<'a, str> {
        text(self.kind)
    }

    pub(super) fn output_index(&self) -> Option<u64> {
        number(self.output_index)
    }

    /// Which part of the item is meant: of its content, or of its summary.
    pub(super) fn part(&self) -> u64 {
        number(self.content_index).or_else(|| number(self.summary_index)).unwrap_or(0)
    }

    pub(super) fn item_id(&self) -> Cow<'a, str> {
        text(self.item_id)
    }

    /// What is added.
    pub(super) fn delta(&self) -> Cow<'a, str> {
        text(self.delta)
    }

    /// What the whole part says, in whichever field its kind has it.
    pub(super) fn whole(&self) -> Cow<'a, str> {
        text(self.text.or(self.refusal).or(self.arguments).or(self.input))
    }
}

/// The response that begins and ends a stream, and is the whole of a body without one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    end_turn: Option<&'a RawValue>,
}

impl<'a> Response<'a> {
    pub(super) fn of(raw: Option<&'a RawValue>) -> Self {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    pub(super) fn id(&self) -> Cow<'a, str> {
        text(self.id)
    }

    pub(super) fn is_response(&self) -> bool {
        text(self.object) == "response" || (self.status.is_some() && self.output.is_some())
    }

    pub(super) fn model(&self) -> Cow<'a, str> {
        text(self.model)
    }

    pub(super) fn status(&self) -> Cow<'a, str> {
        text(self.status)
    }

    pub(super) fn service_tier(&self) -> Cow<'a, str> {
        text(self.service_tier)
    }

    /// The items, each as it came. On some servers there are none.
    pub(super) fn output(&self) -> Vec<&'a RawValue> {
        self.output.and_then(|output| serde_json::from_str(output.get()).ok()).unwrap_or_default()
    }

    /// Why it is incomplete.
    pub(super) fn reason(&self) -> Cow<'a, str> {
        #[derive(Deserialize)]
        struct Details<'a> {
            #[serde(borrow, default)]
            reason: Option<&'a RawValue>,
        }
        let details: Option<Details<'a>> = self.incomplete_details.and_then(|details| serde_json::from_str(details.get()).ok());
        text(details.and_then(|details| details.reason))
    }

    /// The model has not finished: it wants to be asked again.
    pub(super) fn goes_on(&self) -> bool {
        self.end_turn.is_some_and(|end_turn| end_turn.get() == "false")
    }
}

fn text(field: Option<&RawValue>) -> Cow<'_, str> {
    let Some(field) = field else { return Cow::Borrowed("") };
    // Without an escape the text is what stands between the quotation marks.
    match field.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        Some(_) => serde_json::from_str(field.get()).map_or(Cow::Borrowed(""), Cow::Owned),
        None => Cow::Borrowed(""),
    }
}

fn number(field: Option<&RawValue>) -> Option<u64> {
    field?.get().parse().ok()
}
