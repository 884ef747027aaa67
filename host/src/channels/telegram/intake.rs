//! A batch of updates becomes rows: who may talk is let in, who may not is counted, what is odd is kept for the operator (`odd`).
//!
//! One transaction stores the rows and moves the cursor; only the next poll confirms the batch. What has to happen besides
//! (a group that moved, an owner's decision) happens before it and does no harm twice; what only shows something happens
//! after it.

mod arrival;
mod odd;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::access::{Circumstances, Verdict};
use super::albums::Album;
use super::courtesy::Chosen;
use super::people::card;
use super::send::Target;
use super::types::Me;
use super::update::{self, Addressee, Button, ChatKind, ChatRef, Event, Incoming, Malformed, Membership, Person, Update};
use super::{Telegram, keyboard};
use crate::commands::{self, Command};
use crate::crash;
use crate::limits::ODDITIES;
use crate::router::{Arrival, Batch};
use crate::session::event::Beside;
use crate::store::{StoreError, Stranger};

/// What a batch comes to.
#[derive(Default)]
struct Taken {
    batch: Batch,
    /// The offset to go on with.
    next: Option<i64>,
    /// Buttons that are answered when the batch is durable.
    pressed: Vec<Pressed>,
    /// People to be told that they are strangers.
    strangers: BTreeSet<i64>,
    /// How much came from whom, that is only counted.
    counted: BTreeMap<i64, u64>,
    /// Updates without a number, by their digests.
    unnumbered: Vec<[u8; 32]>,
}

/// A button that somebody pressed.
struct Pressed {
    query: String,
    /// What a keyboard of models is to show from now on.
    chosen: Option<Chosen>,
}

impl Telegram {
    /// Takes a batch. When it returns, the batch may be confirmed. False: there is nothing that could be, and the same comes
    /// again.
    pub(super) async fn take(&self, me: &Me, updates: &[String]) -> Result<bool, StoreError> {
        let _access_stays = self.0.admission.lock().await;
        let read: Vec<_> = updates.iter().map(|raw| self.read(raw, me)).collect();
        let mut taken = Taken::default();
        for (raw, read) in updates.iter().zip(read) {
            match read {
                Some(Ok(update)) => {
                    let (arrivals, pressed) = (taken.batch.arrivals.len(), taken.pressed.len());
                    match AssertUnwindSafe(self.sort(update, raw, &mut taken)).catch_unwind().await {
                        Ok(sorted) => sorted?,
                        Err(_) => {
                            taken.batch.arrivals.truncate(arrivals);
                            taken.pressed.truncate(pressed);
                            self.panicked(raw, &mut taken);
                        }
                    }
                }
                Some(Err(malformed)) => self.malformed(&malformed, raw, &mut taken),
                None => self.panicked(raw, &mut taken),
            }
        }
        self.keep(taken).await
    }

    /// Reads an update; none: that panicked. A defect that one update meets holds up nobody else's.
    fn read(&self, raw: &str, me: &Me) -> Option<Result<Update, Malformed>> {
        let read = || {
            crash::defect("update.read");
            let update = update::decode(raw, me)?;
            self.look_for_album(&update);
            Ok(update)
        };
        catch_unwind(AssertUnwindSafe(read)).ok()
    }

    async fn keep(&self, taken: Taken) -> Result<bool, StoreError> {
        let Taken { mut batch, next, pressed, strangers, counted, unnumbered } = taken;
        batch.release = self.let_go(&mut batch.arrivals).await?;
        let lets_go = !batch.release.is_empty();
        let stranger = |(id, count): (i64, u64)| Stranger { channel: self.0.name.clone(), id: id.to_string(), count };
        batch.strangers = counted.into_iter().map(stranger).collect();
        let has_files = batch.arrivals.iter().any(|arrival| arrival.held.is_some());
        let conversations: Vec<_> = batch.arrivals.iter().map(|arrival| arrival.conversation).collect();
        batch.cursor = next.map(|next| (self.0.name.clone(), next.to_string()));
        if batch.cursor.is_some() || !batch.oddities.is_empty() {
            self.host().router.accept_all(batch).await?;
        }
        {
            let mut state = self.state();
            if state.unnumbered.len() as u64 > ODDITIES {
                state.unnumbered.clear();
            }
            state.unnumbered.extend(unnumbered);
        }
        if has_files {
            self.0.arrived.notify_one();
        }
        if lets_go {
            self.0.file_news.notify_waiters();
        }
        conversations.into_iter().for_each(|conversation| self.present(conversation));
        for Pressed { query, chosen } in pressed {
            self.answer(&query, None);
            if let Some(chosen) = chosen {
                self.mark(chosen);
            }
        }
        if !strangers.is_empty() {
            self.hint(strangers);
        }
        Ok(next.is_some())
    }

