//! Keeps the rules of [`super::pace`]: what is frozen is remembered over restarts, and who waits for a thaw is woken by it.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::Telegram;
use super::send::Target;
use crate::clock;
use crate::ids::ConversationId;
use crate::limits::TELEGRAM_JITTER;

impl Telegram {
    /// How long nothing is to be sent to a chat, if it is frozen.
    pub(super) fn frozen_for(&self, target: Target) -> Option<Duration> {
        let now = Instant::now();
        self.state().freezes.until(target.chat(), now).map(|until| until.duration_since(now))
    }

    /// Telegram wants to be left alone by this chat for a while. For how long it is, in the end.
    pub(super) fn freeze(&self, target: Target, after: Duration) -> Duration {
        let jitter = TELEGRAM_JITTER.mul_f64((RandomState::new().hash_one(0u8) % 1000) as f64 / 1000.0);
        let now = Instant::now();
        tracing::warn!(chat = target.chat(), seconds = after.as_secs(), "Telegram asks to wait; nothing is sent to this chat until then");
        let kept = {
            let mut state = self.state();
            state.freezes.freeze(Some(target.chat()), after, jitter, now);
            state.edits.refused(target.chat(), now);
            state.freezes.to_json(now, clock::now())
        };
        self.0.store.freeze(&self.0.name, kept);
        after + jitter
    }

    /// Has a conversation's replies looked at again after a time. Once, however often it is asked for meanwhile.
    pub(super) fn wake_after(&self, conversation: ConversationId, left: Duration) {
        let Some(host) = self.0.host.get() else { return };
        if !self.state().thawing.insert(conversation) {
            return;
        }
        let telegram = self.clone();
        host.supervisor.spawn_until_stop(async move {
            tokio::time::sleep(left).await;
            telegram.state().thawing.remove(&conversation);
            telegram.host().delivery.wake(conversation);
        });
    }
}
