//! Who may talk, changed: pairing the first owner, asking owners about others, and what owners decide.
//!
//! Access is widened only here: by the code that the terminal shows (one use, ten minutes, few tries, and only while there is
//! no owner), by a button that an owner presses in their private chat, and from the terminal. A chat that moves or goes is
//! followed here, too.

use tokio::time::Instant;
use uuid::Uuid;

use super::access::Access;
use super::send::{AnswerCallbackQuery, EditMessageText, LinkPreviewOptions, SendMessage, Target};
use super::types::SentMessage;
use super::update::{Button as Pressed, Person as Writer};
use super::{Telegram, render};
use crate::clock;
use crate::commands::Button;
use crate::limits::{PAIRING_TIME, PAIRING_TRIES, REQUEST_CARDS, REQUEST_CARDS_TIME, TELEGRAM_CALL_TIME};
use crate::router::{Arrival, Batch, Wanted};
use crate::session::event::Beside;
use crate::store::{NewOutbox, OutboxKind, Person, Request, Role, StoreError, Stranger};

/// What a button about access begins with. No message can say it: only what buttons carry is looked at for it.
const ACCESS: &str = "access:";
/// Of a code: without those that look like others.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LETTERS: usize = 8;

/// A code that makes whoever sends it the first owner.
pub(super) struct Pairing {
    code: String,
    until: Instant,
    tries: u32,
}

/// Why there is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bot has an owner already; others are approved by the owner's buttons or with `stellaclaw pair approve`")]
pub struct HasOwner;

impl Telegram {
    /// Reads who may talk, again.
    pub(super) async fn look_who_may_talk(&self) -> Result<(), StoreError> {
        let decided = self.0.store.people(&self.0.name).await?;
        let config = &self.0.config;
        self.state().access = Access::new(&config.owners, &config.people, &config.groups, &decided);
        Ok(())
    }

    /// A new code for the first owner; the one before is void.
    ///
    /// # Errors
    ///
    /// There is an owner.
    pub fn pair(&self) -> Result<String, HasOwner> {
        let mut state = self.state();
        if state.access.owners().next().is_some() {
            return Err(HasOwner);
        }
        let random = Uuid::new_v4();
        let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
        // Bytes 6 and 8 of a random uuid are partly fixed.
        let bytes = random.as_bytes();
        let code: String = bytes[..6].iter().chain(&bytes[9..]).take(CODE_LETTERS).map(letter).collect();
        state.pairing = Some(Pairing { code: code.clone(), until: Instant::now() + PAIRING_TIME, tries: 0 });
        Ok(code)
    }

