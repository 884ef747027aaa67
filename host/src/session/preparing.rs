//! Getting a model ready for a request that may come: its component opens a connection, or has the vendor read what every
//! request begins with.
//!
//! Nobody waits for it and nothing depends on it; a request ends it, for it is what was prepared for.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Deps;
use super::asking::{Question, render};
use super::calling::Caller;
use super::port::Port;
use super::state::State;
use crate::config;
use crate::plugins::stop::{Stop, stop};
use crate::plugins::{CallContext, Handed};

/// What runs for the next request, if anything does.
#[derive(Default)]
pub(super) struct Preparing {
    stop: Option<Stop>,
    tasks: JoinSet<()>,
}

impl Preparing {
    /// Begins; what was begun before ends.
    pub(super) fn begin(&mut self, deps: &Deps, caller: &Caller, model: config::Model, state: &State) {
        self.end();
        let (stop, signal) = stop();
        self.stop = Some(stop);
        let (deps, caller, state) = (deps.clone(), caller.clone(), state.clone());
        self.tasks.spawn(async move {
            let catalog = deps.plugins.tools(&caller.info).await;
            let request = render(&deps, &caller, &model, &catalog, &state, Question::Turn(0));
            let context = CallContext {
                conversation: caller.conversation,
                session: caller.session,
                info: caller.info.clone(),
                places: caller.places.clone(),
                port: Arc::new(Port::new(&deps, &caller, request.id.clone())),
                model: Some(model.alias.clone()),
                store: Some(deps.store.clone()),
                blobs: Handed::default(),
            };
            if let Err(failure) = deps.plugins.prepare(&model, &request, context, signal).await {
                tracing::debug!(model = model.alias, kind = ?failure.kind, message = failure.message, "a model was not prepared");
            }
        });
    }

    /// Ends what runs.
    pub(super) fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.stop(Duration::ZERO);
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        self.end();
    }
}
