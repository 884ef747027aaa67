//! Calls in the name of a configured model: an answer, the models of its account, a search, a drawing.
//!
//! All get the same: the options checked, the grant of the component with the model's key and server in it, a sandbox, a
//! bound. What searches or draws reads the entry where a tool reads its settings.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stellaclaw_bindings::image_types::{Drawing, EditPrompt, Prompt};
use stellaclaw_bindings::search_types::{Hit, Query};
use stellaclaw_bindings::{model_list, types};
use wasmtime::Store;

use super::outcome::{self, crashed, cut_off, error, failure, redacted, sized, too_long};
use super::{Chain, Remains, Spec};
use crate::ids::CallId;
use crate::plugins::call::{CallContext, CallError, ErrorKind};
use crate::plugins::grants::{self, Grant, GrantError};
use crate::plugins::instance::{Guest, World};
use crate::plugins::link::Linked;
use crate::plugins::load::{Plugin, Serving};
use crate::plugins::manifest::Surface;
use crate::plugins::progress::Progress;
use crate::plugins::stop::StopSignal;
use crate::plugins::{Inner, OnDelta, convert};
use crate::{chat, config};

/// In whose name and within which bounds a call with a model runs.
pub(in crate::plugins) struct Terms {
    /// The call that it is made for.
    pub id: CallId,
    pub context: CallContext,
    pub stop: StopSignal,
    /// The most that is left; the entry's own time is another bound.
    pub time: Duration,
    pub chain: Chain,
    /// Is told how far the call comes.
    pub progress: Progress,
}

impl Terms {
    /// Those of a call that no component has asked for.
    pub fn plain(id: impl Into<String>, context: CallContext, stop: StopSignal) -> Self {
        Self { id: CallId(id.into()), context, stop, time: Duration::MAX, chain: Chain::default(), progress: Progress::default() }
    }
}

/// A component that is ready for a call with a model.
struct Ready<'a> {
    plugin: &'a Arc<Plugin>,
    serving: &'a Serving,
    linked: Arc<Linked>,
    grant: Arc<Grant>,
    /// The alias of the model.
    alias: String,
    time: Duration,
}

/// Why none is.
enum Unready {
    NotFound(String),
    Invalid(String),
    Denied(String),
    Ended(CallError),
}

impl From<Unready> for chat::Failure {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::NotFound(reason) => Self::new(chat::FailureKind::ModelNotFound, reason),
            Unready::Invalid(problems) => Self::new(chat::FailureKind::InvalidRequest, problems),
            Unready::Denied(reason) => Self::new(chat::FailureKind::Denied, reason),
            Unready::Ended(ended) => failure(ended),
        }
    }
}

impl From<Unready> for CallError {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::NotFound(reason) => error(ErrorKind::Unavailable, reason),
            Unready::Invalid(problems) => error(ErrorKind::Unavailable, problems),
            Unready::Denied(reason) => error(ErrorKind::Denied, reason),
            Unready::Ended(ended) => ended,
        }
    }
}

/// What is drawn.
#[derive(Debug, Clone)]
pub enum DrawingOrder {
    New(Prompt),
    Change(EditPrompt),
}

impl Inner {
    /// Asks a model. A failure says how far the request came.
    pub async fn complete(
        self: &Arc<Self>,
        model: &config::Model,
        request: &chat::Request,
        terms: Terms,
        on_delta: OnDelta,
    ) -> Result<chat::Completion, chat::Failure> {
        let progress = terms.progress.clone();
        let seen = progress.clone();
        let on_delta: OnDelta = Arc::new(move |deltas| {
            seen.answers();
            on_delta(deltas);
        });
        let answer = self.answer(model, request, terms, on_delta).await;
        answer.map_err(|failure| chat::Failure { reached: progress.reached(), ..failure })
    }

    async fn answer(
        self: &Arc<Self>,
        model: &config::Model,
        request: &chat::Request,
        terms: Terms,
        on_delta: OnDelta,
    ) -> Result<chat::Completion, chat::Failure> {
        let plugin = self.component(model)?;
        let ready = self.ready(&plugin, model, &terms, "the model request").await?;
        let pre = ready.linked.provider.clone().ok_or_else(|| not_found(model, format!("{} is no provider", plugin.name)))?;
        let wire = (convert::model(model, ready.credential()), convert::request(request));
        let (serving, time) = (ready.serving, ready.time);
        let spec = ready.spec(terms, Some(on_delta), None);
        let remains = self
            .sandboxed(&plugin, &ready.linked, spec, async move |store| {
                let instance = pre.instantiate_async(&mut *store).await?;
                instance.stellaclaw_plugin_provider().call_complete(store, &wire.0, &wire.1).await
            })
            .await
            .map_err(failure)?;
        match remains.result {
            Ok(Ok(Ok(completion))) => sized(&plugin, serving, convert::completion(completion)),
            // It was told to stop, and says so; nobody else asked for that.
            Ok(Ok(Err(_))) if remains.over => Err(too_long(&plugin, serving)),
            Ok(Ok(Err(failure))) => Err(redacted(convert::failure(failure), &remains.redactor)),
            Ok(Err(trap)) => Err(failure(crashed(&plugin, &trap, &remains.redactor, &remains.written))),
            Err(ended) => Err(failure(cut_off("the model request", time, TIME_KEY, ended))),
        }
    }

