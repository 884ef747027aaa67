//! What a reply becomes: the parts in which it is sent, as the store keeps them.
//!
//! Text first, then what it attaches. Whether a file is there and how large it is is looked at here; its contents are read
//! when it is sent, beneath the directories that a conversation may show.

use std::io;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::errand::copies;
use super::render::attachments::{self, Attachment};
use super::render::{self, Entity};
use super::send::FileMethod;
use crate::commands::Button;
use crate::delivery::Reply;
use crate::ids::ConversationId;
use crate::limits::{CAPTION_UNITS, MARK_UNITS, TELEGRAM_ALBUM, TELEGRAM_FILE_OUT_BYTES, TELEGRAM_PHOTO_BYTES};
use crate::store::OutboxKind;
use crate::workdir::WorkDir;

/// One part of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Planned {
    Text(Words),
    /// The whole answer, as a file of its own.
    Answer {
        markdown: String,
    },
    /// Something in the workspace; several of them are an album of pictures.
    Files {
        files: Vec<Outgoing>,
    },
}

/// Text with what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Words {
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entity>,
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// It says that something else could not be sent, and stands where that would.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_instead: bool,
}

impl Words {
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    #[must_use]
    pub fn instead(text: impl Into<String>) -> Self {
        Self { is_instead: true, ..Self::plain(text) }
    }
}

/// A file in the workspace that goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// From the workspace on.
    pub path: String,
    pub method: FileMethod,
    /// What the answer calls it.
    pub label: String,
}

/// The directories from which a conversation may show files.
#[derive(Debug)]
pub struct Shelf {
    workspace: Dir,
    shared: Option<Dir>,
}

impl Shelf {
    /// # Errors
    ///
    /// The workspace cannot be opened.
    pub fn open(workdir: &WorkDir, conversation: ConversationId) -> io::Result<Self> {
        let workspace = Dir::open_ambient_dir(workdir.workspace(conversation), ambient_authority())?;
        Ok(Self { workspace, shared: Dir::open_ambient_dir(workdir.shared(), ambient_authority()).ok() })
    }

    /// Opens a regular file and says how many bytes it has. A link that leads out of its directory leads nowhere.
    ///
    /// # Errors
    ///
    /// There is no such file, it is something else, or it cannot be read.
    pub fn file(&self, path: &str) -> io::Result<(File, u64)> {
        let (dir, path) = match (path.strip_prefix("shared/"), &self.shared) {
            (Some(rest), Some(shared)) => (shared, rest),
            _ => (&self.workspace, path),
        };
        // Opening a pipe would wait for its writer.
        let file =
            dir.open_with(path, OpenOptions::new().read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()))?;
        let found = file.metadata()?;
        match found.is_file() {
            true => Ok((file, found.len())),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
        }
    }
}

/// The parts of a reply; at least one.
#[must_use]
pub fn plan(reply: &Reply<'_>, shelf: Option<&Shelf>) -> Vec<Planned> {
    // What the host says or asks attaches nothing: there may be words of others in it. So may there be in what a script sends: only
    // the file that came with it goes along.
    let shelf = shelf.filter(|_| matches!(reply.kind, OutboxKind::Final | OutboxKind::Tell));
    let own = copies::folder_of(reply.key);
    let may_go = |path: &str| own.as_ref().is_none_or(|own| path.strip_prefix(own.as_str()).is_some_and(|rest| rest.starts_with('/')));
    let found = attachments::find(reply.body);
    let size = |path: &str| shelf.filter(|_| may_go(path)).and_then(|shelf| shelf.file(path).ok()).map(|(_, bytes)| bytes);
    let is_sent = |path: &str| size(path).is_some_and(|bytes| (1..=TELEGRAM_FILE_OUT_BYTES).contains(&bytes));
    let mut body = found.markdown(is_sent);
    for note in found.files.iter().filter_map(|file| unsendable(file, size(&file.path))) {
        body.push_str(&note);
    }
    let sent = found.files.into_iter().filter(|file| is_sent(&file.path));
    let files = albums(sent.map(|file| outgoing(file, size)).collect());
    let mut parts = texts(&body);
    if parts.is_empty() && (files.is_empty() || !reply.buttons.is_empty()) {
        parts.push(Planned::Text(Words::plain("(an empty message)")));
    }
    parts.extend(files);
    if let Some(Planned::Text(words)) = parts.first_mut() {
        words.answers = reply.answers.and_then(|id| id.parse().ok());
    }
    let last = parts.iter_mut().rev().find_map(|part| match part {
        Planned::Text(words) => Some(words),
        _ => None,
    });
    if let Some(words) = last {
        words.buttons = reply.buttons.to_vec();
    }
    parts
}

