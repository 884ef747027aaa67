//! The work directory is read-only, somebody else's, occupied, copied, or has something else in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use stellaclaw::channels::terminal::protocol::Settled;

use super::{assert_kept, script};
use crate::support::client::Client;
use crate::support::host::Work;
use crate::support::mounts;
use crate::support::scene::Scene;

const CONFIG: i32 = 3;
const LOCKED: i32 = 6;
const DISK: i32 = 74;

/// Makes the program a user without privileges, when the test has them: permissions are then the same for both.
fn unprivileged() -> Vec<&'static str> {
    match rustix::process::geteuid().is_root() {
        true => vec!["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"],
        false => vec![],
    }
}

/// How a host ends that cannot serve, and what it says in its last line.
async fn refused(work: &Work) -> (Option<i32>, String) {
    let mut host = work.spawn_under(&unprivileged(), &[]);
    let status = host.exit().await;
    (status.code(), host.said().lines().last().unwrap_or_default().to_owned())
}

/// The same, in another work directory.
fn refused_at(work: &Work, place: &Path) -> (Option<i32>, String) {
    let wrapper = unprivileged();
    let mut command = Command::new(wrapper.first().copied().unwrap_or("env"));
    command.env_clear().env("PATH", "/usr/bin:/bin").args(wrapper.iter().skip(1));
    let output = command.arg(work.command(&[]).get_program()).arg("--workdir").arg(place).arg("run").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Makes one work directory a copy of another.
fn replace(to: &Work, from: &Work) {
    fs::remove_dir_all(to.workdir()).unwrap();
    let copied = Command::new("cp").arg("-a").args([from.workdir(), to.workdir()]).status().unwrap();
    assert!(copied.success());
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Changes something in a work directory.
type Damage = Box<dyn Fn(&Path)>;

#[tokio::test]
async fn what_cannot_be_written_is_named_with_what_was_tried() {
    let closed = |name: &'static str| move |root: &Path| mode(&root.join(name), 0o400);
    let replaced = |name: &'static str| {
        move |root: &Path| {
            fs::remove_file(root.join(name)).unwrap();
            fs::create_dir(root.join(name)).unwrap();
        }
    };
    let cases: Vec<(Damage, i32, &str)> = vec![
        (Box::new(closed("state.db")), DISK, "state.db"),
        (Box::new(closed("state.mark")), DISK, "state.mark: Permission denied"),
        (Box::new(closed("lock")), DISK, "lock: Permission denied"),
        (Box::new(closed("logs/stellaclaw.log")), DISK, "logs/stellaclaw.log: Permission denied"),
        (Box::new(replaced("state.db")), DISK, "state.db"),
        (Box::new(replaced("lock")), DISK, "lock: Is a directory"),
        (Box::new(|root: &Path| fs::write(root.join("STELLA_VERSION"), "999\n").unwrap()), CONFIG, "has version 999, this release knows 2"),
        (Box::new(|root: &Path| fs::write(root.join("STELLA_VERSION"), "other").unwrap()), CONFIG, "says \"other\""),
        (Box::new(|root: &Path| fs::remove_file(root.join("state.db")).unwrap()), DISK, "stellaclaw backup restore"),
        (Box::new(|root: &Path| fs::write(root.join("state.db"), "garbage ".repeat(1000)).unwrap()), DISK, "restore a backup"),
        (Box::new(|root: &Path| fs::create_dir(root.join("host.sock")).unwrap()), DISK, "host.sock"),
    ];
    let work = Work::new();
    work.host().await.stop().await;
    for (damage, code, says) in cases {
        let folder = Work::new();
        let root = folder.workdir();
        replace(&folder, &work);
        damage(&root);
        let (ended, said) = refused(&folder).await;
        assert_eq!(ended, Some(code), "{says}: {said}");
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[tokio::test]
async fn a_read_only_disk_is_named() {
    const READ_ONLY: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let work = Work::new();
    work.host().await.stop().await;
    let place = work.workdir();
    let mut host = work.spawn_under(&mounts::script(READ_ONLY, &[place.to_str().unwrap()]), &[]);
    let status = host.exit().await;
    let said = host.said();
    assert_eq!(status.code(), Some(DISK), "{said}");
    assert!(said.contains("Read-only file system") && said.contains(place.to_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_made_so_when_it_is_ours_and_named_when_it_is_not_to_be_changed() {
    let work = Work::new();
    work.host().await.stop().await;
    for closed in [work.workdir(), work.workdir().join("blobs"), work.workdir().join("conversations")] {
        mode(&closed, 0o500);
    }
    let host = work.serving(work.spawn_under(&unprivileged(), &[])).await.unwrap_or_else(|died| panic!("{died:?}\n{}", work.log()));
    host.stop().await;
    assert_eq!(fs::metadata(work.workdir().join("blobs")).unwrap().permissions().mode() & 0o777, 0o700);
    // What lies above the work directory is not the host's.
    fs::remove_dir_all(work.workdir()).unwrap();
    mode(work.folder(), 0o500);
    let (ended, said) = refused_at(&work, &work.workdir());
    mode(work.folder(), 0o700);
    assert_eq!(ended, Some(DISK), "{said}");
    assert!(said.contains(work.workdir().to_str().unwrap()) && said.contains("Permission denied"), "{said}");
}

#[tokio::test]
async fn a_directory_that_is_not_ours_is_refused_and_one_that_is_too_open_is_closed() {
    let work = Work::new();
    work.host().await.stop().await;
    for path in [work.workdir(), work.workdir().join("blobs"), work.workdir().join("conversations")] {
        mode(&path, 0o755);
    }
    work.host().await.stop().await;
    assert_eq!(fs::metadata(work.workdir()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(work.workdir().join("blobs")).unwrap().permissions().mode() & 0o777, 0o700);
    // A user without privileges cannot give a directory away; one that is the system's will do.
    let foreign = work.folder().join("foreign");
    let place = match rustix::process::geteuid().is_root() {
        true => {
            fs::create_dir(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(65_534), Some(65_534)).unwrap();
            foreign
        }
        false => "/usr".into(),
    };
    let (ended, said) = refused_at(&work, &place);
    assert_eq!(ended, Some(DISK), "{said}");
    assert!(said.contains(place.to_str().unwrap()) && said.contains("not permitted"), "{said}");
}

#[tokio::test]
async fn what_others_can_read_or_change_is_said_at_the_start() {
    let scene = Scene::new(script()).await;
    let key = scene.work.folder().join("key");
    fs::write(&key, "canary-of-a-secret-file\n").unwrap();
    let config = scene.work.folder().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("{ env = \"FAKE_KEY\" }", &format!("{{ file = {key:?} }}"))).unwrap();
    mode(&key, 0o644);
    mode(&config, 0o666);
    let host = scene.work.host().await;
    let said = host.said();
    for says in ["chmod 600", "chmod go-w"] {
        assert!(said.contains(says), "{says}: {said}");
    }
    assert!(!said.contains("canary-of"), "{said}");
    host.stop().await;
    mode(&key, 0o600);
    mode(&config, 0o600);
    let host = scene.work.host().await;
    assert!(!host.said().contains("chmod"), "{}", host.said());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_host_is_told_and_what_a_killed_one_leaves_is_no_obstacle() {
    let scene = Scene::new(script()).await;
    let host = scene.work.host().await;
    let second = scene.work.run(&["run"], "").await;
    assert_eq!(second.code, Some(LOCKED), "{second:?}");
    assert!(second.errors.contains("a host serves") && second.errors.contains("stellaclaw status"), "{second:?}");
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.say("1", "wait").await.unwrap();
    scene.fake.held("wait", 1).await;
    host.kill();
    assert!(scene.work.socket().exists() && scene.work.workdir().join("lock").exists());
    // A copy of what the killed one left is a work directory of its own, beside the first.
    let copy = Work::new();
    replace(&copy, &scene.work);
    let host = scene.work.host().await;
    let status = copy.run(&["status", "--json"], "").await;
    let status: serde_json::Value = serde_json::from_str(&status.output).unwrap_or_else(|error| panic!("{error}: {status:?}"));
    assert_eq!((&status["running"], &status["store"]["open"][0]["phase"]), (&false.into(), &"asking".into()));
    scene.fake.release("wait");
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.last().unwrap().text.as_str(), state), ("It was worth it.", Settled::Idle));
    host.stop().await;
    assert_kept(&scene, 1);
    // A verb that needs a host speaks to the one that there is.
    let host = scene.work.host().await;
    let asked = scene.work.run(&["ask", "hello"], "").await;
    assert_eq!((asked.code, asked.output.trim()), (Some(0), "Hello to you."), "{asked:?}");
    host.stop().await;
}
