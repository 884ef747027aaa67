//! `reasoning_details`: what a model thought, in a form that only its maker can check.
//!
//! The pieces of a stream are joined by (index, type) and the result goes back exactly so. A signature covers the text it
//! came with, so nothing here shortens, reorders or drops a field.

use serde_json::{Map, Value};

/// Texts of which a stream sends piece after piece; every other field is said once.
const GROWING: [&str; 3] = ["text", "summary", "data"];

#[derive(Debug, Default)]
pub(crate) struct Details(Vec<Map<String, Value>>);

impl Details {
    /// Adds a chunk's list. Returns what a person may read of it.
    pub(crate) fn add(&mut self, list: Value) -> String {
        let mut readable = String::new();
        let Value::Array(list) = list else { return readable };
        for entry in list {
            let Value::Object(entry) = entry else { continue };
            for key in ["text", "summary"] {
                readable.push_str(entry.get(key).and_then(Value::as_str).unwrap_or_default());
            }
            match self.0.iter_mut().rev().find(|known| same(known, &entry)) {
                Some(known) => join(known, entry),
                None => self.0.push(entry),
            }
        }
        readable
    }

    /// The list to send back, as JSON.
    pub(crate) fn json(self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        Some(Value::Array(self.0.into_iter().map(Value::Object).collect()).to_string())
    }
}

/// Is `entry` a further piece of `known`? Sealed blocks without an index are whole, each its own.
fn same(known: &Map<String, Value>, entry: &Map<String, Value>) -> bool {
    let get = |map: &Map<String, Value>, key: &str| map.get(key).filter(|value| !value.is_null()).cloned();
    let (index, kind) = (get(entry, "index"), get(entry, "type"));
    if get(known, "index") != index || get(known, "type") != kind {
        return false;
    }
    if index.is_none() && kind.as_ref().and_then(Value::as_str) == Some("reasoning.encrypted") {
        return false;
    }
    match (get(known, "id"), get(entry, "id")) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

fn join(known: &mut Map<String, Value>, entry: Map<String, Value>) {
    for (key, value) in entry {
        match (known.get_mut(&key), value) {
            (_, Value::Null) => {}
            (Some(Value::String(text)), Value::String(more)) if GROWING.contains(&key.as_str()) => text.push_str(&more),
            (Some(slot), value) if slot.is_null() || key == "signature" => *slot = value,
            (Some(_), _) => {}
            (None, value) => {
                known.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn joined(chunks: &[Value]) -> (String, Value) {
        let mut details = Details::default();
        let text = chunks.iter().map(|chunk| details.add(chunk.clone())).collect();
        (text, serde_json::from_str(&details.json().unwrap_or("null".into())).unwrap())
    }

    #[test]
    fn pieces_join_by_index_and_type() {
        let (text, list) = joined(&[
            json!([{"type": "reasoning.text", "text": "I ", "format": "anthropic-claude-v1", "index": 0}]),
            json!([{"type": "reasoning.text", "text": "think", "index": 0, "signature": null}]),
            json!([{"type": "reasoning.encrypted", "data": "AA", "index": 0}]),
            json!([{"type": "reasoning.text", "signature": "sig", "index": 0}, {"type": "reasoning.text", "text": "!", "index": 1}]),
        ]);
        assert_eq!(text, "I think!");
        assert_eq!(
            list,
            json!([
                {"type": "reasoning.text", "text": "I think", "format": "anthropic-claude-v1", "index": 0, "signature": "sig"},
                {"type": "reasoning.encrypted", "data": "AA", "index": 0},
                {"type": "reasoning.text", "text": "!", "index": 1},
            ])
        );
    }

    #[test]
    fn whole_blocks_stay_apart() {
        let blocks = json!([
            {"type": "reasoning.encrypted", "data": "a"}, {"type": "reasoning.encrypted", "data": "b"},
            {"type": "reasoning.summary", "summary": "s", "id": "1", "index": 0}, {"type": "reasoning.summary", "summary": "t", "id": "2", "index": 0},
        ]);
        assert_eq!(joined(std::slice::from_ref(&blocks)), ("st".into(), blocks));
        assert_eq!(joined(&[json!(null), json!("odd")]), (String::new(), json!(null)));
    }
}
