//! One part of a reply, sent once: by which method, and what its outcome means.
//!
//! - A refusal of the formatting is answered by the same text without it, one of an album by its pictures one by one, one of
//!   a picture by the same file as a document, a file that cannot be sent by a sentence that says so. Each of these follows a
//!   refusal, so nothing comes twice.
//! - An album where no pictures may be sent is tried as documents, and then answered by one sentence for all of it.
//! - Everything but answers and questions is silent, and no link is previewed.
//! - A part waits for the bot's limit, and for a moment for the preview of its conversation that is on its way.
//! - 429 freezes the chat for as long as it says; a chat that is gone closes its conversation.

use std::time::Duration;

use tokio::time::Instant;

use super::Telegram;
use super::api::{ApiError, FileBody};
use super::keyboard;
use super::plan::{self, Outgoing, Planned, Shelf, Words, caption};
use super::render::Entity;
use super::send::{FileMethod, InputMedia, LinkPreviewOptions, Place, ReplyParameters, SendFile, SendMediaGroup, SendMessage, Target};
use super::types::SentMessage;
use crate::crash;
use crate::delivery::{Outcome, Part};
use crate::ids::ConversationId;
use crate::limits::{FULL_PAUSE, TELEGRAM_CALL_TIME, TELEGRAM_FREEZE, TELEGRAM_UNAUTHORIZED_PAUSE, TELEGRAM_UPLOAD_TIME};
use crate::store::{MAY_REPEAT, OutboxKind};

/// How a part is sent, whatever is in it.
#[derive(Debug, Clone, Copy)]
struct Manner {
    place: Place,
    is_silent: bool,
    is_marked: bool,
}

/// The first message of what was sent.
type Sent = Result<Option<i64>, ApiError>;

/// What sending a part came to.
enum Tried {
    Ended(Sent),
    /// Nothing of it arrived; these go in its place.
    Instead(Vec<Planned>),
}

impl Telegram {
    /// Sends one part, once.
    pub(super) async fn send_part(&self, part: Part) -> Outcome {
        let target = match part.address.parse::<Target>() {
            Ok(target) => self.moved(target),
            Err(error) => return Outcome::Refused { code: 0, text: error.to_string() },
        };
        // Until it is known what became of it: a chat that is frozen by it hears nothing more.
        let _stage = self.take_stage(part.conversation, target).await;
        if let Some(left) = self.frozen_for(target) {
            return Outcome::NotSent(Some(left));
        }
        let is_silent = !matches!(part.kind, OutboxKind::Final | OutboxKind::Question);
        let manner = Manner { place: target.to_send(), is_silent, is_marked: part.marked };
        let began = Instant::now();
        let tried = match plan::read(&part.body) {
            Planned::Text(words) => Tried::Ended(self.send_words(manner, &words).await),
            Planned::Answer { markdown } => self.send_answer(manner, markdown).await,
            Planned::Files { files } => match &files[..] {
                [file] => self.send_one(manner, part.conversation, file).await,
                files => self.send_several(manner, part.conversation, files).await,
            },
        };
        match tried {
            Tried::Ended(sent) => self.outcome(&part, target, began, sent).await,
            Tried::Instead(parts) => Outcome::Split(plan::written(&parts)),
        }
    }

    async fn send_words(&self, manner: Manner, words: &Words) -> Sent {
        match self.send_message(manner, words, &words.entities).await {
            Err(error) if !words.entities.is_empty() && is_about_the_content(&error) => {
                tracing::warn!(%error, "a formatted message was refused and is sent plain");
                self.send_message(manner, words, &[]).await
            }
            sent => sent,
        }
    }

    async fn send_message(&self, manner: Manner, words: &Words, entities: &[Entity]) -> Sent {
        let lead = lead(manner);
        let shift = lead.encode_utf16().count();
        let entities: Vec<_> = entities.iter().map(|entity| Entity { offset: entity.offset + shift, ..entity.clone() }).collect();
        let keyboard = keyboard::of(&words.buttons);
        let message = SendMessage {
            place: manner.place,
            text: &format!("{lead}{}", words.text),
            entities: &entities,
            disable_notification: manner.is_silent,
            link_preview_options: LinkPreviewOptions::OFF,
            reply_parameters: words.answers.map(ReplyParameters::to),
            reply_markup: keyboard.as_ref(),
        };
        let time = crash::call_time().unwrap_or(TELEGRAM_CALL_TIME);
        first(self.api().call::<SentMessage>("sendMessage", &message, time).await.map(|sent| vec![sent]))
    }

    /// The whole answer, as a file. Without it there is only the beginning, and that is said.
    async fn send_answer(&self, manner: Manner, markdown: String) -> Tried {
        let file = FileBody::from_bytes("answer.md", markdown).with_media_type(Some("text/markdown"));
        match self.send_file(manner, FileMethod::Document, file, "").await {
            Err(error) if is_about_the_content(&error) => refused("the file with the whole answer", &error),
            sent => Tried::Ended(sent),
        }
    }

