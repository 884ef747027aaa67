//! Keyboards under messages.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::fake_telegram::limits;

/// An inline keyboard: rows of buttons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyboard {
    pub inline_keyboard: Vec<Vec<Button>>,
}

/// One button of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Button {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `danger`, `success` or `primary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
}

impl Keyboard {
    /// Every button.
    pub fn buttons(&self) -> impl Iterator<Item = &Button> {
        self.inline_keyboard.iter().flatten()
    }

    /// The keyboard that is shown: none when it has no rows, which is how one is taken away.
    pub(crate) fn checked(self) -> Result<Option<Self>, Refusal> {
        if self.inline_keyboard.iter().any(Vec::is_empty) {
            return Err(Refusal::bad("can't parse inline keyboard: a row has no buttons"));
        }
        if self.inline_keyboard.iter().any(|row| row.len() > limits::ROW_BUTTONS) || self.buttons().count() > limits::BUTTONS {
            return Err(Refusal::bad("reply markup is too long"));
        }
        self.buttons().try_for_each(Button::check)?;
        Ok(if self.inline_keyboard.is_empty() { None } else { Some(self) })
    }
}

impl Button {
    fn check(&self) -> Result<(), Refusal> {
        if self.text.trim().is_empty() {
            return Err(Refusal::bad("can't parse inline keyboard button: text is empty"));
        }
        if self.style.as_deref().is_some_and(|style| !matches!(style, "danger" | "success" | "primary")) {
            return Err(Refusal::bad("BUTTON_STYLE_INVALID"));
        }
        match (&self.callback_data, &self.url) {
            (Some(data), None) if data.is_empty() || data.len() > limits::CALLBACK_BYTES => Err(Refusal::bad("BUTTON_DATA_INVALID")),
            (None, Some(address)) if url::Url::parse(address).is_err() => Err(Refusal::bad("BUTTON_URL_INVALID")),
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err(Refusal::bad("can't parse inline keyboard button: it needs callback_data or url, and not both")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(rows: Value) -> Result<Option<Keyboard>, String> {
        let keyboard: Keyboard = serde_json::from_value(json!({"inline_keyboard": rows})).map_err(|error| error.to_string())?;
        keyboard.checked().map_err(|refusal| refusal.description)
    }

    #[test]
    fn a_button_carries_1_to_64_bytes_or_leads_to_a_page() {
        let data = |data: &str| said(json!([[{"text": "a", "callback_data": data}]]));
        assert!(data(&"x".repeat(64)).unwrap().is_some());
        for wrong in [data(&"x".repeat(65)), data(""), data(&"é".repeat(33))] {
            assert_eq!(wrong.unwrap_err(), "Bad Request: BUTTON_DATA_INVALID");
        }
        assert!(said(json!([[{"text": "a", "url": "https://a.example"}]])).is_ok());
        assert!(said(json!([[{"text": "a", "url": "a"}]])).is_err());
        assert!(said(json!([[{"text": "a"}]])).is_err());
        assert!(said(json!([[{"text": "a", "callback_data": "b", "url": "https://a.example"}]])).is_err());
        assert!(said(json!([[{"text": " ", "callback_data": "b"}]])).is_err());
        assert!(said(json!([[{"text": "a", "calback_data": "b"}]])).is_err());
    }

    #[test]
    fn a_keyboard_has_rows_that_fit() {
        let row = |count: usize| vec![json!({"text": "a", "callback_data": "b"}); count];
        assert_eq!(said(json!([])).unwrap(), None);
        assert!(said(json!([row(8)])).is_ok());
        assert!(said(json!([row(9)])).is_err());
        assert!(said(json!([[]])).is_err());
        assert!(said(json!(vec![row(5); 20])).is_ok());
        assert!(said(json!(vec![row(5); 21])).is_err());
    }
}
