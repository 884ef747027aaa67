//! OpenAI's Responses API: a request becomes items, and events become an answer.
//!
//! Pure, and the same for every server and transport: a provider adds its address and its headers, sends [`Body`] in a request
//! or a frame, and feeds what comes back to an [`Answer`], as a body ([`Stream`]) or frame by frame. What differs from server
//! to server is in [`Dialect`]; everything else a provider changes in [`Body::fields`].
//!
//! Invariants: nothing is kept by the server (`store: false`), so every request carries the whole history; reasoning goes back
//! only to the model and wire it came from, to the byte, and right before the item that it led to; items that this module
//! does not know are kept and sent back as they are; an answer is complete when the server says so, never before.
//!
//! It decides no retry, keeps no socket and no `previous_response_id`: for that [`Body::input`] is a list, of which a provider
//! may send the end alone.
//!
//! ```
//! use stellaclaw_sdk::chat::Stop;
//! use stellaclaw_sdk::responses::{Answer, Dialect};
//!
//! let mut answer = Answer::new(&Dialect::openai("provider-mine"), "some-model", "request-1");
//! let mut deltas = Vec::new();
//! for frame in [
//!     r#"{"type":"response.output_text.delta","output_index":0,"item_id":"m1","delta":"Hi"}"#,
//!     r#"{"type":"response.completed","response":{"id":"r1","status":"completed","output":[]}}"#,
//! ] {
//!     answer.event(frame.as_bytes(), &mut deltas).unwrap();
//! }
//! let completion = answer.finish(&mut deltas).unwrap();
//! assert_eq!((completion.message.text().as_str(), completion.stop), ("Hi", Stop::EndTurn));
//! ```

mod answer;
mod event;
mod items;
mod output;
mod request;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use request::Body;

use crate::chat::Origin;
use crate::openai;

/// The format of opaque pieces: an item as its server sent it.
pub const ITEM_FORMAT: &str = "responses-item";

/// An answer that comes as the body of a response: events, or one object.
pub type Stream = openai::stream::Stream<Answer>;

/// What differs between those who speak it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect<'a> {
    /// The component's name, for the origin of what is answered.
    pub provider: &'a str,
    /// The wire's name in origins. Two dialects whose items cannot be exchanged have two names.
    pub wire: &'a str,
    /// Where the system prompt goes.
    pub system: System,
    /// Takes `max_output_tokens`.
    pub max_output: bool,
    /// Takes `temperature`.
    pub temperature: bool,
    /// Takes `phase` on messages: commentary or answer.
    pub phases: bool,
    /// Refuses messages and calls of a model without an id: those that have none are given one.
    pub item_ids: bool,
}

/// Where the system prompt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// The field `instructions`.
    Instructions,
    /// The first item, a message of the developer.
    Developer,
}

impl<'a> Dialect<'a> {
    /// What api.openai.com and servers like it take.
    #[must_use]
    pub const fn openai(provider: &'a str) -> Self {
        let system = System::Instructions;
        Self { provider, wire: "responses", system, max_output: true, temperature: true, phases: false, item_ids: false }
    }

    /// Who the answers of `model` come from. Opaque pieces go back to exactly this.
    #[must_use]
    pub fn origin(&self, model: &str) -> Origin {
        Origin { provider: self.provider.into(), model: model.into(), wire: self.wire.into() }
    }
}
