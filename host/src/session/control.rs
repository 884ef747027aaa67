//! Slash commands, applied. Each is durable: its effect, its answer and the end of its row are one transaction.

use super::actor::Actor;
use super::inbox::CommandRow;
use super::turn::{Input, Step};
use crate::clock::{self, Moment};
use crate::commands::{self, Button, Command};
use crate::halt;
use crate::store::{CommandDone, CommandEffect, NewOutbox, OutboxKind, StoreError};

impl Actor {
    /// Applies one command.
    pub(super) async fn command(&mut self, row: CommandRow) -> Result<(), StoreError> {
        let parsed = commands::parse(&row.text).unwrap_or_else(|| Command::Unknown(row.text.clone()));
        match parsed {
            Command::Start => self.answer_command(&row, commands::greeting()).await,
            Command::Help => self.answer_command(&row, commands::help()).await,
            Command::Unknown(name) => self.answer_command(&row, commands::unknown(&name)).await,
            Command::Status => {
                let answer = self.status().await?;
                self.answer_command(&row, answer).await
            }
            Command::Model(alias) => self.change_model(&row, alias).await,
            Command::Reasoning(level) => self.change_effort(&row, level).await,
            Command::Cancel => {
                let step = self.decide(Input::Cancel { by: row.by.clone(), command: row.id });
                self.act_on(&row, step, "Nothing is running.").await
            }
            Command::Continue | Command::Compact if halt::since(&self.deps.workdir).is_some() => {
                let answer = "Everything is stopped by the operator just now. Send it again later.";
                self.answer_command(&row, answer.to_owned()).await
            }
            Command::Continue => {
                let step = self.decide(Input::Continue { by: row.by.clone(), command: row.id });
                self.act_on(&row, step, "There is nothing to continue.").await
            }
            Command::Compact => {
                let step = self.decide(Input::Compact { command: row.id });
                self.act_on(&row, step, "The host is stopping. Send `/compact` again later.").await
            }
            Command::New => {
                let step = self.decide(Input::Close { by: row.by.clone(), command: row.id });
                self.act_on(&row, step, "There is nothing to close.").await
            }
        }
    }

    /// Takes a step that a command asked for; a step that leaves the command's row alone means that it does not apply.
    async fn act_on(&mut self, row: &CommandRow, step: Step, otherwise: &str) -> Result<(), StoreError> {
        if !step.rows.done.contains(&row.id) {
            return self.answer_command(row, otherwise.to_owned()).await;
        }
        if self.take(step).await? {
            let wake = self.wake_up().await;
            self.feed(wake).await?;
        }
        Ok(())
    }

    async fn change_model(&mut self, row: &CommandRow, alias: Option<String>) -> Result<(), StoreError> {
        let config = self.deps.config.get();
        let models = &config.models;
        let known = || models.values().map(|model| (model.alias.as_str(), model.id.as_str()));
        match alias {
            Some(alias) if models.contains_key(&alias) => {
                let effect = CommandEffect::SetModel { conversation: self.conversation.id, alias: alias.clone() };
                let answer = format!("From the next request on this conversation uses `{alias}`.");
                self.close_command(row, vec![effect], answer, Vec::new()).await?;
                // Whoever chooses a model wants it asked.
                self.deps.cooldowns.forget(&alias);
                self.conversation.model = alias;
                self.get_ready();
                Ok(())
            }
            wanted => {
                let answer = commands::models(&self.conversation.model, known(), wanted.as_deref());
                let buttons = commands::model_buttons(&self.conversation.model, known().map(|(alias, _)| alias));
                self.close_command(row, Vec::new(), answer, buttons).await
            }
        }
    }

    async fn change_effort(&mut self, row: &CommandRow, wanted: Option<String>) -> Result<(), StoreError> {
        let effort = match wanted.as_deref() {
            Some(commands::DEFAULT_EFFORT) => None,
            Some(level) if commands::EFFORTS.contains(&level) => Some(level.to_owned()),
            _ => {
                let current = self.conversation.effort.as_deref();
                let model = self.deps.model(&self.conversation.model);
                let configured = model.as_ref().and_then(|model| model.effort.as_deref());
                let answer = commands::efforts(current, configured, wanted.as_deref());
                return self.close_command(row, Vec::new(), answer, commands::effort_buttons(current)).await;
            }
        };
        let answer = match &effort {
            Some(level) => format!("From the next request on the model reasons with effort `{level}` in this conversation."),
            None => "From the next request on the model reasons with its default effort.".to_owned(),
        };
        let change = CommandEffect::SetEffort { conversation: self.conversation.id, effort: effort.clone() };
        self.close_command(row, vec![change], answer, Vec::new()).await?;
        self.conversation.effort = effort;
        self.get_ready();
        Ok(())
    }

    async fn answer_command(&mut self, row: &CommandRow, answer: String) -> Result<(), StoreError> {
        self.close_command(row, Vec::new(), answer, Vec::new()).await
    }

    async fn close_command(
        &mut self,
        row: &CommandRow,
        effects: Vec<CommandEffect>,
        answer: String,
        buttons: Vec<Button>,
    ) -> Result<(), StoreError> {
        let answer = NewOutbox::new(format!("{}.answer", row.id), self.conversation.id, OutboxKind::Notice, answer);
        let outbox = vec![NewOutbox { buttons, answers: row.remote.clone(), ..answer }];
        let done = CommandDone { row: row.id, effects, outbox, at: clock::now() };
        let store = self.deps.store.at(|| format!("command@{}", row.id));
        loop {
            match store.command_done(done.clone()).await {
                Err(error) if error.passes() && !self.stopping.is_stopping() => self.wait_for_room(&error).await,
                other => {
                    self.caller.live.held_up(None);
                    return other.map(|_| ());
                }
            }
        }
    }

    /// Says that messages wait for the end of the operator's stop; once in each.
    pub(super) async fn tell_stopped(&mut self, since: Moment) -> Result<(), StoreError> {
        let text = "Everything is stopped by the operator just now. Your message is kept, and answered when work goes on.";
        let key = format!("{}.stopped.{}", self.conversation.id, since.0);
        let notice = NewOutbox::new(key, self.conversation.id, OutboxKind::Notice, text.to_owned());
        loop {
            match self.deps.store.tell(notice.clone(), clock::now()).await {
                Err(error) if error.passes() && !self.stopping.is_stopping() => self.wait_for_room(&error).await,
                other => {
                    self.caller.live.held_up(None);
                    return other.map(drop);
                }
            }
        }
    }
}
