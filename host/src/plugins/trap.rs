//! What became of a call that did not answer: one line for the model, everything for the log.
//!
//! A trap's own text says little ("unreachable executed"); what the guest wrote before it says more: a Rust panic and an
//! allocation that failed name themselves there, a Python traceback ends with its error.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::call::{CallError, ErrorKind};
use super::engine::chain;
use super::imports::filesystem::Denial;
use crate::limits;

/// How the engine begins to say that values were larger than [`limits::HOSTCALL_FUEL_BYTES`]. It has no type for it.
const OVER_THE_BORDER: &str = "too much data is being copied between the host and the guest";

/// The error of a call that trapped. `stderr` is what the guest wrote.
pub(super) fn crashed(plugin: &str, error: &wasmtime::Error, stderr: &str) -> CallError {
    let (kind, line) = explain(plugin, error, stderr);
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
    let cause = root(error);
    let trap = [cause.as_str(), backtrace.trim_end(), stderr.trim_end()].into_iter().filter(|text| !text.is_empty());
    CallError { kind, message: format!("the tool crashed: {line}"), retry_after_ms: None, trap: Some(trap.collect::<Vec<_>>().join("\n")) }
}

/// Adds to an error that a guest returned what the host refused during the call: a guest knows that it was refused, not
/// why. A call that was stopped or ran out of time ended for that reason, whatever it was refused before.
pub(super) fn with_denials(mut error: CallError, denials: &[Denial]) -> CallError {
    if let Some(denial) = denials.last()
        && !matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Timeout)
    {
        error.kind = ErrorKind::Denied;
        let cause = match &denial.key {
            Some(key) => format!("{key} would allow it"),
            None => "nothing can allow it".into(),
        };
        let reason = format!(" (refused: {} of {:?}; {cause})", denial.operation, denial.path);
        let room = limits::ERROR_MESSAGE_BYTES.saturating_sub(reason.len());
        error.message.truncate(error.message.floor_char_boundary(room));
        error.message.push_str(&reason);
    }
    error
}

fn explain(plugin: &str, error: &wasmtime::Error, stderr: &str) -> (ErrorKind, String) {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return (ErrorKind::Failed, format!("it ended itself with status {}", exit.0));
    }
    if root(error).starts_with(OVER_THE_BORDER) {
        return (
            ErrorKind::TooLarge,
            format!("it handed over too much at once; at most {} MiB go into or out of one call", limits::HOSTCALL_FUEL_BYTES >> 20),
        );
    }
    if let Some(line) = stderr.lines().find(|line| line.starts_with("memory allocation of ")) {
        return (ErrorKind::TooLarge, format!("{line}; [plugins.{plugin}.limits] memory raises its limit"));
    }
    if let Some(message) = panic_message(stderr) {
        return (ErrorKind::Failed, message);
    }
    let line = match error.downcast_ref::<Trap>() {
        // A deep recursion leaves the guest's memory before it exhausts the engine's stack.
        Some(trap @ (Trap::StackOverflow | Trap::MemoryOutOfBounds)) => format!("{trap} (a deep recursion?)"),
        Some(Trap::UnreachableCodeReached) => match stderr.trim().lines().last() {
            Some(last) => last.to_owned(),
            None => "without a message".into(),
        },
        Some(trap) => trap.to_string(),
        None => root(error),
    };
    (ErrorKind::Failed, line)
}

/// The message of a Rust panic: the line after the one that says where.
fn panic_message(stderr: &str) -> Option<String> {
    let mut lines = stderr.lines().skip_while(|line| !line.contains("panicked at "));
    let place = lines.next()?.split_once("panicked at ")?.1.trim_end_matches(':');
    let message = lines.next().unwrap_or_default();
    Some(format!("panicked at {place}: {message}"))
}

/// The causes of an error without the backtrace that the engine puts among them.
fn root(error: &wasmtime::Error) -> String {
    if error.downcast_ref::<WasmBacktrace>().is_some() { error.root_cause().to_string() } else { chain(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap(trap: Trap, stderr: &str) -> CallError {
        crashed("p", &wasmtime::Error::from(trap), stderr)
    }

    #[test]
    fn a_panic_names_itself() {
        let stderr = "\nthread 'main' panicked at src/lib.rs:10:58:\nindex out of bounds\nnote: run with `RUST_BACKTRACE=1`\n";
        let error = trap(Trap::UnreachableCodeReached, stderr);
        assert_eq!(error.message, "the tool crashed: panicked at src/lib.rs:10:58: index out of bounds");
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.trap.unwrap().contains("note: run with"), "the log has all of it");
    }

    #[test]
    fn other_ends() {
        let memory = trap(Trap::UnreachableCodeReached, "memory allocation of 99 bytes failed\n");
        assert_eq!(memory.kind, ErrorKind::TooLarge);
        assert!(memory.message.contains("99 bytes") && memory.message.contains("[plugins.p.limits] memory"), "{}", memory.message);
        let much = crashed("p", &wasmtime::Error::msg(format!("{OVER_THE_BORDER}: …")), "");
        assert_eq!(much.kind, ErrorKind::TooLarge);
        let python = trap(Trap::UnreachableCodeReached, "Traceback:\n  File x\nValueError: no\n");
        assert_eq!(python.message, "the tool crashed: ValueError: no");
        assert!(trap(Trap::MemoryOutOfBounds, "").message.contains("recursion"));
        let exit = crashed("p", &wasmtime::Error::from(I32Exit(3)), "");
        assert_eq!(exit.message, "the tool crashed: it ended itself with status 3");
    }

    #[test]
    fn a_refused_file_names_the_key() {
        let error = CallError { kind: ErrorKind::Failed, message: "cannot write".into(), retry_after_ms: None, trap: None };
        assert_eq!(with_denials(error.clone(), &[]), error);
        for kind in [ErrorKind::Cancelled, ErrorKind::Timeout] {
            let ended = CallError { kind, ..error.clone() };
            let denial = Denial { operation: "open", path: "a.txt".into(), key: None };
            assert_eq!(with_denials(ended.clone(), &[denial]), ended, "it ended for another reason");
        }
        let long = CallError { message: "é".repeat(limits::ERROR_MESSAGE_BYTES), ..error.clone() };
        let long = with_denials(long, &[Denial { operation: "open", path: "a.txt".into(), key: None }]).message;
        assert!(long.len() <= limits::ERROR_MESSAGE_BYTES && long.ends_with("nothing can allow it)"), "{}", long.len());
        let denial = Denial { operation: "open", path: "a.txt".into(), key: Some("[plugins.p] fs = [\"workspace:rw\"]".into()) };
        let denied = with_denials(error, &[denial]);
        assert_eq!(denied.kind, ErrorKind::Denied);
        assert!(denied.message.ends_with("[plugins.p] fs = [\"workspace:rw\"] would allow it)"), "{}", denied.message);
    }
}
