//! What a message holds beside its text: files to fetch, and things that are said in a line.

use super::{full_name, line};
use crate::channels::telegram::types::{Attachment, Contact, Line, Location, Media};
use crate::limits;

/// A file that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    pub kind: FileKind,
    pub file_id: String,
    /// The same for every bot and every sending of the file.
    pub unique_id: Option<String>,
    pub name: Option<String>,
    pub media_type: Option<String>,
    pub size_bytes: Option<u64>,
    pub duration_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Photo,
    Document,
    Audio,
    Voice,
    Video,
    VideoNote,
    Animation,
}

impl FileKind {
    /// In a sentence.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Document => "document",
            Self::Audio => "audio file",
            Self::Voice => "voice message",
            Self::Video => "video",
            Self::VideoNote => "video message",
            Self::Animation => "animation",
        }
    }
}

/// The files of a message.
pub(super) fn files(media: &Media) -> Vec<FileRef> {
    let size = |photo: &Attachment| photo.width.unwrap_or(0).saturating_mul(photo.height.unwrap_or(0));
    let photo = media.photo.iter().max_by_key(|photo| size(photo));
    // For older bots an animation comes as a document, too.
    let document = media.document.as_ref().filter(|_| media.animation.is_none());
    let found = [
        (FileKind::Photo, photo),
        (FileKind::Document, document),
        (FileKind::Audio, media.audio.as_ref()),
        (FileKind::Voice, media.voice.as_ref()),
        (FileKind::Video, media.video.as_ref()),
        (FileKind::VideoNote, media.video_note.as_ref()),
        (FileKind::Animation, media.animation.as_ref()),
    ];
    found.into_iter().filter_map(|(kind, attachment)| file(kind, attachment?)).collect()
}

fn file(kind: FileKind, attachment: &Attachment) -> Option<FileRef> {
    if attachment.file_id.is_empty() || attachment.file_id.len() > limits::TELEGRAM_ID_BYTES {
        return None;
    }
    Some(FileRef {
        kind,
        file_id: attachment.file_id.clone(),
        unique_id: attachment.file_unique_id.as_deref().map(line),
        name: attachment.file_name.as_deref().map(line).filter(|name| !name.is_empty()),
        media_type: attachment.mime_type.as_deref().map(line),
        size_bytes: attachment.file_size.0,
        duration_s: attachment.duration.0,
    })
}

/// What is not text and no file, as text.
pub(super) fn notes(media: &Media) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(venue) = media.venue.as_ref() {
        let name = [venue.title.as_deref(), venue.address.as_deref()].into_iter().flatten().map(line).collect::<Vec<_>>().join(", ");
        notes.push(format!("📍 {name} ({})", venue.location.as_ref().map_or_else(|| "somewhere".to_owned(), place)));
    } else if let Some(location) = media.location.as_ref() {
        notes.push(format!("📍 {}", place(location)));
    }
    if let Some(contact) = media.contact.as_ref() {
        notes.push(format!("👤 {}", card(contact)));
    }
    if let Some(poll) = media.poll.as_ref() {
        notes.push(list("📊", poll.question.as_deref(), &poll.options));
    }
    if let Some(checklist) = media.checklist.as_ref() {
        notes.push(list("☑️", checklist.title.as_deref(), &checklist.tasks));
    }
    if let Some(dice) = media.dice.as_ref() {
        let value = dice.value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        notes.push(format!("{} {value}", dice.emoji.as_deref().map_or_else(|| "🎲".to_owned(), line)));
    }
    if let Some(sticker) = media.sticker.as_ref() {
        let emoji = sticker.emoji.as_deref().map(line).unwrap_or_default();
        let set = sticker.set_name.as_deref().map(|set| format!(" (from {})", line(set))).unwrap_or_default();
        notes.push(format!("A sticker {emoji}{set}").trim_end().to_owned());
    }
    let others = [
        (media.story, "A story"),
        (media.game, "A game"),
        (media.paid_media, "Paid media"),
        (media.invoice, "An invoice"),
        (media.giveaway, "A giveaway"),
        (media.giveaway_winners, "The winners of a giveaway"),
    ];
    notes.extend(others.into_iter().filter(|(there, _)| there.0).map(|(_, name)| format!("{name}, which cannot be read here")));
    notes
}

fn place(location: &Location) -> String {
    format!("{:.6}, {:.6}", location.latitude, location.longitude)
}

fn card(contact: &Contact) -> String {
    let name = full_name(&contact.first_name, &contact.last_name);
    [name, contact.phone_number.as_deref().map(line)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn list(sign: &str, title: Option<&str>, lines: &[Line]) -> String {
    let mut text = format!("{sign} {}", title.map(line).unwrap_or_default());
    for entry in lines.iter().take(limits::TELEGRAM_ENTITIES) {
        text.push_str("\n- ");
        text.push_str(&line(&entry.text));
    }
    text
}
