//! A request after which its connection speaks another protocol: checked, resolved and given its credentials like any other.
//!
//! A redirect is not followed: it is an answer like every one that is no upgrade.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use stellaclaw_bindings::chat::Timeouts;
use stellaclaw_bindings::http::{Credential, Header, Request};
use stellaclaw_bindings::types::Error;
use tokio::time::Instant;
use url::Url;

use super::body::Body;
use super::client::Speaks;
use super::exchange::{answer, describe, one, reach, shown_headers};
use super::{HttpContext, request};

/// What is asked for.
pub(in crate::plugins::imports) struct Upgrade {
    /// With the scheme http or https.
    pub url: Url,
    pub headers: Vec<Header>,
    pub credentials: Vec<Credential>,
    /// What the new protocol needs, in the host's words.
    pub handshake: HeaderMap,
    pub timeout: Duration,
}

/// What came of it.
pub(in crate::plugins::imports) enum Upgraded {
    /// The connection, the headers of the answer, and these as the guest may see them.
    Switched {
        stream: reqwest::Upgraded,
        headers: HeaderMap,
        shown: Vec<Header>,
    },
    Refused(Body),
}

/// Asks for the upgrade; returns when the server has answered.
pub(in crate::plugins::imports) async fn upgrade(context: &HttpContext, wanted: Upgrade) -> Result<Upgraded, Error> {
    // Only what goes over the connection asks a model.
    let _aside = context.progress.aside();
    let deadline = Instant::now() + wanted.timeout;
    let millis = u64::try_from(wanted.timeout.as_millis()).unwrap_or(u64::MAX);
    let asked = Request {
        method: "GET".to_owned(),
        url: wanted.url.into(),
        headers: wanted.headers,
        credentials: wanted.credentials,
        body: Vec::new(),
        timeouts: Some(Timeouts { connect: millis, idle: millis, total: millis }),
        redirects: 0,
    };
    let mut prepared = request::prepare(context, asked)?;
    prepared.headers.extend(wanted.handshake);
    prepared.speaks = Speaks::Http1;
    let reach = reach(context, &prepared.method, &prepared.url, false)?;
    let response = one(context, &prepared, reach, true, deadline).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Upgraded::Refused(answer(context, &prepared, response, deadline)?));
    }
    let (headers, shown) = (response.headers().clone(), shown_headers(context, response.headers())?);
    let stream = response.upgrade().await.map_err(|failure| describe(&context.redactor, failure, "take over the connection"))?;
    Ok(Upgraded::Switched { stream, headers, shown })
}
