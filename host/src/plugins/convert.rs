//! The contract's types and ours, one into the other; the only place where both are known.
//!
//! Going out is total. Coming in, what a guest said is cut to the contract's limits, and JSON that is none is dropped.

use stellaclaw_bindings::{chat as wire, image_types, tools, types};

use super::call::{CallError, Content, ErrorKind, Output, OutputPart, SessionInfo, SessionKind};
use crate::chat;
use crate::clock::Moment;
use crate::config;
use crate::limits;

// ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Two enumerations with the same cases: ours as theirs, theirs as ours.
macro_rules! same_cases {
    ($out:ident, $in:ident: $ours:ty = $theirs:ty { $($case:ident),* $(,)? }) => {
        pub(super) fn $out(value: $ours) -> $theirs {
            match value { $(<$ours>::$case => <$theirs>::$case),* }
        }
        same_cases!($in: $ours = $theirs { $($case),* });
    };
    ($in:ident: $ours:ty = $theirs:ty { $($case:ident),* $(,)? }) => {
        pub(super) fn $in(value: $theirs) -> $ours {
            match value { $(<$theirs>::$case => <$ours>::$case),* }
        }
    };
}

same_cases!(kind_out, kind_in: ErrorKind = types::ErrorKind {
    Denied, Invalid, NotFound, Conflict, TooLarge, RateLimited, Unavailable, Timeout, Cancelled, Failed,
});
same_cases!(modality_out, modality_in: chat::Modality = types::Modality { Text, Image, Pdf, Audio, File });
same_cases!(role_out, role_in: chat::Role = wire::Role { User, Assistant, Tool });
same_cases!(phase_out, phase_in: chat::Phase = wire::Phase { Commentary, Final });

pub(super) fn error_to_guest(error: CallError) -> types::Error {
    types::Error { kind: kind_out(error.kind), message: error.message, retry_after: error.retry_after_ms }
}

pub(super) fn error_from_guest(error: types::Error) -> CallError {
    let message = cut(error.message, limits::ERROR_MESSAGE_BYTES);
    CallError { kind: kind_in(error.kind), message, retry_after_ms: error.retry_after, trap: None }
}

pub(super) fn session_info(info: &SessionInfo) -> types::SessionInfo {
    types::SessionInfo {
        kind: match info.kind {
            SessionKind::Foreground => types::SessionKind::Foreground,
            SessionKind::Background => types::SessionKind::Background,
            SessionKind::Subagent => types::SessionKind::Subagent,
            SessionKind::Cron => types::SessionKind::Cron,
        },
        reads: info.reads.iter().copied().map(modality_out).collect(),
        helpers: info.helpers.clone(),
        placement: types::Placement::Local,
        ext: None,
    }
}

/// A tool's answer. The host's own limit on its size is checked by the caller.
pub(super) fn output(output: tools::Output) -> Output {
    let word = |text| cut(text, limits::FILE_WORD_BYTES);
    let part = |part| match part {
        types::Part::Text(text) => OutputPart::Text(text),
        types::Part::Json(json) => OutputPart::Json(json),
        types::Part::File(file) => {
            OutputPart::File { path: file.path, media_type: file.media_type.map(word), name: file.name.map(word), content: Content::None }
        }
    };
    Output { parts: output.parts.into_iter().map(part).collect(), summary: output.summary.map(|line| cut(line, limits::SUMMARY_BYTES)) }
}

pub(super) fn batching(batching: tools::Batching) -> chat::Batching {
    match batching {
        tools::Batching::Parallel => chat::Batching::Parallel,
        tools::Batching::Serial => chat::Batching::Serial,
    }
}

pub(super) fn replay(replay: tools::Replay) -> chat::Replay {
    match replay {
        tools::Replay::Read => chat::Replay::Read,
        tools::Replay::Idempotent => chat::Replay::Idempotent,
        tools::Replay::Effect => chat::Replay::Effect,
    }
}

// ── Asking a model ──────────────────────────────────────────────────────────────────────────────────────────────────

