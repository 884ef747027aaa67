//! `service`: the host as a systemd unit of this user.
//!
//! A unit that this verb did not write is neither replaced nor removed unasked. Values of secrets are never written: the
//! unit names a file for them, which stays as it is once it is there. Where systemd cannot be spoken to, the file stays and the
//! code says that it does not count yet.

mod systemctl;
mod unit;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use self::unit::Unit;
use super::args::{InstallArgs, ServiceVerb, UninstallArgs};
use super::{Context, ExitCode, output};
use crate::config::{Config, SecretSource, environment};

/// `service …`
pub(super) fn run(context: &Context, verb: ServiceVerb) -> anyhow::Result<ExitCode> {
    match verb {
        ServiceVerb::Install(args) => install(context, &args),
        ServiceVerb::Status { name } => status(&name),
        ServiceVerb::Uninstall(args) => uninstall(&args),
    }
}

fn install(context: &Context, args: &InstallArgs) -> anyhow::Result<ExitCode> {
    // Checked before anything is written; the unit needs the work directory, too.
    let setup = context.setup()?;
    let path = unit_file(&args.name)?;
    if !args.force {
        is_ours(&path)?;
    }
    let names = variables(&setup.config);
    let secrets = if names.is_empty() { None } else { Some(environment_file()?) };
    let unit = Unit {
        program: std::env::current_exe().context("failed to find this program")?,
        config: context.config_file.as_deref().map(std::path::absolute).transpose().context("failed to find the configuration")?,
        workdir: setup.workdir.root().to_owned(),
        environment: secrets.clone(),
    };
    let text = unit.text().map_err(|error| ExitCode::Usage.error(error))?;
    put(&path, &text).with_context(|| format!("failed to write {}", path.display())).map_err(|error| ExitCode::Disk.error(error))?;
    output::text(&format!("Wrote {}\n", path.display()))?;
    let missing = match &secrets {
        Some(file) => tell_missing(file, &names)?,
        None => false,
    };
    settle(args, missing)
}

/// Has systemd know the unit.
fn settle(args: &InstallArgs, missing: bool) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    systemctl::run(&["daemon-reload"]).and_then(|()| systemctl::run(&["enable", name])).with_context(|| {
        format!("the unit is written and does not count yet; run `systemctl --user daemon-reload` and `systemctl --user enable {name}`")
    })?;
    let linger = "It ends when you log out, unless you run `loginctl enable-linger`.\n";
    match (args.now, missing) {
        (true, true) => Err(ExitCode::Auth.error(anyhow!("it is not started without these; then run `systemctl --user start {name}`"))),
        (true, false) => {
            systemctl::run(&["restart", name]).with_context(|| format!("it does not start; `journalctl --user -u {name}` says why"))?;
            output::text(&format!("It serves, and starts whenever you log in.\n{linger}"))?;
            Ok(ExitCode::Ok)
        }
        (false, _) => {
            output::text(&format!("It starts when you log in; `systemctl --user start {name}` starts it now.\n{linger}"))?;
            Ok(ExitCode::Ok)
        }
    }
}

fn status(name: &str) -> anyhow::Result<ExitCode> {
    let path = unit_file(name)?;
    if !path.exists() {
        return Err(ExitCode::NotFound.error(anyhow!("there is no {}; `stellaclaw service install` writes it", path.display())));
    }
    let found = systemctl::show(name)?;
    let value = |key: &str| found.get(key).filter(|value| !value.is_empty()).map_or("unknown", String::as_str);
    let mut text = format!("unit     {}\nenabled  {}\n", path.display(), value("UnitFileState"));
    text += &format!("active   {} ({})\n", value("ActiveState"), value("SubState"));
    if let Some(said) = found.get("StatusText").filter(|said| !said.is_empty()) {
        text += &format!("says     {said}\n");
    }
    output::text(&text)?;
    Ok(if value("ActiveState") == "active" { ExitCode::Ok } else { ExitCode::Failed })
}

fn uninstall(args: &UninstallArgs) -> anyhow::Result<ExitCode> {
    let (name, path) = (&args.name, unit_file(&args.name)?);
    if !path.exists() {
        return Err(ExitCode::NotFound.error(anyhow!("there is no {}", path.display())));
    }
    if !args.force {
        is_ours(&path)?;
    }
    if systemctl::is_there() {
        systemctl::run(&["disable", "--now", name]).context("the unit is left as it is, because what runs could not be stopped")?;
    }
    fs::remove_file(&path).with_context(|| format!("failed to remove {}", path.display()))?;
    output::text(&format!("Removed {}; the configuration, the secrets and the work directory stay.\n", path.display()))?;
    if systemctl::is_there() {
        systemctl::run(&["daemon-reload"]).context("run `systemctl --user daemon-reload`")?;
    }
    Ok(ExitCode::Ok)
}

fn unit_file(name: &str) -> anyhow::Result<PathBuf> {
    let folder = environment::personal("systemd/user").context("there is no home directory, so no place for a unit")?;
    Ok(folder.join(format!("{name}.service")))
}

fn environment_file() -> anyhow::Result<PathBuf> {
    environment::personal("stellaclaw/environment").context("there is no home directory, so no place for secrets")
}

/// Refuses what somebody else wrote.
fn is_ours(path: &Path) -> anyhow::Result<()> {
    match fs::read_to_string(path) {
        Ok(text) if text.starts_with(unit::MARK) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) => {
            let shown = path.display();
            let error = anyhow!("{shown} was not written by `stellaclaw service`; use another --name, or --force to lose it");
            Err(ExitCode::Denied.error(error))
        }
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

/// The environment variables that the configuration has secrets in.
fn variables(config: &Config) -> BTreeSet<String> {
    let named = config.secret_sources().filter_map(|(_, source)| match source {
        SecretSource::Env(name) => Some(name.clone()),
        SecretSource::File(_) | SecretSource::CodexAuth(_) => None,
    });
    named.collect()
}

/// Says which variables are not in the file yet; true when some are not. A file that is not there is made, without values.
fn tell_missing(path: &Path, names: &BTreeSet<String>) -> anyhow::Result<bool> {
    let failed = || format!("failed to prepare {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(b"# NAME=value, one on a line; read when the service starts.\n").with_context(failed)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(failed),
    }
    let mode = fs::metadata(path).with_context(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} can be read by others (mode {:03o}); run `chmod 600` on it", path.display(), mode & 0o777);
    }
    let text = fs::read_to_string(path).with_context(failed)?;
    let set: BTreeSet<&str> =
        text.lines().filter_map(|line| line.trim().split_once('=')).filter(|set| !set.1.is_empty()).map(|set| set.0).collect();
    let missing: Vec<_> = names.iter().filter(|name| !set.contains(name.as_str())).collect();
    if !missing.is_empty() {
        let lines: String = missing.iter().map(|name| format!("  {name}=…\n")).collect();
        output::text(&format!("The configuration has secrets in these variables; write them into {}:\n{lines}", path.display()))?;
    }
    Ok(!missing.is_empty())
}

/// Replaces the file whole.
fn put(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let half = path.with_extension("service.new");
    let mut file = File::create(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&half, path)
}
