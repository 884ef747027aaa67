//! Small things that are sent beside all replies: nobody waits for them, a stop of the host neither, and nothing is lost when
//! one is.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::api::ApiError;
use super::send::{AnswerCallbackQuery, EditMessageReplyMarkup, EditMessageText, LinkPreviewOptions, SendMessage, Target};
use super::types::SentMessage;
use super::{Telegram, keyboard, render};
use crate::clock;
use crate::commands::Button;
use crate::limits::{STRANGER_HINTS, STRANGER_HINTS_TIME, STRANGERS, TELEGRAM_CALL_TIME};
use crate::store::StoreError;

/// Something was chosen with a button below a message: what the buttons are from then on.
pub(super) struct Chosen {
    pub chat: i64,
    pub message_id: i64,
    pub buttons: Vec<Button>,
}

impl Telegram {
    /// Strangers are told once that they are one, and who can change that; never many of them in a short time, so that a flood
    /// of messages brings no flood of answers.
    pub(super) fn hint(&self, strangers: BTreeSet<i64>) {
        if !self.state().hinted.has_room(STRANGER_HINTS, STRANGER_HINTS_TIME, Instant::now()) {
            return;
        }
        let telegram = self.clone();
        self.host().supervisor.spawn_until_stop(async move {
            for stranger in strangers {
                if !telegram.state().hinted.has_room(STRANGER_HINTS, STRANGER_HINTS_TIME, Instant::now()) {
                    return;
                }
                match telegram.is_told(stranger).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => return tracing::debug!(%error, "a stranger was not told so"),
                }
                let text = format!("This bot is private. Its owner can allow you to use it; your number is {stranger}.");
                if let Err(error) = telegram.say(stranger, &text).await {
                    tracing::debug!(%error, "a stranger was not told so");
                    telegram.learn(Target::new(stranger, None), &error).await;
                }
            }
        });
    }

    /// Is a stranger to be told now? Then they never are again.
    async fn is_told(&self, stranger: i64) -> Result<bool, StoreError> {
        let store = self.0.store.at(|| format!("hint@{stranger}"));
        let now = store.hint(&self.0.name, &stranger.to_string(), clock::now()).await?;
        let mut state = self.state();
        if state.told.len() as u64 >= STRANGERS {
            state.told.clear();
        }
        state.told.insert(stranger);
        if now {
            state.hinted.add(Instant::now());
        }
        Ok(now)
    }

    async fn say(&self, chat: i64, text: &str) -> Result<SentMessage, ApiError> {
        let message = SendMessage::<render::Entity> {
            place: Target::new(chat, None).to_send(),
            text,
            entities: &[],
            disable_notification: true,
            link_preview_options: LinkPreviewOptions::OFF,
            reply_parameters: None,
            reply_markup: None,
        };
        self.api().call("sendMessage", &message, TELEGRAM_CALL_TIME).await
    }

    /// Ends the waiting circle on a pressed button.
    pub(super) fn answer(&self, query: &str, text: Option<&str>) {
        let (telegram, query, text) = (self.clone(), query.to_owned(), text.map(str::to_owned));
        self.host().supervisor.spawn_until_stop(async move {
            let answer = AnswerCallbackQuery { callback_query_id: &query, text: text.as_deref(), show_alert: false };
            if let Err(error) = telegram.api().call::<bool>("answerCallbackQuery", &answer, TELEGRAM_CALL_TIME).await {
                tracing::debug!(%error, "a pressed button was not answered");
            }
        });
    }

    /// Marks what was chosen below the message, when the chat's budget of edits has room.
    pub(super) fn mark(&self, chosen: Chosen) {
        let telegram = self.clone();
        self.host().supervisor.spawn_until_stop(async move {
            let Chosen { chat, message_id, buttons } = chosen;
            let target = Target::new(chat, None);
            tokio::time::sleep_until(telegram.room(chat, Instant::now())).await;
            if telegram.frozen_for(target).is_some() || !telegram.take_room(chat, Instant::now()) {
                return;
            }
            let keyboard = keyboard::of(&buttons);
            let edit = EditMessageReplyMarkup { chat_id: chat, message_id, reply_markup: keyboard.as_ref() };
            if let Err(error) = telegram.api().call::<IgnoredAny>("editMessageReplyMarkup", &edit, TELEGRAM_CALL_TIME).await {
                tracing::debug!(%error, "a keyboard still marks what was chosen before");
                telegram.learn(target, &error).await;
            }
        });
    }

    /// Puts what was decided, as Markdown, in the place of the question.
    pub(super) fn show_decision(&self, chat: i64, message_id: i64, decision: String) {
        let telegram = self.clone();
        self.host().supervisor.spawn_until_stop(async move {
            let shown = render::render(&decision).into_iter().next().unwrap_or_default();
            let edit = EditMessageText {
                chat_id: chat,
                message_id,
                text: &shown.text,
                entities: &shown.entities,
                link_preview_options: LinkPreviewOptions::OFF,
                reply_markup: None,
            };
            if let Err(error) = telegram.api().call::<SentMessage>("editMessageText", &edit, TELEGRAM_CALL_TIME).await {
                tracing::debug!(%error, "a question that was answered still looks open");
            }
        });
    }
}
