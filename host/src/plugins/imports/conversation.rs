//! `stellaclaw:plugin/conversation`: what a call asks of its session, through [`SessionPort`].
//!
//! [`SessionPort`]: crate::plugins::SessionPort

use stellaclaw_bindings::conversation::{Host, Step, StepState};
use stellaclaw_bindings::types::{Error, ErrorKind, Part};

use crate::limits;
use crate::plugins::convert;
use crate::plugins::instance::{Call, Guest, InSession};

impl Guest {
    /// The conversation of the call, which was counted.
    pub(super) fn session(&mut self) -> wasmtime::Result<Result<&InSession, Error>> {
        self.call.count()?;
        let none = || Error { kind: ErrorKind::Unavailable, message: "there is no conversation here".into(), retry_after: None };
        Ok(self.call.session.as_ref().ok_or_else(none))
    }
}

/// A text for the progress panel, without secrets and as long as it can be shown.
fn line(call: &Call, text: String) -> String {
    let mut text = match call.redactor.text(&text) {
        std::borrow::Cow::Owned(redacted) => redacted,
        std::borrow::Cow::Borrowed(_) => text,
    };
    text.truncate(text.floor_char_boundary(limits::PROGRESS_BYTES));
    text
}

impl Host for Guest {
    async fn say(&mut self, parts: Vec<Part>) -> wasmtime::Result<Result<(), Error>> {
        let session = match self.session()? {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let mut texts = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Text(text) | Part::Json(text) => texts.push(text),
                Part::File(file) => {
                    let message = format!("{}: files cannot be sent from within a call; return them as the tool's answer", file.path);
                    return Ok(Err(Error { kind: ErrorKind::Unavailable, message, retry_after: None }));
                }
            }
        }
        let port = session.port.clone();
        let refused = |kind, message| Ok(Err(Error { kind, message, retry_after: None }));
        let text = texts.join("\n");
        if text.len() > limits::MESSAGE_BYTES {
            return refused(ErrorKind::TooLarge, format!("the message has {} bytes; at most {}", text.len(), limits::MESSAGE_BYTES));
        }
        if self.call.says >= limits::SAYS {
            return refused(ErrorKind::RateLimited, format!("one call says at most {} messages", limits::SAYS));
        }
        self.call.says += 1;
        let text = self.call.redactor.text(&text).into_owned();
        Ok(port.say(text).await.map_err(convert::error_to_guest))
    }

    async fn plan(&mut self, steps: Vec<Step>, note: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        let state = |state: StepState| match state {
            StepState::Pending => "pending",
            StepState::Active => "active",
            StepState::Done => "done",
        };
        if steps.len() > limits::PLAN_STEPS {
            let message = format!("the plan has {} steps; at most {}", steps.len(), limits::PLAN_STEPS);
            return Ok(Err(Error { kind: ErrorKind::TooLarge, message, retry_after: None }));
        }
        let steps = steps.into_iter().map(|step| (line(&self.call, step.text), state(step.state).to_owned())).collect();
        let note = note.map(|note| line(&self.call, note));
        Ok(self.session()?.and_then(|session| session.port.plan(steps, note).map_err(convert::error_to_guest)))
    }

    async fn progress(&mut self, text: String) -> wasmtime::Result<()> {
        let text = line(&self.call, text);
        if let Ok(session) = self.session()? {
            session.port.progress(&session.call, text);
        }
        Ok(())
    }

    async fn status(&mut self) -> wasmtime::Result<Result<String, Error>> {
        Ok(self.session()?.and_then(|session| session.port.status().map_err(convert::error_to_guest)).map(|status| status.to_string()))
    }

    async fn interrupted(&mut self) -> wasmtime::Result<bool> {
        self.call.count()?;
        Ok(self.call.stop.is_stopped())
    }
}
