//! What makes a tool hard to use for a model, though it would be served.

use serde_json::{Map, Value};

use crate::limits;
use crate::plugins::Tool;

/// Where the schemas that a schema is made of are.
const WITHIN: [&str; 2] = ["items", "additionalProperties"];
const ONE_OF: [&str; 3] = ["anyOf", "oneOf", "allOf"];
/// Each of these says what a value is.
const KINDS: [&str; 8] = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "not"];

/// Everything about one tool, each with its place.
pub(super) fn tool(tool: &Tool) -> Vec<String> {
    let mut found = Found { tool: &tool.name, remarks: Vec::new() };
    if !is_snake_case(&tool.name) {
        found.remark("", "the name is not in snake case, which models expect");
    }
    match tool.description.trim().len() {
        0 => found.remark("", "it has no description: the model has to guess what it does"),
        long if long > limits::DESCRIPTION_LONG_BYTES => {
            found.remark("", &format!("its description has {long} bytes, and the model reads all of them at every step"));
        }
        _ => {}
    }
    if let Ok(Value::Object(schema)) = serde_json::from_str(&tool.parameters) {
        if !schema.contains_key("required") {
            found.remark("", "its schema does not say which arguments are `required`");
        }
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            found.remark("", "its schema lets misspelt arguments pass: set `additionalProperties` to false");
        }
        found.within(&schema, "");
    }
    found.remarks
}

struct Found<'a> {
    tool: &'a str,
    remarks: Vec<String>,
}

impl Found<'_> {
    fn remark(&mut self, place: &str, text: &str) {
        self.remarks.push(format!("{}{place}: {text}", self.tool));
    }

    /// The arguments of a schema, and those below them.
    fn object(&mut self, schema: &Map<String, Value>, place: &str) {
        let nothing = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|name| !properties.contains_key(*name)) {
            self.remark(place, &format!("it requires {name:?} and says nothing about it"));
        }
        for (name, property) in properties {
            let place = format!("{place}.{name}");
            if !is_snake_case(name) {
                self.remark(&place, "the name is not in snake case, which models expect");
            }
            let Value::Object(property) = property else { continue };
            if property.get("description").and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
                self.remark(&place, "it has no description");
            }
            if !KINDS.iter().any(|kind| property.contains_key(*kind)) {
                self.remark(&place, "it has no type: anything would pass");
            }
            self.within(property, &place);
        }
    }

    /// The schemas that `schema` is made of. References are not followed: what they lead to has a place of its own.
    fn within(&mut self, schema: &Map<String, Value>, place: &str) {
        self.object(schema, place);
        let one = WITHIN.iter().filter_map(|key| schema.get(*key));
        let many = ONE_OF.iter().filter_map(|key| schema.get(*key)?.as_array()).flatten();
        for part in one.chain(many).filter_map(Value::as_object) {
            self.within(part, place);
        }
    }
}

/// `[a-z][a-z0-9]*(_[a-z0-9]+)*`
fn is_snake_case(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.split('_').all(word) && name.starts_with(|first: char| first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chat::{Batching, Replay};

    fn remarks(name: &str, description: &str, parameters: &str) -> Vec<String> {
        tool(&Tool {
            plugin: "p".into(),
            name: name.into(),
            description: description.into(),
            parameters: parameters.into(),
            batching: Batching::Serial,
            replay: Replay::Effect,
            timeout: Duration::from_secs(1),
        })
    }

    #[test]
    fn a_good_tool_gets_no_remark() {
        let parameters = r#"{"type":"object","properties":{"who":{"type":"string","description":"Who."}},"required":["who"],
            "additionalProperties":false}"#;
        assert_eq!(remarks("greet_2", "Greets.", parameters), Vec::<String>::new());
    }

    #[test]
    fn what_a_model_would_stumble_over_has_its_place() {
        let parameters = r#"{"type":"object","properties":{"Who":{},"when":{"type":"object","description":"When.",
            "properties":{"day":{"anyOf":[{"type":"object","properties":{"n":{"type":"integer"}}}]}}}},"required":["gone"]}"#;
        insta::assert_snapshot!(remarks("greet__", " ", parameters).join("\n"), @r#"
        greet__: the name is not in snake case, which models expect
        greet__: it has no description: the model has to guess what it does
        greet__: its schema lets misspelt arguments pass: set `additionalProperties` to false
        greet__: it requires "gone" and says nothing about it
        greet__.Who: the name is not in snake case, which models expect
        greet__.Who: it has no description
        greet__.Who: it has no type: anything would pass
        greet__.when.day: it has no description
        greet__.when.day.n: it has no description
        "#);
        let long = remarks("greet", &"x".repeat(limits::DESCRIPTION_LONG_BYTES + 1), r#"{"required":[],"additionalProperties":false}"#);
        assert_eq!(long, ["greet: its description has 1025 bytes, and the model reads all of them at every step"]);
    }
}
