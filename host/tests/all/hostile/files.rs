//! Files: whatever a component tries, by whatever name, it stays below its mounts and within its quotas.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, RenameFlags, mknodat, renameat_with};
use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::ToClient;
use stellaclaw::limits;
use stellaclaw::plugins::Mount;

use crate::hostile::prowler::{each, prowl, refused, told, with_files};
use crate::hostile::{Stage, assert_no_secret};
use crate::support::client::{Client, Log};
use crate::support::guests;
use crate::support::host::Work;

/// What lies outside.
const OUTSIDE: &str = "outside-canary-41d8cd98";

/// How a path is looked at.
const LOOKS: [&str; 7] = ["read", "read-as-it-is", "list", "stat", "hash", "times-read", "write-read"];
/// How it is changed.
const CHANGES: [&str; 15] = [
    "create",
    "exclusive",
    "write",
    "open-write",
    "truncate",
    "set-size",
    "set-times",
    "times-dir",
    "mutate-dir",
    "mkdir",
    "rmdir",
    "unlink",
    "rename",
    "link",
    "symlink",
];

/// A folder beside the work directory that no component was given.
fn outside(work: &Work) -> PathBuf {
    let folder = work.folder().join("outside");
    fs::create_dir(&folder).unwrap();
    for name in ["secret", "file", "victim"] {
        fs::write(folder.join(name), OUTSIDE).unwrap();
    }
    fs::write(folder.join(OUTSIDE), "").unwrap();
    fs::create_dir(folder.join("deep")).unwrap();
    fs::write(folder.join("deep/secret"), OUTSIDE).unwrap();
    folder
}

fn workspace(stage: &Stage) -> PathBuf {
    stage.work.workspace(stage.victim.conversation())
}

/// Everything below `folder`: what it is, what is in it, when it was changed, how many names it has.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>, i64, i64, u64)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let found = fs::symlink_metadata(&folder).unwrap();
        all.push((folder.clone(), Vec::new(), found.mtime(), found.mtime_nsec(), found.nlink()));
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let found = fs::symlink_metadata(&path).unwrap();
            if found.is_dir() {
                folders.push(path);
            } else {
                let bytes = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                all.push((path, bytes, found.mtime(), found.mtime_nsec(), found.nlink()));
            }
        }
    }
    all.sort();
    all
}

/// The user shows a conversation a directory, before anything is said in it.
async fn show(work: &Work, conversation: &str, name: &str, path: &Path, writable: bool) {
    let host = work.host().await;
    let log = Log::new(work.folder());
    let mount = Mount { name: name.to_owned(), path: path.to_owned(), writable };
    let client = Client::attach_with(work, conversation, vec![mount], &log).await.unwrap();
    assert!(matches!(client.welcome, ToClient::Welcome { .. }), "{:?}", client.welcome);
    host.stop().await;
}

