//! What is fuzzed, and what must hold: one module per target.
//!
//! `fuzz_targets/` hands these to libFuzzer; `host/tests/all/fuzz.rs` includes this file and runs them over the corpus.

pub mod chat;
pub mod compile;
pub mod component;
pub mod config;
pub mod journal;
pub mod manifest;
pub mod patch;
pub mod render;
