//! Telegram: the Bot API, polled.

pub mod send;
pub mod types;
pub mod update;
