//! Asks other components, and is one that is asked: for the tests of what lies between.
//!
//! What it does when it is asked stands in the first word of the query or prompt.

use stellaclaw_sdk::chat::{Completion, Failure, FailureKind, Message, Model, Piece, Request, Role, Stop, Usage};
use stellaclaw_sdk::images::{Drawing, EditPrompt, Image, Prompt};
use stellaclaw_sdk::model_list::Entry;
use stellaclaw_sdk::models::Question;
use stellaclaw_sdk::serde_json::{Value, json};
use stellaclaw_sdk::web_search::{Hit, Query};
use stellaclaw_sdk::{
    Call, Error, FileRef, Images, ModelList, Output, Provider, Replay, Result, Tool, WebSearch, images, models, plugin, schemars, secrets,
    serde, settings, web_search,
};

/// Has somebody search the web.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct LookUp {
    text: String,
    count: u32,
    /// So often.
    #[serde(default)]
    times: u32,
}

impl Tool for LookUp {
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        let query = Query::new(self.text, self.count);
        for _ in 1..self.times {
            web_search::search(&query)?;
        }
        let found = web_search::search(&query)?;
        Output::json(&found.iter().map(|hit| json!([hit.title, hit.url, hit.snippet])).collect::<Vec<_>>())
    }
}

/// Has somebody draw.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct HaveDrawn {
    text: String,
    /// Images to change, by their number of bytes.
    #[serde(default)]
    sources: Vec<usize>,
}

impl Tool for HaveDrawn {
    fn call(self, _call: &Call) -> Result<Output> {
        let prompt = Prompt::new(self.text);
        let drawing = if self.sources.is_empty() {
            images::generate(&prompt)?
        } else {
            let sources = self.sources.into_iter().map(|bytes| Image { media_type: "image/png".to_owned(), data: vec![7; bytes] });
            images::edit(&EditPrompt { prompt, sources: sources.collect(), mask: None })?
        };
        let drawn: Vec<_> = drawing.images.iter().map(|image| json!([image.media_type, image.data.len()])).collect();
        Output::json(&json!({ "images": drawn, "prompt": drawing.revised_prompt }))
    }
}

/// Asks somebody a question.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct AskSomebody {
    role: String,
    text: String,
    /// A file to go with it.
    #[serde(default)]
    file: Option<String>,
}

impl Tool for AskSomebody {
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        let files = self.file.into_iter().map(|path| FileRef { path, media_type: None, name: None }).collect();
        let reply = models::ask(&Question { files, ..Question::new(self.role, self.text) })?;
        Ok(Output::text(format!("{}: {}", reply.model, reply.text)))
    }
}

pub struct Everything;

impl WebSearch for Everything {
    fn search(query: &Query) -> Result<Vec<Hit>> {
        let hit = |title: &str, snippet: String| Hit {
            title: title.to_owned(),
            url: format!("https://example.com/{}", query.text),
            snippet,
            published: None,
            thumbnail: None,
            ext: None,
        };
        match query.text.split(' ').next().unwrap_or_default() {
            "entry" => Ok(vec![hit("entry", settings::get::<Value>()?.to_string())]),
            "key" => Ok(vec![hit("key", secrets::exists(settings::API_KEY).to_string())]),
            "files" => Ok(vec![hit("files", format!("{:?}", std::fs::read_to_string("note.txt").map_err(|error| error.kind())))]),
            "pass" => web_search::search(query),
            "sleep" => loop {
                std::thread::sleep(std::time::Duration::from_millis(5));
            },
            "trap" => panic!("a component that was asked gives up"),
            "refuse" => Err(Error { retry_after: Some(1234), ..Error::new(stellaclaw_sdk::ErrorKind::RateLimited, "not so fast") }),
            "long" => Ok(vec![hit("long", "x".repeat(9 << 20))]),
            _ => Ok((0..500).map(|n| hit(&n.to_string(), String::new())).collect()),
        }
    }
}

impl Images for Everything {
    fn generate(prompt: &Prompt) -> Result<Drawing> {
        let image = |media_type: &str, bytes: usize| Image { media_type: media_type.to_owned(), data: vec![1; bytes] };
        let images = match prompt.text.split(' ').next().unwrap_or_default() {
            "nothing" => Vec::new(),
            "page" => vec![image("text/html", 9)],
            "large" => vec![image("image/png", (8 << 20) + 1)],
            "full" => vec![image("image/png", 8 << 20), image("image/png", 4 << 20)],
            "over" => vec![image("image/png", 7 << 20), image("image/png", 6 << 20)],
            _ => vec![image("image/png", 70)],
        };
        let ext = json!({ "usage": { "input": 10, "output": 32, "cost": "0.5" } }).to_string();
        Ok(Drawing { images, revised_prompt: Some(format!("{}!", prompt.text)), ext: Some(ext) })
    }

    fn edit(prompt: &EditPrompt) -> Result<Drawing> {
        let images = prompt.sources.clone();
        Ok(Drawing { images, revised_prompt: None, ext: None })
    }
}

impl Provider for Everything {
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure> {
        let asked = request.messages.last().map(Message::text).unwrap_or_default();
        if asked == "refuse" {
            return Err(Failure::new(FailureKind::Policy, "not that"));
        }
        let text = format!("{} {:?} {:?}", asked, request.max_output, request.response_schema);
        let usage = Usage { input_uncached: 5, output: 2, ..Usage::none() };
        let message = Message {
            id: request.id.clone(),
            role: Role::Assistant,
            phase: None,
            origin: None,
            pieces: vec![Piece::Text(stellaclaw_sdk::chat::TextPiece { text, annotations: None })],
            cache_break: false,
        };
        let served_model = Some(format!("{}-served", model.id));
        Ok(Completion { message, stop: Stop::EndTurn, usage, response_id: None, served_model, served_tier: None, ext: None })
    }
}

impl ModelList for Everything {
    fn models(account: &Model) -> Result<Vec<Entry>, Failure> {
        Ok(vec![Entry::new("one"), Entry { context_window: Some(1000), ..Entry::new(format!("{}-two", account.id)) }])
    }
}

plugin! {
    tools: [LookUp, HaveDrawn, AskSomebody],
    provider: Everything,
    model_list: Everything,
    search: Everything,
    images: Everything,
    fs: ["workspace:rw"],
    slots: ["api-key" => ["https://example.com"]],
    options: r#"{"type":"object","properties":{"country":{"type":"string"}},"additionalProperties":false}"#,
}