/// `credential`: the slot that holds the model's key.
pub(super) fn model(model: &config::Model, credential: Option<&str>) -> wire::Model {
    wire::Model {
        alias: model.alias.clone(),
        id: model.id.clone(),
        base_url: model.base_url.clone(),
        credential: credential.map(str::to_owned),
        context_window: model.context_window,
        reads: model.reads.iter().copied().map(modality_out).collect(),
        timeouts: timeouts(model),
        options: options(model),
        ext: None,
    }
}

pub(super) fn timeouts(model: &config::Model) -> wire::Timeouts {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    wire::Timeouts { connect: millis(model.connect_timeout), idle: millis(model.idle_timeout), total: millis(model.total_timeout) }
}

/// A model's `options` as JSON text; an empty object where there are none.
pub(super) fn options(model: &config::Model) -> String {
    if model.options.is_null() { "{}".into() } else { model.options.to_string() }
}

pub(super) fn request(request: &chat::Request) -> wire::Request {
    wire::Request {
        id: request.id.clone(),
        session: request.session.clone(),
        turn: request.turn.clone(),
        system: request.system.iter().map(text_out).collect(),
        messages: request.messages.iter().map(message_out).collect(),
        tools: request.tools.iter().map(spec_out).collect(),
        tool_choice: wire::ToolChoice::Auto,
        parallel_tools: request.parallel_tools,
        max_output: request.max_output,
        temperature: request.temperature,
        effort: request.effort.clone(),
        reasoning_summary: request.reasoning_summary.clone(),
        response_schema: request.response_schema.clone(),
        service_tier: request.service_tier.clone(),
        cache: Some(wire::Cache { key: request.session.clone(), ttl: request.cache_ttl_ms }),
        extra: None,
        ext: None,
    }
}

fn spec_out(tool: &chat::ToolSpec) -> wire::ToolSpec {
    wire::ToolSpec { name: tool.name.clone(), description: tool.description.clone(), parameters: tool.parameters.clone() }
}

fn message_out(message: &chat::Message) -> wire::Message {
    let origin =
        |origin: &chat::Origin| wire::Origin { provider: origin.provider.clone(), model: origin.model.clone(), wire: origin.wire.clone() };
    wire::Message {
        id: message.id.clone(),
        role: role_out(message.role),
        phase: message.phase.map(phase_out),
        origin: message.origin.as_ref().map(origin),
        pieces: message.pieces.iter().map(piece_out).collect(),
        cache_break: message.cache_break,
    }
}

fn piece_out(piece: &chat::Piece) -> wire::Piece {
    match piece {
        chat::Piece::Text(text) => wire::Piece::Text(text_out(text)),
        chat::Piece::Media(media) => wire::Piece::Media(media_out(media)),
        chat::Piece::ToolUse(call) => wire::Piece::ToolUse(wire::ToolUse {
            call_id: call.call_id.clone(),
            item_id: call.item_id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            freeform: call.freeform,
        }),
        chat::Piece::ToolAnswer(answer) => wire::Piece::ToolAnswer(wire::ToolAnswer {
            call_id: answer.call_id.clone(),
            pieces: answer.pieces.iter().map(answer_piece_out).collect(),
            is_error: answer.is_error,
        }),
        chat::Piece::Reasoning(reasoning) => wire::Piece::Reasoning(wire::Reasoning {
            text: reasoning.text.clone(),
            summary: reasoning.summary.clone(),
            opaque: reasoning.opaque.as_ref().map(opaque_out),
        }),
        chat::Piece::Refusal(text) => wire::Piece::Refusal(text.clone()),
        chat::Piece::Hosted(opaque) => wire::Piece::Hosted(opaque_out(opaque)),
        chat::Piece::Compaction(opaque) => wire::Piece::Compaction(opaque_out(opaque)),
    }
}

fn answer_piece_out(piece: &chat::AnswerPiece) -> wire::AnswerPiece {
    match piece {
        chat::AnswerPiece::Text(text) => wire::AnswerPiece::Text(text.clone()),
        chat::AnswerPiece::Media(media) => wire::AnswerPiece::Media(media_out(media)),
    }
}

