//! Shows in a chat what its session does: drives a [`Screen`] for each conversation that works.
//!
//! - One task for each conversation, from its first message until nothing has happened for a while. One that panics begins
//!   anew from the stored panel and ends nothing else.
//! - A reply and a preview of the same conversation are never on their way at once: whoever sends holds the [`Stage`]. A
//!   reply waits for it only for a moment.
//! - The panel of a running turn is stored before it is sent, so that the next run of the host goes on with it, or says of one
//!   whose number was lost that it is out of date.
//! - A conversation is shown for as long as something in it waits: its turn may begin at any time.
//!
//! What to show, and when, is the screen's decision; what it looks like on the wire is in `requests`.

mod requests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, watch};
use tokio::time::Instant;

use super::Telegram;
use super::pace::Weight;
use super::panel::{Action, Around, ChatKind, Kept, Next, Outcome, Screen};
use super::send::Target;
use crate::clock;
use crate::ids::{ConversationId, TurnKey};
use crate::limits::{FULL_PAUSE, PREVIEW_YIELD, SCREEN_IDLE, SCREEN_PAUSE};
use crate::session::live::{Activity, Live, LiveView};
use crate::store::{Panel, Phase, StoreError};
use crate::supervise::{Budget, Stopping};

/// What delivery and the task of a conversation share.
#[derive(Default)]
pub(super) struct Stage {
    /// Held while something of the conversation is on its way into the chat.
    turn: Arc<Mutex<()>>,
    /// Delivery has sent something, and drafts have vanished with it.
    sent: AtomicBool,
    /// Look again.
    news: Notify,
}

/// A request on its way, and what came of it.
type Flight = BoxFuture<'static, Outcome>;

/// The task of a conversation.
struct Show {
    telegram: Telegram,
    conversation: ConversationId,
    target: Target,
    stage: Arc<Stage>,
    live: LiveView,
    watch: watch::Receiver<Live>,
    screen: Screen,
    /// What the store knows.
    kept: Option<Kept>,
    flight: Option<Flight>,
    typing: Option<BoxFuture<'static, ()>>,
}

impl Telegram {
    /// Shows from now on what the conversation's session does, until it has been idle for a while.
    pub(super) fn present(&self, conversation: ConversationId) {
        let stage = {
            let mut state = self.state();
            if let Some(stage) = state.stages.get(&conversation) {
                stage.news.notify_one();
                return;
            }
            let stage = Arc::new(Stage::default());
            state.stages.insert(conversation, stage.clone());
            stage
        };
        let telegram = self.clone();
        self.host().supervisor.spawn(async move {
            let mut budget = Budget::default();
            loop {
                let show = AssertUnwindSafe(telegram.show(conversation, &stage)).catch_unwind();
                match show.await {
                    Ok(()) => break,
                    Err(_) if budget.allows(Instant::now()) => tracing::error!(%conversation, "what shows a turn panicked and begins anew"),
                    Err(_) => {
                        tracing::error!(%conversation, "what shows a turn panicked too often; nothing is shown until the next message");
                        break;
                    }
                }
            }
            telegram.forget_stage(conversation, &stage);
        });
    }

    /// Shows again what the last run of the host has shown: stored panels, sessions that are in a turn, and conversations in
    /// which something waits.
    pub(super) async fn present_again(&self) -> Result<(), StoreError> {
        for panel in self.0.store.panels(&self.0.name).await? {
            // A turn that is parked would not be folded by itself.
            self.host().router.wake(panel.conversation);
            self.present(panel.conversation);
        }
        let open = self.0.store.open_sessions().await?.into_iter().map(|session| session.conversation);
        let waiting = self.0.store.waiting_conversations(None).await?;
        for conversation in open.chain(waiting) {
            let known = self.0.store.conversation(conversation).await?;
            if known.is_some_and(|known| known.channel == self.0.name) {
                self.present(conversation);
            }
        }
        Ok(())
    }

    /// Before a reply is sent: waits for the bot's limit, and a moment for the preview that is on its way. Nothing else of
    /// the conversation is sent until this is dropped.
    pub(super) async fn take_stage(&self, conversation: ConversationId, target: Target) -> Option<Taken> {
        loop {
            let taken = self.state().throttle.take(target.chat(), Weight::Final, Instant::now());
            match taken {
                Ok(()) => break,
                Err(until) => tokio::time::sleep_until(until).await,
            }
        }
        let stage = self.state().stages.get(&conversation).cloned()?;
        let turn = tokio::time::timeout(PREVIEW_YIELD, stage.turn.clone().lock_owned()).await.ok();
        Some(Taken { stage, _turn: turn })
    }

    /// Everything that waited for delivery in a conversation has been delivered.
    pub(super) fn delivered(&self, conversation: ConversationId) {
        if let Some(stage) = self.state().stages.get(&conversation) {
            stage.news.notify_one();
        }
    }

    /// Another one may have taken its place already.
    fn forget_stage(&self, conversation: ConversationId, stage: &Arc<Stage>) {
        let mut state = self.state();
        if state.stages.get(&conversation).is_some_and(|known| Arc::ptr_eq(known, stage)) {
            state.stages.remove(&conversation);
        }
    }

