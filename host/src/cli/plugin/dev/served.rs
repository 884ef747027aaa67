//! The file that a host serves, and whether it is this project's to replace.
//!
//! What was put there is noted in the work directory's cache with the project's folder. A file of which there is no such note
//! is somebody else's, and so is one that was changed afterwards: it is replaced only when the author says so, and so is one
//! that the new file would push aside. A note that was lost costs that word once more.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::cli::plugin::pack::replace_file;
use crate::plugins::file_digest;

/// A plugin's place among those that a host serves.
pub(super) struct Served {
    /// Where a host looks for it: it serves what is at the first place.
    places: Vec<PathBuf>,
    /// What was put there last, and from where.
    note: PathBuf,
    /// The project.
    folder: PathBuf,
    /// May it replace what it did not put there?
    replace: bool,
}

impl Served {
    /// The first of `places`, of which there is one at least, for the project in `folder`.
    pub fn new(places: Vec<PathBuf>, workdir: &Path, name: &str, folder: &Path, replace: bool) -> Self {
        Self { places, note: workdir.join("cache/dev").join(name), folder: folder.to_owned(), replace }
    }

    pub fn path(&self) -> &Path {
        &self.places[0]
    }

    /// Refuses to take the place of what this project did not put there.
    pub fn check(&self) -> anyhow::Result<()> {
        // A link is somebody's, too, wherever it leads.
        let foreign = self.places.iter().find(|path| path.symlink_metadata().is_ok() && !self.is_ours(path));
        match foreign {
            Some(path) if !self.replace => {
                Err(anyhow!("{} was not put there from {}; --replace takes its place", path.display(), self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    fn is_ours(&self, path: &Path) -> bool {
        // A configuration may name what cargo builds.
        if path.canonicalize().is_ok_and(|path| path.starts_with(self.folder.join("target"))) {
            return true;
        }
        let noted = fs::read_to_string(&self.note);
        path == self.path() && file_digest(path).is_ok_and(|digest| noted.is_ok_and(|noted| noted == self.line(&digest)))
    }

    fn line(&self, digest: &str) -> String {
        format!("{digest} {}\n", self.folder.display())
    }

    /// Puts the component in `judged` there, unless it is there already.
    pub fn put(&self, judged: &Path) -> anyhow::Result<()> {
        self.check()?;
        let path = self.path();
        let failed = || format!("failed to write {}", path.display());
        let digest = file_digest(judged)?;
        if file_digest(path).is_ok_and(|present| present == digest) && self.is_ours(path) {
            return Ok(());
        }
        for folder in [path.parent(), self.note.parent()].into_iter().flatten() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
        }
        replace_file(path, &fs::read(judged).with_context(failed)?).with_context(failed)?;
        replace_file(&self.note, self.line(&digest).as_bytes()).with_context(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_project_put_there_is_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let places = ["plugins/greet.wasm", "more/greet.wasm"].map(|path| dir.path().join(path));
        let at = |project: &str, replace| Served::new(places.to_vec(), dir.path(), "greet", &dir.path().join(project), replace);
        let put = |served: &Served, text: &str| {
            let judged = dir.path().join("judged.wasm");
            fs::write(&judged, text).unwrap();
            served.put(&judged).map_err(|error| error.to_string())
        };
        let (ours, another) = (at("ours", false), at("another", false));
        assert_eq!(put(&ours, "one"), Ok(()));
        assert_eq!(put(&ours, "two"), Ok(()));
        let refused = put(&another, "three").unwrap_err();
        assert!(
            refused.contains("plugins/greet.wasm was not put there from ") && refused.ends_with("--replace takes its place"),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(ours.path()).unwrap(), "two");

        // Whoever replaced it has it.
        assert_eq!(put(&at("another", true), "three"), Ok(()));
        assert_eq!(put(&another, "four"), Ok(()));
        assert!(put(&ours, "five").is_err());
        fs::write(ours.path(), "of the operator").unwrap();
        assert!(put(&another, "six").is_err(), "it was changed meanwhile");
        fs::remove_file(ours.path()).unwrap();
        assert_eq!(put(&ours, "seven"), Ok(()), "nothing is there");
        fs::remove_dir_all(dir.path().join("cache")).unwrap();
        assert!(put(&ours, "eight").is_err());
        assert_eq!(put(&at("ours", true), "eight"), Ok(()));

        // It would no longer be served.
        fs::create_dir(dir.path().join("more")).unwrap();
        fs::write(&places[1], "of the operator").unwrap();
        assert!(put(&ours, "nine").unwrap_err().contains("more/greet.wasm was not put there"));
        assert_eq!(put(&at("ours", true), "nine"), Ok(()));
        fs::remove_file(&places[1]).unwrap();

        // A link that leads nowhere is there as well.
        fs::remove_file(ours.path()).unwrap();
        std::os::unix::fs::symlink("/nowhere", ours.path()).unwrap();
        assert!(put(&ours, "ten").is_err());
    }

    #[test]
    fn what_cargo_built_is_the_projects_own() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let built = folder.join("target/greet.wasm");
        fs::create_dir(folder.join("target")).unwrap();
        let served = Served::new(vec![built.clone()], &folder.join("work"), "greet", &folder, false);
        for text in ["one", "two"] {
            fs::write(&built, text).unwrap();
            served.put(&built).unwrap();
            assert_eq!(fs::read_to_string(&built).unwrap(), text);
        }
    }
}
