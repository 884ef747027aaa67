//! What the vendor takes of pictures and documents, and what is said in place of the others.

use stellaclaw_sdk::chat::Media;
use stellaclaw_sdk::types::Modality;

/// A picture's base64 has at most 10 MiB.
const IMAGE_BYTES: u64 = (10 << 20) / 4 * 3;
/// A whole request has at most 32 MB: base64 of this leaves room for the conversation.
const DOCUMENT_BYTES: u64 = 22 << 20;

/// How a file can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Image,
    Document,
}

/// How `media` is sent.
///
/// # Errors
///
/// What is said in its place.
pub(crate) fn sent(media: &Media) -> Result<Sent, String> {
    let (sent, most) = match (media.modality, media.media_type.as_str()) {
        (Modality::Image, "image/jpeg" | "image/png" | "image/gif" | "image/webp") => (Sent::Image, IMAGE_BYTES),
        (Modality::Pdf, "application/pdf") => (Sent::Document, DOCUMENT_BYTES),
        (Modality::Image, _) => return Err(stand_in(media, "Claude takes JPEG, PNG, GIF and WebP")),
        _ => return Err(stand_in(media, "Claude takes pictures and PDFs")),
    };
    if media.size > most {
        return Err(stand_in(media, &format!("Claude takes at most {most} bytes of it")));
    }
    Ok(sent)
}

/// What is said in place of bytes that are not sent, and why they are not.
pub(crate) fn stand_in(media: &Media, reason: &str) -> String {
    let kind = match media.modality {
        Modality::Text => "text",
        Modality::Image => "image",
        Modality::Pdf => "PDF",
        Modality::Audio => "recording",
        Modality::File => "file",
    };
    let name = media.name.as_deref().map(|name| format!(" {name:?}")).unwrap_or_default();
    format!("[{kind}{name}, {}, {} bytes: not sent, {reason}; use a tool to look at the file]", media.media_type, media.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(modality: Modality, media_type: &str, size: u64) -> Media {
        Media { blob: "sha256:0".into(), modality, media_type: media_type.into(), name: Some("a \"b\"".into()), size, detail: None }
    }

    #[test]
    fn what_is_not_taken_is_named_with_the_reason() {
        assert_eq!(sent(&media(Modality::Image, "image/webp", 1)), Ok(Sent::Image));
        assert_eq!(sent(&media(Modality::Pdf, "application/pdf", DOCUMENT_BYTES)), Ok(Sent::Document));
        let said = |modality, media_type, size| sent(&media(modality, media_type, size)).unwrap_err();
        insta::assert_snapshot!(
            [
                said(Modality::Image, "image/heic", 9),
                said(Modality::Image, "image/png", IMAGE_BYTES + 1),
                said(Modality::Pdf, "application/pdf", DOCUMENT_BYTES + 1),
                said(Modality::Audio, "audio/mpeg", 9),
            ]
            .join("\n"),
            @r#"
        [image "a \"b\"", image/heic, 9 bytes: not sent, Claude takes JPEG, PNG, GIF and WebP; use a tool to look at the file]
        [image "a \"b\"", image/png, 7864321 bytes: not sent, Claude takes at most 7864320 bytes of it; use a tool to look at the file]
        [PDF "a \"b\"", application/pdf, 23068673 bytes: not sent, Claude takes at most 23068672 bytes of it; use a tool to look at the file]
        [recording "a \"b\"", audio/mpeg, 9 bytes: not sent, Claude takes pictures and PDFs; use a tool to look at the file]
        "#
        );
    }
}
