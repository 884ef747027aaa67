//! What all sessions spent today, without asking the store at every step.

use std::sync::{Arc, Mutex, PoisonError};

use super::state::Spend;
use crate::chat::Usage;
use crate::clock::Moment;
use crate::store::{Store, StoreError};

/// Committed spending of the current UTC day. Cheap to clone; one per process.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Mutex<(i64, Spend)>>);

impl Ledger {
    /// Reads the day of `now`.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn load(store: &Store, now: Moment) -> Result<Self, StoreError> {
        let totals = store.usage_of_day(now).await?;
        let spend = Spend { cost_micros: totals.cost_micros, unpriced_tokens: totals.unpriced_tokens };
        Ok(Self(Arc::new(Mutex::new((now.day(), spend)))))
    }

    /// What was spent on the day of `now`.
    #[must_use]
    pub fn day(&self, now: Moment) -> Spend {
        let (day, spend) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if day == now.day() { spend } else { Spend::default() }
    }

    /// Adds what was committed.
    pub fn add(&self, now: Moment, usage: &Usage) {
        let mut today = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if today.0 != now.day() {
            *today = (now.day(), Spend::default());
        }
        today.1.add(usage);
    }
}