    async fn send_one(&self, manner: Manner, conversation: ConversationId, file: &Outgoing) -> Tried {
        let one = std::slice::from_ref(file);
        let tried = match self.send_as(manner, conversation, one, None).await {
            Tried::Ended(Err(error)) if file.method != FileMethod::Document && is_about_the_content(&error) => {
                tracing::info!(%error, file = file.path, "a file is sent as a document");
                self.send_as(manner, conversation, one, Some(FileMethod::Document)).await
            }
            tried => tried,
        };
        match tried {
            Tried::Ended(Err(error)) if is_about_the_content(&error) => refused(&names(one), &error),
            // Nothing of it arrived, and it would be so again: the file is shorter than it was, or cannot be read.
            Tried::Ended(Err(ApiError::Unreadable(why))) => {
                tracing::warn!(why, "a file could not be read to its end");
                instead(format!("{} could not be sent: it could not be read to its end.", names(one)))
            }
            tried => tried,
        }
    }

    async fn send_several(&self, manner: Manner, conversation: ConversationId, files: &[Outgoing]) -> Tried {
        let tried = match self.send_as(manner, conversation, files, None).await {
            Tried::Ended(Err(error)) if error.is_media_forbidden() => {
                tracing::info!(%error, files = names(files), "an album is sent as documents");
                self.send_as(manner, conversation, files, Some(FileMethod::Document)).await
            }
            tried => tried,
        };
        match tried {
            // So would each of them be, and it is said once.
            Tried::Ended(Err(error)) if error.is_media_forbidden() => refused(&format!("{} files, {}", files.len(), names(files)), &error),
            Tried::Ended(Err(error)) if is_about_the_content(&error) || matches!(error, ApiError::Unreadable(_)) => {
                tracing::info!(%error, files = names(files), "an album is sent one by one");
                Tried::Instead(plan::apart(files))
            }
            tried => tried,
        }
    }

    /// Each by its own method, or all by one.
    async fn send_as(&self, manner: Manner, conversation: ConversationId, files: &[Outgoing], by: Option<FileMethod>) -> Tried {
        let (ready, missing) = self.open(conversation, files);
        let item = |(file, body): (&Outgoing, FileBody)| (by.unwrap_or(file.method), file.label.clone(), body);
        let mut files: Vec<_> = ready.into_iter().map(item).collect();
        let Some((_, label, _)) = files.first_mut() else { return instead(missing) };
        // What is missing is said below the first of the others.
        if !missing.is_empty() {
            *label = caption(format!("{label}\n{missing}"));
        }
        Tried::Ended(match files.pop() {
            Some((method, label, body)) if files.is_empty() => self.send_file(manner, method, body, &label).await,
            last => self.send_album(manner, files.into_iter().chain(last)).await,
        })
    }

    async fn send_file(&self, manner: Manner, method: FileMethod, file: FileBody, label: &str) -> Sent {
        let caption = format!("{}{label}", lead(manner));
        let parameters = SendFile::<Entity> {
            place: manner.place,
            caption: caption.trim_end(),
            caption_entities: &[],
            disable_notification: manner.is_silent,
            reply_parameters: None,
        };
        let files = vec![(method.field().to_owned(), file)];
        first(self.api().upload::<SentMessage>(method.method(), &parameters, files, TELEGRAM_UPLOAD_TIME).await.map(|sent| vec![sent]))
    }
}

impl Telegram {
    async fn send_album(&self, manner: Manner, files: impl Iterator<Item = (FileMethod, String, FileBody)> + Send) -> Sent {
        let lead = lead(manner);
        let (mut items, mut bodies) = (Vec::new(), Vec::new());
        for (n, (method, label, body)) in files.enumerate() {
            let caption = if n == 0 { format!("{lead}{label}") } else { label };
            items.push((method, caption, format!("file{n}")));
            bodies.push((format!("file{n}"), body));
        }
        let media: Vec<_> = items
            .iter()
            .map(|(method, caption, field)| InputMedia::<Entity> {
                kind: method.field(),
                media: format!("attach://{field}"),
                caption,
                caption_entities: &[],
            })
            .collect();
        let album = SendMediaGroup { place: manner.place, media: &media, disable_notification: manner.is_silent, reply_parameters: None };
        first(self.api().upload::<Vec<SentMessage>>("sendMediaGroup", &album, bodies, TELEGRAM_UPLOAD_TIME).await)
    }