fn text_out(text: &chat::TextPiece) -> wire::TextPiece {
    wire::TextPiece { text: text.text.clone(), annotations: text.annotations.clone() }
}

fn opaque_out(opaque: &chat::Opaque) -> wire::Opaque {
    wire::Opaque { format: opaque.format.clone(), data: opaque.data.clone() }
}

fn media_out(media: &chat::Media) -> wire::Media {
    wire::Media {
        blob: media.blob.clone(),
        modality: modality_out(media.modality),
        media_type: media.media_type.clone(),
        name: media.name.clone(),
        size: media.size,
        detail: media.detail.clone(),
    }
}

// ── What it answered ────────────────────────────────────────────────────────────────────────────────────────────────

/// A model speaks for itself alone: not as a person, and not for a tool. It has no way to hand over a file, so one that it names
/// is none of its own.
pub(super) fn completion(completion: wire::Completion) -> chat::Completion {
    let mut message = message_in(completion.message);
    message.role = chat::Role::Assistant;
    message.pieces.retain(|piece| !matches!(piece, chat::Piece::ToolAnswer(_) | chat::Piece::Media(_)));
    chat::Completion {
        message,
        stop: stop_in(completion.stop),
        usage: usage_in(completion.usage),
        response_id: completion.response_id,
        served_model: completion.served_model,
    }
}

pub(super) fn failure(failure: wire::Failure) -> chat::Failure {
    chat::Failure {
        kind: failure_kind_in(failure.kind),
        message: cut(failure.message, limits::ERROR_MESSAGE_BYTES),
        status: failure.status,
        code: failure.code.map(|code| cut(code, limits::FAILURE_WORD_BYTES)),
        request_id: failure.request_id.map(|id| cut(id, limits::FAILURE_WORD_BYTES)),
        retry_after_ms: failure.retry_after,
        resets_at: failure.resets_at.map(|at| Moment(i64::try_from(at).unwrap_or(i64::MAX))),
        usage: failure.usage.map(|usage| Box::new(usage_in(usage))),
        raw: failure.raw.filter(|raw| raw.len() <= limits::FAILURE_RAW_BYTES).and_then(|raw| serde_json::from_str(&raw).ok()),
        // A component cannot say how far it came; the host knows.
        reached: chat::Reached::default(),
    }
}

/// A model's failure for whoever had it asked.
pub(super) fn failure_as_error(failure: &chat::Failure) -> CallError {
    use chat::FailureKind as Kind;
    let kind = match failure.kind {
        Kind::Denied => ErrorKind::Denied,
        Kind::InvalidRequest | Kind::InvalidMedia | Kind::Policy => ErrorKind::Invalid,
        Kind::ContextOverflow => ErrorKind::TooLarge,
        Kind::RateLimit | Kind::UsageLimit | Kind::Quota => ErrorKind::RateLimited,
        Kind::Timeout => ErrorKind::Timeout,
        Kind::Cancelled => ErrorKind::Cancelled,
        Kind::Protocol | Kind::ContinuationLost | Kind::Other => ErrorKind::Failed,
        Kind::AuthExpired
        | Kind::AuthInvalid
        | Kind::Forbidden
        | Kind::Overloaded
        | Kind::Server
        | Kind::Transport
        | Kind::ModelNotFound => ErrorKind::Unavailable,
    };
    CallError { retry_after_ms: failure.retry_after_ms, ..CallError::new(kind, failure.message.clone()) }
}

