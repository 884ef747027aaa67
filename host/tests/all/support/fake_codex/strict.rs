//! What the backend refuses with status 400.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::http::Request;

/// Keys that may be in a body.
const KNOWN: [&str; 15] = [
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "store",
    "stream",
    "reasoning",
    "include",
    "text",
    "service_tier",
    "prompt_cache_key",
    "client_metadata",
    "type",
];

/// Says what is wrong with the head of a request.
pub fn head(request: &Request, socket: bool) -> Result<(), String> {
    let header = |name: &str| request.header(name).cloned().ok_or(format!("there is no header {name}"));
    if request.header("chatgpt-account-id").is_some() {
        return Err("a plain key has no account".into());
    }
    let session = header("session-id")?;
    for name in ["thread-id", "x-client-request-id"] {
        if header(name)? != session {
            return Err(format!("{name} is not the session-id"));
        }
    }
    for name in ["originator", "user-agent", "version"] {
        header(name)?;
    }
    match socket {
        true if header("openai-beta")? != "responses_websockets=2026-02-06" => Err("openai-beta is another one".into()),
        false if request.header("openai-beta").is_some() => Err("openai-beta is for WebSockets".into()),
        false if header("accept")? != "text/event-stream" => Err("this backend only streams".into()),
        _ => Ok(()),
    }
}

/// Says what is wrong with a request's body, but for its input.
pub fn check(body: &Value, socket: bool) -> Result<(), String> {
    let object = body.as_object().ok_or("the body must be an object")?;
    let on_socket = ["previous_response_id", "generate"];
    let known = |key: &str| KNOWN.contains(&key) || (socket && on_socket.contains(&key));
    if let Some(unknown) = object.keys().find(|key| !known(key)) {
        return Err(format!("Unsupported parameter: {unknown}"));
    }
    if (body["type"] == "response.create") != socket {
        return Err("type must be response.create on a WebSocket, and is nowhere else".into());
    }
    let wrong = |key: &str, must: &str| Err(format!("{key} must be {must}"));
    if body["model"].as_str().is_none_or(str::is_empty) {
        return wrong("Model", "named");
    }
    if body["store"] != false {
        return wrong("Store", "set to false");
    }
    if body["stream"] != true {
        return wrong("Stream", "set to true");
    }
    if body["instructions"].as_str().is_none_or(str::is_empty) {
        return Err("Instructions are required".into());
    }
    if !body["include"].as_array().is_some_and(|include| include.iter().any(|one| one == "reasoning.encrypted_content")) {
        return wrong("Include", "asking for the reasoning, or the next request cannot bring it");
    }
    if body["prompt_cache_key"].as_str().is_none_or(str::is_empty) {
        return wrong("Prompt_cache_key", "there");
    }
    if !body["input"].is_array() {
        return Err("Input must be a list".into());
    }
    tools(body)
}

fn tools(body: &Value) -> Result<(), String> {
    let Some(tools) = body.get("tools") else { return Ok(()) };
    let tools = tools.as_array().ok_or("tools must be a list")?;
    let mut names = BTreeSet::new();
    for tool in tools {
        let name = tool["name"].as_str().unwrap_or_default();
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if tool["type"] != "function" || !is_name || tool["parameters"]["type"] != "object" || !names.insert(name) {
            return Err(format!("Invalid tool: {tool}"));
        }
    }
    Ok(())
}

/// Says what is wrong with everything that a request stands for.
pub fn input(items: &[Value]) -> Result<(), String> {
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let kind = item["type"].as_str().unwrap_or(if item["role"].is_string() { "message" } else { "" });
        if !matches!(kind, "function_call_output" | "function_call" | "reasoning") {
            unanswered(&open)?;
        }
        match kind {
            "message" => message(item, at)?,
            "reasoning" => reasoning(items, at)?,
            "function_call" => {
                let id = item["call_id"].as_str().ok_or(format!("input[{at}]: no call_id"))?;
                if !item["arguments"].is_string() || !item["name"].is_string() || !asked.insert(id) || !open.insert(id) {
                    return Err(format!("Invalid 'input[{at}]': {item}"));
                }
                if needs_reasoning(item) && !follows_reasoning(items, at) {
                    let id = &item["id"];
                    return Err(format!("Item {id} of type 'function_call' was provided without its required 'reasoning' item."));
                }
            }
            "function_call_output" => {
                let id = item["call_id"].as_str().unwrap_or_default();
                if !open.remove(id) {
                    return Err(format!("No tool call found for function call output with call_id {id}."));
                }
                if item["output"].is_null() {
                    return Err(format!("input[{at}]: no output"));
                }
            }
            _ => return Err(format!("Invalid value: '{kind}' for input[{at}].type")),
        }
    }
    unanswered(&open)
}