    /// Has a model's component get ready for a request.
    pub async fn prepare(self: &Arc<Self>, model: &config::Model, request: &chat::Request, terms: Terms) -> Result<(), chat::Failure> {
        let plugin = self.component(model)?;
        let ready = self.ready(&plugin, model, &terms, "the preparation").await?;
        let pre = ready.linked.provider.clone().ok_or_else(|| not_found(model, format!("{} is no provider", plugin.name)))?;
        let wire = (convert::model(model, ready.credential()), convert::request(request));
        let time = ready.time;
        let spec = ready.spec(terms, None, None);
        let remains = self
            .sandboxed(&plugin, &ready.linked, spec, async move |store| {
                let instance = pre.instantiate_async(&mut *store).await?;
                instance.stellaclaw_plugin_provider().call_prepare(store, &wire.0, &wire.1).await
            })
            .await
            .map_err(failure)?;
        match remains.result {
            Ok(Ok(prepared)) => prepared.map_err(|failure| redacted(convert::failure(failure), &remains.redactor)),
            Ok(Err(trap)) => Err(failure(crashed(&plugin, &trap, &remains.redactor, &remains.written))),
            Err(ended) => Err(failure(cut_off("the preparation", time, TIME_KEY, ended))),
        }
    }

    /// The models that the account of an entry can use.
    pub async fn account_models(self: &Arc<Self>, model: &config::Model, terms: Terms) -> Result<Vec<model_list::Entry>, chat::Failure> {
        let plugin = self.component(model)?;
        let ready = self.ready(&plugin, model, &terms, "the list of models").await?;
        let none = || not_found(model, format!("{} cannot say which models an account has", plugin.name));
        let pre = ready.linked.model_list.clone().ok_or_else(none)?;
        let wire = convert::model(model, ready.credential());
        let (serving, time) = (ready.serving, ready.time);
        let spec = ready.spec(terms, None, None);
        let remains = self
            .sandboxed(&plugin, &ready.linked, spec, async move |store| {
                let instance = pre.instantiate_async(&mut *store).await?;
                instance.stellaclaw_plugin_model_list().call_models(store, &wire).await
            })
            .await
            .map_err(failure)?;
        match remains.result {
            Ok(Ok(Ok(entries))) => outcome::entries(&plugin, serving, entries, &remains.redactor).map_err(failure),
            Ok(Ok(Err(failure))) => Err(redacted(convert::failure(failure), &remains.redactor)),
            Ok(Err(trap)) => Err(failure(crashed(&plugin, &trap, &remains.redactor, &remains.written))),
            Err(ended) => Err(failure(cut_off("the list of models", time, TIME_KEY, ended))),
        }
    }

    /// Searches the web.
    pub async fn search(self: &Arc<Self>, model: &config::Model, query: Query, terms: Terms) -> Result<Vec<Hit>, CallError> {
        let plugin = self.component(model)?;
        let ready = self.ready(&plugin, model, &terms, "the search").await?;
        let pre = ready.linked.search.clone().ok_or_else(|| not_found(model, format!("{} does not search the web", plugin.name)))?;
        let most = query.count as usize;
        let answer = self
            .answered(ready, "the search", entry(model), terms, async move |store| {
                let instance = pre.instantiate_async(&mut *store).await?;
                instance.stellaclaw_plugin_web_search().call_search(store, &query).await
            })
            .await?;
        let (hits, serving, redactor) = answer;
        outcome::hits(&plugin, serving, hits, most, &redactor)
    }

    /// Draws, or changes images.
    pub async fn draw(self: &Arc<Self>, model: &config::Model, order: DrawingOrder, terms: Terms) -> Result<Drawing, CallError> {
        let plugin = self.component(model)?;
        let ready = self.ready(&plugin, model, &terms, "the drawing").await?;
        let pre = ready.linked.images.clone().ok_or_else(|| not_found(model, format!("{} does not draw", plugin.name)))?;
        let answer = self
            .answered(ready, "the drawing", entry(model), terms, async move |store| {
                let instance = pre.instantiate_async(&mut *store).await?;
                let images = instance.stellaclaw_plugin_images();
                match &order {
                    DrawingOrder::New(prompt) => images.call_generate(store, prompt).await,
                    DrawingOrder::Change(prompt) => images.call_edit(store, prompt).await,
                }
            })
            .await?;
        let (drawing, _, redactor) = answer;
        outcome::drawing(&plugin, drawing, &redactor)
    }

