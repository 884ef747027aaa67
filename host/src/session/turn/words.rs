//! What people and models are told about a turn: calm, short, with the next step.

use crate::chat::{Completion, Failure, FailureKind, Piece, Reached, Replay, Stop};
use crate::commands::Button;
use crate::limits;
use crate::session::event::{Outcome, ParkReason};
use crate::session::figures::{tokens, usd};
use crate::session::state::{OpenCall, Spend};
use crate::session::turn::Policy;

pub(super) const STOPPED: &str = "Stopped.";
pub(super) const CLOSED: &str = "Stopped: the conversation was started anew.";
pub(super) const NEW_SESSION: &str = "A new session: the history is empty, workspace and model stay.";
pub(super) const NOTHING_TO_CONTINUE: &str = "Nothing is waiting to be continued.";
pub(super) const NOTHING_RUNNING: &str = "Nothing is running.";
pub(super) const DROPPED: &str = "This conversation has become too long for the model, so its oldest part is no longer part of what the model \
                                  sees. Files are unchanged. `/new` starts afresh.";

pub(super) const COMPACT_LATER: &str = "Something is running. `/compact` works when it is done; a history that grows too long is summarised by \
                                        itself.";
pub(super) const COMPACTING: &str = "The history is being summarised already.";
pub(super) const NOTHING_TO_COMPACT: &str = "There is nothing to summarise yet.";

/// Why a call has no answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A newer message wants to be read.
    Superseded,
    Cancelled,
    Limit,
    Restart,
    /// Other calls fail in a loop.
    Loop,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::Superseded => "a newer message from the person arrived",
            Self::Cancelled => "the person stopped the turn",
            Self::Limit => "the turn was paused",
            Self::Restart => "the host was restarted",
            Self::Loop => "the same call kept failing",
        }
    }
}

/// What is known about a call that is given up on.
pub(super) fn outcome_without_answer(open: &OpenCall) -> Outcome {
    match open.call.replay {
        _ if !open.has_begun() => Outcome::NotStarted,
        Replay::Effect => Outcome::Unknown,
        Replay::Read | Replay::Idempotent => Outcome::Cancelled,
    }
}

/// What the model reads for it.
pub(super) fn no_answer(outcome: Outcome, why: Why) -> String {
    let why = why.text();
    match outcome {
        Outcome::NotStarted => format!("Not started: {why}. Make the call again if it is still wanted."),
        Outcome::Unknown => {
            format!("Outcome unknown: {why} while this call was running. It may or may not have taken effect; check before repeating it.")
        }
        Outcome::Ok | Outcome::Error | Outcome::Cancelled => {
            format!("Stopped before it answered: {why}. It is safe to make the call again.")
        }
    }
}

/// The reply of a turn that ended by itself.
pub(super) fn reply(completion: &Completion) -> String {
    let message = &completion.message;
    let mut text = message.text();
    for piece in &message.pieces {
        if let Piece::Refusal(refusal) = piece {
            text.push_str(refusal);
        }
    }
    let text = text.trim();
    match &completion.stop {
        Stop::MaxOutput if !text.is_empty() => format!("{text}\n\n*(The answer was cut off at the model's output limit.)*"),
        Stop::ContentFilter if text.is_empty() => "The answer was withheld by the provider's content filter.".to_owned(),
        Stop::Refusal(Some(reason)) if text.is_empty() => format!("The model declined to answer: {reason}"),
        Stop::Refusal(None) if text.is_empty() => "The model declined to answer.".to_owned(),
        _ if text.is_empty() => "The model returned an empty answer.".to_owned(),
        _ => text.to_owned(),
    }
}

/// The report of a summary that somebody asked for.
pub(super) fn compacted(before: u64, after: u64, policy: &Policy) -> String {
    format!(
        "The older part of this conversation is summarised: about {before} tokens before, {after} now, of {} that the model reads. It \
         happens by itself at {}. Files are unchanged.",
        policy.window, policy.compact_at
    )
}

/// Why there is no summary.
pub(super) fn not_compacted(reason: &str) -> String {
    let quoted: String = reason.chars().take(limits::FAILURE_QUOTED_CHARS).collect();
    let quoted = quoted.trim().trim_end_matches('.');
    format!("The older part of this conversation could not be summarised: {quoted}. It stays as it is; `/compact` tries again.")
}

/// The answer to `/compact`.
pub(super) const COMPACT_WITHOUT_MONEY: &str = "A budget is used up, so nothing is summarised now; `/status` shows what was used.";

