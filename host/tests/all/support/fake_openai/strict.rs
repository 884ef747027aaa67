//! What the vendor refuses with status 400.

use std::collections::BTreeSet;

use serde_json::Value;

use super::media::readable;

/// Keys that may be in a body.
const KNOWN: [&str; 19] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "reasoning_effort",
    "response_format",
    "service_tier",
    "prompt_cache_key",
    "stop",
    "seed",
    "user",
    "metadata",
];

/// Says what is wrong with a request's body.
pub fn check(body: &Value) -> Result<(), String> {
    let object = body.as_object().ok_or("the body must be an object")?;
    if let Some(unknown) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("Unrecognized request argument supplied: {unknown}"));
    }
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err("you must provide a model parameter".into());
    }
    if body["stream"] != true {
        return Err("this server only streams".into());
    }
    tools(body)?;
    messages(body["messages"].as_array().ok_or("'messages' must be an array")?)
}

fn tools(body: &Value) -> Result<(), String> {
    let Some(tools) = body.get("tools") else {
        return match ["tool_choice", "parallel_tool_calls"].into_iter().find(|key| body.get(key).is_some()) {
            Some(key) => Err(format!("Invalid value for '{key}': '{key}' is only allowed when 'tools' are specified.")),
            None => Ok(()),
        };
    };
    let tools = tools.as_array().filter(|tools| !tools.is_empty()).ok_or("Invalid 'tools': empty array.")?;
    let mut names = BTreeSet::new();
    for tool in tools {
        let name = tool["function"]["name"].as_str().unwrap_or_default();
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if tool["type"] != "function" || !is_name {
            return Err(format!("Invalid tool: {tool}"));
        }
        if tool["function"]["parameters"]["type"] != "object" {
            return Err(format!("Invalid schema for function '{name}': schema must be of type 'object'."));
        }
        if !names.insert(name) {
            return Err(format!("Invalid 'tools': the function '{name}' is there twice."));
        }
    }
    Ok(())
}

fn messages(messages: &[Value]) -> Result<(), String> {
    if messages.is_empty() {
        return Err("Invalid 'messages': empty array.".into());
    }
    // The calls of the assistant message before that have no answer yet.
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role != "tool" {
            unanswered(&open)?;
        }
        match role {
            "system" | "developer" | "user" => content(message, at, role)?,
            "assistant" => {
                open = calls(message, at)?;
                asked.clone_from(&open);
                if open.is_empty() {
                    content(message, at, role)?;
                }
            }
            "tool" => {
                let id = message["tool_call_id"].as_str().ok_or(format!("messages[{at}]: missing 'tool_call_id'"))?;
                if asked.is_empty() {
                    return Err("messages with role 'tool' must be a response to a preceding message with 'tool_calls'.".into());
                }
                if !open.remove(id) {
                    return Err(format!("messages[{at}]: 'tool_call_id' of '{id}' not found in 'tool_calls' of previous message."));
                }
                if !message["content"].is_string() {
                    return Err(format!("messages[{at}]: 'content' of a tool is a text"));
                }
            }
            _ => return Err(format!("Invalid value: '{role}' for messages[{at}].role")),
        }
        if role != "tool" && role != "assistant" {
            asked.clear();
        }
    }
    unanswered(&open)
}

fn unanswered(open: &BTreeSet<&str>) -> Result<(), String> {
    if open.is_empty() {
        return Ok(());
    }
    Err(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
         The following tool_call_ids did not have response messages: {open:?}"
    ))
}

fn calls(message: &Value, at: usize) -> Result<BTreeSet<&str>, String> {
    let Some(calls) = message.get("tool_calls") else { return Ok(BTreeSet::new()) };
    let calls = calls.as_array().filter(|calls| !calls.is_empty()).ok_or(format!("Invalid 'messages[{at}].tool_calls': empty array."))?;
    let mut ids = BTreeSet::new();
    for call in calls {
        let id = call["id"].as_str().filter(|id| (1..=40).contains(&id.len())).ok_or(format!("messages[{at}]: a call has no good id"))?;
        let function = &call["function"];
        if call["type"] != "function" || function["name"].as_str().is_none_or(str::is_empty) || !function["arguments"].is_string() {
            return Err(format!("Invalid 'messages[{at}].tool_calls': {call}"));
        }
        if !ids.insert(id) {
            return Err(format!("messages[{at}]: the call id '{id}' is there twice"));
        }
    }
    Ok(ids)
}

fn content(message: &Value, at: usize, role: &str) -> Result<(), String> {
    let good = match &message["content"] {
        Value::String(text) => !text.is_empty(),
        Value::Array(parts) => !parts.is_empty() && parts.iter().all(|part| is_part(part, role)),
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("Invalid 'messages[{at}].content': it is empty, or no content of the role '{role}'.")) }
}

fn is_part(part: &Value, role: &str) -> bool {
    if part["type"] == "text" {
        return part["text"].as_str().is_some_and(|text| !text.is_empty());
    }
    role == "user" && readable(part)
}

mod tests {
    use serde_json::json;

    use super::*;

    fn with(messages: Value) -> Result<(), String> {
        check(&json!({"model": "m", "stream": true, "messages": messages}))
    }

    #[test]
    fn a_tool_loop_in_order_is_accepted() {
        let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "ls", "arguments": "{}"}});
        let good = json!([
            {"role": "system", "content": "be good"}, {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "b", "content": ""}, {"role": "tool", "tool_call_id": "a", "content": "x"},
            {"role": "assistant", "content": "done"}, {"role": "user", "content": "more"},
        ]);
        assert_eq!(with(good.clone()), Ok(()));
        let without = |at: usize| {
            let mut messages = good.clone();
            messages.as_array_mut().unwrap().remove(at);
            with(messages).unwrap_err()
        };
        assert!(without(2).contains("must be a response to a preceding message"));
        assert!(without(3).contains("did not have response messages: {\"b\"}"));
        let mut unknown = good.clone();
        unknown[3]["tool_call_id"] = "c".into();
        assert!(with(unknown).unwrap_err().contains("'c' not found"));
        let mut twice = good.clone();
        twice[3]["tool_call_id"] = "a".into();
        assert!(with(twice).unwrap_err().contains("'a' not found"));
    }

    #[test]
    fn empty_and_unknown_things_are_refused() {
        assert!(with(json!([])).unwrap_err().contains("empty array"));
        assert!(with(json!([{"role": "user", "content": ""}])).unwrap_err().contains("content"));
        let image = |url: &str| json!([{"type": "image_url", "image_url": {"url": url}}]);
        assert_eq!(with(json!([{"role": "user", "content": image("data:image/png;base64,AAAA")}])), Ok(()));
        assert!(with(json!([{"role": "user", "content": image("data:image/png;base64,?")}])).is_err());
        assert!(with(json!([{"role": "system", "content": image("data:image/png;base64,AAAA")}])).is_err());
        assert!(with(json!([{"role": "person", "content": "x"}])).unwrap_err().contains("person"));
        let body = |extra: Value| {
            let mut body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "x"}]});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            check(&body)
        };
        assert!(body(json!({"session_id": "s"})).unwrap_err().contains("session_id"));
        assert!(body(json!({"tool_choice": "auto"})).unwrap_err().contains("only allowed when 'tools'"));
        assert!(body(json!({"tools": []})).unwrap_err().contains("empty array"));
    }
}
