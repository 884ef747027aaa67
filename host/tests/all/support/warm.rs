//! The program, kept from being replaced by a build that goes on beside the tests, and what it compiles only once.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use stellaclaw::channels::terminal::protocol::{PROTOCOL, Place, ToHost};

/// Compiling everything takes seconds; on a machine that builds something else, many.
const COMPILES: Duration = Duration::from_secs(300);

/// The program under test.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_stellaclaw"));
        let kept = folder().join("stellaclaw");
        match fs::hard_link(built, &kept) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => panic!("cannot link {}: {error}", built.display()),
            _ => kept,
        }
    })
}

/// Gives a work directory the compiled components that every host of this program makes.
pub fn fill(workdir: &Path) {
    private(workdir);
    for name in ["cache", "components"] {
        copy(&compiled().join(name), &workdir.join(name));
    }
}

/// One per program that was built.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let built = fs::metadata(env!("CARGO_BIN_EXE_stellaclaw")).unwrap();
        let name = format!("warm-{}-{}-{}", built.ino(), built.mtime(), built.mtime_nsec());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        forget_older(&folder);
        folder
    })
}

/// Programs of builds long past. One that somebody still runs stays open.
fn forget_older(kept: &Path) {
    let hour = Duration::from_secs(3600);
    for entry in fs::read_dir(env!("CARGO_TARGET_TMPDIR")).unwrap().flatten() {
        let is_old = || entry.metadata().and_then(|found| found.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > hour));
        if entry.file_name().to_string_lossy().starts_with("warm-") && entry.path() != kept && is_old() {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// A work directory in which every bundled component has been compiled.
fn compiled() -> &'static Path {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let done = folder().join("work");
        if !done.exists() {
            // Another process may do the same; whoever is first wins.
            let made = tempfile::Builder::new().prefix("work-").tempdir_in(folder()).unwrap();
            let workdir = made.path().join("work");
            compile(&workdir);
            match fs::rename(&workdir, &done) {
                Err(error) if !done.exists() => panic!("cannot keep {}: {error}", workdir.display()),
                _ => {}
            }
        }
        done
    })
}

/// Lets a host compile everything.
fn compile(workdir: &Path) {
    let mut host = Command::new(program())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", workdir.parent().unwrap())
        .arg("--workdir")
        .arg(workdir)
        .arg("run")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while preparing(&workdir.join("host.sock")) != Some(0) {
        let ended = host.try_wait().unwrap();
        assert!(ended.is_none() && started.elapsed() < COMPILES, "the components were not compiled: {ended:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    host.kill().unwrap();
    host.wait().unwrap();
}

/// How many components a host still compiles, once it says so.
fn preparing(socket: &Path) -> Option<u64> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let hello = ToHost::Hello { protocol: PROTOCOL, version: "test".into(), place: Place::Chat { name: None }, mounts: Vec::new() };
    writeln!(stream, "{}", serde_json::to_string(&hello).unwrap()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str::<Value>(&line).ok()?["preparing"].as_u64()
}

fn private(path: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}

fn copy(from: &Path, to: &Path) {
    private(to);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
