//! `stellaclaw:plugin/models`: a question to whoever serves a role.

use stellaclaw_bindings::models::{Host, Question, Reply};
use stellaclaw_bindings::types::Error;

use crate::plugins::convert;
use crate::plugins::instance::Guest;

impl Host for Guest {
    async fn ask(&mut self, question: Question) -> wasmtime::Result<Result<Reply, Error>> {
        let stop = self.call.stop.clone();
        Ok(match self.session()? {
            Ok(session) => session.helping.ask(question, &stop).await.map_err(convert::error_to_guest),
            Err(none) => Err(none),
        })
    }
}
