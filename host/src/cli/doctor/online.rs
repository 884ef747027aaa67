//! Asks every model one short question.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Check, Trouble};
use crate::chat::{Failure, FailureKind, Request, TextPiece};
use crate::cli::ExitCode;
use crate::cli::chat::parked;
use crate::cli::components::Components;
use crate::cli::plugin::nobody;
use crate::config::{Config, Model};
use crate::limits;
use crate::plugins::stop::stop;

pub(super) async fn models(config: &Config, runtime: &Components, report: &mut Vec<Check>) {
    for model in config.models.values() {
        let name = format!("model {}", model.alias);
        report.push(match ask(model, runtime).await {
            Ok(took) => Check::ok(name, format!("{} answered in {} ms", model.id, took.as_millis())),
            Err(trouble) => trouble.check(name),
        });
    }
}

/// How long the model took to answer.
pub(in crate::cli) async fn ask(model: &Model, runtime: &Components) -> Result<Duration, Trouble> {
    let began = Instant::now();
    let (stop, signal) = stop();
    let context = nobody::context(runtime.scratch.path().to_owned());
    let question = question();
    let asking = runtime.plugins.complete(model, &question, context, signal, Arc::new(|_| {}));
    let answer = tokio::time::timeout(limits::DOCTOR_MODEL_TIME, asking).await;
    stop.stop(limits::STOP_GRACE);
    match answer {
        Ok(Ok(_)) => Ok(began.elapsed()),
        Ok(Err(failure)) => Err(Trouble::new(parked(Some(failure.kind)), failure.message.clone(), repair(model, &failure))),
        Err(_) => {
            let why = format!("no answer within {} s", limits::DOCTOR_MODEL_TIME.as_secs());
            Err(Trouble::new(ExitCode::Network, why, "try again, or use another model"))
        }
    }
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

fn question() -> Request {
    let system = TextPiece { text: "Answer with one word.".into(), annotations: None };
    let question = Request::question("doctor.1".into(), "doctor".into(), "Say: ready".into());
    Request { system: vec![system], max_output: Some(64), ..question }
}