/// What drawing has used, where the component says so: `{"usage": {"input", "output", "cost"}}` in `ext`.
#[must_use]
pub fn drawing_usage(drawing: &image_types::Drawing) -> chat::Usage {
    #[derive(Default, serde::Deserialize)]
    struct Said {
        #[serde(default)]
        usage: Figures,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Figures {
        input: u64,
        output: u64,
        cost: Option<String>,
    }
    let said: Said = drawing.ext.as_deref().and_then(|ext| serde_json::from_str(ext).ok()).unwrap_or_default();
    let Figures { input, output, cost } = said.usage;
    chat::Usage { input_uncached: input, output, cost_micros: cost.as_deref().and_then(micros), ..chat::Usage::default() }
}

fn message_in(message: wire::Message) -> chat::Message {
    let origin = |origin: wire::Origin| chat::Origin { provider: origin.provider, model: origin.model, wire: origin.wire };
    chat::Message {
        id: message.id,
        role: role_in(message.role),
        phase: message.phase.map(phase_in),
        origin: message.origin.map(origin),
        pieces: message.pieces.into_iter().map(piece_in).collect(),
        cache_break: message.cache_break,
    }
}

fn piece_in(piece: wire::Piece) -> chat::Piece {
    match piece {
        wire::Piece::Text(text) => chat::Piece::Text(chat::TextPiece { text: text.text, annotations: text.annotations }),
        wire::Piece::Media(media) => chat::Piece::Media(media_in(media)),
        wire::Piece::ToolUse(call) => chat::Piece::ToolUse(chat::ToolUse {
            call_id: call.call_id,
            item_id: call.item_id,
            name: call.name,
            arguments: call.arguments,
            freeform: call.freeform,
        }),
        wire::Piece::ToolAnswer(answer) => chat::Piece::ToolAnswer(chat::ToolAnswer {
            call_id: answer.call_id,
            pieces: answer.pieces.into_iter().map(answer_piece_in).collect(),
            is_error: answer.is_error,
        }),
        wire::Piece::Reasoning(reasoning) => chat::Piece::Reasoning(chat::Reasoning {
            text: reasoning.text,
            summary: reasoning.summary,
            opaque: reasoning.opaque.map(opaque_in),
        }),
        wire::Piece::Refusal(text) => chat::Piece::Refusal(text),
        wire::Piece::Hosted(opaque) => chat::Piece::Hosted(opaque_in(opaque)),
        wire::Piece::Compaction(opaque) => chat::Piece::Compaction(opaque_in(opaque)),
    }
}

fn answer_piece_in(piece: wire::AnswerPiece) -> chat::AnswerPiece {
    match piece {
        wire::AnswerPiece::Text(text) => chat::AnswerPiece::Text(text),
        wire::AnswerPiece::Media(media) => chat::AnswerPiece::Media(media_in(media)),
    }
}

fn opaque_in(opaque: wire::Opaque) -> chat::Opaque {
    chat::Opaque { format: opaque.format, data: opaque.data }
}

fn media_in(media: wire::Media) -> chat::Media {
    chat::Media {
        blob: media.blob,
        modality: modality_in(media.modality),
        media_type: media.media_type,
        name: media.name,
        size: media.size,
        detail: media.detail,
        pixels: None,
    }
}

fn usage_in(usage: wire::Usage) -> chat::Usage {
    chat::Usage {
        input_uncached: usage.input_uncached,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        output: usage.output,
        reasoning: usage.reasoning,
        cost_micros: usage.cost.as_deref().and_then(micros),
    }
}

fn stop_in(stop: wire::Stop) -> chat::Stop {
    match stop {
        wire::Stop::EndTurn => chat::Stop::EndTurn,
        wire::Stop::ToolUse => chat::Stop::ToolUse,
        wire::Stop::MaxOutput => chat::Stop::MaxOutput,
        wire::Stop::StopSequence(sequence) => chat::Stop::StopSequence(sequence),
        wire::Stop::Refusal(text) => chat::Stop::Refusal(text),
        wire::Stop::ContentFilter => chat::Stop::ContentFilter,
        wire::Stop::Pause => chat::Stop::Pause,
        wire::Stop::ContextFull => chat::Stop::ContextFull,
        wire::Stop::Other(text) => chat::Stop::Other(text),
    }
}

same_cases!(failure_kind_in: chat::FailureKind = wire::FailureKind {
    Denied, AuthExpired, AuthInvalid, Forbidden, Quota, UsageLimit, RateLimit, Overloaded, Server, Timeout, Transport,
    ContextOverflow, InvalidRequest, InvalidMedia, Policy, ModelNotFound, ContinuationLost, Protocol, Cancelled, Other,
});

/// A decimal number of dollars in millionths, rounded up. None when it is no such number.
fn micros(dollars: &str) -> Option<u64> {
    let value: f64 = dollars.parse().ok()?;
    // 10^12 dollars and more are nobody's bill.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within the range")]
    (value.is_finite() && (0.0..1e12).contains(&value)).then(|| (value * 1e6).ceil() as u64)
}

/// At most `most` bytes of a text, cut between characters.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_went() {
        let opaque = || chat::Opaque { format: "f".into(), data: "{\"a\": 1}".into() };
        let media = || chat::Media {
            blob: "sha256:0".into(),
            modality: chat::Modality::Pdf,
            media_type: "application/pdf".into(),
            name: Some("n".into()),
            size: 9,
            detail: None,
            pixels: None,
        };
        let message = chat::Message {
            id: "m1".into(),
            role: chat::Role::Assistant,
            phase: Some(chat::Phase::Commentary),
            origin: Some(chat::Origin { provider: "p".into(), model: "m".into(), wire: "w".into() }),
            pieces: vec![
                chat::Piece::text("hello"),
                chat::Piece::Media(media()),
                chat::Piece::ToolUse(chat::ToolUse {
                    call_id: "c".into(),
                    item_id: Some("i".into()),
                    name: "t".into(),
                    arguments: "{ }".into(),
                    freeform: true,
                }),
                chat::Piece::ToolAnswer(chat::ToolAnswer {
                    call_id: "c".into(),
                    pieces: vec![chat::AnswerPiece::Text("x".into()), chat::AnswerPiece::Media(media())],
                    is_error: true,
                }),
                chat::Piece::Reasoning(chat::Reasoning { text: None, summary: vec!["s".into()], opaque: Some(opaque()) }),
                chat::Piece::Refusal("no".into()),
                chat::Piece::Hosted(opaque()),
                chat::Piece::Compaction(opaque()),
            ],
            cache_break: true,
        };
        assert_eq!(message_in(message_out(&message)), message);
    }

    #[test]
    fn a_model_speaks_for_nobody_else() {
        let answer = wire::Piece::ToolAnswer(wire::ToolAnswer { call_id: "c".into(), pieces: Vec::new(), is_error: false });
        let file = wire::Piece::Media(wire::Media {
            blob: "sha256:0".into(),
            modality: types::Modality::Image,
            media_type: "image/png".into(),
            name: None,
            size: 1,
            detail: None,
        });
        let (role, pieces) = (wire::Role::User, vec![answer, file]);
        let message = wire::Message { id: "m".into(), role, phase: None, origin: None, pieces, cache_break: false };
        let max = u64::MAX;
        let usage = wire::Usage {
            input_uncached: max,
            cache_read: max,
            cache_write: vec![(1, max)],
            output: max,
            reasoning: max,
            cost: None,
            raw: None,
        };
        let stop = wire::Stop::EndTurn;
        let said = wire::Completion { message, stop, usage, response_id: None, served_model: None, served_tier: None, ext: None };
        let said = completion(said);
        assert_eq!((said.message.role, said.message.pieces.len()), (chat::Role::Assistant, 0));
        assert_eq!(said.usage.tokens(), max, "absurd figures are much, not little");
    }

    #[test]
    fn dollars_become_millionths_rounded_up() {
        assert_eq!(micros("0.0000012"), Some(2));
        assert_eq!(micros("5"), Some(5_000_000));
        for nonsense in ["", "-1", "NaN", "inf", "1e40", "five"] {
            assert_eq!(micros(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn what_a_guest_says_is_cut_between_characters() {
        let long = types::Error { kind: types::ErrorKind::Conflict, message: "é".repeat(4000), retry_after: Some(5) };
        let error = error_from_guest(long);
        assert_eq!((error.message.len(), error.kind, error.retry_after_ms), (limits::ERROR_MESSAGE_BYTES, ErrorKind::Conflict, Some(5)));
    }
}
