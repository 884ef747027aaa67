//! Telegram: the Bot API, polled.
