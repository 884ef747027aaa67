//! Files, from the bot's side.

use serde_json::json;

use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::limits;
use crate::fake_telegram::state::StoredFile;

/// Where a file can be fetched; the small copy of a photo has an id of its own.
pub(super) fn get_file(state: &mut State, mut params: Params) -> Answer {
    let id = params.text("file_id")?.unwrap_or_default();
    params.done()?;
    let file = state.files.get(id.trim_end_matches('s')).ok_or_else(|| Refusal::bad("invalid file_id"))?;
    if file.size > limits::FETCH_BYTES {
        return Err(Refusal::bad("file is too big"));
    }
    Ok(json!({"file_id": id, "file_unique_id": format!("U{id}"), "file_size": file.size, "file_path": path(file)}))
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
    /// The file at a path that `getFile` gave.
    pub(in crate::fake_telegram) fn file_at(&self, at: &str) -> Option<&StoredFile> {
        self.files.values().find(|file| path(file) == at)
    }
}
