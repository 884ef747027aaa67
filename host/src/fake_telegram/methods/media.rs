//! Sending files, alone and as albums.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::send::Place;
use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::check::picture;
use crate::fake_telegram::check::text::{self, Entity};
use crate::fake_telegram::limits;
use crate::fake_telegram::params::Upload;
use crate::fake_telegram::state::messages::{Content, FileKind, Message};

pub(super) fn send_photo(state: &mut State, params: Params) -> Answer {
    send(state, params, FileKind::Photo)
}

pub(super) fn send_document(state: &mut State, params: Params) -> Answer {
    send(state, params, FileKind::Document)
}

pub(super) fn send_audio(state: &mut State, params: Params) -> Answer {
    send(state, params, FileKind::Audio)
}

pub(super) fn send_voice(state: &mut State, params: Params) -> Answer {
    send(state, params, FileKind::Voice)
}

pub(super) fn send_video(state: &mut State, params: Params) -> Answer {
    send(state, params, FileKind::Video)
}

pub(super) fn send_animation(state: &mut State, params: Params) -> Answer {
    send(state, params, FileKind::Animation)
}

fn send(state: &mut State, mut params: Params, kind: FileKind) -> Answer {
    let place = Place::take(state, &mut params)?;
    let caption = params.text("caption")?.unwrap_or_default();
    let (text, entities) = caption_of(&caption, params.object("caption_entities")?.unwrap_or_default())?;
    let more = more(&mut params, kind)?;
    let field = kind.field();
    let given = match params.files.remove(field) {
        Some(upload) => Given::Upload(upload),
        None => {
            let named = params.text(field)?.ok_or_else(|| Refusal::bad(format!("there is no {field} in the request")))?;
            given(&mut params, named)?
        }
    };
    params.done()?;
    let content = given.keep(state, kind, more)?;
    let id = state.add(Message { text, entities, ..place.message(content) });
    Ok(state.message_json(place.chat, id))
}

fn caption_of(caption: &str, entities: Vec<Entity>) -> Result<(String, Vec<Entity>), Refusal> {
    let (text, entities) = text::checked(caption, entities)?;
    if text::units(&text) > limits::CAPTION_UNITS {
        return Err(Refusal::bad("message caption is too long"));
    }
    Ok((text, entities))
}

/// The parameters of one kind that describe its file.
fn more(params: &mut Params, kind: FileKind) -> Result<Map<String, Value>, Refusal> {
    let (numbers, texts): (&[&str], &[&str]) = match kind {
        FileKind::Audio => (&["duration"], &["performer", "title"]),
        FileKind::Voice => (&["duration"], &[]),
        FileKind::Video | FileKind::Animation => (&["duration", "width", "height"], &[]),
        FileKind::VideoNote => (&["duration", "length"], &[]),
        FileKind::Photo | FileKind::Document | FileKind::Sticker => (&[], &[]),
    };
    let mut more = Map::new();
    for name in numbers {
        // A file of a kind that has a duration always shows one.
        let value = params.int(name)?.unwrap_or(0);
        more.insert((*name).to_owned(), value.into());
    }
    for name in texts {
        more.extend(params.text(name)?.map(|value| ((*name).to_owned(), value.into())));
    }
    if kind == FileKind::Document {
        params.flag("disable_content_type_detection")?;
    }
    Ok(more)
}

/// What a parameter for a file leads to.
enum Given {
    Upload(Upload),
    /// One that the server has.
    Known(String),
}

/// `attach://NAME` is a file of the call; everything else is the id of one that was sent before.
fn given(params: &mut Params, named: String) -> Result<Given, Refusal> {
    if let Some(name) = named.strip_prefix("attach://") {
        let upload = params.files.remove(name);
        return upload.map(Given::Upload).ok_or_else(|| Refusal::bad(format!("can't find the attached file {name:?}")));
    }
    if named.contains("://") {
        return Err(Refusal::bad("this server fetches nothing: send the file itself"));
    }
    // The small copy of a photo is the photo.
    Ok(Given::Known(named.trim_end_matches('s').to_owned()))
}

impl Given {
    fn keep(self, state: &mut State, kind: FileKind, mut more: Map<String, Value>) -> Result<Content, Refusal> {
        let upload = match self {
            Self::Upload(upload) => upload,
            Self::Known(id) if state.files.contains_key(&id) => return Ok(Content::File { kind, file: id, more }),
            Self::Known(_) => return Err(Refusal::bad("wrong file identifier/HTTP URL specified")),
        };
        if upload.bytes.is_empty() {
            return Err(Refusal::bad("file must be non-empty"));
        }
        if upload.bytes.len() > limits::FILE_BYTES {
            return Err(Refusal::new(413, "Request Entity Too Large"));
        }
        if kind == FileKind::Photo {
            let (width, height) = picture::photo(&upload.bytes)?;
            more.extend([("width".to_owned(), width.into()), ("height".to_owned(), height.into())]);
        }
        let Upload { name, mime, bytes } = upload;
        let file = state.keep(name, mime, size(&bytes), bytes);
        Ok(Content::File { kind, file, more })
    }
}

fn size(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    media: String,
    #[serde(default)]
    caption: String,
    #[serde(default)]
    caption_entities: Vec<Entity>,
}

/// An album. Nothing of it is sent when anything of it is wrong.
pub(super) fn send_media_group(state: &mut State, mut params: Params) -> Answer {
    if params.values.contains_key("reply_markup") {
        return Err(Refusal::bad("an album has no keyboard"));
    }
    let place = Place::take(state, &mut params)?;
    let items = params.object::<Vec<Item>>("media")?.unwrap_or_default();
    let (least, most) = limits::ALBUM;
    if !(least..=most).contains(&items.len()) {
        return Err(Refusal::bad(format!("an album has {least} to {most} items, not {}", items.len())));
    }
    let mut kinds = Vec::new();
    for item in &items {
        kinds.push(match item.kind.as_str() {
            "photo" => FileKind::Photo,
            "video" => FileKind::Video,
            "document" => FileKind::Document,
            "audio" => FileKind::Audio,
            other => return Err(Refusal::bad(format!("can't parse InputMedia: type {other:?} in an album"))),
        });
    }
    for alone in [FileKind::Document, FileKind::Audio] {
        if kinds.contains(&alone) && kinds.iter().any(|kind| *kind != alone) {
            return Err(Refusal::bad(format!("{} can't be mixed with other media types", alone.field())));
        }
    }
    let mut ready = Vec::new();
    for (item, kind) in items.into_iter().zip(kinds) {
        let (text, entities) = caption_of(&item.caption, item.caption_entities)?;
        ready.push((text, entities, kind, given(&mut params, item.media)?));
    }
    params.done()?;
    let contents: Result<Vec<_>, Refusal> =
        ready.into_iter().map(|(text, entities, kind, given)| Ok((text, entities, given.keep(state, kind, Map::new())?))).collect();
    let album = state.new_id().to_string();
    let mut sent = Vec::new();
    for (text, entities, content) in contents? {
        let id = state.add(Message { text, entities, album: Some(album.clone()), ..place.message(content) });
        sent.push(state.message_json(place.chat, id));
    }
    Ok(json!(sent))
}