/// Links that the user left in the workspace: their names, and where they lead.
fn links(out: &str) -> [(&'static str, String); 11] {
    [
        ("file", format!("{out}/secret")),
        ("folder", out.to_owned()),
        ("relative", "../../../outside".to_owned()),
        ("dangling", format!("{out}/new")),
        ("chain", "link-to-link".to_owned()),
        ("link-to-link", "folder".to_owned()),
        ("root", "/proc/self/root".to_owned()),
        ("own", "/proc/self/cwd".to_owned()),
        ("loop", "pool".to_owned()),
        ("pool", "loop".to_owned()),
        ("store", "../../state.db".to_owned()),
    ]
}

/// Ways out of the workspace.
fn paths_out(state: &Path, out: &str, other: &str) -> Vec<String> {
    let mut paths: Vec<String> = [
        "..",
        "../..",
        "../../state.db",
        "../../grants.toml",
        "../../host.sock",
        "../../components",
        "../../cache",
        "../../data/tools-fs",
        "../../../config.toml",
        "../../../outside/secret",
        "sub/../../../../outside/secret",
        "./.././../../outside/secret",
        "shared/../../../../outside/secret",
        "sub//..//..//..//..//outside//secret",
        "/",
        "//",
        "/etc/passwd",
        "//etc/passwd",
        "~/x",
        "/proc/self/environ",
        "/proc/self/mem",
        "/dev/stdin",
        "/dev/zero",
        "/workspace/../../../outside/secret",
        "a\0b",
        "\0",
        "",
        "file",
        "file/",
        "folder/secret",
        "folder/deep/secret",
        "folder/../outside/secret",
        "sub/folder/secret",
        "relative/secret",
        "dangling",
        "chain/secret",
        "root/etc/passwd",
        "own/config.toml",
        "loop",
        "loop/secret",
        "store",
    ]
    .map(str::to_owned)
    .into();
    paths.push(format!("../{other}/a.txt"));
    paths.push(format!("{}/{other}/a.txt", state.join("conversations").display()));
    paths.extend(["secret", "deep/secret"].map(|name| format!("{out}/{name}")));
    paths.extend(["state.db", "grants.toml"].map(|name| state.join(name).display().to_string()));
    paths
}

#[tokio::test]
async fn no_path_leads_out_of_the_workspace() {
    let work = with_files().await;
    let outside = outside(&work);
    fs::write(work.workdir().join("grants.toml"), "# outside-canary-41d8cd98\n").unwrap();
    let mut stage = Stage::start(work).await;
    let workspace = workspace(&stage);
    let out = outside.display().to_string();
    let links = links(&out);
    for (name, target) in &links {
        symlink(target, workspace.join(name)).unwrap();
    }
    fs::create_dir(workspace.join("sub")).unwrap();
    symlink(&outside, workspace.join("sub/folder")).unwrap();
    let other = stage.bystander.conversation().to_owned();
    let state = stage.work.workdir();
    let paths = paths_out(&state, &out, &other);
    let (before, grants) = (tree(&outside), fs::read(state.join("grants.toml")).unwrap());

    let itself: Vec<_> = links.iter().map(|(name, _)| *name).collect();
    let mut steps = Vec::new();
    for path in &paths {
        let acts = LOOKS.iter().chain(&CHANGES).filter(|act| {
            // What is done to a link itself stays inside: below.
            !(itself.contains(&path.as_str()) && ["unlink", "rename", "link"].contains(act))
        });
        steps.extend(acts.map(|act| json!({"act": act, "path": path})));
        if path.starts_with("..") {
            // From somewhere deeper, and from the other roots.
            steps.push(json!({"act": "read", "via": "sub", "path": format!("../{path}")}));
            steps.extend(["/data", "/workspace"].map(|at| json!({"act": "read", "at": at, "path": path})));
        }
    }
    refused(&mut stage, &steps).await;
    let text = prowl(&mut stage, &[json!({"act": "list", "path": "."}), json!({"act": "readlink", "path": "folder"})]).await;
    assert_eq!(text[1], "no: not-permitted", "a link does not tell where things are on the host");
    // On the links themselves, and on links that the guest makes.
    let mut table: Vec<_> = itself.iter().map(|name| (json!({"act": "unlink", "path": name}), json!("ok"))).collect();
    table.extend([
        (json!({"act": "symlink", "path": "made", "to": "/etc"}), json!("no: not-permitted")),
        (json!({"act": "symlink", "path": "made", "to": "../../../outside"}), json!("ok")),
        (json!({"act": "symlink", "path": "sub/made", "to": "../made/secret"}), json!("ok")),
    ]);
    each(&mut stage, &table).await;
    let made = ["made", "made/secret", "sub/made"].map(|path| CHANGES.map(|act| json!({"act": act, "path": path, "to": "elsewhere"})));
    let on_link = |step: &Value| {
        ["unlink", "rename", "link"].iter().any(|act| step["act"] == *act) && ["made", "sub/made"].iter().any(|path| step["path"] == *path)
    };
    refused(&mut stage, &made.concat().into_iter().filter(|step| !on_link(step)).collect::<Vec<_>>()).await;
    let linked = [json!({"act": "link", "path": "made", "to": "again"}), json!({"act": "read", "path": "again/secret"})];
    let ends = prowl(&mut stage, &linked).await;
    assert_eq!((ends[0].as_str(), ends[1].as_str()), (Some("ok"), Some("no: not-permitted")), "a link's link is the link");

    assert_eq!(tree(&outside), before);
    assert_eq!(fs::read(state.join("grants.toml")).unwrap(), grants);
    assert_eq!(fs::read_to_string(stage.work.workspace(&other).join("a.txt")).unwrap(), "x\n");
    fs::remove_dir_all(&outside).unwrap();
    fs::remove_file(state.join("grants.toml")).unwrap();
    assert_no_secret(&stage.ends().await, &[OUTSIDE]);
}

/// Swaps a directory of the workspace and a link, until it is dropped.
struct Swapper {
    done: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Swapper {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            // An even number of them: everything is where it was.
            if swaps % 2 == 1 {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
            swaps
        });
        Self { done, thread: Some(thread) }
    }

    fn stop(mut self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

#[tokio::test]
async fn a_component_of_a_path_that_is_swapped_leads_nowhere_else() {
    let work = with_files().await;
    let outside = outside(&work);
    let docs = work.folder().join("docs");
    fs::create_dir(&docs).unwrap();
    for name in ["file", "victim", "deep"] {
        fs::write(docs.join(name), "docs").unwrap();
    }
    show(&work, "victim", "docs", &docs, false).await;
    let mut stage = Stage::start(work).await;
    let workspace = workspace(&stage);
    fs::create_dir(workspace.join("way")).unwrap();
    for name in ["way/file", "way/victim", "own", "spare"] {
        fs::write(workspace.join(name), "fine").unwrap();
    }
    let (before, docs_before) = (tree(&outside), tree(&docs));
    for (link, target) in [("absolute", outside.to_str().unwrap()), ("relative", "../../../outside"), ("mount", "mounts/docs")] {
        symlink(target, workspace.join(link)).unwrap();
        let swapper = Swapper::start(workspace.join("way"), workspace.join(link));
        let seen = told(&mut stage, "race", json!({"way": "way", "canary": OUTSIDE, "millis": 1500})).await;
        let swaps = swapper.stop();
        println!("{link}: {seen}, {swaps} swaps");
        assert_eq!(seen["leaks"], json!([]), "{link}");
        assert!(
            seen["fine"].as_u64() > Some(100) && seen["refused"].as_u64() > Some(100) && swaps > 100,
            "{link}: no race: {seen}, {swaps}"
        );
        assert_eq!(tree(&outside), before, "{link}");
        assert_eq!(tree(&docs), docs_before, "{link}");
    }
    stage.ends().await;
}

#[tokio::test]
async fn nothing_is_linked_or_moved_from_one_root_to_another() {
    let work = with_files().await;
    let docs = work.folder().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("d.txt"), "docs").unwrap();
    show(&work, "victim", "docs", &docs, false).await;
    let mut stage = Stage::start(work).await;
    let workspace = workspace(&stage);
    fs::write(workspace.join("own.txt"), "own").unwrap();
    fs::create_dir(workspace.join("own")).unwrap();
    fs::write(stage.work.workdir().join("rundir/shared/s.txt"), "shared").unwrap();
    prowl(&mut stage, &[json!({"act": "write", "at": "/data", "path": "kept"}), json!({"act": "mkdir", "at": "/data", "path": "folder"})])
        .await;

    let across = json!("no: cross-device");
    let mut table = Vec::new();
    for act in ["link", "rename"] {
        for (at, path, to_at, to) in [
            (".", "own.txt", "/data", "own.txt"),
            ("/data", "kept", ".", "kept"),
            ("/workspace", "own.txt", "/data", "own.txt"),
            (".", "own.txt", ".", "shared/own.txt"),
            (".", "shared/s.txt", ".", "s.txt"),
            (".", "shared/s.txt", "/data", "s.txt"),
        ] {
            table.push((json!({"act": act, "at": at, "path": path, "to_at": to_at, "to": to}), across.clone()));
        }
    }
    table.push((json!({"act": "rename", "path": "own", "to": "shared/own"}), across.clone()));
    table.push((json!({"act": "rename", "at": "/data", "path": "folder", "to_at": ".", "to": "folder"}), across));
    // Neither into the read-only mount nor out of it.
    for act in ["link", "rename"] {
        table.push((json!({"act": act, "path": "own.txt", "to": "mounts/docs/own.txt"}), json!("no: read-only")));
        table.push((json!({"act": act, "path": "mounts/docs/d.txt", "to": "d.txt"}), json!("no: read-only")));
    }
    // Within one root, by either of its names.
    table.push((json!({"act": "link", "path": "own.txt", "to_at": "/workspace", "to": "linked.txt"}), json!("ok")));
    table.push((json!({"act": "link-follow", "path": "own.txt", "to": "followed.txt"}), json!("no: invalid")));
    each(&mut stage, &table).await;
    assert_eq!(fs::metadata(workspace.join("own.txt")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(docs.join("d.txt")).unwrap().nlink(), 1);
    stage.ends().await;
}

#[tokio::test]
async fn what_is_no_file_is_not_opened_and_nobody_waits_for_it() {
    let mut stage = Stage::start(with_files().await).await;
    let workspace = workspace(&stage);
    let node = |name: &str, kind, device| mknodat(CWD, workspace.join(name), kind, 0o666.into(), device);
    node("fifo", FileType::Fifo, 0).unwrap();
    let _socket = UnixListener::bind(workspace.join("socket")).unwrap();
    let mut names = vec!["fifo", "socket"];
    // Only root makes devices.
    for (name, minor) in [("null", 3), ("zero", 5), ("tty", 0)] {
        let major = if name == "tty" { 5 } else { 1 };
        if node(name, FileType::CharacterDevice, rustix::fs::makedev(major, minor)).is_ok() {
            names.push(name);
        }
    }
    symlink("fifo", workspace.join("to-fifo")).unwrap();
    names.push("to-fifo");
    let acts = ["read", "create", "write", "open-write", "truncate", "set-size", "set-times", "list", "times-read", "append-read"];
    let steps: Vec<_> = names.iter().flat_map(|name| acts.map(|act| json!({"act": act, "path": name}))).collect();
    refused(&mut stage, &steps).await;
    // They can be told apart, moved and removed like any entry.
    let seen = prowl(&mut stage, &[json!({"act": "stat-as-it-is", "path": "fifo"}), json!({"act": "unlink", "path": "fifo"})]).await;
    assert_eq!(seen, ["ok", "ok"]);
    // The bundled tools do not wait either.
    node("pipe", FileType::Fifo, 0).unwrap();
    for says in ["read pipe", "read socket", "grep x", "glob **", "write pipe: x"] {
        let replies = stage.says(says).await;
        assert!(!replies.is_empty(), "{says}");
    }
    drop(_socket);
    stage.ends().await;
}

#[tokio::test]
async fn a_read_only_mount_stays_as_it_is_whatever_is_tried() {
    let work = with_files().await;
    let docs = work.folder().join("docs");
    fs::create_dir_all(docs.join("deep")).unwrap();
    for name in ["d.txt", "deep/e.txt"] {
        fs::write(docs.join(name), "docs").unwrap();
    }
    show(&work, "victim", "docs", &docs, true).await;
    let mut stage = Stage::start(work).await;
    let workspace = workspace(&stage);
    fs::create_dir_all(workspace.join("sub")).unwrap();
    fs::write(workspace.join("own.txt"), "own").unwrap();
    symlink("mounts/docs", workspace.join("to-docs")).unwrap();
    // The kernel reads `..` after a link otherwise than the spelling says.
    symlink("../shared", workspace.join("sub/away")).unwrap();
    let before = tree(&docs);
    let ways = ["mounts/docs", "./mounts//docs", "sub/../mounts/docs", "to-docs"];
    let existing = [
        "open-write",
        "write",
        "truncate",
        "set-size",
        "set-times",
        "set-times-as-it-is",
        "times-read",
        "unlink",
        "rename",
        "link",
        "exclusive",
        "create",
        "write-read",
        "stream-read",
        "append-read",
        "size-read",
    ];
    let absent = ["create", "exclusive", "write", "mkdir", "symlink", "set-size"];
    for way in ways {
        let mut steps: Vec<_> = existing.iter().map(|act| json!({"act": act, "path": format!("{way}/d.txt"), "to": "taken"})).collect();
        steps.extend(absent.iter().map(|act| json!({"act": act, "path": format!("{way}/new"), "to": "text"})));
        steps.extend(["times-dir", "rmdir", "rename", "set-times"].map(|act| json!({"act": act, "path": format!("{way}/deep")})));
        steps.extend(["times-dir", "mutate-dir"].map(|act| json!({"act": act, "path": way})));
        for act in ["rename", "link"] {
            steps.push(json!({"act": act, "path": "own.txt", "to": format!("{way}/d.txt")}));
            steps.push(json!({"act": act, "path": "own.txt", "to": format!("{way}/new")}));
        }
        // From the directory itself, and from below it.
        for (via, path) in [(way.to_owned(), "d.txt"), (format!("{way}/deep"), "e.txt")] {
            steps.extend(
                ["open-write", "truncate", "unlink", "set-times-as-it-is"].map(|act| json!({"act": act, "via": via, "path": path})),
            );
        }
        refused(&mut stage, &steps).await;
        let read = prowl(&mut stage, &[json!({"act": "read", "path": format!("{way}/d.txt")})]).await;
        assert_eq!(read, ["docs"], "{way}");
        assert_eq!(tree(&docs), before, "{way}");
    }
    // Here a file cannot be opened, but its directory is found.
    let way = "sub/away/../mounts/docs";
    let existing =
        ["set-times", "set-times-as-it-is", "unlink", "rename", "link"].map(|act| json!({"act": act, "path": format!("{way}/d.txt")}));
    let absent = ["mkdir", "symlink"].map(|act| json!({"act": act, "path": format!("{way}/new")}));
    let folder = ["rmdir", "times-dir"].map(|act| json!({"act": act, "path": format!("{way}/deep")}));
    refused(&mut stage, &[existing.as_slice(), &absent, &folder, &[json!({"act": "times-dir", "path": way})]].concat()).await;
    stage.ends().await;
}

#[tokio::test]
async fn what_stands_for_a_mount_stays_where_it_is() {
    let work = with_files().await;
    let docs = work.folder().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("d.txt"), "docs").unwrap();
    show(&work, "victim", "docs", &docs, true).await;
    let mut stage = Stage::start(work).await;
    let workspace = workspace(&stage);
    fs::create_dir_all(workspace.join("sub")).unwrap();
    fs::write(workspace.join("own.txt"), "own").unwrap();
    symlink("mounts/docs", workspace.join("to-docs")).unwrap();
    let before = tree(&docs);
    fs::create_dir(workspace.join("empty")).unwrap();
    let mut steps = Vec::new();
    for stand_in in ["shared", "./shared", "sub/../shared", "mounts", "mounts/docs"] {
        steps.extend(
            ["rmdir", "unlink", "rename", "mkdir", "symlink", "exclusive", "write"].map(|act| json!({"act": act, "path": stand_in})),
        );
        steps.extend(["own.txt", "empty", "to-docs"].map(|path| json!({"act": "rename", "path": path, "to": stand_in})));
        steps.push(json!({"act": "link", "path": "own.txt", "to": stand_in}));
    }
    refused(&mut stage, &steps).await;
    let table = [
        (json!({"act": "read", "path": "mounts/docs/d.txt"}), json!("docs")),
        (json!({"act": "write", "path": "shared/s.txt"}), json!("ok")),
        (json!({"act": "read", "path": "own.txt"}), json!("own")),
    ];
    each(&mut stage, &table).await;
    assert_eq!(tree(&docs), before);
    stage.ends().await;
}

#[tokio::test]
async fn quotas_bound_what_a_call_writes_creates_and_keeps() {
    let mut stage = Stage::start(with_files().await).await;
    let workspace = workspace(&stage);
    fs::create_dir(workspace.join("many")).unwrap();
    let most = limits::WRITTEN_BYTES;
    let over = json!("no: quota");
    for _ in 0..2 {
        // A hole counts as written, and each call begins anew.
        let table = [
            (json!({"act": "set-size", "path": "large", "number": most + 1}), over.clone()),
            (json!({"act": "set-size", "path": "large", "number": most}), json!("ok")),
            (json!({"act": "write", "path": "one"}), over.clone()),
            (json!({"act": "truncate", "path": "large"}), json!("ok")),
            (json!({"act": "set-size", "path": "large", "number": 1}), over.clone()),
            (json!({"act": "unlink", "path": "large"}), json!("ok")),
        ];
        each(&mut stage, &table).await;
    }
    let entries = limits::CREATED_ENTRIES;
    let filled = prowl(&mut stage, &[json!({"act": "fill", "path": "many", "number": entries + 10})]).await;
    assert_eq!(filled, [json!([entries, "quota"])]);
    let listed = prowl(&mut stage, &[json!({"act": "list", "path": "many"}), json!({"act": "create", "path": "next"})]).await;
    assert_eq!(listed, [json!({"names": entries, "unsayable": 0}), json!("ok")], "the next call creates again");

    let half = limits::DATA_BYTES / 2 - limits::DATA_ENTRY_BYTES;
    let data = |act: &str, path: &str, number: u64| json!({"act": act, "at": "/data", "path": path, "number": number});
    let table = [
        (data("set-size", "one", limits::DATA_BYTES + 1), over.clone()),
        (data("set-size", "one", half), json!("ok")),
        (data("set-size", "two", half), json!("ok")),
        (data("write", "three", 0), over.clone()),
    ];
    each(&mut stage, &table).await;
    let table = [
        (data("write", "four", 0), over.clone()),
        (data("open-write", "one", 0), json!("ok")),
        (data("open-write", "one", limits::DATA_BYTES / 2), over),
        (data("unlink", "two", 0), json!("ok")),
        (data("write", "four", 0), json!("ok")),
        (data("unlink", "one", 0), json!("ok")),
    ];
    each(&mut stage, &table).await;
    stage.ends().await;
}

#[tokio::test]
async fn a_plugins_own_directory_is_nobody_elses() {
    let work = with_files().await;
    let config = fs::read_to_string(work.folder().join("config.toml")).unwrap();
    let path = guests::hostile();
    let config = config.split_once('\n').unwrap().1;
    work.configure(&format!("{config}[plugins.prowler-2]\npath = {path:?}\ntrust = \"path\"\nfs = [\"workspace:rw\"]\n"));
    let mut stage = Stage::start(work).await;
    let kept = json!({"path": "/data/kept", "text": OUTSIDE});
    assert_eq!(stage.says(&format!("call touch {kept}")).await.last().unwrap().text, OUTSIDE);
    let data = |act: &str, path: &str| json!({"act": act, "at": "/data", "path": path});
    let mut steps = vec![data("read", "kept")];
    for way in ["..", "../prowler-2", "../prowler-2/kept", "../prowler/../prowler-2/kept", "../tools-fs", "../../state.db"] {
        steps.extend(["read", "list", "write", "truncate", "unlink", "stat"].map(|act| data(act, way)));
    }
    steps.extend(["../../data/prowler-2/kept", "data/kept"].map(|path| json!({"act": "read", "path": path})));
    // A name of its own for the way there.
    assert_eq!(
        prowl(&mut stage, &[data("symlink", "way"), json!({"act": "symlink", "at": "/data", "path": "up", "to": "../prowler-2"})]).await,
        ["ok", "ok"]
    );
    steps.extend(["up/kept", "up"].map(|path| data("read", path)));
    refused(&mut stage, &steps).await;
    let own = prowl(&mut stage, &[data("list", ".")]).await;
    assert_eq!(own, [json!({"names": ["up", "way"], "unsayable": 0})]);
    assert_eq!(fs::read_to_string(stage.work.workdir().join("data/prowler-2/kept")).unwrap(), OUTSIDE);
    stage.ends().await;
}

#[tokio::test]
async fn strange_names_long_listings_and_deep_trees_are_told_and_harm_nobody() {
    let mut stage = Stage::start(with_files().await).await;
    let workspace = workspace(&stage);
    let odd = workspace.join("odd");
    fs::create_dir(&odd).unwrap();
    let long = "n".repeat(255);
    for name in
        [b"bad-\xff\xfe".as_slice(), b"caf\xc3\xa9", b"cafe\xcc\x81", b"line\nfeed", b"\x1b[31m", b" ", b"-rf", b"CON", long.as_bytes()]
    {
        fs::write(odd.join(std::ffi::OsStr::from_bytes(name)), "odd words").unwrap();
    }
    let many = workspace.join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..10_000 {
        fs::write(many.join(format!("file-{number:05}")), "").unwrap();
    }
    let deep = format!("deep{}", "/d".repeat(300));
    fs::create_dir_all(workspace.join(&deep)).unwrap();
    fs::write(workspace.join(&deep).join("bottom.txt"), "deep words").unwrap();

    let table = [
        (json!({"act": "list", "path": "many"}), json!({"names": 10_000, "unsayable": 0})),
        (json!({"act": "read", "path": format!("odd/{long}")}), json!("odd words")),
        (json!({"act": "create", "path": format!("odd/{long}n")}), json!("no: name-too-long")),
        (json!({"act": "create", "path": "x/".repeat(3000)}), json!("no: name-too-long")),
        (json!({"act": "read", "path": format!("{deep}/bottom.txt")}), json!("deep words")),
        (json!({"act": "read", "path": "odd/CAF\u{e9}"}), json!("no: no-entry")),
    ];
    each(&mut stage, &table).await;
    let listed = prowl(&mut stage, &[json!({"act": "list", "path": "odd"})]).await;
    assert_eq!((listed[0]["names"].as_array().map(Vec::len), &listed[0]["unsayable"]), (Some(9), &json!(0)), "{listed:?}");
    // What the bundled tools make of them is an answer, bounded, and without control characters that a terminal obeys.
    for (says, found) in [
        ("ls many", "file-0"),
        ("ls odd", "-rf"),
        ("glob many/*", "file-"),
        ("grep words in odd", "odd words"),
        ("grep deep words", "bottom.txt"),
    ] {
        let replies = stage.says(says).await;
        let said = &replies.last().unwrap().text;
        assert!(said.contains(found) && said.len() < limits::MODEL_OUTPUT_CHARS * 2, "{says}: {said:.500}");
    }
    stage.ends().await;
}

#[tokio::test]
async fn a_mounted_directory_that_was_replaced_by_a_link_is_not_followed() {
    let work = with_files().await;
    let outside = outside(&work);
    let project = work.folder().join("project");
    fs::create_dir_all(project.join("docs")).unwrap();
    fs::write(project.join("docs/secret"), "fine").unwrap();
    // One conversation sees the project, another one a part of it.
    let config = fs::read_to_string(work.folder().join("config.toml")).unwrap();
    work.configure(&config.split_once('\n').unwrap().1.replace("\"mounts/docs:ro\"", "\"mounts/docs:rw\""));
    show(&work, "victim", "docs", &project.join("docs"), false).await;
    show(&work, "bystander", "docs", &project, true).await;
    let mut stage = Stage::start(work).await;
    assert_eq!(prowl(&mut stage, &[json!({"act": "read", "path": "mounts/docs/secret"})]).await, ["fine"]);
    let steps = json!({"steps": [
        {"act": "rename", "path": "mounts/docs/docs", "to": "mounts/docs/old"},
        {"act": "symlink", "path": "mounts/docs/docs", "to": "../outside"},
    ]});
    let replaced = stage.bystander.talk("replace", &format!("call prowl {steps}")).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&replaced[0].text).unwrap(), json!(["ok", "ok"]), "{replaced:?}");
    let says = format!("call prowl {}", json!({"steps": [{"act": "read", "path": "mounts/docs/secret"}]}));
    let refused = stage.says(&says).await;
    assert!(refused[0].text.contains("cannot be opened"), "{refused:?}");
    // A later session goes on without it.
    let Stage { work, host, .. } = stage;
    host.stop().await;
    let host = work.host().await;
    let mut client = Client::attach(&work, "victim", &Log::new(work.folder())).await.unwrap();
    let told = client.talk("later", &says).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&told[0].text).unwrap(), json!(["no: no-entry"]), "{told:?}");
    host.stop().await;
    fs::remove_dir_all(&outside).unwrap();
    assert_no_secret(&work, &[OUTSIDE]);
}

