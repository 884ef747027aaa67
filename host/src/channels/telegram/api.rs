//! The Bot API over HTTP: one request, one classified answer.
//!
//! - What an error is says whether the request may be repeated: see [`ApiError`].
//! - The token is part of every address. No error, `Debug` or log line here has an address in it, and what a server or a
//!   library says is redacted.
//! - Polling has connections of its own, so that a long poll holds up nothing.
//!
//! What it does not do: repeat a request, or wait for a limit. That is delivery's, the poll loop's and `pace`'s business.

mod download;
mod failure;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::send::GetUpdates;
use super::types::tolerant::Maybe;
use crate::limits;
use crate::secrets::{Redactor, Secret};

pub use download::{Download, DownloadError};
pub use failure::{ApiError, Refusal};
pub use upload::FileBody;

/// Why there is no client for the configured server.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("api_base_url {0} is no address of a server; write https://HOST or http://HOST:PORT")]
    Base(String),
    #[error("proxy {0} cannot be used; write http://HOST:PORT or https://HOST:PORT")]
    Proxy(String),
    #[error("prepare HTTP for Telegram: {0}")]
    Client(String),
}

/// The Bot API for one bot. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
    client: Client,
}

struct Shared {
    base: Url,
    proxy: Option<Url>,
    token: Secret,
    redactor: Redactor,
}

/// Asks for updates, on connections of its own. A new one has none of the old one's connections.
pub struct Poller {
    api: Api,
}

impl fmt::Debug for Api {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Api").field("server", &self.shared.base.origin().ascii_serialization()).finish_non_exhaustive()
    }
}

