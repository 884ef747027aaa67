//! The models of an account: `GET {base}/models`, in OpenRouter's words and in those of other servers.

use serde::Deserialize;
use serde_json::{Value, json};
use stellaclaw_sdk::chat::{Failure, Model};
use stellaclaw_sdk::model_list::Entry;
use stellaclaw_sdk::types::Modality;

use crate::{protocol, request};

/// The address of the list.
#[must_use]
pub fn url(account: &Model) -> String {
    format!("{}/models", account.base_url.as_deref().unwrap_or(request::DEFAULT_BASE).trim_end_matches('/'))
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    name: Option<String>,
    context_length: Option<u64>,
    /// vLLM's word for it.
    max_model_len: Option<u64>,
    architecture: Option<Architecture>,
    top_provider: Option<TopProvider>,
    pricing: Option<Pricing>,
}

#[derive(Deserialize)]
struct Architecture {
    #[serde(default)]
    input_modalities: Vec<String>,
}

#[derive(Deserialize)]
struct TopProvider {
    max_completion_tokens: Option<u64>,
}

/// US dollars per token, as decimals.
#[derive(Deserialize)]
struct Pricing {
    prompt: Option<String>,
    completion: Option<String>,
}

/// The models of a body. What is no model in it is left out.
///
/// # Errors
///
/// `protocol` for what is no list.
pub fn entries(body: &[u8]) -> Result<Vec<Entry>, Failure> {
    #[derive(Deserialize)]
    struct Body {
        data: Vec<Value>,
    }
    let body: Body =
        serde_json::from_slice(body).map_err(|error| protocol(format!("the server's list of models cannot be understood: {error}")))?;
    Ok(body.data.into_iter().filter_map(|listed| Some(entry(serde_json::from_value(listed).ok()?))).collect())
}

fn entry(listed: Listed) -> Entry {
    let modalities = listed.architecture.map(|architecture| architecture.input_modalities).unwrap_or_default();
    let reads = modalities.iter().filter_map(|modality| match modality.as_str() {
        "text" => Some(Modality::Text),
        "image" => Some(Modality::Image),
        "audio" => Some(Modality::Audio),
        // OpenRouter reads documents for models that cannot.
        "file" => Some(Modality::Pdf),
        _ => None,
    });
    Entry {
        name: listed.name.unwrap_or_else(|| listed.id.clone()),
        id: listed.id,
        context_window: listed.context_length.or(listed.max_model_len),
        max_output: listed.top_provider.and_then(|provider| provider.max_completion_tokens),
        reads: reads.collect(),
        ext: listed.pricing.and_then(price),
    }
}

/// Dollars per million tokens. A price below nothing is none: it differs from request to request.
fn price(pricing: Pricing) -> Option<String> {
    let million = |text: Option<String>| {
        let price = text?.parse::<f64>().ok()? * 1e6;
        (price.is_finite() && price >= 0.0).then_some((price * 1e6).round() / 1e6)
    };
    let (input, output) = (million(pricing.prompt)?, million(pricing.completion)?);
    Some(json!({ "price": { "input": input, "output": output } }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stellaclaw_sdk::chat::FailureKind;

    const OPENROUTER: &str = r#"{"data":[
        {"id":"anthropic/claude","canonical_slug":"x","name":"Claude","context_length":200000,
         "architecture":{"modality":"text+image->text","input_modalities":["text","image","file","video"],"output_modalities":["text"]},
         "pricing":{"prompt":"0.000003","completion":"0.000015","image":"0"},
         "top_provider":{"context_length":200000,"max_completion_tokens":64000,"is_moderated":true}},
        {"id":"openrouter/auto","name":"Auto Router","context_length":2000000,"pricing":{"prompt":"-1","completion":"-1"},
         "top_provider":{"context_length":null,"max_completion_tokens":null}},
        {"name":"no id"}, 7]}"#;

    #[test]
    fn each_model_with_what_is_known_of_it() {
        let listed = entries(OPENROUTER.as_bytes()).unwrap();
        let claude = Entry {
            id: "anthropic/claude".into(),
            name: "Claude".into(),
            context_window: Some(200_000),
            max_output: Some(64_000),
            reads: vec![Modality::Text, Modality::Image, Modality::Pdf],
            ext: Some(r#"{"price":{"input":3.0,"output":15.0}}"#.into()),
        };
        let auto = Entry { name: "Auto Router".into(), context_window: Some(2_000_000), ..Entry::new("openrouter/auto") };
        assert_eq!(listed, [claude, auto]);
        let vllm = entries(br#"{"object":"list","data":[{"id":"q","object":"model","owned_by":"vllm","max_model_len":32768}]}"#).unwrap();
        assert_eq!(vllm, [Entry { context_window: Some(32_768), ..Entry::new("q") }]);
    }

    #[test]
    fn what_is_no_list_is_said() {
        for body in ["", "<html>", "[]", r#"{"data":"x"}"#] {
            assert_eq!(entries(body.as_bytes()).unwrap_err().kind, FailureKind::Protocol, "{body}");
        }
    }
}
