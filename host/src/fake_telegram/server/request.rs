//! The parameters of a call from an HTTP request: JSON, form or files, and what is in the address.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::fake_telegram::check::{Refusal, unreadable};
use crate::fake_telegram::limits;
use crate::fake_telegram::params::{Params, Upload};

/// Reads a request. The outer error: its body did not come whole.
pub(super) async fn read(request: Request<Incoming>) -> Result<Result<Params, Refusal>, hyper::Error> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let mut params = Params { values: form(request.uri().query().unwrap_or_default().as_bytes()), ..Params::default() };
    let body = match whole(request.into_body()).await {
        Ok(Some(body)) => body,
        Ok(None) => return Ok(Err(Refusal::new(413, "Request Entity Too Large"))),
        Err(error) => return Err(error),
    };
    Ok(fill(&mut params, &kind, body).await.map(|()| params))
}

/// The body; none when it is too large.
pub(in crate::fake_telegram) async fn whole(body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    match Limited::new(body, limits::REQUEST_BYTES).collect().await {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => error.downcast::<hyper::Error>().map_or(Ok(None), |error| Err(*error)),
    }
}

async fn fill(params: &mut Params, kind: &str, body: Bytes) -> Result<(), Refusal> {
    if body.is_empty() {
        return Ok(());
    }
    if kind.starts_with("application/json") {
        let values: Map<String, Value> = serde_json::from_slice(&body).map_err(|error| unreadable("JSON object", &error))?;
        params.values.extend(values);
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        params.values.extend(form(&body));
    } else if let Ok(boundary) = multer::parse_boundary(kind) {
        let wrong = |error: multer::Error| Refusal::bad(format!("can't parse the form: {error}"));
        let mut parts = multer::Multipart::new(stream::iter([Ok::<_, std::io::Error>(body)]), boundary);
        while let Some(part) = parts.next_field().await.map_err(wrong)? {
            let name = part.name().unwrap_or_default().to_owned();
            let file = part.file_name().map(str::to_owned);
            let mime = part.content_type().map(ToString::to_string);
            let bytes = part.bytes().await.map_err(wrong)?;
            if file.is_some() {
                params.files.insert(name, Upload { name: file, mime, bytes });
            } else {
                let text = String::from_utf8(bytes.into()).map_err(|_| Refusal::bad("strings must be encoded in UTF-8"))?;
                params.values.insert(name, Value::String(text));
            }
        }
    } else {
        return Err(Refusal::bad(format!("can't read a body of type {kind:?}")));
    }
    Ok(())
}

fn form(text: &[u8]) -> Map<String, Value> {
    url::form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
}
