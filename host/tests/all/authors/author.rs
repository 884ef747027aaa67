//! Somebody who writes a plugin: a home without anything in it, and the toolchain of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::warm;

pub struct Author {
    home: TempDir,
    _turn: Turn,
}

/// One author at a time: cargo takes crates of one name in one build directory for the same crate.
pub struct Turn(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

/// Waits until nobody else writes a plugin.
pub fn turn() -> Turn {
    static WRITING: Mutex<()> = Mutex::new(());
    Turn(WRITING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Author {
    pub fn new() -> Self {
        Self { _turn: turn(), home: tempfile::Builder::new().prefix("author-").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Another program in the place of one of this machine's.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The variables of everything that the author runs.
    pub fn variables(&self) -> Vec<(String, String)> {
        variables(self.home.path(), &self.path("bin"))
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(warm::program());
        command.args(args).current_dir(self.home.path());
        self.ended(command)
    }

    pub fn cargo(&self, folder: &Path, args: &[&str]) -> Ended {
        let mut command = Command::new("cargo");
        command.args(args).current_dir(folder);
        self.ended(command)
    }

    /// A line of a shell.
    pub fn shell(&self, folder: &Path, line: &str) -> Ended {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(folder);
        self.ended(command)
    }

    pub fn json(&self, args: &[&str], code: i32) -> Value {
        let ended = self.run(args);
        assert_eq!(ended.code, code, "{} {}", ended.out, ended.err);
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.out))
    }

    fn ended(&self, mut command: Command) -> Ended {
        let done = command.env_clear().envs(self.variables()).output().unwrap();
        let home = self.home.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(home, "~");
        Ended { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
    }
}

/// An environment with this home, the program and cargo, and without the network. What cargo has compiled for one author is
/// there for the next one, as it is for the second plugin of a person.
pub fn variables(home: &Path, programs: &Path) -> Vec<(String, String)> {
    let own = |name: &str| std::env::var(name).ok();
    let at_home = |name: &str, folder: &str| own(name).unwrap_or_else(|| format!("{}/{folder}", own("HOME").unwrap_or_default()));
    let cargo = Path::new(env!("CARGO")).parent().unwrap();
    let program = warm::program().parent().unwrap();
    let path = [programs, program, cargo].map(|folder| folder.display().to_string()).join(":");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authors");
    let mut variables = vec![
        ("HOME".to_owned(), home.display().to_string()),
        ("PATH".to_owned(), format!("{path}:{}", own("PATH").unwrap_or_else(|| "/usr/bin:/bin".to_owned()))),
        ("CARGO_HOME".to_owned(), at_home("CARGO_HOME", ".cargo")),
        ("RUSTUP_HOME".to_owned(), at_home("RUSTUP_HOME", ".rustup")),
        ("CARGO_NET_OFFLINE".to_owned(), "true".to_owned()),
        ("CARGO_BUILD_BUILD_DIR".to_owned(), built.display().to_string()),
    ];
    variables.extend(own("RUSTUP_TOOLCHAIN").map(|toolchain| ("RUSTUP_TOOLCHAIN".to_owned(), toolchain)));
    variables
}
