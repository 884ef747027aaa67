//! What the process says about itself: log lines on standard error, and in files while it serves.
//!
//! Every line passes through the [`Redactor`] before it leaves; until one is set, no secret has been read. A line that
//! cannot be written is dropped: the log never stops the work. Panics are lines, too.

mod file;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use self::file::LogFile;
pub use self::file::{NAME, paths};
use crate::secrets::Redactor;

/// How lines on standard error look. The file is always JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text { color: bool },
    Json,
}

/// The handle to what was started.
#[derive(Clone, Default)]
pub struct Logs {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    redactor: RwLock<Redactor>,
    file: Mutex<Option<LogFile>>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

impl Logs {
    /// From now on lines are free of the secrets that `redactor` knows.
    pub fn redact(&self, redactor: Redactor) {
        *self.shared.redactor.write().unwrap_or_else(PoisonError::into_inner) = redactor;
    }

    /// From now on lines go to [`NAME`] in `folder`, too. Only the host of the work directory writes it: it alone moves
    /// full files aside.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn to_folder(&self, folder: &Path) -> io::Result<()> {
        let file = LogFile::open(folder)?;
        *self.shared.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }
}

/// Is standard error the stream of the journal that `variable` (JOURNAL_STREAM) names? One that was redirected since is
/// not.
#[must_use]
pub fn is_journal(variable: Option<&OsStr>) -> bool {
    let named = variable.and_then(OsStr::to_str).and_then(|text| text.split_once(':'));
    let Some((device, inode)) = named.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?))) else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|found| (found.st_dev, found.st_ino) == (device, inode))
}

/// Starts logging for the process. `filter` is in the form of RUST_LOG; what is wrong in it is ignored. `journal`: lines on
/// standard error begin with their priority, and the journal adds the time.
///
/// In a process that logs already (a test), lines go where they went.
pub fn start(format: Format, journal: bool, filter: &str) -> Logs {
    let logs = Logs::default();
    let filter = || {
        let named = EnvFilter::builder().parse_lossy(filter);
        // Whatever is left out, a panic is not.
        concat!(module_path!(), "=error").parse().map_or(named.clone(), |panics| named.add_directive(panics))
    };
    let place = if journal { Place::Journal(priority(Level::INFO)) } else { Place::Stderr };
    let out = Sink { logs: logs.clone(), place };
    let layer = tracing_subscriber::fmt::layer();
    let shown: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Text { .. } if journal => {
            layer.with_ansi(false).with_target(false).with_level(false).without_time().with_writer(out).with_filter(filter()).boxed()
        }
        Format::Text { color } => layer.with_ansi(color).with_target(false).with_writer(out).with_filter(filter()).boxed(),
        Format::Json => layer.json().flatten_event(true).with_writer(out).with_filter(filter()).boxed(),
    };
    let kept = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let kept = kept.with_writer(Sink { logs: logs.clone(), place: Place::File }).with_filter(filter());
    match tracing_subscriber::registry().with(shown).with(kept).try_init() {
        Ok(()) => panic::set_hook(Box::new(say_panic)),
        Err(_) => tracing::debug!("logging had been started before"),
    }
    logs
}

/// A panic is a line like any other: in its form, in the file, too, and without secrets.
fn say_panic(info: &PanicHookInfo<'_>) {
    let reason = info.payload_as_str().unwrap_or("for no reason that can be shown");
    let place = info.location().map(ToString::to_string);
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::error!(reason, place, trace, "a panic");
}

/// Where lines end. One call of `write` is one whole record: the formatter buffers it.
#[derive(Clone)]
struct Sink {
    logs: Logs,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Stderr,
    /// The same, for the journal: with the priority of the record.
    Journal(u8),
    File,
}

/// As syslog counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

impl Write for Sink {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let shared = &self.logs.shared;
        let text = String::from_utf8_lossy(record);
        let redactor = shared.redactor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let clean = redactor.line(&text);
        match self.place {
            Place::Stderr => io::stderr().lock().write_all(clean.as_bytes())?,
            Place::Journal(priority) => {
                let lines: String = clean.lines().map(|line| format!("<{priority}>{line}\n")).collect();
                io::stderr().lock().write_all(lines.as_bytes())?;
            }
            Place::File => {
                if let Some(file) = shared.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    file.append(clean.as_bytes())?;
                }
            }
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self {
        let place = match self.place {
            Place::Journal(_) => Place::Journal(priority(*meta.level())),
            place => place,
        };
        Self { logs: self.logs.clone(), place }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::secrets::Secret;

    #[test]
    fn lines_in_the_file_are_free_of_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::default();
        logs.to_folder(folder.path()).unwrap();
        let secret = Secret::new("a-secret-of-some-length", "KEY").ok().unwrap();
        logs.redact(Redactor::new([&secret]));
        let kept = tracing_subscriber::fmt::layer().json().with_writer(Sink { logs, place: Place::File });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept), || {
            tracing::info!(
                header = "a-secret-of-some-length",
                url = "https://x/bot123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe",
                "asked"
            );
        });
        let log = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(log.contains("asked") && !log.contains("a-secret-of-some-length") && !log.contains("AAHdq"), "{log}");
    }
}
