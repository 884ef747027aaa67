//! What the vendor refuses with status 400, and with which code.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::media::readable;
use super::{THOUGHT, seal};

/// Keys that may be in a body. The server keeps nothing, so there is no `previous_response_id`.
const KNOWN: [&str; 18] = [
    "model",
    "input",
    "instructions",
    "stream",
    "store",
    "include",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "reasoning",
    "text",
    "service_tier",
    "prompt_cache_key",
    "metadata",
    "truncation",
];

/// A refusal: its code, where it has one, and its words.
pub(in super::super) type Refusal = (Option<&'static str>, String);

/// Says what is wrong with a request's body.
pub(in super::super) fn check(body: &Value) -> Result<(), Refusal> {
    let plain = |message: String| (None, message);
    let object = body.as_object().ok_or_else(|| plain("the body must be an object".into()))?;
    if let Some(unknown) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err((Some("unknown_parameter"), format!("Unknown parameter: '{unknown}'.")));
    }
    let model =
        body["model"].as_str().filter(|model| !model.is_empty()).ok_or_else(|| plain("Missing required parameter: 'model'.".into()))?;
    if body["stream"] != true || body["store"] != false {
        return Err(plain("this server only streams, and stores nothing".into()));
    }
    if !body["include"].as_array().is_some_and(|include| include.contains(&"reasoning.encrypted_content".into())) {
        return Err(plain("without storage, reasoning is lost unless 'reasoning.encrypted_content' is included".into()));
    }
    tools(body).map_err(plain)?;
    let input = body["input"].as_array().filter(|input| !input.is_empty());
    input_items(input.ok_or_else(|| plain("Missing required parameter: 'input'.".into()))?, model)
}

fn tools(body: &Value) -> Result<(), String> {
    let Some(tools) = body.get("tools") else { return Ok(()) };
    let tools = tools.as_array().filter(|tools| !tools.is_empty()).ok_or("Invalid 'tools': empty array.")?;
    let mut names = BTreeSet::new();
    for (at, tool) in tools.iter().enumerate() {
        let name = tool["name"].as_str().ok_or(format!("Missing required parameter: 'tools[{at}].name'."))?;
        if tool["type"] != "function" || tool["parameters"]["type"] != "object" || !tool["strict"].is_boolean() {
            return Err(format!("Invalid 'tools[{at}]': {tool}"));
        }
        if !names.insert(name) {
            return Err(format!("Invalid 'tools': the function '{name}' is there twice."));
        }
    }
    Ok(())
}

