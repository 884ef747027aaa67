//! A batch of updates becomes rows: who may talk is let in, who may not is counted, what is odd is kept for the operator.
//!
//! One transaction stores the rows and moves the cursor; only the next poll confirms the batch. What has to happen besides
//! (a group that moved, an owner's decision) happens before it and does no harm twice; what only shows something happens
//! after it.

use serde_json::json;

use super::access::{Circumstances, Verdict};
use super::fetch::{Held, Wanted};
use super::send::Target;
use super::types::Me;
use super::update::{self, Addressee, Button, ChatKind, ChatRef, Event, FileKind, FileRef, Incoming, Membership, Person, Update};
use super::{Telegram, keyboard};
use crate::router::{Arrival, Batch};
use crate::session::event::{Attached, Beside, Quoted};
use crate::session::inbox::Body;
use crate::store::{Oddity, StoreError, Stranger};

/// What a batch comes to.
#[derive(Default)]
struct Taken {
    batch: Batch,
    /// The offset to go on with.
    next: Option<i64>,
    /// Buttons that are answered when the batch is durable.
    pressed: Vec<String>,
    /// People to be told that they are strangers.
    strangers: Vec<i64>,
}

impl Telegram {
    /// Takes a batch. When it returns, the batch may be confirmed.
    pub(super) async fn take(&self, me: &Me, updates: &[String]) -> Result<(), StoreError> {
        let mut taken = Taken::default();
        for raw in updates {
            match update::decode(raw, me) {
                Ok(update) => {
                    taken.next = Some(update.id.saturating_add(1));
                    self.sort(update, raw, &mut taken).await?;
                }
                Err(malformed) => {
                    taken.next = malformed.id.map(|id| id.saturating_add(1)).or(taken.next);
                    tracing::warn!(reason = malformed.reason, "an update could not be understood; it is kept for the operator");
                    let id = malformed.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
                    taken.batch.oddities.push(self.odd(id, malformed.reason, raw));
                }
            }
        }
        let Taken { mut batch, next, pressed, strangers } = taken;
        let Some(next) = next else {
            // Without an id there is nothing to confirm.
            return self.host().router.accept_all(batch).await;
        };
        let has_files = batch.arrivals.iter().any(|arrival| arrival.held.is_some());
        let conversations: Vec<_> = batch.arrivals.iter().map(|arrival| arrival.conversation).collect();
        batch.cursor = Some((self.0.name.clone(), next.to_string()));
        self.host().router.accept_all(batch).await?;
        if has_files {
            self.0.arrived.notify_one();
        }
        conversations.into_iter().for_each(|conversation| self.present(conversation));
        pressed.iter().for_each(|query| self.answer(query, None));
        strangers.into_iter().for_each(|stranger| self.hint(stranger));
        Ok(())
    }

    async fn sort(&self, update: Update, raw: &str, taken: &mut Taken) -> Result<(), StoreError> {
        let id = update.id.to_string();
        match update.event {
            Event::Message(incoming) => self.message(&id, *incoming, false, taken).await,
            // Something is always being edited in a live location, and nobody says anything by it.
            Event::Edited(incoming) if incoming.text.is_empty() => Ok(()),
            Event::Edited(incoming) => self.message(&id, *incoming, true, taken).await,
            Event::Button(button) => self.button(&id, button, taken).await,
            Event::Stopped { chat, thread, .. } => self.stopped(&id, Target::new(chat, thread), taken).await,
            Event::Membership { chat, by, status } => self.membership(&chat, &by, status, taken).await,
            Event::Migrated { from, to } => {
                self.migrate(from, to).await;
                Ok(())
            }
            Event::Reaction | Event::Service => Ok(()),
            Event::Unknown { kind } => {
                taken.batch.oddities.push(self.odd(id, format!("an update of an unknown kind: {kind}"), raw));
                Ok(())
            }
        }
    }

