//! Channels: where people write, and where replies go. They parse and bound; policy is elsewhere.

pub mod telegram;
pub mod terminal;