    async fn show(&self, conversation: ConversationId, stage: &Arc<Stage>) {
        let mut stopping = self.host().supervisor.stopping();
        let show = loop {
            match Show::begin(self, conversation, stage).await {
                Ok(Some(show)) => break show,
                Ok(None) => return,
                Err(error) => tracing::warn!(%conversation, %error, "a conversation cannot be shown yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(FULL_PAUSE) => {}
                () = stopping.wait() => return,
            }
        };
        show.run(stopping).await;
    }

    /// Does an answer or a question of the conversation wait for delivery? And where its session stands.
    async fn answers_wait(&self, conversation: ConversationId) -> (bool, Option<Phase>) {
        self.0.store.answers_wait(conversation).await.unwrap_or_else(|error| {
            tracing::debug!(%conversation, %error, "nothing is shown just now");
            (true, None)
        })
    }

    /// Does a message wait in the conversation, for its files, the operator or the disk?
    async fn something_waits(&self, conversation: ConversationId) -> bool {
        let standing = self.0.store.standing(conversation).await;
        standing.is_ok_and(|standing| !standing.open.is_empty())
    }

    /// When the next request that only shows progress may be made.
    pub(super) fn room(&self, chat: i64, now: Instant) -> Instant {
        let state = self.state();
        state.edits.next(chat, now).max(state.throttle.next(chat, Weight::Progress, now))
    }

    /// Takes the room for such a request. False: somebody else was quicker.
    pub(super) fn take_room(&self, chat: i64, now: Instant) -> bool {
        let mut state = self.state();
        state.edits.next(chat, now) <= now && state.throttle.take(chat, Weight::Progress, now).is_ok() && state.edits.take(chat, now)
    }
}

/// A reply has the stage.
pub(super) struct Taken {
    stage: Arc<Stage>,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.stage.sent.store(true, Ordering::Release);
        self.stage.news.notify_one();
    }
}

impl Show {
    /// None: the conversation has no place in Telegram.
    async fn begin(telegram: &Telegram, conversation: ConversationId, stage: &Arc<Stage>) -> Result<Option<Self>, StoreError> {
        let Some(known) = telegram.0.store.conversation(conversation).await? else { return Ok(None) };
        let Ok(target) = known.address.parse::<Target>() else { return Ok(None) };
        let kept = telegram.0.store.panel(conversation).await?.and_then(|panel| {
            let key = TurnKey { session: panel.session, turn: panel.turn };
            Kept::from_text(key, &panel.remote_id)
        });
        let kind = if target.is_group() { ChatKind::Group } else { ChatKind::Private };
        let screen = match kept {
            Some(kept) => Screen::restored(kind, kept, Instant::now()),
            None => Screen::new(kind),
        };
        let live = telegram.host().router.live(conversation);
        let (telegram, stage, watch) = (telegram.clone(), stage.clone(), live.watch());
        Ok(Some(Self { telegram, conversation, target, stage, live, watch, screen, kept, flight: None, typing: None }))
    }

    async fn run(mut self, mut stopping: Stopping) {
        let mut idle_since = Instant::now();
        loop {
            let looked = Instant::now();
            let (again, is_idle) = self.look(looked).await;
            self.keep();
            if !is_idle {
                idle_since = looked;
            }
            // Never without a pause: a look costs something.
            let pause = looked + SCREEN_PAUSE;
            let again = again.map_or(idle_since + SCREEN_IDLE, |again| again.max(pause));
            tokio::select! {
                biased;
                () = stopping.wait() => return self.stop().await,
                outcome = landing(&mut self.flight) => self.landed(outcome),
                () = typed(&mut self.typing) => self.typing = None,
                () = self.stage.news.notified() => idle_since = Instant::now(),
                _ = changed(&mut self.watch, pause) => {}
                () = tokio::time::sleep_until(again) => {
                    if is_idle && idle_since.elapsed() >= SCREEN_IDLE {
                        if !self.telegram.something_waits(self.conversation).await && self.leave() {
                            return;
                        }
                        idle_since = Instant::now();
                    }
                }
            }
        }
    }

