//! What all sessions spent today, and each conversation ever, without asking the store at every step.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::state::Spend;
use crate::chat::Usage;
use crate::clock::Moment;
use crate::ids::ConversationId;
use crate::store::{Store, StoreError, Totals};

/// Committed spending of the current UTC day, and of the conversations that were opened. Cheap to clone; one per process.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Mutex<Spent>>);

#[derive(Debug)]
struct Spent {
    day: i64,
    today: Spend,
    conversations: HashMap<ConversationId, Spend>,
}

impl Ledger {
    /// Reads the day of `now`.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn load(store: &Store, now: Moment) -> Result<Self, StoreError> {
        let today = spend(&store.usage_of_day(now).await?);
        Ok(Self(Arc::new(Mutex::new(Spent { day: now.day(), today, conversations: HashMap::new() }))))
    }

    /// Reads what a conversation spent, before anything is added to it.
    ///
    /// # Errors
    ///
    /// What reading the store can fail with.
    pub async fn open(&self, store: &Store, conversation: ConversationId) -> Result<(), StoreError> {
        let spent = spend(&store.usage_of_conversation(conversation).await?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).conversations.insert(conversation, spent);
        Ok(())
    }

    /// What was spent on the day of `now`.
    #[must_use]
    pub fn day(&self, now: Moment) -> Spend {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.day == now.day() { spent.today } else { Spend::default() }
    }

    /// What a conversation spent that was opened.
    #[must_use]
    pub fn conversation(&self, id: ConversationId) -> Spend {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).conversations.get(&id).copied().unwrap_or_default()
    }

    /// Adds what was committed.
    pub fn add(&self, conversation: ConversationId, now: Moment, usage: &Usage) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.day != now.day() {
            (spent.day, spent.today) = (now.day(), Spend::default());
        }
        spent.today.add(usage);
        spent.conversations.entry(conversation).or_default().add(usage);
    }
}

fn spend(totals: &Totals) -> Spend {
    Spend { cost_micros: totals.cost_micros, unpriced_tokens: totals.unpriced_tokens }
}