/// Each file in a part of its own.
#[must_use]
pub fn apart(files: &[Outgoing]) -> Vec<Planned> {
    files.iter().map(|file| Planned::Files { files: vec![file.clone()] }).collect()
}

/// Parts as the store keeps them.
#[must_use]
pub fn written(parts: &[Planned]) -> Vec<String> {
    parts.iter().filter_map(|part| serde_json::to_string(part).ok()).collect()
}

/// A part as the store keeps it. What another version has planned: its text is still the reply.
#[must_use]
pub fn read(body: &str) -> Planned {
    serde_json::from_str(body).unwrap_or_else(|_| Planned::Text(Words::plain(body)))
}

fn texts(body: &str) -> Vec<Planned> {
    let rendered = render::render_or_file(body);
    let words = |text: render::Text| Planned::Text(Words { text: text.text, entities: text.entities, ..Words::default() });
    let mut parts: Vec<_> = rendered.parts.into_iter().map(words).collect();
    parts.extend(rendered.file.map(|markdown| Planned::Answer { markdown }));
    parts
}

/// What is said about a file that is there and cannot be sent. One that is not there may never have been meant as one.
fn unsendable(file: &Attachment, bytes: Option<u64>) -> Option<String> {
    match bytes? {
        0 => Some(format!("\n\n`{}` is empty and was not sent.", file.path)),
        bytes if bytes > TELEGRAM_FILE_OUT_BYTES => Some(format!(
            "\n\n`{}` has {} MB and was not sent: bots can send {} MB.",
            file.path,
            bytes >> 20,
            TELEGRAM_FILE_OUT_BYTES >> 20
        )),
        _ => None,
    }
}

fn outgoing(file: Attachment, size: impl Fn(&str) -> Option<u64>) -> Outgoing {
    let method = match method(&file.path) {
        FileMethod::Photo if size(&file.path).is_some_and(|bytes| bytes > TELEGRAM_PHOTO_BYTES) => FileMethod::Document,
        method => method,
    };
    Outgoing { path: file.path, method, label: caption(file.label) }
}

/// What fits below a file, with room for the mark of a repetition.
pub fn caption(label: String) -> String {
    let mut left = CAPTION_UNITS - MARK_UNITS;
    let mut fits = |c: char| left.checked_sub(c.len_utf16()).map(|less| left = less).is_some();
    match label.char_indices().find(|(_, c)| !fits(*c)) {
        Some((at, _)) => format!("{}…", label[..at].trim_end()),
        None => label,
    }
}

/// By the name alone: what Telegram does not take as that is sent as a document.
fn method(path: &str) -> FileMethod {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("png" | "jpg" | "jpeg" | "webp") => FileMethod::Photo,
        Some("gif") => FileMethod::Animation,
        Some("mp4" | "mov") => FileMethod::Video,
        Some("mp3" | "m4a") => FileMethod::Audio,
        Some("ogg" | "oga" | "opus") => FileMethod::Voice,
        _ => FileMethod::Document,
    }
}

