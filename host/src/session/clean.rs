//! A model's answer without the values of secrets.
//!
//! A response is clean across the chunks it comes in, but a text that is streamed lies in pieces inside JSON, where no
//! value can be recognised. What a person reads, the journal keeps and the model is shown again is therefore cleaned when
//! the pieces are together.

use std::borrow::Cow;

use crate::chat::{Completion, Piece};
use crate::plugins::Delta;
use crate::secrets::{Redactor, Stream};

/// The answer, cleaned. Reasoning that was changed loses its signature: it would no longer fit.
pub(super) fn completion(redactor: &Redactor, mut completion: Completion) -> Completion {
    for piece in &mut completion.message.pieces {
        match piece {
            Piece::Text(text) => _ = clean(redactor, &mut text.text),
            Piece::Refusal(text) => _ = clean(redactor, text),
            Piece::ToolUse(call) => _ = clean(redactor, &mut call.arguments),
            Piece::Reasoning(reasoning) => {
                for text in reasoning.text.iter_mut().chain(&mut reasoning.summary) {
                    if clean(redactor, text) {
                        reasoning.opaque = None;
                    }
                }
            }
            Piece::Media(_) | Piece::ToolAnswer(_) | Piece::Hosted(_) | Piece::Compaction(_) => {}
        }
    }
    completion
}

/// True when something was replaced.
fn clean(redactor: &Redactor, text: &mut String) -> bool {
    let Cow::Owned(cleaned) = redactor.text(text) else { return false };
    *text = cleaned;
    true
}

/// The text of an answer that is being written, cleaned: what may be the beginning of a secret is held back.
pub(super) struct Preview(Stream);

impl Preview {
    pub(super) fn new(redactor: &Redactor) -> Self {
        Self(redactor.stream())
    }

    /// What can be shown now.
    pub(super) fn push(&mut self, deltas: Vec<Delta>) -> Vec<Delta> {
        let text: String =
            deltas.iter().filter_map(|delta| if let Delta::Text(text) = delta { Some(text.as_str()) } else { None }).collect();
        let others = deltas.into_iter().filter(|delta| !matches!(delta, Delta::Text(_)));
        let shown = self.0.push(text.into_bytes());
        text_of(shown).into_iter().chain(others).collect()
    }

    /// What was held back, when nothing follows.
    pub(super) fn finish(&mut self) -> Vec<Delta> {
        text_of(self.0.finish()).into_iter().collect()
    }
}

/// A secret begins with a whole character, so nothing is cut inside one.
fn text_of(bytes: Vec<u8>) -> Option<Delta> {
    (!bytes.is_empty()).then(|| Delta::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Message, Opaque, Reasoning, Role, Stop, ToolUse, Usage};
    use crate::secrets::Secret;

    const SECRET: &str = "sk-123456789-abc";

    fn redactor() -> Redactor {
        Redactor::new([&Secret::new(SECRET, "test").unwrap()])
    }

    #[test]
    fn every_text_of_an_answer_is_cleaned() {
        let said = format!("it is {SECRET}!");
        let opaque = Some(Opaque { format: "f".into(), data: "signed".into() });
        let thought =
            |text: &str| Piece::Reasoning(Reasoning { text: Some(text.into()), summary: vec![text.into()], opaque: opaque.clone() });
        let call = ToolUse {
            call_id: "c".into(),
            item_id: None,
            name: "t".into(),
            arguments: format!("{{\"key\":\"{SECRET}\"}}"),
            freeform: false,
        };
        let pieces = vec![Piece::text(&said), Piece::Refusal(said.clone()), Piece::ToolUse(call), thought(&said), thought("nothing")];
        let message = Message { id: "m".into(), role: Role::Assistant, phase: None, origin: None, pieces, cache_break: false };
        let answer = Completion { message, stop: Stop::EndTurn, usage: Usage::default(), response_id: None, served_model: None };
        let cleaned = completion(&redactor(), answer);
        assert!(!serde_json::to_string(&cleaned.message).unwrap().contains(SECRET), "{cleaned:?}");
        let kept = cleaned.message.pieces.iter().map(|piece| matches!(piece, Piece::Reasoning(Reasoning { opaque: Some(_), .. })));
        assert_eq!(kept.collect::<Vec<_>>(), [false, false, false, false, true]);
    }

    #[test]
    fn a_preview_never_shows_a_secret_however_it_is_cut() {
        let said = format!("grüße {SECRET} und sk-12 zum Ende sk");
        let expected = said.replace(SECRET, "[redacted]");
        for size in 1..said.chars().count() {
            let mut preview = Preview::new(&redactor());
            let chars: Vec<char> = said.chars().collect();
            let mut deltas = Vec::new();
            for piece in chars.chunks(size) {
                deltas.extend(preview.push(vec![Delta::Text(piece.iter().collect()), Delta::Reasoning("hm".into())]));
            }
            deltas.extend(preview.finish());
            let shown: String =
                deltas.iter().filter_map(|delta| if let Delta::Text(text) = delta { Some(text.as_str()) } else { None }).collect();
            assert_eq!(shown, expected, "in pieces of {size}");
        }
    }
}
