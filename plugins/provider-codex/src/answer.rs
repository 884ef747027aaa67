//! What this backend says beside an answer: limits of the subscription, and the token of the turn.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::Value;
use stellaclaw_sdk::chat::{Completion, Failure};
use stellaclaw_sdk::deltas::Delta;
use stellaclaw_sdk::openai::stream;
use stellaclaw_sdk::{responses, sse};

use crate::identity::{TURN_STATE, kept_turn_state};
use crate::rates;

/// The token of the turn, once it was said.
pub type TurnState = Rc<RefCell<Option<String>>>;

/// An answer, fed with one event or frame at a time.
#[derive(Debug)]
pub struct Answer {
    inner: responses::Answer,
    turn_state: TurnState,
    shown: bool,
}

impl Answer {
    /// What `inner` does, and what is particular here.
    #[must_use]
    pub fn new(inner: responses::Answer, turn_state: TurnState) -> Self {
        Self { inner, turn_state, shown: false }
    }

    /// Takes the data of an event, or a frame. What is in `deltas` counts also when it is an error.
    ///
    /// # Errors
    ///
    /// An error the server sent, or what cannot be understood. The answer is over then.
    pub fn take(&mut self, json: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let from = deltas.len();
        let taken = self.inner.event(json, deltas);
        self.shown |= deltas[from..].iter().any(shows);
        match taken {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.aside(json, deltas);
                Ok(())
            }
            Err(failure) => {
                self.aside(json, deltas);
                Err(failure)
            }
        }
    }

    /// Was any of the answer handed on? Then nothing may be asked a second time.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// Is everything there?
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.inner.is_done()
    }

    /// Adds what is known of the exchange to a failure that did not come from the server.
    #[must_use]
    pub fn interrupted(&self, failure: Failure) -> Failure {
        self.inner.interrupted(failure)
    }

    /// The completion; every item is finished in `deltas`.
    ///
    /// # Errors
    ///
    /// `transport` when nothing said that the answer is complete.
    pub fn finish(self, deltas: &mut Vec<Delta>) -> Result<Completion, Failure> {
        self.inner.finish(deltas)
    }

    /// What is not part of the answer.
    fn aside(&self, json: &[u8], deltas: &mut Vec<Delta>) {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(default, rename = "type")]
            kind: String,
        }
        let Ok(Kind { kind }) = serde_json::from_slice(json) else { return };
        if !matches!(kind.as_str(), "codex.rate_limits" | "response.metadata" | "error") {
            return;
        }
        let event: Value = serde_json::from_slice(json).unwrap_or_default();
        let windows = match kind.as_str() {
            "codex.rate_limits" => rates::from_event(&event),
            "error" => rates::from_headers(&text_fields(&event["headers"])),
            _ => {
                let state = [&event["metadata"], &event["headers"]].into_iter().find_map(|place| place[TURN_STATE].as_str());
                if let Some(state) = state.and_then(kept_turn_state) {
                    *self.turn_state.borrow_mut() = Some(state);
                }
                Vec::new()
            }
        };
        if !windows.is_empty() {
            deltas.push(Delta::RateLimits(windows));
        }
    }
}

/// Is it something of the answer itself?
fn shows(delta: &Delta) -> bool {
    !matches!(delta, Delta::Started(_) | Delta::Usage(_) | Delta::RateLimits(_))
}

fn text_fields(object: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    object.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

impl stream::Answer for Answer {
    fn event(&mut self, event: sse::Event<'_>, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        self.take(event.data, deltas)
    }

    fn whole(&mut self, body: &[u8], deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        stream::Answer::whole(&mut self.inner, body, deltas)
    }

    fn is_done(&self) -> bool {
        self.inner.is_done()
    }

    fn is_terminal(&self) -> bool {
        self.inner.is_done()
    }

    fn explain(&self, failure: Failure) -> Failure {
        self.inner.interrupted(failure)
    }

    fn finish(self, deltas: &mut Vec<Delta>) -> Completion {
        stream::Answer::finish(self.inner, deltas)
    }
}
