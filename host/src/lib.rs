//! The Stellaclaw host: the kernel around sandboxed components.
//!
//! Imports point one way:
//! `cli → kernel → channels → {router, delivery, operator} → session → plugins → backup → {store, observe} → secrets →
//! {config, workdir, halt, supervise, health} → {chat, commands, files, fake_telegram, ids, limits, clock, crash}`.

pub mod backup;
pub mod channels;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod crash;
pub mod delivery;
pub mod fake_telegram;
pub mod files;
pub mod halt;
pub mod health;
pub mod ids;
pub mod kernel;
pub mod limits;
pub mod media;
pub mod observe;
pub mod operator;
pub mod plugins;
pub mod router;
pub mod secrets;
pub mod session;
pub mod store;
pub mod supervise;
pub mod workdir;
