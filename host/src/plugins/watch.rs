//! Keeps up with the files of components while the host runs.
//!
//! One thread looks at all components at least every [`LOOK`], and at once when the system says that something has changed in
//! a watched directory. What it sees goes through [`Settle`]; what has settled becomes a round of `reload`. So a change that
//! the system does not report (a directory that is made again, a network file system, no watches left) is only seen later.
//! Another thread looks at `grants.toml` alone.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Inner;
use super::backoff::Backoff;
use super::grants::file::{GrantsError, GrantsFile};
use super::registry::{Shelves, stamp};
use super::settle::{Listing, Settle, Stamp};
use super::threads::panic_text;
use crate::config::SecretSource;
use crate::limits::{LOOK, LOOK_LONG, LOOK_PAUSE};
use crate::secrets::Redactor;

/// Starts the threads. They end when the plugins are gone.
pub(super) fn start(inner: &Arc<Inner>, redactor: Redactor) -> std::io::Result<()> {
    inner.keep();
    let (grants, settle, granted_at, secrets) = {
        let rounds = inner.rounds();
        (rounds.shelves().grants.clone(), Settle::new(rounds.listing().clone()), rounds.granted_at(), rounds.secret_sources())
    };
    learn(&redactor, secrets);
    let looking = Arc::new(Looking::default());
    let grants = Grants { path: grants, redactor, unread: false };
    let (weak, watched) = (Arc::downgrade(inner), looking.clone());
    thread::Builder::new().name("grants".into()).spawn(move || keep_granted(&weak, grants, granted_at, &watched))?;
    let inner = Arc::downgrade(inner);
    let (wake, woken) = sync_channel(1);
    let eyes = Eyes::new(wake);
    thread::Builder::new().name("plugins".into()).spawn(move || keep_up(&inner, settle, eyes, &woken, &looking)).map(drop)
}

fn keep_up(inner: &Weak<Inner>, mut settle: Settle, mut eyes: Eyes, woken: &Receiver<()>, looking: &Looking) {
    let began = Instant::now();
    let mut known = Vec::new();
    let mut unread = Backoff::default();
    loop {
        let Some(inner) = inner.upgrade() else { return };
        looking.begin();
        // Another configuration has other components.
        let shelves = inner.rounds().shelves().clone();
        eyes.follow(&shelves);
        // Foreign files may run into a fault of whatever reads them.
        let looked = panic::catch_unwind(AssertUnwindSafe(|| {
            let (seen, problems) = shelves.list(settle.settled());
            problems.iter().filter(|problem| !known.contains(*problem)).for_each(|problem| tracing::warn!("{problem}"));
            known = problems;
            let changed = settle.observe(began.elapsed(), &seen);
            let again = || inner.rounds().again();
            if changed {
                unread = Backoff::default();
            }
            // What cannot be read is tried again, but not at every stir of something else.
            if changed || inner.is_behind() || (unread.is_due(Instant::now()) && again()) {
                inner.reload(Some(settle.settled().clone()));
                if again() {
                    unread.failed(Instant::now());
                } else {
                    unread = Backoff::default();
                }
            }
        }));
        looking.end();
        if let Err(payload) = looked {
            tracing::error!(panic = panic_text(&*payload), "a look at the plugins failed");
        }
        drop(inner);
        let due = settle.due().map_or(LOOK, |due| due.saturating_sub(began.elapsed()).min(LOOK));
        if !wait(woken, due.max(LOOK_PAUSE)) {
            // Nobody tells any more.
            thread::sleep(due.max(LOOK_PAUSE));
        }
    }
}

/// Keeps up with `grants.toml`, on a thread of its own: who takes something back does not wait for the files of others. Sees,
/// too, when a look at those takes long.
fn keep_granted(inner: &Weak<Inner>, mut grants: Grants, at: Option<Stamp>, looking: &Looking) {
    let listing = |path: &Path, at: Option<Stamp>| at.map(|at| (path.to_owned(), at)).into_iter().collect::<Listing>();
    let mut settle = Settle::new(listing(&grants.path, at));
    let began = Instant::now();
    loop {
        let due = settle.due().map_or(LOOK, |due| due.saturating_sub(began.elapsed()).min(LOOK));
        thread::sleep(due.max(LOOK_PAUSE));
        let Some(inner) = inner.upgrade() else { return };
        let looked = panic::catch_unwind(AssertUnwindSafe(|| {
            if settle.observe(began.elapsed(), &listing(&grants.path, stamp(&grants.path))) || grants.unread {
                grants.read(&inner);
            }
        }));
        if let Err(payload) = looked {
            tracing::error!(panic = panic_text(&*payload), "a look at the grants failed");
        }
        looking.tell_when_long();
    }
}

/// `grants.toml`, and who learns the secrets that it names.
struct Grants {
    path: PathBuf,
    redactor: Redactor,
    /// It could not be read, and may be at the next look.
    unread: bool,
}