impl Api {
    /// `base` is the server's address without the bot's part. Without `proxy` the environment's counts, as for most programs
    /// (`HTTPS_PROXY`, `NO_PROXY`), but never for a server on this machine.
    pub fn new(base: &Url, token: Secret, proxy: Option<&Url>) -> Result<Self, SetupError> {
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(SetupError::Base(bare(base)));
        }
        if let Some(proxy) = proxy.filter(|proxy| !matches!(proxy.scheme(), "http" | "https") || proxy.host().is_none()) {
            return Err(SetupError::Proxy(bare(proxy)));
        }
        let redactor = Redactor::new(&forms(&token));
        let shared = Arc::new(Shared { base: base.clone(), proxy: proxy.cloned(), token, redactor });
        let client = shared.client()?;
        Ok(Self { shared, client })
    }

    /// Is it this token with which it asks?
    pub fn has_token(&self, token: &Secret) -> bool {
        self.shared.token.expose() == token.expose()
    }

    /// Calls a method with parameters as JSON; `timeout` is for all of it.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, parameters: &impl Serialize, timeout: Duration) -> Result<T, ApiError> {
        let body =
            serde_json::to_vec(parameters).map_err(|failure| ApiError::NotSent(format!("{method}: write its parameters: {failure}")))?;
        let request = self.client.post(self.address(&["bot"], method)).header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        self.exchange(method, request, timeout).await
    }

    /// Something that polls beside everything that is called here.
    pub fn poller(&self) -> Result<Poller, SetupError> {
        Ok(Poller { api: Self { shared: self.shared.clone(), client: self.shared.client()? } })
    }

    /// `<base>/<prefix…>bot<token>/<rest>`, each segment encoded.
    fn address(&self, prefix: &[&str], rest: &str) -> Url {
        let mut url = self.shared.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let (Ok(mut segments), Some((last, before))) = (url.path_segments_mut(), prefix.split_last()) {
            segments.pop_if_empty().extend(before).push(&format!("{last}{}", self.shared.token.expose()));
            segments.extend(rest.split('/').filter(|segment| !segment.is_empty()));
        }
        url
    }

    async fn exchange<T: DeserializeOwned>(&self, method: &str, request: RequestBuilder, timeout: Duration) -> Result<T, ApiError> {
        let answered = async {
            let response = request.send().await.map_err(|failure| self.failed(method, failure))?;
            let status = response.status().as_u16();
            Ok((status, self.body(method, response).await?))
        };
        let (status, body) = tokio::time::timeout(timeout, answered)
            .await
            .unwrap_or_else(|_| Err(ApiError::Unknown(format!("{method}: no answer within {} s", timeout.as_secs_f32()))))?;
        self.read(method, status, &body)
    }

    async fn body(&self, method: &str, mut response: Response) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|failure| self.failed(method, failure))? {
            if body.len() + chunk.len() > limits::TELEGRAM_ANSWER_BYTES {
                return Err(ApiError::Unknown(format!("{method}: the answer has over {} bytes", limits::TELEGRAM_ANSWER_BYTES)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What an answer means.
    fn read<T: DeserializeOwned>(&self, method: &str, status: u16, body: &[u8]) -> Result<T, ApiError> {
        let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
            return Err(self.foreign(method, status));
        };
        if answer.ok {
            let raw = answer.result.map_or("null", RawValue::get);
            return serde_json::from_str(raw).map_err(|failure| {
                // What serde says quotes what it found.
                let why = format!("{method}: done, but its result is not as expected, at column {}", failure.column());
                ApiError::Undecodable { why, raw: raw.to_owned() }
            });
        }
        let code = answer.error_code.unwrap_or(status);
        let description = self.clean(answer.description.as_deref().unwrap_or("no description"));
        if code >= 500 {
            return Err(ApiError::Unknown(format!("{method}: {code} {description}")));
        }
        let parameters = answer.parameters.0.unwrap_or_default();
        let retry_after = parameters.retry_after.map(|seconds| Duration::from_secs(seconds).min(limits::TELEGRAM_FREEZE_MAX));
        Err(Refusal { method: method.to_owned(), code, description, retry_after, migrate_to: parameters.migrate_to_chat_id.0 }.into())
    }

    /// An answer that is not the Bot API's. What is certain of those that a proxy is known to give: that it wants to know
    /// who asks, and that a body is too large.
    fn foreign(&self, method: &str, status: u16) -> ApiError {
        // Only a proxy says this, and only in place of passing the request on.
        if status == 407 {
            return ApiError::NotSent(format!(
                "{method}: the proxy wants a name and a password; take channels.telegram.proxy out, and give it as http://NAME:PASSWORD@HOST:PORT in HTTPS_PROXY, or in HTTP_PROXY for a server without TLS"
            ));
        }
        if status == 413 {
            let description = "Request Entity Too Large".to_owned();
            return Refusal { method: method.to_owned(), code: 413, description, retry_after: None, migrate_to: None }.into();
        }
        ApiError::Unknown(format!(
            "{method}: HTTP {status} with something that is no answer of the Bot API; look at api_base_url and proxy"
        ))
    }

    /// What a failure of the transport means. Only while connecting is it certain that the server has seen nothing: a
    /// connection that ends later may have carried the request.
    fn failed(&self, method: &str, failure: reqwest::Error) -> ApiError {
        let not_sent = is_not_sent(&failure);
        let mut why = self.clean(&format!("{method}: {}", causes(failure)));
        if why.contains(TUNNEL) {
            why.push_str("; the proxy (channels.telegram.proxy, else HTTPS_PROXY) opens no way to the server");
        }
        if not_sent { ApiError::NotSent(why) } else { ApiError::Unknown(why) }
    }

    /// Without the token, and not too long.
    fn clean(&self, text: &str) -> String {
        self.shared.redactor.text(text).chars().take(limits::TELEGRAM_ERROR_CHARS).collect()
    }
}

impl Poller {
    /// The updates that wait, each as it came, so that one that cannot be read does not hide the others.
    pub async fn updates(&self, request: &GetUpdates, timeout: Duration) -> Result<Vec<Box<RawValue>>, ApiError> {
        self.api.call("getUpdates", request, timeout).await
    }
}

impl Shared {
    fn client(&self) -> Result<Client, SetupError> {
        let failed = |failure: reqwest::Error| SetupError::Client(self.redactor.text(&causes(failure)).into_owned());
        let client = Client::builder()
            .user_agent(concat!("stellaclaw/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(limits::TELEGRAM_CONNECT)
            .pool_idle_timeout(limits::TELEGRAM_POOL_IDLE)
            .tcp_nodelay(true);
        let client = match &self.proxy {
            Some(proxy) => client.proxy(reqwest::Proxy::all(proxy.clone()).map_err(failed)?),
            None if is_here(&self.base) => client.no_proxy(),
            None => client,
        };
        client.build().map_err(failed)
    }
}

/// The token, the half of it that is secret, and both as they stand in an address.
fn forms(token: &Secret) -> Vec<Secret> {
    let half = token.expose().split_once(':').map(|(_, half)| half);
    let mut address = Url::parse("http://localhost/").ok();
    let mut encoded = |text: &str| {
        let address = address.as_mut()?;
        address.path_segments_mut().ok()?.clear().push(text);
        Some(address.path().trim_start_matches('/').to_owned())
    };
    let parts = [Some(token.expose()), half].into_iter().flatten();
    parts.flat_map(|part| [Some(part.to_owned()), encoded(part)]).flatten().filter_map(|form| Secret::new(form, "token").ok()).collect()
}

/// How the HTTP library begins what it says of a proxy that opens no way.
const TUNNEL: &str = "tunnel error";

/// Is the server on this machine?
#[must_use]
pub fn is_here(base: &Url) -> bool {
    match base.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Was no connection made?
fn is_not_sent(failure: &reqwest::Error) -> bool {
    failure.is_connect() || failure.is_builder()
}

/// The address without what may be private in it.
fn bare(url: &Url) -> String {
    match url.host_str() {
        Some(host) => format!("{}://{host}", url.scheme()),
        None => format!("{}:…", url.scheme()),
    }
}

/// The whole chain of causes, without the address.
fn causes(failure: reqwest::Error) -> String {
    let failure = failure.without_url();
    let mut causes = failure.to_string();
    let mut source = std::error::Error::source(&failure);
    while let Some(cause) = source {
        causes = format!("{causes}: {cause}");
        source = cause.source();
    }
    causes
}

/// What every answer looks like.
#[derive(Deserialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error_code: Maybe<u16>,
    #[serde(default)]
    description: Maybe<String>,
    #[serde(default)]
    parameters: Maybe<Parameters>,
}

/// What a refusal may say beside its text.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Parameters {
    retry_after: Maybe<u64>,
    migrate_to_chat_id: Maybe<i64>,
}