    async fn message(&self, id: &str, incoming: Incoming, edited: bool, taken: &mut Taken) -> Result<(), StoreError> {
        let chat = &incoming.chat;
        let verdict = self.judge(chat, incoming.from.as_ref(), matches!(incoming.to, Addressee::Bot | Addressee::AnyBot));
        let group = chat.title.as_deref().unwrap_or("a group").to_owned();
        match (verdict, &incoming.from) {
            (Verdict::Welcome, Some(_)) => {
                let title = chat.title.clone();
                let conversation = self.conversation(Target::new(chat.id, incoming.thread), title.as_deref()).await?;
                taken.batch.arrivals.push(self.arrival(id, conversation, incoming, edited));
            }
            (Verdict::Stranger(stranger), Some(writer)) => {
                if self.try_code(writer, &incoming.text).await? {
                    return Ok(());
                }
                taken.count(self, stranger);
                taken.strangers.push(stranger);
                let what = format!("{} (number {stranger}) wrote to this bot for the first time. May they use it?", named(writer));
                self.ask_about(stranger, &writer.name, &what).await?;
            }
            (Verdict::StrangerInGroup(stranger), Some(writer)) => {
                taken.count(self, stranger);
                let what = format!("{} (number {stranger}) spoke to this bot in “{group}”. May they use it?", named(writer));
                self.ask_about(stranger, &writer.name, &what).await?;
            }
            (Verdict::NewGroup(chat), Some(writer)) => {
                taken.count(self, chat);
                self.ask_about(chat, &group, &new_group(&group, chat, writer)).await?;
            }
            (Verdict::Counted(who), _) => taken.count(self, who),
            (Verdict::NotForUs, _) | (_, None) => {}
        }
        Ok(())
    }

    fn judge(&self, chat: &ChatRef, person: Option<&Person>, is_addressed: bool) -> Verdict {
        let circumstances = Circumstances {
            chat: chat.id,
            is_private: chat.kind == ChatKind::Private,
            person: person.map(|person| person.id),
            is_bot: person.is_some_and(|person| person.is_bot),
            is_addressed,
        };
        self.state().access.judge(&circumstances)
    }

