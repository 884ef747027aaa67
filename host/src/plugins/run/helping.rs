//! How a call asks other components: by the role that the configuration gives to a model, never by a component's name.
//!
//! Whoever is asked runs in a sandbox of its own, with its own grant, and within what is left to whoever asks: its time, its
//! number of such calls, its budget. It ends when the one who asks is stopped. No component is asked twice on one way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use stellaclaw_bindings::image_types::Drawing;
use stellaclaw_bindings::models::{Question, Reply};
use stellaclaw_bindings::search_types::{Hit, Query};
use tokio::sync::SemaphorePermit;

use super::model::{DrawingOrder, Terms};
use super::outcome::{error, images_fit};
use crate::config::{self, Helper, Role};
use crate::ids::CallId;
use crate::plugins::call::{CallContext, CallError, ErrorKind, Handed};
use crate::plugins::grants::Grant;
use crate::plugins::progress::Progress;
use crate::plugins::stop::StopSignal;
use crate::plugins::{Inner, convert, helpers};
use crate::{chat, limits};

/// Who asks for a call, and how often they all may still ask.
#[derive(Clone)]
pub(in crate::plugins) struct Chain {
    plugins: Vec<String>,
    left: Arc<AtomicU32>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { plugins: Vec::new(), left: Arc::new(AtomicU32::new(limits::HELPER_CALLS)) }
    }
}

impl Chain {
    /// The chain of whom `plugin` asks.
    fn through(&self, plugin: &str) -> Self {
        Self { plugins: self.plugins.iter().cloned().chain([plugin.to_owned()]).collect(), left: self.left.clone() }
    }

    /// May the last of the chain ask `callee`, which `key` names? Counts.
    fn goes_on(&self, callee: &str, key: &str) -> Result<(), CallError> {
        if self.plugins.iter().any(|plugin| plugin == callee) {
            let way = self.plugins.join(", which asks ");
            return Err(unavailable(format!("{callee} is asked for something already: {way}; name another model in {key}")));
        }
        if self.plugins.len() > limits::HELPER_DEPTH {
            let message = format!("{} components ask each other already; at most {}", self.plugins.len(), limits::HELPER_DEPTH);
            return Err(error(ErrorKind::RateLimited, message));
        }
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| {
            error(ErrorKind::RateLimited, format!("one call asks other components at most {} times, all together", limits::HELPER_CALLS))
        })
    }
}

/// What a call needs to ask others.
pub(in crate::plugins) struct Helping {
    inner: Arc<Inner>,
    call: CallId,
    context: CallContext,
    grant: Arc<Grant>,
    /// Of the component that asks.
    digest: String,
    /// Who asked for this call.
    chain: Chain,
    deadline: Instant,
}

impl Helping {
    pub fn new(
        inner: Arc<Inner>,
        (call, context): (CallId, CallContext),
        grant: Arc<Grant>,
        digest: String,
        chain: Chain,
        deadline: Instant,
    ) -> Self {
        Self { inner, call, context, grant, digest, chain, deadline }
    }

    /// Has whoever serves the role search the web.
    pub async fn search(&self, mut query: Query, stop: &StopSignal) -> Result<Vec<Hit>, CallError> {
        short_enough("the query", query.text.len())?;
        query.count = query.count.clamp(1, limits::SEARCH_HITS);
        let asked = self.ask_for(Role::Search, helpers::Service::Search, stop).await?;
        let hits = unless_stopped(stop, self.inner.search(&asked.model, query, asked.terms)).await?;
        self.context.port.spent(&asked.model.alias, chat::Usage::default()).await?;
        Ok(hits)
    }

    /// Has whoever serves the role draw.
    pub async fn draw(&self, mut order: DrawingOrder, stop: &StopSignal) -> Result<Drawing, CallError> {
        let prompt = match &mut order {
            DrawingOrder::New(prompt) => prompt,
            DrawingOrder::Change(edit) => {
                let given = edit.sources.iter().chain(&edit.mask);
                images_fit(given).map_err(|reason| error(ErrorKind::TooLarge, format!("the images to change: {reason}")))?;
                &mut edit.prompt
            }
        };
        short_enough("the prompt", prompt.text.len())?;
        prompt.count = prompt.count.clamp(1, u32::try_from(limits::IMAGES).unwrap_or(u32::MAX));
        let asked = self.ask_for(Role::ImageGeneration, helpers::Service::Images, stop).await?;
        let drawing = unless_stopped(stop, self.inner.draw(&asked.model, order, asked.terms)).await?;
        self.context.port.spent(&asked.model.alias, convert::drawing_usage(&drawing)).await?;
        Ok(drawing)
    }

    /// Asks whoever serves a role a question.
    pub async fn ask(&self, question: Question, stop: &StopSignal) -> Result<Reply, CallError> {
        let role = Role::of(&question.role).ok_or_else(|| {
            let known = Role::ALL.map(Role::word).join(", ");
            error(ErrorKind::Invalid, format!("there is no role {:?}; the roles are {known}", start(&question.role)))
        })?;
        short_enough("the question", question.prompt.len())?;
        if !question.files.is_empty() {
            return Err(unavailable("this host hands no files to another model; ask in words".into()));
        }
        let asked = self.ask_for(role, helpers::Service::Answers, stop).await?;
        let request = self.request(role, question);
        let completed = async {
            let answer = self.inner.complete(&asked.model, &request, asked.terms, Arc::new(|_| {})).await;
            answer.map_err(|failure| (convert::failure_as_error(&failure), failure.usage.map(|usage| *usage)))
        };
        let completion = match unless_stopped(stop, async { Ok(completed.await) }).await? {
            Ok(completion) => completion,
            Err((failed, usage)) => {
                if let Some(usage) = usage {
                    self.context.port.spent(&asked.model.alias, usage).await?;
                }
                return Err(failed);
            }
        };
        self.context.port.spent(&asked.model.alias, completion.usage.clone()).await?;
        Ok(Reply { text: completion.message.text(), model: completion.served_model.unwrap_or(asked.model.id), ext: None })
    }

