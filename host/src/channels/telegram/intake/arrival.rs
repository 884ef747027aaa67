//! What somebody who may talk has written, as a row of the inbox: held while its files are not here.

use serde_json::json;

use super::Telegram;
use crate::channels::telegram::fetch::{Held, Wanted};
use crate::channels::telegram::update::{self, ChatKind, FileKind, FileRef, Incoming};
use crate::commands::{self, Command};
use crate::ids::{ConversationId, InboxId};
use crate::router::Arrival;
use crate::session::event::{Attached, Beside, Quoted};
use crate::session::inbox::Body;
use crate::store::StoreError;

impl Telegram {
    /// What somebody who may talk has written.
    pub(super) fn arrival(&self, id: &str, conversation: ConversationId, incoming: Incoming, edited: bool) -> Arrival {
        let is_group = incoming.chat.kind != ChatKind::Private;
        let files = incoming.files.iter().map(|file| Wanted::new(file, false));
        let quoted = incoming.quoted.as_ref().filter(|quoted| !quoted.is_by_bot_itself);
        let fetch: Vec<_> = files.chain(quoted.iter().flat_map(|quoted| &quoted.files).map(|file| Wanted::new(file, true))).collect();
        let lines = [incoming.text].into_iter().chain(incoming.notes).filter(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join("\n");
        let (sender, writer) = incoming.from.filter(|_| is_group).map(|person| (person.name, person.id.to_string())).unzip();
        let beside = Beside {
            group: incoming.album.map(|album| format!("{}.{album}", incoming.chat.id)),
            remote: is_group.then(|| incoming.message_id.to_string()),
            writer,
            edited,
            quoted: incoming.quoted.map(quotation),
            forwarded: incoming.forwarded.or_else(|| incoming.via_bot.map(|bot| format!("@{bot}"))),
            files: Vec::new(),
        };
        let body = Body { text: text.clone(), sender: sender.clone(), beside: beside.clone() };
        // A command needs no files.
        let needs_files = !fetch.is_empty() && !is_command(&text, &beside);
        let held = needs_files.then(|| json!(Held { body, fetch, message_id: incoming.message_id }));
        Arrival { conversation, source: self.0.name.clone(), external_id: id.to_owned(), text, sender, beside, held }
    }

    /// Who cancels does not wait for files: a message whose files are not here is cancelled as it is. What was held is let go
    /// together with the cancel: a session that found it alone would answer it.
    pub(super) async fn let_go(&self, arrivals: &mut [Arrival]) -> Result<Vec<(InboxId, Body)>, StoreError> {
        let is_own = |arrival: &Arrival| arrival.held.is_none() && arrival.beside.forwarded.is_none();
        let is_cancel = |arrival: &Arrival| is_own(arrival) && commands::parse(&arrival.text) == Some(Command::Cancel);
        let cancels = arrivals.iter().enumerate().filter(|(_, arrival)| is_cancel(arrival));
        let cancels: Vec<_> = cancels.map(|(at, arrival)| (at, arrival.conversation)).collect();
        if cancels.is_empty() {
            return Ok(Vec::new());
        }
        for (at, conversation) in &cancels {
            for before in arrivals[..*at].iter_mut().filter(|before| before.conversation == *conversation) {
                if let Some(held) = before.held.take().and_then(|held| serde_json::from_value::<Held>(held).ok()) {
                    before.beside = held.unfetched().beside;
                }
            }
        }
        let mut rows = self.host().router.held(&self.0.name).await?;
        rows.retain(|row| cancels.iter().any(|(_, conversation)| *conversation == row.conversation));
        Ok(rows.iter().filter_map(|row| Some((row.id, serde_json::from_str::<Held>(&row.body).ok()?.unfetched()))).collect())
    }
}

fn is_command(text: &str, beside: &Beside) -> bool {
    beside.forwarded.is_none() && commands::parse(text).is_some()
}

fn quotation(quoted: update::Quoted) -> Quoted {
    let lines = [quoted.text].into_iter().chain(quoted.notes).filter(|line| !line.is_empty());
    Quoted { by: (!quoted.is_by_bot_itself).then_some(quoted.by), text: lines.collect::<Vec<_>>().join("\n") }
}

impl Wanted {
    fn new(file: &FileRef, is_quoted: bool) -> Self {
        let kind = if is_quoted { format!("{} of the message replied to", file.kind.word()) } else { file.kind.word().to_owned() };
        let attached = Attached {
            kind,
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size_bytes,
            path: None,
            missing: None,
            blob: None,
            unshown: None,
        };
        Self { file_id: file.file_id.clone(), default_name: default_name(file.kind).to_owned(), attached }
    }
}

/// What a file without a name is called.
fn default_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Photo => "photo.jpg",
        FileKind::Document => "document",
        FileKind::Audio => "audio.mp3",
        FileKind::Voice => "voice.ogg",
        FileKind::Video | FileKind::VideoNote => "video.mp4",
        FileKind::Animation => "animation.mp4",
    }
}