    /// What somebody who may talk has written.
    fn arrival(&self, id: &str, conversation: crate::ids::ConversationId, incoming: Incoming, edited: bool) -> Arrival {
        let is_group = incoming.chat.kind != ChatKind::Private;
        let files = incoming.files.iter().map(|file| Wanted::new(file, false));
        let quoted = incoming.quoted.as_ref().filter(|quoted| !quoted.is_by_bot_itself);
        let fetch: Vec<_> = files.chain(quoted.iter().flat_map(|quoted| &quoted.files).map(|file| Wanted::new(file, true))).collect();
        let lines = [incoming.text].into_iter().chain(incoming.notes).filter(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join("\n");
        let sender = incoming.from.filter(|_| is_group).map(|person| person.name);
        let beside = Beside {
            group: incoming.album.map(|album| format!("{}.{album}", incoming.chat.id)),
            remote: is_group.then(|| incoming.message_id.to_string()),
            edited,
            quoted: incoming.quoted.map(quotation),
            forwarded: incoming.forwarded,
            files: Vec::new(),
        };
        let body = Body { text: text.clone(), sender: sender.clone(), beside: beside.clone() };
        let held = (!fetch.is_empty()).then(|| json!(Held { body, fetch, message_id: incoming.message_id }));
        Arrival { conversation, source: self.0.name.clone(), external_id: id.to_owned(), text, sender, beside, held }
    }

    async fn button(&self, id: &str, pressed: Button, taken: &mut Taken) -> Result<(), StoreError> {
        if Self::is_about_access(&pressed.data) {
            return self.decide(&pressed).await;
        }
        match self.judge(&pressed.chat, Some(&pressed.from), true) {
            Verdict::Welcome => {}
            Verdict::Counted(who) | Verdict::Stranger(who) | Verdict::StrangerInGroup(who) | Verdict::NewGroup(who) => {
                taken.count(self, who);
                return Ok(());
            }
            Verdict::NotForUs => return Ok(()),
        }
        let offered = self.host().router.models().into_iter().map(|alias| format!("/model {alias}"));
        let Some(text) = keyboard::command(&pressed.data, offered) else {
            self.answer(&pressed.query_id, Some("This button has expired."));
            return Ok(());
        };
        let conversation = self.conversation(Target::new(pressed.chat.id, pressed.thread), None).await?;
        let sender = (pressed.chat.kind != ChatKind::Private).then_some(pressed.from.name);
        let arrival = Arrival { text, sender, ..self.cancel(conversation, id.to_owned()) };
        taken.batch.arrivals.push(arrival);
        taken.pressed.push(pressed.query_id);
        Ok(())
    }

    /// The stop button of a draft, which there is only in private chats: the chat has the number of its person.
    async fn stopped(&self, id: &str, target: Target, taken: &mut Taken) -> Result<(), StoreError> {
        if !self.state().access.is_known(target.chat()) {
            taken.count(self, target.chat());
            return Ok(());
        }
        let conversation = self.conversation(target, None).await?;
        taken.batch.arrivals.push(self.cancel(conversation, id.to_owned()));
        Ok(())
    }

    async fn membership(&self, chat: &ChatRef, by: &Person, status: Membership, taken: &mut Taken) -> Result<(), StoreError> {
        if !status.is_in() {
            self.close_chat(Target::new(chat.id, None), true).await;
            return Ok(());
        }
        let known = self.0.store.conversations_at(&self.0.name, &chat.id.to_string()).await?;
        let closed: Vec<_> = known.into_iter().filter(|known| known.closed_at.is_some()).map(|known| known.id).collect();
        if !closed.is_empty() {
            self.0.store.set_closed(closed, None).await?;
        }
        if let Verdict::NewGroup(group) = self.judge(chat, Some(by), true) {
            let title = chat.title.as_deref().unwrap_or("a group");
            self.ask_about(group, title, &new_group(title, group, by)).await?;
        } else if !self.state().access.is_known(by.id) {
            taken.count(self, by.id);
        }
        Ok(())
    }

    fn odd(&self, external_id: String, reason: String, raw: &str) -> Oddity {
        Oddity { channel: self.0.name.clone(), external_id, reason, body: raw.to_owned() }
    }
}

impl Taken {
    fn count(&mut self, telegram: &Telegram, who: i64) {
        self.batch.strangers.push(Stranger { channel: telegram.0.name.clone(), id: who.to_string() });
    }
}

fn named(person: &Person) -> String {
    match &person.username {
        Some(username) => format!("{} (@{username})", person.name),
        None => person.name.clone(),
    }
}

fn new_group(title: &str, number: i64, by: &Person) -> String {
    format!("{} wants to use this bot in the group “{title}” (number {number}). May those who may use it do so there, too?", by.name)
}

fn quotation(quoted: update::Quoted) -> Quoted {
    let lines = [quoted.text].into_iter().chain(quoted.notes).filter(|line| !line.is_empty());
    Quoted { by: (!quoted.is_by_bot_itself).then_some(quoted.by), text: lines.collect::<Vec<_>>().join("\n") }
}

impl Wanted {
    fn new(file: &FileRef, is_quoted: bool) -> Self {
        let kind = if is_quoted { format!("{} of the message replied to", file.kind.word()) } else { file.kind.word().to_owned() };
        let attached = Attached {
            kind,
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size_bytes,
            path: None,
            missing: None,
        };
        Self { file_id: file.file_id.clone(), default_name: default_name(file.kind).to_owned(), attached }
    }
}

/// What a file without a name is called.
fn default_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Photo => "photo.jpg",
        FileKind::Document => "document",
        FileKind::Audio => "audio.mp3",
        FileKind::Voice => "voice.ogg",
        FileKind::Video | FileKind::VideoNote => "video.mp4",
        FileKind::Animation => "animation.mp4",
    }
}
