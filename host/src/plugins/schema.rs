//! JSON Schemas of tools, settings and model options: compiled once, and refusals a model can act on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::PatternOptions;
use serde_json::Value;

use crate::limits;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Validator {
    validator: jsonschema::Validator,
    /// The deepest value that can be checked in [`limits::SCHEMA_STEPS`].
    depth: usize,
}

/// Compiled schemas by their text.
#[derive(Default)]
pub(super) struct Schemas(Mutex<HashMap<String, Arc<Validator>>>);

impl Schemas {
    /// Checks JSON text. The error is for its writer: each line names a place in the value.
    pub fn check(&self, schema: &str, json: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(json).map_err(|error| format!("not valid JSON: {error}"))?;
        let validator = self.validator(schema)?;
        problems(&validator, &value)
    }

    fn validator(&self, schema: &str) -> Result<Arc<Validator>, String> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = known().get(schema) {
            return Ok(validator.clone());
        }
        // Compiled without the lock: others are not to wait for it.
        let parsed = serde_json::from_str(schema).map_err(|error| format!("its schema is not valid JSON: {error}"))?;
        let validator = Arc::new(compile(&parsed)?);
        let mut known = known();
        if known.len() >= limits::SCHEMAS_KEPT {
            known.clear();
        }
        known.insert(schema.to_owned(), validator.clone());
        Ok(validator)
    }
}

/// Compiles a schema. Nothing is ever fetched: a reference out of the schema is an error. So is a schema that would take
/// more than its size to compile or to check against.
pub(super) fn compile(schema: &Value) -> Result<Validator, String> {
    let depth = Shape { root: schema, patterns: 0, recursive: false, nodes: HashMap::new() }
        .check()
        .and_then(|recursive| if recursive { Steps::new(schema).depth() } else { Ok(limits::JSON_DEPTH) })
        .map_err(|reason| format!("its schema: {reason}"))?;
    let patterns = PatternOptions::regex().size_limit(limits::PATTERN_BYTES).dfa_size_limit(limits::PATTERN_BYTES);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(schema)
        .map(|validator| Validator { validator, depth })
        .map_err(|error| format!("its schema: {}", cut(&error.to_string())))
}

/// What a schema comes to when every reference is written out.
struct Shape<'a> {
    root: &'a Value,
    patterns: usize,
    /// A reference leads back to where it is.
    recursive: bool,
    /// What is below a node; 0 while it is being counted, so that a recursion counts once.
    nodes: HashMap<*const Value, u64>,
}

impl<'a> Shape<'a> {
    /// Is it recursive?
    fn check(mut self) -> Result<bool, String> {
        let nodes = self.count(self.root, 0)?;
        if nodes > limits::SCHEMA_NODES {
            return Err(format!("with every reference written out it has {nodes} nodes; at most {}", limits::SCHEMA_NODES));
        }
        if self.patterns > limits::SCHEMA_PATTERNS {
            return Err(format!("it has {} patterns; at most {}", self.patterns, limits::SCHEMA_PATTERNS));
        }
        Ok(self.recursive)
    }