/// The notice of a parked turn.
pub(super) fn parked(reason: ParkReason, detail: Option<&str>, policy: &Policy, reference: &str) -> String {
    let why = match reason {
        ParkReason::Failed => detail.map_or_else(|| "The model could not be reached.".to_owned(), str::to_owned),
        ParkReason::TooLarge => return too_large(reference),
        ParkReason::Spend => format!("This turn has used its budget ({}).", budget(policy.turn_spend)),
        ParkReason::Day => format!("Today's budget is used up ({}).", budget(policy.day_spend)),
        ParkReason::Conversation => format!("The budget of this conversation is used up ({}).", budget(policy.conversation_spend)),
        ParkReason::Wall => format!("This turn has been working for {} minutes.", policy.turn_time.as_secs() / 60),
        ParkReason::Steps => format!("This turn has made {} model requests.", policy.turn_steps),
        ParkReason::Downtime => "I was interrupted for a while in the middle of this.".to_owned(),
    };
    let next = match reason {
        ParkReason::Failed => "`/continue` tries again",
        ParkReason::Day | ParkReason::Conversation => "`/continue` goes on nevertheless",
        _ => "`/continue` goes on",
    };
    format!("{why} {next}. ({reference})")
}

/// What can be pressed below it: the step that its text names.
pub(super) fn next_buttons(reason: ParkReason) -> Vec<Button> {
    vec![match reason {
        ParkReason::Failed => Button::new("Try again", "/continue"),
        ParkReason::TooLarge => Button::new("Start afresh", "/new"),
        ParkReason::Spend | ParkReason::Day | ParkReason::Conversation | ParkReason::Wall | ParkReason::Steps | ParkReason::Downtime => {
            Button::new("Continue", "/continue")
        }
    }]
}

fn too_large(reference: &str) -> String {
    format!("This conversation no longer fits what the model can read, even without its older parts. `/new` starts afresh. ({reference})")
}

/// Of a limit that is not there nothing is said.
fn budget(limit: Spend) -> String {
    let money = (limit.cost_micros < u64::MAX).then(|| format!("{} USD", usd(limit.cost_micros, 2)));
    let tokens = (limit.unpriced_tokens < u64::MAX).then(|| format!("{} tokens without a known price", tokens(limit.unpriced_tokens)));
    money.into_iter().chain(tokens).collect::<Vec<_>>().join(", or ")
}

/// The sentence about a model request that failed for good. `skipped`: models that were given up before.
pub(super) fn failed(failure: &Failure, model: &str, tries: u32, skipped: &[String]) -> String {
    let what = match failure.kind {
        // The message names the key to change.
        FailureKind::Denied => format!("The model `{model}` cannot be asked; the operator needs to look at it"),
        FailureKind::AuthExpired | FailureKind::AuthInvalid | FailureKind::Forbidden => {
            format!("The model `{model}` refused our credentials; the operator needs to check its `api_key`")
        }
        FailureKind::Quota | FailureKind::UsageLimit => format!("The account of the model `{model}` has reached its limit"),
        FailureKind::ModelNotFound => format!("The provider does not know the model configured as `{model}`"),
        _ => {
            let attempts = if tries > 1 { format!(" after {tries} attempts") } else { String::new() };
            match (failure.reached, failure.kind) {
                (Reached::AfterOutput, _) if tries > 1 => {
                    format!("The model `{model}` broke off its answer, at the last of {tries} attempts")
                }
                (Reached::AfterOutput, _) => format!("The model `{model}` broke off its answer"),
                (Reached::BeforeSend, FailureKind::Transport | FailureKind::Timeout) => {
                    format!("The model `{model}` could not be reached{attempts}")
                }
                _ => format!("The model `{model}` did not answer{attempts}"),
            }
        }
    };
    let quoted: String = failure.message.chars().take(limits::FAILURE_QUOTED_CHARS).collect();
    let quoted = quoted.trim().trim_end_matches('.');
    let mut text = if quoted.is_empty() { format!("{what}.") } else { format!("{what}: {quoted}.") };
    if !skipped.is_empty() {
        let before: Vec<_> = skipped.iter().map(|alias| format!("`{alias}`")).collect();
        text.push_str(&format!(" It stood in for {}.", before.join(", ")));
    }
    text
}

/// The notice of a turn ended by the repeated-call guard.
pub(super) fn looped(name: &str, failures: u32, reference: &str) -> String {
    format!("I stopped here: the same call of `{name}` failed {failures} times. Tell me how to go on. ({reference})")
}

/// The notice of a turn that was set aside.
pub(super) fn set_aside(attempts: u32, reference: &str) -> String {
    format!(
        "Your message was set aside: I was interrupted {attempts} times while working on it. Other messages are not affected. ({reference})"
    )
}
