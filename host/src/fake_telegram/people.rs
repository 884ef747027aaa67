//! What people do: they write, press, edit, come and go. Their side of the state.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::check::text::{self, Entity};
use super::state::chats::{Chat, ChatKind, Standing, User};
use super::state::messages::{Author, Content, FileKind, Message, Origin, Quote};
use super::state::{Query, State};

/// Something that cannot be done: a chat that there is not, a button that nobody sees.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(String);

fn misuse<T>(what: impl Into<String>) -> Result<T, Misuse> {
    Err(Misuse(what.into()))
}

/// What somebody sends.
#[derive(Debug, Clone, Default)]
pub struct Post {
    text: String,
    entities: Option<Vec<Entity>>,
    file: Option<Attached>,
    fields: Map<String, Value>,
    thread: Option<i64>,
    reply_to: Option<i64>,
    quote: Option<String>,
    origin: Option<Origin>,
    anonymous: bool,
}

#[derive(Debug, Clone)]
struct Attached {
    kind: FileKind,
    name: Option<String>,
    mime: &'static str,
    size: u64,
    bytes: Bytes,
    more: Value,
}

impl Post {
    /// Text. Commands, mentions and pages in it are found as a client finds them.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    fn file(kind: FileKind, name: Option<&str>, mime: &'static str, bytes: impl Into<Bytes>, more: Value) -> Self {
        let bytes = bytes.into();
        let file = Attached { kind, name: name.map(str::to_owned), mime, size: bytes.len() as u64, bytes, more };
        Self { file: Some(file), ..Self::default() }
    }

    /// A photo; its width and height are read if it is a picture.
    #[must_use]
    pub fn photo(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let (width, height) = super::check::picture::size(&bytes).unwrap_or((640, 480));
        Self::file(FileKind::Photo, None, "image/jpeg", bytes, json!({"width": width, "height": height}))
    }

    #[must_use]
    pub fn document(name: &str, bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Document, Some(name), mime_of(name), bytes, json!({}))
    }

    #[must_use]
    pub fn audio(name: &str, bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Audio, Some(name), "audio/mpeg", bytes, json!({"duration": 5}))
    }

    #[must_use]
    pub fn voice(bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Voice, None, "audio/ogg", bytes, json!({"duration": 5}))
    }

    #[must_use]
    pub fn video(name: &str, bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Video, Some(name), "video/mp4", bytes, json!({"duration": 5, "width": 640, "height": 480}))
    }

    /// A round one, of which Telegram says neither name nor type.
    #[must_use]
    pub fn video_note(bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::VideoNote, None, "video/mp4", bytes, json!({"duration": 5, "length": 240}))
    }

    /// It comes with the field of a document, too.
    #[must_use]
    pub fn animation(name: &str, bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Animation, Some(name), "video/mp4", bytes, json!({"duration": 5, "width": 640, "height": 480}))
    }

    #[must_use]
    pub fn sticker(emoji: &str, bytes: impl Into<Bytes>) -> Self {
        let more = json!({"emoji": emoji, "type": "regular", "width": 512, "height": 512, "is_animated": false, "is_video": false});
        Self::file(FileKind::Sticker, None, "image/webp", bytes, more)
    }

    #[must_use]
    pub fn location(latitude: f64, longitude: f64) -> Self {
        Self::default().field("location", json!({"latitude": latitude, "longitude": longitude}))
    }

    #[must_use]
    pub fn contact(name: &str, phone: &str) -> Self {
        Self::default().field("contact", json!({"first_name": name, "phone_number": phone}))
    }

    /// Any other field of a message.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub fn caption(self, text: &str) -> Self {
        Self { text: text.to_owned(), ..self }
    }

    /// Instead of those that a client finds.
    #[must_use]
    pub fn entities(self, entities: Vec<Entity>) -> Self {
        Self { entities: Some(entities), ..self }
    }

    /// The size that Telegram says, whatever the bytes are: large files need no memory.
    #[must_use]
    pub fn sized(mut self, size: u64) -> Self {
        if let Some(file) = &mut self.file {
            file.size = size;
        }
        self
    }

    #[must_use]
    pub fn in_topic(self, topic: i64) -> Self {
        Self { thread: Some(topic), ..self }
    }

    #[must_use]
    pub fn reply_to(self, message: i64) -> Self {
        Self { reply_to: Some(message), ..self }
    }

    /// Only about this part of what it replies to.
    #[must_use]
    pub fn quote(self, part: &str) -> Self {
        Self { quote: Some(part.to_owned()), ..self }
    }

    #[must_use]
    pub fn forwarded(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// As an administrator who shows only the group.
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self { anonymous: true, ..self }
    }
}

/// The type of a file by its name, for the few that people try.
fn mime_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("txt" | "md" | "log" | "csv") => "text/plain",
        Some("pdf") => "application/pdf",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

impl State {
    /// Somebody new, who has not written to the bot yet.
    pub(super) fn add_user(&mut self, name: &str) -> i64 {
        let id = self.new_id() + 100_000;
        let username = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase() + &format!("_{id}");
        let user = User { id, is_bot: false, first_name: name.to_owned(), username: Some(username), language_code: Some("en".into()) };
        self.chats.insert(id, Chat::private(&user));
        self.users.insert(id, user);
        id
    }

