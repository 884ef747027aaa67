//! What becomes of a sandbox that has ended: an answer within the host's own limits, or a typed error, both without secrets.

use std::time::Duration;

use stellaclaw_bindings::image_types::{Drawing, Image};
use stellaclaw_bindings::search_types::Hit;
use stellaclaw_bindings::{model_list, tools as wire, types};

use super::Remains;
use crate::plugins::call::{CallError, Content, ErrorKind, Output, OutputPart, Tool};
use crate::plugins::imports::filesystem::{Denial, Files};
use crate::plugins::instance::{Call, Ended};
use crate::plugins::load::{Plugin, Serving};
use crate::plugins::threads::Lost;
use crate::plugins::{convert, trap};
use crate::secrets::Redactor;
use crate::{chat, limits, media};

pub(super) fn tool_answer(
    plugin: &Plugin,
    serving: &Serving,
    tool: &Tool,
    remains: Remains<Result<(wire::Output, Vec<Content>), stellaclaw_bindings::types::Error>>,
) -> Result<Output, CallError> {
    let Remains { result, written, mut denials, in_vain, redactor, .. } = remains;
    let asked = &serving.surface.manifest.requests.fs;
    // Without a directory nothing is there to be refused; what it then misses is the grant.
    if in_vain && !asked.is_empty() && denials.is_empty() && matches!(&result, Ok(Ok(Err(error))) if is_missing(error.kind)) {
        let key =
            format!("[plugins.{}] fs = [{}]", plugin.name, asked.iter().map(|grant| format!("{grant:?}")).collect::<Vec<_>>().join(", "));
        denials.push(Denial { operation: "open", path: "the workspace".to_owned(), key: Some(key) });
    }
    let mut error = match result {
        Ok(Ok(Ok((output, files)))) => {
            let output = counted(output).map(|output| with_contents(convert::output(output), files));
            match output.and_then(|output| checked(plugin, serving, output, &redactor)) {
                Ok(output) => return Ok(output),
                Err(error) => error,
            }
        }
        Ok(Ok(Err(error))) => trap::with_denials(convert::error_from_guest(error), &denials),
        Ok(Err(trap)) => crashed(plugin, &trap, &redactor, &written),
        Err(ended) => cut_off(&tool.name, tool.timeout, &format!("[plugins.{}.limits] wall_time", plugin.name), ended),
    };
    error.message = redactor.text(&error.message).into_owned();
    Err(error)
}

/// An answer of not too many parts. What is made of more of them is never in memory.
fn counted(output: wire::Output) -> Result<wire::Output, CallError> {
    if output.parts.len() > limits::OUTPUT_PARTS {
        let message = format!("the answer has {} parts; at most {}: join them", output.parts.len(), limits::OUTPUT_PARTS);
        return Err(error(ErrorKind::TooLarge, message));
    }
    Ok(output)
}

/// What is in the files that an answer names, in their order. They share one bound.
pub(super) fn contents(files: &Files, answer: &wire::Output) -> Vec<Content> {
    let mut left = limits::MEDIA_BYTES;
    let named = answer.parts.iter().filter_map(|part| match part {
        types::Part::File(file) => Some(&file.path),
        _ => None,
    });
    let content = |path: &String| match files.named(path).and_then(|file| media::read(&file)) {
        Ok(media::Found::Media(bytes, kind)) => match left.checked_sub(bytes.len() as u64) {
            Some(rest) => {
                left = rest;
                Content::Media(bytes, kind)
            }
            None => Content::Unread("the files of the answer are too large together".into()),
        },
        Ok(media::Found::TooLarge) => Content::Unread(format!("it has over {} bytes", limits::MEDIA_BYTES)),
        Ok(media::Found::Other) => Content::None,
        Err(error) => Content::Unread(format!("it cannot be opened: {}", error.kind())),
    };
    named.take(limits::OUTPUT_PARTS).map(content).collect()
}

fn with_contents(mut output: Output, contents: Vec<Content>) -> Output {
    let files = output.parts.iter_mut().filter_map(|part| match part {
        OutputPart::File { content, .. } => Some(content),
        _ => None,
    });
    files.zip(contents).for_each(|(content, found)| *content = found);
    output
}

/// Is this what a tool says of a file that is not there?
fn is_missing(kind: stellaclaw_bindings::types::ErrorKind) -> bool {
    use stellaclaw_bindings::types::ErrorKind as Kind;
    matches!(kind, Kind::NotFound | Kind::Failed)
}

/// The host's own limits on an answer.
fn checked(plugin: &Plugin, serving: &Serving, mut output: Output, redactor: &Redactor) -> Result<Output, CallError> {
    let size = |part: &OutputPart| match part {
        OutputPart::Text(text) | OutputPart::Json(text) => text.len(),
        OutputPart::File { path, .. } => path.len(),
    };
    fits(plugin, serving, output.parts.iter().map(size).sum())?;
    let texts = output.parts.iter_mut().flat_map(|part| match part {
        OutputPart::Text(text) | OutputPart::Json(text) => vec![text],
        OutputPart::File { path, media_type, name, .. } => [path].into_iter().chain(media_type).chain(name).collect(),
    });
    clean(redactor, texts.chain(&mut output.summary));
    Ok(output)
}