    /// Is this private message of somebody unknown the code? Then they are the first owner from now on.
    pub(super) async fn try_code(&self, writer: &Writer, text: &str) -> Result<bool, StoreError> {
        let said: String = text.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_uppercase();
        {
            let mut state = self.state();
            let Some(pairing) = state.pairing.as_mut() else { return Ok(false) };
            if pairing.until <= Instant::now() || pairing.tries >= PAIRING_TRIES {
                state.pairing = None;
                return Ok(false);
            }
            // `/start CODE` is what a link with the code sends.
            let said = said.strip_prefix("START").unwrap_or(&said);
            if said.len() != CODE_LETTERS {
                return Ok(false);
            }
            pairing.tries += 1;
            // As long for a wrong letter as for a right one.
            let differs = said.bytes().zip(pairing.code.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
            if differs != 0 {
                tracing::warn!(person = writer.id, tries = pairing.tries, "somebody sent a wrong pairing code");
                return Ok(false);
            }
            state.pairing = None;
        }
        let person = Person { id: writer.id.to_string(), role: Role::Owner, name: writer.name.clone(), since: clock::now() };
        let first = self.0.store.set_first_owner(&self.0.name, person).await?;
        self.look_who_may_talk().await?;
        if first {
            tracing::info!(person = writer.id, name = writer.name, "the bot has its first owner");
            let text = "You are the owner of this bot now. Write to it; `/help` lists its commands.\n\nWhen somebody else writes to it, or adds \
                        it to a group, you are asked here.";
            self.notify(writer.id, &format!("paired.{}", writer.id), text, Vec::new()).await?;
        }
        Ok(first)
    }

    /// Asks the owners about a person or a group, once, and not too often: the others are listed by `stellaclaw pair list`.
    pub(super) async fn ask_about(&self, subject: i64, name: &str, what: &str) -> Result<(), StoreError> {
        let owners: Vec<i64> = self.state().access.owners().collect();
        if owners.is_empty() {
            return Ok(());
        }
        let key = Uuid::new_v4().simple().to_string();
        let request = Request { subject: subject.to_string(), key: key.clone(), name: name.to_owned(), asked_at: clock::now() };
        if !self.0.store.request(&self.0.name, request).await? || !self.may_ask() {
            return Ok(());
        }
        let button = |label: &str, answer: &str| Button { label: label.to_owned(), command: format!("{ACCESS}{answer}:{key}") };
        for owner in owners {
            let buttons = vec![button("Allow", "yes"), button("Ignore", "no")];
            self.notify(owner, &format!("{ACCESS}{key}.{owner}"), what, buttons).await?;
        }
        Ok(())
    }

    /// Bounds how often owners are asked.
    fn may_ask(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        state.asked.retain(|at| now.duration_since(*at) < REQUEST_CARDS_TIME);
        let may = state.asked.len() < REQUEST_CARDS;
        if may {
            state.asked.push(now);
        }
        may
    }

    /// Something for a person's private chat, durable and once per key.
    async fn notify(&self, person: i64, key: &str, text: &str, buttons: Vec<Button>) -> Result<(), StoreError> {
        let conversation = self.conversation(Target::new(person, None), None).await?;
        let kind = if buttons.is_empty() { OutboxKind::Notice } else { OutboxKind::Question };
        let message = NewOutbox { buttons, ..NewOutbox::new(format!("{}.{key}", self.0.name), conversation, kind, text) };
        self.0.store.tell(message, clock::now()).await.map(drop)
    }

    /// Is it a button about access? Then it is answered here, whoever pressed it.
    pub(super) fn is_about_access(data: &str) -> bool {
        data.starts_with(ACCESS)
    }

    /// Decides what an owner's button says, and then shows it. Whoever else pressed one decides nothing.
    pub(super) async fn decide(&self, pressed: &Pressed) -> Result<(), StoreError> {
        let by_owner = self.state().access.is_owner(pressed.from.id) && pressed.chat.id == pressed.from.id;
        let answer = pressed.data.strip_prefix(ACCESS).and_then(|rest| rest.split_once(':')).filter(|_| by_owner);
        let Some((answer, key)) = answer else { return Ok(()) };
        let requests = self.0.store.requests(&self.0.name).await?;
        let Some(request) = requests.into_iter().find(|request| request.key == key) else {
            self.answer(&pressed.query_id, Some("That was decided before."));
            return Ok(());
        };
        let allowed = answer == "yes";
        let person = self.settle(&request.subject, &request.name, allowed).await?;
        let said = match allowed {
            true => format!("{} may talk to this bot now.", person.name),
            false => format!("{} is ignored.", person.name),
        };
        self.answer(&pressed.query_id, Some(&said));
        self.show_decision(pressed.from.id, pressed.message_id, said);
        if allowed && person.role == Role::Member {
            self.notify(subject_of(&person), &format!("welcome.{}", person.id), "You may talk to this bot now.", Vec::new()).await?;
        }
        Ok(())
    }

    /// What an owner or the operator decided about somebody.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn settle(&self, subject: &str, name: &str, allowed: bool) -> Result<Person, StoreError> {
        let role = match (allowed, subject.starts_with('-')) {
            (true, true) => Role::Group,
            (true, false) => Role::Member,
            (false, _) => Role::Rejected,
        };
        let person = Person { id: subject.to_owned(), role, name: name.to_owned(), since: clock::now() };
        self.0.store.set_person(&self.0.name, person.clone()).await?;
        self.look_who_may_talk().await?;
        tracing::info!(subject, name, ?role, "access was decided about");
        if !allowed {
            self.end_work_of(subject).await?;
        }
        Ok(person)
    }

    /// Takes back what was decided about somebody. False: nothing was.
    ///
    /// # Errors
    ///
    /// What the store can fail with.
    pub async fn revoke(&self, subject: &str) -> Result<bool, StoreError> {
        let known = self.0.store.remove_person(&self.0.name, subject).await?;
        self.look_who_may_talk().await?;
        self.end_work_of(subject).await?;
        Ok(known)
    }

    /// What runs in the chat of somebody who may not talk any more is stopped, and what waits there is not begun.
    async fn end_work_of(&self, subject: &str) -> Result<(), StoreError> {
        let id = Uuid::new_v4();
        let all = self.0.store.conversations_at(&self.0.name, subject).await?;
        let arrivals = all.into_iter().map(|known| self.cancel(known.id, format!("revoked.{id}.{}", known.id))).collect();
        self.host().router.accept_all(Batch { arrivals, ..Batch::default() }).await
    }

    /// The command that ends what runs.
    pub(super) fn cancel(&self, conversation: crate::ids::ConversationId, external_id: String) -> Arrival {
        Arrival {
            conversation,
            source: self.0.name.clone(),
            external_id,
            text: "/cancel".to_owned(),
            sender: None,
            beside: Beside::default(),
            held: None,
        }
    }

