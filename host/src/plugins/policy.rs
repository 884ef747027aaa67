//! What is allowed, decided without doing anything: pure functions over values.

pub mod net;
pub mod paths;
