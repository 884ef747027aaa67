//! Telegram: the Bot API, polled.

pub mod api;
pub mod pace;
pub mod send;
pub mod types;
pub mod update;
pub mod render;
