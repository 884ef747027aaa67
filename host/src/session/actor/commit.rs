//! What a step leaves in the store: one transaction, labelled for the crash points, made again while the disk is full.

use futures_util::stream::StreamExt as _;

use tokio::time::Instant;

use super::Actor;
use crate::clock::Moment;
use crate::commands;
use crate::limits::{FULL_PAUSE, STOP_GRACE};
use crate::session::event::{Event, Recorded};
use crate::session::inbox;
use crate::session::turn::{OutboxRow, Step, Which};
use crate::store::{Append, Appended, BlobHash, InboxKind, NewEvent, NewOutbox, NewUsage, Store, StoreError};

impl Actor {
    pub(super) async fn commit(&mut self, step: &Step, now: Moment, rides: bool) -> Result<(), StoreError> {
        let append = self.append(step, now)?;
        let store = self.labelled(step);
        if rides {
            match store.append_unawaited(append.clone()).await {
                Ok(pending) => {
                    self.riding.push_back(Box::pin(async move { (append, pending.wait().await) }));
                    return Ok(());
                }
                // There was no room for its blob. What happened is known, so it must be kept.
                Err(error) if error.passes() && !self.stopping.is_stopping() => self.wait_for_room(&error).await,
                Err(error) => return Err(error),
            }
        }
        match self.durably(&store, &append).await {
            // An earlier commit that nobody waited for may have found the disk full.
            Err(StoreError::Conflict(_)) if !self.riding.is_empty() => {
                self.settle_riding().await?;
                self.durably(&store, &append).await
            }
            other => other,
        }
    }

    /// Appends, and waits for room: nothing of the step happened yet.
    async fn durably(&mut self, store: &Store, append: &Append) -> Result<(), StoreError> {
        loop {
            match store.append(append.clone()).await {
                Err(error) if error.passes() && !self.stopping.is_stopping() => self.wait_for_room(&error).await,
                other => {
                    self.caller.live.held_up(None);
                    return other.map(|_| ());
                }
            }
        }
    }

    /// Waits before the next try, or for the stop of the host. A command that ends the turn cannot be applied before there is
    /// room, but it can be read: what runs is stopped at once.
    pub(in crate::session) async fn wait_for_room(&mut self, error: &StoreError) {
        tracing::warn!(session = %self.row.id, %error, "a session waits");
        self.caller.live.held_up(Some(error.to_string()));
        let until = Instant::now() + FULL_PAUSE;
        loop {
            self.stop_if_told().await;
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.stopping.wait() => return,
                () = self.wake.notified() => self.look = true,
            }
        }
    }

    async fn stop_if_told(&mut self) {
        let rows = match self.deps.store.open_inbox(self.conversation.id, Some(InboxKind::Command)).await {
            Ok(rows) => rows,
            Err(error) => return tracing::debug!(session = %self.row.id, %error, "commands cannot be read"),
        };
        let (commands, _) = inbox::split(rows);
        if commands.iter().any(|command| commands::parse(&command.text).is_some_and(|command| command.ends_the_turn())) {
            self.asking.abort(self.grace(STOP_GRACE));
            self.calls.stop(Which::All, self.grace(STOP_GRACE));
        }
    }

    /// A commit that nobody waited for ended. One that found the disk full is made again, with all that followed it.
    pub(super) async fn ridden(&mut self, (append, result): (Append, Result<Appended, StoreError>)) -> Result<(), StoreError> {
        match result {
            Ok(_) => return Ok(()),
            Err(error) if error.passes() => {}
            Err(error) => return Err(error),
        }
        let mut again = vec![append];
        while let Some((append, result)) = self.riding.next().await {
            if result.is_err() {
                again.push(append);
            }
        }
        let store = self.deps.store.clone();
        for append in again {
            self.durably(&store, &append).await?;
        }
        Ok(())
    }

    /// What an operator sees of turns in the log; what people and models wrote is not in it.
    pub(super) fn log(&self, step: &Step) {
        let conversation = self.conversation.id;
        for Recorded { turn, event, .. } in &step.events {
            let turn = format!("{}.{turn}", self.row.id);
            match event {
                Event::TurnBegan { .. } => tracing::info!(%conversation, turn, "a turn began"),
                Event::TurnParked { reason, .. } => tracing::info!(%conversation, turn, ?reason, "a turn waits for a person"),
                Event::TurnEnded { ending, .. } => tracing::info!(%conversation, turn, ?ending, "a turn ended"),
                Event::CompactionBegan { why, tokens, .. } => {
                    tracing::info!(%conversation, turn, ?why, tokens, "the history is being summarised")
                }
                Event::CompactionGivenUp { reason, .. } => {
                    tracing::warn!(%conversation, turn, reason, "the history could not be summarised")
                }
                Event::Compacted { tokens, .. } => tracing::info!(%conversation, turn, tokens, "the history is summarised"),
                _ => {}
            }
        }
    }

    /// The store, with the crash points of this step.
    fn labelled(&self, step: &Step) -> Store {
        self.deps.store.at(|| {
            let number = self.state.head.turn.as_ref().map_or(0, |turn| turn.step);
            let place = format!("{}.{}.{number}", self.row.id, step.turn);
            match step.events.first().map(|recorded| &recorded.event) {
                Some(Event::CallEnded { call, .. }) => format!("call_ended@{call}"),
                Some(Event::Answered { .. }) if step.events.iter().any(|recorded| matches!(recorded.event, Event::TurnEnded { .. })) => {
                    format!("turn_ended@{place}")
                }
                Some(event) => format!("{}@{place}", event.kind()),
                None => format!("rows@{place}"),
            }
        })
    }

    fn append(&self, step: &Step, now: Moment) -> Result<Append, StoreError> {
        let mut append = Append::new(&self.row, step.turn, now);
        append.expected_seq = self.state.head.next_seq;
        for Recorded { event, .. } in &step.events {
            let body = serde_json::to_string(event).map_err(|error| StoreError::Constraint(error.to_string()))?;
            let blobs = event.media().into_iter().filter_map(|media| BlobHash::of_id(&media.blob)).collect();
            append.events.push(NewEvent { kind: event.kind().to_owned(), body, blobs });
            if let Event::Compacted { cut, .. } = event {
                append.fold_from = Some(*cut);
            }
        }
        let rows = &step.rows;
        append.take.clone_from(&rows.taken);
        append.done.clone_from(&rows.done);
        append.aside.clone_from(&rows.aside);
        append.phase = rows.phase;
        let answers = self.state.head.turn.as_ref().and_then(|turn| turn.answers.clone());
        let reply = |row: &OutboxRow| NewOutbox {
            buttons: row.buttons.clone(),
            answers: answers.clone(),
            ..NewOutbox::new(&row.key, self.conversation.id, row.kind, &row.body)
        };
        append.outbox = rows.outbox.iter().map(reply).collect();
        append.usage = rows
            .usage
            .iter()
            .map(|row| NewUsage {
                step: row.step,
                kind: row.kind,
                model: row.model.clone(),
                usage: row.usage.clone(),
                estimated: row.estimated,
            })
            .collect();
        Ok(append)
    }

    pub(in crate::session) async fn settle_riding(&mut self) -> Result<(), StoreError> {
        while let Some(ridden) = self.riding.next().await {
            self.ridden(ridden).await?;
        }
        Ok(())
    }
}
