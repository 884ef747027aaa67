//! Uses every function that a component may import, and offers everything that it may export.
//!
//! `scripts/freeze-contract.sh` keeps it as a component with each version of the contract; every later host must load that
//! component and get the same answers from it. Nothing is granted to it, so each answer is the one of a host that refuses.

use stellaclaw_sdk::chat::{Completion, Failure, Message, Model, Piece, Request, Role, Stop, TextPiece, Usage};
use stellaclaw_sdk::deltas::{Delta, Fragment, Item, ItemKind, emit};
use stellaclaw_sdk::images::{Drawing, EditPrompt, Prompt};
use stellaclaw_sdk::model_list::Entry;
use stellaclaw_sdk::models::Question;
use stellaclaw_sdk::serde_json::{Value, json};
use stellaclaw_sdk::storage::{self, Scope};
use stellaclaw_sdk::web_search::{Hit, Query};
use stellaclaw_sdk::websocket::{self, ConnectError, Connection};
use stellaclaw_sdk::{
    Call, Error, Images, ModelList, Output, Provider, Replay, Result, Tool, WebSearch, conversation, http, images, log, models, plugin,
    schemars, secrets, serde, settings, web_search,
};

/// Asks each interface something, and tells what it answered.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct AskEverything {
    /// Comes back in the answer.
    word: String,
}

impl Tool for AskEverything {
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        log::fields("asked", &[("word", &self.word)]);
        conversation::progress("asking");
        Output::json(&json!({
            "word": self.word,
            "http": told(http::get("https://example.com/").send().and_then(|response| read(&response))),
            "upload refused": upload().is_err(),
            "websocket": [told(socket()), json!(websocket::resume("key").is_some())],
            "secrets": [
                json!(secrets::exists("api-key")),
                told(secrets::attributes("api-key").map(|attributes| attributes.len())),
                told(secrets::renew("api-key").map(|()| "renewed")),
                told(secrets::sign("api-key", secrets::Hash::Sha256, "", b"data").map(|signature| signature.len())),
            ],
            "settings": settings::get::<Value>()?,
            "conversation": [
                told(conversation::say("asking").map(|()| "said")),
                told(conversation::plan(&[], None).map(|()| "planned")),
                told(conversation::status()),
                json!(conversation::interrupted()),
            ],
            "storage": [
                told(storage::get(Scope::Plugin, "key").map(|entry| entry.is_some())),
                told(storage::put(Scope::Conversation, "key", b"value", None)),
                told(storage::remove(Scope::Plugin, "key", None)),
                told(storage::keys(Scope::Plugin, "")),
            ],
            "deltas": emit(&[]),
            "models": told(models::ask(&Question::new("image", "what is it?")).map(|reply| reply.text)),
            "web-search": told(web_search::search(&Query::new("frozen", 1)).map(|hits| hits.len())),
            "images": [
                told(images::generate(&Prompt::new("a frozen lake")).map(|drawing| drawing.images.len())),
                told(images::edit(&EditPrompt { prompt: Prompt::new("thaw it"), sources: Vec::new(), mask: None }).map(|drawing| drawing.images.len())),
            ],
        }))
    }
}

/// An answer, or the kind of its refusal: the words of a refusal may change.
fn told(result: Result<impl serde::Serialize>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!(format!("{:?}", error.kind).rsplit("::").next()),
    }
}

fn read(response: &http::Response) -> Result<String> {
    let all = response.bytes(1 << 20)?;
    Ok(format!("{} {} {:?} {}", response.status(), response.url(), response.header("date"), all.len()))
}

fn upload() -> Result<String> {
    let request = http::Request {
        method: "POST".to_owned(),
        url: "https://example.com/".to_owned(),
        headers: Vec::new(),
        credentials: Vec::new(),
        body: Vec::new(),
        timeouts: None,
        redirects: 0,
    };
    let upload = http::open_upload(&request, None)?;
    upload.write(b"data")?;
    read(&http::Upload::finish(upload)?)
}

fn socket() -> Result<bool> {
    let connection = websocket::to("wss://example.com/").open().map_err(|failed| match failed {
        ConnectError::Refused(refusal) => Error::failed(refusal.status.to_string()),
        ConnectError::Error(error) => error,
    })?;
    connection.send(&[http::Piece::Bytes(b"text".to_vec())])?;
    let came = connection.receive(1)?.is_some() || !connection.headers().is_empty();
    Connection::park(connection, "key", b"note");
    Ok(came)
}

/// A model that repeats what it was asked.
pub struct Echo;

impl Provider for Echo {
    fn complete(_model: &Model, request: &Request) -> Result<Completion, Failure> {
        let text = format!("frozen: {}", request.messages.last().map(Message::text).unwrap_or_default());
        emit(&[
            Delta::ItemStarted(Item { index: 0, kind: ItemKind::Text, id: None, name: None }),
            Delta::Fragment(Fragment { index: 0, text: text.clone() }),
        ]);
        Ok(Completion {
            message: Message {
                id: request.id.clone(),
                role: Role::Assistant,
                phase: None,
                origin: None,
                pieces: vec![Piece::Text(TextPiece { text, annotations: None })],
                cache_break: false,
            },
            stop: Stop::EndTurn,
            usage: Usage::none(),
            response_id: None,
            served_model: None,
            served_tier: None,
            ext: None,
        })
    }
}

impl ModelList for Echo {
    fn models(account: &Model) -> Result<Vec<Entry>, Failure> {
        Ok(vec![Entry::new(format!("frozen-{}", account.id))])
    }
}

impl WebSearch for Echo {
    fn search(query: &Query) -> Result<Vec<Hit>> {
        let url = "https://example.com/frozen".to_owned();
        Ok(vec![Hit { title: query.text.clone(), url, snippet: String::new(), published: None, thumbnail: None, ext: None }])
    }
}

impl Images for Echo {
    fn generate(prompt: &Prompt) -> Result<Drawing> {
        Ok(Drawing { images: Vec::new(), revised_prompt: Some(prompt.text.clone()), ext: None })
    }

    fn edit(prompt: &EditPrompt) -> Result<Drawing> {
        Ok(Drawing { images: prompt.sources.clone(), revised_prompt: None, ext: None })
    }
}

plugin! {
    tools: [AskEverything],
    provider: Echo,
    model_list: Echo,
    search: Echo,
    images: Echo,
    http: ["https://example.com"],
    slots: ["api-key" => ["https://example.com"]],
}
