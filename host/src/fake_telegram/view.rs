//! A page in the browser that shows the chats and lets one be the people in them. JSON below `/_/`; the page asks for it
//! again and again.
//!
//! Another site's page can neither read nor do anything here: what is asked must come by a loopback name, and what changes
//! something must have a header that a browser adds for nobody else.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_SECURITY_POLICY, HOST};
use hyper::{HeaderMap, Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::Fault;
use super::people::{Misuse, Post};
use super::server::{self, Answer, request};
use super::state::chats::{Chat, ChatKind, Standing};
use super::state::messages::{Author, Message};
use super::{Inner, Shared};
use crate::fake_telegram::limits;

const PAGE: &str = include_str!("view.html");
/// The header without which nothing is changed.
const SIGN: &str = "x-fake-telegram";
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self'; connect-src 'self'";

/// What somebody does on the page.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Act {
    NewUser { name: String },
    NewGroup { title: String, kind: GroupKind, members: Vec<i64> },
    NewTopic { chat: i64, user: i64, name: String },
    Write { chat: i64, user: i64, text: String, thread: Option<i64>, reply_to: Option<i64> },
    Edit { chat: i64, message: i64, text: String },
    Press { chat: i64, user: i64, message: i64, button: String },
    Stop { chat: i64, thread: Option<i64> },
    Standing { chat: i64, user: i64, member: bool },
    Migrate { chat: i64, user: i64 },
    Fault { kind: FaultKind, chat: i64 },
    Well,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupKind {
    Group,
    Supergroup,
    Forum,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FaultKind {
    Flood,
    Hang,
    Lost,
    Cut,
    Entities,
}

/// Answers what the page asks.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    if !is_loopback(request.headers()) {
        return said(403, "open this page as http://127.0.0.1");
    }
    let path = request.uri().path().to_owned();
    let query = |name: &str| {
        let pairs = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    if request.method() == Method::POST {
        if !request.headers().contains_key(SIGN) {
            return said(403, "only this page may do that");
        }
        let post = (path == "/_/file").then(|| Upload {
            chat: query("chat").and_then(|chat| chat.parse().ok()).unwrap_or_default(),
            user: query("user").and_then(|user| user.parse().ok()).unwrap_or_default(),
            thread: query("thread").and_then(|thread| thread.parse().ok()),
            name: query("name").unwrap_or_default(),
            caption: query("caption").unwrap_or_default(),
        });
        let Ok(Some(body)) = request::whole(request.into_body()).await else { return said(413, "that is too large") };
        let done = match post {
            Some(upload) => shared.change(|inner| upload.post(inner, body)),
            None => match serde_json::from_slice(&body) {
                Ok(act) => shared.change(|inner| perform(inner, act)),
                Err(error) => return said(400, &error.to_string()),
            },
        };
        return done.map_or_else(|error| said(400, &error.to_string()), |done| json_answer(&done));
    }
    let chat = query("chat").and_then(|chat| chat.parse().ok());
    match path.as_str() {
        "/" => page(),
        "/_/chats" => json_answer(&shared.look(|inner| overview(inner))),
        "/_/chat" => json_answer(&shared.look(|inner| inside(inner, chat.unwrap_or_default()))),
        _ => match path.strip_prefix("/_/file/").and_then(|id| shared.look(|inner| inner.state.files.get(id).cloned())) {
            Some(file) => server::whole(200, image(file.mime.as_deref()), file.bytes),
            None => said(404, "there is no such thing"),
        },
    }
}

/// Browsers say by which name they came; a name of somebody else's may lead here, too.
fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost")
}

/// Only pictures are shown; nothing that a person sends is run as part of the page.
fn image(mime: Option<&str>) -> &str {
    mime.filter(|mime| matches!(*mime, "image/png" | "image/jpeg" | "image/gif" | "image/webp")).unwrap_or("application/octet-stream")
}

fn page() -> Answer {
    let mut answer = server::whole(200, "text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()));
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, hyper::header::HeaderValue::from_static(POLICY));
    answer
}

fn json_answer(value: &Value) -> Answer {
    server::whole(200, "application/json", Bytes::from(value.to_string()))
}

fn said(status: u16, text: &str) -> Answer {
    server::whole(status, "application/json", Bytes::from(json!({"error": text}).to_string()))
}

/// A file that somebody picked on the page.
struct Upload {
    chat: i64,
    user: i64,
    thread: Option<i64>,
    name: String,
    caption: String,
}

impl Upload {
    fn post(self, inner: &mut Inner, bytes: Bytes) -> Result<Value, Misuse> {
        let is_photo = super::check::picture::size(&bytes).is_some();
        let post = if is_photo { Post::photo(bytes) } else { Post::document(&self.name, bytes) };
        let post = self.thread.into_iter().fold(post.caption(&self.caption), Post::in_topic);
        inner.state.post(self.chat, self.user, post).map(|id| json!({"message": id}))
    }
}

