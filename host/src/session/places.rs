//! The directories of a conversation.

use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde_json::Value;

use crate::ids::ConversationId;
use crate::plugins::{Mount, Places};
use crate::workdir::WorkDir;

/// What the first workspace holds, so that there is something to read.
const WELCOME: &str = "\
Welcome to Stellaclaw.

This directory is your workspace: the tools of this conversation read and write here, and nowhere else.
`shared` is one directory for all conversations; directories you mount appear in `mounts`.

Things to try: list the files, read this one, write a note, search for a word.
";

/// The file of that name.
const WELCOME_FILE: &str = "welcome.md";

/// The mounts kept in a conversation's settings.
#[must_use]
pub fn mounts(settings: &Value) -> Vec<Mount> {
    settings.get("mounts").and_then(|mounts| serde_json::from_value(mounts.clone()).ok()).unwrap_or_default()
}

/// Makes what is missing of a conversation's workspace: the directory itself, and real empty directories where `shared`
/// and the mounts will be seen. Works beneath the workspace's own handle, because a guest may have put links into it.
///
/// # Errors
///
/// What making a directory can fail with.
pub fn prepare(workdir: &WorkDir, conversation: ConversationId, mounts: Vec<Mount>) -> io::Result<Places> {
    let places = Places { workspace: workdir.workspace(conversation), shared: Some(workdir.shared()), mounts };
    std::fs::create_dir_all(&places.workspace)?;
    std::fs::create_dir_all(workdir.shared())?;
    let workspace = open(&places.workspace)?;
    workspace.create_dir_all("shared")?;
    for mount in &places.mounts {
        workspace.create_dir_all(format!("mounts/{}", mount.name))?;
    }
    Ok(places)
}

/// The directory of a workspace, for opening what lies beneath it.
///
/// # Errors
///
/// What opening a directory can fail with.
pub fn open(workspace: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(workspace, ambient_authority())
}

/// Puts the welcome into a workspace that was just made.
///
/// # Errors
///
/// What writing a file can fail with.
pub fn welcome(places: &Places) -> io::Result<()> {
    open(&places.workspace)?.write(WELCOME_FILE, WELCOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_has_its_places_and_a_second_preparation_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(root.path()).unwrap();
        let mount = Mount { name: "docs".into(), path: root.path().to_owned(), writable: false };
        let places = prepare(&workdir, ConversationId(1), vec![mount]).unwrap();
        welcome(&places).unwrap();
        std::fs::write(places.workspace.join("mine.txt"), "x").unwrap();
        assert_eq!(prepare(&workdir, ConversationId(1), places.mounts.clone()).unwrap(), places);
        for entry in ["shared", "mounts/docs", "welcome.md", "mine.txt"] {
            assert!(places.workspace.join(entry).exists(), "{entry}");
        }
    }
}
