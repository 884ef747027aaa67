//! Files, from the bot's side.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::json;

use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::limits;
use crate::fake_telegram::state::StoredFile;

/// Where a file can be fetched; the small copy of a photo has an id of its own.
pub(super) fn get_file(state: &mut State, mut params: Params) -> Answer {
    let id = params.text("file_id")?.unwrap_or_default();
    params.done()?;
    let file = state.files.get(id.trim_end_matches('s')).ok_or_else(|| Refusal::bad("invalid file_id"))?;
    // A server of one's own gives the place on its disk, whatever the size.
    let place = match &state.folder {
        Some(folder) => folder.join(path(file)).display().to_string(),
        None if file.size > limits::FETCH_BYTES => return Err(Refusal::bad("file is too big")),
        None => path(file),
    };
    Ok(json!({"file_id": id, "file_unique_id": format!("U{id}"), "file_size": file.size, "file_path": place}))
}

fn path(file: &StoredFile) -> String {
    let named = file.name.as_deref().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    let extension = match (named, file.mime.as_deref()) {
        (Some(extension), _) if extension.chars().all(|c| c.is_ascii_alphanumeric()) => extension,
        (_, Some("image/jpeg")) => "jpg",
        (_, Some("image/webp")) => "webp",
        (_, Some("audio/ogg")) => "oga",
        _ => "bin",
    };
    format!("files/{}.{extension}", file.id)
}

impl State {
    /// From now on it is a server of one's own, with its files below this folder. Those that there are, by their paths.
    pub(in crate::fake_telegram) fn keep_in(&mut self, folder: PathBuf) -> Vec<(PathBuf, Bytes)> {
        let files = self.files.values().map(|file| (folder.join(path(file)), file.bytes.clone())).collect();
        self.folder = Some(folder);
        files
    }

    /// The file at a path that `getFile` gave.
    pub(in crate::fake_telegram) fn file_at(&self, at: &str) -> Option<&StoredFile> {
        self.files.values().find(|file| path(file) == at)
    }
}
