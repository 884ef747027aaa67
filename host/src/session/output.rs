//! What a call's end becomes for the model: outcome, pieces, and a cap on their size.
//!
//! An answer over the cap is shown as a preview and a notice that says so; JSON is shortened between elements, so that it
//! stays valid. What is cut here is cut for good: the journal keeps what the model read.

use serde_json::Value;

use crate::chat::{AnswerPiece, Media, Replay};
use crate::limits;
use crate::plugins::{CallError, ErrorKind, Output, OutputPart};
use crate::session::event::Outcome;
use crate::session::turn::Ended;

/// A call that returned. `files`: what is kept of each part that names a file, or why it is not.
#[must_use]
pub fn ended(result: Result<Output, CallError>, files: &[Option<Result<Media, String>>]) -> Ended {
    match result {
        Ok(output) => Ended { outcome: Outcome::Ok, pieces: pieces(&output.parts, files), summary: output.summary },
        Err(error) => {
            let outcome = if error.kind == ErrorKind::Cancelled { Outcome::Cancelled } else { Outcome::Error };
            let text = if error.message.trim().is_empty() { "the tool failed without saying why".to_owned() } else { error.message };
            Ended { outcome, pieces: vec![AnswerPiece::Text(shorten(&text))], summary: None }
        }
    }
}

/// A call whose sandbox was dropped before it returned.
#[must_use]
pub fn dropped(replay: Replay) -> Ended {
    let (outcome, text) = match replay {
        Replay::Effect => (
            Outcome::Unknown,
            "Outcome unknown: the call was stopped while it ran. It may or may not have taken effect; check before repeating it.",
        ),
        Replay::Read | Replay::Idempotent => (Outcome::Cancelled, "Stopped before it answered. It is safe to make the call again."),
    };
    Ended { outcome, pieces: vec![AnswerPiece::Text(text.to_owned())], summary: None }
}

/// The text, or its beginning and end with a notice in between.
#[must_use]
pub fn shorten(text: &str) -> String {
    cut(text, limits::MODEL_OUTPUT_CHARS, limits::MODEL_PREVIEW_CHARS)
}

/// The JSON text, or a valid one with fewer elements and shorter strings.
#[must_use]
pub fn shorten_json(text: &str) -> String {
    fit_json(text, limits::MODEL_OUTPUT_CHARS, limits::MODEL_PREVIEW_CHARS)
}

/// The parts share one cap. A file is a line of text, and behind it what it shows.
fn pieces(parts: &[OutputPart], files: &[Option<Result<Media, String>>]) -> Vec<AnswerPiece> {
    let mut left = limits::MODEL_OUTPUT_CHARS;
    let mut pieces = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let preview = left * (limits::MODEL_PREVIEW_CHARS / 1000) / (limits::MODEL_OUTPUT_CHARS / 1000);
        let kept = files.get(index).and_then(Option::as_ref);
        let text = match part {
            OutputPart::Text(text) => cut(text, left, preview),
            OutputPart::Json(json) => fit_json(json, left, preview),
            OutputPart::File { path, media_type, name, .. } => {
                let reason = kept.and_then(|kept| kept.as_ref().err()).map(|reason| format!("not shown, {reason}"));
                cut(&file(path, [name, media_type, &reason]), left, preview)
            }
        };
        left = left.saturating_sub(text.chars().count());
        pieces.push(AnswerPiece::Text(text));
        pieces.extend(kept.and_then(|kept| kept.as_ref().ok()).cloned().map(AnswerPiece::Media));
        let rest = parts.len() - index - 1;
        if left == 0 && rest > 0 {
            pieces.push(AnswerPiece::Text(format!("[{rest} more parts of the answer were left out: it is too large]")));
            break;
        }
    }
    if pieces.is_empty() {
        pieces.push(AnswerPiece::Text("(no output)".to_owned()));
    }
    pieces
}

fn file(path: &str, about: [&Option<String>; 3]) -> String {
    let about: Vec<&str> = about.into_iter().filter_map(|word| word.as_deref()).collect();
    if about.is_empty() { format!("[file: {path}]") } else { format!("[file: {path} ({})]", about.join(", ")) }
}

/// Beginning and end: what failed stands mostly at the end, what it is about at the beginning.
fn cut(text: &str, cap: usize, preview: usize) -> String {
    let total = if text.len() <= cap { text.len() } else { text.chars().count() };
    if total <= cap {
        return text.to_owned();
    }
    let head = preview / 4 * 3;
    let tail = preview - head;
    let head_end = text.char_indices().nth(head).map_or(text.len(), |(at, _)| at);
    let tail_start = text.char_indices().nth(total - tail).map_or(text.len(), |(at, _)| at);
    let left_out = total - head - tail;
    format!(
        "{}\n[… {left_out} of {total} characters left out here; ask for less at a time to see them …]\n{}",
        &text[..head_end],
        &text[tail_start..]
    )
}

fn fit_json(text: &str, cap: usize, preview: usize) -> String {
    if text.len() <= cap {
        return text.to_owned();
    }
    let fitted = serde_json::from_str::<Value>(text).ok().and_then(|value| fit(value, preview));
    fitted.map_or_else(|| cut(text, cap, preview), |value| value.to_string())
}

