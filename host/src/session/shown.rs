//! What a model is shown of the files of its history: each one made to fit what the model's vendor takes, within what one
//! request may have.
//!
//! This works on a request, never on the history: another model is shown the same files in its own way. The newest files are
//! kept; where an older one gives way, a line says so. What was made of a file is kept in memory for a while, and can always be
//! made again: equal files and bounds give equal bytes, so that a vendor's cache serves them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::context::unreadable;
use crate::chat::{AnswerPiece, Media, Message, Piece};
use crate::config::Model;
use crate::limits;
use crate::media::{self, Bounds};
use crate::plugins::Handed;
use crate::store::{BlobHash, Store, StoreError};

const DISPLACED: &str = "not shown any more, because newer files took its place; look at it again where it matters";

/// Files as they were made for requests, for all sessions. Cheap to clone.
#[derive(Clone)]
pub struct Shown {
    kept: Arc<Mutex<Kept>>,
    /// A picture that is decoded takes much memory: one at a time.
    gate: Arc<Semaphore>,
}

/// A file as it is sent, or why it is not.
type Made = Result<Ready, String>;

#[derive(Debug, Clone)]
struct Ready {
    id: String,
    bytes: Bytes,
    media_type: &'static str,
}

/// The least recently used first.
#[derive(Default)]
struct Kept {
    files: VecDeque<(BlobHash, Bounds, Made)>,
    bytes: u64,
}

impl Default for Shown {
    fn default() -> Self {
        Self { kept: Arc::default(), gate: Arc::new(Semaphore::new(1)) }
    }
}

impl Shown {
    /// Replaces the files of a request by what is sent of them, or by a line; returns the bytes for the call.
    pub async fn hand_over(&self, store: &Store, model: &Model, messages: &mut [Message]) -> Handed {
        let files: Vec<Media> = slots(messages).filter_map(|slot| slot.media().cloned()).collect();
        let mut made: Vec<Option<Made>> = Vec::with_capacity(files.len());
        let mut room = Room::default();
        // The newest first: older ones have what it leaves.
        for media in files.iter().rev() {
            let file = if room.is_full { None } else { Some(self.made(store, model, media).await) };
            made.push(file.filter(|file| file.as_ref().map_or(true, |ready| room.has(ready.bytes.len() as u64))));
        }
        made.reverse();
        displace(&mut made);
        let mut handed = Vec::new();
        for (slot, file) in slots(messages).zip(made) {
            match file {
                Some(Ok(ready)) => {
                    slot.show(&ready);
                    handed.push((ready.id, ready.bytes));
                }
                Some(Err(reason)) => slot.replace(&reason),
                None => slot.replace(DISPLACED),
            }
        }
        handed.into_iter().collect()
    }

    async fn made(&self, store: &Store, model: &Model, media: &Media) -> Made {
        let Some(hash) = BlobHash::of_id(&media.blob) else { return Err("it is not kept".into()) };
        let Some(bounds) = Bounds::of(model, media.modality) else { return Err("files of its kind are not sent".into()) };
        if let Some(made) = self.known(&hash, &bounds) {
            return made;
        }
        let Ok(permit) = self.gate.clone().acquire_owned().await else { return Err("the host is stopping".into()) };
        if let Some(made) = self.known(&hash, &bounds) {
            return made;
        }
        let bytes = match store.blob(&hash).await {
            Ok(bytes) => Bytes::from(bytes),
            Err(StoreError::NotFound(_) | StoreError::Damaged(_)) => return Err("what was kept of it is gone".into()),
            Err(error) => {
                tracing::warn!(%error, "a file cannot be read for a request");
                return Err("it cannot be read just now".into());
            }
        };
        let wanted = bounds.clone();
        let fitting = tokio::task::spawn_blocking(move || {
            // Held also when nobody waits any more: it still takes its memory.
            let _permit = permit;
            media::fit(&bytes, &wanted)
        });
        let made = match tokio::time::timeout(limits::FIT_TIME, fitting).await {
            Ok(Ok(Ok(fitted))) => {
                let id = BlobHash::of(&fitted.bytes).id();
                Ok(Ready { id, bytes: fitted.bytes, media_type: fitted.media_type })
            }
            Ok(Ok(Err(unfit))) => Err(format!("not shown, {unfit}")),
            Ok(Err(ended)) => {
                tracing::error!(blob = %hash, error = %ended, "a file broke what was to make it fit");
                Err("not shown, it is damaged".into())
            }
            Err(_) => Err(format!("not shown, making it fit took longer than {} s", limits::FIT_TIME.as_secs())),
        };
        self.remember(hash, bounds, made.clone());
        made
    }

