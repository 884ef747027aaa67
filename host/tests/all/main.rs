//! The promises of the host, one module each, driven through the binary or the library's public interface.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails by panicking, as the test does")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tests tell what they counted, and what was left when they failed")]

mod authors;
mod budgets;
mod cli;
mod compaction;
mod config;
mod contract;
mod conversations;
mod crashes;
mod dependencies;
mod fake_telegram;
mod fallback;
mod faults;
mod fuzz;
mod helpers;
mod hostile;
mod house;
mod init;
mod lifecycle;
mod logins;
mod models;
mod operations;
mod providers;
mod release;
mod rendering;
mod stops;
mod storage;
mod support;
mod telegram;
mod terminal;
mod turns;
