//! From a body to hits. Each vertical has fields of its own; what a hit has no place for is in its `ext`.

use serde::Deserialize;
use serde_json::{Map, Value};
use stellaclaw_sdk::web_search::{Hit, Vertical};
use stellaclaw_sdk::{Error, Result, moment};

use crate::failure;
use crate::text::plain;

/// The body, as far as it is of interest. Unknown fields are left alone, and none is required.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    r#type: String,
    /// Absent when nothing was found.
    web: Option<Results>,
    /// Of every other vertical.
    #[serde(default)]
    results: Vec<Found>,
}

#[derive(Debug, Deserialize)]
struct Results {
    #[serde(default)]
    results: Vec<Found>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    title: Option<String>,
    url: Option<String>,
    description: Option<String>,
    age: Option<String>,
    page_age: Option<String>,
    language: Option<String>,
    /// Of a picture: the site it is on.
    source: Option<String>,
    extra_snippets: Option<Vec<String>>,
    thumbnail: Option<Thumbnail>,
    properties: Option<Properties>,
    video: Option<Video>,
    meta_url: Option<MetaUrl>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Thumbnail {
    src: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Properties {
    /// The picture itself.
    url: Option<String>,
    width: Option<u64>,
    height: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Video {
    duration: Option<String>,
    views: Option<Value>,
    creator: Option<String>,
    publisher: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MetaUrl {
    hostname: Option<String>,
}

/// The hits of a body.
///
/// # Errors
///
/// It is none, or an error in the place of one.
pub fn hits(body: &[u8], vertical: Vertical) -> Result<Vec<Hit>> {
    let parsed: Body =
        serde_json::from_slice(body).map_err(|error| Error::failed(format!("Brave's answer cannot be understood: {error}")))?;
    if parsed.r#type == "ErrorResponse" {
        return Err(failure::of(200, &[], body, 0));
    }
    let found = match vertical {
        Vertical::Web => parsed.web.map(|web| web.results).unwrap_or_default(),
        Vertical::News | Vertical::Images | Vertical::Videos => parsed.results,
    };
    Ok(found.into_iter().filter_map(hit).collect())
}

/// One hit; none for what has no address.
fn hit(found: Found) -> Option<Hit> {
    let url = found.url.filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
    let passages = found.description.into_iter().chain(found.extra_snippets.into_iter().flatten());
    let snippet = passages.map(|passage| plain(&passage)).filter(|passage| !passage.is_empty()).collect::<Vec<_>>().join("\n");
    let mut ext = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value.filter(|value| !value.is_null() && value.as_str() != Some("")) {
            ext.insert(name.to_owned(), value);
        }
    };
    let properties = found.properties.unwrap_or_default();
    let video = found.video.unwrap_or_default();
    let site = found.meta_url.unwrap_or_default().hostname.or(found.source);
    add("site", site.map(Value::from));
    add("age", found.age.map(Value::from));
    add("language", found.language.map(Value::from));
    add("image", properties.url.map(Value::from));
    add("width", properties.width.map(Value::from));
    add("height", properties.height.map(Value::from));
    add("duration", video.duration.map(Value::from));
    add("views", video.views);
    add("creator", video.creator.map(|creator| plain(&creator).into()));
    add("publisher", video.publisher.map(|publisher| plain(&publisher).into()));
    Some(Hit {
        title: plain(&found.title.unwrap_or_default()),
        url,
        snippet,
        published: found.page_age.as_deref().and_then(moment::from_iso),
        thumbnail: found.thumbnail.and_then(|thumbnail| thumbnail.src),
        ext: (!ext.is_empty()).then(|| Value::Object(ext).to_string()),
    })
}

#[cfg(test)]
mod tests;
