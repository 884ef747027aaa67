//! From a body to images.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use stellaclaw_sdk::images::{CALL_BYTES, Drawing, IMAGE_BYTES, Image};
use stellaclaw_sdk::{Error, Result};

use crate::failure;

/// Some servers leave the padding out.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The body, as far as it is of interest.
#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Option<Vec<Drawn<'a>>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Drawn<'a> {
    #[serde(borrow)]
    b64_json: Option<Cow<'a, str>>,
    url: Option<String>,
    revised_prompt: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
}

/// The images of a body.
///
/// # Errors
///
/// It is none, or an error in the place of one; or it has images that the contract has no room for.
pub fn drawing(body: &[u8]) -> Result<Drawing> {
    let parsed: Body<'_> =
        serde_json::from_slice(body).map_err(|error| Error::failed(format!("the vendor's answer cannot be understood: {error}")))?;
    if parsed.error.is_some_and(|error| !error.is_null()) {
        return Err(failure::of(200, &[], body, 0));
    }
    let data = parsed.data.filter(|data| !data.is_empty()).ok_or_else(|| Error::failed("the vendor answers without any image"))?;
    let (mut images, mut revised_prompt, mut all) = (Vec::with_capacity(data.len()), None, 0);
    for drawn in data {
        let image = image(&drawn)?;
        all += image.data.len();
        if all > CALL_BYTES {
            return Err(too_large(format!("the images have over {CALL_BYTES} bytes")));
        }
        images.push(image);
        revised_prompt = revised_prompt.or(drawn.revised_prompt);
    }
    let ext = parsed.usage.map(|usage| json!({ "usage": { "input": usage.input_tokens, "output": usage.output_tokens } }).to_string());
    Ok(Drawing { images, revised_prompt, ext })
}

fn image(drawn: &Drawn<'_>) -> Result<Image> {
    let Some(encoded) = &drawn.b64_json else {
        return Err(Error::failed(match &drawn.url {
            Some(_) => "the vendor answers with an address instead of an image; set response_format = \"b64_json\" in the model's options",
            None => "the vendor answers without any image",
        }));
    };
    if encoded.len() / 4 * 3 > IMAGE_BYTES + 3 {
        return Err(too_large(format!("an image has over {IMAGE_BYTES} bytes")));
    }
    let data = BASE64.decode(encoded.as_bytes()).map_err(|error| Error::failed(format!("an image cannot be decoded: {error}")))?;
    let media_type = sniffed(&data).ok_or_else(|| Error::failed("the vendor answers with something that is no PNG, JPEG, WebP or GIF"))?;
    Ok(Image { media_type: media_type.to_owned(), data })
}

fn too_large(message: String) -> Error {
    Error::too_large(format!("{message}; ask for fewer or smaller ones, or set output_format = \"jpeg\" in the model's options"))
}

/// What it is by its first bytes, whatever the vendor calls it.
fn sniffed(data: &[u8]) -> Option<&'static str> {
    match data {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stellaclaw_sdk::ErrorKind;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    fn encoded(data: &[u8]) -> String {
        BASE64.encode(data)
    }

    fn recorded() -> String {
        format!(
            r#"{{"created":1,"background":"opaque","output_format":"png","quality":"high","size":"1024x1024",
            "data":[{{"b64_json":"{}","revised_prompt":"A red fox."}},{{"b64_json":"{}"}}],
            "usage":{{"input_tokens":50,"input_tokens_details":{{"text_tokens":10,"image_tokens":40}},"output_tokens":1056,"total_tokens":1106}}}}"#,
            encoded(PNG),
            encoded(b"\xff\xd8\xff\xe0jpeg").trim_end_matches('=')
        )
    }

    #[test]
    fn images_come_with_their_types_and_what_they_used() {
        let drawn = drawing(recorded().as_bytes()).unwrap();
        let types: Vec<_> = drawn.images.iter().map(|image| (image.media_type.as_str(), image.data.len())).collect();
        assert_eq!(types, [("image/png", 12), ("image/jpeg", 8)]);
        assert_eq!(drawn.revised_prompt.as_deref(), Some("A red fox."));
        assert_eq!(drawn.ext.as_deref(), Some(r#"{"usage":{"input":50,"output":1056}}"#));
    }

    #[test]
    fn what_is_no_image_is_said() {
        let refusal = |body: &str| drawing(body.as_bytes()).unwrap_err();
        for (body, says) in [
            ("<html>", "cannot be understood"),
            ("{}", "without any image"),
            (r#"{"data":[]}"#, "without any image"),
            (r#"{"data":[{}]}"#, "without any image"),
            (r#"{"data":[{"url":"https://x"}]}"#, "response_format"),
            (r#"{"data":[{"b64_json":"%%%"}]}"#, "cannot be decoded"),
            (r#"{"data":[{"b64_json":"aGVsbG8="}]}"#, "no PNG"),
        ] {
            let error = refusal(body);
            assert!(error.kind == ErrorKind::Failed && error.message.contains(says), "{body}: {error:?}");
        }
        let blocked = refusal(r#"{"error":{"code":"moderation_blocked","message":"no"}}"#);
        assert_eq!(blocked.kind, ErrorKind::Invalid);
    }

    #[test]
    fn there_is_room_for_what_the_contract_takes_and_no_more() {
        let sized = |sizes: &[usize]| {
            let data: Vec<_> =
                sizes.iter().map(|size| json!({ "b64_json": encoded(&[PNG, &vec![0; size - PNG.len()]].concat()) })).collect();
            drawing(json!({ "data": data }).to_string().as_bytes())
        };
        let full = sized(&[IMAGE_BYTES, CALL_BYTES - IMAGE_BYTES]).unwrap();
        assert_eq!(full.images.iter().map(|image| image.data.len()).sum::<usize>(), CALL_BYTES);
        for sizes in [&[IMAGE_BYTES + 6][..], &[IMAGE_BYTES, CALL_BYTES - IMAGE_BYTES + 1]] {
            assert_eq!(sized(sizes).unwrap_err().kind, ErrorKind::TooLarge, "{sizes:?}");
        }
    }

    proptest! {
        /// Whatever part of an answer arrives, or is another one: images or an error.
        #[test]
        fn nothing_breaks_it(at in 0..300_usize, byte: u8, cut: bool) {
            let mut body = recorded().into_bytes();
            let at = at % body.len();
            body[at] = byte;
            if cut {
                body.truncate(at);
            }
            if let Ok(drawn) = drawing(&body) {
                prop_assert!(!drawn.images.is_empty());
            }
        }
    }
}