    fn count(&mut self, node: &'a Value, depth: usize) -> Result<u64, String> {
        if depth > limits::SCHEMA_DEPTH {
            return Err(format!("with every reference written out it is over {} levels deep", limits::SCHEMA_DEPTH));
        }
        let key = std::ptr::from_ref(node);
        if let Some(known) = self.nodes.get(&key) {
            self.recursive |= *known == 0;
            return Ok(*known);
        }
        self.nodes.insert(key, 0);
        let mut sum = 1_u64;
        match node {
            Value::Array(items) => {
                for item in items {
                    sum = sum.saturating_add(self.count(item, depth + 1)?);
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    sum = sum.saturating_add(self.keyword(name, value, depth + 1)?);
                    sum = sum.saturating_add(self.count(value, depth + 1)?);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        self.nodes.insert(key, sum);
        Ok(sum)
    }

    /// What a keyword adds beyond what is written below it.
    fn keyword(&mut self, name: &str, value: &'a Value, depth: usize) -> Result<u64, String> {
        match (name, value) {
            ("pattern", Value::String(_)) => self.patterns += 1,
            ("patternProperties", Value::Object(patterns)) => self.patterns += patterns.len(),
            ("$dynamicRef" | "$recursiveRef", Value::String(_)) => return Err(format!("{name} is not served; use $ref")),
            ("$id" | "$anchor", Value::String(_)) if depth > 1 => {
                return Err(format!("{name} below its top is not served; refer to a place as #/$defs/NAME"));
            }
            ("$ref", Value::String(place)) => {
                let target = place.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
                let target = target.ok_or_else(|| format!("the $ref {:?} leads to no place in it", cut(place)))?;
                return self.count(target, depth);
            }
            _ => {}
        }
        Ok(0)
    }
}

/// How many steps checking a value takes at most, by how deep the value is. A part of a value that two schemas look at
/// costs both; different parts cost the dearest, for each is as deep as the value at most.
struct Steps<'a> {
    root: &'a Value,
    /// None while it is being counted.
    known: HashMap<(*const Value, usize), Option<u64>>,
}

impl<'a> Steps<'a> {
    fn new(root: &'a Value) -> Self {
        Self { root, known: HashMap::new() }
    }

    /// The deepest value that can be checked.
    fn depth(mut self) -> Result<usize, String> {
        for depth in 0..=limits::JSON_DEPTH {
            if self.of(self.root, depth)? > limits::SCHEMA_STEPS {
                return depth.checked_sub(1).ok_or_else(|| "no value could be checked against it in time".to_owned());
            }
        }
        Ok(limits::JSON_DEPTH)
    }

    /// The steps of `schema` for a value of this depth.
    fn of(&mut self, schema: &'a Value, depth: usize) -> Result<u64, String> {
        let Value::Object(fields) = schema else { return Ok(1) };
        let key = (std::ptr::from_ref(schema), depth);
        match self.known.get(&key) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err("a $ref leads back to itself without looking at a part of the value".to_owned()),
            None => self.known.insert(key, None),
        };
        let (mut here, mut named, mut members, mut items) = (1_u64, 0_u64, 0_u64, 0_u64);
        for (name, value) in fields {
            match name.as_str() {
                "$ref" => {
                    let target = value.as_str().and_then(|place| self.root.pointer(place.strip_prefix('#')?));
                    here = here.saturating_add(target.map_or(Ok(1), |target| self.of(target, depth))?);
                }
                "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" => here = here.saturating_add(self.all(value, depth)?),
                "dependentSchemas" => here = here.saturating_add(self.each(value, depth, u64::saturating_add)?),
                _ if depth == 0 => {}
                "properties" => named = self.each(value, depth - 1, u64::max)?,
                "patternProperties" => members = members.saturating_add(self.each(value, depth - 1, u64::saturating_add)?),
                "additionalProperties" | "unevaluatedProperties" | "propertyNames" => {
                    members = members.saturating_add(self.all(value, depth - 1)?);
                }
                "items" | "prefixItems" | "contains" | "unevaluatedItems" | "additionalItems" => {
                    items = items.saturating_add(self.all(value, depth - 1)?);
                }
                _ => {}
            }
        }
        let steps = here.saturating_add(named.saturating_add(members).max(items));
        self.known.insert(key, Some(steps));
        Ok(steps)
    }

    /// One schema, or a list of them.
    fn all(&mut self, value: &'a Value, depth: usize) -> Result<u64, String> {
        match value {
            Value::Array(schemas) => schemas.iter().try_fold(0_u64, |sum, schema| Ok(sum.saturating_add(self.of(schema, depth)?))),
            schema => self.of(schema, depth),
        }
    }

    /// Schemas by name.
    fn each(&mut self, value: &'a Value, depth: usize, join: fn(u64, u64) -> u64) -> Result<u64, String> {
        let Value::Object(schemas) = value else { return Ok(0) };
        schemas.values().try_fold(0, |sum, schema| Ok(join(sum, self.of(schema, depth)?)))
    }
}

/// How many levels of lists and objects a value has.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Checks a value that is already parsed against a schema that is used once.
pub(super) fn check_value(schema: &Value, value: &Value) -> Result<(), String> {
    problems(&compile(schema)?, value)
}

fn problems(validator: &Validator, value: &Value) -> Result<(), String> {
    let levels = depth(value);
    if levels > validator.depth {
        return Err(format!("it has {levels} levels; with its schema at most {} can be checked", validator.depth));
    }
    let mut errors = validator.validator.iter_errors(value);
    let mut lines: Vec<_> = errors
        .by_ref()
        .take(limits::SCHEMA_PROBLEMS)
        .map(|error| {
            let message = cut(&error.to_string());
            match error.instance_path().to_string() {
                path if path.is_empty() => message,
                path => format!("{}: {message}", cut(&path)),
            }
        })
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    match errors.count() {
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    Err(lines.join("\n"))
}

/// A problem quotes what it is about: that may be long, and steer the terminal on which it is read.
pub(super) fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(limits::SCHEMA_PROBLEM_BYTES);
    let mut plain = String::with_capacity(end);
    for c in text[..end].chars() {
        if c.is_control() { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    if end < text.len() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"integer","minimum":1}},
        "required":["path"],"additionalProperties":false}"#;