    /// Do the options of a model fit what its component allows?
    pub fn check_options(&self, surface: &Surface, model: &config::Model) -> Result<(), String> {
        let Some(schema) = &surface.manifest.options else { return Ok(()) };
        let checked = self.schemas.check(&schema.to_string(), &convert::options(model));
        checked.map_err(|problems| format!("[models.{}.options]: {problems}", model.alias))
    }

    /// The component that a model entry names.
    fn component(&self, model: &config::Model) -> Result<Arc<Plugin>, Unready> {
        self.plugin(&model.provider).ok_or_else(|| not_found(model, format!("there is no plugin {}", model.provider)))
    }

    /// The component with everything that the model entry gives it.
    async fn ready<'a>(&self, plugin: &'a Arc<Plugin>, model: &config::Model, terms: &Terms, what: &str) -> Result<Ready<'a>, Unready> {
        let time = model.total_timeout.min(terms.time);
        let (serving, linked) = self
            .serve_within(plugin, time, &terms.stop)
            .await
            .map_err(|ended| Unready::Ended(cut_off(what, time, "its plugin is still being compiled", ended)))?
            .map_err(|reason| not_found(model, reason))?;
        self.check_options(&serving.surface, model).map_err(Unready::Invalid)?;
        let grant = serving.grant.for_model(&serving.surface, &serving.digest, model).map_err(|error| match error {
            GrantError::Untied { .. } => Unready::Denied(error.to_string()),
            error => not_found(model, error.to_string()),
        })?;
        Ok(Ready { plugin, serving, linked, grant: Arc::new(grant), alias: model.alias.clone(), time })
    }

    /// Runs a call whose error is the contract's.
    async fn answered<'a, R: Send + 'static>(
        self: &Arc<Self>,
        ready: Ready<'a>,
        what: &str,
        settings: Arc<str>,
        terms: Terms,
        body: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<Result<R, types::Error>> + Send + 'static,
    ) -> Result<(R, &'a Serving, crate::secrets::Redactor), CallError> {
        let (plugin, serving, time) = (ready.plugin, ready.serving, ready.time);
        let spec = ready.spec(terms, None, Some(settings));
        let Remains { result, written, redactor, .. } = self.sandboxed(plugin, &ready.linked, spec, body).await?;
        let mut failed = match result {
            Ok(Ok(Ok(answer))) => return Ok((answer, serving, redactor)),
            Ok(Ok(Err(error))) => convert::error_from_guest(error),
            Ok(Err(trap)) => crashed(plugin, &trap, &redactor, &written),
            Err(ended) => cut_off(what, time, TIME_KEY, ended),
        };
        failed.message = redactor.text(&failed.message).into_owned();
        Err(failed)
    }
}

/// What bounds a call with a model.
const TIME_KEY: &str = "total_timeout of the model";

impl Ready<'_> {
    /// The slot of the model's key, where it has one.
    fn credential(&self) -> Option<&'static str> {
        self.grant.secrets.contains_key(grants::API_KEY_SLOT).then_some(grants::API_KEY_SLOT)
    }

    fn spec(&self, terms: Terms, deltas: Option<OnDelta>, settings: Option<Arc<str>>) -> Spec {
        Spec {
            world: World::Real,
            grant: self.grant.clone(),
            session: Some((terms.id, terms.context)),
            model: Some(self.alias.clone()),
            deltas,
            stop: terms.stop,
            time: self.time,
            settings,
            chain: terms.chain,
            progress: terms.progress,
        }
    }
}

fn not_found(model: &config::Model, reason: String) -> Unready {
    Unready::NotFound(format!("model {}: {reason}", model.alias))
}

/// What a component that searches or draws reads as its settings: the entry's options, and what the entry itself says.
fn entry(model: &config::Model) -> Arc<str> {
    let mut entry = model.options.as_object().cloned().unwrap_or_default();
    let times = convert::timeouts(model);
    let own: [(&str, Value); 3] = [
        ("model", model.id.as_str().into()),
        ("base_url", model.base_url.as_deref().into()),
        ("timeouts", json!({ "connect": times.connect, "idle": times.idle, "total": times.total })),
    ];
    entry.extend(own.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(entry).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_options_and_what_it_says_itself() {
        let options = json!({ "country": "DE", "model": "not this one" });
        let model = config::Model { id: "brave".into(), base_url: Some("http://127.0.0.1:1".into()), options, ..config::Model::offline() };
        let entry: Value = serde_json::from_str(&entry(&model)).unwrap();
        let times = json!({ "connect": 10_000, "idle": 120_000, "total": 1_800_000 });
        let expected = json!({ "country": "DE", "model": "brave", "base_url": "http://127.0.0.1:1", "timeouts": times });
        assert_eq!(entry, expected);
    }
}
