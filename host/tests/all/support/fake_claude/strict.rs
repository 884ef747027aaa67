//! What the vendor refuses with status 400.

mod messages;

use std::collections::BTreeMap;

use serde_json::Value;

/// Keys that may be in a body.
const KNOWN: [&str; 17] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "stop_sequences",
    "stream",
    "metadata",
    "service_tier",
    "speed",
    "container",
    "inference_geo",
    "diagnostics",
    "cache_control",
];

type Checked = Result<(), String>;

/// Says what is wrong with a request's body. `given`: the answers of this server, by the id of their first call.
pub fn check(body: &Value, given: &BTreeMap<String, Vec<Value>>) -> Checked {
    let object = body.as_object().ok_or("the body must be an object")?;
    if let Some(unknown) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("{unknown}: Extra inputs are not permitted"));
    }
    let model = body["model"].as_str().filter(|model| !model.is_empty()).ok_or("model: Field required")?;
    let most = body["max_tokens"].as_u64().filter(|most| *most > 0).ok_or("max_tokens: Field required")?;
    if body["stream"] != true {
        return Err("stream: this server only streams".into());
    }
    tools(body)?;
    thinking(body, model, most)?;
    effort(&body["output_config"])?;
    if let Some(system) = body.get("system") {
        for block in list(system, "system")? {
            only(block, &["type", "text", "cache_control"], "system")?;
            messages::text(block, "system")?;
        }
    }
    messages::check(body, model, given)?;
    cache(body)
}

fn tools(body: &Value) -> Checked {
    let Some(tools) = body.get("tools") else {
        return if body.get("tool_choice").is_some() {
            Err("tool_choice may only be specified while providing tools.".into())
        } else {
            Ok(())
        };
    };
    let mut names = Vec::new();
    for tool in list(tools, "tools")? {
        only(tool, &["name", "description", "input_schema", "cache_control"], "tools")?;
        let name = tool["name"].as_str().unwrap_or_default();
        if !is_word(name, 128) {
            return Err(format!("tools.name: {name:?} should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"));
        }
        if tool["input_schema"]["type"] != "object" {
            return Err(format!("tools.{name}.input_schema.type: Field required"));
        }
        if names.contains(&name) {
            return Err("tools: Tool names must be unique.".into());
        }
        names.push(name);
    }
    Ok(())
}

/// Models called `…-4-5` are of the time before adaptive thinking, all others of the time after budgets.
fn thinking(body: &Value, model: &str, most: u64) -> Checked {
    let Some(thinking) = body.get("thinking") else { return Ok(()) };
    let is_old = model.ends_with("-4-5");
    match thinking["type"].as_str().unwrap_or_default() {
        "adaptive" if !is_old => only(thinking, &["type", "display"], "thinking"),
        "adaptive" => Err("adaptive thinking is not supported on this model".into()),
        "disabled" => only(thinking, &["type"], "thinking"),
        "enabled" if is_old => {
            only(thinking, &["type", "budget_tokens", "display"], "thinking")?;
            if !thinking["budget_tokens"].as_u64().is_some_and(|budget| (1024..most).contains(&budget)) {
                return Err("`max_tokens` must be greater than `thinking.budget_tokens`".into());
            }
            if matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
                return Err("Thinking may not be enabled when tool_choice forces tool use.".into());
            }
            Ok(())
        }
        "enabled" => Err("\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\"".into()),
        other => Err(format!("thinking: Input tag {other:?} found using 'type' does not match any of the expected tags")),
    }
}

fn effort(config: &Value) -> Checked {
    if config.is_null() {
        return Ok(());
    }
    only(config, &["effort", "format"], "output_config")?;
    match config["effort"].as_str() {
        None | Some("low" | "medium" | "high" | "xhigh" | "max") => Ok(()),
        Some(other) => Err(format!("output_config.effort: {other:?} is none of 'low', 'medium', 'high', 'xhigh' or 'max'")),
    }
}

/// At most four marks, the longer lives first.
fn cache(body: &Value) -> Checked {
    let marks = marks(body);
    if let Some(wrong) = marks.iter().find(|ttl| !["5m", "1h"].contains(&ttl.as_str())) {
        return Err(format!("cache_control.ttl: {wrong:?} is none of '5m' and '1h'"));
    }
    if marks.len() > 4 {
        return Err(format!("A maximum of 4 blocks with cache_control may be provided. Found {}.", marks.len()));
    }
    if marks.windows(2).any(|pair| pair[0] == "5m" && pair[1] == "1h") {
        return Err("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block".into());
    }
    Ok(())
}

/// The lives that the marks ask for, in the order of the request.
pub fn marks(body: &Value) -> Vec<String> {
    fn find(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(mark) = object.get("cache_control") {
                    let is_mark = mark["type"] == "ephemeral";
                    found.push(if is_mark { mark["ttl"].as_str().unwrap_or("5m").to_owned() } else { mark.to_string() });
                }
                object.values().for_each(|value| find(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| find(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    // The arguments of calls and the schemas of tools may have anything in them.
    for key in ["system", "messages"] {
        find(&body[key], &mut found);
    }
    found
}

fn list<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>, String> {
    value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| format!("{at}: Input should be a valid list, and not empty"))
}

/// Refuses what else an object has in it.
fn only(value: &Value, known: &[&str], at: &str) -> Checked {
    let object = value.as_object().ok_or_else(|| format!("{at}: Input should be an object"))?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(format!("{at}.{unknown}: Extra inputs are not permitted")),
        None => Ok(()),
    }
}

fn is_word(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

mod tests;
