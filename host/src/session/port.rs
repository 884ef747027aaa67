//! What a component can ask of the session it runs in.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Deps;
use super::calling::Caller;
use super::ledger::Ledger;
use super::live::LiveView;
use super::state::Spend;
use super::turn::{Budget, priced};
use crate::chat::Usage;
use crate::clock;
use crate::config::Current;
use crate::ids::{CallId, ConversationId};
use crate::plugins::{CallError, ErrorKind, SessionPort};
use crate::store::{NewOutbox, NewUsage, OutboxKind, Store, StoreError, UsageKind};

/// The port of one call.
pub(super) struct Port {
    store: Store,
    config: Current,
    ledger: Ledger,
    conversation: ConversationId,
    live: LiveView,
    /// What the messages of this call are named after.
    name: String,
    said: AtomicU32,
    model: String,
    budget: Budget,
}

impl Port {
    /// `name`: of the call, or of the model request.
    pub(super) fn new(deps: &Deps, caller: &Caller, name: String) -> Self {
        Self {
            store: deps.store.clone(),
            config: deps.config.clone(),
            ledger: deps.ledger.clone(),
            conversation: caller.conversation,
            live: caller.live.clone(),
            name,
            said: AtomicU32::new(0),
            model: caller.model.clone(),
            budget: caller.budget,
        }
    }

    /// What the turn has used so far is in the store, that of other models that it asked included.
    async fn spent_in_turn(&self) -> Result<Spend, StoreError> {
        let Some((key, _)) = CallId::place(&self.name) else { return Ok(Spend::default()) };
        let totals = self.store.usage_of_turn(key.session, key.turn).await?;
        Ok(Spend { cost_micros: totals.cost_micros, unpriced_tokens: totals.unpriced_tokens })
    }
}

impl SessionPort for Port {
    /// The key counts within the call, so a call that runs again says the same things under the same keys, once.
    fn say(&self, text: String) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let n = self.said.fetch_add(1, Ordering::Relaxed);
            let message = NewOutbox::new(format!("{}.say.{n}", self.name), self.conversation, OutboxKind::Tell, text);
            let store = self.store.at(|| format!("say@{}.{n}", self.name));
            match store.tell(message, clock::now()).await {
                Ok(_) => Ok(()),
                Err(error) => Err(CallError::new(ErrorKind::Unavailable, format!("the message could not be kept: {error}"))),
            }
        }
        .boxed()
    }

    fn plan(&self, steps: Vec<(String, String)>, note: Option<String>) -> Result<(), CallError> {
        self.live.plan(steps, note);
        Ok(())
    }

    fn progress(&self, call: &CallId, text: String) {
        self.live.call_progress(call, text);
    }

    fn may_spend(&self) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let turn = self.spent_in_turn().await.map_err(|error| unkept(&error))?;
            let limits = &self.config.get().limits;
            let most = Spend { cost_micros: limits.turn_spend_micros, unpriced_tokens: limits.turn_tokens };
            let reached = if turn.reaches(most) {
                "the budget of this turn is spent (limits.turn_spend, limits.turn_tokens)"
            } else if self.ledger.day(clock::now()).reaches(self.budget.day) {
                "the budget of this day is spent (limits.day_spend, limits.day_tokens)"
            } else if self.ledger.conversation(self.conversation).reaches(self.budget.conversation) {
                "the budget of this conversation is spent (limits.conversation_spend, limits.conversation_tokens)"
            } else {
                return Ok(());
            };
            Err(CallError::new(ErrorKind::RateLimited, format!("{reached}: no other model is asked")))
        }
        .boxed()
    }

    fn spent<'a>(&'a self, alias: &'a str, usage: Usage) -> BoxFuture<'a, Result<(), CallError>> {
        async move {
            let price = self.config.get().models.get(alias).and_then(|model| model.price);
            let usage = priced(usage, price);
            let Some((key, step)) = CallId::place(&self.name) else { return Ok(()) };
            let now = clock::now();
            let row = NewUsage { step, kind: UsageKind::Helper, model: alias.to_owned(), usage: usage.clone(), estimated: false };
            self.store.note_usage(key, row, now).await.map_err(|error| unkept(&error))?;
            self.ledger.add(self.conversation, now, &usage);
            Ok(())
        }
        .boxed()
    }

    fn status(&self) -> Result<Value, CallError> {
        Ok(json!({ "conversation": self.conversation.to_string(), "model": self.model }))
    }
}

/// What is spent cannot be known or kept: then nothing is.
fn unkept(error: &StoreError) -> CallError {
    CallError::new(ErrorKind::Unavailable, format!("what other models use cannot be noted, so none is asked: {error}"))
}
