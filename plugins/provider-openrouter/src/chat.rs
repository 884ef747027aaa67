//! Chat completions: the body of a request, and the answer out of the bytes of its body.
//!
//! ```
//! use provider_openrouter::chat::{Answer, ChatStream};
//!
//! let mut stream = ChatStream::new(Answer::new("some/model", "request-1"));
//! let deltas = stream.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n").unwrap();
//! assert_eq!(deltas.len(), 3); // started, item-started, fragment
//! let finished = stream.finish().unwrap();
//! assert_eq!(finished.completion.message.text(), "Hi");
//! ```

mod answer;
pub(crate) mod body;
mod calls;
mod messages;
mod reasoning;
#[cfg(test)]
mod tests;
mod wire;

pub use answer::Answer;
use stellaclaw_sdk::chat::Origin;
use stellaclaw_sdk::openai::stream::Stream;

/// The format of opaque reasoning that is a list of details.
pub const REASONING_DETAILS: &str = "reasoning_details";

/// A decoder for one answer.
pub type ChatStream = Stream<Answer>;

/// Who the answers of `model` come from. Opaque reasoning goes back to exactly this.
#[must_use]
pub fn origin(model: &str) -> Origin {
    Origin { provider: env!("CARGO_PKG_NAME").into(), model: model.into(), wire: "chat-completions".into() }
}
