//! The parameters of one call, however they came: as JSON, in the address, as a form, with files.
//!
//! A method takes what it knows; what is left over then is refused, so that a misspelt name is found.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::check::{Refusal, unreadable};

/// What came with a call.
#[derive(Debug, Clone, Default)]
pub struct Params {
    pub(super) values: Map<String, Value>,
    pub(super) files: BTreeMap<String, Upload>,
}

/// A file in a call.
#[derive(Debug, Clone)]
pub struct Upload {
    pub name: Option<String>,
    pub mime: Option<String>,
    pub bytes: Bytes,
}

impl Upload {
    fn json(&self) -> Value {
        let digest = Sha256::digest(&self.bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        json!({"name": self.name, "mime": self.mime, "size": self.bytes.len(), "sha256": digest})
    }
}

impl Params {
    /// For the log: files by name, size and digest.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut all = self.values.clone();
        all.extend(self.files.iter().map(|(name, file)| (name.clone(), file.json())));
        Value::Object(all)
    }

    /// What is left of it, if anything, as an error.
    pub(super) fn done(self) -> Result<(), Refusal> {
        let left = self.values.keys().chain(self.files.keys()).next();
        left.map_or(Ok(()), |name| Err(Refusal::bad(format!("this server does not know the parameter {name:?} of this method"))))
    }

    fn value(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// A whole number; in a form it is text.
    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = match &value {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        number.map(Some).ok_or_else(|| Refusal::bad(format!("{name} must be an integer")))
    }

    /// Yes or no; no when it is left out.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.value(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "false") => Ok(text == "true"),
            Some(_) => Err(Refusal::bad(format!("{name} must be true or false"))),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad(format!("{name} must be a string"))),
        }
    }

    /// An object or a list; in a form it is JSON text.
    pub(super) fn object<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let parsed = match value {
            Value::String(text) => serde_json::from_str(&text),
            other => serde_json::from_value(other),
        };
        parsed.map(Some).map_err(|error| unreadable(name, &error))
    }

    /// The number of the chat.
    pub(super) fn chat(&mut self) -> Result<i64, Refusal> {
        match self.value("chat_id") {
            None => Err(Refusal::bad("chat_id is empty")),
            Some(Value::String(text)) => text.parse().map_err(|_| Refusal::bad("chat not found")),
            Some(value) => value.as_i64().ok_or_else(|| Refusal::bad("chat_id must be an integer")),
        }
    }

    /// A number that must be there.
    pub(super) fn needed(&mut self, name: &str) -> Result<i64, Refusal> {
        self.int(name)?.ok_or_else(|| Refusal::bad(format!("{name} is not specified")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(json: Value) -> Params {
        let Value::Object(values) = json else { panic!("{json}") };
        Params { values, ..Params::default() }
    }

    #[test]
    fn a_form_says_the_same_as_json() {
        for json in [json!({"n": 5, "f": true, "o": [1, 2]}), json!({"n": "5", "f": "true", "o": "[1, 2]"})] {
            let mut params = params(json);
            assert_eq!(params.int("n"), Ok(Some(5)));
            assert_eq!(params.flag("f"), Ok(true));
            assert_eq!(params.object::<Vec<i64>>("o"), Ok(Some(vec![1, 2])));
            assert_eq!(params.done(), Ok(()));
        }
    }

    #[test]
    fn what_nobody_takes_is_refused() {
        assert!(params(json!({"disable_notifications": true})).done().unwrap_err().description.contains("\"disable_notifications\""));
        assert!(params(json!({"n": "five"})).int("n").is_err());
        assert!(params(json!({"n": 1.5})).int("n").is_err());
        assert!(params(json!({"f": 1})).flag("f").is_err());
        assert_eq!(params(json!({"n": null})).int("n"), Ok(None));
        assert_eq!(params(json!({})).chat().unwrap_err().description, "Bad Request: chat_id is empty");
    }
}
