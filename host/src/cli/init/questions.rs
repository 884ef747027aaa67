//! Asking a person, or saying which flag would have answered.

use std::io::{self, IsTerminal as _};

use anyhow::anyhow;
use inquire::ui::RenderConfig;
use inquire::{Confirm, InquireError, Password, PasswordDisplayMode, Select, Text, validator};

use crate::cli::ExitCode;
use crate::cli::chat::eprintln;

/// What an answer must be; else why not.
pub(super) type Valid = fn(&str) -> Result<(), String>;

/// The person at the terminal, if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Questions {
    asks: bool,
}

impl Questions {
    /// Without a terminal, or with `silent`, nobody is asked.
    pub fn new(silent: bool, color: bool) -> Self {
        if !color {
            inquire::set_global_render_config(RenderConfig::empty());
        }
        Self { asks: !silent && io::stdin().is_terminal() && io::stderr().is_terminal() }
    }

    pub fn asks(self) -> bool {
        self.asks
    }

    /// Tells the person something on the way.
    pub fn say(self, line: &str) {
        eprintln(line);
    }

    /// Which of `options`. `flags` answer the question, too.
    pub fn choose(self, question: &str, options: Vec<String>, first: usize, flags: &str) -> anyhow::Result<usize> {
        self.is_asked(flags)?;
        let asked = Select::new(question, options).with_starting_cursor(first).without_filtering();
        let chosen = asked.with_help_message("the arrow keys choose, Enter takes it").raw_prompt();
        chosen.map(|chosen| chosen.index).map_err(stopped)
    }

    /// One line. `default` is taken when nothing is written.
    pub fn text(self, question: &str, default: Option<&str>, valid: Valid, flags: &str) -> anyhow::Result<String> {
        self.is_asked(flags)?;
        let asked = Text::new(question).with_validator(move |text: &str| Ok(validation(text, valid)));
        let asked = match default {
            Some(default) => asked.with_default(default),
            None => asked,
        };
        asked.prompt().map(|text| text.trim().to_owned()).map_err(stopped)
    }

    /// One line that is not shown.
    pub fn hidden(self, question: &str, valid: Valid, flags: &str) -> anyhow::Result<String> {
        self.is_asked(flags)?;
        let asked = Password::new(question)
            .without_confirmation()
            .with_display_mode(PasswordDisplayMode::Hidden)
            .with_help_message("it is not shown; paste it and press Enter")
            .with_validator(move |text: &str| Ok(validation(text, valid)));
        asked.prompt().map(|text| text.trim().to_owned()).map_err(stopped)
    }

    pub fn agrees(self, question: &str, default: bool, flags: &str) -> anyhow::Result<bool> {
        self.is_asked(flags)?;
        Confirm::new(question).with_default(default).prompt().map_err(stopped)
    }

    fn is_asked(self, flags: &str) -> anyhow::Result<()> {
        if self.asks {
            return Ok(());
        }
        let error = anyhow!("nothing was written: {flags} is missing, and there is nobody to ask");
        Err(ExitCode::Usage.error(error))
    }
}

fn validation(text: &str, valid: Valid) -> validator::Validation {
    match valid(text.trim()) {
        Ok(()) => validator::Validation::Valid,
        Err(why) => validator::Validation::Invalid(why.into()),
    }
}

/// Ctrl-C and Escape end it; nothing has been written then.
fn stopped(error: InquireError) -> anyhow::Error {
    match error {
        InquireError::OperationInterrupted | InquireError::OperationCanceled => super::interrupted(),
        other => anyhow!(other).context("failed to ask"),
    }
}
