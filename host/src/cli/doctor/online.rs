//! Asks every model for something small.

use super::Check;
use crate::cli::components::Components;
use crate::cli::model::trial;
use crate::config::Config;
use crate::plugins::Kind;

pub(super) async fn models(config: &Config, runtime: &Components, report: &mut Vec<Check>) {
    for model in config.models.values() {
        let name = format!("model {}", model.alias);
        if trial::service(model, runtime) == Kind::Images {
            let why = format!("not asked, because a drawing costs; `stellaclaw model test {}` asks for one", model.alias);
            report.push(Check::ok(name, why));
            continue;
        }
        report.push(match trial::ask(model, runtime).await {
            Ok(trial) => Check::ok(name, trial.summary(model)),
            Err(trouble) => trouble.check(name),
        });
    }
}