#[tokio::test]
async fn what_decides_over_plugins_is_not_mounted_by_any_name() {
    let work = with_files().await;
    let folder = work.folder().to_owned();
    let keys = folder.join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("one"), "a-key-of-some-length\n").unwrap();
    fs::create_dir_all(folder.join("fine")).unwrap();
    let config = fs::read_to_string(folder.join("config.toml")).unwrap();
    work.configure(&config.split_once('\n').unwrap().1.replace("env = \"CANARY\"", &format!("file = {:?}", keys.join("one"))));
    // The work directory is known by a link.
    let real = folder.join("real");
    fs::create_dir(&real).unwrap();
    fs::rename(work.workdir(), real.join("work")).unwrap();
    symlink(real.join("work"), work.workdir()).unwrap();
    let host = work.host().await;
    let log = Log::new(&folder);
    let mount = |path: PathBuf| vec![Mount { name: "docs".to_owned(), path, writable: true }];
    symlink(real.join("work/components"), folder.join("by-link")).unwrap();
    let refused = [
        folder.clone(),
        real.clone(),
        real.join("work"),
        real.join("work/plugins"),
        real.join("work/components"),
        real.join("work/data/prowler"),
        work.workdir(),
        work.workdir().join("cache"),
        folder.join("by-link"),
        folder.join("fine/../real"),
        keys,
        guests::prowler().parent().unwrap().to_owned(),
    ];
    for path in refused {
        let client = Client::attach_with(&work, "victim", mount(path.clone()), &log).await.unwrap();
        let ToClient::Refused { reason } = &client.welcome else { panic!("{} was mounted", path.display()) };
        assert!(reason.contains("it would give plugins"), "{reason}");
    }
    let client = Client::attach_with(&work, "victim", mount(folder.join("fine")), &log).await.unwrap();
    assert!(matches!(client.welcome, ToClient::Welcome { .. }), "{:?}", client.welcome);
    host.stop().await;
}

