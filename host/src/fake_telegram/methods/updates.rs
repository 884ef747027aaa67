//! Updates, by asking for them; webhooks can be set, but nothing is sent to them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Params, Refusal, State};
use crate::fake_telegram::limits;

/// A call of `getUpdates` that may wait.
#[derive(Debug)]
pub(in crate::fake_telegram) struct Poll {
    number: u64,
    limit: usize,
    pub timeout: Duration,
}

/// Begins to ask: what is below the offset is confirmed now, and whoever asked before has lost.
pub(in crate::fake_telegram) fn begin_poll(state: &mut State, mut params: Params) -> Result<Poll, Refusal> {
    let offset = params.int("offset")?.unwrap_or(0);
    let limit = params.int("limit")?.unwrap_or(0);
    let timeout = params.int("timeout")?.unwrap_or(0);
    let allowed = params.object::<Vec<String>>("allowed_updates")?;
    params.done()?;
    if state.updates.webhook.is_some() {
        return Err(Refusal::conflict(
            "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
        ));
    }
    if let Some(kinds) = allowed {
        state.updates.allow(kinds)?;
    }
    state.updates.poll += 1;
    state.confirm_below(offset);
    let most = limits::UPDATES;
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=most).contains(limit)).unwrap_or(most);
    let timeout = Duration::from_secs(u64::try_from(timeout).unwrap_or(0)).min(limits::POLL);
    Ok(Poll { number: state.updates.poll, limit, timeout })
}

/// What there is for this call now; nothing: it may go on waiting.
pub(in crate::fake_telegram) fn poll(state: &mut State, poll: &Poll) -> Result<Option<Value>, Refusal> {
    if state.updates.poll != poll.number {
        return Err(Refusal::conflict("terminated by other getUpdates request; make sure that only one bot instance is running"));
    }
    if state.updates.webhook.is_some() {
        return Err(Refusal::conflict("terminated by setWebhook request"));
    }
    let updates = state.deliver(poll.limit);
    Ok((!updates.is_empty()).then_some(Value::Array(updates)))
}

pub(super) fn get_webhook_info(state: &mut State, params: Params) -> Answer {
    params.done()?;
    let mut info = json!({
        "url": state.updates.webhook.as_deref().unwrap_or_default(),
        "has_custom_certificate": false,
        "pending_update_count": state.updates.pending(),
    });
    if let Some(allowed) = state.updates.allowed() {
        info["allowed_updates"] = json!(allowed);
    }
    Ok(info)
}

pub(super) fn set_webhook(state: &mut State, mut params: Params) -> Answer {
    let address = params.text("url")?.unwrap_or_default();
    let dropped = params.flag("drop_pending_updates")?;
    let allowed = params.object::<Vec<String>>("allowed_updates")?;
    params.text("secret_token")?;
    params.int("max_connections")?;
    params.done()?;
    if !address.is_empty() && !address.starts_with("https://") {
        return Err(Refusal::bad("bad webhook: An HTTPS URL must be provided for webhook"));
    }
    if let Some(kinds) = allowed {
        state.updates.allow(kinds)?;
    }
    state.updates.webhook = Some(address).filter(|address| !address.is_empty());
    if dropped {
        state.forget_updates();
    }
    Ok(json!(true))
}

pub(super) fn delete_webhook(state: &mut State, mut params: Params) -> Answer {
    let dropped = params.flag("drop_pending_updates")?;
    params.done()?;
    state.updates.webhook = None;
    if dropped {
        state.forget_updates();
    }
    Ok(json!(true))
}