    /// Looks at the session once and sends what is due. When to look again, and whether there is nothing to show.
    async fn look(&mut self, now: Instant) -> (Option<Instant>, bool) {
        let target = self.telegram.moved(self.target);
        if target.chat() != self.target.chat() {
            self.target = target;
            self.screen.moved();
        }
        let frozen = self.telegram.frozen_for(target).map(|left| now + left);
        let budget = self.telegram.room(target.chat(), now);
        let may_send = self.flight.is_none() && frozen.is_none() && budget <= now;
        // First the stage, then the store, then the session: what delivery has not begun to send after this is newer.
        let turn = if may_send { self.stage.turn.clone().try_lock_owned().ok() } else { None };
        let (waits, phase) = if turn.is_some() { self.telegram.answers_wait(self.conversation).await } else { (may_send, None) };
        if self.stage.sent.swap(false, Ordering::Acquire) {
            self.screen.message_sent();
        }
        let previews = self.telegram.settings().preview;
        let drafts = !self.telegram.state().is_draftless;
        // A copy: nobody who looks holds up the session.
        let live = self.watch.borrow_and_update().clone();
        let finals = waits || (turn.is_some() && is_behind(live.activity, phase));
        let around = Around { now, clock: clock::now(), budget, frozen: frozen.is_some(), finals, previews, drafts };
        let Next { typing, send, again } = self.screen.next(&live, &around);
        if typing && self.typing.is_none() {
            self.typing = Some(self.telegram.clone().say_typing(target).boxed());
        }
        let sends = send.is_some();
        if let Some(action) = send {
            match self.telegram.take_room(target.chat(), now) {
                true => self.launch(action, turn),
                false => self.landed(Outcome::NotSent),
            }
        }
        let rests = matches!(live.activity, Activity::Idle | Activity::Parked);
        let is_idle = rests && self.flight.is_none() && self.typing.is_none() && again.is_none() && !finals && !sends;
        // Delivery says when it is done; should that be missed, this is not.
        let fallback = finals.then(|| now + FULL_PAUSE);
        (again.into_iter().chain(frozen).chain(fallback).min(), is_idle && frozen.is_none())
    }

    fn launch(&mut self, action: Action, turn: Option<OwnedMutexGuard<()>>) {
        let shown = if matches!(action, Action::Draft { .. }) { None } else { self.screen.kept() };
        let note = shown.filter(|shown| self.kept != Some(*shown));
        if note.is_some() {
            self.kept = note;
        }
        let (shown, note) = (shown.map(|shown| shown.turn), note.map(|note| self.row(note)));
        self.flight = Some(self.telegram.clone().fly(self.target, action, turn, shown, note).boxed());
    }

    fn landed(&mut self, outcome: Outcome) {
        self.flight = None;
        if outcome == Outcome::MethodMissing && !std::mem::replace(&mut self.telegram.state().is_draftless, true) {
            tracing::info!("this Bot API server knows no drafts; answers are shown in the panel while they are written");
        }
        if let Some(answer) = self.screen.outcome(outcome, Instant::now()) {
            self.live.mark_shown(answer);
        }
        self.keep();
    }

    /// Stores what a restart must know.
    fn keep(&mut self) {
        let now = self.screen.kept();
        if now == self.kept {
            return;
        }
        let store = &self.telegram.0.store;
        match (now, self.kept) {
            (Some(now), _) => store.at(|| format!("panel_kept@{}", now.turn)).keep_panel(self.row(now)),
            (None, Some(before)) => store.at(|| format!("panel_forgotten@{}", before.turn)).forget_panel(self.row(before)),
            (None, None) => {}
        }
        self.kept = now;
    }

    fn row(&self, kept: Kept) -> Panel {
        let Kept { turn: TurnKey { session, turn }, .. } = kept;
        Panel { conversation: self.conversation, session, turn, remote_id: kept.to_text() }
    }

    /// Ends, unless it has been called again meanwhile.
    fn leave(&self) -> bool {
        let mut state = self.telegram.state();
        let mut called = std::pin::pin!(self.stage.news.notified());
        let is_called = called.as_mut().enable();
        if !is_called {
            state.stages.remove(&self.conversation);
        }
        !is_called
    }

    /// The host stops. What is on its way may be a panel whose number the next run needs.
    async fn stop(mut self) {
        if self.flight.is_some()
            && let Ok(outcome) = tokio::time::timeout(PREVIEW_YIELD, landing(&mut self.flight)).await
        {
            self.landed(outcome);
        }
    }
}

/// Does a session still look as if it worked, while its turn is over in the store? Then the answer may have been sent already.
fn is_behind(activity: Activity, phase: Option<Phase>) -> bool {
    activity.is_working() && matches!(phase, None | Some(Phase::Idle | Phase::Parked | Phase::Closed))
}

/// What came of the request that is on its way. Never returns while there is none.
async fn landing(flight: &mut Option<Flight>) -> Outcome {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

async fn typed(typing: &mut Option<BoxFuture<'static, ()>>) {
    match typing {
        Some(typing) => typing.await,
        None => std::future::pending().await,
    }
}

/// The session has changed, and it is not too soon to look again.
async fn changed(watch: &mut watch::Receiver<Live>, not_before: Instant) {
    tokio::time::sleep_until(not_before).await;
    if watch.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_of_a_turn_that_is_over_in_the_store() {
        for activity in [Activity::Asking, Activity::Calling, Activity::Compacting, Activity::Tidying] {
            for phase in [Phase::Asking, Phase::Calling, Phase::Compacting] {
                assert!(!is_behind(activity, Some(phase)));
            }
            for phase in [None, Some(Phase::Idle), Some(Phase::Parked), Some(Phase::Closed)] {
                assert!(is_behind(activity, phase), "its answer may have been sent");
            }
        }
        for phase in [None, Some(Phase::Asking), Some(Phase::Parked)] {
            assert!(!is_behind(Activity::Idle, phase) && !is_behind(Activity::Parked, phase), "what is over may be said");
        }
    }
}
