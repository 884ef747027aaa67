//! The running model request: one task, which can be aborted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::Deps;
use super::calling::Caller;
use super::clean::{self, Preview};
use super::compaction;
use super::context::{self, RenderModel};
use super::port::Port;
use super::state::State;
use super::system::{self, Surroundings};
use super::turn::Class;
use crate::chat::{Batching, Completion, Failure, FailureKind, Replay, Request, ToolSpec};
use crate::config;
use crate::crash;
use crate::limits::STOP_GRACE;
use crate::plugins::stop::{Stop, stop};
use crate::plugins::{CallContext, Catalog, Handed, Plugins};

/// What a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// The next step of the turn.
    Turn(u32),
    /// The summary of the compaction that has this id.
    Summary(u64),
}

/// What came of a request.
pub(super) struct Answered {
    pub(super) question: Question,
    /// The alias of the model that was asked.
    pub(super) model: String,
    pub(super) result: Result<(Box<Completion>, Vec<Class>), Failure>,
}

/// The model request of a session: at most one counts, an aborted one may still be on its way out.
#[derive(Default)]
pub(super) struct Asking {
    current: Option<(u64, Stop)>,
    generation: u64,
    tasks: JoinSet<(u64, Answered)>,
}

impl Asking {
    /// Asks the model. A request that still runs no longer counts.
    pub(super) fn ask(&mut self, deps: &Deps, caller: &Caller, model: config::Model, state: &State, question: Question) {
        self.abort(Duration::ZERO);
        self.generation += 1;
        let generation = self.generation;
        let (stop, signal) = stop();
        self.current = Some((generation, stop));
        let (deps, caller, state) = (deps.clone(), caller.clone(), state.clone());
        self.tasks.spawn(async move {
            let catalog = deps.plugins.tools(&caller.info).await;
            let mut request = render(&deps, &caller, &model, &catalog, &state, question);
            let name = request.id.clone();
            let mut stopped = signal.clone();
            let blobs = tokio::select! {
                biased;
                // Then nothing is sent.
                _ = stopped.stopped() => Handed::default(),
                blobs = deps.shown.hand_over(&deps.store, &model, &mut request.messages) => blobs,
            };
            let port = Port::new(&deps, &caller, name.clone());
            let context = CallContext {
                conversation: caller.conversation,
                session: caller.session,
                info: caller.info.clone(),
                places: caller.places.clone(),
                port: Arc::new(port),
                model: Some(model.alias.clone()),
                store: Some(deps.store.clone()),
                blobs,
            };
            let preview = Arc::new(Mutex::new(Preview::new(&deps.redactor)));
            let (live, watched, shown) = (caller.live.clone(), signal.clone(), preview.clone());
            let stopped = signal.clone();
            // Nobody reads along when the model writes a summary.
            let is_shown = matches!(question, Question::Turn(_));
            let on_delta = Arc::new(move |deltas: Vec<_>| {
                if !watched.is_stopped() && is_shown {
                    let deltas = shown.lock().unwrap_or_else(PoisonError::into_inner).push(deltas);
                    live.deltas(&deltas);
                }
            });
            crash::point(|| format!("ask.before@{name}"));
            let result = deps.plugins.complete(&model, &request, context, signal, on_delta).await;
            crash::point(|| format!("ask.after@{name}"));
            let result = result.map(|completion| {
                if !stopped.is_stopped() && is_shown {
                    caller.live.deltas(&preview.lock().unwrap_or_else(PoisonError::into_inner).finish());
                }
                let completion = clean::completion(&deps.redactor, completion);
                let classes = classify(&deps.plugins, &catalog, &completion);
                (Box::new(completion), classes)
            });
            (generation, Answered { question, model: model.alias, result })
        });
    }

    /// Ends a request that cannot even be asked.
    pub(super) fn fail(&mut self, question: Question, model: &str, failure: Failure) {
        self.abort(Duration::ZERO);
        self.generation += 1;
        let generation = self.generation;
        self.current = Some((generation, stop().0));
        let model = model.to_owned();
        self.tasks.spawn(async move { (generation, Answered { question, model, result: Err(failure) }) });
    }

