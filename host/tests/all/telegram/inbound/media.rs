//! Pictures, documents and voices reach a model that reads them, as they were when they came.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stellaclaw::fake_telegram::{Post, png};
use stellaclaw::media::dimensions;

use super::{asks, exchange, notes};
use crate::support::bot::Bot;
use crate::support::files;

const VOICE: &[u8] = b"OggS and what somebody says";
const PAPER: &[u8] = b"%PDF-1.7 and what somebody wrote";

/// A bot whose model reads everything, beside two that do not.
async fn bot() -> Bot {
    let bot = Bot::scripted(notes()).await;
    let url = bot.vendor.as_ref().unwrap().base_url();
    let model = |alias: &str, more: &str| {
        format!(
            "[models.{alias}]\nprovider = \"provider-openrouter\"\nmodel = \"fake-{alias}\"\nbase_url = {url:?}\n\
             api_key = {{ env = \"FAKE_KEY\" }}\n{more}\n"
        )
    };
    let senses = "reads = [\"text\", \"image\", \"pdf\", \"audio\"]\naudio = { types = [\"audio/ogg\"] }";
    let near = "reads = [\"text\", \"image\", \"audio\"]\nimage = { max_width = 20, max_height = 20 }";
    bot.configure(&format!("{}{}", model("senses", senses), model("near", near)));
    bot
}

/// The parts of the newest message of a person.
fn newest(bot: &Bot) -> Vec<Value> {
    let ask = asks(bot).pop().unwrap();
    let message = ask.body["messages"].as_array().unwrap().iter().rfind(|message| message["role"] == "user").unwrap().clone();
    match &message["content"] {
        Value::Array(parts) => parts.clone(),
        text => vec![json!({ "type": "text", "text": text })],
    }
}

fn data_url(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", STANDARD.encode(bytes))
}

/// Every picture in the newest request.
fn pictures(bot: &Bot) -> Vec<String> {
    let ask = asks(bot).pop().unwrap();
    let parts = ask.body["messages"].as_array().unwrap().iter().filter_map(|message| message["content"].as_array()).flatten();
    parts.filter_map(|part| part["image_url"]["url"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_send_is_seen_and_heard_by_a_model_that_can() {
    let bot = bot().await;
    let host = bot.host().await;
    bot.exchange("/model senses", "senses").await;
    let photo = png(60, 30);
    exchange(&bot, bot.ann, Post::photo(photo.clone()).caption("What is this?")).await;
    let parts = newest(&bot);
    let said = parts[0]["text"].as_str().unwrap();
    assert!(said.starts_with("What is this?\n[photo: attachments/incoming/") && said.ends_with("bytes)]"), "{said}");
    assert_eq!(parts[1]["image_url"]["url"], data_url("image/png", &photo), "what it is, and not what it is called");

    exchange(&bot, bot.ann, Post::voice(VOICE)).await;
    assert_eq!(newest(&bot)[1]["input_audio"], json!({ "data": STANDARD.encode(VOICE), "format": "ogg" }));
    exchange(&bot, bot.ann, Post::document("paper.pdf", PAPER)).await;
    assert_eq!(newest(&bot)[1]["file"], json!({ "filename": "paper.pdf", "file_data": data_url("application/pdf", PAPER) }));
    exchange(&bot, bot.ann, Post::document("photo.png", "no picture at all")).await;
    let parts = newest(&bot);
    assert!(parts.len() == 1 && parts[0]["text"].as_str().unwrap().contains("photo.png"), "{parts:?}");

    // It is seen as it came, whatever becomes of the file, also by the next host.
    for (path, _) in files(&bot.work.workdir().join("conversations")) {
        if path.to_string_lossy().contains("incoming") {
            fs::write(path, "gone").unwrap();
        }
    }
    exchange(&bot, bot.ann, Post::text("And now?")).await;
    assert_eq!(pictures(&bot), [data_url("image/png", &photo)]);
    host.stop().await;
    let host = bot.host().await;
    exchange(&bot, bot.ann, Post::text("And tomorrow?")).await;
    assert_eq!(pictures(&bot), [data_url("image/png", &photo)]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_model_is_shown_what_it_takes_of_the_same_history() {
    let bot = bot().await;
    let host = bot.host().await;
    bot.exchange("/model senses", "senses").await;
    let photo = png(60, 30);
    exchange(&bot, bot.ann, Post::photo(photo.clone()).caption("What is this?")).await;
    exchange(&bot, bot.ann, Post::voice(VOICE)).await;

    bot.exchange("/model near", "near").await;
    exchange(&bot, bot.ann, Post::text("Look again.")).await;
    let small = pictures(&bot);
    let bytes = STANDARD.decode(small[0].strip_prefix("data:image/png;base64,").unwrap()).unwrap();
    assert_eq!((small.len(), dimensions(&bytes)), (1, Some((20, 10))));
    let request = asks(&bot).pop().unwrap().body.to_string();
    assert!(request.contains("audio/ogg is not taken by this model, only audio/mpeg, audio/wav]"), "{request}");

    bot.exchange("/model main", "main").await;
    exchange(&bot, bot.ann, Post::text("Do you see it?")).await;
    let request = asks(&bot).pop().unwrap().body.to_string();
    assert!(pictures(&bot).is_empty() && !request.contains("input_audio"), "{request}");
    assert_eq!(request.matches("this model cannot read it]").count(), 2, "{request}");

    bot.exchange("/model senses", "senses").await;
    exchange(&bot, bot.ann, Post::text("And you?")).await;
    assert_eq!(pictures(&bot), [data_url("image/png", &photo)], "nothing of it was lost on the way");
    host.stop().await;
}
