//! What a component can ask of the session it runs in.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

use super::live::LiveView;
use crate::clock;
use crate::ids::{CallId, ConversationId};
use crate::plugins::{CallError, ErrorKind, SessionPort};
use crate::store::{NewOutbox, OutboxKind, Store};

/// The port of one call.
pub(super) struct Port {
    pub(super) store: Store,
    pub(super) conversation: ConversationId,
    pub(super) live: LiveView,
    /// What the messages of this call are named after.
    pub(super) name: String,
    pub(super) said: AtomicU32,
    pub(super) model: String,
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

    fn status(&self) -> Result<Value, CallError> {
        Ok(json!({ "conversation": self.conversation.to_string(), "model": self.model }))
    }
}