impl Grants {
    fn read(&mut self, inner: &Arc<Inner>) {
        let read = GrantsFile::load(&self.path);
        let was_unread = std::mem::replace(&mut self.unread, read.as_ref().is_err_and(GrantsError::may_pass));
        match read {
            Ok(granted) => {
                // Before a call can use one.
                learn(&self.redactor, granted.secret_sources());
                inner.grant(&granted);
            }
            Err(error) if was_unread && self.unread => tracing::debug!(%error, "the grants stay as they were"),
            Err(error) => tracing::error!(%error, "the grants stay as they were"),
        }
    }
}

fn learn(redactor: &Redactor, sources: impl IntoIterator<Item = SecretSource>) {
    // One that cannot be read is for those who use it to report.
    let secrets: Vec<_> = sources.into_iter().filter_map(|source| source.read_all().ok()).flatten().collect();
    redactor.learn(&secrets);
}

/// Since when a look at the files of components takes, and whether that was told.
#[derive(Default)]
struct Looking(Mutex<Option<(Instant, bool)>>);

impl Looking {
    fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), false));
    }

    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tell_when_long(&self) {
        if let Some((since, told)) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && since.elapsed() >= LOOK_LONG
            && !std::mem::replace(told, true)
        {
            tracing::warn!(since = ?since.elapsed(), "a look at the files of plugins has no end: does one lead to a file system that hangs?");
        }
    }
}

/// Waits for a word, and then for what comes with it: a storm is one look. False: nobody can say one.
fn wait(woken: &Receiver<()>, most: std::time::Duration) -> bool {
    match woken.recv_timeout(most) {
        Ok(()) => {
            thread::sleep(LOOK_PAUSE);
            let _ = woken.try_recv();
            true
        }
        Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => false,
    }
}

/// The watches, as far as the system has any.
#[derive(Default)]
struct Eyes {
    watcher: Option<RecommendedWatcher>,
    /// By path, with the directory that it stood for.
    watched: HashMap<PathBuf, (u64, u64)>,
    /// The names of configured components.
    configured: Arc<Mutex<BTreeSet<OsString>>>,
    has_warned: bool,
}

impl Eyes {
    fn new(wake: SyncSender<()>) -> Self {
        let mut eyes = Self::default();
        let configured = eyes.configured.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &configured.lock().unwrap_or_else(PoisonError::into_inner))) {
                // One that is there already says the same.
                let _ = wake.try_send(());
            }
        });
        match watcher {
            Ok(watcher) => eyes.watcher = Some(watcher),
            Err(error) => eyes.warn(&error),
        }
        eyes
    }

    /// Watches the directories that there are now.
    fn follow(&mut self, shelves: &Shelves) {
        let names = shelves.configured.iter().filter_map(|(_, path)| path.file_name().map(OsString::from)).collect();
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = names;
        let parents = shelves.configured.iter().filter_map(|(_, path)| path.parent().map(Path::to_owned));
        for dir in shelves.dirs.iter().cloned().chain(parents).collect::<BTreeSet<_>>() {
            let there = std::fs::metadata(&dir).ok().filter(std::fs::Metadata::is_dir).map(|found| (found.dev(), found.ino()));
            if self.watched.get(&dir).copied() == there {
                continue;
            }
            let Some(watcher) = &mut self.watcher else { return };
            if self.watched.remove(&dir).is_some() {
                // The watch of a directory that is gone has gone with it.
                let _ = watcher.unwatch(&dir);
            }
            if let Some(there) = there {
                match watcher.watch(&dir, RecursiveMode::NonRecursive) {
                    Ok(()) => drop(self.watched.insert(dir, there)),
                    Err(error) => self.warn(&error),
                }
            }
        }
    }

    fn warn(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.has_warned, true) {
            let every = LOOK.as_secs();
            tracing::warn!(%error, "changes of plugins are not reported by the system; they are looked for every {every} s");
        }
    }
}

