//! The program under test: a work directory, hosts that serve it, and verbs that use it.
//!
//! Every process that is started here ends with the test, also when the test is killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::{HANGS, warm};

/// A work directory with a configuration of its own, in a directory that goes away with it.
pub struct Work {
    folder: TempDir,
    hosts: AtomicUsize,
    /// Variables of every process.
    variables: Vec<(String, String)>,
}

impl Work {
    /// With the embedded configuration: the offline provider.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("stella-").tempdir().unwrap();
        warm::fill(&folder.path().join("work"));
        Self { folder, hosts: AtomicUsize::new(0), variables: Vec::new() }
    }

    /// Without what other tests have compiled.
    pub fn cold() -> Self {
        let folder = tempfile::Builder::new().prefix("stella-").tempdir().unwrap();
        Self { folder, hosts: AtomicUsize::new(0), variables: Vec::new() }
    }

    /// Takes the components that another one has, and what was compiled of them.
    pub fn take_components(&self, from: &Self) {
        let all = ["cache", "components", "plugins"].map(|name| from.workdir().join(name));
        let copied = Command::new("cp").arg("-a").args(all).arg(self.workdir()).status().unwrap();
        assert!(copied.success());
    }

    /// Another one, with everything that this one has now. No host may serve it meanwhile.
    pub fn copy(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("stella-").tempdir().unwrap();
        let all = [self.workdir(), self.config_file()].into_iter().filter(|path| path.exists());
        let copied = Command::new("cp").arg("-a").args(all).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        Self { folder, hosts: AtomicUsize::new(0), variables: self.variables.clone() }
    }

    /// Writes the configuration anew.
    pub fn configure(&self, config: &str) {
        fs::write(self.config_file(), format!("version = \"0.5\"\n{config}")).unwrap();
    }

    /// Sets a variable in every process to come.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// What else the test puts somewhere.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn workdir(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn socket(&self) -> PathBuf {
        self.workdir().join("host.sock")
    }

    pub fn database(&self) -> PathBuf {
        self.workdir().join("state.db")
    }

    pub fn workspace(&self, conversation: &str) -> PathBuf {
        self.workdir().join("conversations").join(conversation)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// The program with these arguments, and an environment built from nothing.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(warm::program());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.folder.path()).env("RUST_LOG", "warn,stellaclaw=debug");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).arg("--workdir").arg(self.workdir());
        if self.config_file().exists() {
            command.arg("--config").arg(self.config_file());
        }
        command.args(arguments);
        command
    }

    /// A host, once it serves its socket.
    pub async fn host(&self) -> Host {
        match self.start(&[]).await {
            Ok(host) => host,
            Err(died) => panic!("the host did not start: {died:?}\n{}", self.log()),
        }
    }

    /// A host with further variables; how it ended, when it did before it served.
    pub async fn start(&self, variables: &[(&str, &str)]) -> Result<Host, ExitStatus> {
        self.serving(self.spawn(variables)).await
    }

    /// A host that serves its socket; how it ended, when it did before.
    pub async fn serving(&self, mut host: Host) -> Result<Host, ExitStatus> {
        let started = Instant::now();
        loop {
            if UnixStream::connect(self.socket()).await.is_ok() {
                return Ok(host);
            }
            if let Some(status) = host.ended() {
                return Err(status);
            }
            assert!(started.elapsed() < HANGS, "the host does not serve its socket\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A host that is only started.
    pub fn spawn(&self, variables: &[(&str, &str)]) -> Host {
        self.spawn_under(&[], variables)
    }

    /// The same, started by another program that becomes it.
    pub fn spawn_under(&self, wrapper: &[&str], variables: &[(&str, &str)]) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.path().join(format!("host-{number}.log"));
        let mut command = self.command(&["run"]);
        if let [program, arguments @ ..] = wrapper {
            let mut wrapped = Command::new(program);
            wrapped.args(arguments).arg(command.get_program()).args(command.get_args());
            wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            wrapped.current_dir(self.folder.path());
            command = wrapped;
        }
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Host { child: Guarded::spawn(&mut command), log }
    }

    /// What the hosts said so far.
    pub fn log(&self) -> String {
        let count = self.hosts.load(Ordering::Relaxed);
        let one = |number: usize| fs::read_to_string(self.folder.path().join(format!("host-{number}.log"))).unwrap_or_default();
        (0..count).map(|number| format!("── host {number} ──\n{}", one(number))).collect()
    }

    /// Runs a verb to its end with this input.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Ran {
        self.begin(arguments).finish(input).await
    }

    /// Starts a verb.
    pub fn begin(&self, arguments: &[&str]) -> Running {
        Self::started(self.command(arguments), arguments.join(" "))
    }

    /// Starts a script of a shell that knows the program as `stellaclaw`. What it starts gets its signals, too.
    pub fn shell(&self, script: &str) -> Running {
        let programs = self.folder.path().join("bin");
        fs::create_dir_all(&programs).unwrap();
        std::os::unix::fs::symlink(warm::program(), programs.join("stellaclaw")).unwrap();
        let mut command = Command::new("timeout");
        command.arg((HANGS * 5).as_secs().to_string()).args(["sh", "-e", "-c", script]).current_dir(self.folder.path());
        command.env_clear().env("HOME", self.folder.path()).env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
        command.env("STELLACLAW_WORKDIR", self.workdir());
        Self::started(command, "sh".to_owned())
    }

    fn started(mut command: Command, what: String) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Guarded::spawn(&mut command);
        let output = Heard::listen(format!("what `{what}` wrote"), child.child.stdout.take().unwrap());
        let errors = Heard::listen(format!("what `{what}` said"), child.child.stderr.take().unwrap());
        Running { child, output, errors, what }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// A process that does not outlive the test: a shell kills it when the pipe that this holds closes without a word.
pub struct Guarded {
    child: Child,
    watch: Child,
    leash: ChildStdin,
}

impl Guarded {
    fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        let mut watch = Command::new("/bin/sh")
            .args(["-c", "read word || kill -9 $0 2>/dev/null", &child.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let leash = watch.stdin.take().unwrap();
        Self { child, watch, leash }
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _: Result<(), rustix::io::Errno> = rustix::process::kill_process(self.pid(), signal);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.leash.write_all(b"done\n"));
        drop(self.watch.wait());
    }
}

/// A host that runs, until this is dropped.
pub struct Host {
    child: Guarded,
    log: PathBuf,
}

impl Host {
    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        drop(self.child.child.kill());
        drop(self.child.child.wait());
    }

    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(started.elapsed() < HANGS, "the host does not end\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stops it in good order.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.exit().await;
        assert!(status.success(), "stopped with {status:?}\n{}", self.said());
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Stops it where it is, until it is told to continue. Its threads do not all stop at the same moment.
    pub async fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let stands = |task: &Path| fs::read_to_string(task.join("status")).is_ok_and(|status| status.contains("\nState:\tT"));
        let all = || fs::read_dir(&tasks).unwrap().all(|task| stands(&task.unwrap().path()));
        let frozen = async {
            while !all() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        super::within("every thread of a stopped host", frozen).await;
    }

    /// A number that the kernel keeps of the process, such as `VmRSS` in KiB, or `Threads`.
    pub fn counts(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// What its descriptors stand for, by their number.
    pub fn descriptors(&self) -> BTreeMap<u64, PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero())).unwrap().map(|entry| entry.unwrap());
        // One that was closed meanwhile is none.
        let number = |name: std::ffi::OsString| name.to_str().unwrap().parse().unwrap();
        open.filter_map(|entry| Some((number(entry.file_name()), fs::read_link(entry.path()).ok()?))).collect()
    }
}