    /// Somebody who may talk calls the bot by one message of an album: then all of it is for the bot.
    fn look_for_album(&self, update: &Update) {
        let Event::Message(incoming) = &update.event else { return };
        let Some(album) = Album::of(incoming) else { return };
        if self.judge(&incoming.chat, incoming.from.as_ref(), is_for_bot(incoming)) == Verdict::Welcome {
            self.state().albums.welcome(album);
        }
    }

    async fn sort(&self, update: Update, raw: &str, taken: &mut Taken) -> Result<(), StoreError> {
        taken.next = Some(update.id.saturating_add(1));
        crash::defect("update.sort");
        let id = update.id.to_string();
        match update.event {
            Event::Message(incoming) => self.message(&id, *incoming, false, taken).await,
            // Something is always being edited in a live location, and nobody says anything by it.
            Event::Edited(incoming) if incoming.text.is_empty() => Ok(()),
            Event::Edited(incoming) => self.message(&id, *incoming, true, taken).await,
            Event::Button(button) => self.button(&id, button, taken).await,
            Event::Stopped { chat, thread, .. } => self.stopped(&id, Target::new(chat, thread), taken).await,
            Event::Membership { chat, by, status } => self.membership(&chat, &by, status, taken).await,
            Event::Migrated { from, to } => self.migrate(from, to).await,
            Event::Reaction | Event::Service => Ok(()),
            Event::Unknown { kind } => {
                self.keep_odd(id, format!("an update of an unknown kind: {kind}"), raw, taken);
                Ok(())
            }
        }
    }

