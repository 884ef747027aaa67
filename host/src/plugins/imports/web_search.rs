//! `stellaclaw:plugin/web-search`: a search by whoever serves the role.

use stellaclaw_bindings::search_types::{Hit, Query};
use stellaclaw_bindings::types::Error;
use stellaclaw_bindings::web_search::Host;

use crate::plugins::convert;
use crate::plugins::instance::Guest;

impl Host for Guest {
    async fn search(&mut self, query: Query) -> wasmtime::Result<Result<Vec<Hit>, Error>> {
        let stop = self.call.stop.clone();
        Ok(match self.session()? {
            Ok(session) => session.helping.search(query, &stop).await.map_err(convert::error_to_guest),
            Err(none) => Err(none),
        })
    }
}