/// Was it `kill -9`?
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

/// A verb that runs.
pub struct Running {
    child: Guarded,
    output: Heard,
    errors: Heard,
    what: String,
}

/// A verb that ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Running {
    /// Writes a line to its standard input.
    pub fn type_line(&mut self, line: &str) {
        let input = self.child.child.stdin.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Writes the last of its input.
    pub fn close(&mut self, input: &str) {
        let pipe = self.child.child.stdin.take();
        // Who does not want its input may close it.
        drop(pipe.map(|mut pipe| pipe.write_all(input.as_bytes())));
    }

    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// What it wrote and said so far.
    pub fn so_far(&self) -> String {
        format!("{}{}", self.output.so_far(), self.errors.so_far())
    }

    /// Writes the rest of its input and waits for its end.
    pub async fn finish(mut self, input: &str) -> Ran {
        self.close(input);
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < HANGS, "`{}` does not end", self.what);
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        Ran { code: status.code(), output: self.output.all(), errors: self.errors.all() }
    }
}

/// What comes out of a pipe. Shown when the test fails.
struct Heard {
    what: String,
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Heard {
    fn listen(what: String, mut pipe: impl io::Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = bytes.clone();
        let thread = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                heard.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { what, bytes, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Everything, when the other side is closed.
    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.so_far()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── {} ──\n{}", self.what, self.so_far());
        }
    }
}
