//! Asks a configured model for something small, whatever it is: a word, a search, a drawing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chat::{Failure, FailureKind, Request, TextPiece, Usage};
use crate::cli::ExitCode;
use crate::cli::chat::parked;
use crate::cli::components::Components;
use crate::cli::doctor::Trouble;
use crate::cli::plugin::nobody;
use crate::config::Model;
use crate::limits;
use crate::plugins::stop::stop;
use crate::plugins::{CallError, DrawingOrder, ErrorKind, Kind, drawing_usage, image, search};
use crate::session::turn::priced;

/// What came of it.
pub(in crate::cli) struct Trial {
    pub took: Duration,
    pub outcome: Outcome,
    /// With its cost, where that is known. None: nobody counts.
    pub usage: Option<Usage>,
}

pub(in crate::cli) enum Outcome {
    Answered(String),
    Found(Vec<search::Hit>),
    Drawn(Vec<image::Image>),
}

impl Trial {
    /// What happened, in a few words.
    pub fn summary(&self, model: &Model) -> String {
        let what = match &self.outcome {
            Outcome::Answered(_) => "answered".to_owned(),
            Outcome::Found(hits) => format!("found {}", counted(hits.len(), "result")),
            Outcome::Drawn(images) => format!("drew {}", counted(images.len(), "image")),
        };
        format!("{} {what} in {} ms", model.id, self.took.as_millis())
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What a model is asked for: the first that its component can do.
pub(in crate::cli) fn service(model: &Model, runtime: &Components) -> Kind {
    let kinds = runtime.plugins.kinds(model);
    let served = [Kind::Provider, Kind::WebSearch, Kind::Images].into_iter().find(|kind| kinds.contains(kind));
    // A component that can do none of these says so itself.
    served.unwrap_or(Kind::Provider)
}

/// Asks the model.
pub(in crate::cli) async fn ask(model: &Model, runtime: &Components) -> Result<Trial, Trouble> {
    let service = service(model, runtime);
    let time = if service == Kind::Images { limits::TRIAL_DRAWING_TIME } else { limits::TRIAL_TIME };
    let began = Instant::now();
    let (stop, signal) = stop();
    let context = nobody::context(runtime.scratch.path().to_owned());
    let plugins = &runtime.plugins;
    let asking = async {
        let refused = |error: CallError| Trouble::new(code(error.kind), error.message.clone(), remedy(model, &error));
        match service {
            Kind::WebSearch => {
                let hits = plugins.search(model, query(), context, signal).await.map_err(refused)?;
                Ok((Outcome::Found(hits), None))
            }
            Kind::Images => {
                let drawing = plugins.draw(model, DrawingOrder::New(prompt()), context, signal).await.map_err(refused)?;
                let usage = drawing_usage(&drawing);
                Ok((Outcome::Drawn(drawing.images), Some(usage)))
            }
            _ => {
                let completion = plugins.complete(model, &question(), context, signal, Arc::new(|_| {})).await;
                let completion = completion
                    .map_err(|failure| Trouble::new(parked(Some(failure.kind)), failure.message.clone(), repair(model, &failure)))?;
                Ok((Outcome::Answered(completion.message.text()), Some(completion.usage)))
            }
        }
    };
    let answer = tokio::time::timeout(time, asking).await;
    stop.stop(limits::STOP_GRACE);
    let late = |_| Trouble::new(ExitCode::Network, format!("no answer within {} s", time.as_secs()), "try again, or use another model");
    let (outcome, usage) = answer.map_err(late)??;
    Ok(Trial { took: began.elapsed(), outcome, usage: usage.map(|usage| priced(usage, model.price)) })
}

fn question() -> Request {
    let system = TextPiece { text: "Answer with one word.".into(), annotations: None };
    let question = Request::question("trial.1".into(), "trial".into(), "Say: ready".into());
    Request { system: vec![system], max_output: Some(64), ..question }
}

fn query() -> search::Query {
    search::Query {
        text: "WebAssembly component model".into(),
        vertical: search::Vertical::Web,
        count: 3,
        freshness: None,
        country: None,
        language: None,
        ext: None,
    }
}

fn prompt() -> image::Prompt {
    let text = "A small red fox, drawn with a few lines.".into();
    image::Prompt { text, size: None, quality: None, background: None, count: 1, ext: None }
}

fn repair(model: &Model, failure: &Failure) -> String {
    let alias = &model.alias;
    match failure.kind {
        FailureKind::AuthExpired | FailureKind::AuthInvalid | FailureKind::Forbidden | FailureKind::Denied => {
            format!("mend models.{alias}.api_key")
        }
        FailureKind::ModelNotFound => format!("mend models.{alias}.model or models.{alias}.provider"),
        FailureKind::Quota | FailureKind::UsageLimit => "the account has nothing left: top it up, or use another model".into(),
        FailureKind::Transport | FailureKind::Timeout => format!("look at the network, and at models.{alias}.base_url"),
        _ => "try again, or use another model".into(),
    }
}

fn remedy(model: &Model, error: &CallError) -> String {
    let alias = &model.alias;
    match error.kind {
        ErrorKind::Denied => format!("mend models.{alias}.api_key, or what is granted to {}", model.provider),
        ErrorKind::Unavailable | ErrorKind::Timeout => format!("look at the network, and at models.{alias}"),
        ErrorKind::Invalid => format!("mend models.{alias}.options"),
        _ => "try again later".into(),
    }
}

fn code(kind: ErrorKind) -> ExitCode {
    match kind {
        ErrorKind::Denied => ExitCode::Denied,
        ErrorKind::Unavailable | ErrorKind::Timeout => ExitCode::Network,
        ErrorKind::RateLimited => ExitCode::Temporary,
        _ => ExitCode::Failed,
    }
}
