//! Sources that change.

use std::path::{Component, Path, PathBuf};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::limits;

/// Watches a folder, until it is dropped.
pub(super) struct Watch {
    changes: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub fn start(folder: &Path) -> notify::Result<Self> {
        // One that waits is enough: it says that something has changed, not what.
        let (tell, changes) = mpsc::channel(1);
        let root = folder.to_owned();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let changed = match event {
                // Events may have been lost.
                Err(_) => true,
                Ok(event) if event.need_rescan() => true,
                Ok(event) => !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_source(&root, path)),
            };
            if changed {
                // Full: somebody is told already.
                let _ = tell.try_send(());
            }
        })?;
        watcher.watch(folder, RecursiveMode::Recursive)?;
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits for a change, and then until nothing changes any more.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // The watcher lives as long as this does.
            std::future::pending::<()>().await;
        }
        let begin = Instant::now();
        let restless = begin + limits::SOURCES_RESTLESS;
        while let Ok(Some(())) = timeout_at(restless.min(Instant::now() + limits::SOURCES_STILL), self.changes.recv()).await {}
    }
}

/// Is it something that a person writes? Not what a build, a version control or an editor leaves.
fn is_source(root: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(root) else { return false };
    let names: Vec<_> =
        inside.components().filter_map(|part| if let Component::Normal(name) = part { name.to_str() } else { None }).collect();
    let Some(name) = names.last() else { return false };
    let built = names[0] == "target" || *name == "Cargo.lock";
    let left = names.iter().any(|name| name.starts_with('.')) || name.ends_with('~') || name.starts_with('#') || *name == "4913";
    let temporary =
        PathBuf::from(name).extension().is_some_and(|end| ["swp", "swx", "tmp", "bak", "orig"].iter().any(|known| end == *known));
    !built && !left && !temporary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_person_writes_is_a_source() {
        let check = |path: &str| is_source(Path::new("/p"), Path::new(path));
        for source in ["/p/src/lib.rs", "/p/Cargo.toml", "/p/data/words.txt", "/p/src/target/a.rs", "/p/vendor/x/src/lib.rs"] {
            assert!(check(source), "{source}");
        }
        for other in [
            "/p/target/release/x",
            "/p/.git/index",
            "/p/src/.lib.rs.swp",
            "/p/src/lib.rs~",
            "/p/src/4913",
            "/p/src/#lib.rs#",
            "/p/Cargo.lock",
            "/p",
            "/q/a.rs",
        ] {
            assert!(!check(other), "{other}");
        }
    }

    #[tokio::test]
    async fn a_change_below_the_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut watch = Watch::start(&root).unwrap();
        // A folder that is made later is watched, too.
        std::fs::create_dir(root.join("src")).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(10), watch.changed()).await.unwrap();
        std::fs::write(root.join("src/lib.rs"), "one").unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(10), watch.changed()).await.unwrap();
    }
}
