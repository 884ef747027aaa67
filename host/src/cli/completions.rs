//! `completions`: the script with which a shell completes verbs and options.

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Arguments;
use super::{ExitCode, output};

/// Prints it.
pub(super) fn run(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "stellaclaw", &mut script);
    output::styled(&String::from_utf8(script).context("failed to write the script as text")?)?;
    Ok(ExitCode::Ok)
}
