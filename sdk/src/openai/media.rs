//! Media as these interfaces name them.

use crate::chat::Media;
use crate::types::Modality;

/// What a recording's format is called; none for those that no server takes.
#[must_use]
pub fn audio_format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "wav",
        "audio/flac" | "audio/x-flac" => "flac",
        "audio/ogg" | "audio/opus" => "ogg",
        "audio/mp4" | "audio/m4a" | "audio/x-m4a" => "m4a",
        "audio/aac" => "aac",
        _ => return None,
    })
}

/// A document's name; one must be sent.
#[must_use]
pub fn file_name(media: &Media) -> &str {
    media.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("document.pdf")
}

/// What is said in place of bytes that cannot be sent.
#[must_use]
pub fn stand_in(media: &Media) -> String {
    let kind = match media.modality {
        Modality::Text => "text",
        Modality::Image => "image",
        Modality::Pdf => "PDF",
        Modality::Audio => "recording",
        Modality::File => "file",
    };
    let name = media.name.as_deref().map(|name| format!(" {name:?}")).unwrap_or_default();
    format!("[{kind}{name}, {}, {} bytes: cannot be sent to this model; use a tool to look at the file]", media.media_type, media.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stand_ins() {
        let media = |name: Option<&str>| Media {
            blob: "sha256:0".into(),
            modality: Modality::Pdf,
            media_type: "application/pdf".into(),
            name: name.map(str::to_owned),
            size: 7,
            detail: None,
        };
        assert_eq!(
            (file_name(&media(Some("a.pdf"))), file_name(&media(Some(""))), file_name(&media(None))),
            ("a.pdf", "document.pdf", "document.pdf")
        );
        assert!(stand_in(&media(Some("a\n"))).starts_with(r#"[PDF "a\n", application/pdf, 7 bytes: "#));
        assert_eq!((audio_format("audio/x-wav"), audio_format("audio/midi")), (Some("wav"), None));
    }
}