/// Neighbouring pictures become albums.
fn albums(files: Vec<Outgoing>) -> Vec<Planned> {
    let is_one = |a: &Outgoing, b: &Outgoing| a.method == FileMethod::Photo && b.method == FileMethod::Photo;
    let groups = files.chunk_by(is_one).flat_map(|group| group.chunks(TELEGRAM_ALBUM));
    groups.map(|group| Planned::Files { files: group.to_vec() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::limits::MESSAGE_UNITS;
    use crate::store::{Conversation, MAY_REPEAT, OutboxKind};

    fn planned(body: &str, shelf: Option<&Shelf>) -> Vec<Planned> {
        planned_as(OutboxKind::Final, "s1.t1.final", body, shelf)
    }

    fn planned_as(kind: OutboxKind, key: &str, body: &str, shelf: Option<&Shelf>) -> Vec<Planned> {
        let conversation = Conversation {
            id: ConversationId(1),
            channel: "tg:1".into(),
            address: "7".into(),
            model: "main".into(),
            effort: None,
            settings: serde_json::Value::Null,
            created_at: Moment(0),
            expires_at: None,
            title: String::new(),
            closed_at: None,
        };
        let reply = Reply { key, conversation: &conversation, kind, body, buttons: &[], answers: None };
        plan(&reply, shelf)
    }

    fn units(text: &str) -> usize {
        text.encode_utf16().count()
    }

    #[test]
    fn every_part_has_room_for_the_mark_of_a_repetition() {
        let mark = units(MAY_REPEAT) + 1;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "a").unwrap();
        let workspace = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let shelf = Shelf { workspace, shared: None };
        let label = "🦀".repeat(CAPTION_UNITS);
        for (body, count) in [("a".repeat(2 * MESSAGE_UNITS), 3), ("a".repeat(7 * MESSAGE_UNITS), 2), (format!("[{label}](a.txt)"), 2)] {
            let parts = planned(&body, Some(&shelf));
            let longest = parts.iter().map(|part| match part {
                Planned::Text(words) => mark + units(&words.text),
                Planned::Answer { .. } => mark,
                Planned::Files { files } => {
                    files.iter().map(|file| mark + units(&file.label) + MESSAGE_UNITS - CAPTION_UNITS).max().unwrap()
                }
            });
            assert!(longest.max().unwrap() <= MESSAGE_UNITS, "{}", body.len());
            assert_eq!(parts.len(), count, "{}", body.len());
        }
    }

    /// What goes out as files, and the text that is left.
    fn sent(key: &str, body: &str, shelf: &Shelf) -> (Vec<String>, String) {
        let (mut paths, mut text) = (Vec::new(), String::new());
        for part in planned_as(OutboxKind::Final, key, body, Some(shelf)) {
            match part {
                Planned::Text(words) => text.push_str(&words.text),
                Planned::Answer { markdown } => text.push_str(&markdown),
                Planned::Files { files } => paths.extend(files.into_iter().map(|file| file.path)),
            }
        }
        (paths, text)
    }

    #[test]
    fn what_a_script_says_attaches_nothing_but_the_file_that_came_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (id, other) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let key = copies::key("tg:1", id);
        let own = format!("attachments/outgoing/{}", id.simple());
        let files = [
            "secret.txt".to_owned(),
            format!("{own}/a.txt"),
            format!("{own}x/b.txt"),
            format!("attachments/outgoing/{}/c.txt", other.simple()),
        ];
        for file in &files {
            std::fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(file), "a").unwrap();
        }
        let shelf = Shelf { workspace: Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap(), shared: None };
        let tags: String = files.iter().map(|file| format!("<attachment>{file}</attachment>\n")).collect();
        let links: String = files.iter().map(|file| format!("[a link]({file})\n")).collect();
        for text in [tags, links] {
            let (paths, said) = sent(&key, &text, &shelf);
            assert_eq!(paths, [files[1].clone()], "{text}");
            assert!([0, 2, 3].iter().all(|n| said.contains(&files[*n])), "what is not sent is said as it was written: {said}");
            assert_eq!(sent("s1.t1.final", &text, &shelf).0, files, "an answer may");
        }
        // Whatever the text begins, or how much it names, the file goes.
        let many: String = (0..100).map(|n| format!("[{n}](file-{n}.txt) ")).collect();
        for text in ["```\ncode without an end", "<!-- a comment without an end", "> quoted", "- item", "[", "`", &many] {
            let (paths, said) = sent(&key, &copies::with_file(&files[1], text), &shelf);
            assert_eq!(paths, [files[1].clone()], "{text}");
            assert!(!said.contains("attachment>"), "{said}");
        }
    }

    #[test]
    fn only_what_is_said_for_the_agent_attaches_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "a").unwrap();
        let shelf = Shelf { workspace: Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap(), shared: None };
        for (kind, attaches) in
            [(OutboxKind::Final, true), (OutboxKind::Tell, true), (OutboxKind::Notice, false), (OutboxKind::Question, false)]
        {
            let parts = planned_as(kind, "s1.t1.said", "The server said: <attachment>a.txt</attachment>", Some(&shelf));
            assert_eq!(parts.iter().any(|part| matches!(part, Planned::Files { .. })), attaches, "{kind:?}");
        }
    }

    #[test]
    fn what_renders_to_nothing_is_said_to_be_empty() {
        let empty = [Planned::Text(Words::plain("(an empty message)"))];
        for body in ["", " \n\t", "&nbsp;", "&#8203;&zwj;", "\u{200b}\n\n\u{2060}", "#", "```\n```", "**\u{ad}**"] {
            assert_eq!(planned(body, None), empty, "{body:?}");
        }
        assert_ne!(planned("<!-- a comment is shown as it was written -->", None), empty);
    }

    #[test]
    fn a_caption_is_cut_between_characters() {
        assert_eq!(caption("short".into()), "short");
        let cut = caption("🦀".repeat(600));
        assert!(cut.ends_with("🦀…") && units(&cut) <= CAPTION_UNITS - MARK_UNITS + 1, "{}", units(&cut));
    }
}
