//! The copies of files that the operator sends: each in a directory below the workspace that is named by its errand.
//!
//! - What is sent is what the file was when it was given. The copy is there before its reply is kept, and until that is settled.
//! - A reply that waits keeps its copy, and so does an errand that is just being brought. What a kill leaves over goes at the next
//!   start.
//! - Only files and links go, and only those in directories of ours: no link is followed, and a directory that somebody else has
//!   put there stays.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use uuid::Uuid;

use crate::channels::telegram::Telegram;
use crate::channels::telegram::fetch::file_name;
use crate::ids::ConversationId;
use crate::limits::{FULL_PAUSE, TELEGRAM_FILE_OUT_BYTES};
use crate::store::StoreError;

/// Where they are, in the workspace of the chat that they go to.
const FOLDER: [&str; 2] = ["attachments", "outgoing"];
/// What stands in the key of an errand's reply, between its channel and its id.
const ERRAND: &str = ".errand.";

/// The key of an errand's reply.
pub(in crate::channels::telegram) fn key(channel: &str, errand: Uuid) -> String {
    format!("{channel}{ERRAND}{errand}")
}

/// The directory of an errand's copy, by the key of its reply. None: the reply is no errand's.
pub(in crate::channels::telegram) fn folder_of(key: &str) -> Option<String> {
    let (_, errand) = key.split_once(ERRAND)?;
    errand.parse().ok().map(folder)
}

fn folder(errand: Uuid) -> String {
    format!("{}/{}/{}", FOLDER[0], FOLDER[1], errand.simple())
}

/// What an errand says, with the file that goes with it. That stands first: nothing that the text begins is around it.
pub(in crate::channels::telegram) fn with_file(path: &str, text: &str) -> String {
    format!("<attachment>{path}</attachment>\n\n{text}")
}

/// What is known of copies.
#[derive(Debug, Default)]
pub(in crate::channels::telegram) struct Copies {
    /// Errands whose replies are not kept yet.
    brought: HashSet<Uuid>,
    /// Conversations that may have some.
    places: HashSet<ConversationId>,
    /// Those that are looked through now. True: again afterwards, for what was awaited may not be any more.
    looking: HashMap<ConversationId, bool>,
}

/// An errand that is being brought, until its reply is kept or nothing comes of it.
pub(super) struct Bringing<'a> {
    telegram: &'a Telegram,
    conversation: ConversationId,
    errand: Uuid,
}

impl Drop for Bringing<'_> {
    fn drop(&mut self) {
        {
            let copies = &mut self.telegram.state().copies;
            copies.brought.remove(&self.errand);
            copies.places.insert(self.conversation);
        }
        // It may have failed, or be delivered already.
        self.telegram.sweep_copies(self.conversation);
    }
}

impl Telegram {
    pub(super) fn bringing(&self, conversation: ConversationId, errand: Uuid) -> Bringing<'_> {
        self.state().copies.brought.insert(errand);
        Bringing { telegram: self, conversation, errand }
    }

    /// Copies a file of the operator into the workspace of the chat; its path there.
    pub(super) async fn keep_copy(&self, conversation: ConversationId, file: &Path, errand: Uuid) -> io::Result<String> {
        let workspace = self.workdir().workspace(conversation);
        let file = file.to_owned();
        let copying = tokio::task::spawn_blocking(move || {
            let (place, name) = file.parent().zip(file.file_name()).ok_or(ErrorKind::InvalidInput)?;
            let from = Dir::open_ambient_dir(place, ambient_authority())?;
            let found = from.metadata(name)?;
            if !found.is_file() {
                return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
            }
            if !(1..=TELEGRAM_FILE_OUT_BYTES).contains(&found.len()) {
                let why = format!("it has {} bytes; bots can send 1 byte to {} MB", found.len(), TELEGRAM_FILE_OUT_BYTES >> 20);
                return Err(io::Error::new(ErrorKind::InvalidInput, why));
            }
            let to = Dir::open_ambient_dir(workspace, ambient_authority())?;
            to.create_dir_all(folder(errand))?;
            let kept = format!("{}/{}", folder(errand), file_name(&name.to_string_lossy()));
            from.copy(name, &to, &kept)?;
            Ok(kept)
        });
        copying.await.map_err(io::Error::other)?
    }

    /// Removes the copies in a conversation that nobody needs any more, if it has any.
    pub(in crate::channels::telegram) fn sweep_copies(&self, conversation: ConversationId) {
        let has_some = {
            let mut state = self.state();
            if let Some(again) = state.copies.looking.get_mut(&conversation) {
                *again = true;
            }
            state.copies.places.remove(&conversation)
        };
        if has_some {
            let telegram = self.clone();
            self.host().supervisor.spawn(async move { telegram.sweep(conversation).await });
        }
    }

    /// Removes what earlier runs have left.
    pub(in crate::channels::telegram) async fn sweep_all_copies(self) {
        let mut stopping = self.host().supervisor.stopping();
        let known = loop {
            match self.0.store.conversations().await {
                Ok(known) => break known,
                Err(error) if error.passes() => tracing::warn!(%error, "old copies of sent files stay for now"),
                Err(error) => return tracing::warn!(%error, "old copies of sent files stay"),
            }
            tokio::select! {
                () = tokio::time::sleep(FULL_PAUSE) => {}
                () = stopping.wait() => return,
            }
        };
        for conversation in known.into_iter().filter(|known| known.channel == self.0.name) {
            self.sweep(conversation.id).await;
        }
    }

    async fn sweep(&self, conversation: ConversationId) {
        let mut stopping = self.host().supervisor.stopping();
        loop {
            self.state().copies.looking.insert(conversation, false);
            let is_clean = match self.try_sweep(conversation).await {
                Err(error) if error.passes() => {
                    tracing::warn!(%conversation, %error, "copies of sent files stay for now");
                    tokio::select! {
                        () = tokio::time::sleep(FULL_PAUSE) => continue,
                        () = stopping.wait() => return,
                    }
                }
                Err(error) => {
                    tracing::warn!(%conversation, %error, "copies of sent files stay");
                    false
                }
                Ok(is_clean) => is_clean,
            };
            let mut state = self.state();
            let again = state.copies.looking.remove(&conversation).unwrap_or_default();
            if is_clean || !again {
                if !is_clean {
                    state.copies.places.insert(conversation);
                }
                return;
            }
        }
    }

    /// True: none is left.
    async fn try_sweep(&self, conversation: ConversationId) -> Result<bool, StoreError> {
        let workspace = self.workdir().workspace(conversation);
        let failed =
            |error: io::Error| StoreError::Io { action: "remove copies in", path: conversation.to_string(), reason: error.to_string() };
        let all = tokio::task::spawn_blocking(move || errands(&workspace)).await.map_err(|_| StoreError::Closed)?.map_err(failed)?;
        let mut unneeded = Vec::new();
        for errand in &all {
            // In this order: what is not being brought any more has its reply in the store, or never will.
            let is_brought = self.state().copies.brought.contains(errand);
            if !is_brought && !self.0.store.is_awaited(key(&self.0.name, *errand)).await? {
                unneeded.push(*errand);
            }
        }
        let is_clean = unneeded.len() == all.len();
        let workspace = self.workdir().workspace(conversation);
        let removing = tokio::task::spawn_blocking(move || unneeded.into_iter().try_for_each(|errand| remove(&workspace, errand)));
        removing.await.map_err(|_| StoreError::Closed)?.map_err(failed)?;
        Ok(is_clean)
    }
}

