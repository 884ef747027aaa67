//! Schemas as these interfaces take them.

use serde_json::{Map, Value};

use crate::chat::{Failure, FailureKind};

/// Parses a JSON object; `what` is its name in the failure.
///
/// # Errors
///
/// `invalid-request` when it is none.
pub fn object(json: &str, what: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(json).map_err(|error| Failure::new(FailureKind::InvalidRequest, format!("{what} is no JSON object: {error}")))
}

/// Does every object of the schema list all its fields as required and admit no other? Only such a schema may be strict.
#[must_use]
pub fn is_closed(schema: &Map<String, Value>) -> bool {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let required = schema.get("required").and_then(Value::as_array);
        let all = required.is_some_and(|required| fields.keys().all(|field| required.iter().any(|name| name == field)));
        if !all || schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return false;
        }
    }
    schema.values().all(value_is_closed)
}

fn value_is_closed(value: &Value) -> bool {
    match value {
        Value::Object(object) => is_closed(object),
        Value::Array(list) => list.iter().all(value_is_closed),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_closed_when_all_its_objects_are() {
        let closed = |schema: &str| is_closed(&object(schema, "it").unwrap());
        let open =
            r#"{"type":"object","properties":{"a":{"type":"object","properties":{"b":{}}}},"required":["a"],"additionalProperties":false}"#;
        assert!(!closed(open));
        assert!(!closed(r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#));
        assert!(!closed(r#"{"type":"object","properties":{}}"#));
        assert!(closed(r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#));
        assert!(object("[]", "it").unwrap_err().message.starts_with("it is no JSON object"));
    }
}