    /// The conversation at a place, made when there is none and opened when it was closed.
    pub(super) async fn conversation(&self, target: Target, title: Option<&str>) -> Result<crate::ids::ConversationId, StoreError> {
        let wanted = Wanted { channel: self.0.name.clone(), address: target.to_string(), mounts: Vec::new(), passing: false };
        let open = self.host().router.open(wanted).await.map_err(|error| match error {
            crate::router::RouterError::Store(error) => error,
            other => StoreError::Io { action: "open", path: format!("the conversation {target}"), reason: other.to_string() },
        })?;
        let known = open.conversation;
        if known.closed_at.is_some() {
            self.0.store.set_closed(vec![known.id], None).await?;
        }
        if let Some(title) = title.filter(|title| *title != known.title) {
            self.0.store.set_title(known.id, title.to_owned()).await?;
        }
        Ok(known.id)
    }

    /// A stranger is told once that they are one, and who can change that. Nobody waits for it.
    pub(super) fn hint(&self, stranger: i64) {
        let telegram = self.clone();
        self.host().supervisor.spawn(async move {
            let counted = Stranger { channel: telegram.0.name.clone(), id: stranger.to_string() };
            match telegram.0.store.hint(counted, clock::now()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return tracing::debug!(%error, "a stranger was not told so"),
            }
            let text = format!("This bot is private. Its owner can allow you to use it; your number is {stranger}.");
            let message = SendMessage::<render::Entity> {
                place: Target::new(stranger, None).to_send(),
                text: &text,
                entities: &[],
                disable_notification: true,
                link_preview_options: LinkPreviewOptions::OFF,
                reply_parameters: None,
                reply_markup: None,
            };
            if let Err(error) = telegram.api().call::<SentMessage>("sendMessage", &message, TELEGRAM_CALL_TIME).await {
                tracing::debug!(%error, "a stranger was not told so");
                telegram.learn(Target::new(stranger, None), &error).await;
            }
        });
    }

    /// Ends the waiting circle on a pressed button. Nobody waits for it.
    pub(super) fn answer(&self, query: &str, text: Option<&str>) {
        let (telegram, query, text) = (self.clone(), query.to_owned(), text.map(str::to_owned));
        self.host().supervisor.spawn(async move {
            let answer = AnswerCallbackQuery { callback_query_id: &query, text: text.as_deref(), show_alert: false };
            if let Err(error) = telegram.api().call::<bool>("answerCallbackQuery", &answer, TELEGRAM_CALL_TIME).await {
                tracing::debug!(%error, "a pressed button was not answered");
            }
        });
    }

    /// Puts what was decided in the place of the question.
    fn show_decision(&self, chat: i64, message_id: i64, text: String) {
        let telegram = self.clone();
        self.host().supervisor.spawn(async move {
            let edit = EditMessageText::<render::Entity> {
                chat_id: chat,
                message_id,
                text: &text,
                entities: &[],
                link_preview_options: LinkPreviewOptions::OFF,
                reply_markup: None,
            };
            if let Err(error) = telegram.api().call::<SentMessage>("editMessageText", &edit, TELEGRAM_CALL_TIME).await {
                tracing::debug!(%error, "a question that was answered still looks open");
            }
        });
    }

    /// A group has another number from now on.
    pub(super) async fn migrate(&self, from: i64, to: i64) {
        self.state().moved.insert(from, to);
        tracing::info!(from, to, "a group became a supergroup");
        let moved = async {
            self.0.store.move_address(&self.0.name, &from.to_string(), &to.to_string()).await?;
            self.look_who_may_talk().await
        };
        if let Err(error) = moved.await {
            tracing::error!(from, to, %error, "the conversations of a group could not follow it; it is tried again with its next message");
        }
    }

    /// Nothing can be sent to a chat, or to one of its topics: its conversations are closed, and what runs in them is stopped.
    pub(super) async fn close_chat(&self, target: Target, all_threads: bool) {
        let address = target.to_string();
        let closed = async {
            let mut known = self.0.store.conversations_at(&self.0.name, &address).await?;
            known.retain(|known| known.closed_at.is_none() && (all_threads || known.address == address));
            let ids: Vec<_> = known.iter().map(|known| known.id).collect();
            if ids.is_empty() {
                return Ok(());
            }
            tracing::info!(chat = address, "the bot cannot write there any more; the conversation is closed");
            let at = clock::now();
            self.0.store.set_closed(ids.clone(), Some(at)).await?;
            let arrivals = ids.into_iter().map(|id| self.cancel(id, format!("closed.{id}.{}", at.0))).collect();
            self.host().router.accept_all(Batch { arrivals, ..Batch::default() }).await
        };
        if let Err::<(), StoreError>(error) = closed.await {
            tracing::error!(chat = address, %error, "a conversation that cannot be reached could not be closed");
        }
    }
}

/// The number behind a person's row.
fn subject_of(person: &Person) -> i64 {
    person.id.parse().unwrap_or_default()
}
