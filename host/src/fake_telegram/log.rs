//! What happened: every call with what became of it. Together with the state this is what tests judge by.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use super::check::Refusal;

/// One call of the bot.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub number: u64,
    /// When it had arrived, in milliseconds since 1970.
    pub at: i64,
    /// `download` for the contents of a file.
    pub method: String,
    pub chat: Option<i64>,
    /// Files by name, size and digest.
    pub params: Value,
    /// What was done to it, if anything.
    pub fault: Option<String>,
    /// What the method came to, whether or not the bot got to know; none while it waits, or was not processed.
    pub result: Option<Result<Value, Refusal>>,
    /// When the answer began to leave, or the connection was ended.
    pub ended: Option<i64>,
    /// The bot went away before that.
    pub left: bool,
}

impl Call {
    /// Did the method do what it was asked for?
    #[must_use]
    pub fn succeeded(&self) -> bool {
        matches!(self.result, Some(Ok(_)))
    }

    /// What it asked for, by the name of a parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> &Value {
        &self.params[name]
    }

    fn line(&self) -> Value {
        let result = match &self.result {
            Some(Ok(result)) => json!({"ok": true, "result": result}),
            Some(Err(refusal)) => refusal.body(),
            None => Value::Null,
        };
        json!({"at": self.at, "event": "call", "number": self.number, "method": self.method, "chat": self.chat, "params": self.params,
            "fault": self.fault, "result": result, "ended": self.ended, "left": self.left})
    }
}

/// The calls, and the file that everything is written to.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) calls: Vec<Call>,
    file: Option<File>,
}

impl Log {
    pub(super) fn new(file: Option<&Path>) -> io::Result<Self> {
        let file = file.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        Ok(Self { calls: Vec::new(), file })
    }

    /// A call has arrived; its number.
    pub(super) fn begin(&mut self, at: i64, method: &str, chat: Option<i64>, params: Value, fault: Option<String>) -> u64 {
        let number = self.calls.len() as u64;
        let method = method.to_owned();
        self.calls.push(Call { number, at, method, chat, params, fault, result: None, ended: None, left: false });
        number
    }

    pub(super) fn result(&mut self, number: u64, result: Result<Value, Refusal>) {
        if let Some(call) = self.call(number) {
            call.result = Some(result);
        }
    }

    /// It is over; from now on nothing about it changes.
    pub(super) fn end(&mut self, at: i64, number: u64, left: bool) {
        let Some(call) = self.call(number).filter(|call| call.ended.is_none()) else { return };
        call.ended = Some(at);
        call.left = left;
        let line = call.line();
        self.write(&line);
    }

    fn call(&mut self, number: u64) -> Option<&mut Call> {
        self.calls.get_mut(usize::try_from(number).ok()?)
    }

    pub(super) fn write(&mut self, line: &Value) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = writeln!(file, "{line}") {
            tracing::error!(%error, "failed to write the log of the fake Bot API server; it ends here");
            self.file = None;
        }
    }
}