    #[test]
    fn problems_name_their_place() {
        let schemas = Schemas::default();
        assert_eq!(schemas.check(SCHEMA, r#"{"path":"a","n":2}"#), Ok(()));
        assert_eq!(schemas.check(SCHEMA, "{"), Err("not valid JSON: EOF while parsing an object at line 1 column 1".into()));
        assert_eq!(schemas.check(SCHEMA, r#"{"path":"a","n":0}"#).unwrap_err(), "/n: 0 is less than the minimum of 1");
        let missing = schemas.check(SCHEMA, r#"{"paht":"a"}"#).unwrap_err();
        assert!(missing.contains("\"path\" is a required property") && missing.contains("paht"), "{missing}");
        let odd = check_value(&serde_json::json!({"required": ["a\u{7f}b"]}), &serde_json::json!({})).unwrap_err();
        assert_eq!(odd, "\"a\\u{7f}b\" is a required property");
        let long = format!(r#"{{"path":"a","n":"{}"}}"#, "x".repeat(10_000));
        assert!(schemas.check(SCHEMA, &long).unwrap_err().len() < 1000);
    }

    #[test]
    fn a_schema_that_costs_more_than_its_size_is_refused() {
        let mut defs: Vec<String> =
            (0..60).map(|n| format!(r##""d{n}":{{"allOf":[{{"$ref":"#/$defs/d{m}"}},{{"$ref":"#/$defs/d{m}"}}]}}"##, m = n + 1)).collect();
        defs.push(r#""d60":{"type":"object"}"#.into());
        let doubling = format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{}}}}}"##, defs.join(","));
        let patterns: Vec<_> = (0..65).map(|n| format!(r#""p{n}":{{"pattern":"a"}}"#)).collect();
        let patterns = format!(r#"{{"properties":{{{}}}}}"#, patterns.join(","));
        let chain: Vec<_> = (0..400).map(|n| format!(r##""c{n}":{{"$ref":"#/$defs/c{}"}}"##, (n + 1).min(399))).collect();
        let chain = format!(r##"{{"$ref":"#/$defs/c0","$defs":{{{}}}}}"##, chain.join(","));
        for (schema, reason) in [
            (doubling.as_str(), "nodes; at most 10000"),
            (&patterns, "65 patterns; at most 64"),
            (&chain, "levels deep"),
            (r#"{"pattern":"(a{1000}){1000}"}"#, "its schema"),
            (r##"{"$dynamicRef":"#"}"##, "$dynamicRef is not served"),
            (r#"{"properties":{"a":{"$id":"other"}}}"#, "$id below its top"),
        ] {
            let refused = Schemas::default().check(schema, "{}").unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        let tree = r##"{"type":"object","properties":{"left":{"$ref":"#"},"right":{"$ref":"#"}},"additionalProperties":false}"##;
        assert_eq!(Schemas::default().check(tree, r#"{"left":{"right":{}}}"#), Ok(()));
        assert!(Schemas::default().check(tree, r#"{"left":{"middle":{}}}"#).is_err());
    }

    #[test]
    fn a_recursive_schema_is_checked_as_deep_as_it_can_be() {
        let double = r##"{"type":"object","properties":{"x":{"anyOf":[{"$ref":"#"},{"allOf":[{"$ref":"#"},{"type":"object"}]}]}}}"##;
        let nested = |levels: usize| format!("{}1{}", r#"{"x":"#.repeat(levels), "}".repeat(levels));
        let schemas = Schemas::default();
        assert!(schemas.check(double, &nested(5)).unwrap_err().starts_with("/x"), "within the bound it is checked");
        let refused = schemas.check(double, &nested(100)).unwrap_err();
        assert!(refused.starts_with("it has 100 levels; with its schema at most "), "{refused}");
        let chain = r##"{"type":"object","properties":{"x":{"$ref":"#"},"y":{"$ref":"#"}}}"##;
        assert!(schemas.check(chain, &nested(100)).unwrap_err().contains("1 is not of type"), "one look at each level costs little");
        for endless in [
            r##"{"type":"object","allOf":[{"$ref":"#"},{"$ref":"#"}]}"##,
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"not":{"$ref":"#/$defs/b"}},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}}}"##,
        ] {
            let refused = schemas.check(endless, "{}").unwrap_err();
            assert!(refused.contains("leads back to itself"), "{refused}");
        }
    }

    #[test]
    fn a_schema_that_reaches_out_is_refused() {
        for schema in [r#"{"$ref":"https://example.com/schema.json"}"#, r#"{"$ref":"file:///etc/passwd"}"#, r#"{"type":"nothing"}"#] {
            assert!(Schemas::default().check(schema, "{}").is_err(), "{schema}");
        }
    }
}
