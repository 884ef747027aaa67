//! From a prompt to the request that answers it.

use serde::Deserialize;
use serde_json::{Map, Value};
use stellaclaw_sdk::http::Piece;
use stellaclaw_sdk::images::{EditPrompt, Image, Prompt};
use stellaclaw_sdk::{Error, Result, settings};

use crate::multipart::Form;

/// Where OpenAI is.
const BASE_URL: &str = "https://api.openai.com/v1";
/// Images of one request.
const COUNT: u32 = 10;
/// Images that one request changes.
const SOURCES: usize = 16;

/// The JSON Schema of a model's `options`.
pub const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "size": { "type": "string", "description": "WIDTHxHEIGHT or auto, when a prompt does not say." },
        "quality": { "enum": ["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"], "description": "When a prompt does not say." },
        "background": { "enum": ["auto", "transparent", "opaque"], "description": "When a prompt does not say." },
        "output_format": { "enum": ["png", "jpeg", "webp"], "description": "Unset: the vendor's." },
        "output_compression": { "type": "integer", "minimum": 0, "maximum": 100, "description": "Of jpeg and webp." },
        "moderation": { "enum": ["auto", "low"] },
        "input_fidelity": { "enum": ["low", "high"], "description": "How closely what is changed is kept." },
        "response_format": { "enum": ["b64_json"], "description": "For servers that would answer with addresses; OpenAI's newer models refuse it." }
    },
    "additionalProperties": false
}"#;

/// The model entry.
pub type Entry = settings::Entry<Options>;

/// A model's `options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    pub size: Option<String>,
    pub quality: Option<String>,
    pub background: Option<String>,
    pub output_format: Option<String>,
    pub output_compression: Option<u32>,
    pub moderation: Option<String>,
    pub input_fidelity: Option<String>,
    pub response_format: Option<String>,
}

/// A request as it is sent.
#[derive(Debug)]
pub struct Post {
    pub url: String,
    pub content_type: String,
    pub body: Vec<Piece>,
}

/// The request for something new.
///
/// # Errors
///
/// `invalid` for what the vendor does not take.
pub fn generation(prompt: &Prompt, entry: &Entry) -> Result<Post> {
    let body: Map<String, Value> = fields(prompt, entry)?.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let body = vec![Piece::Bytes(Value::Object(body).to_string().into_bytes())];
    Ok(Post { url: url(entry, "generations"), content_type: "application/json".to_owned(), body })
}

/// The request to change images.
///
/// # Errors
///
/// `invalid` for what the vendor does not take.
pub fn edit(edit: &EditPrompt, entry: &Entry) -> Result<Post> {
    if edit.sources.is_empty() || edit.sources.len() > SOURCES {
        return Err(Error::invalid(format!("{} images to change; give 1 to {SOURCES}", edit.sources.len())));
    }
    let mut form = Form::default();
    for (name, value) in fields(&edit.prompt, entry)? {
        form.text(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    if let Some(fidelity) = &entry.options.input_fidelity {
        form.text("input_fidelity", fidelity.clone());
    }
    let name = if edit.sources.len() == 1 { "image" } else { "image[]" };
    for (at, image) in edit.sources.iter().enumerate() {
        form.image(name, &format!("image-{at}.{}", ending(image)?), image);
    }
    if let Some(mask) = &edit.mask {
        if mask.media_type != "image/png" {
            return Err(Error::invalid(format!("the mask is {:?}; give a PNG, whose transparent part is what changes", mask.media_type)));
        }
        form.image("mask", "mask.png", mask);
    }
    let (content_type, body) = form.finish();
    Ok(Post { url: url(entry, "edits"), content_type, body })
}

/// What both requests say, in the words of the vendor.
fn fields(prompt: &Prompt, entry: &Entry) -> Result<Vec<(&'static str, Value)>> {
    let options = &entry.options;
    if prompt.text.trim().is_empty() {
        return Err(Error::invalid("the prompt is empty; say what to draw"));
    }
    let size = prompt.size.as_ref().or(options.size.as_ref());
    if let Some(wrong) = size.filter(|size| !is_size(size)) {
        return Err(Error::invalid(format!("size {wrong:?} is not WIDTHxHEIGHT, such as 1024x1024")));
    }
    let texts = [
        ("size", size),
        ("quality", prompt.quality.as_ref().or(options.quality.as_ref())),
        ("background", prompt.background.as_ref().or(options.background.as_ref())),
        ("output_format", options.output_format.as_ref()),
        ("moderation", options.moderation.as_ref()),
        ("response_format", options.response_format.as_ref()),
    ];
    let mut fields: Vec<(&str, Value)> =
        vec![("model", entry.model.as_str().into()), ("prompt", prompt.text.as_str().into()), ("n", prompt.count.clamp(1, COUNT).into())];
    fields.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?.as_str())))));
    fields.extend(options.output_compression.map(|percent| ("output_compression", percent.into())));
    Ok(fields)
}

fn is_size(size: &str) -> bool {
    let side = |text: &str| (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    size == "auto" || size.split_once('x').is_some_and(|(width, height)| side(width) && side(height))
}

/// The ending of a file's name.
fn ending(image: &Image) -> Result<&'static str> {
    Ok(match image.media_type.as_str() {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/webp" => "webp",
        other => return Err(Error::invalid(format!("an image to change is {other:?}; give PNG, JPEG or WebP"))),
    })
}

/// The server's root, also where somebody has written the address of one function.
fn url(entry: &Entry, function: &str) -> String {
    let base = entry.base_url.as_deref().unwrap_or(BASE_URL).trim_end_matches('/');
    let of_one = ["generations", "edits"].iter().find_map(|name| base.strip_suffix(name)?.strip_suffix("/images/"));
    format!("{}/images/{function}", of_one.unwrap_or(base))
}

#[cfg(test)]
mod tests;