/// The host's own limits on what a model answers.
pub(super) fn sized(plugin: &Plugin, serving: &Serving, completion: chat::Completion) -> Result<chat::Completion, chat::Failure> {
    let failed = |message| chat::Failure::new(chat::FailureKind::Other, message);
    let calls = completion.message.tool_uses().count();
    if calls > limits::ANSWER_CALLS {
        return Err(failed(format!("the answer asks for {calls} calls; at most {} at a time", limits::ANSWER_CALLS)));
    }
    let bytes = serde_json::to_vec(&completion).map_err(|error| failed(format!("the answer cannot be kept: {error}")))?.len();
    let most = serving.limits.output_bytes;
    if bytes > most {
        return Err(failed(format!("the answer has {bytes} bytes; at most {most} ([plugins.{}.limits] output)", plugin.name)));
    }
    Ok(completion)
}

/// An answer that was already too long while it was on its way.
pub(super) fn too_long(plugin: &Plugin, serving: &Serving) -> chat::Failure {
    let most = serving.limits.output_bytes;
    let message = format!("the answer has more than {most} bytes, and did not end ([plugins.{}.limits] output)", plugin.name);
    chat::Failure::new(chat::FailureKind::Other, message)
}

/// The host's own limits on the models of an account.
pub(super) fn entries(
    plugin: &Plugin,
    serving: &Serving,
    mut entries: Vec<model_list::Entry>,
    redactor: &Redactor,
) -> Result<Vec<model_list::Entry>, CallError> {
    let size = |entry: &model_list::Entry| entry.id.len() + entry.name.len() + entry.ext.as_ref().map_or(0, String::len);
    fits(plugin, serving, entries.iter().map(size).sum())?;
    for entry in &mut entries {
        clean(redactor, [&mut entry.id, &mut entry.name].into_iter().chain(&mut entry.ext));
    }
    Ok(entries)
}

/// The host's own limits on what a search found; no more than was asked for.
pub(super) fn hits(
    plugin: &Plugin,
    serving: &Serving,
    mut hits: Vec<Hit>,
    most: usize,
    redactor: &Redactor,
) -> Result<Vec<Hit>, CallError> {
    hits.truncate(most);
    let more = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let size = |hit: &Hit| hit.title.len() + hit.url.len() + hit.snippet.len() + more(&hit.thumbnail) + more(&hit.ext);
    fits(plugin, serving, hits.iter().map(size).sum())?;
    for hit in &mut hits {
        let texts = [&mut hit.title, &mut hit.url, &mut hit.snippet].into_iter();
        clean(redactor, texts.chain(&mut hit.thumbnail).chain(&mut hit.ext));
    }
    Ok(hits)
}

/// The contract's limits on what was drawn.
pub(super) fn drawing(plugin: &Plugin, mut drawing: Drawing, redactor: &Redactor) -> Result<Drawing, CallError> {
    if drawing.images.is_empty() {
        return Err(error(ErrorKind::Failed, format!("{} has drawn no image and says nothing about it", plugin.name)));
    }
    images_fit(drawing.images.iter()).map_err(|reason| error(ErrorKind::TooLarge, format!("what {} has drawn: {reason}", plugin.name)))?;
    if let Some(wrong) = drawing.images.iter().find(|image| !image.media_type.starts_with("image/")) {
        let media_type = &wrong.media_type[..wrong.media_type.floor_char_boundary(limits::FILE_WORD_BYTES)];
        return Err(error(ErrorKind::Failed, format!("{} has drawn something of the type {media_type:?}, which is no image", plugin.name)));
    }
    if drawing.ext.as_ref().is_some_and(|ext| ext.len() > limits::FAILURE_RAW_BYTES) {
        drawing.ext = None;
    }
    let types = drawing.images.iter_mut().map(|image| &mut image.media_type);
    clean(redactor, types.chain(&mut drawing.revised_prompt).chain(&mut drawing.ext));
    Ok(drawing)
}

/// The contract's limits on images that one call gives or gets.
pub(super) fn images_fit<'a>(images: impl Iterator<Item = &'a Image>) -> Result<(), String> {
    let sizes: Vec<_> = images.map(|image| image.data.len()).collect();
    if sizes.len() > limits::IMAGES {
        return Err(format!("{} images; at most {}", sizes.len(), limits::IMAGES));
    }
    if let Some(large) = sizes.iter().find(|bytes| **bytes > limits::DRAWN_IMAGE_BYTES) {
        return Err(format!("an image of {large} bytes; at most {}", limits::DRAWN_IMAGE_BYTES));
    }
    let all: usize = sizes.iter().sum();
    if all > limits::DRAWN_BYTES { Err(format!("{all} bytes of images; at most {} in one call", limits::DRAWN_BYTES)) } else { Ok(()) }
}