    async fn message(&self, id: &str, incoming: Incoming, edited: bool, taken: &mut Taken) -> Result<(), StoreError> {
        let chat = &incoming.chat;
        let album = Album::of(&incoming);
        let is_addressed = is_for_bot(&incoming) || album.as_ref().is_some_and(|album| self.state().albums.is_welcome(album));
        let verdict = self.judge(chat, incoming.from.as_ref(), is_addressed);
        if self.try_code(id, &incoming).await? {
            return Ok(());
        }
        let group = chat.title.as_deref().unwrap_or("a group").to_owned();
        match (verdict, &incoming.from) {
            (Verdict::Welcome, Some(_)) => {
                if chat.is_forum {
                    self.state().forums.insert(chat.id);
                }
                let title = chat.title.clone();
                let place = self.moved(Target::new(chat.id, None)).chat();
                self.state().heard.insert(place, Instant::now());
                self.ask_who_is_back(chat.id).await?;
                let conversation = self.conversation(Target::new(chat.id, incoming.thread), title.as_deref()).await?;
                let passed = album.map(|album| self.state().albums.passed(&album)).unwrap_or_default();
                for (id, before) in passed {
                    taken.batch.arrivals.push(self.arrival(&id, conversation, before, false));
                }
                taken.batch.arrivals.push(self.arrival(id, conversation, incoming, edited));
            }
            (Verdict::Stranger(stranger), Some(writer)) => {
                taken.count(stranger);
                if !self.state().told.contains(&stranger) {
                    taken.strangers.insert(stranger);
                }
                self.ask_about(stranger, &writer.name, &card::wrote(writer)).await?;
            }
            (Verdict::StrangerInGroup(stranger), Some(writer)) => {
                taken.count(stranger);
                self.ask_about(stranger, &writer.name, &card::spoke(writer, &group)).await?;
            }
            (Verdict::NewGroup(chat), Some(writer)) => {
                taken.count(chat);
                self.ask_about(chat, &group, &card::invited(chat, &group, writer)).await?;
            }
            (Verdict::Counted(who), _) => taken.count(who),
            (Verdict::NotForUs, _) => {
                if let Some(album) = album.filter(|_| !edited) {
                    self.state().albums.pass(album, id, incoming);
                }
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn judge(&self, chat: &ChatRef, person: Option<&Person>, is_addressed: bool) -> Verdict {
        let circumstances = Circumstances {
            chat: self.moved(Target::new(chat.id, None)).chat(),
            is_private: chat.kind == ChatKind::Private,
            person: person.map(|person| person.id),
            is_bot: person.is_some_and(|person| person.is_bot),
            is_addressed,
        };
        self.state().access.judge(&circumstances)
    }

    async fn button(&self, id: &str, pressed: Button, taken: &mut Taken) -> Result<(), StoreError> {
        if Self::is_about_access(&pressed.data) {
            if !self.state().access.is_known(pressed.from.id) {
                taken.count(pressed.from.id);
            }
            return self.decide(&pressed).await;
        }
        match self.judge(&pressed.chat, Some(&pressed.from), true) {
            Verdict::Welcome => {}
            Verdict::Counted(who) | Verdict::Stranger(who) | Verdict::StrangerInGroup(who) | Verdict::NewGroup(who) => {
                taken.count(who);
                return Ok(());
            }
            Verdict::NotForUs => return Ok(()),
        }
        let models = self.host().router.models();
        let Some(text) = keyboard::command(&pressed.data, models.iter().map(|alias| format!("/model {alias}"))) else {
            self.answer(&pressed.query_id, Some("This button has expired."));
            return Ok(());
        };
        let conversation = self.conversation(Target::new(pressed.chat.id, pressed.thread), None).await?;
        let chosen = match commands::parse(&text) {
            Some(Command::Model(Some(alias))) if models.contains(&alias) => {
                Some(commands::model_buttons(&alias, models.iter().map(String::as_str)))
            }
            Some(Command::Reasoning(Some(level))) => Some(commands::effort_buttons(Some(&level))),
            _ => None,
        };
        let chosen = chosen.map(|buttons| Chosen { chat: pressed.chat.id, message_id: pressed.message_id, buttons });
        let person = Some(pressed.from).filter(|_| pressed.chat.kind != ChatKind::Private);
        let (sender, writer) = person.map(|person| (person.name, person.id.to_string())).unzip();
        let beside = Beside { writer, ..Beside::default() };
        let arrival = Arrival { text, sender, beside, ..self.cancel(conversation, id.to_owned()) };
        taken.batch.arrivals.push(arrival);
        taken.pressed.push(Pressed { query: pressed.query_id, chosen });
        Ok(())
    }

    /// The stop button of a draft, which there is only in private chats: the chat has the number of its person.
    async fn stopped(&self, id: &str, target: Target, taken: &mut Taken) -> Result<(), StoreError> {
        if !self.state().access.is_known(target.chat()) {
            taken.count(target.chat());
            return Ok(());
        }
        let conversation = self.conversation(target, None).await?;
        taken.batch.arrivals.push(self.cancel(conversation, id.to_owned()));
        Ok(())
    }

    async fn membership(&self, chat: &ChatRef, by: &Person, status: Membership, taken: &mut Taken) -> Result<(), StoreError> {
        if !status.is_in() {
            let closed = self.close_chat(Target::new(chat.id, None), true).await?;
            // What came just before it, and was not taken yet, has nobody any more who could be answered.
            taken.batch.arrivals.retain(|arrival| !closed.contains(&arrival.conversation));
            return Ok(());
        }
        self.ask_who_is_back(chat.id).await?;
        self.open_chat(chat.id).await?;
        let is_group = matches!(chat.kind, ChatKind::Group | ChatKind::Supergroup);
        if let Verdict::NewGroup(group) = self.judge(chat, Some(by), true)
            && is_group
        {
            let title = chat.title.as_deref().unwrap_or("a group");
            self.ask_about(group, title, &card::invited(group, title, by)).await?;
        } else if !self.state().access.is_known(by.id) {
            taken.count(by.id);
        }
        Ok(())
    }
}

impl Taken {
    fn count(&mut self, who: i64) {
        *self.counted.entry(who).or_default() += 1;
    }
}

/// Does a message call the bot by itself? A command for no bot by name may be another bot's: then only one that is known here
/// does.
fn is_for_bot(incoming: &Incoming) -> bool {
    match incoming.to {
        Addressee::Bot => true,
        // The words of an inline bot are not those of who picked them.
        Addressee::AnyBot => {
            incoming.forwarded.is_none()
                && incoming.via_bot.is_none()
                && !matches!(commands::parse(&incoming.text), None | Some(Command::Unknown(_)))
        }
        Addressee::Other | Addressee::Nobody => false,
    }
}
