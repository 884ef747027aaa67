use std::os::unix::fs::PermissionsExt;

use super::manifest::Item;
use super::*;
use crate::ids::{ConversationId, OutboxId};
use crate::limits;
use crate::store::{Options, OutboxState};

const AT: Moment = Moment(1_800_000_000_000);

/// A work directory with something of everything in it, and a store that is open.
struct Fixture {
    folder: tempfile::TempDir,
    workdir: WorkDir,
    store: Store,
    conversation: ConversationId,
    pending: OutboxId,
}

/// A file of a workspace whose name is no text.
fn odd() -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(b"odd \xff \\ name".to_vec()))
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(folder.path().join("work")).unwrap();
        let (store, _) = Store::open(&workdir, Options::default()).unwrap();
        let conversation = store::NewConversation { channel: "terminal".into(), address: "a".into(), model: "m".into(), expires_at: None };
        let conversation = store.get_or_create(conversation, AT).await.unwrap().0.id;
        let session = store.foreground(conversation).await.unwrap();
        let long = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES));
        let event = |body: &str| store::NewEvent { kind: "answered".into(), body: body.into(), blobs: Vec::new() };
        let outbox = store::NewOutbox::new("s1.t1.final", conversation, store::OutboxKind::Final, "reply");
        let append = store::Append {
            events: vec![event("{}"), event(&long)],
            outbox: vec![outbox],
            ..store::Append::new(&session, crate::ids::TurnId(1), AT)
        };
        let pending = store.append(append).await.unwrap().outbox[0];
        store.put_blob(b"loose".to_vec()).await.unwrap();
        let workspace = workdir.workspace(conversation);
        fs::create_dir_all(workspace.join("deep/er")).unwrap();
        fs::write(workspace.join("deep/er/notes.txt"), "mine").unwrap();
        fs::write(workspace.join("run.sh"), "#!").unwrap();
        fs::set_permissions(workspace.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(workspace.join(odd()), "odd").unwrap();
        std::os::unix::fs::symlink("/etc", workspace.join("link")).unwrap();
        fs::write(workdir.shared().join("shared.txt"), "shared").unwrap();
        fs::write(workdir.grants(), "grants = []").unwrap();
        fs::write(workdir.components().join("abc.wasm"), "component").unwrap();
        fs::write(workdir.logs().join("stellaclaw.log"), "log").unwrap();
        fs::write(workdir.cache().join("code"), "code").unwrap();
        fs::write(workdir.root().join("key"), "canary-1234567890").unwrap();
        Self { folder, workdir, store, conversation, pending }
    }

    fn source(&self) -> Source {
        let secrets = vec![self.workdir.root().join("key")];
        Source { workdir: self.workdir.clone(), config: None, secrets, workspaces: true }
    }

    async fn backup(&self) -> PathBuf {
        create(self.source(), self.folder.path()).await.unwrap().path
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn paths(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    tree::walk(root, Path::new(""), &mut |path, kind| {
        if kind != tree::Kind::Folder {
            paths.push(path.to_string_lossy().into_owned());
        }
    })
    .unwrap();
    paths.sort();
    paths
}

#[tokio::test]
async fn a_backup_comes_back_as_it_was() {
    let fixture = Fixture::new().await;
    let backup = fixture.backup().await;
    let verified = verify(&backup).await.unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    assert_eq!((verified.checked.journal_rows, verified.checked.blobs), (2, 1));
    let into = fixture.place("new/work");
    let restored = restore(&backup, &into).await.unwrap();
    assert_eq!((restored.replies_aside, restored.config), (1, None));
    let workspace = WorkDir::existing(&into).unwrap().workspace(fixture.conversation);
    assert_eq!(fs::read_to_string(workspace.join("deep/er/notes.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(workspace.join(odd())).unwrap(), "odd");
    assert_eq!(fs::read_link(workspace.join("link")).unwrap(), Path::new("/etc"));
    assert_eq!(fs::metadata(workspace.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
    let modified = |root: &Path| fs::metadata(root.join("rundir/shared/shared.txt")).unwrap().modified().unwrap();
    let apart = modified(fixture.workdir.root()).duration_since(modified(&into)).unwrap();
    assert!(apart.as_millis() < 1, "{apart:?}");
    for (path, there) in [("grants.toml", true), ("components/abc.wasm", true), ("cache/code", false), ("logs/stellaclaw.log", false)] {
        assert_eq!(into.join(path).exists(), there, "{path}");
    }
    let (store, opened) = Store::open(&WorkDir::open(&into).unwrap(), Options::default()).unwrap();
    assert_eq!(opened, store::Opened::default());
    assert_eq!(store.outbox(fixture.pending).await.unwrap().unwrap().state, OutboxState::Aside);
    assert_eq!(store.check().await.unwrap().problems, Vec::<String>::new());
    assert!(store.recover("0.1.0", AT).await.unwrap().restored);
    assert!(!store.recover("0.1.0", AT).await.unwrap().restored);
    // The one that was copied is as it was.
    assert_eq!(fixture.store.outbox(fixture.pending).await.unwrap().unwrap().state, OutboxState::Pending);
}

#[tokio::test]
async fn a_backup_is_private_and_has_no_secret_and_no_hard_link() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new().await;
    let backup = fixture.backup().await;
    tree::walk(&backup, Path::new(""), &mut |path, kind| {
        let meta = backup.join(path).symlink_metadata().unwrap();
        let private = if kind == tree::Kind::Folder { 0o700 } else { 0o600 };
        assert!(kind == tree::Kind::Link || meta.mode() & 0o777 == private, "{path:?} {:o}", meta.mode());
        if kind == tree::Kind::File {
            assert_eq!(meta.nlink(), 1, "{path:?}");
            let bytes = fs::read(backup.join(path)).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"canary"), "{path:?} has the secret");
        }
    })
    .unwrap();
    assert!(!paths(&backup).iter().any(|path| path.contains(BLOB_OF_NOTHING)));
}

/// SHA-256 of `loose`, which no row names.
const BLOB_OF_NOTHING: &str = "b5e0eee6e28efca6d6ad05d7b8a94631576037ec9e5ff6d305fe89faa0e1032e";

#[tokio::test]
async fn without_workspaces_they_are_not_in_it() {
    let fixture = Fixture::new().await;
    let created = create(Source { workspaces: false, ..fixture.source() }, &fixture.place("small")).await.unwrap();
    assert_eq!(created.path, fixture.place("small"));
    let paths = paths(&created.path);
    assert!(paths.iter().all(|path| !path.contains("conversations") && !path.contains("shared.txt")), "{paths:?}");
    assert_eq!(verify(&created.path).await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn whatever_is_damaged_is_named() {
    let fixture = Fixture::new().await;
    let backup = fixture.backup().await;
    let all = paths(&backup);
    assert!(all.len() >= 10, "{all:?}");
    for name in &all {
        let path = backup.join(name);
        let Ok(bytes) = (match path.is_symlink() {
            true => continue,
            false => fs::read(&path),
        }) else {
            continue; // Its name is no text.
        };
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        for damaged in [flipped, bytes[..bytes.len() - 1].to_vec()] {
            fs::write(&path, damaged).unwrap();
            let problems = match verify(&backup).await {
                Ok(verified) => verified.problems,
                Err(BackupError::Damaged { problems, .. }) => problems,
                Err(error) => vec![error.to_string()],
            };
            assert!(problems.iter().any(|problem| problem.contains(name.as_str())), "{name}: {problems:?}");
            let refused = restore(&backup, &fixture.place("never")).await.unwrap_err();
            assert!(matches!(refused, BackupError::Damaged { .. } | BackupError::Newer { .. }), "{name}: {refused}");
            fs::write(&path, &bytes).unwrap();
        }
        fs::remove_file(&path).unwrap();
        let says = match verify(&backup).await {
            Ok(verified) => verified.problems.join("\n"),
            Err(error) => error.to_string(),
        };
        assert!(says.contains(name.as_str()), "{name}: {says}");
        fs::write(&path, &bytes).unwrap();
    }
    fs::write(backup.join("work/more"), "x").unwrap();
    let verified = verify(&backup).await.unwrap();
    assert_eq!(verified.problems, ["work/more: is not in the manifest"]);
    assert!(!fixture.place("never").exists());
}

#[tokio::test]
async fn a_store_that_is_not_whole_is_not_backed_up_as_if_it_were() {
    let fixture = Fixture::new().await;
    let blobs = paths(&fixture.workdir.blobs());
    assert_eq!(blobs.len(), 2);
    blobs.iter().for_each(|blob| fs::remove_file(fixture.workdir.blobs().join(blob)).unwrap());
    let refused = create(fixture.source(), &fixture.place("never")).await;
    assert!(matches!(refused, Err(BackupError::Store(StoreError::Damaged(_)))), "{refused:?}");
    assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 1, "half a backup was left");
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let fixture = Fixture::new().await;
    let backup = fixture.backup().await;
    fs::create_dir(fixture.place("full")).unwrap();
    fs::write(fixture.place("full/file"), "x").unwrap();
    assert!(matches!(restore(&backup, &fixture.place("full")).await, Err(BackupError::NotEmpty(_))));
    assert_eq!(fs::read_dir(fixture.place("full")).unwrap().count(), 1);
    let taken = create(fixture.source(), &fixture.place("full/file")).await;
    assert!(matches!(taken, Err(BackupError::Exists(_))), "{taken:?}");
    let inside = create(fixture.source(), fixture.workdir.root()).await;
    assert!(matches!(inside, Err(BackupError::Inside(_))), "{inside:?}");
    // A place that is a directory gets backups beside each other, but not one inside another.
    for place in [backup.clone(), backup.join("work"), backup.join("work/new")] {
        let nested = create(fixture.source(), &place).await;
        assert!(matches!(nested, Err(BackupError::InBackup(_))), "{}: {nested:?}", place.display());
    }
    assert_eq!(verify(&backup).await.unwrap().problems, Vec::<String>::new());
    let lock = fixture.workdir.lock().unwrap();
    assert!(matches!(restore(&backup, fixture.workdir.root()).await, Err(BackupError::Held(_))));
    drop(lock);
    assert!(matches!(verify(&fixture.place("full")).await, Err(BackupError::NotABackup(_))));
    // An empty directory is what somebody made for it.
    fs::create_dir(fixture.place("empty")).unwrap();
    restore(&backup, &fixture.place("empty")).await.unwrap();
    let left: Vec<_> = fs::read_dir(fixture.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".half")), "{left:?}");
}

#[tokio::test]
async fn a_backup_of_a_newer_release_is_refused() {
    let fixture = Fixture::new().await;
    let backup = fixture.backup().await;
    let newer = |manifest: &mut Manifest| manifest.workdir_version = WORKDIR_VERSION + 1;
    rewrite(&backup, newer);
    let refused = restore(&backup, &fixture.place("never")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Newer { .. }), "{refused}");
}

#[tokio::test]
async fn a_manifest_that_leads_outside_is_refused() {
    let fixture = Fixture::new().await;
    let backup = fixture.backup().await;
    for path in ["work/../../outside", "/outside"] {
        rewrite(&backup, |manifest| {
            manifest.items.push(Item::File {
                path: manifest::Name(path.into()),
                bytes: 0,
                sha256: String::new(),
                mode: 0o600,
                modified: AT,
            });
        });
        let refused = restore(&backup, &fixture.place("never")).await.unwrap_err();
        assert!(refused.to_string().contains("is outside the backup"), "{refused}");
    }
}

fn rewrite(backup: &Path, change: impl FnOnce(&mut Manifest)) {
    let (mut manifest, _) = Manifest::read(backup).unwrap();
    change(&mut manifest);
    fs::remove_file(backup.join("manifest.json")).unwrap();
    fs::remove_file(backup.join("manifest.json.sha256")).unwrap();
    manifest.write(backup).unwrap();
}