/// `[plugins.NAME.limits] output`
fn fits(plugin: &Plugin, serving: &Serving, bytes: usize) -> Result<(), CallError> {
    let most = serving.limits.output_bytes;
    if bytes > most {
        let message = format!("the answer has {bytes} bytes; at most {most} ([plugins.{}.limits] output)", plugin.name);
        return Err(error(ErrorKind::TooLarge, message));
    }
    Ok(())
}

/// Takes secrets out of texts.
fn clean<'a>(redactor: &Redactor, texts: impl Iterator<Item = &'a mut String>) {
    for text in texts {
        if let std::borrow::Cow::Owned(redacted) = redactor.text(text) {
            *text = redacted;
        }
    }
}

/// What a provider says about its failure, without secrets.
pub(super) fn redacted(failure: chat::Failure, redactor: &Redactor) -> chat::Failure {
    let clean = |text: String| redactor.text(&text).into_owned();
    chat::Failure {
        message: clean(failure.message),
        code: failure.code.map(clean),
        request_id: failure.request_id.map(clean),
        // Inside JSON a secret is found in its escaped form, and its mark needs no escape.
        raw: failure.raw.and_then(|raw| serde_json::from_str(&redactor.text(&raw.to_string())).ok()),
        ..failure
    }
}

/// What a guest wrote without being asked.
pub(super) fn tell_the_log(call: &Call, written: &str) {
    let plugin = &call.grant.plugin;
    if !written.is_empty() {
        tracing::debug!(plugin, output = %call.redactor.text(written), "a guest wrote to its standard output or error");
    }
    if let Some(more @ 1..) = call.log_lines.checked_sub(limits::LOG_LINES) {
        tracing::warn!(plugin, "{more} log lines of one call are left out; {} are kept", limits::LOG_LINES);
    }
}

/// A trap, told to the log in full and to the caller in a line.
pub(super) fn crashed(plugin: &Plugin, cause: &wasmtime::Error, redactor: &Redactor, written: &str) -> CallError {
    let mut error = trap::crashed(&plugin.name, cause, written);
    error.trap = error.trap.map(|trap| redactor.text(&trap).into_owned());
    error.message = redactor.text(&error.message).into_owned();
    error.message.truncate(error.message.floor_char_boundary(limits::ERROR_MESSAGE_BYTES));
    let trap = error.trap.as_deref().map(tracing::field::display);
    tracing::error!(plugin = plugin.name, digest = plugin.digest, trap, "{}", error.message);
    error
}

pub(super) fn cut_off(what: &str, time: Duration, key: &str, ended: Ended) -> CallError {
    match ended {
        Ended::TimedOut => error(ErrorKind::Timeout, format!("{what} took longer than {} s and was ended ({key})", time.as_secs_f64())),
        Ended::Stopped => error(ErrorKind::Cancelled, format!("{what} was stopped")),
    }
}

pub(super) fn host_failed(plugin: &str, lost: &Lost) -> CallError {
    tracing::error!(plugin, error = %lost, "the host failed while it ran a call");
    error(ErrorKind::Failed, "the host failed while it ran this call; the log says how".into())
}

pub(super) fn error(kind: ErrorKind, message: String) -> CallError {
    CallError { kind, message, retry_after_ms: None, trap: None }
}

/// A call's error as a model request's.
pub(super) fn failure(error: CallError) -> chat::Failure {
    let kind = match error.kind {
        ErrorKind::Denied => chat::FailureKind::Denied,
        ErrorKind::Timeout => chat::FailureKind::Timeout,
        ErrorKind::Cancelled => chat::FailureKind::Cancelled,
        _ => chat::FailureKind::Other,
    };
    chat::Failure::new(kind, error.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secret;

    const SECRET: &str = "sk-very/\"secret\"-0123456789";

    #[test]
    fn a_providers_failure_carries_no_secret_anywhere() {
        let redactor = Redactor::new([&Secret::new(SECRET, "test").ok().unwrap()]);
        let said = || Some(format!("key {SECRET}"));
        let failure = chat::Failure {
            code: said(),
            request_id: said(),
            raw: Some(serde_json::json!({ "error": said() })),
            ..chat::Failure::new(chat::FailureKind::Denied, format!("bad key {SECRET}"))
        };
        let clean = redacted(failure, &redactor);
        assert_eq!(clean.message, "bad key [redacted]");
        assert_eq!((clean.code.as_deref(), clean.request_id.as_deref()), (Some("key [redacted]"), Some("key [redacted]")));
        assert_eq!(clean.raw.unwrap(), serde_json::json!({ "error": "key [redacted]" }));
    }
}
