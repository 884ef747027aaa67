//! The line a person types: with editing and history while the host is quiet, plain while it works.
//!
//! Both run on threads of their own, because both block. At most one of them reads at a time.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use reedline::{DefaultPrompt, DefaultPromptSegment, ExternalPrinter, FileBackedHistory, Reedline, Signal};
use tokio::sync::{mpsc, oneshot};

/// Lines of history kept between runs.
const HISTORY_LINES: usize = 1000;
/// Messages that may wait to be printed above the prompt.
const PRINTER_LINES: usize = 64;
/// How often the plain reader looks whether it should stop.
const POLL: Duration = Duration::from_millis(100);

/// What came of a prompt.
#[derive(Debug)]
pub(crate) enum Typed {
    Line(String),
    /// Ctrl-C: the line was thrown away.
    Interrupted,
    /// Ctrl-D, or the terminal is gone.
    Ended,
}

/// The prompt with line editing.
pub(crate) struct Prompt {
    requests: mpsc::UnboundedSender<oneshot::Sender<Typed>>,
    printer: SyncSender<String>,
}

impl Prompt {
    /// Starts the thread. `history` is a file that need not exist yet.
    pub(crate) fn start(history: Option<PathBuf>, colours: bool) -> std::io::Result<Self> {
        let (requests, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<Typed>>();
        let for_editor = ExternalPrinter::new(PRINTER_LINES);
        let printer = for_editor.sender();
        std::thread::Builder::new().name("prompt".into()).spawn(move || {
            let mut editor = Reedline::create().with_external_printer(for_editor).with_ansi_colors(colours);
            if let Some(history) = history.and_then(|file| FileBackedHistory::with_file(HISTORY_LINES, file).ok()) {
                editor = editor.with_history(Box::new(history));
            }
            let prompt = DefaultPrompt::new(DefaultPromptSegment::Empty, DefaultPromptSegment::Empty);
            while let Some(answer) = asked.blocking_recv() {
                let typed = match editor.read_line(&prompt) {
                    Ok(Signal::Success(line)) => Typed::Line(line),
                    Ok(Signal::CtrlC) => Typed::Interrupted,
                    _ => Typed::Ended,
                };
                // The asker may be gone; then nobody wants the line.
                let _: Result<(), Typed> = answer.send(typed);
            }
        })?;
        Ok(Self { requests, printer })
    }

    /// Asks for a line.
    pub(crate) fn ask(&self) -> oneshot::Receiver<Typed> {
        let (answer, typed) = oneshot::channel();
        // A prompt thread that is gone drops `answer`, which the receiver reads as the end.
        let _: Result<(), _> = self.requests.send(answer);
        typed
    }

    /// Prints above the prompt, from anywhere.
    pub(crate) fn printer(&self) -> impl Fn(String) + Send + use<> {
        let printer = self.printer.clone();
        move |text| {
            // The queue is full only while the terminal does not take anything.
            let _: Result<(), _> = printer.try_send(text);
        }
    }

    /// Prints above the prompt that is being edited.
    pub(crate) fn print(&self, text: String) {
        // The queue is full only while the terminal does not take anything.
        let _: Result<(), _> = self.printer.try_send(text);
    }
}

/// Whole lines from standard input while the host works, without touching the terminal's mode.
pub(crate) struct Lines {
    pub(crate) received: mpsc::UnboundedReceiver<String>,
    stop: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

impl Lines {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (lines, received) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::Builder::new().name("lines".into()).spawn(move || {
            // Dropped when the thread ends, which is what is waited for.
            let _end: oneshot::Sender<()> = end;
            while !stopped.load(Ordering::Relaxed) {
                // Between the look and the reading the prompt may have begun to read.
                if !readable(POLL) || stopped.load(Ordering::Relaxed) {
                    continue;
                }
                let mut line = String::new();
                match std::io::stdin().lock().read_line(&mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) if lines.send(line).is_err() => return,
                    Ok(_) => {}
                }
            }
        })?;
        Ok(Self { received, stop, ended })
    }

    /// Stops reading, and returns when nobody reads any more. The lines that were finished and not taken.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        // Resolves with an error when the thread is gone.
        let _: Result<(), oneshot::error::RecvError> = (&mut self.ended).await;
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn readable(wait: Duration) -> bool {
    let stdin = std::io::stdin();
    let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
    let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
    matches!(rustix::event::poll(&mut fds, Some(&wait)), Ok(ready) if ready > 0)
}