    /// A group of these people, the first of whom makes it and then adds the bot.
    pub(super) fn add_group(&mut self, kind: ChatKind, title: &str, members: &[i64]) -> Result<i64, Misuse> {
        let Some(first) = members.first() else { return misuse("a group needs somebody who makes it") };
        if let Some(nobody) = members.iter().find(|user| !self.users.contains_key(user)) {
            return misuse(format!("there is no user {nobody}"));
        }
        let id = self.new_chat(kind, title);
        if let Some(chat) = self.chats.get_mut(&id) {
            chat.members = members.iter().copied().collect();
            chat.bot = Standing::Left;
        }
        self.set_standing(id, *first, Standing::Member)?;
        Ok(id)
    }

    /// A topic of a forum or of a private chat: its number is that of the message that says so.
    pub(super) fn add_topic(&mut self, chat: i64, by: i64, name: &str) -> Result<i64, Misuse> {
        let found = self.there(chat)?;
        if !found.is_forum() && !found.is_private() {
            return misuse(format!("{} has no topics", found.title));
        }
        let fields = json!({"forum_topic_created": {"name": name, "icon_color": 7_322_096}});
        let id = self.service(chat, Author::User(by), fields);
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.topics.insert(id, name.to_owned());
            if let Some(message) = chat.messages.get_mut(&id) {
                message.thread = Some(id);
            }
        }
        self.show("message", chat, id);
        Ok(id)
    }

    /// Somebody sends something; the number of the message.
    pub(super) fn post(&mut self, chat: i64, user: i64, post: Post) -> Result<i64, Misuse> {
        self.post_in(chat, user, post, None)
    }

    /// Several files as one album.
    pub(super) fn post_album(&mut self, chat: i64, user: i64, posts: Vec<Post>) -> Result<Vec<i64>, Misuse> {
        let album = self.new_id().to_string();
        posts.into_iter().map(|post| self.post_in(chat, user, post, Some(album.clone()))).collect()
    }

    fn post_in(&mut self, chat: i64, user: i64, post: Post, album: Option<String>) -> Result<i64, Misuse> {
        let found = self.there(chat)?;
        if !found.members.contains(&user) {
            return misuse(format!("{user} is not in chat {chat}"));
        }
        if found.bot == Standing::Blocked {
            return misuse(format!("{user} has blocked the bot; unblock it first"));
        }
        if let Some(thread) = post.thread.filter(|thread| !found.topics.contains_key(thread)) {
            return misuse(format!("chat {chat} has no topic {thread}"));
        }
        let quote = match (&post.quote, post.reply_to.and_then(|id| found.messages.get(&id))) {
            (None, _) => None,
            (Some(part), Some(replied)) => {
                let Some(at) = replied.text.find(part.as_str()) else { return misuse(format!("{part:?} is not in that message")) };
                Some(Quote { text: part.clone(), entities: Vec::new(), position: text::units(&replied.text[..at]) })
            }
            (Some(_), None) => return misuse("a quote needs a message that it is from"),
        };
        let entities = post.entities.unwrap_or_else(|| text::found(&post.text));
        let content = match post.file {
            Some(file) => {
                let id = self.keep(file.name, Some(file.mime.to_owned()), file.size, file.bytes);
                let more = if let Value::Object(more) = file.more { more } else { Map::new() };
                Content::File { kind: file.kind, file: id, more }
            }
            None if post.fields.is_empty() => Content::Text,
            None => Content::Other(post.fields),
        };
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.started = true;
        }
        let by = if post.anonymous { Author::Anonymous } else { Author::User(user) };
        let thread = post.thread.or_else(|| self.reply_thread(chat, post.reply_to));
        let (text, reply_to, origin) = (post.text, post.reply_to, post.origin);
        let message = Message { thread, text, entities, reply_to, quote, origin, album, ..Message::new(chat, by, content) };
        let id = self.add(message);
        self.show("message", chat, id);
        Ok(id)
    }

    /// Somebody changes the text or caption of a message.
    pub(super) fn change(&mut self, chat: i64, id: i64, text: &str) -> Result<(), Misuse> {
        self.there(chat)?;
        let now = self.now;
        let Some(message) = self.message_mut(chat, id).filter(|message| !message.is_bots()) else {
            return misuse(format!("nobody has written message {id} in chat {chat}"));
        };
        message.reword(now, text.to_owned(), text::found(text));
        self.show("edited_message", chat, id);
        Ok(())
    }

    /// Somebody presses the button with this data or text; the number of the query.
    pub(super) fn press(&mut self, chat: i64, user: i64, message: i64, button: &str) -> Result<String, Misuse> {
        self.there(chat)?;
        let buttons = self.message(chat, message).and_then(|message| message.keyboard.as_ref());
        let found = buttons.and_then(|keyboard| {
            keyboard.buttons().find(|known| known.callback_data.as_deref() == Some(button) || known.text == button)?.callback_data.clone()
        });
        let Some(data) = found else { return misuse(format!("message {message} in chat {chat} has no button {button:?}")) };
        let id = format!("{}", 4_000_000_000_000 + self.new_id());
        self.queries.insert(id.clone(), Query { pressed: self.now, answer: None });
        let from = json!(self.users.get(&user));
        let shown = self.message_json(chat, message);
        let instance = format!("{}", chat.wrapping_mul(31));
        self.queue("callback_query", json!({"id": id, "from": from, "message": shown, "chat_instance": instance, "data": data}));
        Ok(id)
    }

    /// The person of a private chat presses the button that stops a draft.
    pub(super) fn stop_draft(&mut self, chat: i64, thread: Option<i64>) -> Result<(), Misuse> {
        let now = self.now;
        let shown = self.draft(chat, thread).is_some_and(|draft| draft.can_stop && !draft.stopped);
        let Some(found) = self.chats.get_mut(&chat).filter(|_| shown) else {
            return misuse(format!("no draft can be stopped in chat {chat}"));
        };
        let Some(draft) = found.drafts.get_mut(&thread) else { return misuse("there is no draft") };
        draft.stopped = true;
        if !draft.keep_on_stop {
            draft.until = now;
        }
        let mut stopped = json!({"draft_id": draft.id, "chat": found.json()});
        if let Some(thread) = thread {
            stopped["message_thread_id"] = json!(thread);
        }
        self.queue("stopped_message_generation", stopped);
        Ok(())
    }

    /// Somebody's reactions to a message, instead of those before.
    pub(super) fn react(&mut self, chat: i64, user: i64, message: i64, emoji: &[&str]) -> Result<(), Misuse> {
        let shown = self.there(chat)?.json();
        let Some(found) = self.message_mut(chat, message) else { return misuse(format!("chat {chat} has no message {message}")) };
        let emoji: Vec<String> = emoji.iter().map(|emoji| (*emoji).to_owned()).collect();
        let before = found.reactions.insert(user, emoji.clone()).unwrap_or_default();
        let reactions = |emoji: Vec<String>| emoji.into_iter().map(|emoji| json!({"type": "emoji", "emoji": emoji})).collect::<Vec<_>>();
        let (user, date) = (json!(self.users.get(&user)), self.now / 1000);
        let (old, new) = (reactions(before), reactions(emoji));
        let reaction = json!({"chat": shown, "message_id": message, "user": user, "date": date, "old_reaction": old, "new_reaction": new});
        self.queue("message_reaction", reaction);
        Ok(())
    }

    /// Somebody makes the bot something else in a chat: adds, removes, blocks it.
    pub(super) fn set_standing(&mut self, chat: i64, by: i64, standing: Standing) -> Result<(), Misuse> {
        let found = self.there(chat)?;
        if (standing == Standing::Blocked) && !found.is_private() {
            return misuse("only a person blocks a bot");
        }
        let (shown, before) = (found.json(), found.bot);
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.bot = standing;
            chat.started = true;
        }
        let member = |status: Standing, bot: &User| json!({"user": bot, "status": status.name(), "until_date": 0});
        let (old, new) = (member(before, &self.bot), member(standing, &self.bot));
        let (from, date) = (json!(self.users.get(&by)), self.now / 1000);
        self.queue("my_chat_member", json!({"chat": shown, "from": from, "date": date, "old_chat_member": old, "new_chat_member": new}));
        Ok(())
    }

    /// A group becomes a supergroup: another chat, with another number.
    pub(super) fn migrate(&mut self, chat: i64, by: i64, forum: bool) -> Result<i64, Misuse> {
        let found = self.there(chat)?;
        if found.kind != ChatKind::Group {
            return misuse(format!("{} is no group", found.title));
        }
        let (title, members, bot) = (found.title.clone(), found.members.clone(), found.bot);
        let to = self.new_chat(ChatKind::Supergroup { forum }, &title);
        if let Some(chat) = self.chats.get_mut(&to) {
            (chat.members, chat.bot) = (members, bot);
        }
        let from = self.service(chat, Author::User(by), json!({"migrate_to_chat_id": to}));
        self.show("message", chat, from);
        let arrived = self.service(to, Author::Anonymous, json!({"migrate_from_chat_id": chat}));
        self.show("message", to, arrived);
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.migrated_to = Some(to);
        }
        Ok(to)
    }

    fn service(&mut self, chat: i64, by: Author, fields: Value) -> i64 {
        let fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        self.add(Message::new(chat, by, Content::Service(fields)))
    }

    /// Queues an update with a message, where the bot gets to see it.
    fn show(&mut self, kind: &str, chat: i64, id: i64) {
        let sees = self.chats.get(&chat).is_some_and(|chat| matches!(chat.bot, Standing::Member | Standing::Administrator));
        if sees {
            let message = self.message_json(chat, id);
            self.queue(kind, message);
        }
    }

    fn there(&self, chat: i64) -> Result<&Chat, Misuse> {
        match self.chats.get(&chat) {
            None => misuse(format!("there is no chat {chat}")),
            Some(Chat { migrated_to: Some(to), .. }) => misuse(format!("chat {chat} has become {to}")),
            Some(chat) => Ok(chat),
        }
    }
}
