//! `systemctl --user`, which may not be there or have nobody to speak to.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, anyhow, bail};

/// Does something.
pub(super) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    ask(arguments).map(drop)
}

/// Is there such a program?
pub(super) fn is_there() -> bool {
    let found = Command::new("systemctl").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    !found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// What systemd knows of a unit.
pub(super) fn show(name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let said = ask(&["show", name, "--property=UnitFileState,ActiveState,SubState,StatusText"])?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn ask(arguments: &[&str]) -> anyhow::Result<Output> {
    let what = format!("systemctl --user {}", arguments.join(" "));
    let output = match Command::new("systemctl").arg("--user").args(arguments).stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(anyhow!("there is no systemctl: this machine does not run systemd, or it is not in PATH"));
        }
        output => output.with_context(|| format!("failed to run `{what}`"))?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let hint = match said.contains("Failed to connect to bus") {
            true => {
                "; this user has no systemd of their own just now: log in as them (not with su or sudo), or run `loginctl enable-linger`"
            }
            false => "",
        };
        bail!("`{what}` failed: {said}{hint}");
    }
    Ok(output)
}