/// Could it be about a component? Reading is not, our own above all.
fn concerns(event: &Event, configured: &BTreeSet<OsString>) -> bool {
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    let is_ours = |path: &PathBuf| {
        path.extension().is_none_or(|extension| extension == "wasm" || extension == "toml")
            || path.file_name().is_some_and(|name| configured.contains(name))
    };
    is_change && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(is_ours))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag, ModifyKind};

    use super::*;
    use crate::config::Config;
    use crate::plugins::{Plugins, Setup, State};

    /// A system without watches: the channel that they would speak through is closed, too.
    #[tokio::test(flavor = "multi_thread")]
    async fn without_watches_changes_are_found_by_looking() {
        let dir = tempfile::tempdir().unwrap();
        let config = Arc::new(Config { plugin_dirs: vec!["plugins".into()], ..Config::embedded(false) });
        let plugins = Plugins::start(&Setup { workdir: dir.path().to_owned(), config: config.clone().into(), bundled: false }).unwrap();
        let (weak, (_, woken)) = (Arc::downgrade(&plugins.inner), sync_channel(1));
        let looking = thread::spawn(move || keep_up(&weak, Settle::default(), Eyes::default(), &woken, &Looking::default()));
        let began = Instant::now();
        let until = async |is_so: &dyn Fn(&[crate::plugins::PluginStatus]) -> bool| {
            while !is_so(&plugins.list()) {
                assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", plugins.list());
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        std::fs::create_dir(dir.path().join("plugins")).unwrap();
        std::fs::write(dir.path().join("plugins/a.wasm"), "garbage").unwrap();
        until(&|found| matches!(found, [one] if matches!(one.state, State::Refused { .. }))).await;
        std::fs::remove_file(dir.path().join("plugins/a.wasm")).unwrap();
        until(&|found| found.is_empty()).await;
        drop(plugins);
        tokio::task::spawn_blocking(|| looking.join().unwrap()).await.unwrap();
    }

    /// With nobody who looks at components.
    #[tokio::test(flavor = "multi_thread")]
    async fn grants_are_read_whatever_becomes_of_components() {
        let dir = tempfile::tempdir().unwrap();
        let plugins = Plugins::start(&Setup { workdir: dir.path().to_owned(), config: Config::embedded(false).into(), bundled: false });
        let inner = plugins.unwrap().inner;
        let path = dir.path().join("grants.toml");
        let entry = |file: &Path| {
            let digest = "a".repeat(64);
            format!("[[grants]]\nsource = \"dropped_in\"\nname = \"a\"\nsha256 = \"{digest}\"\n[grants.secrets.key]\nfile = {file:?}\n")
        };
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "sk-0123456789abcdef").unwrap();
        let redactor = Redactor::default();
        let grants = Grants { path: path.clone(), redactor: redactor.clone(), unread: false };
        let weak = Arc::downgrade(&inner);
        let looking = Arc::new(Looking::default());
        let watched = looking.clone();
        // It began long ago and does not end.
        *looking.0.lock().unwrap() = Instant::now().checked_sub(LOOK_LONG).map(|since| (since, false));
        let keeping = thread::spawn(move || keep_granted(&weak, grants, None, &watched));
        let until = async |what: &str, is_so: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !is_so() {
                assert!(began.elapsed() < std::time::Duration::from_secs(60), "waited in vain for {what}");
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        std::fs::write(&path, entry(&secret)).unwrap();
        until("the grant", &|| inner.rounds().secret_sources() == [SecretSource::File(secret.clone())]).await;
        assert_eq!(redactor.text("sk-0123456789abcdef"), "[redacted]");
        // A secret that has no end or no writer holds up nobody.
        std::fs::write(&path, entry(Path::new("/dev/zero"))).unwrap();
        until("another grant", &|| inner.rounds().secret_sources() == [SecretSource::File("/dev/zero".into())]).await;
        // Nor do grants that have none.
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::fs::write(dir.path().join("empty"), "").unwrap();
        std::fs::rename(dir.path().join("empty"), &path).unwrap();
        until("the revocation", &|| inner.rounds().secret_sources().is_empty()).await;
        // A look that hangs holds the rounds: what is granted and taken back counts all the same.
        let (holder, (begun, begins), (ends, end)) = (inner.clone(), sync_channel::<()>(1), sync_channel::<()>(1));
        let hangs = thread::spawn(move || {
            let _rounds = holder.rounds();
            begun.send(()).unwrap();
            end.recv().unwrap();
        });
        begins.recv().unwrap();
        let granted = || inner.granting.now().iter().count();
        std::fs::write(&path, entry(&secret)).unwrap();
        until("a grant during a look", &|| granted() == 1).await;
        std::fs::remove_file(&path).unwrap();
        until("a revocation during a look", &|| granted() == 0).await;
        std::fs::write(&path, entry(&secret)).unwrap();
        until("one more grant", &|| granted() == 1).await;
        ends.send(()).unwrap();
        hangs.join().unwrap();
        assert!(inner.is_behind());
        inner.reload(None);
        assert_eq!(inner.rounds().secret_sources(), [SecretSource::File(secret.clone())]);
        until("word of the long look", &|| looking.0.lock().unwrap().is_none_or(|(_, told)| told)).await;
        drop(inner);
        tokio::task::spawn_blocking(|| keeping.join().unwrap()).await.unwrap();
    }

    #[test]
    fn only_changes_of_what_could_be_a_component_are_looked_at() {
        let configured = BTreeSet::from([OsString::from("tool.bin")]);
        let event = |kind: EventKind, path: &str| Event::new(kind).add_path(path.into());
        let (made, written) = (EventKind::Create(CreateKind::File), EventKind::Modify(ModifyKind::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        for (kind, path, expected) in [
            (made, "/p/a.wasm", true),
            (written, "/p/a.toml", true),
            (closed, "/p/a.wasm", true),
            (opened, "/p/a.wasm", false),
            (written, "/p/state.db-wal", false),
            (written, "/p/tool.bin", true),
            (EventKind::Remove(notify::event::RemoveKind::Folder), "/p", true),
        ] {
            assert_eq!(concerns(&event(kind, path), &configured), expected, "{kind:?} {path}");
        }
        assert!(concerns(&Event::new(EventKind::Other).set_flag(Flag::Rescan), &configured), "some were lost");
    }
}
