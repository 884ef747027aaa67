//! What a screen wants to be sent, as requests, and what their ends mean for it.

use serde::de::IgnoredAny;
use tokio::sync::OwnedMutexGuard;

use crate::channels::telegram::Telegram;
use crate::channels::telegram::api::ApiError;
use crate::channels::telegram::panel::{Action, Outcome};
use crate::channels::telegram::render::Text;
use crate::channels::telegram::send::{
    ChatAction, EditMessageText, LinkPreviewOptions, SendChatAction, SendMessage, SendMessageDraft, Target,
};
use crate::channels::telegram::types::SentMessage;
use crate::crash;
use crate::ids::TurnKey;
use crate::limits::{TELEGRAM_CALL_TIME, TELEGRAM_PREVIEW_TIME};
use crate::store::Panel;

impl Telegram {
    /// Sends it while `turn` is held. A reply waits until it is known what became of it: the chat may be frozen by it.
    /// `shown`: the turn that it shows; `note`: what the next run of the host must know before it leaves.
    pub(super) async fn fly(
        self,
        target: Target,
        action: Action,
        turn: Option<OwnedMutexGuard<()>>,
        shown: Option<TurnKey>,
        note: Option<Panel>,
    ) -> Outcome {
        if let Some(panel) = note
            && let Err(error) = self.0.store.at(|| format!("panel_noted@{}", named(shown))).note_panel(panel).await
        {
            // Whoever waits for room on the disk should see that they do.
            tracing::debug!(%error, "a panel is sent that a kill would leave behind");
        }
        let (is_draft, kind) = (matches!(action, Action::Draft { .. }), kind(&action));
        crash::point(|| format!("{kind}.before@{}", named(shown)));
        let sent = match action {
            Action::SendPanel { text } => self.send_panel(target, &text).await.map(Some),
            Action::EditPanel { id, text } | Action::ClosePanel { id, text } => self.edit_panel(target, id, &text).await.map(|()| None),
            Action::Draft { draft_id, text, can_stop } => self.draft(target, draft_id, &text, can_stop).await.map(|()| None),
        };
        crash::point(|| format!("{kind}.after@{}", named(shown)));
        let outcome = match sent {
            Ok(id) => Outcome::Sent(id),
            Err(error) => self.came_of(target, &error, is_draft).await,
        };
        drop(turn);
        outcome
    }

    /// Says that the bot is typing. Nobody waits for what comes of it.
    pub(super) async fn say_typing(self, target: Target) {
        let is_forum = self.state().forums.contains(&target.chat());
        let action = SendChatAction { place: target.to_act(is_forum), action: ChatAction::Typing };
        if let Err(error) = self.api().call::<IgnoredAny>("sendChatAction", &action, TELEGRAM_PREVIEW_TIME).await {
            tracing::debug!(%error, "nobody was told that the bot is typing");
            if error.is_too_many() {
                self.learn(target, &error).await;
            }
        }
    }

    async fn send_panel(&self, target: Target, text: &Text) -> Result<i64, ApiError> {
        let message = SendMessage {
            place: target.to_send(),
            text: &text.text,
            entities: &text.entities,
            disable_notification: true,
            link_preview_options: LinkPreviewOptions::OFF,
            reply_parameters: None,
            reply_markup: None,
        };
        self.api().call::<SentMessage>("sendMessage", &message, TELEGRAM_CALL_TIME).await.map(|sent| sent.message_id)
    }

    async fn edit_panel(&self, target: Target, id: i64, text: &Text) -> Result<(), ApiError> {
        let edit = EditMessageText {
            chat_id: target.chat(),
            message_id: id,
            text: &text.text,
            entities: &text.entities,
            link_preview_options: LinkPreviewOptions::OFF,
            reply_markup: None,
        };
        self.api().call::<IgnoredAny>("editMessageText", &edit, TELEGRAM_PREVIEW_TIME).await.map(drop)
    }

    async fn draft(&self, target: Target, draft_id: i64, text: &Text, can_stop: bool) -> Result<(), ApiError> {
        let draft = SendMessageDraft {
            place: target.to_send(),
            draft_id,
            text: &text.text,
            entities: &text.entities,
            can_stop,
            keep_on_stop: false,
        };
        self.api().call::<IgnoredAny>("sendMessageDraft", &draft, TELEGRAM_PREVIEW_TIME).await.map(drop)
    }

    /// What an error means for the screen. Remembers what it says about the chat; of a draft only that it was one too many,
    /// for who may not send drafts may still send messages.
    async fn came_of(&self, target: Target, error: &ApiError, is_draft: bool) -> Outcome {
        tracing::debug!(chat = target.chat(), %error, "what shows a turn did not get through");
        match error {
            ApiError::Undecodable { .. } => return Outcome::Sent(None),
            ApiError::NotSent(_) | ApiError::Unreadable(_) => return Outcome::NotSent,
            ApiError::Unknown(_) => return Outcome::Unknown,
            ApiError::Rejected(_) => {}
        }
        if error.is_not_modified() {
            return Outcome::Sent(None);
        }
        if is_draft && error.is_method_missing() {
            return Outcome::MethodMissing;
        }
        let again = if is_draft && !error.is_too_many() { None } else { self.learn(target, error).await };
        match again {
            Some(_) => Outcome::NotSent,
            None if error.is_message_gone() => Outcome::MessageGone,
            None => Outcome::Refused,
        }
    }
}

/// What a crash point is called.
fn kind(action: &Action) -> &'static str {
    match action {
        Action::SendPanel { .. } => "panel_sent",
        Action::EditPanel { .. } => "panel_edited",
        Action::ClosePanel { .. } => "panel_closed",
        Action::Draft { .. } => "draft",
    }
}

fn named(turn: Option<TurnKey>) -> String {
    turn.map(|turn| turn.to_string()).unwrap_or_default()
}