    fn known(&self, hash: &BlobHash, bounds: &Bounds) -> Option<Made> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.files.iter().position(|(known, known_bounds, _)| known == hash && known_bounds == bounds)?;
        let file = kept.files.remove(at)?;
        let made = file.2.clone();
        kept.files.push_back(file);
        Some(made)
    }

    fn remember(&self, hash: BlobHash, bounds: Bounds, made: Made) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += weight(&made);
        kept.files.push_back((hash, bounds, made));
        while kept.bytes > limits::FITTED_BYTES || kept.files.len() > limits::FITTED_FILES {
            let Some((_, _, old)) = kept.files.pop_front() else { break };
            kept.bytes = kept.bytes.saturating_sub(weight(&old));
        }
    }
}

fn weight(made: &Made) -> u64 {
    made.as_ref().map_or(0, |ready| ready.bytes.len() as u64)
}

/// What one request has room for.
#[derive(Default)]
struct Room {
    files: usize,
    bytes: u64,
    is_full: bool,
}

impl Room {
    /// Takes the room for a file. The first one always has it, and after one that has not there is none.
    fn has(&mut self, bytes: u64) -> bool {
        let after = self.bytes.saturating_add(bytes);
        self.is_full |= self.files > 0 && (after > limits::REQUEST_FILES_BYTES || self.files == limits::REQUEST_FILES);
        if !self.is_full {
            (self.files, self.bytes) = (self.files + 1, after);
        }
        !self.is_full
    }
}

/// Once files have to give way, some more do so at once, if most stay: then the beginning of the next requests is the same.
fn displace(made: &mut [Option<Made>]) {
    let Some(first) = made.iter().rposition(Option::is_none).map(|last| last + 1) else { return };
    let cut = first.next_multiple_of(limits::REQUEST_FILES_BLOCK);
    if made.len().saturating_sub(cut) * 2 >= made.len() - first {
        made.iter_mut().take(cut).for_each(|file| *file = None);
    }
}

/// A place in a request where a file stands.
enum Slot<'a> {
    Said(&'a mut Piece),
    Answered(&'a mut AnswerPiece),
}

impl Slot<'_> {
    fn media(&self) -> Option<&Media> {
        match self {
            Self::Said(Piece::Media(media)) | Self::Answered(AnswerPiece::Media(media)) => Some(media),
            _ => None,
        }
    }

    /// Names what is sent instead of the file as it came.
    fn show(self, ready: &Ready) {
        if let Self::Said(Piece::Media(media)) | Self::Answered(AnswerPiece::Media(media)) = self {
            media.blob.clone_from(&ready.id);
            ready.media_type.clone_into(&mut media.media_type);
            media.size = ready.bytes.len() as u64;
        }
    }

    fn replace(self, reason: &str) {
        let Some(text) = self.media().map(|media| unreadable(media, reason)) else { return };
        match self {
            Self::Said(piece) => *piece = Piece::text(text),
            Self::Answered(piece) => *piece = AnswerPiece::Text(text),
        }
    }
}

/// The files of a request, the oldest first.
fn slots(messages: &mut [Message]) -> impl Iterator<Item = Slot<'_>> {
    messages.iter_mut().flat_map(|message| &mut message.pieces).flat_map(|piece| {
        let mut slots = Vec::new();
        match piece {
            Piece::Media(_) => slots.push(Slot::Said(piece)),
            Piece::ToolAnswer(answer) => {
                let media = answer.pieces.iter_mut().filter(|piece| piece.media().is_some());
                slots.extend(media.map(Slot::Answered));
            }
            _ => {}
        }
        slots
    })
}

#[cfg(test)]
mod tests;
