//! Images like OpenAI's, from a server that refuses what OpenAI refuses. The first word of a prompt says what it does.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use serde_json::{Value, json};

use super::web::{Visit, Web};

/// The key of its one account.
pub const IMAGES_KEY: &str = "sk-canary-of-the-fake-painter";
/// What it draws.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot quite a picture";

/// The server, until it is dropped.
pub fn start() -> Web {
    Web::start(|visit| {
        let refused = |status: u16, code: &str, message: &str| {
            (status, json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": code } }))
        };
        let (status, body) = match asked(visit) {
            _ if visit.header("authorization").as_deref() != Some(&format!("Bearer {IMAGES_KEY}")) => {
                refused(401, "invalid_api_key", "Incorrect API key provided.")
            }
            Err(message) => refused(400, "unknown_parameter", &message),
            Ok((prompt, _)) if prompt.starts_with("forbidden") => {
                refused(400, "moderation_blocked", "Your request was rejected by the safety system.")
            }
            Ok((prompt, _)) if prompt.starts_with("leak") => refused(500, "server_error", &format!("broken for {IMAGES_KEY}")),
            Ok((prompt, count)) => (200, answer(&prompt, count)),
        };
        say(visit, status, &body)
    })
}

fn say(visit: &mut Visit, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    visit.say(format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// The prompt and the number of images, if the request is one that the vendor takes.
fn asked(visit: &Visit) -> Result<(String, usize), String> {
    let (_, body) = visit.request.split_once("\r\n\r\n").ok_or("no body")?;
    let content_type = visit.header("content-type").unwrap_or_default();
    let fields: BTreeMap<String, Value> = match (visit.target(), content_type.split_once("; boundary=")) {
        ("/v1/images/generations", None) if content_type == "application/json" => {
            serde_json::from_str(body).map_err(|error| error.to_string())?
        }
        ("/v1/images/edits", Some(("multipart/form-data", boundary))) => form(body, boundary)?,
        other => return Err(format!("nothing is served at {other:?}")),
    };
    let edits = visit.target().ends_with("edits");
    let known = ["model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression", "moderation"];
    let of_edits = ["image", "image[]", "mask", "input_fidelity"];
    let is_known = |name: &str| known.contains(&name) || (edits && of_edits.contains(&name));
    if let Some(name) = fields.keys().find(|name| !is_known(name)) {
        return Err(format!("Unknown parameter: '{name}'."));
    }
    if edits && !fields.contains_key("image") && !fields.contains_key("image[]") {
        return Err("Missing required parameter: 'image'.".into());
    }
    let prompt =
        fields.get("prompt").and_then(Value::as_str).filter(|prompt| !prompt.is_empty()).ok_or("Missing required parameter: 'prompt'.")?;
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let count = fields.get("n").and_then(number).filter(|n| (1..=10).contains(n)).ok_or("Invalid 'n'.")?;
    Ok((prompt.to_owned(), usize::try_from(count).unwrap()))
}

/// The fields of a form; of a file its type.
fn form(body: &str, boundary: &str) -> Result<BTreeMap<String, Value>, String> {
    let inner = body.strip_suffix(&format!("--{boundary}--\r\n")).ok_or("the form does not end")?;
    let mut fields = BTreeMap::new();
    for part in inner.split(&format!("--{boundary}\r\n")).filter(|part| !part.is_empty()) {
        let (head, contents) = part.split_once("\r\n\r\n").ok_or("a part without a head")?;
        let name = head.split("name=\"").nth(1).and_then(|rest| rest.split('"').next()).ok_or("a part without a name")?;
        let value = match head.split("Content-Type: ").nth(1) {
            Some(kind) if head.contains("filename=\"") => kind.trim().to_owned(),
            _ => contents.strip_suffix("\r\n").unwrap_or(contents).to_owned(),
        };
        fields.insert(name.to_owned(), value.into());
    }
    Ok(fields)
}

fn answer(prompt: &str, count: usize) -> Value {
    let image = json!({ "b64_json": base64::engine::general_purpose::STANDARD.encode(PNG), "revised_prompt": format!("{prompt}, in oil") });
    json!({
        "created": 1, "output_format": "png", "quality": "low", "size": "1024x1024", "data": vec![image; count],
        "usage": { "input_tokens": 20, "output_tokens": 300, "total_tokens": 320, "input_tokens_details": { "text_tokens": 20 } },
    })
}
