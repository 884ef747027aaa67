//! The program at a terminal of its own: `script` of util-linux makes one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::HANGS;
use super::host::Work;

/// A verb with a person in front of it, until it is dropped.
pub struct Pty {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Up to here it was waited for.
    seen: usize,
}

impl Pty {
    pub fn start(work: &Work, arguments: &[&str]) -> Self {
        let program = work.command(arguments);
        let words = [program.get_program()].into_iter().chain(program.get_args()).map(|word| format!("'{}'", word.to_str().unwrap()));
        // Its file is what `script` runs: quoting twice is asking for trouble.
        let file = work.folder().join("at-a-terminal.sh");
        fs::write(&file, format!("#!/bin/sh\nexec {}\n", words.collect::<Vec<_>>().join(" "))).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        let mut script = Command::new("timeout");
        let limit = (HANGS * 3).as_secs().to_string();
        script.args(["--foreground", &limit, "script", "--quiet", "--return", "--command", file.to_str().unwrap(), "/dev/null"]);
        script.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("SHELL", "/bin/sh");
        let mut child =
            script.current_dir(work.folder()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script of util-linux");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut output, heard) = (child.stdout.take().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut chunk) {
                heard.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { child, shown, seen: 0 }
    }

    /// Everything that was on the screen, without what moves the cursor to the left.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace('\r', "")
    }

    /// Waits until this is shown after what was waited for before.
    pub async fn until(&mut self, text: &str) {
        let started = Instant::now();
        loop {
            let shown = self.shown();
            if let Some(at) = shown.get(self.seen..).and_then(|rest| rest.find(text)) {
                self.seen += at + text.len();
                return;
            }
            assert!(started.elapsed() < HANGS, "{text:?} is not shown after {:?}", shown.get(self.seen..).unwrap_or(&shown));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Types, as the keys send it: Enter is `\r` where each key is read, else `\n`.
    pub fn types(&mut self, keys: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// The code that it ends with, and what was shown.
    pub async fn finish(mut self) -> (Option<i32>, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < HANGS, "it does not end after {:?}", self.shown());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        (status.code(), self.shown())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
