//! The text of the unit. Pure.
//!
//! What is in a path means nothing to systemd: quotes, backslashes, `%` and `$` are escaped where the setting knows them.
//! Namespaces are not restricted: a component's own sandbox needs none, and programs that the user allows may.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// How a unit of ours begins.
pub(super) const MARK: &str = "# Written by `stellaclaw service install`";

/// What differs from unit to unit.
pub(super) struct Unit {
    pub program: PathBuf,
    pub config: Option<PathBuf>,
    pub workdir: PathBuf,
    /// The file with the values of secrets.
    pub environment: Option<PathBuf>,
}

impl Unit {
    /// The file.
    pub fn text(&self) -> anyhow::Result<String> {
        let mut command = vec![in_command(&self.program)?];
        for (option, path) in [("--config", self.config.as_ref()), ("--workdir", Some(&self.workdir))] {
            if let Some(path) = path {
                command.extend([option.to_owned(), in_command(path)?]);
            }
        }
        let command = command.join(" ");
        let workdir = quoted(plain(&self.workdir)?);
        let environment = match &self.environment {
            // Taken as it is to the end of the line.
            Some(path) => format!("EnvironmentFile={}\n", plain(path)?.replace('%', "%%")),
            None => String::new(),
        };
        Ok(format!(
            "{MARK}; it replaces this file.
# `systemctl --user edit` adds to it, for example ReadWritePaths= for directories that are mounted into conversations.
[Unit]
Description=Stellaclaw
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} run
ExecReload=/bin/kill -HUP $MAINPID
{environment}WatchdogSec=60
TimeoutStartSec=600
TimeoutStopSec=45
Restart=on-failure
RestartSec=3
RestartPreventExitStatus=2 3 4
KillMode=mixed
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={workdir} %t
PrivateTmp=yes

[Install]
WantedBy=default.target
"
        ))
    }
}

/// One word of a command.
fn in_command(path: &Path) -> anyhow::Result<String> {
    Ok(quoted(&plain(path)?.replace('$', "$$")))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

/// The path as text that fits into a line.
fn plain(path: &Path) -> anyhow::Result<&str> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8, so no unit can name it", path.display()))?;
    if text.chars().any(char::is_control) {
        bail!("{text:?} has control characters, so no unit can name it");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_what_the_manual_says() {
        let unit = Unit {
            program: "/usr/bin/stellaclaw".into(),
            config: Some("/home/me/.config/stellaclaw/config.toml".into()),
            workdir: "/home/me/.local/share/stellaclaw".into(),
            environment: Some("/home/me/.config/stellaclaw/environment".into()),
        };
        insta::assert_snapshot!(unit.text().unwrap());
    }

    #[test]
    fn a_path_means_nothing_to_systemd() {
        let odd =
            Unit { program: "/a b/$HOME".into(), config: None, workdir: "/50%/\"x\"\\y".into(), environment: Some("/50% a/b".into()) };
        let text = odd.text().unwrap();
        assert!(text.contains("\nExecStart=\"/a b/$$HOME\" --workdir \"/50%%/\\\"x\\\"\\\\y\" run\n"), "{text}");
        assert!(text.contains("\nReadWritePaths=\"/50%%/\\\"x\\\"\\\\y\" %t\n"), "{text}");
        assert!(text.contains("\nEnvironmentFile=/50%% a/b\n"), "{text}");
        let line = Unit { workdir: "/a\nExecStartPre=/bin/false".into(), ..odd };
        assert!(line.text().unwrap_err().to_string().contains("control characters"));
    }
}