    fn request(&self, role: Role, question: Question) -> chat::Request {
        let session = format!("{}.{}", self.context.session, role.word());
        let id = format!("{}.{}", self.call, role.word());
        chat::Request {
            max_output: question.max_output,
            response_schema: question.schema,
            ..chat::Request::question(id, session, question.prompt)
        }
    }

    /// The model that serves `role`, and on which terms it is asked.
    async fn ask_for(&self, role: Role, service: helpers::Service, stop: &StopSignal) -> Result<Asked<'_>, CallError> {
        let plugin = &self.grant.plugin;
        if !self.grant.tied {
            let message = format!(
                "asking other models is not granted to {plugin}; to allow it tie it to its bytes: add\n[plugins.{plugin}]\nsha256 = \"{}\"",
                self.digest
            );
            return Err(error(ErrorKind::Denied, message));
        }
        let config = self.inner.granting.config();
        let key = role.key();
        let named = match config.session.helpers.get(role) {
            None => return Err(unavailable(format!("nobody serves the role {}; name a model in {key}", role.word()))),
            Some(Helper::Model(alias)) => alias,
            Some(Helper::Own) => self.context.model.as_ref().ok_or_else(|| {
                unavailable(format!("{key} is \"self\", and this call has no session with a model of its own; name a model there"))
            })?,
        };
        let model = config.models.get(named).ok_or_else(|| unavailable(format!("{key}: there is no model {named:?}")))?;
        self.inner.serves(model, role, service).map_err(|why| unavailable(format!("{key}: {why}")))?;
        let chain = self.chain.through(plugin);
        chain.goes_on(&model.provider, key)?;
        let time = self.deadline.saturating_duration_since(Instant::now());
        if time.is_zero() {
            return Err(error(ErrorKind::Timeout, "the call has no time left to ask others".into()));
        }
        self.context.port.may_spend().await?;
        let waits = self.inner.helping.try_acquire().map_err(|_| {
            let message = format!("{} calls wait for other components already; try again later", limits::HELPERS_WAITING);
            error(ErrorKind::RateLimited, message)
        })?;
        // What it was handed is not for others.
        let context = CallContext { blobs: Handed::default(), ..self.context.clone() };
        let terms = Terms { id: self.call.clone(), context, stop: stop.clone(), time, chain, progress: Progress::default() };
        Ok(Asked { model: model.clone(), terms, _waits: waits })
    }
}

/// A model that may be asked.
struct Asked<'a> {
    model: config::Model,
    terms: Terms,
    /// Until it has answered.
    _waits: SemaphorePermit<'a>,
}

/// Waits for `work`, unless the call is being stopped: then its sandbox ends at once.
async fn unless_stopped<T>(stop: &StopSignal, work: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    let mut stop = stop.clone();
    let _waiting = stop.waiting();
    tokio::select! {
        biased;
        _ = stop.stopped() => Err(error(ErrorKind::Cancelled, "the call is being stopped".into())),
        done = work => done,
    }
}

fn short_enough(what: &str, bytes: usize) -> Result<(), CallError> {
    if bytes > limits::HELPER_TEXT_BYTES {
        let message = format!("{what} has {bytes} bytes; at most {}", limits::HELPER_TEXT_BYTES);
        return Err(error(ErrorKind::TooLarge, message));
    }
    Ok(())
}

fn unavailable(message: String) -> CallError {
    error(ErrorKind::Unavailable, message)
}

/// What is shown of a word that may be none.
fn start(word: &str) -> &str {
    &word[..word.floor_char_boundary(64)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_component_is_asked_twice_on_one_way_and_the_way_is_short() {
        let one = Chain::default().through("one");
        assert_eq!(one.goes_on("two", "session.helpers.search"), Ok(()));
        let two = one.through("two");
        let refused = two.goes_on("one", "session.helpers.search").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        assert_eq!(
            refused.message,
            "one is asked for something already: one, which asks two; name another model in session.helpers.search"
        );
        let three = two.through("three");
        assert_eq!(three.goes_on("four", "k"), Ok(()));
        assert_eq!(three.through("four").goes_on("five", "k").unwrap_err().kind, ErrorKind::RateLimited);
    }

    #[test]
    fn all_on_one_way_share_their_number_of_calls() {
        let one = Chain::default().through("one");
        let two = one.through("two");
        for call in 0..limits::HELPER_CALLS {
            let asks = if call % 2 == 0 { &one } else { &two };
            assert_eq!(asks.goes_on("three", "k"), Ok(()), "{call}");
        }
        assert_eq!(one.goes_on("three", "k").unwrap_err().kind, ErrorKind::RateLimited);
        assert_eq!(two.goes_on("three", "k").unwrap_err().kind, ErrorKind::RateLimited);
    }
}
