//! Parts of a message with something to look at or listen to, as both wires have them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Can this part be read?
pub fn readable(part: &Value) -> bool {
    match part["type"].as_str() {
        Some("image_url") => data_url(&part["image_url"]["url"], "image/"),
        Some("input_image") => data_url(&part["image_url"], "image/"),
        Some("file") => named_file(&part["file"]),
        Some("input_file") => named_file(part),
        Some("input_audio") => {
            let audio = &part["input_audio"];
            // OpenAI takes the first two, OpenRouter all.
            let formats = ["mp3", "wav", "aiff", "aac", "ogg", "flac", "m4a"];
            audio["format"].as_str().is_some_and(|format| formats.contains(&format))
                && is_base64(audio["data"].as_str().unwrap_or_default())
        }
        _ => false,
    }
}

fn named_file(file: &Value) -> bool {
    file["filename"].as_str().is_some_and(|name| !name.is_empty()) && data_url(&file["file_data"], "application/pdf")
}

fn data_url(url: &Value, media_type: &str) -> bool {
    let rest = url.as_str().and_then(|url| url.strip_prefix("data:"));
    let parts = rest.and_then(|rest| rest.split_once(";base64,"));
    parts.is_some_and(|(kind, data)| kind.starts_with(media_type) && is_base64(data))
}

fn is_base64(data: &str) -> bool {
    !data.is_empty() && STANDARD.decode(data).is_ok()
}
