//! The models an account can use.

pub use crate::bindings::model_list_plugin::exports::stellaclaw::plugin::model_list::Entry;
use crate::chat::{Failure, Model};

/// A component that can say which models an account has. Optional beside [`crate::Provider`].
pub trait ModelList {
    /// The models of the account that `account` is an entry of: its server, its key, its options.
    ///
    /// # Errors
    ///
    /// Why there is no list.
    fn models(account: &Model) -> Result<Vec<Entry>, Failure>;
}

impl Entry {
    /// A model of which nothing is known but what it is called.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self { name: id.clone(), id, context_window: None, max_output: None, reads: Vec::new(), ext: None }
    }
}