fn input_items(input: &[Value], model: &str) -> Result<(), Refusal> {
    let (mut open, mut known) = (BTreeSet::new(), BTreeSet::new());
    for (at, item) in input.iter().enumerate() {
        let plain = |message: String| (None, message);
        let next = input.get(at + 1);
        match item["type"].as_str() {
            Some("message") => {
                fields(item, at, &["type", "role", "content", "id", "status", "phase"]).map_err(plain)?;
                message(item, at).map_err(plain)?;
            }
            Some("reasoning") => reasoning(item, at, next, model)?,
            Some("function_call") => {
                fields(item, at, &["type", "id", "status", "call_id", "name", "arguments"]).map_err(plain)?;
                let id = call_id(item, at).map_err(plain)?;
                if item["name"].as_str().is_none_or(str::is_empty) || !item["arguments"].is_string() {
                    return Err(plain(format!("Invalid 'input[{at}]': {item}")));
                }
                if !known.insert(id) {
                    return Err(plain(format!("Duplicate 'call_id' {id} at input[{at}].")));
                }
                open.insert(id);
            }
            Some("function_call_output") => {
                fields(item, at, &["type", "id", "status", "call_id", "output"]).map_err(plain)?;
                let id = call_id(item, at).map_err(plain)?;
                if !open.remove(id) {
                    return Err(plain(format!("No tool call found for function call output with call_id {id}.")));
                }
                output(&item["output"], at).map_err(plain)?;
            }
            kind => return Err(plain(format!("Invalid value: '{kind:?}' for 'input[{at}].type'."))),
        }
        required_reasoning(input, at, item)?;
    }
    match open.first() {
        Some(id) => Err((None, format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

fn fields(item: &Value, at: usize, known: &[&str]) -> Result<(), String> {
    match item.as_object().and_then(|item| item.keys().find(|key| !known.contains(&key.as_str()))) {
        Some(key) => Err(format!("Unknown parameter: 'input[{at}].{key}'.")),
        None => Ok(()),
    }
}

fn call_id(item: &Value, at: usize) -> Result<&str, String> {
    let id = item["call_id"].as_str().ok_or(format!("Missing required parameter: 'input[{at}].call_id'."))?;
    if (1..=64).contains(&id.len()) { Ok(id) } else { Err(format!("Invalid 'input[{at}].call_id': string too long.")) }
}

/// Reasoning is whole, from this model, and leads to something.
fn reasoning(item: &Value, at: usize, next: Option<&Value>, model: &str) -> Result<(), Refusal> {
    let id = item["id"].as_str().unwrap_or_default();
    if item["encrypted_content"] != seal(model, id) {
        let message = format!("The encrypted content for item {id} could not be verified.");
        return Err((Some("invalid_encrypted_content"), message));
    }
    if !item["summary"].is_array() {
        return Err((None, format!("Missing required parameter: 'input[{at}].summary'.")));
    }
    let leads = next.is_some_and(|next| next["type"] == "function_call" || next["role"] == "assistant");
    if leads { Ok(()) } else { Err((None, format!("Item '{id}' of type 'reasoning' was provided without its required following item."))) }
}

/// The first call of an answer that began with reasoning is not known without it.
fn required_reasoning(input: &[Value], at: usize, item: &Value) -> Result<(), Refusal> {
    let id = item["id"].as_str().and_then(|id| id.strip_prefix("fc_")?.strip_prefix(THOUGHT)?.strip_suffix("-0"));
    let Some(answer) = id else { return Ok(()) };
    let wanted = format!("rs_{answer}");
    // Between them there may be something said.
    if input[..at].iter().rev().take(2).any(|before| before["id"] == wanted.as_str()) {
        return Ok(());
    }
    Err((None, format!("Item '{}' of type 'function_call' was provided without its required 'reasoning' item: '{wanted}'.", item["id"])))
}

fn message(item: &Value, at: usize) -> Result<(), String> {
    let role = item["role"].as_str().unwrap_or_default();
    let content = item["content"].as_array().filter(|parts| !parts.is_empty());
    for part in content.ok_or(format!("Invalid 'input[{at}].content': empty array."))? {
        let kind = part["type"].as_str().unwrap_or_default();
        let good = match (role, kind) {
            ("user", "input_image" | "input_file" | "input_audio") => readable(part),
            ("user" | "system" | "developer", "input_text") => part["text"].as_str().is_some_and(|text| !text.is_empty()),
            ("assistant", "output_text") => part["text"].is_string() && part["annotations"].is_array(),
            ("assistant", "refusal") => part["refusal"].is_string(),
            _ => false,
        };
        if !good {
            return Err(format!("Invalid value for 'input[{at}].content' of the role '{role}': {part}"));
        }
    }
    Ok(())
}

fn output(output: &Value, at: usize) -> Result<(), String> {
    match output {
        Value::String(_) => Ok(()),
        Value::Array(parts) if parts.iter().all(|part| part["type"] == "input_text" || readable(part)) => Ok(()),
        _ => Err(format!("Invalid type for 'input[{at}].output': {output}")),
    }
}

mod tests {
    use serde_json::json;

    use super::*;

    fn with(input: Value, more: Value) -> Result<(), Refusal> {
        let mut body = json!({"model": "m", "stream": true, "store": false, "include": ["reasoning.encrypted_content"], "input": input});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        check(&body)
    }

    fn user() -> Value {
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]})
    }

    #[test]
    fn a_tool_loop_in_order_is_accepted() {
        let thought = json!({"id": "rs_a-0", "type": "reasoning", "summary": [], "encrypted_content": seal("m", "rs_a-0")});
        let call = json!({"id": "fc_thought-a-0-0", "type": "function_call", "call_id": "c", "name": "ls", "arguments": "{}"});
        let done = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
        let good = json!([user(), thought, call, done]);
        assert_eq!(with(good.clone(), json!({})), Ok(()));
        let without = |at: usize| {
            let mut input = good.clone();
            input.as_array_mut().unwrap().remove(at);
            with(input, json!({})).unwrap_err().1
        };
        assert!(without(1).contains("without its required 'reasoning' item"), "{}", without(1));
        assert!(without(2).contains("without its required following item"));
        assert!(without(3).contains("No tool output found for function call c"));
        assert!(with(json!([user(), done]), json!({})).unwrap_err().1.contains("No tool call found"));
        let mut foreign = good;
        foreign[1]["encrypted_content"] = "another".into();
        assert_eq!(with(foreign, json!({})).unwrap_err().0, Some("invalid_encrypted_content"));
    }

    #[test]
    fn empty_and_unknown_things_are_refused() {
        assert!(with(json!([]), json!({})).unwrap_err().1.contains("'input'"));
        let refused = |more: Value| with(json!([user()]), more).unwrap_err().1;
        assert!(refused(json!({"previous_response_id": "r"})).contains("previous_response_id"));
        assert!(refused(json!({"store": true})).contains("stores nothing"));
        assert!(refused(json!({"include": []})).contains("reasoning is lost"));
        assert!(refused(json!({"tools": [{"type": "function", "function": {"name": "x"}}]})).contains("tools[0].name"));
        let empty = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": ""}]});
        assert!(with(json!([empty]), json!({})).is_err());
        let output = json!({"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x", "annotations": []}]});
        assert!(with(json!([output]), json!({})).unwrap_err().1.contains("of the role 'user'"));
    }
}
