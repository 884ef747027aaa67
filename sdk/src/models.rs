//! A question to another model, by its role in `session.helpers`.

pub use crate::bindings::imports::stellaclaw::plugin::models::{Question, Reply, ask};

impl Question {
    /// A question in words alone.
    pub fn new(role: impl Into<String>, prompt: impl Into<String>) -> Self {
        Self { role: role.into(), prompt: prompt.into(), files: Vec::new(), max_output: None, schema: None }
    }
}
