//! Searching the web: for those who serve it, and for those who ask whoever serves it here.

pub use crate::bindings::imports::stellaclaw::plugin::search_types::{Hit, Query, Vertical};
use crate::bindings::imports::stellaclaw::plugin::web_search;
use crate::{Error, Result};

/// A component that searches the web. Named by a model entry, and by `session.helpers.search`.
pub trait WebSearch {
    /// Answers a query. [`crate::settings::entry`] is the model entry; its `api_key` is in the slot `api-key`.
    ///
    /// # Errors
    ///
    /// What whoever asked is told.
    fn search(query: &Query) -> Result<Vec<Hit>>;
}

/// Asks whoever serves `session.helpers.search`.
///
/// # Errors
///
/// `unavailable` with the configuration key where nobody serves it, and whatever who serves it answers.
pub fn search(query: &Query) -> Result<Vec<Hit>> {
    web_search::search(query)
}

impl Query {
    /// A query for pages, with nothing else said.
    pub fn new(text: impl Into<String>, count: u32) -> Self {
        Self { text: text.into(), vertical: Vertical::Web, count, freshness: None, country: None, language: None, ext: None }
    }

    /// The query again, refused where it cannot be one.
    ///
    /// # Errors
    ///
    /// `invalid` without a text.
    pub fn checked(&self) -> Result<&Self> {
        if self.text.trim().is_empty() { Err(Error::invalid("the query is empty; say what to look for")) } else { Ok(self) }
    }
}
