//! Running calls: one task each, with what is needed to stop it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::event::{Call, Outcome};
use super::live::{LiveEnd, LiveView};
use super::output;
use super::port::Port;
use super::turn::{Budget, Ended, Start, Which};
use super::{Deps, capture};
use crate::chat::{Media, Replay};
use crate::clock;
use crate::crash;
use crate::ids::{CallId, ConversationId, SessionId};
use crate::plugins::stop::{Stop, stop};
use crate::plugins::{CallContext, CallError, ErrorKind, Handed, Output, OutputPart, Places, Plugins, SessionInfo, Tool, ToolCall};
use crate::secrets::Redactor;

/// The running calls of a session.
#[derive(Default)]
pub(super) struct Calls {
    running: HashMap<CallId, Running>,
    tasks: JoinSet<(CallId, Ended)>,
    /// See [`Calls::run_to_end`].
    ended: VecDeque<(CallId, Ended)>,
}

struct Running {
    stop: Stop,
    replay: Replay,
}

impl Drop for Running {
    /// A call does not outlive whoever would have remembered its end. Harmless after the end.
    fn drop(&mut self) {
        self.stop.stop(Duration::ZERO);
    }
}

/// In whose name calls run.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) conversation: ConversationId,
    pub(super) session: SessionId,
    pub(super) info: SessionInfo,
    pub(super) places: Places,
    pub(super) live: LiveView,
    pub(super) model: String,
    /// Of the turn that runs, for what its calls use.
    pub(super) budget: Budget,
}

impl Calls {
    /// Starts a call. A call that runs is not started again.
    pub(super) fn start(&mut self, deps: &Deps, caller: &Caller, start: Start) {
        let id = start.call.id.clone();
        if self.running.contains_key(&id) {
            return;
        }
        let (stop, signal) = stop();
        self.running.insert(id, Running { stop, replay: start.call.replay });
        let (deps, caller) = (deps.clone(), caller.clone());
        self.tasks.spawn(async move {
            let Start { call, attempt } = start;
            caller.live.call_began(&call.id, &call.name, &call.arguments, clock::now());
            let began = Instant::now();
            crash::point(|| format!("call.before@{}", call.id));
            let catalog = deps.plugins.tools(&caller.info).await;
            let result = match catalog.get(&call.name).map(|tool| (tool, still_fits(&deps.plugins, tool, &call))) {
                Some((_, Err(changed))) => Err(changed),
                Some((tool, Ok(()))) => {
                    let port = Port::new(&deps, &caller, call.id.to_string());
                    let context = CallContext {
                        conversation: caller.conversation,
                        session: caller.session,
                        info: caller.info.clone(),
                        places: caller.places.clone(),
                        port: std::sync::Arc::new(port),
                        model: Some(caller.model.clone()),
                        store: Some(deps.store.clone()),
                        blobs: Handed::default(),
                    };
                    let asked = ToolCall { id: call.id.clone(), name: call.name.clone(), arguments: call.arguments.clone(), attempt };
                    deps.plugins.run_tool(tool, asked, context, signal).await
                }
                None => Err(CallError::new(ErrorKind::NotFound, format!("there is no tool called `{}` any more", call.name))),
            };
            crash::point(|| format!("call.after@{}", call.id));
            let mut result = redacted(&deps.redactor, result);
            let files = match &mut result {
                Ok(output) => capture::answer(&deps.store, output).await,
                Err(_) => Vec::new(),
            };
            let ended = ended(&call.id, call.replay, result, &files);
            caller.live.call_ended(
                &call.id,
                LiveEnd {
                    ok: ended.outcome == Outcome::Ok,
                    duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    summary: ended.summary.clone(),
                },
            );
            (call.id, ended)
        });
    }

    /// Stops running calls.
    pub(super) fn stop(&self, which: Which, grace: Duration) {
        for running in self.running.values() {
            if which == Which::All || running.replay == Replay::Read || running.stop.is_waiting() {
                running.stop.stop(grace);
            }
        }
    }

    /// Waits for all that run; [`Calls::next`] gives them later.
    pub(super) async fn run_to_end(&mut self) {
        while let Some(Ok(ended)) = self.tasks.join_next().await {
            self.ended.push_back(ended);
        }
    }

    /// The next call that ended. Never returns while none runs.
    pub(super) async fn next(&mut self) -> (CallId, Ended) {
        if let Some((call, ended)) = self.ended.pop_front() {
            self.running.remove(&call);
            return (call, ended);
        }
        match self.tasks.join_next().await {
            Some(Ok((call, ended))) => {
                self.running.remove(&call);
                (call, ended)
            }
            // A call's task only panics when the host itself is wrong: the session is folded again.
            Some(Err(error)) => std::panic::resume_unwind(error.try_into_panic().unwrap_or_else(|error| Box::new(error.to_string()))),
            None => std::future::pending().await,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

/// The component may have been exchanged since its answer was classified: what the journal says of the call must hold for what
/// would run now.
fn still_fits(plugins: &Plugins, tool: &Tool, call: &Call) -> Result<(), CallError> {
    check_class(tool.replay, call)?;
    plugins.check_arguments(tool, &call.arguments).map_err(|problems| CallError::new(ErrorKind::Invalid, problems))
}

fn check_class(now: Replay, call: &Call) -> Result<(), CallError> {
    if now > call.replay {
        let message = format!("not run: `{}` has changed since it was asked for; call it again if it is still wanted", call.name);
        return Err(CallError::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// The result without the values of secrets, however a tool came by them.
fn redacted(redactor: &Redactor, result: Result<Output, CallError>) -> Result<Output, CallError> {
    let clean = |text: String| redactor.text(&text).into_owned();
    match result {
        Ok(output) => {
            let parts = output.parts.into_iter().map(|part| match part {
                OutputPart::Text(text) => OutputPart::Text(clean(text)),
                OutputPart::Json(json) => OutputPart::Json(clean(json)),
                OutputPart::File { path, media_type, name, content } => {
                    OutputPart::File { path: clean(path), media_type: media_type.map(clean), name: name.map(clean), content }
                }
            });
            Ok(Output { parts: parts.collect(), summary: output.summary.map(clean) })
        }
        Err(error) => Err(CallError { message: clean(error.message), ..error }),
    }
}

/// How a call ended, from what the runtime says. A call that was stopped may have been dropped in the middle of what it
/// was doing, whatever it says itself.
fn ended(call: &CallId, replay: Replay, result: Result<Output, CallError>, files: &[Option<Result<Media, String>>]) -> Ended {
    if let Err(CallError { trap: Some(trap), .. }) = &result {
        tracing::warn!(%call, trap, "a tool crashed");
    }
    match result {
        Err(CallError { kind: ErrorKind::Cancelled, .. }) => output::dropped(replay),
        result => output::ended(result, files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Batching;

    #[test]
    fn a_call_does_not_run_as_something_stricter_than_the_journal_says() {
        let call = |replay| Call {
            id: CallId("s1.1.1.0".into()),
            vendor: String::new(),
            name: "note".into(),
            arguments: "{}".into(),
            replay,
            batching: Batching::Serial,
            refused: None,
        };
        for (was, now) in [(Replay::Read, Replay::Idempotent), (Replay::Read, Replay::Effect), (Replay::Idempotent, Replay::Effect)] {
            assert_eq!(check_class(now, &call(was)).unwrap_err().kind, ErrorKind::Conflict);
            assert_eq!((check_class(was, &call(now)), check_class(now, &call(now))), (Ok(()), Ok(())));
        }
    }
}