/// A directory below another one, unless there is something else by that name.
fn directory(parent: &Dir, name: &str) -> io::Result<Option<Dir>> {
    match parent.symlink_metadata(name) {
        Ok(found) if found.is_dir() => parent.open_dir(name).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn outgoing(workspace: &Path) -> io::Result<Option<Dir>> {
    let workspace = match Dir::open_ambient_dir(workspace, ambient_authority()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        workspace => workspace?,
    };
    let Some(attachments) = directory(&workspace, FOLDER[0])? else { return Ok(None) };
    directory(&attachments, FOLDER[1])
}

/// Those that have a directory in a workspace.
fn errands(workspace: &Path) -> io::Result<Vec<Uuid>> {
    let Some(outgoing) = outgoing(workspace)? else { return Ok(Vec::new()) };
    let mut errands = Vec::new();
    for entry in outgoing.entries()? {
        let name = entry?.file_name();
        let errand = name.to_str().and_then(|name| name.parse::<Uuid>().ok().filter(|errand| errand.simple().to_string() == name));
        errands.extend(errand);
    }
    Ok(errands)
}

fn remove(workspace: &Path, errand: Uuid) -> io::Result<()> {
    let name = errand.simple().to_string();
    let Some(outgoing) = outgoing(workspace)? else { return Ok(()) };
    let Some(copies) = directory(&outgoing, &name)? else { return Ok(()) };
    for entry in copies.entries()? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            entry.remove_file()?;
        }
    }
    match outgoing.remove_dir(&name) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_errand_is_known_by_the_key_of_its_reply_and_nothing_else_is() {
        let errand = Uuid::new_v4();
        assert_eq!(folder_of(&key("tg:1", errand)), Some(format!("attachments/outgoing/{}", errand.simple())));
        assert_eq!(folder_of("s1.t1.final"), None);
        assert_eq!(folder_of("tg:1.errand.x"), None);
    }

    #[test]
    fn a_copy_is_removed_and_nothing_that_a_link_leads_to_or_somebody_else_has_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let [workspace, outside] = ["workspace", "outside"].map(|name| folder.path().join(name));
        let outgoing = workspace.join("attachments/outgoing");
        fs::create_dir_all(&outgoing).unwrap();
        let [copy, linked, shared, strange] = [(); 4].map(|()| Uuid::new_v4());
        let at = |errand: Uuid| outgoing.join(errand.simple().to_string());
        let kept = outside.join(linked.simple().to_string());
        for place in [at(copy), at(shared).join("more"), kept.clone(), outgoing.join("notes"), outgoing.join(strange.to_string())] {
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("a.txt"), "a").unwrap();
        }
        // In place of a copy, in place of a file, and to a directory.
        symlink(&kept, at(linked)).unwrap();
        symlink(kept.join("a.txt"), at(copy).join("b.txt")).unwrap();
        symlink(&kept, at(copy).join("c")).unwrap();
        let mut all = errands(&workspace).unwrap();
        all.sort_unstable();
        let mut ours = [copy, linked, shared];
        ours.sort_unstable();
        assert_eq!(all, ours);
        for _ in 0..2 {
            ours.into_iter().for_each(|errand| remove(&workspace, errand).unwrap());
        }
        assert!(!at(copy).exists());
        assert!(kept.join("a.txt").exists() && at(shared).join("more/a.txt").exists());
        assert!(outgoing.join("notes/a.txt").exists() && outgoing.join(strange.to_string()).join("a.txt").exists());

        // The same where the folder itself leads elsewhere.
        fs::rename(workspace.join("attachments"), workspace.join("real")).unwrap();
        symlink("real", workspace.join("attachments")).unwrap();
        fs::create_dir_all(workspace.join("real/outgoing").join(copy.simple().to_string())).unwrap();
        assert!(errands(&workspace).unwrap().is_empty());
        remove(&workspace, copy).unwrap();
        assert!(workspace.join("real/outgoing").join(copy.simple().to_string()).exists());
    }
}