/// Shortens the heaviest member, down to where arrays lose elements and strings their middle.
fn fit(value: Value, budget: usize) -> Option<Value> {
    let weight = weigh(&value);
    if weight <= budget {
        return Some(value);
    }
    match value {
        Value::Array(items) => Some(fit_array(items, budget)),
        Value::String(text) => (budget > 100).then(|| Value::String(cut(&text, budget, budget.saturating_sub(100)))),
        Value::Object(mut members) => {
            let (key, heaviest) = members.iter().map(|(key, value)| (key.clone(), weigh(value))).max_by_key(|(_, weight)| *weight)?;
            let others = weight - heaviest;
            let member = members.get_mut(&key)?;
            *member = fit(member.take(), budget.checked_sub(others)?)?;
            Some(Value::Object(members))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn fit_array(items: Vec<Value>, budget: usize) -> Value {
    let total = items.len();
    let mut used = 0;
    let mut kept = Vec::new();
    for item in items {
        used += weigh(&item) + 1;
        if used > budget {
            break;
        }
        kept.push(item);
    }
    let left_out = total - kept.len();
    kept.push(Value::String(format!("[{left_out} of {total} elements left out: ask for less at a time to see them]")));
    Value::Array(kept)
}

fn weigh(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::Content;

    #[test]
    fn small_answers_stay_as_they_are() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten_json(r#"{"a": [1, 2]}"#), r#"{"a": [1, 2]}"#);
        let exact = "ü".repeat(limits::MODEL_OUTPUT_CHARS);
        assert_eq!(shorten(&exact), exact);
    }

    #[test]
    fn long_text_keeps_its_beginning_and_its_end() {
        let text = format!("BEGIN{}END", "ä".repeat(limits::MODEL_OUTPUT_CHARS));
        let short = shorten(&text);
        assert!(short.starts_with("BEGINä") && short.ends_with("äEND"), "{short:.40}");
        assert!(short.contains("20008 of 100008 characters left out"), "{}", &short[short.find("[…").unwrap()..][..80]);
        assert!(short.chars().count() < limits::MODEL_PREVIEW_CHARS + 200);
    }

    #[test]
    fn long_json_stays_valid() {
        let matches: Vec<Value> = (0..20_000).map(|n| serde_json::json!({ "line": n, "text": "ä" })).collect();
        let json = serde_json::json!({ "total": 20_000, "matches": matches }).to_string();
        let short = shorten_json(&json);
        let value: Value = serde_json::from_str(&short).expect("valid");
        assert_eq!(value["total"], 20_000);
        let shown = value["matches"].as_array().expect("an array");
        assert!(shown.len() > 1000 && shown.len() < 20_000);
        assert!(shown.last().expect("a notice").as_str().expect("text").contains("elements left out"));
        assert!(short.len() <= limits::MODEL_PREVIEW_CHARS + 200);

        let long = serde_json::json!({ "path": "a", "content": "x".repeat(200_000) }).to_string();
        let value: Value = serde_json::from_str(&shorten_json(&long)).expect("valid");
        assert_eq!(value["path"], "a");
        assert!(value["content"].as_str().expect("text").contains("left out"));
    }

    #[test]
    fn parts_share_one_cap() {
        let part = || OutputPart::Text("x".repeat(limits::MODEL_OUTPUT_CHARS - 10));
        let ended = ended(Ok(Output { parts: vec![part(), part(), part()], summary: None }), &[]);
        let total: usize = ended
            .pieces
            .iter()
            .map(|piece| match piece {
                AnswerPiece::Text(text) => text.len(),
                AnswerPiece::Media(_) => 0,
            })
            .sum();
        assert!(total < limits::MODEL_OUTPUT_CHARS + 500, "{total}");
    }

    #[test]
    fn ends_say_what_is_known() {
        assert_eq!(ended(Ok(Output::default()), &[]).pieces, [AnswerPiece::Text("(no output)".into())]);
        let error = |kind| ended(Err(CallError { kind, message: "no".into(), retry_after_ms: None, trap: None }), &[]).outcome;
        assert_eq!(error(ErrorKind::Denied), Outcome::Error);
        assert_eq!(error(ErrorKind::Cancelled), Outcome::Cancelled);
        assert_eq!(dropped(Replay::Effect).outcome, Outcome::Unknown);
        assert_eq!(dropped(Replay::Read).outcome, Outcome::Cancelled);
        let file = OutputPart::File { path: "a.png".into(), media_type: Some("image/png".into()), name: None, content: Content::None };
        assert_eq!(
            ended(Ok(Output { parts: vec![file], summary: None }), &[]).pieces,
            [AnswerPiece::Text("[file: a.png (image/png)]".into())]
        );
        let path = "x".repeat(2 * limits::MODEL_OUTPUT_CHARS);
        let far = ended(
            Ok(Output { parts: vec![OutputPart::File { path, media_type: None, name: None, content: Content::None }], summary: None }),
            &[],
        );
        assert!(matches!(&far.pieces[..], [AnswerPiece::Text(text)] if text.len() < limits::MODEL_OUTPUT_CHARS), "a path shares the cap");
    }
}
