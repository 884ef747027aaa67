//! OpenAI's images, and with `base_url` every server that speaks their protocol: drawing, and changing what is there.
//!
//! This file does the input and output; everything else is pure: [`request`] makes a body of a prompt, [`multipart`] a form of
//! images, [`answer`] images of a body, [`failure`] a typed reason of an error.
//!
//! An image takes up to minutes, during which nothing comes: of the entry's times only `connect_timeout` and `total_timeout` count.

pub mod answer;
pub mod failure;
pub mod multipart;
pub mod request;

use stellaclaw_sdk::chat::Timeouts;
use stellaclaw_sdk::http;
use stellaclaw_sdk::images::{CALL_BYTES, Drawing, EditPrompt, Prompt};
use stellaclaw_sdk::{Images, Result, moment, plugin, secrets, settings};

use request::{Entry, Post, SCHEMA as OPTIONS_SCHEMA};

/// As base64 in JSON, with room for what stands beside it.
const ANSWER_BYTES: usize = CALL_BYTES / 3 * 4 + (1 << 20);
/// The rest of an error's body says nothing that the start did not.
const ERROR_BYTES: usize = 64 << 10;

/// The image generator of this component.
#[derive(Debug)]
pub struct OpenAi;

plugin! {
    images: OpenAi,
    http: ["https://api.openai.com"],
    slots: ["api-key" => ["https://api.openai.com"]],
    options: OPTIONS_SCHEMA,
}

impl Images for OpenAi {
    fn generate(prompt: &Prompt) -> Result<Drawing> {
        let entry = settings::entry()?;
        send(request::generation(prompt, &entry)?, &entry)
    }

    fn edit(prompt: &EditPrompt) -> Result<Drawing> {
        let entry = settings::entry()?;
        send(request::edit(prompt, &entry)?, &entry)
    }
}

fn send(post: Post, entry: &Entry) -> Result<Drawing> {
    let times = entry.timeouts;
    let mut asked = http::post(post.url)
        .header("accept", "application/json")
        .header("content-type", post.content_type)
        .timeouts(Timeouts { idle: times.total, ..times })
        .pieces(post.body);
    if secrets::exists(settings::API_KEY) {
        asked = asked.bearer(settings::API_KEY);
    }
    let response = asked.send()?;
    let status = response.status();
    if !(200..300).contains(&status) {
        return Err(failure::of(status, &response.headers(), &response.beginning(ERROR_BYTES), moment::now()));
    }
    answer::drawing(&response.bytes(ANSWER_BYTES)?)
}
