//! What the interfaces of OpenAI, and of the many servers like it, have in common: chat completions and [`crate::responses`].
//!
//! Pure: no imports are called, so all of it is tested and measured natively.

pub mod failure;
pub mod media;
pub mod schema;
pub mod stream;
pub mod usage;
