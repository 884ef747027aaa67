//! How fast the bot may be, as far as Telegram says. Pure: time comes from the caller.
//!
//! - What a 429 froze stays frozen for as long as it said, after a restart too ([`Freezes`]).
//! - What only shows progress shares one budget of edits for each chat ([`EditBudget`]).
//! - Messages that are no answers leave room for those that are ([`Throttle`]).
//!
//! What it does not do: wait, or know what a request was. Memory is bounded: a chat that has been idle for long is forgotten.

mod edits;
mod freezes;
mod throttle;

pub use edits::EditBudget;
pub use freezes::Freezes;
pub use throttle::{Throttle, Weight};