fn perform(inner: &mut Inner, act: Act) -> Result<Value, Misuse> {
    let state = &mut inner.state;
    let done = |()| json!({});
    match act {
        Act::NewUser { name } => Ok(json!({"chat": state.add_user(&name)})),
        Act::NewGroup { title, kind, members } => {
            let kind = match kind {
                GroupKind::Group => ChatKind::Group,
                GroupKind::Supergroup => ChatKind::Supergroup { forum: false },
                GroupKind::Forum => ChatKind::Supergroup { forum: true },
            };
            state.add_group(kind, &title, &members).map(|chat| json!({"chat": chat}))
        }
        Act::NewTopic { chat, user, name } => state.add_topic(chat, user, &name).map(|topic| json!({"topic": topic})),
        Act::Write { chat, user, text, thread, reply_to } => {
            let post = thread.into_iter().fold(Post::text(&text), Post::in_topic);
            let post = reply_to.into_iter().fold(post, Post::reply_to);
            state.post(chat, user, post).map(|id| json!({"message": id}))
        }
        Act::Edit { chat, message, text } => state.change(chat, message, &text).map(done),
        Act::Press { chat, user, message, button } => state.press(chat, user, message, &button).map(|query| json!({"query": query})),
        Act::Stop { chat, thread } => state.stop_draft(chat, thread).map(done),
        Act::Standing { chat, user, member } => {
            let private = state.chats.get(&chat).is_some_and(Chat::is_private);
            let standing = match (member, private) {
                (true, _) => Standing::Member,
                (false, true) => Standing::Blocked,
                (false, false) => Standing::Kicked,
            };
            state.set_standing(chat, user, standing).map(done)
        }
        Act::Migrate { chat, user } => state.migrate(chat, user, false).map(|chat| json!({"chat": chat})),
        Act::Fault { kind, chat } => {
            let fault = match kind {
                FaultKind::Flood => Fault::flood(limits::FLOOD.as_secs()),
                FaultKind::Hang => Fault::hang(),
                FaultKind::Lost => Fault::lost_after(),
                FaultKind::Cut => Fault::cut(),
                FaultKind::Entities => Fault::bad_entities(),
            };
            inner.faults.add(fault.in_chat(chat));
            Ok(json!({}))
        }
        Act::Well => {
            inner.faults.clear();
            Ok(json!({}))
        }
    }
}

/// Every chat, and the last calls.
fn overview(inner: &Inner) -> Value {
    let chats = inner.state.chats.values().filter(|chat| chat.migrated_to.is_none()).map(|chat| {
        let members = chat.members.iter().filter_map(|id| inner.state.users.get(id));
        let topics = chat.topics.iter().map(|(id, name)| json!({"id": id, "name": name}));
        let last = chat.messages.values().rev().find(|message| message.deleted.is_none());
        json!({
            "id": chat.id,
            "title": chat.title,
            "kind": chat.json()["type"],
            "forum": chat.is_forum(),
            "bot": chat.bot.name(),
            "members": members.map(|user| json!({"id": user.id, "name": user.first_name})).collect::<Vec<_>>(),
            "topics": topics.collect::<Vec<_>>(),
            "last": last.map(|message| message.text.chars().take(60).collect::<String>()),
        })
    });
    let calls = inner.log.calls.iter().rev().filter(|call| call.method != super::methods::GET_UPDATES).take(30).map(|call| {
        let refused = call.result.as_ref().and_then(|result| result.as_ref().err()).map(ToString::to_string);
        json!({"at": call.at, "method": call.method, "chat": call.chat, "refused": refused, "fault": call.fault})
    });
    json!({
        "bot": inner.state.bot,
        "chats": chats.collect::<Vec<_>>(),
        "calls": calls.collect::<Vec<_>>(),
        "waiting": inner.state.updates.pending(),
    })
}

/// What is in one chat.
fn inside(inner: &Inner, id: i64) -> Value {
    let state = &inner.state;
    let Some(chat) = state.chats.get(&id) else { return json!({"messages": []}) };
    let shown = |message: &Message| {
        let mut json = state.message_json(id, message.id);
        let reactions: Vec<&String> = message.reactions.values().flatten().collect();
        let by = if message.by == Author::Anonymous {
            chat.title.clone()
        } else {
            json["from"]["first_name"].as_str().unwrap_or_default().to_owned()
        };
        let mine = message.is_bots();
        json["shown"] = json!({"by": by, "bot": mine, "silent": message.silent, "edits": message.edits.len(), "reactions": reactions});
        json
    };
    let messages = chat.messages.values().filter(|message| message.deleted.is_none()).map(shown);
    let drafts =
        chat.drafts.iter().filter(|(_, draft)| draft.until > state.now).map(|(thread, draft)| json!({"thread": thread, "draft": draft}));
    let actions = chat.actions.keys().filter_map(|thread| Some(json!({"thread": thread, "action": state.action(id, *thread)?})));
    json!({
        "messages": messages.collect::<Vec<_>>(),
        "drafts": drafts.collect::<Vec<_>>(),
        "actions": actions.collect::<Vec<_>>(),
    })
}
