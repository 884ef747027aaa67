//! What the process says about itself: log lines on standard error, and in a file while it serves.
//!
//! Every line passes through the [`Redactor`] before it leaves; until one is set, no secret has been read. A line that
//! cannot be written is dropped: the log never stops the work.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::limits;
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
    file: RwLock<Option<File>>,
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

    /// From now on lines go to `stellaclaw.log` in `folder`, too. A long file is first moved to `stellaclaw.log.1`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn to_folder(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join("stellaclaw.log");
        if fs::metadata(&path).is_ok_and(|found| found.len() > limits::LOG_FILE_BYTES) {
            fs::rename(&path, folder.join("stellaclaw.log.1"))?;
        }
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        *self.shared.file.write().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }
}

/// Starts logging for the process. `filter` is in the form of RUST_LOG; what is wrong in it is ignored.
///
/// In a process that logs already (a test), lines go where they went.
pub fn start(format: Format, filter: &str) -> Logs {
    let logs = Logs::default();
    let filter = || EnvFilter::builder().parse_lossy(filter);
    let out = Sink { logs: logs.clone(), place: Place::Stderr };
    let layer = tracing_subscriber::fmt::layer();
    let shown: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Text { color } => layer.with_ansi(color).with_target(false).with_writer(out).with_filter(filter()).boxed(),
        Format::Json => layer.json().flatten_event(true).with_writer(out).with_filter(filter()).boxed(),
    };
    let kept = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let kept = kept.with_writer(Sink { logs: logs.clone(), place: Place::File }).with_filter(filter());
    if tracing_subscriber::registry().with(shown).with(kept).try_init().is_err() {
        tracing::debug!("logging had been started before");
    }
    logs
}

/// Where lines end. One call of `write` is one whole line: the formatter buffers it.
#[derive(Clone)]
struct Sink {
    logs: Logs,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Stderr,
    File,
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shared = &self.logs.shared;
        let text = String::from_utf8_lossy(line);
        let redactor = shared.redactor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let clean = redactor.text(&text);
        match self.place {
            Place::Stderr => io::stderr().lock().write_all(clean.as_bytes())?,
            Place::File => {
                if let Some(file) = shared.file.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
                    let mut file: &File = file;
                    file.write_all(clean.as_bytes())?;
                }
            }
        }
        Ok(line.len())
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
}

#[cfg(test)]
mod tests {
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
            tracing::info!(header = "Bearer a-secret-of-some-length", "asked");
        });
        let log = fs::read_to_string(folder.path().join("stellaclaw.log")).unwrap();
        assert!(log.contains("asked") && !log.contains("a-secret-of-some-length"), "{log}");
    }
}