fn unanswered(open: &BTreeSet<&str>) -> Result<(), String> {
    open.first().map_or(Ok(()), |id| Err(format!("No tool output found for function call {id}.")))
}

fn message(item: &Value, at: usize) -> Result<(), String> {
    let role = item["role"].as_str().unwrap_or_default();
    let kind = match role {
        "user" | "developer" => "input_text",
        "assistant" => "output_text",
        _ => return Err(format!("Invalid value: '{role}' for input[{at}].role")),
    };
    let parts = item["content"].as_array().filter(|parts| !parts.is_empty()).ok_or(format!("input[{at}] is empty"))?;
    let wrong = parts.iter().find(|part| part["type"].as_str().is_some_and(|of| of.ends_with("_text") && of != kind) || part["text"] == "");
    wrong.map_or(Ok(()), |part| Err(format!("Invalid part of input[{at}]: {part}")))
}

/// What was made here must come back as it was, before what it was made for.
fn reasoning(items: &[Value], at: usize) -> Result<(), String> {
    let item = &items[at];
    let id = item["id"].as_str().unwrap_or_default();
    let sealed = item["encrypted_content"].as_str().and_then(|sealed| sealed.strip_prefix("sealed:")).unwrap_or_default();
    let summary = item["summary"][0]["text"].as_str().unwrap_or_default();
    if sealed != format!("{id}:{summary}") {
        return Err(format!("The encrypted content for item {id} could not be verified."));
    }
    // A message may come without its id.
    let led_to = items.get(at + 1).is_some_and(|next| match next["type"].as_str() {
        Some("function_call") => next["id"].as_str().is_some_and(|next| next.starts_with(&id.replacen("rs_", "fc_", 1))),
        _ => next["role"] == "assistant",
    });
    if !led_to {
        return Err(format!("Item '{id}' of type 'reasoning' was provided without its required following item."));
    }
    Ok(())
}

/// The ids of what followed a thought end so.
fn needs_reasoning(item: &Value) -> bool {
    item["id"].as_str().is_some_and(|id| id.ends_with("_thought"))
}

fn follows_reasoning(items: &[Value], at: usize) -> bool {
    at > 0 && items[at - 1]["type"] == "reasoning"
}

mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasoning_comes_back_as_it_was_and_where_it_was() {
        let user = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]});
        let thought = json!({"type": "reasoning", "id": "rs_go_0", "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "sealed:rs_go_0:hm"});
        let call = json!({"type": "function_call", "id": "fc_go_0_0_thought", "call_id": "c", "name": "ls", "arguments": "{}"});
        let output = json!({"type": "function_call_output", "call_id": "c", "output": ""});
        let good = [user.clone(), thought.clone(), call.clone(), output.clone()];
        assert_eq!(input(&good), Ok(()));
        assert!(input(&[user.clone(), call.clone(), output.clone()]).unwrap_err().contains("required 'reasoning'"));
        assert!(input(&[user.clone(), call.clone(), thought.clone(), output.clone()]).is_err());
        assert!(input(&[user.clone(), thought.clone()]).unwrap_err().contains("following item"));
        let mut edited = good.clone();
        edited[1]["summary"][0]["text"] = "hmm".into();
        assert!(input(&edited).unwrap_err().contains("could not be verified"));
        assert!(input(&[user.clone(), output]).unwrap_err().contains("No tool call found"));
        assert!(input(&[user, thought, call]).unwrap_err().contains("No tool output found"));
    }

    #[test]
    fn what_the_backend_does_not_take_is_refused() {
        let body = json!({"type": "response.create", "model": "m", "instructions": "be good", "input": [], "store": false, "stream": true,
            "include": ["reasoning.encrypted_content"], "prompt_cache_key": "s", "previous_response_id": "resp_1"});
        assert_eq!(check(&body, true), Ok(()));
        assert_eq!(check(&body, false), Err("Unsupported parameter: previous_response_id".into()));
        for key in ["max_output_tokens", "temperature", "metadata", "user", "truncation"] {
            let mut with = body.clone();
            with[key] = 1.into();
            assert_eq!(check(&with, true), Err(format!("Unsupported parameter: {key}")));
        }
        for key in ["model", "instructions", "store", "stream", "include", "prompt_cache_key", "input", "type"] {
            let mut without = body.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(check(&without, true).is_err(), "{key}");
        }
    }
}
