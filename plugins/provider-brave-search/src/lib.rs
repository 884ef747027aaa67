//! Brave Search: pages, news, images and videos.
//!
//! This file does the input and output; everything else is pure: [`request`] makes an address of a query, [`answer`] hits of a
//! body, [`failure`] a typed reason of an error, [`text`] plain text of what comes with marks of HTML.

pub mod answer;
pub mod failure;
pub mod request;
pub mod text;

use stellaclaw_sdk::http::{self, Credential, Place};
use stellaclaw_sdk::web_search::{Hit, Query};
use stellaclaw_sdk::{Result, WebSearch, moment, plugin, secrets, settings};

use request::{Options, SCHEMA as OPTIONS_SCHEMA};

/// An answer with two hundred pictures has some 200 KiB.
const ANSWER_BYTES: usize = 4 << 20;
/// The rest of an error's body says nothing that the start did not.
const ERROR_BYTES: usize = 64 << 10;

/// The search of this component.
#[derive(Debug)]
pub struct Brave;

plugin! {
    search: Brave,
    http: ["https://api.search.brave.com"],
    slots: ["api-key" => ["https://api.search.brave.com"]],
    options: OPTIONS_SCHEMA,
}

impl WebSearch for Brave {
    fn search(query: &Query) -> Result<Vec<Hit>> {
        let entry = settings::entry::<Options>()?;
        let mut asked = http::get(request::url(query, &entry.options, entry.base_url.as_deref())?)
            .header("accept", "application/json")
            .timeouts(entry.timeouts);
        if secrets::exists(settings::API_KEY) {
            let place = Place::Header("x-subscription-token".to_owned());
            asked = asked.credential(Credential { slot: settings::API_KEY.to_owned(), place });
        }
        let response = asked.send()?;
        let status = response.status();
        if !(200..300).contains(&status) {
            return Err(failure::of(status, &response.headers(), &response.beginning(ERROR_BYTES), moment::now()));
        }
        answer::hits(&response.bytes(ANSWER_BYTES)?, query.vertical)
    }
}
