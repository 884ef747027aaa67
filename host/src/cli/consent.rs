//! Asking before something is done that cannot be undone, or that gives something away.

use std::io::{self, BufRead, IsTerminal as _, Write};

use anyhow::{Context as _, anyhow};

use super::ExitCode;

/// Does the person agree? `yes`: they have said so. `again`: what to run where there is no terminal to ask on.
///
/// # Errors
///
/// There is no terminal to ask on.
pub(super) fn is_given(yes: bool, question: &str, again: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let error = anyhow!("nothing was changed: there is no terminal to ask on; after reading the lines above run `{again}`");
        return Err(ExitCode::Usage.error(error));
    }
    agrees(question, &mut stdin.lock(), &mut io::stderr()).context("failed to ask")
}

/// Only a plain yes is one.
fn agrees(question: &str, input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for (line, yes) in [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("n\n", false), ("yes please\n", false)] {
            let mut asked = Vec::new();
            assert_eq!(agrees("Grant this?", &mut line.as_bytes(), &mut asked).unwrap(), yes, "{line:?}");
            assert_eq!(asked, b"Grant this? [y/N] ");
        }
    }
}
