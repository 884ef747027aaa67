//! What a model can be shown of the files that come with messages and answers, kept when they come: the history does not change
//! with the workspace.
//!
//! Files lie where a guest may put anything, so they are opened beneath the workspace's own handle. Which of them are kept is
//! read from their bytes; the others stay what they are, files that are named.

#![deny(clippy::disallowed_methods, reason = "guests write in the workspace")]

use std::io;
use std::path::Path;

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;

use super::event::{Attached, Event, Recorded};
use super::places;
use crate::chat::Media;
use crate::limits;
use crate::media::{self, Found, Kind};
use crate::plugins::{Content, Output, OutputPart};
use crate::store::{Store, StoreError};

/// Keeps the files of messages that begin a turn or join it. What is kept already stays as it is.
///
/// # Errors
/// Those of the store. A file that cannot be read is said to be so.
pub(super) async fn inputs(store: &Store, workspace: &Path, events: &mut [Recorded]) -> Result<(), StoreError> {
    for file in events.iter_mut().flat_map(|recorded| attached(&mut recorded.event)) {
        let Some(path) = file.path.clone().filter(|_| file.blob.is_none() && file.unshown.is_none()) else { continue };
        let workspace = workspace.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&places::open(&workspace)?, &path)).await;
        match read.unwrap_or_else(|ended| Err(io::Error::other(ended))) {
            Ok(Found::Media(bytes, kind)) => {
                let name = file.name.clone().or_else(|| file.path.as_deref().and_then(last));
                file.blob = Some(keep(store, bytes, kind, name).await?);
            }
            Ok(Found::TooLarge) => file.unshown = Some(format!("it has over {} bytes", limits::MEDIA_BYTES)),
            Ok(Found::Other) => {}
            Err(error) => file.unshown = Some(format!("it could not be read: {}", error.kind())),
        }
    }
    Ok(())
}

fn attached(event: &mut Event) -> impl Iterator<Item = &mut Attached> {
    let inputs = match event {
        Event::TurnBegan { inputs, .. } | Event::InputsJoined { inputs } => inputs.as_mut_slice(),
        _ => &mut [],
    };
    inputs.iter_mut().flat_map(|input| &mut input.beside.files)
}

/// A regular file, without waiting for one that is none.
fn read(workspace: &Dir, path: &str) -> io::Result<Found> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    let file = workspace.open_with(path, &options)?.into_std();
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    media::read(&file)
}

/// Keeps the files of a call's answer; for each part of the answer the file that it names, or why it is not kept.
pub(super) async fn answer(store: &Store, output: &mut Output) -> Vec<Option<Result<Media, String>>> {
    let mut kept = Vec::with_capacity(output.parts.len());
    for part in &mut output.parts {
        let OutputPart::File { path, name, content, .. } = part else {
            kept.push(None);
            continue;
        };
        kept.push(match std::mem::take(content) {
            Content::None => None,
            Content::Unread(reason) => Some(Err(reason)),
            Content::Media(bytes, kind) => {
                let name = name.clone().or_else(|| last(path));
                let media = keep(store, bytes, kind, name).await;
                Some(media.map_err(|error| {
                    tracing::warn!(%error, "a file of an answer could not be kept");
                    "it could not be kept by the host; the log says why".to_owned()
                }))
            }
        });
    }
    kept
}

/// The name of a file by its path.
fn last(path: &str) -> Option<String> {
    path.rsplit('/').next().map(str::to_owned)
}

async fn keep(store: &Store, bytes: Bytes, kind: Kind, name: Option<String>) -> Result<Media, StoreError> {
    let (size, pixels) = (bytes.len() as u64, media::dimensions(&bytes));
    let hash = store.put_blob(bytes.into()).await?;
    Ok(Media { blob: hash.id(), modality: kind.modality, media_type: kind.media_type.to_owned(), name, size, detail: None, pixels })
}

#[cfg(test)]
mod tests;