    /// Aborts the request that counts, if one runs: its end is still reported, as cancelled.
    pub(super) fn abort(&mut self, grace: Duration) {
        if let Some((_, stop)) = &self.current {
            stop.stop(grace.min(STOP_GRACE));
        }
    }

    /// What came of the request that counts. Never returns while none runs.
    pub(super) async fn next(&mut self) -> Answered {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((generation, answered))) => {
                    if self.current.as_ref().is_some_and(|(current, _)| *current == generation) {
                        self.current = None;
                        return answered;
                    }
                }
                // As for calls: the session is folded again.
                Some(Err(error)) => std::panic::resume_unwind(error.try_into_panic().unwrap_or_else(|error| Box::new(error.to_string()))),
                None => std::future::pending().await,
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none()
    }
}

impl Drop for Asking {
    /// The request does not outlive whoever would have remembered its answer.
    fn drop(&mut self) {
        self.abort(Duration::ZERO);
    }
}

/// What the system prompt would be made of now.
pub(super) fn surroundings(deps: &Deps, caller: &Caller, catalog: &Catalog) -> Surroundings {
    Surroundings {
        shared: caller.places.shared.is_some(),
        mounts: caller.places.mounts.iter().map(|mount| (mount.name.clone(), mount.writable)).collect(),
        tools: !catalog.tools().is_empty(),
        instructions: deps.config.get().session.instructions.clone(),
    }
}

/// The request, with the tools of now and the system prompt that the session began with.
pub(super) fn render(deps: &Deps, caller: &Caller, model: &config::Model, catalog: &Catalog, state: &State, question: Question) -> Request {
    let tools: Vec<_> = catalog
        .tools()
        .iter()
        .map(|tool| ToolSpec { name: tool.name.clone(), description: tool.description.clone(), parameters: tool.parameters.clone() })
        .collect();
    let kept = state.head.prompt.as_ref().map(|prompt| prompt.shown.clone());
    let system = system::prompt(caller.info.kind, &kept.unwrap_or_else(|| surroundings(deps, caller, catalog)));
    let room = model.context_window.saturating_sub(model.max_output.unwrap_or(0)).max(model.context_window / 2) / 2;
    let model = RenderModel {
        provider: &model.provider,
        id: &model.id,
        reads: &model.reads,
        system: &system,
        tools: &tools,
        max_output: model.max_output,
        temperature: model.temperature,
        effort: model.effort.as_deref(),
        reasoning_summary: model.reasoning_summary.as_deref(),
        service_tier: model.service_tier.as_deref(),
        cache_ttl_ms: model.cache_ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
    };
    let step = if let Question::Turn(step) = question { step } else { 0 };
    let request = context::render(state, step, &model);
    match (question, &state.head.compaction) {
        (Question::Summary(_), Some(compaction)) => compaction::request(request, state, compaction, room),
        _ => request,
    }
}

/// What the catalogue says about each call of an answer. One that cannot run is answered without running.
fn classify(plugins: &Plugins, catalog: &Catalog, completion: &Completion) -> Vec<Class> {
    completion
        .message
        .tool_uses()
        .map(|tool_use| match catalog.get(&tool_use.name) {
            Some(tool) => {
                Class { replay: tool.replay, batching: tool.batching, refused: plugins.check_arguments(tool, &tool_use.arguments).err() }
            }
            None => Class {
                replay: Replay::Read,
                batching: Batching::Parallel,
                refused: Some(format!("there is no tool called {:?}", shown_name(&tool_use.name))),
            },
        })
        .collect()
}

/// What is shown of a name that is none: a tool's has at most 64 bytes.
fn shown_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(64)]
}

/// The failure of a model that the configuration no longer has.
pub(super) fn no_model(alias: &str) -> Failure {
    Failure::new(FailureKind::ModelNotFound, format!("the configuration has no model `{alias}`; `/model` shows those it has"))
}