    /// The files as they are now, and a sentence about each that is not there any more.
    fn open<'a>(&self, conversation: ConversationId, files: &'a [Outgoing]) -> (Vec<(&'a Outgoing, FileBody)>, String) {
        let shelf = match Shelf::open(self.workdir(), conversation) {
            Ok(shelf) => shelf,
            Err(error) => return (Vec::new(), format!("The workspace cannot be read: {error}.")),
        };
        let (mut ready, mut missing) = (Vec::new(), Vec::new());
        for file in files {
            match shelf.file(&file.path) {
                Ok((opened, bytes)) => {
                    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
                    ready.push((file, FileBody::from_file(name, opened.into_std(), bytes)));
                }
                Err(error) => missing.push(format!("“{}” could not be sent: {error}.", file.path)),
            }
        }
        (ready, missing.join("\n"))
    }

    /// What a sending's end means for delivery. Remembers what it says about the chat.
    async fn outcome(&self, part: &Part, target: Target, began: Instant, sent: Sent) -> Outcome {
        let error = match sent {
            Ok(id) => return Outcome::Sent(id.map(|id| id.to_string())),
            Err(error) => error,
        };
        let learnt = self.learn(target, &error).await;
        let again = self.close_if_gone(target, &error, began).await.or(learnt);
        match error {
            ApiError::NotSent(why) | ApiError::Unreadable(why) => {
                tracing::warn!(key = part.key, part = part.n, why, "a message was not sent");
                Outcome::NotSent(None)
            }
            // It is there, whatever the server says about it.
            ApiError::Undecodable { .. } => Outcome::Sent(None),
            ApiError::Unknown(why) => {
                tracing::warn!(key = part.key, part = part.n, why, "nobody knows whether a message arrived");
                Outcome::Unknown
            }
            ApiError::Rejected(refusal) => match again {
                Some(after) => Outcome::NotSent(Some(after)),
                None => Outcome::Refused { code: refusal.code, text: refusal.description },
            },
        }
    }

    /// Remembers what an error says about its chat. When the same may be tried again, if it may.
    pub(super) async fn learn(&self, target: Target, error: &ApiError) -> Option<Duration> {
        let refusal = error.refusal()?;
        if error.is_too_many() {
            return Some(self.freeze(target, refusal.retry_after.unwrap_or(TELEGRAM_FREEZE)));
        }
        if let Some(to) = refusal.migrate_to {
            let _nothing_is_taken_back = self.0.admission.lock().await;
            return Some(match self.migrate(target.chat(), to).await {
                Ok(()) => Duration::ZERO,
                Err(error) => {
                    tracing::error!(from = target.chat(), to, %error, "the conversations of a group cannot follow it yet");
                    FULL_PAUSE
                }
            });
        }
        error.is_unauthorized().then_some(TELEGRAM_UNAUTHORIZED_PAUSE)
    }

    /// Closes a chat that nothing can be sent to, unless somebody has spoken there since the sending began: then it could be
    /// by now, and neither this nor what they are answered must be kept back. When the same may be tried again, if it may.
    async fn close_if_gone(&self, target: Target, error: &ApiError, began: Instant) -> Option<Duration> {
        if error.is_unauthorized() || !(error.is_gone() || error.is_thread_gone()) {
            return None;
        }
        let _nothing_is_taken = self.0.admission.lock().await;
        if self.state().heard.get(&target.chat()).is_some_and(|heard| *heard >= began) {
            return Some(Duration::ZERO);
        }
        let closed = match error.is_gone() {
            true => self.close_chat(Target::new(target.chat(), None), true).await.map(drop),
            false => self.close_chat(target, false).await.map(drop),
        };
        if let Err(error) = closed {
            tracing::error!(chat = target.chat(), %error, "a conversation that cannot be reached could not be closed");
        }
        None
    }
}

/// The names of files, as far as a message has room for them.
fn names(files: &[Outgoing]) -> String {
    caption(files.iter().map(|file| format!("“{}”", file.path)).collect::<Vec<_>>().join(", "))
}

/// A sentence in place of what was refused.
fn refused(what: &str, error: &ApiError) -> Tried {
    tracing::warn!(%error, "a file was refused");
    let reason = error.refusal().map_or_else(String::new, |refusal| format!(": {}", refusal.description));
    instead(format!("Telegram did not take {what}{reason}."))
}

fn instead(text: String) -> Tried {
    Tried::Instead(vec![Planned::Text(Words::instead(text))])
}

/// What stands before a message that may be a repetition.
fn lead(manner: Manner) -> String {
    if manner.is_marked { format!("{MAY_REPEAT}\n") } else { String::new() }
}

fn first(sent: Result<Vec<SentMessage>, ApiError>) -> Sent {
    sent.map(|sent| sent.first().map(|message| message.message_id))
}

/// Would other content at the same place do?
fn is_about_the_content(error: &ApiError) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.code, 400 | 413) && refusal.migrate_to.is_none())
        && !error.is_gone()
        && !error.is_thread_gone()
}