#[tokio::test]
async fn a_guest_that_takes_the_place_of_mounts_keeps_only_itself_from_them() {
    let work = with_files().await;
    let docs = work.folder().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("d.txt"), "docs").unwrap();
    for (step, outside) in [
        (json!({"act": "write", "path": "mounts"}), None),
        (json!({"act": "symlink", "path": "mounts", "to": "../../../made"}), Some("made")),
        (json!({"act": "symlink", "path": "mounts", "to": "sub"}), None),
    ] {
        let mut stage = Stage::start(with_files().await).await;
        let name = stage.victim.conversation().to_owned();
        assert_eq!(prowl(&mut stage, &[json!({"act": "mkdir", "path": "sub"}), step.clone()]).await, ["ok", "ok"]);
        let log = Log::new(stage.work.folder());
        let mount = Mount { name: "docs".to_owned(), path: docs.clone(), writable: true };
        let client = Client::attach_with(&stage.work, "victim", vec![mount], &log).await.unwrap();
        match &client.welcome {
            ToClient::Refused { reason } => assert!(reason.contains("cannot prepare the workspace"), "{reason}"),
            _ => stage.victim = client,
        }
        if let Some(outside) = outside {
            assert!(!stage.work.folder().join(outside).exists());
        }
        let table =
            [(json!({"act": "write", "path": "own.txt"}), json!("ok")), (json!({"act": "read", "path": "own.txt"}), json!("guest"))];
        each(&mut stage, &table).await;
        assert_eq!(stage.victim.conversation(), name);
        stage.ends().await;
    }
    assert_eq!(fs::read_dir(&docs).unwrap().count(), 1);
}
